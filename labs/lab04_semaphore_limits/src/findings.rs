//! Theory beside measurement for lab04.

use lab_kit::prelude::*;
use lab_kit::theory::{Burst, Limited, little};

use super::Params;

use Resource::Timers;

pub(super) fn explain(p: &Params, summary: &Summary) -> Findings {
    let view = View::of(p, summary);
    let figures = [Some(view.sweep()), view.against(), view.adapting()];
    let mut tables = vec![view.table()];
    tables.extend(beside_python(summary));
    Findings {
        headline: view.headline(),
        figures: figures.into_iter().flatten().collect(),
        tables,
        claims: view.claims(),
        answers: view.answers(),
    }
}

/// The record, and what theory says.
struct View<'a> {
    p: &'a Params,
    summary: &'a Summary<'a>,
    c: f64,
    s: f64,
    t: f64,
    limits: Vec<Condition<'a>>,
    none: Option<Condition<'a>>,
    inside: Option<Condition<'a>>,
    adaptive: Vec<Condition<'a>>,
}

impl<'a> View<'a> {
    fn of(p: &'a Params, summary: &'a Summary<'a>) -> View<'a> {
        View {
            p,
            summary,
            c: p.slots as f64,
            s: p.service.s(),
            t: p.timeout.s(),
            limits: summary.series("limit"),
            none: summary.only("none"),
            inside: summary.only("inside"),
            adaptive: summary.series("adaptive"),
        }
    }

    fn capacity(&self) -> f64 {
        self.c / self.s
    }

    /// All requests at once.
    fn all(&self) -> Burst {
        Burst {
            n: self.p.requests,
            slots: self.p.slots,
            service: self.s,
            queue: None,
            timeout: self.t,
        }
    }

    /// The largest limit that protects: slots times the waves that fit into the timeout.
    fn protects_to(&self) -> f64 {
        self.c * (self.t / self.s).floor()
    }

    fn protecting(&self) -> impl Iterator<Item = &Condition<'a>> {
        self.limits.iter().filter(|k| k.x() <= self.protects_to())
    }

    /// What a wave of requests costs besides its service: a request's overhead, and the server's one
    /// thread, which answers them one after another.
    fn wave(&self, requests: f64) -> Given {
        self.summary.calibrated(|host| {
            host.request_overhead_ms / 1e3 + requests / host.upstream_ceiling_per_s.max(1.0)
        })
    }

    /// The burst behind so many permits. Up to m = c a permit's round trip sets the pace, with what a
    /// request costs besides its service. Beyond, the slots set it and are never without work; only the
    /// first wave's arrival and the last one's answers take their time.
    fn limited(&self, limit: f64) -> Option<Limited> {
        let alone = limit <= self.c;
        let cost = self.wave(limit.min(self.c)).value;
        let (more, ends) = if alone { (cost, 0.0) } else { (0.0, cost) };
        let service = self.s + more;
        let all = Burst {
            service,
            ..self.all()
        };
        let limited = all.limited(limit as usize)?;
        Some(Limited {
            makespan: limited.makespan + 2.0 * ends,
            mean_latency: limited.mean_latency.map(|l| l + ends),
            ..limited
        })
    }

    /// A figure of that theory, which knows that it rests on the calibration.
    fn theory(&self, k: &Condition, of: impl Fn(&Limited) -> Option<f64>) -> Option<Given> {
        let value = of(&self.limited(k.x())?)?;
        Some(Given::new(value, self.wave(0.0).origin()))
    }

    /// A tick of the timers, a millisecond, as a share of a service time.
    fn tick(&self) -> f64 {
        1e-3 / self.s
    }

    /// The smallest limit tried that reaches the full throughput, with what it reaches.
    fn best(&self) -> Option<(&Condition<'a>, f64)> {
        let reached = self
            .protecting()
            .filter_map(|k| Some((k, goodput(k)?.value)));
        let mut enough = reached.filter(|(_, rate)| *rate >= 0.95 * self.capacity());
        enough.next()
    }

    /// The smallest limit tried that is not below Little's `L = λ·W = c`.
    fn expected(&self) -> Option<f64> {
        let limits = self.limits.iter().map(Condition::x);
        limits.filter(|m| *m >= self.c).reduce(f64::min)
    }

    fn lost(&self) -> Option<Estimate> {
        let lost = |t: &Trial| (t.offered > 0).then(|| 1.0 - t.ok as f64 / t.offered as f64);
        self.none.as_ref()?.estimate(lost)
    }
}

fn goodput(k: &Condition) -> Option<Estimate> {
    k.gauge("goodput_per_s")
}

/// From arrival to the answer, the mean of those that are answered in time.
fn from_arrival(trial: &Trial) -> Option<f64> {
    trial.latency.mean_s()
}

/// From the permit to the answer, the mean of the same ones. Older records have it of all requests, which
/// is the same where all are answered.
fn from_sending(trial: &Trial) -> Option<f64> {
    let gauge = |name: &str| trial.gauges.get(name).copied();
    let older = || gauge("inside_mean_s").filter(|_| trial.ok == trial.offered);
    gauge("ok_from_sending_s").or_else(older)
}

/// The limit over whole rises from one fall to another, once a quarter of the requests is through.
fn settled(trial: &Trial) -> Option<Vec<f64>> {
    let limits: Vec<f64> = trial.traces.get("limit")?.iter().map(|(_, l)| *l).collect();
    let falls = limits.windows(2).enumerate().filter(|(_, l)| l[1] < l[0]);
    let falls: Vec<usize> = falls
        .map(|(at, _)| at + 1)
        .filter(|at| *at >= limits.len() / 4)
        .collect();
    let (first, last) = (*falls.first()?, *falls.last()?);
    let whole = limits.get(first..last).filter(|whole| !whole.is_empty())?;
    Some(whole.to_vec())
}

/// Its mean.
fn settled_limit(trial: &Trial) -> Option<f64> {
    let whole = settled(trial)?;
    Some(whole.iter().sum::<f64>() / whole.len() as f64)
}

/// The claims.
impl View<'_> {
    fn claims(&self) -> Vec<Claim> {
        vec![
            self.throughput(),
            self.protection(),
            self.waiting(),
            self.waiting_inside(),
            self.settles(),
        ]
    }

    fn permits(k: &Condition) -> String {
        format!("a limit of {}", k.x())
    }

    fn throughput(&self) -> Claim {
        let cases = self.protecting().filter_map(|k| {
            let predicted = self.theory(k, |l| Some(l.goodput()))?;
            Some(Case::share(
                Self::permits(k),
                predicted,
                goodput(k),
                self.tick(),
            ))
        });
        let text = "the goodput is m/s up to m = c and c/s from there on, while m is at most c times the waves that fit into T";
        Law::new(text, "requests/s", Disturbed::Fewer(Timers))
            .within("a tick of the timers, 1 ms, in each service time")
            .near(cases)
    }

    fn protection(&self) -> Claim {
        let share = |k: &Condition| k.success_share().map(|e| e.scaled(100.0));
        let of = |name: String, k: &Condition, predicted: f64| {
            Case::new(name, 100.0 * predicted, share(k), 1.0)
        };
        let limits = self.limits.iter().filter_map(|k| {
            let limited = self.all().limited(k.x() as usize)?;
            Some(of(Self::permits(k), k, limited.success_share()))
        });
        let unprotected = [
            ("no limit", &self.none),
            ("a semaphore made inside the function", &self.inside),
        ];
        let unprotected = unprotected
            .into_iter()
            .filter_map(|(name, k)| Some(of(name.into(), k.as_ref()?, self.all().success_share())));
        let waves = (self.t / self.s).round();
        let toss = (self.t - waves * self.s).abs() < 3e-3;
        let why = "T is a multiple of s: whether the last wave is in time is a coin toss";
        let text = "every request succeeds while m is at most c times the waves that fit into T; a larger limit, none, or one made inside the function protects nobody";
        Law::new(text, "%", Disturbed::Fewer(Timers))
            .within("1 point: the last wave in time has ticks to spare, yet a request in a hundred may be held up")
            .near(limits.chain(unprotected))
            .unless(toss.then(|| why.to_string()))
    }

    fn waiting(&self) -> Claim {
        let cases = self.protecting().filter_map(|k| {
            let predicted = self.theory(k, |l| l.mean_latency)?;
            Some(Case::share(
                Self::permits(k),
                predicted,
                k.estimate(from_arrival),
                self.tick(),
            ))
        });
        let text = "measured from arrival, the mean wait is that of the waves of answers";
        Law::new(text, "s", Disturbed::Mean(Timers))
            .within("a tick of the timers, 1 ms, in each service time")
            .near(cases)
    }

    fn waiting_inside(&self) -> Claim {
        let cases = self.protecting().filter_map(|k| {
            let predicted = self.theory(k, |l| l.mean_attempt)?;
            Some(Case::share(
                Self::permits(k),
                predicted,
                k.estimate(from_sending),
                self.tick(),
            ))
        });
        let text = "measured from sending, an answer takes s up to m = c and m·s/c beyond: what a limit above c adds is waiting in the service";
        Law::new(text, "s", Disturbed::Mean(Timers))
            .within("a tick of the timers, 1 ms, in each service time")
            .near(cases)
    }

    /// The limit rises by one a round until answers take `late` times the fastest, which is at `late·c` in
    /// flight; what it then takes away is what waits, which leaves c.
    fn settles(&self) -> Claim {
        let predicted = self.c * (1.0 + self.p.late) / 2.0;
        let tolerance = 2.0 * self.tick() * predicted + 1.0;
        // The mean of a limit that jumps to and fro may be the same, and is none of a saw.
        let saw = self.c - 2.0 * tolerance..=self.c * self.p.late + 2.0 * tolerance;
        let in_saw = |t: &Trial| settled(t).is_none_or(|l| l.iter().all(|l| saw.contains(l)));
        let cases = self.adaptive.iter().map(|k| {
            let limit = k.estimate(settled_limit);
            let agrees = |l: &Estimate| (l.value - predicted).abs() <= tolerance;
            let limit = limit.filter(|l| !agrees(l) || k.trials().iter().all(in_saw));
            Case::new(format!("from {}", k.x()), predicted, limit, tolerance)
        });
        let text = "the adaptive limit settles in a saw between c and as many as make answers late, on average c times (1 + late)/2, from wherever it starts";
        Law::new(text, "requests in flight", Disturbed::Either(Timers))
            .within("two ticks of the timers in a service time, 2 ms: the fastest of many answers comes early by one, others late by one; and one permit, the step of the limit")
            .near(cases)
    }
}

/// The charts.
impl<'a> View<'a> {
    fn headline(&self) -> String {
        let without = format!(
            "without a limit {} of the same requests are lost",
            cell(self.lost(), percent)
        );
        match self.best() {
            None => format!("No limit that was tried reaches the full throughput; {without}."),
            Some((k, rate)) => format!(
                "A limit of {} gives {}/s, {} of the capacity, and {} of the requests succeed; {without}.",
                k.x(),
                number(rate),
                percent(rate / self.capacity()),
                cell(k.success_share(), percent)
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
                cell(k.success_share(), percent)
            ),
        }
    }

    /// A line over the limits, broken where they cease to protect: nobody measured what lies between.
    fn line(
        &self,
        label: &str,
        colour: Colour,
        f: &dyn Fn(&Condition<'a>) -> Option<Estimate>,
    ) -> Layer {
        let edge = self.protects_to();
        let value = |k: &Condition<'a>| Some((k.x(), f(k)?.value));
        let (mut points, beyond): (Vec<_>, Vec<_>) = self
            .limits
            .iter()
            .filter_map(value)
            .partition(|(m, _)| *m <= edge);
        if !points.is_empty() && !beyond.is_empty() {
            points.push((edge, f64::NAN));
        }
        points.extend(beyond);
        let ends = |k: &Condition<'a>| f(k)?.ci95.map(|(lo, hi)| (k.x(), lo, hi));
        let band = self.limits.iter().filter_map(ends).collect();
        Layer::Line(Line::measured(label, colour, points).with_band(band))
    }

    /// Theory at every limit that can be told apart on the axis, with its corners.
    fn curve(&self, label: &str, of: impl Fn(&Limited) -> Option<f64>) -> Layer {
        let ends = self.limits.first().zip(self.limits.last());
        let (from, to) = ends.map_or((1.0, 1.0), |(a, b)| (a.x(), b.x()));
        let mut limits: Vec<f64> = (0..=100)
            .map(|i| (from * (to / from).powf(f64::from(i) / 100.0)).round())
            .collect();
        limits.extend([self.c, self.protects_to(), self.protects_to() + 1.0]);
        limits.retain(|m| (from..=to).contains(m));
        limits.sort_by(f64::total_cmp);
        limits.dedup();
        let points = limits.into_iter();
        let points = points.filter_map(|m| Some((m, of(&self.limited(m)?)?)));
        Layer::Line(Line::theory(label, Colour::Muted, points.collect()))
    }

    fn sweep(&self) -> Figure {
        let p = self.p;
        let mut rates = vec![self.curve("theory", |l| Some(l.goodput()))];
        rates.extend(self.none.as_ref().and_then(|k| {
            Some(Layer::Rule {
                y: goodput(k)?.value,
                label: "good answers/s without a limit".into(),
            })
        }));
        rates.push(self.line("goodput", Colour::Blue, &goodput));
        let times = vec![
            self.line("from arrival", Colour::Ink, &|k| k.estimate(from_arrival)),
            self.line("from sending", Colour::Sky, &|k| k.estimate(from_sending)),
        ];
        let shares = vec![
            self.curve("", |l| Some(l.success_share())),
            self.line("succeed", Colour::Green, &|k| k.success_share()),
        ];
        let panel = |title: &str, note: &str, y, layers, height| Panel {
            title: title.into(),
            note: note.into(),
            y,
            layers,
            height,
        };
        let linear = |unit| Axis::linear("", unit);
        let ticks: Vec<f64> = self.limits.iter().map(Condition::x).collect();
        Figure {
            id: "sweep".into(),
            title: self.sweep_title(),
            subtitle: format!(
                "{} requests at once, {} slots of {}; a request waits {} once it is sent. {} trial(s) a point",
                p.requests,
                p.slots,
                p.service,
                p.timeout,
                self.limits.first().map_or(0, |k| k.trials().len())
            ),
            desc: "Three panels over the limit: goodput, time from arrival and from sending, success share.".into(),
            body: Body::Panels(Panels {
                x: Axis::log("limit (permits), log scale", Unit::Number).with_ticks(ticks),
                panels: vec![
                    panel("Good answers per second", "over the whole burst", linear(Unit::Number), rates, 1.2),
                    panel(
                        "Mean time to the answer",
                        "of those that succeed: from arrival, and from sending (without the wait for a permit)",
                        linear(Unit::Seconds),
                        times,
                        1.0,
                    ),
                    panel("Success share", "", linear(Unit::Share).with_range(0.0, 1.0), shares, 0.7),
                ],
                marks: vec![Mark {
                    x: self.c,
                    interval: None,
                    label: format!("m = c = {}", p.slots),
                    colour: Colour::Purple,
                }],
            }),
        }
    }

    /// The same load with and without a limit: answers over time, of a typical trial of each.
    fn against(&self) -> Option<Figure> {
        let (p, (best, _), none) = (self.p, self.best()?, self.none.as_ref()?);
        let answers = |k: &Condition| {
            let drawn = k.typical(|t| t.ok as f64);
            let trace = drawn.and_then(|t| t.traces.get("answers")).cloned();
            let trace = trace.unwrap_or_default();
            std::iter::once((0.0, 0.0)).chain(trace).collect::<Vec<_>>()
        };
        let (with, mut without) = (answers(best), answers(none));
        // No more answers come: the line goes on level as long as the other one.
        let until = with.last().map_or(0.0, |(at, _)| *at);
        without.extend(without.last().map(|(_, n)| (until, *n)));
        let count = |points: &[(f64, f64)]| points.last().map_or(0.0, |(_, n)| *n);
        let n = p.requests as f64;
        let capacity = vec![(0.0, 0.0), (n / self.capacity(), n)];
        let trace = |label: &str, colour, points| Layer::Line(Line::trace(label, colour, points));
        Some(Figure {
            id: "against".into(),
            title: format!(
                "The same {} requests: {} answered with a limit of {}, {} without",
                p.requests,
                number(count(&with)),
                best.x(),
                number(count(&without))
            ),
            subtitle: format!(
                "Good answers since the burst; dashed: the capacity of {} slots of {}. One of {} trial(s)",
                p.slots,
                p.service,
                best.trials().len()
            ),
            desc: "Answers received over time, with and without a limit.".into(),
            body: Body::Panels(Panels {
                x: Axis::linear("time since the burst", Unit::Seconds),
                panels: vec![Panel {
                    title: "Good answers".into(),
                    note: "in all".into(),
                    y: Axis::linear("", Unit::Number),
                    layers: vec![
                        Layer::Line(Line::theory("capacity", Colour::Muted, capacity)),
                        trace("no limit", Colour::Vermilion, without),
                        trace(&format!("limit {}", best.x()), Colour::Green, with),
                    ],
                    height: 1.3,
                }],
                marks: vec![],
            }),
        })
    }

    /// The adaptive limit over time, of a typical trial from each start.
    fn adapting(&self) -> Option<Figure> {
        let colours = [
            Colour::Blue,
            Colour::Green,
            Colour::Purple,
            Colour::Orange,
            Colour::Sky,
        ];
        let drawn = |k: &Condition<'a>| {
            let trial = k.typical(|t| settled_limit(t).unwrap_or(f64::NAN))?;
            Some((k.x(), trial))
        };
        let drawn: Vec<(f64, &Trial)> = self.adaptive.iter().filter_map(drawn).collect();
        let end = drawn.iter().map(|(_, t)| t.wall_s).fold(0.0, f64::max);
        let mut layers = vec![Layer::Rule {
            y: self.c,
            label: format!("c = {}", self.p.slots),
        }];
        for ((start, trial), colour) in drawn.iter().zip(colours.into_iter().cycle()) {
            let from = trial.started_s();
            let trace = trial.traces.get("limit").into_iter().flatten();
            let trace = trace.map(|(at, limit)| (at - from, *limit));
            let mut points: Vec<(f64, f64)> = std::iter::once((0.0, *start)).chain(trace).collect();
            points.extend(points.last().map(|(_, limit)| (end, *limit)));
            let mean = settled_limit(trial).map_or(String::new(), |m| format!(": {}", number(m)));
            let label = format!("from {start}{mean}");
            layers.push(Layer::Line(Line::trace(&label, colour, points)));
        }
        (!drawn.is_empty()).then(|| Figure {
            id: "adaptive".into(),
            title: self.adapting_title(&drawn),
            subtitle: format!(
                "It grows while answers are fast and shrinks when they take more than {} times the fastest. One of {} trial(s) from each start",
                self.p.late,
                self.adaptive.first().map_or(0, |k| k.trials().len())
            ),
            desc: "The limit over time from different starting values, rising and falling a little above the number of slots.".into(),
            body: Body::Panels(Panels {
                x: Axis::linear("time since the burst", Unit::Seconds),
                panels: vec![Panel {
                    title: "Limit".into(),
                    note: "requests in flight".into(),
                    y: Axis::linear("", Unit::Number),
                    layers,
                    height: 1.3,
                }],
                marks: vec![],
            }),
        })
    }

    fn adapting_title(&self, drawn: &[(f64, &Trial)]) -> String {
        let settled = drawn.iter();
        let mut settled: Vec<(f64, f64)> = settled
            .filter_map(|(start, t)| Some((settled_limit(t)?, *start)))
            .collect();
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

/// The table and the answers.
impl View<'_> {
    fn table(&self) -> Table {
        let mut table = Table::new(
            "The same requests behind different limits",
            &[
                "limit",
                "good/s",
                "theory",
                "success",
                "theory",
                "mean from arrival",
                "p99 from arrival",
                "mean from sending",
                "lost",
            ],
        );
        let lost = |k: &Condition| k.estimate(|t| Some((t.offered - t.ok) as f64));
        let mut row = |name: String, k: &Condition, rate: f64, share: Option<f64>| {
            table.row([
                name,
                cell(goodput(k), number),
                number(rate),
                cell(k.success_share(), percent),
                share.map_or("–".into(), percent),
                cell(k.estimate(from_arrival), seconds),
                cell(k.latency(0.99), seconds),
                cell(k.estimate(from_sending), seconds),
                cell(lost(k), number),
            ]);
        };
        for k in &self.limits {
            if let Some(theory) = self.limited(k.x()) {
                row(
                    number(k.x()),
                    k,
                    theory.goodput(),
                    Some(theory.success_share()),
                );
            }
        }
        for (name, k) in [("none", &self.none), ("made inside", &self.inside)] {
            if let Some(k) = k {
                row(
                    name.into(),
                    k,
                    self.all().goodput(),
                    Some(self.all().success_share()),
                );
            }
        }
        for k in &self.adaptive {
            let settled = cell(k.estimate(settled_limit), number);
            row(
                format!("adaptive from {}: {settled}", k.x()),
                k,
                self.capacity(),
                None,
            );
        }
        table.note = format!(
            "Little's law: {} in flight for {}/s at {}. Both means are of the requests that succeed.",
            number(little::number_in_system(self.capacity(), self.s)),
            number(self.capacity()),
            self.p.service
        );
        table
    }

    fn answers(&self) -> Vec<Answer> {
        let best = self.best().and_then(|(k, _)| k.estimate(|_| Some(k.x())));
        let expected = self.expected().unwrap_or(f64::NAN);
        vec![
            Answer::near("limit", best, expected),
            Answer::near("lost", self.lost(), 1.0 - self.all().success_share()).scaled(100.0),
        ]
    }
}

/// Rust and Python against the same upstream. What it says about either is for the reader: the
/// ratio depends on the machine and on both languages' libraries, so there is no claim about it.
fn beside_python(summary: &Summary) -> Option<Table> {
    let mut pairs = Vec::new();
    for python in summary.series("python/limit") {
        let limit = number(python.x());
        pairs.push((limit, summary.at("limit", python.x()), python));
    }
    for (name, series) in [
        ("none; a pool of 100", "python/default pool"),
        ("none", "python/none"),
    ] {
        let python = summary.only(series);
        pairs.extend(python.map(|k| (name.to_string(), summary.only("none"), k)));
    }
    let mut table = Table::new(
        "The same limits in Rust and in Python",
        &[
            "limit",
            "good/s Rust",
            "Python",
            "Rust / Python",
            "success Rust",
            "Python",
            "from sending, Rust",
            "Python",
            "upstream saw, Rust",
            "Python",
            "Python busy",
        ],
    );
    for (limit, rust, python) in pairs {
        let Some(rust) = rust else { continue };
        let gauge = |k: &Condition, name: &str| k.gauge(name);
        let ratio = rust.paired(&python, |rust, python| {
            let rate = |t: &Trial| t.gauges.get("goodput_per_s").copied();
            let ratio = rate(rust)? / rate(python)?;
            ratio.is_finite().then_some(ratio)
        });
        table.row([
            limit,
            cell(gauge(&rust, "goodput_per_s"), number),
            cell(gauge(&python, "goodput_per_s"), number),
            cell(ratio, |r| format!("{r:.2}")),
            cell(rust.success_share(), percent),
            cell(python.success_share(), percent),
            cell(rust.estimate(from_sending), seconds),
            cell(python.estimate(from_sending), seconds),
            cell(gauge(&rust, "upstream_arrived"), number),
            cell(gauge(&python, "upstream_arrived"), number),
            cell(gauge(&python, "client_cpu_share"), percent),
        ]);
    }
    table.note = "The pool of 100 is aiohttp's default. It limits what the upstream sees and protects nobody: the clock of the timeout runs while a request waits for a connection; with a semaphore it starts at the permit. Python busy: processor time of its process over the time of the burst.".into();
    (!table.rows.is_empty()).then_some(table)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn committed() -> lab_kit::record::Record {
        let committed = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../results/reference/lab04.json"
        );
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
            settled_limit(&Trial {
                traces,
                ..Trial::default()
            })
        };
        // It falls at the start, which is too early, then twice, and is cut off in its third rise.
        let saw = [90.0, 50.0, 51.0, 52.0, 50.0, 51.0, 52.0, 50.0, 51.0];
        assert_eq!(limits(&saw), Some(51.0));
        let once = [90.0, 50.0, 51.0, 52.0, 53.0, 54.0, 55.0, 50.0, 51.0];
        assert_eq!(limits(&once), None);
        assert_eq!(limits(&[]), None);
    }
}
