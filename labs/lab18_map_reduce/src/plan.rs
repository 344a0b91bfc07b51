//! What is measured, in which order, and with which flags.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::Context;
use lab_kit::{host, prelude::*};

use super::{
    bench::Bench,
    corpus::{Law, Source},
    count::{on_pool, one_thread},
    dataflow::Way,
    findings, gauges, premise,
    processes::{self, Shape},
    ray, wire,
};

/// The constants of the experiment.
#[derive(Args, Clone, Debug, Serialize, Deserialize)]
pub struct Params {
    /// Size of the text
    #[arg(long, default_value = "4MB")]
    pub bytes: Size,
    /// Smaller sizes at which two processes are compared with one thread, with commas
    #[arg(long, value_delimiter = ',', default_value = "32KB,128KB,512KB,1500KB")]
    pub sizes: Vec<Size>,
    /// Different words there are
    #[arg(long, default_value_t = 20_000, value_parser = level_of_words)]
    pub vocabulary: usize,
    /// How uneven their frequencies are: the word of rank r comes with probability ~ 1/r^exponent
    #[arg(long, default_value_t = 1.0, value_parser = exponent)]
    pub exponent: f64,
    /// Numbers of processes to try, with commas [default: 1, 2, 4 … twice your processors, 8 at most]
    #[arg(long, value_delimiter = ',', value_parser = few)]
    pub processes: Vec<usize>,
    /// Threads of the arms with one process [default: one for each processor]
    #[arg(long, default_value_t = host::cores().clamp(1, MOST), hide_default_value = true, value_parser = few)]
    pub threads: usize,
    /// How much a process can send in a second in the arms with a slow wire: 119MB is 1 Gbit/s
    #[arg(long, default_value = "119MB")]
    pub network: Size,
    /// Jobs that a trial takes the mean of
    #[arg(long, default_value_t = 1, value_parser = few)]
    pub rounds: usize,
    /// Text of the simulated cluster
    #[arg(long, default_value = "100GB")]
    pub cluster_bytes: Size,
    /// How much the speeds of its hosts differ: standard deviation of the logarithm
    #[arg(long, default_value_t = 0.1, value_parser = spread)]
    pub spread: f64,
    /// The same in Python too, with its own pool of processes, and on Ray if it is installed
    #[arg(long)]
    #[serde(default)]
    pub ray: bool,
    /// Do no experiment: be this process, counted from 0, of those in --hosts, for one job
    #[arg(long, value_name = "NUMBER", value_parser = number)]
    #[serde(skip)]
    pub process: Option<usize>,
    /// With --process: file with the addresses (host:port) of all processes, one a line
    #[arg(long, value_name = "FILE", requires = "process")]
    #[serde(skip)]
    pub hosts: Option<PathBuf>,
    /// With --process: the text, the same on every host [default: --bytes of text, made on each]
    #[arg(long, value_name = "FILE", requires = "process")]
    #[serde(skip)]
    pub corpus: Option<PathBuf>,
    /// With --process: what crosses the wire
    #[arg(long, value_enum, default_value = "combined", requires = "process")]
    #[serde(skip, default = "Params::usual_way")]
    pub way: Way,
    /// With --process: file that process 0 writes the counts to, whole or not at all
    #[arg(long, value_name = "FILE", requires = "process")]
    #[serde(skip)]
    pub output: Option<PathBuf>,
    /// With --process: how long to wait for the other processes
    #[arg(long, value_name = "TIME", default_value = "60s", requires = "process")]
    #[serde(skip, default = "Params::usual_patience")]
    pub patience: Time,
    /// Orders come over the standard streams: the lab has started this process
    #[arg(long, hide = true, requires = "process")]
    #[serde(skip)]
    pub led: bool,
    /// Bytes a second that this process can send
    #[arg(long, hide = true, requires = "process", value_parser = bandwidth)]
    #[serde(skip)]
    pub wire: Option<f64>,
}

/// Most different words.
const MOST_WORDS: usize = 2_000_000;
/// Most processes, and most threads.
const MOST: usize = 64;
/// Processes of the arms that are about what is sent, not about how many there are.
pub(super) const PAIR: usize = 2;
/// Seed of the text that hosts make for themselves.
const TEXT_SEED: u64 = 18;

fn few(text: &str) -> Result<usize, String> {
    whole(text, 1..=MOST)
}

fn number(text: &str) -> Result<usize, String> {
    whole(text, 0..=9_999)
}

/// Bytes a second, as the lab writes them.
fn bandwidth(text: &str) -> Result<f64, String> {
    within(text, 1.0..=1e15, "bytes a second")
}

fn level_of_words(text: &str) -> Result<usize, String> {
    whole(text, 10..=MOST_WORDS)
}

fn exponent(text: &str) -> Result<f64, String> {
    within(text, 0.0..=3.0, "a number from 0 (all words alike) to 3")
}

fn spread(text: &str) -> Result<f64, String> {
    within(text, 0.0..=1.0, "a number from 0 (all alike) to 1")
}

impl Params {
    fn usual_way() -> Way {
        Way::Combined
    }

    fn usual_patience() -> Time {
        Time::ms(60_000)
    }

    pub(super) fn law(&self) -> Law {
        Law { vocabulary: self.vocabulary, exponent: self.exponent }
    }

    /// Numbers of processes on so many processors; one, which theory is calibrated with, is always among
    /// them.
    pub(super) fn numbers(&self, cores: usize) -> Vec<usize> {
        let doubling = std::iter::successors(Some(1), |n| Some(2 * n));
        let most = (2 * cores).clamp(PAIR, 8);
        let mut all: Vec<usize> = match self.processes.as_slice() {
            [] => doubling.take_while(|n| *n <= most).collect(),
            chosen => chosen.to_vec(),
        };
        all.extend([1, PAIR]);
        all.sort_unstable();
        all.dedup();
        all
    }

    /// Numbers of threads of one process: as many as rayon has, and as many as there are processes, to
    /// see what they are worth if nothing has to be sent.
    fn in_threads(&self) -> Vec<usize> {
        let mut all = self.numbers(host::cores());
        all.push(self.threads);
        all.retain(|n| *n > 1 || self.threads == 1);
        all.sort_unstable();
        all.dedup();
        all
    }

    /// Sizes at which two processes are compared with one thread, the smallest first.
    pub(super) fn all_sizes(&self) -> Vec<Size> {
        let mut all = self.sizes.clone();
        all.retain(|s| *s < self.bytes);
        all.push(self.bytes);
        all.sort_unstable();
        all.dedup();
        all
    }

    /// The text of a process that nobody leads.
    pub(super) fn source_of_a_host(&self, folder: &Path) -> Result<Source> {
        let (file, bytes) = match &self.corpus {
            Some(file) => {
                let found = fs::metadata(file);
                let found = found.with_context(|| format!("cannot read {}", file.display()))?;
                (file.clone(), found.len())
            }
            None => {
                let file = folder.join("text");
                self.law().write(&file, self.bytes.b() as u64, TEXT_SEED)?;
                (file, self.bytes.b() as u64)
            }
        };
        Ok(Source { file, bytes })
    }
}

/// lab18.
pub struct MapReduce;

impl Lab for MapReduce {
    type Params = Params;

    const TAKES_TARGET: bool = false;

    const CARD: Card = Card {
        number: 18,
        name: "map_reduce",
        title: "Map and reduce",
        question: "When does distributing pay?",
        predict: &[
            Question {
                key: "pair",
                ask: "Two processes count the words of a file that both can read: how many times faster than one thread are they on two processors, once they run?",
                unit: "times",
                hint: "0.5 to 2",
            },
            Question {
                key: "combining",
                ask: "If every process adds up its own words before it sends them: how many times fewer bytes cross the wire?",
                unit: "times",
                hint: "1 to 100",
            },
            Question {
                key: "crossover",
                ask: "From how much text on are two processes faster than one thread, if they must be started first?",
                unit: "MB",
                hint: "0.01 to 1000",
            },
        ],
        next: &[
            (
                "cargo run --release --bin lab18 -- --bytes 64MB --processes 1,2",
                "more text: starting the processes matters less",
            ),
            (
                "cargo run --release --bin lab18 -- --vocabulary 1000000 --exponent 0.5",
                "words that seldom come twice: what is there left to combine?",
            ),
            (
                "cargo run --release --bin lab18 -- --network 12MB",
                "a wire of 100 Mbit/s: sending the text is slower than counting it here",
            ),
            (
                "cargo run --release --bin lab18 -- --ray",
                "the same in Python: a pool of processes, sent the text or the path; and Ray",
            ),
        ],
        sources: lab_kit::sources!["lib.rs"],
        answers: include_str!("../answers.md"),
        sizes: Sizes {
            smoke: &["--bytes", "128KB", "--sizes", "16KB", "--processes", "1,2", "--rounds", "1"],
            full: &[
                "--bytes",
                "16MB",
                "--vocabulary",
                "50000",
                "--sizes",
                "64KB,256KB,1MB,3MB,6MB",
            ],
            // Many short ones: a job of some 50 ms runs on whatever the two processors happen to be
            // then, siblings of one core or not, and only many of them show what is usual.
            trials: (6, 12),
        },
    };

    fn check(p: &Params) -> Result<(), String> {
        if p.process.is_some() {
            return match (p.led, &p.hosts) {
                (false, None) => Err("--process needs --hosts: a file with the addresses of all processes, one a line".into()),
                _ => Ok(()),
            };
        }
        if p.bytes.b() < 16 << 10 || p.bytes.b() > 1 << 30 {
            return Err("--bytes from 16KB to 1GB: less is over before it has begun, and more would have to be in memory several times".into());
        }
        if p.sizes.iter().any(|s| s.b() < 1 << 10) {
            return Err("--sizes from 1KB on: less is not even a page".into());
        }
        if p.network.b() < 1 << 20 {
            return Err("--network must be 1MB or more: a second".into());
        }
        // Theory looks at every word again and again.
        if p.vocabulary > MOST_WORDS {
            return Err(format!("--vocabulary must be {MOST_WORDS} or less"));
        }
        Ok(())
    }

    fn needs(p: &Params, extent: &Extent) -> Needs {
        let bytes = p.bytes.f();
        // Bytes a second of one thread that counts, and of one that sends each word: some 9 and 35 ns a
        // byte here. Words that are seldom met miss the caches.
        let far = 1.0 + (p.vocabulary as f64 / 20_000.0).log10().max(0.0);
        let (count, raw) = (1e-8 * far, 3.5e-8 * far);
        let jobs = p.rounds as f64 + 1.0;
        let started = |n: usize| 0.03 + 0.015 * n as f64;
        let group = |n: usize, per_byte: f64, size: f64| {
            started(n) + jobs * (3e-4 * n as f64 + size * per_byte / needs::processors(n))
        };
        let sizes: f64 = p.all_sizes().iter().map(|s| s.f()).sum();
        let (numbers, threads) = (p.numbers(host::cores()), p.in_threads());
        let inside = jobs * count * (sizes + bytes);
        let paper = 2.0 * bytes * (raw / 2.0 + 2.0 * count) + bytes * 5e-9;
        let alone: f64 =
            threads.iter().map(|n| group(*n, count, bytes) - started(*n) + started(1)).sum();
        let processes: f64 =
            numbers.iter().map(|n| group(*n, count, bytes) + group(*n, raw, bytes)).sum();
        let pairs: f64 =
            p.sizes.iter().filter(|s| **s < p.bytes).map(|s| group(PAIR, count, s.f())).sum();
        let slow = jobs * bytes / 2.0 / p.network.f();
        let text = 3.0 * group(PAIR, count, bytes) + 1.2 * slow;
        let killed = 2.0 * group(PAIR, raw, bytes) + 0.2;
        let python = if p.ray { 6.0 + jobs * 6.0 * bytes * 2e-7 } else { 0.0 };
        let round = inside + paper + alone + processes + pairs + text + killed + python;
        let words = p.vocabulary as f64;
        Needs {
            // The text is written, and counted at each of its sizes, before anything is measured.
            seconds: extent.times() * round + bytes * 4e-8 + sizes * count + words * 5e-7,
            memory: bytes * 14.0 + words * 200.0,
            disk: bytes * 1.01 + words * 20.0,
            less: "fewer --bytes, --rounds or --processes, or a faster --network",
        }
    }

    fn instead(p: &Params) -> Option<Result<()>> {
        p.process.map(|me| processes::member(p, me))
    }

    fn measure(p: &Params, session: &mut Session) -> Result<()> {
        let bench = &Bench::new(p, session.seed)?;
        let python = p.ray.then(|| ray::find(session)).flatten();
        let whole = p.bytes;
        let mut plan = session.plan();
        // Without dataflow or processes.
        for size in p.all_sizes() {
            plan.point("one thread", size.f(), move |r| {
                bench.inside(r, size, |source| Ok(one_thread(source)?))
            });
        }
        plan.point("rayon", p.threads as f64, |r| {
            bench.inside(r, whole, |source| Ok(on_pool(source, &bench.pool)?))
        });
        // Calibration, with one process: the wire and the messages by themselves.
        plan.point("loopback", 0.0, move |r| {
            r.gauge(gauges::S_PER_BYTE, wire::loopback(4 * whole.b())?);
            r.gauge(gauges::MESSAGE_S_PER_BYTE, wire::message(whole.b() / PAIR)?);
            Ok(())
        });
        for way in [Way::Raw, Way::Combined, Way::Text] {
            plan.point(&format!("paper/{way}"), 0.0, move |r| bench.on_paper(r, way));
        }
        // One process with threads, then processes; what goes over the wire is every word, or only
        // the counts of each.
        let pair = Shape::of(PAIR, 1);
        for n in p.in_threads() {
            plan.point("threads", n as f64, move |r| {
                bench.group(r, Shape::of(1, n), Way::Combined, whole)
            });
        }
        for n in p.numbers(host::cores()) {
            for way in [Way::Combined, Way::Raw] {
                plan.point(&way.to_string(), n as f64, move |r| {
                    bench.group(r, Shape::of(n, 1), way, whole)
                });
            }
        }
        for size in p.sizes.iter().copied().filter(|s| *s < whole) {
            plan.point("pair", size.f(), move |r| bench.group(r, pair, Way::Combined, size));
        }
        // The text, or the way to it; as fast as this machine can, and over a network.
        let slow = Shape { bandwidth: Some(p.network.f()), ..pair };
        plan.point("text", 0.0, move |r| bench.group(r, pair, Way::Text, whole));
        plan.point("text/network", 0.0, move |r| bench.group(r, slow, Way::Text, whole));
        plan.point("path/network", 0.0, move |r| bench.group(r, slow, Way::Combined, whole));
        plan.point("killed", 0.0, move |r| bench.killed(r, pair));
        if let Some(python) = &python {
            ray::add(&mut plan, python, p, bench);
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
