//! What is measured, in which sizes, and what it takes.

use std::sync::Arc;

use lab_kit::{accounts::Fate, prelude::*, stop::Stop};
use mock_server::{By, Every, Faults};

use lab_parts::client::{Breaker, Budget};

use super::outage::outage;
use super::{ARMS, findings, permit_given_back, permit_kept, premise, random_failures, schedule};

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
    whole(text, 1..=100)
}

fn share(text: &str) -> Result<f32, String> {
    within(text, 0.0..=10.0, "retries for each call, 0 to 10")
}

fn probability(text: &str) -> Result<f64, String> {
    within(text, 0.001..=0.9, "a probability from 0.001 to 0.9")
}

fn rate(text: &str) -> Result<f64, String> {
    within(text, 1.0..=2000.0, "calls a second, 1 to 2000")
}

fn period(text: &str) -> Result<u64, String> {
    whole(text, 2..=10_000)
}

/// lab05.
pub struct ResilientClient;

/// (b) When calls begin, from the start of the trial: the connections are open by then.
const READY: Duration = Duration::from_millis(80);
/// (b) How long they go on before the outage.
pub(super) const LEAD: Duration = Duration::from_millis(100);
/// (b) When the herd calls, from the outage's beginning, which has a clock of its own.
pub(super) const HERD: Duration = Duration::from_millis(10);
/// (b) Arrivals are counted in stretches this long.
pub(super) const BIN: Duration = Duration::from_millis(10);
/// (b) A peak is what arrives within this time.
pub(super) const WINDOW: Duration = Duration::from_millis(50);

/// (c) Deadline of the calls that give their permits back: they are to fail for no lack of time.
pub(super) const GIVEN_BACK: Duration = Duration::from_secs(600);

impl Params {
    /// (b) How long calls go on after the outage.
    pub(super) fn tail(&self) -> Duration {
        self.cap.duration() + LEAD
    }

    /// (b) When calls begin, in seconds from the beginning of the outage.
    pub(super) fn starts(&self) -> Vec<f64> {
        let (lead, end) = (LEAD.as_secs_f64(), self.outage.s() + self.tail().as_secs_f64());
        let steady = (0..).map(|i| (f64::from(i) + 0.5) / self.rate - lead);
        let mut starts: Vec<f64> = steady.take_while(|t| *t < end).collect();
        let begun = starts.partition_point(|t| *t < 0.0);
        starts.splice(begun..begun, vec![HERD.as_secs_f64(); self.herd]);
        starts.sort_by(f64::total_cmp);
        starts
    }

    /// (a) Deadline of a call: what fails is to fail at random, not for lack of time.
    pub(super) fn patience(&self) -> Duration {
        5 * self.deadline.duration()
    }

    /// (a) Where an arm is measured. Back-off makes no difference there: one place is enough for most.
    pub(super) fn failing_in(&self, arm: &str) -> Vec<f64> {
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
    pub(super) fn random_takes(&self, arm: &str, q: f64) -> f64 {
        let retries = self.retries(arm);
        let work = self.calls as f64 * (self.service.s() / self.limit as f64).max(needs::REQUEST_S)
            / (1.0 - q);
        // Of so many calls the unluckiest fails so often in a row.
        let failures = ((self.calls as f64).ln() / -q.ln()).ceil();
        let most = retries.most.map_or(failures, |most| failures.min(f64::from(most)));
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

    pub(super) fn spec(&self, faults: Faults, seed: u64) -> Spec {
        Spec {
            faults,
            seed,
            ..Spec::new(self.limit, ServiceTime::Constant(self.service.duration()))
        }
    }

    /// (c) Every so many attempts one fails, whoever makes it.
    pub(super) fn failing_items(&self) -> Spec {
        let every = Every { nth: self.fail_every, status: 500, by: By::Arrival };
        let service = ServiceTime::Constant(self.item_service.duration());
        let mut spec = Spec::new(self.permits, service);
        spec.faults.every = vec![every];
        spec
    }

    pub(super) fn budget(&self) -> Budget {
        Budget::share(self.budget)
    }

    pub(super) fn breaker(&self) -> Breaker {
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
            (
                "cargo run --release -- make next retry_well",
                "make it: a client that retries what can help, and no more",
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
            for _ in 0..outages(arm) {
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
            let begin = READY + Duration::from_millis(17) * i as u32;
            for _ in 0..outages(arm) {
                let own = p.clone();
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

/// (b) How often an arm goes through the outage in a round. What jitter brings is chance, in part: twice as many
/// trials tell more.
fn outages(arm: &str) -> usize {
    match arm {
        "jitter" | "deadline" => 2,
        _ => 1,
    }
}

/// Cuts an experiment short when the run is stopped.
async fn unless(stop: Stop, experiment: impl Future<Output = Result<()>>) -> Result<()> {
    tokio::select! {
        done = experiment => done,
        () = stop.wait() => Ok(()),
    }
}
