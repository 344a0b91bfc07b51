//! Requests that need many answers, each of which is slow now and then: the tail at scale.

use futures_util::future::join_all;
use lab_kit::prelude::*;
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;
use tokio::task::JoinSet;
use tokio::time::sleep_until;

use super::{Params, ask, ask_again, crowd::READY, gauges};

/// One condition: so many requests, each of which needs so many answers.
#[derive(Clone, Copy, Debug)]
pub(super) struct FanOut {
    /// Answers that a request needs.
    pub(super) answers: usize,
    /// Share of the answers that are slow.
    tail: f64,
    /// How long an answer takes, and a slow one.
    takes: (Duration, Duration),
    /// When an answer is asked for again.
    pub(super) again: Option<Duration>,
    pub(super) requests: usize,
    window: Duration,
    lasts: Duration,
}

/// An answer that is asked for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked {
    begun: Instant,
    takes: Duration,
    again: Duration,
}

impl Asked {
    /// The answer of whom was asked first.
    pub(super) async fn first(&self) {
        sleep_until((self.begun + self.takes).into()).await;
    }

    /// The answer of whom is asked now.
    pub(super) async fn second(&self) {
        tokio::time::sleep(self.again).await;
    }
}

/// A slow answer takes so many times as long as others.
const SLOW: u32 = 10;
/// An answer is asked for again when it takes so many times as long as others.
const AGAIN: u32 = 3;
/// A request is slow when it takes so many times as long as others.
const LATE: u32 = 6;

impl FanOut {
    pub(super) fn of(p: &Params, answers: usize, hedged: bool) -> FanOut {
        let takes = p.service.duration();
        // Some thousand answers a second; of requests that need many, as many as it takes to see a rare slow one.
        let per_s =
            (8000.0 / answers.max(1) as f64).clamp(if hedged { 400.0 } else { 110.0 }, 2700.0);
        let requests = per_s * p.window.s();
        FanOut {
            answers,
            tail: p.tail,
            takes: (takes, takes * SLOW),
            again: hedged.then_some(takes * AGAIN),
            requests: requests.max(8.0) as usize,
            window: p.window.duration(),
            lasts: Duration::from_secs_f64(p.lasts()),
        }
    }

    pub(super) fn series(&self) -> &'static str {
        if self.again.is_some() { "fan-out, hedged" } else { "fan-out" }
    }

    /// Every condition.
    pub(super) fn all(p: &Params) -> Vec<FanOut> {
        let each = p.fan_outs.iter();
        each.flat_map(|k| [false, true].map(|hedged| FanOut::of(p, *k, hedged))).collect()
    }

    /// One of several parts of it.
    pub(super) fn part(self, parts: usize) -> FanOut {
        FanOut { requests: (self.requests / parts).max(1), ..self }
    }

    /// What a request waits longer than when it is slow.
    fn late(&self) -> Duration {
        self.takes.0 * LATE
    }

    /// The same in seconds.
    pub(super) fn late_s(&self) -> f64 {
        self.late().as_secs_f64()
    }

    /// What an answer has to spare, in seconds, before it makes its request slow by the machine's fault, or is asked
    /// for again.
    pub(super) fn spare_s(p: &Params) -> f64 {
        p.service.s() * f64::from((AGAIN - 1).min(LATE - AGAIN - 1))
    }
}

/// Runs one condition.
pub(super) async fn run(r: Recorder, fan: FanOut) -> Result<()> {
    let opened = Instant::now() + READY;
    let mut rng = Pcg64Mcg::seed_from_u64(r.seed());
    let all = async {
        let mut running = JoinSet::new();
        for at in 0..fan.requests {
            let due = opened + fan.window.mul_f64(at as f64 / fan.requests as f64);
            let mut draw =
                || if rng.random::<f64>() < fan.tail { fan.takes.1 } else { fan.takes.0 };
            let answers: Vec<(Duration, Duration)> =
                (0..fan.answers).map(|_| (draw(), draw())).collect();
            sleep_until(due.into()).await;
            running.spawn(one(fan, answers));
        }
        let done = running.join_all().await;
        sleep_until((opened + fan.lasts).into()).await;
        done
    };
    if let Some(done) = r.load().unless_stopped(all).await {
        r.books(books(&fan, &done));
    }
    Ok(())
}

/// A request: how long it took, and how many answers were asked for again.
async fn one(fan: FanOut, answers: Vec<(Duration, Duration)>) -> (Duration, u64) {
    let begun = Instant::now();
    let asked = answers.into_iter().map(|(takes, again)| Asked { begun, takes, again });
    let each = asked.map(|asked| async move {
        match fan.again {
            None => {
                ask(asked).await;
                false
            }
            Some(after) => ask_again(asked, after).await,
        }
    });
    let again = join_all(each).await;
    (begun.elapsed(), again.into_iter().filter(|again| *again).count() as u64)
}

/// A slow request is one that is given up.
pub(super) fn books(fan: &FanOut, done: &[(Duration, u64)]) -> Trial {
    let mut trial =
        Trial { wall_s: fan.window.as_secs_f64(), offered: done.len() as u64, ..Trial::default() };
    for (took, _) in done {
        if *took <= fan.late() {
            trial.ok += 1;
            trial.latency.record(*took);
        } else {
            trial.timed_out += 1;
        }
        trial.attempt_latency.record(*took);
    }
    let again: u64 = done.iter().map(|(_, again)| again).sum();
    let asked = (done.len() * fan.answers) as f64;
    let figures = [(gauges::ASKED_TOTAL, asked), (gauges::AGAIN_TOTAL, again as f64)];
    trial.gauges = figures.into_iter().map(|(gauge, value)| (gauge.to_string(), value)).collect();
    trial
}
