//! Theory beside measurement for lab06.

use lab_kit::prelude::*;
use mock_server::queue::{Admission, Queue};

use super::{Params, python};

/// The buffer into which hyper 1 reads first, and the one in which it puts a request's head
/// together: one of each for every connection (`INIT_BUFFER_SIZE`).
const BUFFER: f64 = 8192.0;

/// Requests after which a connection's queue in the client has its second block of 32 places (tokio
/// keeps used blocks to use them again). Until then a connection is still growing.
const GROWN: f64 = 48.0;

/// Virtual runs for a mean.
const RUNS: u64 = 100;

pub(super) fn explain(p: &Params, summary: &Summary) -> Findings {
    let pace = Pace::of(summary);
    let arms = Measured::all(p, summary, &pace);
    let heaps = Heaps::of(summary);
    let window = |m: usize| {
        arms.iter()
            .find(|a| a.batch.is_none() && a.random && a.width == m)
    };
    let widest = arms
        .iter()
        .filter(|a| a.random && a.batch.is_some_and(|b| b == a.width));
    // The worst batch: as large as the concurrency. Beside a window of the same concurrency.
    let gain = widest
        .filter_map(|a| Some((a, window(a.width)?)))
        .filter_map(|(batch, window)| {
            let gain = batch.condition.paired(&window.condition, |b, w| {
                Some((w.gauges.get("lines")? / w.wall_s) / (b.gauges.get("lines")? / b.wall_s))
            });
            Some((batch, window, gain?))
        })
        .next();
    let growth = heaps.growth();

    let mut claims = throughput_claims(&arms);
    claims.extend(crash_claims(p, summary));
    claims.extend(heap_claims(p, &heaps));

    let gained = gain.as_ref().map(|(_, _, gain)| *gain);
    let faster = gain.as_ref().map_or(f64::NAN, |(batch, window, _)| {
        window.theory() / batch.theory()
    });
    let answers = vec![
        Answer::near("window", gained, faster),
        // The peak does not depend on the length of the text.
        Answer::near("memory", growth.map(|g| Estimate::exact(g.1)), 1.0),
    ];
    let mut headline = String::new();
    if let Some((batch, window, gain)) = &gain {
        headline += &format!(
            "With random service times {} in flight embed {} chunks/s in batches of {} and {} without batches, {} times as many",
            batch.width,
            number(batch.rate().value),
            batch.width,
            number(window.rate().value),
            number(gain.value),
        );
    }
    if let Some((texts, heap)) = growth {
        headline += &format!(
            "{} when the text grows {}-fold, the window's memory grows {:.2}-fold.",
            if headline.is_empty() { "" } else { ";" },
            number(texts),
            heap
        );
    }
    let figures = [batch_figure(p, &arms, &pace), level_figure(p, &arms)];
    let mut tables = vec![rates(p, &arms, &pace), share(p, &heaps)];
    tables.extend(python::table(p, summary, |random, batches| {
        let batch = batches.then_some(p.batch);
        let same =
            |a: &&Measured| a.random == random && a.batch == batch && a.width == p.concurrency;
        arms.iter().find(same).map(Measured::rate)
    }));
    Findings {
        headline,
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

/// What a request costs beside its service.
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
}

/// Timers of the runtime tick in milliseconds.
const TICK: f64 = 1e-3;

impl Pace {
    fn of(summary: &Summary) -> Pace {
        let host = summary.host();
        let answer = 1.0 / host.upstream_ceiling_per_s.max(1.0);
        let measured = summary
            .only("pace")
            .and_then(|k| k.gauge("between_requests_s"));
        Pace {
            trip: host.request_overhead_ms / 1e3,
            late: TICK,
            each: measured.map_or(answer, |e| e.value) + answer,
            answer,
        }
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
    /// Seconds, trial by trial, for the very times the service drew.
    replayed: Vec<f64>,
    /// Seconds on average.
    expected: f64,
    /// Standard deviation of one run's seconds.
    spread: f64,
    /// Mean service time.
    service: f64,
}

impl<'a> Measured<'a> {
    fn all(p: &Params, summary: &Summary<'a>, pace: &Pace) -> Vec<Measured<'a>> {
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
                    all.extend(Measured::of(p, pace, condition, random, batch, width));
                }
            }
        }
        all
    }

    fn of(
        p: &Params,
        pace: &Pace,
        condition: Condition<'a>,
        random: bool,
        batch: Option<usize>,
        width: usize,
    ) -> Option<Measured<'a>> {
        let service = if random {
            p.spread(p.service.duration())
        } else {
            ServiceTime::Constant(p.service.duration())
        };
        let lines = |t: &Trial| t.gauges.get("lines").map(|n| *n as usize);
        let replay = |n: usize, seed: u64| {
            let mut times = service.sampler(seed);
            pace.makespan(n, batch, width, random, || times.next_time().as_secs_f64())
        };
        let replayed = condition.trials().iter().filter_map(|t| {
            let seed = *t.gauges.get("seed")? as u64;
            Some(replay(lines(t)?, seed))
        });
        let n = condition.trials().iter().find_map(lines)?;
        // Enough for the mean, and bounded whatever the flags.
        let runs = if random {
            RUNS.min(2_000_000 / n.max(1) as u64 + 1)
        } else {
            1
        };
        let virtual_runs: Vec<f64> = (0..runs).map(|seed| replay(n, seed)).collect();
        Some(Measured {
            replayed: replayed.collect(),
            condition,
            random,
            batch,
            width,
            expected: lab_kit::stats::mean(&virtual_runs),
            spread: lab_kit::stats::deviation(&virtual_runs),
            service: p.service.s(),
        })
    }

    fn rate(&self) -> Estimate {
        let rate = self
            .condition
            .estimate(|t| Some(t.gauges.get("lines")? / t.wall_s));
        rate.unwrap_or(Estimate::exact(f64::NAN))
    }

    fn lines(&self) -> f64 {
        self.condition.gauge("lines").map_or(f64::NAN, |e| e.value)
    }

    /// Chunks/s for the times that were drawn.
    fn theory(&self) -> f64 {
        let rates: Vec<f64> = self.replayed.iter().map(|s| self.lines() / s).collect();
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

    /// Seconds measured over seconds replayed: one on average, whatever times were drawn.
    fn case(&self) -> Case {
        let trials = self.condition.trials().iter().zip(&self.replayed);
        let ratios: Vec<f64> = trials.map(|(t, replayed)| t.wall_s / replayed).collect();
        // In chunks/s for the reader, with the draws of the first trial. Answers come up
        // to a millisecond early or late, and half a millisecond late is assumed: theory is no closer
        // than one and a half for each service, besides two in a hundred.
        let replayed = self.lines() / self.replayed.first().copied().unwrap_or(f64::NAN);
        Case {
            name: self.name(),
            predicted: replayed.into(),
            measured: Estimate::of(&ratios.iter().map(|r| replayed / r).collect::<Vec<_>>()),
            tolerance: (0.02 + 1.5 * TICK / self.service) * replayed,
        }
    }
}

fn throughput_claims(arms: &[Measured]) -> Vec<Claim> {
    let mut claims = Vec::new();
    let mut law = |text: &str, of: &dyn Fn(&&Measured) -> bool| {
        let cases: Vec<Case> = arms.iter().filter(of).map(Measured::case).collect();
        if !cases.is_empty() {
            claims.push(Claim::at_every(text, Basis::Calibrated, cases).unit("chunks/s"));
        }
    };
    law(
        "constant service: b chunks in a batch take ⌈b/m⌉ waves of s, and the size of a batch that is a multiple of m changes nothing",
        &|a| !a.random && a.batch.is_some(),
    );
    law(
        "random service: a batch lasts as long as the slowest of its m places, for the times that were drawn",
        &|a| a.random && a.batch.is_some(),
    );
    law(
        "without batches m in flight give m/s, with constant and with random service (but for the last round)",
        &|a| a.batch.is_none(),
    );
    claims.extend(on_average(arms));
    let astray: f64 = arms
        .iter()
        .flat_map(|a| a.condition.trials())
        .filter_map(|t| Some((t.gauges.get("upstream_arrived")? - t.gauges.get("lines")?).abs()))
        .sum();
    if !arms.is_empty() {
        claims.push(
            Claim::near(
                "every chunk is sent once and has one line",
                Basis::Predicted,
                0.0,
                Some(Estimate::exact(astray)),
                0.0,
            )
            .unit("chunks too many or too few"),
        );
    }
    claims
}

/// All batches of random service together against the mean of the law, not against the times that
/// were drawn. How far such a mean of measurements strays is theory, too: from the virtual runs.
fn on_average(arms: &[Measured]) -> Option<Claim> {
    let barriers = || arms.iter().filter(|a| a.random && a.batch.is_some());
    let ratios: Vec<f64> = barriers()
        .filter_map(|a| Some(a.condition.wall_s()?.value / a.expected))
        .collect();
    let variance: f64 = barriers()
        .map(|a| (a.spread / a.expected).powi(2) / a.replayed.len().max(1) as f64)
        .sum();
    if ratios.len() < 3 {
        return None;
    }
    let n = ratios.len() as f64;
    let mean = ratios.iter().sum::<f64>() / n;
    let measured = Estimate::with_error(mean, variance.sqrt() / n, 1000);
    let text = "over all batches of random service together, the barrier costs what E[max] says: measured over expected time";
    Some(Claim::near(text, Basis::Calibrated, 1.0, Some(measured), 0.2).unit("times"))
}

fn crash_claims(p: &Params, summary: &Summary) -> Vec<Claim> {
    let Some(crash) = summary.only("crash") else {
        return Vec::new();
    };
    let missing: f64 = crash
        .trials()
        .iter()
        .filter_map(|t| t.gauges.get("chunks_missing"))
        .map(|n| n.abs())
        .sum();
    let mut claims = vec![
        Claim::near(
            "killed half way, its last line torn, and started again: every chunk has exactly one line",
            Basis::Predicted,
            0.0,
            Some(Estimate::exact(missing)),
            0.0,
        )
        .unit("chunks missing or twice"),
    ];
    let twice = crash
        .trials()
        .iter()
        .filter_map(|t| t.gauges.get("sent_twice"));
    if let Some(twice) = twice.copied().reduce(f64::max) {
        // Lines that were still in the writer's 8 KB, 65 bytes at least each, are lost with the
        // requests in flight and the torn line.
        let most = p.concurrency as f64 + (8192.0f64 / 65.0).ceil() + 1.0;
        claims.push(
            Claim::at_most(
                "it sends again no more than what was in flight or not yet on the disk",
                Basis::Predicted,
                most,
                Some(Estimate::exact(twice)),
            )
            .unit("requests"),
        );
    }
    claims
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
    k.gauge("heap_peak_bytes")
}

fn idle(k: &Condition) -> Option<Estimate> {
    k.gauge("heap_idle_bytes")
}

type Figures = fn(&Condition) -> Option<Estimate>;

fn points(of: &[Condition], figure: Figures) -> Vec<(f64, f64)> {
    of.iter()
        .filter_map(|k| Some((k.x(), figure(k)?.value)))
        .collect()
}

/// Slopes from each point to the next.
fn steps(points: &[(f64, f64)]) -> Vec<f64> {
    points
        .windows(2)
        .map(|w| (w[1].1 - w[0].1) / (w[1].0 - w[0].0))
        .collect()
}

/// Least squares: intercept, slope and R².
fn line(points: &[(f64, f64)]) -> Option<(f64, f64, f64)> {
    let n = points.len() as f64;
    let mean = |f: &dyn Fn(&(f64, f64)) -> f64| points.iter().map(f).sum::<f64>() / n;
    let (x, y) = (mean(&|p| p.0), mean(&|p| p.1));
    let spread = mean(&|p| (p.0 - x).powi(2));
    if points.len() < 2 || spread <= 0.0 {
        return None;
    }
    let slope = mean(&|p| (p.0 - x) * (p.1 - y)) / spread;
    let off = mean(&|p| (p.1 - y - slope * (p.0 - x)).powi(2));
    let all = mean(&|p| (p.1 - y).powi(2));
    Some((
        y - slope * x,
        slope,
        if all > 0.0 { 1.0 - off / all } else { 1.0 },
    ))
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
    fn growth(&self) -> Option<(f64, f64)> {
        let sizes = points(&self.size_window, peak);
        let (first, last) = (sizes.first()?, sizes.last()?);
        (last.0 > first.0).then(|| (last.0 / first.0, last.1 / first.1))
    }

    /// Bytes that one more connection takes while it is idle, and one more request in flight.
    fn per_request(&self) -> Option<(f64, f64)> {
        let slope = |figure: Figures| Some(line(&points(&self.level_window, figure))?.1);
        Some((slope(idle)?, slope(peak)?))
    }

    /// Bytes that one more chunk in a batch takes, when answers are kept and when lines are.
    fn per_chunk(&self, p: &Params) -> (f64, f64) {
        let besides = |of: &[Condition], name: &str| {
            let found = of.first().and_then(|k| k.gauge(name));
            p.chunk.f() + found.map_or(f64::NAN, |e| e.value)
        };
        (
            besides(&self.kept_answers, "besides_answer_bytes") + BUFFER,
            besides(&self.kept_lines, "besides_line_bytes"),
        )
    }
}

/// The peak grows from the first condition's by so many bytes for each unit of x.
fn growing(of: &[Condition], per_x: f64, share: f64, name: impl Fn(f64) -> String) -> Vec<Case> {
    let Some((first, base)) = of.first().and_then(|k| Some((k.x(), peak(k)?.value))) else {
        return Vec::new();
    };
    let case = |k: &Condition| {
        let predicted = base + per_x * (k.x() - first);
        Case {
            name: name(k.x()),
            predicted: (predicted / 1e6).into(),
            measured: peak(k).map(|e| e.scaled(1e-6)),
            tolerance: share * predicted / 1e6,
        }
    };
    of.iter().skip(1).map(case).collect()
}

fn heap_claims(p: &Params, heaps: &Heaps) -> Vec<Claim> {
    let mut claims = Vec::new();
    let sizes = growing(&heaps.size_window, 0.0, 0.1, |x| {
        format!("a text of {}", megabytes(x))
    });
    if !sizes.is_empty() {
        let shortest = heaps.size_window.first().map_or(0.0, Condition::x);
        let each = shortest / p.heap_chunk.f() / p.heap_concurrency as f64;
        let young = (each < GROWN).then(|| {
            format!("with {each:.0} requests for each connection the shortest text is too short: connections grow until they have carried 33")
        });
        claims.push(
            Claim::at_every(
                "the window's peak does not depend on the length of the text: as for the shortest, within 10 %",
                Basis::Predicted,
                sizes,
            )
            .unit("MB")
            .unless(young),
        );
    }
    let fits = [&heaps.level_window, &heaps.level_batch].map(|of| line(&points(of, peak)));
    if let [Some(window), Some(batch)] = fits
        && heaps.level_window.len() > 2
    {
        claims.push(
            Claim::at_least(
                "the peak grows in proportion to the requests in flight: R² of a straight line, in the worse arm",
                Basis::Fitted,
                0.95,
                Some(Estimate::exact(window.2.min(batch.2))),
            ),
        );
    }
    let connection = steps(&points(&heaps.level_window, idle));
    if connection.len() > 1 {
        claims.push(
            Claim::at_least(
                "a connection that does nothing holds at least hyper's two buffers of 8 KB",
                Basis::Predicted,
                2.0 * BUFFER / 1e3,
                Estimate::of(&connection).map(|e| e.scaled(1e-3)),
            )
            .unit("kB"),
        );
    }
    let mut bodies = growing(&heaps.chunk_window, p.concurrency as f64, 0.1, |x| {
        format!("{} in a request, window", megabytes(x))
    });
    bodies.extend(growing(&heaps.chunk_batch, p.batch as f64, 0.1, |x| {
        format!("{} in a request, batches", megabytes(x))
    }));
    if !bodies.is_empty() {
        let widest = p.batch < p.concurrency;
        claims.push(
            Claim::at_every(
                "a chunk is in memory once: the peak grows by m bytes for each byte of it in the window, by b in batches",
                Basis::Calibrated,
                bodies,
            )
            .unit("MB")
            .unless(widest.then(|| "batches smaller than the concurrency leave connections idle".into())),
        );
    }
    let (per_answer, per_line) = heaps.per_chunk(p);
    let mut kept = growing(&heaps.kept_answers, per_answer, 0.1, |b| {
        format!("batches of {b}, answers kept")
    });
    kept.extend(growing(&heaps.kept_lines, per_line, 0.1, |b| {
        format!("batches of {b}, lines kept")
    }));
    if !kept.is_empty() {
        let long = super::embeddings::longest(p.dimensions) > BUFFER / 2.0;
        let below = p.heap_batches.iter().any(|b| *b < p.concurrency);
        let why = if long {
            Some("an answer of this length does not fit into the first buffer".to_string())
        } else {
            below.then(|| "batches smaller than the concurrency leave connections idle".into())
        };
        claims.push(
            Claim::at_every(
                "an answer that waits for its batch to end holds the 8 KB it was read into, however short it is; a line does not",
                Basis::Calibrated,
                kept,
            )
            .unit("MB")
            .unless(why),
        );
    }
    let left = heaps
        .all()
        .filter_map(|k| k.gauge("heap_left_bytes"))
        .map(|e| e.value.abs());
    if let Some(left) = left.reduce(f64::max) {
        claims.push(
            Claim::at_most(
                "when the client has been dropped nothing of it is left, so the counting was right",
                Basis::Predicted,
                10.0,
                Some(Estimate::exact(left / 1e3)),
            )
            .unit("kB"),
        );
    }
    claims
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

fn rates(p: &Params, arms: &[Measured], pace: &Pace) -> Table {
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
            number(a.rate().value),
            number(a.theory()),
            number(a.lines() / a.expected),
            percent(a.rate().value / most),
        ]);
    }
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
    let future = heaps.per_chunk(p).1 - body;
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
            "counted for a hundred that have not begun",
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
    let slope = |of: &[Condition]| line(&points(of, peak)).map_or(f64::NAN, |l| l.1);
    table.note = format!(
        "One more chunk in a batch takes {} kB when answers are kept, {} kB when lines are. No TLS here: its buffers would come on top.",
        kb(slope(&heaps.kept_answers)),
        kb(slope(&heaps.kept_lines))
    );
    table
}

fn batch_figure(p: &Params, arms: &[Measured], pace: &Pace) -> Option<Figure> {
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
    let n = random.iter().map(|a| a.lines()).fold(0.0, f64::max) as usize;
    let measured = |arms: &[&Measured]| {
        arms.iter()
            .map(|a| (a.batch.unwrap_or(1) as f64, a.rate().value))
            .collect()
    };
    let theory = |arms: &[&Measured]| {
        arms.iter()
            .map(|a| (a.batch.unwrap_or(1) as f64, a.theory()))
            .collect::<Vec<_>>()
    };
    let without = pace.makespan(n, None, p.concurrency, false, || p.service.s());
    let ticks: Vec<f64> = random.iter().map(|a| a.batch.unwrap_or(1) as f64).collect();
    Some(Figure {
        id: "batch".into(),
        title: format!(
            "Batches of {} instead of {}: {:.2} times as fast with random service, {:.2} with constant",
            last.batch?,
            first.batch?,
            last.rate().value / first.rate().value,
            constant.last()?.rate().value / constant.first()?.rate().value
        ),
        subtitle: format!(
            "{n} chunks of {}, {} in flight, a service of {} on average; dashed: theory, for the times that were drawn",
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
                        y: n as f64 / without,
                        label: "without batches".into(),
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
                .map(|a| (a.width as f64, a.rate().value))
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
    let (slow, fast) = (barrier.last()?, window.last()?);
    let ticks: Vec<f64> = window.iter().map(|a| a.width as f64).collect();
    Some(Figure {
        id: "level".into(),
        title: format!(
            "With {} in flight a window embeds {} chunks/s, batches of {} only {}",
            fast.width,
            number(fast.rate().value),
            p.batch,
            number(slow.rate().value)
        ),
        subtitle: format!(
            "Chunks of {}, a service of {} on average; dashed: theory, for the times that were drawn",
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

fn heap_figures(p: &Params, heaps: &Heaps) -> Vec<Figure> {
    let mb = |points: Vec<(f64, f64)>, x: f64| -> Vec<(f64, f64)> {
        points.into_iter().map(|(a, b)| (a / x, b / 1e6)).collect()
    };
    let mut figures = Vec::new();
    let window = mb(points(&heaps.size_window, peak), 1048576.0);
    let whole = mb(points(&heaps.size_whole, peak), 1048576.0);
    if let (Some((texts, growth)), Some(most)) = (heaps.growth(), whole.last()) {
        figures.push(Figure {
            id: "size".into(),
            title: format!(
                "The text grows {}-fold, the window's heap {:.2}-fold; all at once takes {} MB",
                number(texts),
                growth,
                number(most.1)
            ),
            subtitle: format!(
                "Peak live heap of the client, {} in flight, chunks of {}",
                p.heap_concurrency, p.heap_chunk
            ),
            desc: "Peak heap over the length of the text: level for the window, rising when all is sent as one batch.".into(),
            body: Body::Panels(Panels {
                x: Axis::log("length of the text in MB, log scale", Unit::Number)
                    .with_ticks(window.iter().map(|w| w.0).collect::<Vec<_>>()),
                panels: vec![Panel {
                    title: "Peak live heap".into(),
                    note: "MB, log scale".into(),
                    y: Axis::log("", Unit::Number),
                    layers: vec![
                        Layer::Line(Line::measured("all at once", Colour::Vermilion, whole)),
                        Layer::Line(Line::measured("window", Colour::Green, window)),
                    ],
                    height: 1.3,
                }],
                marks: vec![],
            }),
        });
    }
    let (levels, batches, idles) = (
        mb(points(&heaps.level_window, peak), 1.0),
        mb(points(&heaps.level_batch, peak), 1.0),
        mb(points(&heaps.level_window, idle), 1.0),
    );
    if let Some((connection, request)) = heaps.per_request() {
        let ticks: Vec<f64> = levels.iter().map(|w| w.0).collect();
        figures.push(Figure {
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
            body: Body::Panels(Panels {
                x: Axis::linear("requests in flight", Unit::Number).with_ticks(ticks),
                panels: vec![Panel {
                    title: "Live heap".into(),
                    note: "MB".into(),
                    y: Axis::linear("", Unit::Number),
                    layers: vec![
                        Layer::Line(Line::measured("connections, idle", Colour::Sky, idles)),
                        Layer::Line(Line::measured("window, peak", Colour::Green, levels)),
                        Layer::Line(Line::measured("batches, peak", Colour::Vermilion, batches)),
                    ],
                    height: 1.3,
                }],
                marks: vec![],
            }),
        });
    }
    let (answers, lines) = (
        mb(points(&heaps.kept_answers, peak), 1.0),
        mb(points(&heaps.kept_lines, peak), 1.0),
    );
    if let (Some(first), Some(last), Some(lean)) = (answers.first(), answers.last(), lines.first())
        && last.0 > first.0
    {
        let theory = |from: &(f64, f64), each: f64| {
            let end = (last.0, from.1 + each * (last.0 - from.0) / 1e6);
            Layer::Line(Line::theory("", Colour::Muted, vec![*from, end]))
        };
        let step = (last.1 - first.1) / (last.0 - first.0) * 1e3;
        figures.push(Figure {
            id: "kept".into(),
            title: format!("An answer kept until its batch ends holds {} kB, however short it is", number(step)),
            subtitle: format!(
                "Peak live heap, {} in flight, chunks of {}, answers of {} numbers; dashed: chunk and buffer, chunk and future",
                p.concurrency, p.chunk, p.dimensions
            ),
            desc: "Peak heap over the batch size: steep when answers are kept, shallow when only lines are.".into(),
            body: Body::Panels(Panels {
                x: Axis::linear("chunks in a batch", Unit::Number)
                    .with_ticks(answers.iter().map(|a| a.0).collect::<Vec<_>>()),
                panels: vec![Panel {
                    title: "Peak live heap".into(),
                    note: "MB".into(),
                    y: Axis::linear("", Unit::Number),
                    layers: vec![
                        theory(first, heaps.per_chunk(p).0),
                        theory(lean, heaps.per_chunk(p).1),
                        Layer::Line(Line::measured("answers kept", Colour::Vermilion, answers.clone())),
                        Layer::Line(Line::measured("lines kept", Colour::Green, lines.clone())),
                    ],
                    height: 1.3,
                }],
                marks: vec![],
            }),
        });
    }
    figures
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const IDEAL: Pace = Pace {
        trip: 0.0,
        late: 0.0,
        each: 0.0,
        answer: 0.0,
    };

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
            assert!((IDEAL.makespan(n, b, m, false, || 0.04) - waves * 0.04).abs() < 1e-6);
        }
        assert_eq!(IDEAL.makespan(0, Some(5), 5, false, || 1.0), 0.0);
    }

    #[test]
    fn what_a_request_costs_beside_its_service() {
        let pace = Pace {
            trip: 0.001,
            late: 0.0,
            each: 0.0001,
            answer: 0.00002,
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
                    IDEAL.makespan(b, Some(b), m, true, || times.next_time().as_secs_f64())
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
        let (at, slope, r2) = line(&[(1.0, 3.0), (2.0, 5.0), (4.0, 9.0)]).unwrap();
        assert!((at - 1.0).abs() < 1e-12 && (slope - 2.0).abs() < 1e-12 && r2 > 0.999);
        assert!(line(&[(1.0, 1.0)]).is_none() && line(&[(1.0, 1.0), (1.0, 2.0)]).is_none());
        assert_eq!(
            line(&[(0.0, 1.0), (1.0, -1.0), (2.0, 1.0)])
                .unwrap()
                .2
                .abs(),
            0.0
        );
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
                IDEAL.makespan(n, b, m, true, || times.next_time().as_secs_f64())
            };
            let mut times = service.sampler(seed);
            let work: f64 = (0..n).map(|_| times.next_time().as_secs_f64()).sum();
            prop_assert!(run(None) <= run(Some(b)) + 1e-6);
            prop_assert!(run(None) >= work / m as f64 - 1e-6);
        }
    }
}
