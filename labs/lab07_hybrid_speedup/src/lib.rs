//! # The hybrid speed-up
//!
//! ## The question
//!
//! How much faster is I/O and CPU together?
//!
//! ## What to predict
//!
//! `N` items are to be fetched, which takes `f` = {fetch} of waiting, and processed, which takes
//! `p` = {cost} of computing. A program may take them one after another; fetch `C` = {concurrency}
//! at a time on an event loop and compute right there; have `P` threads that each fetch, wait and
//! compute; or fetch on an event loop and compute on a pool of `P` threads. With as many threads as
//! your machine has processors, how many times faster than the first is each of the others?
//!
//! ## The experiment
//!
//! Those four, on the same items, with a real HTTP request and a real computation, for the ratios
//! `p/f` {ratios}, and for pools from one thread up to one for each processor. The time of one
//! after another is measured as well, in the same run, with fewer items since it is exactly linear.
//! A fifth arm is the hybrid once more, on a pool of {sleepers} threads, with work that sleeps. The
//! hybrid is `bridge.rs`, written to be copied.
//!
//! ## What the figures show
//!
//! | strategy | time for `N` items |
//! |---|---|
//! | one after another | `N·(f + p)` |
//! | async only | between `max(N·f/C, N·p)` and the sum `N·f/C + N·p` |
//! | threads only | `N·(f + p)/P` |
//! | hybrid | `max(N·f/C, N·p/P)`, and the time until it has filled |
//!
//! Async only overlaps the waits and no work; threads overlap both, but only `P` of each. The
//! hybrid has a number of its own for each, and so its time is that of the slower stage alone.
//! Which one to choose follows from `p/f`: when computing is much less than `f/C`, an event loop
//! does it in passing; when it is many times `f`, threads lose little by waiting themselves. In
//! between the hybrid is better than both.
//!
//! Async only holds a surprise. Fetches and computing overlap, so one expects the larger of two
//! times; but while the loop computes, it sends no request. The requests that follow a wave of `C`
//! answers leave when the last of the wave has been computed, all together, and until their answers
//! come there is nothing to compute: times *add*. Only when the loop happens to see one answer
//! before the others are there does that one get ahead; where computing is as long as a fetch, one
//! ahead is enough to fill the gaps. So a run falls on one side or the other, by chance, and theory
//! gives the two ends.
//!
//! `P` is what the processors are worth to the threads, measured with nothing to fetch, not how
//! many threads there are; `f` is what a fetch takes here, measured with nothing to process. What
//! still keeps the hybrid from its bound on a small machine is its own event loop: with every
//! processor computing, a loop that wakes may wait until the scheduler gives it one, with each
//! wave of answers. Theory allows it that, and a tick of the timer. Some fetches more than the
//! bound asks for hide that.
//!
//! ## A common belief
//!
//! *A hybrid makes it many times faster, whatever the machine.* Say that 1000 items of 0.1 s and
//! 2 s take 2,100 s one after another and 300 s as a hybrid, "7×", as in what this suite grew from
//! (lab notes). 1000 × 2 s of computing in 300 s need at least 6.7 busy processors; four give 4.2×
//! at most. The last figure has the simulator's answer for other numbers of processors.
//!
//! Two mistakes of measuring feed the belief. The first is `sleep` in place of the computation. A
//! sleeping thread needs no processor, so the arm that sleeps is as fast as its pool is large, on
//! any machine. The second is to divide by a *computed* time of one after another. Measure that
//! baseline, in the same run, with the same work. Languages differ, too. In Rust threads compute in
//! parallel: no lock is held while they run, since what they may share is checked when the program
//! is compiled. In a usual build of Python they take turns. `--python` runs all strategies, re-made
//! in Python (`python/lab07.py`), on threads and on processes, beside Rust.
//!
//! ## In production
//!
//! Measure `f` and `p` of your items first. Take the simplest strategy whose time is near the
//! bound: often that is not the hybrid. Where it is, size both sides from the bound: `P` threads
//! for as many processors as you may use, and `C = P·f/p` fetches (Little's law) and a few more;
//! more of either moves nothing but memory. Bound everything between the two, as `bridge.rs` does,
//! or a slow pool fills the memory with what a fast network brings. Then look at efficiency, bound
//! over measured: below 0.9 something serial is left, and it is worth finding.
//!
//! ## Check yourself
//!
//! - With `p/f = 0.1` and `C = 8`, what do more processors give? What do more fetches?
//! - At which `p/f` is the hybrid farthest ahead of the better of the two, for `C = 8` and `P = 2`?
//!   And for `P = 64`?
//! - Eight fetches at a time and one thread that computes `f/8` an item: why is async only slower
//!   than a hybrid on a machine with one processor?
//! - Suppose a colleague reports 12× on an 8-processor laptop. What do you ask?

use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{anyhow, bail};
use clap::ValueEnum;
use futures_util::{StreamExt, TryStreamExt, stream};
use lab_kit::{host, prelude::*};
use tokio::runtime::{Builder, Runtime};

use lab_parts::bridge::{Bridge, ItemError, Limits};

mod findings;
mod premise;
mod python;

/// The constants of the experiment.
#[derive(Args, Debug, Serialize, Deserialize)]
pub struct Params {
    /// Items: N (the sweep takes as many as fit into its window)
    #[arg(long, default_value_t = 12, value_parser = count)]
    pub items: usize,
    /// Time to fetch one: f
    #[arg(long, default_value = "20ms")]
    pub fetch: Time,
    /// Time to process one on a processor of its own: p
    #[arg(long, default_value = "20ms")]
    pub cost: Time,
    /// Fetches at a time of the async arms: C
    #[arg(long, default_value_t = 8, value_parser = few)]
    pub concurrency: usize,
    /// Threads that compute: P [default: one for each processor]
    #[arg(long, default_value_t = host::cores().min(MOST), hide_default_value = true, value_parser = few)]
    pub workers: usize,
    /// Ratios p/f to try, with commas
    #[arg(long, value_delimiter = ',', value_parser = ratio, default_value = "0.02,0.1,0.3,1,5")]
    pub ratios: Vec<f64>,
    /// Numbers of threads to try, with commas [default: 1, 2, 4 … P]
    #[arg(long, value_delimiter = ',', value_parser = few)]
    pub widths: Vec<usize>,
    /// About how long the arms of one ratio should take together
    #[arg(long, default_value = "280ms")]
    pub window: Time,
    /// What processing does: compute, or sleep as if an accelerator or another machine computed
    #[arg(long, value_enum, default_value_t = Work::Spin)]
    pub work: Work,
    /// Threads of the arm whose work sleeps whatever --work says
    #[arg(long, default_value_t = 8, value_parser = few)]
    pub sleepers: usize,
}

/// What processing does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Work {
    /// It computes.
    Spin,
    /// It waits for a computation elsewhere, and holds its thread.
    Sleep,
}

/// Most threads, and most fetches at a time.
const MOST: usize = 256;

fn few(text: &str) -> Result<usize, String> {
    whole(text, 1..=MOST)
}

fn ratio(text: &str) -> Result<f64, String> {
    within(text, 0.001..=1000.0, "a ratio from 0.001 to 1000")
}

/// The arms whose time is one of the four of the table.
const ARMS: [&str; 4] = ["sequential", "async", "threads", "hybrid"];

impl Params {
    /// p/f of the arms that are compared.
    fn ratio(&self) -> f64 {
        self.cost.s() / self.fetch.s()
    }

    /// The other ratios to try.
    fn others(&self) -> Vec<f64> {
        let mut all = self.ratios.clone();
        all.retain(|r| (r / self.ratio() - 1.0).abs() > 1e-9);
        all.sort_by(f64::total_cmp);
        all.dedup();
        all
    }

    /// Sizes of the pool to try.
    fn widths(&self) -> Vec<usize> {
        let doubling = std::iter::successors(Some(1), |w| Some(2 * w));
        let mut all: Vec<usize> = match self.widths.as_slice() {
            [] => doubling.take_while(|w| *w < self.workers).collect(),
            chosen => chosen.to_vec(),
        };
        all.retain(|w| *w != self.workers);
        all.sort_unstable();
        all.dedup();
        all
    }

    /// Threads whose computing is measured by itself: one, and all.
    fn beside_each_other(&self) -> Vec<usize> {
        let mut all = vec![1, self.workers];
        all.dedup();
        all
    }

    /// Fetches at a time of the arms.
    fn at_a_time(&self) -> Vec<usize> {
        let mut all = vec![1, self.workers, self.concurrency];
        all.sort_unstable();
        all.dedup();
        all
    }

    /// Items an arm gets at a ratio, so that it takes about its share of the window; the arms that
    /// take so long an item that the whole would be slow get fewer.
    fn items(&self, arm: &str, ratio: f64) -> usize {
        let (f, p) = (self.fetch.s(), ratio * self.fetch.s());
        let (c, w) = (self.concurrency as f64, self.workers as f64);
        let share = self.window.s() / ARMS.len() as f64;
        let fit = |least: usize, each: f64| ((share / each) as usize).clamp(least, 1_000_000);
        match arm {
            "sequential" if ratio == self.ratio() => self.items.div_ceil(4),
            // The quickest arm and the one that matters: more of them in the same time.
            "hybrid" if ratio == self.ratio() => 3 * self.items,
            _ if ratio == self.ratio() => self.items,
            "sequential" => 2 * fit(1, f + p) - 1,
            // Whole waves: the last one should not decide.
            "async" => match fit(2, f / c + p) {
                n if n > self.concurrency => n - n % self.concurrency,
                n => n,
            },
            "threads" => fit(1, f + p) * self.workers,
            _ => fit(2 * self.workers, f64::max(f / c, p / w)),
        }
    }

    /// Items that a pool of this size gets where p is --cost: in about the time that all threads take.
    fn items_on(&self, width: usize) -> usize {
        (self.items * width).div_ceil(self.workers)
    }

    /// All ratios that are measured.
    fn places(&self) -> Vec<f64> {
        let mut all = self.others();
        all.push(self.ratio());
        all
    }

    /// Seconds that an arm takes for so many items, about, with so many threads that compute.
    fn arm_takes(&self, arm: &str, n: usize, ratio: f64, threads: usize) -> f64 {
        let (f, p) = (self.fetch.s() + needs::REQUEST_S, ratio * self.fetch.s());
        let (n, c, t) = (n as f64, self.concurrency as f64, threads as f64);
        let computing = match self.work {
            Work::Spin => needs::processors(threads),
            Work::Sleep => t,
        };
        let opened = 0.01 + needs::connected(self.concurrency);
        match arm {
            "sequential" => 0.03 + n * (f + p),
            "async" => opened + n * (f / c + p),
            // Each thread opens a connection, one after another.
            "threads" => 0.03 + 0.013 * t + (n * (f + p) / t).max(n * p / computing),
            _ => opened + n * f64::max(f / c, p / computing) + f + p,
        }
    }
}

/// lab07.
pub struct HybridSpeedup;

impl Lab for HybridSpeedup {
    type Params = Params;

    const CARD: Card = Card {
        number: 7,
        name: "hybrid_speedup",
        title: "The hybrid speed-up",
        question: "How much faster is I/O and CPU together?",
        predict: &[
            Question {
                key: "async",
                ask: "Fetches of {fetch}, {concurrency} at a time, and computations of {cost} on the event loop: how many times faster than one after another?",
                unit: "times",
                hint: "1 to 20",
            },
            Question {
                key: "hybrid",
                ask: "The same with a pool of threads that compute beside the event loop (here {workers}): how many times faster than one after another?",
                unit: "times",
                hint: "1 to 20",
            },
        ],
        next: &[
            (
                "cargo run --release --bin lab07 -- --cost 2ms --items 64 --concurrency 10",
                "p = f/C: async only takes the sum of two equal times, the hybrid one of them",
            ),
            (
                "cargo run --release --bin lab07 -- --work sleep --workers 16 --concurrency 20 --items 80",
                "the work is done elsewhere: more threads than processors help",
            ),
            (
                "cargo run --release --bin lab07 -- --fetch 10ms --cost 200ms --items 4 --ratios 20",
                "items that compute twenty times as long as they wait: the speed-up is that of your processors",
            ),
            (
                "cargo run --release --bin lab07 -- --python",
                "the same strategies in asyncio, on threads that take turns and on processes",
            ),
        ],
        sources: lab_kit::sources!["lib.rs"],
        answers: include_str!("../answers.md"),
        sizes: Sizes {
            smoke: &[
                "--items", "4", "--fetch", "5ms", "--cost", "5ms", "--ratios", "1", "--window",
                "20ms",
            ],
            full: &[
                "--items",
                "40",
                "--window",
                "1500ms",
                "--ratios",
                "0.01,0.02,0.05,0.1,0.2,0.5,1,2,5,10",
            ],
            trials: (3, 3),
        },
    };

    const SKETCHES: &'static [Sketch] = &[Sketch {
        key: "hybrid",
        ask: "how many times faster the hybrid is than one after another",
        unit: "times",
        hint: "1 to 20",
        x: "p/f",
        places: "ratios",
        figure: "sweep",
        panel: 0,
        line: "hybrid",
    }];

    fn check(p: &Params) -> Result<(), String> {
        let least = p.others().first().copied().unwrap_or(1.0).min(p.ratio());
        if p.fetch.duration() < Duration::from_millis(1) || least * p.fetch.s() < 1e-5 {
            return Err("--fetch must be 1 ms or more, and processing 10 µs or more: a longer --cost, or larger --ratios".into());
        }
        // Theory plays the items of every arm and ratio.
        let items: f64 = p
            .places()
            .into_iter()
            .flat_map(|ratio| ARMS.map(|arm| p.items(arm, ratio) as f64))
            .sum();
        if items > 5e6 {
            return Err(format!(
                "{items:.0} items over all arms are more than theory can play: fewer --items or --ratios, a shorter --window or a longer --fetch"
            ));
        }
        Ok(())
    }

    fn needs(p: &Params, extent: &Extent) -> Needs {
        let (ratio, one) = (p.ratio(), p.cost.s());
        let arm =
            |name: &str, ratio: f64| p.arm_takes(name, p.items(name, ratio), ratio, p.workers);
        let places = p.places();
        let arms = places
            .iter()
            .flat_map(|ratio| ARMS.map(|name| arm(name, *ratio)));
        let widths = p.widths().into_iter().flat_map(|w| {
            ["threads", "hybrid"].map(|name| p.arm_takes(name, p.items_on(w), ratio, w))
        });
        let process = p.items.div_ceil(p.workers) as f64
            * one
            * (1.0 + p.workers as f64 / needs::processors(p.workers));
        let fetch =
            p.at_a_time().len() as f64 * (6.0 * p.fetch.s() + needs::connected(p.concurrency));
        let slept = p.items as f64
            * (p.fetch.s() / p.concurrency as f64).max(one / p.sleepers as f64)
            + one;
        let python = match extent.with_python {
            true => 5.0 + p.items as f64 * (p.fetch.s() + 5.0 * one),
            false => 0.0,
        };
        let round = arms.sum::<f64>() + widths.sum::<f64>() + process + fetch + slept + python;
        Needs {
            seconds: extent.times() * round,
            less: "fewer --items, a shorter --fetch, --cost or --window, or smaller --ratios",
            ..Needs::default()
        }
    }

    fn measure(p: &Params, session: &mut Session) -> Result<()> {
        let kernel = Kernel::calibrate();
        let python = session.python();
        let fetch = p.fetch.duration();
        let job = |ratio: f64, work| Job {
            fetch,
            concurrency: p.concurrency,
            cost: fetch.mul_f64(ratio),
            work,
            kernel,
        };

        let mut plan = session.plan();
        let mut at = |ratio: f64| {
            let job = job(ratio, p.work);
            let n = move |arm| p.items(arm, ratio);
            plan.point("sequential", ratio, move |r| {
                one_after_another(r, job, n("sequential"))
            });
            plan.point("async", ratio, move |r| async_only(r, job, n("async")));
            plan.point("threads", ratio, move |r| {
                threads_only(r, job, n("threads"), p.workers)
            });
            plan.point("hybrid", ratio, move |r| {
                hybrid(r, job, n("hybrid"), p.workers)
            });
        };
        at(p.ratio());
        p.others().into_iter().for_each(at);
        let (worked, slept) = (job(p.ratio(), p.work), job(p.ratio(), Work::Sleep));
        for width in p.widths() {
            let n = p.items_on(width);
            plan.point("threads/width", width as f64, move |r| {
                threads_only(r, worked, n, width)
            });
            plan.point("hybrid/width", width as f64, move |r| {
                hybrid(r, worked, n, width)
            });
        }
        for threads in p.beside_each_other() {
            plan.point("process", threads as f64, move |r| {
                process_only(r, worked, p.items.div_ceil(p.workers), threads)
            });
        }
        for at_a_time in p.at_a_time() {
            plan.point("fetch", at_a_time as f64, move |r| {
                fetch_only(r, worked, 6 * at_a_time, at_a_time)
            });
        }
        plan.point("slept", p.sleepers as f64, move |r| {
            hybrid(r, slept, p.items, p.sleepers)
        });
        if let Some(python) = &python {
            python::add(&mut plan, python, p, worked);
        }
        plan.run()
    }

    fn premise(p: &Params, at: &Condition, trial: &Trial) -> Result<(), String> {
        premise::premise(p, at, trial)
    }

    fn explain(p: &Params, summary: &Summary) -> Findings {
        findings::explain(p, summary)
    }
}

/// What is to be done with each item.
#[derive(Clone, Copy)]
struct Job {
    fetch: Duration,
    concurrency: usize,
    cost: Duration,
    work: Work,
    kernel: Kernel,
}

impl Job {
    /// An upstream that never lets a request wait.
    fn upstream(&self, clients: usize) -> Spec {
        Spec::new(clients, ServiceTime::Constant(self.fetch))
    }

    fn process(&self, r: &Recorder, _item: &Bytes) {
        let start = Instant::now();
        match self.work {
            Work::Spin => self.kernel.work(self.cost),
            Work::Sleep => std::thread::sleep(self.cost),
        }
        r.sample("process_s", start.elapsed().as_secs_f64());
    }

    /// Seconds that a second of work takes right now.
    fn pace(&self) -> f64 {
        if self.work == Work::Sleep {
            return 1.0;
        }
        let (start, sample) = (Instant::now(), Duration::from_millis(4));
        self.kernel.work(sample);
        start.elapsed().as_secs_f64() / sample.as_secs_f64()
    }
}

async fn fetch(client: &reqwest::Client, url: &str) -> Result<Bytes> {
    Ok(http::expected(client.get(url).send().await?).await?)
}

/// Calibration: fetches at so many a time, with nothing to process.
fn fetch_only(r: &Recorder, job: Job, n: usize, at_a_time: usize) -> Result<()> {
    let runtime = event_loop()?;
    let (service, client) = runtime.block_on(connected(r, job, at_a_time))?;
    let (client, url) = (&client, &service.url());
    timed(r, job, n, || {
        let each = |_| async move { fetch(client, url).await.map(drop) };
        let all = stream::iter(0..n).map(each).buffer_unordered(at_a_time);
        runtime.block_on(all.try_collect())
    })
}

/// Calibration: so many items on each of so many threads, with nothing to fetch.
fn process_only(r: &Recorder, job: Job, each: usize, threads: usize) -> Result<()> {
    timed(r, job, each * threads, || {
        std::thread::scope(|scope| {
            for _ in 0..threads {
                scope.spawn(|| (0..each).for_each(|_| job.process(r, &Bytes::new())));
            }
        });
        Ok(())
    })
}

/// Everybody's baseline, measured like everybody else.
fn one_after_another(r: &Recorder, job: Job, n: usize) -> Result<()> {
    let service = event_loop()?.block_on(r.upstream(job.upstream(1)))?;
    let desk = Desk::open(r, &service)?;
    timed(r, job, n, || {
        for _ in 0..n {
            job.process(r, &desk.fetch()?);
        }
        Ok(())
    })
}

// wrong: Fetches and computes on the event loop
/// C fetches at a time. What an item needs is done where its answer arrives: nobody else moves.
fn async_only(r: &Recorder, job: Job, n: usize) -> Result<()> {
    let (runtime, c) = (event_loop()?, job.concurrency);
    let (service, client) = runtime.block_on(connected(r, job, c))?;
    let (client, url) = (&client, &service.url());
    timed(r, job, n, || {
        let each = |_| async move {
            job.process(r, &fetch(client, url).await?);
            Ok(())
        };
        let all = stream::iter(0..n).map(each).buffer_unordered(c);
        runtime.block_on(all.try_collect())
    })
}

/// P threads. Each fetches, waits for its item, and computes.
fn threads_only(r: &Recorder, job: Job, n: usize, threads: usize) -> Result<()> {
    let service = event_loop()?.block_on(r.upstream(job.upstream(threads)))?;
    let desks: Vec<_> = (0..threads)
        .map(|_| Desk::open(r, &service))
        .collect::<Result<_>>()?;
    let taken = AtomicUsize::new(0);
    let work = |desk: Desk| {
        while taken.fetch_add(1, Ordering::Relaxed) < n {
            job.process(r, &desk.fetch()?);
        }
        Ok(())
    };
    timed(r, job, n, || {
        std::thread::scope(|scope| {
            let spawn = |desk| scope.spawn(|| work(desk));
            let threads: Vec<_> = desks.into_iter().map(spawn).collect();
            let ends = threads.into_iter().map(|t| t.join());
            ends.into_iter()
                .try_for_each(|end| end.unwrap_or_else(|_| bail!("a thread panicked")))
        })
    })
}

// right: Fetches on the event loop, computes on a pool
// so: While the loop computes it begins no fetch. With a pool each side has a limit of its own,
//     and the whole takes as long as the slower one.
/// C fetches at a time on the event loop, P threads that only compute, a bridge between them.
fn hybrid(r: &Recorder, job: Job, n: usize, threads: usize) -> Result<()> {
    let (runtime, c) = (event_loop()?, job.concurrency);
    let (service, client) = runtime.block_on(connected(r, job, c))?;
    let (client, url) = (&client, &service.url());
    // All answers may come at once; with fewer places, fetched items would hold up fetches.
    let limits = Limits {
        fetches: c,
        queue: c,
        stores: 1,
    };
    let (bridge, recorder) = (Bridge::new(threads, limits)?, r.clone());
    timed(r, job, n, || {
        let results = bridge.run(
            stream::iter(0..n),
            |_| fetch(client, url),
            move |item| {
                job.process(&recorder, &item);
                Ok(())
            },
            |()| async { Ok(()) },
        );
        // With its causes: a server that does not answer is one.
        let results = results.map(|(_, result)| {
            result.map_err(|e| match e {
                ItemError::Fetch(e) => e.context("fetch"),
                e => anyhow!("{e}"),
            })
        });
        runtime.block_on(results.try_collect())
    })
}

/// Runtimes, connections and pools are there before the clock starts. A processor's clock changes
/// with load and heat, so its pace is taken before and after: the quicker of both, since what
/// disturbs it makes it slower.
fn timed(r: &Recorder, job: Job, items: usize, run: impl FnOnce() -> Result<()>) -> Result<()> {
    let before = job.pace();
    let start = Instant::now();
    run()?;
    r.wall(start.elapsed());
    r.gauge("pace", before.min(job.pace()));
    r.gauge("items", items as f64);
    Ok(())
}

fn event_loop() -> Result<Runtime> {
    Ok(Builder::new_current_thread().enable_all().build()?)
}

async fn connected(
    r: &Recorder,
    job: Job,
    connections: usize,
) -> Result<(Service, reqwest::Client)> {
    let service = r.upstream(job.upstream(connections)).await?;
    let client = http::client();
    r.connect(&client, &service, connections).await?;
    Ok((service, client))
}

/// A connection for a thread that waits: an event loop with nothing else to do.
struct Desk {
    runtime: Runtime,
    client: reqwest::Client,
    url: String,
}

impl Desk {
    fn open(r: &Recorder, service: &Service) -> Result<Desk> {
        let (runtime, client) = (event_loop()?, http::client());
        runtime.block_on(r.connect(&client, service, 1))?;
        let url = service.url();
        Ok(Desk {
            runtime,
            client,
            url,
        })
    }

    fn fetch(&self) -> Result<Bytes> {
        self.runtime.block_on(fetch(&self.client, &self.url))
    }
}
