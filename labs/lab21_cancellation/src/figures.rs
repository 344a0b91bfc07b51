//! The charts and tables of lab21.

use lab_kit::prelude::*;

use super::{
    findings::{View, count, lost_at_stop, share},
    gauges,
    plan::Ending,
};

/// A pair of ways: what it is about, what is counted, and its conditions with their colours.
struct Pair {
    about: &'static str,
    counted: &'static str,
    ways: &'static [&'static str],
}

const PAIRS: [Pair; 5] = [
    Pair {
        about: "a bill is paid",
        counted: "charges too many, of the bills",
        ways: &["pay/new key", "pay/one key"],
    },
    Pair {
        about: "a transfer is given up",
        counted: "debited and not credited, of the transfers",
        ways: &["transfer/halfway", "transfer/whole", "transfer/spawned"],
    },
    Pair {
        about: "the caller of calls goes",
        counted: "work in vain, of all work",
        ways: &["calls/detached", "calls/owned"],
    },
    Pair {
        about: "the client of a chain goes",
        counted: "work in vain, of all work",
        ways: &["chain/own clocks", "chain/one deadline"],
    },
    Pair {
        about: "a future waits for a lock",
        counted: "runs that stand still",
        ways: &["lock/kept", "lock/dropped", "lock/spawned"],
    },
];

/// What went wrong, as a share.
fn wrong(k: &Condition) -> Option<Estimate> {
    let gauge = match k.series().split('/').next()? {
        "pay" => gauges::TWICE,
        "transfer" => gauges::MISSING,
        "lock" => gauges::STUCK,
        _ => return k.every(|t| Some(t.gauge(gauges::VAIN_S)? / t.gauge(gauges::WORK_S)?)),
    };
    k.every(|t| Some(t.gauge(gauge)? / t.offered as f64))
}

fn colour(way: usize) -> Colour {
    [Colour::Vermilion, Colour::Green, Colour::Blue, Colour::Orange][way % 4]
}

impl View<'_> {
    pub(super) fn headline(&self) -> String {
        let percent_of = |series: &str| {
            let k = self.only(series);
            cell(k.and_then(|k| wrong(&k)), percent)
        };
        let slowest = self.slowest();
        format!(
            "Beside a tick every {} a receive loop loses {} of its items; a timeout and a new key charge {} of the bills once too often; {} of the transfers end half-way; {} of the runs stand still; a server that is stopped at once loses {} requests. The right ways, a few lines away, lose nothing.",
            slowest.map_or("–".into(), |k| seconds(k.x() / 1e3)),
            cell(slowest.and_then(|k| share(&k, gauges::LOST)), |v| percent(v / 100.0)),
            percent_of("pay/new key"),
            percent_of("transfer/halfway"),
            percent_of("lock/kept"),
            cell(self.only("stop/at once").and_then(|k| k.every(lost_at_stop)), number),
        )
    }

    /// What a receiver loses over the time between ticks.
    pub(super) fn over_ticks(&self) -> Option<Figure> {
        let (p, slowest) = (self.p, self.slowest()?);
        let first = self.summary.series("receive/dropped").first()?.x() / 1e3;
        let last = slowest.x() / 1e3;
        let h = p.hand_over.s();
        let (from, to) = (first.min(0.8 * h) * 0.85, last.max(2.0 * h) * 1.15);
        let steps = 400;
        let curve = |of: &dyn Fn(f64) -> f64| {
            let at = |i: usize| from * (to / from).powf(i as f64 / steps as f64);
            let points = (0..=steps).map(|i| (at(i), of(at(i))));
            Line::theory("", Colour::Muted, points.collect())
        };
        let dots = |series: &str, label: &str, colour: Colour| {
            let lost =
                |k: &Condition| Some(k.estimate(|t| t.gauge(gauges::LOST))?.value / p.items as f64);
            let all = self.summary.series(series);
            let points = all.iter().filter_map(|k| Some((k.x() / 1e3, lost(k)?)));
            Line { style: Style::Dots, ..Line::measured(label, colour, points.collect()) }
        };
        let one_by_one = curve(&|period| p.receive(period * 1e3).lost_share());
        let backlog = curve(&|period| 1.0 / (1.0 + (period / h).floor()));
        let title = format!(
            "A tick every {} loses {} of the items; where the future outlives the tick, none",
            seconds(last),
            cell(share(&slowest, gauges::LOST), |v| percent(v / 100.0))
        );
        let axis =
            Axis::log("time from tick to tick, log scale", Unit::Seconds).with_range(from, to);
        let range =
            |title: &str| Panel::new(title, Axis::linear("", Unit::Share).with_range(-0.03, 1.05));
        Some(Figure::new("ticks", title)
            .subtitle(format!("Share of the items that is never handed over; a hand-over takes {}; dashed: theory", p.hand_over))
            .desc("Two panels over the time from tick to tick: the share of items lost when they come one by one, and when the next one is always there; for a future that is dropped at each tick and one that is kept.")
            .over(axis, [
                range("Items come one by one")
                    .note("theory: min(1, h/P)")
                    .layer(one_by_one)
                    .layer(dots("receive/dropped", "dropped", Colour::Vermilion))
                    .layer(dots("real receive/dropped", "dropped, the machine's clock", Colour::Orange))
                    .layer(dots("receive/kept", "kept", Colour::Green)),
                range("The next item is always there")
                    .note("theory: one of those that fit between two ticks, and one more")
                    .layer(backlog)
                    .layer(dots("backlog/dropped", "dropped", Colour::Vermilion))
                    .layer(dots("backlog/kept", "kept", Colour::Green)),
            ]))
    }

    /// The other pairs, each way a bar.
    pub(super) fn pairs(&self) -> Option<Figure> {
        let groups = PAIRS.iter().map(|pair| {
            let bars = pair.ways.iter().enumerate().filter_map(|(at, series)| {
                let k = self.only(series)?;
                let way = series.split('/').nth(1).unwrap_or(series);
                let value = wrong(&k).map_or(f64::NAN, |e| e.value);
                Some(
                    ValueBar::measured(way, colour(at.min(1)), value)
                        .with_theory(self.theory(series)),
                )
            });
            BarGroup::new(pair.about, bars).note(pair.counted)
        });
        let groups: Vec<BarGroup> = groups.filter(|group| !group.bars.is_empty()).collect();
        let stuck = self.only("lock/kept").and_then(|k| wrong(&k));
        let vain = self.only("calls/detached").and_then(|k| wrong(&k));
        let title = format!(
            "A few lines apart: {} of the runs stand still, or none; {} of the work is in vain, or none",
            cell(stuck, percent),
            cell(vain, percent)
        );
        (!groups.is_empty()).then(|| Figure::new("pairs", title)
            .subtitle(format!("{} bills, transfers, requests and runs; counted in virtual time; ticks: theory", self.p.items))
            .desc("Bars in five groups, one for each pair of ways: the share that goes wrong in the wrong way and in the right ones.")
            .bars(Axis::linear("share that goes wrong", Unit::Share), groups))
    }

    /// What theory says of a way, in closed form.
    fn theory(&self, series: &str) -> f64 {
        let (p, chain) = (self.p, self.p.chain());
        match series {
            "pay/new key" => p.charges().excess_share(),
            "transfer/halfway" => lab_kit::theory::cancellation::share(p.given_up.s(), p.debited()),
            "calls/detached" => p.calls().vain_share(),
            "chain/own clocks" => chain.vain() / (chain.hops as f64 * chain.work),
            "lock/kept" => 2.0 / 3.0,
            _ => 0.0,
        }
    }

    /// One request along the chain, both ways.
    pub(super) fn along_the_chain(&self) -> Option<Figure> {
        let p = self.p;
        let group = |series: &str, title: &str| {
            let k = self.only(series)?;
            let spans = &k.trials().first()?.spans;
            let mut lanes: Vec<Lane> = Vec::new();
            for span in spans {
                let until = p.patience.s();
                let bar = |start: f64, end: f64, label: &str, colour| Bar {
                    start,
                    end,
                    label: label.into(),
                    colour,
                    waiting: false,
                };
                let in_time = bar(span.start_s, span.end_s.min(until), "", Colour::Blue);
                let vain = bar(span.start_s.max(until), span.end_s, "in vain", Colour::Vermilion);
                let bars = [in_time, vain].into_iter().filter(|bar| bar.end > bar.start + 1e-9);
                let label = span.lane.clone();
                lanes.push(Lane { label, colour: Colour::Ink, bars: bars.collect() });
            }
            let note = format!("the client goes at {}", p.patience);
            (!lanes.is_empty()).then(|| Group {
                title: title.into(),
                note,
                lanes,
                end: Some(p.patience.s()),
                predicted_end: None,
            })
        };
        let groups = [
            group("chain/own clocks", "Each hop has a clock of its own"),
            group("chain/one deadline", "The client's deadline is sent along"),
        ];
        let groups: Vec<Group> = groups.into_iter().flatten().collect();
        let each = |t: &Trial| Some(t.gauge(gauges::VAIN_S)? / t.offered as f64);
        let vain = self.only("chain/own clocks").and_then(|k| k.every(each));
        let title = format!(
            "Along {} hops each request is worked on for {} after its client has gone, or not at all",
            p.hops,
            cell(vain, seconds)
        );
        (!groups.is_empty()).then(|| Figure::new("chain", title)
            .subtitle(format!("The first request; each hop works {} and calls the next one; the line: the client goes", p.work))
            .desc("Two groups of lanes over time, a lane for each hop: work in time, and work after the client has gone.")
            .gantt(groups))
    }

    /// What a stop loses.
    pub(super) fn at_the_stop(&self) -> Option<Figure> {
        let p = self.p;
        let group = |label: &str, prefix: &str| {
            let bars = Ending::ALL.into_iter().filter_map(|ending| {
                let k = self.only(&format!("{prefix}stop/{}", ending.name()))?;
                let lost = k.estimate(lost_at_stop)?;
                let colour = match ending {
                    Ending::AtOnce => Colour::Vermilion,
                    Ending::ClosedFirst => Colour::Orange,
                    Ending::Drained => Colour::Green,
                    Ending::CutShort => Colour::Purple,
                };
                let bar = ValueBar::measured(ending.name(), colour, lost.value);
                Some(bar.with_interval(lost.ci95).with_theory(self.lost_at(ending)))
            });
            BarGroup::new(label, bars)
        };
        let groups = [group("In virtual time", ""), group("On the machine's clock", "real ")];
        let groups: Vec<BarGroup> = groups.into_iter().filter(|g| !g.bars.is_empty()).collect();
        let lost =
            |series: &str| cell(self.only(series).and_then(|k| k.every(lost_at_stop)), number);
        let title = format!(
            "Stopped at once a server loses {} requests, drained {}",
            lost("stop/at once"),
            lost("stop/drained")
        );
        (!groups.is_empty()).then(|| Figure::new("stop", title)
            .subtitle(format!(
                "{}/s, each inside for {}; the balancer notices {} later; waits up to {}, cut short a quarter of a request; ticks: theory",
                number(p.rate), p.inside, p.gap, p.drain
            ))
            .desc("Bars of the requests that are lost for four ways to stop, in virtual time and on the machine's clock.")
            .bars(Axis::linear("requests lost", Unit::Number), groups))
    }

    /// Every way of every pair but the first.
    pub(super) fn pairs_table(&self) -> Table {
        let rows = PAIRS.iter().flat_map(|pair| {
            let ways = pair.ways.iter();
            ways.filter_map(move |series| Some((pair, self.only(series)?)))
        });
        Table::of("What goes wrong", rows)
            .column("when", |(pair, _)| pair.about.into())
            .column("way", |(_, k)| k.series().split('/').nth(1).unwrap_or_default().into())
            .column("what is counted", |(pair, _)| pair.counted.into())
            .cells("share", percent, |(_, k)| wrong(k))
            .cells("of", number, |(_, k)| k.every(|t| Some(t.offered as f64)))
            .column("ended well for their caller", |(_, k)| {
                cell(k.every(|t| Some(t.ok as f64)), number)
            })
            .note(format!(
                "Counted in virtual time. A chain of {} hops of {} takes longer than {}.",
                self.p.hops, self.p.work, self.p.patience
            ))
    }

    /// The receiver beside every ticker.
    pub(super) fn ticks_table(&self) -> Table {
        let lost = |series: &str, k: &Condition| {
            let other = self.summary.at(series, k.x());
            cell(other.and_then(|k| k.estimate(|t| t.gauge(gauges::LOST))), number)
        };
        let n = self.p.items;
        let theory = |n: Option<usize>| n.map_or("–".into(), |n| number(n as f64));
        Table::of(format!("Items lost of {n}"), self.summary.series("receive/dropped"))
            .column("tick every", |k| seconds(k.x() / 1e3))
            .cells("one by one", number, |k| count(k, gauges::LOST))
            .column("theory", |k| number(self.p.receive(k.x()).lost(n) as f64))
            .column("machine's clock", |k| lost("real receive/dropped", k))
            .column("next always there", |k| lost("backlog/dropped", k))
            .column("theory", |k| theory(self.p.receive(k.x()).lost_of_backlog(n)))
            .column("kept", |k| lost("receive/kept", k))
            .note(format!(
                "A hand-over takes {}. On the machine's clock only beside ticks of 40 ms and more.",
                self.p.hand_over
            ))
    }

    /// The stops, by where requests were lost.
    pub(super) fn stop_table(&self) -> Table {
        let rows = ["", "real "].into_iter().flat_map(|prefix| {
            Ending::ALL.into_iter().filter_map(move |ending| {
                Some((ending, self.only(&format!("{prefix}stop/{}", ending.name()))?))
            })
        });
        Table::of("Requests at a server that is stopped", rows)
            .column("way", |(_, k)| k.series().into())
            .cells("broken off inside", number, |(_, k)| k.estimate(|t| t.gauge(gauges::BROKEN_OFF)))
            .cells("found the door shut", number, |(_, k)| k.estimate(|t| t.gauge(gauges::SHUT_OUT)))
            .cells("sent elsewhere", number, |(_, k)| k.estimate(|t| t.gauge(gauges::ELSEWHERE)))
            .column("lost, theory", |(ending, _)| number(self.lost_at(*ending)))
            .note(format!(
                "By Little's law λ·W = {} are inside, and λ·gap = {} come until the balancer knows.",
                number(self.p.rate * self.p.inside.s()),
                number(self.p.rate * self.p.gap.s())
            ))
    }
}
