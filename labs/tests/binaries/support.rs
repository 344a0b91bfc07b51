//! Running a program to its end, always within bounds; a record to work on; small facts about files.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::OnceLock,
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;
use tempfile::TempDir;

/// No program of these tests may take longer. It only keeps a hang from lasting for ever, and is
/// far above what anything takes.
const PATIENCE: Duration = Duration::from_secs(180);

/// How a program ended and what it wrote.
#[derive(Debug)]
pub struct Done {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Done {
    /// It ended with this code, and not by a panic.
    #[track_caller]
    pub fn expect(self, code: i32) -> Done {
        assert_eq!(self.code, Some(code), "stdout:\n{}\nstderr:\n{}", self.stdout, self.stderr);
        assert!(!self.stderr.contains("panicked"), "{}", self.stderr);
        self
    }

    /// It said all of this on stderr.
    #[track_caller]
    pub fn says(self, parts: &[&str]) -> Done {
        for part in parts {
            assert!(self.stderr.contains(part), "stderr lacks {part:?}:\n{}", self.stderr);
        }
        self
    }

    /// Stdout as JSON: all of it.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|e| panic!("{e}:\n{}", self.stdout))
    }
}

/// A program that has been started.
pub struct Running {
    child: Child,
    /// What it writes goes to files: a full pipe would stop it.
    output: TempDir,
}

impl Running {
    pub fn start(command: &mut Command) -> Running {
        let output = temporary();
        let file = |name| File::create(output.path().join(name)).unwrap();
        let child = command
            .stdin(Stdio::null())
            .stdout(file("stdout"))
            .stderr(file("stderr"))
            .spawn()
            .unwrap();
        Running { child, output }
    }

    /// What it has written to stdout so far.
    pub fn stdout(&self) -> String {
        String::from_utf8_lossy(&fs::read(self.output.path().join("stdout")).unwrap()).into_owned()
    }

    #[cfg(unix)]
    pub fn signal(&self, signal: &str) {
        let pid = self.child.id().to_string();
        let sent = Command::new("kill").args(["-s", signal, &pid]).status();
        assert!(sent.unwrap().success());
    }

    /// Waits for its end.
    #[track_caller]
    pub fn wait(mut self) -> Done {
        let status = wait_for("the program ends", || self.child.try_wait().unwrap());
        self.done(status)
    }

    fn done(&self, status: ExitStatus) -> Done {
        let text = |name| {
            let bytes = fs::read(self.output.path().join(name)).unwrap();
            String::from_utf8_lossy(&bytes).into_owned()
        };
        Done { code: status.code(), stdout: text("stdout"), stderr: text("stderr") }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Only after a test has failed is there anything left to end.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Waits until `ready` returns something, but not for ever.
#[track_caller]
pub fn wait_for<T>(what: &str, mut ready: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + PATIENCE;
    loop {
        if let Some(value) = ready() {
            return value;
        }
        assert!(Instant::now() < end, "after {PATIENCE:?} still waiting until {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

pub fn temporary() -> TempDir {
    tempfile::tempdir().unwrap()
}

/// The umbrella command, in a folder where it can do no harm should it use its default folder.
pub fn labs() -> Command {
    program(env!("CARGO_BIN_EXE_labs"))
}

/// Lab 3.
pub fn lab03() -> Command {
    let mut command = labs();
    command.args(["run", "3"]);
    command
}

/// A program with these limits of the shell, such as `ulimit -n 128`.
#[cfg(unix)]
pub fn limited(limits: &str, path: &str) -> Command {
    let mut command = program("sh");
    command.args(["-c", &format!("{limits}; exec \"$0\" \"$@\""), path]);
    command
}

fn program(path: &str) -> Command {
    static ELSEWHERE: OnceLock<PathBuf> = OnceLock::new();
    let elsewhere = ELSEWHERE.get_or_init(|| {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("elsewhere");
        fs::create_dir_all(&folder).unwrap();
        folder
    });
    let mut command = Command::new(path);
    command.current_dir(elsewhere);
    command
}

/// Runs to the end.
#[track_caller]
pub fn run(command: &mut Command) -> Done {
    Running::start(command).wait()
}

/// Runs `labs` with these words and then paths.
#[track_caller]
pub fn labs_with(words: &[&str], paths: &[&Path]) -> Done {
    run(labs().args(words).args(paths))
}

/// A folder with one smoke run of lab 3: measured once, copied for every test that wants it.
pub fn measured() -> TempDir {
    static ONCE: OnceLock<TempDir> = OnceLock::new();
    let original = ONCE.get_or_init(|| {
        let folder = temporary();
        let words = ["run", "3", "--scale", "smoke", "--out"];
        labs_with(&words, &[folder.path()]).expect(0);
        folder
    });
    let copy = temporary();
    copy_folder(original.path(), copy.path());
    copy
}

pub fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy_folder(&path, &target);
        } else {
            fs::copy(&path, &target).unwrap();
        }
    }
}

/// Every file below a folder with its content.
pub fn content(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(content(&path));
        } else {
            let bytes = fs::read(&path).unwrap();
            found.insert(path, bytes);
        }
    }
    found
}

/// The same files with the same bytes; says which differ, not what they hold.
#[track_caller]
pub fn assert_same(a: &BTreeMap<PathBuf, Vec<u8>>, b: &BTreeMap<PathBuf, Vec<u8>>) {
    let differ: Vec<_> =
        a.keys().chain(b.keys()).filter(|path| a.get(*path) != b.get(*path)).collect();
    assert!(differ.is_empty(), "these differ: {differ:?}");
}

/// Nothing half-written lies about: every file is a result.
#[track_caller]
pub fn assert_only_results(folder: &Path) {
    for path in content(folder).into_keys() {
        let kind = path.extension().and_then(|e| e.to_str());
        let name = path.file_name().unwrap().to_string_lossy();
        let known = matches!(kind, Some("json" | "svg" | "png" | "md"));
        assert!(known && !name.starts_with('.'), "left over: {path:?}");
    }
}

pub fn read_json(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

pub fn write_json(path: &Path, value: &Value) {
    fs::write(path, serde_json::to_vec(value).unwrap()).unwrap();
}

/// Changes a record by hand.
pub fn edit(folder: &Path, change: impl FnOnce(&mut Value)) {
    let path = folder.join("lab03.json");
    let mut record = read_json(&path);
    change(&mut record);
    write_json(&path, &record);
}

/// Every trial of a record.
pub fn trials(record: &Value) -> Vec<&Value> {
    let points = record["points"].as_array().unwrap();
    points.iter().flat_map(|p| p["trials"].as_array().unwrap()).collect()
}

/// Offered = ok + rejected + timed out + failed + aborted + never sent, in every trial.
#[track_caller]
pub fn assert_books_close(record: &Value) {
    let fates = ["ok", "rejected", "timed_out", "failed", "aborted", "never_sent"];
    for trial in trials(record) {
        let sum: u64 = fates.iter().map(|f| trial[f].as_u64().unwrap()).sum();
        assert_eq!(trial["offered"].as_u64().unwrap(), sum, "{trial}");
    }
}

/// The schema the program prints.
pub fn schema() -> jsonschema::Validator {
    let schema = labs_with(&["schema"], &[]).expect(0).json();
    jsonschema::validator_for(&schema).unwrap()
}

#[track_caller]
pub fn assert_fits_schema(record: &Value) {
    let errors: Vec<_> = schema().iter_errors(record).map(|e| e.to_string()).collect();
    assert!(errors.is_empty(), "{errors:?}");
}

/// Numbers of all labs.
pub fn numbers() -> Vec<u64> {
    let list = labs_with(&["list", "--json"], &[]).expect(0).json();
    let labs = list.as_array().unwrap();
    labs.iter().map(|l| l["number"].as_u64().unwrap()).collect()
}
