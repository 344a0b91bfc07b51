//! Theory beside measurement for lab06.

use lab_kit::prelude::*;
use mock_server::queue::{Admission, Queue};

use super::{Params, gauges, python};

/// The buffer into which hyper 1 reads first, and the one in which it puts a request's head
/// together: one of each for every connection (`INIT_BUFFER_SIZE`).
const BUFFER: f64 = 8192.0;

/// Requests after which a connection's queue in the client has its second block of 32 places (tokio
/// keeps used blocks to use them again). Until then a connection is still growing.
const GROWN: f64 = 48.0;

/// Virtual runs for a mean.
const RUNS: u64 = 100;

/// Virtual batches for the mean of one.
const BATCHES: usize = 1600;

pub(super) fn explain(p: &Params, summary: &Summary) -> Findings {
    let arms = Measured::all(p, summary);
    let heaps = Heaps::of(summary);
    let gain = gain(&arms);
    let growth = heaps.growth();

    let mut claims = throughput_claims(&arms);
    claims.extend(crash_claims(summary));
    claims.extend(heap_claims(p, &heaps));

    let faster = gain.as_ref().map_or(f64::NAN, |(batch, window, _)| {
        window.theory() / batch.theory()
    });
    let answers = vec![
        Answer::near("window", gain.as_ref().map(|(_, _, gain)| *gain), faster),
        // The peak does not depend on the length of the text.
        Answer::near("memory", growth.map(|(_, grown)| grown), 1.0),
    ];
    let figures = [batch_figure(p, &arms), level_figure(p, &arms)];
    let mut tables = vec![rates(p, &arms), share(p, &heaps)];
    tables.extend(python::table(p, summary, |random, batches| {
        let batch = batches.then_some(p.batch);
        let same =
            |a: &&Measured| a.random == random && a.batch == batch && a.width == p.concurrency;
        arms.iter().find(same).and_then(Measured::rate)
    }));
    Findings {
        headline: headline(gain.as_ref(), growth),
        figures: figures
            .into_iter()
            .flatten()
            .chain(heap_figures(p, &heaps))
            .collect(),
        tables,
        claims,
        answers,
    }
}

/// Batches of random service, a window of the same concurrency, and how many times as fast it is.
type Gain<'m, 'a> = (&'m Measured<'a>, &'m Measured<'a>, Estimate);

/// For the worst batch: one as large as the concurrency.
fn gain<'m, 'a>(arms: &'m [Measured<'a>]) -> Option<Gain<'m, 'a>> {
    let random = || arms.iter().filter(|a| a.random);
    let mut worst = random().filter(|a| a.batch == Some(a.width));
    worst.find_map(|batch| {
        let window = random().find(|a| a.batch.is_none() && a.width == batch.width)?;
        let rate = |t: &Trial| Some(t.gauge(gauges::LINES)? / t.wall_s);
        let gain = batch
            .condition
            .paired(&window.condition, |b, w| Some(rate(w)? / rate(b)?));
        Some((batch, window, gain?))
    })
}

fn headline(gain: Option<&Gain>, growth: Option<(f64, Estimate)>) -> String {
    let mut headline = String::new();
    if let Some((batch, window, gain)) = gain {
        headline += &format!(
            "With random service times {} in flight embed {} chunks/s in batches of {} and {} without batches, {} times as many",
            batch.width,
            cell(batch.rate(), number),
            batch.width,
            cell(window.rate(), number),
            number(gain.value),
        );
    }
    if let Some((texts, heap)) = growth {
        headline += &format!(
            "{} when the text grows {}-fold, the window's memory grows {:.2}-fold.",
            if headline.is_empty() { "" } else { ";" },
            number(texts),
            heap.value
        );
    }
    headline
}

/// What a request costs beside its service.
#[derive(Clone, Copy)]
struct Pace {
    /// The way there and back, for one alone.
    trip: f64,
    /// The most by which an answer is late because timers fire at ticks.
    late: f64,
    /// Until the client has got the next one on its way, and the service the next answer.
    each: f64,
    /// Until the service's one thread has got the next of several answers on its way that are due
    /// together.
    answer: f64,
    /// What all of it was taken from.
    origin: Origin,
}

/// Timers of the runtime tick in milliseconds.
const TICK: f64 = 1e-3;

impl Pace {
    fn of(summary: &Summary) -> Option<Pace> {
        let answer = summary.calibrated(|host| 1.0 / host.upstream_ceiling_per_s.max(1.0));
        let trip = summary.calibrated(|host| host.request_overhead_ms / 1e3);
        let between = summary.only("pace")?.gauge(gauges::BETWEEN_REQUESTS_S)?;
        let each = answer + Given::from(between);
        Some(Pace {
            trip: trip.value,
            late: TICK,
            each: each.value,
            answer: answer.value,
            origin: each.origin().and(trip.origin()),
        })
    }

    /// Seconds for `n` chunks in batches of `b`, or in none, with `m` in flight, when the service's
    /// next times are those of `times`.
    ///
    /// A batch goes to m places of a queue, in virtual time; it lasts as long as the place that
    /// ends last, and then the next one begins. The first m are sent one after another, and that
    /// draws their answers apart. With constant service those of the next waves come m at a time.
    fn makespan(
        &self,
        n: usize,
        b: Option<usize>,
        m: usize,
        random: bool,
        mut times: impl FnMut() -> f64,
    ) -> f64 {
        let nanos = |s: f64| (s * 1e9) as u64;
        let (mut left, mut end, mut phase) = (n, 0, 0.0);
        while left > 0 {
            let batch = b.unwrap_or(n).clamp(1, left);
            let mut places = Queue::new(m, None);
            let lasts = (0..batch).map(|i| {
                // Late by any part of a tick, evenly: the golden ratio's multiples are that even.
                phase = (phase + 0.618_033_988_75) % 1.0;
                let extra = self.trip + self.late * phase;
                let sent = nanos(i.min(m - 1) as f64 * self.each);
                let bunch = if random || i < m {
                    0.0
                } else {
                    m as f64 * self.answer
                };
                match places.arrive(sent, nanos(times() + extra + bunch)) {
                    Admission::Admitted { finish, .. } => finish,
                    Admission::Refused { free_at } => free_at,
                }
            });
            end += lasts.max().unwrap_or(0);
            left -= batch;
        }
        end as f64 / 1e9
    }
}

/// A condition of the throughput part, with what theory says of it.
struct Measured<'a> {
    condition: Condition<'a>,
    random: bool,
    batch: Option<usize>,
    width: usize,
    pace: Pace,
    service: ServiceTime,
    /// Mean service time.
    mean: f64,
    /// Chunks of the text.
    chunks: Given,
    /// Seconds on average.
    expected: f64,
}

impl<'a> Measured<'a> {
    fn all(p: &Params, summary: &Summary<'a>) -> Vec<Measured<'a>> {
        let Some(pace) = Pace::of(summary) else {
            return Vec::new();
        };
        // How many chunks the text has is known from another condition: what the run that was killed
        // and started again has on the disk.
        let both = |t: &Trial| Some(t.gauge(gauges::LINES_LEFT)? + t.gauge(gauges::LINES)?);
        let chunks = summary.only("crash").and_then(|k| k.estimate(both));
        let mut all = Vec::new();
        for random in [false, true] {
            for series in ["batch", "level", "window"] {
                let kind = if random { "random" } else { "constant" };
                for condition in summary.series(&format!("{series}/{kind}")) {
                    let x = condition.x() as usize;
                    let (batch, width) = match series {
                        "batch" => (Some(x), p.concurrency),
                        "level" => (Some(p.batch), x),
                        _ => (None, x),
                    };
                    let chunks = chunks.or_else(|| condition.gauge(gauges::LINES));
                    all.extend(chunks.map(|chunks| {
                        let chunks = Given::from(chunks).map(f64::round);
                        Measured::of(p, pace, condition, chunks, (random, batch, width))
                    }));
                }
            }
        }
        all
    }

    fn of(
        p: &Params,
        pace: Pace,
        condition: Condition<'a>,
        chunks: Given,
        (random, batch, width): (bool, Option<usize>, usize),
    ) -> Measured<'a> {
        let mean = p.service.duration();
        let mut measured = Measured {
            condition,
            random,
            batch,
            width,
            pace,
            service: match random {
                true => p.spread(mean),
                false => ServiceTime::Constant(mean),
            },
            mean: mean.as_secs_f64(),
            chunks,
            expected: f64::NAN,
        };
        // Enough for the mean, and bounded whatever the flags.
        let n = chunks.value as u64;
        let runs = match random {
            true => RUNS.min(2_000_000 / n.max(1) + 1),
            false => 1,
        };
        let runs: Vec<f64> = (0..runs).map(|seed| measured.seconds(seed)).collect();
        measured.expected = lab_kit::stats::mean(&runs);
        measured
    }

    /// Seconds that theory gives the text, for the times that the service draws with this seed.
    fn seconds(&self, seed: u64) -> f64 {
        let mut times = self.service.sampler(seed);
        let next = || times.next_time().as_secs_f64();
        let n = self.chunks.value as usize;
        self.pace
            .makespan(n, self.batch, self.width, self.random, next)
    }

    /// The same for what the service of a trial drew.
    fn replayed(&self, t: &Trial) -> Option<f64> {
        if !self.random {
            return Some(self.expected);
        }
        t.gauge(gauges::SEED).map(|seed| self.seconds(seed as u64))
    }

    fn rate(&self) -> Option<Estimate> {
        let rate = |t: &Trial| Some(t.gauge(gauges::LINES)? / t.wall_s);
        self.condition.estimate(rate)
    }

    /// Chunks/s for the times that were drawn.
    fn theory(&self) -> f64 {
        let rate = |t: &Trial| Some(self.chunks.value / self.replayed(t)?);
        let rates: Vec<f64> = self.condition.trials().iter().filter_map(rate).collect();
        lab_kit::stats::mean(&rates)
    }

    fn name(&self) -> String {
        let way = match self.batch {
            Some(b) => format!("batches of {b}"),
            None => "a window".into(),
        };
        let kind = if self.random { "random" } else { "constant" };
        format!("{way} with {} in flight, {kind} service", self.width)
    }

    /// Measured and predicted chunks/s; of random times those of the very times that were drawn.
    fn case(&self) -> Case {
        let theory = self.theory();
        let origin = self.chunks.origin().and(self.pace.origin);
        let (origin, measured) = match self.random {
            false => (origin, self.rate()),
            true => {
                // Trial by trial, so that what differs in their draws is not taken for spread.
                let ratio = |t: &Trial| {
                    let rate = t.gauge(gauges::LINES)? / t.wall_s;
                    Some(rate * self.replayed(t)? / self.chunks.value)
                };
                let ratio = self.condition.estimate(ratio);
                let drawn = self.condition.origin();
                (origin.and(drawn), ratio.map(|r| r.scaled(theory)))
            }
        };
        let share = 0.02 + 1.5 * TICK / self.mean;
        Case::share(self.name(), Given::new(theory, origin), measured, share)
    }

    /// How long a batch lasted over how long it should: from the batches of each trial, which have
    /// nothing to do with each other. No number when no batch is followed by another.
    fn barrier(&self) -> Option<(Given, Option<Estimate>)> {
        let b = self.batch?;
        let mut times = self.service.sampler(0);
        let lasts = (0..BATCHES).map(|_| {
            let next = || times.next_time().as_secs_f64();
            self.pace
                .makespan(b, Some(b), self.width, self.random, next)
        });
        let due = Given::new(lasts.sum::<f64>() / BATCHES as f64, self.pace.origin);
        let of = |t: &Trial| {
            let n = t.gauge(gauges::BATCHES).filter(|n| *n >= 2.0)?;
            let error = t.gauge(gauges::BATCH_DEVIATION_S)? / n.sqrt();
            let mean = t.gauge(gauges::BATCH_MEAN_S)?;
            Some(Estimate::with_error(mean, error, n as usize - 1))
        };
        let trials: Vec<Estimate> = self.condition.trials().iter().filter_map(of).collect();
        let lasted = Estimate::mean_of(&trials).map(|e| e.from(self.condition.origin()));
        Some((due, lasted))
    }
}

fn throughput_claims(arms: &[Measured]) -> Vec<Claim> {
    let law = |text: &str, of: &dyn Fn(&&Measured) -> bool| {
        Law::new(text, "chunks/s", Disturbed::Fewer(Resource::Timers))
            .within("answers come up to a tick late or early and half of one is assumed: 1.5 ms for each service, and 2 %")
            .near(arms.iter().filter(of).map(Measured::case))
            .unless(sends(arms))
    };
    let mut claims = vec![
        law(
            "constant service: b chunks in a batch take ⌈b/m⌉ waves of s, so batches of a multiple of m give m/s, as a window does (but for the last round)",
            &|a| !a.random,
        ),
        law(
            "random service, for the times that were drawn: a batch lasts as long as the slowest of its m places, and a window leaves none empty before its end",
            &|a| a.random,
        ),
    ];
    claims.extend(on_average(arms).map(|claim| claim.unless(sends(arms))));
    let counted = arms.iter().flat_map(|a| {
        let counts = [
            (gauges::LINES, "lines"),
            (gauge::UPSTREAM_ARRIVED, "requests"),
        ];
        counts.map(|(gauge, what)| {
            let seen = a.condition.every(|t| t.gauge(gauge));
            Case::exact(format!("{}: {what}", a.name()), a.chunks, seen)
        })
    });
    claims.push(Law::counted("every chunk is sent once and has one line", "chunks").near(counted));
    claims
}

/// Why what was calibrated, not the service, would be what these laws speak of: sending all that are in flight
/// takes a good part of a service time.
fn sends(arms: &[Measured]) -> Option<String> {
    let takes = |a: &Measured| a.pace.trip + a.width as f64 * a.pace.each;
    let slow = arms.iter().find(|a| takes(a) > a.mean / 3.0)?;
    Some(format!(
        "sending {} requests takes {}, too much beside a service of {}",
        slow.width,
        seconds(takes(slow)),
        seconds(slow.mean)
    ))
}

/// All batches of random service together against the mean of the law, not against the times that
/// were drawn.
fn on_average(arms: &[Measured]) -> Option<Claim> {
    let barriers = arms.iter().filter(|a| a.random);
    let (due, lasted): (Vec<Given>, Vec<Option<Estimate>>) =
        barriers.filter_map(Measured::barrier).unzip();
    let origin = due
        .iter()
        .fold(Origin::default(), |all, due| all.and(due.origin()));
    let ratios: Option<Vec<Estimate>> = lasted
        .into_iter()
        .zip(&due)
        .map(|(lasted, due)| Some(lasted?.scaled(1.0 / due.value)))
        .collect();
    let measured = ratios.and_then(|ratios| Estimate::mean_of(&ratios));
    let text = "random service, on average over all sizes of batches: a batch lasts as long as E[max] says";
    let law = Law::new(text, "of the time", Disturbed::Longer(Resource::Timers));
    let law = law.within("15 %: without a barrier it would be a fourth of the time at b = m = 25");
    (due.len() > 2).then(|| {
        law.near([Case::share(
            "all batches",
            Given::new(1.0, origin),
            measured,
            0.15,
        )])
    })
}

fn crash_claims(summary: &Summary) -> Vec<Claim> {
    let Some(crash) = summary.only("crash") else {
        return Vec::new();
    };
    // Only if all of its runs really were killed on their way: with something written, and something left.
    let on_its_way = |t: &Trial| {
        let (killed, left) = (t.gauge(gauges::KILLED)?, t.gauge(gauges::LINES_LEFT)?);
        Some(killed == 1.0 && (1.0..t.gauge(gauges::CHUNKS)?).contains(&left))
    };
    let killed = crash.trials().iter().all(|t| on_its_way(t) == Some(true));
    let of = |gauge: Gauge| crash.every(|t| t.gauge(gauge)).filter(|_| killed);
    // What is on the disk is not sent again: counted by the service beside what the file holds.
    let missing = crash.estimate(|t| Some(t.gauge(gauges::CHUNKS)? - t.gauge(gauges::LINES_LEFT)?));
    let missing = missing.map_or(f64::NAN.into(), Given::from);
    vec![
        Law::counted(
            "killed half way, its last line torn, and started again: every chunk has exactly one line",
            "chunks missing or twice",
        )
        .near([Case::exact("window", 0.0, of(gauges::CHUNKS_MISSING))]),
        Law::counted(
            "started again, it sends what is not on the disk, and nothing else",
            "requests",
        )
        .near([Case::exact("window", missing, of(gauges::SENT_AGAIN))]),
    ]
}

/// The memory part, by series.
struct Heaps<'a> {
    size_window: Vec<Condition<'a>>,
    size_whole: Vec<Condition<'a>>,
    level_window: Vec<Condition<'a>>,
    level_batch: Vec<Condition<'a>>,
    chunk_window: Vec<Condition<'a>>,
    chunk_batch: Vec<Condition<'a>>,
    kept_answers: Vec<Condition<'a>>,
    kept_lines: Vec<Condition<'a>>,
}

fn peak(k: &Condition) -> Option<Estimate> {
    k.gauge(gauges::HEAP_PEAK_BYTES)
}

fn idle(k: &Condition) -> Option<Estimate> {
    k.gauge(gauges::HEAP_IDLE_BYTES)
}

type Figures = fn(&Condition) -> Option<Estimate>;

fn points(of: &[Condition], figure: Figures) -> Vec<(f64, f64)> {
    of.iter()
        .filter_map(|k| Some((k.x(), figure(k)?.value)))
        .collect()
}

/// Slope of a straight line by least squares.
fn slope(points: &[(f64, f64)]) -> Option<f64> {
    let n = points.len() as f64;
    let mean = |f: &dyn Fn(&(f64, f64)) -> f64| points.iter().map(f).sum::<f64>() / n;
    let (x, y) = (mean(&|p| p.0), mean(&|p| p.1));
    let spread = mean(&|p| (p.0 - x).powi(2));
    (points.len() > 1 && spread > 0.0).then(|| mean(&|p| (p.0 - x) * (p.1 - y)) / spread)
}

impl<'a> Heaps<'a> {
    fn of(summary: &Summary<'a>) -> Heaps<'a> {
        let series = |name: &str| summary.series(&format!("heap/{name}"));
        Heaps {
            size_window: series("size/window"),
            size_whole: series("size/whole"),
            level_window: series("level/window"),
            level_batch: series("level/batch"),
            chunk_window: series("chunk/window"),
            chunk_batch: series("chunk/batch"),
            kept_answers: series("kept/answers"),
            kept_lines: series("kept/lines"),
        }
    }

    /// How many times as long the longest text is as the shortest, and what that does to the peak.
    fn growth(&self) -> Option<(f64, Estimate)> {
        let (first, last) = (self.size_window.first()?, self.size_window.last()?);
        let grown = peak(last)?.over(peak(first)?);
        (last.x() > first.x()).then(|| (last.x() / first.x(), grown))
    }

    /// Bytes that one more connection takes while it is idle, and one more request in flight.
    fn per_request(&self) -> Option<(f64, f64)> {
        let slope = |figure: Figures| slope(&points(&self.level_window, figure));
        Some((slope(idle)?, slope(peak)?))
    }

    /// Bytes that one more chunk in a batch takes, when answers are kept and when lines are.
    fn per_chunk(&self, p: &Params) -> Option<(Given, Given)> {
        let besides = |of: &[Condition], gauge: Gauge| {
            let found = of.first()?.gauge(gauge)?;
            Some(Given::from(found) + p.chunk.f())
        };
        Some((
            besides(&self.kept_answers, gauges::BESIDES_ANSWER_BYTES)? + BUFFER,
            besides(&self.kept_lines, gauges::BESIDES_LINE_BYTES)?,
        ))
    }
}

/// The peak grows from the first condition's by so many bytes for each unit of x. How far it may lie from
/// that is a share of what it grows by.
fn growing(
    of: &[Condition],
    per_x: impl Into<Given>,
    share: f64,
    name: impl Fn(f64) -> String,
) -> Vec<Case> {
    let Some((first, base)) = of.first().and_then(|k| Some((k.x(), peak(k)?))) else {
        return Vec::new();
    };
    let per_x = per_x.into();
    let case = |k: &Condition| {
        let growth = per_x * (k.x() - first);
        let case = Case::new(
            name(k.x()),
            Given::from(base) + growth,
            peak(k),
            share * growth.value,
        );
        case.scaled(1e-6)
    };
    of.iter().skip(1).map(case).collect()
}

/// Between the first and the last condition the peak lies on the straight line from one to the other.
fn straight(of: &[Condition], share: f64, way: &str) -> Vec<Case> {
    let (Some(first), Some(last)) = (of.first(), of.last()) else {
        return Vec::new();
    };
    let Some((low, high)) = peak(first).zip(peak(last)) else {
        return Vec::new();
    };
    let per_x = (Given::from(high) - Given::from(low)) / (last.x() - first.x());
    // One that takes less than the buffers of its connection has not been measured.
    let takes = per_x.value >= 2.0 * BUFFER;
    let name = |m: f64| format!("{m} in flight, {way}");
    let inner = &of[..of.len() - 1];
    let cases = growing(inner, per_x, share, name).into_iter();
    let measured = |case: Case| Case {
        measured: case.measured.filter(|_| takes),
        ..case
    };
    cases.map(measured).collect()
}

fn heap_claims(p: &Params, heaps: &Heaps) -> Vec<Claim> {
    vec![
        level_with_size(p, heaps),
        per_request(heaps),
        connections(heaps),
        bodies(p, heaps),
        kept(p, heaps),
        left(heaps),
    ]
}

/// The window's memory over the length of the text.
fn level_with_size(p: &Params, heaps: &Heaps) -> Claim {
    let shortest = heaps.size_window.first();
    let base = shortest.and_then(peak);
    let cases = heaps.size_window.iter().skip(1).filter_map(|k| {
        let name = format!("a text of {}", megabytes(k.x()));
        Some(Case::share(name, base?, peak(k), 0.05).scaled(1e-6))
    });
    let each = shortest.map_or(0.0, Condition::x) / p.heap_chunk.f() / p.heap_concurrency as f64;
    let young = (each < GROWN).then(|| {
        format!("with {each:.0} requests for each connection the shortest text is too short: connections grow until they have carried 33")
    });
    Law::counted(
        "the window's peak does not depend on the length of the text: as for the shortest",
        "MB",
    )
    .within("5 %: less than 2 in 100 of the text that was added")
    .near(cases)
    .unless(young)
}

fn per_request(heaps: &Heaps) -> Claim {
    let mut cases = straight(&heaps.level_window, 0.1, "window");
    cases.extend(straight(&heaps.level_batch, 0.1, "batches"));
    Law::counted(
        "each request more in flight takes as much as any other: the peak grows along a straight line",
        "MB",
    )
    .within("10 % of what it grew by: which of the requests in flight are being read at the peak is chance")
    .near(cases)
}

fn connections(heaps: &Heaps) -> Claim {
    let of = &heaps.level_window;
    let first = of.first().and_then(|k| Some((k.x(), idle(k)?)));
    let cases = of.iter().skip(1).filter_map(|k| {
        let (fewest, base) = first?;
        let least = Given::from(base) + 2.0 * BUFFER * (k.x() - fewest);
        let held = k.every(|t| t.gauge(gauges::HEAP_IDLE_BYTES));
        Some(Case::exact(format!("{} connections", k.x()), least, held).scaled(1e-6))
    });
    Law::counted(
        "a connection that does nothing holds at least hyper's two buffers of 8 KB: so much more than the fewest do",
        "MB",
    )
    .at_least(cases)
}

fn bodies(p: &Params, heaps: &Heaps) -> Claim {
    let name = |way: &'static str| move |x| format!("{} in a request, {way}", megabytes(x));
    let mut cases = growing(
        &heaps.chunk_window,
        p.concurrency as f64,
        0.1,
        name("window"),
    );
    cases.extend(growing(
        &heaps.chunk_batch,
        p.batch as f64,
        0.1,
        name("batches"),
    ));
    let idle = p.batch < p.concurrency;
    Law::counted(
        "a chunk is in memory once: the peak grows by m bytes for each byte of it in the window, by b in batches",
        "MB",
    )
    .within("10 % of what it grew by: another chunk is being read and cleaned meanwhile")
    .near(cases)
    .unless(idle.then(|| "batches smaller than the concurrency leave connections idle".into()))
}

fn kept(p: &Params, heaps: &Heaps) -> Claim {
    let cases = heaps.per_chunk(p).map(|(per_answer, per_line)| {
        let name = |what: &'static str| move |b| format!("batches of {b}, {what} kept");
        let mut cases = growing(&heaps.kept_answers, per_answer, 0.1, name("answers"));
        cases.extend(growing(&heaps.kept_lines, per_line, 0.1, name("lines")));
        cases
    });
    let long = super::embeddings::longest(p.dimensions) > BUFFER / 2.0;
    let below = p.heap_batches.iter().any(|b| *b < p.concurrency);
    let besides = |k: &Condition| k.gauge(gauges::BESIDES_LINE_BYTES);
    let line = heaps.kept_lines.first().and_then(besides);
    let why = if line.is_some_and(|line| line.value > BUFFER / 2.0) {
        Some("what waits for a permit holds as much as a good part of the buffer".to_string())
    } else if long {
        Some("an answer of this length does not fit into the first buffer".to_string())
    } else {
        below.then(|| "batches smaller than the concurrency leave connections idle".into())
    };
    Law::counted(
        "an answer that waits for its batch to end holds the 8 KB it was read into, however short it is; a line does not",
        "MB",
    )
    .within("10 % of what it grew by: lists that grow by doubling, and answers that are being read")
    .near(cases.unwrap_or_default())
    .unless(why)
}

fn left(heaps: &Heaps) -> Claim {
    let cases = heaps.all().map(|k| {
        let left = k.every(|t| {
            let held = t.gauge(gauges::HEAP_HELD_BYTES)?;
            Some((held - t.gauge(gauges::HEAP_FREED_BYTES)?).abs())
        });
        let name = format!("{} {}", k.series(), k.x());
        Case::exact(name, 2e3, left).scaled(1e-3)
    });
    Law::counted(
        "all but a tenth of a connection of what the client holds at its end is freed when it is dropped, so the counting was right",
        "kB",
    )
    .books()
    .at_most(cases)
}

impl<'a> Heaps<'a> {
    fn all(&self) -> impl Iterator<Item = &Condition<'a>> {
        let all = [
            &self.size_window,
            &self.size_whole,
            &self.level_window,
            &self.level_batch,
            &self.chunk_window,
            &self.chunk_batch,
            &self.kept_answers,
            &self.kept_lines,
        ];
        all.into_iter().flatten()
    }
}

/// A size as flags write it, or as near as a figure needs.
fn megabytes(bytes: f64) -> String {
    Size::bytes(bytes as u64).to_string()
}

fn rates(p: &Params, arms: &[Measured]) -> Table {
    let mut table = Table::new(
        "Chunks per second",
        &[
            "service",
            "in flight",
            "batch",
            "chunks/s",
            "theory, these draws",
            "theory, on average",
            "share of m/s",
        ],
    );
    for a in arms {
        let most = a.width as f64 / p.service.s();
        table.row([
            if a.random {
                p.spread(p.service.duration()).to_string()
            } else {
                p.service.to_string()
            },
            number(a.width as f64),
            a.batch.map_or("none".into(), |b| b.to_string()),
            cell(a.rate(), number),
            number(a.theory()),
            number(a.chunks.value / a.expected),
            cell(a.rate(), |rate| percent(rate / most)),
        ]);
    }
    let Some(Measured { pace, .. }) = arms.first() else {
        return table;
    };
    table.note = format!(
        "Theory includes {} for the way there and back, {} until the next request of a batch is on its way (both measured beforehand), and the 1 ms tick of the service's timers.",
        seconds(pace.trip),
        seconds(pace.each)
    );
    table
}

fn share(p: &Params, heaps: &Heaps) -> Table {
    let mut table = Table::new(
        "What one more request in flight holds",
        &["part", "kB", "how it is known"],
    );
    let kb = |bytes: f64| number(bytes / 1e3);
    let Some((connection, request)) = heaps.per_request() else {
        return table;
    };
    let body = p.chunk.f();
    let Some((_, line_of)) = heaps.per_chunk(p) else {
        return table;
    };
    let future = line_of.value - body;
    for (part, bytes, how) in [
        (
            "its connection, idle",
            connection,
            "slope over connections before the first request",
        ),
        (
            "two buffers of hyper in it",
            2.0 * BUFFER,
            "8 KB each: constants in hyper's source",
        ),
        (
            "the rest of it",
            connection - 2.0 * BUFFER,
            "mostly the client's queue to the connection, a block of 32 places; from the 33rd request on two",
        ),
        (
            "the text of its chunk",
            body,
            "the peak grows by one byte a request for each byte of a chunk",
        ),
        (
            "its future",
            future,
            "counted for a hundred that wait for their turn",
        ),
        (
            "the rest",
            request - connection - body - future,
            "the request under construction, and an answer's buffer",
        ),
        (
            "all",
            request,
            "slope of the peak over the requests in flight",
        ),
    ] {
        table.row([part.to_string(), kb(bytes), how.to_string()]);
    }
    let slope = |of: &[Condition]| slope(&points(of, peak)).map_or("–".into(), kb);
    table.note = format!(
        "One more chunk in a batch takes {} kB when answers are kept, {} kB when lines are. No TLS here: its buffers would come on top.",
        slope(&heaps.kept_answers),
        slope(&heaps.kept_lines)
    );
    table
}

fn batch_figure(p: &Params, arms: &[Measured]) -> Option<Figure> {
    let of = |random: bool| -> Vec<&Measured> {
        let mut of: Vec<_> = arms
            .iter()
            .filter(|a| a.random == random && a.width == p.concurrency && a.batch.is_some())
            .collect();
        of.sort_by_key(|a| a.batch);
        of.dedup_by_key(|a| a.batch);
        of
    };
    let (constant, random) = (of(false), of(true));
    let (first, last) = (random.first()?, random.last()?);
    let n = first.chunks.value;
    let measured = |arms: &[&Measured]| {
        arms.iter()
            .filter_map(|a| Some((a.batch? as f64, a.rate()?.value)))
            .collect()
    };
    let gain = |of: &[&Measured]| Some(of.last()?.rate()?.value / of.first()?.rate()?.value);
    let theory = |arms: &[&Measured]| {
        arms.iter()
            .map(|a| (a.batch.unwrap_or(1) as f64, a.theory()))
            .collect::<Vec<_>>()
    };
    let without = first
        .pace
        .makespan(n as usize, None, p.concurrency, false, || p.service.s());
    let ticks: Vec<f64> = random.iter().map(|a| a.batch.unwrap_or(1) as f64).collect();
    Some(Figure {
        id: "batch".into(),
        title: format!(
            "Batches of {} instead of {}: {:.2} times as fast with random service, {:.2} with constant",
            last.batch?,
            first.batch?,
            gain(&random)?,
            gain(&constant)?
        ),
        subtitle: format!(
            "{n} chunks of {}, {} in flight, a service of {} on average; dashed: theory, for the random times of this run",
            p.chunk, p.concurrency, p.service
        ),
        desc: "Chunks per second over the batch size, with constant and with random service."
            .into(),
        body: Body::Panels(Panels {
            x: Axis::log("chunks in a batch, log scale", Unit::Number).with_ticks(ticks),
            panels: vec![Panel {
                title: "Chunks per second".into(),
                note: String::new(),
                y: Axis::linear("", Unit::Number),
                layers: vec![
                    Layer::Rule {
                        y: n / without,
                        label: "without batches, constant".into(),
                    },
                    Layer::Line(Line::theory("", Colour::Muted, theory(&constant))),
                    Layer::Line(Line::theory("", Colour::Muted, theory(&random))),
                    Layer::Line(Line::measured(
                        "constant",
                        Colour::Blue,
                        measured(&constant),
                    )),
                    Layer::Line(Line::measured(
                        "random",
                        Colour::Vermilion,
                        measured(&random),
                    )),
                ],
                height: 1.3,
            }],
            marks: vec![],
        }),
    })
}

fn level_figure(p: &Params, arms: &[Measured]) -> Option<Figure> {
    let of = |random: bool, barrier: bool| -> Vec<&Measured> {
        let wanted = |a: &&Measured| {
            a.random == random
                && if barrier {
                    a.batch == Some(p.batch)
                } else {
                    a.batch.is_none()
                }
        };
        let mut of: Vec<_> = arms.iter().filter(wanted).collect();
        of.sort_by_key(|a| a.width);
        of.dedup_by_key(|a| a.width);
        of
    };
    let line = |label: &str, colour, arms: &[&Measured]| {
        Layer::Line(Line::measured(
            label,
            colour,
            arms.iter()
                .filter_map(|a| Some((a.width as f64, a.rate()?.value)))
                .collect(),
        ))
    };
    let theory = |arms: &[&Measured]| {
        let points = arms.iter().map(|a| (a.width as f64, a.theory()));
        Layer::Line(Line::theory("", Colour::Muted, points.collect()))
    };
    let panel = |random: bool, title: &str| {
        let (barrier, window) = (of(random, true), of(random, false));
        Panel {
            title: title.into(),
            note: "chunks per second".into(),
            y: Axis::linear("", Unit::Number),
            layers: vec![
                theory(&barrier),
                theory(&window),
                line(
                    &format!("batches of {}", p.batch),
                    Colour::Vermilion,
                    &barrier,
                ),
                line("window", Colour::Green, &window),
            ],
            height: 1.0,
        }
    };
    let (barrier, window) = (of(true, true), of(true, false));
    let fast = window.last()?;
    let slow = barrier.iter().find(|a| a.width == fast.width)?;
    let ticks: Vec<f64> = window.iter().map(|a| a.width as f64).collect();
    Some(Figure {
        id: "level".into(),
        title: format!(
            "With {} in flight a window embeds {} chunks/s, batches of {} only {}",
            fast.width,
            number(fast.rate()?.value),
            p.batch,
            number(slow.rate()?.value)
        ),
        subtitle: format!(
            "Chunks of {}, a service of {} on average; dashed: theory, for the random times of this run",
            p.chunk, p.service
        ),
        desc: "Chunks per second over the requests in flight, for batches and a window, with constant and random service.".into(),
        body: Body::Panels(Panels {
            x: Axis::linear("requests in flight", Unit::Number).with_ticks(ticks),
            panels: vec![panel(false, "Constant service"), panel(true, "Random service")],
            marks: vec![],
        }),
    })
}

fn heap_figures(p: &Params, heaps: &Heaps) -> impl Iterator<Item = Figure> {
    let figures = [
        size_figure(p, heaps),
        concurrency_figure(p, heaps),
        kept_figure(p, heaps),
    ];
    figures.into_iter().flatten()
}

/// Points in MB, with an x axis in another unit.
fn in_megabytes(points: Vec<(f64, f64)>, unit: f64) -> Vec<(f64, f64)> {
    let scaled = points.into_iter().map(|(x, bytes)| (x / unit, bytes / 1e6));
    scaled.collect()
}

/// One panel of memory.
fn heap_panel(title: &str, note: &str, x: Axis, y: Axis, layers: Vec<Layer>) -> Body {
    Body::Panels(Panels {
        x,
        panels: vec![Panel {
            title: title.into(),
            note: note.into(),
            y,
            layers,
            height: 1.3,
        }],
        marks: vec![],
    })
}

fn size_figure(p: &Params, heaps: &Heaps) -> Option<Figure> {
    const MEGABYTE: f64 = 1048576.0;
    let window = in_megabytes(points(&heaps.size_window, peak), MEGABYTE);
    let whole = in_megabytes(points(&heaps.size_whole, peak), MEGABYTE);
    let (texts, growth) = heaps.growth()?;
    let most = whole.last()?.1;
    let ticks: Vec<f64> = window.iter().map(|w| w.0).collect();
    Some(Figure {
        id: "size".into(),
        title: format!(
            "The text grows {}-fold, the window's heap {:.2}-fold; all at once takes {} MB",
            number(texts),
            growth.value,
            number(most)
        ),
        subtitle: format!(
            "Peak live heap of the client, {} in flight, chunks of {}",
            p.heap_concurrency, p.heap_chunk
        ),
        desc: "Peak heap over the length of the text: level for the window, rising when all is sent as one batch.".into(),
        body: heap_panel(
            "Peak live heap",
            "MB, log scale",
            Axis::log("length of the text in MB, log scale", Unit::Number).with_ticks(ticks),
            Axis::log("", Unit::Number),
            vec![
                Layer::Line(Line::measured("all at once", Colour::Vermilion, whole)),
                Layer::Line(Line::measured("window", Colour::Green, window)),
            ],
        ),
    })
}

fn concurrency_figure(p: &Params, heaps: &Heaps) -> Option<Figure> {
    let (levels, batches, idles) = (
        in_megabytes(points(&heaps.level_window, peak), 1.0),
        in_megabytes(points(&heaps.level_batch, peak), 1.0),
        in_megabytes(points(&heaps.level_window, idle), 1.0),
    );
    let (connection, request) = heaps.per_request()?;
    let ticks: Vec<f64> = levels.iter().map(|w| w.0).collect();
    Some(Figure {
        id: "concurrency".into(),
        title: format!(
            "A request in flight holds {} kB, {} kB of it its connection",
            number(request / 1e3),
            number(connection / 1e3)
        ),
        subtitle: format!(
            "Live heap of the client, chunks of {}; batches are twice the concurrency",
            p.chunk
        ),
        desc: "Live heap over the requests in flight: idle connections, the peak in a window and in batches.".into(),
        body: heap_panel(
            "Live heap",
            "MB",
            Axis::linear("requests in flight", Unit::Number).with_ticks(ticks),
            Axis::linear("", Unit::Number),
            vec![
                Layer::Line(Line::measured("connections, idle", Colour::Sky, idles)),
                Layer::Line(Line::measured("window, peak", Colour::Green, levels)),
                Layer::Line(Line::measured("batches, peak", Colour::Vermilion, batches)),
            ],
        ),
    })
}

fn kept_figure(p: &Params, heaps: &Heaps) -> Option<Figure> {
    let of = |kept: &[Condition]| {
        (
            slope(&points(kept, peak)),
            in_megabytes(points(kept, peak), 1.0),
        )
    };
    let (per_answer, answers) = of(&heaps.kept_answers);
    let (per_line, lines) = of(&heaps.kept_lines);
    let end = answers.last()?.0;
    let theory = |from: &(f64, f64), each: Given| {
        let end = (end, from.1 + each.value * (end - from.0) / 1e6);
        Layer::Line(Line::theory("", Colour::Muted, vec![*from, end]))
    };
    let mut layers = Vec::new();
    if let Some((answer, line)) = heaps.per_chunk(p) {
        layers.push(theory(answers.first()?, answer));
        layers.push(theory(lines.first()?, line));
    }
    let ticks: Vec<f64> = answers.iter().map(|a| a.0).collect();
    layers.push(Layer::Line(Line::measured(
        "answers kept",
        Colour::Vermilion,
        answers,
    )));
    layers.push(Layer::Line(Line::measured(
        "lines kept",
        Colour::Green,
        lines,
    )));
    Some(Figure {
        id: "kept".into(),
        title: format!(
            "Each chunk of a batch takes {} kB when its answer is kept until the batch ends, {} kB when its line is",
            number(per_answer? / 1e3),
            number(per_line? / 1e3)
        ),
        subtitle: format!(
            "Peak live heap, {} in flight, chunks of {}, answers of {} numbers; dashed: chunk and buffer, chunk and future",
            p.concurrency, p.chunk, p.dimensions
        ),
        desc: "Peak heap over the batch size: steep when answers are kept, shallow when only lines are.".into(),
        body: heap_panel(
            "Peak live heap",
            "MB",
            Axis::linear("chunks in a batch", Unit::Number).with_ticks(ticks),
            Axis::linear("", Unit::Number),
            layers,
        ),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn ideal() -> Pace {
        Pace {
            trip: 0.0,
            late: 0.0,
            each: 0.0,
            answer: 0.0,
            origin: Origin::default(),
        }
    }

    #[test]
    fn waves_of_constant_service() {
        for (n, b, m, waves) in [
            (100, Some(25), 25, 4.0),
            (100, Some(50), 25, 4.0),
            (100, Some(30), 25, 7.0),
            (101, None, 25, 5.0),
            (7, Some(100), 25, 1.0),
        ] {
            let formula = expected(n, b, m, 0.04, false);
            assert!((formula - waves * 0.04).abs() < 1e-9, "{n} {b:?}");
            assert!((ideal().makespan(n, b, m, false, || 0.04) - waves * 0.04).abs() < 1e-6);
        }
        assert_eq!(ideal().makespan(0, Some(5), 5, false, || 1.0), 0.0);
    }

    #[test]
    fn what_a_request_costs_beside_its_service() {
        let pace = Pace {
            trip: 0.001,
            late: 0.0,
            each: 0.0001,
            answer: 0.00002,
            ..ideal()
        };
        // Two waves of ten, the last of them sent 0.9 ms after the first, and ten answers at once.
        let two = pace.makespan(20, None, 10, false, || 0.04);
        assert!(
            (two - (2.0 * 0.041 + 0.0009 + 0.0002)).abs() < 1e-6,
            "{two}"
        );
    }

    /// The mean over many runs is the formula's, within four standard errors.
    #[test]
    fn random_batches_last_as_the_formula_says() {
        let service = ServiceTime::Exponential {
            mean: Duration::from_secs(1),
        };
        for (b, m) in [(25, 25), (100, 25), (10, 25), (50, 10)] {
            let runs: Vec<f64> = (0..4000u64)
                .map(|seed| {
                    let mut times = service.sampler(seed);
                    ideal().makespan(b, Some(b), m, true, || times.next_time().as_secs_f64())
                })
                .collect();
            let mean = runs.iter().sum::<f64>() / 4000.0;
            let error = lab_kit::stats::deviation(&runs) / 4000f64.sqrt();
            let formula = expected(b, Some(b), m, 1.0, true);
            assert!(
                (mean - formula).abs() < 4.0 * error,
                "{b} {m}: {mean} {formula}"
            );
        }
    }

    #[test]
    fn a_line_is_fitted() {
        let fitted = slope(&[(1.0, 3.0), (2.0, 5.0), (4.0, 9.0)]).unwrap();
        assert!((fitted - 2.0).abs() < 1e-12);
        assert!(slope(&[(1.0, 1.0)]).is_none() && slope(&[(1.0, 1.0), (1.0, 2.0)]).is_none());
    }

    /// Expected seconds for `n` chunks in batches of `b` with `m` in flight and times that are constant
    /// or exponential with mean `s`, by formula; `NaN` for others.
    ///
    /// Constant: every batch takes ⌈b/m⌉ waves. Exponential: while more than m are left, one ends every
    /// s/m on average, because what remains of each is as long as a new one; the last m take
    /// s·(1/m + … + 1/1), the mean of the longest of m (Rényi 1953).
    fn expected(n: usize, b: Option<usize>, m: usize, s: f64, random: bool) -> f64 {
        let one = |b: usize| -> f64 {
            let (b, m) = (b as f64, m as f64);
            if !random {
                return (b / m).ceil() * s;
            }
            let last = b.min(m) as usize;
            let harmonic: f64 = (1..=last).map(|k| 1.0 / k as f64).sum();
            s * ((b - m).max(0.0) / m + harmonic)
        };
        let b = b.unwrap_or(n).clamp(1, n.max(1));
        let rest = n % b;
        (n / b) as f64 * one(b) + if rest > 0 { one(rest) } else { 0.0 }
    }

    proptest! {
        /// A window is never slower than batches, and no schedule beats all places working always.
        #[test]
        fn barriers_only_cost(n in 1usize..200, b in 1usize..60, m in 1usize..30, seed: u64) {
            let service = ServiceTime::Exponential { mean: Duration::from_secs(1) };
            let run = |b| {
                let mut times = service.sampler(seed);
                ideal().makespan(n, b, m, true, || times.next_time().as_secs_f64())
            };
            let mut times = service.sampler(seed);
            let work: f64 = (0..n).map(|_| times.next_time().as_secs_f64()).sum();
            prop_assert!(run(None) <= run(Some(b)) + 1e-6);
            prop_assert!(run(None) >= work / m as f64 - 1e-6);
        }
    }
}
