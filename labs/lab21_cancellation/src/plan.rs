//! What is measured, and what it needs.

use lab_kit::{accounts::Fate, host, prelude::*, theory::cancellation};

use super::{
    clock::{Clock, in_virtual_time},
    findings, premise, trials,
};

/// The constants of the experiment.
#[derive(Args, Clone, Debug, Serialize, Deserialize)]
pub struct Params {
    /// Items, bills, transfers, requests and runs of each experiment: n
    #[arg(long, default_value_t = 1000, value_parser = items)]
    pub items: usize,
    /// Time from taking an item to having handed it over: h
    #[arg(long, default_value = "20ms")]
    pub hand_over: Time,
    /// Times from tick to tick to try, with commas: P
    #[arg(long, value_delimiter = ',', default_value = "15ms,30ms,70ms,150ms,410ms")]
    pub ticks: Vec<Time>,
    /// How long the same takes on the machine's clock, about, for ticks of 40 ms and more
    #[arg(long, default_value = "1.5s")]
    pub real: Time,
    /// The bank writes a charge down within this time
    #[arg(long, default_value = "100ms")]
    pub write: Time,
    /// Time from there to its confirmation at the client
    #[arg(long, default_value = "20ms")]
    pub answer: Time,
    /// How long a client waits: T
    #[arg(long, default_value = "60ms")]
    pub patience: Time,
    /// A transfer waits so long before the debit, and again before the credit
    #[arg(long, default_value = "20ms")]
    pub step: Time,
    /// Transfers are given up at some time within this
    #[arg(long, default_value = "100ms")]
    pub given_up: Time,
    /// Calls take up to so long: S
    #[arg(long, default_value = "200ms")]
    pub call: Time,
    /// Calls of a request
    #[arg(long, default_value_t = 3, value_parser = few)]
    pub fan: usize,
    /// Services that call each other in a row
    #[arg(long, default_value_t = 3, value_parser = few)]
    pub hops: usize,
    /// How long each of them works: w
    #[arg(long, default_value = "40ms")]
    pub work: Time,
    /// How long a lock is held
    #[arg(long, default_value = "50ms")]
    pub hold: Time,
    /// Requests per second at the server that is stopped: λ
    #[arg(long, default_value_t = 200.0, value_parser = rate)]
    pub rate: f64,
    /// How long each of them is inside: W
    #[arg(long, default_value = "250ms")]
    pub inside: Time,
    /// Time until the balancer knows that a server is not ready
    #[arg(long, default_value = "100ms")]
    pub gap: Time,
    /// How long a server waits at most for those inside: D
    #[arg(long, default_value = "500ms")]
    pub drain: Time,
}

fn items(text: &str) -> Result<usize, String> {
    whole(text, 1..=100_000)
}

fn few(text: &str) -> Result<usize, String> {
    whole(text, 1..=50)
}

fn rate(text: &str) -> Result<f64, String> {
    within(text, 1.0..=20_000.0, "a number from 1 to 20000")
}

/// Most ticks to try.
const MOST_TICKS: usize = 12;
/// Least share of the charges that is confirmed in time.
const LEAST_CONFIRMED: f64 = 0.1;
/// Most requests at a server that is stopped.
const MOST_REQUESTS: f64 = 20_000.0;
/// On the machine's clock from this time between ticks on: timers are late by milliseconds.
const REAL_FROM: Duration = Duration::from_millis(40);
/// A server waits so many times the gap until it closes: who waits only as long as the balancer takes is on the edge.
pub(super) const GAPS: f64 = 1.25;

/// Which way an experiment goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    Wrong,
    Right,
    /// Right as well: in a task of its own.
    Spawned,
}

/// How a server ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    AtOnce,
    ClosedFirst,
    Drained,
    CutShort,
}

impl Ending {
    pub(super) const ALL: [Ending; 4] =
        [Ending::AtOnce, Ending::ClosedFirst, Ending::Drained, Ending::CutShort];

    pub(super) fn name(self) -> &'static str {
        match self {
            Ending::AtOnce => "at once",
            Ending::ClosedFirst => "closed first",
            Ending::Drained => "drained",
            Ending::CutShort => "cut short",
        }
    }

    /// How long it waits before the door is closed, and then for those inside; `None` where it waits for nobody.
    pub(super) fn gap_and_patience(self, p: &Params) -> Option<(Duration, Duration)> {
        let gap = p.gap.duration().mul_f64(GAPS);
        match self {
            Ending::AtOnce => None,
            Ending::ClosedFirst => Some((Duration::ZERO, p.drain.duration())),
            Ending::Drained => Some((gap, p.drain.duration())),
            Ending::CutShort => Some((gap, p.inside.duration() / 4)),
        }
    }
}

/// What a receiver gets, and beside which ticks.
#[derive(Clone, Copy, Debug)]
pub(super) struct Receiving {
    pub(super) items: usize,
    /// Items of a receiver.
    pub(super) each: usize,
    pub(super) hand_over: Duration,
    pub(super) period: Duration,
    /// All items are there from the beginning.
    pub(super) backlog: bool,
}

impl Receiving {
    fn of(p: &Params, period: Time, backlog: bool) -> Receiving {
        let (hand_over, period) = (p.hand_over.duration(), period.duration());
        Receiving { items: p.items, each: p.items, hand_over, period, backlog }
    }

    /// The same with so many receivers side by side that it takes about so long.
    fn within(self, lasts: Duration) -> Receiving {
        let each = lasts.as_nanos() / self.apart().as_nanos().max(1);
        Receiving { each: (each as usize).clamp(1, self.items), ..self }
    }

    /// From item to item: the one before is handed over or lost by then, and ticks are where they were.
    fn apart(&self) -> Duration {
        let ticks = 2 + self.hand_over.as_nanos() / self.period.as_nanos();
        self.period * ticks.min(1_000_000) as u32
    }

    /// When an item comes, from the beginning of its receiver's ticks.
    pub(super) fn comes(&self, place: usize, item: usize) -> Duration {
        let phase = trials::part(self.period, cancellation::even(item));
        if self.backlog { Duration::ZERO } else { self.apart() * place as u32 + phase }
    }

    /// Ticks until all have come.
    fn ticks(&self) -> f64 {
        let lasts = if self.backlog { self.hand_over } else { self.apart() };
        self.items as f64 * lasts.as_secs_f64() / self.period.as_secs_f64()
    }

    fn lasts(&self) -> f64 {
        self.each as f64 * self.apart().as_secs_f64()
    }
}

/// lab21.
pub struct CancellationLab;

impl Lab for CancellationLab {
    type Params = Params;

    const TAKES_TARGET: bool = false;

    const CARD: Card = Card {
        number: 21,
        name: "cancellation",
        title: "Cancellation",
        question: "What is lost when a future is dropped?",
        predict: &[
            Question {
                key: "lost",
                ask: "Items come one by one, and a hand-over takes {hand-over}. Beside it ticks a ticker, every {ticks}, and each tick drops the receiving future. What share of the items is lost at the slowest ticker?",
                unit: "%",
                hint: "0 to 100",
            },
            Question {
                key: "twice",
                ask: "Charges are written within {write} and confirmed {answer} later. The client gives up after {patience} and tries again. How many charges are too many, for each 100 bills?",
                unit: "charges",
                hint: "0 to 200",
            },
            Question {
                key: "stop",
                ask: "{rate} requests a second, each inside for {inside}; the server is stopped at once, and the balancer notices {gap} later. How many requests are lost?",
                unit: "requests",
                hint: "0 to 500",
            },
        ],
        next: &[
            (
                "cargo run --release --bin lab21 -- --ticks 5ms,19ms,21ms,41ms,199ms,201ms",
                "on both sides of a multiple of the hand-over: where does the backlog's loss jump?",
            ),
            (
                "cargo run --release --bin lab21 -- --patience 110ms --hops 6",
                "more patience: fewer double charges, fewer orphans, and more work in vain along the chain?",
            ),
            (
                "cargo run --release --bin lab21 -- --inside 1s --drain 600ms",
                "a deadline that is shorter than a request: what does a graceful stop lose then?",
            ),
            (
                "cargo run --release -- make next keep_what_was_taken",
                "make it: a courier that may be dropped at any wait",
            ),
        ],
        sources: lab_kit::sources!["lib.rs"],
        answers: include_str!("../answers.md"),
        sizes: Sizes {
            smoke: &[
                "--items",
                "60",
                "--real",
                "300ms",
                "--ticks",
                "15ms,30ms,70ms",
                "--inside",
                "100ms",
                "--gap",
                "40ms",
                "--drain",
                "200ms",
            ],
            full: &["--items", "4000", "--real", "4s"],
            trials: (3, 5),
        },
    };

    fn check(p: &Params) -> Result<(), String> {
        if p.ticks.is_empty() || p.ticks.len() > MOST_TICKS {
            return Err(format!("--ticks: expected 1 to {MOST_TICKS} of them"));
        }
        if p.charges().confirmed() < LEAST_CONFIRMED {
            return Err("--patience leaves hardly any attempt the time to be written and confirmed: more than --answer and a tenth of --write, or bills are tried for ever".into());
        }
        if p.requests() as f64 > MOST_REQUESTS {
            return Err(format!(
                "--rate, --inside and --gap would make {} requests at the server that is stopped: fewer than {MOST_REQUESTS}",
                p.requests()
            ));
        }
        Ok(())
    }

    fn needs(p: &Params, extent: &Extent) -> Needs {
        let ticks = p.ticks.iter().flat_map(|period| {
            [false, true].map(|backlog| Receiving::of(p, *period, backlog).ticks())
        });
        let (n, requests) = (p.items as f64, p.requests() as f64);
        let attempts = n / p.charges().confirmed();
        let steps = 2.0 * ticks.sum::<f64>()
            + 2.0 * attempts
            + n * (6 + 2 * p.fan + 2 * p.hops + 9) as f64
            + 4.0 * requests;
        let mut sweep = Extent { one_at_a_time: false, ..*extent }.sweep();
        for of in p.on_the_machines_clock() {
            sweep.steady(1, 0.1 + of.lasts());
            sweep.steady(1, 0.1 + of.lasts());
        }
        for _ in 0..2 {
            let calls = trials::HTTP_REQUESTS * p.fan;
            sweep.steady(calls, needs::connected(calls) + 0.1 + 2.0 * p.call.s());
        }
        for _ in Ending::ALL {
            sweep.steady(1, 0.1 + requests / p.rate + p.inside.s() + p.drain.s());
        }
        Needs {
            seconds: extent.times() * steps * 2e-6 + sweep.seconds(),
            memory: n * (300.0 + 6.0 * 4000.0) + requests * 8000.0,
            less: "fewer --items, longer --ticks or a shorter --hand-over, --inside or --drain",
            ..Needs::default()
        }
    }

    fn measure(p: &Params, session: &mut Session) -> Result<()> {
        // What only sleeps does not disturb each other, at any scale.
        session.one_at_a_time = false;
        let mut plan = session.plan();
        for (series, x, run) in in_virtual_order(p) {
            plan.point(&series, x, move |r| {
                r.virtual_books(run(p)?);
                Ok(())
            });
        }
        plan.run()?;
        let runtime = host::runtime()?;
        let mut sweep = session.sweep();
        for of in p.on_the_machines_clock() {
            for (series, way) in
                [("real receive/dropped", Way::Wrong), ("real receive/kept", Way::Right)]
            {
                sweep.steady(series, x(of.period), 1, move |r| async move {
                    let run = trials::receive(Clock::Real(Instant::now()), way, of);
                    r.load().unless_stopped(run).await.into_iter().for_each(|t| r.books(t));
                    Ok(())
                });
            }
        }
        for (series, way) in [("http calls/detached", Way::Wrong), ("http calls/owned", Way::Right)]
        {
            let p = p.clone();
            sweep.steady(series, 0.0, trials::HTTP_REQUESTS * p.fan, move |r| {
                let p = p.clone();
                async move {
                    let load = r.load();
                    let trial = load.unless_stopped(trials::call_http(&r, &p, way)).await;
                    trial.transpose()?.into_iter().for_each(|t| r.books(t));
                    Ok(())
                }
            });
        }
        for ending in Ending::ALL {
            let p = p.clone();
            sweep.steady(&format!("real stop/{}", ending.name()), 0.0, 1, move |r| {
                let p = p.clone();
                async move {
                    let run = trials::stop(Clock::Real(Instant::now()), &p, ending);
                    r.load().unless_stopped(run).await.into_iter().for_each(|t| r.books(t));
                    Ok(())
                }
            });
        }
        runtime.block_on(sweep.run())
    }

    fn may(p: &Params, at: &Condition) -> &'static [Fate] {
        premise::may(p, at)
    }

    fn premise(p: &Params, at: &Condition, trial: &Trial) -> Result<(), String> {
        premise::premise(p, at, trial)
    }

    fn explain(p: &Params, summary: &Summary) -> Findings {
        findings::explain(p, summary)
    }
}

/// A period on the x axis: in milliseconds.
pub(super) fn x(period: Duration) -> f64 {
    period.as_secs_f64() * 1e3
}

/// A trial in virtual time.
type Counted = Box<dyn Fn(&Params) -> Result<Trial>>;

/// A trial of an experiment, going one of its ways.
type Going = fn(&Params, Way) -> Result<Trial>;

/// Everything that is counted: series, x, and how.
pub(super) fn in_virtual_order(p: &Params) -> Vec<(String, f64, Counted)> {
    let mut all: Vec<(String, f64, Counted)> = Vec::new();
    for period in &p.ticks {
        for (way, ending) in [(Way::Wrong, "dropped"), (Way::Right, "kept")] {
            for (experiment, backlog) in [("receive", false), ("backlog", true)] {
                let of = Receiving::of(p, *period, backlog);
                let run: Counted = Box::new(move |_| {
                    in_virtual_time(async |clock| trials::receive(clock, way, of).await)
                });
                all.push((format!("{experiment}/{ending}"), x(of.period), run));
            }
        }
    }
    let others: [(&str, Going, Way); 12] = [
        ("pay/new key", trials::pay, Way::Wrong),
        ("pay/one key", trials::pay, Way::Right),
        ("transfer/halfway", trials::transfer, Way::Wrong),
        ("transfer/whole", trials::transfer, Way::Right),
        ("transfer/spawned", trials::transfer, Way::Spawned),
        ("calls/detached", trials::call, Way::Wrong),
        ("calls/owned", trials::call, Way::Right),
        ("chain/own clocks", trials::chain, Way::Wrong),
        ("chain/one deadline", trials::chain, Way::Right),
        ("lock/kept", trials::look, Way::Wrong),
        ("lock/dropped", trials::look, Way::Right),
        ("lock/spawned", trials::look, Way::Spawned),
    ];
    for (series, trial, way) in others {
        all.push((series.into(), 0.0, Box::new(move |p| trial(p, way))));
    }
    for ending in Ending::ALL {
        let run: Counted =
            Box::new(move |p| in_virtual_time(async |clock| trials::stop(clock, p, ending).await));
        all.push((format!("stop/{}", ending.name()), 0.0, run));
    }
    all
}

impl Params {
    pub(super) fn receive(&self, period_ms: f64) -> cancellation::Receive {
        cancellation::Receive { hand_over: self.hand_over.s(), period: period_ms / 1e3 }
    }

    pub(super) fn charges(&self) -> cancellation::Charges {
        let (write, answer) = (self.write.s(), self.answer.s());
        cancellation::Charges { write, answer, patience: self.patience.s() }
    }

    /// Between debit and credit, from when a transfer has the lock.
    pub(super) fn debited(&self) -> (f64, f64) {
        (self.step.s(), 2.0 * self.step.s())
    }

    pub(super) fn calls(&self) -> cancellation::Calls {
        cancellation::Calls { longest: self.call.s(), patience: self.patience.s() }
    }

    /// Calls over HTTP whose client leaves before their answer; `None` where they are due at about the same time.
    pub(super) fn left_over_http(&self) -> Option<usize> {
        let (call, patience) = (self.call.s(), self.patience.s());
        let calls = trials::HTTP_REQUESTS * self.fan;
        // The calls come within milliseconds of each other.
        let far = (call - patience).abs() > 0.03 && patience > 0.02;
        far.then_some(if call > patience { calls } else { 0 })
    }

    pub(super) fn chain(&self) -> cancellation::Chain {
        let (hops, work) = (self.hops, self.work.s());
        cancellation::Chain { hops, work, patience: self.patience.s() }
    }

    pub(super) fn stop(&self) -> cancellation::Stop {
        let (rate, inside) = (self.rate, self.inside.s());
        cancellation::Stop { rate, inside, gap: self.gap.s() }
    }

    /// Requests at the server that is stopped: some of them come when the balancer has long known.
    pub(super) fn requests(&self) -> usize {
        let until = self.stop().at() + GAPS * self.gap.s() + 0.2 * self.inside.s();
        (until * self.rate) as usize + 10
    }

    /// What is received on the machine's clock.
    fn on_the_machines_clock(&self) -> Vec<Receiving> {
        let slow = self.ticks.iter().filter(|period| period.duration() >= REAL_FROM);
        slow.map(|period| Receiving::of(self, *period, false).within(self.real.duration()))
            .collect()
    }
}
