//! What the books say, as sentences, tables and charts.

use lab_kit::{accounts, claim::Verdict, prelude::*};

use crate::{
    asked::Asked,
    brief::{ALL, Brief, SERIES},
    check::Check,
    gauges,
};

/// Whether a trial is one: what is told twice must be the same.
pub(crate) fn premise(items: usize, limited: &[&'static str], t: &Trial) -> Result<(), String> {
    accounts::equal("items", t.offered as f64, items as f64)?;
    let figure = |gauge| accounts::gauge(t, gauge);
    accounts::equal("items never asked for", figure(gauges::MISSED)?, t.never_sent as f64)?;
    accounts::equal("items with an answer", figure(gauges::ANSWERED)?, t.ok as f64)?;
    let (requests, asked) = (figure(gauges::REQUESTS)?, (t.offered - t.never_sent) as f64);
    accounts::ensure(requests >= asked, || {
        format!("{requests} requests, and {asked} items were asked for")
    })?;
    // Of what is not there the last answer says so, unless it was asked for again and given up.
    let (gone, last) = (figure(gauges::GONE)?, t.failures.get("status 404").copied().unwrap_or(0));
    accounts::ensure((last..=last.saturating_add(t.timed_out)).contains(&(gone as u64)), || {
        format!("{gone} items are not there, and {last} ended with a 404")
    })?;
    for part in limited {
        let most = t.trace(&in_flight_at(part)).iter().map(|(_, n)| *n).fold(0.0, f64::max);
        accounts::equal("most in flight", figure(gauges::most_at(part))?, most)?;
    }
    let (mean, most) = (figure(gauges::AT_SERVICE_MEAN)?, figure(gauges::AT_SERVICE_MAX)?);
    accounts::ensure(mean <= most + 1e-6, || {
        format!("{mean} requests in flight on average, and {most} at most")
    })
}

pub(crate) fn explain<B: Brief>(p: &Asked, summary: &Summary, checks: Vec<Check>) -> Findings {
    let condition = summary.only(SERIES);
    let judged_by = "The program is judged by what arrived at the service and when. What the program prints is not looked at.";
    let mut tables = vec![table(summary, &checks).note(judged_by)];
    let mut figures = Vec::new();
    if let Some(k) = &condition {
        tables.push(books(k));
        figures.extend(in_flight::<B>(p, k));
        figures.extend(attempts(k));
    }
    Findings {
        headline: headline(BOOKS_SHOW, summary, &checks),
        figures,
        tables,
        claims: checks.into_iter().map(|check| check.claim).collect(),
        answers: Vec::new(),
    }
}

const BOOKS_SHOW: &str = "The service's books show";

/// What the books (or `who` else) show; and apart from it what they seem to show in a run that cannot tell.
pub(crate) fn headline(who: &str, summary: &Summary, checks: &[Check]) -> String {
    let (open, found): (Vec<&Check>, Vec<&Check>) =
        checks.iter().filter(|check| check.is_found()).partition(|check| is_open(summary, check));
    let names = |checks: &[&Check]| {
        let names: Vec<&str> = checks.iter().map(|check| check.fault).collect();
        names.join("; ")
    };
    let shown = match found.is_empty() {
        true => format!("{who} none of the faults that were looked for."),
        false => format!("{who}: {}.", names(&found)),
    };
    let shown = match open.is_empty() {
        true => shown,
        false => format!("{shown} This run cannot tell, but it looks like: {}.", names(&open)),
    };
    let undecided = |check: &&Check| !check.is_found() && !is_decided(summary, check);
    match checks.iter().filter(undecided).count() {
        0 => shown,
        n => format!("{shown} It could not decide {n} of {} questions.", checks.len()),
    }
}

fn is_decided(summary: &Summary, check: &Check) -> bool {
    !matches!(check.claim.verdict(), Verdict::Inconclusive(_)) && !is_open(summary, check)
}

fn is_open(summary: &Summary, check: &Check) -> bool {
    summary.leaves_open(check.claim.disturbed).is_some()
}

pub(crate) fn table(summary: &Summary, checks: &[Check]) -> Table {
    let found = |check: &Check| check.is_found() && !is_open(summary, check);
    Table::of("What was looked for", checks)
        .column("asked for", |check| check.claim.text.clone())
        .column("bound", |check| number(check.claim.predicted()))
        .column("found", |check| cell(check.claim.measured(), number))
        .column("fault", |check| if found(check) { check.fault.into() } else { String::new() })
        .column(
            "usual cause",
            |check| {
                if found(check) { check.cause.into() } else { String::new() }
            },
        )
        .done()
}

/// What a line of the books says, how it is written, and the figure.
type Row = (&'static str, fn(f64) -> String, Gauge);

fn books(k: &Condition) -> Table {
    let rows: [Row; 11] = [
        ("requests", number, gauges::REQUESTS),
        ("items with an answer", number, gauges::ANSWERED),
        ("in flight at most", number, gauges::AT_SERVICE_MAX),
        ("in flight on average", number, gauges::AT_SERVICE_MEAN),
        ("attempts at one item at most", number, gauges::TRIES_MAX),
        ("retries after a failure", number, gauges::RETRIES),
        ("attempts given up", number, gauges::GIVEN_UP),
        ("connections opened", number, gauges::CONNECTIONS),
        ("connections open at most", number, gauges::CONNECTIONS_MAX),
        ("the program took", seconds, gauges::PROGRAM_S),
        ("its exit code", number, gauges::EXIT_CODE),
    ];
    let mut table = Table::new("The books", &["", "average of the trials"]);
    for (what, write, gauge) in rows {
        table.row([what.to_string(), cell(k.gauge(gauge), write)]);
    }
    let makespan = cell(k.wall_s(), seconds);
    table.row(["first arrival to last end".into(), makespan]);
    table
}

/// The trial of median length.
fn drawn<'a>(k: &Condition<'a>) -> Option<&'a Trial> {
    k.typical(|t| t.wall_s)
}

/// The trace of what is in flight below a path.
pub(crate) fn in_flight_at(part: &str) -> String {
    match part {
        ALL => "in flight".into(),
        part => format!("in flight at {part}"),
    }
}

fn in_flight<B: Brief>(p: &Asked, k: &Condition) -> Option<Figure> {
    let trial = drawn(k)?;
    let most = k.gauge(gauges::AT_SERVICE_MAX)?;
    let panels = B::LIMITED.iter().map(|part| panel::<B>(p, trial, part));
    let figure =
        Figure::new("in-flight", format!("{} requests in flight at most", number(most.value)))
            .subtitle("One trial, the one of median length. Each step is an arrival or an end.")
            .desc(format!(
                "Requests in flight over time. At most {} were in flight.",
                number(most.value)
            ));
    Some(figure.over(
        Axis { label: "time since the first arrival".into(), ..Unit::Seconds.into() },
        panels.collect::<Vec<_>>(),
    ))
}

/// What is in flight below a path over time, and the limit, if there is one.
fn panel<B: Brief>(p: &Asked, trial: &Trial, part: &str) -> Panel {
    let start = trial.started_s();
    let mut points: Vec<(f64, f64)> = Vec::new();
    for (at, n) in trial.trace(&in_flight_at(part)) {
        // A number holds until the next one.
        points.extend(points.last().map(|(_, before)| (at - start, *before)));
        points.push((at - start, *n));
    }
    let line = Line {
        label: String::new(),
        colour: Colour::Blue,
        style: Style::Trace,
        points,
        band: Vec::new(),
    };
    let mut layers = vec![Layer::Line(line)];
    if B::has("limit") {
        let label = format!("--limit {}", p.limit);
        layers.insert(0, Layer::Rule { y: p.limit as f64, label });
    }
    Panel {
        title: format!("requests {}", in_flight_at(part)),
        note: "as the service counts them".into(),
        y: Unit::Number.into(),
        layers,
        height: 1.0,
    }
}

fn attempts(k: &Condition) -> Option<Figure> {
    let trial = drawn(k)?;
    let start = trial.started_s();
    let mut lanes: Vec<Lane> = Vec::new();
    for span in &trial.spans {
        let colour = match span.name.as_str() {
            "200" => Colour::Green,
            "given up" => Colour::Muted,
            _ => Colour::Vermilion,
        };
        let bar = Bar {
            start: span.start_s - start,
            end: span.end_s - start,
            label: span.name.clone(),
            colour,
            waiting: span.name == "given up",
        };
        match lanes.iter_mut().find(|lane| lane.label == span.lane) {
            Some(lane) => lane.bars.push(bar),
            None => {
                lanes.push(Lane { label: span.lane.clone(), colour: Colour::Ink, bars: vec![bar] })
            }
        }
    }
    let group = Group {
        title: "attempts".into(),
        note: "status of each answer".into(),
        end: Some(trial.wall_s),
        predicted_end: None,
        lanes,
    };
    let title =
        format!("{} attempts at one item at most", cell(k.gauge(gauges::TRIES_MAX), number));
    let figure = Figure::new("attempts", title)
        .subtitle("Some items of one trial, those with several attempts first. Green is an answer, red a failure, hatched what was given up.")
        .desc("When attempts at single items were at the service.");
    Some(figure.body(Body::Gantt(Gantt { groups: vec![group] })))
}
