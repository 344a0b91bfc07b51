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

    /// Bytes that its pipe holds on Linux.
    fn holds(self, p: &Params) -> Option<f64> {
        match self {
            Way::Pipe => Some(PIPE),
            // The system rounds up to a power of two.
            Way::Wide => Some((p.pipe.b().max(1).next_power_of_two() as f64).max(PAGE)),
            _ => None,
        }
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
            holds: way.holds(p).filter(|_| linux),
        })
    }

    fn bytes(&self) -> f64 {
        self.k.x()
    }

    fn kb(&self) -> f64 {
        self.bytes() / 1024.0
    }

    fn hand_over(&self) -> Option<Estimate> {
        self.k.gauge(gauges::HAND_OVER_S)
    }

    /// Writing it as well.
    fn cycle(&self) -> Option<Estimate> {
        self.k.gauge(gauges::CYCLE_S)
    }

    /// A figure of both sides together.
    fn both(&self, gauge: Gauge) -> Option<Estimate> {
        self.k.estimate(|t| gauges::both(t, gauge))
    }

    /// Processor time of both sides, where the system tells it.
    fn cpu(&self) -> Option<Estimate> {
        self.k.estimate(|t| {
            t.gauge(gauges::CPU_S.of(PRODUCER)).filter(|s| *s > 0.0)?;
            gauges::both(t, gauges::CPU_S)
        })
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
    fn pages(&self) -> Option<Given> {
        let asked_for = self.k.gauge(gauges::FAULTS.of(PRODUCER));
        let asked_for = asked_for.filter(|faults| faults.value >= 1.0)?;
        let touch = self.known(gauges::TOUCH_S)?;
        let pages = self.known(gauges::TOUCH_FAULTS)?;
        (pages.value > 0.0).then(|| Given::from(asked_for) * touch / pages)
    }

    /// What a hand-over takes beside the consumer's pass where there is a copy.
    fn beside_the_pass(&self) -> Option<Given> {
        let copy = self.empty + self.known(gauges::COPY_S)?;
        Some(match self.way {
            Way::Clone => copy + self.pages().unwrap_or(0.0.into()),
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

    /// Theory's hand-over, in words.
    fn in_words(&self) -> String {
        match (self.law(), self.ends()) {
            (Some(law), _) => seconds(law.value),
            (None, Some((least, most))) => {
                format!("{} to {}", seconds(least.value), seconds(most.value))
            }
            _ => "–".into(),
        }
    }
}

/// What is held against theory in claims.
impl Beside<'_> {
    fn size(&self) -> String {
        size(self.bytes())
    }

    fn named(&self) -> String {
        format!("{}, {}", self.way.name(), self.size())
    }

    fn wrong(&self) -> Case {
        let wrong = self.k.total(|t| Some(t.failed as f64));
        Case::exact(self.named(), 0.0, wrong)
    }

    fn through_the_system(&self) -> Case {
        let copied = |t: &Trial| Some(gauges::both(t, gauges::COPIED_BYTES)? / self.bytes());
        Case::exact(self.named(), self.way.in_and_out(), self.k.every(copied))
    }

    fn readings(&self) -> Option<Case> {
        let fillings = self.fillings()?;
        let readings = self.k.gauge(gauges::CALLS.of(CONSUMER));
        let tolerance = 0.05 * fillings + 0.3;
        Some(Case::new(self.named(), fillings, readings, tolerance))
    }

    fn new_pages(&self) -> Option<Case> {
        let pages = self.known(gauges::TOUCH_FAULTS)?;
        let faults = self.k.gauge(gauges::FAULTS.of(PRODUCER));
        let tolerance = 0.02 * pages.value + 0.3;
        Some(Case::new(self.size(), pages, faults, tolerance))
    }

    fn no_pages(&self) -> Case {
        let pages = self.bytes() / PAGE;
        Case::new(self.size(), 0.0, self.both(gauges::FAULTS), 0.01 * pages)
    }

    /// Each trial beside its own pass: what makes a round slow makes both slow.
    fn as_long_as_a_pass(&self) -> Option<Case> {
        let law = self.law()?;
        let as_long = self.k.estimate(|t| {
            let parts = self.empty.value + t.gauge(gauges::READ_S)?;
            Some(t.gauge(gauges::HAND_OVER_S)? / parts)
        });
        let one = Given::new(1.0, law.origin());
        let tolerance = OWN + SLEEPY * self.empty.value / law.value;
        Some(Case::new(self.size(), one, as_long, tolerance))
    }

    fn copied(&self) -> Option<Case> {
        let rest = self.beside_the_pass()?;
        let beside = |t: &Trial| Some(t.gauge(gauges::HAND_OVER_S)? - t.gauge(gauges::READ_S)?);
        let measured = self.k.estimate(beside);
        let tolerance = CLOSE * (rest.value - self.empty.value) + SLEEPY * self.empty.value;
        Some(Case::new(self.size(), rest, measured, tolerance).scaled(1e3))
    }

    /// Kept shared memory over an `Arc`.
    fn border(&self, arc: &Beside) -> Option<Case> {
        let as_long = self.k.ratio(&arc.k, gauges::HAND_OVER_S);
        let tolerance = CLOSE + SLEEPY * self.empty.value / arc.hand_over()?.value;
        Some(Case::new(self.size(), 1.0, as_long, tolerance))
    }

    fn with_new_pages(&self) -> Option<Case> {
        Some(Case::share(self.size(), self.whole()?, self.cycle(), CLOSE).scaled(1e3))
    }

    fn by_turns(&self) -> Case {
        // A record without its meetings says nothing of pipes.
        let (law, measured) = match self.in_turn() {
            Some(law) => (law, self.hand_over()),
            None => (Given::new(f64::NAN, self.machine.origin()), None),
        };
        Case::share(self.size(), law, measured, CLOSE).scaled(1e3)
    }

    fn between_the_ends(&self) -> Option<Case> {
        let (least, most) = self.ends()?;
        let middle = (least + most) * 0.5;
        let tolerance = (most.value - least.value) / 2.0 + OWN * middle.value;
        Some(Case::new(self.size(), middle, self.hand_over(), tolerance).scaled(1e3))
    }
}

/// All ways at all sizes.
struct View<'a> {
    p: &'a Params,
    summary: &'a Summary<'a>,
    ways: [(Way, Vec<Beside<'a>>); 9],
    /// Bytes of the bars and of the headline.
    show: f64,
}

impl<'a> View<'a> {
    fn of(p: &'a Params, summary: &'a Summary<'a>) -> View<'a> {
        let at = |way: Way| {
            let sizes = p.sizes().into_iter();
            let beside = sizes.filter_map(|s| Beside::at(p, summary, way, s.f()));
            beside.collect()
        };
        View { p, summary, ways: Way::ALL.map(|way| (way, at(way))), show: p.show().f() }
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

    /// Every way at the size of the bars.
    fn shown(&self) -> impl Iterator<Item = &Beside<'a>> {
        self.all().filter(|b| b.bytes() == self.show)
    }

    fn shown_of(&self, way: Way) -> Option<&Beside<'a>> {
        self.shown().find(|b| b.way == way)
    }

    /// How many times as long as in a kept segment it takes in a new one, writing included.
    fn slower(&self) -> Option<Estimate> {
        let (fresh, kept) = (self.shown_of(Way::Fresh)?, self.shown_of(Way::Kept)?);
        fresh.k.ratio(&kept.k, gauges::CYCLE_S)
    }

    /// Hand-overs over the size in KB.
    fn times(&self, way: Way) -> Vec<(f64, f64)> {
        let at = self.points(way);
        at.filter_map(|b| Some((b.kb(), b.hand_over()?.value))).collect()
    }

    fn overtakes(&self, one: Way, other: Way) -> Option<f64> {
        overtakes(&self.times(one), &self.times(other))
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
    let view = View::of(p, summary);
    Findings {
        headline: view.headline(),
        figures: vec![view.curve(), view.bars()],
        tables: vec![view.shown_table(), view.size_table(), view.machine_table()],
        claims: [view.counts(), view.in_memory(), view.through_the_system()].concat(),
        answers: view.answers(),
    }
}

/// The claims and the answers.
impl View<'_> {
    /// Claims of counts: nothing disturbs these.
    fn counts(&self) -> Vec<Claim> {
        let pipes = [Way::Pipe, Way::Wide].into_iter();
        let pipes = pipes.flat_map(|way| self.points(way));
        let large = self.points(Way::Kept);
        let large = large.filter(|b| b.bytes() >= 256.0 * PAGE);
        vec![
            Law::counted("every payload arrives whole, in order and up to date: its checksum is right", "wrong checksums")
                .near(self.all().map(Beside::wrong)),
            Law::counted("every byte goes into a stream once and comes out once; in shared memory and to a thread none goes through the system", "bytes in and out, a byte")
                .books()
                .near(self.all().map(Beside::through_the_system)),
            Law::counted("the consumer of a pipe has to read once for each filling of the pipe", "readings")
                .within("5 %, and less than half a reading: a consumer that comes early finds a pipe half full")
                .near(pipes.filter_map(Beside::readings)),
            Law::counted("a new segment each time: its producer takes a page fault for every page", "page faults")
                .within("2 %, and less than half a fault: the program's own memory is touched as well")
                .near(self.points(Way::Fresh).filter_map(Beside::new_pages)),
            Law::counted("a kept segment: no page faults", "page faults")
                .within("1 % of its pages: the program's own memory is touched as well")
                .near(large.map(Beside::no_pages)),
        ]
    }

    /// Claims of what stays in memory that both sides see, or is copied by them.
    fn in_memory(&self) -> Vec<Claim> {
        const TENTH: &str = "10 % for two clocks, and half a bare hand-over: whoever slept for longer wakes more slowly";
        const COPY: &str = "15 % of a copy that was measured between other buffers, and half a bare hand-over: whoever slept for longer wakes more slowly";
        let law = |text: &str| Law::new(text, "ms", BYTES);
        let times = |text: &str| Law::new(text, "times as long", BYTES);
        let border = self.long(Way::Kept).filter_map(|kept| {
            let mut arcs = self.points(Way::Arc);
            kept.border(arcs.find(|arc| arc.bytes() == kept.bytes())?)
        });
        vec![
            times("to a thread by Arc: as long as a wake-up and the consumer's own pass, and nothing else")
                .within(TENTH)
                .near(self.long(Way::Arc).filter_map(Beside::as_long_as_a_pass)),
            times("to a process in kept shared memory: as long as a wake-up and the consumer's own pass, and nothing else")
                .within(TENTH)
                .near(self.long(Way::Kept).filter_map(Beside::as_long_as_a_pass)),
            times("the border between processes costs nothing a byte: kept shared memory takes as long as an Arc")
                .within("15 % of an Arc's, whose bytes lie on other pages, and half a bare hand-over")
                .near(border),
            law("to a process, copied into shared memory: beside the consumer's pass, a wake-up and one copy")
                .within(COPY)
                .near(self.long(Way::Copied).filter_map(Beside::copied)),
            law("to a thread by clone: beside the consumer's pass, a wake-up, one copy, and the clone's new pages")
                .within(COPY)
                .near(self.long(Way::Clone).filter_map(Beside::copied)),
            law("a new segment each time costs the making of its pages on top of both passes, on both sides")
                .within("15 %: pages are made one at a time beforehand, and passed over afterwards")
                .near(self.long(Way::Fresh).filter_map(Beside::with_new_pages)),
        ]
    }

    /// Claims of what goes through the system's buffers.
    fn through_the_system(&self) -> Vec<Claim> {
        const PIECES: &str = "15 %: the system's copies are measured in pieces of 32 KB";
        let law = |text: &str| Law::new(text, "ms", BYTES);
        let socket = |way: Way| {
            let text = "between the slower of its two sides and both, one after another";
            law(&format!("{}: {text}", way.name()))
                .within("the two ends, and 10 % beyond: the system's copies are measured in pieces of 32 KB")
                .near(self.long(way).filter_map(Beside::between_the_ends))
        };
        let (largest, kept) = (self.points(Way::Pipe).last(), self.points(Way::Kept).last());
        let gain = largest.filter(|b| b.is_all_bytes()).map(|b| {
            let gain = kept.and_then(|kept| b.k.ratio(&kept.k, gauges::HAND_OVER_S));
            Case::exact(b.size(), TWICE, gain)
        });
        vec![
            law("in a pipe the two sides take turns: both copies one after another, and a meeting for each filling")
                .within(PIECES)
                .near(self.long(Way::Pipe).map(Beside::by_turns)),
            law("in a wide pipe as well: the same copies, fewer meetings")
                .within(PIECES)
                .near(self.long(Way::Wide).map(Beside::by_turns)),
            socket(Way::Unix),
            socket(Way::Tcp),
            Law::new("at the largest size kept shared memory is at least twice as fast as the pipe", "times", BYTES)
                .goal()
                .at_least(gain),
        ]
    }

    fn answers(&self) -> Vec<Answer> {
        let value = |given: Option<Given>| given.map_or(f64::NAN, |given| given.value);
        let hand_over = |key, way: Way| {
            let b = self.shown_of(way);
            let theory = value(b.and_then(Beside::law));
            Answer::near(key, b.and_then(Beside::hand_over), theory).scaled(1e3)
        };
        let whole = |way: Way| value(self.shown_of(way).and_then(Beside::whole));
        let slower = whole(Way::Fresh) / whole(Way::Kept);
        vec![
            hand_over("pipe", Way::Pipe),
            hand_over("kept", Way::Kept),
            Answer::near("fresh", self.slower(), slower),
        ]
    }
}

/// The charts.
impl View<'_> {
    fn headline(&self) -> String {
        let time = |way: Way| {
            let hand_over = self.shown_of(way).and_then(Beside::hand_over);
            cell(hand_over, seconds)
        };
        format!(
            "{} to another process: {} through a pipe, {} in shared memory that is kept. A new segment each time takes {} as long as a kept one, writing included.",
            size(self.show),
            time(Way::Pipe),
            time(Way::Kept),
            cell(self.slower(), |v| format!("{}×", number(v)))
        )
    }

    /// Time over size, with crossovers.
    fn curve(&self) -> Figure {
        let lines = self.ways.iter().flat_map(|(way, at)| {
            let theory = at.iter();
            let theory = theory.filter_map(|b| Some((b.kb(), b.law()?.value)));
            [
                Line::theory("", Colour::Muted, theory.collect()),
                Line::measured(way.name(), way.colour(), self.times(*way)),
            ]
        });
        let crossing = |one, other, text, colour| {
            let x = self.overtakes(one, other)?;
            let label = format!("{text}: {}", about(x * 1024.0));
            Some(Mark::at(x, label, colour))
        };
        let title = match self.overtakes(Way::Kept, Way::Pipe) {
            Some(x) => format!(
                "From {} on shared memory beats a pipe: below it, waking the other side is all that counts",
                about(x * 1024.0)
            ),
            None => "What a hand-over takes, over the size of the payload".into(),
        };
        let sizes = self.all().map(Beside::kb);
        let (least, most) = sizes.fold((f64::INFINITY, 0.0_f64), |(a, b), x| (a.min(x), b.max(x)));
        let mut ticks: Vec<f64> = (-3..8).map(|i| 10_f64.powi(i)).collect();
        ticks.retain(|t| (least * 0.99..=most * 1.01).contains(t));
        Figure::new("sizes", title)
            .subtitle("Written and then handed over; the clock stops when the other side has read all and answered. Dashed: theory, where it is one number")
            .desc("Time of a hand-over over the size of the payload, for each way, on two logarithmic axes: flat for small payloads, then proportional to the size; shared memory and Arc lowest.")
            .over(Axis::log("payload in KB, log scale", Unit::Number).with_ticks(ticks), [
                Panel::new("Time of a hand-over", Axis::log("", Unit::Seconds))
                    .note("written by one side, read by the other; log scale")
                    .layers(lines)
                    .height(2.4),
            ])
            .marks([
                crossing(Way::Kept, Way::Pipe, "shared memory ahead of the pipe", Colour::Vermilion),
                crossing(Way::Kept, Way::Unix, "and of the Unix socket", Colour::Orange),
                crossing(Way::Arc, Way::Clone, "Arc ahead of a clone", Colour::Ink),
            ].into_iter().flatten())
    }

    /// Every way at one size.
    fn bars(&self) -> Figure {
        let group = |label: &str, note: &str, figure: fn(&Beside) -> Option<Estimate>| {
            let bars = self.shown().filter_map(|b| {
                let e = figure(b)?;
                let bar = ValueBar::measured(b.way.name(), b.way.colour(), e.value);
                Some(bar.with_interval(e.ci95))
            });
            BarGroup::new(label, bars).note(note)
        };
        let whole = |way: Way| self.shown_of(way).and_then(Beside::cycle);
        let title = match (whole(Way::Kept), whole(Way::Fresh), whole(Way::Pipe)) {
            (Some(kept), Some(fresh), Some(pipe)) => format!(
                "{} written and handed over: {} in shared memory that is kept, {} in a new segment, {} through a pipe",
                size(self.show),
                seconds(kept.value),
                seconds(fresh.value),
                seconds(pipe.value)
            ),
            _ => format!("What {} cost, by way", size(self.show)),
        };
        Figure::new("bars", title)
            .subtitle("A new segment is made, filled and given back for each payload: the system finds and clears every page")
            .desc("Bars for each way of handing over: the time of the hand-over, the time with writing the payload, and the processor time of both sides.")
            .bars(Unit::Seconds, [
                group("Hand-over", "until all is read", |b| b.hand_over()),
                group("Writing it and handing it over", "one after another", |b| b.cycle()),
                group("Processor time for that", "both sides", |b| b.cpu()),
            ].into_iter().filter(|group| !group.bars.is_empty()))
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

/// The tables.
impl View<'_> {
    fn shown_table(&self) -> Table {
        let rate = |s: f64| number(self.show / s / 1e9);
        let whole = |v: f64| format!("{v:.0}");
        let busy = |b: &Beside| Some(b.both(gauges::CPU_S)?.value / b.cycle()?.value);
        let bare = self.ways.iter().filter_map(|(way, at)| {
            let empty = at.first()?.empty.value;
            Some(format!("{} ({})", seconds(empty), way.name()))
        });
        let bare: Vec<String> = bare.collect();
        Table::of(format!("{} by way", size(self.show)), self.shown())
            .column("way", |b| b.way.name().into())
            .cells("hand-over", seconds, |b| b.hand_over())
            .column("theory", |b| b.in_words())
            .cells("GB/s", rate, |b| b.hand_over())
            .cells("with writing", seconds, |b| b.cycle())
            .cells("CPU, both sides", seconds, |b| b.cpu())
            .column("processors busy", |b| busy(b).map_or("–".into(), number))
            .column("in and out, a byte", |b| number(b.way.in_and_out()))
            .cells("page faults", whole, |b| b.both(gauges::FAULTS))
            .cells("reads and writes", whole, |b| b.both(gauges::CALLS))
            .note(format!(
                "Theory of a socket: between the slower of its two sides and both, one after another. A bare hand-over takes {}.",
                bare.join(", ")
            ))
    }

    fn size_table(&self) -> Table {
        let sizes = Table::of("Time of a hand-over", self.p.sizes());
        let sizes = sizes.column("payload", |s| size(s.f()));
        let ways = self.ways.iter().filter(|(_, at)| !at.is_empty());
        ways.fold(sizes, |table, (way, at)| {
            table
                .cells(way.name(), seconds, |s| at.iter().find(|b| b.bytes() == s.f())?.hand_over())
        })
        .done()
    }

    fn machine_table(&self) -> Table {
        let rate = |k: &Condition, took: Option<Estimate>| cell(took, |t| number(k.x() / t / 1e9));
        let pass = |k: &Condition, gauge: Gauge| rate(k, k.gauge(gauge));
        let through = |k: &Condition, wire: Wire| {
            let both = |t: &Trial| Some(t.gauge(wire.there())? + t.gauge(wire.back())?);
            rate(k, k.estimate(both))
        };
        let page = |t: &Trial| Some(t.gauge(gauges::TOUCH_S)? / t.gauge(gauges::TOUCH_FAULTS)?);
        let micros = |s: f64| format!("{:.2} µs", s * 1e6);
        let title = "This machine: one pass over bytes that another thread has just written, GB/s";
        Table::of(title, self.summary.series("machine"))
            .column("bytes", |k| size(k.x()))
            .column("write", |k| pass(k, gauges::WRITE_S))
            .column("read", |k| pass(k, gauges::READ_S))
            .column("read, shared segment", |k| pass(k, gauges::SHARED_S))
            .column("copy", |k| pass(k, gauges::COPY_S))
            .cells("a new page", micros, |k| k.estimate(page))
            .cells("a meeting", seconds, |k| k.gauge(gauges::MEETING_S))
            .column("through a pipe", |k| through(k, Wire::Pipe))
            .column("Unix socket", |k| through(k, Wire::Unix))
            .column("TCP", |k| through(k, Wire::Tcp))
            .done()
    }
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
            overtakes(&flat[1..], &[(10.0, 100.0), (100.0, 100.0), (1000.0, 100.0)])
                .map(f64::round),
            Some(10.0)
        );
        assert_eq!(overtakes(&[], &flat), None);
    }

    #[test]
    fn sizes_to_two_digits() {
        for (bytes, text) in [(9_530.0, "9.3 KB"), (100.0, "100 B"), (12.0 * 1048576.0, "12 MB")] {
            assert_eq!(about(bytes), text);
        }
    }
}
