//! What the authors wrote, as it was when this program was built.

/// The files of an exercise.
#[derive(Debug)]
pub(crate) struct Files {
    /// `ex04_limit_outside`
    pub folder: &'static str,
    pub manifest: &'static str,
    pub main: &'static str,
    pub start: &'static str,
    pub solution: &'static str,
    pub task: &'static str,
    pub hints: [&'static str; 3],
    /// The name of each misconception, and a file that has it.
    pub wrong: &'static [(&'static str, &'static str)],
}

include!(concat!(env!("OUT_DIR"), "/shelf.rs"));

impl Files {
    pub(crate) fn of(folder: &str) -> Option<&'static Files> {
        EXERCISES.iter().find(|files| files.folder == folder)
    }
}
