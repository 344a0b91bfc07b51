//! What is said to a reader, and nothing more: who reads it is for [`crate::cli`] to know.

use std::io::{ErrorKind, Write};

use anyhow::{Context, Result};

use crate::clean;

/// Says something on stderr. Where nobody listens (the terminal is closed, its pipe has no reader) the words
/// are lost, and nothing else.
pub fn say(text: impl AsRef<str>) {
    let _ = writeln!(std::io::stderr(), "{}", clean::terminal(text.as_ref()));
}

/// Writes to stdout, without what would rewrite a screen. A reader that is gone (`labs list | head`) changes what
/// is printed, and nothing else: not what is measured, stored or decided.
///
/// # Errors
/// When that does not work, as on a full disk.
pub fn print(text: impl AsRef<str>) -> Result<()> {
    let mut out = std::io::stdout().lock();
    match out.write_all(clean::terminal(text.as_ref()).as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        written => written.context("cannot write to standard output"),
    }
}
