//! Charts and tables of lab22.

use lab_kit::prelude::*;
use lab_kit::theory::balance;

use super::{
    crowd::{Arm, World},
    gauges,
    view::{Point, View},
};

fn colour(arm: Arm) -> Colour {
    match arm {
        Arm::Random => Colour::Vermilion,
        Arm::InTurn => Colour::Orange,
        Arm::Least | Arm::LeastOld => Colour::Purple,
        Arm::Two | Arm::TwoOld => Colour::Blue,
        Arm::Ejecting => Colour::Green,
        Arm::Hedged => Colour::Muted,
        Arm::Budgeted => Colour::Sky,
    }
}

fn measured(point: Option<Point>, gauge: Gauge) -> Option<Estimate> {
    point?.k.gauge(gauge)
}

pub(super) fn headline(view: &View) -> String {
    let p99 = |arm| cell(measured(view.point(arm, World::Alike, 0.0), gauges::TIME_P99_S), seconds);
    let lost =
        |arm| cell(measured(view.point(arm, World::Sinkhole, 0.0), gauges::ERROR_SHARE), percent);
    let slow =
        |arm| cell(measured(view.point(arm, World::Slow, 0.0), gauges::GIVEN_UP_SHARE), percent);
    format!(
        "With {} servers at a load of {} one request in a hundred takes longer than {} at random and {} by two choices; when one is slow, {} are given up in turn and {} by two choices; when one fails fast, {} end in it by the least in flight, {} by two choices, and {} once errors put it out.",
        view.p.servers,
        number(view.p.load),
        p99(Arm::Random),
        p99(Arm::Two),
        slow(Arm::InTurn),
        slow(Arm::Two),
        lost(Arm::Least),
        lost(Arm::Two),
        lost(Arm::Ejecting),
    )
}

pub(super) fn figures(view: &View) -> Vec<Figure> {
    vec![tails(view), worlds(view), sinkhole(view), ages(view), fan_out(view)]
}

/// Shares of servers with at least so many requests.
fn tails(view: &View) -> Figure {
    let rho = view.p.load;
    let of = |arm| {
        let point = view.point(arm, World::Alike, 0.0);
        let seen = gauges::SEEN.iter().enumerate();
        let values = seen.map(|(at, gauge)| (at as f64 + 1.0, measured(point, *gauge)));
        Line::of_estimates(
            arm.name(),
            colour(arm),
            values.filter(|(_, v)| v.is_some_and(|v| v.value > 2e-4)),
        )
    };
    let ks = 1..=gauges::SEEN.len() as u32;
    let theory = |d: u32, colour, label: &str| {
        let each = ks.clone().map(|k| (f64::from(k), balance::at_least(rho, d, k)));
        Line::theory(label, colour, each.filter(|(_, share)| *share > 1e-4).collect())
    };
    let many = view.forecasts.many.iter().enumerate().skip(1);
    let many = many.map(|(k, share)| (k as f64, *share)).filter(|(_, share)| *share > 1e-4);
    let simulated = Line {
        label: "10,000 servers".into(),
        colour: Colour::Green,
        style: Style::Simulated,
        points: many.collect(),
        band: vec![],
    };
    let share = |arm, k: usize| {
        cell(measured(view.point(arm, World::Alike, 0.0), gauges::SEEN[k - 1]), percent)
    };
    let panel =
        Panel::new("share of the servers with k requests or more", Axis::log("", Unit::Share))
            .note("as arrivals see it; dashed: theory; hollow: simulated")
            .height(1.6)
            .layers([
                theory(1, colour(Arm::Random), ""),
                theory(2, colour(Arm::Two), ""),
                of(Arm::Random),
                of(Arm::Two),
                of(Arm::Least),
                simulated,
            ]);
    Figure::new(
        "tails",
        format!(
            "{} of the servers have four requests or more at random, {} by two choices",
            share(Arm::Random, 4),
            share(Arm::Two, 4)
        ),
    )
    .subtitle(format!(
        "{} servers at a load of {}; dashed: ρ^k, and ρ^(2^k - 1) of endlessly many",
        view.p.servers,
        number(rho)
    ))
    .desc("Share of servers with at least k requests over k on a logarithmic axis: a straight line for random choice, a steep fall for two choices and least in flight.")
    .over(Axis::linear("requests at a server: k", Unit::Number), [panel])
}

/// The slowest in a hundred, in every world.
fn worlds(view: &View) -> Figure {
    let groups = World::ALL.map(|world| {
        let bars = view.arms(world, world.arms()).into_iter().map(|point| {
            let arm = point.crowd.arm;
            let value = point.k.gauge(gauges::TIME_P99_S);
            let bar =
                ValueBar::measured(arm.name(), colour(arm), value.map_or(f64::NAN, |v| v.value));
            ValueBar {
                theory: Some(view.forecast(&point, gauges::TIME_P99_S)).filter(|t| t.is_finite()),
                ..bar.with_interval(value.and_then(|v| v.ci95))
            }
        });
        BarGroup::new(world.name(), bars)
    });
    let given_up =
        |arm| cell(measured(view.point(arm, World::Slow, 0.0), gauges::GIVEN_UP_SHARE), percent);
    Figure::new(
        "worlds",
        format!(
            "One slow server of {}: {} of all give up at random, {} by two choices",
            view.p.servers,
            given_up(Arm::Random),
            given_up(Arm::Two)
        ),
    )
    .subtitle(format!(
        "99th percentile of what is not an error; who gives up counts as {}; dashed: the simulator's, by the flags",
        seconds(view.p.patience.s())
    ))
    .desc("Bars in three groups, all servers alike, one slow, one failing: the 99th percentile by way of choosing.")
    .bars(Axis::linear("99th percentile", Unit::Seconds), groups)
}

/// What ends in the server that refuses.
fn sinkhole(view: &View) -> Figure {
    let bars = view.arms(World::Sinkhole, World::Sinkhole.arms()).into_iter().map(|point| {
        let arm = point.crowd.arm;
        let value = point.k.gauge(gauges::ERROR_SHARE);
        let bar = ValueBar::measured(arm.name(), colour(arm), value.map_or(f64::NAN, |v| v.value));
        ValueBar {
            theory: Some(view.sinkhole(arm)).filter(|t| t.is_finite()),
            ..bar.with_interval(value.and_then(|v| v.ci95))
        }
    });
    let lost =
        |arm| cell(measured(view.point(arm, World::Sinkhole, 0.0), gauges::ERROR_SHARE), percent);
    Figure::new(
        "sinkhole",
        format!(
            "One of {} servers fails fast: least in flight sends it {} of all requests",
            view.p.servers,
            lost(Arm::Least)
        ),
    )
    .subtitle(format!(
        "errors as a share of all requests; dashed: theory; ejecting: out for {} after {} errors in a row",
        seconds(view.p.ejected.s()),
        view.p.strikes
    ))
    .desc("Bars: the share of requests that end in an error, by way of choosing; largest for least in flight, next to nothing with ejection.")
    .bars(Axis::linear("errors", Unit::Share), [BarGroup::new("", bars)])
}

/// Times over the age of counts.
fn ages(view: &View) -> Figure {
    let lines = Arm::OLD.into_iter().flat_map(|arm| {
        let points = view.old(arm);
        let values = points.iter().map(|p| (p.crowd.age, p.k.gauge(gauges::TIME_MEAN_S)));
        let line = Line::of_estimates(arm.name(), colour(arm), values);
        let told = points.iter().map(|p| (p.crowd.age, view.forecast(p, gauges::TIME_MEAN_S)));
        [Line::theory("", colour(arm), told.collect()), line]
    });
    let mean = |arm| {
        let points = view.old(arm);
        let oldest = points.last().copied();
        cell(measured(oldest, gauges::TIME_MEAN_S), seconds)
    };
    let oldest = view.p.ages.iter().max().map_or(f64::NAN, |age| age.s());
    let panel = Panel::new("mean time of a request", Axis::linear("", Unit::Seconds))
        .note("dashed: simulated by the flags")
        .height(1.4)
        .layers(lines)
        .layer(Layer::rule(view.mm1(), "a server at random"));
    Figure::new(
        "ages",
        format!(
            "Counts {} old: {} by the least of all, {} by the better of two",
            seconds(oldest),
            mean(Arm::LeastOld),
            mean(Arm::TwoOld)
        ),
    )
    .subtitle("all servers alike; counts are read anew each time they have reached that age")
    .desc("Mean time over the age of the counts: the least of old counts rises above a random choice, the better of two stays below for longer.")
    .over(Axis::log("age of the counts", Unit::Seconds), [panel])
}

/// The tail at scale.
fn fan_out(view: &View) -> Figure {
    let line = |hedged: bool, label: &str, colour| {
        let all = view.fan_outs(hedged).into_iter();
        let values = all.map(|(fan, k)| {
            let slow = k.share_of(|t| Some(t.timed_out), |t| Some(t.offered));
            (fan.answers as f64, slow)
        });
        // Between these places nothing was measured, and theory is no straight line.
        Line { style: Style::Dots, ..Line::of_estimates(label, colour, values) }
    };
    let (p, most) = (view.p.tail, view.p.fan_outs.iter().max().copied().unwrap_or(1).max(2));
    let theory = |slow: f64, colour| {
        let each = (0..=60).map(|i| (most as f64).powf(f64::from(i) / 60.0));
        let share = |k: f64| -(k * (-slow).ln_1p()).exp_m1();
        Line::theory("", colour, each.map(|k| (k, share(k))).collect())
    };
    let widest = |hedged| {
        let all = view.fan_outs(hedged).into_iter();
        let (_, k) = all.max_by_key(|(fan, _)| fan.answers)?;
        k.share_of(|t| Some(t.timed_out), |t| Some(t.offered))
    };
    let panel = Panel::new("slow requests", Axis::linear("", Unit::Share))
        .note("dashed: 1 - (1 - p)^k")
        .height(1.3)
        .layers([
            theory(p, Colour::Vermilion),
            theory(p * p, Colour::Green),
            line(false, "asked once", Colour::Vermilion),
            line(true, "asked again when late", Colour::Green),
        ]);
    Figure::new(
        "fan-out",
        format!(
            "A request that needs {most} answers is slow in {} of all cases, asked again in {}",
            cell(widest(false), percent),
            cell(widest(true), percent)
        ),
    )
    .subtitle(format!("{} of the answers are slow", percent(p)))
    .desc("Share of slow requests over the number of answers that they need: it rises towards one, and stays near nought with second requests.")
    .over(Axis::log("answers that a request needs: k", Unit::Number), [panel])
}

pub(super) fn tables(view: &View) -> Vec<Table> {
    let all: Vec<Point> =
        World::ALL.into_iter().flat_map(|world| view.arms(world, world.arms())).collect();
    let table = Table::of("Every way of choosing, in three worlds", all)
        .column("servers", |p| p.crowd.world.name().into())
        .column("choice", |p| p.crowd.arm.name().into())
        .cells("mean", seconds, |p| p.k.gauge(gauges::TIME_MEAN_S))
        .column("simulated", |p| seconds(view.forecast(p, gauges::TIME_MEAN_S)))
        .cells("p50", seconds, |p| p.k.gauge(gauges::TIME_P50_S))
        .cells("p99", seconds, |p| p.k.gauge(gauges::TIME_P99_S))
        .column("simulated", |p| seconds(view.forecast(p, gauges::TIME_P99_S)))
        .cells("given up", percent, |p| p.k.gauge(gauges::GIVEN_UP_SHARE))
        .cells("errors", percent, |p| p.k.gauge(gauges::ERROR_SHARE))
        .cells("to the odd server", percent, |p| {
            p.k.gauge(gauges::FIRST_SHARE).filter(|_| p.crowd.world != World::Alike)
        })
        .cells("sent twice", percent, |p| p.k.gauge(gauges::HEDGED_SHARE))
        .note(format!(
            "Times of what is not an error, when the server should have been done; who gives up counts as {}. Simulated: by the flags, with random numbers of its own.",
            seconds(view.p.patience.s())
        ));
    vec![table]
}
