//! What a lab asks of a program, and a lab made of it.

use std::marker::PhantomData;

use lab_kit::{accounts::Fate, prelude::*};
use mock_server::Entry;
use tokio::runtime::Builder;

use crate::{
    asked::{Asked, For},
    check::Check,
    findings, reading, trial,
};

/// All requests, as a path that they are below.
pub const ALL: &str = "";

/// What a lab asks of a program.
pub trait Brief: 'static {
    /// What the judgement is about. Its name begins with [`lab_kit::card::JUDGED`].
    const CARD: Card;

    /// The flags that it uses, with its defaults.
    const FLAGS: &'static [(&'static str, &'static str)];

    /// Whether it uses a flag.
    fn has(flag: &str) -> bool {
        Self::FLAGS.iter().any(|(name, _)| *name == flag)
    }

    /// What a program has to do, for `--help`.
    const TASK: &'static str;

    /// Attempts that an item may need.
    const LEAST_ATTEMPTS: usize = 1;

    /// The service that the program talks to.
    fn spec(asked: &Asked, seed: u64) -> Spec;

    /// The requests for the items, in order, as in `GET /items/7`. What becomes of each is in the accounts.
    fn items(asked: &Asked) -> Vec<String> {
        reading::numbered("GET /items", asked.n)
    }

    /// How many items there are: asked of each trial of a record, so it should cost little.
    fn wanted(asked: &Asked) -> usize {
        Self::items(asked).len()
    }

    /// Whether a request that is for no item is asked for by the brief.
    fn knows(_asked: &Asked, _entry: &Entry) -> bool {
        false
    }

    /// Where the limit holds: below each of these paths by itself, and for all requests together where it is [`ALL`].
    const LIMITED: &'static [&'static str] = &[ALL];

    /// What else is read from the books.
    fn read(_asked: &Asked, _ledger: &[Entry]) -> Vec<(Gauge, f64)> {
        Vec::new()
    }

    /// What the books must bear out.
    fn checks(asked: &Asked, k: &Condition) -> Vec<Check>;

    /// Seconds that a good program takes.
    fn seconds(asked: &Asked) -> f64 {
        asked.n as f64 * asked.service_s() / asked.limit.min(asked.slots) as f64
    }
}

/// A program, judged by the brief of a lab.
pub struct Judged<B>(PhantomData<B>);

/// The one condition.
pub const SERIES: &str = "program";

impl<B: Brief> Lab for Judged<B> {
    type Params = For<B>;

    const TAKES_TARGET: bool = false;

    const CARD: Card = B::CARD;

    fn check(p: &For<B>) -> Result<(), String> {
        let p = &p.asked;
        if p.command.is_empty() {
            return Err("which program? Its command comes after `--`".into());
        }
        p.tells_all::<B>()?;
        let slow = p.timeout.duration() < 3 * p.service.of.mean();
        if B::has("timeout") && slow {
            return Err("--timeout must be three mean service times or more: what is late by chance would be given up".into());
        }
        if B::has("attempts") && p.attempts < B::LEAST_ATTEMPTS {
            let least = B::LEAST_ATTEMPTS;
            return Err(format!("--attempts must be {least} or more: some items fail before that"));
        }
        if B::seconds(p) > p.patience.s() / 2.0 {
            return Err(format!(
                "a good program takes {}, and --patience is {}: longer, or a smaller --n",
                seconds(B::seconds(p)),
                p.patience
            ));
        }
        Ok(())
    }

    fn needs(p: &For<B>, extent: &Extent) -> Needs {
        Needs {
            seconds: extent.times() * (B::seconds(&p.asked) + 0.5),
            less: "a smaller --n or a shorter --service",
            ..Needs::default()
        }
    }

    fn measure(p: &For<B>, session: &mut Session) -> Result<()> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let stop = session.stop().clone();
        let mut plan = session.plan();
        let asked = &p.asked;
        plan.point(SERIES, 0.0, |r| runtime.block_on(trial::run::<B>(r, asked, &stop)));
        plan.run()
    }

    /// What becomes of an item is the program's affair: the checks say what should.
    fn may(_: &For<B>, _: &Condition) -> &'static [Fate] {
        &[Fate::Rejected, Fate::TimedOut, Fate::Failed, Fate::NeverSent]
    }

    fn premise(p: &For<B>, _: &Condition, trial: &Trial) -> Result<(), String> {
        findings::premise(B::wanted(&p.asked), B::LIMITED, trial)
    }

    fn explain(p: &For<B>, summary: &Summary) -> Findings {
        let checks = summary.only(SERIES).map(|k| B::checks(&p.asked, &k));
        findings::explain::<B>(&p.asked, summary, checks.unwrap_or_default())
    }
}
