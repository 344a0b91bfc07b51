//! Building a learner's file with the authors' harness.
//!
//! Kit, harness and manifests are written anew from this program whenever they differ, so that only the learner's
//! file can be the learner's. Afterwards the compiler's own list says which files it read: no others may be in it.

use std::{
    ffi::{OsStr, OsString},
    fs,
    io::Read,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use lab_kit::store::write_whole;
use serde_json::Value;

use crate::{
    shelf::{self, Files},
    source::{self, Unfit},
};

/// Longest time for one build, after the first.
const BUILD: Duration = Duration::from_secs(120);
/// Most lines of the compiler that are shown.
const LINES: usize = 40;

/// Where exercises are built.
#[derive(Clone, Debug)]
pub(crate) struct Workshop {
    root: PathBuf,
    target: PathBuf,
    colour: bool,
}

/// Why a file was not built.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// The compiler's words.
    DoesNotCompile(String),
    /// It compiles, but has not what is called.
    DoesNotFit(String),
    /// It says what no exercise may say.
    Unfit(Unfit),
    /// It takes in other files.
    Reads(String),
    /// The compiler did not end.
    TooLong,
}

impl Workshop {
    /// A workshop in the folder `target` of the exercises.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(crate) fn open(exercises: &Path, colour: bool) -> Result<Workshop> {
        // In full: which files a compiler has read is told by their paths.
        let exercises = exercises.canonicalize().unwrap_or_else(|_| exercises.to_owned());
        let target = exercises.join("target");
        let root = target.join("make");
        let shop = Workshop { root, target, colour };
        shop.furnish().with_context(|| {
            format!("exercises are built in {}, which cannot be written", shop.target.display())
        })?;
        Ok(shop)
    }

    fn furnish(&self) -> Result<()> {
        fs::create_dir_all(self.root.join("hands"))?;
        let manifest = shelf::MANIFEST.replace("ex[0-9][0-9]_*", "hands/*");
        keep(&self.root.join("Cargo.toml"), &manifest)?;
        if !self.root.join("Cargo.lock").exists() {
            keep(&self.root.join("Cargo.lock"), shelf::LOCK)?;
        }
        for (name, content) in shelf::KIT {
            keep(&self.root.join("kit").join(name), content)?;
        }
        Ok(())
    }

    /// Builds a source in an exercise's harness. `hand` tells whose it is: each has a place of its own, so that
    /// what has not changed need not be built again.
    ///
    /// # Errors
    /// When there is no cargo, or it ends for other reasons than the source.
    pub(crate) fn build(
        &self,
        files: &Files,
        hand: &str,
        source: &str,
        orders: bool,
    ) -> Result<Result<PathBuf, Refused>> {
        if let Some(unfit) = source::unfit(source, files.manifest.contains("orders =")) {
            return Ok(Err(Refused::Unfit(unfit)));
        }
        let with_orders = if orders { "-orders" } else { "" };
        let package = format!("{}-{hand}{with_orders}", files.folder);
        let place = self.root.join("hands").join(&package);
        fs::create_dir_all(&place)?;
        let own = format!("name = \"{}\"", files.folder);
        keep(
            &place.join("Cargo.toml"),
            &files.manifest.replace(&own, &format!("name = \"{package}\"")),
        )?;
        keep(&place.join("main.rs"), files.main)?;
        keep(&place.join("exercise.rs"), source)?;
        // What is here already is enough, nearly always; else crates are fetched once.
        let mut said = self.cargo(&package, orders)?;
        if said.as_ref().is_some_and(|said| said.lacks_crates()) {
            self.fetch()?;
            said = self.cargo(&package, orders)?;
        }
        let Some(said) = said else { return Ok(Err(Refused::TooLong)) };
        let Some(program) = said.program else {
            return said.refusal(&place).map(Err);
        };
        Ok(match foreign(&program, &self.root, &place)? {
            Some(file) => Err(Refused::Reads(file)),
            None => Ok(program),
        })
    }

    /// Gets the crates: by itself, since a source can print what is in the environment of its compiler, and a
    /// proxy's address may have a password.
    fn fetch(&self) -> Result<()> {
        let mut command = Command::new(cargo());
        command.current_dir(&self.root).args(["fetch", "--quiet"]).stdin(Stdio::null());
        let done = command.output().context("cargo cannot be started")?;
        let said = String::from_utf8_lossy(&done.stderr);
        ensure!(
            done.status.success(),
            "the crates of the exercises cannot be fetched, and some are not here: connect once, and run `labs make prepare`\n{}",
            shortened(&said)
        );
        Ok(())
    }

    fn cargo(&self, package: &str, orders: bool) -> Result<Option<Said>> {
        let format = if self.colour { "json-diagnostic-rendered-ansi" } else { "json" };
        let mut command = Command::new(cargo());
        command
            .current_dir(&self.root)
            .args([
                "build",
                "--quiet",
                "--offline",
                "--package",
                package,
                "--message-format",
                format,
            ])
            .arg("--target-dir")
            .arg(&self.target)
            .args(orders.then_some("--features=orders"))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        // A source can print what is in the environment, by an error of its own.
        command.env_clear().envs(std::env::vars_os().filter(|(name, _)| is_needed(name)));
        command.env("CARGO_TERM_COLOR", "never");
        // The compiler is ended with cargo.
        #[cfg(unix)]
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        let mut child = command.spawn().context(
            "cargo cannot be started: exercises are compiled, so Rust must be installed (https://rustup.rs)",
        )?;
        let out = collected(child.stdout.take());
        let err = collected(child.stderr.take());
        let until = Instant::now() + BUILD;
        let status = loop {
            if let Some(status) = child.try_wait()? {
                break status;
            }
            if Instant::now() >= until {
                end(&mut child);
                return Ok(None);
            }
            thread::sleep(Duration::from_millis(5));
        };
        let out = out.recv().unwrap_or_default();
        let err = err.recv().unwrap_or_default();
        Ok(Some(Said::read(&out, err, status.success())))
    }
}

fn cargo() -> OsString {
    std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into())
}

/// Ends cargo, and the compiler that it has started.
fn end(child: &mut Child) {
    #[cfg(unix)]
    if let Ok(group) = i32::try_from(child.id()) {
        let group = nix::unistd::Pid::from_raw(group);
        let _ = nix::sys::signal::killpg(group, nix::sys::signal::Signal::SIGKILL);
    }
    let _ = child.kill();
    let _ = child.wait();
}

/// Whether cargo and the compiler need this variable.
fn is_needed(name: &OsStr) -> bool {
    const NEEDED: [&str; 24] = [
        "PATH",
        "HOME",
        "TMPDIR",
        "TEMP",
        "TMP",
        "CARGO_HOME",
        "RUSTUP_HOME",
        "RUSTUP_TOOLCHAIN",
        // Where macOS and Windows have their linker and its libraries.
        "SDKROOT",
        "DEVELOPER_DIR",
        "SYSTEMROOT",
        "SYSTEMDRIVE",
        "WINDIR",
        "COMSPEC",
        "PATHEXT",
        "USERPROFILE",
        "APPDATA",
        "LOCALAPPDATA",
        "PROGRAMDATA",
        "PROGRAMFILES",
        "PROGRAMFILES(X86)",
        "LIB",
        "LIBPATH",
        "INCLUDE",
    ];
    let name = name.to_string_lossy().to_uppercase();
    NEEDED.contains(&name.as_str())
}

/// What cargo and the compiler said.
struct Said {
    program: Option<PathBuf>,
    /// A file that an error shows, which is none of the exercise's.
    foreign: Option<String>,
    /// Errors, with the file that they are about.
    errors: Vec<(String, String)>,
    rest: String,
}

impl Said {
    fn read(out: &str, rest: String, is_success: bool) -> Said {
        let mut said = Said { program: None, foreign: None, errors: Vec::new(), rest };
        for line in out.lines() {
            let Ok(message) = serde_json::from_str::<Value>(line) else { continue };
            match message["reason"].as_str() {
                Some("compiler-artifact") if is_success => {
                    if let Some(program) = message["executable"].as_str() {
                        said.program = Some(program.into());
                    }
                }
                Some("compiler-message") if message["message"]["level"] == "error" => {
                    let message = &message["message"];
                    said.foreign = said.foreign.or_else(|| foreign_in(message));
                    let spans = message["spans"].as_array().into_iter().flatten();
                    let mut spans = spans.filter(|span| span["is_primary"] == true);
                    let file = spans.next().and_then(|span| span["file_name"].as_str());
                    let rendered = message["rendered"].as_str().unwrap_or_default();
                    let file = file.unwrap_or_default();
                    said.errors.push((file.to_owned(), rendered.to_owned()));
                }
                _ => {}
            }
        }
        said
    }

    fn lacks_crates(&self) -> bool {
        let offline = ["--offline", "offline mode", "failed to download", "no matching package"];
        self.program.is_none()
            && self.errors.is_empty()
            && offline.iter().any(|sign| self.rest.contains(sign))
    }

    fn refusal(&self, place: &Path) -> Result<Refused> {
        if let Some(file) = &self.foreign {
            return Ok(Refused::Reads(file.clone()));
        }
        if self.errors.is_empty() {
            bail!("cargo could not build the exercise:\n{}", shortened(&self.rest));
        }
        let own = |file: &str| file.ends_with("exercise.rs");
        let (in_file, beside): (Vec<_>, Vec<_>) =
            self.errors.iter().partition(|(file, _)| own(file) || file.is_empty());
        let of_file = in_file.iter().any(|(file, _)| own(file));
        let chosen = if of_file { in_file } else { beside };
        let text: String = chosen.iter().map(|(_, text)| text.as_str()).collect();
        // Paths of the workshop mean nothing to the reader.
        let folder = place.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let text = text
            .replace(&format!("hands/{folder}/"), "")
            .replace(&format!("hands\\{folder}\\"), "");
        let text = shortened(&text);
        Ok(if of_file { Refused::DoesNotCompile(text) } else { Refused::DoesNotFit(text) })
    }
}

/// A file that this part of a message speaks of, and that is neither of the exercise nor of a library.
fn foreign_in(message: &Value) -> Option<String> {
    let known = |file: &str| {
        let file = file.replace('\\', "/");
        let parts: Vec<&str> = file.split('/').collect();
        let own = matches!(parts[..], ["hands", _, "main.rs" | "exercise.rs"] | ["kit", "src", _]);
        // Of a library, or what a macro has made.
        let libraries = ["/registry/src/", "/rustlib/src/"].iter().any(|part| file.contains(part));
        let libraries = (libraries || file.starts_with("/rustc/")) && !parts.contains(&"..");
        own || libraries || file.starts_with('<')
    };
    match message {
        Value::Object(fields) => fields.iter().find_map(|(name, value)| match value.as_str() {
            Some(file) if name == "file_name" => (!known(file)).then(|| file.to_owned()),
            _ => foreign_in(value),
        }),
        Value::Array(values) => values.iter().find_map(foreign_in),
        _ => None,
    }
}

fn shortened(text: &str) -> String {
    let lines: Vec<&str> = text.trim_end().lines().collect();
    if lines.len() <= LINES {
        return lines.join("\n");
    }
    format!("{}\n… and {} more lines", lines[..LINES].join("\n"), lines.len() - LINES)
}

/// A file that the compiler read and that is neither the kit's nor one of the two of this place.
///
/// Beside a program cargo leaves the list of all files that it was made from: `program: file file`.
fn foreign(program: &Path, root: &Path, place: &Path) -> Result<Option<String>> {
    let list = program.with_extension("d");
    let text = fs::read_to_string(&list)
        .with_context(|| format!("{} is missing, with what was compiled", list.display()))?;
    let files = text.split_once(": ").map_or("", |(_, files)| files);
    // A blank in a name has a backslash before it.
    let files = files.replace("\\ ", "\0");
    let mut allowed = vec![place.join("main.rs"), place.join("exercise.rs")];
    allowed.extend(shelf::KIT.iter().map(|(name, _)| root.join("kit").join(name)));
    for file in files.split_whitespace() {
        let file = PathBuf::from(file.replace('\0', " "));
        if !allowed.contains(&file) {
            return Ok(Some(file.display().to_string()));
        }
    }
    Ok(None)
}

/// Writes what is not there already: what has not changed is not built again.
fn keep(path: &Path, content: &str) -> Result<()> {
    if fs::read(path).is_ok_and(|old| old == content.as_bytes()) {
        return Ok(());
    }
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    write_whole(path, content.as_bytes())
}

fn collected(from: Option<impl Read + Send + 'static>) -> mpsc::Receiver<String> {
    let (into, text) = mpsc::channel();
    thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(mut from) = from {
            let _ = from.read_to_end(&mut bytes);
        }
        let _ = into.send(String::from_utf8_lossy(&bytes).into_owned());
    });
    text
}
