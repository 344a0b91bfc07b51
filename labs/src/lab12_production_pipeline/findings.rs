//! Theory beside measurement for lab12.

use std::collections::BTreeMap;

use lab_kit::{prelude::*, theory::Stage};

use super::{
    Params, python,
    replay::{Admission, Replay, Times, replay},
};

/// Mean seconds that a stage takes for an item: of the flags, or as measured. What is added to the
/// flags' times (timers that end late, workers that share the processors with the event loop and
/// the upstream) is not the lesson; what the schedule makes of it is.
#[derive(Clone, Copy, Debug)]
struct Means {
    fetch: f64,
    process: f64,
    store: f64,
}

impl Means {
    /// Of the flags, with workers on as many processors as are given.
    fn of_flags(p: &Params, width: f64) -> Means {
        Means {
            fetch: p.fetch.s(),
            process: Stage::on_processors(p.process.s(), busiest(p), width).service,
            store: p.store.s(),
        }
    }

    /// Of a trial: of items that neither fail nor hang.
    fn measured(p: &Params, trial: &Trial) -> Option<Means> {
        let mean = |stage| {
            let times = durations(trial, stage);
            let usual = times.iter().filter(|(i, _)| !p.fails(**i) && !p.hangs(**i));
            let usual: Vec<f64> = usual.map(|(_, time)| *time).collect();
            (!usual.is_empty()).then(|| usual.iter().sum::<f64>() / usual.len() as f64)
        };
        Some(Means {
            fetch: mean("fetch")?,
            process: mean("process")?,
            store: mean("store")?,
        })
    }

    /// Times of each item, stage by stage: one that fails ends after its fetch. `fetched` are the
    /// times of fetches that were random.
    fn items(&self, p: &Params, fetched: &BTreeMap<usize, f64>) -> Vec<Times> {
        // Full jitter: half of each wait on average.
        let waits = p.backoff().ceilings().take(p.attempts - 1);
        let waited: f64 = waits.map(|w| w.as_secs_f64() / 2.0).sum();
        let item = |i: usize| {
            if p.fails(i) {
                return vec![p.attempts as f64 * self.fetch + waited];
            }
            // What a write takes beside its way there and back, it takes here as well.
            let hung = p.store_timeout.s() + (self.store - p.store.s()).max(0.0);
            let stored = if p.hangs(i) { hung } else { self.store };
            let fetched = fetched.get(&i).copied().unwrap_or(self.fetch);
            vec![fetched, self.process, stored]
        };
        (0..p.items).map(item).collect()
    }
}

/// Workers that can be busy at once.
fn busiest(p: &Params) -> usize {
    p.workers.min(p.batch)
}

fn play(p: &Params, items: &[Times], way: &str) -> Replay {
    let admission = match way {
        "batches" => Admission::Batches(p.batch),
        _ => Admission::Window(p.batch),
    };
    replay(items, &[p.batch, p.workers, p.connections], admission)
}

/// Seconds that the items take in batches, roughly: for the bound on how long a run may be.
pub(super) fn batches_take(p: &Params) -> f64 {
    let items = Means::of_flags(p, 1.0).items(p, &BTreeMap::new());
    play(p, &items, "batches").makespan
}

/// One way of letting items in, under one kind of trouble.
struct Arm<'a> {
    trouble: &'static str,
    way: &'static str,
    condition: Condition<'a>,
    means: Means,
    theory: Replay,
}

impl Arm<'_> {
    fn name(&self) -> String {
        format!("{}, {}", self.trouble, self.way)
    }
}

pub(super) fn explain(p: &Params, summary: &Summary) -> Findings {
    let expected = p.expected();
    let calm = p.calm();
    let mut arms = Vec::new();
    for (trouble, series, p) in [
        ("every 7th fails, every 20th hangs", "faults", p),
        ("no faults", "calm", &calm),
        ("random fetches", "random", &calm),
    ] {
        for way in ["batches", "window"] {
            let condition = summary.only(&format!("{series}/{way}"));
            let Some((k, trial)) = condition.and_then(|k| Some((k, typical(&k)?))) else {
                continue;
            };
            let host = summary.host();
            let of_flags = || Means::of_flags(p, host.width(busiest(p)));
            let means = Means::measured(p, trial).unwrap_or_else(of_flags);
            // Fetch times that were drawn are given to theory; what it says is the schedule.
            let drawn = match series {
                "random" => durations(trial, "fetch"),
                _ => BTreeMap::new(),
            };
            arms.push(Arm {
                trouble: if series == "faults" {
                    "faults"
                } else {
                    trouble
                },
                way,
                theory: play(p, &means.items(p, &drawn), way),
                means,
                condition: k,
            });
        }
    }
    let arm = |trouble: &str, way: &str| arms.iter().find(|a| a.trouble == trouble && a.way == way);
    let (batches, window) = (arm("faults", "batches"), arm("faults", "window"));
    let killed = summary.only("killed");
    let careful = summary.only("answers lost/careful");
    let naive = summary.only("answers lost/naive");
    let blocked = summary.only("locked/event loop");
    let free = summary.only("locked/writer");

    let mut claims = Vec::new();
    // What becomes of the items.
    let kept: Vec<(&str, Condition)> = [
        ("batches", batches.map(|a| a.condition)),
        ("window", window.map(|a| a.condition)),
        ("killed and resumed", killed),
    ]
    .into_iter()
    .filter_map(|(name, k)| Some((name, k?)))
    .collect();
    let exact = |name: String, k: &Condition, gauge: &str, predicted: usize| Case {
        name,
        predicted: (predicted as f64).into(),
        measured: worst(k, gauge, predicted as f64),
        tolerance: 0.0,
    };
    let counts = [
        ("in_database", "in the database", expected.in_database),
        ("in_fallback", "in the fallback file", expected.in_fallback),
        ("books_failed", "failed", expected.failed),
    ];
    let fates = kept.iter().flat_map(|(arm, k)| {
        counts.map(|(gauge, place, n)| exact(format!("{arm}, {place}"), k, gauge, n))
    });
    // A commit that the machine holds up beyond the timeout falls back as well, as it should.
    let slack = p.store_timeout.s() - p.store.s();
    let stalled = kept.iter().find_map(|(_, k)| {
        let stall = k
            .trials()
            .iter()
            .filter_map(|t| t.gauges.get("stall_max_ms"));
        let longest = stall.fold(0.0_f64, |a, b| a.max(*b)) / 1e3;
        (longest > slack / 2.0).then(|| format!("the machine stood still for {}", seconds(longest)))
    });
    claims.extend(
        Claim::law(
            "each item is in the database, in the fallback file or failed, as the pattern of faults says, however they are let in and however often the process is killed",
            Basis::Predicted,
            fates.collect(),
            "items",
        )
        .map(|claim| claim.excused(stalled)),
    );
    let wrong = kept.iter().flat_map(|(arm, k)| {
        ["twice", "lost"].map(|gauge| exact(format!("{arm}, {gauge}"), k, gauge, 0))
    });
    claims.extend(Claim::law(
        "no item is stored twice and none is lost",
        Basis::Predicted,
        wrong.collect(),
        "items",
    ));
    if let Some(k) = &killed {
        // What was under way when the process ended is fetched again, each at most with all its
        // attempts.
        let most = expected.requests + p.kills * p.batch * p.attempts;
        let text =
            "only what was under way at a kill is done again: at most so many requests in all";
        let requests = k
            .trials()
            .iter()
            .filter_map(|t| t.gauges.get("upstream_arrived"));
        let requests = requests.copied().reduce(f64::max).map(Estimate::exact);
        claims.push(Claim::at_most(text, Basis::Predicted, most as f64, requests).unit("requests"));
    }
    let asked = [batches, window].into_iter().flatten().map(|a| {
        exact(
            a.way.into(),
            &a.condition,
            "upstream_arrived",
            expected.requests,
        )
    });
    claims.extend(Claim::law(
        "retries of answers that are always 500 save nobody and cost one request each",
        Basis::Predicted,
        asked.collect(),
        "requests",
    ));

    // How long it takes.
    let times = arms.iter().map(|a| {
        let predicted = typical(&a.condition).map_or(f64::NAN, |t| {
            play(p, &as_taken(p, t, a.way), a.way).makespan
        });
        // Each trial against the schedule of its own times.
        let ratio = |t: &Trial| {
            let theory = play(p, &as_taken(p, t, a.way), a.way).makespan;
            (theory > 0.0).then(|| t.wall_s / theory)
        };
        Case {
            name: a.name(),
            predicted: predicted.into(),
            measured: a.condition.estimate(ratio).map(|e| e.scaled(predicted)),
            tolerance: 0.05 * predicted,
        }
    });
    claims.extend(Claim::law(
        "from what each item took at each stage: batches take the sum of their slowest items, a window what its schedule says",
        Basis::Calibrated,
        times.collect(),
        "s",
    ));
    let price = |trouble: &str| {
        let (b, w) = (arm(trouble, "batches")?, arm(trouble, "window")?);
        let theory = b.theory.makespan / w.theory.makespan;
        let paired = |b: &Trial, w: &Trial| (w.wall_s > 0.0).then(|| b.wall_s / w.wall_s);
        Some((theory, b.condition.paired(&w.condition, paired)))
    };
    let prices = ["faults", "no faults", "random fetches"].into_iter();
    let prices = prices.filter_map(|trouble| {
        let (predicted, measured) = price(trouble)?;
        Some(Case {
            name: trouble.into(),
            predicted: predicted.into(),
            measured,
            tolerance: 0.07 * predicted,
        })
    });
    claims.extend(Claim::law(
        "the barrier costs what the two schedules differ by, from the mean times of the stages",
        Basis::Calibrated,
        prices.collect(),
        "times",
    ));
    let stages = window.map_or(vec![], |a| stages(p, a));
    let shares = stages.iter().map(|s| Case {
        name: s.name.into(),
        predicted: (100.0 * s.predicted).into(),
        measured: s.busy.map(|e| e.scaled(100.0)),
        tolerance: 5.0,
    });
    claims.extend(Claim::law(
        "each stage of the window is busy for its share of the time",
        Basis::Calibrated,
        shares.collect(),
        "%",
    ));

    // What a timeout says, and what blocks.
    let answers = [
        ("taken for lost", &naive, expected.in_fallback),
        ("asked for", &careful, 0),
    ]
    .into_iter()
    .filter_map(|(name, k, n)| Some(exact(name.into(), k.as_ref()?, "twice", n)));
    claims.extend(Claim::law(
        "when the write is done and its answer lost, who falls back at once stores those items twice, and who asks first none",
        Basis::Predicted,
        answers.collect(),
        "items twice",
    ));
    let (lock, beat) = (p.lock.s(), p.beat.s());
    let gap = |k: &Option<Condition>| k.as_ref()?.gauge("longest_gap_s");
    claims.push(
        Claim::at_least(
            "calls of SQLite on the event loop stop it for as long as another program has the lock",
            Basis::Predicted,
            lock - beat,
            gap(&blocked),
        )
        .unit("s"),
    );
    claims.push(
        Claim::at_most(
            "on a thread of their own they stop nobody: no gap longer than three beats",
            Basis::Predicted,
            3.0 * beat,
            gap(&free),
        )
        .unit("s"),
    );

    let ratio = price("faults").and_then(|(_, measured)| measured);
    let slowest = stages
        .iter()
        .max_by(|a, b| a.predicted.total_cmp(&b.predicted));
    let mut figures = Vec::new();
    figures.extend(batches.zip(window).map(|(b, w)| barrier(p, b, w, ratio)));
    figures.extend(window.map(|a| life(p, a)));
    figures.extend(killed.as_ref().and_then(|k| resumed(p, k)));
    figures.extend(
        blocked
            .zip(free)
            .map(|(blocked, free)| beats(p, &blocked, &free)),
    );

    let mut fates = Table::new(
        "What became of the items",
        &[
            "", "database", "fallback", "failed", "twice", "lost", "time", "theory", "requests",
        ],
    );
    let mut row = |name: String, k: &Condition, theory: Option<f64>| {
        let of = |gauge: &str| cell(k.gauge(gauge), number);
        fates.row([
            name,
            of("in_database"),
            of("in_fallback"),
            of("books_failed"),
            of("twice"),
            of("lost"),
            cell(k.wall_s(), seconds),
            theory.map_or("–".into(), seconds),
            of("upstream_arrived"),
        ]);
    };
    for a in &arms {
        row(a.name(), &a.condition, Some(a.theory.makespan));
    }
    for (name, k) in [
        (format!("faults, window, killed {} times", p.kills), &killed),
        ("answer lost, fall back at once".into(), &naive),
        ("answer lost, ask first".into(), &careful),
    ] {
        if let Some(k) = k {
            row(name, k, None);
        }
    }
    fates.note = format!(
        "Of {} items, {} fail at their fetch; of the others, the writes of {} get no answer. \"Twice\" and \"lost\" are counted in the database and the file, not by the pipeline.",
        p.items, expected.failed, expected.in_fallback
    );

    let mut table = Table::new(
        "Which stage holds the window back, under faults",
        &[
            "stage",
            "at once",
            "mean time of an item",
            "busy",
            "theory",
            "twice as wide: time",
        ],
    );
    for s in &stages {
        table.row([
            s.name.into(),
            s.width.to_string(),
            cell(s.mean, seconds),
            cell(s.busy, percent),
            percent(s.predicted),
            s.wider.map_or("–".into(), seconds),
        ]);
    }
    if let Some(s) = slowest {
        table.note = format!(
            "The one to widen is the busiest, {}, whatever takes longest on average. Times with twice the width are theory's, from the mean times of the stages.",
            s.name
        );
    }

    let stored = window.and_then(|a| a.condition.estimate(|t| Some(t.ok as f64)));
    let both = |t: &Trial| Some(t.gauges.get("twice")? + t.gauges.get("lost")?);
    let answers = vec![
        Answer::near(
            "stored",
            stored,
            (expected.in_database + expected.in_fallback) as f64,
        ),
        Answer::near(
            "barrier",
            ratio,
            price("faults").map_or(f64::NAN, |(theory, _)| theory),
        ),
        Answer::near("twice", killed.and_then(|k| k.estimate(both)), 0.0),
    ];
    let of = |gauge: &str| cell(killed.as_ref().and_then(|k| k.gauge(gauge)), number);
    let mut tables = vec![fates, table];
    tables.extend(python::table(summary));
    Findings {
        headline: format!(
            "Killed {} times and resumed, the pipeline has {} items in the database, {} in the fallback file and {} failed: {} twice, {} lost. Batches take {} times as long as a window.",
            of("kills"),
            of("in_database"),
            of("in_fallback"),
            of("books_failed"),
            of("twice"),
            of("lost"),
            cell(ratio, number)
        ),
        figures,
        tables,
        claims,
        answers,
    }
}

/// A count is exact: one trial that is off is one too many.
fn worst(k: &Condition, gauge: &str, predicted: f64) -> Option<Estimate> {
    let values = k.trials().iter().filter_map(|t| t.gauges.get(gauge));
    let off = |v: &f64| (v - predicted).abs();
    let worst = values.copied().max_by(|a, b| off(a).total_cmp(&off(b)));
    worst.map(Estimate::exact)
}

fn typical<'a>(k: &Condition<'a>) -> Option<&'a Trial> {
    k.typical(|t| t.wall_s)
}

/// Seconds of each item at a stage.
fn durations(trial: &Trial, stage: &str) -> BTreeMap<usize, f64> {
    let spans = trial.spans.iter().filter(|s| s.lane == stage);
    let times = spans.filter_map(|s| Some((s.name.parse().ok()?, s.end_s - s.start_s)));
    times.collect()
}

/// What each item took, stage by stage. Those let in together are sent one after another, some 50 µs
/// each; counted from the first of them they come back in the order in which they did.
fn as_taken(p: &Params, trial: &Trial, way: &str) -> Vec<Times> {
    let stages = ["process", "store"].map(|stage| durations(trial, stage));
    let of_fetch = trial.spans.iter().filter(|s| s.lane == "fetch");
    let fetches: BTreeMap<usize, (f64, f64)> = of_fetch
        .filter_map(|s| Some((s.name.parse().ok()?, (s.start_s, s.end_s))))
        .collect();
    let first = |i: usize| match way {
        "batches" => i - i % p.batch,
        _ if i < p.batch => 0,
        _ => i,
    };
    let item = |i: usize| -> Times {
        let (Some(sent), Some(fetch)) = (fetches.get(&first(i)), fetches.get(&i)) else {
            return Times::new();
        };
        let times = stages.iter().map_while(|stage| stage.get(&i));
        let fetched = (fetch.1 - sent.0).max(0.0);
        std::iter::once(fetched).chain(times.copied()).collect()
    };
    (0..p.items).map(item).collect()
}

/// What there is of a pipeline that items occupy, and for how much of the time.
struct Occupied {
    name: &'static str,
    width: usize,
    mean: Option<Estimate>,
    busy: Option<Estimate>,
    predicted: f64,
    /// Seconds that all would take with twice the width.
    wider: Option<f64>,
}

fn stages(p: &Params, arm: &Arm) -> Vec<Occupied> {
    let k = &arm.condition;
    let makespan = arm.theory.makespan;
    let retimed = |p: &Params| {
        let items = arm.means.items(p, &BTreeMap::new());
        Some(play(p, &items, "window").makespan)
    };
    let widened = Params {
        batch: 2 * p.batch,
        ..p.clone()
    };
    let connected = Params {
        connections: 2 * p.connections,
        ..p.clone()
    };
    let under_way = |t: &Trial| {
        let inside = lives(t).values().map(|life| life.1 - life.0).sum::<f64>();
        (t.wall_s > 0.0).then(|| inside / t.wall_s)
    };
    let stage = |name, gauge: &'static str, at: usize, width: usize| Occupied {
        name,
        width,
        mean: k.estimate(|t| {
            let times = durations(t, name);
            let n = times.len() as f64;
            (n > 0.0).then(|| times.values().sum::<f64>() / n)
        }),
        busy: k.estimate(|t| Some(t.gauges.get(gauge)? / (width as f64 * t.wall_s))),
        predicted: arm.theory.busy[at] / (width as f64 * makespan),
        wider: None,
    };
    vec![
        Occupied {
            name: "the window",
            width: p.batch,
            mean: k.estimate(|t| {
                let lives = lives(t);
                let n = lives.len() as f64;
                (n > 0.0).then(|| lives.values().map(|l| l.1 - l.0).sum::<f64>() / n)
            }),
            busy: k.estimate(|t| Some(under_way(t)? / p.batch as f64)),
            predicted: arm.theory.inside / (p.batch as f64 * makespan),
            wider: retimed(&widened),
        },
        stage("fetch", "fetch_busy_s", 0, p.batch),
        stage("process", "process_busy_s", 1, p.workers),
        Occupied {
            wider: retimed(&connected),
            ..stage("store", "store_busy_s", 2, p.connections)
        },
    ]
}

/// From when to when each item was under way, by what was done with it.
fn lives(trial: &Trial) -> BTreeMap<&str, (f64, f64)> {
    let mut lives: BTreeMap<&str, (f64, f64)> = BTreeMap::new();
    for span in &trial.spans {
        let life = lives
            .entry(&span.name)
            .or_insert((span.start_s, span.end_s));
        *life = (life.0.min(span.start_s), life.1.max(span.end_s));
    }
    lives
}

/// A count that changes by so much at each instant, as a staircase.
fn stairs(mut changes: Vec<(f64, f64)>, from: f64) -> Vec<(f64, f64)> {
    changes.sort_by(|a, b| a.0.total_cmp(&b.0));
    let (mut count, mut points) = (from, vec![(0.0, from)]);
    for (at, by) in changes {
        points.push((at, count));
        count += by;
        points.push((at, count));
    }
    points
}

fn trace(label: &str, colour: Colour, points: Vec<(f64, f64)>) -> Layer {
    Layer::Line(Line::trace(label, colour, points))
}

fn panel(title: &str, note: &str, height: f64, layers: Vec<Layer>) -> Panel {
    Panel {
        title: title.into(),
        note: note.into(),
        y: Axis::linear("", Unit::Number),
        layers,
        height,
    }
}

/// Batches beside a window: items done, and items under way.
fn barrier(p: &Params, batches: &Arm, window: &Arm, ratio: Option<Estimate>) -> Figure {
    let (mut done, mut inside) = (Vec::new(), Vec::new());
    for (arm, colour) in [(batches, Colour::Vermilion), (window, Colour::Blue)] {
        let Some(trial) = typical(&arm.condition) else {
            continue;
        };
        let start = trial.started_s();
        let lives = lives(trial);
        let ends = lives.values().map(|life| (life.1 - start, 1.0)).collect();
        let both = lives.values();
        let both = both.flat_map(|life| [(life.0 - start, 1.0), (life.1 - start, -1.0)]);
        let theory = arm.theory.left.iter().map(|at| (*at, 1.0)).collect();
        done.push(Layer::Line(Line::theory(
            "",
            Colour::Muted,
            stairs(theory, 0.0),
        )));
        done.push(trace(arm.way, colour, stairs(ends, 0.0)));
        inside.push(trace(arm.way, colour, stairs(both.collect(), 0.0)));
    }
    Figure {
        id: "barrier".into(),
        title: format!(
            "Waiting for the slowest of ten: batches take {} times as long as a window",
            cell(ratio, number)
        )
        .replace("ten", &p.batch.to_string()),
        subtitle: format!(
            "{} items, {} under way; {} hanging writes of {}. Dashed: theory",
            p.items,
            p.batch,
            p.expected().in_fallback,
            p.store_timeout
        ),
        desc: "Two panels over time: items done, a staircase for batches and a steady climb for the window; items under way, which fall towards one before each barrier.".into(),
        body: Body::Panels(Panels {
            x: Axis::linear("time", Unit::Seconds),
            panels: vec![
                panel("Items done", "stored or failed", 1.2, done),
                panel("Items under way", "", 0.8, inside),
            ],
            marks: vec![],
        }),
    }
}

/// How many items have which status.
fn life(p: &Params, window: &Arm) -> Figure {
    let mut counts: BTreeMap<&str, Vec<(f64, f64)>> = BTreeMap::new();
    if let Some(trial) = typical(&window.condition) {
        let start = trial.started_s();
        let mut items: BTreeMap<&str, BTreeMap<&str, f64>> = BTreeMap::new();
        for span in &trial.spans {
            let item = items.entry(&span.name).or_default();
            item.insert(&span.lane, span.end_s - start);
        }
        for ends in items.values() {
            let mut before = "pending";
            for (stage, status) in [
                ("fetch", "fetched"),
                ("process", "processed"),
                ("store", "stored"),
            ] {
                let Some(at) = ends.get(stage) else { continue };
                let failed = stage == "fetch" && !ends.contains_key("process");
                let status = if failed { "failed" } else { status };
                counts.entry(before).or_default().push((*at, -1.0));
                counts.entry(status).or_default().push((*at, 1.0));
                before = status;
            }
        }
    }
    let mut line = |status: &str, colour, from| {
        trace(
            status,
            colour,
            stairs(counts.remove(status).unwrap_or_default(), from),
        )
    };
    let ends = vec![
        line("pending", Colour::Ink, p.items as f64),
        line("stored", Colour::Green, 0.0),
        line("failed", Colour::Vermilion, 0.0),
    ];
    let between = vec![
        line("fetched", Colour::Sky, 0.0),
        line("processed", Colour::Purple, 0.0),
    ];
    let expected = p.expected();
    Figure {
        id: "life".into(),
        title: format!(
            "Pending, fetched, processed: {} of {} items end stored, {} failed",
            expected.in_database + expected.in_fallback,
            p.items,
            expected.failed
        ),
        subtitle: format!(
            "Items by status in the window; {} of those stored are in the fallback file",
            expected.in_fallback
        ),
        desc: "Two panels over time: pending items fall while stored and failed ones rise; fetched and processed items on their way.".into(),
        body: Body::Panels(Panels {
            x: Axis::linear("time", Unit::Seconds),
            panels: vec![
                panel("Not begun, and done", "items", 1.2, ends),
                panel("On their way", "items that wait for the next stage or are in it", 0.8, between),
            ],
            marks: vec![],
        }),
    }
}

/// A process that is killed again and again.
fn resumed(p: &Params, killed: &Condition) -> Option<Figure> {
    let trial = typical(killed)?;
    let done = trial.traces.get("done")?.clone();
    let first = done.first()?.0;
    let shifted = |points: &[(f64, f64)]| -> Vec<(f64, f64)> {
        points.iter().map(|(at, n)| (at - first, *n)).collect()
    };
    let points = shifted(&done);
    let changes = points.windows(2).map(|w| (w[1].0, w[1].1 - w[0].1));
    let steps = stairs(changes.collect(), 0.0);
    let kills = trial
        .traces
        .get("killed")
        .map(|k| shifted(k))
        .unwrap_or_default();
    let marks = kills.iter().enumerate().map(|(i, (at, _))| Mark {
        x: *at,
        interval: None,
        label: if i == 0 {
            "killed".into()
        } else {
            String::new()
        },
        colour: Colour::Vermilion,
    });
    let gauge = |name| trial.gauges.get(name).copied().unwrap_or(f64::NAN);
    let requests = gauge("upstream_arrived") - p.expected().requests as f64;
    Some(Figure {
        id: "killed".into(),
        title: format!(
            "Killed {} times: {} items done, {} twice, {} lost",
            kills.len(),
            number(gauge("in_database") + gauge("in_fallback") + gauge("books_failed")),
            number(gauge("twice")),
            number(gauge("lost"))
        ),
        subtitle: format!(
            "A process of its own, ended by SIGKILL at random moments and started again. {} requests had to be made again",
            number(requests.max(0.0))
        ),
        desc: "Items accounted for over time: the line rises, stands still after each kill while the process starts again, and goes on from where it was.".into(),
        body: Body::Panels(Panels {
            x: Axis::linear("time", Unit::Seconds),
            panels: vec![panel(
                "Items accounted for",
                "in the database, in the fallback file, or failed",
                1.4,
                vec![trace("done", Colour::Blue, steps)],
            )],
            marks: marks.collect(),
        }),
    })
}

/// The event loop while another program has the database locked.
fn beats(p: &Params, blocked: &Condition, free: &Condition) -> Figure {
    let lane = |k: &Condition, title: &str, note: &str| {
        let gap = |t: &Trial| t.gauges.get("longest_gap_s").copied().unwrap_or(f64::NAN);
        let trial = k.typical(gap)?;
        let start = trial.started_s();
        let beats = trial.traces.get("beats")?.iter().map(|(at, _)| at - start);
        Some(BeatLane {
            title: title.into(),
            note: note.into(),
            beats: beats.collect(),
            longest_gap: gap(trial),
        })
    };
    let lanes: Vec<BeatLane> = [
        lane(blocked, "On the event loop", "SQLite called in place"),
        lane(free, "On a thread", "a channel of 64 places before it"),
    ]
    .into_iter()
    .flatten()
    .collect();
    let last = |lane: &BeatLane| lane.beats.last().copied().unwrap_or(0.0);
    let gap = |k: &Condition| cell(k.gauge("longest_gap_s"), seconds);
    Figure {
        id: "locked".into(),
        title: format!(
            "A locked database stops the event loop for {}; behind a thread, no gap above {}",
            gap(blocked),
            gap(free)
        ),
        subtitle: format!(
            "Another program holds the lock for {} after the first item has come. A beat every {}",
            p.lock, p.beat
        ),
        desc: "Heartbeats of the event loop in two lanes: one long gap where SQLite is called on the loop, none where it has a thread of its own.".into(),
        body: Body::Beats(Beats {
            until: lanes.iter().map(last).fold(0.0, f64::max),
            threshold: 3.0 * p.beat.s(),
            lanes,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::{Args, Command, FromArgMatches};

    pub(crate) fn params(flags: &[&str]) -> Params {
        let command = Params::augment_args(Command::new("lab12")).no_binary_name(true);
        Params::from_arg_matches(&command.get_matches_from(flags)).unwrap()
    }

    #[test]
    fn the_pattern_of_the_source() {
        let expected = params(&[]).expected();
        let counts = (expected.in_database, expected.in_fallback, expected.failed);
        assert_eq!((counts, expected.requests), ((81, 4, 15), 115));
        // Numbered from 1 it would be another one.
        assert_eq!((1..=100).filter(|i| params(&[]).fails(*i)).count(), 14);
        // Counted by arrival at the database it is the same: every 20th of 85 writes.
        assert_eq!((expected.in_database + expected.in_fallback) / 20, 4);
    }

    #[test]
    fn every_item_has_one_fate_whatever_the_pattern() {
        for fail in 0..9 {
            for hang in 0..9 {
                let flags = [fail, hang].map(|n: usize| n.to_string());
                let p = params(&[
                    "--items",
                    "37",
                    "--fail-every",
                    &flags[0],
                    "--hang-every",
                    &flags[1],
                ]);
                let e = p.expected();
                assert_eq!(e.in_database + e.in_fallback + e.failed, 37);
                assert_eq!(e.failed > 0, fail > 0);
                assert_eq!(e.requests, 37 + e.failed);
            }
        }
    }

    #[test]
    fn hanging_writes_hold_up_batches_more_than_a_window() {
        let p = params(&[]);
        let items = Means::of_flags(&p, 2.0).items(&p, &BTreeMap::new());
        let (batches, window) = (play(&p, &items, "batches"), play(&p, &items, "window"));
        assert!(batches.makespan > 1.5 * window.makespan);
        // What is done is the same.
        for (b, w) in batches.busy.iter().zip(&window.busy) {
            assert!((b - w).abs() < 1e-9);
        }
    }
}
