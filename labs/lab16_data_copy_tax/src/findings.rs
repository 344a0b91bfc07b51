//! Theory beside measurement for lab16.

use lab_kit::prelude::*;

use super::{
    Params,
    child::{FRAME, Wire},
    gauges::{self, CONSUMER, PRODUCER},
    ways::Way,
};

/// How close a copy, a page or a stream must be to what was measured of it beforehand, as a share.
const CLOSE: f64 = 0.15;
/// The same for what the consumer's own clock tells of the very hand-overs.
const OWN: f64 = 0.1;
/// Share of a bare hand-over by which another one's wake-ups may differ: whoever slept for longer
/// wakes more slowly.
const SLEEPY: f64 = 0.5;
/// Bytes that a pipe holds on Linux, unless it is made to hold more.
const PIPE: f64 = 65536.0;
/// Bytes of a page, nearly everywhere.
const PAGE: f64 = 4096.0;
/// Bytes that take longer to pass over than to wake somebody: some 50 µs, at 20 GB/s.
const LONG: f64 = 1_048_576.0;
/// Medians of many hand-overs, of which a stall holds up one: it explains its share of the window, not
/// its length.
const BYTES: Disturbed = Disturbed::Either(Resource::Memory);
/// What counts as ahead: a fifth less time, which no jitter of a wake-up explains.
const AHEAD: f64 = 0.8;
/// So many times as long as in kept shared memory the largest payload takes through a pipe, at the least.
const TWICE: f64 = 2.0;

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
    fn pass(self) -> Gauge {
        match self {
            Way::Kept | Way::Copied | Way::Fresh => gauges::SHARED_S,
            _ => gauges::READ_S,
        }
    }

    /// How often each byte is passed over: once by the consumer, and twice for each copy.
    fn passes(self) -> f64 {
        match self {
            Way::Arc | Way::Kept => 1.0,
            Way::Clone | Way::Copied | Way::Fresh => 3.0,
            Way::Pipe | Way::Wide | Way::Unix | Way::Tcp => 5.0,
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

    /// Bytes that go in and come out for each byte of the payload.
    fn in_and_out(self) -> f64 {
        self.wire().map_or(0.0, |_| 2.0)
    }
}

fn size(x: f64) -> String {
    let text = Size::bytes(x as u64).to_string();
    let unit = text.find(|c: char| c.is_ascii_alphabetic());
    let (value, unit) = text.split_at(unit.unwrap_or(text.len()));
    format!("{value} {unit}")
}

/// One way at one size, beside what was measured of this machine at that size.
#[derive(Clone, Copy)]
struct Beside<'a> {
    way: Way,
    k: Condition<'a>,
    machine: Condition<'a>,
    /// Seconds of a hand-over of next to nothing.
    empty: Given,
    /// Bytes that its pipe holds, if it goes through one whose size is known.
    holds: Option<f64>,
}

impl<'a> Beside<'a> {
    fn at(p: &Params, summary: &Summary<'a>, way: Way, x: f64) -> Option<Beside<'a>> {
        // The median: in which company a trial was woken is not always the same.
        let empty = summary.only(&way.empty())?;
        let linux = summary.host().system.starts_with("linux");
        Some(Beside {
            way,
            k: summary.at(way.series(), x)?,
            machine: summary.at("machine", x)?,
            empty: empty.typical_gauge(gauges::HAND_OVER_S)?,
            holds: match way {
                Way::Pipe if linux => Some(PIPE),
                // The system rounds up to a power of two.
                Way::Wide if linux => {
                    Some((p.pipe.b().max(1).next_power_of_two() as f64).max(PAGE))
                }
                _ => None,
            },
        })
    }

    fn bytes(&self) -> f64 {
        self.k.x()
    }

    fn hand_over(&self) -> Option<Estimate> {
        self.k.gauge(gauges::HAND_OVER_S)
    }

    /// A figure of the machine, measured at this size beforehand.
    fn known(&self, name: Gauge) -> Option<Given> {
        self.machine.typical_gauge(name)
    }

    /// Seconds that its consumer took to pass over what was handed to it.
    fn own_pass(&self) -> Option<Given> {
        self.k.gauge(gauges::READ_S).map(Given::from)
    }

    /// Seconds to make the pages of a clone that the allocator had to ask for.
    fn pages(&self) -> Given {
        let faults = self
            .k
            .gauge(gauges::FAULTS.of(PRODUCER))
            .filter(|f| f.value >= 1.0);
        let page = self
            .known(gauges::TOUCH_S)
            .zip(self.known(gauges::TOUCH_FAULTS));
        match (self.way, faults, page) {
            (Way::Clone, Some(faults), Some((touch, pages))) if pages.value > 0.0 => {
                Given::from(faults) * touch / pages
            }
            _ => 0.0.into(),
        }
    }

    /// What a hand-over takes beside the consumer's pass where there is a copy.
    fn beside_the_pass(&self) -> Option<Given> {
        let copy = self.empty + self.known(gauges::COPY_S)?;
        Some(match self.way {
            Way::Clone => copy + self.pages(),
            _ => copy,
        })
    }

    /// Theory's hand-over, where it has one.
    fn law(&self) -> Option<Given> {
        match self.way {
            Way::Arc | Way::Kept => Some(self.empty + self.own_pass()?),
            Way::Clone | Way::Copied => Some(self.beside_the_pass()? + self.own_pass()?),
            Way::Pipe | Way::Wide => self.in_turn(),
            Way::Unix | Way::Tcp | Way::Fresh => None,
        }
    }

    /// The whole, beginning with the first byte the producer writes, of a way with a segment: for a
    /// new one its pages as well, on both sides.
    fn whole(&self) -> Option<Given> {
        let one = self.empty + self.known(gauges::WRITE_S)? + self.known(gauges::SHARED_S)?;
        match self.way {
            Way::Fresh => Some(one + self.known(gauges::TOUCH_S)? + self.known(gauges::MAP_S)?),
            _ => Some(one),
        }
    }

    /// Where bytes matter more than waking up, so that their law can be seen: by their size alone, or a
    /// condition that is slow for another reason would be no case.
    fn is_long(&self) -> bool {
        self.way.passes() * self.bytes() >= LONG
    }

    /// Where waking up is no tenth of it.
    fn is_all_bytes(&self) -> bool {
        self.way.passes() * self.bytes() >= 10.0 * LONG
    }

    /// How often the consumer of a pipe reads: once for each filling, the frame before it included.
    fn fillings(&self) -> Option<f64> {
        let holds = self.holds?;
        Some(((self.bytes() + FRAME as f64) / holds).ceil())
    }

    /// Seconds that the system takes to copy a stream's bytes in, and out.
    fn sides(&self) -> Option<(Given, Given)> {
        let wire = self.way.wire()?;
        Some((self.known(wire.there())?, self.known(wire.back())?))
    }

    /// A pipe, whose two sides take turns: the system's copies one after another, and a meeting for
    /// each filling.
    fn in_turn(&self) -> Option<Given> {
        let (there, back) = self.sides()?;
        let reads = match self.fillings() {
            Some(fillings) => Given::from(fillings),
            None => self.k.gauge(gauges::CALLS.of(CONSUMER))?.into(),
        };
        Some(reads * self.known(gauges::MEETING_S)? + there + back + self.known(self.way.pass())?)
    }

    /// A socket: at the least the slower of its two sides, each making its own copy while the other
    /// does, and at the most both, one after another.
    fn ends(&self) -> Option<(Given, Given)> {
        let socket = matches!(self.way, Way::Unix | Way::Tcp);
        let (there, back) = self.sides().filter(|_| socket)?;
        let rest = self.empty + self.known(self.way.pass())?;
        Some((rest + there.with(back, f64::max), rest + there + back))
    }
}

/// All ways at all sizes.
struct View<'a> {
    ways: Vec<(Way, Vec<Beside<'a>>)>,
    show: f64,
}

impl<'a> View<'a> {
    fn of(p: &Params, summary: &Summary<'a>) -> View<'a> {
        let at = |way: Way| {
            let sizes = p.sizes().into_iter();
            sizes
                .filter_map(|s| Beside::at(p, summary, way, s.f()))
                .collect()
        };
        View {
            ways: Way::ALL.into_iter().map(|way| (way, at(way))).collect(),
            show: p.show().f(),
        }
    }

    fn all(&self) -> impl Iterator<Item = &Beside<'a>> {
        self.ways.iter().flat_map(|(_, at)| at)
    }

    fn points(&self, way: Way) -> impl Iterator<Item = &Beside<'a>> {
        self.all().filter(move |b| b.way == way)
    }

    /// Those at which bytes matter more than waking up.
    fn long(&self, way: Way) -> impl Iterator<Item = &Beside<'a>> {
        self.points(way).filter(|b| b.is_long())
    }

    fn shown(&self, way: Way) -> Option<Beside<'a>> {
        self.points(way).find(|b| b.bytes() == self.show).copied()
    }

    fn largest(&self, way: Way) -> Option<Beside<'a>> {
        self.points(way).last().copied()
    }
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
    let view = &View::of(p, summary);
    let mut claims = counts(view);
    claims.extend(in_memory(view));
    claims.extend(through_the_system(view));
    let time = |way: Way| cell(view.shown(way).and_then(|b| b.hand_over()), seconds);
    let slower = ratio(
        view.shown(Way::Fresh),
        view.shown(Way::Kept),
        gauges::CYCLE_S,
    );
    Findings {
        headline: format!(
            "{} to another process: {} through a pipe, {} in shared memory that is kept. A new segment each time takes {} as long as a kept one, writing included.",
            size(view.show),
            time(Way::Pipe),
            time(Way::Kept),
            cell(slower, |v| format!("{}×", number(v)))
        ),
        figures: vec![curve(view), bars(view)],
        tables: vec![
            shown_table(view),
            size_table(p, view),
            machine_table(p, summary),
        ],
        claims,
        answers: answers(view, slower),
    }
}

/// One way's figure over another's, of the same rounds.
fn ratio(one: Option<Beside>, other: Option<Beside>, figure: Gauge) -> Option<Estimate> {
    one?.k
        .paired(&other?.k, |a, b| Some(a.gauge(figure)? / b.gauge(figure)?))
}

/// What theory says of the way at the size of the bars, NaN where it says nothing.
fn answers(view: &View, slower: Option<Estimate>) -> Vec<Answer> {
    let theory = |b: Option<Beside>, law: fn(&Beside) -> Option<Given>| {
        b.and_then(|b| law(&b))
            .map_or(f64::NAN, |given| given.value)
    };
    let answer = |key, way: Way| {
        let b = view.shown(way);
        let hand_over = b.and_then(|b| b.hand_over());
        Answer::near(key, hand_over, theory(b, |b| b.law())).scaled(1e3)
    };
    let whole = |way: Way| theory(view.shown(way), |b| b.whole());
    vec![
        answer("pipe", Way::Pipe),
        answer("kept", Way::Kept),
        Answer::near("fresh", slower, whole(Way::Fresh) / whole(Way::Kept)),
    ]
}

/// Claims of counts: nothing disturbs these.
fn counts(view: &View) -> Vec<Claim> {
    let named = |b: &Beside| format!("{}, {}", b.way.name(), size(b.bytes()));
    let wrong = view.all().map(|b| {
        let wrong = b.k.total(|t| Some(t.failed as f64));
        Case::exact(named(b), 0.0, wrong)
    });
    let copied = view.all().map(|b| {
        let copied = |t: &Trial| Some(gauges::both(t, gauges::COPIED_BYTES)? / b.bytes());
        Case::exact(named(b), b.way.in_and_out(), b.k.every(copied))
    });
    let pipes = [Way::Pipe, Way::Wide].into_iter();
    let readings = pipes.flat_map(|way| view.points(way)).filter_map(|b| {
        let fillings = b.fillings()?;
        let measured = b.k.gauge(gauges::CALLS.of(CONSUMER));
        Some(Case::new(
            named(b),
            fillings,
            measured,
            0.05 * fillings + 0.3,
        ))
    });
    let faults = view.points(Way::Fresh).filter_map(|b| {
        let predicted = b.known(gauges::TOUCH_FAULTS)?;
        let tolerance = 0.02 * predicted.value + 0.3;
        let measured = b.k.gauge(gauges::FAULTS.of(PRODUCER));
        Some(Case::new(size(b.bytes()), predicted, measured, tolerance))
    });
    let large = view.points(Way::Kept).filter(|b| b.bytes() >= 256.0 * PAGE);
    let none = large.map(|b| {
        let both = |t: &Trial| gauges::both(t, gauges::FAULTS);
        let pages = b.bytes() / PAGE;
        Case::new(size(b.bytes()), 0.0, b.k.estimate(both), 0.01 * pages)
    });
    vec![
        Law::counted(
            "every payload arrives whole, in order and up to date: its checksum is right",
            "wrong checksums",
        )
        .near(wrong),
        Law::counted(
            "every byte goes into a stream once and comes out once; in shared memory and to a thread none goes through the system",
            "bytes in and out, a byte",
        )
        .books()
        .near(copied),
        Law::counted(
            "the consumer of a pipe has to read once for each filling of the pipe",
            "readings",
        )
        .within("5 %, and less than half a reading: a consumer that comes early finds a pipe half full")
        .near(readings),
        Law::counted(
            "a new segment each time: its producer takes a page fault for every page",
            "page faults",
        )
        .within("2 %, and less than half a fault: the program's own memory is touched as well")
        .near(faults),
        Law::counted("a kept segment: no page faults", "page faults")
            .within("1 % of its pages: the program's own memory is touched as well")
            .near(none),
    ]
}

/// Claims of what stays in memory that both sides see, or is copied by them.
fn in_memory(view: &View) -> Vec<Claim> {
    // Each trial beside its own pass: what makes a round slow makes both slow.
    let passed = |way: Way| {
        view.long(way).filter_map(|b| {
            let law = b.law()?;
            let parts = |t: &Trial| {
                let parts = b.empty.value + t.gauge(gauges::READ_S)?;
                Some(t.gauge(gauges::HAND_OVER_S)? / parts)
            };
            let one = Given::new(1.0, law.origin());
            let tolerance = OWN + SLEEPY * b.empty.value / law.value;
            Some(Case::new(
                size(b.bytes()),
                one,
                b.k.estimate(parts),
                tolerance,
            ))
        })
    };
    let copied = |way: Way| {
        view.long(way).filter_map(|b| {
            let rest = b.beside_the_pass()?;
            let tolerance = CLOSE * (rest.value - b.empty.value) + SLEEPY * b.empty.value;
            let beside = |t: &Trial| Some(t.gauge(gauges::HAND_OVER_S)? - t.gauge(gauges::READ_S)?);
            let measured = b.k.estimate(beside);
            Some(Case::new(size(b.bytes()), rest, measured, tolerance).scaled(1e3))
        })
    };
    let border = view.long(Way::Kept).filter_map(|b| {
        let mut arcs = view.points(Way::Arc);
        let arc = *arcs.find(|a| a.bytes() == b.bytes())?;
        let tolerance = CLOSE + SLEEPY * b.empty.value / arc.hand_over()?.value;
        let as_long = ratio(Some(*b), Some(arc), gauges::HAND_OVER_S);
        Some(Case::new(size(b.bytes()), 1.0, as_long, tolerance))
    });
    let new = view.long(Way::Fresh).filter_map(|b| {
        let whole = b.whole()?;
        Some(Case::share(size(b.bytes()), whole, b.k.gauge(gauges::CYCLE_S), CLOSE).scaled(1e3))
    });
    const TENTH: &str = "10 % for two clocks, and half a bare hand-over: whoever slept for longer wakes more slowly";
    const COPY: &str = "15 % of a copy that was measured between other buffers, and half a bare hand-over: whoever slept for longer wakes more slowly";
    let law = |text: &str| Law::new(text, "ms", BYTES);
    let times = |text: &str| Law::new(text, "times as long", BYTES);
    vec![
        times("to a thread by Arc: as long as a wake-up and the consumer's own pass, and nothing else")
            .within(TENTH)
            .near(passed(Way::Arc)),
        times("to a process in kept shared memory: as long as a wake-up and the consumer's own pass, and nothing else")
            .within(TENTH)
            .near(passed(Way::Kept)),
        times("the border between processes costs nothing a byte: kept shared memory takes as long as an Arc")
            .within("15 % of an Arc's, whose bytes lie on other pages, and half a bare hand-over")
            .near(border),
        law("to a process, copied into shared memory: beside the consumer's pass, a wake-up and one copy")
            .within(COPY)
            .near(copied(Way::Copied)),
        law("to a thread by clone: beside the consumer's pass, a wake-up, one copy, and the clone's new pages")
            .within(COPY)
            .near(copied(Way::Clone)),
        law("a new segment each time costs the making of its pages on top of both passes, on both sides")
            .within("15 %: pages are made one at a time beforehand, and passed over afterwards")
            .near(new),
    ]
}

/// Claims of what goes through the system's buffers.
fn through_the_system(view: &View) -> Vec<Claim> {
    let turns = |way: Way| {
        view.long(way).map(|b| {
            // A record without its meetings says nothing of pipes.
            let known = b.in_turn();
            let (law, measured) = match known {
                Some(law) => (law, b.hand_over()),
                None => (Given::new(f64::NAN, b.machine.origin()), None),
            };
            Case::share(size(b.bytes()), law, measured, CLOSE).scaled(1e3)
        })
    };
    let sockets = [Way::Unix, Way::Tcp].map(|way| {
        let cases = view.long(way).filter_map(|b| {
            let (least, most) = b.ends()?;
            let middle = (least + most) * 0.5;
            let tolerance = (most.value - least.value) / 2.0 + OWN * middle.value;
            Some(Case::new(size(b.bytes()), middle, b.hand_over(), tolerance).scaled(1e3))
        });
        let text = format!(
            "{}: between the slower of its two sides and both, one after another",
            way.name()
        );
        Law::new(text, "ms", BYTES)
            .within("the two ends, and 10 % beyond: the system's copies are measured in pieces of 32 KB")
            .near(cases)
    });
    let piped = view.largest(Way::Pipe).filter(|b| b.is_all_bytes());
    let gain = piped.map(|b| {
        let gain = ratio(Some(b), view.largest(Way::Kept), gauges::HAND_OVER_S);
        Case::exact(size(b.bytes()), TWICE, gain)
    });
    const PIECES: &str = "15 %: the system's copies are measured in pieces of 32 KB";
    let turn = |text: &str, way: Way| Law::new(text, "ms", BYTES).within(PIECES).near(turns(way));
    let mut claims = vec![
        turn(
            "in a pipe the two sides take turns: both copies one after another, and a meeting for each filling",
            Way::Pipe,
        ),
        turn(
            "in a wide pipe as well: the same copies, fewer meetings",
            Way::Wide,
        ),
    ];
    claims.extend(sockets);
    claims.push(
        Law::new(
            "at the largest size kept shared memory is at least twice as fast as the pipe",
            "times",
            Disturbed::Either(Resource::Memory),
        )
        .goal()
        .at_least(gain),
    );
    claims
}

/// Time over size, with crossovers.
fn curve(view: &View) -> Figure {
    let kb = |bytes: f64| bytes / 1024.0;
    let measured = |way: Way| -> Vec<(f64, f64)> {
        let at = view.points(way);
        at.filter_map(|b| Some((kb(b.bytes()), b.hand_over()?.value)))
            .collect()
    };
    let mut layers = Vec::new();
    for (way, at) in &view.ways {
        let line = at
            .iter()
            .filter_map(|b| Some((kb(b.bytes()), b.law()?.value)));
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
    let sizes = view.all().map(|b| kb(b.bytes()));
    let (least, most) = sizes.fold((f64::INFINITY, 0.0_f64), |(a, b), x| (a.min(x), b.max(x)));
    let ticks = (-3..8).map(|i| 10_f64.powi(i));
    let ticks = ticks.filter(|t| (least * 0.99..=most * 1.01).contains(t));
    Figure {
        id: "sizes".into(),
        title,
        subtitle: "Written and then handed over; the clock stops when the other side has read all and answered. Dashed: theory, where it is one number".into(),
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
fn bars(view: &View) -> Figure {
    let show = view.show;
    let at = || view.all().filter(|b| b.bytes() == show);
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
        Some(
            t.gauge(gauges::CPU_S.of(PRODUCER)).filter(|s| *s > 0.0)?
                + t.gauge(gauges::CPU_S.of(CONSUMER))?,
        )
    };
    let mut groups = vec![
        group("Hand-over", "until all is read", &|b| b.hand_over()),
        group(
            "Writing it and handing it over",
            "one after another",
            &|b| b.k.gauge(gauges::CYCLE_S),
        ),
        group("Processor time for that", "both sides", &|b| {
            b.k.estimate(cpu)
        }),
    ];
    groups.retain(|g| !g.bars.is_empty());
    let whole = |way: Way| {
        let b = at().find(|b| b.way == way)?;
        b.k.gauge(gauges::CYCLE_S)
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

fn shown_table(view: &View) -> Table {
    let show = view.show;
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
            "in and out, a byte",
            "page faults",
            "reads and writes",
        ],
    );
    for b in view.all().filter(|b| b.bytes() == show) {
        let both = |what: Gauge| b.k.estimate(|t| gauges::both(t, what));
        let busy = both(gauges::CPU_S).zip(b.k.gauge(gauges::CYCLE_S));
        table.row([
            b.way.name().into(),
            cell(b.hand_over(), seconds),
            theory(b),
            cell(b.hand_over(), |s| number(show / s / 1e9)),
            cell(b.k.gauge(gauges::CYCLE_S), seconds),
            cell(both(gauges::CPU_S).filter(|e| e.value > 0.0), seconds),
            busy.map_or("–".into(), |(cpu, wall)| number(cpu.value / wall.value)),
            number(b.way.in_and_out()),
            cell(both(gauges::FAULTS), |v| format!("{v:.0}")),
            cell(both(gauges::CALLS), |v| format!("{v:.0}")),
        ]);
    }
    let bare = view.ways.iter().filter_map(|(way, at)| {
        let empty = at.first()?.empty.value;
        Some(format!("{} ({})", seconds(empty), way.name()))
    });
    table.note = format!(
        "Theory of a socket: between the slower of its two sides and both, one after another. A bare hand-over takes {}.",
        bare.collect::<Vec<_>>().join(", ")
    );
    table
}

/// Theory's hand-over, in words.
fn theory(b: &Beside) -> String {
    match (b.law(), b.ends()) {
        (Some(law), _) => seconds(law.value),
        (None, Some((least, most))) => {
            format!("{} to {}", seconds(least.value), seconds(most.value))
        }
        _ => "–".into(),
    }
}

fn size_table(p: &Params, view: &View) -> Table {
    let known = || view.ways.iter().filter(|w| !w.1.is_empty());
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
            "a meeting",
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
        let speed = |name: Gauge| cell(k.gauge(name), rate);
        let through = |wire: Wire| {
            let both = k.estimate(|t| Some(t.gauge(wire.there())? + t.gauge(wire.back())?));
            cell(both, rate)
        };
        let page = k.estimate(|t| Some(t.gauge(gauges::TOUCH_S)? / t.gauge(gauges::TOUCH_FAULTS)?));
        table.row([
            size(s.f()),
            speed(gauges::WRITE_S),
            speed(gauges::READ_S),
            speed(gauges::SHARED_S),
            speed(gauges::COPY_S),
            cell(page, |v| format!("{:.2} µs", v * 1e6)),
            cell(k.gauge(gauges::MEETING_S), seconds),
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
