//! Puts every exercise into the program: what a judge compiles is what the authors wrote, whatever is in the
//! student's folder. An exercise that lacks something does not build.

use std::{
    env,
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
};

/// Fewest wrong ways of an exercise.
const WRONG: usize = 3;
/// Hints of an exercise, separated by lines of three dashes.
const HINTS: usize = 3;

fn main() {
    let root = Path::new("../../exercises");
    // Where a new exercise has its line.
    println!("cargo::rerun-if-changed=src/lib.rs");
    let mut out = String::new();
    let text = |path: PathBuf| {
        println!("cargo::rerun-if-changed={}", path.display());
        let text = fs::read_to_string(&path);
        let text = text.unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        assert!(!text.trim().is_empty(), "{} is empty", path.display());
        text
    };
    let _ = writeln!(out, "pub(crate) const MANIFEST: &str = {:?};", text(root.join("Cargo.toml")));
    let _ = writeln!(out, "pub(crate) const LOCK: &str = {:?};", text(root.join("Cargo.lock")));
    let _ = writeln!(out, "pub(crate) const KIT: &[(&str, &str)] = &[");
    let _ = writeln!(out, "(\"Cargo.toml\", {:?}),", text(root.join("kit/Cargo.toml")));
    for file in listed(&root.join("kit/src")) {
        let name = format!("src/{}", name(&file));
        let _ = writeln!(out, "({name:?}, {:?}),", text(file));
    }
    let _ = writeln!(out, "];\npub(crate) const EXERCISES: &[Files] = &[");
    for folder in listed(root) {
        let name = name(&folder);
        if !name.starts_with("ex") || !folder.is_dir() {
            continue;
        }
        let own = |file: &str| text(folder.join(file));
        let hints = own("hints.md");
        let hints: Vec<&str> = hints.split("\n---\n").map(str::trim).collect();
        assert!(hints.len() == HINTS, "{name}/hints.md has {} hints, not {HINTS}", hints.len());
        let wrong = listed(&folder.join("wrong"));
        assert!(wrong.len() >= WRONG, "{name}/wrong has {} files: {WRONG} at least", wrong.len());
        let _ = writeln!(
            out,
            "Files {{ folder: {name:?}, manifest: {:?}, main: {:?}, start: {:?}, solution: {:?}, task: {:?}, hints: {hints:?}, wrong: &[",
            own("Cargo.toml"),
            own("main.rs"),
            own("start.rs"),
            own("solution.rs"),
            own("task.md"),
        );
        for file in wrong {
            let stem = file.file_stem().unwrap_or_default().to_string_lossy().replace('_', "-");
            let _ = writeln!(out, "({stem:?}, {:?}),", text(file));
        }
        let _ = writeln!(out, "] }},");
    }
    let _ = writeln!(out, "];");
    let into = env::var_os("OUT_DIR").expect("cargo says where");
    fs::write(Path::new(&into).join("shelf.rs"), out).expect("it can be written");
}

fn name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// What is in a folder, in order. A change of the list is a change: what is in its files is told apart.
fn listed(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    let mut paths: Vec<PathBuf> = entries.map_while(|e| Some(e.ok()?.path())).collect();
    paths.sort();
    paths
}
