//! Theory beside measurement for lab04.

use lab_kit::prelude::*;
use lab_kit::theory::{Burst, Limited, little};

use super::{gauges, languages, plan::Params};

use Disturbed::{Either, Fewer, Mean};
use Resource::Timers;

pub(super) fn explain(p: &Params, summary: &Summary) -> Findings {
    let view = View::of(p, summary);
    let figures = [Some(view.sweep()), view.against(), view.adapting()];
    let tables = [Some(view.table()), languages::table(summary)];
    Findings {
        headline: view.headline(),
        figures: figures.into_iter().flatten().collect(),
        tables: tables.into_iter().flatten().collect(),
        claims: [view.claims(), languages::claims(p, summary)].concat(),
        answers: view.answers(),
    }
}

/// What theory starts from: the flags, and the machine.
#[derive(Clone, Copy)]
struct Theory<'a> {
    p: &'a Params,
    summary: &'a Summary<'a>,
    c: f64,
    s: f64,
}

impl Theory<'_> {
    fn capacity(self) -> f64 {
        self.c / self.s
    }

    /// All requests at once.
    fn all(self) -> Burst {
        Burst {
            n: self.p.requests,
            slots: self.p.slots,
            service: self.s,
            queue: None,
            timeout: self.p.timeout.s(),
        }
    }

    /// The largest limit that protects: slots times the waves that fit into the timeout.
    fn protects_to(self) -> f64 {
        self.c * (self.p.timeout.s() / self.s).floor()
    }

    /// What a wave of requests costs besides its service: a request's overhead, and the server's one
    /// thread, which answers them one after another.
    fn wave(self, requests: f64) -> Given {
        self.summary.calibrated(|host| {
            host.request_overhead_ms / 1e3 + requests / host.upstream_ceiling_per_s.max(1.0)
        })
    }

    /// The burst behind so many permits. Up to m = c a permit's round trip sets the pace, with what a
    /// request costs besides its service. Beyond, the slots set it and are never without work; only the
    /// first wave's arrival and the last one's answers take their time.
    fn limited(self, limit: f64) -> Option<Limited> {
        let alone = limit <= self.c;
        let cost = self.wave(limit.min(self.c)).value;
        let (more, ends) = if alone { (cost, 0.0) } else { (0.0, cost) };
        let service = self.s + more;
        let all = Burst { service, ..self.all() };
        let limited = all.limited(limit as usize)?;
        Some(Limited {
            makespan: limited.makespan + 2.0 * ends,
            mean_latency: limited.mean_latency.map(|l| l + ends),
            ..limited
        })
    }

    /// A figure of that theory, which knows that it rests on the calibration.
    fn given(self, k: &Condition, of: impl Fn(&Limited) -> Option<f64>) -> Option<Given> {
        let value = of(&self.limited(k.x())?)?;
        Some(Given::new(value, self.wave(0.0).origin()))
    }

    /// The share that succeeds, whose waves have time to spare: the flags say it alone.
    fn success(self, k: &Condition) -> Option<f64> {
        match k.series() {
            "limit" => Some(self.all().limited(k.x() as usize)?.success_share()),
            _ => Some(self.all().success_share()),
        }
    }

    /// The mean of the adaptive limit. It rises by one a round until answers take `late` times the fastest, which
    /// is at `late·c` in flight; what it then takes away is what waits, which leaves c.
    fn settled(self) -> f64 {
        self.c * (1.0 + self.p.late) / 2.0
    }

    /// A tick of the timers, a millisecond, as a share of a service time.
    fn tick(self) -> f64 {
        1e-3 / self.s
    }
}

/// The record, and what is looked at in it.
struct View<'a> {
    p: &'a Params,
    theory: Theory<'a>,
    limits: Vec<Condition<'a>>,
    none: Option<Condition<'a>>,
    inside: Option<Condition<'a>>,
    adaptive: Vec<Condition<'a>>,
    goodput: Quantity<'a>,
    success: Quantity<'a>,
    from_arrival: Quantity<'a>,
    from_sending: Quantity<'a>,
    settled: Quantity<'a>,
}

impl<'a> View<'a> {
    fn of(p: &'a Params, summary: &'a Summary<'a>) -> View<'a> {
        let theory = Theory { p, summary, c: p.slots as f64, s: p.service.s() };
        let tick = Within::Share(theory.tick());
        let a_tick = "a tick of the timers, 1 ms, in each service time";
        let mean = theory.settled();
        let apart = 2.0 * theory.tick() * mean + 1.0;
        View {
            p,
            theory,
            limits: summary.series("limit"),
            none: summary.only("none"),
            inside: summary.only("inside"),
            adaptive: summary.series("adaptive"),
            goodput: Quantity::gauge("requests/s", number, gauge::GOODPUT_PER_S)
                .theory(move |k| theory.given(k, |l| Some(l.goodput())))
                .within(tick, a_tick)
                .disturbed(Fewer(Timers)),
            success: Quantity::new("%", percent, |k| k.success_share())
                .theory(move |k| theory.success(k))
                .within(Within::Absolute(1.0), "1 point: the last wave in time has ticks to spare, yet a request in a hundred may be held up")
                .scaled(100.0)
                .disturbed(Fewer(Timers)),
            from_arrival: Quantity::of_trials("s", seconds, from_arrival)
                .theory(move |k| theory.given(k, |l| l.mean_latency))
                .within(tick, a_tick)
                .disturbed(Mean(Timers)),
            from_sending: Quantity::of_trials("s", seconds, from_sending)
                .theory(move |k| theory.given(k, |l| l.mean_attempt))
                .within(tick, a_tick)
                .disturbed(Mean(Timers)),
            settled: Quantity::new("requests in flight", number, move |k| in_a_saw(k, theory, apart))
                .theory(move |_| Some(mean))
                .within(Within::Absolute(apart), "two ticks of the timers in a service time, 2 ms: the fastest of many answers comes early by one, others late by one; and one permit, the step of the limit")
                .disturbed(Either(Timers)),
        }
    }

    fn protecting(&self) -> impl Iterator<Item = &Condition<'a>> {
        let edge = self.theory.protects_to();
        self.limits.iter().filter(move |k| k.x() <= edge)
    }

    /// The smallest limit tried that reaches the full throughput, with what it reaches.
    fn best(&self) -> Option<(&Condition<'a>, f64)> {
        let reached = self.protecting().filter_map(|k| Some((k, self.goodput.measured(k)?.value)));
        let mut enough = reached.filter(|(_, rate)| *rate >= 0.95 * self.theory.capacity());
        enough.next()
    }

    /// The smallest limit tried that is not below Little's `L = λ·W = c`.
    fn expected(&self) -> Option<f64> {
        let limits = self.limits.iter().map(Condition::x);
        limits.filter(|m| *m >= self.theory.c).reduce(f64::min)
    }

    fn lost(&self) -> Option<Estimate> {
        let lost = |t: &Trial| (t.offered > 0).then(|| 1.0 - t.ok as f64 / t.offered as f64);
        self.none.as_ref()?.estimate(lost)
    }
}

/// From arrival to the answer, the mean of those that are answered in time.
fn from_arrival(trial: &Trial) -> Option<f64> {
    trial.latency.mean_s()
}

/// From the permit to the answer, the mean of the same ones. Older records have it of all requests, which
/// is the same where all are answered.
pub(super) fn from_sending(trial: &Trial) -> Option<f64> {
    let older = || trial.gauge(gauges::INSIDE_MEAN_S);
    let older = || older().filter(|_| trial.ok == trial.offered);
    trial.gauge(gauges::OK_FROM_SENDING_S).or_else(older)
}

/// The limit over whole rises from one fall to another, once a quarter of the requests is through.
fn settled(trial: &Trial) -> Option<Vec<f64>> {
    let limits: Vec<f64> = trial.traces.get("limit")?.iter().map(|(_, l)| *l).collect();
    let falls = limits.windows(2).enumerate().filter(|(_, l)| l[1] < l[0]);
    let falls: Vec<usize> =
        falls.map(|(at, _)| at + 1).filter(|at| *at >= limits.len() / 4).collect();
    let (first, last) = (*falls.first()?, *falls.last()?);
    let whole = limits.get(first..last).filter(|whole| !whole.is_empty())?;
    Some(whole.to_vec())
}

/// Its mean.
fn settled_limit(trial: &Trial) -> Option<f64> {
    let whole = settled(trial)?;
    Some(whole.iter().sum::<f64>() / whole.len() as f64)
}

/// That mean, unless the limit agrees with theory's and jumps to and fro instead of making a saw: its mean may be
/// the same.
fn in_a_saw(k: &Condition, theory: Theory, apart: f64) -> Option<Estimate> {
    let saw = theory.c - 2.0 * apart..=theory.c * theory.p.late + 2.0 * apart;
    let in_saw = |t: &Trial| settled(t).is_none_or(|l| l.iter().all(|l| saw.contains(l)));
    let agrees = |l: &Estimate| (l.value - theory.settled()).abs() <= apart;
    let limit = k.estimate(settled_limit);
    limit.filter(|l| !agrees(l) || k.trials().iter().all(in_saw))
}

/// The claims and the answers.
impl View<'_> {
    fn claims(&self) -> Vec<Claim> {
        let a_limit = |k: &Condition| format!("a limit of {}", k.x());
        let protecting = || self.protecting();
        vec![
            self.goodput.near("the goodput is m/s up to m = c and c/s from there on, while m is at most c times the waves that fit into T", a_limit, protecting()),
            self.protection(),
            self.from_arrival.near("measured from arrival, the mean wait is that of the waves of answers", a_limit, protecting()),
            self.from_sending.near("measured from sending, an answer takes s up to m = c and m·s/c beyond: what a limit above c adds is waiting in the service", a_limit, protecting()),
            self.settled.near("the adaptive limit settles in a saw between c and as many as make answers late, on average c times (1 + late)/2, from wherever it starts", |k| format!("from {}", k.x()), &self.adaptive),
        ]
    }

    fn protection(&self) -> Claim {
        let all = self.limits.iter().chain(&self.none).chain(&self.inside);
        let name = |k: &Condition| match k.series() {
            "limit" => format!("a limit of {}", k.x()),
            "none" => "no limit".into(),
            _ => "a semaphore made inside the function".into(),
        };
        let (s, t) = (self.theory.s, self.p.timeout.s());
        let toss = (t - (t / s).round() * s).abs() < 3e-3;
        let why = "T is a multiple of s: whether the last wave is in time is a coin toss";
        self.success
            .near("every request succeeds while m is at most c times the waves that fit into T; a larger limit, none, or one made inside the function protects nobody", name, all)
            .unless(toss.then(|| why.to_string()))
    }

    fn answers(&self) -> Vec<Answer> {
        let best = self.best().and_then(|(k, _)| k.estimate(|_| Some(k.x())));
        let lost = 1.0 - self.theory.all().success_share();
        vec![
            Answer::near("limit", best, self.expected().unwrap_or(f64::NAN)),
            Answer::near("lost", self.lost(), lost).scaled(100.0),
        ]
    }
}

/// The charts.
impl<'a> View<'a> {
    fn headline(&self) -> String {
        let without =
            format!("without a limit {} of the same requests are lost", cell(self.lost(), percent));
        match self.best() {
            None => format!("No limit that was tried reaches the full throughput; {without}."),
            Some((k, rate)) => format!(
                "A limit of {} gives {}/s, {} of the capacity, and {} of the requests succeed; {without}.",
                k.x(),
                number(rate),
                percent(rate / self.theory.capacity()),
                self.success.cell(k)
            ),
        }
    }

    fn sweep_title(&self) -> String {
        let without = format!("without a limit {} are lost", cell(self.lost(), percent));
        match self.best() {
            None => format!("No limit that was tried reaches the full throughput; {without}"),
            Some((k, rate)) => format!(
                "A limit of {} reaches {}/s and {} succeed; {without}",
                k.x(),
                number(rate),
                self.success.cell(k)
            ),
        }
    }

    /// A line over the limits, broken where they cease to protect: nobody measured what lies between.
    fn line(&self, label: &str, colour: Colour, of: &Quantity) -> Line {
        let edge = self.theory.protects_to();
        let line = of.line(label, colour, &self.limits);
        line.broken(edge, |m| m > edge)
    }

    /// Theory at every limit that can be told apart on the axis, with its corners.
    fn curve(&self, label: &str, of: impl Fn(&Limited) -> Option<f64>) -> Line {
        let ends = self.limits.first().zip(self.limits.last());
        let (from, to) = ends.map_or((1.0, 1.0), |(a, b)| (a.x(), b.x()));
        let edge = self.theory.protects_to();
        let mut limits: Vec<f64> =
            (0..=100).map(|i| (from * (to / from).powf(f64::from(i) / 100.0)).round()).collect();
        limits.extend([self.theory.c, edge, edge + 1.0]);
        limits.retain(|m| (from..=to).contains(m));
        limits.sort_by(f64::total_cmp);
        limits.dedup();
        let points = limits.into_iter();
        let points = points.filter_map(|m| Some((m, of(&self.theory.limited(m)?)?)));
        Line::theory(label, Colour::Muted, points.collect())
    }

    fn sweep(&self) -> Figure {
        let p = self.p;
        let without = self.none.as_ref().and_then(|k| self.goodput.measured(k));
        let without = without.map(|rate| Layer::rule(rate.value, "good answers/s without a limit"));
        let trials = self.limits.first().map_or(0, |k| k.trials().len());
        let ticks: Vec<f64> = self.limits.iter().map(Condition::x).collect();
        Figure::new("sweep", self.sweep_title())
            .subtitle(format!(
                "{} requests at once, {} slots of {}; a request waits {} once it is sent. {trials} trial(s) a point",
                p.requests, p.slots, p.service, p.timeout
            ))
            .desc("Three panels over the limit: goodput, time from arrival and from sending, success share.")
            .over(Axis::log("limit (permits), log scale", Unit::Number).with_ticks(ticks), [
                Panel::new("Good answers per second", Unit::Number)
                    .note("over the whole burst")
                    .layer(self.curve("theory", |l| Some(l.goodput())))
                    .layers(without)
                    .layer(self.line("goodput", Colour::Blue, &self.goodput))
                    .height(1.2),
                Panel::new("Mean time to the answer", Unit::Seconds)
                    .note("of those that succeed: from arrival, and from sending (without the wait for a permit)")
                    .layer(self.line("from arrival", Colour::Ink, &self.from_arrival))
                    .layer(self.line("from sending", Colour::Sky, &self.from_sending)),
                Panel::new("Success share", Axis::share())
                    .layer(self.curve("", |l| Some(l.success_share())))
                    .layer(self.line("succeed", Colour::Green, &self.success))
                    .height(0.7),
            ])
            .marks([Mark::at(self.theory.c, format!("m = c = {}", p.slots), Colour::Purple)])
    }

    /// The same load with and without a limit: answers over time, of a typical trial of each.
    fn against(&self) -> Option<Figure> {
        let (p, (best, _), none) = (self.p, self.best()?, self.none.as_ref()?);
        let answers = |k: &Condition| {
            let drawn = k.typical(|t| t.ok as f64);
            let trace = drawn.map_or(&[][..], |t| t.trace("answers"));
            std::iter::once(&(0.0, 0.0)).chain(trace).copied().collect::<Vec<_>>()
        };
        let (with, mut without) = (answers(best), answers(none));
        // No more answers come: the line goes on level as long as the other one.
        let until = with.last().map_or(0.0, |(at, _)| *at);
        without.extend(without.last().map(|(_, n)| (until, *n)));
        let count = |points: &[(f64, f64)]| number(points.last().map_or(0.0, |(_, n)| *n));
        let n = p.requests as f64;
        let capacity = vec![(0.0, 0.0), (n / self.theory.capacity(), n)];
        let title = format!(
            "The same {} requests: {} answered with a limit of {}, {} without",
            p.requests,
            count(&with),
            best.x(),
            count(&without)
        );
        Some(Figure::new("against", title)
            .subtitle(format!(
                "Good answers since the burst; dashed: the capacity of {} slots of {}. One of {} trial(s)",
                p.slots,
                p.service,
                best.trials().len()
            ))
            .desc("Answers received over time, with and without a limit.")
            .over(Axis::linear("time since the burst", Unit::Seconds), [
                Panel::new("Good answers", Unit::Number)
                    .note("in all")
                    .layer(Line::theory("capacity", Colour::Muted, capacity))
                    .layer(Line::trace("no limit", Colour::Vermilion, without))
                    .layer(Line::trace(&format!("limit {}", best.x()), Colour::Green, with))
                    .height(1.3),
            ]))
    }

    /// The adaptive limit over time, of a typical trial from each start.
    fn adapting(&self) -> Option<Figure> {
        let colours = [Colour::Blue, Colour::Green, Colour::Purple, Colour::Orange, Colour::Sky];
        let drawn = |k: &Condition<'a>| {
            let trial = k.typical(|t| settled_limit(t).unwrap_or(f64::NAN))?;
            Some((k.x(), trial))
        };
        let drawn: Vec<(f64, &Trial)> = self.adaptive.iter().filter_map(drawn).collect();
        let end = drawn.iter().map(|(_, t)| t.wall_s).fold(0.0, f64::max);
        let lines = drawn.iter().zip(colours.into_iter().cycle());
        let lines = lines.map(|((start, trial), colour)| {
            let from = trial.started_s();
            let trace = trial.trace("limit").iter();
            let trace = trace.map(|(at, limit)| (at - from, *limit));
            let mut points: Vec<(f64, f64)> = std::iter::once((0.0, *start)).chain(trace).collect();
            points.extend(points.last().map(|(_, limit)| (end, *limit)));
            let mean = settled_limit(trial).map_or(String::new(), |m| format!(": {}", number(m)));
            Line::trace(&format!("from {start}{mean}"), colour, points)
        });
        let panel = Panel::new("Limit", Unit::Number)
            .note("requests in flight")
            .layer(Layer::rule(self.theory.c, format!("c = {}", self.p.slots)))
            .layers(lines)
            .height(1.3);
        let trials = self.adaptive.first().map_or(0, |k| k.trials().len());
        (!drawn.is_empty()).then(|| Figure::new("adaptive", self.adapting_title(&drawn))
            .subtitle(format!(
                "It grows while answers are fast and shrinks when they take more than {} times the fastest. One of {trials} trial(s) from each start",
                self.p.late
            ))
            .desc("The limit over time from different starting values, rising and falling a little above the number of slots.")
            .over(Axis::linear("time since the burst", Unit::Seconds), [panel]))
    }

    fn adapting_title(&self, drawn: &[(f64, &Trial)]) -> String {
        let settled = drawn.iter();
        let mut settled: Vec<(f64, f64)> =
            settled.filter_map(|(start, t)| Some((settled_limit(t)?, *start))).collect();
        settled.sort_by(|a, b| a.0.total_cmp(&b.0));
        let slots = self.p.slots;
        match (settled.first(), settled.last()) {
            (Some((low, from)), Some((high, other))) if settled.len() > 1 => format!(
                "The adaptive limit settles by itself: at {} on average from {from}, at {} from {other}; c = {slots}",
                number(*low),
                number(*high)
            ),
            (Some((mean, from)), _) => format!(
                "The adaptive limit settles by itself: at {} on average from {from}; c = {slots}",
                number(*mean)
            ),
            _ => format!("The adaptive limit over time; c = {slots}"),
        }
    }
}

/// The tables.
impl View<'_> {
    fn table(&self) -> Table {
        let all = &self.theory.all();
        // Its name, and what theory says of its goodput and its success.
        type Row<'r, 'a> = (String, &'r Condition<'a>, f64, Option<f64>);
        let limits = self.limits.iter().filter_map(|k| {
            let theory = self.theory.limited(k.x())?;
            Some((number(k.x()), k, theory.goodput(), Some(theory.success_share())))
        });
        let none = self.none.iter().map(|k| ("none", k));
        let without = none.chain(self.inside.iter().map(|k| ("made inside", k)));
        let without = without
            .map(|(name, k)| (name.to_string(), k, all.goodput(), Some(all.success_share())));
        let adaptive = self.adaptive.iter().map(|k| {
            let settled = cell(k.estimate(settled_limit), number);
            (format!("adaptive from {}: {settled}", k.x()), k, self.theory.capacity(), None)
        });
        let rows: Vec<Row> = limits.chain(without).chain(adaptive).collect();
        Table::of("The same requests behind different limits", rows)
            .column("limit", |r| r.0.clone())
            .column("good/s", |r| self.goodput.cell(r.1))
            .column("theory", |r| number(r.2))
            .column("success", |r| self.success.cell(r.1))
            .column("theory", |r| r.3.map_or("–".into(), percent))
            .column("mean from arrival", |r| self.from_arrival.cell(r.1))
            .cells("p99 from arrival", seconds, |r| r.1.latency(0.99))
            .column("mean from sending", |r| self.from_sending.cell(r.1))
            .cells("lost", number, |r| r.1.estimate(|t| Some((t.offered - t.ok) as f64)))
            .note(format!(
                "Little's law: {} in flight for {}/s at {}. Both means are of the requests that succeed.",
                number(little::number_in_system(self.theory.capacity(), self.theory.s)),
                number(self.theory.capacity()),
                self.p.service
            ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn committed() -> lab_kit::record::Record {
        let committed = concat!(env!("CARGO_MANIFEST_DIR"), "/../../results/reference/lab04.json");
        let record = std::fs::read(committed).unwrap();
        serde_json::from_slice(&record).unwrap()
    }

    #[test]
    fn a_trial_that_is_not_what_its_condition_says_is_noticed() {
        type Alteration = (&'static str, fn(&mut Trial));
        let alterations: [Alteration; 6] = [
            ("limit", |t| t.traces.clear()),
            ("limit", |t| {
                t.traces.insert("answers".into(), vec![(0.1, 1.0)]);
            }),
            ("limit", |t| {
                t.gauges.insert("ok_from_sending_s".into(), 1.0);
            }),
            ("none", |t| {
                t.gauges.insert("upstream_arrived".into(), 0.0);
            }),
            ("adaptive", |t| t.traces.clear()),
            ("adaptive", |t| {
                for (at, (_, limit)) in t.traces.get_mut("limit").unwrap().iter_mut().enumerate() {
                    *limit = if at % 2 == 0 { 50.0 } else { 57.0 };
                }
            }),
        ];
        let lab = lab_kit::lab::entry::<crate::SemaphoreLimits>();
        let sound = |record: &lab_kit::record::Record| {
            let claims = lab.explain(record).unwrap().claims;
            claims[0].verdict() == lab_kit::claim::Verdict::Confirmed
        };
        assert!(sound(&committed()));
        // Older records have no count of the answers over time.
        for (at, (series, alter)) in alterations.into_iter().enumerate() {
            let mut record = committed();
            let points = record.points.iter_mut().filter(|p| p.series == series);
            points.flat_map(|p| &mut p.trials).for_each(alter);
            assert_eq!(sound(&record), at == 0, "alteration {at} of {series}");
        }
    }

    #[test]
    fn nobody_is_answered_sooner_after_arrival_than_after_sending() {
        let record = committed();
        let summary = Summary::of(&record);
        let mut compared = 0;
        for k in summary.series("limit") {
            for trial in k.trials() {
                let (arrival, sending) = (from_arrival(trial), from_sending(trial));
                // A record without the clock of the successes says nothing where others gave up.
                if let (Some(arrival), Some(sending)) = (arrival, sending) {
                    assert!(arrival >= sending, "{}: {arrival} {sending}", k.x());
                    compared += 1;
                }
            }
        }
        assert!(compared > 10, "{compared}");
    }

    #[test]
    fn the_clock_of_all_requests_is_not_that_of_the_successes() {
        let trial = |ok| Trial {
            ok,
            offered: 10,
            gauges: [("inside_mean_s".to_string(), 0.3)].into(),
            ..Trial::default()
        };
        assert_eq!(from_sending(&trial(10)), Some(0.3));
        assert_eq!(from_sending(&trial(3)), None);
    }

    #[test]
    fn only_whole_rises_of_the_limit_count() {
        let limits = |limits: &[f64]| {
            let trace = limits.iter().enumerate();
            let trace = trace.map(|(i, l)| (i as f64, *l)).collect();
            let traces = [("limit".to_string(), trace)].into();
            settled_limit(&Trial { traces, ..Trial::default() })
        };
        // It falls at the start, which is too early, then twice, and is cut off in its third rise.
        let saw = [90.0, 50.0, 51.0, 52.0, 50.0, 51.0, 52.0, 50.0, 51.0];
        assert_eq!(limits(&saw), Some(51.0));
        let once = [90.0, 50.0, 51.0, 52.0, 53.0, 54.0, 55.0, 50.0, 51.0];
        assert_eq!(limits(&once), None);
        assert_eq!(limits(&[]), None);
    }
}
