//! How many requests a second the load generator sends, against `wrk` and `hey` on the same server
//! in the same run.
//!
//! ```text
//! cargo run --release -p benches --example generator_ceiling
//! ```
//!
//! The server is a bare hyper server, one thread in a process of its own, so that its processor
//! time is not the generator's. Rounds are interleaved and every second one runs backwards: a
//! machine that drifts drifts for all alike. What counts is the ratios; requests a second belong to
//! the machine. Everything stays on loopback and ends after rounds × seconds × contestants.

use std::{
    convert::Infallible,
    io::{BufRead, BufReader, Read, Write},
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use clap::Parser;
use http_body_util::Full;
use hyper::{Response, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use lab_kit::{
    load::{Book, Closed, Load, Outcome},
    os, stats,
    stop::{EXIT_INTERRUPTED, Stop},
};
use tokio::{net::TcpSocket, runtime::Runtime, sync::oneshot, task::JoinSet};

/// Requests a second of the load generator, as a ratio to other generators.
#[derive(Parser)]
struct Args {
    /// Rounds; each contestant runs once a round.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=50))]
    rounds: u32,
    /// Seconds a contestant runs in a round.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=60))]
    seconds: u32,
    /// Connections, each with one request in flight.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=1000))]
    connections: u32,
    /// `serve`: be the server, until standard input ends.
    #[arg(hide = true, value_parser = ["serve"])]
    role: Option<String>,
}

fn main() -> Result<()> {
    let args = Args::parse();
    match args.role {
        Some(_) => serve(),
        None => compare(&args),
    }
}

// ---------------------------------------------------------------------------------- the server

/// Serves until standard input ends: when its parent goes, however it goes, the server goes too.
fn serve() -> Result<()> {
    let (parent_gone, mut gone) = oneshot::channel::<()>();
    std::thread::spawn(move || {
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        drop(parent_gone);
    });
    runtime()?.block_on(async {
        let socket = TcpSocket::new_v4()?;
        socket.bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))?;
        // The usual backlog of 128 drops connections that come all at once.
        let listener = socket.listen(4096)?;
        println!("{}", listener.local_addr()?);
        std::io::stdout().flush()?;
        loop {
            let (stream, _) = tokio::select! {
                accepted = listener.accept() => accepted?,
                _ = &mut gone => return Ok(()),
            };
            stream.set_nodelay(true)?;
            tokio::spawn(async move {
                let answer = service_fn(|_| async {
                    let body = Full::new(Bytes::from_static(mock_server::BODY));
                    Ok::<_, Infallible>(Response::new(body))
                });
                // A client that leaves in the middle of a request ends its own connection only.
                let _ = http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), answer)
                    .await;
            });
        }
    })
}

/// A process that ends with its handle.
struct Owned(Child);

impl Drop for Owned {
    fn drop(&mut self) {
        // Already ended is as good; and nobody is left to tell.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

struct Server {
    process: Owned,
    url: String,
}

impl Server {
    fn start() -> Result<Server> {
        let mut process = Command::new(std::env::current_exe()?)
            .arg("serve")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map(Owned)
            .context("the server does not start")?;
        let stdout = process
            .0
            .stdout
            .take()
            .context("the server has no output")?;
        let mut address = String::new();
        BufReader::new(stdout).read_line(&mut address)?;
        let address: SocketAddr = address
            .trim()
            .parse()
            .context("the server gave no address")?;
        Ok(Server {
            process,
            url: format!("http://{address}/"),
        })
    }

    fn cpu_s(&self) -> Option<f64> {
        cpu_s(&self.process.0.id().to_string(), [11, 12])
    }
}

/// Two fields of proc_pid_stat(5) in seconds, counted from the one after the name: 11 and 12 are a
/// process's own processor time, 13 and 14 that of the children it has waited for. Linux only.
fn cpu_s(process: &str, fields: [usize; 2]) -> Option<f64> {
    let text = std::fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    let values: Vec<&str> = text.rsplit_once(')')?.1.split_whitespace().collect();
    let ticks = fields.map(|i| values.get(i).and_then(|v| v.parse::<f64>().ok()));
    Some((ticks[0]? + ticks[1]?) / 100.0)
}

// ----------------------------------------------------------------------------- the contestants

/// Who sends.
#[derive(Clone, Copy, PartialEq)]
enum Contestant {
    /// The generator of the labs.
    Ours,
    /// The same client in the plainest loop: what is missing here, the generator adds.
    PlainLoop,
    /// `wrk`, one thread.
    Wrk,
    /// `hey`, one processor.
    Hey,
}

impl Contestant {
    const ALL: [Contestant; 4] = [Self::Ours, Self::PlainLoop, Self::Wrk, Self::Hey];

    fn name(self) -> &'static str {
        match self {
            Self::Ours => "Load::closed",
            Self::PlainLoop => "reqwest, plain loop",
            Self::Wrk => "wrk -t1",
            Self::Hey => "hey -cpus 1",
        }
    }

    fn program(self) -> Option<&'static str> {
        match self {
            Self::Ours | Self::PlainLoop => None,
            Self::Wrk => Some("wrk"),
            Self::Hey => Some("hey"),
        }
    }
}

/// What one turn of a contestant gave.
struct Turn {
    per_s: f64,
    /// Processor time a request of the sender and of the server, in seconds.
    sender_cpu_s: Option<f64>,
    server_cpu_s: Option<f64>,
}

/// What a contestant counted: requests a second in the window, and requests in all.
struct Count {
    per_s: f64,
    sent: f64,
}

struct Bench<'a> {
    args: &'a Args,
    server: Server,
    stop: Stop,
}

impl Bench<'_> {
    fn turn(&self, who: Contestant) -> Result<Turn> {
        let cpu = || match who.program() {
            None => os::cpu_seconds(),
            Some(_) => cpu_s("self", [13, 14]),
        };
        let (sender, server) = (cpu(), self.server.cpu_s());
        let count = match who {
            Contestant::Ours => self.ours(),
            Contestant::PlainLoop => self.plain_loop(),
            Contestant::Wrk => self.wrk(),
            Contestant::Hey => self.hey(),
        }
        .with_context(|| who.name())?;
        let each = |before: Option<f64>, after: Option<f64>| Some((after? - before?) / count.sent);
        Ok(Turn {
            per_s: count.per_s,
            sender_cpu_s: each(sender, cpu()),
            server_cpu_s: each(server, self.server.cpu_s()),
        })
    }

    fn plan(&self) -> Closed {
        Closed {
            clients: self.args.connections as usize,
            // Connections are opened before anything is counted.
            warm_up: Duration::from_millis(200),
            window: Duration::from_secs(u64::from(self.args.seconds)),
            ..Closed::default()
        }
    }

    fn ours(&self) -> Result<Count> {
        let runtime = runtime()?;
        let (client, url) = (reqwest::Client::new(), self.server.url.clone());
        let load = Load::new(self.stop.clone());
        let tally =
            runtime.block_on(load.closed(self.plan(), move |_| fetch(client.clone(), url.clone())));
        let trial = &tally.trial;
        ensure!(trial.books_close(), "the books do not close");
        ensure!(
            trial.ok + trial.aborted == trial.offered && trial.ok > 0,
            "{} of {} requests failed: {:?}",
            trial.offered - trial.ok,
            trial.offered,
            trial.failures
        );
        Ok(Count {
            per_s: tally.goodput_per_s,
            sent: tally.sent as f64,
        })
    }

    fn plain_loop(&self) -> Result<Count> {
        let plan = self.plan();
        let (client, url) = (reqwest::Client::new(), &self.server.url);
        let from = Instant::now() + plan.warm_up;
        let until = from + plan.window;
        let (counted, sent) = runtime()?.block_on(async {
            let mut tasks = JoinSet::new();
            for _ in 0..plan.clients {
                let (client, url, stop) = (client.clone(), url.clone(), self.stop.clone());
                tasks.spawn(async move {
                    let (mut counted, mut sent) = (0u64, 0u64);
                    while Instant::now() < until && !stop.is_set() {
                        let outcome = fetch(client.clone(), url.clone()).await;
                        ensure!(outcome == Outcome::Ok, "a request failed: {outcome:?}");
                        sent += 1;
                        let now = Instant::now();
                        counted += u64::from(from <= now && now < until);
                    }
                    Ok((counted, sent))
                });
            }
            let mut sum = (0, 0);
            while let Some(task) = tasks.join_next().await {
                let (counted, sent) = task??;
                sum = (sum.0 + counted, sum.1 + sent);
            }
            anyhow::Ok(sum)
        })?;
        Ok(Count {
            per_s: counted as f64 / plan.window.as_secs_f64(),
            sent: sent as f64,
        })
    }

    fn wrk(&self) -> Result<Count> {
        let seconds = self.args.seconds;
        let text = self.run(Command::new("wrk").args([
            "-t1".into(),
            format!("-c{}", self.args.connections),
            format!("-d{seconds}s"),
            self.server.url.clone(),
        ]))?;
        ensure!(
            !text.contains("Non-2xx") && !text.contains("Socket errors"),
            "requests failed:\n{text}"
        );
        let line = text.lines().find(|l| l.contains(" requests in "));
        let sent = line.and_then(|l| l.split_whitespace().next()?.parse().ok());
        Ok(Count {
            per_s: figure(&text, "Requests/sec:")?,
            sent: sent.with_context(|| format!("no number of requests in\n{text}"))?,
        })
    }

    fn hey(&self) -> Result<Count> {
        let text = self.run(Command::new("hey").args([
            "-cpus".into(),
            "1".into(),
            "-c".into(),
            self.args.connections.to_string(),
            "-z".into(),
            format!("{}s", self.args.seconds),
            self.server.url.clone(),
        ]))?;
        ensure!(
            !text.contains("Error distribution") && text.contains("[200]"),
            "requests failed:\n{text}"
        );
        Ok(Count {
            per_s: figure(&text, "Requests/sec:")?,
            sent: figure(&text, "[200]")?,
        })
    }

    /// Runs another program to its end and returns what it printed; ends it when it hangs or when
    /// the run is stopped.
    fn run(&self, command: &mut Command) -> Result<String> {
        let start = Instant::now();
        let limit = Duration::from_secs(u64::from(self.args.seconds) + 30);
        let mut child = Owned(
            command
                .stdin(Stdio::null())
                .stdout(Stdio::piped())
                .spawn()?,
        );
        // A page of text: it fits the pipe, so the program never waits for its reader.
        while child.0.try_wait()?.is_none() {
            ensure!(!self.stop.is_set(), "stopped");
            ensure!(start.elapsed() < limit, "no end after {limit:?}");
            std::thread::sleep(Duration::from_millis(20));
        }
        let status = child.0.wait()?;
        let mut text = String::new();
        let stdout = child.0.stdout.as_mut().context("it has no output")?;
        stdout.read_to_string(&mut text)?;
        ensure!(status.success(), "it ended with {status}:\n{text}");
        Ok(text)
    }
}

/// One request, as the labs send it.
async fn fetch(client: reqwest::Client, url: String) -> Outcome {
    let answer = async {
        let response = client.get(url).send().await?;
        response.error_for_status()?.bytes().await
    };
    Outcome::of(answer.await)
}

/// The number that follows a word.
fn figure(text: &str, word: &str) -> Result<f64> {
    let rest = text.split_once(word).map(|(_, rest)| rest);
    let number = rest.and_then(|r| r.split_whitespace().next()?.parse().ok());
    number.with_context(|| format!("no {word} in\n{text}"))
}

fn installed(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let file = format!("{program}{}", std::env::consts::EXE_SUFFIX);
    let mut places = std::env::split_paths(&path).map(|dir: PathBuf| dir.join(&file));
    places.any(|place| place.is_file())
}

/// Everything on one thread, like each of the others.
fn runtime() -> Result<Runtime> {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    Ok(builder.enable_all().build()?)
}

// ------------------------------------------------------------------------------ the comparison

fn compare(args: &Args) -> Result<()> {
    let stop = Stop::on_signals()?;
    if cfg!(debug_assertions) {
        eprintln!("note: this is a debug build; figures of the generator need `--release`");
    }
    let mut contestants = Contestant::ALL.to_vec();
    contestants.retain(|who| match who.program() {
        Some(program) if !installed(program) => {
            println!("{program} is not installed here: left out");
            false
        }
        _ => true,
    });

    let recording = recording_ns();
    let bench = Bench {
        args,
        server: Server::start()?,
        stop,
    };
    let mut rounds: Vec<Vec<Turn>> = Vec::new();
    for round in 0..args.rounds {
        eprintln!("round {} of {}", round + 1, args.rounds);
        match bench.round(&contestants, round % 2 == 1) {
            Ok(turns) => rounds.push(turns),
            // The round that was cut short says nothing; the ones before it stand.
            Err(_) if bench.stop.is_set() => break,
            Err(error) => return Err(error),
        }
        if bench.stop.is_set() {
            break;
        }
    }
    let interrupted = bench.stop.is_set();
    drop(bench);
    if !rounds.is_empty() {
        report(&contestants, &rounds, recording, args);
    }
    if interrupted {
        std::process::exit(EXIT_INTERRUPTED);
    }
    Ok(())
}

impl Bench<'_> {
    /// A turn for each, in the order of the contestants whatever the order in time.
    fn round(&self, contestants: &[Contestant], backwards: bool) -> Result<Vec<Turn>> {
        let mut order: Vec<usize> = (0..contestants.len()).collect();
        if backwards {
            order.reverse();
        }
        let mut turns = Vec::new();
        for i in order {
            turns.push((i, self.turn(contestants[i])?));
            ensure!(!self.stop.is_set(), "stopped");
        }
        turns.sort_by_key(|(i, _)| *i);
        Ok(turns.into_iter().map(|(_, turn)| turn).collect())
    }
}

/// Nanoseconds for one outcome in the books, with the clock read for each entry: median of nine.
fn recording_ns() -> f64 {
    const OUTCOMES: u32 = 100_000;
    let samples: Vec<f64> = (0..9)
        .map(|_| {
            let origin = Instant::now();
            let book = Book::new(origin, Some((origin, origin + Duration::from_secs(3600))));
            for _ in 0..OUTCOMES {
                let sent = Instant::now();
                book.enter(sent);
                book.leave(sent, Instant::now(), Outcome::Ok, true);
            }
            origin.elapsed().as_nanos() as f64 / f64::from(OUTCOMES)
        })
        .collect();
    stats::median(&samples)
}

fn report(contestants: &[Contestant], rounds: &[Vec<Turn>], recording_ns: f64, args: &Args) {
    println!(
        "{} connections, one request in flight on each; {} rounds of {} s; one-threaded server",
        args.connections,
        rounds.len(),
        args.seconds
    );
    println!();
    println!(
        "{:<20} {:>10} {:>18} {:>18} {:>18}",
        "", "requests/s", "ratio (min–max)", "sender CPU (busy)", "server CPU (busy)"
    );
    for (i, who) in contestants.iter().enumerate() {
        let over = |value: &dyn Fn(&[Turn]) -> f64| -> Vec<f64> {
            rounds.iter().map(|round| value(round)).collect()
        };
        let ratio = match who {
            Contestant::Ours => "1".to_string(),
            _ => span(&over(&|round| round[0].per_s / round[i].per_s)),
        };
        println!(
            "{:<20} {:>10.0} {:>18} {:>18} {:>18}",
            who.name(),
            stats::median(&over(&|round| round[i].per_s)),
            ratio,
            cpu(rounds
                .iter()
                .map(|round| (&round[i], round[i].sender_cpu_s))),
            cpu(rounds
                .iter()
                .map(|round| (&round[i], round[i].server_cpu_s))),
        );
    }
    let own: Vec<f64> = rounds.iter().map(|r| 1e9 / r[0].per_s).collect();
    println!();
    println!(
        "An outcome recorded: {recording_ns:.0} ns with both clock readings, {:.1} % of the {:.1} µs that a request takes at the ceiling.",
        100.0 * recording_ns / stats::median(&own),
        stats::median(&own) / 1e3
    );
    println!(
        "Ratio: requests/s of Load::closed over that of the line, round by round; median (min–max)."
    );
    println!("CPU: processor time a request, and the share of a processor that this keeps busy.");
    println!(
        "A busy server sets the ceiling itself; where neither side is busy, other work had the processors: run again when the machine is idle."
    );
}

/// Median processor time a request and the share of a processor, or that the system does not tell.
fn cpu<'a>(turns: impl Iterator<Item = (&'a Turn, Option<f64>)>) -> String {
    let told = turns.map(|(turn, cpu_s)| cpu_s.map(|s| (s * 1e6, s * turn.per_s * 100.0)));
    let Some(told) = told.collect::<Option<Vec<_>>>() else {
        return "unknown".into();
    };
    let (micros, busy): (Vec<f64>, Vec<f64>) = told.into_iter().unzip();
    format!(
        "{:.1} µs ({:.0} %)",
        stats::median(&micros),
        stats::median(&busy)
    )
}

/// Median and range.
fn span(values: &[f64]) -> String {
    let low = values.iter().copied().fold(f64::INFINITY, f64::min);
    let high = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    format!("{:.2} ({low:.2}–{high:.2})", stats::median(values))
}
