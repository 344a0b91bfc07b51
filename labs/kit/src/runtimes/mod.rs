//! The same experiment in other languages, for comparison, where the reader has their runtimes.
//!
//! A lab's program in a language is one file in the lab's folder of that language, beside one that all programs of
//! the language share. They are embedded, so that a copied binary needs no other file. A program gets the
//! upstream's address and its parameters as flags, times itself, and prints one JSON object that
//! `labs/kit/python/common.py` describes. What is printed is checked like a stranger's `books`.
//!
//! `find` looks for runtimes, `prepare` lays out a program's files and compiles them where the language asks
//! for it, [`crate::child`] runs it within bounds.

use std::{ffi::OsString, path::Path, process::Command, sync::Arc, time::Duration};

use anyhow::{Context, bail};

use crate::{
    child::{Bounds, Child},
    stop::Stop,
    summary::{Condition, Summary},
};

mod books;
mod find;
mod language;
mod prepare;

pub(crate) use books::Books;
pub use find::{PYTHONS, Runtime, ask};
pub use language::{Language, Languages};

/// How the titles of tables end that set other languages beside Rust.
pub const BESIDE: &str = "in other languages";

/// How a note begins that says which version of a language a lab was compared with.
pub const COMPARED: &str = "compared with";

/// How a note begins that says why it was not.
pub const NOT_COMPARED: &str = "no comparison with";

/// A file of a program: its language, its name, its text.
pub type Source = (Language, &'static str, &'static str);

/// What all programs of a language share.
const COMMON: &[Source] = &[
    (Language::Python, "common.py", include_str!("../../python/common.py")),
    (Language::Node, "common.mjs", include_str!("../../node/common.mjs")),
    (Language::Go, "common.go", include_str!("../../go/common.go")),
    (Language::Go, "websocket.go", include_str!("../../go/websocket.go")),
    (Language::Java, "Common.java", include_str!("../../java/Common.java")),
];

/// A lab's programs: one for each language that the lab has been re-made in. See [`crate::programs!`].
#[derive(Clone, Copy, Debug)]
pub struct Programs {
    /// One file for each language.
    pub sources: &'static [Source],
}

impl Programs {
    /// No program in any language.
    pub const NONE: Programs = Programs { sources: &[] };

    /// The languages that there is a program for.
    pub fn languages(&self) -> Languages {
        let all = self.sources.iter().map(|(language, ..)| *language);
        all.fold(Languages::NONE, |set, language| set.and(Languages::of(&[language])))
    }

    fn source(&self, language: Language) -> Option<&'static Source> {
        self.sources.iter().find(|(of, ..)| *of == language)
    }
}

/// The programs of a lab in the languages named, embedded: `programs!("lab07", "Lab07": python, node, go, java)` in a
/// file of the lab's `src`. A program that is not there is an error of the compiler's.
#[macro_export]
macro_rules! programs {
    ($stem:literal, $class:literal: $($language:ident),+ $(,)?) => {
        $crate::runtimes::Programs {
            sources: &[$($crate::programs!(@ $language $stem $class)),+],
        }
    };
    (@ python $stem:literal $class:literal) => {
        $crate::programs!(@ Python, "python", $stem, ".py")
    };
    (@ node $stem:literal $class:literal) => {
        $crate::programs!(@ Node, "node", $stem, ".mjs")
    };
    (@ go $stem:literal $class:literal) => {
        $crate::programs!(@ Go, "go", $stem, ".go")
    };
    (@ java $stem:literal $class:literal) => {
        $crate::programs!(@ Java, "java", $class, ".java")
    };
    (@ $language:ident, $folder:literal, $stem:literal, $end:literal) => {
        (
            $crate::runtimes::Language::$language,
            concat!($stem, $end),
            include_str!(concat!("../", $folder, "/", $stem, $end)),
        )
    };
}

/// A program of a lab in one language, ready to be started.
#[derive(Clone, Debug)]
pub struct Program {
    /// Its language.
    pub language: Language,
    /// The name of its file: "lab07.mjs".
    pub name: &'static str,
    /// Whether arms that need several interpreters in one process can run, in Python.
    pub has_interpreters: bool,
    start: Vec<OsString>,
    /// Where it runs; nobody else writes there.
    folder: Arc<tempfile::TempDir>,
}

impl Program {
    /// The program of a language, ready to be started; one that is compiled is so here, once for all runs.
    ///
    /// # Errors
    /// When there is none, or it cannot be laid out or compiled.
    pub fn of(programs: &Programs, runtime: &Runtime, stop: &Stop) -> anyhow::Result<Program> {
        let language = runtime.language;
        let source = programs.source(language).context("there is no such program")?;
        let common = COMMON.iter().filter(|(of, ..)| *of == language);
        let files: Vec<(&str, &str)> =
            common.chain([source]).map(|(_, name, text)| (*name, *text)).collect();
        let name = source.1;
        let folder = crate::scratch::folder().context("no temporary folder for a program")?;
        let start = prepare::start(runtime, name, &files, folder.path(), stop)?;
        let has_interpreters = runtime.has_interpreters;
        Ok(Program { language, name, has_interpreters, start, folder: Arc::new(folder) })
    }

    /// Starts it with these words. Its standard input is held open until it has ended: when this process goes, so
    /// does the program.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn spawn(&self, words: &[String], limit: Duration, stop: &Stop) -> anyhow::Result<Child> {
        let (program, first) = self.start.split_first().context("nothing to start")?;
        let mut command = Command::new(program);
        command.args(first).args(words).arg("--parent").current_dir(self.folder.path());
        plain(&mut command);
        Child::spawn(command, Bounds::of(limit), stop)
            .with_context(|| format!("cannot start {}", Path::new(program).display()))
    }

    /// Runs it to its end and reads its books. `None` when the run was stopped meanwhile.
    ///
    /// # Errors
    /// When it cannot be started, fails, goes beyond its bounds, or prints what is no books; with what it wrote to
    /// standard error.
    pub(crate) async fn run(
        &self,
        words: &[String],
        limit: Duration,
        stop: &Stop,
    ) -> anyhow::Result<Option<Books>> {
        let name = self.name;
        let ended = self.spawn(words, limit, stop)?.ended().await;
        if ended.is_stopped() {
            return Ok(None);
        }
        if !ended.is_well() {
            bail!("{name} {}", ended.why());
        }
        let books = Books::read(&ended.out).with_context(|| format!("{name}{}", ended.said()))?;
        Ok(Some(books))
    }
}

/// The conditions of other languages, with the language and the arm, in the order of the record.
pub fn conditions<'a>(
    summary: &Summary<'a>,
) -> impl Iterator<Item = (Language, &'a str, Condition<'a>)> + use<'a> {
    summary.conditions().filter_map(|k| {
        let (language, arm) = Language::of_series(k.series())?;
        Some((language, arm, k))
    })
}

/// What is said where [`Program::has_interpreters`] is false and a lab has arms for them.
pub const NO_INTERPRETERS: &str = "no comparison with several interpreters in one process of Python: 3.14 has them, and for 3.13 there is `python3 -m pip install interpreters-pep-734`";

/// Seconds that a goroutine computes until Go interrupts it; its runtime looks for such ones as often, and for what has
/// come over the network (`forcePreemptNS` and `sysmon` of Go 1.22).
pub const GO_LOOK_S: f64 = 10e-3;

/// Seconds for which one thread of CPython keeps the lock of the interpreter while another waits for it
/// (`sys.setswitchinterval`).
pub const PYTHON_SWITCH_S: f64 = 5e-3;

/// Variables that send requests elsewhere, or make a runtime another than the one that is measured.
const OTHERS: [&str; 24] = [
    "http_proxy",
    "HTTP_PROXY",
    "https_proxy",
    "HTTPS_PROXY",
    "all_proxy",
    "ALL_PROXY",
    "NODE_OPTIONS",
    "NODE_USE_ENV_PROXY",
    "UV_THREADPOOL_SIZE",
    "GODEBUG",
    "GOGC",
    "GOMAXPROCS",
    "GOMEMLIMIT",
    "GOTRACEBACK",
    "JAVA_TOOL_OPTIONS",
    "JDK_JAVA_OPTIONS",
    "JDK_JAVAC_OPTIONS",
    "_JAVA_OPTIONS",
    "PYTHONASYNCIODEBUG",
    "PYTHONDEVMODE",
    "PYTHONMALLOC",
    "PYTHONSAFEPATH",
    "PYTHON_GIL",
    "AIOHTTP_NO_EXTENSIONS",
];

/// Gives a program the environment in which its runtime is as it is by itself, and never asks a proxy.
fn plain(command: &mut Command) {
    OTHERS.iter().for_each(|name| {
        command.env_remove(name);
    });
    command
        .env("NO_PROXY", "127.0.0.1,localhost,::1")
        .env("no_proxy", "127.0.0.1,localhost,::1")
        .env("PYTHONIOENCODING", "utf-8")
        .env("PYTHONDONTWRITEBYTECODE", "1");
}

#[cfg(test)]
mod tests {
    use super::*;

    const PROGRAMS: Programs = Programs {
        sources: &[(Language::Python, "lab00.py", ""), (Language::Node, "lab00.mjs", "")],
    };

    #[test]
    fn a_lab_has_the_languages_of_its_programs() {
        let languages = PROGRAMS.languages();
        assert_eq!(languages, Languages::of(&[Language::Python, Language::Node]));
        assert!(PROGRAMS.source(Language::Go).is_none());
        for language in Language::ALL {
            assert!(COMMON.iter().any(|(of, _, text)| *of == language && !text.is_empty()));
        }
    }

    #[tokio::test]
    async fn an_interpreter_that_vanished_is_an_error_with_its_name() {
        let runtime = Runtime {
            language: Language::Python,
            version: "3.12.0, aiohttp 3.11".into(),
            runs: "/no/such/python3".into(),
            compiles: None,
            has_interpreters: false,
        };
        let stop = Stop::default();
        let program = Program::of(&PROGRAMS, &runtime, &stop).unwrap();
        let run = program.run(&[], Duration::from_secs(5), &stop);
        let why = format!("{:#}", run.await.unwrap_err());
        assert!(why.contains("cannot start /no/such/python3"), "{why}");
    }
}
