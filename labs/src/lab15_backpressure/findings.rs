//! Theory beside measurement for lab15.

use lab_kit::prelude::*;
use lab_kit::stats::mean;
use lab_kit::theory::overload::{Impatient, in_time_bounded, in_time_newest_first};
use lab_kit::theory::{MMc, MMcK, little};

use super::omission::ONE_IN;
use super::storm::{Remedy, Storm};
use super::systems::{GROUPS, NEAR, OVERLOAD};
use super::{Arm, Params};

/// A service that answers no more than this, in percent of its requests, is down.
const DOWN: f64 = 5.0;

/// The formulas, for one load. Answers are as late as timers are: what was measured of that comes in
/// as `late`, in seconds.
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

    /// Goodput within the deadline, as a share of the capacity.
    fn good(&self) -> f64 {
        let time = self.p.deadline.s() - self.late;
        self.rho()
            * match self.arm {
                Arm::Shed => in_time_bounded(&self.bounded(), time),
                Arm::Newest => in_time_newest_first(&self.endless(), time),
                _ => self.impatient().in_time(time),
            }
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

    /// A figure with the interval that the groups of services give it.
    fn of(&self, name: &str) -> Option<Estimate> {
        by_group(&self.k, |groups| groups(name))
    }

    fn gauge(&self, name: &str) -> Option<f64> {
        self.k.gauge(name).map(|e| e.value)
    }

    fn turned_away_name(&self) -> &'static str {
        match self.theory.arm {
            Arm::Shed => "refused_share",
            _ => "dropped_share",
        }
    }

    fn turned_away(&self) -> Option<Estimate> {
        self.of(self.turned_away_name())
    }

    /// Theory at the load that came, beside what was measured: how far off each group of services
    /// is from theory at its own load, and the interval of that.
    fn as_came(
        &self,
        name: &str,
        of: fn(&Theory) -> f64,
        tolerance: impl Fn(f64) -> f64,
        factor: f64,
    ) -> Option<Case> {
        let came = |figure: &dyn Fn(&str) -> Option<f64>| {
            let theory = Theory {
                lambda: figure("came_per_s")?,
                service: figure("service_mean_s")?,
                ..self.theory
            };
            Some(of(&theory))
        };
        let predicted = came(&|name| self.gauge(name))?;
        let beside = by_group(&self.k, |figure| Some(figure(name)? - came(figure)?));
        let measured = beside.map(|e| shifted(e, predicted).scaled(factor));
        let tolerance = tolerance(predicted * factor);
        Some(self.case(predicted * factor, measured, tolerance))
    }

    fn case(&self, predicted: f64, measured: Option<Estimate>, tolerance: f64) -> Case {
        Case {
            name: self.name(),
            predicted: predicted.into(),
            measured,
            tolerance,
        }
    }
}

fn shifted(e: Estimate, by: f64) -> Estimate {
    e.shifted(by)
}

/// Estimates a figure from ten groups of services, each averaged over the trials: groups are
/// independent of each other, requests in a queue are not.
fn by_group(
    k: &Condition,
    figure: impl Fn(&dyn Fn(&str) -> Option<f64>) -> Option<f64>,
) -> Option<Estimate> {
    let of_group = |g: usize| {
        let values = k.trials().iter().filter_map(|trial| {
            let value = |name: &str| {
                let trace = trial.traces.get(name)?;
                let found = trace.iter().find(|(at, _)| *at == g as f64);
                found.map(|(_, value)| *value)
            };
            figure(&value)
        });
        let values: Vec<f64> = values.collect();
        (!values.is_empty()).then(|| mean(&values))
    };
    let groups: Vec<f64> = (0..GROUPS).filter_map(of_group).collect();
    Estimate::of(&groups)
}

pub(super) fn explain(p: &Params, summary: &Summary) -> Findings {
    let all: Vec<Point> = Arm::ALL
        .into_iter()
        .flat_map(|arm| {
            let series = summary.series(arm.name());
            series.into_iter().map(move |k| {
                let late = k.gauge("late_mean_s").map_or(0.0, |e| e.value);
                let theory = Theory::at(p, arm, k.x(), late);
                Point { k, theory }
            })
        })
        .collect();
    let last = all.iter().map(|k| k.k.x()).fold(0.0, f64::max);
    let at_last = |arm: Arm| {
        let mut found = all.iter();
        found.find(|k| k.theory.arm == arm && k.k.x() == last)
    };

    let mut claims = claims_of_sweep(p, &all);
    claims.extend(claims_of_overload(&all, last));
    claims.extend(claims_of_freeze(p, summary));
    claims.extend(claims_of_storm(p, summary));

    let good = |arm: Arm| {
        let point = at_last(arm).and_then(|k| k.of("good_of_capacity"));
        point.map_or(f64::NAN, |e| e.value)
    };
    let storm_end = |remedy: Remedy| {
        let k = summary.only(remedy.series())?;
        by_group(&k, |of| of("good_end"))
    };
    let after = storm_end(Remedy::None).map_or(f64::NAN, |e| e.value);

    let mut figures = Vec::new();
    if !all.is_empty() {
        figures.push(sweep(p, &all, last, good(Arm::Unbounded), good(Arm::Shed)));
    }
    figures.extend(storm_figure(p, summary, after));
    figures.extend(freeze_figure(p, summary));

    let expired = at_last(Arm::Expired);
    let in_time = expired.and_then(|k| k.of("good_of_capacity"));
    let answered = storm_end(Remedy::None).map(|e| e.scaled(100.0));
    let answers = vec![
        Answer::near(
            "goodput",
            in_time,
            expired.map_or(f64::NAN, |k| k.theory.good()),
        )
        .scaled(100.0),
        if stays_down(p) {
            Answer::at_most("after", answered, DOWN)
        } else if comes_back(p, Remedy::None) {
            Answer::near("after", answered, 100.0)
        } else {
            Answer::alone(
                "after",
                answered,
                "so near to ρ·(1 + n) = 1 chance decides what becomes of the line",
            )
        },
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
        tables: [
            overload_table(p, &all, last),
            storm_table(p, summary),
            waits_table(p, &all),
        ]
        .into_iter()
        .filter(|t| !t.rows.is_empty())
        .collect(),
        claims,
        answers,
    }
}

fn claims_of_sweep(p: &Params, all: &[Point]) -> Vec<Claim> {
    let mut claims = Vec::new();
    let exact_waits = |arms: fn(Arm) -> bool| {
        let of_arms = all.iter().filter(move |k| arms(k.theory.arm));
        let cases = of_arms.filter_map(|k| {
            let exact = k.gauge("exact_wait_s")?;
            let beside = by_group(&k.k, |of| {
                Some(of("same_wait_s")? - of("exact_wait_s")? - of("late_mean_s")?)
            })?;
            let predicted = exact + k.theory.late;
            Some(k.case(
                predicted,
                Some(shifted(beside, predicted)),
                1e-3 + 0.03 * exact,
            ))
        });
        cases.collect::<Vec<_>>()
    };
    claims.extend(Claim::law(
        "every service's requests wait as long as its very own arrivals and service times prescribe, event by event in virtual time",
        Basis::Calibrated,
        exact_waits(|arm| !matches!(arm, Arm::Waits | Arm::Newest)),
        "s",
    ));
    claims.extend(Claim::law(
        "producer waits: from when they were due, requests wait exactly as long as in an unbounded queue with the same arrivals",
        Basis::Calibrated,
        exact_waits(|arm| arm == Arm::Waits),
        "s",
    ));
    let exact_good = all.iter().filter_map(|k| {
        let exact = k.gauge("exact_good_share")?;
        let beside = by_group(&k.k, |of| Some(of("good_share")? - of("exact_good_share")?))?;
        let measured = shifted(beside, exact).scaled(100.0);
        Some(k.case(100.0 * exact, Some(measured), 2.0))
    });
    claims.extend(Claim::law(
        "and as many are answered in time",
        Basis::Calibrated,
        exact_good.collect(),
        "% of the requests",
    ));

    let steady = |arms: &'static [Arm]| {
        let of_arms = all.iter().filter(move |k| arms.contains(&k.theory.arm));
        of_arms.filter(|k| k.theory.wait().is_finite())
    };
    let wait = |k: &Point| {
        let wait = k.theory.wait();
        let tolerance = 1e-3 + 0.2 * (wait - k.theory.late);
        k.case(wait, k.of("wait_mean_s"), tolerance)
    };
    claims.extend(Claim::law(
        "unbounded queue: the mean wait below saturation is Erlang's",
        Basis::Calibrated,
        steady(&[Arm::Unbounded]).map(wait).collect(),
        "s",
    ));
    let shed = all.iter().filter(|k| k.theory.arm == Arm::Shed);
    let shed =
        shed.filter_map(|k| k.as_came("wait_mean_s", |t| t.wait(), |wait| 1e-3 + 0.1 * wait, 1.0));
    claims.extend(Claim::law(
        "shedding: the mean wait of those let in is that of M/M/c/K",
        Basis::Calibrated,
        shed.collect(),
        "s",
    ));
    let inside = all.iter().filter(|k| k.theory.arm == Arm::Waits);
    let inside = inside.filter(|k| k.theory.settled()).map(|k| {
        let predicted = k.theory.inside();
        k.case(predicted, k.of("queued_mean_s"), 1e-3 + 0.2 * predicted)
    });
    claims.extend(Claim::law(
        "producer waits: the service's own clock sees only the wait inside, at most K·s/c",
        Basis::Predicted,
        inside.collect(),
        "s",
    ));
    let away = all
        .iter()
        .filter(|k| matches!(k.theory.arm, Arm::Shed | Arm::Deadline | Arm::Expired));
    let away = away.filter_map(|k| {
        let name = k.turned_away_name();
        k.as_came(name, |t| t.turned_away(), |_| 2.0, 100.0)
    });
    claims.extend(Claim::law(
        "the share turned away is that of M/M/c/K when a full queue refuses and that of M/M/c+D when workers drop",
        Basis::Calibrated,
        away.collect(),
        "%",
    ));
    // An endless queue near saturation needs far longer runs for this than for its mean wait.
    let good = all.iter().filter(|k| {
        let near = k.theory.is_endless() && (NEAR..OVERLOAD).contains(&k.k.x());
        k.theory.settled() && !near
    });
    let good = good.filter_map(|k| k.as_came("good_of_capacity", |t| t.good(), |_| 5.0, 100.0));
    claims.extend(Claim::law(
        "the goodput within the deadline follows from the waits of each discipline",
        Basis::Calibrated,
        good.collect(),
        "% of the capacity",
    ));
    let little = all.iter().filter_map(|k| {
        let inside = k.gauge("inside_mean")?;
        Some(k.case(inside, k.k.gauge("sojourn_rate"), 0.02 + 0.01 * inside))
    });
    claims.extend(Claim::law(
        "Little's law: the mean number inside that the service integrates is λ·W by its clients' clocks",
        Basis::Predicted,
        little.collect(),
        "requests",
    ));
    let bounded = all
        .iter()
        .filter(|k| matches!(k.theory.arm, Arm::Waits | Arm::Shed));
    let depths: Vec<f64> = bounded.filter_map(|k| k.gauge("depth_max")).collect();
    if !depths.is_empty() {
        let over = depths.iter().filter(|d| **d > p.places as f64).count();
        let text = "a bounded queue is never longer than K";
        let measured = Some(Estimate::exact(over as f64));
        claims.push(
            Claim::near(text, Basis::Predicted, 0.0, measured, 0.0)
                .unit("conditions with a longer one"),
        );
    }
    claims
}

/// What the largest load shows, where theory has an opinion as clear as that.
fn claims_of_overload(all: &[Point], last: f64) -> Vec<Claim> {
    let at_last = all
        .iter()
        .filter(|k| k.k.x() == last && k.k.x() >= 1.15 && k.theory.settled());
    at_last
        .filter_map(|k| {
            let measured = k.of("good_of_capacity").map(|e| e.scaled(100.0));
            let claim = match (k.theory.arm, k.theory.good()) {
                (Arm::Unbounded | Arm::Waits, _) => Claim::at_most(
                    format!(
                        "{}: in overload next to nothing is in time",
                        k.theory.arm.name()
                    ),
                    Basis::Predicted,
                    5.0,
                    measured,
                ),
                (_, good) if good > 0.92 => Claim::at_least(
                    format!(
                        "{}: in overload the goodput stays at the capacity",
                        k.theory.arm.name()
                    ),
                    Basis::Predicted,
                    90.0,
                    measured,
                ),
                _ => return None,
            };
            Some(claim.unit("% of the capacity"))
        })
        .collect()
}

/// Share of a tester's requests that meet the freeze: one for each tester.
fn caught(p: &Params) -> f64 {
    let rate = p.tested * p.workers as f64 / p.service.s();
    p.workers as f64 / (rate * p.window.s())
}

/// What one request in so many takes longer than, sent when it is due, by the freeze alone: who is
/// due t after it began waits for the rest of it and for those before; c of them are served at once,
/// which the own service makes up for all but s/c. `NaN` beyond its reach.
fn open_theory(p: &Params, one_in: f64) -> f64 {
    let wait = p.freeze.s() - (1.0 - p.tested) * p.window.s() / one_in;
    if wait > 3.0 * p.service.s() {
        wait + p.service.s() / p.workers as f64
    } else {
        f64::NAN
    }
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
    let p95 = |series: &str, clock: &str| {
        let k = summary.only(series)?;
        by_group(&k, |of| of(clock))
    };
    let mut claims = Vec::new();
    let open = open_theory(p, 20.0);
    // Near the edge of the freeze's reach chance decides.
    if open > 0.3 * p.freeze.s() {
        let cases = [
            ("sent when due", "tested/open", "p95_from_due_s"),
            (
                "testers that wait, from when it was due",
                "tested/closed",
                "p95_from_due_s",
            ),
        ];
        let cases = cases.into_iter().map(|(name, series, clock)| Case {
            name: name.into(),
            predicted: open.into(),
            measured: p95(series, clock),
            tolerance: 0.12 * open,
        });
        claims.extend(Claim::law(
            "a freeze of F in a window D: the 95th percentile of what was due is F - 0.05·(1 - ρ)·D, whoever sends",
            Basis::Predicted,
            cases.collect(),
            "s",
        ));
    }
    let closed = closed_theory(p, 20.0);
    if caught(p) < 0.03 {
        claims.push(
            Claim::near(
                "testers that wait for each answer see next to nothing of it: their 95th percentile is that of the service",
                Basis::Predicted,
                closed,
                p95("tested/closed", "p95_from_sending_s"),
                2e-3 + 0.15 * closed,
            )
            .unit("s"),
        );
    }
    claims
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
    let storm = Storm::of(p);
    let drained = |n: f64| {
        let left = (p.surge * (1.0 + n) - 1.0) * p.surge_for.s();
        let room = 1.0 - p.calm * (1.0 + n);
        room > 0.05 && 1.3 * left / room < storm.stretches()[2].1.0 - storm.surge.1
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

fn claims_of_storm(p: &Params, summary: &Summary) -> Vec<Claim> {
    let of = |remedy: Remedy, name: &'static str, factor: f64| {
        let k = summary.only(remedy.series())?;
        by_group(&k, |of| of(name)).map(|e| e.scaled(factor))
    };
    let case = |remedy: Remedy, name, predicted: f64, tolerance, factor| Case {
        name: remedy.series().replace("storm/", ""),
        predicted: predicted.into(),
        measured: of(remedy, name, factor),
        tolerance,
    };
    let mut claims = Vec::new();
    if stays_down(p) {
        claims.push(
            Claim::at_most(
                "ρ·(1 + n) > 1: long after the surge the service is still down",
                Basis::Predicted,
                DOWN,
                of(Remedy::None, "good_end", 100.0),
            )
            .unit("% of the requests answered"),
        );
        let sent = [Remedy::None, Remedy::Away]
            .map(|remedy| case(remedy, "attempts_down", (1 + p.retries) as f64, 0.1, 1.0));
        claims.extend(Claim::law(
            "while it is down every request is sent 1 + n times",
            Basis::Predicted,
            sent.to_vec(),
            "attempts",
        ));
    }
    let back = Remedy::ALL.into_iter().filter(|r| comes_back(p, *r));
    let back = back.map(|remedy| case(remedy, "good_end", 100.0, 10.0, 100.0));
    claims.extend(Claim::law(
        "what breaks the loop brings the service back",
        Basis::Predicted,
        back.collect(),
        "% of the requests answered",
    ));
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

/// Goodput, waits and what is turned away over the load.
fn sweep(p: &Params, all: &[Point], last: f64, unbounded: f64, shed: f64) -> Figure {
    let first = all.iter().map(|k| k.k.x()).fold(f64::INFINITY, f64::min);
    let steps = 60;
    let grid: Vec<f64> = (0..=steps)
        .map(|i| first + (last - first) * i as f64 / steps as f64)
        .collect();
    let late = mean(&all.iter().map(|k| k.theory.late).collect::<Vec<_>>());
    type Of = fn(&Theory) -> f64;
    let theory = |arm: Arm, label: &str, of: Of| {
        let points = grid.iter().map(|rho| {
            let theory = Theory::at(p, arm, *rho, late);
            (*rho, of(&theory))
        });
        Layer::Line(Line::theory(label, Colour::Muted, points.collect()))
    };
    let line = |arm: Arm, of: &dyn Fn(&Point) -> Option<Estimate>| {
        let of_arm = || all.iter().filter(move |k| k.theory.arm == arm);
        let points = of_arm().filter_map(|k| Some((k.k.x(), of(k)?.value)));
        let band = of_arm().filter_map(|k| of(k)?.ci95.map(|(lo, hi)| (k.k.x(), lo, hi)));
        Layer::Line(
            Line::measured(arm.name(), colour(arm), points.collect()).with_band(band.collect()),
        )
    };
    let mut good: Vec<Layer> = Arm::ALL
        .into_iter()
        .map(|arm| theory(arm, "", |t| t.good()))
        .collect();
    good.extend(Arm::ALL.map(|arm| line(arm, &|k| k.of("good_of_capacity"))));
    let waits = [Arm::Unbounded, Arm::Waits, Arm::Shed];
    let mut wait: Vec<Layer> = [Arm::Unbounded, Arm::Shed]
        .into_iter()
        .map(|arm| theory(arm, "", |t| t.wait()))
        .collect();
    wait.extend(waits.map(|arm| line(arm, &|k: &Point| k.of("wait_mean_s"))));
    let mut away: Vec<Layer> = [Arm::Shed, Arm::Deadline, Arm::Expired]
        .into_iter()
        .map(|arm| theory(arm, "", |t| t.turned_away()))
        .collect();
    away.extend(
        [Arm::Shed, Arm::Deadline, Arm::Expired].map(|arm| line(arm, &|k| k.turned_away())),
    );
    Figure {
        id: "load".into(),
        title: format!(
            "At {}× the capacity an unbounded queue gives {} of it in time, refusing {}",
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
                    layers: good,
                    height: 1.5,
                },
                Panel {
                    title: "Mean wait of those served".into(),
                    note: "from when they were due, log scale".into(),
                    y: Axis::log("", Unit::Seconds),
                    layers: wait,
                    height: 1.0,
                },
                Panel {
                    title: "Refused or dropped".into(),
                    note: "share of the requests".into(),
                    y: Axis::linear("", Unit::Share),
                    layers: away,
                    height: 0.9,
                },
            ],
            marks: vec![],
        }),
    }
}

/// Goodput through the surge, a panel a remedy.
fn storm_figure(p: &Params, summary: &Summary, after: f64) -> Option<Figure> {
    let storm = Storm::of(p);
    let panels: Vec<Panel> = Remedy::ALL
        .into_iter()
        .filter_map(|remedy| {
            let k = summary.only(remedy.series())?;
            let trial = k.trials().first()?;
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
            layers.push(Layer::Line(Line::trace(
                "",
                colour,
                trial.traces.get("goodput").cloned()?,
            )));
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
    let curve = |series: &str, clock: &str| {
        let k = summary.only(series)?;
        k.trials().first()?.traces.get(clock).cloned()
    };
    let open = curve("tested/open", "from_due")?;
    let closed = curve("tested/closed", "from_sending")?;
    let corrected = curve("tested/closed", "from_due")?;
    let at = |curve: &[(f64, f64)]| {
        let found = curve.iter().find(|(n, _)| *n == 20.0);
        found.map_or(f64::NAN, |(_, value)| *value)
    };
    let theory = |of: fn(&Params, f64) -> f64| {
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
                    theory(open_theory),
                    theory(closed_theory),
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
            cell(k.of("good_of_capacity"), percent),
            percent(k.theory.good()),
            cell(k.turned_away(), percent),
            cell(k.of("wait_mean_s"), seconds),
            cell(k.k.gauge("wait_p99_s"), seconds),
            cell(k.of("queued_mean_s"), seconds),
            cell(k.k.gauge("depth_max"), number),
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
fn waits_table(p: &Params, all: &[Point]) -> Table {
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
        let wait = k.of("wait_mean_s");
        let interval = wait.and_then(|e| e.ci95);
        let exact = k
            .gauge("exact_wait_s")
            .map_or(f64::NAN, |e| e + k.theory.late);
        table.row([
            k.theory.arm.name().to_string(),
            number(k.k.x()),
            cell(wait, seconds),
            interval.map_or("–".into(), |(lo, hi)| {
                format!("{} to {}", seconds(lo), seconds(hi))
            }),
            seconds(k.theory.wait()),
            seconds(exact),
            cell(k.k.gauge("wait_p50_s"), seconds),
            cell(k.k.gauge("wait_p99_s"), seconds),
            seconds(k.theory.wait_p99()),
            cell(k.k.gauge("depth_max"), number),
            cell(k.turned_away(), percent),
            percent(k.theory.turned_away()),
            cell(k.of("good_of_capacity"), percent),
            percent(k.theory.good()),
            cell(k.k.gauge("systems"), number),
        ]);
    }
    let c = p.workers as f64;
    table.note = format!(
        "Waits count from when a request was due to when a worker takes it, and carry what timers were late ({} on average). \"Own arrivals\": the exact mean wait of these very arrivals and service times. Little's law at full load: {} in service.",
        seconds(mean(&all.iter().map(|k| k.theory.late).collect::<Vec<_>>())),
        number(little::number_in_system(c / p.service.s(), p.service.s()))
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
    let storm = Storm::of(p);
    for remedy in Remedy::ALL {
        let Some(k) = summary.only(remedy.series()) else {
            continue;
        };
        let of = |name: &str| by_group(&k, |of| of(name));
        let back = k.estimate(|t| {
            let curve = t.traces.get("goodput")?;
            // From when on it never falls below half of the load for long: the last third of T below.
            let last = curve.iter().rev().find(|(_, good)| *good < 0.5 * p.calm)?;
            (last.0 < storm.end - p.deadline.s()).then_some((last.0 - storm.surge.1).max(0.0))
        });
        table.row([
            remedy.series().replace("storm/", ""),
            cell(of("good_before"), percent),
            cell(of("good_down"), percent),
            cell(of("good_end"), percent),
            cell(of("attempts_before"), number),
            cell(of("attempts_down"), number),
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
