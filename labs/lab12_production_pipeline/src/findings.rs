//! Theory beside measurement for lab12.

use std::collections::BTreeMap;

use lab_kit::{prelude::*, theory::Stage};

use super::{
    Params, gauges, premise, python,
    replay::{Admission, Replay, Times, replay},
};

/// Mean seconds that a stage takes for an item: of the flags, or as measured in another condition. What is
/// added to the flags' times (timers that end late, workers that share the processors with the event loop
/// and the upstream) is not the lesson; what the schedule makes of it is.
#[derive(Clone, Copy, Debug)]
struct Means {
    fetch: f64,
    process: f64,
    store: f64,
    /// What they were taken from.
    origin: Origin,
}

impl Means {
    /// Of the flags, with workers on as many processors as are given.
    fn of_flags(p: &Params, width: impl Into<Given>) -> Means {
        let width = width.into();
        Means {
            fetch: p.fetch.s(),
            process: Stage::on_processors(p.process.s(), busiest(p), width.value).service,
            store: p.store.s(),
            origin: width.origin(),
        }
    }

    /// Of a condition with this pattern of faults: of items that neither fail nor hang.
    fn measured(p: &Params, k: &Condition) -> Option<Means> {
        let mean = |stage: &'static str| {
            let of = |trial: &Trial| {
                let times = durations(trial, stage);
                let usual = times.iter().filter(|(i, _)| !p.fails(**i) && !p.hangs(**i));
                let usual: Vec<f64> = usual.map(|(_, time)| *time).collect();
                (!usual.is_empty()).then(|| usual.iter().sum::<f64>() / usual.len() as f64)
            };
            Some(k.estimate(of)?.value)
        };
        Some(Means {
            fetch: mean("fetch")?,
            process: mean("process")?,
            store: mean("store")?,
            origin: k.origin(),
        })
    }

    /// Whether they are those of the flags but for late timers and shared processors. What lies farther off is
    /// another pipeline's.
    fn near(&self, flags: &Means) -> bool {
        let pairs = [
            (self.fetch, flags.fetch),
            (self.process, flags.process),
            (self.store, flags.store),
        ];
        let mut pairs = pairs.into_iter();
        pairs.all(|(mean, flag)| (flag / 1.5..=1.5 * flag + 0.01).contains(&mean))
    }

    /// Times of each item, stage by stage: one that fails ends after its fetch.
    fn items(&self, p: &Params) -> Vec<Times> {
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
            vec![self.fetch, self.process, stored]
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

/// Seconds that the items take, roughly: for what a run needs.
pub(super) fn takes(p: &Params, way: &str) -> f64 {
    play(p, &Means::of_flags(p, 1.0).items(p), way).makespan
}

/// One way of letting items in, under one kind of trouble.
struct Arm<'a> {
    trouble: &'static str,
    way: &'static str,
    condition: Condition<'a>,
    /// Of another condition, and what theory makes of them: none where fetches take random times, which
    /// only what was drawn says.
    theory: Option<(Means, Replay)>,
}

impl<'a> Arm<'a> {
    fn name(&self) -> String {
        format!("{}, {}", self.trouble, self.way)
    }

    fn all(p: &Params, summary: &Summary<'a>) -> Vec<Arm<'a>> {
        let calm = p.calm();
        let means = |series: &str, p: &Params| {
            let flags = Means::of_flags(p, summary.calibrated(|host| host.width(busiest(p))));
            let measured = summary.only(series).and_then(|k| Means::measured(p, &k));
            measured.filter(|means| means.near(&flags)).unwrap_or(flags)
        };
        let mut arms = Vec::new();
        for (trouble, series, p, means) in [
            ("faults", "faults", p, Some(means("calm/window", &calm))),
            ("no faults", "calm", &calm, Some(means("faults/window", p))),
            ("random fetches", "random", &calm, None),
        ] {
            for way in ["batches", "window"] {
                let condition = summary.only(&format!("{series}/{way}"));
                arms.extend(condition.map(|condition| Arm {
                    trouble,
                    way,
                    condition,
                    theory: means.map(|means| (means, play(p, &means.items(p), way))),
                }));
            }
        }
        arms
    }

    /// Seconds that all items take, from the means of another condition.
    fn makespan(&self) -> Option<Given> {
        let (means, replay) = self.theory.as_ref()?;
        Some(Given::new(replay.makespan, means.origin))
    }
}

/// All that was measured, with what theory says of it.
struct View<'a> {
    p: &'a Params,
    arms: Vec<Arm<'a>>,
    killed: Option<Condition<'a>>,
    careful: Option<Condition<'a>>,
    naive: Option<Condition<'a>>,
    blocked: Option<Condition<'a>>,
    free: Option<Condition<'a>>,
}

impl<'a> View<'a> {
    fn of(p: &'a Params, summary: &Summary<'a>) -> View<'a> {
        View {
            p,
            arms: Arm::all(p, summary),
            killed: summary.only("killed"),
            careful: summary.only("answers lost/careful"),
            naive: summary.only("answers lost/naive"),
            blocked: summary.only("locked/event loop"),
            free: summary.only("locked/writer"),
        }
    }

    fn arm(&self, trouble: &str, way: &str) -> Option<&Arm<'a>> {
        let mut arms = self.arms.iter();
        arms.find(|a| a.trouble == trouble && a.way == way)
    }

    /// How many times as long batches take as a window, under faults: by theory and as measured.
    fn barrier(&self) -> (Option<f64>, Option<Estimate>) {
        let arms = self
            .arm("faults", "batches")
            .zip(self.arm("faults", "window"));
        let Some((batches, window)) = arms else {
            return (None, None);
        };
        let theory = || Some(batches.makespan()?.value / window.makespan()?.value);
        let paired = |b: &Trial, w: &Trial| (w.wall_s > 0.0).then(|| b.wall_s / w.wall_s);
        (
            theory(),
            batches.condition.paired(&window.condition, paired),
        )
    }

    /// Conditions under the pattern of faults in which each item is to have the fate that it says.
    fn fated(&self) -> Vec<(&'static str, Condition<'a>)> {
        let arm = |way| self.arm("faults", way).map(|a| a.condition);
        let all = [
            ("batches", arm("batches")),
            ("window", arm("window")),
            ("killed and resumed", self.killed),
        ];
        let there = all.into_iter().filter_map(|(name, k)| Some((name, k?)));
        there.collect()
    }

    fn claims(&self) -> Vec<Claim> {
        let unasked = self.unasked();
        let of_the_pattern = |claims: Vec<Claim>| {
            let open = claims.into_iter();
            open.map(|claim| claim.unless(unasked.clone()))
        };
        let mut claims: Vec<Claim> = of_the_pattern(self.fates()).collect();
        claims.push(self.misplaced());
        claims.extend(self.requests());
        claims.extend(of_the_pattern(self.times().into()));
        claims.extend(of_the_pattern(vec![self.shares()]));
        claims.extend(of_the_pattern(self.answers_lost()));
        claims.extend(self.locked());
        claims
    }

    /// Why nothing is known of the pattern of faults: a server that runs elsewhere counts nothing, and fails as
    /// it likes.
    fn unasked(&self) -> Option<String> {
        let faults = self.arms.iter().filter(|a| a.trouble == "faults");
        let mut trials = faults.flat_map(|a| a.condition.trials());
        let elsewhere = trials.any(|t| t.gauge(gauge::UPSTREAM_ARRIVED).is_none());
        (elsewhere && self.p.expected().failed > 0).then(|| {
            let every = self.p.fail_every;
            format!("a target cannot be asked to fail every {every}th item: --fail-every 0")
        })
    }
}

pub(super) fn explain(p: &Params, summary: &Summary) -> Findings {
    let view = View::of(p, summary);
    let expected = p.expected();
    let (batches, window) = (view.arm("faults", "batches"), view.arm("faults", "window"));
    let (due, ratio) = view.barrier();

    let mut figures = Vec::new();
    figures.extend(batches.zip(window).map(|(b, w)| barrier(p, b, w, ratio)));
    figures.extend(window.and_then(|a| life(p, a)));
    figures.extend(view.killed.as_ref().and_then(|k| resumed(p, k)));
    figures.extend(
        view.blocked
            .zip(view.free)
            .map(|(blocked, free)| beats(p, &blocked, &free)),
    );

    let both = |t: &Trial| Some(t.gauge(gauges::TWICE)? + t.gauge(gauges::LOST)?);
    let answers = vec![
        Answer::near(
            "stored",
            window.and_then(|a| a.condition.estimate(stored)),
            (expected.in_database + expected.in_fallback) as f64,
        ),
        Answer::near("barrier", ratio, due.unwrap_or(f64::NAN)),
        Answer::near("twice", view.killed.and_then(|k| k.estimate(both)), 0.0),
    ];
    let of = |gauge: Gauge| cell(view.killed.and_then(|k| k.gauge(gauge)), number);
    let mut tables = vec![view.fates_table(), view.stages_table()];
    tables.extend(python::table(summary));
    Findings {
        headline: format!(
            "Killed {} times and resumed, the pipeline has {} items in the database, {} in the fallback file and {} failed: {} twice, {} lost. Batches take {} times as long as a window.",
            of(gauges::KILLS),
            of(gauges::IN_DATABASE),
            of(gauges::IN_FALLBACK),
            of(gauges::BOOKS_FAILED),
            of(gauges::TWICE),
            of(gauges::LOST),
            cell(ratio, number)
        ),
        figures,
        tables,
        claims: view.claims(),
        answers,
    }
}

/// Items with a result, in the database or in the file.
fn stored(t: &Trial) -> Option<f64> {
    Some(t.gauge(gauges::IN_DATABASE)? + t.gauge(gauges::IN_FALLBACK)?)
}

/// A figure of every trial; none where one of them was not killed on its way, as its condition says.
fn every(p: &Params, k: &Condition, figure: impl Fn(&Trial) -> Option<f64>) -> Option<Estimate> {
    let on_its_way = |t: &Trial| k.series() != "killed" || premise::killed_on_its_way(p, t);
    let all = k.trials().iter().all(on_its_way);
    k.every(figure).filter(|_| all)
}

impl View<'_> {
    /// A count that must be right in each trial.
    fn exact(
        &self,
        name: impl Into<String>,
        k: &Condition,
        gauge: Gauge,
        predicted: usize,
    ) -> Case {
        let seen = every(self.p, k, |t| t.gauge(gauge));
        Case::exact(name, predicted as f64, seen)
    }

    /// The same of a count that a machine which stands still may change.
    fn whole(
        &self,
        name: impl Into<String>,
        k: &Condition,
        gauge: Gauge,
        predicted: usize,
    ) -> Case {
        let tolerance = 0.5;
        Case {
            tolerance,
            ..self.exact(name, k, gauge, predicted)
        }
    }

    /// What becomes of the items, as database and file say at the end.
    fn fates(&self) -> Vec<Claim> {
        let expected = self.p.expected();
        let fated = self.fated();
        let all_stored = expected.in_database + expected.in_fallback;
        let fates = fated.iter().flat_map(|(arm, k)| {
            let stored = every(self.p, k, stored);
            [
                Case::exact(format!("{arm}, stored"), all_stored as f64, stored),
                self.exact(
                    format!("{arm}, failed"),
                    k,
                    gauges::BOOKS_FAILED,
                    expected.failed,
                ),
            ]
        });
        let answered = fated.iter().flat_map(|(arm, k)| {
            let in_file = format!("{arm}, in the file");
            [
                self.whole(*arm, k, gauges::IN_DATABASE, expected.in_database),
                self.whole(in_file, k, gauges::IN_FALLBACK, expected.in_fallback),
            ]
        });
        // A write is answered long before its timeout, or hangs.
        let spare = (self.p.store_timeout.s() - self.p.store.s()) / 2.0;
        vec![
            Law::counted(
                "each item is stored or failed, as the pattern of faults says, however they are let in and however often the process is killed",
                "items",
            )
            .near(fates),
            Law::new(
                "those whose write is answered in time are in the database, the others in the fallback file",
                "items",
                Disturbed::Beyond(Resource::Timers, spare),
            )
            .within("half an item: items are whole")
            .near(answered),
        ]
    }

    /// Items that are in two places, or in none.
    fn misplaced(&self) -> Claim {
        let fated = self.fated();
        let wrong = fated.iter().flat_map(|(arm, k)| {
            [gauges::TWICE, gauges::LOST]
                .map(|gauge| self.exact(format!("{arm}, {gauge}"), k, gauge, 0))
        });
        Law::counted("no item is stored twice and none is lost", "items").near(wrong)
    }

    /// What the upstream was asked for, as it counted.
    fn requests(&self) -> Vec<Claim> {
        let (p, expected) = (self.p, self.p.expected());
        // What was under way when the process ended is fetched again, each at most with all its
        // attempts.
        let most = expected.requests + p.kills * p.batch * p.attempts;
        let killed = self.killed.iter().map(|k| {
            let asked = every(p, k, |t| t.gauge(gauge::UPSTREAM_ARRIVED));
            Case::exact("killed and resumed", most as f64, asked)
        });
        // Where nothing fails, or nothing is tried again, there is nobody to save.
        let retries = expected.failed * (p.attempts - 1) > 0;
        let saved_nobody = |t: &Trial| {
            let by_500 = |kind: &String| kind.starts_with("fetch: status 500");
            t.failed == expected.failed as u64 && t.failures.keys().all(by_500)
        };
        let arms = self
            .arms
            .iter()
            .filter(|a| a.trouble == "faults" && retries);
        let asked = arms.map(|a| {
            let asked = a.condition.every(|t| t.gauge(gauge::UPSTREAM_ARRIVED));
            let nobody = a.condition.trials().iter().all(saved_nobody);
            Case::exact(a.way, expected.requests as f64, asked.filter(|_| nobody))
        });
        vec![
            Law::counted(
                "only what was under way at a kill is done again: at most so many requests in all",
                "requests",
            )
            .at_most(killed),
            Law::counted(
                "retries of answers that are always 500 save nobody and cost one request each",
                "requests",
            )
            .near(asked),
        ]
    }

    /// How long it takes.
    fn times(&self) -> [Claim; 2] {
        let p = self.p;
        let of_means = self.arms.iter().filter_map(|a| {
            Some(Case::share(
                a.name(),
                a.makespan()?,
                a.condition.wall_s(),
                0.05,
            ))
        });
        let as_taken = self.arms.iter().map(|a| {
            let theory = |t: &Trial| play(p, &as_taken(p, t, a.way), a.way).makespan;
            let predicted = a
                .condition
                .estimate(|t| Some(theory(t)).filter(|s| *s > 0.0));
            // Each trial against the schedule of its own times.
            let ratio = |t: &Trial| Some(t.wall_s / Some(theory(t)).filter(|s| *s > 0.0)?);
            let predicted = predicted.map_or(f64::NAN.into(), Given::from);
            let ratio = a.condition.estimate(ratio);
            Case::share(
                a.name(),
                predicted,
                ratio.map(|r| r.scaled(predicted.value)),
                0.05,
            )
        });
        let law = |text| Law::new(text, "s", Disturbed::Longer(Resource::Timers));
        [
            law("batches take the sum of their slowest items, a window what its schedule says: from the mean times of the stages in another arm, and the pattern of faults")
                .within("5 %: items do not all take the mean, and a slower one in a batch holds it up")
                .near(of_means),
            law("from what each item itself took at each stage, they take what the schedules say")
                .within("5 %: what happens between the stages is in nobody's times")
                .near(as_taken),
        ]
    }

    /// How busy the stages are.
    fn shares(&self) -> Claim {
        let stages = self.arm("faults", "window").map(|a| stages(self.p, a));
        let shares = stages
            .into_iter()
            .flatten()
            .filter_map(|s| Some(Case::share(s.name, s.predicted?, s.busy, 0.07).scaled(100.0)));
        Law::new(
            "each stage of the window is busy for its share of the time",
            "%",
            Disturbed::Either(Resource::Processors),
        )
        .within("7 %: 5 % for the time of all, and what an item takes differs from arm to arm")
        .near(shares)
    }

    /// What a timeout says.
    fn answers_lost(&self) -> Vec<Claim> {
        let hung = self.p.expected().in_fallback;
        // Without a hanging write no answer is lost.
        let lost = |_: &&Condition| hung > 0;
        let naive = self
            .naive
            .iter()
            .filter(lost)
            .map(|k| self.whole("taken for lost", k, gauges::TWICE, hung));
        let careful = self
            .careful
            .iter()
            .filter(lost)
            .map(|k| self.exact("asked for", k, gauges::TWICE, 0));
        vec![
            Law::new(
                "when the write is done and its answer lost, who falls back at once stores those items twice",
                "items twice",
                Disturbed::Either(Resource::Timers),
            )
            .within("half an item: items are whole")
            .near(naive),
            Law::counted("who asks first stores none of them twice", "items twice").near(careful),
        ]
    }

    /// What blocks.
    fn locked(&self) -> Vec<Claim> {
        let (lock, beat) = (self.p.lock.s(), self.p.beat.s());
        let again = looked_again(lock);
        let blocked = self.blocked.iter().map(|k| {
            let gap = k.estimate(|t| t.gauge(gauges::LONGEST_GAP_S));
            Case::new("event loop", again + beat / 2.0, gap, beat / 2.0 + 3e-3)
        });
        // The lock is a few milliseconds older than the call that meets it.
        let tossed = (looked_again(lock - 5e-3) != again)
            .then(|| "the lock ends just when SQLite looks again, a coin toss".to_string());
        let free = self.free.iter().map(|k| {
            let gap = k.every(|t| t.gauge(gauges::LONGEST_GAP_S));
            Case::exact("a thread of their own", beat + lock / 10.0, gap)
        });
        vec![
            Law::new(
                "calls of SQLite on the event loop stop it for as long as another program has the lock, until SQLite looks again",
                "s",
                Disturbed::Longer(Resource::Timers),
            )
            .within("half a beat, and 3 ms: the last beat may be a whole one old, and eight sleeps end late")
            .near(blocked)
            .unless(tossed),
            Law::new(
                "on a thread of their own they stop nobody: no gap is longer than a beat and a tenth of the lock",
                "s",
                Disturbed::Longer(Resource::Timers),
            )
            .goal()
            .at_most(free),
        ]
    }

    fn fates_table(&self) -> Table {
        let (p, expected) = (self.p, self.p.expected());
        let mut fates = Table::new(
            "What became of the items",
            &[
                "", "database", "fallback", "failed", "twice", "lost", "time", "theory", "requests",
            ],
        );
        let mut row = |name: String, k: &Condition, theory: Option<f64>| {
            let of = |gauge: Gauge| cell(k.gauge(gauge), number);
            fates.row([
                name,
                of(gauges::IN_DATABASE),
                of(gauges::IN_FALLBACK),
                of(gauges::BOOKS_FAILED),
                of(gauges::TWICE),
                of(gauges::LOST),
                cell(k.wall_s(), seconds),
                theory.map_or("–".into(), seconds),
                of(gauge::UPSTREAM_ARRIVED),
            ]);
        };
        for a in &self.arms {
            row(a.name(), &a.condition, a.makespan().map(|m| m.value));
        }
        for (name, k) in [
            (
                format!("faults, window, killed {} times", p.kills),
                self.killed,
            ),
            ("answer lost, fall back at once".into(), self.naive),
            ("answer lost, ask first".into(), self.careful),
        ] {
            if let Some(k) = k {
                row(name, &k, None);
            }
        }
        fates.note = format!(
            "Of {} items, {} fail at their fetch; of the others, the writes of {} get no answer. \"Twice\" and \"lost\" are counted in the database and the file, not by the pipeline. Theory: from the mean times of the stages without faults for those with faults, and the other way round.",
            p.items, expected.failed, expected.in_fallback
        );
        fates
    }

    fn stages_table(&self) -> Table {
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
        let window = self.arm("faults", "window");
        let stages = window.map_or(vec![], |a| stages(self.p, a));
        for s in &stages {
            table.row([
                s.name.into(),
                s.width.to_string(),
                cell(s.mean, seconds),
                cell(s.busy, percent),
                s.predicted.map_or("–".into(), |share| percent(share.value)),
                s.wider.map_or("–".into(), seconds),
            ]);
        }
        let busy = |s: &Occupied| s.busy.map_or(f64::NAN, |busy| busy.value);
        let busiest = stages.iter().max_by(|a, b| busy(a).total_cmp(&busy(b)));
        if let Some(s) = busiest {
            table.note = format!(
                "The one to widen is the busiest, {}, whatever takes longest on average. Times with twice the width are theory's, from the mean times of the stages.",
                s.name
            );
        }
        table
    }
}

/// When SQLite looks again at a database that was locked for so long: its own waits, one after another
/// (`sqliteDefaultBusyCallback`).
fn looked_again(lock: f64) -> f64 {
    const WAITS_MS: [u32; 12] = [1, 2, 5, 10, 15, 20, 25, 25, 25, 50, 50, 100];
    let last = std::iter::repeat(&WAITS_MS[11]);
    let mut at = 0.0;
    for wait in WAITS_MS.iter().chain(last) {
        if at >= lock {
            break;
        }
        at += f64::from(*wait) / 1e3;
    }
    at
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
    predicted: Option<Given>,
    /// Seconds that all would take with twice the width.
    wider: Option<f64>,
}

fn stages(p: &Params, arm: &Arm) -> Vec<Occupied> {
    let k = &arm.condition;
    let theory = arm.theory.as_ref();
    let retimed = |p: &Params| {
        let (means, _) = theory?;
        Some(play(p, &means.items(p), "window").makespan)
    };
    let share = |busy: fn(&Replay, usize) -> f64, at: usize, width: usize| {
        let (means, replay) = theory?;
        let share = busy(replay, at) / (width as f64 * replay.makespan);
        Some(Given::new(share, means.origin))
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
    let stage = |name: &'static str, at: usize, width: usize| Occupied {
        name,
        width,
        mean: k.estimate(|t| {
            let times = durations(t, name);
            let n = times.len() as f64;
            (n > 0.0).then(|| times.values().sum::<f64>() / n)
        }),
        busy: k.estimate(|t| Some(t.gauge(gauges::BUSY_S.of(name))? / (width as f64 * t.wall_s))),
        predicted: share(|replay, at| replay.busy[at], at, width),
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
            predicted: share(|replay, _| replay.inside, 0, p.batch),
            wider: retimed(&widened),
        },
        stage("fetch", 0, p.batch),
        stage("process", 1, p.workers),
        Occupied {
            wider: retimed(&connected),
            ..stage("store", 2, p.connections)
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
        if let Some((_, theory)) = &arm.theory {
            let theory = theory.left.iter().map(|at| (*at, 1.0)).collect();
            let theory = stairs(theory, 0.0);
            done.push(Layer::Line(Line::theory("", Colour::Muted, theory)));
        }
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
            "{} items, {} under way; {} hanging writes of {}. Drawn: one of {} trials each; dashed: theory",
            p.items,
            p.batch,
            p.expected().in_fallback,
            p.store_timeout,
            window.condition.trials().len()
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
fn life(p: &Params, window: &Arm) -> Option<Figure> {
    let mut counts: BTreeMap<&str, Vec<(f64, f64)>> = BTreeMap::new();
    let trial = typical(&window.condition)?;
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
    Some(Figure {
        id: "life".into(),
        title: format!(
            "Pending, fetched, processed: {} of {} items end stored, {} failed",
            number(stored(trial)?),
            p.items,
            number(trial.gauge(gauges::BOOKS_FAILED)?)
        ),
        subtitle: format!(
            "Items by status in the window, in one trial; {} of those stored are in the fallback file",
            number(trial.gauge(gauges::IN_FALLBACK)?)
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
    })
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
    let gauge = |name: Gauge| trial.gauge(name).unwrap_or(f64::NAN);
    let requests = gauge(gauge::UPSTREAM_ARRIVED) - p.expected().requests as f64;
    Some(Figure {
        id: "killed".into(),
        title: format!(
            "Killed {} times: {} items done, {} twice, {} lost",
            kills.len(),
            number(gauge(gauges::IN_DATABASE) + gauge(gauges::IN_FALLBACK) + gauge(gauges::BOOKS_FAILED)),
            number(gauge(gauges::TWICE)),
            number(gauge(gauges::LOST))
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
        let gap = |t: &Trial| t.gauge(gauges::LONGEST_GAP_S).unwrap_or(f64::NAN);
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
    let gap = |at: usize| {
        lanes
            .get(at)
            .map_or("–".into(), |l: &BeatLane| seconds(l.longest_gap))
    };
    Figure {
        id: "locked".into(),
        title: format!(
            "A locked database stops the event loop for {}; behind a thread, no gap above {}",
            gap(0),
            gap(1)
        ),
        subtitle: format!(
            "Another program holds the lock for {} after the first item has come. A beat every {}. Drawn: the trial with the median gap of {} each",
            p.lock,
            p.beat,
            blocked.trials().len()
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
    fn sqlite_looks_again_after_its_own_waits() {
        for (lock, at) in [
            (0.0, 0.0),
            (0.001, 0.001),
            (0.1, 0.103),
            (0.104, 0.128),
            (0.5, 0.528),
        ] {
            assert!((looked_again(lock) - at).abs() < 1e-9, "{lock}");
        }
    }

    #[test]
    fn hanging_writes_hold_up_batches_more_than_a_window() {
        let p = params(&[]);
        let items = Means::of_flags(&p, 2.0).items(&p);
        let (batches, window) = (play(&p, &items, "batches"), play(&p, &items, "window"));
        assert!(batches.makespan > 1.5 * window.makespan);
        // What is done is the same.
        for (b, w) in batches.busy.iter().zip(&window.busy) {
            assert!((b - w).abs() < 1e-9);
        }
    }
}
