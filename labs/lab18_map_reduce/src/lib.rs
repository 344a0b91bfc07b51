//! # Map and reduce
//!
//! ## The question
//!
//! When does distributing pay?
//!
//! ## What to predict
//!
//! The words of a text are to be counted. One thread can do that; so can two processes that each
//! count a half, exchange what they have and add it up, every word at its owner. If the machine has
//! two processors, how many times faster are the two? How many fewer bytes do they exchange if each
//! adds up its own words first? And how much text must there be until two processes pay that have
//! to be started for it?
//!
//! ## The experiment
//!
//! A text is made from a seed, with words as frequent as Zipf's law says, and lies in a file. It is
//! counted by
//!
//! - **one thread**, and **rayon**, in the lab's own process (`count.rs`);
//! - a **dataflow** (timely, `dataflow.rs`) with one process and with several (`--processes`),
//!   which are this program, started again and connected by TCP (`processes.rs`). *Raw*: each word
//!   is sent to its owner as a pair (word, 1). *Combined*: each process counts first and sends a
//!   pair for each different word;
//! - two processes that are **sent the text** by the first one, against two that are **sent the
//!   path** and read for themselves: here, and over a wire as slow as a network, {network} a
//!   second.
//!
//! The clock is the same everywhere. The file is in the memory of the system; threads, processes
//! and connections are there and have done one job; from the order until the counts are complete.
//! What it takes to start and connect processes is measured as well, and shown apart. Every arm's
//! counts are compared with those of one thread: another count would be an error, not a result.
//! Every worker has a processor of its own, where the system takes such wishes (`seats.rs`): left
//! alone, it may put two processes that get their orders one after the other on the same one, for a
//! part of the job.
//!
//! Bytes are counted at the sockets; a message times its own serialization. In the last arm a process
//! is killed in mid-job.
//!
//! ## What the figures show
//!
//! `T(n) = map/n_eff + bytes·(serialize + wire + deserialize) + reduce + what an empty job takes`
//!
//! Amdahl's law for `n` processes, with a price for what they send each other. What a byte and a
//! pair cost is measured with *one* process: the seconds a byte takes to be counted, a pair to be
//! made, written, read and added up. What several take is then a prediction. A text that is sent
//! costs more than its wire: it is one long message, which is copied into memory that is new to
//! the process, at either end. Two measurements with `n`, in other arms than the one that is
//! predicted, go into it as well: what an empty job takes, and `n_eff`, the processors that `n`
//! threads are worth which only read and count (they share caches and memory).
//!
//! Combining is the whole art. Raw, every word costs a string, a place in a message, a string again
//! at the far side, and a look into a table; the bytes on the wire are more than the text. Raw, one
//! process is slower than one thread that just counts. So it takes several processors only to catch
//! up with that thread. Counting first leaves one pair for each different word. By Zipf's law their
//! number grows far more slowly than the text (`Σ (1 − (1 − p)^words)`, over the probabilities `p`
//! of the words), so combining is worth the more the more text there is. And what dominates is not
//! the network: on loopback a byte on the wire costs less than the strings it is made of.
//! "Network-bound" programs are often bound by what they do to their bytes.
//!
//! A job has a part that no number of processes makes shorter, and processes take time to start. So
//! there is a size below which distributing is slower, one for processes that run already, and a
//! much larger one for those that must be started first. Theory gives both.
//!
//! ## A common belief
//!
//! *Distributing speeds up.* Two processes that are *sent the path* are faster than one; two that
//! are *sent the text* may not be. What decides is a ratio: the seconds a byte takes to be sent
//! against those it takes to be counted. Through loopback a byte takes a fraction of its counting,
//! and two processes that are sent the text still gain. Over a slow wire it takes as long as the
//! counting or longer, and they gain nothing. (Re-made in Python, where pickling plays the part of
//! the network: `python/lab18.py`, which `--ray` runs.) Sent the path, the wire hardly
//! matters. Move the computation to the data.
//!
//! ## In production
//!
//! First measure one thread; then all processors of one machine, which costs no serialization at all.
//! Distribute when the data no longer fit, or are elsewhere already. Then let everybody read their own
//! share, combine before the shuffle, and watch the largest share: the slowest host decides. The last
//! figure is a simulation of such a cluster, with what it assumes.
//!
//! All processes must hash alike, with a fixed seed, or a word has two owners. Choose the owner by
//! other bits of the hash than the table does, or each table fills only every n-th place.
//!
//! A dataflow like this one is *fail-stop*: when a process ends, its connections end, and so do all
//! others. Nothing is repaired; the job runs again. That is a good bargain for minutes of work, if its
//! output is whole or absent: written to another name, flushed to the disk, renamed at the end. Jobs of
//! hours need checkpoints, or tasks that are repeated one by one, as in MapReduce, Spark or Ray; lab19
//! and its queue are the other way.
//!
//! The same program runs on several hosts. Put their addresses into a file, one `host:port` a line, the
//! same on each, and run on the i-th, counted from 0:
//!
//! ```text
//! lab18 --hosts hosts.txt --process 0 --bytes 256MB --output counts.txt
//! lab18 --hosts hosts.txt --process 1 --bytes 256MB
//! ```
//!
//! Each makes the same text for itself, or takes `--corpus FILE`; `--way raw` and `--way text` show what
//! your network makes of them. The connections are neither encrypted nor authenticated: a private
//! network only.
//!
//! ## Check yourself
//!
//! - With `--vocabulary 1000000 --exponent 0.5` words seldom come twice. What is left to combine, and
//!   what does T(n) say then?
//! - How fast must a network be so that sending the text to one other process pays? To a hundred?
//! - Rayon shares one memory. Which terms of T(n) has it not got, and which has it nevertheless?
//! - A process is killed after it has renamed the output and before the others know. Is the output
//!   whole? Does it matter that the job counts as failed?

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::Context;
use lab_kit::{host, prelude::*};

mod bench;
pub mod corpus;
pub mod count;
pub mod dataflow;
mod findings;
mod model;
mod premise;
mod processes;
mod ray;
pub mod wire;

use bench::Bench;
use corpus::{Law, Source};
use count::{on_pool, one_thread};
use dataflow::Way;
use processes::Shape;

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
const PAIR: usize = 2;
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

    fn law(&self) -> Law {
        Law {
            vocabulary: self.vocabulary,
            exponent: self.exponent,
        }
    }

    /// Numbers of processes; one, which theory is calibrated with, is always among them.
    fn numbers(&self) -> Vec<usize> {
        let doubling = std::iter::successors(Some(1), |n| Some(2 * n));
        let most = (2 * host::cores()).clamp(PAIR, 8);
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
        let mut all = self.numbers();
        all.push(self.threads);
        all.retain(|n| *n > 1 || self.threads == 1);
        all.sort_unstable();
        all.dedup();
        all
    }

    /// Sizes at which two processes are compared with one thread, the smallest first.
    fn all_sizes(&self) -> Vec<Size> {
        let mut all = self.sizes.clone();
        all.retain(|s| *s < self.bytes);
        all.push(self.bytes);
        all.sort_unstable();
        all.dedup();
        all
    }

    /// The text of a process that nobody leads.
    fn source_of_a_host(&self, folder: &Path) -> Result<Source> {
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
        sources: lab_kit::sources!["lib.rs", "dataflow.rs"],
        answers: include_str!("../answers.md"),
        sizes: Sizes {
            smoke: &[
                "--bytes",
                "128KB",
                "--sizes",
                "16KB",
                "--processes",
                "1,2",
                "--rounds",
                "1",
            ],
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
        let (numbers, threads) = (p.numbers(), p.in_threads());
        let inside = jobs * count * (sizes + bytes);
        let paper = 2.0 * bytes * (raw / 2.0 + 2.0 * count) + bytes * 5e-9;
        let alone: f64 = threads
            .iter()
            .map(|n| group(*n, count, bytes) - started(*n) + started(1))
            .sum();
        let processes: f64 = numbers
            .iter()
            .map(|n| group(*n, count, bytes) + group(*n, raw, bytes))
            .sum();
        let pairs: f64 = p
            .sizes
            .iter()
            .filter(|s| **s < p.bytes)
            .map(|s| group(PAIR, count, s.f()))
            .sum();
        let slow = jobs * bytes / 2.0 / p.network.f();
        let text = 3.0 * group(PAIR, count, bytes) + 1.2 * slow;
        let killed = 2.0 * group(PAIR, raw, bytes) + 0.2;
        let python = if p.ray {
            6.0 + jobs * 6.0 * bytes * 2e-7
        } else {
            0.0
        };
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
            r.gauge("s_per_byte", wire::loopback(4 * whole.b())?);
            r.gauge("message_s_per_byte", wire::message(whole.b() / PAIR)?);
            Ok(())
        });
        for way in [Way::Raw, Way::Combined, Way::Text] {
            plan.point(&format!("paper/{way}"), 0.0, move |r| {
                bench.on_paper(r, way)
            });
        }
        // One process with threads, then processes; what goes over the wire is every word, or only
        // the counts of each.
        let pair = Shape::of(PAIR, 1);
        for n in p.in_threads() {
            plan.point("threads", n as f64, move |r| {
                bench.group(r, Shape::of(1, n), Way::Combined, whole)
            });
        }
        for n in p.numbers() {
            for way in [Way::Combined, Way::Raw] {
                plan.point(&way.to_string(), n as f64, move |r| {
                    bench.group(r, Shape::of(n, 1), way, whole)
                });
            }
        }
        for size in p.sizes.iter().copied().filter(|s| *s < whole) {
            plan.point("pair", size.f(), move |r| {
                bench.group(r, pair, Way::Combined, size)
            });
        }
        // The text, or the way to it; as fast as this machine can, and over a network.
        let slow = Shape {
            bandwidth: Some(p.network.f()),
            ..pair
        };
        plan.point("text", 0.0, move |r| bench.group(r, pair, Way::Text, whole));
        plan.point("text/network", 0.0, move |r| {
            bench.group(r, slow, Way::Text, whole)
        });
        plan.point("path/network", 0.0, move |r| {
            bench.group(r, slow, Way::Combined, whole)
        });
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
