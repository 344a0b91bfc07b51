//! Parts that are made to be copied into a program of your own.
//!
//! They know nothing of the labs that use them: neither of records nor of the lab kit.

pub mod bridge;
pub mod client;
