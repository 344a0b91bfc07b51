//! A browser for tests, and what a page must be like in it.
//!
//! - [`Chromium`]: the browser, with a profile of its own that goes when it does.
//! - [`Tab`]: a page in it, which remembers what the console said.
//! - [`labs`]: the command under test. [`axe`]: the accessibility checker.

mod chromium;
mod protocol;
mod tab;

use std::env;
use std::path::PathBuf;

pub use chromium::{Chromium, Look, Scheme};
pub use tab::Tab;

/// Widths and colour schemes in which every page is looked at.
pub const LOOKS: [Look; 4] = [
    Look::new(360, Scheme::Light),
    Look::new(360, Scheme::Dark),
    Look::new(1280, Scheme::Light),
    Look::new(1280, Scheme::Dark),
];

/// The command `labs`: the variable `LABS`, or the one built beside these tests. Says so when there
/// is none.
pub fn labs() -> Option<PathBuf> {
    let beside = env::current_exe().ok().and_then(|tests| {
        let profile = tests.parent()?.parent()?;
        Some(profile.join(format!("labs{}", env::consts::EXE_SUFFIX)))
    });
    // Cargo runs tests in the folder of their package; a path in the variable is meant from the root.
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..");
    let named = env::var_os("LABS").map(|path| root.join(path));
    let found = named.or(beside).filter(|path| path.is_file());
    if found.is_none() {
        println!("skipped: the command labs is not built (cargo build -p labs), nor named by LABS");
    }
    found
}

/// The source of axe-core: the file that the variable `AXE` names. Says so when there is none.
pub fn axe() -> Option<String> {
    let read = env::var_os("AXE").and_then(|path| std::fs::read_to_string(path).ok());
    if read.is_none() {
        println!("without axe-core: AXE does not name its axe.min.js");
    }
    read
}
