//! Theory beside measurement for lab05.

use lab_kit::prelude::*;

use super::schedule::{self, Calls, Spread};
use super::{ARMS, HERD, LEAD, Params};

/// What chance may do to one counted figure in one run of a thousand.
const LUCK: f64 = 1e-3;

/// How far the mean of `n` independent figures may stray from its expectation, in all but
/// [`LUCK`] of the runs: Bernstein's inequality (1924). It holds for any distribution with this
/// deviation whose figures lie at most `reach` from their mean.
fn chance(deviation: f64, reach: f64, n: f64) -> f64 {
    let log = (2.0 / LUCK).ln();
    let linear = reach * log / (3.0 * n);
    linear + (linear.powi(2) + 2.0 * deviation.powi(2) * log / n).sqrt()
}

/// A figure counted over all trials, and what is known about it beforehand.
#[derive(Clone, Copy)]
struct Counted {
    measured: f64,
    predicted: f64,
    tolerance: f64,
}

impl Counted {
    /// Counts have no error of measurement: chance is in the tolerance.
    fn case(&self, name: String) -> Case {
        Case {
            name,
            predicted: self.predicted.into(),
            measured: Some(Estimate::exact(self.measured)).filter(|e| e.value.is_finite()),
            tolerance: self.tolerance,
        }
    }

    fn scaled(&self, factor: f64) -> Counted {
        Counted {
            measured: self.measured * factor,
            predicted: self.predicted * factor,
            tolerance: self.tolerance * factor,
        }
    }
}

/// The sum of a gauge over the trials.
fn total(k: &Condition, name: &str) -> f64 {
    let gauges = k.trials().iter().map(|t| t.gauges.get(name).copied());
    gauges.map(|g| g.unwrap_or(f64::NAN)).sum()
}

/// (a) One arm at one probability.
struct Failing<'a> {
    arm: &'static str,
    label: &'static str,
    condition: Condition<'a>,
    success: Counted,
    attempts: Counted,
}

impl<'a> Failing<'a> {
    fn of(p: &Params, arm: &'static str, label: &'static str, k: Condition<'a>) -> Failing<'a> {
        let q = k.x();
        let n = p.retries(arm).most.map(|most| most + 1);
        let calls = p.calls as f64;
        let all = total(&k, "calls");
        let (wanted, free) = (schedule::amplification(q, n), schedule::success(q, n));
        // Each attempt succeeds with 1 − q whatever it repeats: the budget's attempts are all that
        // count when it is used up.
        let granted = match arm {
            "budget" | "breaker" => 1.0 + p.budget().most_retries(calls) / calls,
            _ => f64::INFINITY,
        };
        let cut = granted < wanted;
        let (attempts, success) = if cut {
            (granted, granted * (1.0 - q))
        } else {
            (wanted, free)
        };
        let deviation = if cut {
            (granted * q * (1.0 - q)).sqrt()
        } else {
            (free * (1.0 - free)).sqrt()
        };
        // A geometric number is not bounded, but hardly ever above this.
        let most = n.map_or((1e-6f64).ln() / q.ln(), f64::from);
        Failing {
            arm,
            label,
            condition: k,
            success: Counted {
                measured: total(&k, "calls_ok") / all,
                predicted: success,
                tolerance: chance(deviation, 1.0, all),
            },
            attempts: Counted {
                measured: total(&k, "attempts") / all,
                predicted: attempts,
                tolerance: chance(schedule::attempts_deviation(q, n), most - 1.0, all),
            },
        }
    }

    fn name(&self) -> String {
        format!("{}, {} fail", self.label, percent(self.condition.x()))
    }
}

/// (b) One arm.
struct Down<'a> {
    arm: &'static str,
    label: &'static str,
    condition: Condition<'a>,
    /// Only of arms whose calls do not depend on each other.
    theory: Option<(Counted, Counted)>,
    /// Why the theory is a coin toss.
    luck: Option<String>,
}

impl<'a> Down<'a> {
    fn of(p: &Params, arm: &'static str, label: &'static str, k: Condition<'a>) -> Down<'a> {
        let retries = p.retries(arm);
        let trials = (k.trials().len() as f64).max(1.0);
        let played = plays(p);
        let counted = |Spread { mean, deviation }, measured, slack: f64| Counted {
            measured,
            predicted: mean,
            // Four deviations of the trials' mean, and that attempts take some time.
            tolerance: 4.0 * deviation / trials.sqrt() + slack,
        };
        let alone = !matches!(arm, "budget" | "breaker");
        let theory = alone.then(|| {
            let sent = played.spread(retries, |p| p.amplification);
            let slack = 0.04 * sent.mean;
            (
                counted(sent, amplification(&k), slack),
                counted(played.spread(retries, |p| p.success), saved(&k), 0.02),
            )
        });
        // A herd that comes back at the very end.
        let mut at = HERD.as_secs_f64();
        let steps = retries
            .backoff
            .ceilings()
            .take(retries.most.unwrap_or(0) as usize);
        let close = steps
            .map(|wait| {
                at += wait.as_secs_f64();
                at
            })
            .any(|at| (at - p.outage.s()).abs() < 0.02);
        let luck = (close && !matches!(arm, "jitter" | "deadline")).then(|| {
            format!("{label}: the herd comes back just when the outage ends, a coin toss")
        });
        Down {
            arm,
            label,
            condition: k,
            theory,
            luck,
        }
    }
}

fn plays(p: &Params) -> Calls {
    Calls {
        starts: p.starts(),
        outage: p.outage.s(),
        deadline: p.deadline.s(),
    }
}

/// (b) Attempts sent in the outage for each call begun in it.
fn amplification(k: &Condition) -> f64 {
    total(k, "sent_in_outage") / total(k, "calls_in_outage")
}

/// (b) Share of the calls begun in the outage that succeeded.
fn saved(k: &Condition) -> f64 {
    total(k, "saved_in_outage") / total(k, "calls_in_outage")
}

pub(super) fn explain(p: &Params, summary: &Summary) -> Findings {
    let failing: Vec<Failing> = ARMS
        .iter()
        .flat_map(|(arm, label)| {
            let conditions = summary.series(&format!("random/{arm}"));
            conditions
                .into_iter()
                .map(|k| Failing::of(p, arm, label, k))
        })
        .collect();
    let down: Vec<Down> = ARMS
        .iter()
        .filter_map(|(arm, label)| {
            let k = summary.only(&format!("outage/{arm}"))?;
            Some(Down::of(p, arm, label, k))
        })
        .collect();
    let kept = summary.series("permit/kept");
    let given = summary.series("permit/given back");
    let arm = |name: &str| down.iter().find(|d| d.arm == name);

    let mut claims = Vec::new();
    claims.extend(sent_once(&failing, &down, &kept, &given));
    let cases = failing.iter().filter(|f| believable(p, f));
    claims.extend(Claim::law(
        "n attempts of which each fails with probability q succeed with 1 − qⁿ, whatever the back-off; where the budget is used up, each of the attempts it grants with 1 − q",
        Basis::Predicted,
        cases.map(|f| f.success.scaled(100.0).case(f.name())).collect(),
        "%",
    ));
    let cases = failing.iter().filter(|f| believable(p, f));
    claims.extend(Claim::law(
        "they cost (1 − qⁿ)/(1 − q) attempts a call, and no more than the budget grants",
        Basis::Predicted,
        cases.map(|f| f.attempts.case(f.name())).collect(),
        "attempts a call",
    ));
    let luck = down.iter().find_map(|d| d.luck.clone());
    let theories = || down.iter().filter_map(|d| Some((d, d.theory.as_ref()?)));
    claims.extend(
        Claim::law(
            "in the outage each call sends the attempts that its back-off makes due",
            Basis::Predicted,
            theories()
                .map(|(d, (sent, _))| sent.case(d.label.into()))
                .collect(),
            "attempts a call",
        )
        .map(|claim| claim.excused(luck.clone())),
    );
    claims.extend(
        Claim::law(
            "an outage's call is saved if its back-off outlasts the outage: a fixed number of retries runs out sooner with jitter, the deadline does not",
            Basis::Predicted,
            theories()
                .map(|(d, (_, saved))| saved.scaled(100.0).case(d.label.into()))
                .collect(),
            "%",
        )
        .map(|claim| claim.excused(luck)),
    );
    claims.extend(comeback(p, arm("exponential"), arm("deadline")));
    claims.extend(arm("budget").map(|d| budget(p, &d.condition)));
    if let Some(d) = arm("breaker") {
        claims.extend(breaker(p, &d.condition));
    }
    let permits: Vec<Permit> = [(true, &kept), (false, &given)]
        .into_iter()
        .flat_map(|(kept, ks)| ks.iter().map(move |k| (kept, *k)))
        .map(|(kept, k)| Permit::of(p, kept, k))
        .collect();
    claims.extend(Claim::law(
        "a permit that is kept while its holder sleeps costs N·(A − 1)·b/m on top of the N·A·s/m of one that is given back (s as measured)",
        Basis::Calibrated,
        permits.iter().map(|k| k.case(p)).collect(),
        "s",
    ));

    let peak = |name| arm(name).and_then(|d| d.condition.gauge("comeback_peak"));
    let (together, spread) = (peak("exponential"), peak("deadline"));
    let jitter = arm("jitter").map(|d| saved(&d.condition));
    let deadline = arm("deadline").map(|d| saved(&d.condition));
    let share = |v: Option<f64>| v.map_or("–".into(), percent);
    let headline = format!(
        "After the outage {} attempts come within {} where nobody's back-off is random, {} with full jitter. With it {} retries save {} of the outage's calls; all that fit into the deadline save {}.",
        cell(together, number),
        seconds(super::WINDOW.as_secs_f64()),
        cell(spread, number),
        p.retries,
        share(jitter),
        share(deadline),
    );

    let mut figures = Vec::new();
    figures.extend(random_figure(p, &failing));
    figures.extend(outage_figure(p, &down, together, spread));
    figures.extend(permit_figure(p, &permits));

    let asked = failing
        .iter()
        .find(|f| f.arm == "jitter" && f.condition.x() == 0.3);
    let asked = asked.filter(|_| p.retries == 5).map(|f| f.attempts);
    let outlasting = arm("jitter").and_then(|d| d.theory).map(|(_, saved)| saved);
    let predicted = |counted: Option<Counted>| counted.map_or(f64::NAN, |c| c.predicted);
    let answers = vec![
        Answer::near(
            "attempts",
            asked.map(|c| Estimate::exact(c.measured)),
            predicted(asked),
        ),
        Answer::near("jitter", jitter.map(Estimate::exact), predicted(outlasting)).scaled(100.0),
    ];
    Findings {
        headline,
        figures,
        tables: vec![
            outage_table(p, &down),
            random_table(p, &failing),
            permit_table(p, &permits),
        ],
        claims,
        answers,
    }
}

/// Whether the formulas of (a) apply: the breaker does not open by bad luck, and the deadline leaves
/// room for the attempts.
fn believable(p: &Params, f: &Failing) -> bool {
    let (q, calls) = (f.condition.x(), p.calls as f64);
    let in_a_row = calls / (1.0 - q) * q.powi(p.breaker_after as i32);
    let quiet = f.arm != "breaker" || in_a_row < 1e-3;
    let retries = p.retries(f.arm);
    // As many attempts as no call in a million needs.
    let needed = ((1e-6 / calls).ln() / q.ln()).ceil() as u32;
    let most = retries.most.unwrap_or(needed).min(needed);
    let waits: Duration = retries.backoff.ceilings().take(most as usize).sum();
    // (a) takes up to half of the deadline by itself.
    quiet && waits.as_secs_f64() < 0.5 * p.deadline.s() || f.arm == "none"
}

/// Every attempt in the client's books arrived, and none that is not there did.
fn sent_once(
    failing: &[Failing],
    down: &[Down],
    kept: &[Condition],
    given: &[Condition],
) -> Option<Claim> {
    let case = |name: String, k: &Condition| Case {
        name,
        predicted: (0.0).into(),
        measured: Some(Estimate::exact(total(k, "arrived") - total(k, "attempts")))
            .filter(|e| e.value.is_finite()),
        tolerance: 0.0,
    };
    let random = failing.iter().map(|f| case(f.name(), &f.condition));
    let outages = down.iter().map(|d| case(d.label.into(), &d.condition));
    let permits = kept.iter().chain(given);
    let permits = permits.map(|k| case(format!("back-off {}", seconds(k.x())), k));
    Claim::law(
        "the service sees each attempt of the client's books, and no other",
        Basis::Predicted,
        random.chain(outages).chain(permits).collect(),
        "attempts",
    )
}

/// The comeback with jitter against that without: only where both herds are still there.
fn comeback(p: &Params, without: Option<&Down>, with: Option<&Down>) -> Option<Claim> {
    let (without, with) = (without?, with?);
    let plays = plays(p);
    let window = super::WINDOW.as_secs_f64();
    let peak = |arm| {
        let retries = p.retries(arm);
        let peak = |played: &schedule::Played| schedule::peak(&played.sent, p.outage.s(), window);
        let there = plays.spread(retries, |p| p.success).mean > 0.999;
        there.then(|| plays.spread(retries, |p| peak(p) as f64).mean)
    };
    let expected = peak("deadline")? / peak("exponential")?;
    let ratio = with.condition.paired(&without.condition, |with, without| {
        Some(with.gauges.get("comeback_peak")? / without.gauges.get("comeback_peak")?)
    });
    // With a small herd the steady calls are most of either peak.
    (expected < 0.4).then(|| {
        Claim::at_most(
            "with full jitter the peak of the comeback is at most half of that without",
            Basis::Predicted,
            0.5,
            ratio,
        )
        .unit("of the peak")
    })
}

/// The largest of a figure over the trials: what is a bound on counts holds in each of them.
fn most_of(k: &Condition, figure: impl Fn(&Trial) -> Option<f64>) -> Option<Estimate> {
    let figures = k.trials().iter().filter_map(figure);
    figures.reduce(f64::max).map(Estimate::exact)
}

/// The budget is a bound on counts: it holds in each trial or it does not.
fn budget(p: &Params, k: &Condition) -> Claim {
    let (lead, outage) = (LEAD.as_secs_f64(), p.outage.s());
    let until = p.starts().partition_point(|t| *t < outage) as f64;
    let inside = p
        .starts()
        .iter()
        .filter(|t| (0.0..outage).contains(*t))
        .count() as f64;
    let most = 1.0 + p.budget().most_retries(until) / inside;
    let worst = most_of(k, |t| {
        Some(t.gauges.get("sent_in_outage")? / t.gauges.get("calls_in_outage")?)
    });
    Claim::at_most(
        "the budget bounds what retries add in the outage: its share of the calls, and its reserve",
        Basis::Predicted,
        most,
        worst,
    )
    .unit("attempts a call")
    // Its reserve is that of one window.
    .unless((lead + outage > 10.0).then(|| "the outage is longer than the budget's window".into()))
}

/// The breaker lets a probe through for each time it is half open, and that depends on its wait
/// alone.
fn breaker(p: &Params, k: &Condition) -> Vec<Claim> {
    let (wait, gap, outage) = (p.breaker_wait.s(), 1.0 / p.rate, p.outage.s());
    let (most, least) = (outage / wait, outage / (wait + gap + 2e-3));
    let calls = p.herd as f64 + p.rate * outage;
    if calls < 2.0 * f64::from(p.breaker_after) + p.limit as f64 {
        return vec![];
    }
    // Answers that were on their way when the service went down begin the count anew.
    let starts = p.starts();
    let first = starts.iter().copied().find(|t| *t >= 0.0).unwrap_or(0.0);
    let under_way = |t: &&f64| **t < 0.0 && **t + p.service.s() + 3e-3 > first;
    let late = starts.iter().filter(under_way).count() as f64;
    let periods = k.estimate(|t| Some(t.gauges.get("opened_in_outage")? - 1.0));
    let rest = most_of(k, |t| {
        Some(t.gauges.get("sent_in_outage")? - t.gauges.get("probes_in_outage")?)
    });
    let each = most_of(k, |t| {
        let periods = t.gauges.get("opened_in_outage")? - 1.0;
        Some(t.gauges.get("probes_in_outage")? / periods.max(1.0))
    });
    vec![
        Claim::near(
            "in the outage the breaker is half open once for each of its waits, whatever the load",
            Basis::Predicted,
            (most + least) / 2.0,
            periods,
            // Of the calls only whole numbers come, the first wait begins with the outage and the
            // last need not end with it.
            (most - least) / 2.0 + 1.0,
        )
        .unit("times"),
        Claim::at_most(
            "each time it lets through no more probes than it was told",
            Basis::Predicted,
            f64::from(p.probes),
            each,
        )
        .unit("probes"),
        Claim::at_most(
            "besides, the service sees no more than the failures in a row that open it and what is in flight by then",
            Basis::Predicted,
            f64::from(p.breaker_after - 1) * (1.0 + late) + p.limit as f64,
            rest,
        )
        .unit("attempts"),
    ]
}

/// Points of a line.
type Points = Vec<(f64, f64)>;

/// (c) One way at one back-off.
struct Permit<'a> {
    kept: bool,
    condition: Condition<'a>,
    predicted: f64,
}

impl<'a> Permit<'a> {
    fn of(p: &Params, kept: bool, k: Condition<'a>) -> Permit<'a> {
        // Attempts cost something besides their service: theory takes them as long as they were.
        let attempt = k.gauge("attempt_mean_s");
        let service = attempt.map_or(p.item_service.s(), |e| e.value);
        // A sleep ends with the next tick of the timer but one.
        let wait = k.x() + 1e-3;
        Permit {
            kept,
            predicted: schedule::makespan(p.items, p.permits, service, wait, p.fail_every, 0, kept),
            condition: k,
        }
    }

    fn case(&self, p: &Params) -> Case {
        let way = if self.kept { "kept" } else { "given back" };
        // Which of the last attempts fails, and when, is worth a wait and an attempt.
        let end = self.condition.x() + p.item_service.s();
        Case {
            name: format!("{way}, back-off {}", seconds(self.condition.x())),
            predicted: self.predicted.into(),
            measured: self.condition.wall_s(),
            tolerance: 0.04 * self.predicted + 0.25 * end,
        }
    }
}

fn random_figure(p: &Params, failing: &[Failing]) -> Option<Figure> {
    let series = [
        ("none", "no retry", Colour::Vermilion),
        ("budget", "budget", Colour::Blue),
        ("jitter", "retries", Colour::Green),
    ];
    let curve = |arm: &str, f: fn(&Failing) -> Counted| -> (Points, Points) {
        let of = failing.iter().filter(|k| k.arm == arm);
        of.map(|k| {
            let (x, counted) = (k.condition.x(), f(k));
            ((x, counted.measured), (x, counted.predicted))
        })
        .unzip()
    };
    let layers = |f: fn(&Failing) -> Counted| {
        let mut layers = Vec::new();
        for (arm, label, colour) in series {
            let (measured, theory) = curve(arm, f);
            layers.push(Layer::Line(Line::theory("", Colour::Muted, theory)));
            layers.push(Layer::Line(Line::measured(label, colour, measured)));
        }
        layers
    };
    let (middle, n) = (p.failing[p.failing.len() / 2], p.retries + 1);
    let shown = failing
        .iter()
        .find(|k| k.arm == "jitter" && k.condition.x() == middle)?;
    Some(Figure {
        id: "random".into(),
        title: format!(
            "Up to {n} attempts turn {} failures into {}, for {} attempts a call",
            percent(middle),
            percent(1.0 - shown.success.measured),
            number(shown.attempts.measured)
        ),
        subtitle: format!(
            "{} calls, each attempt fails with probability q; dashed: theory. The budget grants {} retries a call",
            p.calls,
            number(p.budget().granted_share())
        ),
        desc: "Two panels over the probability that an attempt fails: share of calls that succeed, and attempts a call.".into(),
        body: Body::Panels(Panels {
            x: Axis::linear("probability q that an attempt fails", Unit::Share)
                .with_ticks(p.failing.clone()),
            panels: vec![
                Panel {
                    title: "Calls that succeed".into(),
                    note: "whatever the back-off".into(),
                    y: Axis::linear("", Unit::Share).with_range(0.0, 1.0),
                    layers: layers(|k| k.success),
                    height: 1.1,
                },
                Panel {
                    title: "Load of the service".into(),
                    note: "attempts a call".into(),
                    y: Axis::linear("", Unit::Factor),
                    layers: layers(|k| k.attempts),
                    height: 1.1,
                },
            ],
            marks: vec![],
        }),
    })
}

/// Arrivals per window since the beginning of the outage, of a typical trial.
fn arrivals(k: &Condition) -> Vec<(f64, f64)> {
    let gauge = |t: &Trial, name: &str| t.gauges.get(name).copied().unwrap_or_default();
    let Some(trial) = k.typical(|t| gauge(t, "comeback_peak")) else {
        return vec![];
    };
    let from = gauge(trial, "down_at_s");
    let trace = trial.traces.get("arrivals").map_or(&[][..], Vec::as_slice);
    let width = super::WINDOW.as_secs_f64();
    let bins = trace.chunks((width / super::BIN.as_secs_f64()).round() as usize);
    bins.filter_map(|bin| {
        let (at, _) = bin.first()?;
        let sum: f64 = bin.iter().map(|(_, n)| n).sum();
        Some((at - from + width / 2.0, sum))
    })
    .collect()
}

/// The arrivals that an arm's back-off makes due: the mean of some plays.
fn due(p: &Params, arm: &str) -> Vec<(f64, f64)> {
    const PLAYS: u64 = 20;
    let (plays, width, lead) = (plays(p), super::WINDOW.as_secs_f64(), LEAD.as_secs_f64());
    let end = p.outage.s() + p.tail().as_secs_f64();
    let mut sums = vec![0.0; ((end + lead) / width) as usize];
    for seed in 0..PLAYS {
        for at in plays.play(p.retries(arm), seed << 32).sent {
            if let Some(sum) = sums.get_mut(((at + lead) / width) as usize) {
                *sum += 1.0 / PLAYS as f64;
            }
        }
    }
    let middle = |(i, sum)| ((i as f64 + 0.5) * width - lead, sum);
    sums.into_iter().enumerate().map(middle).collect()
}

fn outage_figure(
    p: &Params,
    down: &[Down],
    together: Option<Estimate>,
    spread: Option<Estimate>,
) -> Option<Figure> {
    let shown = [
        ("immediate", Colour::Vermilion),
        ("exponential", Colour::Orange),
        ("deadline", Colour::Green),
        ("budget", Colour::Blue),
        ("breaker", Colour::Purple),
    ];
    let names = [
        "At once",
        "Exponential back-off",
        "Full jitter, until the deadline",
        "The same with a budget",
        "The same with a breaker as well",
    ];
    let mut panels = Vec::new();
    for ((arm, colour), name) in shown.into_iter().zip(names) {
        let Some(d) = down.iter().find(|d| d.arm == arm) else {
            continue;
        };
        let region = Layer::Region {
            x: (0.0, p.outage.s()),
            label: if panels.is_empty() {
                "service down".into()
            } else {
                String::new()
            },
            colour: Colour::Muted,
        };
        let line = Line::trace("", colour, arrivals(&d.condition));
        let mut layers = vec![region];
        if d.theory.is_some() {
            layers.push(Layer::Line(Line::theory("", Colour::Muted, due(p, arm))));
        }
        layers.push(Layer::Line(line));
        panels.push(Panel {
            title: name.into(),
            note: format!(
                "{} attempts a call, {} of the outage's calls saved",
                number(amplification(&d.condition)),
                percent(saved(&d.condition))
            ),
            y: Axis::linear("", Unit::Number),
            layers,
            height: 0.62,
        });
    }
    (!panels.is_empty()).then(|| Figure {
        id: "outage".into(),
        title: format!(
            "Without jitter {} attempts come back within {}, with it {}",
            cell(together, number),
            seconds(super::WINDOW.as_secs_f64()),
            cell(spread, number)
        ),
        subtitle: format!(
            "Attempts sent per {}: {} calls/s all the time, and {} that begin with the outage of {}. Dashed: theory",
            seconds(super::WINDOW.as_secs_f64()),
            number(p.rate),
            p.herd,
            p.outage
        ),
        desc: "A panel for each way to try again: attempts over time through an outage.".into(),
        body: Body::Panels(Panels {
            x: Axis::linear("time since the service went down", Unit::Seconds),
            panels,
            marks: vec![],
        }),
    })
}

fn permit_figure(p: &Params, permits: &[Permit]) -> Option<Figure> {
    let line = |kept: bool| -> (Points, Points) {
        let of = permits.iter().filter(|k| k.kept == kept);
        of.filter_map(|k| {
            let x = k.condition.x();
            Some(((x, k.condition.wall_s()?.value), (x, k.predicted)))
        })
        .unzip()
    };
    let ((kept, kept_theory), (given, given_theory)) = (line(true), line(false));
    let (longest, slow) = *kept.last()?;
    let (_, fast) = *given.last()?;
    Some(Figure {
        id: "permit".into(),
        title: format!(
            "Permits that sleep make it {} instead of {}",
            seconds(slow),
            seconds(fast)
        ),
        subtitle: format!(
            "{} calls of {} through {} permits; every {}th attempt fails and is made again after the back-off",
            p.items, p.item_service, p.permits, p.fail_every
        ),
        desc: "Time for all calls over the back-off, with the permit kept during it or given back."
            .into(),
        body: Body::Panels(Panels {
            x: Axis::linear("back-off b", Unit::Seconds).with_range(0.0, longest),
            panels: vec![Panel {
                title: "Time for all calls".into(),
                note: "dashed: theory".into(),
                y: Axis::linear("", Unit::Seconds),
                layers: vec![
                    Layer::Line(Line::theory("", Colour::Muted, kept_theory)),
                    Layer::Line(Line::theory("", Colour::Muted, given_theory)),
                    Layer::Line(Line::measured("permit kept", Colour::Vermilion, kept)),
                    Layer::Line(Line::measured("permit given back", Colour::Green, given)),
                ],
                height: 1.3,
            }],
            marks: vec![],
        }),
    })
}

fn outage_table(p: &Params, down: &[Down]) -> Table {
    let mut table = Table::new(
        "(b) The outage",
        &[
            "retries",
            "attempts a call in it",
            "theory",
            "its calls saved",
            "theory",
            "peak after it",
            "mean time of a success",
            "probes",
        ],
    );
    for d in down {
        let k = &d.condition;
        let of = |f: fn(&(Counted, Counted)) -> &Counted| d.theory.as_ref().map(|t| f(t).predicted);
        table.row([
            d.label.to_string(),
            number(amplification(k)),
            of(|t| &t.0).map_or("–".into(), number),
            percent(saved(k)),
            of(|t| &t.1).map_or("–".into(), percent),
            cell(k.gauge("comeback_peak"), number),
            cell(k.estimate(|t| t.latency.mean_s()), seconds),
            if d.arm == "breaker" {
                cell(k.gauge("probes_in_outage"), number)
            } else {
                "–".into()
            },
        ]);
    }
    table.note = format!(
        "Each row has what the one above it has, and something more; from \"until the deadline\" on retries are not counted. The peak is the most attempts within {}; {} calls/s are {} of it. Latencies include the calls outside the outage.",
        seconds(super::WINDOW.as_secs_f64()),
        number(p.rate),
        number(p.rate * super::WINDOW.as_secs_f64())
    );
    table
}

fn random_table(p: &Params, failing: &[Failing]) -> Table {
    let mut table = Table::new(
        "(a) Failures at random",
        &[
            "retries",
            "attempts that fail",
            "success",
            "theory",
            "attempts a call",
            "theory",
            "p99 time of a success",
        ],
    );
    for f in failing {
        table.row([
            f.label.to_string(),
            percent(f.condition.x()),
            percent(f.success.measured),
            percent(f.success.predicted),
            number(f.attempts.measured),
            number(f.attempts.predicted),
            cell(f.condition.latency(0.99), seconds),
        ]);
    }
    table.note = format!(
        "{} calls at once through {} permits. The tolerance of a share is what chance does to a count in one run of a thousand (Bernstein's inequality).",
        p.calls, p.limit
    );
    table
}

fn permit_table(p: &Params, permits: &[Permit]) -> Table {
    let mut table = Table::new(
        "(c) A permit during the back-off",
        &["back-off", "permit", "time for all", "theory"],
    );
    for k in permits {
        table.row([
            seconds(k.condition.x()),
            if k.kept { "kept" } else { "given back" }.into(),
            cell(k.condition.wall_s(), seconds),
            seconds(k.predicted),
        ]);
    }
    table.note = format!(
        "{} calls of {}, {} permits, every {}th attempt fails.",
        p.items, p.item_service, p.permits, p.fail_every
    );
    table
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{RngExt, SeedableRng};
    use rand_pcg::Pcg64Mcg;

    /// The bound is a bound: among 20,000 samples of a rare and of a common event fewer than
    /// [`LUCK`] of them, and three standard errors, stray further.
    #[test]
    fn chance_seldom_does_more_than_it_may() {
        for (q, n) in [(0.01f64, 200), (0.3, 100)] {
            let mut rng = Pcg64Mcg::seed_from_u64(7);
            let allowed = chance((q * (1.0 - q)).sqrt(), 1.0, f64::from(n));
            let far = (0..20_000).filter(|_| {
                let hits = (0..n).filter(|_| rng.random_bool(q)).count();
                (hits as f64 / f64::from(n) - q).abs() > allowed
            });
            assert!(far.count() < 34, "{q}");
        }
    }
}
