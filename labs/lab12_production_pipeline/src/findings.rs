//! Theory beside measurement for lab12.

use std::collections::BTreeMap;

use lab_kit::{prelude::*, stats::mean, theory::Stage};

use super::{
    Params, gauges, languages, premise,
    replay::{Replay, Times, Way, replay},
};

/// Where the pipeline works on an item, one after another.
const STAGES: [&str; 3] = ["fetch", "process", "store"];

pub(super) fn explain(p: &Params, summary: &Summary) -> Findings {
    let view = View::of(p, summary);
    let figures = [view.beside_each_other(), view.life(), view.resumed(), view.beats()];
    let tables = [Some(view.fates_table()), Some(view.stages_table()), languages::table(summary)];
    Findings {
        headline: view.headline(),
        figures: figures.into_iter().flatten().collect(),
        tables: tables.into_iter().flatten().collect(),
        claims: [view.claims(), languages::claims(p, summary)].concat(),
        answers: view.answers(),
    }
}

/// Mean seconds that a stage takes for an item: of the flags, or as measured in another condition. What is
/// added to the flags' times (timers that end late, workers that share the processors with the event loop
/// and the upstream) is not the lesson; what the schedule makes of it is.
#[derive(Clone, Copy, Debug)]
struct Means {
    /// In the order of [`STAGES`].
    stages: [f64; 3],
    /// What they were taken from.
    origin: Origin,
}

impl Means {
    /// Of the flags, with workers on as many processors as are given.
    fn of_flags(p: &Params, width: impl Into<Given>) -> Means {
        let width = width.into();
        let process = Stage::on_processors(p.process.s(), busiest(p), width.value);
        let fetch = p.fetch.s() * p.mean_factor();
        Means { stages: [fetch, process.service, p.store.s()], origin: width.origin() }
    }

    /// Of a condition with this pattern of faults: of items that neither fail nor hang.
    fn measured(p: &Params, k: &Condition) -> Option<Means> {
        let usual = |trial: &Trial, stage| {
            let times = durations(trial, stage).into_iter();
            let usual = times.filter(|(i, _)| !p.fails(*i) && !p.hangs(*i));
            usual.map(|(_, time)| time).collect::<Vec<_>>()
        };
        let stages = STAGES.map(|stage| k.estimate(|t| Some(mean(&usual(t, stage)))));
        let [fetch, process, store] = stages.map(|mean| mean.map(|m| m.value));
        Some(Means { stages: [fetch?, process?, store?], origin: k.origin() })
    }

    /// Whether they are those of the flags but for late timers and shared processors. What lies farther off is
    /// another pipeline's.
    fn near(&self, flags: &Means) -> bool {
        let mut pairs = self.stages.iter().zip(flags.stages);
        pairs.all(|(mean, flag)| (flag / 1.5..=1.5 * flag + 0.01).contains(mean))
    }

    /// Times of each item, stage by stage: one that fails ends after its fetch.
    fn items(&self, p: &Params) -> Vec<Times> {
        let [fetch, process, store] = self.stages;
        // Full jitter: half of each wait on average.
        let waits = p.backoff().ceilings().take(p.attempts - 1);
        let waited: f64 = waits.map(|w| w.as_secs_f64() / 2.0).sum();
        // What a write takes beside its way there and back, a hanging one takes as well.
        let hung = p.store_timeout.s() + (store - p.store.s()).max(0.0);
        let item = |i: usize| {
            let fetch = fetch * p.factor(i) / p.mean_factor();
            match () {
                () if p.fails(i) => vec![p.attempts as f64 * fetch + waited],
                () if p.hangs(i) => vec![fetch, process, hung],
                () => vec![fetch, process, store],
            }
        };
        (0..p.items).map(item).collect()
    }
}

/// Workers that can be busy at once.
fn busiest(p: &Params) -> usize {
    p.workers.min(p.batch)
}

fn play(p: &Params, items: &[Times], way: Way) -> Replay {
    replay(items, &[p.batch, p.workers, p.connections], way, p.batch)
}

/// Seconds that the items take, roughly: for what a run needs.
pub(super) fn takes(p: &Params, way: Way) -> f64 {
    play(p, &Means::of_flags(p, 1.0).items(p), way).makespan
}

/// One way of letting items in, under one kind of trouble.
struct Arm<'a> {
    trouble: &'static str,
    way: Way,
    k: Condition<'a>,
    /// Of another condition, and what theory makes of them: none where fetches take random times, which
    /// only what was drawn says.
    theory: Option<(Means, Replay)>,
}

impl<'a> Arm<'a> {
    fn name(&self) -> String {
        format!("{}, {}", self.trouble, self.way)
    }

    fn all(p: &Params, summary: &Summary<'a>) -> Vec<Arm<'a>> {
        let calm = &p.calm();
        let width = summary.calibrated(|host| host.width(busiest(p)));
        let means = |series, p| {
            let flags = Means::of_flags(p, width);
            let measured = summary.only(series).and_then(|k| Means::measured(p, &k));
            Some(measured.filter(|m| m.near(&flags)).unwrap_or(flags))
        };
        let troubles = [
            ("faults", "faults", p, means("calm/window", calm)),
            ("no faults", "calm", calm, means("faults/window", p)),
            ("random fetches", "random", calm, None),
        ];
        let arms = troubles.map(|(trouble, series, p, means)| {
            Way::ALL.map(|way| {
                Some(Arm {
                    trouble,
                    way,
                    k: summary.only(&format!("{series}/{way}"))?,
                    theory: means.map(|means| (means, play(p, &means.items(p), way))),
                })
            })
        });
        arms.into_iter().flatten().flatten().collect()
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

    fn under_faults(&self) -> impl Iterator<Item = &Arm<'a>> {
        self.arms.iter().filter(|a| a.trouble == "faults")
    }

    /// Batches and the window under faults.
    fn batches_and_window(&self) -> [Option<&Arm<'a>>; 2] {
        Way::ALL.map(|way| self.under_faults().find(|a| a.way == way))
    }

    fn window(&self) -> Option<&Arm<'a>> {
        let [_, window] = self.batches_and_window();
        window
    }

    /// How many times as long batches take as a window, under faults.
    fn barrier(&self) -> Option<Estimate> {
        let [batches, window] = self.batches_and_window();
        let ratio = |b: &Trial, w: &Trial| (w.wall_s > 0.0).then(|| b.wall_s / w.wall_s);
        batches?.k.paired(&window?.k, ratio)
    }

    /// The same by theory.
    fn barrier_due(&self) -> Option<f64> {
        let [batches, window] = self.batches_and_window();
        Some(batches?.makespan()?.value / window?.makespan()?.value)
    }

    /// Conditions under the pattern of faults in which each item is to have the fate that it says.
    fn fated(&self) -> Vec<(&'static str, Condition<'a>)> {
        let [batches, window] = self.batches_and_window();
        let all = [
            ("batches", batches.map(|a| a.k)),
            ("window", window.map(|a| a.k)),
            ("killed and resumed", self.killed),
        ];
        let there = all.into_iter().filter_map(|(name, k)| Some((name, k?)));
        there.collect()
    }

    /// A figure that must be right in each trial by itself; none where one of them was not killed on its way, as
    /// its condition says.
    fn every(&self, k: &Condition, figure: impl Fn(&Trial) -> Option<f64>) -> Option<Estimate> {
        let on_its_way = |t: &Trial| premise::killed_on_its_way(self.p, t);
        let killed = k.series() != "killed" || k.trials().iter().all(on_its_way);
        k.every(figure).filter(|_| killed)
    }
}

/// Items with a result, in the database or in the file.
fn stored(t: &Trial) -> Option<f64> {
    Some(t.gauge(gauges::IN_DATABASE)? + t.gauge(gauges::IN_FALLBACK)?)
}

/// The claims and the answers.
impl View<'_> {
    fn claims(&self) -> Vec<Claim> {
        let unasked = self.unasked();
        let of_the_pattern = |claim: Claim| claim.unless(unasked.clone());
        let mut claims = Vec::new();
        claims.extend(self.fates().map(of_the_pattern));
        claims.push(self.misplaced());
        claims.extend(self.requests());
        claims.extend(self.times().map(of_the_pattern));
        claims.push(of_the_pattern(self.shares()));
        claims.extend(self.answers_lost().map(of_the_pattern));
        claims.extend(self.locked());
        claims
    }

    /// Why nothing is known of the pattern of faults: a server that runs elsewhere counts nothing, and fails as
    /// it likes.
    fn unasked(&self) -> Option<String> {
        let mut trials = self.under_faults().flat_map(|a| a.k.trials());
        let elsewhere = trials.any(|t| t.gauge(gauge::UPSTREAM_ARRIVED).is_none());
        (elsewhere && self.p.expected().failed > 0).then(|| {
            let every = self.p.fail_every;
            format!("a target cannot be asked to fail every {every}th item: --fail-every 0")
        })
    }

    /// A count that must be right in each trial.
    fn exact(&self, name: impl Into<String>, k: &Condition, gauge: Gauge, due: usize) -> Case {
        Case::exact(name, due as f64, self.every(k, |t| t.gauge(gauge)))
    }

    /// The same of a count that a machine which stands still may change.
    fn whole(&self, name: impl Into<String>, k: &Condition, gauge: Gauge, due: usize) -> Case {
        Case::new(name, due as f64, self.every(k, |t| t.gauge(gauge)), 0.5)
    }

    /// What becomes of the items, as database and file say at the end.
    fn fates(&self) -> [Claim; 2] {
        let (expected, fated) = (self.p.expected(), self.fated());
        let due = expected.stored() as f64;
        let fates = fated.iter().flat_map(|(arm, k)| {
            let failed = format!("{arm}, failed");
            [
                Case::exact(format!("{arm}, stored"), due, self.every(k, stored)),
                self.exact(failed, k, gauges::BOOKS_FAILED, expected.failed),
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
        let in_time = "those whose write is answered in time are in the database, the others in the fallback file";
        [
            Law::counted("each item is stored or failed, as the pattern of faults says, however they are let in and however often the process is killed", "items")
                .near(fates),
            Law::new(in_time, "items", Disturbed::Beyond(Resource::Timers, spare))
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
    fn requests(&self) -> [Claim; 2] {
        let (p, expected) = (self.p, self.p.expected());
        let arrived = gauge::UPSTREAM_ARRIVED;
        // What was under way when the process ended is fetched again, each at most with all its
        // attempts.
        let most = expected.requests + p.kills * p.batch * p.attempts;
        let killed = self.killed.iter();
        let killed = killed.map(|k| self.exact("killed and resumed", k, arrived, most));
        // Where nothing fails, or nothing is tried again, there is nobody to save.
        let retries = expected.failed * (p.attempts - 1) > 0;
        let saved_nobody = |t: &Trial| {
            let by_500 = |kind: &String| kind.starts_with("fetch: status 500");
            t.failed == expected.failed as u64 && t.failures.keys().all(by_500)
        };
        let arms = self.under_faults().filter(|_| retries);
        let asked = arms.map(|a| {
            let asked = a.k.every(|t| t.gauge(arrived));
            let nobody = a.k.trials().iter().all(saved_nobody);
            let asked = asked.filter(|_| nobody);
            Case::exact(a.way.name(), expected.requests as f64, asked)
        });
        let law = |text| Law::counted(text, "requests");
        [
            law("only what was under way at a kill is done again: at most so many requests in all")
                .at_most(killed),
            law("retries of answers that are always 500 save nobody and cost one request each")
                .near(asked),
        ]
    }

    /// How long it takes.
    fn times(&self) -> [Claim; 2] {
        let of_means = self.arms.iter().filter_map(|a| {
            let makespan = a.makespan()?;
            Some(Case::share(a.name(), makespan, a.k.wall_s(), 0.05))
        });
        let as_taken = self.arms.iter().map(|a| {
            let theory = |t: &Trial| {
                let played = play(self.p, &as_taken(self.p, t, a.way), a.way);
                Some(played.makespan).filter(|s| *s > 0.0)
            };
            let predicted = a.k.estimate(theory).map_or(f64::NAN.into(), Given::from);
            // Each trial against the schedule of its own times.
            let ratio = a.k.estimate(|t| Some(t.wall_s / theory(t)?));
            let measured = ratio.map(|r| r.scaled(predicted.value));
            Case::share(a.name(), predicted, measured, 0.05)
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
        let stages = self.stages().into_iter();
        let shares = stages
            .filter_map(|s| Some(Case::share(s.name, s.predicted?, s.busy, 0.07).scaled(100.0)));
        let text = "each stage of the window is busy for its share of the time";
        Law::new(text, "%", Disturbed::Either(Resource::Processors))
            .within("7 %: 5 % for the time of all, and what an item takes differs from arm to arm")
            .near(shares)
    }

    /// What a timeout says.
    fn answers_lost(&self) -> [Claim; 2] {
        let hung = self.p.expected().in_fallback;
        // Without a hanging write no answer is lost.
        let lost = |_: &Condition| hung > 0;
        let naive = self.naive.filter(lost);
        let naive = naive.map(|k| self.whole("taken for lost", &k, gauges::TWICE, hung));
        let careful = self.careful.filter(lost);
        let careful = careful.map(|k| self.exact("asked for", &k, gauges::TWICE, 0));
        let text = "when the write is done and its answer lost, who falls back at once stores those items twice";
        [
            Law::new(text, "items twice", Disturbed::Either(Resource::Timers))
                .within("half an item: items are whole")
                .near(naive),
            Law::counted("who asks first stores none of them twice", "items twice").near(careful),
        ]
    }

    /// What blocks.
    fn locked(&self) -> [Claim; 2] {
        let (lock, beat) = (self.p.lock.s(), self.p.beat.s());
        let again = looked_again(lock);
        let blocked = self.blocked.map(|k| {
            let gap = k.gauge(gauges::LONGEST_GAP_S);
            Case::new("event loop", again + beat / 2.0, gap, beat / 2.0 + 3e-3)
        });
        let free = self.free.map(|k| {
            let gap = k.every(|t| t.gauge(gauges::LONGEST_GAP_S));
            Case::exact("a thread of their own", beat + lock / 10.0, gap)
        });
        // The lock is a few milliseconds older than the call that meets it.
        let tossed = (looked_again(lock - 5e-3) != again)
            .then(|| "the lock ends just when SQLite looks again, a coin toss".to_string());
        let law = |text| Law::new(text, "s", Disturbed::Longer(Resource::Timers));
        [
            law("calls of SQLite on the event loop stop it for as long as another program has the lock, until SQLite looks again")
                .within("half a beat, and 3 ms: the last beat may be a whole one old, and eight sleeps end late")
                .near(blocked)
                .unless(tossed),
            law("on a thread of their own they stop nobody: no gap is longer than a beat and a tenth of the lock")
                .goal()
                .at_most(free),
        ]
    }

    fn answers(&self) -> Vec<Answer> {
        let due = self.p.expected().stored() as f64;
        let measured = self.window().and_then(|a| a.k.estimate(stored));
        let misplaced = |t: &Trial| Some(t.gauge(gauges::TWICE)? + t.gauge(gauges::LOST)?);
        let misplaced = self.killed.and_then(|k| k.estimate(misplaced));
        let barrier = self.barrier_due().unwrap_or(f64::NAN);
        vec![
            Answer::near("stored", measured, due),
            Answer::near("barrier", self.barrier(), barrier),
            Answer::near("twice", misplaced, 0.0),
        ]
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

/// From when to when each item was at a stage.
fn spans(trial: &Trial, stage: &str) -> BTreeMap<usize, (f64, f64)> {
    let spans = trial.spans.iter().filter(|s| s.lane == stage);
    let spans = spans.filter_map(|s| Some((s.name.parse().ok()?, (s.start_s, s.end_s))));
    spans.collect()
}

/// Seconds of each item at a stage.
fn durations(trial: &Trial, stage: &str) -> BTreeMap<usize, f64> {
    let spans = spans(trial, stage).into_iter();
    spans.map(|(i, (start, end))| (i, end - start)).collect()
}

/// What each item took, stage by stage. Those let in together are sent one after another, some 50 µs
/// each; counted from the first of them they come back in the order in which they did.
fn as_taken(p: &Params, trial: &Trial, way: Way) -> Vec<Times> {
    let fetches = spans(trial, "fetch");
    let later = ["process", "store"].map(|stage| durations(trial, stage));
    let first = |i: usize| match way {
        Way::Batches => i - i % p.batch,
        Way::Window if i < p.batch => 0,
        Way::Window => i,
    };
    let item = |i: usize| -> Option<Times> {
        let ((sent, _), (_, fetched)) = (fetches.get(&first(i))?, fetches.get(&i)?);
        let later = later.iter().map_while(|stage| stage.get(&i));
        let fetch = (fetched - sent).max(0.0);
        Some(std::iter::once(fetch).chain(later.copied()).collect())
    };
    (0..p.items).map(|i| item(i).unwrap_or_default()).collect()
}

/// From when to when each item was under way, by what was done with it.
fn lives(trial: &Trial) -> BTreeMap<&str, (f64, f64)> {
    let mut lives: BTreeMap<&str, (f64, f64)> = BTreeMap::new();
    for span in &trial.spans {
        let life = lives.entry(&span.name).or_insert((span.start_s, span.end_s));
        *life = (life.0.min(span.start_s), life.1.max(span.end_s));
    }
    lives
}

/// Seconds that each item was under way.
fn ages(trial: &Trial) -> Vec<f64> {
    let lives = lives(trial).into_values();
    lives.map(|(start, end)| end - start).collect()
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

/// What theory says, if it says anything.
fn written(theory: Option<impl Into<Given>>, write: fn(f64) -> String) -> String {
    theory.map_or("–".into(), |theory| write(theory.into().value))
}

/// The tables.
impl View<'_> {
    /// What of the window is occupied under faults.
    fn stages(&self) -> Vec<Occupied> {
        let p = self.p;
        let Some(Arm { k, theory, .. }) = self.window() else {
            return vec![];
        };
        let share = |busy: fn(&Replay, usize) -> f64, at: usize, width: usize| {
            let (means, replay) = theory.as_ref()?;
            let share = busy(replay, at) / (width as f64 * replay.makespan);
            Some(Given::new(share, means.origin))
        };
        let wider = |batch, connections| {
            let (means, _) = theory.as_ref()?;
            let p = &Params { batch, connections, ..p.clone() };
            Some(play(p, &means.items(p), Way::Window).makespan)
        };
        let under_way = |t: &Trial| {
            let inside = ages(t).iter().sum::<f64>();
            (t.wall_s > 0.0).then(|| inside / t.wall_s / p.batch as f64)
        };
        let stage = |at: usize, width: usize| {
            let name = STAGES[at];
            let times = |t: &Trial| durations(t, name).into_values().collect::<Vec<_>>();
            let room = |t: &Trial| width as f64 * t.wall_s;
            Occupied {
                name,
                width,
                mean: k.estimate(|t| Some(mean(&times(t)))),
                busy: k.estimate(|t| Some(t.gauge(gauges::BUSY_S.of(name))? / room(t))),
                predicted: share(|replay, at| replay.busy[at], at, width),
                wider: None,
            }
        };
        let window = Occupied {
            name: "the window",
            width: p.batch,
            mean: k.estimate(|t| Some(mean(&ages(t)))),
            busy: k.estimate(under_way),
            predicted: share(|replay, _| replay.inside, 0, p.batch),
            wider: wider(2 * p.batch, p.connections),
        };
        let store =
            Occupied { wider: wider(p.batch, 2 * p.connections), ..stage(2, p.connections) };
        vec![window, stage(0, p.batch), stage(1, p.workers), store]
    }

    fn fates_table(&self) -> Table {
        let (p, expected) = (self.p, self.p.expected());
        let arms = self.arms.iter();
        let arms = arms.map(|a| (a.name(), Some(a.k), a.makespan()));
        let killed = format!("faults, window, killed {} times", p.kills);
        let others = [
            (killed, self.killed, None),
            ("answer lost, fall back at once".into(), self.naive, None),
            ("answer lost, ask first".into(), self.careful, None),
        ];
        let rows = arms.chain(others);
        let rows = rows.filter_map(|(name, k, theory)| Some((name, k?, theory)));
        Table::of("What became of the items", rows)
            .column("", |r| r.0.clone())
            .cells("database", number, |r| r.1.gauge(gauges::IN_DATABASE))
            .cells("fallback", number, |r| r.1.gauge(gauges::IN_FALLBACK))
            .cells("failed", number, |r| r.1.gauge(gauges::BOOKS_FAILED))
            .cells("twice", number, |r| r.1.gauge(gauges::TWICE))
            .cells("lost", number, |r| r.1.gauge(gauges::LOST))
            .cells("time", seconds, |r| r.1.wall_s())
            .column("theory", |r| written(r.2, seconds))
            .cells("requests", number, |r| r.1.gauge(gauge::UPSTREAM_ARRIVED))
            .note(format!(
                "Of {} items, {} fail at their fetch; of the others, the writes of {} get no answer. \"Twice\" and \"lost\" are counted in the database and the file, not by the pipeline. Theory: from the mean times of the stages without faults for those with faults, and the other way round.",
                p.items, expected.failed, expected.in_fallback
            ))
    }

    fn stages_table(&self) -> Table {
        let stages = self.stages();
        let busy = |s: &&Occupied| s.busy.map_or(f64::NAN, |busy| busy.value);
        let busiest = stages.iter().max_by(|a, b| busy(a).total_cmp(&busy(b)));
        let note = |Occupied { name, .. }: &_| {
            format!(
                "The one to widen is the busiest, {name}, whatever takes longest on average. Times with twice the width are theory's, from the mean times of the stages."
            )
        };
        Table::of("Which stage holds the window back, under faults", &stages)
            .column("stage", |s| s.name.into())
            .column("at once", |s| s.width.to_string())
            .cells("mean time of an item", seconds, |s| s.mean)
            .cells("busy", percent, |s| s.busy)
            .column("theory", |s| written(s.predicted, percent))
            .column("twice as wide: time", |s| written(s.wider, seconds))
            .note(busiest.map(note).unwrap_or_default())
    }
}

/// A count that changes by so much at each instant, as a staircase.
fn stairs(changes: impl IntoIterator<Item = (f64, f64)>, from: f64) -> Vec<(f64, f64)> {
    let mut changes: Vec<(f64, f64)> = changes.into_iter().collect();
    changes.sort_by(|a, b| a.0.total_cmp(&b.0));
    let (mut count, mut points) = (from, vec![(0.0, from)]);
    for (at, by) in changes {
        points.push((at, count));
        count += by;
        points.push((at, count));
    }
    points
}

/// The trial to draw.
fn typical<'a>(k: &Condition<'a>) -> Option<&'a Trial> {
    k.typical(|t| t.wall_s)
}

/// The charts.
impl View<'_> {
    fn headline(&self) -> String {
        let of = |gauge: Gauge| cell(self.killed.and_then(|k| k.gauge(gauge)), number);
        format!(
            "Killed {} times and resumed, the pipeline has {} items in the database, {} in the fallback file and {} failed: {} twice, {} lost. Batches take {} times as long as a window.",
            of(gauges::KILLS),
            of(gauges::IN_DATABASE),
            of(gauges::IN_FALLBACK),
            of(gauges::BOOKS_FAILED),
            of(gauges::TWICE),
            of(gauges::LOST),
            cell(self.barrier(), number)
        )
    }

    /// Batches beside a window: items done, and items under way.
    fn beside_each_other(&self) -> Option<Figure> {
        let (p, [batches, window]) = (self.p, self.batches_and_window());
        let (batches, window) = batches.zip(window)?;
        let mut done = Panel::new("Items done", Unit::Number).note("stored or failed").height(1.2);
        let mut under_way = Panel::new("Items under way", Unit::Number).height(0.8);
        for (arm, colour) in [(batches, Colour::Vermilion), (window, Colour::Blue)] {
            let Some(trial) = typical(&arm.k) else {
                continue;
            };
            let (from, lives) = (trial.started_s(), lives(trial));
            let ends = lives.values().map(|life| (life.1 - from, 1.0));
            let both = lives.values();
            let both = both.flat_map(|life| [(life.0 - from, 1.0), (life.1 - from, -1.0)]);
            let theory = arm.theory.as_ref().map(|(_, replay)| {
                let ends = replay.left.iter().map(|at| (*at, 1.0));
                Line::theory("", Colour::Muted, stairs(ends, 0.0))
            });
            let trace = |points| Line::trace(arm.way.name(), colour, points);
            done = done.layers(theory).layer(trace(stairs(ends, 0.0)));
            under_way = under_way.layer(trace(stairs(both, 0.0)));
        }
        let title = format!(
            "Waiting for the slowest of {}: batches take {} times as long as a window",
            p.batch,
            cell(self.barrier(), number)
        );
        Some(Figure::new("barrier", title)
            .subtitle(format!(
                "{} items, {} under way; {} hanging writes of {}. Drawn: one of {} trials each; dashed: theory",
                p.items,
                p.batch,
                p.expected().in_fallback,
                p.store_timeout,
                window.k.trials().len()
            ))
            .desc("Two panels over time: items done, a staircase for batches and a steady climb for the window; items under way, which fall towards one before each barrier.")
            .over(Axis::linear("time", Unit::Seconds), [done, under_way]))
    }

    /// How many items have which status.
    fn life(&self) -> Option<Figure> {
        let trial = typical(&self.window()?.k)?;
        let mut changes = changes_of_status(trial);
        let mut line = |status: &str, colour, from| {
            let changes = changes.remove(status).unwrap_or_default();
            Line::trace(status, colour, stairs(changes, from))
        };
        let ends = [
            line("pending", Colour::Ink, self.p.items as f64),
            line("stored", Colour::Green, 0.0),
            line("failed", Colour::Vermilion, 0.0),
        ];
        let between = [line("fetched", Colour::Sky, 0.0), line("processed", Colour::Purple, 0.0)];
        let title = format!(
            "Pending, fetched, processed: {} of {} items end stored, {} failed",
            number(stored(trial)?),
            self.p.items,
            number(trial.gauge(gauges::BOOKS_FAILED)?)
        );
        let in_file = number(trial.gauge(gauges::IN_FALLBACK)?);
        Some(Figure::new("life", title)
            .subtitle(format!("Items by status in the window, in one trial; {in_file} of those stored are in the fallback file"))
            .desc("Two panels over time: pending items fall while stored and failed ones rise; fetched and processed items on their way.")
            .over(Axis::linear("time", Unit::Seconds), [
                Panel::new("Not begun, and done", Unit::Number).note("items").layers(ends).height(1.2),
                Panel::new("On their way", Unit::Number)
                    .note("items that wait for the next stage or are in it")
                    .layers(between)
                    .height(0.8),
            ]))
    }

    /// A process that is killed again and again.
    fn resumed(&self) -> Option<Figure> {
        let trial = typical(&self.killed?)?;
        let (done, kills) = (trial.trace("done"), trial.trace("killed"));
        let from = done.first()?.0;
        let changes = done.windows(2).map(|w| (w[1].0 - from, w[1].1 - w[0].1));
        let marks = kills.iter().enumerate().map(|(i, (at, _))| {
            let label = if i == 0 { "killed" } else { "" };
            Mark::at(at - from, label, Colour::Vermilion)
        });
        let gauge = |name: Gauge| trial.gauge(name).unwrap_or(f64::NAN);
        let ended = stored(trial).unwrap_or(f64::NAN) + gauge(gauges::BOOKS_FAILED);
        let again = gauge(gauge::UPSTREAM_ARRIVED) - self.p.expected().requests as f64;
        let title = format!(
            "Killed {} times: {} items done, {} twice, {} lost",
            kills.len(),
            number(ended),
            number(gauge(gauges::TWICE)),
            number(gauge(gauges::LOST))
        );
        Some(Figure::new("killed", title)
            .subtitle(format!(
                "A process of its own, ended by SIGKILL at random moments and started again. {} requests had to be made again",
                number(again.max(0.0))
            ))
            .desc("Items accounted for over time: the line rises, stands still after each kill while the process starts again, and goes on from where it was.")
            .over(Axis::linear("time", Unit::Seconds), [
                Panel::new("Items accounted for", Unit::Number)
                    .note("in the database, in the fallback file, or failed")
                    .layer(Line::trace("done", Colour::Blue, stairs(changes, 0.0)))
                    .height(1.4),
            ])
            .marks(marks))
    }

    /// The event loop while another program has the database locked.
    fn beats(&self) -> Option<Figure> {
        let (p, blocked, free) = (self.p, self.blocked?, self.free?);
        let lanes = [
            lane(&blocked, "On the event loop", "SQLite called in place"),
            lane(&free, "On a thread", "a channel of 64 places before it"),
        ];
        let lanes: Vec<BeatLane> = lanes.into_iter().flatten().collect();
        let gap = |at: usize| lanes.get(at).map_or("–".into(), |l| seconds(l.longest_gap));
        let title = format!(
            "A locked database stops the event loop for {}; behind a thread, no gap above {}",
            gap(0),
            gap(1)
        );
        let last = |lane: &BeatLane| lane.beats.last().copied().unwrap_or(0.0);
        let beats = Beats {
            until: lanes.iter().map(last).fold(0.0, f64::max),
            threshold: 3.0 * p.beat.s(),
            lanes,
        };
        Some(Figure::new("locked", title)
            .subtitle(format!(
                "Another program holds the lock for {} after the first item has come. A beat every {}. Drawn: the trial with the median gap of {} each",
                p.lock,
                p.beat,
                blocked.trials().len()
            ))
            .desc("Heartbeats of the event loop in two lanes: one long gap where SQLite is called on the loop, none where it has a thread of its own.")
            .body(Body::Beats(beats)))
    }
}

/// When how many items came to a status, or left it, by the ends of their stages.
fn changes_of_status(trial: &Trial) -> BTreeMap<&'static str, Vec<(f64, f64)>> {
    let mut items: BTreeMap<&str, BTreeMap<&str, f64>> = BTreeMap::new();
    for span in &trial.spans {
        let ends = items.entry(&span.name).or_default();
        ends.insert(&span.lane, span.end_s - trial.started_s());
    }
    let mut changes: BTreeMap<&str, Vec<(f64, f64)>> = BTreeMap::new();
    for ends in items.values() {
        let mut before = "pending";
        for (stage, status) in STAGES.into_iter().zip(["fetched", "processed", "stored"]) {
            let Some(at) = ends.get(stage) else { continue };
            let failed = stage == "fetch" && !ends.contains_key("process");
            let status = if failed { "failed" } else { status };
            changes.entry(before).or_default().push((*at, -1.0));
            changes.entry(status).or_default().push((*at, 1.0));
            before = status;
        }
    }
    changes
}

/// Its heartbeat, in the trial with the median gap.
fn lane(k: &Condition, title: &str, note: &str) -> Option<BeatLane> {
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
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(crate) fn params(flags: &[&str]) -> Params {
        lab_kit::lab::params::<crate::ProductionPipeline>(flags)
    }

    #[test]
    fn the_pattern_of_the_source() {
        let expected = params(&[]).expected();
        let counts = (expected.in_database, expected.in_fallback, expected.failed);
        assert_eq!((counts, expected.requests), ((81, 4, 15), 115));
        // Numbered from 1 it would be another one.
        assert_eq!((1..=100).filter(|i| params(&[]).fails(*i)).count(), 14);
        // Counted by arrival at the database it is the same: every 20th of 85 writes.
        assert_eq!(expected.stored() / 20, 4);
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
        for (lock, at) in [(0.0, 0.0), (0.001, 0.001), (0.1, 0.103), (0.104, 0.128), (0.5, 0.528)] {
            assert!((looked_again(lock) - at).abs() < 1e-9, "{lock}");
        }
    }

    #[test]
    fn hanging_writes_hold_up_batches_more_than_a_window() {
        let p = params(&[]);
        let items = Means::of_flags(&p, 2.0).items(&p);
        let (batches, window) = (play(&p, &items, Way::Batches), play(&p, &items, Way::Window));
        assert!(batches.makespan > 1.5 * window.makespan);
        // What is done is the same.
        for (b, w) in batches.busy.iter().zip(&window.busy) {
            assert!((b - w).abs() < 1e-9);
        }
    }
}
