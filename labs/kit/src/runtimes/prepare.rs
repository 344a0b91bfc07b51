//! Laying out a program's files, and compiling them where the language asks for it.
//!
//! What was compiled is kept in the user's folder for such things, by language and program, and is there at once
//! the next time. It is compiled in a folder of its own and moved into place when it is whole: runs at the same
//! time find the one or the other, and each is right. It is used for the very sources and the very toolchain that
//! it was made of.

use std::{
    env,
    ffi::OsString,
    fs,
    hash::{DefaultHasher, Hash, Hasher},
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, SystemTime},
};

use anyhow::{Context, Result, bail};

use super::{Language, Runtime, find::OLDEST_JAVA, plain};
use crate::{
    child::{Bounds, Child},
    stop::Stop,
};

/// Longer than a compiler takes that compiles its standard library first, on a slow machine.
const COMPILING: Bounds = Bounds { memory: 4_000_000_000, ..Bounds::of(Duration::from_secs(600)) };

/// The file of a kept program that says what it was made of; its age is the time since it was used.
const MADE_OF: &str = "made_of";

/// What was not used for so long is deleted when something else is kept.
const FORGOTTEN: Duration = Duration::from_secs(14 * 24 * 3600);

/// What nobody may still be compiling is of somebody who was killed.
const ABANDONED: Duration = Duration::from_secs(24 * 3600);

/// The words that start a program: what runs it, and what comes before its flags. Its files are laid out in
/// `folder` or, compiled, where such things are kept.
pub(super) fn start(
    runtime: &Runtime,
    name: &str,
    files: &[(&str, &str)],
    folder: &Path,
    stop: &Stop,
) -> Result<Vec<OsString>> {
    let runs = runtime.runs.clone().into_os_string();
    let stem = name.split('.').next().unwrap_or(name);
    match runtime.language {
        // Files and not words: worker processes import them, and traces of errors show their lines.
        Language::Python | Language::Node => {
            lay_out(folder, files)?;
            Ok(vec![runs, folder.join(name).into()])
        }
        Language::Go => {
            let binary = format!("{stem}{}", env::consts::EXE_SUFFIX);
            let kept = kept(runtime, stem, files, folder, stop, |place| {
                fs::write(place.join("go.mod"), "module lab\n\ngo 1.22\n")?;
                Ok(vec![
                    "build".into(),
                    "-buildvcs=false".into(),
                    "-o".into(),
                    binary.clone().into(),
                    ".".into(),
                ])
            })?;
            Ok(vec![kept.join(binary).into()])
        }
        Language::Java => {
            let kept = kept(runtime, stem, files, folder, stop, |_| {
                // The compiler may be newer than what runs.
                let release = OLDEST_JAVA.to_string();
                let words = ["--release", &release, "-encoding", "UTF-8", "-d", "classes"];
                let mut words: Vec<OsString> = words.map(OsString::from).into();
                words.extend(files.iter().map(|(name, _)| OsString::from(name)));
                Ok(words)
            })?;
            // A heap has a bound, as every child has; and nothing is left in the temporary folder.
            let mut words = vec![runs];
            words.extend(["-Xmx1g", "-XX:-UsePerfData", "-cp"].map(OsString::from));
            words.extend([kept.join("classes").into(), stem.into()]);
            Ok(words)
        }
    }
}

fn lay_out(folder: &Path, files: &[(&str, &str)]) -> Result<()> {
    for (name, text) in files {
        fs::write(folder.join(name), text)
            .with_context(|| format!("cannot write {name} to {}", folder.display()))?;
    }
    Ok(())
}

/// The folder in which the compiled program is, made first if it is not there. `words` are those for the compiler,
/// which runs in the folder that it is given.
fn kept(
    runtime: &Runtime,
    stem: &str,
    files: &[(&str, &str)],
    scratch: &Path,
    stop: &Stop,
    words: impl Fn(&Path) -> Result<Vec<OsString>>,
) -> Result<PathBuf> {
    let shelf = shelf().filter(|shelf| fs::create_dir_all(shelf).is_ok());
    // Where nothing can be kept it is compiled each time.
    let shelf = shelf.unwrap_or_else(|| scratch.to_path_buf());
    kept_on(&shelf, runtime, stem, files, stop, words)
}

fn kept_on(
    shelf: &Path,
    runtime: &Runtime,
    stem: &str,
    files: &[(&str, &str)],
    stop: &Stop,
    words: impl Fn(&Path) -> Result<Vec<OsString>>,
) -> Result<PathBuf> {
    let compiler = runtime.compiles.as_deref().context("there is no compiler")?;
    let made_of = made_of(runtime, files);
    let mut hasher = DefaultHasher::new();
    made_of.hash(&mut hasher);
    let title = format!("{}-{stem}-", runtime.language.key());
    let place = shelf.join(format!("{title}{:016x}", hasher.finish()));
    if is_whole(&place, &made_of) {
        return Ok(place);
    }
    let making = tempfile::Builder::new()
        .prefix(&format!("making-{title}"))
        .tempdir_in(shelf)
        .with_context(|| format!("no room to compile in {}", shelf.display()))?;
    lay_out(making.path(), files)?;
    let mut command = Command::new(compiler);
    command.args(words(making.path())?).current_dir(making.path());
    compile(command, making.path(), stop)?;
    fs::write(making.path().join(MADE_OF), &made_of)?;
    let made = making.keep();
    // Something broken in its place goes; somebody else's whole one stays, and is as good.
    if fs::rename(&made, &place).is_err() && !is_whole(&place, &made_of) {
        let _ = fs::remove_dir_all(&place);
        fs::rename(&made, &place)
            .with_context(|| format!("cannot keep a program in {}", place.display()))?;
    }
    let _ = fs::remove_dir_all(&made);
    tidy(shelf);
    Ok(place)
}

fn compile(mut command: Command, folder: &Path, stop: &Stop) -> Result<()> {
    plain(&mut command);
    // No toolchain and no package is fetched, and no other project has a say.
    for (name, value) in [
        ("GOENV", "off"),
        ("GOTOOLCHAIN", "local"),
        ("GOPROXY", "off"),
        ("GOFLAGS", ""),
        ("GOWORK", "off"),
        ("GO111MODULE", "on"),
        ("GOOS", ""),
        ("GOARCH", ""),
        ("CGO_ENABLED", "0"),
    ] {
        command.env(name, value);
    }
    if env::var_os("GOCACHE").is_none() && home().is_none() {
        command.env("GOCACHE", folder.join("go-build"));
    }
    let program = command.get_program().to_string_lossy().into_owned();
    let child = Child::spawn(command, COMPILING, stop)
        .with_context(|| format!("cannot start {program}"))?;
    child.close_input();
    let ended = child.wait();
    if !ended.is_well() {
        bail!("it does not compile: {program} {}{}", ended.why(), ended.out.trim_end());
    }
    Ok(())
}

/// All that a compiled program depends on.
fn made_of(runtime: &Runtime, files: &[(&str, &str)]) -> String {
    let compiler = runtime.compiles.as_deref().unwrap_or(Path::new(""));
    let mut text = format!(
        "{} {} {}\n{}\n",
        runtime.language,
        runtime.version,
        compiler.display(),
        env::consts::ARCH
    );
    for (name, source) in files {
        text += &format!("{name}\n{source}\n");
    }
    text
}

/// Whether what is kept there was made of this, and is whole: what says so is written last. Then it is in use.
fn is_whole(place: &Path, made_of: &str) -> bool {
    let file = place.join(MADE_OF);
    let whole = fs::read_to_string(&file).is_ok_and(|text| text == made_of);
    if whole && let Ok(file) = fs::File::options().append(true).open(&file) {
        // A folder that cannot be written to is never tidied either.
        let _ = file.set_modified(SystemTime::now());
    }
    whole
}

/// Deletes what nobody has used for long, and what was never made to the end.
fn tidy(shelf: &Path) {
    let Ok(entries) = fs::read_dir(shelf) else {
        return;
    };
    for entry in entries.flatten() {
        let folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
        let name = entry.file_name();
        let making = name.to_str().is_some_and(|name| name.starts_with("making-"));
        let (of, most) = match making {
            true => (entry.path(), ABANDONED),
            false => (entry.path().join(MADE_OF), FORGOTTEN),
        };
        let changed = fs::metadata(of).and_then(|about| about.modified());
        let age = changed.ok().and_then(|at| at.elapsed().ok());
        if folder && age.is_some_and(|age| age > most) {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

/// Where compiled programs of this user are kept.
fn shelf() -> Option<PathBuf> {
    let named = |name: &str| {
        let path = env::var_os(name).map(PathBuf::from);
        path.filter(|path| path.is_absolute())
    };
    let caches = if cfg!(windows) {
        named("LOCALAPPDATA")
    } else if cfg!(target_os = "macos") {
        home().map(|home| home.join("Library/Caches"))
    } else {
        named("XDG_CACHE_HOME").or_else(|| home().map(|home| home.join(".cache")))
    };
    Some(caches?.join("concurrency-labs").join("programs"))
}

fn home() -> Option<PathBuf> {
    let name = if cfg!(windows) { "USERPROFILE" } else { "HOME" };
    env::var_os(name).map(PathBuf::from).filter(|home| home.is_absolute())
}

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    const FILES: [(&str, &str); 2] = [("common.go", "one"), ("lab00.go", "two")];

    /// A Go whose compiler is this script.
    fn go(folder: &Path, script: &str) -> Runtime {
        let compiler = folder.join("go");
        fs::write(&compiler, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&compiler, fs::Permissions::from_mode(0o755)).unwrap();
        Runtime {
            language: Language::Go,
            version: "1.99".into(),
            runs: compiler.clone(),
            compiles: Some(compiler),
            has_interpreters: false,
        }
    }

    fn made(runtime: &Runtime, shelf: &Path) -> Result<PathBuf> {
        let words = |_: &Path| Ok(vec!["build".into()]);
        // What has no home is kept in the folder of the run.
        super::kept_on(shelf, runtime, "lab00", &FILES, &Stop::default(), words)
    }

    #[test]
    fn what_was_compiled_is_kept_and_used_again() {
        let folder = tempfile::tempdir().unwrap();
        let shelf = folder.path().join("shelf");
        fs::create_dir(&shelf).unwrap();
        let count = folder.path().join("count");
        let script = format!("echo x >> {}; cat common.go lab00.go > out", count.display());
        let runtime = go(folder.path(), &script);
        let first = made(&runtime, &shelf).unwrap();
        assert_eq!(fs::read_to_string(first.join("out")).unwrap(), "onetwo");
        assert_eq!(made(&runtime, &shelf).unwrap(), first);
        let compiled = || fs::read_to_string(&count).unwrap().lines().count();
        assert_eq!(compiled(), 1);
        // What is there and says that it was made of something else is made anew.
        fs::write(first.join(MADE_OF), "something else").unwrap();
        assert_eq!(made(&runtime, &shelf).unwrap(), first);
        assert_eq!(compiled(), 2);
        // Another version of the toolchain has a place of its own.
        let newer = Runtime { version: "1.100".into(), ..runtime };
        assert_ne!(made(&newer, &shelf).unwrap(), first);
        assert_eq!(compiled(), 3);
        let left = fs::read_dir(&shelf).unwrap().flatten();
        assert_eq!(left.count(), 2, "what was being made is gone");
    }

    #[test]
    fn many_who_compile_at_the_same_time_all_find_a_whole_one() {
        let folder = tempfile::tempdir().unwrap();
        let shelf = folder.path().join("shelf");
        fs::create_dir(&shelf).unwrap();
        let runtime = go(folder.path(), "cat common.go > out; sleep 0.05; cat lab00.go >> out");
        let texts: Vec<String> = std::thread::scope(|scope| {
            let all: Vec<_> = (0..6)
                .map(|_| {
                    scope.spawn(|| {
                        let place = made(&runtime, &shelf).unwrap();
                        fs::read_to_string(place.join("out")).unwrap()
                    })
                })
                .collect();
            all.into_iter().map(|one| one.join().unwrap()).collect()
        });
        assert_eq!(texts, vec!["onetwo"; 6]);
    }

    #[test]
    fn what_does_not_compile_is_an_error_with_the_compilers_words() {
        let folder = tempfile::tempdir().unwrap();
        let runtime = go(folder.path(), "echo lab00.go:7: no such luck >&2; exit 2");
        let why = format!("{:#}", made(&runtime, folder.path()).unwrap_err());
        assert!(why.contains("it does not compile") && why.contains("no such luck"), "{why}");
        let left = fs::read_dir(folder.path()).unwrap().flatten();
        assert_eq!(left.count(), 1, "only the compiler is there");
    }

    #[test]
    fn only_what_is_forgotten_goes() {
        let shelf = tempfile::tempdir().unwrap();
        let old = SystemTime::now() - FORGOTTEN * 2;
        let make = |name: &str, forgotten: bool| {
            let place = shelf.path().join(name);
            fs::create_dir(&place).unwrap();
            let file = fs::File::create(place.join(MADE_OF)).unwrap();
            if forgotten {
                file.set_modified(old).unwrap();
            }
            place
        };
        let (used, forgotten) = (make("go-lab00-1", false), make("go-lab00-2", true));
        let others = shelf.path().join("somebody_elses");
        fs::create_dir(&others).unwrap();
        tidy(shelf.path());
        assert!(used.exists() && !forgotten.exists() && others.exists());
    }
}
