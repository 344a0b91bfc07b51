//! Theory beside measurement for lab16.

use lab_kit::{prelude::*, stats::median};

use super::{Params, Way, child::Wire};

/// How close a time must be to its theory, as a share of it.
const CLOSE: f64 = 0.25;
/// What counts as ahead: a fifth less time, which no jitter of a wake-up explains.
const AHEAD: f64 = 0.8;
/// The ways that go through the system's buffers.
const STREAMS: [Way; 4] = [Way::Pipe, Way::Wide, Way::Unix, Way::Tcp];

impl Way {
    fn name(self) -> &'static str {
        match self {
            Way::Clone => "clone, to a thread",
            Way::Arc => "Arc, to a thread",
            Way::Pipe => "pipe",
            Way::Wide => "pipe, wide",
            Way::Unix => "Unix socket",
            Way::Tcp => "TCP, loopback",
            Way::Kept => "shared, kept",
            Way::Copied => "shared, copied in",
            Way::Fresh => "shared, new each time",
        }
    }

    fn colour(self) -> Colour {
        match self {
            Way::Clone => Colour::Sky,
            Way::Arc => Colour::Ink,
            Way::Pipe | Way::Wide => Colour::Vermilion,
            Way::Unix => Colour::Orange,
            Way::Tcp => Colour::Purple,
            Way::Kept => Colour::Green,
            Way::Copied => Colour::Muted,
            Way::Fresh => Colour::Blue,
        }
    }

    /// The gauge of the pass that its consumer makes.
    fn pass(self) -> &'static str {
        match self {
            Way::Kept | Way::Copied | Way::Fresh => "shared_s",
            _ => "read_s",
        }
    }

    /// Copies that follow one another; of the streams' two it depends on who waits for whom.
    fn copies(self) -> Option<f64> {
        match self {
            Way::Arc | Way::Kept => Some(0.0),
            Way::Clone | Way::Copied => Some(1.0),
            _ => None,
        }
    }

    /// What it goes through.
    fn wire(self) -> Option<Wire> {
        match self {
            Way::Pipe | Way::Wide => Some(Wire::Pipe),
            Way::Unix => Some(Wire::Unix),
            Way::Tcp => Some(Wire::Tcp),
            _ => None,
        }
    }

    /// Bytes that go through the system for each byte of the payload.
    fn kernel_copies(self) -> f64 {
        if STREAMS.contains(&self) { 2.0 } else { 0.0 }
    }
}

fn gauge(trial: &Trial, name: &str) -> Option<f64> {
    trial.gauges.get(name).copied()
}

fn size(x: f64) -> String {
    let text = Size::bytes(x as u64).to_string();
    let unit = text.find(|c: char| c.is_ascii_alphabetic());
    let (value, unit) = text.split_at(unit.unwrap_or(text.len()));
    format!("{value} {unit}")
}

/// One way at one size, beside the passes measured for it.
#[derive(Clone, Copy)]
struct Beside<'a> {
    way: Way,
    k: Condition<'a>,
    machine: Condition<'a>,
    /// Seconds of a hand-over of next to nothing.
    empty: f64,
}

impl<'a> Beside<'a> {
    fn at(summary: &Summary<'a>, way: Way, x: f64) -> Option<Beside<'a>> {
        // The median: in which company a trial was woken is not always the same.
        let empty = summary.only(&way.empty())?;
        let empty = empty
            .trials()
            .iter()
            .filter_map(|t| gauge(t, "hand_over_s"));
        let empty: Vec<f64> = empty.collect();
        Some(Beside {
            way,
            k: summary.at(way.series(), x)?,
            machine: summary.at("machine", x)?,
            empty: median(&empty),
        })
    }

    fn bytes(&self) -> f64 {
        self.k.x()
    }

    fn hand_over(&self) -> Option<Estimate> {
        self.k.gauge("hand_over_s")
    }

    /// Seconds of so many copies and the consumer's pass.
    fn passes(&self, machine: &Trial, copies: f64) -> Option<f64> {
        Some(copies * gauge(machine, "copy_s")? + gauge(machine, self.way.pass())?)
    }

    /// Seconds to make the pages that a hand-over touched for the first time.
    fn pages(&self, machine: &Trial, trial: &Trial) -> f64 {
        let cost = || Some(gauge(machine, "touch_s")? / gauge(machine, "touch_faults")?);
        let faults = gauge(trial, "producer_faults").unwrap_or(0.0);
        match cost() {
            Some(cost) if faults >= 1.0 && cost.is_finite() => faults * cost,
            _ => 0.0,
        }
    }

    /// Theory's hand-over in the round of a trial, with so many copies one after another.
    fn theory(&self, machine: &Trial, trial: &Trial, copies: f64) -> Option<f64> {
        let pages = match self.way {
            Way::Clone => self.pages(machine, trial),
            _ => 0.0,
        };
        Some(self.empty + self.passes(machine, copies)? + pages)
    }

    /// The whole, beginning with the first byte the producer writes, of a way with a segment: for a
    /// new one its pages as well, on both sides.
    fn whole(&self, machine: &Trial) -> Option<f64> {
        let one = self.empty + gauge(machine, "write_s")? + gauge(machine, "shared_s")?;
        match self.way {
            Way::Fresh => Some(one + gauge(machine, "touch_s")? + gauge(machine, "map_s")?),
            _ => Some(one),
        }
    }

    /// Where bytes matter more than waking up, so that their law can be seen.
    fn is_long(&self) -> bool {
        self.outweighs(1.0)
    }

    /// Where waking up is no tenth of it.
    fn is_all_bytes(&self) -> bool {
        self.outweighs(10.0)
    }

    fn outweighs(&self, times: f64) -> bool {
        let passes = self
            .machine
            .estimate(|m| self.passes(m, self.way.copies().unwrap_or(1.0)));
        passes.is_some_and(|e| e.value > times * self.empty)
    }

    /// Seconds that the system takes to copy a stream's bytes in, and out.
    fn sides(&self, machine: &Trial) -> Option<(f64, f64)> {
        let wire = self.way.wire()?;
        Some((gauge(machine, wire.there())?, gauge(machine, wire.back())?))
    }

    /// A stream when its two sides take turns: the system's copies one after another, and a wake-up
    /// on each side whenever the consumer has to read again.
    fn in_turn(&self, machine: &Trial, trial: &Trial) -> Option<f64> {
        let (there, back) = self.sides(machine)?;
        let reads = gauge(trial, "consumer_calls")?.max(1.0);
        Some(reads * self.empty + there + back + gauge(machine, self.way.pass())?)
    }

    /// A stream when its two sides never wait: each makes its own copy while the other does, and the
    /// slower one decides.
    fn at_once(&self, machine: &Trial) -> Option<f64> {
        let (there, back) = self.sides(machine)?;
        Some(there.max(back) + gauge(machine, self.way.pass())?)
    }

    /// A measured figure over theory's of the same round, for every round.
    fn shares(&self, theory: impl Fn(&Trial, &Trial) -> Option<f64>, figure: &str) -> Vec<f64> {
        let rounds = self.machine.trials().iter().zip(self.k.trials());
        rounds
            .filter_map(|(m, t)| Some(gauge(t, figure)? / theory(m, t)?))
            .collect()
    }
}

/// A stream's line: seconds before the first byte, and how many copies' time a byte takes beside the
/// consumer's pass.
#[derive(Clone, Copy)]
struct Fit {
    latency: f64,
    copies: Estimate,
}

/// Least squares over all sizes, each weighed by its own time: `T = latency + copies·copy + pass`.
fn fit(points: &[Beside]) -> Option<Fit> {
    let rounds = points.iter().map(|b| b.k.trials().len()).max()?;
    let line = |round: usize| {
        // (copy, the time without the pass, weight)
        let rows: Vec<(f64, f64, f64)> = points
            .iter()
            .filter_map(|b| {
                let (m, t) = (b.machine.trials().get(round)?, b.k.trials().get(round)?);
                let time = gauge(t, "hand_over_s")?;
                Some((
                    gauge(m, "copy_s")?,
                    time - gauge(m, b.way.pass())?,
                    1.0 / (time * time),
                ))
            })
            .collect();
        let sum = |f: &dyn Fn(&(f64, f64, f64)) -> f64| rows.iter().map(f).sum::<f64>();
        let (n, x, y) = (sum(&|r| r.2), sum(&|r| r.2 * r.0), sum(&|r| r.2 * r.1));
        let (xx, xy) = (sum(&|r| r.2 * r.0 * r.0), sum(&|r| r.2 * r.0 * r.1));
        let det = n * xx - x * x;
        (rows.len() >= 3 && det > 0.0).then(|| ((xx * y - x * xy) / det, (n * xy - x * y) / det))
    };
    let lines: Vec<(f64, f64)> = (0..rounds).filter_map(line).collect();
    let slopes: Vec<f64> = lines.iter().map(|l| l.1).collect();
    let starts: Vec<f64> = lines.iter().map(|l| l.0).collect();
    Some(Fit {
        latency: Estimate::of(&starts)?.value,
        copies: Estimate::of(&slopes)?,
    })
}

/// From which size on one way takes less than `AHEAD` of the other's time, at every larger size,
/// too; between two sizes on a straight line in the logarithms.
fn overtakes(one: &[(f64, f64)], other: &[(f64, f64)]) -> Option<f64> {
    let ratios: Vec<(f64, f64)> = one
        .iter()
        .filter_map(|(x, t)| {
            let (_, u) = other.iter().find(|(y, _)| y == x)?;
            Some((x.ln(), (t / u / AHEAD).ln()))
        })
        .collect();
    let ahead = ratios.iter().rev().take_while(|r| r.1 < 0.0).count();
    let first = ratios.len() - ahead;
    let (x, y) = *ratios.get(first)?;
    let Some((before, above)) = first.checked_sub(1).and_then(|i| ratios.get(i)) else {
        return Some(x.exp());
    };
    Some((before + (x - before) * above / (above - y)).exp())
}

pub(super) fn explain(p: &Params, summary: &Summary) -> Findings {
    let show = p.show().f();
    let of = |way: Way| -> Vec<Beside> {
        let sizes = p.sizes().into_iter();
        sizes
            .filter_map(|s| Beside::at(summary, way, s.f()))
            .collect()
    };
    let ways: Vec<(Way, Vec<Beside>)> = Way::ALL.into_iter().map(|way| (way, of(way))).collect();
    let all = || ways.iter().flat_map(|(_, at)| at);
    let points = |way: Way| &ways.iter().find(|w| w.0 == way).expect("all ways").1;
    let shown = |way: Way| points(way).iter().find(|b| b.bytes() == show).copied();
    let largest = |way: Way| points(way).last().copied();
    let fits: Vec<(Way, Fit)> = STREAMS
        .into_iter()
        .filter_map(|way| Some((way, fit(points(way))?)))
        .collect();

    let mut claims = Vec::new();
    let wrong: u64 = summary.all_trials().map(|t| t.failed).sum();
    claims.push(
        Claim::near(
            "every payload arrives whole, in order and up to date: its checksum is right",
            Basis::Predicted,
            0.0,
            Some(Estimate::exact(wrong as f64)),
            0.0,
        )
        .unit("wrong checksums"),
    );
    let counted = all().map(|b| {
        let copied = |t: &Trial| {
            let both = gauge(t, "producer_copied_bytes")? + gauge(t, "consumer_copied_bytes")?;
            Some(both / b.bytes())
        };
        Case {
            name: format!("{}, {}", b.way.name(), size(b.bytes())),
            predicted: (b.way.kernel_copies()).into(),
            measured: b.k.estimate(copied),
            tolerance: 0.0,
        }
    });
    claims.push(
        Claim::at_every(
            "a stream's bytes are copied twice by the system, those in shared memory and of a thread never",
            Basis::Predicted,
            counted.collect(),
        )
        .unit("copies"),
    );
    for (way, text) in [
        (
            Way::Arc,
            "to a thread by Arc: the time is a wake-up and one pass, the consumer's",
        ),
        (
            Way::Kept,
            "to a process in kept shared memory: the time is a wake-up and one pass, the consumer's",
        ),
        (
            Way::Copied,
            "to a process, copied into shared memory: one copy more",
        ),
        (
            Way::Clone,
            "to a thread by clone: one copy more, and the pages of the clone",
        ),
    ] {
        let copies = way.copies().unwrap_or(0.0);
        let long = points(way).iter().filter(|b| b.is_long());
        let shares = long.flat_map(|b| b.shares(|m, t| b.theory(m, t, copies), "hand_over_s"));
        claims.push(typical(text, Estimate::of(&shares.collect::<Vec<_>>())));
    }
    let new = points(Way::Fresh).iter().filter(|b| b.is_long());
    let new = new.flat_map(|b| b.shares(|m, _| b.whole(m), "cycle_s"));
    claims.push(typical(
        "a new segment each time costs the making of its pages on top, on both sides",
        Estimate::of(&new.collect::<Vec<_>>()),
    ));
    let whole = largest(Way::Kept).filter(|b| b.is_all_bytes());
    let pass = whole.map(|b| b.shares(|m, _| gauge(m, "shared_s"), "hand_over_s"));
    claims.push(typical(
        "kept shared memory at the largest size: no more than the consumer's pass",
        pass.and_then(|shares| Estimate::of(&shares)),
    ));
    let faults = points(Way::Fresh).iter().filter_map(|b| {
        let predicted = b.machine.gauge("touch_faults")?.value;
        Some(Case {
            name: size(b.bytes()),
            predicted: predicted.into(),
            measured: b.k.gauge("producer_faults"),
            tolerance: 0.02 * predicted + 3.0,
        })
    });
    claims.push(
        Claim::at_every(
            "a new segment each time: its producer takes a page fault for every page",
            Basis::Calibrated,
            faults.collect(),
        )
        .unit("page faults"),
    );
    let none = largest(Way::Kept).and_then(|b| {
        b.k.estimate(|t| Some(gauge(t, "producer_faults")? + gauge(t, "consumer_faults")?))
    });
    claims.push(
        Claim::at_most(
            "a kept segment: no page faults, at the largest size",
            Basis::Predicted,
            3.0,
            none,
        )
        .unit("page faults"),
    );
    let streams = || STREAMS.into_iter().flat_map(points).filter(|b| b.is_long());
    let bound = streams().flat_map(|b| b.shares(|m, _| b.at_once(m), "hand_over_s"));
    claims.push(
        Claim::at_least(
            "no stream is faster than the slower of its two sides, each making one of the two copies",
            Basis::Calibrated,
            1.0,
            Estimate::of(&bound.collect::<Vec<_>>()),
        )
        .unit("of theory's time"),
    );
    let pipes = [Way::Pipe, Way::Wide].into_iter().flat_map(points);
    let turns = pipes.filter(|b| b.is_long());
    let turns = turns.flat_map(|b| b.shares(|m, t| b.in_turn(m, t), "hand_over_s"));
    claims.push(typical(
        "in a pipe the two sides take turns: both copies one after another, and a hand-over's wake-ups for each time it is full",
        Estimate::of(&turns.collect::<Vec<_>>()),
    ));
    for (way, fit) in &fits {
        claims.push(
            Claim::at_least(
                format!(
                    "{}: the line latency + copies × size/bandwidth is at least as steep as one copy, the least that two sides at work at once must make",
                    way.name()
                ),
                Basis::Fitted,
                1.0,
                Some(fit.copies),
            )
            .unit("copies"),
        );
    }
    let ratio = |one: Option<Beside>, other: Option<Beside>, figure: &str| {
        one?.k.paired(&other?.k, |a, b| {
            Some(gauge(a, figure)? / gauge(b, figure)?)
        })
    };
    let piped = largest(Way::Pipe).filter(|b| b.is_all_bytes());
    let gain = ratio(piped, largest(Way::Kept), "hand_over_s");
    claims.push(
        Claim::at_least(
            "at the largest size kept shared memory is at least twice as fast as the pipe",
            Basis::Predicted,
            2.0,
            gain,
        )
        .unit("times"),
    );

    let time = |way: Way| cell(shown(way).and_then(|b| b.hand_over()), seconds);
    let slower = ratio(shown(Way::Fresh), shown(Way::Kept), "cycle_s");
    type Law = fn(&Beside, &Trial, &Trial) -> Option<f64>;
    let predicted = |way: Way, law: Law| {
        let of = |b: Beside| b.machine.paired(&b.k, |m, t| law(&b, m, t));
        shown(way).and_then(of).map_or(f64::NAN, |e| e.value)
    };
    let answer = |key, way: Way, law: Law| {
        let hand_over = shown(way).and_then(|b| b.hand_over());
        Answer::near(key, hand_over, predicted(way, law)).scaled(1e3)
    };
    let whole: Law = |b, m, _| b.whole(m);
    let answers = vec![
        answer("pipe", Way::Pipe, |b, m, t| b.in_turn(m, t)),
        answer("kept", Way::Kept, |b, m, t| b.theory(m, t, 0.0)),
        Answer::near(
            "fresh",
            slower,
            predicted(Way::Fresh, whole) / predicted(Way::Kept, whole),
        ),
    ];
    Findings {
        headline: format!(
            "{} to another process: {} through a pipe, {} in shared memory that is kept. A new segment each time takes {} as long as a kept one, writing included.",
            size(show),
            time(Way::Pipe),
            time(Way::Kept),
            cell(slower, |v| format!("{}×", number(v)))
        ),
        figures: vec![curve(&ways, &fits), bars(&ways, show)],
        tables: vec![
            shown_table(&ways, &fits, show),
            size_table(p, &ways),
            machine_table(p, summary),
        ],
        claims,
        answers,
    }
}

/// A law: what was measured is theory's time, within a quarter, typically over all sizes at which
/// bytes matter more than waking up.
fn typical(text: &str, share: Option<Estimate>) -> Claim {
    let claim = Claim::near(text, Basis::Calibrated, 1.0, share, CLOSE);
    claim.unit("of theory's time")
}

/// Theory's typical hand-over, for tables and charts.
fn predicted(b: &Beside, fits: &[(Way, Fit)]) -> Option<f64> {
    let fitted = fits.iter().find(|(way, _)| *way == b.way);
    let e = match (b.way.copies(), fitted) {
        (Some(copies), _) => b.machine.paired(&b.k, |m, t| b.theory(m, t, copies)),
        _ if b.way.wire() == Some(Wire::Pipe) => b.machine.paired(&b.k, |m, t| b.in_turn(m, t)),
        (None, Some((_, fit))) => b
            .machine
            .estimate(|m| Some(fit.latency + b.passes(m, fit.copies.value)?)),
        _ => None,
    };
    e.map(|e| e.value)
}

/// Time over size, with crossovers.
fn curve(ways: &[(Way, Vec<Beside>)], fits: &[(Way, Fit)]) -> Figure {
    let kb = |bytes: f64| bytes / 1024.0;
    let measured = |way: Way| -> Vec<(f64, f64)> {
        let at = ways.iter().filter(|w| w.0 == way).flat_map(|w| &w.1);
        at.filter_map(|b| Some((kb(b.bytes()), b.hand_over()?.value)))
            .collect()
    };
    let mut layers = Vec::new();
    for (way, at) in ways {
        let line = at
            .iter()
            .filter_map(|b| Some((kb(b.bytes()), predicted(b, fits)?)));
        layers.push(Layer::Line(Line::theory("", Colour::Muted, line.collect())));
        layers.push(Layer::Line(Line::measured(
            way.name(),
            way.colour(),
            measured(*way),
        )));
    }
    let crossings = [
        (
            Way::Kept,
            Way::Pipe,
            "shared memory ahead of the pipe",
            Colour::Vermilion,
        ),
        (
            Way::Kept,
            Way::Unix,
            "and of the Unix socket",
            Colour::Orange,
        ),
        (Way::Arc, Way::Clone, "Arc ahead of a clone", Colour::Ink),
    ];
    let marks: Vec<Mark> = crossings
        .into_iter()
        .filter_map(|(one, other, text, colour)| {
            let x = overtakes(&measured(one), &measured(other))?;
            Some(Mark {
                x,
                interval: None,
                label: format!("{text}: {}", about(x * 1024.0)),
                colour,
            })
        })
        .collect();
    let title = match overtakes(&measured(Way::Kept), &measured(Way::Pipe)) {
        Some(x) => format!(
            "From {} on shared memory beats a pipe: below it, waking the other side is all that counts",
            about(x * 1024.0)
        ),
        None => "What a hand-over takes, over the size of the payload".into(),
    };
    let sizes = ways.iter().flat_map(|w| &w.1).map(|b| kb(b.bytes()));
    let (least, most) = sizes.fold((f64::INFINITY, 0.0_f64), |(a, b), x| (a.min(x), b.max(x)));
    let ticks = (-3..8).map(|i| 10_f64.powi(i));
    let ticks = ticks.filter(|t| (least * 0.99..=most * 1.01).contains(t));
    Figure {
        id: "sizes".into(),
        title,
        subtitle: "Written and then handed over; the clock stops when the other side has read all and answered. Dashed: theory, for sockets fitted".into(),
        desc: "Time of a hand-over over the size of the payload, for each way, on two logarithmic axes: flat for small payloads, then proportional to the size; shared memory and Arc lowest.".into(),
        body: Body::Panels(Panels {
            x: Axis::log("payload in KB, log scale", Unit::Number).with_ticks(ticks.collect::<Vec<_>>()),
            panels: vec![Panel {
                title: "Time of a hand-over".into(),
                note: "written by one side, read by the other; log scale".into(),
                y: Axis::log("", Unit::Seconds),
                layers,
                height: 2.4,
            }],
            marks,
        }),
    }
}

/// A size to two digits: a crossing is no finer.
fn about(bytes: f64) -> String {
    let (value, unit) = match bytes {
        b if b >= 1048576.0 => (b / 1048576.0, "MB"),
        b if b >= 1024.0 => (b / 1024.0, "KB"),
        b => (b, "B"),
    };
    let digit = 10_f64.powf(value.max(1.0).log10().floor() - 1.0);
    format!("{} {unit}", number((value / digit).round() * digit))
}

/// Every way at one size.
fn bars(ways: &[(Way, Vec<Beside>)], show: f64) -> Figure {
    let at = || {
        ways.iter()
            .filter_map(|(_, at)| at.iter().find(|b| b.bytes() == show))
    };
    let group = |label: &str, note: &str, figure: &dyn Fn(&Beside) -> Option<Estimate>| BarGroup {
        label: label.into(),
        note: note.into(),
        bars: at()
            .filter_map(|b| {
                let e = figure(b)?;
                let bar = ValueBar::measured(b.way.name(), b.way.colour(), e.value);
                Some(bar.with_interval(e.ci95))
            })
            .collect(),
    };
    let cpu = |t: &Trial| {
        Some(gauge(t, "producer_cpu_s").filter(|s| *s > 0.0)? + gauge(t, "consumer_cpu_s")?)
    };
    let mut groups = vec![
        group("Hand-over", "until all is read", &|b| b.hand_over()),
        group(
            "Writing it and handing it over",
            "one after another",
            &|b| b.k.gauge("cycle_s"),
        ),
        group("Processor time for that", "both sides", &|b| {
            b.k.estimate(cpu)
        }),
    ];
    groups.retain(|g| !g.bars.is_empty());
    let whole = |way: Way| {
        let b = at().find(|b| b.way == way)?;
        b.k.gauge("cycle_s")
    };
    let title = match (whole(Way::Kept), whole(Way::Fresh), whole(Way::Pipe)) {
        (Some(kept), Some(fresh), Some(pipe)) => format!(
            "{} written and handed over: {} in shared memory that is kept, {} in a new segment, {} through a pipe",
            size(show),
            seconds(kept.value),
            seconds(fresh.value),
            seconds(pipe.value)
        ),
        _ => format!("What {} cost, by way", size(show)),
    };
    Figure {
        id: "bars".into(),
        title,
        subtitle: "A new segment is made, filled and given back for each payload: the system finds and clears every page".into(),
        desc: "Bars for each way of handing over: the time of the hand-over, the time with writing the payload, and the processor time of both sides.".into(),
        body: Body::Bars(Bars {
            x: Axis::linear("", Unit::Seconds),
            groups,
        }),
    }
}

fn shown_table(ways: &[(Way, Vec<Beside>)], fits: &[(Way, Fit)], show: f64) -> Table {
    let mut table = Table::new(
        &format!("{} by way", size(show)),
        &[
            "way",
            "hand-over",
            "theory",
            "GB/s",
            "with writing",
            "CPU, both sides",
            "processors busy",
            "system's copies",
            "page faults",
            "reads and writes",
        ],
    );
    for (way, at) in ways {
        let Some(b) = at.iter().find(|b| b.bytes() == show) else {
            continue;
        };
        let both = |what: &str| {
            b.k.estimate(|t| {
                Some(
                    gauge(t, &format!("producer_{what}"))? + gauge(t, &format!("consumer_{what}"))?,
                )
            })
        };
        let busy = both("cpu_s").zip(b.k.gauge("cycle_s"));
        table.row([
            way.name().into(),
            cell(b.hand_over(), seconds),
            predicted(b, fits).map_or("–".into(), seconds),
            cell(b.hand_over(), |s| number(show / s / 1e9)),
            cell(b.k.gauge("cycle_s"), seconds),
            cell(both("cpu_s").filter(|e| e.value > 0.0), seconds),
            busy.map_or("–".into(), |(cpu, wall)| number(cpu.value / wall.value)),
            number(way.kernel_copies()),
            cell(both("faults"), |v| format!("{v:.0}")),
            cell(both("calls"), |v| format!("{v:.0}")),
        ]);
    }
    let fits = fits.iter().map(|(way, fit)| {
        format!(
            "{}: {} and {} copies",
            way.name(),
            seconds(fit.latency),
            number(fit.copies.value)
        )
    });
    table.note = format!(
        "Fitted over all sizes: {}. A bare hand-over takes {}.",
        fits.collect::<Vec<_>>().join("; "),
        ways.iter()
            .filter_map(|(way, at)| Some(format!(
                "{} ({})",
                seconds(at.first()?.empty),
                way.name()
            )))
            .collect::<Vec<_>>()
            .join(", ")
    );
    table
}

fn size_table(p: &Params, ways: &[(Way, Vec<Beside>)]) -> Table {
    let known = || ways.iter().filter(|w| !w.1.is_empty());
    let mut columns = vec!["payload"];
    columns.extend(known().map(|w| w.0.name()));
    let mut table = Table::new("Time of a hand-over", &columns);
    for s in p.sizes() {
        let time = |at: &[Beside]| {
            let b = at.iter().find(|b| b.bytes() == s.f());
            cell(b.and_then(|b| b.hand_over()), seconds)
        };
        table.row(std::iter::once(size(s.f())).chain(known().map(|w| time(&w.1))));
    }
    table
}

fn machine_table(p: &Params, summary: &Summary) -> Table {
    let mut table = Table::new(
        "This machine: one pass over bytes that another thread has just written, GB/s",
        &[
            "bytes",
            "write",
            "read",
            "read, shared segment",
            "copy",
            "a new page",
            "through a pipe",
            "Unix socket",
            "TCP",
        ],
    );
    for s in p.sizes() {
        let Some(k) = summary.at("machine", s.f()) else {
            continue;
        };
        let rate = |t: f64| number(s.f() / t / 1e9);
        let speed = |name: &str| cell(k.gauge(name), rate);
        let through = |wire: Wire| {
            let both = k.estimate(|t| Some(gauge(t, wire.there())? + gauge(t, wire.back())?));
            cell(both, rate)
        };
        let page = k.estimate(|t| Some(gauge(t, "touch_s")? / gauge(t, "touch_faults")?));
        table.row([
            size(s.f()),
            speed("write_s"),
            speed("read_s"),
            speed("shared_s"),
            speed("copy_s"),
            cell(page, |v| format!("{:.2} µs", v * 1e6)),
            through(Wire::Pipe),
            through(Wire::Unix),
            through(Wire::Tcp),
        ]);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crossing_lies_where_the_curves_cross() {
        let flat: Vec<(f64, f64)> = [1.0, 10.0, 100.0, 1000.0].map(|x| (x, 10.0)).into();
        let steep: Vec<(f64, f64)> = flat.iter().map(|(x, _)| (*x, *x)).collect();
        let crossing = overtakes(&flat, &steep).unwrap();
        assert!((crossing - 10.0 / AHEAD).abs() < 1e-6, "{crossing}");
        assert_eq!(overtakes(&steep, &flat), None);
        assert_eq!(
            overtakes(
                &flat[1..],
                &[(10.0, 100.0), (100.0, 100.0), (1000.0, 100.0)]
            )
            .map(f64::round),
            Some(10.0)
        );
        assert_eq!(overtakes(&[], &flat), None);
    }

    #[test]
    fn sizes_to_two_digits() {
        for (bytes, text) in [
            (9_530.0, "9.3 KB"),
            (100.0, "100 B"),
            (12.0 * 1048576.0, "12 MB"),
        ] {
            assert_eq!(about(bytes), text);
        }
    }
}
