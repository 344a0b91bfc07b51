//! Theory beside measurement for lab15.

use lab_kit::prelude::*;
use lab_kit::stats::mean;
use lab_kit::theory::overload::{Impatient, in_time_bounded, in_time_newest_first};
use lab_kit::theory::{MMc, MMcK};

use super::omission::ONE_IN;
use super::storm::{Remedy, Storm};
use super::systems::{NEAR, OVERLOAD};
use super::{Arm, Params, gauges};

/// A service that answers no more than this, in percent of its requests, is down.
const DOWN: f64 = 5.0;

/// What disturbs a mean over a window: a stall moves it by its share of the window, not by its length.
const OF_A_WINDOW: Disturbed = Disturbed::Either(Resource::Timers);

/// A figure beside theory that knows how late timers were, stalls and all, in the same window.
const KNOWN: Disturbed = Disturbed::Foreseen(Resource::Timers);

/// A timer fires when its tick has passed.
const TICK: f64 = 1e-3;

/// The formulas, for one load. Answers are as late as timers are: what was measured of that comes in
/// as `late`, in seconds.
#[derive(Clone, Copy)]
struct Theory<'a> {
    p: &'a Params,
    arm: Arm,
    lambda: f64,
    service: f64,
    late: f64,
}

impl Theory<'_> {
    /// At a load that is asked for.
    fn at(p: &Params, arm: Arm, rho: f64, late: f64) -> Theory<'_> {
        let service = p.service.s();
        Theory {
            p,
            arm,
            lambda: rho * p.workers as f64 / service,
            service,
            late,
        }
    }

    fn rho(&self) -> f64 {
        self.lambda * self.service / self.p.workers as f64
    }

    fn endless(&self) -> MMc {
        MMc {
            lambda: self.lambda,
            service: self.service,
            servers: self.p.workers,
        }
    }

    fn bounded(&self) -> MMcK {
        MMcK {
            lambda: self.lambda,
            service: self.service,
            servers: self.p.workers,
            places: self.p.places,
        }
    }

    fn impatient(&self) -> Impatient {
        let t = self.p.deadline.s();
        Impatient {
            lambda: self.lambda,
            service: self.service,
            servers: self.p.workers,
            patience: match self.arm {
                Arm::Deadline => t - self.p.margin.s(),
                Arm::Expired => t,
                _ => f64::INFINITY,
            },
        }
    }

    /// The share of the requests that is answered within the deadline.
    fn in_time(&self) -> f64 {
        // Where timers are later than the deadline is long, nobody is in time.
        let time = (self.p.deadline.s() - self.late).max(0.0);
        match self.arm {
            Arm::Shed => in_time_bounded(&self.bounded(), time),
            Arm::Newest => in_time_newest_first(&self.endless(), time),
            _ => self.impatient().in_time(time),
        }
    }

    /// Goodput within the deadline, as a share of the capacity.
    fn good(&self) -> f64 {
        self.rho() * self.in_time()
    }

    /// What a tick more or less makes of the share in time.
    fn of_a_tick(&self) -> f64 {
        let late = |by: f64| Theory {
            late: self.late + by,
            ..*self
        };
        (late(-TICK).in_time() - late(TICK).in_time()).abs() / 2.0
    }

    /// Share of the requests that are refused or dropped.
    fn turned_away(&self) -> f64 {
        match self.arm {
            Arm::Shed => self.bounded().blocking(),
            Arm::Deadline | Arm::Expired => self.impatient().lost(),
            _ => 0.0,
        }
    }

    /// Mean wait of those served, in seconds; NaN where there is no steady state.
    fn wait(&self) -> f64 {
        let wait = match self.arm {
            Arm::Shed => self.bounded().mean_wait(),
            Arm::Deadline | Arm::Expired => self.impatient().mean_wait(),
            _ => self.endless().mean_wait(),
        };
        finite(wait + self.late)
    }

    fn wait_p99(&self) -> f64 {
        let wait = match self.arm {
            Arm::Shed => self.bounded().wait_quantile(0.99),
            Arm::Unbounded | Arm::Waits => self.endless().wait_quantile(0.99),
            _ => f64::NAN,
        };
        finite(wait + self.late)
    }

    /// Mean wait inside a bounded queue whose producer waits: by Little's law from the mean number
    /// in it, which is Erlang's queue up to K.
    fn inside(&self) -> f64 {
        let (c, s, k) = (self.p.workers as f64, self.service, self.p.places);
        if self.rho() >= OVERLOAD {
            return k as f64 * s / c;
        }
        let full: f64 = (1..=k).map(|j| self.rho().powi(j as i32)).sum();
        self.endless().p_wait() * full / self.lambda
    }

    /// There is a steady state, or the overload is deep enough to know its end.
    fn settled(&self) -> bool {
        let deep = (self.rho() - 1.0) * self.p.window.s() > 2.0 * self.p.deadline.s();
        !self.is_endless() || self.rho() < OVERLOAD || deep
    }

    fn is_endless(&self) -> bool {
        matches!(self.arm, Arm::Unbounded | Arm::Waits | Arm::Newest)
    }
}

fn finite(value: f64) -> f64 {
    if value.is_finite() { value } else { f64::NAN }
}

/// One condition of the sweep.
struct Point<'a> {
    k: Condition<'a>,
    theory: Theory<'a>,
}

impl Point<'_> {
    fn name(&self) -> String {
        format!("{} at {}", self.theory.arm.name(), number(self.k.x()))
    }

    fn of(&self, gauge: Gauge) -> Option<Estimate> {
        self.k.gauge(gauge)
    }

    fn turned_away(&self) -> Option<Estimate> {
        self.of(match self.theory.arm {
            Arm::Shed => gauges::REFUSED_SHARE,
            _ => gauges::DROPPED_SHARE,
        })
    }

    /// Whether anybody is in time, by the flags: in an endless overload it begins too deep for that.
    fn some_in_time(&self) -> bool {
        let punctual = Theory {
            late: 0.0,
            ..self.theory
        };
        punctual.in_time() > 0.0
    }

    /// Served by virtual time, but for who is on top of a stack when two arrive within a tick.
    fn is_ordered(&self) -> bool {
        self.theory.arm != Arm::Newest
    }
}

/// How late timers were, by sleepers that did nothing else; `None` where none slept.
fn lateness(summary: &Summary) -> Option<Given> {
    Some(summary.only("timers")?.gauge(gauges::LATE_MEAN_S)?.into())
}

/// A figure of a trial; in older records the mean over its groups of services.
fn figure(k: &Condition, gauge: Gauge) -> Option<Estimate> {
    k.estimate(|t| {
        let groups = || {
            let trace = t.traces.get(&gauge.to_string())?;
            Some(mean(
                &trace.iter().map(|(_, value)| *value).collect::<Vec<_>>(),
            ))
        };
        t.gauge(gauge).or_else(groups)
    })
}

/// A curve over all trials of a condition: the mean of their values wherever all have one.
fn curve(k: &Condition, name: &str) -> Option<Vec<(f64, f64)>> {
    let curves = k.trials().iter().map(|t| t.traces.get(name));
    let curves: Vec<&Vec<(f64, f64)>> = curves.collect::<Option<_>>()?;
    let first = curves.first()?;
    let at = |i: usize| {
        let values: Option<Vec<f64>> = curves.iter().map(|c| Some(c.get(i)?.1)).collect();
        Some((first[i].0, mean(&values?)))
    };
    Some((0..first.len()).filter_map(at).collect())
}

fn points<'a>(p: &'a Params, summary: &Summary<'a>) -> Vec<Point<'a>> {
    let late = lateness(summary).map_or(0.0, |late| late.value);
    let points = Arm::ALL.into_iter().flat_map(|arm| {
        let series = summary.series(arm.name());
        series.into_iter().map(move |k| {
            let theory = Theory::at(p, arm, k.x(), late);
            Point { k, theory }
        })
    });
    points.collect()
}

pub(super) fn explain(p: &Params, summary: &Summary) -> Findings {
    let all = points(p, summary);
    let last = all.iter().map(|k| k.k.x()).fold(0.0, f64::max);
    let at_last = |arm: Arm| {
        let mut found = all.iter();
        found.find(|k| k.theory.arm == arm && k.k.x() == last)
    };
    let mut claims = claims_of_sweep(&all, lateness(summary));
    claims.extend(claims_of_overload(p, &all));
    claims.extend(claims_of_freeze(p, summary));
    claims.extend(claims_of_storm(p, summary));

    let good = |arm: Arm| {
        let point = at_last(arm).and_then(|k| k.of(gauges::GOOD_OF_CAPACITY));
        point.map_or(f64::NAN, |e| e.value)
    };
    let end = summary.only(Remedy::None.series());
    let end = end.and_then(|k| figure(&k, gauges::GOOD_END));
    let after = end.map_or(f64::NAN, |e| e.value);

    let mut figures = Vec::new();
    if !all.is_empty() {
        figures.push(sweep(p, &all, last, good(Arm::Unbounded), good(Arm::Shed)));
    }
    figures.extend(storm_figure(p, summary, after));
    figures.extend(freeze_figure(p, summary));

    let tables = [
        overload_table(p, &all, last),
        storm_table(p, summary),
        waits_table(&all, lateness(summary)),
    ];
    let answers = vec![
        Answer::near(
            "goodput",
            at_last(Arm::Expired).and_then(|k| k.of(gauges::GOOD_OF_CAPACITY)),
            at_last(Arm::Expired).map_or(f64::NAN, |k| k.theory.good()),
        )
        .scaled(100.0),
        answer_after(p, end.map(|e| e.scaled(100.0))),
    ];
    Findings {
        headline: format!(
            "At {} times the capacity the unbounded queue gives {} of it as answers in time, refusing gives {}, dropping what has expired {}, dropping by deadline {}; after a surge, retries keep the service at {} until something breaks the loop.",
            number(last),
            percent(good(Arm::Unbounded)),
            percent(good(Arm::Shed)),
            percent(good(Arm::Expired)),
            percent(good(Arm::Deadline)),
            percent(after),
        ),
        figures,
        tables: tables.into_iter().filter(|t| !t.rows.is_empty()).collect(),
        claims,
        answers,
    }
}

/// What is answered after the surge when retries go on.
fn answer_after(p: &Params, answered: Option<Estimate>) -> Answer {
    if stays_down(p) {
        Answer::at_most("after", answered, DOWN)
    } else if comes_back(p, Remedy::None) {
        Answer::near("after", answered, 100.0)
    } else {
        let why = "so near to ρ·(1 + n) = 1 chance decides what becomes of the line";
        Answer::alone("after", answered, why)
    }
}

fn claims_of_sweep(all: &[Point], late: Option<Given>) -> Vec<Claim> {
    let mut claims = vec![
        exact_waits(
            all,
            late,
            "served in their order, every service's requests wait as long as its very own arrivals and service times prescribe, event by event in virtual time (newest first is another order)",
            |k| k.is_ordered() && k.theory.arm != Arm::Waits,
        ),
        exact_waits(
            all,
            late,
            "producer waits: from when they were due, requests wait exactly as long as in an unbounded queue with the same arrivals",
            |k| k.theory.arm == Arm::Waits,
        ),
        exact_good(all),
        mean_waits(all, late),
        inside(all),
        turned_away(all),
        in_time(all, late),
        littles_law(all),
    ];
    let bounded = all
        .iter()
        .filter(|k| matches!(k.theory.arm, Arm::Waits | Arm::Shed));
    let depth = bounded.map(|k| {
        let longest = k.k.every(|t| t.gauge(gauges::DEPTH_MAX));
        Case::exact(k.name(), k.theory.p.places as f64, longest)
    });
    claims.push(
        Law::counted("a bounded queue is never longer than K", "requests")
            .books()
            .at_most(depth),
    );
    claims
}

/// Waits beside those of the very same arrivals in virtual time.
fn exact_waits(
    all: &[Point],
    late: Option<Given>,
    text: &str,
    which: impl Fn(&Point) -> bool,
) -> Claim {
    let cases = all.iter().filter(|k| which(k)).map(|k| {
        // Chance is the same on both sides: what is uncertain is their difference.
        let beside =
            k.k.estimate(|t| Some(t.gauge(gauges::SAME_WAIT_S)? - t.gauge(gauges::EXACT_WAIT_S)?));
        // Those who are served here and in virtual time are to stand for all.
        let stands = |t: &Trial| {
            let (same, all) = (t.gauge(gauges::SAME_WAIT_S)?, t.gauge(gauges::WAIT_MEAN_S)?);
            Some((same - all).abs() <= 2.0 * TICK + 0.1 * all)
        };
        let stand = k.k.trials().iter().all(|t| stands(t) == Some(true));
        let measured = beside.filter(|_| late.is_some() && stand);
        let Some(exact) = k.of(gauges::EXACT_WAIT_S) else {
            return Case::exact(k.name(), f64::NAN, None);
        };
        let late = late.unwrap_or(Given::from(0.0));
        let tolerance = 2.0 * TICK + 0.01 * exact.value;
        let predicted = Given::from(exact) + late;
        let measured = measured.map(|m| m.shifted(exact.value));
        Case::new(k.name(), predicted, measured, tolerance)
    });
    Law::new(text, "s", KNOWN)
        .within("two ticks of a timer, and 1 % where a line is long: who is served beside whom is decided within a tick")
        .near(cases)
}

/// Answers in time beside those of the very same arrivals in virtual time.
fn exact_good(all: &[Point]) -> Claim {
    let ordered = all.iter().filter(|k| k.is_ordered());
    let cases = ordered.filter(|k| k.some_in_time()).map(|k| {
        let beside = k
            .k
            .estimate(|t| Some(t.gauge(gauges::GOOD_SHARE)? - t.gauge(gauges::EXACT_GOOD_SHARE)?));
        let Some(exact) = k.of(gauges::EXACT_GOOD_SHARE) else {
            return Case::exact(k.name(), f64::NAN, None);
        };
        let measured = beside.map(|b| b.shifted(exact.value).scaled(100.0));
        let tolerance = 0.02 * exact.value + k.theory.of_a_tick();
        let predicted = 100.0 * Given::from(exact);
        Case::new(k.name(), predicted, measured, 100.0 * tolerance)
    });
    Law::new(
        "and as many are answered in time",
        "% of the requests",
        KNOWN,
    )
    .within("2 %, and what a tick more or less of lateness makes of it")
    .near(cases)
}

/// Mean waits in the steady state.
fn mean_waits(all: &[Point], late: Option<Given>) -> Claim {
    let steady = all.iter().filter(|k| {
        let known = matches!(k.theory.arm, Arm::Unbounded | Arm::Shed);
        known && k.theory.wait().is_finite()
    });
    let cases = steady.map(|k| {
        let wait = k.theory.wait() - k.theory.late;
        // An endless line magnifies what chance makes of the load, by 1/(1 − ρ).
        let share = if k.theory.is_endless() { 0.2 } else { 0.1 };
        let measured = k.of(gauges::WAIT_MEAN_S).filter(|_| late.is_some());
        let predicted = late.unwrap_or(Given::from(0.0)) + wait;
        Case::new(k.name(), predicted, measured, TICK + share * wait)
    });
    Law::new(
        "the mean wait is Erlang's below saturation, and that of M/M/c/K of those whom a full queue lets in",
        "s",
        KNOWN,
    )
    .within("a tick of a timer, and 10 %, for an endless line 20 %: what chance makes of the load, which an endless line magnifies by 1/(1 − ρ)")
    .near(cases)
}

/// What a service sees of a wait before its door.
fn inside(all: &[Point]) -> Claim {
    let waits = all.iter().filter(|k| k.theory.arm == Arm::Waits);
    let cases = waits.filter(|k| k.theory.settled()).map(|k| {
        let predicted = k.theory.inside();
        Case::new(
            k.name(),
            predicted,
            k.of(gauges::QUEUED_MEAN_S),
            TICK + 0.1 * predicted,
        )
    });
    Law::new("producer waits: the service's own clock sees only the wait inside, at most K·s/c", "s", OF_A_WINDOW)
        .within("a tick of a timer, and 10 %: who waits at the door and who inside is not asked by the formula")
        .near(cases)
}

/// Refused or dropped.
fn turned_away(all: &[Point]) -> Claim {
    let away = all
        .iter()
        .filter(|k| matches!(k.theory.arm, Arm::Shed | Arm::Deadline | Arm::Expired));
    let cases = away.map(|k| {
        let predicted = 100.0 * k.theory.turned_away();
        let measured = k.turned_away().map(|e| e.scaled(100.0));
        Case::new(k.name(), predicted, measured, 1.0 + 0.05 * predicted)
    });
    Law::new("the share turned away is that of M/M/c/K when a full queue refuses and that of M/M/c+D when workers drop", "% of the requests", OF_A_WINDOW)
        .within("a point and 5 % of it: what a load makes that chance has made 2 % larger or smaller than was asked for")
        .near(cases)
}

/// The share in time, in the steady state.
fn in_time(all: &[Point], late: Option<Given>) -> Claim {
    // An endless queue near saturation needs far longer runs for this than for its mean wait; one in
    // overload is planted so long that nobody can be in time.
    let settled = all.iter().filter(|k| {
        let near = k.theory.is_endless() && (NEAR..OVERLOAD).contains(&k.k.x());
        k.theory.settled() && !near && k.some_in_time()
    });
    let cases = settled.map(|k| {
        let share = k.theory.in_time();
        let origin = late.map_or(Default::default(), |late| late.origin());
        let measured = k.of(gauges::GOOD_SHARE).filter(|_| late.is_some());
        let tolerance = 0.03 * share + k.theory.of_a_tick();
        let predicted = Given::new(100.0 * share, origin);
        let measured = measured.map(|m| m.scaled(100.0));
        Case::new(k.name(), predicted, measured, 100.0 * tolerance)
    });
    Law::new("the share answered within the deadline follows from the waits of each discipline and from how late timers are", "% of the requests", Disturbed::Fewer(Resource::Timers))
        .within("3 %: what a load makes that chance has made 2 % larger or smaller than was asked for; and what a tick more or less of lateness makes")
        .near(cases)
}

/// L = λ·W from three instruments.
fn littles_law(all: &[Point]) -> Claim {
    let steady = all
        .iter()
        .filter(|k| !k.theory.is_endless() || k.theory.rho() < OVERLOAD);
    let cases = steady.map(|k| {
        let law =
            |t: &Trial| Some(t.gauge(gauges::LET_IN_PER_S)? * t.gauge(gauges::SOJOURN_MEAN_S)?);
        // As many are let in as come and are not refused; where the producer waits, no more.
        let agrees = |t: &Trial| {
            let comes = t.gauge(gauges::CAME_PER_S)? * (1.0 - t.gauge(gauges::REFUSED_SHARE)?);
            let share = t.gauge(gauges::LET_IN_PER_S)? / comes;
            Some(share <= 1.1 && (share >= 0.9 || k.theory.arm == Arm::Waits))
        };
        let agree = k.k.trials().iter().all(|t| agrees(t) == Some(true));
        let predicted = k.k.estimate(law);
        let beside =
            k.k.estimate(|t| Some(t.gauge(gauges::SAMPLED_INSIDE)? - law(t)?));
        let value = predicted.map_or(f64::NAN, |p| p.value);
        let measured = beside.filter(|_| agree).map(|b| b.shifted(value));
        let predicted = predicted.map_or(f64::NAN.into(), Given::from);
        let tolerance = 0.02 * value + TICK * k.theory.lambda;
        Case::new(k.name(), predicted, measured, tolerance)
    });
    Law::new("Little's law: the mean number inside, as a sampler sees it, is the rate at which the service lets requests in times the time inside for each of them by the clients' clocks", "requests", KNOWN)
        .within("2 %: what looks every few milliseconds miss; and those who come in a tick of a timer, by which a client hears late")
        .near(cases)
}

/// What overload makes of an endless line.
fn claims_of_overload(p: &Params, all: &[Point]) -> Vec<Claim> {
    let fifo = all
        .iter()
        .filter(|k| matches!(k.theory.arm, Arm::Unbounded | Arm::Waits));
    // Deep enough that by the middle of the window everybody served has waited for too long.
    let deep = fifo.filter(|k| {
        let overload = k.k.x() >= 1.15 && k.theory.settled();
        overload && p.window.s() > 4.0 * p.deadline.s()
    });
    let cases = deep.map(|k| {
        // What is in time is not too late.
        let late = k.k.estimate(|t| {
            Some(t.gauge(gauges::LATE_OF_CAPACITY)? - t.gauge(gauges::GOOD_OF_CAPACITY)?)
        });
        let measured = late.map(|e| e.scaled(100.0));
        Case::share(k.name(), 100.0, measured, 0.05)
    });
    vec![
        Law::new(
            "in overload an endless line keeps the workers busy with answers that are all too late",
            "% of the capacity",
            Disturbed::Fewer(Resource::Timers),
        )
        .within("5 %: a tick or two of a timer in a service")
        .near(cases),
    ]
}

/// Share of a tester's requests that meet the freeze: one for each tester.
fn caught(p: &Params) -> f64 {
    let rate = p.tested * p.workers as f64 / p.service.s();
    p.workers as f64 / (rate * p.window.s())
}

/// What one request in so many takes longer than, by the freeze alone, from when it was due; so many
/// workers serve one line. `NaN` beyond the freeze's reach.
///
/// Who is due t after the freeze began waits for its rest, F − t, and for those before, which takes
/// ρ·t: the times fall evenly, by 1 − ρ a second. That the line is one of whole requests with random
/// services adds s/(2·m·(1 − ρ)): half a service of the line to begin with, and what chance adds while
/// the line goes down (a renewal argument: the variance of its steps over twice their mean). So a
/// tester that waits for its answers is worse off than a service's users: of the four workers it has
/// one, and a line of its own.
fn freeze_theory(p: &Params, one_in: f64, workers: usize) -> f64 {
    let (rho, s, m) = (p.tested, p.service.s(), workers as f64);
    let wait = p.freeze.s() - (1.0 - rho) * p.window.s() / one_in;
    if wait > 3.0 * s {
        wait + s / (2.0 * m * (1.0 - rho)) + evenly(rho, s, workers)
    } else {
        f64::NAN
    }
}

/// Mean wait when arrivals are evenly spread: for one worker that of D/M/1, for more half of Erlang's
/// (Allen and Cunneen), which is next to nothing.
fn evenly(rho: f64, s: f64, workers: usize) -> f64 {
    if workers > 1 {
        let queue = MMc {
            lambda: rho * workers as f64 / s,
            service: s,
            servers: workers,
        };
        return queue.mean_wait() / 2.0;
    }
    // σ = e^(−(1 − σ)/ρ), by iteration.
    let root = (0..1000).fold(0.0_f64, |root, _| (-(1.0 - root) / rho).exp());
    s * root / (1.0 - root)
}

fn open_theory(p: &Params, one_in: f64) -> f64 {
    freeze_theory(p, one_in, p.workers)
}

/// The same by the clock of testers that wait for answers: their own service, but for those caught.
fn closed_theory(p: &Params, one_in: f64) -> f64 {
    let (share, caught) = (1.0 / one_in, caught(p));
    if share > 1.3 * caught {
        finite(p.service.s() * ((1.0 - caught) / (share - caught)).ln())
    } else if share < 0.7 * caught {
        p.freeze.s()
    } else {
        f64::NAN
    }
}

fn claims_of_freeze(p: &Params, summary: &Summary) -> Vec<Claim> {
    let longer = Disturbed::Longer(Resource::Timers);
    let p95 = |series: &str, clock: Gauge| figure(&summary.only(series)?, clock);
    let due = [
        ("sent when due, one line", "tested/open", p.workers),
        ("testers that wait, a line each", "tested/closed", 1),
    ];
    // Near the edge of the freeze's reach chance decides.
    let reached = due
        .into_iter()
        .filter(|_| open_theory(p, 20.0) > 0.3 * p.freeze.s());
    let due = reached.map(|(name, series, workers)| {
        let predicted = freeze_theory(p, 20.0, workers);
        Case::new(
            name,
            predicted,
            p95(series, gauges::P95_FROM_DUE_S),
            p.service.s(),
        )
    });
    let sent = (caught(p) < 0.03).then(|| {
        let predicted = closed_theory(p, 20.0);
        let measured = p95("tested/closed", gauges::P95_FROM_SENDING_S);
        Case::new(
            "testers that wait",
            predicted,
            measured,
            2.0 * TICK + 0.1 * predicted,
        )
    });
    vec![
        Law::new("a freeze of F in a window D: the 95th percentile of what was due is F − 0.05·(1 − ρ)·D and what the line's own chances add", "s", longer)
            .within("a service: who is next when the freeze ends is not asked by the formula")
            .near(due),
        Law::new("testers that wait for each answer see next to nothing of it: their 95th percentile is that of the service", "s", longer)
            .within("two ticks of a timer, and 10 % for those who wait behind an own request")
            .near(sent),
    ]
}

/// The surge makes every answer late, by theory.
fn surge_is_enough(p: &Params) -> bool {
    (p.surge - 1.0) * p.surge_for.s() > 1.2 * p.deadline.s()
}

/// Load on the service once the surge has passed, when every request is sent as often as may be.
fn retried(p: &Params) -> f64 {
    p.calm * (1 + p.retries) as f64
}

/// Retries alone keep the service down.
fn stays_down(p: &Params) -> bool {
    surge_is_enough(p) && retried(p) > 1.1
}

/// The service works off what the surge has left, in time for the end to be about the calm load.
fn comes_back(p: &Params, remedy: Remedy) -> bool {
    let storm = Storm::of(p, 1);
    let drained = |n: f64| {
        let left = (p.surge * (1.0 + n) - 1.0) * p.surge_for.s();
        let room = 1.0 - p.calm * (1.0 + n);
        room > 0.05 && 1.3 * left / room < storm.stretches()[2].from - storm.surge.1
    };
    match remedy {
        Remedy::None => retried(p) < 0.95 && drained(p.retries as f64),
        Remedy::Budget => drained(p.budget),
        // An arm that loses requests at this load anyway has nothing to come back to.
        Remedy::Shed => theory(p, Arm::Shed).good() > 0.93 * p.calm,
        Remedy::Deadline => theory(p, Arm::Deadline).good() > 0.93 * p.calm,
        Remedy::Newest => theory(p, Arm::Newest).good() > 0.93 * p.calm,
        Remedy::Away => theory(p, Arm::Unbounded).good() > 0.93 * p.calm,
    }
}

/// Goodput at the end of a storm as its curve has it, as a share of the calm load.
fn at_the_end(p: &Params, k: &Condition) -> Option<f64> {
    let [.., end] = Storm::of(p, 1).stretches();
    let curve = curve(k, "goodput")?.into_iter();
    let end = curve.filter(|(at, _)| (end.from..end.to).contains(at));
    Some(mean(&end.map(|(_, share)| share).collect::<Vec<_>>()) / p.calm)
}

fn claims_of_storm(p: &Params, summary: &Summary) -> Vec<Claim> {
    let name = |remedy: Remedy| remedy.series().replace("storm/", "");
    let of = |remedy: Remedy, gauge: Gauge| figure(&summary.only(remedy.series())?, gauge);
    let fewer = Disturbed::Fewer(Resource::Timers);
    let mut claims = Vec::new();
    if stays_down(p) {
        // Older records say how many are answered.
        let answered =
            of(Remedy::None, gauges::GOOD_END).map(|good| good.scaled(-1.0).shifted(1.0));
        let given_up = of(Remedy::None, gauges::GIVEN_UP_END).or(answered);
        let given_up = given_up.map(|e| e.scaled(100.0));
        let attempts = [Remedy::None, Remedy::Away].map(|remedy| {
            let sent = (1 + p.retries) as f64;
            let down = of(remedy, gauges::GOOD_DOWN).is_some_and(|good| 100.0 * good.value <= DOWN);
            let attempts = of(remedy, gauges::ATTEMPTS_DOWN).filter(|_| down);
            Case::share(name(remedy), sent, attempts, 0.05)
        });
        claims.extend([
            Law::new("ρ·(1 + n) > 1: long after the surge the service is still down, and every request is given up", "% of the requests", Disturbed::Either(Resource::Timers))
                .within("5 points: a service of those side by side that chance brings back")
                .near([Case::new("no remedy", 100.0, given_up, DOWN)]),
            Law::new("while it is down every request is sent 1 + n times", "attempts", Disturbed::Either(Resource::Timers))
                .within("5 %: a service of those side by side that chance brings back")
                .near(attempts),
        ]);
    }
    let back = Remedy::ALL.into_iter().filter(|r| comes_back(p, *r));
    let back = back.map(|remedy| {
        let answered = of(remedy, gauges::GOOD_END).filter(|good| {
            let over_time = summary
                .only(remedy.series())
                .and_then(|k| at_the_end(p, &k));
            over_time.is_some_and(|share| share >= 0.5 * good.value)
        });
        let answered = answered.map(|e| e.scaled(100.0));
        Case::share(name(remedy), 100.0, answered, 0.1)
    });
    claims.push(
        Law::new(
            "what breaks the loop brings the service back",
            "% of the requests answered",
            fewer,
        )
        .within("10 %: a few of the services side by side that still work off a long line")
        .near(back),
    );
    claims
}

/// Theory at the calm load, without retries.
fn theory(p: &Params, arm: Arm) -> Theory<'_> {
    Theory::at(p, arm, p.calm, 0.0)
}

fn colour(arm: Arm) -> Colour {
    match arm {
        Arm::Unbounded => Colour::Vermilion,
        Arm::Waits => Colour::Orange,
        Arm::Shed => Colour::Green,
        Arm::Deadline => Colour::Blue,
        Arm::Expired => Colour::Purple,
        Arm::Newest => Colour::Sky,
    }
}

/// Over the load: what theory says of an arm, and what was measured.
struct Curves<'a> {
    p: &'a Params,
    all: &'a [Point<'a>],
    /// The smallest load and the largest.
    first: f64,
    last: f64,
}

impl Curves<'_> {
    fn theory(&self, arm: Arm, of: fn(&Theory) -> f64) -> Layer {
        let steps = 60;
        let late = self.all.first().map_or(0.0, |k| k.theory.late);
        let points = (0..=steps).map(|i| {
            let rho = self.first + (self.last - self.first) * i as f64 / steps as f64;
            (rho, of(&Theory::at(self.p, arm, rho, late)))
        });
        Layer::Line(Line::theory("", Colour::Muted, points.collect()))
    }

    fn measured(&self, arm: Arm, of: fn(&Point) -> Option<Estimate>) -> Layer {
        let of_arm = self.all.iter().filter(|k| k.theory.arm == arm);
        let points = of_arm.filter_map(|k| Some((k.k.x(), of(k)?.value)));
        // Between two loads nothing was measured, and the law has its corner there.
        Layer::Line(Line {
            style: Style::Dots,
            ..Line::measured(arm.name(), colour(arm), points.collect())
        })
    }

    fn goodput(&self) -> Vec<Layer> {
        let theory = Arm::ALL.map(|arm| self.theory(arm, |t| t.good()));
        let good = |k: &Point| k.of(gauges::GOOD_OF_CAPACITY);
        let measured = Arm::ALL.map(|arm| self.measured(arm, good));
        theory.into_iter().chain(measured).collect()
    }

    fn waits(&self) -> Vec<Layer> {
        let theory = [Arm::Unbounded, Arm::Shed].map(|arm| self.theory(arm, |t| t.wait()));
        let wait = |k: &Point| k.of(gauges::WAIT_MEAN_S);
        let measured = [Arm::Unbounded, Arm::Waits, Arm::Shed].map(|arm| self.measured(arm, wait));
        theory.into_iter().chain(measured).collect()
    }

    fn turned_away(&self) -> Vec<Layer> {
        let arms = [Arm::Shed, Arm::Deadline, Arm::Expired];
        let theory = arms.map(|arm| self.theory(arm, |t| t.turned_away()));
        let measured = arms.map(|arm| self.measured(arm, |k| k.turned_away()));
        theory.into_iter().chain(measured).collect()
    }
}

/// Goodput, waits and what is turned away over the load.
fn sweep(p: &Params, all: &[Point], last: f64, unbounded: f64, shed: f64) -> Figure {
    let first = all.iter().map(|k| k.k.x()).fold(f64::INFINITY, f64::min);
    let curves = Curves {
        p,
        all,
        first,
        last,
    };
    Figure {
        id: "load".into(),
        title: format!(
            "At {}× the capacity, answers in time take {} of it with an unbounded queue, and {} if a full one refuses",
            number(last),
            percent(unbounded),
            percent(shed)
        ),
        subtitle: format!(
            "Random arrivals at {} workers of {}; deadline {}, {} waiting places where bounded; dashed: theory",
            p.workers, p.service, p.deadline, p.places
        ),
        desc: "Three panels over the load: goodput within the deadline, mean wait, share turned away, for each way to treat who finds all workers busy.".into(),
        body: Body::Panels(Panels {
            x: Axis::linear("load, as a share of the capacity", Unit::Number)
                .with_ticks(p.loads.clone())
                .with_range(first - 0.05, last + 0.05),
            panels: vec![
                Panel {
                    title: "Answers within the deadline".into(),
                    note: "as a share of the capacity".into(),
                    y: Axis::linear("", Unit::Share).with_range(0.0, 1.05),
                    layers: curves.goodput(),
                    height: 1.5,
                },
                Panel {
                    title: "Mean wait of those served".into(),
                    note: "from when they were due, log scale".into(),
                    y: Axis::log("", Unit::Seconds),
                    layers: curves.waits(),
                    height: 1.0,
                },
                Panel {
                    title: "Refused or dropped".into(),
                    note: "share of the requests".into(),
                    y: Axis::linear("", Unit::Share),
                    layers: curves.turned_away(),
                    height: 0.9,
                },
            ],
            marks: vec![],
        }),
    }
}

/// Goodput through the surge, a panel a remedy.
fn storm_figure(p: &Params, summary: &Summary, after: f64) -> Option<Figure> {
    let storm = Storm::of(p, 1);
    let panels: Vec<Panel> = Remedy::ALL
        .into_iter()
        .filter_map(|remedy| {
            let k = summary.only(remedy.series())?;
            let (title, colour) = match remedy {
                Remedy::None => ("Retries and no remedy", Colour::Vermilion),
                Remedy::Away => ("The users go away and come back", Colour::Orange),
                Remedy::Budget => ("A retry budget", Colour::Purple),
                Remedy::Shed => ("A bounded queue that refuses", Colour::Green),
                Remedy::Deadline => ("Workers drop by deadline", Colour::Blue),
                Remedy::Newest => ("Newest first", Colour::Sky),
            };
            let region = |x: (f64, f64), label: &str, colour| Layer::Region {
                x,
                label: label.into(),
                colour,
            };
            let mut layers = vec![region(storm.surge, "surge", Colour::Orange)];
            if remedy == Remedy::Away {
                layers.push(region(storm.away, "nobody comes", Colour::Sky));
            }
            layers.push(Layer::Line(Line::theory(
                "",
                Colour::Muted,
                vec![(0.0, p.calm), (storm.end, p.calm)],
            )));
            layers.push(Layer::Line(Line::trace("", colour, curve(&k, "goodput")?)));
            Some(Panel {
                title: title.into(),
                note: String::new(),
                y: Axis::linear("", Unit::Share)
                    .with_range(0.0, 1.25)
                    .with_ticks([0.0, 0.5, 1.0]),
                layers,
                height: 0.55,
            })
        })
        .collect();
    (!panels.is_empty()).then(|| Figure {
        id: "storm".into(),
        title: format!(
            "After a surge of {} retries keep the service down: {} answered at the end",
            p.surge_for,
            percent(after)
        ),
        subtitle: format!(
            "Answers within {} as a share of the capacity; load {} (dashed), {} during the surge; up to {} retries",
            p.deadline, number(p.calm), number(p.surge), p.retries
        ),
        desc: "Goodput over time through a short surge, a panel for each remedy.".into(),
        body: Body::Panels(Panels {
            x: Axis::linear("time", Unit::Seconds),
            panels,
            marks: vec![],
        }),
    })
}

/// Latencies by the share of requests that take longer.
fn freeze_figure(p: &Params, summary: &Summary) -> Option<Figure> {
    let of = |series: &str, clock: &str| curve(&summary.only(series)?, clock);
    let open = of("tested/open", "from_due")?;
    let closed = of("tested/closed", "from_sending")?;
    let corrected = of("tested/closed", "from_due")?;
    let at = |curve: &[(f64, f64)]| {
        let found = curve.iter().find(|(n, _)| *n == 20.0);
        found.map_or(f64::NAN, |(_, value)| *value)
    };
    let theory = |of: &dyn Fn(&Params, f64) -> f64| {
        let points = ONE_IN.map(|n| (n, of(p, n)));
        Layer::Line(Line::theory("", Colour::Muted, points.to_vec()))
    };
    Some(Figure {
        id: "omission".into(),
        title: format!(
            "One request in 20 takes longer than {}; testers that wait for answers say {}",
            seconds(at(&open)),
            seconds(at(&closed))
        ),
        subtitle: format!(
            "A service at load {} is frozen for {} of {}; the same rate, sent and timed in three ways; dashed: theory",
            number(p.tested),
            p.freeze,
            p.window
        ),
        desc: "Latency over the share of requests that take longer, by three ways to measure."
            .into(),
        body: Body::Panels(Panels {
            x: Axis::log(
                "one request in so many takes longer, log scale",
                Unit::Number,
            )
            .with_ticks([2.0, 10.0, 20.0, 100.0, 1000.0]),
            panels: vec![Panel {
                title: "Time to the answer".into(),
                note: String::new(),
                y: Axis::linear("", Unit::Seconds),
                layers: vec![
                    theory(&open_theory),
                    theory(&|p, one_in| freeze_theory(p, one_in, 1)),
                    theory(&closed_theory),
                    Layer::Line(Line::measured("sent when due", Colour::Blue, open)),
                    Layer::Line(Line::measured(
                        "waiting testers, from when it was due",
                        Colour::Sky,
                        corrected,
                    )),
                    Layer::Line(Line::measured(
                        "waiting testers, from when they sent",
                        Colour::Vermilion,
                        closed,
                    )),
                ],
                height: 1.4,
            }],
            marks: vec![],
        }),
    })
}

/// Every arm at the largest load.
fn overload_table(p: &Params, all: &[Point], last: f64) -> Table {
    let mut table = Table::new(
        &format!("At {} times the capacity", number(last)),
        &[
            "who finds all workers busy",
            "in time, of the capacity",
            "theory",
            "refused or dropped",
            "mean wait of those served",
            "p99",
            "wait by the service's clock",
            "longest queue",
        ],
    );
    for k in all.iter().filter(|k| k.k.x() == last) {
        table.row([
            k.theory.arm.name().to_string(),
            cell(k.of(gauges::GOOD_OF_CAPACITY), percent),
            percent(k.theory.good()),
            cell(k.turned_away(), percent),
            cell(k.of(gauges::WAIT_MEAN_S), seconds),
            cell(k.k.gauge(gauges::WAIT_P99_S), seconds),
            cell(k.of(gauges::QUEUED_MEAN_S), seconds),
            cell(k.k.gauge(gauges::DEPTH_MAX), number),
        ]);
    }
    let capacity = p.workers as f64 / p.service.s();
    table.note = format!(
        "The capacity is {}/s, the deadline {}. An unbounded queue is deeper every second; here it begins as deep as if the overload had lasted {} already. Waits of those served by the end.",
        number(capacity),
        p.deadline,
        p.window
    );
    table
}

/// Every condition.
fn waits_table(all: &[Point], late: Option<Given>) -> Table {
    let mut table = Table::new(
        "Waits, queues and goodput at every load",
        &[
            "who finds all workers busy",
            "load",
            "mean wait",
            "interval",
            "theory",
            "own arrivals",
            "p50",
            "p99",
            "theory",
            "longest queue",
            "turned away",
            "theory",
            "in time, of the capacity",
            "theory",
            "services",
        ],
    );
    for k in all {
        let wait = k.of(gauges::WAIT_MEAN_S);
        let interval = wait.and_then(|e| e.ci95);
        let exact = k
            .of(gauges::EXACT_WAIT_S)
            .map_or(f64::NAN, |e| e.value + k.theory.late);
        table.row([
            k.theory.arm.name().to_string(),
            number(k.k.x()),
            cell(wait, seconds),
            interval.map_or("–".into(), |(lo, hi)| {
                format!("{} to {}", seconds(lo), seconds(hi))
            }),
            seconds(k.theory.wait()),
            seconds(exact),
            cell(k.k.gauge(gauges::WAIT_P50_S), seconds),
            cell(k.k.gauge(gauges::WAIT_P99_S), seconds),
            seconds(k.theory.wait_p99()),
            cell(k.k.gauge(gauges::DEPTH_MAX), number),
            cell(k.turned_away(), percent),
            percent(k.theory.turned_away()),
            cell(k.of(gauges::GOOD_OF_CAPACITY), percent),
            percent(k.theory.good()),
            cell(k.k.gauge(gauges::SYSTEMS), number),
        ]);
    }
    table.note = format!(
        "Waits count from when a request was due to when a worker takes it, and carry what timers were late ({} on average, by sleepers that did nothing else). \"Own arrivals\": the exact mean wait of these very arrivals and service times.",
        late.map_or("not measured".into(), |late| seconds(late.value)),
    );
    table
}

/// Every remedy.
fn storm_table(p: &Params, summary: &Summary) -> Table {
    let mut table = Table::new(
        "Through the surge",
        &[
            "remedy",
            "answered before",
            "seconds after",
            "at the end",
            "attempts a request before",
            "seconds after",
            "back after",
        ],
    );
    let storm = Storm::of(p, 1);
    for remedy in Remedy::ALL {
        let Some(k) = summary.only(remedy.series()) else {
            continue;
        };
        let of = |gauge: Gauge| figure(&k, gauge);
        let back = k.estimate(|t| {
            let curve = t.traces.get("goodput")?;
            // From when on it never falls below half of the load for long: the last third of T below.
            let last = curve.iter().rev().find(|(_, good)| *good < 0.5 * p.calm)?;
            (last.0 < storm.end - p.deadline.s()).then_some((last.0 - storm.surge.1).max(0.0))
        });
        table.row([
            remedy.series().replace("storm/", ""),
            cell(of(gauges::GOOD_BEFORE), percent),
            cell(of(gauges::GOOD_DOWN), percent),
            cell(of(gauges::GOOD_END), percent),
            cell(of(gauges::ATTEMPTS_BEFORE), number),
            cell(of(gauges::ATTEMPTS_DOWN), number),
            cell(back, seconds),
        ]);
    }
    table.note = format!(
        "Load {} of the capacity, {} for {}; late after {}; up to {} retries, or {} of the requests with a budget. \"Back after\": when the goodput is above half of the load for good, counted from the end of the surge.",
        number(p.calm),
        number(p.surge),
        p.surge_for,
        p.deadline,
        p.retries,
        percent(p.budget)
    );
    table
}
