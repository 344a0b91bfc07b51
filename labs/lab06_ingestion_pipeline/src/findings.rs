//! Theory beside measurement for lab06.

use lab_kit::{prelude::*, stats::mean};
use mock_server::queue::{Admission, Queue};

use super::{Params, embeddings, gauges, languages};

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

/// Timers of the runtime tick in milliseconds.
const TICK: f64 = 1e-3;

pub(super) fn explain(p: &Params, summary: &Summary) -> Findings {
    let speed = Speed::of(p, summary);
    let heaps = Heaps::of(p, summary);
    let (gain, growth) = (speed.gain(), heaps.growth());
    let faster = gain.map_or(f64::NAN, |g| g.theory());
    let figures = [
        speed.over_batches(),
        speed.over_levels(),
        heaps.over_sizes(),
        heaps.over_levels(),
        heaps.over_batches(),
    ];
    let beside = languages::table(p, summary, |random, batch| speed.rate_of(random, batch));
    let tables = [Some(speed.table()), Some(heaps.table()), beside];
    Findings {
        headline: headline(gain, growth),
        figures: figures.into_iter().flatten().collect(),
        tables: tables.into_iter().flatten().collect(),
        claims: [
            speed.claims(),
            crash_claims(summary),
            heaps.claims(),
            languages::claims(p, summary),
        ]
        .concat(),
        answers: vec![
            Answer::near("window", gain.map(|g| g.times), faster),
            // The peak does not depend on the length of the text.
            Answer::near("memory", growth.map(|(_, grown)| grown), 1.0),
        ],
    }
}

fn headline(gain: Option<Gain>, growth: Option<(f64, Estimate)>) -> String {
    let faster = gain.map(|Gain { batch, window, times }| {
        format!(
            "With random service times {m} in flight embed {} chunks/s in batches of {m} and {} without batches, {} times as many",
            cell(batch.rate(), number),
            cell(window.rate(), number),
            number(times.value),
            m = batch.width,
        )
    });
    let level = growth.map(|(texts, heap)| {
        format!(
            "when the text grows {}-fold, the window's memory grows {:.2}-fold.",
            number(texts),
            heap.value
        )
    });
    let both: Vec<String> = faster.into_iter().chain(level).collect();
    both.join("; ")
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
                let bunch = if random || i < m { 0.0 } else { m as f64 * self.answer };
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
}

/// Chunks/s of a trial.
pub(super) fn rate(trial: &Trial) -> Option<f64> {
    Some(trial.gauge(gauges::LINES)? / trial.wall_s)
}

impl Measured<'_> {
    /// Seconds that theory gives the text, for the times that the service draws with this seed.
    fn seconds(&self, seed: u64) -> f64 {
        let mut times = self.service.sampler(seed);
        let next = || times.next_time().as_secs_f64();
        let n = self.chunks.value as usize;
        self.pace.makespan(n, self.batch, self.width, self.random, next)
    }

    /// Their mean: of enough runs where times are random, and of a bounded number whatever the flags.
    fn expected(&self) -> f64 {
        let n = self.chunks.value as u64;
        let runs = match self.random {
            true => RUNS.min(2_000_000 / n.max(1) + 1),
            false => 1,
        };
        let runs: Vec<f64> = (0..runs).map(|seed| self.seconds(seed)).collect();
        mean(&runs)
    }

    /// The same for what the service of a trial drew.
    fn replayed(&self, t: &Trial) -> Option<f64> {
        match self.random {
            true => t.gauge(gauges::SEED).map(|seed| self.seconds(seed as u64)),
            false => Some(self.expected()),
        }
    }

    fn rate(&self) -> Option<Estimate> {
        self.condition.estimate(rate)
    }

    /// Chunks/s for the times that were drawn.
    fn theory(&self) -> f64 {
        let rate = |t: &Trial| Some(self.chunks.value / self.replayed(t)?);
        let rates: Vec<f64> = self.condition.trials().iter().filter_map(rate).collect();
        mean(&rates)
    }

    fn name(&self) -> String {
        let way = self.batch.map_or("a window".into(), |b| format!("batches of {b}"));
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
                let ratio = |t: &Trial| Some(rate(t)? * self.replayed(t)? / self.chunks.value);
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
            self.pace.makespan(b, Some(b), self.width, self.random, next)
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

/// The throughput part.
struct Speed<'a> {
    p: &'a Params,
    arms: Vec<Measured<'a>>,
}

/// Batches of random service, a window of the same concurrency, and how many times as fast it is.
#[derive(Clone, Copy)]
struct Gain<'s> {
    batch: &'s Measured<'s>,
    window: &'s Measured<'s>,
    times: Estimate,
}

impl Gain<'_> {
    fn theory(&self) -> f64 {
        self.window.theory() / self.batch.theory()
    }
}

impl<'a> Speed<'a> {
    fn of(p: &'a Params, summary: &'a Summary<'a>) -> Speed<'a> {
        let arms = Speed::arms(p, summary).unwrap_or_default();
        Speed { p, arms }
    }

    fn arms(p: &Params, summary: &'a Summary<'a>) -> Option<Vec<Measured<'a>>> {
        let pace = Pace::of(summary)?;
        // How many chunks the text has is known from another condition: what the run that was killed
        // and started again has on the disk.
        let both = |t: &Trial| Some(t.gauge(gauges::LINES_LEFT)? + t.gauge(gauges::LINES)?);
        let both = summary.only("crash").and_then(|k| k.estimate(both));
        let mean = p.service.duration();
        let kinds =
            [("constant", false, ServiceTime::Constant(mean)), ("random", true, p.spread(mean))];
        let mut all = Vec::new();
        for (kind, random, service) in kinds {
            for series in ["batch", "level", "window"] {
                for condition in summary.series(&format!("{series}/{kind}")) {
                    let x = condition.x() as usize;
                    let (batch, width) = match series {
                        "batch" => (Some(x), p.concurrency),
                        "level" => (Some(p.batch), x),
                        _ => (None, x),
                    };
                    let chunks = both.or_else(|| condition.gauge(gauges::LINES));
                    all.extend(chunks.map(|chunks| Measured {
                        condition,
                        random,
                        batch,
                        width,
                        pace,
                        service: service.clone(),
                        mean: mean.as_secs_f64(),
                        chunks: Given::from(chunks).map(f64::round),
                    }));
                }
            }
        }
        Some(all)
    }

    /// Chunks/s with --concurrency requests in flight.
    fn rate_of(&self, random: bool, batch: Option<usize>) -> Option<Estimate> {
        let wanted =
            |a: &&Measured| a.random == random && a.batch == batch && a.width == self.p.concurrency;
        self.arms.iter().find(wanted)?.rate()
    }

    /// For the worst batch: one as large as the concurrency.
    fn gain(&self) -> Option<Gain<'_>> {
        let random = || self.arms.iter().filter(|a| a.random);
        let mut worst = random().filter(|a| a.batch == Some(a.width));
        worst.find_map(|batch| {
            let window = random().find(|a| a.batch.is_none() && a.width == batch.width)?;
            let times = |b: &Trial, w: &Trial| Some(rate(w)? / rate(b)?);
            let times = batch.condition.paired(&window.condition, times)?;
            Some(Gain { batch, window, times })
        })
    }

    fn claims(&self) -> Vec<Claim> {
        let law = |text: &str, random: bool| {
            let arms = self.arms.iter().filter(|a| a.random == random);
            Law::new(text, "chunks/s", Disturbed::Fewer(Resource::Timers))
                .within("answers come up to a tick late or early and half of one is assumed: 1.5 ms for each service, and 2 %")
                .near(arms.map(Measured::case))
                .unless(self.sends())
        };
        let constant = "constant service: b chunks in a batch take ⌈b/m⌉ waves of s, so batches of a multiple of m give m/s, as a window does (but for the last round)";
        let random = "random service, for the times that were drawn: a batch lasts as long as the slowest of its m places, and a window leaves none empty before its end";
        let mut claims = vec![law(constant, false), law(random, true)];
        claims.extend(self.on_average().map(|claim| claim.unless(self.sends())));
        let counted = self.arms.iter().flat_map(|a| {
            let counts = [(gauges::LINES, "lines"), (gauge::UPSTREAM_ARRIVED, "requests")];
            counts.map(|(gauge, what)| {
                let seen = a.condition.every(|t| t.gauge(gauge));
                Case::exact(format!("{}: {what}", a.name()), a.chunks, seen)
            })
        });
        let text = "every chunk is sent once and has one line";
        claims.push(Law::counted(text, "chunks").near(counted));
        claims
    }

    /// Why what was calibrated, not the service, would be what these laws speak of: sending all that are in
    /// flight takes a good part of a service time.
    fn sends(&self) -> Option<String> {
        let takes = |a: &Measured| a.pace.trip + a.width as f64 * a.pace.each;
        let slow = self.arms.iter().find(|a| takes(a) > a.mean / 3.0)?;
        Some(format!(
            "sending {} requests takes {}, too much beside a service of {}",
            slow.width,
            seconds(takes(slow)),
            seconds(slow.mean)
        ))
    }

    /// All batches of random service together against the mean of the law, not against the times that
    /// were drawn.
    fn on_average(&self) -> Option<Claim> {
        let random = self.arms.iter().filter(|a| a.random);
        let barriers: Vec<(Given, Option<Estimate>)> =
            random.filter_map(Measured::barrier).collect();
        let origins = barriers.iter().map(|(due, _)| due.origin());
        let due = Given::new(1.0, origins.fold(Origin::default(), Origin::and));
        let ratios = barriers.iter();
        let ratios = ratios.map(|(due, lasted)| Some((*lasted)?.scaled(1.0 / due.value)));
        let ratios: Option<Vec<Estimate>> = ratios.collect();
        let measured = ratios.and_then(|ratios| Estimate::mean_of(&ratios));
        let text = "random service, on average over all sizes of batches: a batch lasts as long as E[max] says";
        let law = Law::new(text, "of the time", Disturbed::Longer(Resource::Timers))
            .within("15 %: without a barrier it would be a fourth of the time at b = m = 25");
        (barriers.len() > 2).then(|| law.near([Case::share("all batches", due, measured, 0.15)]))
    }

    fn table(&self) -> Table {
        let most = |a: &Measured| a.width as f64 / self.p.service.s();
        let pace = self.arms.first().map(|a| a.pace);
        Table::of("Chunks per second", &self.arms)
            .column("service", |a| a.service.to_string())
            .column("in flight", |a| number(a.width as f64))
            .column("batch", |a| a.batch.map_or("none".into(), |b| b.to_string()))
            .cells("chunks/s", number, |a| a.rate())
            .column("theory, these draws", |a| number(a.theory()))
            .column("theory, on average", |a| number(a.chunks.value / a.expected()))
            .column("share of m/s", |a| cell(a.rate(), |rate| percent(rate / most(a))))
            .note(pace.map_or(String::new(), |pace| format!(
                "Theory includes {} for the way there and back, {} until the next request of a batch is on its way (both measured beforehand), and the 1 ms tick of the service's timers.",
                seconds(pace.trip),
                seconds(pace.each)
            )))
    }

    /// The arms that have a place on an axis, from left to right; the first one of each place.
    fn along(&self, place: impl Fn(&Measured) -> Option<usize>) -> Places<'_> {
        let placed = self.arms.iter().filter_map(|a| Some((place(a)?, a)));
        let mut placed: Vec<(usize, &Measured)> = placed.collect();
        placed.sort_by_key(|(x, _)| *x);
        placed.dedup_by_key(|(x, _)| *x);
        placed.into_iter().map(|(x, a)| (x as f64, a)).collect()
    }

    fn over_batches(&self) -> Option<Figure> {
        let p = self.p;
        let drawn = |a: &Measured, random| a.random == random && a.width == p.concurrency;
        let of = |random| self.along(|a| a.batch.filter(|_| drawn(a, random)));
        let (constant, random) = (of(false), of(true));
        let ((fewest, first), (most, _)) = (random.first()?, random.last()?);
        let gain = |of: &Places| Some(of.last()?.1.rate()?.value / of.first()?.1.rate()?.value);
        let title = format!(
            "Batches of {most} instead of {fewest}: {:.2} times as fast with random service, {:.2} with constant",
            gain(&random)?,
            gain(&constant)?
        );
        let n = first.chunks.value;
        let without = first.pace.makespan(n as usize, None, p.concurrency, false, || p.service.s());
        Some(Figure::new("batch", title)
            .subtitle(format!(
                "{n} chunks of {}, {} in flight, a service of {} on average; dashed: theory, for the random times of this run",
                p.chunk, p.concurrency, p.service
            ))
            .desc("Chunks per second over the batch size, with constant and with random service.")
            .over(Axis::log("chunks in a batch, log scale", Unit::Number).with_ticks(ticks(&random)), [
                Panel::new("Chunks per second", Unit::Number)
                    .layer(Layer::rule(n / without, "without batches, constant"))
                    .layers([theory_line(&constant), theory_line(&random)])
                    .layer(rate_line("constant", Colour::Blue, &constant))
                    .layer(rate_line("random", Colour::Vermilion, &random))
                    .height(1.3),
            ]))
    }

    fn over_levels(&self) -> Option<Figure> {
        let p = self.p;
        let of = |random: bool, batch: Option<usize>| {
            self.along(|a| (a.random == random && a.batch == batch).then_some(a.width))
        };
        let panel = |title: &str, random: bool| {
            let (barrier, window) = (of(random, Some(p.batch)), of(random, None));
            let batches = format!("batches of {}", p.batch);
            Panel::new(title, Unit::Number)
                .note("chunks per second")
                .layers([theory_line(&barrier), theory_line(&window)])
                .layer(rate_line(&batches, Colour::Vermilion, &barrier))
                .layer(rate_line("window", Colour::Green, &window))
        };
        let (barrier, window) = (of(true, Some(p.batch)), of(true, None));
        let (_, fast) = window.last()?;
        let (_, slow) = barrier.iter().find(|(_, a)| a.width == fast.width)?;
        let title = format!(
            "With {} in flight a window embeds {} chunks/s, batches of {} only {}",
            fast.width,
            number(fast.rate()?.value),
            p.batch,
            number(slow.rate()?.value)
        );
        Some(Figure::new("level", title)
            .subtitle(format!(
                "Chunks of {}, a service of {} on average; dashed: theory, for the random times of this run",
                p.chunk, p.service
            ))
            .desc("Chunks per second over the requests in flight, for batches and a window, with constant and random service.")
            .over(Axis::linear("requests in flight", Unit::Number).with_ticks(ticks(&window)), [
                panel("Constant service", false),
                panel("Random service", true),
            ]))
    }
}

/// Arms with their places on an axis.
type Places<'s> = Vec<(f64, &'s Measured<'s>)>;

fn ticks(places: &Places) -> Vec<f64> {
    places.iter().map(|(x, _)| *x).collect()
}

fn theory_line(places: &Places) -> Line {
    let points = places.iter().map(|(x, a)| (*x, a.theory()));
    Line::theory("", Colour::Muted, points.collect())
}

fn rate_line(label: &str, colour: Colour, places: &Places) -> Line {
    let points = places.iter().filter_map(|(x, a)| Some((*x, a.rate()?.value)));
    Line::measured(label, colour, points.collect())
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
    let window = |due: Given, gauge: Gauge| {
        let found = crash.every(|t| t.gauge(gauge));
        [Case::exact("window", due, found.filter(|_| killed))]
    };
    // What is on the disk is not sent again: counted by the service beside what the file holds.
    let missing = crash.estimate(|t| Some(t.gauge(gauges::CHUNKS)? - t.gauge(gauges::LINES_LEFT)?));
    let missing = missing.map_or(f64::NAN.into(), Given::from);
    let whole =
        "killed half way, its last line torn, and started again: every chunk has exactly one line";
    let rest = "started again, it sends what is not on the disk, and nothing else";
    vec![
        Law::counted(whole, "chunks missing or twice")
            .near(window(0.0.into(), gauges::CHUNKS_MISSING)),
        Law::counted(rest, "requests").near(window(missing, gauges::SENT_AGAIN)),
    ]
}

/// The memory part, by series.
struct Heaps<'a> {
    p: &'a Params,
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
    of.iter().filter_map(|k| Some((k.x(), figure(k)?.value))).collect()
}

/// Slope of a straight line by least squares.
fn slope(points: &[(f64, f64)]) -> Option<f64> {
    let n = points.len() as f64;
    let mean = |f: &dyn Fn(&(f64, f64)) -> f64| points.iter().map(f).sum::<f64>() / n;
    let (x, y) = (mean(&|p| p.0), mean(&|p| p.1));
    let spread = mean(&|p| (p.0 - x).powi(2));
    (points.len() > 1 && spread > 0.0).then(|| mean(&|p| (p.0 - x) * (p.1 - y)) / spread)
}

/// How far a peak may lie from theory, as a share of what it grew by.
const APART: f64 = 0.1;

/// The peak grows from the first condition's by so many bytes for each unit of x.
fn growing(of: &[Condition], per_x: impl Into<Given>, name: impl Fn(f64) -> String) -> Vec<Case> {
    let Some((first, base)) = of.first().and_then(|k| Some((k.x(), peak(k)?))) else {
        return Vec::new();
    };
    let per_x = per_x.into();
    let case = |k: &Condition| {
        let growth = per_x * (k.x() - first);
        let predicted = Given::from(base) + growth;
        Case::new(name(k.x()), predicted, peak(k), APART * growth.value).scaled(1e-6)
    };
    of.iter().skip(1).map(case).collect()
}

/// Between the first and the last condition the peak lies on the straight line from one to the other.
fn straight(of: &[Condition], way: &str) -> Vec<Case> {
    let [first, .., last] = of else {
        return Vec::new();
    };
    let Some((low, high)) = peak(first).zip(peak(last)) else {
        return Vec::new();
    };
    let per_x = (Given::from(high) - Given::from(low)) / (last.x() - first.x());
    // One that takes less than the buffers of its connection has not been measured.
    let takes = per_x.value >= 2.0 * BUFFER;
    let mut cases = growing(&of[..of.len() - 1], per_x, |m| format!("{m} in flight, {way}"));
    for case in &mut cases {
        case.measured = case.measured.filter(|_| takes);
    }
    cases
}

/// A size as flags write it, or as near as a figure needs.
fn megabytes(bytes: f64) -> String {
    Size::bytes(bytes as u64).to_string()
}

/// Memory in MB.
fn line(label: &str, colour: Colour, of: &[Condition], figure: Figures) -> Line {
    let points = points(of, figure).into_iter();
    let points = points.map(|(x, bytes)| (x, bytes / 1e6));
    Line::measured(label, colour, points.collect())
}

fn xs(line: &Line) -> Vec<f64> {
    line.points.iter().map(|(x, _)| *x).collect()
}

impl<'a> Heaps<'a> {
    fn of(p: &'a Params, summary: &'a Summary<'a>) -> Heaps<'a> {
        let series = |name: &str| summary.series(&format!("heap/{name}"));
        Heaps {
            p,
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
    fn per_chunk(&self) -> Option<(Given, Given)> {
        let besides = |of: &[Condition], gauge: Gauge| {
            let found = of.first()?.gauge(gauge)?;
            Some(Given::from(found) + self.p.chunk.f())
        };
        Some((
            besides(&self.kept_answers, gauges::BESIDES_ANSWER_BYTES)? + BUFFER,
            besides(&self.kept_lines, gauges::BESIDES_LINE_BYTES)?,
        ))
    }
}

const IDLE: &str = "batches smaller than the concurrency leave connections idle";

/// The claims about memory.
impl Heaps<'_> {
    fn claims(&self) -> Vec<Claim> {
        vec![
            self.level_with_size(),
            self.each_request(),
            self.connections(),
            self.bodies(),
            self.kept(),
            self.left(),
        ]
    }

    /// The window's memory over the length of the text.
    fn level_with_size(&self) -> Claim {
        let p = self.p;
        let shortest = self.size_window.first();
        let base = shortest.and_then(peak);
        let cases = self.size_window.iter().skip(1).filter_map(|k| {
            let name = format!("a text of {}", megabytes(k.x()));
            Some(Case::share(name, base?, peak(k), 0.05).scaled(1e-6))
        });
        let requests = shortest.map_or(0.0, Condition::x) / p.heap_chunk.f();
        let each = requests / p.heap_concurrency as f64;
        let young = (each < GROWN).then(|| {
            format!("with {each:.0} requests for each connection the shortest text is too short: connections grow until they have carried 33")
        });
        let text =
            "the window's peak does not depend on the length of the text: as for the shortest";
        Law::counted(text, "MB")
            .within("5 %: less than 2 in 100 of the text that was added")
            .near(cases)
            .unless(young)
    }

    fn each_request(&self) -> Claim {
        let mut cases = straight(&self.level_window, "window");
        cases.extend(straight(&self.level_batch, "batches"));
        let text = "each request more in flight takes as much as any other: the peak grows along a straight line";
        Law::counted(text, "MB")
            .within("10 % of what it grew by: which of the requests in flight are being read at the peak is chance")
            .near(cases)
    }

    fn connections(&self) -> Claim {
        let first = self.level_window.first();
        let first = first.and_then(|k| Some((k.x(), idle(k)?)));
        let cases = self.level_window.iter().skip(1).filter_map(|k| {
            let (fewest, base) = first?;
            let least = Given::from(base) + 2.0 * BUFFER * (k.x() - fewest);
            let held = k.every(|t| t.gauge(gauges::HEAP_IDLE_BYTES));
            Some(Case::exact(format!("{} connections", k.x()), least, held).scaled(1e-6))
        });
        let text = "a connection that does nothing holds at least hyper's two buffers of 8 KB: so much more than the fewest do";
        Law::counted(text, "MB").at_least(cases)
    }

    fn bodies(&self) -> Claim {
        let (m, b) = (self.p.concurrency, self.p.batch);
        let name = |way: &'static str| move |x| format!("{} in a request, {way}", megabytes(x));
        let mut cases = growing(&self.chunk_window, m as f64, name("window"));
        cases.extend(growing(&self.chunk_batch, b as f64, name("batches")));
        let text = "a chunk is in memory once: the peak grows by m bytes for each byte of it in the window, by b in batches";
        Law::counted(text, "MB")
            .within("10 % of what it grew by: another chunk is being read and cleaned meanwhile")
            .near(cases)
            .unless((b < m).then(|| IDLE.into()))
    }

    fn kept(&self) -> Claim {
        let p = self.p;
        let cases = self.per_chunk().map(|(per_answer, per_line)| {
            let name = |what: &'static str| move |b| format!("batches of {b}, {what} kept");
            let mut cases = growing(&self.kept_answers, per_answer, name("answers"));
            cases.extend(growing(&self.kept_lines, per_line, name("lines")));
            cases
        });
        let long = |bytes: f64| bytes > BUFFER / 2.0;
        let line = self.kept_lines.first();
        let line = line.and_then(|k| k.gauge(gauges::BESIDES_LINE_BYTES));
        let why = match () {
            () if line.is_some_and(|line| long(line.value)) => {
                Some("what waits for a permit holds as much as a good part of the buffer")
            }
            () if long(embeddings::longest(p.dimensions)) => {
                Some("an answer of this length does not fit into the first buffer")
            }
            () if p.heap_batches.iter().any(|b| *b < p.concurrency) => Some(IDLE),
            () => None,
        };
        let text = "an answer that waits for its batch to end holds the 8 KB it was read into, however short it is; a line does not";
        Law::counted(text, "MB")
            .within("10 % of what it grew by: lists that grow by doubling, and answers that are being read")
            .near(cases.unwrap_or_default())
            .unless(why.map(String::from))
    }

    fn left(&self) -> Claim {
        let cases = self.all().map(|k| {
            let left = k.every(|t| {
                let held = t.gauge(gauges::HEAP_HELD_BYTES)?;
                Some((held - t.gauge(gauges::HEAP_FREED_BYTES)?).abs())
            });
            Case::exact(format!("{} {}", k.series(), k.x()), 2e3, left).scaled(1e-3)
        });
        let text = "all but a tenth of a connection of what the client holds at its end is freed when it is dropped, so the counting was right";
        Law::counted(text, "kB").books().at_most(cases)
    }
}

/// The table and the charts of memory.
impl Heaps<'_> {
    fn table(&self) -> Table {
        let kb = |bytes: f64| number(bytes / 1e3);
        let slope = |of: &[Condition]| slope(&points(of, peak)).map_or("–".into(), kb);
        let parts = self.parts();
        Table::of("What one more request in flight holds", parts.iter().flatten())
            .column("part", |(part, _, _)| part.to_string())
            .column("kB", |(_, bytes, _)| kb(*bytes))
            .column("how it is known", |(_, _, how)| how.to_string())
            .note(parts.map_or(String::new(), |_| format!(
                "One more chunk in a batch takes {} kB when answers are kept, {} kB when lines are. No TLS here: its buffers would come on top.",
                slope(&self.kept_answers),
                slope(&self.kept_lines)
            )))
    }

    /// What a request in flight holds: its parts, their bytes, and how these are known.
    fn parts(&self) -> Option<[(&'static str, f64, &'static str); 7]> {
        let (connection, request) = self.per_request()?;
        let body = self.p.chunk.f();
        let future = self.per_chunk()?.1.value - body;
        Some([
            ("its connection, idle", connection, "slope over connections before the first request"),
            ("two buffers of hyper in it", 2.0 * BUFFER, "8 KB each: constants in hyper's source"),
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
            ("its future", future, "counted for a hundred that wait for their turn"),
            (
                "the rest",
                request - connection - body - future,
                "the request under construction, and an answer's buffer",
            ),
            ("all", request, "slope of the peak over the requests in flight"),
        ])
    }

    fn over_sizes(&self) -> Option<Figure> {
        const MEGABYTE: f64 = 1048576.0;
        let p = self.p;
        let line = |label: &str, colour, of: &[Condition]| {
            let line = line(label, colour, of, peak);
            let points = line.points.iter().map(|(x, y)| (x / MEGABYTE, *y));
            Line::measured(label, colour, points.collect())
        };
        let whole = line("all at once", Colour::Vermilion, &self.size_whole);
        let window = line("window", Colour::Green, &self.size_window);
        let (texts, growth) = self.growth()?;
        let (_, most) = whole.points.last()?;
        let title = format!(
            "The text grows {}-fold, the window's heap {:.2}-fold; all at once takes {} MB",
            number(texts),
            growth.value,
            number(*most)
        );
        Some(Figure::new("size", title)
            .subtitle(format!(
                "Peak live heap of the client, {} in flight, chunks of {}",
                p.heap_concurrency, p.heap_chunk
            ))
            .desc("Peak heap over the length of the text: level for the window, rising when all is sent as one batch.")
            .over(Axis::log("length of the text in MB, log scale", Unit::Number).with_ticks(xs(&window)), [
                Panel::new("Peak live heap", Axis::log("", Unit::Number))
                    .note("MB, log scale")
                    .layers([whole, window])
                    .height(1.3),
            ]))
    }

    fn over_levels(&self) -> Option<Figure> {
        let idles = line("connections, idle", Colour::Sky, &self.level_window, idle);
        let levels = line("window, peak", Colour::Green, &self.level_window, peak);
        let batches = line("batches, peak", Colour::Vermilion, &self.level_batch, peak);
        let (connection, request) = self.per_request()?;
        let title = format!(
            "A request in flight holds {} kB, {} kB of it its connection",
            number(request / 1e3),
            number(connection / 1e3)
        );
        Some(Figure::new("concurrency", title)
            .subtitle(format!(
                "Live heap of the client, chunks of {}; batches are twice the concurrency",
                self.p.chunk
            ))
            .desc("Live heap over the requests in flight: idle connections, the peak in a window and in batches.")
            .over(Axis::linear("requests in flight", Unit::Number).with_ticks(xs(&levels)), [
                Panel::new("Live heap", Unit::Number)
                    .note("MB")
                    .layers([idles, levels, batches])
                    .height(1.3),
            ]))
    }

    fn over_batches(&self) -> Option<Figure> {
        let p = self.p;
        let per = |kept: &[Condition]| Some(number(slope(&points(kept, peak))? / 1e3));
        let answers = line("answers kept", Colour::Vermilion, &self.kept_answers, peak);
        let lines = line("lines kept", Colour::Green, &self.kept_lines, peak);
        let title = format!(
            "Each chunk of a batch takes {} kB when its answer is kept until the batch ends, {} kB when its line is",
            per(&self.kept_answers)?,
            per(&self.kept_lines)?
        );
        let (end, _) = *answers.points.last()?;
        let theory = |measured: &Line, each: Given| {
            let from = *measured.points.first()?;
            let end = (end, from.1 + each.value * (end - from.0) / 1e6);
            Some(Line::theory("", Colour::Muted, vec![from, end]))
        };
        let theory = self
            .per_chunk()
            .map(|(per_answer, per_line)| [theory(&answers, per_answer), theory(&lines, per_line)]);
        Some(Figure::new("kept", title)
            .subtitle(format!(
                "Peak live heap, {} in flight, chunks of {}, answers of {} numbers; dashed: chunk and buffer, chunk and future",
                p.concurrency, p.chunk, p.dimensions
            ))
            .desc("Peak heap over the batch size: steep when answers are kept, shallow when only lines are.")
            .over(Axis::linear("chunks in a batch", Unit::Number).with_ticks(xs(&answers)), [
                Panel::new("Peak live heap", Unit::Number)
                    .note("MB")
                    .layers(theory.into_iter().flatten().flatten())
                    .layers([answers, lines])
                    .height(1.3),
            ]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn ideal() -> Pace {
        Pace { trip: 0.0, late: 0.0, each: 0.0, answer: 0.0, origin: Origin::default() }
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
        let pace = Pace { trip: 0.001, late: 0.0, each: 0.0001, answer: 0.00002, ..ideal() };
        // Two waves of ten, the last of them sent 0.9 ms after the first, and ten answers at once.
        let two = pace.makespan(20, None, 10, false, || 0.04);
        assert!((two - (2.0 * 0.041 + 0.0009 + 0.0002)).abs() < 1e-6, "{two}");
    }

    /// The mean over many runs is the formula's, within four standard errors.
    #[test]
    fn random_batches_last_as_the_formula_says() {
        let service = ServiceTime::Exponential { mean: Duration::from_secs(1) };
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
            assert!((mean - formula).abs() < 4.0 * error, "{b} {m}: {mean} {formula}");
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
