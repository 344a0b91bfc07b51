//! What a judge works with: programs, an upstream, chance.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result};
use mock_server::{Spec, Upstream};
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64;

use crate::{
    line::{End, Run, Seen},
    pace::{self, Nearer, Round, Whose},
    verdict::Verdict,
};

/// Most requests of one run that are looked at one by one.
const LEDGER: usize = 20_000;

/// The programs of one check.
#[derive(Clone, Debug)]
pub(crate) struct Programs {
    pub learner: PathBuf,
    /// With the types of a model checker.
    pub orders: Option<PathBuf>,
    pub right: Option<PathBuf>,
    pub wrong: Option<PathBuf>,
}

/// A judge's bench.
pub struct Bench {
    programs: Programs,
    rng: Pcg64,
    runtime: tokio::runtime::Runtime,
    /// An order of threads to be tried, in place of all.
    replay: Option<Vec<usize>>,
}

impl Bench {
    pub(crate) fn new(programs: Programs, seed: u64, replay: Option<Vec<usize>>) -> Result<Bench> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .context("no runtime for the judge")?;
        Ok(Bench { programs, rng: Pcg64::seed_from_u64(seed), runtime, replay })
    }

    /// A number of this range: by the student's id, or anew for each check.
    pub fn draw(&mut self, range: std::ops::Range<u64>) -> u64 {
        self.rng.random_range(range)
    }

    /// Starts an upstream that writes down each request.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn upstream(&self, spec: Spec) -> Result<Upstream> {
        let spec = Spec { ledger: LEDGER, ..spec };
        self.runtime.block_on(Upstream::start(spec)).context("the service cannot be started")
    }

    /// Runs the learner's program.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn run(&self, run: Run<'_>) -> Result<Seen> {
        run.of(&self.programs.learner)
    }

    /// Runs the learner's program and says so in the verdict if it did not come to its end, or was not closed off.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn run_through(&self, verdict: &mut Verdict, run: Run<'_>) -> Result<Seen> {
        let seen = self.run(run)?;
        note(verdict, &seen);
        Ok(seen)
    }

    /// Judges again, up to three times, when the judge was further behind its own times than this: a machine that
    /// stands still decides nothing.
    ///
    /// # Errors
    /// What `attempt` fails with.
    pub fn in_time(
        &mut self,
        most: Duration,
        attempt: impl Fn(&mut Bench) -> Result<(Verdict, Duration)>,
    ) -> Result<Verdict> {
        let mut measured = BTreeMap::new();
        for _ in 0..3 {
            let (verdict, behind) = attempt(self)?;
            if behind <= most {
                return Ok(verdict);
            }
            measured = verdict.measured;
        }
        let why = "the judge itself could not keep to its times: check again when the machine has less to do";
        Ok(Verdict { undecided: Some(why.to_owned()), measured, ..Verdict::new() })
    }

    /// Tries every order of the threads' steps, or the one that is to be replayed. True when it holds in all. How
    /// many threads held a lock at the same time, at most and in any order, is measured as `together`.
    ///
    /// # Errors
    /// When the program cannot be started.
    pub fn orders(&self, verdict: &mut Verdict, run: Run<'_>) -> Result<bool> {
        let program = self.programs.orders.as_deref().context("built without orders")?;
        let run = match &self.replay {
            Some(steps) => run.list("replay", steps),
            None => run.give("replay", ""),
        };
        let seen = run.of(program)?;
        note(verdict, &seen);
        Ok(crate::orders::read(verdict, &seen))
    }

    /// Whether only one order is to be replayed.
    #[must_use]
    pub fn replays(&self) -> bool {
        self.replay.is_some()
    }

    /// Holds the learner's pace against the reference and the wrong way: `figure` runs a program and returns what
    /// is to be small. True when it is clearly nearer the reference.
    ///
    /// # Errors
    /// What `figure` fails with.
    pub fn pace(
        &mut self,
        verdict: &mut Verdict,
        what: &str,
        unit: impl Fn(f64) -> String,
        mut figure: impl FnMut(&mut Bench, &Path) -> Result<f64>,
    ) -> Result<bool> {
        let (Some(right), Some(wrong)) = (self.programs.right.clone(), self.programs.wrong.clone())
        else {
            anyhow::bail!("built without anything to hold the pace against");
        };
        let learner = self.programs.learner.clone();
        let mut rounds: Vec<Round> = Vec::new();
        while pace::goes_on(&rounds) {
            let mut order = [Whose::Learner, Whose::Right, Whose::Wrong];
            let first = self.rng.random_range(0..3);
            order.rotate_left(first);
            if self.rng.random() {
                order.reverse();
            }
            let mut round = Round { learner: f64::NAN, right: f64::NAN, wrong: f64::NAN };
            for whose in order {
                let (program, place) = match whose {
                    Whose::Learner => (&learner, &mut round.learner),
                    Whose::Right => (&right, &mut round.right),
                    Whose::Wrong => (&wrong, &mut round.wrong),
                };
                *place = figure(self, program)?;
            }
            rounds.push(round);
        }
        let median = |of: fn(&Round) -> f64| {
            unit(lab_kit::stats::median(&rounds.iter().map(of).collect::<Vec<_>>()))
        };
        verdict.show(format!(
            "{what}: yours {}, the reference {}, the wrong way {} (medians of {} rounds in turn)",
            median(|r| r.learner),
            median(|r| r.right),
            median(|r| r.wrong),
            rounds.len(),
        ));
        Ok(match pace::nearer(&rounds) {
            Nearer::Right => verdict.check(true, format!("{what} is clearly nearer the reference")),
            Nearer::Wrong => {
                verdict.check(false, format!("{what} is clearly nearer the wrong way"))
            }
            Nearer::Unclear => {
                verdict.undecided = Some(format!(
                    "{what} lies between the two, after {} rounds: make the difference larger, or check again when the machine has less to do",
                    rounds.len()
                ));
                false
            }
            Nearer::Alike => {
                verdict.undecided = Some(format!(
                    "on this machine, now, the reference and the wrong way cannot be told apart: {what}. That is not your fault: check again"
                ));
                false
            }
        })
    }
}

/// What every run must be.
pub(crate) fn note(verdict: &mut Verdict, seen: &Seen) {
    // A model checker has words of its own.
    if verdict.printed.is_empty() && seen.orders.is_none() {
        verdict.printed.clone_from(&seen.printed);
    }
    if !seen.sealed && !matches!(seen.end, End::Early(_)) {
        let missing =
            "this system does not close a program off: it could write files and start programs";
        verdict.open = Some(missing.to_owned());
    }
    match &seen.end {
        End::Finished | End::Stopped => {}
        End::TooLong(limit) => {
            verdict.check(
                false,
                format!(
                    "after {} s the program had not come to its end, and was ended: a loop, or a wait for what never comes?",
                    limit.as_secs()
                ),
            );
        }
        End::Early(status) => {
            verdict.check(
                false,
                format!("the program ended before its work was done: {}", told(*status)),
            );
        }
    }
}

fn told(status: Option<std::process::ExitStatus>) -> String {
    #[cfg(unix)]
    if let Some(signal) = status.and_then(|s| std::os::unix::process::ExitStatusExt::signal(&s)) {
        return match signal {
            31 => {
                "it did what no exercise may do, such as start a program, or open a file to write"
                    .into()
            }
            6 => "it aborted (SIGABRT)".into(),
            9 => "it was killed (SIGKILL), perhaps for want of memory".into(),
            11 => "it overflowed its stack (SIGSEGV)".into(),
            other => format!("signal {other}"),
        };
    }
    match status.and_then(|s| s.code()) {
        Some(101) => "it panicked".into(),
        Some(code) => format!("it exited with {code}"),
        None => "nobody knows how".into(),
    }
}
