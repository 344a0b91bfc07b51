//! The program `work` of this tree and of an earlier commit: building it, and talking to it.

use std::{
    collections::BTreeSet,
    ffi::OsStr,
    fs,
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

use anyhow::{Context, Result, anyhow, bail, ensure};
use serde_json::Value;

/// Where the program's source is in the tree.
const SOURCE: &str = "benches/examples/work.rs";

/// This workspace: where it is, and where it is built.
pub struct Workspace {
    root: PathBuf,
    target: PathBuf,
}

/// What the present is compared with.
pub enum Base {
    /// The program of this commit.
    Built {
        /// Its abbreviated hash.
        commit: String,
        /// The executable.
        program: PathBuf,
        /// What it is built from.
        source: Source,
    },
    /// There is nothing to compare with, and why.
    Missing(String),
}

/// A tree of files, and where it is built.
pub struct Source {
    tree: PathBuf,
    target: PathBuf,
    /// Of its executables.
    name: PathBuf,
}

impl Source {
    /// Builds the program, with more for rustc when it links it. The executable is a copy that later
    /// builds leave alone.
    fn program(&self, suffix: &str, more: &[&str]) -> Result<PathBuf> {
        let built = build(&self.tree, &self.target, more)?;
        let program = self.executable(suffix);
        fs::copy(&built, &program).with_context(|| format!("cannot copy {}", built.display()))?;
        Ok(program)
    }

    fn executable(&self, suffix: &str) -> PathBuf {
        let mut path = self.name.clone().into_os_string();
        path.push(suffix);
        path.push(std::env::consts::EXE_SUFFIX);
        path.into()
    }

    /// The program with its code in so many other orders: each is linked with its functions shuffled.
    ///
    /// # Errors
    /// When it does not build, as where the linker cannot shuffle: LLVM's can (`--shuffle-sections`),
    /// which Rust uses on x86-64 Linux.
    pub fn layouts(&self, count: usize) -> Result<Vec<PathBuf>> {
        let one = |seed: usize| {
            // 0 would be the order there is.
            let order = format!("link-arg=-Wl,--shuffle-sections=.text*={}", seed + 1);
            self.program(&format!("-{seed:02}"), &["-C", &order])
        };
        (0..count).map(one).collect()
    }
}

impl Workspace {
    /// The workspace that the current folder is in.
    ///
    /// # Errors
    /// When it is in none.
    pub fn here() -> Result<Workspace> {
        let text = output(cargo().args(["metadata", "--no-deps", "--format-version", "1"]))?;
        let facts: Value = serde_json::from_str(&text)?;
        let path = |key: &str| facts[key].as_str().map(PathBuf::from);
        let (root, target) = path("workspace_root")
            .zip(path("target_directory"))
            .context("cargo did not tell where the workspace is")?;
        ensure!(
            root.join(SOURCE).is_file(),
            "{} has no {SOURCE}: run this in the labs' workspace",
            root.display()
        );
        Ok(Workspace { root, target })
    }

    /// The root folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Where cargo builds.
    pub fn target(&self) -> &Path {
        &self.target
    }

    /// What the present is built from.
    pub fn source(&self) -> Source {
        Source {
            tree: self.root.clone(),
            target: self.target.clone(),
            // As long as that of the earlier: paths lie on a program's stack.
            name: self.target.join("gate").join("present"),
        }
    }

    /// Builds the program as the tree is now.
    ///
    /// # Errors
    /// When it does not build.
    pub fn present(&self) -> Result<PathBuf> {
        self.scratch()?;
        self.source().program("", &[])
    }

    /// Builds the program as it was in an earlier commit: `revision`, or else where this branch left
    /// `main`; on `main` itself the commit before. Built once for each commit.
    ///
    /// # Errors
    /// When there is no such revision, or it does not build.
    pub fn base(&self, revision: Option<&str>) -> Result<Base> {
        let commit = match revision {
            Some(name) => {
                self.commit(name).with_context(|| format!("git knows no commit {name}"))?
            }
            None => match self.left_main() {
                Some(commit) => commit,
                None => return Ok(Base::Missing("git knows no earlier commit".into())),
            },
        };
        let short = commit[..commit.len().min(10)].to_string();
        if self.git(["cat-file", "-e", &format!("{commit}:{SOURCE}")]).is_err() {
            let why = format!("commit {short} has no {SOURCE} yet");
            return Ok(Base::Missing(why));
        }
        let rustc = output(Command::new("rustc").arg("-V"))?;
        let gate = self.scratch()?;
        let (told, identity) = (gate.join("commit"), format!("{commit} {rustc}"));
        let source = Source {
            tree: gate.join("tree"),
            // Of its own: cargo tells workspaces apart neither by path nor by content, and would take
            // what it built of one for the other.
            target: gate.join("target"),
            name: gate.join("earlier"),
        };
        let program = source.executable("");
        let is_built = program.is_file() && source.tree.is_dir();
        if !is_built || fs::read_to_string(&told).ok().as_ref() != Some(&identity) {
            // Until all is there, nothing is: the tree is of one commit and the program of another.
            let _ = fs::remove_file(&told);
            self.export(&commit, &source.tree)?;
            if !source.target.exists() {
                seed(&self.target.join("release"), &source.target.join("release"))?;
            }
            source.program("", &[])?;
            fs::write(&told, identity)?;
        }
        Ok(Base::Built { commit: short, program, source })
    }

    /// The gate's own folder in the target folder.
    fn scratch(&self) -> Result<PathBuf> {
        let dir = self.target.join("gate");
        fs::create_dir_all(&dir).with_context(|| format!("cannot make {}", dir.display()))?;
        Ok(dir)
    }

    fn left_main(&self) -> Option<String> {
        let head = self.commit("HEAD").ok()?;
        let main = ["origin/main", "main"].map(|name| self.git(["merge-base", "HEAD", name]));
        match main.into_iter().find_map(Result::ok) {
            Some(left) if left != head => Some(left),
            // On main: what is not committed yet, or else what the last commit changed.
            _ if self.git(["diff", "--quiet", "HEAD"]).is_err() => Some(head),
            _ => self.commit("HEAD^").ok(),
        }
    }

    fn commit(&self, name: &str) -> Result<String> {
        self.git([
            "rev-parse",
            "--verify",
            "--quiet",
            "--end-of-options",
            &format!("{name}^{{commit}}"),
        ])
    }

    fn git<const N: usize>(&self, words: [&str; N]) -> Result<String> {
        output(Command::new("git").current_dir(&self.root).args(words))
    }

    /// Writes the files of a commit to a folder: what is checked out here stays as it is, and git
    /// keeps nothing in mind.
    fn export(&self, commit: &str, tree: &Path) -> Result<()> {
        let index = self.target.join("gate").join("index");
        if tree.exists() {
            fs::remove_dir_all(tree).with_context(|| format!("cannot empty {}", tree.display()))?;
        }
        let git = |words: &[&OsStr]| {
            let mut command = Command::new("git");
            command.current_dir(&self.root).args(words);
            output(command.env("GIT_INDEX_FILE", &index))
        };
        let mut prefix = std::ffi::OsString::from("--prefix=");
        prefix.push(tree);
        // git takes it as it stands.
        prefix.push("/");
        git(&["read-tree".as_ref(), commit.as_ref()])?;
        git(&["checkout-index".as_ref(), "--all".as_ref(), "--force".as_ref(), &prefix])?;
        fs::remove_file(index)?;
        Ok(())
    }
}

/// Copies compiled dependencies to another target folder, with their times: what has not changed
/// between the commits need not be compiled again. The workspace's own crates are compiled again, since
/// their exported files are newer.
fn seed(from: &Path, to: &Path) -> Result<()> {
    let Ok(entries) = fs::read_dir(from) else {
        return Ok(());
    };
    fs::create_dir_all(to)?;
    for entry in entries {
        let entry = entry?;
        let (path, name) = (entry.path(), entry.file_name());
        let needless = ["examples", "incremental"].map(OsStr::new);
        if entry.file_type()?.is_dir() {
            if !needless.contains(&name.as_os_str()) {
                seed(&path, &to.join(name))?;
            }
        } else if !is_program(&path) {
            let copy = to.join(name);
            fs::copy(&path, &copy)?;
            let times = fs::FileTimes::new().set_modified(entry.metadata()?.modified()?);
            fs::File::options().write(true).open(copy)?.set_times(times)?;
        }
    }
    Ok(())
}

/// Labs and tests, which are large and which nobody asks for. Those of build scripts are needed.
fn is_program(path: &Path) -> bool {
    let among = |dir: &Path| dir.ends_with("deps") || dir.ends_with("release");
    path.parent().is_some_and(among) && path.extension().is_none_or(|e| e == "exe" || e == "pdb")
}

fn cargo() -> Command {
    Command::new(std::env::var_os("CARGO").unwrap_or("cargo".into()))
}

/// Builds the program, with more for rustc when it links it.
fn build(tree: &Path, target: &Path, more: &[&str]) -> Result<PathBuf> {
    let mut command = cargo();
    command
        .current_dir(tree)
        .args(["rustc", "--release", "--locked"])
        .args(["-p", "benches", "--example", "work"])
        .args(["--message-format", "json-render-diagnostics"])
        .arg("--target-dir")
        .arg(target)
        .arg("--")
        .args(more)
        .stderr(Stdio::inherit());
    let text = output(&mut command)?;
    text.lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .filter(|line| line["target"]["name"] == "work")
        .find_map(|line| line["executable"].as_str().map(PathBuf::from))
        .with_context(|| format!("cargo built no program in {}", tree.display()))
}

/// Runs a command and returns what it printed, without the last line's end.
///
/// # Errors
/// When it cannot be started or fails; with what it said.
pub fn output(command: &mut Command) -> Result<String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let done =
        command.stdin(Stdio::null()).output().with_context(|| format!("cannot run {name}"))?;
    if !done.status.success() {
        let said = String::from_utf8_lossy(&done.stderr);
        bail!("{name} failed ({}): {}", done.status, said.trim());
    }
    Ok(String::from_utf8_lossy(&done.stdout).trim_end().into())
}

/// The cases that a program has.
///
/// # Errors
/// When it does not say.
pub fn cases(program: &Path) -> Result<BTreeSet<String>> {
    let text = output(Command::new(program).arg("list"))?;
    Ok(text.lines().map(String::from).collect())
}

/// A running program that times what it is told to. Ends when it is dropped.
pub struct Worker {
    child: Child,
    orders: ChildStdin,
    answers: BufReader<ChildStdout>,
    answer: String,
}

impl Worker {
    /// Starts a program.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(program: &Path) -> Result<Worker> {
        let mut child = Command::new(program)
            .arg("serve")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start {}", program.display()))?;
        let pipes = child.stdin.take().zip(child.stdout.take());
        let (orders, answers) = pipes.ok_or_else(|| anyhow!("the program has no pipes"))?;
        Ok(Worker { child, orders, answers: BufReader::new(answers), answer: String::new() })
    }

    /// Nanoseconds that so many calls of a case take.
    ///
    /// # Errors
    /// When the program has ended or says something else.
    pub fn time(&mut self, case: &str, calls: u64) -> Result<f64> {
        let what = || format!("the program gave no time for {case}");
        writeln!(self.orders, "{case} {calls}").with_context(what)?;
        self.answer.clear();
        self.answers.read_line(&mut self.answer).with_context(what)?;
        // A clock that does not move in so many calls would make a ratio of nothing.
        let nanos: f64 = self.answer.trim().parse().with_context(what)?;
        Ok(nanos.max(1.0))
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
