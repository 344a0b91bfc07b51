//! Three scenes of a service with a quota: many at once, many after a long pause, and slow ones.

use std::time::Duration;

use anyhow::Result;
use lab_kit::theory::rate;
use mock_server::{Entry, Quota, Spec, Turn};

use crate::{
    bench::Bench,
    books,
    exercise::{Card, Judge, Misconception, Question},
    items::Items,
    line::Run,
    verdict::Verdict,
};

/// Keep the quota.
pub struct KeepTheQuota;

/// Requests of the scenes with many.
const MANY: u64 = 120;
/// What the service forgives: a machine that stands still for so long makes nobody refused.
const FORGIVEN: f64 = 0.4;
/// Time of a request where there are many.
const FAST: Duration = Duration::from_millis(5);
/// And where there are few: several gaps.
const SLOW: Duration = Duration::from_millis(700);
/// Requests a second where they are slow.
const FEW_PER_S: f64 = 4.0;

impl Judge for KeepTheQuota {
    fn card(&self) -> Card {
        Card {
            folder: "ex20_keep_the_quota",
            title: "Keep the quota",
            lab: 20,
            question: Question {
                text: "120 requests are to be sent, each takes 5 ms, and the service allows 60 to 90 a second, with some 30 more at once. With the file as it is, how many of them will be refused?",
                gauge: "refused_of_many",
                unit: "requests",
            },
            misconceptions: MISCONCEPTIONS,
            orders: false,
            pace: None,
        }
    }

    fn judge(&self, bench: &mut Bench) -> Result<Verdict> {
        let mut verdict = Verdict::new();
        let quota = Quota { per_s: bench.draw(60..90) as f64, burst: bench.draw(4..8) as u32 };
        let many = scene(bench, &mut verdict, quota, (MANY, FAST, Duration::ZERO))?;
        verdict.measured("refused_of_many", many.refused as f64);
        let found = at_once(&mut verdict, &many);
        let pause = Duration::from_millis(bench.draw(1400..1700));
        let rested = scene(bench, &mut verdict, quota, (MANY, FAST, pause))?;
        let said = format!("after a pause of {} ms {}", pause.as_millis(), rested.told());
        let forgets = verdict.check(rested.refused == 0, said);
        let few = Quota { per_s: FEW_PER_S, burst: bench.draw(5..8) as u32 };
        let slow = slow(bench, &mut verdict, few)?;
        let found = found.or((!forgets).then_some("saves-for-ever")).or(slow);
        if let Some(name) = found {
            verdict.looks_like(name);
        }
        Ok(verdict)
    }
}

const MISCONCEPTIONS: &[Misconception] = &[
    Misconception {
        name: "in-flight",
        belief: "a limit on what is under way for a limit on what is sent in a second",
        ask: "How many requests a second do your permits let through when each takes 5 ms, and how many when it takes half a second?",
    },
    Misconception {
        name: "each-its-own",
        belief: "a pace that each task keeps for itself",
        ask: "A hundred tasks call `get` at the same moment: when does each of them send, and which of them knows of the others?",
    },
    Misconception {
        name: "window",
        belief: "a count for each second, that begins anew when the second is over",
        ask: "How many requests does your program send within the last tenth of one second and the first tenth of the next?",
    },
    Misconception {
        name: "saves-for-ever",
        belief: "a pause in which everything is saved",
        ask: "Nobody has asked for a minute: how many may be sent at once, and how many would your program send?",
    },
    Misconception {
        name: "no-burst",
        belief: "an even pace for a quota that allows some at once",
        ask: "Nobody has asked for a minute, then five requests come: how long does the fifth one wait?",
    },
    Misconception {
        name: "one-at-a-time",
        belief: "a lock that is kept while the request is under way",
        ask: "A request takes 700 ms and the quota allows four a second: how many are under way, and how many in your program?",
    },
];

/// What came to the service.
struct Scene {
    quota: Quota,
    asked: u64,
    refused: u64,
    ledger: Vec<Entry>,
    /// Seconds of the arrivals, from the first on.
    arrivals: Vec<f64>,
}

impl Scene {
    fn told(&self) -> String {
        let needs = rate::burst_of(&self.arrivals, self.quota.per_s);
        format!(
            "{} of {} requests were refused; they came as {needs:.0} at once would, at {} a second, where {} are allowed",
            self.refused, self.asked, self.quota.per_s, self.quota.burst
        )
    }

    /// Seconds from the first arrival to the last.
    fn took(&self) -> f64 {
        self.arrivals.last().copied().unwrap_or(0.0)
    }

    /// The same at the quota's rate.
    fn should_take(&self) -> f64 {
        (self.asked as f64 - f64::from(self.quota.burst)) / self.quota.per_s
    }
}

/// Runs the program on so many items that take so long, after a pause.
fn scene(
    bench: &mut Bench,
    verdict: &mut Verdict,
    quota: Quota,
    (count, takes, pause): (u64, Duration, Duration),
) -> Result<Scene> {
    let items = Items::draw(bench, count);
    let forgiven = (quota.per_s * FORGIVEN).ceil() as u32;
    let allows = Quota { burst: quota.burst + forgiven, ..quota };
    let spec = items.spec(takes, |_, _| Turn::default());
    let upstream = bench.upstream(Spec { quota: Some(allows), ..spec })?;
    let run = Run::new().service(&upstream).list("items", &items.numbers());
    let run = run.give("per_s", quota.per_s).give("burst", quota.burst);
    let seen = bench.run_through(verdict, run.give("idle_ms", pause.as_millis()))?;
    let ledger = upstream.ledger();
    books::each_once(verdict, &ledger, (0..count).map(|place| items.path(place)));
    let refused = ledger.iter().filter(|entry| entry.status == 429).count() as u64;
    let back = items.back(&seen, 0..count);
    verdict.check(
        back + refused == count,
        format!("{back} bodies came back of {} that were sent", count.saturating_sub(refused)),
    );
    let first = ledger.first().map_or(Duration::ZERO, |entry| entry.arrived);
    let arrivals = ledger.iter().map(|entry| (entry.arrived - first).as_secs_f64()).collect();
    Ok(Scene { quota, asked: count, refused, ledger, arrivals })
}

/// Many at once: none is refused, and the quota is used.
fn at_once(verdict: &mut Verdict, many: &Scene) -> Option<&'static str> {
    let keeps = verdict.check(many.refused == 0, many.told());
    // Half of the rate, and a second: a slow machine does not make it slower than that.
    let (took, should) = (many.took(), many.should_take());
    let said = format!(
        "the last of {} requests came {took:.2} s after the first; at the quota's rate it takes {should:.2} s",
        many.asked
    );
    let is_used = verdict.check(took <= 2.0 * should + 1.0, said);
    if keeps || !is_used {
        return None;
    }
    // Requests that wait for each other's answers, or for nothing, are through long before the quota allows it.
    let waits = took > 0.45 * should;
    let under_way = books::most_in_flight(&admitted(&many.ledger));
    match (waits, under_way as u64 > many.asked / 6) {
        (true, _) => Some("window"),
        (false, true) => Some("each-its-own"),
        (false, false) => Some("in-flight"),
    }
}

fn admitted(ledger: &[Entry]) -> Vec<Entry> {
    ledger.iter().filter(|entry| entry.status != 429).cloned().collect()
}

/// As many as the burst, of requests that take several gaps: all are under way at the same time.
fn slow(bench: &mut Bench, verdict: &mut Verdict, quota: Quota) -> Result<Option<&'static str>> {
    let burst = u64::from(quota.burst);
    let scene = scene(bench, verdict, quota, (burst, SLOW, Duration::ZERO))?;
    let most = books::most_in_flight(&scene.ledger) as u64;
    for line in books::in_flight_chart(&scene.ledger, burst as usize) {
        verdict.show(line);
    }
    let said = format!(
        "of {burst} requests that may be sent at once, and take {} ms each, {most} were under way at the same time",
        SLOW.as_millis()
    );
    let held = verdict.check(most == burst, said);
    Ok((!held).then_some(if most <= 1 { "one-at-a-time" } else { "no-burst" }))
}
