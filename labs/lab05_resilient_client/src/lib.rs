//! # The resilient client
//!
//! ## The question
//!
//! What does a production HTTP client do?
//!
//! ## What to predict
//!
//! A service answers some requests with an error, at random; and once it is down for {outage}. Its
//! clients try again: at once, after waits that grow, after waits that grow and are random. What
//! does that gain them, and what does it cost the service? And which of the parts of a careful
//! client earns its place?
//!
//! ## The experiment
//!
//! `src/client.rs` is a client made to be copied: one connection pool, a limit of attempts in
//! flight, a timeout for each attempt and a deadline over all, retries of what time can mend,
//! back-off with jitter, a retry budget and a circuit breaker. *Back-off* is the wait before a
//! retry. *Full jitter* draws it at random between nothing and that wait. A *budget* makes retries
//! a share of the calls. After {breaker-after} failures in a row a *breaker* lets no call through
//! for {breaker-wait}. Each arm adds one part to the one before, but for two: exponential waits
//! replace the quadratic ones, and the deadline replaces the count of retries.
//!
//! (a) Each attempt fails with probability `q`. (b) The service is down for a while. Calls go on as
//! before, and besides, {herd} callers are cut off by the outage and all call at the moment it
//! begins. (c) One of {fail-every} attempts fails, and the permit of the limit is kept during the
//! back-off, or given back.
//!
//! ## What the figures show
//!
//! With failures at random, `n` attempts succeed with probability `1 − qⁿ` and cost
//! `(1 − qⁿ)/(1 − q)` attempts a call, whatever the back-off: it only decides when.
//!
//! In an outage retries are load that cannot help. Retries at once multiply it by the number of
//! attempts and save nobody. Growing waits outlast the outage if their sum is longer than it. But
//! those that failed together wait together: without jitter the {herd} come back at the same
//! moment, again and again, until one of those moments lies after the end. With full jitter they
//! are spread over the whole back-off.
//!
//! The budget bounds what all retries together may add, here {budget} retries for each call. That
//! is its worth in an outage and its price otherwise: where few attempts fail at random it grants
//! almost every retry, where many do it refuses most. The breaker goes further: a probe now and
//! then is all that reaches the service, and everybody else fails at once instead of waiting. It
//! saves the service, not the calls: that is right if callers have something better to do than to
//! wait. (Failures in a row are easily interrupted: with `--service 20ms` answers that were on
//! their way when the service went down begin the count anew, and more gets through.)
//!
//! ## A common belief
//!
//! *A call needs one permit.* Held round the retry loop, it sleeps through each back-off `b`, lost
//! to the others. (c) shows what that costs: with `s` the time of an attempt, `N` calls of `A`
//! attempts through `m` permits take `N·(A·s + (A − 1)·b)/m` instead of `N·A·s/m`.
//!
//! *Jitter is always better.* A full jitter halves the mean wait, so the same number of retries is
//! used up in half of the time. Then {retries} retries with doubling waits may outlast the outage
//! in (b), and the same number with jitter may not. What a caller knows is how long it can wait:
//! the deadline should bound the retries, not a count. The arm "jitter until the deadline" saves
//! every call.
//!
//! *`attempt ** 2` or `2 ** attempt`, it grows.* No short test finds the slip: 1, 4, 9 and 16 stand
//! against 2, 4, 8 and 16. (The arms here both begin with `b`, and the squares wait longer up to
//! the sixth retry.) In a long outage `D` it shows: the number of attempts grows like the cube root
//! of `D/b` instead of its logarithm.
//!
//! *A budget of 15 % is one of 15 %.* It is one of 16.7 % in `tower` 0.5, and one of 70 % is 100 %:
//! the price of a retry is a whole number of tokens, rounded down. And its reserve is not a
//! trickle: what is meant for ten seconds can be had at once.
//!
//! ## In production
//!
//! Timeouts and a deadline always. Retry only what is *idempotent*: done twice it has the effect of
//! once. Retry only what time can mend. Full jitter always. A budget as soon as there is more than
//! one caller. Retry in one place: three layers that each try three times make 27 attempts. A
//! breaker where waiting is useless. Acquire the permit for an attempt. Size the limit by lab04.
//!
//! ## Check yourself
//!
//! - A request is not idempotent and ran into its timeout. Why is it not sent again, and why is it
//!   when the connection was refused?
//! - Two hundred clients read `Retry-After: 1`. When do they come back?
//! - The breaker lets one probe through at a time. Why does the number of probes in an outage not
//!   depend on the load?
//! - Why must a probe whose caller goes away give back its place?

use std::sync::{Arc, Mutex};

use lab_kit::{accounts::Fate, load::Failure, prelude::*, stop::Stop};
use mock_server::{By, Chance, Every, Faults, Outage};
use tokio::sync::Semaphore;

use lab_parts::client::{
    Backoff, Breaker, Budget, Builder, Client, FetchError, Kind, Request, Retries,
};

mod findings;
mod premise;
mod schedule;

/// The constants of the experiment.
#[derive(Args, Clone, Debug, Serialize, Deserialize)]
pub struct Params {
    /// Time a request takes at the service
    #[arg(long, default_value = "5ms")]
    pub service: Time,
    /// Attempts that a client has in flight at most; the service has as many slots
    #[arg(long, default_value_t = 25, value_parser = level)]
    pub limit: usize,
    /// Retries after a failure, in the arms that count them
    #[arg(long, default_value_t = 5, value_parser = retries)]
    pub retries: u32,
    /// Back-off before the first retry: b
    #[arg(long, default_value = "40ms")]
    pub base: Time,
    /// Longest back-off
    #[arg(long, default_value = "640ms")]
    pub cap: Time,
    /// Deadline of a call
    #[arg(long, default_value = "4s")]
    pub deadline: Time,
    /// Budget: retries for each call
    #[arg(long, default_value_t = 0.1, value_parser = share)]
    pub budget: f32,
    /// Breaker: failures in a row that open it
    #[arg(long, default_value_t = 15, value_parser = retries)]
    pub breaker_after: u32,
    /// Breaker: how long it stays open
    #[arg(long, default_value = "115ms")]
    pub breaker_wait: Time,
    /// Breaker: attempts it lets through when it is half open
    #[arg(long, default_value_t = 1, value_parser = retries)]
    pub probes: u32,
    /// (a) Probabilities that an attempt fails, with commas
    #[arg(long, value_delimiter = ',', value_parser = probability, default_value = "0.1,0.3,0.6")]
    pub failing: Vec<f64>,
    /// (a) Calls
    #[arg(long, default_value_t = 2400, value_parser = level)]
    pub calls: usize,
    /// (b) How long the service is down: D
    #[arg(long, default_value = "1s")]
    pub outage: Time,
    /// (b) Calls a second, all the time
    #[arg(long, default_value_t = 100.0, value_parser = rate)]
    pub rate: f64,
    /// (b) Callers that are cut off by the outage and all call when it begins
    #[arg(long, default_value_t = 200, value_parser = level)]
    pub herd: usize,
    /// (c) Calls through the semaphore
    #[arg(long, default_value_t = 200, value_parser = level)]
    pub items: usize,
    /// (c) Permits of the semaphore
    #[arg(long, default_value_t = 10, value_parser = level)]
    pub permits: usize,
    /// (c) Time a request takes at the service
    #[arg(long, default_value = "40ms")]
    pub item_service: Time,
    /// (c) Every so many attempts one fails
    #[arg(long, default_value_t = 5, value_parser = period)]
    pub fail_every: u64,
    /// (c) Back-offs, with commas
    #[arg(long, value_delimiter = ',', default_value = "50ms,100ms,200ms")]
    pub waits: Vec<Time>,
}

fn retries(text: &str) -> Result<u32, String> {
    let n = text.parse().ok().filter(|n| (1..=100).contains(n));
    n.ok_or_else(|| "expected a whole number from 1 to 100".into())
}

fn share(text: &str) -> Result<f32, String> {
    let share = text.parse().ok().filter(|s| (0.0..=10.0).contains(s));
    share.ok_or_else(|| "expected retries for each call, 0 to 10".into())
}

fn probability(text: &str) -> Result<f64, String> {
    let q = text.parse().ok().filter(|q| (0.001..=0.9).contains(q));
    q.ok_or_else(|| "expected a probability from 0.001 to 0.9".into())
}

fn rate(text: &str) -> Result<f64, String> {
    let rate = text.parse().ok().filter(|r| (1.0..=2000.0).contains(r));
    rate.ok_or_else(|| "expected calls a second, 1 to 2000".into())
}

fn period(text: &str) -> Result<u64, String> {
    let n = text.parse().ok().filter(|n| (2..=10_000).contains(n));
    n.ok_or_else(|| "expected a whole number from 2 to 10000".into())
}

/// lab05.
pub struct ResilientClient;

/// The arms: name in the record, and as people say it. Each is the one before and something more.
const ARMS: [(&str, &str); 8] = [
    ("none", "no retry"),
    ("immediate", "at once"),
    ("quadratic", "quadratic"),
    ("exponential", "exponential"),
    ("jitter", "+ full jitter"),
    ("deadline", "+ until the deadline"),
    ("budget", "+ budget"),
    ("breaker", "+ breaker"),
];

/// (b) When calls begin, from the start of the trial: the connections are open by then.
const READY: Duration = Duration::from_millis(80);
/// (b) How long they go on before the outage.
const LEAD: Duration = Duration::from_millis(100);
/// (b) When the herd calls, from the outage's beginning, which has a clock of its own.
const HERD: Duration = Duration::from_millis(10);
/// (b) Arrivals are counted in stretches this long.
const BIN: Duration = Duration::from_millis(10);
/// (b) A peak is what arrives within this time.
const WINDOW: Duration = Duration::from_millis(50);

/// (c) Deadline of the calls that give their permits back: they are to fail for no lack of time.
const GIVEN_BACK: Duration = Duration::from_secs(600);

impl Params {
    /// (b) How long calls go on after the outage.
    fn tail(&self) -> Duration {
        self.cap.duration() + LEAD
    }

    /// (b) When calls begin, in seconds from the beginning of the outage.
    fn starts(&self) -> Vec<f64> {
        let (lead, end) = (
            LEAD.as_secs_f64(),
            self.outage.s() + self.tail().as_secs_f64(),
        );
        let steady = (0..).map(|i| (f64::from(i) + 0.5) / self.rate - lead);
        let mut starts: Vec<f64> = steady.take_while(|t| *t < end).collect();
        let begun = starts.partition_point(|t| *t < 0.0);
        starts.splice(begun..begun, vec![HERD.as_secs_f64(); self.herd]);
        starts.sort_by(f64::total_cmp);
        starts
    }

    /// (a) Deadline of a call: what fails is to fail at random, not for lack of time.
    fn patience(&self) -> Duration {
        5 * self.deadline.duration()
    }

    /// (a) Where an arm is measured. Back-off makes no difference there: one place is enough for most.
    fn failing_in(&self, arm: &str) -> Vec<f64> {
        match arm {
            "none" | "jitter" | "budget" => self.failing.clone(),
            _ => vec![self.failing[self.failing.len() / 2]],
        }
    }

    /// (b) Attempts of a call that begins with the outage, until it is over: of the arm with the most.
    fn attempts_in_outage(&self) -> f64 {
        // Full jitter halves each wait; the last ceiling comes again and again.
        let shortest = schedule::SHORTEST;
        let (mut ceiling, mut at, mut made) = (self.base.s().min(self.cap.s()), 0.0, 1.0);
        while ceiling < self.cap.s() && at < self.outage.s() {
            at += (ceiling / 2.0).max(shortest);
            (ceiling, made) = (2.0 * ceiling, made + 1.0);
        }
        let each = (self.cap.s() / 2.0).max(shortest);
        let patient = made + ((self.outage.s() - at) / each).max(0.0);
        patient.max(f64::from(self.retries) + 1.0)
    }

    /// (c) Seconds that the items take with the permit held through waits as long as this.
    fn items_take(&self, wait: f64) -> f64 {
        let tries = 1.0 / (self.fail_every - 1) as f64;
        let each = self.item_service.s() * (1.0 + tries) + wait * tries;
        // The last item may fail again and again.
        let last = wait * (self.items as f64).ln().max(1.0) / (self.fail_every as f64).ln();
        self.items.div_ceil(self.permits) as f64 * each + last
    }

    /// (a) Seconds that an arm takes, about, where attempts fail with this probability.
    fn random_takes(&self, arm: &str, q: f64) -> f64 {
        let retries = self.retries(arm);
        let work = self.calls as f64 * (self.service.s() / self.limit as f64).max(needs::REQUEST_S)
            / (1.0 - q);
        // Of so many calls the unluckiest fails so often in a row.
        let failures = ((self.calls as f64).ln() / -q.ln()).ceil();
        let most = retries
            .most
            .map_or(failures, |most| failures.min(f64::from(most)));
        let waits = retries.backoff.ceilings().take(most as usize);
        let waited: f64 = waits.map(|wait| wait.as_secs_f64()).sum();
        let opened = match arm {
            "breaker" => {
                self.calls as f64 / (1.0 - q) * q.powi(self.breaker_after as i32) * (1.0 - q)
            }
            _ => 0.0,
        };
        let whole = work + waited + opened * self.breaker_wait.s();
        whole.min(self.patience().as_secs_f64())
    }

    fn spec(&self, faults: Faults, seed: u64) -> Spec {
        Spec {
            faults,
            seed,
            ..Spec::new(self.limit, ServiceTime::Constant(self.service.duration()))
        }
    }

    /// (c) Every so many attempts one fails, whoever makes it.
    fn failing_items(&self) -> Spec {
        let every = Every {
            nth: self.fail_every,
            status: 500,
            by: By::Arrival,
        };
        let service = ServiceTime::Constant(self.item_service.duration());
        let mut spec = Spec::new(self.permits, service);
        spec.faults.every = vec![every];
        spec
    }

    fn budget(&self) -> Budget {
        Budget::share(self.budget)
    }

    fn breaker(&self) -> Breaker {
        Breaker {
            failures: self.breaker_after,
            open_for: self.breaker_wait.duration(),
            probes: self.probes,
        }
    }
}

impl Lab for ResilientClient {
    type Params = Params;

    const TAKES_TARGET: bool = false;

    const CARD: Card = Card {
        number: 5,
        name: "resilient_client",
        title: "The resilient client",
        question: "What does a production HTTP client do?",
        predict: &[
            Question {
                key: "attempts",
                ask: "Three attempts in ten fail at random, and a call is tried again up to {retries} times: how many attempts does it make on average?",
                unit: "attempts a call",
                hint: "1 to 6",
            },
            Question {
                key: "jitter",
                ask: "The service is down for {outage}. A call is tried again up to {retries} times. The waits double from {base} to at most {cap}, each drawn at random between nothing and that (full jitter). What share of the outage's calls is saved?",
                unit: "%",
                hint: "0 to 100",
            },
        ],
        next: &[
            (
                "cargo run --release --bin lab05 -- --retries 8",
                "more retries: at once they are more load for nothing, with jitter they outlast the outage",
            ),
            (
                "cargo run --release --bin lab05 -- --items 90 --permits 5 --item-service 100ms --fail-every 3 --waits 250ms,500ms,1s",
                "one second of back-off, with the permit held and given back",
            ),
            (
                "cargo run --release --bin lab05 -- --outage 2s --base 80ms --cap 1280ms --deadline 8s --breaker-wait 215ms",
                "twice the outage: waits twice as long are needed, and no more attempts",
            ),
            (
                "cargo run --release --bin lab05 -- --budget 0.15",
                "a budget of 15 % that is one of 16.7 %",
            ),
        ],
        sources: lab_kit::sources!["lib.rs"],
        answers: include_str!("../answers.md"),
        sizes: Sizes {
            smoke: &[
                "--failing",
                "0.3",
                "--calls",
                "40",
                "--retries",
                "3",
                "--base",
                "5ms",
                "--cap",
                "40ms",
                "--deadline",
                "300ms",
                "--outage",
                "60ms",
                "--breaker-wait",
                "13ms",
                "--herd",
                "20",
                "--items",
                "20",
                "--item-service",
                "10ms",
                "--waits",
                "20ms",
            ],
            full: &["--calls", "3600"],
            // The outages are repeated three times all the same: each of their claims stands alone.
            trials: (1, 1),
        },
    };

    fn check(p: &Params) -> Result<(), String> {
        let worst = p.failing.iter().copied().fold(0.0, f64::max);
        let random = p.calls as f64 * p.service.s() / p.limit as f64 / (1.0 - worst);
        if random > p.deadline.s() / 2.0 {
            return Err(format!(
                "(a) would take {random:.1} s and its calls wait for permits: fewer --calls, a higher --limit or a longer --deadline"
            ));
        }
        if p.deadline.s() <= p.outage.s() {
            return Err("--deadline is not longer than --outage: no call could outlast it".into());
        }
        if p.outage.s() + p.deadline.s() > 60.0 {
            return Err("--outage and --deadline together are longer than a minute".into());
        }
        let steady = p.rate * p.service.s();
        if steady > 0.5 * p.limit as f64 {
            return Err(format!(
                "--rate needs {steady:.0} of the {} attempts in flight by itself: lower it or raise --limit",
                p.limit
            ));
        }
        let calls = p.rate * p.outage.s() + p.herd as f64;
        let sent = calls * p.attempts_in_outage();
        if sent > 20_000.0 * p.outage.s() + 2_000.0 {
            return Err(format!(
                "there would be {sent:.0} requests in the outage, more than this machine can send: fewer --retries, a longer --base and --cap, a lower --rate or --herd"
            ));
        }
        // Theory plays all calls some hundred times.
        let begun = p.rate * (p.outage.s() + p.tail().as_secs_f64()) + p.herd as f64;
        if begun > 200_000.0 {
            return Err(format!(
                "(b) would be {begun:.0} calls until the longest back-off is over: a shorter --cap or --outage, or a lower --rate"
            ));
        }
        let held = p.items_take(p.waits.iter().map(|w| w.s()).fold(0.0, f64::max));
        if held > GIVEN_BACK.as_secs_f64() {
            return Err(format!(
                "(c) would take {held:.0} s, and its calls give up after {GIVEN_BACK:?}: fewer --items, shorter --waits or more --permits"
            ));
        }
        Ok(())
    }

    fn needs(p: &Params, extent: &Extent) -> Needs {
        let mut sweep = extent.sweep();
        for (arm, _) in ARMS {
            for q in p.failing_in(arm) {
                sweep.steady(p.limit, 0.02 + p.random_takes(arm, q));
            }
            // Two of them twice.
            for _ in 0..if matches!(arm, "jitter" | "deadline") {
                2
            } else {
                1
            } {
                let lasts = p.outage.s() + p.tail().as_secs_f64() + 3.0 * LEAD.as_secs_f64();
                let outage = sweep.steady(p.limit, lasts + needs::connected(p.limit));
                if !extent.smoke() {
                    outage.among(1);
                }
            }
        }
        for wait in &p.waits {
            sweep.steady(p.permits, 0.02 + p.items_take(wait.s()));
            let given_back = p.items_take(0.0) + p.items_take(wait.s()).min(4.0 * wait.s());
            sweep.steady(p.permits, 0.02 + given_back);
        }
        Needs {
            seconds: sweep.seconds(),
            less: "a shorter --outage, --deadline or --cap, fewer --calls or --items, shorter --waits",
            ..Needs::default()
        }
    }

    fn measure(p: &Params, session: &mut Session) -> Result<()> {
        let runtime = lab_kit::host::runtime()?;
        let (p, scale, stop) = (Arc::new(p.clone()), session.scale, session.stop().clone());
        let mut sweep = session.sweep();
        for (arm, _) in ARMS {
            for q in p.failing_in(arm) {
                let own = p.clone();
                sweep.steady(&format!("random/{arm}"), q, p.limit, move |r| {
                    random_failures(r, own.clone(), arm, q)
                });
            }
        }
        for (i, (arm, _)) in ARMS.into_iter().enumerate() {
            // Side by side, but not in step: the herds of two arms shall not meet.
            let (own, begin) = (p.clone(), READY + Duration::from_millis(17) * i as u32);
            // What jitter brings is chance, in part: twice as many trials tell more.
            let random = matches!(arm, "jitter" | "deadline");
            for _ in 0..if random { 2 } else { 1 } {
                let own = own.clone();
                let added = sweep.steady(&format!("outage/{arm}"), 0.0, p.limit, move |r| {
                    outage(r, own.clone(), arm, begin)
                });
                if scale != Scale::Smoke {
                    added.among(1);
                }
            }
        }
        for wait in p.waits.iter().map(|wait| wait.duration()) {
            let (one, other, x) = (p.clone(), p.clone(), wait.as_secs_f64());
            let (stop, same) = (stop.clone(), stop.clone());
            sweep.steady("permit/kept", x, p.permits, move |r| {
                unless(stop.clone(), permit_kept(r, one.clone(), wait))
            });
            sweep.steady("permit/given back", x, p.permits, move |r| {
                unless(same.clone(), permit_given_back(r, other.clone(), wait))
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

impl Params {
    /// When an arm tries again.
    fn retries(&self, arm: &str) -> Retries {
        let exponential = Backoff::exponential(self.base.duration()).capped(self.cap.duration());
        let quadratic = Backoff::quadratic(self.base.duration()).capped(self.cap.duration());
        match arm {
            "none" => Retries::none(),
            "immediate" => Retries::up_to(self.retries, Backoff::none()),
            "quadratic" => Retries::up_to(self.retries, quadratic),
            "exponential" => Retries::up_to(self.retries, exponential),
            "jitter" => Retries::up_to(self.retries, exponential.jittered()),
            _ => Retries::until_deadline(exponential.jittered()),
        }
    }

    /// The client of an arm.
    fn client(&self, arm: &str) -> Builder {
        let client = Client::builder()
            .concurrency(self.limit)
            .deadline(self.deadline.duration())
            .retries(self.retries(arm));
        match arm {
            "budget" => client.budget(self.budget()),
            "breaker" => client.budget(self.budget()).breaker(self.breaker()),
            _ => client,
        }
    }
}

/// (a) Each attempt fails with probability `q`.
async fn random_failures(r: Recorder, p: Arc<Params>, arm: &str, q: f64) -> Result<()> {
    let chance = Chance {
        probability: q,
        status: 500,
    };
    let faults = Faults {
        statuses: vec![chance],
        ..Faults::default()
    };
    let service = r.upstream(p.spec(faults, r.seed())).await?;
    let client = p.client(arm).deadline(p.patience()).seed(r.seed());
    let client = client.build()?;
    let load = r.load();
    let load = load.burst(p.calls, |_| call(&client, service.url())).await;
    books(&r, &client, &service);
    r.tally(load, &service)
}

/// (b) The service is down for a while, and a herd calls when that begins.
async fn outage(r: Recorder, p: Arc<Params>, arm: &str, begin: Duration) -> Result<()> {
    let down = Outage {
        from: begin + LEAD,
        until: begin + LEAD + p.outage.duration(),
        status: 503,
    };
    let faults = Faults {
        outages: vec![down],
        ..Faults::default()
    };
    let service = r.upstream(p.spec(faults, r.seed())).await?;
    let (from, until) = {
        let origin = Instant::now();
        (origin + down.from, origin + down.until)
    };
    let pool = http::client();
    let arrivals = Arc::new(Mutex::new(Vec::new()));
    let seen = arrivals.clone();
    let client = p
        .client(arm)
        .seed(r.seed())
        .pool(pool.clone())
        .on_attempt(move |_| lock(&seen).push(Instant::now()))
        .build()?;
    r.connect(&pool, &service, p.limit).await?;
    tokio::time::sleep_until((from - LEAD).into()).await;

    let starts = p.starts();
    let schedule = starts
        .iter()
        .map(|t| Duration::from_secs_f64(t + LEAD.as_secs_f64()));
    let saved = Arc::new(Mutex::new(0u32));
    let load = r.load();
    let load = load.scheduled(schedule.collect(), |i| {
        let inside = (0.0..p.outage.s()).contains(&starts[i]);
        let (call, saved) = (call(&client, service.url()), saved.clone());
        async move {
            let outcome = call.await;
            *lock(&saved) += u32::from(inside && outcome == Outcome::Ok);
            outcome
        }
    });
    let over = async {
        tokio::time::sleep_until(until.into()).await;
        client.stats()
    };
    let (load, at_the_end) = tokio::join!(load, over);

    let calls = starts
        .iter()
        .filter(|t| (0.0..p.outage.s()).contains(*t))
        .count() as f64;
    let arrivals = std::mem::take(&mut *lock(&arrivals));
    let inside = arrivals
        .iter()
        .filter(|at| (from..until).contains(*at))
        .count() as f64;
    r.gauge("down_at_s", (from - r.origin()).as_secs_f64());
    r.gauge("calls_in_outage", calls);
    r.gauge("saved_in_outage", f64::from(*lock(&saved)));
    r.gauge("sent_in_outage", inside);
    r.gauge("probes_in_outage", at_the_end.probes as f64);
    r.gauge("opened_in_outage", at_the_end.breaker_opened as f64);
    let since: Vec<f64> = arrivals
        .iter()
        .map(|at| at.saturating_duration_since(from).as_secs_f64())
        .collect();
    let peak = schedule::peak(&since, p.outage.s(), WINDOW.as_secs_f64());
    r.gauge("comeback_peak", peak as f64);
    histogram(&r, &arrivals, from - LEAD);
    books(&r, &client, &service);
    r.tally(load, &service)
}

// wrong: The permit is kept during the back-off
/// (c) The wrong way: the permit is held round the whole retry loop, and sleeps with it.
async fn permit_kept(r: Recorder, p: Arc<Params>, wait: Duration) -> Result<()> {
    let service = r.upstream(p.failing_items()).await?;
    let client = Client::builder()
        .unlimited()
        .retries(Retries::none())
        .build()?;
    let permits = Semaphore::new(p.permits);
    let items = (0..p.items).map(|_| async {
        let _permit = permits.acquire().await;
        while client.fetch(Request::get(service.url())).await.is_err() {
            tokio::time::sleep(wait).await;
        }
    });
    let start = Instant::now();
    futures_util::future::join_all(items).await;
    r.wall(start.elapsed());
    books(&r, &client, &service);
    Ok(())
}

// right: The permit is given back before the back-off
// so: A permit is for an attempt. One that sleeps through a back-off is lost to everybody else.
/// The right way: a permit for an attempt. The rest of the loop is the client's.
async fn permit_given_back(r: Recorder, p: Arc<Params>, wait: Duration) -> Result<()> {
    let service = r.upstream(p.failing_items()).await?;
    let client = Client::builder()
        .concurrency(p.permits)
        .deadline(GIVEN_BACK)
        .retries(Retries::until_deadline(
            Backoff::constant(wait).capped(wait),
        ))
        .build()?;
    let items = (0..p.items).map(|_| Request::get(service.url()));
    let start = Instant::now();
    client.fetch_batch(items).await;
    r.wall(start.elapsed());
    books(&r, &client, &service);
    Ok(())
}

/// Cuts an experiment short when the run is stopped.
async fn unless(stop: Stop, experiment: impl Future<Output = Result<()>>) -> Result<()> {
    tokio::select! {
        done = experiment => done,
        () = stop.wait() => Ok(()),
    }
}

/// One call, and what became of it.
fn call(client: &Client, url: String) -> impl Future<Output = Outcome> + Send + use<> {
    let client = client.clone();
    async move {
        match client.fetch(Request::get(url)).await {
            Ok(body) => Outcome::of(Ok(body)),
            Err(error) => fate(&error),
        }
    }
}

fn fate(error: &FetchError) -> Outcome {
    match error.kind {
        Kind::Status(code) => Outcome::of_status(code),
        Kind::Timeout => Outcome::TimedOut,
        Kind::TooLarge => Outcome::Failed(Failure::TooLarge),
        Kind::Connect => Outcome::Failed(Failure::Connect),
        Kind::Broken => Outcome::Failed(Failure::Broken),
        _ => Outcome::Failed(Failure::Other),
    }
}

/// Writes down the client's books beside the service's.
fn books(r: &Recorder, client: &Client, service: &Service) {
    let stats = client.stats();
    let arrived = service.counters().map_or(f64::NAN, |c| c.arrived as f64);
    for (name, value) in [
        ("calls", stats.calls as f64),
        ("calls_ok", stats.ok as f64),
        ("attempts", stats.attempts as f64),
        ("retries", stats.retries as f64),
        (
            "attempt_mean_s",
            stats.attempt_time.as_secs_f64() / stats.attempts as f64,
        ),
        ("unsent", stats.unsent as f64),
        ("probes", stats.probes as f64),
        ("breaker_opened", stats.breaker_opened as f64),
        ("arrived", arrived),
    ] {
        r.gauge(name, value);
    }
}

/// Writes down how many of these instants lie in each stretch of time.
fn histogram(r: &Recorder, instants: &[Instant], from: Instant) {
    let mut counts: Vec<u32> = Vec::new();
    for at in instants {
        let bin = at.saturating_duration_since(from).div_duration_f64(BIN) as usize;
        counts.resize(counts.len().max(bin + 1), 0);
        counts[bin] += 1;
    }
    for (i, count) in counts.into_iter().enumerate() {
        r.trace("arrivals", from + BIN * i as u32, f64::from(count));
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().expect("nobody panics holding it")
}
