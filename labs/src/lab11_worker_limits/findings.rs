//! Theory beside measurement for lab11.

use lab_kit::prelude::*;
use lab_kit::theory::repairman::Repairman;
use lab_kit::theory::{Pipeline, Stage, little};

use super::{Params, Work};

/// How closely computation follows its calibration: a processor's clock changes with load and heat.
const DRIFT: f64 = 0.1;
/// A number of workers that reaches this share of the most there is has reached it all: the next
/// worker could add no more than the machine's own changes.
const FULL: f64 = 0.9;

pub(super) fn explain(p: &Params, summary: &Summary) -> Findings {
    let host = summary.host();
    let cores = host.cores;
    let width = |n: usize| p.width(host, n);
    let (cost, small, wait) = (p.cost.s(), p.mixed_cost.s(), p.wait().as_secs_f64());
    let (pure, mixed) = (summary.series("pure"), summary.series("mixed"));
    let (ios, cpus) = (summary.series("io"), summary.series("cpu"));
    let count = |k: &Condition| k.x() as usize;
    let named = |k: &Condition| format!("{} worker{}", k.x(), if k.x() == 1.0 { "" } else { "s" });

    // Throughput in processors kept busy, which makes items of different cost comparable.
    let pure_busy = |k: &Condition| k.gauge("per_s").map(|e| e.scaled(cost));
    let mixed_busy = |k: &Condition| k.gauge("worker_per_s").map(|e| e.scaled(k.x() * small));
    // How late sleeps end is seen best where nobody else computes.
    let late = mixed
        .first()
        .and_then(|k| k.gauge("late_s"))
        .map_or(0.0, |e| e.value.max(0.0));
    // What a computation takes here and now, from the worker that has the machine to itself.
    let alone = pure
        .first()
        .filter(|k| k.x() == 1.0)
        .and_then(|k| k.gauge("item_s"));
    let slower = match p.work {
        Work::Spin => alone.map_or(1.0, |e| (e.value / cost).clamp(1.0, 1.0 + DRIFT)),
        Work::Sleep => 1.0 + late / small,
    };
    let crew = |workers: usize| Repairman {
        workers,
        wait: wait + late,
        compute: small * slower,
    };
    // One queue for all processors, and a queue for each of them.
    let together = |k: &Condition| crew(count(k)).throughput(width) * small;
    let apart = |k: &Condition| match p.work {
        Work::Spin => {
            let each = width(cores) / cores as f64;
            let of = |workers: usize| crew(workers).throughput(|_| each) * small;
            let (few, more) = (count(k) / cores, count(k) % cores);
            (cores - more) as f64 * of(few) + more as f64 * of(few + 1)
        }
        Work::Sleep => together(k),
    };
    let mixed_law = |k: &Condition| (together(k) + apart(k)) / 2.0;
    let mixed_tolerance =
        |k: &Condition| (together(k) - apart(k)).abs() / 2.0 + DRIFT * mixed_law(k);
    let bound = |k: &Condition| crew(count(k)).bound(width(count(k).max(cores))) * small;
    let rule = p.rule(cores);

    // One worker has shown what a computation takes here, so it proves nothing.
    let several: Vec<Condition> = pure.iter().copied().filter(|k| k.x() > 1.0).collect();
    let pure_law = |k: &Condition| width(count(k)) / slower;

    let mut claims = Vec::new();
    let cases = |points: &[Condition],
                 law: &dyn Fn(&Condition) -> f64,
                 value: &dyn Fn(&Condition) -> Option<Estimate>,
                 share: f64| {
        let case = |k: &Condition| Case {
            name: named(k),
            predicted: (law(k)).into(),
            measured: value(k),
            tolerance: share * law(k),
        };
        points.iter().map(case).collect::<Vec<_>>()
    };
    claims.push(
        Claim::at_every(
            "pure computation keeps min(W, P) processors busy: workers beyond the processors add nothing",
            Basis::Calibrated,
            cases(&several, &pure_law, &pure_busy, DRIFT),
        )
        .unit("processors"),
    );
    let smallest = |value: &dyn Fn(&Condition) -> Option<f64>| {
        let most = pure.iter().filter_map(value).fold(0.0, f64::max);
        let enough = |k: &&Condition| value(k).is_some_and(|v| v >= FULL * most);
        pure.iter().find(enough).map(Condition::x)
    };
    let (best, expected) = (
        smallest(&|k| pure_busy(k).map(|e| e.value)),
        smallest(&|k| Some(width(count(k)))),
    );
    if let Some(expected) = expected {
        claims.push(
            Claim::near(
                "the smallest number of workers that reaches nine tenths of the full throughput of pure computation is the first one tried with as many processors' worth of work",
                Basis::Calibrated,
                expected,
                best.map(Estimate::exact),
                // Workers are whole.
                0.5,
            )
            .unit("workers"),
        );
    }
    let crowded: Vec<Condition> = pure
        .iter()
        .copied()
        .filter(|k| count(k) >= cores && k.x() > 1.0)
        .collect();
    let item_s = |k: &Condition| k.gauge("item_s");
    let stretched = |k: &Condition| cost * slower * (k.x() / width(count(k))).max(1.0);
    claims.push(
        Claim::at_every(
            "from W = P on each item takes W·p/P (Little): what more workers change is the latency",
            Basis::Calibrated,
            cases(&crowded, &stretched, &item_s, DRIFT),
        )
        .unit("s"),
    );
    let forced = |k: &Condition| k.gauge("forced_per_item");
    let at_cores = pure.iter().find(|k| count(k) == cores);
    let most = pure.last().filter(|k| count(k) >= 2 * cores);
    let told = pure.iter().any(|k| forced(k).is_some());
    if let (Some(few), Some(many), true, Work::Spin) = (at_cores, most, told, p.work) {
        let more = many.paired(few, |many, few| {
            Some(many.gauges.get("forced_per_item")? - few.gauges.get("forced_per_item")?)
        });
        claims.push(
            Claim::at_least(
                "more workers than processors are switched by force more often for each item",
                Basis::Predicted,
                0.0,
                more,
            )
            .unit("more switches per item"),
        );
    }
    claims.push(
        Claim::at_every(
            "workers that wait and compute for random times keep as many processors busy as the machine repairman says, between one queue for all processors and one for each",
            Basis::Calibrated,
            mixed.iter().map(|k| Case {
                name: named(k),
                predicted: (mixed_law(k)).into(),
                measured: mixed_busy(k),
                tolerance: mixed_tolerance(k),
            }).collect(),
        )
        .unit("processors"),
    );
    let at_rule = mixed.iter().find(|k| count(k) == rule);
    let full = width(cores.max(rule));
    let kept = |k: &Condition| mixed_busy(k).map(|e| e.scaled(100.0 / full));
    if let Some(k) = at_rule {
        let share = 100.0 * mixed_law(k) / full;
        claims.push(
            Claim::near(
                "P·(1 + w/p) workers with random times keep the processors busy for the machine repairman's share of the time, not for all of it",
                Basis::Calibrated,
                share,
                kept(k),
                100.0 * mixed_tolerance(k) / full,
            )
            .unit("%"),
        );
    }

    // Two limits.
    let overhead = host.request_overhead_ms / 1e3;
    let line = |io: usize, cpu: usize| {
        let compute = match p.work {
            Work::Spin => Stage::on_processors(cost * slower, cpu, width(cpu)),
            Work::Sleep => Stage {
                service: cost + late,
                width: cpu,
            },
        };
        Pipeline {
            stages: vec![
                Stage {
                    service: p.fetch.s() + overhead,
                    width: io,
                },
                compute,
            ],
        }
    };
    let of_io = |k: &Condition| line(count(k), p.cpu);
    let of_cpu = |k: &Condition| line(p.io, count(k));
    let law = |line: &dyn Fn(&Condition) -> Pipeline, k: &Condition| line(k).throughput();
    let rate = |k: &Condition| k.gauge("per_s");
    let (io_law, cpu_law) = (
        |k: &Condition| law(&of_io, k),
        |k: &Condition| law(&of_cpu, k),
    );
    let rename =
        |mut cases: Vec<Case>, points: &[Condition], name: &dyn Fn(&Condition) -> String| {
            for (case, k) in cases.iter_mut().zip(points) {
                case.name = name(k);
            }
            cases
        };
    let mut both = rename(cases(&ios, &io_law, &rate, DRIFT), &ios, &|k| {
        format!("{} fetches, {} workers", k.x(), p.cpu)
    });
    both.extend(rename(cases(&cpus, &cpu_law, &rate, DRIFT), &cpus, &|k| {
        format!("{} fetches, {} workers", p.io, k.x())
    }));
    claims.push(
        Claim::at_every(
            "with two limits the throughput is that of the one that binds, the smaller of F/f and P/p",
            Basis::Calibrated,
            both,
        )
        .unit("items/s"),
    );
    // Workers that the fetches do not need.
    let needless: Vec<&Condition> = cpus
        .iter()
        .filter(|k| of_cpu(k).bottleneck() == Some(0))
        .collect();
    if let [few, .., many] = &needless[..] {
        let ratio = many.paired(few, |a, b| {
            Some(a.gauges.get("per_s")? / b.gauges.get("per_s")?)
        });
        claims.push(
            Claim::near(
                "where the fetches bind, more workers change nothing",
                Basis::Predicted,
                cpu_law(many) / cpu_law(few),
                ratio,
                DRIFT,
            )
            .unit("times the throughput"),
        );
    }

    // The pictures.
    let points = |of: &[Condition], f: &dyn Fn(&Condition) -> Option<f64>| -> Vec<(f64, f64)> {
        of.iter().filter_map(|k| Some((k.x(), f(k)?))).collect()
    };
    let value = |e: Option<Estimate>| e.map(|e| e.value);
    let theory = |of: &[Condition], f: &dyn Fn(&Condition) -> f64| {
        Layer::Line(Line::theory("", Colour::Muted, points(of, &|k| Some(f(k)))))
    };
    let shown = |label: &str, colour, of: &[Condition], f: &dyn Fn(&Condition) -> Option<f64>| {
        Layer::Line(Line::measured(label, colour, points(of, f)))
    };
    let turn = crew(1).wait + crew(1).compute;
    let mixed_time = |k: &Condition| mixed_busy(k).map(|e| k.x() * small / e.value / turn);
    let kept_at_rule = at_rule.and_then(kept);
    let best_text = best.map_or("–".into(), number);
    let mut panels = vec![
        Panel {
            title: "Processors kept busy".into(),
            note: "throughput times cost".into(),
            y: Axis::linear("", Unit::Number),
            layers: vec![
                theory(&pure, &pure_law),
                theory(&mixed, &mixed_law),
                Layer::Line(Line::theory(
                    "bound",
                    Colour::Sky,
                    points(&mixed, &|k| Some(bound(k))),
                )),
                shown("pure", Colour::Blue, &pure, &|k| value(pure_busy(k))),
                shown("also wait", Colour::Green, &mixed, &|k| {
                    value(mixed_busy(k))
                }),
            ],
            height: 1.3,
        },
        Panel {
            title: "Time of one item".into(),
            note: "times what it takes undisturbed".into(),
            y: Axis::linear("", Unit::Factor),
            layers: vec![
                theory(&pure, &|k| stretched(k) / cost),
                theory(&mixed, &|k| k.x() * small / mixed_law(k) / turn),
                shown("pure", Colour::Blue, &pure, &|k| {
                    item_s(k).map(|e| e.value / cost)
                }),
                shown("also wait", Colour::Green, &mixed, &mixed_time),
            ],
            height: 1.0,
        },
    ];
    if told {
        panels.push(Panel {
            title: "Forced context switches".into(),
            note: "per item".into(),
            y: Axis::linear("", Unit::Number),
            layers: vec![
                shown("pure", Colour::Blue, &pure, &|k| value(forced(k))),
                shown("also wait", Colour::Green, &mixed, &|k| value(forced(k))),
            ],
            height: 0.8,
        });
    }
    let marks = [
        (cores, "P processors", Colour::Purple),
        (rule, "rule: P(1 + w/p)", Colour::Orange),
    ];
    let reached: Vec<f64> = mixed.iter().map(Condition::x).collect();
    let workers = Figure {
        id: "workers".into(),
        title: format!(
            "{best_text} workers are enough to compute; {rule} that also wait keep {} of the processors busy",
            cell(kept_at_rule, |v| percent(v / 100.0))
        ),
        subtitle: format!(
            "{cores} processors. Pure items of {}; others compute {} and wait {} on average. Dashed: theory",
            seconds(cost), seconds(small), seconds(wait)
        ),
        desc: "Throughput, time of an item and forced context switches over the number of workers, for pure computation and for work that also waits.".into(),
        body: Body::Panels(Panels {
            x: Axis::linear("workers", Unit::Number).with_ticks(reached.clone()),
            panels,
            marks: marks
                .into_iter()
                .filter(|(at, ..)| reached.last().is_some_and(|last| *at as f64 <= *last))
                .map(|(at, label, colour)| Mark { x: at as f64, interval: None, label: label.into(), colour })
                .collect(),
        }),
    };
    let peak = ios
        .iter()
        .chain(&cpus)
        .filter_map(rate)
        .map(|e| e.value)
        .fold(0.0, f64::max);
    let at_limits = ios.iter().find(|k| count(k) == p.io);
    let limits = Figure {
        id: "limits".into(),
        title: match at_limits.and_then(rate) {
            Some(now) => format!("{} fetches and {} workers give {} items/s; the limit that binds decides", p.io, p.cpu, number(now.value)),
            None => format!("The limit that binds decides: {} items/s at most", number(peak)),
        },
        subtitle: format!(
            "Fetches of {}, {} of computation an item, {} processors. Dashed: theory",
            seconds(p.fetch.s()), seconds(cost), number(width(cores.max(p.cpu)))
        ),
        desc: "Items per second over the limit of fetches with fixed workers, and over workers with a fixed limit of fetches.".into(),
        body: Body::Panels(Panels {
            x: Axis::linear("limit", Unit::Number),
            panels: vec![Panel {
                title: "Items per second".into(),
                note: "after the first one".into(),
                y: Axis::linear("", Unit::Number),
                layers: vec![
                    theory(&ios, &io_law),
                    theory(&cpus, &cpu_law),
                    shown(&format!("fetches, {} workers", p.cpu), Colour::Blue, &ios, &|k| value(rate(k))),
                    shown(&format!("workers, {} fetches", p.io), Colour::Green, &cpus, &|k| value(rate(k))),
                ],
                height: 1.4,
            }],
            marks: vec![],
        }),
    };

    let mut table = Table::new(
        "Workers",
        &[
            "workers",
            "work",
            "processors busy",
            "theory",
            "time of an item",
            "theory",
            "switches per item: forced",
            "voluntary",
        ],
    );
    let voluntary = |k: &Condition| k.gauge("voluntary_per_item");
    for k in &pure {
        table.row([
            number(k.x()),
            "computes".into(),
            cell(pure_busy(k), number),
            number(pure_law(k)),
            cell(item_s(k), seconds),
            seconds(stretched(k)),
            cell(forced(k), number),
            cell(voluntary(k), number),
        ]);
    }
    for k in &mixed {
        table.row([
            number(k.x()),
            "also waits".into(),
            cell(mixed_busy(k), number),
            number(mixed_law(k)),
            mixed_time(k).map_or("–".into(), |t| seconds(t * turn)),
            seconds(k.x() * small / mixed_law(k)),
            cell(forced(k), number),
            cell(voluntary(k), number),
        ]);
    }
    table.note = format!(
        "The rule P·(1 + w/p) asks for {rule} workers; the bound there is {} processors.{}",
        number(crew(rule).bound(full) * small),
        if told {
            ""
        } else {
            " This operating system does not tell context switches of threads (only Linux does here)."
        }
    );
    let mut second = Table::new(
        "Two limits",
        &[
            "fetches",
            "workers",
            "items/s",
            "theory",
            "in the long run",
            "what binds",
        ],
    );
    let mut row = |io: usize, cpu: usize, k: &Condition, law: f64| {
        let line = line(io, cpu);
        second.row([
            io.to_string(),
            cpu.to_string(),
            cell(rate(k), number),
            number(law),
            if line.bottleneck() == Some(0) {
                "fetches"
            } else {
                "workers"
            }
            .into(),
        ]);
    };
    ios.iter().for_each(|k| row(count(k), p.cpu, k, io_law(k)));
    cpus.iter().for_each(|k| row(p.io, count(k), k, cpu_law(k)));
    let most_per_s = width(p.cpu) / cost;
    second.note = format!(
        "Little's law: {} workers at full throughput of {}/s need {} fetches of {} under way.",
        p.cpu,
        number(most_per_s),
        number(little::number_in_system(most_per_s, p.fetch.s())),
        seconds(p.fetch.s())
    );

    let share = at_rule.map_or(f64::NAN, |k| 100.0 * mixed_law(k) / full);
    let answers = vec![
        Answer::near(
            "pure",
            best.map(Estimate::exact),
            expected.unwrap_or(f64::NAN),
        ),
        Answer::near("mixed", kept_at_rule, share),
    ];
    Findings {
        headline: format!(
            "Pure computation needs {best_text} workers here, more add nothing but latency; {rule} workers that also wait keep {} of the processors busy. With {} fetches and {} workers apart it is {} items/s.",
            cell(kept_at_rule, |v| percent(v / 100.0)),
            p.io,
            p.cpu,
            cell(at_limits.and_then(rate), number)
        ),
        figures: vec![workers, limits],
        tables: vec![table, second],
        claims,
        answers,
    }
}
