//! Who sends: this generator, the labs' reqwest client, and programs that others wrote.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use clap::ValueEnum;
use lab_kit::{
    cli::Ended,
    http,
    load::{Closed, Failure, Load, Open, Outcome, Tally},
    os,
    runtimes::{Language, Runtime},
    stop::Stop,
};

use super::servers::BODY;
use crate::{
    target::{Expect, Target},
    wire::Wire,
};

mod output;
pub(super) use output::Reading;

/// The script for aiohttp.
const SCRIPT: &str = include_str!("../../python/aiohttp_load.py");

/// What is not counted at the beginning: connections are opened before anything is.
const WARM_UP: Duration = Duration::from_millis(200);

/// Who sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Tool {
    /// This generator.
    Wire,
    /// The labs' generator with reqwest.
    Reqwest,
    /// wrk, one thread.
    Wrk,
    /// oha, one thread.
    Oha,
    /// hey, one processor.
    Hey,
    /// Python's asyncio and aiohttp.
    Aiohttp,
}

/// How requests follow one another.
#[derive(Clone, Copy, Debug)]
pub(super) enum Pace {
    /// As fast as answers come.
    Closed,
    /// So many a second.
    Rate(u32),
}

/// One turn.
pub(super) struct Job<'a> {
    pub(super) url: &'a str,
    pub(super) connections: u32,
    pub(super) pace: Pace,
    pub(super) length: Duration,
    pub(super) stop: &'a Stop,
}

impl Tool {
    pub(super) fn name(self) -> &'static str {
        match self {
            Tool::Wire => "wire",
            Tool::Reqwest => "reqwest",
            Tool::Wrk => "wrk",
            Tool::Oha => "oha",
            Tool::Hey => "hey",
            Tool::Aiohttp => "aiohttp",
        }
    }

    /// True when it can send so many a second.
    pub(super) fn has_rate(self) -> bool {
        self != Tool::Wrk
    }

    /// How it sends so many a second.
    pub(super) fn way(self) -> &'static str {
        match self {
            Tool::Hey => "each connection at its share of the rate, waiting for its answers",
            _ => "open loop",
        }
    }

    fn how_to_get(self) -> &'static str {
        match self {
            Tool::Wire | Tool::Reqwest => "",
            Tool::Wrk => "apt-get install wrk, or brew install wrk",
            Tool::Oha => "cargo install oha --locked",
            Tool::Hey => "apt-get install hey, or brew install hey",
            Tool::Aiohttp => "python3 -m pip install aiohttp",
        }
    }
}

/// The tools that are here.
pub(super) struct Toolbox {
    tools: Vec<(Tool, PathBuf)>,
    /// The script, where Python can read it.
    script: tempfile::NamedTempFile,
}

impl Toolbox {
    /// Looks for tools; those that are missing are named with how to get them.
    pub(super) fn find(wanted: impl Iterator<Item = Tool>) -> Result<(Toolbox, Vec<String>)> {
        let script = tempfile::NamedTempFile::with_suffix(".py")?;
        fs::write(script.path(), SCRIPT)?;
        let (mut tools, mut missing) = (Vec::new(), Vec::new());
        for tool in wanted {
            let place = match tool {
                Tool::Wire | Tool::Reqwest => Ok(PathBuf::new()),
                Tool::Aiohttp => {
                    Runtime::find(Language::Python).map(|p| p.executable().to_path_buf())
                }
                _ => installed(tool.name(), &[]).ok_or_else(|| tool.how_to_get().into()),
            };
            match place {
                Ok(place) => tools.push((tool, place)),
                Err(how) => missing.push(format!("{} ({how})", tool.name())),
            }
        }
        Ok((Toolbox { tools, script }, missing))
    }

    pub(super) fn tools(&self) -> impl Iterator<Item = Tool> {
        self.tools.iter().map(|(tool, _)| *tool)
    }

    pub(super) fn has(&self, tool: Tool) -> bool {
        self.tools().any(|t| t == tool)
    }

    /// One turn of a tool. A turn in which requests failed is an error: failures are fast.
    pub(super) fn send(&self, tool: Tool, job: &Job) -> Result<Reading> {
        let place = self.tools.iter().find(|(t, _)| *t == tool);
        let program = &place.context("it is not installed")?.1;
        let reading = match tool {
            Tool::Wire => in_this_process(|| wire(job))?,
            Tool::Reqwest => in_this_process(|| reqwest(job))?,
            _ => {
                let before = os::children_usage();
                let text = run(&mut self.command(tool, program, job), job)?;
                let used = os::children_usage().zip(before);
                let reading = match tool {
                    Tool::Wrk => output::wrk(&text),
                    Tool::Oha => output::oha(&text),
                    Tool::Hey => output::hey(&text),
                    _ => output::aiohttp(&text),
                };
                let reading = reading.with_context(|| format!("its output:\n{text}"))?;
                Reading {
                    // Python's start and its imports are not what a request costs; it tells itself.
                    cpu_s: reading.cpu_s.or(used.map(|(after, b)| after.cpu_s - b.cpu_s)),
                    ..reading
                }
            }
        };
        ensure!(
            reading.failed == 0 || job.stop.is_set(),
            "{} of {} requests failed{}",
            reading.failed,
            reading.requests,
            reading.failures
        );
        Ok(reading)
    }

    fn command(&self, tool: Tool, program: &Path, job: &Job) -> Command {
        let mut command = Command::new(program);
        let (n, seconds) = (job.connections, job.length.as_secs_f64());
        let word = |text: String| text;
        match tool {
            Tool::Wrk => {
                // Whole seconds are all it takes.
                let whole = seconds.ceil() as u64;
                command
                    .args(["-t1", "--latency"])
                    .args([word(format!("-c{n}")), word(format!("-d{whole}s"))]);
            }
            Tool::Oha => {
                let ms = job.length.as_millis();
                command
                    .args(["--no-tui", "--output-format", "json", "-c", &n.to_string()])
                    .args(["-z", &format!("{ms}ms")])
                    .env("TOKIO_WORKER_THREADS", "1");
                if let Pace::Rate(rate) = job.pace {
                    command.args(["--latency-correction", "-q", &rate.to_string()]);
                }
            }
            Tool::Hey => {
                let ms = job.length.as_millis();
                command.args(["-cpus", "1", "-c", &n.to_string()]).args(["-z", &format!("{ms}ms")]);
                if let Pace::Rate(rate) = job.pace {
                    // Its rate is that of each connection.
                    let each = f64::from(rate) / f64::from(n);
                    command.args(["-q", &each.to_string()]);
                }
            }
            _ => {
                command
                    .arg(self.script.path())
                    .args(["--connections", &n.to_string()])
                    .args(["--seconds", &seconds.to_string()])
                    .args(["--length", &BODY.len().to_string(), "--url"]);
            }
        }
        command.arg(job.url);
        if let (Tool::Aiohttp, Pace::Rate(rate)) = (tool, job.pace) {
            command.args(["--rate", &rate.to_string()]);
        }
        command
    }
}

/// A program in the folders of `PATH` or in one of these.
pub(super) fn installed(program: &str, others: &[&str]) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let file = format!("{program}{}", std::env::consts::EXE_SUFFIX);
    std::env::split_paths(&path)
        .chain(others.iter().map(PathBuf::from))
        .map(|folder| folder.join(&file))
        .find(|place| place.is_file())
}

/// Runs a program to its end and returns what it printed; ends it when it hangs or the run is stopped.
fn run(command: &mut Command, job: &Job) -> Result<String> {
    // Into files: nobody has to read while it runs.
    let (out, err) = (tempfile::NamedTempFile::new()?, tempfile::NamedTempFile::new()?);
    let start = Instant::now();
    let limit = job.length + Duration::from_secs(30);
    let mut child =
        Ended(command.stdin(Stdio::null()).stdout(out.reopen()?).stderr(err.reopen()?).spawn()?);
    let status = loop {
        if let Some(status) = child.0.try_wait()? {
            break status;
        }
        ensure!(!job.stop.is_set(), "stopped");
        ensure!(start.elapsed() < limit, "no end after {limit:?}");
        std::thread::sleep(Duration::from_millis(20));
    };
    if !status.success() {
        let text = fs::read_to_string(err.path()).unwrap_or_default();
        bail!("it ended with {status}: {}", text.trim());
    }
    Ok(fs::read_to_string(out.path())?)
}

/// The reading of what runs in this process, with the processor time that it took.
fn in_this_process(work: impl FnOnce() -> Result<Reading>) -> Result<Reading> {
    let before = os::usage();
    let reading = work()?;
    let used = os::usage().zip(before);
    Ok(Reading { cpu_s: used.map(|(after, before)| after.cpu_s - before.cpu_s), ..reading })
}

fn closed(job: &Job) -> Closed {
    Closed {
        clients: job.connections as usize,
        warm_up: WARM_UP,
        window: job.length,
        ..Closed::default()
    }
}

fn open(job: &Job, rate: u32) -> Open {
    Open { rate: f64::from(rate), poisson: false, window: job.length, seed: 1 }
}

fn wire(job: &Job) -> Result<Reading> {
    let target = Target::new(job.url, Expect::Length(BODY.len() as u64))?;
    let wire = Wire::new(target, job.stop.clone());
    match job.pace {
        Pace::Closed => reading(wire.closed(closed(job))?),
        Pace::Rate(rate) => {
            let paced = wire.open(open(job, rate), job.connections as usize)?;
            Ok(Reading {
                schedule_error_p99_s: paced.schedule_error.quantile_s(0.99),
                waited: Some(paced.waited),
                ..reading(paced.tally)?
            })
        }
    }
}

/// The same loads as the labs send them: reqwest, on one thread like each of the others.
fn reqwest(job: &Job) -> Result<Reading> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (client, load) = (http::client(), Load::new(job.stop.clone()));
    let url: reqwest::Url = job.url.parse()?;
    let send = move |_| fetch(client.clone(), url.clone());
    reading(match job.pace {
        Pace::Closed => runtime.block_on(load.closed(closed(job), send)),
        Pace::Rate(rate) => runtime.block_on(load.open(open(job, rate), send)),
    })
}

async fn fetch(client: reqwest::Client, url: reqwest::Url) -> Outcome {
    match http::get(&client, url).await {
        Ok(body) if body.len() == BODY.len() => Outcome::Ok,
        Ok(_) => Outcome::Failed(Failure::Body),
        Err(error) => Outcome::of_error(&error),
    }
}

fn reading(tally: Tally) -> Result<Reading> {
    let trial = &tally.trial;
    ensure!(trial.books_close(), "the books do not close");
    let kinds = trial.failures.iter().map(|(kind, n)| format!("{kind} {n}"));
    let kinds = kinds.collect::<Vec<_>>().join(", ");
    Ok(Reading {
        failures: if kinds.is_empty() { kinds } else { format!(" ({kinds})") },
        per_s: tally.goodput_per_s,
        requests: tally.sent,
        failed: trial.offered - trial.ok - trial.aborted,
        p50_s: trial.attempt_latency.quantile_s(0.5),
        p99_s: trial.attempt_latency.quantile_s(0.99),
        max_s: trial.attempt_latency.max_s(),
        ..Reading::default()
    })
}
