//! The lab book: a static site made of records alone, and a comparison of two sets of records as a page.
//!
//! # Layout
//!
//! - [`page`] is the layout that all pages share; everything else makes parts of pages.
//! - [`lesson`] takes a lab's lesson apart and renders it; [`pairs`] finds the wrong and the right way in
//!   the labs' own sources, and [`code`] shows them; [`chart`] puts a figure into a page.
//! - `claim` shows claims; `predicted` what the reader said beside what came out.
//! - `cover`, `lab`, [`languages`] and `comparison` are the pages; [`site`] puts them together.
//! - [`cli`] is the terminal and the disk.
//!
//! Whatever a record says is text here: see [`page`]. The same records always give the same bytes; no
//! date, no path and no host of the one who builds it is in a page.

pub mod chart;
mod claim;
pub mod cli;
pub mod code;
mod comparison;
mod cover;
mod lab;
pub mod languages;
pub mod lesson;
pub mod page;
pub mod pairs;
mod predicted;
pub mod site;

pub use comparison::page as comparison_page;
