//! The watchdog: starts a program as a process of its own, listens to what its tasks say, and ends it
//! when it falls silent. In the program, a [`Witness`] says it.
//!
//! A thread that waits for a lock cannot be ended from outside, only its process can; and a program
//! that hangs can no longer say why. So everybody speaks *before* waiting, and what was said last is
//! where it hangs.

use std::{
    collections::BTreeMap,
    io::Write,
    process::Stdio,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use lab_kit::{cli, lab::Lab, session::Recorder};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::Command,
    time::timeout,
};

use super::{Params, SharedState, gauges, programs::Program};

/// How long a program may take to say its first word: the system has to load it.
const START: Duration = Duration::from_secs(20);
/// The last word of a task.
const ENDS: &str = "ends";

/// A task that says what it has and what it waits for, a line each time: name, locks it has, what it
/// does, its thread; with tabs between.
pub(super) struct Witness {
    name: String,
    has: Mutex<Vec<String>>,
}

impl Witness {
    /// A task of this name that has nothing.
    pub(super) fn new(name: String) -> Witness {
        let has = Mutex::default();
        Witness { name, has }
    }

    /// It does this now.
    pub(super) fn says(&self, does: &str) {
        let has = self.has.lock().unwrap_or_else(PoisonError::into_inner);
        let thread = std::thread::current();
        let thread = thread.name().unwrap_or_default();
        let line = format!("{}\t{}\t{does}\t{thread}\n", self.name, has.join(" and "));
        // In one piece, or lines of several threads would mix. Who no longer listens has left.
        let _ = std::io::stdout().write_all(line.as_bytes());
    }

    /// It is going to wait for a lock.
    pub(super) fn waits_for(&self, lock: &str) {
        self.says(&format!("waits for {lock}"));
    }

    /// It has the lock from now on.
    pub(super) fn has(&self, lock: &str) {
        let mut has = self.has.lock().unwrap_or_else(PoisonError::into_inner);
        has.push(lock.into());
        drop(has);
        self.says("goes on");
    }

    /// It is done.
    pub(super) fn ends(&self) {
        self.says(ENDS);
    }
}

/// Names for the threads of a runtime: worker 1, worker 2 …
pub(super) fn worker_name() -> impl Fn() -> String + Send + Sync + 'static {
    let next = AtomicUsize::new(1);
    move || format!("worker {}", next.fetch_add(1, Relaxed))
}

/// Ends this process when its input ends, which happens when the watchdog dies, however it dies: a
/// program that hangs must not outlive it.
pub(super) fn end_with_input() {
    std::thread::spawn(|| {
        let _ = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
        std::process::exit(1);
    });
}

/// Where a program hung.
pub(super) struct Report {
    program: Program,
    text: String,
}

impl Report {
    /// What each program that hung said, once for each program, in their order.
    pub(super) fn once_each(reports: Vec<Report>) -> Vec<String> {
        let of = |program: &str| reports.iter().find(|r| r.program.name() == program);
        let mut names: Vec<&str> = reports.iter().map(|r| r.program.name()).collect();
        names.sort_unstable();
        names.dedup();
        let text = |name| Some(format!("{name} hung: {}", of(name)?.text));
        names.into_iter().filter_map(text).collect()
    }
}

/// Runs a program; a report when it had to be ended.
pub(super) async fn watch(r: &Recorder, p: &Params, program: Program) -> Result<Option<Report>> {
    let mut command = Command::from(cli::again(&SharedState::CARD)?);
    command.args(["--program", program.name()]);
    command.args(["--pause", &p.pause.to_string()]);
    command.args(["--patience", &p.patience.to_string()]);
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .context("cannot start a program of its own")?;
    let output = child.stdout.take().context("its output was asked for")?;
    let mut lines = BufReader::new(output).lines();
    let (mut board, mut limit) = (Board::default(), START);
    let silent = loop {
        // The clock starts with the first word.
        match timeout(limit, lines.next_line()).await {
            Ok(Ok(Some(line))) => board.hear(&line, Instant::now()),
            Ok(Ok(None)) => break None,
            Ok(Err(error)) => return Err(error.into()),
            Err(_) => break Some(Instant::now()),
        }
        limit = p.patience.duration();
    };
    let end = silent.unwrap_or_else(Instant::now);
    let hung = silent.is_some();
    if hung {
        child.start_kill()?;
    }
    let status = child.wait().await?;
    if !hung && !status.success() {
        bail!("{} ended with {status}", program.name());
    }
    let begun = board.begun().unwrap_or(end);
    for (task, word, from, to) in board.words(end) {
        r.span(task, &word.tell(), from, to);
    }
    r.gauge(gauges::HUNG, f64::from(u8::from(hung)));
    r.wall(end - begun);
    let text = board.describe();
    Ok(hung.then_some(Report { program, text }))
}

/// What a task said.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Word {
    has: String,
    does: String,
    thread: String,
}

impl Word {
    fn parse(line: &str) -> Option<(&str, Word)> {
        let mut parts = line.split('\t');
        let mut next = || parts.next();
        let (task, has, does, thread) = (next()?, next()?, next()?, next()?);
        let word = Word { has: has.into(), does: does.into(), thread: thread.into() };
        Some((task, word))
    }

    /// "has account 1, waits for account 2".
    fn tell(&self) -> String {
        match self.has.as_str() {
            "" => self.does.clone(),
            has => format!("has {has}, {}", self.does),
        }
    }
}

/// Everything that the tasks of a program said, and when.
#[derive(Default)]
struct Board(BTreeMap<String, Vec<(Instant, Word)>>);

impl Board {
    fn hear(&mut self, line: &str, now: Instant) {
        if let Some((task, word)) = Word::parse(line) {
            self.0.entry(task.into()).or_default().push((now, word));
        }
    }

    fn begun(&self) -> Option<Instant> {
        let all = self.0.values().flatten();
        all.map(|(at, _)| *at).min()
    }

    /// What each did from when to when; whoever has not ended did it to the end.
    fn words(&self, end: Instant) -> Vec<(&str, &Word, Instant, Instant)> {
        let mut all = Vec::new();
        for (task, words) in &self.0 {
            for (i, (from, word)) in words.iter().enumerate() {
                let to = words.get(i + 1).map_or(end, |(next, _)| *next);
                if word.does != ENDS {
                    all.push((task.as_str(), word, *from, to));
                }
            }
        }
        all
    }

    /// The last words of all that have not ended, those with the same ones together.
    fn describe(&self) -> String {
        let mut last: Vec<(String, Vec<&str>)> = Vec::new();
        for (task, words) in &self.0 {
            let Some((_, word)) = words.last().filter(|(_, w)| w.does != ENDS) else {
                continue;
            };
            // Who waits for a lock stops a thread, which may be one that others need.
            let stops = word.does.starts_with("waits for") && !word.thread.is_empty();
            let told = match stops {
                true => format!("{}, which stops {}", word.tell(), word.thread),
                false => word.tell(),
            };
            match last.iter_mut().find(|(other, _)| *other == told) {
                Some((_, tasks)) => tasks.push(task),
                None => last.push((told, vec![task])),
            }
        }
        let each = |(told, tasks): &(String, Vec<&str>)| format!("{}: {told}", tasks.join(", "));
        last.iter().map(each).collect::<Vec<_>>().join("; ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn board(lines: &[&str]) -> Board {
        let mut board = Board::default();
        let start = Instant::now();
        for (i, line) in lines.iter().enumerate() {
            board.hear(line, start + Duration::from_millis(i as u64));
        }
        board
    }

    #[test]
    fn the_last_words_say_where_it_hangs() {
        let hung = board(&[
            "thread 1\t\twaits for account 1\tworker 1",
            "thread 2\t\twaits for account 2\tworker 2",
            "thread 1\taccount 1\tgoes on\tworker 1",
            "thread 2\taccount 2\tgoes on\tworker 2",
            "thread 1\taccount 1\twaits for account 2\tworker 1",
            "thread 2\taccount 2\twaits for account 1\tworker 2",
            "thread 3\t\tends\tworker 3",
        ]);
        assert_eq!(
            hung.describe(),
            "thread 1: has account 1, waits for account 2, which stops worker 1; \
             thread 2: has account 2, waits for account 1, which stops worker 2"
        );
    }

    #[test]
    fn who_is_in_the_same_place_is_named_together() {
        let hung = board(&["a\t\tsleeps\tx", "b\t\tsleeps\ty", "garbage", "c\t\tends\tx"]);
        assert_eq!(hung.describe(), "a, b: sleeps");
    }

    #[test]
    fn a_word_lasts_until_the_next_one() {
        let said = board(&["a\t\tsleeps\tx", "a\tl\tgoes on\tx", "a\t\tends\tx"]);
        let end = Instant::now() + Duration::from_secs(1);
        let words = said.words(end);
        let told: Vec<_> =
            words.iter().map(|(_, word, from, to)| (word.tell(), *to - *from)).collect();
        let ms = Duration::from_millis(1);
        assert_eq!(told, [("sleeps".into(), ms), ("has l, goes on".into(), ms)]);
    }
}
