//! Theory beside measurement for lab05.

use lab_kit::prelude::*;

use super::plan::{BIN, HERD, LEAD, WINDOW};
use super::schedule::{self, Calls, Expected};
use super::{ARMS, Params, gauges};

use Disturbed::{Either, Fewer, Longer};
use Resource::Timers;

/// Degrees of freedom of an interval whose width theory gives: as good as known.
const KNOWN: usize = 1000;

/// (b) A peak is what arrives within so many seconds.
const WINDOW_S: f64 = WINDOW.as_secs_f64();

/// A gauge that counts; nothing where it is no count.
fn count(t: &Trial, name: Gauge) -> Option<u64> {
    let whole = |n: &f64| *n >= 0.0 && n.is_finite();
    t.gauge(name).filter(whole).map(|n| n.round() as u64)
}

/// The share that one count is of another: nothing where it is more than all of them.
fn share(k: &Condition, part: Gauge, whole: Gauge) -> Option<Estimate> {
    let hits = |t: &Trial| Some(count(t, part)?).filter(|n| Some(*n) <= count(t, whole));
    k.share_of(hits, |t| count(t, whole))
}

/// How many more one count is than another, in each trial.
fn more(k: &Condition, count: Gauge, than: Gauge) -> Option<Estimate> {
    k.every(|t| Some(t.gauge(count)? - t.gauge(than)?))
}

/// How far a share of calls may lie from theory: a tenth of the deviation of a single call's outcome,
/// whatever the number of calls, and one in a hundred where that is next to nothing.
fn apart(share: f64) -> f64 {
    (0.1 * (share * (1.0 - share)).max(0.0).sqrt()).max(0.01)
}

/// Whether calls get the retries they want.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Retried {
    /// As many as they want.
    Freely,
    /// The budget grants hardly more or hardly fewer: chance decides.
    Hardly,
    /// As many as the budget grants.
    AsGranted,
}

/// (a) One arm at one probability.
struct Failing<'a> {
    arm: &'static str,
    label: &'static str,
    condition: Condition<'a>,
    retried: Retried,
    /// Theory: share of the calls that succeed.
    success: f64,
    /// Theory: attempts a call, and the deviation of those of one call.
    attempts: f64,
    deviation: f64,
}

impl<'a> Failing<'a> {
    fn of(p: &Params, arm: &'static str, label: &'static str, k: Condition<'a>) -> Failing<'a> {
        let q = k.x();
        let n = p.retries(arm).most.map(|most| most + 1);
        let calls = p.calls as f64;
        let wanted = schedule::amplification(q, n);
        let deviation = schedule::attempts_deviation(q, n);
        let granted = match arm {
            "budget" | "breaker" => 1.0 + p.budget().most_retries(calls) / calls,
            _ => f64::INFINITY,
        };
        // What chance does to the mean of so many calls, five deviations of it.
        let luck = 5.0 * deviation / calls.sqrt();
        let retried = match wanted - granted {
            above if above > luck => Retried::AsGranted,
            above if above > -luck => Retried::Hardly,
            _ => Retried::Freely,
        };
        // Each attempt succeeds with 1 − q whatever it repeats: the budget's attempts are all that
        // count when it is used up.
        let (attempts, success) = match granted < wanted {
            true => (granted, granted * (1.0 - q)),
            false => (wanted, schedule::success(q, n)),
        };
        Failing { arm, label, condition: k, retried, success, attempts, deviation }
    }

    fn name(&self) -> String {
        format!("{}, {} fail", self.label, percent(self.condition.x()))
    }

    /// Attempts a call, as the service counted them. The calls do not depend on each other, so the
    /// interval is that of the mean of so many, with the deviation of their law.
    fn sent(&self) -> Option<Estimate> {
        let total = |gauge| self.condition.total(|t| t.gauge(gauge));
        let sent = total(gauges::ARRIVED)?.value;
        let calls = total(gauges::CALLS)?.value;
        let deviation = match self.retried {
            Retried::AsGranted => 0.0,
            _ => self.deviation,
        };
        let estimate = Estimate::with_error(sent / calls, deviation / calls.sqrt(), KNOWN);
        (calls > 0.0).then(|| estimate.from(self.condition.origin()))
    }

    /// Share of the calls that succeeded.
    fn succeeded(&self) -> Option<Estimate> {
        match self.retried {
            // What is independent here is an attempt.
            Retried::AsGranted => {
                let of_attempts = share(&self.condition, gauges::CALLS_OK, gauges::ARRIVED)?;
                Some(of_attempts.scaled(self.sent()?.value))
            }
            _ => share(&self.condition, gauges::CALLS_OK, gauges::CALLS),
        }
    }

    /// Whether the formulas apply: the breaker does not open by bad luck, and the deadline leaves room
    /// for the attempts.
    fn believable(&self, p: &Params) -> bool {
        let q = self.condition.x();
        let in_a_row = p.calls as f64 / (1.0 - q) * q.powi(p.breaker_after as i32);
        let quiet = self.arm != "breaker" || in_a_row < 1e-3;
        let retries = p.retries(self.arm);
        // As many attempts as no call in a thousand needs.
        let needed = (1e-3f64.ln() / q.ln()).ceil() as u32;
        let most = retries.most.unwrap_or(needed).min(needed);
        let waits: Duration = retries.backoff.ceilings().take(most as usize).sum();
        // A budget is used up whatever the waits.
        let room = waits < p.patience() / 2;
        quiet && (room || self.arm == "none" || self.retried == Retried::AsGranted)
    }
}

/// (b) One arm.
struct Down<'a> {
    arm: &'static str,
    label: &'static str,
    condition: Condition<'a>,
    /// Theory: only of arms whose calls do not depend on each other.
    theory: Option<Expected>,
    /// A herd comes back just when the outage ends: what becomes of it is a coin toss.
    tossed: bool,
}

impl<'a> Down<'a> {
    fn of(p: &Params, arm: &'static str, label: &'static str, k: Condition<'a>) -> Down<'a> {
        let retries = p.retries(arm);
        let random = matches!(arm, "jitter" | "deadline");
        let alone = !matches!(arm, "budget" | "breaker");
        let most = retries.most.unwrap_or(0) as usize;
        let mut at = HERD.as_secs_f64();
        // A herd that comes back at the very end.
        let close = retries.backoff.ceilings().take(most).any(|wait| {
            at += wait.as_secs_f64();
            (at - p.outage.s()).abs() < 0.02
        });
        Down {
            arm,
            label,
            condition: k,
            theory: alone.then(|| plays(p).expected(retries, random, WINDOW_S)),
            tossed: close && !random,
        }
    }

    /// What theory says, or that it says nothing: of a coin toss.
    fn says(&self, figure: f64) -> f64 {
        if self.tossed { f64::NAN } else { figure }
    }

    /// Attempts sent in the outage for each call begun in it.
    fn sent(&self) -> Option<Estimate> {
        self.condition.estimate(|t| {
            Some(t.gauge(gauges::SENT_IN_OUTAGE)? / t.gauge(gauges::CALLS_IN_OUTAGE)?)
        })
    }

    /// Share of the calls begun in the outage that succeeded.
    fn saved(&self) -> Option<Estimate> {
        share(&self.condition, gauges::SAVED_IN_OUTAGE, gauges::CALLS_IN_OUTAGE)
    }

    /// The most attempts within a window after the outage.
    fn peak(&self) -> Option<Estimate> {
        self.condition.gauge(gauges::COMEBACK_PEAK)
    }
}

fn plays(p: &Params) -> Calls {
    Calls { starts: p.starts(), outage: p.outage.s(), deadline: p.deadline.s() }
}

/// (c) One way at one back-off.
struct Permit<'a> {
    kept: bool,
    condition: Condition<'a>,
    predicted: Given,
    /// What theory takes for the time of an attempt: s.
    attempt: Given,
}

impl<'a> Permit<'a> {
    fn of(p: &Params, summary: &Summary, kept: bool, k: Condition<'a>) -> Permit<'a> {
        // A sleep ends with the next tick of the timer but one.
        let wait = k.x() + 1e-3;
        let trip = summary.calibrated(|host| host.request_overhead_ms / 1e3);
        let makespan = |trip: f64| {
            let service = p.item_service.s() + trip;
            schedule::makespan(p.items, p.permits, service, wait, p.fail_every, 0, kept)
        };
        Permit {
            kept,
            predicted: trip.map(makespan),
            attempt: trip + p.item_service.s(),
            condition: k,
        }
    }

    fn way(&self) -> &'static str {
        if self.kept { "kept" } else { "given back" }
    }

    fn name(&self) -> String {
        format!("{}, back-off {}", self.way(), seconds(self.condition.x()))
    }
}

/// All that was measured, with what theory says of it.
struct View<'a> {
    p: &'a Params,
    failing: Vec<Failing<'a>>,
    down: Vec<Down<'a>>,
    permits: Vec<Permit<'a>>,
}

impl<'a> View<'a> {
    fn of(p: &'a Params, summary: &'a Summary<'a>) -> View<'a> {
        let failing = ARMS.iter().flat_map(|(arm, label)| {
            let conditions = summary.series(&format!("random/{arm}")).into_iter();
            conditions.map(|k| Failing::of(p, arm, label, k))
        });
        let down = ARMS.iter().filter_map(|(arm, label)| {
            let k = summary.only(&format!("outage/{arm}"))?;
            Some(Down::of(p, arm, label, k))
        });
        let permits = [("permit/kept", true), ("permit/given back", false)];
        let permits = permits.into_iter().flat_map(|(series, kept)| {
            let conditions = summary.series(series).into_iter();
            conditions.map(move |k| Permit::of(p, summary, kept, k))
        });
        View { p, failing: failing.collect(), down: down.collect(), permits: permits.collect() }
    }

    /// (a) An arm where attempts fail with this probability.
    fn failing(&self, arm: &str, q: f64) -> Option<&Failing<'a>> {
        let mut arms = self.failing.iter();
        arms.find(|f| f.arm == arm && f.condition.x() == q)
    }

    /// (b) An arm.
    fn down(&self, arm: &str) -> Option<&Down<'a>> {
        self.down.iter().find(|d| d.arm == arm)
    }
}

pub(super) fn explain(p: &Params, summary: &Summary) -> Findings {
    let view = View::of(p, summary);
    let figures = [view.random(), view.outage(), view.permit()];
    Findings {
        headline: view.headline(),
        figures: figures.into_iter().flatten().collect(),
        tables: vec![view.outage_table(), view.random_table(), view.permit_table()],
        claims: view.claims(),
        answers: view.answers(),
    }
}

/// The claims and the answers.
impl View<'_> {
    fn claims(&self) -> Vec<Claim> {
        let mut claims = vec![self.sent_once()];
        claims.extend(self.random_claims());
        claims.extend(self.budget());
        claims.extend(self.outage_claims());
        claims.extend(self.comeback());
        claims.extend(self.breaker());
        claims.push(self.permits_claim());
        claims
    }

    /// Every attempt in the client's books arrived, and none that is not there did.
    fn sent_once(&self) -> Claim {
        let case = |name: String, k: &Condition| {
            // What was given up for lack of time may never have got there: that is not measured.
            let in_time = k.trials().iter().all(|t| t.timed_out == 0);
            let astray = more(k, gauges::ARRIVED, gauges::ATTEMPTS);
            Case::exact(name, 0.0, astray.filter(|_| in_time))
        };
        let random = self.failing.iter().map(|f| case(f.name(), &f.condition));
        let outages = self.down.iter();
        let outages = outages.map(|d| case(format!("{}, outage", d.label), &d.condition));
        let permits = self.permits.iter().map(|k| case(k.name(), &k.condition));
        Law::counted(
            "the service sees each attempt of the client's books, and no other",
            "attempts",
        )
        .books()
        .near(random.chain(outages).chain(permits))
    }

    /// (a) What retries bring, and what they cost.
    fn random_claims(&self) -> [Claim; 2] {
        let of = |wanted: fn(Retried) -> bool| {
            let there = self.failing.iter().filter(|f| f.believable(self.p));
            there.filter(move |f| wanted(f.retried))
        };
        let success = of(|retried| retried != Retried::Hardly).map(|f| {
            let case = Case::new(f.name(), f.success, f.succeeded(), apart(f.success));
            case.scaled(100.0)
        });
        let attempts = of(|retried| retried == Retried::Freely)
            .map(|f| Case::share(f.name(), f.attempts, f.sent(), 0.05));
        [
            Law::counted("n attempts of which each fails with probability q succeed with 1 − qⁿ, whatever the back-off; where the budget is used up, each of the attempts it grants with 1 − q", "%")
                .within("a tenth of the deviation of one call's outcome, one point at least: an attempt more or less at q = 0.6 is more")
                .near(success),
            Law::counted("they cost (1 − qⁿ)/(1 − q) attempts a call, where no budget stops them", "attempts a call")
                .within("5 %: one attempt in twenty too many or too few")
                .near(attempts),
        ]
    }

    /// The budget grants what it says: with failures at random and in the outage.
    fn budget(&self) -> [Claim; 2] {
        let p = self.p;
        // It grants its reserve anew in the next window.
        let within = |t: &Trial| t.wall_s < p.budget().window.as_secs_f64();
        let granted = |f: &&Failing| f.retried == Retried::AsGranted && f.believable(p);
        let random = self.failing.iter().filter(granted).map(|f| {
            let retries = more(&f.condition, gauges::ARRIVED, gauges::CALLS);
            let retries = retries.filter(|_| f.condition.trials().iter().all(within));
            let most = p.budget().most_retries(p.calls as f64);
            Case::new(f.name(), most, retries, 1.0)
        });
        let outage = self.down("budget").and_then(|d| {
            let wanted = self.down("deadline")?.theory?.amplification - 1.0;
            let most = most_in_outage(p, wanted)?;
            let retries = more(&d.condition, gauges::SENT_IN_OUTAGE, gauges::CALLS_IN_OUTAGE);
            let after = p.budget().granted_share() * p.rate * p.cap.s();
            Some(Case::new(d.label, most, retries, after + 1.0))
        });
        [
            Law::counted("the budget grants its share of the calls and its reserve: that many retries are made where more are wanted", "retries")
                .within("one retry, for which the last call may pay too late")
                .near(random),
            Law::new("in the outage, too, what the budget grants is all that retries add", "retries", Fewer(Timers))
                .within("as many as are granted in the longest back-off, and one: they may be sent after the outage")
                .near(outage),
        ]
    }

    /// (b) What is sent during the outage, and what comes through.
    fn outage_claims(&self) -> [Claim; 2] {
        let theories = || self.down.iter().filter_map(|d| Some((d, d.theory?)));
        let sent = theories()
            .map(|(d, due)| Case::share(d.label, d.says(due.amplification), d.sent(), 0.05));
        let saved = theories().map(|(d, due)| {
            let (label, share) = (d.label, due.success);
            Case::new(label, d.says(share), d.saved(), apart(share)).scaled(100.0)
        });
        [
            Law::new("in the outage each call sends the attempts that its back-off makes due", "attempts a call", Fewer(Timers))
                .within("5 %: theory's attempts take no time, and its waits end in time")
                .near(sent),
            Law::new("an outage's call is saved if its back-off outlasts the outage: a fixed number of retries runs out sooner with jitter, the deadline does not", "%", Either(Timers))
                .within("a tenth of the deviation of one call's outcome, one point at least")
                .near(saved),
        ]
    }

    /// (b) The comeback: only of arms whose herd is still there.
    fn comeback(&self) -> Option<Claim> {
        let herds = ["quadratic", "exponential", "deadline"].into_iter();
        let cases = herds.filter_map(|arm| {
            let d = self.down(arm)?;
            let due = d.theory.filter(|due| due.success > 0.999)?;
            Some(Case::share(d.label, d.says(due.peak), d.peak(), 0.2))
        });
        let claim = Law::new("after the outage all of a herd come within one window when its back-off is not random, and spread over the back-off with full jitter", "attempts", Either(Timers))
            .within("20 %: a peak is the most of many windows, and attempts that are a few milliseconds late move others into it")
            .near(cases);
        (!claim.cases.is_empty()).then_some(claim)
    }

    /// (b) The breaker lets a probe through for each time it is half open, and that depends on its wait
    /// alone.
    fn breaker(&self) -> Vec<Claim> {
        let p = self.p;
        let Some(d) = self.down("breaker") else {
            return vec![];
        };
        let (wait, gap, outage) = (p.breaker_wait.s(), 1.0 / p.rate, p.outage.s());
        let (most, least) = (outage / wait, outage / (wait + gap + 2e-3));
        let calls = p.herd as f64 + p.rate * outage;
        if calls < 2.0 * f64::from(p.breaker_after) + p.limit as f64 {
            return vec![];
        }
        // Answers that were on their way when the service went down begin the count anew; a machine that
        // stood still may have kept one more.
        let starts = p.starts();
        let first = starts.iter().copied().find(|t| *t >= 0.0).unwrap_or(0.0);
        let under_way = |t: &&f64| **t < 0.0 && **t + p.service.s() + 3e-3 > first;
        let late = starts.iter().filter(under_way).count() as f64;
        let anew = |trial: &Trial| {
            let stalled = trial.gauge(gauge::STALL_MAX_MS).is_some_and(|ms| ms > 3.0);
            late + f64::from(u8::from(stalled))
        };
        let failures = f64::from(p.breaker_after - 1);

        let opened = |t: &Trial| t.gauge(gauges::OPENED_IN_OUTAGE);
        let probes = |t: &Trial| t.gauge(gauges::PROBES_IN_OUTAGE);
        let periods = d.condition.every(|t| Some(opened(t)? - 1.0));
        let each = d.condition.every(|t| Some(probes(t)? / opened(t).filter(|n| *n >= 1.0)?));
        let rest = d
            .condition
            .every(|t| Some(t.gauge(gauges::SENT_IN_OUTAGE)? - probes(t)? - failures * anew(t)));
        vec![
            Law::new("in the outage the breaker is half open once for each of its waits, whatever the load", "times", Fewer(Timers))
                .within("one, for the last wait that need not end with the outage, and the time until a call comes")
                .near([Case::new("outage", (most + least) / 2.0, periods, (most - least) / 2.0 + 1.0)]),
            Law::counted("each time it has been open it lets through no more probes than it was told", "probes")
                .at_most([Case::exact("outage", f64::from(p.probes), each)]),
            Law::counted("besides, and but for those after which a late success begins the count anew, the service sees no more than the failures in a row that open it and what is in flight by then", "attempts")
                .at_most([Case::exact("outage", failures + p.limit as f64, rest)]),
        ]
    }

    fn permits_claim(&self) -> Claim {
        // Nor may an attempt have taken another time than theory takes for it.
        let cases = self.permits.iter().flat_map(|k| {
            let each = k.condition.gauge(gauges::ATTEMPT_MEAN_S);
            [
                Case::share(k.name(), k.predicted, k.condition.wall_s(), 0.05),
                Case::share(format!("an attempt, {}", k.name()), k.attempt, each, 0.25),
            ]
        });
        Law::new("a permit that is kept while its holder sleeps costs N·(A − 1)·b/m on top of the N·A·s/m of one that is given back", "s", Longer(Timers))
            .within("5 %: which of the last attempts fails is worth a back-off, and each of some thirty attempts in a row ends up to a tick late")
            .near(cases)
    }

    fn answers(&self) -> Vec<Answer> {
        let asked = self.failing("jitter", 0.3);
        let attempts = asked.map_or(f64::NAN, |f| f.attempts);
        let jitter = self.down("jitter");
        let outlasting = jitter.and_then(|d| d.theory);
        let outlasting = outlasting.map_or(f64::NAN, |due| due.success);
        vec![
            Answer::near("attempts", asked.and_then(Failing::sent), attempts),
            Answer::near("jitter", jitter.and_then(Down::saved), outlasting).scaled(100.0),
        ]
    }
}

/// Retries that the budget grants from the first call to the end of the outage, in which each call wants so
/// many; `None` where hardly more are wanted, or where the outage is longer than the budget's window.
fn most_in_outage(p: &Params, wanted: f64) -> Option<f64> {
    let (lead, outage) = (LEAD.as_secs_f64(), p.outage.s());
    let starts = p.starts();
    let until = starts.partition_point(|t| *t < outage) as f64;
    let inside = starts.iter().filter(|t| (0.0..outage).contains(*t)).count() as f64;
    let most = p.budget().most_retries(until);
    let window = p.budget().window.as_secs_f64();
    (lead + outage <= window && wanted * inside > 2.0 * most).then_some(most)
}

/// Points of a line.
type Points = Vec<(f64, f64)>;

/// What was measured and what theory says at the same places, as points of two lines.
fn beside(values: impl Iterator<Item = (f64, Option<Estimate>, f64)>) -> (Points, Points) {
    values.filter_map(|(x, measured, theory)| Some(((x, measured?.value), (x, theory)))).unzip()
}

/// Sums over a window that moves along the stretches of which these are the counts, each at the window's
/// middle.
fn moving(bins: &[(f64, f64)]) -> Points {
    let of = (WINDOW_S / BIN.as_secs_f64()).round() as usize;
    let sum = |bins: &[(f64, f64)]| bins.iter().map(|(_, n)| n).sum();
    bins.windows(of.max(1)).map(|bins| (bins[0].0 + WINDOW_S / 2.0, sum(bins))).collect()
}

/// Arrivals within a window, since the beginning of the outage, of the trial to draw.
fn arrivals(k: &Condition) -> Points {
    let since_down = |t: &Trial| {
        let from = t.gauge(gauges::DOWN_AT_S)?;
        let arrivals = t.trace("arrivals").iter();
        Some(arrivals.map(|(at, n)| (at - from, *n)).collect::<Points>())
    };
    let drawn = k.typical(|t| t.gauge(gauges::COMEBACK_PEAK).unwrap_or_default());
    moving(&drawn.and_then(since_down).unwrap_or_default())
}

/// The arrivals that an arm's back-off makes due: the mean of some plays.
fn due(p: &Params, arm: &str) -> Points {
    const PLAYS: u64 = 20;
    let (plays, width, lead) = (plays(p), BIN.as_secs_f64(), LEAD.as_secs_f64());
    let end = p.outage.s() + p.tail().as_secs_f64();
    let mut sums = vec![0.0; ((end + lead) / width) as usize];
    for seed in 0..PLAYS {
        for at in plays.play(p.retries(arm), seed << 32).sent {
            if let Some(sum) = sums.get_mut(((at + lead) / width) as usize) {
                *sum += 1.0 / PLAYS as f64;
            }
        }
    }
    let bins = sums.into_iter().enumerate();
    let bins = bins.map(|(i, sum)| (i as f64 * width - lead, sum));
    moving(&bins.collect::<Points>())
}

/// The charts.
impl View<'_> {
    fn headline(&self) -> String {
        let peak = |arm| cell(self.down(arm).and_then(Down::peak), number);
        let saved = |arm| cell(self.down(arm).and_then(Down::saved), percent);
        format!(
            "After the outage {} attempts come within {} where nobody's back-off is random, {} with full jitter. With it {} retries save {} of the outage's calls; all that fit into the deadline save {}.",
            peak("exponential"),
            seconds(WINDOW_S),
            peak("deadline"),
            self.p.retries,
            saved("jitter"),
            saved("deadline"),
        )
    }

    fn random(&self) -> Option<Figure> {
        let p = self.p;
        let shown = [
            ("none", "no retry", Colour::Vermilion),
            ("budget", "budget", Colour::Blue),
            ("jitter", "retries", Colour::Green),
        ];
        let lines = |of: fn(&Failing) -> (f64, Option<Estimate>, f64)| {
            shown.into_iter().flat_map(move |(arm, label, colour)| {
                let (measured, theory) =
                    beside(self.failing.iter().filter(|f| f.arm == arm).map(of));
                [Line::theory("", Colour::Muted, theory), Line::measured(label, colour, measured)]
            })
        };
        let (middle, n) = (p.failing[p.failing.len() / 2], p.retries + 1);
        let named = self.failing("jitter", middle)?;
        let title = format!(
            "Where {} of the attempts fail, up to {n} of them make {} of the calls succeed, with {} attempts a call",
            percent(middle),
            percent(named.succeeded()?.value),
            number(named.sent()?.value)
        );
        let q = Axis::linear("probability q that an attempt fails", Unit::Share);
        Some(Figure::new("random", title)
            .subtitle(format!(
                "{} calls, each attempt fails with probability q; dashed: theory. The budget grants {} retries a call",
                p.calls,
                number(p.budget().granted_share())
            ))
            .desc("Two panels over the probability that an attempt fails: share of calls that succeed, and attempts a call.")
            .over(q.with_ticks(p.failing.clone()), [
                Panel::new("Calls that succeed", Axis::share())
                    .note("whatever the back-off")
                    .layers(lines(|f| (f.condition.x(), f.succeeded(), f.success)))
                    .height(1.1),
                Panel::new("Load of the service", Unit::Factor)
                    .note("attempts a call")
                    .layers(lines(|f| (f.condition.x(), f.sent(), f.attempts)))
                    .height(1.1),
            ]))
    }

    fn outage(&self) -> Option<Figure> {
        let p = self.p;
        let shown = [
            ("immediate", Colour::Vermilion, "At once"),
            ("exponential", Colour::Orange, "Exponential back-off"),
            ("deadline", Colour::Green, "Full jitter, until the deadline"),
            ("budget", Colour::Blue, "The same with a budget"),
            ("breaker", Colour::Purple, "The same with a breaker as well"),
        ];
        let shown = shown.into_iter();
        let shown = shown.filter_map(|(arm, colour, title)| Some((self.down(arm)?, colour, title)));
        let panels = shown.enumerate().map(|(at, (d, colour, title))| {
            let down = if at == 0 { "service down" } else { "" };
            Panel::new(title, Unit::Number)
                .note(format!(
                    "{} attempts a call, {} of the outage's calls saved",
                    cell(d.sent(), number),
                    cell(d.saved(), percent)
                ))
                .layer(Layer::region((0.0, p.outage.s()), down, Colour::Muted))
                .layers(d.theory.map(|_| Line::theory("", Colour::Muted, due(p, d.arm))))
                .layer(Line::trace("", colour, arrivals(&d.condition)))
                .height(0.62)
        });
        let panels: Vec<Panel> = panels.collect();
        let title = format!(
            "Without jitter {} attempts come back within {}, with it {}",
            self.came_back("exponential"),
            seconds(WINDOW_S),
            self.came_back("deadline")
        );
        (!panels.is_empty()).then(|| Figure::new("outage", title)
            .subtitle(format!(
                "Attempts within {}, of one trial each: {} calls/s all the time, and {} that begin with the outage of {}. Dashed: theory",
                seconds(WINDOW_S),
                number(p.rate),
                p.herd,
                p.outage
            ))
            .desc("A panel for each way to try again: attempts over time through an outage.")
            .over(Axis::linear("time since the service went down", Unit::Seconds), panels))
    }

    /// The most of an arm's line that begin after the outage.
    fn came_back(&self, arm: &str) -> String {
        let line = self.down(arm).map(|d| arrivals(&d.condition));
        let from = self.p.outage.s() + WINDOW_S / 2.0;
        let after = line.into_iter().flatten().filter(|(at, _)| *at >= from);
        let most = after.map(|(_, n)| n).reduce(f64::max);
        most.map_or("–".into(), number)
    }

    fn permit(&self) -> Option<Figure> {
        let p = self.p;
        let way = |kept| {
            let permits = self.permits.iter().filter(move |k| k.kept == kept);
            beside(permits.map(|k| (k.condition.x(), k.condition.wall_s(), k.predicted.value)))
        };
        let ((kept, kept_theory), (given, given_theory)) = (way(true), way(false));
        let (longest, slow) = *kept.last()?;
        let (_, fast) = *given.last()?;
        let title = format!(
            "Back-off of {}: all calls take {} when it keeps the permit, {} when it gives it back",
            seconds(longest),
            seconds(slow),
            seconds(fast)
        );
        Some(Figure::new("permit", title)
            .subtitle(format!(
                "{} calls of {} through {} permits; every {}th attempt fails and is made again after the back-off",
                p.items, p.item_service, p.permits, p.fail_every
            ))
            .desc("Time for all calls over the back-off, with the permit kept during it or given back.")
            .over(Axis::linear("back-off b", Unit::Seconds).with_range(0.0, longest), [
                Panel::new("Time for all calls", Unit::Seconds)
                    .note("dashed: theory")
                    .layer(Line::theory("", Colour::Muted, kept_theory))
                    .layer(Line::theory("", Colour::Muted, given_theory))
                    .layer(Line::measured("permit kept", Colour::Vermilion, kept))
                    .layer(Line::measured("permit given back", Colour::Green, given))
                    .height(1.3),
            ]))
    }
}

/// The tables.
impl View<'_> {
    fn outage_table(&self) -> Table {
        let theory = |d: &Down, write: fn(Expected) -> String| d.theory.map_or("–".into(), write);
        let probes = |d: &Down| d.condition.gauge(gauges::PROBES_IN_OUTAGE);
        let rate = self.p.rate;
        Table::of("(b) The outage", &self.down)
            .column("retries", |d| d.label.into())
            .cells("attempts a call in it", number, |d| d.sent())
            .column("theory", |d| theory(d, |due| number(due.amplification)))
            .cells("its calls saved", percent, |d| d.saved())
            .column("theory", |d| theory(d, |due| percent(due.success)))
            .cells("peak after it", number, |d| d.peak())
            .cells("mean time of a success", seconds, |d| d.condition.estimate(|t| t.latency.mean_s()))
            .cells("probes", number, |d| probes(d).filter(|_| d.arm == "breaker"))
            .note(format!(
                "Each row has what the one above it has, and something more; from \"until the deadline\" on retries are not counted. The peak is the most attempts within {}; {} calls/s are {} of it. Latencies include the calls outside the outage.",
                seconds(WINDOW_S),
                number(rate),
                number(rate * WINDOW_S)
            ))
    }

    fn random_table(&self) -> Table {
        Table::of("(a) Failures at random", &self.failing)
            .column("retries", |f| f.label.into())
            .column("attempts that fail", |f| percent(f.condition.x()))
            .cells("success", percent, |f| f.succeeded())
            .column("theory", |f| percent(f.success))
            .cells("attempts a call", number, |f| f.sent())
            .column("theory", |f| number(f.attempts))
            .cells("p99 time of a success", seconds, |f| f.condition.latency(0.99))
            .note(format!(
                "{} calls at once through {} permits. Intervals of shares are Wilson's: the calls do not depend on each other.",
                self.p.calls, self.p.limit
            ))
    }

    fn permit_table(&self) -> Table {
        let p = self.p;
        Table::of("(c) A permit during the back-off", &self.permits)
            .column("back-off", |k| seconds(k.condition.x()))
            .column("permit", |k| k.way().into())
            .cells("time for all", seconds, |k| k.condition.wall_s())
            .column("theory", |k| seconds(k.predicted.value))
            .note(format!(
                "{} calls of {}, {} permits, every {}th attempt fails.",
                p.items, p.item_service, p.permits, p.fail_every
            ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_may_lie_apart_by_a_tenth_of_a_calls_deviation() {
        assert!((apart(0.5) - 0.05).abs() < 1e-12);
        assert_eq!((apart(0.0), apart(1.0), apart(0.9999)), (0.01, 0.01, 0.01));
    }

    #[test]
    fn a_moving_window_holds_a_herd_wherever_it_falls() {
        let bins: Points = (0..20).map(|i| (f64::from(i) / 100.0, 1.0)).collect();
        let herd = |at: usize| {
            let mut bins = bins.clone();
            bins[at].1 += 100.0;
            moving(&bins)
        };
        for at in 4..16 {
            assert!(herd(at).iter().any(|(_, n)| *n == 105.0), "{at}");
        }
        assert_eq!(moving(&bins)[0], (0.025, 5.0));
    }
}
