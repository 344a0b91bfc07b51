//! Temporary folders that do not outlive their makers for long.
//!
//! A folder is deleted when it is dropped. Whoever is killed, or ended at once, drops nothing: what such a run has
//! left behind goes when the next one begins.

use std::{fs, path::Path};

use tempfile::TempDir;

/// What the names begin with; the number of the process follows.
const PREFIX: &str = "concurrency-labs-";

/// A folder of one's own.
///
/// # Errors
/// When there is no room for temporary files.
pub fn folder() -> std::io::Result<TempDir> {
    let prefix = format!("{PREFIX}{}-", std::process::id());
    tempfile::Builder::new().prefix(&prefix).tempdir()
}

/// Deletes what processes that are no more have left behind.
pub fn sweep() {
    sweep_in(&std::env::temp_dir());
}

fn sweep_in(place: &Path) {
    let Ok(entries) = fs::read_dir(place) else {
        return;
    };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let owner = name.to_str().and_then(owner);
        // A link is not followed: it is no folder.
        let folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
        if folder && owner.is_some_and(|owner| is_gone(owner, &entry)) {
            // Somebody else's stays, and so does what cannot be deleted.
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

/// The process that a folder of this name belongs to.
fn owner(name: &str) -> Option<u32> {
    let (process, rest) = name.strip_prefix(PREFIX)?.split_once('-')?;
    (!rest.is_empty()).then(|| process.parse().ok())?
}

#[cfg(unix)]
fn is_gone(process: u32, _: &fs::DirEntry) -> bool {
    use nix::{errno::Errno, sys::signal::kill, unistd::Pid};
    let process = i32::try_from(process).ok().filter(|process| *process > 0);
    process.is_some_and(|process| kill(Pid::from_raw(process), None) == Err(Errno::ESRCH))
}

/// Here the system does not tell without more ado: after a day a folder belongs to nobody.
#[cfg(not(unix))]
fn is_gone(_: u32, entry: &fs::DirEntry) -> bool {
    let changed = entry.metadata().and_then(|about| about.modified());
    let age = changed.ok().and_then(|at| at.elapsed().ok());
    age.is_some_and(|age| age > std::time::Duration::from_secs(24 * 3600))
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn only_what_the_dead_have_left_is_swept() {
        let place = tempfile::tempdir().unwrap();
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let dead = child.id();
        child.wait().unwrap();
        let living = std::process::id();
        let at = |name: String| place.path().join(name);
        let (left, used) = (at(format!("{PREFIX}{dead}-a")), at(format!("{PREFIX}{living}-a")));
        let others =
            ["labs-1-a", "concurrency-labs-x-a", "concurrency-labs-0-a"].map(|n| at(n.into()));
        for folder in others.iter().chain([&left, &used]) {
            fs::create_dir(folder).unwrap();
            fs::write(folder.join("file"), "x").unwrap();
        }
        let link = at(format!("{PREFIX}{dead}-link"));
        std::os::unix::fs::symlink(&others[0], link).unwrap();
        sweep_in(place.path());
        assert!(!left.exists() && used.exists());
        assert!(others.iter().all(|folder| folder.join("file").exists()));
    }
}
