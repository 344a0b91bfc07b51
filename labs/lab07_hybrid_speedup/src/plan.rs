//! What can be set, and which conditions are measured.

use clap::ValueEnum;
use lab_kit::{host, prelude::*};

use super::{
    Job,
    arms::{fetch_only, one_after_another, process_only, threads_only},
    async_only, findings, gauges, hybrid, languages, premise,
};

/// The constants of the experiment.
#[derive(Args, Debug, Serialize, Deserialize)]
pub struct Params {
    /// Items: N (the sweep takes as many as fit into its window)
    #[arg(long, default_value_t = 12, value_parser = count)]
    pub items: usize,
    /// Time to fetch one: f
    #[arg(long, default_value = "20ms")]
    pub fetch: Time,
    /// How much longer for some: item i takes 1 + (i mod this) times as long
    #[arg(long, default_value_t = 1, value_parser = cycle)]
    #[serde(default = "alike")]
    pub fetch_cycle: usize,
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

/// Seconds that so many items take at what one takes.
fn counted_up(summary: &Summary, series: &str, ratio: f64, items: f64) -> Option<Estimate> {
    let all = |t: &Trial| Some(items * t.wall_s / t.gauge(gauges::ITEMS)?);
    summary.at(series, ratio)?.estimate(all)
}

/// Most threads, and most fetches at a time.
const MOST: usize = 256;

fn few(text: &str) -> Result<usize, String> {
    whole(text, 1..=MOST)
}

fn cycle(text: &str) -> Result<usize, String> {
    whole(text, 1..=100)
}

/// All items take the same time.
fn alike() -> usize {
    1
}

fn ratio(text: &str) -> Result<f64, String> {
    within(text, 0.001..=1000.0, "a ratio from 0.001 to 1000")
}

/// The arms whose time is one of the four of the table.
pub(super) const ARMS: [&str; 4] = ["sequential", "async", "threads", "hybrid"];

impl Params {
    /// p/f of the arms that are compared.
    pub(super) fn ratio(&self) -> f64 {
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
    pub(super) fn items(&self, arm: &str, ratio: f64) -> usize {
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
    pub(super) fn items_on(&self, width: usize) -> usize {
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
        let mean = self.fetch.s() * (1 + self.fetch_cycle) as f64 / 2.0;
        let (f, p) = (mean + needs::REQUEST_S, ratio * self.fetch.s());
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
                "cargo run --release --bin lab07 -- --with all",
                "the same strategies in Python, Node, Go and Java: where do threads compute side by side?",
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

    const PRESETS: &'static [Preset] = &[Preset {
        name: "source",
        what: "5 items, fetched in 0.1 or 0.2 s, processed in 0.5 s by 4 threads (lesson, example 1), and the lesson's opening",
        flags: "--items 5 --fetch 100ms --fetch-cycle 2 --cost 500ms --concurrency 5 --workers 4 --work sleep --ratios 20",
        differs: "The source computes its time of one after another and does not measure it. The 1,000 endpoints of its opening (0.1 s and 2 s) are counted up here from a few, with the example's workers.",
        printed: &[
            Printed {
                what: "5 items, one after another, computed",
                unit: "s",
                at: &[(5.0, 7.0)],
                read: |s, n| counted_up(s, "sequential", 5.0, n),
            },
            Printed {
                what: "1,000 endpoints, one after another",
                unit: "s",
                at: &[(1000.0, 2100.0)],
                read: |s, n| counted_up(s, "sequential", 20.0, n),
            },
            Printed {
                what: "1,000 endpoints, hybrid",
                unit: "s",
                at: &[(1000.0, 300.0)],
                read: |s, n| counted_up(s, "hybrid", 20.0, n),
            },
            Printed {
                what: "times as fast",
                unit: "",
                at: &[(0.0, 7.0)],
                read: |s, _| {
                    let each = |t: &Trial| Some(t.wall_s / t.gauge(gauges::ITEMS)?);
                    let gain = |one: &Trial, hybrid: &Trial| Some(each(one)? / each(hybrid)?);
                    s.at("sequential", 20.0)?.paired(&s.at("hybrid", 20.0)?, gain)
                },
            },
        ],
    }];

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

    const PROGRAMS: Programs = languages::PROGRAMS;

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
        let arms = places.iter().flat_map(|ratio| ARMS.map(|name| arm(name, *ratio)));
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
        let others: f64 = extent.with.iter().map(|l| languages::takes(p, l)).sum();
        let round = arms.sum::<f64>() + widths.sum::<f64>() + process + fetch + slept + others;
        Needs {
            seconds: extent.times() * round,
            less: "fewer --items, a shorter --fetch, --cost or --window, or smaller --ratios",
            ..Needs::default()
        }
    }

    fn measure(p: &Params, session: &mut Session) -> Result<()> {
        let kernel = Kernel::calibrate();
        let programs = session.programs(&Self::PROGRAMS);
        session.note_interpreters(&programs);
        let fetch = p.fetch.duration();
        let job = |ratio: f64, work| Job {
            fetch,
            cycle: p.fetch_cycle,
            concurrency: p.concurrency,
            cost: fetch.mul_f64(ratio),
            work,
            kernel,
        };

        let mut plan = session.plan();
        let mut at = |ratio: f64| {
            let job = job(ratio, p.work);
            let n = move |arm| p.items(arm, ratio);
            plan.point("sequential", ratio, move |r| one_after_another(r, job, n("sequential")));
            plan.point("async", ratio, move |r| async_only(r, job, n("async")));
            plan.point("threads", ratio, move |r| threads_only(r, job, n("threads"), p.workers));
            plan.point("hybrid", ratio, move |r| hybrid(r, job, n("hybrid"), p.workers));
        };
        at(p.ratio());
        p.others().into_iter().for_each(at);
        let (worked, slept) = (job(p.ratio(), p.work), job(p.ratio(), Work::Sleep));
        for width in p.widths() {
            let n = p.items_on(width);
            plan.point("threads/width", width as f64, move |r| threads_only(r, worked, n, width));
            plan.point("hybrid/width", width as f64, move |r| hybrid(r, worked, n, width));
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
        plan.point("slept", p.sleepers as f64, move |r| hybrid(r, slept, p.items, p.sleepers));
        for program in &programs {
            languages::add(&mut plan, program, p, worked);
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
