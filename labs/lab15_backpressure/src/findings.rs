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

/// Answers in time become fewer.
const FEWER: Disturbed = Disturbed::Fewer(Resource::Timers);

/// A figure beside theory that knows how late timers were, stalls and all, in the same window.
const KNOWN: Disturbed = Disturbed::Foreseen(Resource::Timers);

/// A timer fires when its tick has passed.
const TICK: f64 = 1e-3;

pub(super) fn explain(p: &Params, summary: &Summary) -> Findings {
    let view = View::of(p, summary);
    let figures = [view.over_load(), view.through_surge(), view.omission()];
    let tables = [view.overload_table(), view.storm_table(), view.waits_table()];
    Findings {
        headline: view.headline(),
        figures: figures.into_iter().flatten().collect(),
        tables: tables.into_iter().filter_map(Table::unless_empty).collect(),
        claims: view.claims(),
        answers: view.answers(),
    }
}

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

impl<'a> Theory<'a> {
    /// At a load that is asked for.
    fn at(p: &'a Params, arm: Arm, rho: f64, late: f64) -> Theory<'a> {
        let service = p.service.s();
        Theory { p, arm, lambda: rho * p.workers as f64 / service, service, late }
    }

    fn rho(&self) -> f64 {
        self.lambda * self.service / self.p.workers as f64
    }

    fn endless(&self) -> MMc {
        MMc { lambda: self.lambda, service: self.service, servers: self.p.workers }
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
        let late = |by: f64| Theory { late: self.late + by, ..*self };
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

    /// Whether anybody is in time, by the flags: in an endless overload it begins too deep for that.
    fn some_in_time(&self) -> bool {
        let punctual = Theory { late: 0.0, ..*self };
        punctual.in_time() > 0.0
    }

    /// Served by virtual time, but for who is on top of a stack when two arrive within a tick.
    fn is_ordered(&self) -> bool {
        self.arm != Arm::Newest
    }
}

fn finite(value: f64) -> f64 {
    if value.is_finite() { value } else { f64::NAN }
}

/// The record, and what theory says of its conditions.
struct View<'a> {
    p: &'a Params,
    summary: &'a Summary<'a>,
    /// How late timers were, by sleepers that did nothing else; `None` where none slept.
    late: Option<Given>,
    sweep: Vec<Point<'a>>,
    /// The largest load of the sweep.
    last: f64,
}

/// One condition of the sweep.
struct Point<'a> {
    k: Condition<'a>,
    theory: Theory<'a>,
}

impl<'a> View<'a> {
    fn of(p: &'a Params, summary: &'a Summary<'a>) -> View<'a> {
        let timers = summary.only("timers");
        let late = timers.and_then(|k| k.gauge(gauges::LATE_MEAN_S));
        let late_s = late.map_or(0.0, |late| late.value);
        let point = |arm, k: Condition<'a>| Point { theory: Theory::at(p, arm, k.x(), late_s), k };
        let sweep = Arm::ALL.into_iter().flat_map(|arm| {
            let conditions = summary.series(arm.name()).into_iter();
            conditions.map(move |k| point(arm, k))
        });
        let sweep: Vec<Point> = sweep.collect();
        View {
            p,
            summary,
            late: late.map(Given::from),
            last: sweep.iter().map(|point| point.k.x()).fold(0.0, f64::max),
            sweep,
        }
    }

    /// The conditions of these arms.
    fn arms<const N: usize>(&self, arms: [Arm; N]) -> impl Iterator<Item = &Point<'a>> {
        let all = self.sweep.iter();
        all.filter(move |point| arms.contains(&point.theory.arm))
    }

    /// This arm at the largest load.
    fn at_last(&self, arm: Arm) -> Option<&Point<'a>> {
        self.arms([arm]).find(|point| point.k.x() == self.last)
    }

    /// Goodput there, as a share of the capacity.
    fn good(&self, arm: Arm) -> Option<Estimate> {
        self.at_last(arm)?.k.gauge(gauges::GOOD_OF_CAPACITY)
    }

    /// How late timers were, as far as anybody looked.
    fn late(&self) -> Given {
        self.late.unwrap_or(Given::from(0.0))
    }

    /// What was measured where theory must know how late timers are.
    fn beside_late(&self, measured: Option<Estimate>) -> Option<Estimate> {
        measured.filter(|_| self.late.is_some())
    }

    /// The storm with this remedy.
    fn storm(&self, remedy: Remedy) -> Option<Condition<'a>> {
        self.summary.only(remedy.series())
    }

    /// What is answered long after the surge when retries go on.
    fn after(&self) -> Option<Estimate> {
        figure(&self.storm(Remedy::None)?, gauges::GOOD_END)
    }
}

/// Share of the requests that were refused or dropped.
fn turned_away(k: &Condition) -> Option<Estimate> {
    let refuses = k.series() == Arm::Shed.name();
    k.gauge(if refuses { gauges::REFUSED_SHARE } else { gauges::DROPPED_SHARE })
}

/// How much larger one gauge is than another, trial by trial: chance that is the same in both falls out.
fn difference(k: &Condition, one: Gauge, other: Gauge) -> Option<Estimate> {
    k.estimate(|t| Some(t.gauge(one)? - t.gauge(other)?))
}

/// A figure of a trial; in older records the mean over its groups of services.
fn figure(k: &Condition, gauge: Gauge) -> Option<Estimate> {
    k.estimate(|t| {
        let groups = || Some(mean_height(t.traces.get(&gauge.to_string())?));
        t.gauge(gauge).or_else(groups)
    })
}

fn mean_height(points: &[(f64, f64)]) -> f64 {
    mean(&points.iter().map(|(_, value)| *value).collect::<Vec<_>>())
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

/// The claims of the sweep.
impl View<'_> {
    fn claims(&self) -> Vec<Claim> {
        let mut claims = vec![
            self.exact_waits(
                "served in their order, every service's requests wait as long as its very own arrivals and service times prescribe, event by event in virtual time (newest first is another order)",
                |theory| theory.is_ordered() && theory.arm != Arm::Waits,
            ),
            self.exact_waits(
                "producer waits: from when they were due, requests wait exactly as long as in an unbounded queue with the same arrivals",
                |theory| theory.arm == Arm::Waits,
            ),
            self.exact_good(),
            self.mean_waits(),
            self.inside(),
            self.turned_away(),
            self.in_time(),
            self.littles_law(),
            self.depth(),
            self.all_too_late(),
        ];
        claims.extend(self.freeze());
        claims.extend(self.down());
        claims.push(self.back());
        claims
    }

    /// Waits beside those of the very same arrivals in virtual time.
    fn exact_waits(&self, text: &str, which: impl Fn(&Theory) -> bool) -> Claim {
        let points = self.sweep.iter().filter(|point| which(&point.theory));
        let cases = points.map(|Point { k, .. }| {
            let Some(exact) = k.gauge(gauges::EXACT_WAIT_S) else {
                return Case::exact(k.to_string(), f64::NAN, None);
            };
            let beside = difference(k, gauges::SAME_WAIT_S, gauges::EXACT_WAIT_S);
            // Those who are served here and in virtual time are to stand for all.
            let stands = |t: &Trial| {
                let (same, all) = (t.gauge(gauges::SAME_WAIT_S)?, t.gauge(gauges::WAIT_MEAN_S)?);
                Some((same - all).abs() <= 2.0 * TICK + 0.1 * all)
            };
            let stand = k.trials().iter().all(|t| stands(t) == Some(true));
            let measured = self.beside_late(beside).filter(|_| stand);
            let measured = measured.map(|m| m.shifted(exact.value));
            let predicted = Given::from(exact) + self.late();
            let tolerance = 2.0 * TICK + 0.01 * exact.value;
            Case::new(k.to_string(), predicted, measured, tolerance)
        });
        Law::new(text, "s", KNOWN)
            .within("two ticks of a timer, and 1 % where a line is long: who is served beside whom is decided within a tick")
            .near(cases)
    }

    /// Answers in time beside those of the very same arrivals in virtual time.
    fn exact_good(&self) -> Claim {
        let ordered = self.sweep.iter().filter(|point| point.theory.is_ordered());
        let some_in_time = ordered.filter(|point| point.theory.some_in_time());
        let cases = some_in_time.map(|Point { k, theory }| {
            let Some(exact) = k.gauge(gauges::EXACT_GOOD_SHARE) else {
                return Case::exact(k.to_string(), f64::NAN, None);
            };
            let beside = difference(k, gauges::GOOD_SHARE, gauges::EXACT_GOOD_SHARE);
            let measured = beside.map(|b| b.shifted(exact.value));
            let tolerance = 0.02 * exact.value + theory.of_a_tick();
            Case::new(k.to_string(), exact, measured, tolerance).scaled(100.0)
        });
        let text = "and as many are answered in time";
        Law::new(text, "% of the requests", KNOWN)
            .within("2 %, and what a tick more or less of lateness makes of it")
            .near(cases)
    }

    /// Mean waits in the steady state.
    fn mean_waits(&self) -> Claim {
        let known = self.arms([Arm::Unbounded, Arm::Shed]);
        let steady = known.filter(|point| point.theory.wait().is_finite());
        let cases = steady.map(|Point { k, theory }| {
            let wait = theory.wait() - theory.late;
            // An endless line magnifies what chance makes of the load, by 1/(1 − ρ).
            let share = if theory.is_endless() { 0.2 } else { 0.1 };
            let (predicted, tolerance) = (self.late() + wait, TICK + share * wait);
            let measured = self.beside_late(k.gauge(gauges::WAIT_MEAN_S));
            Case::new(k.to_string(), predicted, measured, tolerance)
        });
        Law::new("the mean wait is Erlang's below saturation, and that of M/M/c/K of those whom a full queue lets in", "s", KNOWN)
            .within("a tick of a timer, and 10 %, for an endless line 20 %: what chance makes of the load, which an endless line magnifies by 1/(1 − ρ)")
            .near(cases)
    }

    /// What a service sees of a wait before its door.
    fn inside(&self) -> Claim {
        let waits = self.arms([Arm::Waits]);
        let settled = waits.filter(|point| point.theory.settled());
        let cases = settled.map(|Point { k, theory }| {
            let predicted = theory.inside();
            let measured = k.gauge(gauges::QUEUED_MEAN_S);
            Case::new(k.to_string(), predicted, measured, TICK + 0.1 * predicted)
        });
        Law::new("producer waits: the service's own clock sees only the wait inside, at most K·s/c", "s", OF_A_WINDOW)
            .within("a tick of a timer, and 10 %: who waits at the door and who inside is not asked by the formula")
            .near(cases)
    }

    /// Refused or dropped.
    fn turned_away(&self) -> Claim {
        let away = self.arms([Arm::Shed, Arm::Deadline, Arm::Expired]);
        let cases = away.map(|Point { k, theory }| {
            let predicted = 100.0 * theory.turned_away();
            let measured = turned_away(k).map(|e| e.scaled(100.0));
            Case::new(k.to_string(), predicted, measured, 1.0 + 0.05 * predicted)
        });
        Law::new("the share turned away is that of M/M/c/K when a full queue refuses and that of M/M/c+D when workers drop", "% of the requests", OF_A_WINDOW)
            .within("a point and 5 % of it: what a load makes that chance has made 2 % larger or smaller than was asked for")
            .near(cases)
    }

    /// The share in time, in the steady state.
    fn in_time(&self) -> Claim {
        // An endless queue near saturation needs far longer runs for this than for its mean wait; one in
        // overload is planted so long that nobody can be in time.
        let settled = self.sweep.iter().filter(|Point { k, theory }| {
            let near = theory.is_endless() && (NEAR..OVERLOAD).contains(&k.x());
            theory.settled() && !near && theory.some_in_time()
        });
        let cases = settled.map(|Point { k, theory }| {
            let share = theory.in_time();
            let predicted = Given::new(100.0 * share, self.late().origin());
            let measured = self.beside_late(k.gauge(gauges::GOOD_SHARE));
            let measured = measured.map(|m| m.scaled(100.0));
            let tolerance = 0.03 * share + theory.of_a_tick();
            Case::new(k.to_string(), predicted, measured, 100.0 * tolerance)
        });
        Law::new("the share answered within the deadline follows from the waits of each discipline and from how late timers are", "% of the requests", FEWER)
            .within("3 %: what a load makes that chance has made 2 % larger or smaller than was asked for; and what a tick more or less of lateness makes")
            .near(cases)
    }

    /// L = λ·W from three instruments.
    fn littles_law(&self) -> Claim {
        let steady = |theory: &Theory| !theory.is_endless() || theory.rho() < OVERLOAD;
        let steady = self.sweep.iter().filter(|point| steady(&point.theory));
        let cases = steady.map(|Point { k, theory }| {
            let law =
                |t: &Trial| Some(t.gauge(gauges::LET_IN_PER_S)? * t.gauge(gauges::SOJOURN_MEAN_S)?);
            // As many are let in as come and are not refused; where the producer waits, no more.
            let agrees = |t: &Trial| {
                let comes =
                    t.gauge(gauges::CAME_PER_S)? * (1.0 - t.gauge(gauges::REFUSED_SHARE)?);
                let share = t.gauge(gauges::LET_IN_PER_S)? / comes;
                Some(share <= 1.1 && (share >= 0.9 || theory.arm == Arm::Waits))
            };
            let agree = k.trials().iter().all(|t| agrees(t) == Some(true));
            let predicted = k.estimate(law).map_or(f64::NAN.into(), Given::from);
            let beside = k.estimate(|t| Some(t.gauge(gauges::SAMPLED_INSIDE)? - law(t)?));
            let measured = beside.filter(|_| agree).map(|b| b.shifted(predicted.value));
            let tolerance = 0.02 * predicted.value + TICK * theory.lambda;
            Case::new(k.to_string(), predicted, measured, tolerance)
        });
        Law::new("Little's law: the mean number inside, as a sampler sees it, is the rate at which the service lets requests in times the time inside for each of them by the clients' clocks", "requests", KNOWN)
            .within("2 %: what looks every few milliseconds miss; and those who come in a tick of a timer, by which a client hears late")
            .near(cases)
    }

    fn depth(&self) -> Claim {
        let bounded = self.arms([Arm::Waits, Arm::Shed]);
        let cases = bounded.map(|Point { k, .. }| {
            let longest = k.every(|t| t.gauge(gauges::DEPTH_MAX));
            Case::exact(k.to_string(), self.p.places as f64, longest)
        });
        Law::counted("a bounded queue is never longer than K", "requests").books().at_most(cases)
    }

    /// What overload makes of an endless line.
    fn all_too_late(&self) -> Claim {
        let p = self.p;
        let fifo = self.arms([Arm::Unbounded, Arm::Waits]);
        // Deep enough that by the middle of the window everybody served has waited for too long.
        let deep = fifo.filter(|Point { k, theory }| {
            let overload = k.x() >= 1.15 && theory.settled();
            overload && p.window.s() > 4.0 * p.deadline.s()
        });
        let cases = deep.map(|Point { k, .. }| {
            // What is in time is not too late.
            let late = difference(k, gauges::LATE_OF_CAPACITY, gauges::GOOD_OF_CAPACITY);
            Case::share(k.to_string(), 100.0, late.map(|e| e.scaled(100.0)), 0.05)
        });
        let text =
            "in overload an endless line keeps the workers busy with answers that are all too late";
        Law::new(text, "% of the capacity", FEWER)
            .within("5 %: a tick or two of a timer in a service")
            .near(cases)
    }
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
        let queue = MMc { lambda: rho * workers as f64 / s, service: s, servers: workers };
        return queue.mean_wait() / 2.0;
    }
    // σ = e^(−(1 − σ)/ρ), by iteration.
    let root = (0..1000).fold(0.0_f64, |root, _| (-(1.0 - root) / rho).exp());
    s * root / (1.0 - root)
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
        Remedy::Shed | Remedy::Deadline | Remedy::Newest | Remedy::Away => {
            Theory::at(p, remedy.arm(), p.calm, 0.0).good() > 0.93 * p.calm
        }
    }
}

/// Goodput at the end of a storm as its curve has it, as a share of the calm load.
fn at_the_end(p: &Params, k: &Condition) -> Option<f64> {
    let [.., end] = Storm::of(p, 1).stretches();
    let mut curve = curve(k, "goodput")?;
    curve.retain(|(at, _)| (end.from..end.to).contains(at));
    Some(mean_height(&curve) / p.calm)
}

/// "retry budget".
fn name(remedy: Remedy) -> String {
    remedy.series().replace("storm/", "")
}

/// The claims of the freeze and of the storm, and the answers.
impl View<'_> {
    fn freeze(&self) -> [Claim; 2] {
        let p = self.p;
        let longer = Disturbed::Longer(Resource::Timers);
        let p95 = |series: &str, clock: Gauge| figure(&self.summary.only(series)?, clock);
        let due = [
            ("sent when due, one line", "tested/open", p.workers),
            ("testers that wait, a line each", "tested/closed", 1),
        ];
        // Near the edge of the freeze's reach chance decides.
        let reached = freeze_theory(p, 20.0, p.workers) > 0.3 * p.freeze.s();
        let due = due.into_iter().filter(|_| reached);
        let due = due.map(|(name, series, workers)| {
            let predicted = freeze_theory(p, 20.0, workers);
            let measured = p95(series, gauges::P95_FROM_DUE_S);
            Case::new(name, predicted, measured, p.service.s())
        });
        let sent = (caught(p) < 0.03).then(|| {
            let predicted = closed_theory(p, 20.0);
            let measured = p95("tested/closed", gauges::P95_FROM_SENDING_S);
            let tolerance = 2.0 * TICK + 0.1 * predicted;
            Case::new("testers that wait", predicted, measured, tolerance)
        });
        [
            Law::new("a freeze of F in a window D: the 95th percentile of what was due is F − 0.05·(1 − ρ)·D and what the line's own chances add", "s", longer)
                .within("a service: who is next when the freeze ends is not asked by the formula")
                .near(due),
            Law::new("testers that wait for each answer see next to nothing of it: their 95th percentile is that of the service", "s", longer)
                .within("two ticks of a timer, and 10 % for those who wait behind an own request")
                .near(sent),
        ]
    }

    /// Nothing brings the service back; no claim where theory does not say so.
    fn down(&self) -> Vec<Claim> {
        let p = self.p;
        if !stays_down(p) {
            return vec![];
        }
        let of = |remedy, gauge| figure(&self.storm(remedy)?, gauge);
        // Older records say how many are answered.
        let answered = self.after().map(|good| good.scaled(-1.0).shifted(1.0));
        let given_up = of(Remedy::None, gauges::GIVEN_UP_END).or(answered);
        let given_up = given_up.map(|e| e.scaled(100.0));
        let attempts = [Remedy::None, Remedy::Away].map(|remedy| {
            let down = of(remedy, gauges::GOOD_DOWN).is_some_and(|good| 100.0 * good.value <= DOWN);
            let attempts = of(remedy, gauges::ATTEMPTS_DOWN).filter(|_| down);
            Case::share(name(remedy), (1 + p.retries) as f64, attempts, 0.05)
        });
        vec![
            Law::new("ρ·(1 + n) > 1: long after the surge the service is still down, and every request is given up", "% of the requests", OF_A_WINDOW)
                .within("5 points: a service of those side by side that chance brings back")
                .near([Case::new("no remedy", 100.0, given_up, DOWN)]),
            Law::new("while it is down every request is sent 1 + n times", "attempts", OF_A_WINDOW)
                .within("5 %: a service of those side by side that chance brings back")
                .near(attempts),
        ]
    }

    fn back(&self) -> Claim {
        let p = self.p;
        let back = Remedy::ALL.into_iter().filter(|r| comes_back(p, *r));
        let cases = back.map(|remedy| {
            let answered = self.storm(remedy).and_then(|k| {
                let answered = figure(&k, gauges::GOOD_END)?;
                let over_time = at_the_end(p, &k)?;
                (over_time >= 0.5 * answered.value).then(|| answered.scaled(100.0))
            });
            Case::share(name(remedy), 100.0, answered, 0.1)
        });
        let text = "what breaks the loop brings the service back";
        Law::new(text, "% of the requests answered", FEWER)
            .within("10 %: a few of the services side by side that still work off a long line")
            .near(cases)
    }

    fn answers(&self) -> Vec<Answer> {
        let expired = self.at_last(Arm::Expired);
        let theory = expired.map_or(f64::NAN, |point| point.theory.good());
        vec![
            Answer::near("goodput", self.good(Arm::Expired), theory).scaled(100.0),
            self.answer_after(),
        ]
    }

    /// What is answered after the surge when retries go on.
    fn answer_after(&self) -> Answer {
        let (p, answered) = (self.p, self.after().map(|e| e.scaled(100.0)));
        if stays_down(p) {
            Answer::at_most("after", answered, DOWN)
        } else if comes_back(p, Remedy::None) {
            Answer::near("after", answered, 100.0)
        } else {
            let why = "so near to ρ·(1 + n) = 1 chance decides what becomes of the line";
            Answer::alone("after", answered, why)
        }
    }
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

/// The charts.
impl<'a> View<'a> {
    fn headline(&self) -> String {
        let good = |arm| cell(self.good(arm), percent);
        format!(
            "At {} times the capacity the unbounded queue gives {} of it as answers in time, refusing gives {}, dropping what has expired {}, dropping by deadline {}; after a surge, retries keep the service at {} until something breaks the loop.",
            number(self.last),
            good(Arm::Unbounded),
            good(Arm::Shed),
            good(Arm::Expired),
            good(Arm::Deadline),
            cell(self.after(), percent),
        )
    }

    /// The smallest load of the sweep.
    fn first(&self) -> f64 {
        let loads = self.sweep.iter().map(|point| point.k.x());
        loads.fold(f64::INFINITY, f64::min)
    }

    /// What theory says of these arms over the load.
    fn curves(&self, arms: &[Arm], of: impl Fn(&Theory<'a>) -> f64) -> Vec<Line> {
        let (steps, first, late) = (60, self.first(), self.late().value);
        let curve = |arm: &Arm| {
            let points = (0..=steps).map(|i| {
                let rho = first + (self.last - first) * i as f64 / steps as f64;
                (rho, of(&Theory::at(self.p, *arm, rho, late)))
            });
            Line::theory("", Colour::Muted, points.collect())
        };
        arms.iter().map(curve).collect()
    }

    /// What was measured of them. Between two loads nothing was, and the law has its corner there.
    fn dots(&self, arms: &[Arm], of: impl Fn(&Condition) -> Option<Estimate>) -> Vec<Line> {
        let dots = |arm: &Arm| {
            let points = self.arms([*arm]);
            let points = points.filter_map(|Point { k, .. }| Some((k.x(), of(k)?.value)));
            Line {
                style: Style::Dots,
                ..Line::measured(arm.name(), colour(*arm), points.collect())
            }
        };
        arms.iter().map(dots).collect()
    }

    /// Goodput, waits and what is turned away over the load.
    fn over_load(&self) -> Option<Figure> {
        let p = self.p;
        let title = format!(
            "At {}× the capacity, answers in time take {} of it with an unbounded queue, and {} if a full one refuses",
            number(self.last),
            cell(self.good(Arm::Unbounded), percent),
            cell(self.good(Arm::Shed), percent)
        );
        let loads = Axis::linear("load, as a share of the capacity", Unit::Number)
            .with_ticks(p.loads.clone())
            .with_range(self.first() - 0.05, self.last + 0.05);
        let lose = [Arm::Shed, Arm::Deadline, Arm::Expired];
        (!self.sweep.is_empty()).then(|| Figure::new("load", title)
            .subtitle(format!(
                "Random arrivals at {} workers of {}; deadline {}, {} waiting places where bounded; dashed: theory",
                p.workers, p.service, p.deadline, p.places
            ))
            .desc("Three panels over the load: goodput within the deadline, mean wait, share turned away, for each way to treat who finds all workers busy.")
            .over(loads, [
                Panel::new("Answers within the deadline", Axis::linear("", Unit::Share).with_range(0.0, 1.05))
                    .note("as a share of the capacity")
                    .layers(self.curves(&Arm::ALL, Theory::good))
                    .layers(self.dots(&Arm::ALL, |k| k.gauge(gauges::GOOD_OF_CAPACITY)))
                    .height(1.5),
                Panel::new("Mean wait of those served", Axis::log("", Unit::Seconds))
                    .note("from when they were due, log scale")
                    .layers(self.curves(&[Arm::Unbounded, Arm::Shed], Theory::wait))
                    .layers(self.dots(&[Arm::Unbounded, Arm::Waits, Arm::Shed], |k| k.gauge(gauges::WAIT_MEAN_S))),
                Panel::new("Refused or dropped", Unit::Share)
                    .note("share of the requests")
                    .layers(self.curves(&lose, Theory::turned_away))
                    .layers(self.dots(&lose, turned_away))
                    .height(0.9),
            ]))
    }

    /// Goodput through the surge, a panel a remedy.
    fn through_surge(&self) -> Option<Figure> {
        let p = self.p;
        let storm = Storm::of(p, 1);
        let panels = Remedy::ALL.into_iter().filter_map(|remedy| {
            let goodput = curve(&self.storm(remedy)?, "goodput")?;
            let (title, colour) = match remedy {
                Remedy::None => ("Retries and no remedy", Colour::Vermilion),
                Remedy::Away => ("The users go away and come back", Colour::Orange),
                Remedy::Budget => ("A retry budget", Colour::Purple),
                Remedy::Shed => ("A bounded queue that refuses", Colour::Green),
                Remedy::Deadline => ("Workers drop by deadline", Colour::Blue),
                Remedy::Newest => ("Newest first", Colour::Sky),
            };
            let share = Axis::linear("", Unit::Share).with_range(0.0, 1.25);
            let away = Layer::region(storm.away, "nobody comes", Colour::Sky);
            let calm = vec![(0.0, p.calm), (storm.end, p.calm)];
            let panel = Panel::new(title, share.with_ticks([0.0, 0.5, 1.0]))
                .layer(Layer::region(storm.surge, "surge", Colour::Orange))
                .layers((remedy == Remedy::Away).then_some(away))
                .layer(Line::theory("", Colour::Muted, calm))
                .layer(Line::trace("", colour, goodput));
            Some(panel.height(0.55))
        });
        let panels: Vec<Panel> = panels.collect();
        let title = format!(
            "After a surge of {} retries keep the service down: {} answered at the end",
            p.surge_for,
            cell(self.after(), percent)
        );
        (!panels.is_empty()).then(|| Figure::new("storm", title)
            .subtitle(format!(
                "Answers within {} as a share of the capacity; load {} (dashed), {} during the surge; up to {} retries",
                p.deadline, number(p.calm), number(p.surge), p.retries
            ))
            .desc("Goodput over time through a short surge, a panel for each remedy.")
            .over(Axis::linear("time", Unit::Seconds), panels))
    }

    /// Latencies by the share of requests that take longer.
    fn omission(&self) -> Option<Figure> {
        let p = self.p;
        let of = |series: &str, clock: &str| curve(&self.summary.only(series)?, clock);
        let open = of("tested/open", "from_due")?;
        let closed = of("tested/closed", "from_sending")?;
        let corrected = of("tested/closed", "from_due")?;
        let at = |curve: &[(f64, f64)]| {
            let found = curve.iter().find(|(n, _)| *n == 20.0);
            found.map_or(f64::NAN, |(_, value)| *value)
        };
        let title = format!(
            "One request in 20 takes longer than {}; testers that wait for answers say {}",
            seconds(at(&open)),
            seconds(at(&closed))
        );
        let theory = |of: &dyn Fn(f64) -> f64| {
            let points = ONE_IN.map(|n| (n, of(n)));
            Line::theory("", Colour::Muted, points.to_vec())
        };
        let axis = "one request in so many takes longer, log scale";
        let axis = Axis::log(axis, Unit::Number).with_ticks([2.0, 10.0, 20.0, 100.0, 1000.0]);
        Some(Figure::new("omission", title)
            .subtitle(format!(
                "A service at load {} is frozen for {} of {}; the same rate, sent and timed in three ways; dashed: theory",
                number(p.tested),
                p.freeze,
                p.window
            ))
            .desc("Latency over the share of requests that take longer, by three ways to measure.")
            .over(axis, [
                Panel::new("Time to the answer", Unit::Seconds)
                    .layer(theory(&|n| freeze_theory(p, n, p.workers)))
                    .layer(theory(&|n| freeze_theory(p, n, 1)))
                    .layer(theory(&|n| closed_theory(p, n)))
                    .layer(Line::measured("sent when due", Colour::Blue, open))
                    .layer(Line::measured("waiting testers, from when it was due", Colour::Sky, corrected))
                    .layer(Line::measured("waiting testers, from when they sent", Colour::Vermilion, closed))
                    .height(1.4),
            ]))
    }
}

/// The tables.
impl View<'_> {
    /// Every arm at the largest load.
    fn overload_table(&self) -> Table {
        let p = self.p;
        let rows = self.sweep.iter().filter(|point| point.k.x() == self.last);
        Table::of(format!("At {} times the capacity", number(self.last)), rows)
            .column("who finds all workers busy", |r| r.theory.arm.name().into())
            .cells("in time, of the capacity", percent, |r| r.k.gauge(gauges::GOOD_OF_CAPACITY))
            .column("theory", |r| percent(r.theory.good()))
            .cells("refused or dropped", percent, |r| turned_away(&r.k))
            .cells("mean wait of those served", seconds, |r| r.k.gauge(gauges::WAIT_MEAN_S))
            .cells("p99", seconds, |r| r.k.gauge(gauges::WAIT_P99_S))
            .cells("wait by the service's clock", seconds, |r| r.k.gauge(gauges::QUEUED_MEAN_S))
            .cells("longest queue", number, |r| r.k.gauge(gauges::DEPTH_MAX))
            .note(format!(
                "The capacity is {}/s, the deadline {}. An unbounded queue is deeper every second; here it begins as deep as if the overload had lasted {} already. Waits of those served by the end.",
                number(p.workers as f64 / p.service.s()),
                p.deadline,
                p.window
            ))
    }

    /// Every condition of the sweep.
    fn waits_table(&self) -> Table {
        let wait = |r: &Point| r.k.gauge(gauges::WAIT_MEAN_S);
        let interval = |r: &Point| {
            let interval = wait(r).and_then(|e| e.ci95);
            let text = interval.map(|(lo, hi)| format!("{} to {}", seconds(lo), seconds(hi)));
            text.unwrap_or("–".into())
        };
        let exact = |r: &Point| Some(r.k.gauge(gauges::EXACT_WAIT_S)?.shifted(r.theory.late));
        Table::of("Waits, queues and goodput at every load", &self.sweep)
            .column("who finds all workers busy", |r| r.theory.arm.name().into())
            .column("load", |r| number(r.k.x()))
            .cells("mean wait", seconds, |r| wait(r))
            .column("interval", |r| interval(r))
            .column("theory", |r| seconds(r.theory.wait()))
            .cells("own arrivals", seconds, |r| exact(r))
            .cells("p50", seconds, |r| r.k.gauge(gauges::WAIT_P50_S))
            .cells("p99", seconds, |r| r.k.gauge(gauges::WAIT_P99_S))
            .column("theory", |r| seconds(r.theory.wait_p99()))
            .cells("longest queue", number, |r| r.k.gauge(gauges::DEPTH_MAX))
            .cells("turned away", percent, |r| turned_away(&r.k))
            .column("theory", |r| percent(r.theory.turned_away()))
            .cells("in time, of the capacity", percent, |r| r.k.gauge(gauges::GOOD_OF_CAPACITY))
            .column("theory", |r| percent(r.theory.good()))
            .cells("services", number, |r| r.k.gauge(gauges::SYSTEMS))
            .note(format!(
                "Waits count from when a request was due to when a worker takes it, and carry what timers were late ({} on average, by sleepers that did nothing else). \"Own arrivals\": the exact mean wait of these very arrivals and service times.",
                self.late.map_or("not measured".into(), |late| seconds(late.value)),
            ))
    }

    /// Every remedy.
    fn storm_table(&self) -> Table {
        let (p, storm) = (self.p, Storm::of(self.p, 1));
        let rows = Remedy::ALL.into_iter();
        let rows = rows.filter_map(|remedy| Some((remedy, self.storm(remedy)?)));
        let back = |t: &Trial| {
            let curve = t.traces.get("goodput")?;
            // From when on it never falls below half of the load for long: the last third of T below.
            let last = curve.iter().rev().find(|(_, good)| *good < 0.5 * p.calm)?;
            (last.0 < storm.end - p.deadline.s()).then_some((last.0 - storm.surge.1).max(0.0))
        };
        Table::of("Through the surge", rows)
            .column("remedy", |(remedy, _)| name(*remedy))
            .cells("answered before", percent, |(_, k)| figure(k, gauges::GOOD_BEFORE))
            .cells("seconds after", percent, |(_, k)| figure(k, gauges::GOOD_DOWN))
            .cells("at the end", percent, |(_, k)| figure(k, gauges::GOOD_END))
            .cells("attempts a request before", number, |(_, k)| figure(k, gauges::ATTEMPTS_BEFORE))
            .cells("seconds after", number, |(_, k)| figure(k, gauges::ATTEMPTS_DOWN))
            .cells("back after", seconds, |(_, k)| k.estimate(back))
            .note(format!(
                "Load {} of the capacity, {} for {}; late after {}; up to {} retries, or {} of the requests with a budget. \"Back after\": when the goodput is above half of the load for good, counted from the end of the surge.",
                number(p.calm),
                number(p.surge),
                p.surge_for,
                p.deadline,
                p.retries,
                percent(p.budget)
            ))
    }
}
