//! `labs grade`.
