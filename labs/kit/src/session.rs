//! One run of one lab: its conditions, their trials in seeded random order, and what they recorded.

use std::{
    collections::BTreeMap,
    future::Future,
    net::SocketAddr,
    pin::Pin,
    process,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context, bail, ensure};
use mock_server::{Counters, Entry, Route, Service as ServiceTime, Slots, Spec, Upstream};
use rand::{SeedableRng, seq::SliceRandom};
use rand_pcg::Pcg64Mcg;
use tokio::{sync::Semaphore, task::JoinSet};

use crate::{
    address,
    child::{self, Bounds, Child},
    gauge::{self, Gauge},
    host::Host,
    http,
    load::{Arrivals, Load, Tally},
    os,
    progress::Progress,
    record::{Point, Scale, Span, Trial},
    runtimes::{self, COMPARED, Language, Languages, NOT_COMPARED, Program, Programs, Runtime},
    scratch,
    stop::Stop,
};

/// Descriptors that are not connections: standard streams, the runtime's, listeners, files.
pub(crate) const SPARE_FILES: u64 = 96;

/// Path of the mock server at which connections are opened before a load, and the milliseconds
/// that a request is held at each door: longer than it takes to send all the others, at a
/// connection in some 65 µs.
const DOOR: &str = "/open-connections/";
const DOORS: [u64; 4] = [10, 40, 140, 1000];

/// Requests of which not one may have been answered by chance, a moment in which a server was full.
const ENOUGH: u64 = 10;

/// One run of one lab.
pub struct Session {
    /// How large the run is.
    pub scale: Scale,
    /// Seed of all randomness.
    pub seed: u64,
    /// Repetitions of each condition.
    pub trials: usize,
    /// The machine.
    pub host: Host,
    /// Another upstream than the built-in one.
    pub target: Option<String>,
    /// Never runs two conditions at the same time.
    pub one_at_a_time: bool,
    /// The languages that a comparison is asked for with.
    pub with: Languages,
    /// Those that the lab has a program in.
    known: Languages,
    stop: Stop,
    progress: Progress,
    points: SoFar,
    notes: Vec<String>,
    /// Trials begun so far: each has a seed of its own.
    started: u64,
    /// Rounds of trials begun so far.
    rounds: u32,
    /// What the trials of each point took in all, warm-up included, and how many they are.
    took: Vec<(Cost, u32)>,
    /// When measuring on: how often each point is measured again; the others are left alone.
    again: Option<BTreeMap<usize, usize>>,
}

impl Session {
    /// A run without conditions yet.
    pub fn new(
        scale: Scale,
        seed: u64,
        trials: usize,
        host: Host,
        stop: Stop,
        progress: Progress,
    ) -> Session {
        Session {
            scale,
            seed,
            trials: trials.max(1),
            host,
            target: None,
            one_at_a_time: scale == Scale::Full,
            with: Languages::NONE,
            known: Languages::NONE,
            stop,
            progress,
            points: SoFar::default(),
            notes: Vec::new(),
            started: 0,
            rounds: 0,
            took: Vec::new(),
            again: None,
        }
    }

    /// From now on measures only these points, each so often: what is uncertain is measured on.
    pub(crate) fn again(&mut self, points: BTreeMap<usize, usize>) {
        self.again = Some(points);
    }

    /// What a trial of this point takes on average, warm-up included; `None` for one without trials.
    pub(crate) fn took(&self, point: usize) -> Option<Cost> {
        let (whole, trials) = self.took.get(point)?;
        (*trials > 0).then(|| Cost { span: whole.span / *trials, alone: whole.alone / *trials })
    }

    /// What was measured so far.
    pub(crate) fn so_far(&self) -> SoFar {
        self.points.clone()
    }

    /// How often each condition is measured: as often as planned, or as what is uncertain asks for. One that
    /// is planned several times, to have several trials a round, is asked for once.
    fn times<'c>(&mut self, conditions: impl Iterator<Item = (&'c str, f64, usize)>) -> Vec<usize> {
        let mut points = self.again.clone();
        let times = conditions.map(|(series, x, planned)| {
            let at = self.place(series, x);
            match &mut points {
                None => planned,
                Some(points) => points.remove(&at).unwrap_or(0),
            }
        });
        times.collect()
    }

    /// Keeps a trial, which had this share of the room for trials.
    fn keep(&mut self, series: &str, x: f64, (trial, span): (Trial, Duration), share: f64) {
        let at = self.place(series, x);
        self.points.lock()[at].trials.push(trial);
        let (whole, trials) = &mut self.took[at];
        whole.span += span;
        whole.alone += span.mul_f64(share);
        *trials += 1;
    }

    /// The lab's programs in the languages that a comparison is asked for with, ready to be started: those that can
    /// run here. A note says which version each is, or what is missing.
    pub fn programs(&mut self, programs: &Programs) -> Vec<Program> {
        self.known = programs.languages();
        let asked = self.known.iter().filter(|language| self.with.has(*language));
        let asked: Vec<Language> = asked.collect();
        asked.into_iter().filter_map(|language| self.program(programs, language)).collect()
    }

    fn program(&mut self, programs: &Programs, language: Language) -> Option<Program> {
        let runtime = match Runtime::find(language) {
            Ok(runtime) => runtime,
            Err(why) => {
                self.note(format!("{NOT_COMPARED} {language}: {why}"));
                return None;
            }
        };
        match Program::of(programs, &runtime, &self.stop) {
            Ok(program) => {
                self.note(format!("{COMPARED} {language} {}", runtime.version));
                Some(program)
            }
            // What was broken off is no fault of the program's.
            Err(_) if self.stop.is_set() => None,
            Err(why) => {
                self.note(format!("{NOT_COMPARED} {language}: {why:#}"));
                None
            }
        }
    }

    /// Notes how to get several interpreters in one process, for a lab that has arms for them, where Python is there
    /// and they are not.
    pub fn note_interpreters(&mut self, programs: &[Program]) {
        let python = programs.iter().find(|program| program.language == Language::Python);
        if python.is_some_and(|python| !python.has_interpreters) {
            self.note(runtimes::NO_INTERPRETERS);
        }
    }

    /// The points and notes of the run.
    pub fn finish(mut self) -> (Vec<Point>, Vec<String>) {
        let without = self.with.iter().filter(|language| !self.known.has(*language));
        for language in without.collect::<Vec<_>>() {
            self.note(format!("this lab has no {language} version to compare with"));
        }
        (self.points.complete(), self.notes)
    }

    /// The wish to stop.
    pub fn stop(&self) -> &Stop {
        &self.stop
    }

    /// Notes something that readers of the results must know.
    pub fn note(&mut self, text: impl Into<String>) {
        let text = text.into();
        // What is measured on says again what it said at first.
        if !self.notes.contains(&text) {
            self.progress.say(&format!("note: {text}"));
            self.notes.push(text);
        }
    }

    /// The levels whose connections the open-file limit allows (each takes two descriptors, since
    /// both ends are in this process). The rest is left out, with a note.
    pub fn levels_that_fit(&mut self, levels: &[usize]) -> Vec<usize> {
        let (Some(room), Some(limit)) = (self.room_for_clients(), self.host.open_files) else {
            return levels.to_vec();
        };
        let (fit, too_many): (Vec<usize>, Vec<usize>) = levels.iter().partition(|n| **n <= room);
        if !too_many.is_empty() {
            let list = too_many.iter().map(usize::to_string).collect::<Vec<_>>().join(", ");
            self.note(format!(
                "the open-file limit of {limit} has room for {room} clients, so these levels were left out: {list} (raise it with `ulimit -n 16384`)"
            ));
        }
        fit
    }

    /// How many connections fit under the open-file limit; `None` without one.
    fn room_for_clients(&self) -> Option<usize> {
        let ends = if self.target.is_some() { 1 } else { 2 };
        Some((self.host.open_files?.saturating_sub(SPARE_FILES) / ends) as usize)
    }

    /// Conditions that run one at a time on the caller's thread.
    pub fn plan<'a>(&mut self) -> Plan<'_, 'a> {
        Plan { session: self, conditions: Vec::new() }
    }

    /// Conditions that run on a runtime, side by side where the machine has room.
    pub fn sweep(&mut self) -> Sweep<'_> {
        Sweep { session: self, conditions: Vec::new() }
    }

    /// Which conditions run in which round of trials: each as often as it is to be repeated, in
    /// random order within the round, so that a machine that drifts drifts for all alike.
    fn rounds(&self, trials: &[usize]) -> Vec<Vec<usize>> {
        let mut rng = Pcg64Mcg::seed_from_u64(self.seed.wrapping_add(self.rounds.into()));
        let rounds = 0..trials.iter().copied().max().unwrap_or(0);
        let round = |i: usize| {
            let mut round: Vec<usize> = (0..trials.len()).filter(|c| trials[*c] > i).collect();
            round.shuffle(&mut rng);
            round
        };
        rounds.map(round).collect()
    }

    fn recorder(&mut self) -> Recorder {
        self.started += 1;
        Recorder(Arc::new(Inner {
            origin: Instant::now(),
            cpu_at_start: os::cpu_seconds(),
            own_at_start: os::usage().map(|used| used.cpu_s),
            busy_at_start: os::busy_seconds(),
            seed: self.seed.wrapping_mul(0x9E37_79B9_7F4A_7C15).wrapping_add(self.started),
            round: self.rounds,
            stop: self.stop.clone(),
            target: self.target.clone(),
            state: Mutex::new(State::default()),
        }))
    }

    /// The place of a condition's point. Asked for when a condition is planned, so that the order of the
    /// points in the record is that of the plan, not of the ends.
    fn place(&mut self, series: &str, x: f64) -> usize {
        let mut points = self.points.lock();
        let found = points.iter().position(|p| p.series == series && p.x == x);
        found.unwrap_or_else(|| {
            points.push(Point { series: series.into(), x, trials: Vec::new() });
            self.took.push((Cost::default(), 0));
            points.len() - 1
        })
    }
}

/// Conditions that run one at a time on the caller's thread.
pub struct Plan<'s, 'a> {
    session: &'s mut Session,
    conditions: Vec<Here<'a>>,
}

struct Here<'a> {
    series: String,
    x: f64,
    run: Work<'a>,
}

type Work<'a> = Box<dyn FnMut(&Recorder) -> anyhow::Result<()> + 'a>;

impl<'a> Plan<'_, 'a> {
    /// Adds a condition.
    pub fn point(
        &mut self,
        series: &str,
        x: f64,
        run: impl FnMut(&Recorder) -> anyhow::Result<()> + 'a,
    ) {
        self.session.place(series, x);
        self.conditions.push(Here { series: series.into(), x, run: Box::new(run) });
    }

    /// Runs every trial of every condition.
    ///
    /// # Errors
    /// The first error of a condition.
    pub fn run(mut self) -> anyhow::Result<()> {
        let planned = self.session.trials;
        let conditions = self.conditions.iter();
        let all = conditions.map(|c| (c.series.as_str(), c.x, planned));
        let trials = self.session.times(all);
        let rounds = self.session.rounds(&trials);
        let meter = StallMeter::start();
        self.session.progress.start(trials.iter().sum());
        let order = rounds.iter().flat_map(|round| {
            let first = round.first().copied();
            round.iter().map(move |c| (*c, first == Some(*c)))
        });
        for (c, first) in order {
            if self.session.stop.is_set() {
                break;
            }
            self.session.rounds += u32::from(first);
            let condition = &mut self.conditions[c];
            self.session.progress.condition(&condition.series, condition.x);
            let recorder = self.session.recorder();
            (condition.run)(&recorder)
                .with_context(|| format!("{} at {}", condition.series, condition.x))?;
            self.session.progress.advance();
            let trial = recorder.close(&meter);
            // A trial that was cut short is no trial.
            if !self.session.stop.is_set() {
                self.session.keep(&condition.series, condition.x, trial, 1.0);
            }
        }
        self.session.progress.finish();
        Ok(())
    }
}

type Task =
    Arc<dyn Fn(Recorder) -> Pin<Box<dyn Future<Output = anyhow::Result<()>> + Send>> + Send + Sync>;

/// Conditions that run on a runtime.
///
/// Waiting costs no processor, so steady loads run side by side: first the small ones, while
/// nothing disturbs them, then the large ones, group by group, with no more requests in flight than
/// the largest has by itself. Bursts run alone. At full scale every condition runs alone.
pub struct Sweep<'s> {
    session: &'s mut Session,
    conditions: Vec<There>,
}

struct There {
    series: String,
    x: f64,
    company: Company,
    group: &'static str,
    trials: usize,
    run: Task,
}

/// A condition just added.
pub struct Added<'s>(&'s mut There);

impl Added<'_> {
    /// It stands for a law that so many conditions stand for. Fewer than three cannot lend each
    /// other an interval, so each is then repeated three times, whatever the scale says.
    pub fn among(self, conditions: usize) -> Self {
        if conditions < 3 {
            self.0.trials = self.0.trials.max(3);
        }
        self
    }

    /// Keeps a large steady load apart from those of other groups: clients that all give up connect
    /// again all at once, which would disturb conditions in which nobody does.
    pub fn only_beside(self, group: &'static str) -> Self {
        self.0.group = group;
        self
    }

    /// It only sleeps, and holds no sockets: more of its kind fit beside it.
    pub fn only_sleeps(self) -> Self {
        self.0.company = Company::Small(1);
        self
    }
}

/// What else may run at the same time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Company {
    /// Other small ones.
    Small(usize),
    /// Any steady load.
    Steady(usize),
    /// Nothing.
    Alone,
}

impl Company {
    /// Up to this many requests in flight a condition is a small one.
    const SMALL: usize = 50;
    /// What a condition takes of the room besides its requests: a server has descriptors, too.
    const EACH: usize = 3;

    /// Of a steady load with so many requests in flight.
    pub(crate) fn of_steady(in_flight: usize) -> Company {
        match in_flight.max(1) {
            n @ ..=Self::SMALL => Company::Small(n + Self::EACH),
            n => Company::Steady(n),
        }
    }

    /// Of a burst of so many requests.
    pub(crate) fn of_burst(requests: usize) -> Company {
        match requests.max(1) {
            n @ ..=Self::SMALL => Company::Small(n + Self::EACH),
            _ => Company::Alone,
        }
    }
}

impl Sweep<'_> {
    /// Requests in flight over all small conditions that run at the same time.
    pub(crate) const SMALL_TOGETHER: usize = 250;

    /// Adds a steady load with the number of requests it keeps in flight.
    pub fn steady<F, Fut>(&mut self, series: &str, x: f64, in_flight: usize, run: F) -> Added<'_>
    where
        F: Fn(Recorder) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = anyhow::Result<()>> + Send + 'static,
    {
        self.add(series, x, Company::of_steady(in_flight), run)
    }

    /// Adds a burst: harmless to others only when it is small.
    pub fn burst<F, Fut>(&mut self, series: &str, x: f64, requests: usize, run: F) -> Added<'_>
    where
        F: Fn(Recorder) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = anyhow::Result<()>> + Send + 'static,
    {
        self.add(series, x, Company::of_burst(requests), run)
    }

    /// Adds a condition that computes as well as waits, another program for instance: nothing runs
    /// beside it, whatever its size.
    pub fn alone<F, Fut>(&mut self, series: &str, x: f64, run: F) -> Added<'_>
    where
        F: Fn(Recorder) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = anyhow::Result<()>> + Send + 'static,
    {
        self.add(series, x, Company::Alone, run)
    }

    fn add<F, Fut>(&mut self, series: &str, x: f64, company: Company, run: F) -> Added<'_>
    where
        F: Fn(Recorder) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = anyhow::Result<()>> + Send + 'static,
    {
        self.session.place(series, x);
        let run: Task = Arc::new(move |recorder| Box::pin(run(recorder)));
        let trials = self.session.trials;
        self.conditions.push(There { series: series.into(), x, company, group: "", trials, run });
        Added(self.conditions.last_mut().expect("just pushed"))
    }

    /// Runs every trial of every condition.
    ///
    /// # Errors
    /// The first error of a condition; the others are stopped.
    pub async fn run(self) -> anyhow::Result<()> {
        let Sweep { session, conditions } = self;
        let meter = Arc::new(StallMeter::start());
        let all = conditions.iter().map(|c| (c.series.as_str(), c.x, c.trials));
        let trials = session.times(all);
        let order = session.rounds(&trials);
        session.progress.start(trials.iter().sum());
        for round in order {
            session.rounds += 1;
            let members = |wanted: fn(Company) -> Option<usize>| -> Vec<(usize, usize)> {
                round.iter().filter_map(|c| Some((*c, wanted(conditions[*c].company)?))).collect()
            };
            let small = members(|c| if let Company::Small(n) = c { Some(n) } else { None });
            let mut steady = members(|c| if let Company::Steady(n) = c { Some(n) } else { None });
            // Like beside like, and large ones first: they fit together better.
            steady.sort_by_key(|(c, n)| (conditions[*c].group, std::cmp::Reverse(*n)));
            let alone = members(|c| (c == Company::Alone).then_some(1));
            let largest = steady.iter().map(|(_, n)| *n).max().unwrap_or(1);
            let fit = session.room_for_clients().unwrap_or(usize::MAX).max(1);
            let one_at_a_time = session.one_at_a_time;
            let together = |room: usize| if one_at_a_time { 1 } else { room.min(fit) };
            side_by_side(session, &conditions, &small, together(Self::SMALL_TOGETHER), &meter)
                .await?;
            for group in steady.chunk_by(|a, b| conditions[a.0].group == conditions[b.0].group) {
                side_by_side(session, &conditions, group, together(largest), &meter).await?;
            }
            side_by_side(session, &conditions, &alone, 1, &meter).await?;
        }
        session.progress.finish();
        Ok(())
    }
}

/// Runs conditions, each with its share of the room, as many at a time as there is room for.
async fn side_by_side(
    session: &mut Session,
    conditions: &[There],
    phase: &[(usize, usize)],
    room: usize,
    meter: &Arc<StallMeter>,
) -> anyhow::Result<()> {
    let budget = Arc::new(Semaphore::new(room));
    let mut tasks = JoinSet::new();
    for (c, share) in phase {
        let condition = &conditions[*c];
        tokio::select! {
            // A stop comes first, or every round to come would begin half of its conditions.
            biased;
            () = session.stop.wait() => break,
            permit = budget.clone().acquire_many_owned((*share).min(room) as u32) => {
                let permit = permit?;
                let share = (*share).min(room) as f64 / room as f64;
                let recorder = session.recorder();
                session.progress.condition(&condition.series, condition.x);
                let (run, meter, c) = (condition.run.clone(), meter.clone(), *c);
                tasks.spawn(async move {
                    let result = run(recorder.clone()).await;
                    let whole = !recorder.0.stop.is_set();
                    recorder.settle().await;
                    drop(permit);
                    Ended {
                        condition: c,
                        share,
                        trial: result.map(|()| (recorder.close(&meter), whole)),
                    }
                });
            }
        }
        while let Some(done) = tasks.try_join_next() {
            finished(session, conditions, done)?;
        }
    }
    while let Some(done) = tasks.join_next().await {
        finished(session, conditions, done)?;
    }
    Ok(())
}

fn finished(
    session: &mut Session,
    conditions: &[There],
    done: Result<Ended, tokio::task::JoinError>,
) -> anyhow::Result<()> {
    let Ended { condition, share, trial } = match done {
        Ok(done) => done,
        Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        Err(error) => bail!("a condition was cancelled: {error}"),
    };
    let There { series, x, .. } = &conditions[condition];
    let (trial, whole) = trial.with_context(|| format!("{series} at {x}"))?;
    session.progress.advance();
    // A load that was stopped in its warm-up has counted nothing, not even what was aborted.
    if whole {
        session.keep(series, *x, trial, share);
    }
    Ok(())
}

/// The points of a run so far. Clones share them, so that whoever must end a run that does not end by itself
/// can save what is complete.
#[derive(Clone, Default)]
pub(crate) struct SoFar(Arc<Mutex<Vec<Point>>>);

impl SoFar {
    /// The points themselves, in the order of the plan; some may have no trial yet.
    pub(crate) fn lock(&self) -> MutexGuard<'_, Vec<Point>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Those with trials.
    pub(crate) fn complete(&self) -> Vec<Point> {
        let mut points = self.lock().clone();
        points.retain(|p| !p.trials.is_empty());
        points
    }
}

/// What a trial takes, warm-up included.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Cost {
    /// Of the time of the run, counting others that run beside it: their times of this kind add up.
    pub(crate) alone: Duration,
    /// From its beginning to its end.
    pub(crate) span: Duration,
}

/// What became of a trial that ran beside others.
struct Ended {
    /// Which condition it was of.
    condition: usize,
    /// Its share of the room.
    share: f64,
    /// The trial, and whether it was not cut short.
    trial: anyhow::Result<(Closed, bool)>,
}

/// How long a server that somebody else runs may still work on requests that nobody waits for any more.
fn unanswered(trial: &Trial, sent: u64, capacity_per_s: f64) -> Duration {
    let share = (trial.timed_out + trial.aborted) as f64 / trial.offered.max(1) as f64;
    Duration::from_secs_f64((share * sent as f64 / capacity_per_s).min(60.0))
}

/// A trial that has ended, with what it took in all.
type Closed = (Trial, Duration);

/// Where one trial writes down what happens. Cheap to clone; clones write to the same trial.
#[derive(Clone)]
pub struct Recorder(Arc<Inner>);

struct Inner {
    origin: Instant,
    cpu_at_start: Option<f64>,
    own_at_start: Option<f64>,
    busy_at_start: Option<f64>,
    seed: u64,
    round: u32,
    stop: Stop,
    target: Option<String>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    trial: Trial,
    wall: Option<Duration>,
    /// No clock of the machine was looked at.
    virtual_time: bool,
    /// How long another's upstream still works for requests of this trial.
    settle: Duration,
    /// Sum and count of each mean.
    means: Vec<(Gauge, f64, u64)>,
}

impl Recorder {
    /// Start of the trial's clock.
    pub fn origin(&self) -> Instant {
        self.0.origin
    }

    /// A seed of this trial's own.
    pub fn seed(&self) -> u64 {
        self.0.seed
    }

    /// A folder of this trial's own, deleted with what it holds when it is dropped.
    ///
    /// # Errors
    /// When there is no room for temporary files.
    pub fn folder(&self) -> anyhow::Result<tempfile::TempDir> {
        scratch::folder().context("cannot make a temporary folder")
    }

    /// The load generator, which ends early when the run is stopped.
    pub fn load(&self) -> Load {
        Load::new(self.0.stop.clone())
    }

    /// Starts an upstream for this trial alone, so that no condition inherits another's queue.
    ///
    /// # Errors
    /// When no listener can be had.
    pub async fn upstream(&self, spec: Spec) -> anyhow::Result<Service> {
        let kind = match &self.0.target {
            Some(url) => {
                let capacity = spec.slots as f64 / spec.service.mean().as_secs_f64().max(1e-9);
                Kind::Elsewhere(url.clone(), capacity)
            }
            None => {
                let mut spec = spec;
                let own = Slots::Own { slots: mock_server::MAX_SLOTS, queue: None };
                for (i, hold) in DOORS.iter().enumerate() {
                    let hold = ServiceTime::Constant(Duration::from_millis(*hold));
                    spec.routes
                        .push(Route { slots: own, ..Route::new(format!("{DOOR}{i}"), hold) });
                }
                let upstream =
                    Upstream::start(spec).await.context("the mock server did not start")?;
                Kind::Here(Arc::new(upstream))
            }
        };
        Ok(Service { kind, before: Mutex::default() })
    }

    /// An upstream, and a client with so many connections to it.
    ///
    /// # Errors
    /// As [`Recorder::upstream`] and [`Recorder::connect`].
    pub async fn connected(
        &self,
        spec: Spec,
        connections: usize,
    ) -> anyhow::Result<(Service, reqwest::Client)> {
        let service = self.upstream(spec).await?;
        let client = http::client();
        self.connect(&client, &service, connections).await?;
        Ok((service, client))
    }

    /// Opens this many connections, by as many requests at the same time that are all held for a
    /// moment; they touch neither the slots nor the books. An upstream that runs elsewhere has no
    /// such door: there the connections are opened by the load.
    ///
    /// # Errors
    /// When the upstream is not there.
    pub async fn connect(
        &self,
        client: &reqwest::Client,
        service: &Service,
        connections: usize,
    ) -> anyhow::Result<()> {
        let Kind::Here(upstream) = &service.kind else {
            return Ok(());
        };
        let door =
            DOORS.iter().position(|ms| connections as u64 <= ms * 15).unwrap_or(DOORS.len() - 1);
        let door = format!("{}{DOOR}{door}", service.url());
        let mut opened = JoinSet::new();
        for _ in 0..connections {
            let request = client.get(&door).timeout(Duration::from_secs(20)).send();
            // Whatever it answers: an upstream may be told to fail.
            opened.spawn(async { http::body(request.await?).await });
        }
        while let Some(answer) = opened.join_next().await {
            answer?.context("cannot connect to the mock server")?;
        }
        *service.before.lock().unwrap_or_else(PoisonError::into_inner) = upstream.counters();
        Ok(())
    }

    /// Writes down a figure; the name carries the unit. What is not finite is left out.
    pub fn gauge(&self, gauge: Gauge, value: f64) {
        if value.is_finite() {
            let gauges = &mut self.state().trial.gauges;
            gauges.insert(gauge.to_string(), value);
        }
    }

    /// Adds a value to a mean that becomes a gauge of this name.
    pub fn sample(&self, gauge: Gauge, value: f64) {
        let mut state = self.state();
        match state.means.iter_mut().find(|(known, ..)| known.is(gauge)) {
            Some((_, sum, count)) => {
                *sum += value;
                *count += 1;
            }
            None => state.means.push((gauge, value, 1)),
        }
    }

    /// Writes down when the successes of a burst were answered, as a trace of their count.
    pub fn answers(&self, burst: &Tally) {
        let mut ends: Vec<f64> = burst.timeline.iter().map(|(start, took)| start + took).collect();
        ends.sort_by(f64::total_cmp);
        let counted =
            ends.into_iter().enumerate().map(|(i, at)| (micro(at), (i + 1) as f64)).collect();
        self.state().trial.traces.insert("answers".into(), counted);
    }

    /// Writes down a value at an instant.
    pub fn trace(&self, name: &str, at: Instant, value: f64) {
        let at = at.saturating_duration_since(self.0.origin).as_secs_f64();
        let mut state = self.state();
        let trace = state.trial.traces.entry(name.into()).or_default();
        trace.push((micro(at), micro(value)));
    }

    /// Writes down a stretch of work.
    pub fn span(&self, lane: &str, name: &str, start: Instant, end: Instant) {
        let since = |t: Instant| t.saturating_duration_since(self.0.origin).as_secs_f64();
        let span =
            Span { lane: lane.into(), name: name.into(), start_s: since(start), end_s: since(end) };
        self.state().trial.spans.push(span);
    }

    /// Runs `work` and writes it down as a span on the lane of the thread it ran on.
    pub fn work<T>(&self, name: &str, work: impl FnOnce() -> T) -> T {
        let start = Instant::now();
        let result = work();
        self.span(&thread_name(), name, start, Instant::now());
        result
    }

    /// Awaits `future` and writes the whole wait down as a span on the thread that began it.
    pub async fn wait<T>(&self, name: &str, future: impl Future<Output = T>) -> T {
        let (lane, start) = (thread_name(), Instant::now());
        let result = future.await;
        self.span(&lane, name, start, Instant::now());
        result
    }

    /// States the length of the measured part; otherwise it is the whole trial.
    pub fn wall(&self, wall: Duration) {
        self.state().wall = Some(wall);
    }

    /// Runs what is measured, and states how long it took.
    ///
    /// # Errors
    /// None: so that it can be the last line of a condition.
    pub fn timed(&self, run: impl FnOnce()) -> anyhow::Result<()> {
        let start = Instant::now();
        run();
        self.wall(start.elapsed());
        Ok(())
    }

    /// Refuses what a load did when the upstream was not there for most of its requests.
    fn found(&self, tally: &Tally, upstream: &Service) -> anyhow::Result<()> {
        let trial = &tally.trial;
        // Which failures are part of the experiment is known of its own upstream only.
        if let Kind::Elsewhere(..) = upstream.kind
            && 2 * trial.failed > trial.offered
            && tally.unreachable() <= 0.5
        {
            bail!(
                "{}: {} of {} requests failed for reasons outside the experiment ({:?})",
                address::shown(&upstream.url()),
                trial.failed,
                trial.offered,
                trial.failures
            );
        }
        if let Kind::Elsewhere(..) = upstream.kind
            && trial.offered >= ENOUGH
            && trial.rejected == trial.offered
        {
            let url = address::shown(&upstream.url());
            let all = trial.offered;
            bail!(
                "{url}: all of {all} requests were refused (503 or 429), so nothing was measured"
            );
        }
        if tally.unreachable() > 0.5 && !self.0.stop.is_set() {
            let failed = tally.trial.failures.clone();
            bail!(
                "{}: {} of {} requests found no upstream ({failed:?}); is it still running, and is its address right?",
                address::shown(&upstream.url()),
                tally.trial.failed,
                tally.trial.offered
            );
        }
        Ok(())
    }

    /// Writes down what a load did, with the books of the upstream beside its own.
    ///
    /// # Errors
    /// When the upstream was not there for most requests, or another's refused all: nothing can be learnt from
    /// that.
    pub fn tally(&self, tally: Tally, upstream: &Service) -> anyhow::Result<()> {
        self.found(&tally, upstream)?;
        let gauges = [
            (gauge::GOODPUT_PER_S, tally.goodput_per_s),
            (gauge::ATTEMPTS_PER_S, tally.attempts_per_s),
            (gauge::MEAN_ATTEMPT_S, tally.mean_attempt_s),
            (gauge::IN_FLIGHT_MEAN, tally.mean_in_flight),
            (gauge::IN_FLIGHT_MAX, tally.max_in_flight as f64),
            (gauge::SENT_TOTAL, tally.sent as f64),
            (gauge::REFUSED_TOTAL, tally.refused as f64),
        ];
        gauges.iter().for_each(|(name, value)| self.gauge(*name, *value));
        let watched = [
            (gauge::IN_FLIGHT_SAMPLED, tally.sampled_in_flight),
            (gauge::ARRIVED_PER_S, tally.arrived_per_s),
        ];
        for (name, value) in watched {
            value.into_iter().for_each(|value| self.gauge(name, value));
        }
        if let Some(counters) = upstream.counters() {
            self.gauge(gauge::UPSTREAM_ARRIVED, counters.arrived as f64);
            self.gauge(gauge::UPSTREAM_REFUSED, counters.refused as f64);
            self.gauge(gauge::UPSTREAM_BACKLOG, counters.backlog as f64);
            self.gauge(gauge::ARRIVAL_SPREAD_S, counters.spread.as_secs_f64());
        }
        let mut state = self.state();
        state.wall = Some(Duration::from_secs_f64(tally.trial.wall_s.max(0.0)));
        if let Kind::Elsewhere(_, capacity) = upstream.kind {
            state.settle = unanswered(&tally.trial, tally.sent, capacity);
        }
        let trial = &mut state.trial;
        let (gauges, spans, traces) = (
            std::mem::take(&mut trial.gauges),
            std::mem::take(&mut trial.spans),
            std::mem::take(&mut trial.traces),
        );
        *trial = Trial { gauges, spans, traces, ..tally.trial };
        Ok(())
    }

    /// Writes down books that the lab kept itself, of what no [`Load`] sent to an upstream: fates,
    /// latencies, and how long it took if they say so. Gauges, spans and traces written so far stay.
    pub fn books(&self, books: Trial) {
        let mut state = self.state();
        if books.wall_s > 0.0 {
            state.wall = Some(Duration::from_secs_f64(books.wall_s));
        }
        let noted = std::mem::take(&mut state.trial);
        let trial = &mut state.trial;
        *trial = books;
        trial.gauges.extend(noted.gauges);
        trial.spans.extend(noted.spans);
        trial.traces.extend(noted.traces);
    }

    /// The same of an experiment in virtual time: what the machine did meanwhile has no part in it, and its length is no
    /// time of the machine's.
    pub fn virtual_books(&self, books: Trial) {
        self.books(books);
        self.state().virtual_time = true;
    }

    /// Runs a program in another language and writes down what it says it did; against an upstream, if there is
    /// one, with the books of the upstream beside its own. `flags` are the program's own, without dashes; how long
    /// it may take at most is `limit`. It ends early when the run is stopped.
    ///
    /// # Errors
    /// When the program fails, goes beyond its bounds, prints what are no books or books that do not close,
    /// or did not find the upstream.
    pub async fn program(
        &self,
        program: &Program,
        upstream: Option<&Service>,
        flags: &[(&str, String)],
        limit: Duration,
    ) -> anyhow::Result<()> {
        let mut words = Vec::new();
        if let Some(upstream) = upstream {
            words.extend(["--url".to_string(), upstream.url()]);
            if let Kind::Here(_) = upstream.kind {
                let holds: Vec<String> = DOORS.iter().map(u64::to_string).collect();
                words.extend(["--doors".into(), holds.join(",")]);
            }
        }
        for (name, value) in flags {
            words.extend([format!("--{name}"), value.clone()]);
        }
        let Some(books) = program.run(&words, limit, &self.0.stop).await? else {
            return Ok(());
        };
        let Some(upstream) = upstream else {
            self.books(books.trial);
            return Ok(());
        };
        let tally = Tally { trial: books.trial, ..Tally::default() };
        self.found(&tally, upstream)?;
        if let Some(counters) = upstream.counters() {
            let arrived = counters.arrived.saturating_sub(books.doors);
            self.gauge(gauge::UPSTREAM_ARRIVED, arrived as f64);
            self.gauge(gauge::UPSTREAM_REFUSED, counters.refused as f64);
            self.gauge(gauge::UPSTREAM_BACKLOG, counters.backlog as f64);
        }
        let trial = tally.trial;
        let mut state = self.state();
        state.wall = Some(Duration::from_secs_f64(trial.wall_s));
        if let Kind::Elsewhere(_, capacity) = upstream.kind {
            state.settle = unanswered(&trial, trial.offered, capacity);
        }
        let mut gauges = std::mem::take(&mut state.trial.gauges);
        gauges.extend(trial.gauges);
        state.trial = Trial { gauges, ..trial };
        Ok(())
    }

    /// Starts a program in another language that serves until its input ends. `flags` are the program's own, without
    /// dashes. It ends early when the run is stopped.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn serve(
        &self,
        program: &Program,
        flags: &[(&str, String)],
        limit: Duration,
    ) -> anyhow::Result<Server> {
        let words = flags.iter().flat_map(|(name, value)| [format!("--{name}"), value.clone()]);
        let words: Vec<String> = words.collect();
        let child = program.spawn(&words, limit, &self.0.stop)?;
        Ok(Server { child: Some(child), name: program.name })
    }

    /// Runs a program of others to its end, within bounds, with the calling thread held up until then. `None` when
    /// the run was stopped meanwhile.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn command(
        &self,
        command: process::Command,
        bounds: Bounds,
    ) -> anyhow::Result<Option<child::Ended>> {
        let ended = Child::spawn(command, bounds, &self.0.stop)?.wait();
        Ok(Some(ended).filter(|ended| !ended.is_stopped()))
    }

    /// Waits until an upstream that outlives the trial has worked off what the trial left.
    async fn settle(&self) {
        let rest = self.state().settle;
        tokio::select! {
            () = tokio::time::sleep(rest) => {}
            () = self.0.stop.wait() => {}
        }
    }

    fn close(&self, meter: &StallMeter) -> Closed {
        let end = Instant::now();
        let whole = end - self.0.origin;
        if !self.state().virtual_time {
            self.write_down_the_machine(whole, meter);
        }
        let mut state = self.state();
        for (name, sum, count) in std::mem::take(&mut state.means) {
            state.trial.gauges.insert(name.to_string(), sum / count as f64);
        }
        let wall = state.wall.unwrap_or(whole);
        let mut trial = std::mem::take(&mut state.trial);
        trial.wall_s = wall.as_secs_f64();
        trial.round = self.0.round;
        trial
            .spans
            .sort_by(|a, b| a.start_s.total_cmp(&b.start_s).then_with(|| a.lane.cmp(&b.lane)));
        (trial, whole)
    }

    /// What the machine did during the trial, which has taken so long.
    fn write_down_the_machine(&self, whole: Duration, meter: &StallMeter) {
        let end = self.0.origin + whole;
        let (worst, sum) = meter.between(self.0.origin, end);
        let since = |now: Option<f64>, start: Option<f64>| Some(now? - start?);
        // A sleeper wakes late as well where the experiment itself keeps all processors busy: what the
        // process had of them nobody took away.
        let own = since(os::usage().map(|used| used.cpu_s), self.0.own_at_start);
        let available = whole.as_secs_f64().max(1e-9) * crate::host::cores() as f64;
        let taken_away = own.map_or(f64::INFINITY, |own| (available - own).max(0.0));
        let stalled_ms = |stall: Duration| stall.as_secs_f64().min(taken_away) * 1e3;
        self.gauge(gauge::STALL_MAX_MS, stalled_ms(worst));
        self.gauge(gauge::STALL_TOTAL_MS, stalled_ms(sum));
        let ours = since(os::cpu_seconds(), self.0.cpu_at_start);
        let all = since(os::busy_seconds(), self.0.busy_at_start);
        if let Some(ours) = ours {
            self.gauge(gauge::PROCESS_CPU_SHARE, ours / available);
        }
        if let (Some(ours), Some(all)) = (ours, all) {
            self.gauge(gauge::OTHERS_CPU_SHARE, ((all - ours) / available).clamp(0.0, 1.0));
        }
        if let Some(bytes) = os::resident_bytes() {
            self.gauge(gauge::RESIDENT_MB, bytes as f64 / 1e6);
        }
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A server in another language, in a process of its own.
pub struct Server {
    child: Option<Child>,
    name: &'static str,
}

impl Server {
    /// Waits until it says where it listens: `{"listening": "127.0.0.1:4321"}`, on a line of its own. `None` when the
    /// run was stopped meanwhile.
    ///
    /// # Errors
    /// When it ends, or says something else, or nothing within `limit`.
    pub async fn listening(&mut self, limit: Duration) -> anyhow::Result<Option<SocketAddr>> {
        #[derive(serde::Deserialize)]
        struct Said {
            listening: SocketAddr,
        }
        let (child, name) = (self.child.as_mut().context("it has ended")?, self.name);
        match child.first_line(limit).await {
            Some(line) => {
                let said: Said = serde_json::from_str(&line)
                    .with_context(|| format!("{name} says {line:?} and not where it listens"))?;
                ensure!(said.listening.ip().is_loopback(), "{name} listens to other machines");
                Ok(Some(said.listening))
            }
            None => match self.child.take() {
                None => Ok(None),
                Some(child) => {
                    child.close_input();
                    // One that does not end at that is killed as it is dropped.
                    let ended = tokio::time::timeout(limit, child.ended()).await;
                    let ended = ended.with_context(|| {
                        format!("{name} does not say where it listens, and does not end")
                    })?;
                    ensure!(
                        ended.is_stopped(),
                        "{name} never said where it listens: it {}",
                        ended.why()
                    );
                    Ok(None)
                }
            },
        }
    }

    /// Ends its input, at which it ends, and returns the last line that it wrote. `None` when the run was stopped
    /// meanwhile.
    ///
    /// # Errors
    /// When it fails, or does not end.
    pub async fn end(self) -> anyhow::Result<Option<String>> {
        let Server { child: Some(child), name } = self else {
            return Ok(None);
        };
        child.close_input();
        let ended = child.ended().await;
        if ended.is_stopped() {
            return Ok(None);
        }
        ensure!(ended.is_well(), "{name} {}", ended.why());
        Ok(ended.out.lines().last().map(str::to_string))
    }
}

/// The upstream of a trial: the built-in mock server, or one that runs elsewhere.
pub struct Service {
    kind: Kind,
    /// Its books when the connections had been opened.
    before: Mutex<Counters>,
}

enum Kind {
    Here(Arc<Upstream>),
    Elsewhere(String, f64),
}

impl Service {
    /// Its address.
    pub fn url(&self) -> String {
        match &self.kind {
            Kind::Here(upstream) => upstream.url(),
            Kind::Elsewhere(url, _) => url.clone(),
        }
    }

    /// Its own count of what has come so far, for a [`Load`] to read; one that runs elsewhere has none.
    pub fn arrivals(&self) -> Arrivals {
        match &self.kind {
            Kind::Here(upstream) => {
                let upstream = upstream.clone();
                Arrivals::new(move || Some(upstream.counters().arrived))
            }
            Kind::Elsewhere(..) => Arrivals::new(|| None),
        }
    }

    /// Its requests one by one, without those that opened connections: as many as its spec says are written down.
    /// `None` for one that runs elsewhere.
    pub fn ledger(&self) -> Option<Vec<Entry>> {
        match &self.kind {
            Kind::Here(upstream) => {
                let mut ledger = upstream.ledger();
                ledger.retain(|entry| !entry.path.starts_with(DOOR));
                Some(ledger)
            }
            Kind::Elsewhere(..) => None,
        }
    }

    /// Its books; `None` for one that runs elsewhere.
    pub fn counters(&self) -> Option<Counters> {
        match &self.kind {
            Kind::Here(upstream) => {
                let before = *self.before.lock().unwrap_or_else(PoisonError::into_inner);
                let now = upstream.counters();
                Some(Counters {
                    arrived: now.arrived - before.arrived,
                    admitted: now.admitted - before.admitted,
                    refused: now.refused - before.refused,
                    served: now.served - before.served,
                    abandoned: now.abandoned - before.abandoned,
                    ..now
                })
            }
            Kind::Elsewhere(..) => None,
        }
    }
}

/// To six decimals: more would be noise and half of the file.
fn micro(value: f64) -> f64 {
    (value * 1e6).round() / 1e6
}

fn thread_name() -> String {
    let current = std::thread::current();
    current.name().map_or_else(|| format!("{:?}", current.id()), str::to_string)
}

/// A thread that only sleeps and looks how late it wakes: stalls of the machine show here whatever
/// the experiment does (after jHiccup, Tene 2012).
struct StallMeter {
    done: Arc<AtomicBool>,
    stalls: Arc<Mutex<Vec<(Instant, Duration)>>>,
}

impl StallMeter {
    const NAP: Duration = Duration::from_millis(2);
    /// Shorter ones are the timers' usual lateness, and do not add up to anything.
    const LONG: Duration = Duration::from_millis(2);

    fn start() -> StallMeter {
        let meter = StallMeter { done: Arc::default(), stalls: Arc::default() };
        let (done, stalls) = (meter.done.clone(), meter.stalls.clone());
        // Without the thread there are no stalls to report, and the run goes on.
        let _ = std::thread::Builder::new().name("stall-meter".into()).spawn(move || {
            while !done.load(Ordering::Relaxed) {
                let start = Instant::now();
                std::thread::sleep(StallMeter::NAP);
                let late = start.elapsed().saturating_sub(StallMeter::NAP);
                if late > Duration::from_micros(500) {
                    stalls
                        .lock()
                        .unwrap_or_else(PoisonError::into_inner)
                        .push((Instant::now(), late));
                }
            }
        });
        meter
    }

    /// The longest stall that ended between two instants, and the sum of the long ones.
    fn between(&self, from: Instant, to: Instant) -> (Duration, Duration) {
        let stalls = self.stalls.lock().unwrap_or_else(PoisonError::into_inner);
        let inside = stalls.iter().filter(|(at, _)| *at >= from && *at <= to);
        let late = || inside.clone().map(|(_, late)| *late);
        let long = late().filter(|late| *late >= StallMeter::LONG);
        (late().max().unwrap_or_default(), long.sum())
    }
}

impl Drop for StallMeter {
    fn drop(&mut self) {
        self.done.store(true, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::{Closed, Outcome};

    #[test]
    fn a_load_that_is_stopped_in_its_warm_up_is_no_trial_and_none_follows() {
        let host = Host::calibrate(Scale::Smoke).unwrap();
        let stop = Stop::default();
        let mut session = Session::new(Scale::Smoke, 1, 50, host, stop, Progress::hidden());
        session.one_at_a_time = true;
        let begun = Arc::new(Mutex::new(0));
        let count = begun.clone();
        let mut sweep = session.sweep();
        sweep.steady("a", 1.0, 1, move |r| {
            *count.lock().unwrap() += 1;
            async move {
                let upstream =
                    r.upstream(Spec::new(1, ServiceTime::Constant(Duration::ZERO))).await?;
                let plan = Closed { warm_up: Duration::from_secs(3600), ..Closed::default() };
                let stop = r.0.stop.clone();
                let load = r.load();
                let send = move |_| {
                    stop.set();
                    std::future::pending::<Outcome>()
                };
                r.tally(load.closed(plan, send).await, &upstream)
            }
        });
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(sweep.run()).unwrap();
        assert_eq!(*begun.lock().unwrap(), 1);
        assert!(session.finish().0.is_empty());
    }
}
