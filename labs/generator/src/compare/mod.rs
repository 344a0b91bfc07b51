//! `labs bench-generator`: this generator beside others, in one run, on the same servers.
//!
//! - [`record`]: what was measured, and tables and a chart as pure functions of it.
//! - `servers`: a bare hyper server in a process of its own, and nginx.
//! - `tools`: who sends, how each is called, and what it prints.

pub mod record;
mod servers;
mod tools;

use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant, SystemTime},
};

use anyhow::{Context, Result, ensure};
use clap::{ArgMatches, CommandFactory, FromArgMatches, Parser, ValueEnum};
use lab_kit::{
    args::Time,
    cli::{self, Extra, Failed, say},
    draw::{Theme, draw},
    host,
    load::{Book, Outcome, Part},
    os,
    report::text_table,
    seats::{seats, sit},
    stats,
    stop::Stop,
    store,
};

use record::{Comparison, Kind, Row, SCHEMA, Turn};
use servers::{Freeze, Server, ServerKind};
use tools::{Job, Pace, Tool, Toolbox};

/// The command.
pub const COMMAND: Extra = Extra {
    command: Args::command,
    run: |matches: &ArgMatches| {
        let args = Args::from_arg_matches(matches).map_err(|e| Failed::Usage(e.to_string()))?;
        run(args)
    },
};

/// The record's file.
const RECORD: &str = "generator.json";

/// Arrivals a second of the stall test.
const STALL_RATE: u32 = 200;
/// How long its server answers before it freezes, how long it freezes, how long the load goes on.
const STALL: (Duration, Duration, Duration) =
    (Duration::from_secs(2), Duration::from_secs(1), Duration::from_secs(5));

/// Holds the load generator against others, on the same servers in the same run
///
/// wrk, hey, oha, Python's aiohttp and nginx take part if they are installed. Everything is on
/// loopback; servers run on one processor and generators on another where the system lets them be
/// told so. Rounds are interleaved and every second one runs backwards: a machine that drifts drifts
/// for all alike. What counts is the ratios; requests a second belong to the machine.
#[derive(Parser, Debug)]
#[command(name = "bench-generator")]
struct Args {
    /// Connections, each with one request in flight
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=1000))]
    connections: u32,
    /// How long each runs in a round, from 100ms to 60s
    #[arg(long, default_value = "2s", value_parser = turn_length)]
    duration: Time,
    /// Rounds; each runs once a round
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=50))]
    rounds: u32,
    /// Arrivals a second of the open loop
    #[arg(long, default_value_t = 5000, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    rate: u32,
    /// Hold it against these only; may be repeated [default: all that are installed]
    #[arg(long, value_enum, value_delimiter = ',')]
    only: Vec<Tool>,
    /// Only on this server; may be repeated [default: all that are installed]
    #[arg(long, value_enum, value_delimiter = ',')]
    server: Vec<ServerKind>,
    /// Only this part; may be repeated [default: all]
    #[arg(long, value_enum, value_delimiter = ',')]
    part: Vec<Kind>,
    /// Folder of results; the record and its chart go to DIR/instrument
    #[arg(long, value_name = "DIR", default_value = "results/local")]
    out: PathBuf,
    /// Measure nothing: tables and chart again, of the record in DIR/instrument
    #[arg(long, conflicts_with_all = ["connections", "duration", "rounds", "rate", "only", "server", "part"])]
    again: bool,
    /// Print the record as JSON and nothing else
    #[arg(long)]
    json: bool,
    /// Be the bare server, until standard input ends
    #[arg(long, hide = true)]
    serve: bool,
    /// The bare server freezes so long after its first request
    #[arg(long, hide = true, requires = "freeze_for")]
    freeze_after: Option<Time>,
    /// It freezes for so long
    #[arg(long, hide = true, requires = "freeze_after")]
    freeze_for: Option<Time>,
}

fn turn_length(text: &str) -> Result<Time, String> {
    let time: Time = text.parse()?;
    match time.s() {
        0.1..=60.0 => Ok(time),
        _ => Err("a turn takes from 100ms to 60s".into()),
    }
}

fn run(args: Args) -> Result<(), Failed> {
    if args.serve {
        let freeze = args.freeze_after.zip(args.freeze_for);
        let freeze = freeze
            .map(|(after, length)| Freeze { after: after.duration(), length: length.duration() });
        return Ok(servers::serve(freeze)?);
    }
    let folder = args.out.join("instrument");
    if args.again {
        let mut comparison = kept(&folder)?;
        comparison.tables = comparison.tables();
        keep(&folder, &comparison)?;
        return show(&comparison, args.json);
    }
    store::prepare(&folder)?;
    let stop = Stop::on_signals()?;
    if cfg!(debug_assertions) {
        say("note: this is a debug build; figures of the generator need --release");
    }
    os::raise_open_file_limit();

    let mut bench = Bench::new(&args, stop)?;
    let measured = bench.measure();
    let comparison = bench.record;
    if bench.stop.is_set() && comparison.rows.is_empty() {
        return Err(Failed::Interrupted);
    }
    // What was complete before an error is worth as much as without it.
    if !comparison.rows.is_empty() {
        keep(&folder, &comparison)?;
        show(&comparison, args.json)?;
    }
    if bench.stop.is_set() {
        return Err(Failed::Interrupted);
    }
    Ok(measured?)
}

/// The record of an earlier run.
fn kept(folder: &Path) -> Result<Comparison> {
    let path = folder.join(RECORD);
    let text = std::fs::read(&path).with_context(|| {
        format!("cannot read {}: `labs bench-generator` measures one", path.display())
    })?;
    let comparison: Comparison = serde_json::from_slice(&text)
        .with_context(|| format!("{} is not a record of bench-generator", path.display()))?;
    ensure!(
        comparison.schema == SCHEMA,
        "{} has schema {}, and this program reads {SCHEMA}",
        path.display(),
        comparison.schema
    );
    Ok(comparison)
}

/// Writes the record and its chart.
fn keep(folder: &Path, comparison: &Comparison) -> Result<()> {
    let mut json = serde_json::to_vec_pretty(comparison)?;
    json.push(b'\n');
    let path = folder.join(RECORD);
    store::write_whole(&path, &json)?;
    say(format!("{} written", path.display()));
    if let Some(figure) = comparison.figure() {
        let drawing = draw(&figure, "instrument")?;
        let svg = folder.join("generator.svg");
        store::write_whole(&svg, drawing.svg.as_bytes())?;
        store::write_whole(&svg.with_extension("png"), &drawing.png(Theme::Light, 2.0)?)?;
        say(format!("{} and .png written", svg.display()));
    }
    Ok(())
}

fn show(comparison: &Comparison, json: bool) -> Result<(), Failed> {
    if json {
        return cli::pretty(comparison);
    }
    let tables: Vec<String> = comparison.tables.iter().map(text_table).collect();
    let mut text = tables.join("\n");
    for missing in &comparison.missing {
        text.push_str(&format!("\nleft out: {missing}"));
    }
    if !comparison.missing.is_empty() {
        text.push('\n');
    }
    Ok(cli::print(text)?)
}

struct Bench<'a> {
    args: &'a Args,
    stop: Stop,
    toolbox: Toolbox,
    servers: Vec<ServerKind>,
    record: Comparison,
}

/// Who sends in one part, and how.
struct Entry {
    tool: Tool,
    note: &'static str,
    pace: Pace,
    connections: u32,
}

impl<'a> Bench<'a> {
    fn new(args: &'a Args, stop: Stop) -> Result<Bench<'a>> {
        let wanted =
            |tool: &Tool| *tool == Tool::Wire || args.only.is_empty() || args.only.contains(tool);
        let tools = Tool::value_variants().iter().copied().filter(wanted);
        let (toolbox, mut missing) = Toolbox::find(tools)?;
        let mut servers = match args.server.is_empty() {
            true => ServerKind::value_variants().to_vec(),
            false => args.server.clone(),
        };
        if servers.iter().any(|s| *s != ServerKind::Hyper) && servers::nginx().is_none() {
            missing.push(
                "nginx (apt-get install nginx-light, or brew install nginx; it is never started as a service by this)"
                    .into(),
            );
            servers.retain(|s| *s == ServerKind::Hyper);
        }
        // Neither takes turns with the other.
        let pinned = match seats().as_slice() {
            [server, generator, ..] => Some((*server, *generator)),
            _ => None,
        };
        let record = Comparison {
            schema: SCHEMA,
            command: std::env::args().skip(1).collect::<Vec<_>>().join(" "),
            started_at: humantime::format_rfc3339_seconds(SystemTime::now()).to_string(),
            interrupted: false,
            system: format!("{} {}", std::env::consts::OS, std::env::consts::ARCH),
            cpu: os::cpu_model(),
            cores: host::cores(),
            build: if cfg!(debug_assertions) { "debug" } else { "release" }.into(),
            pinned,
            connections: args.connections,
            duration_s: args.duration.s(),
            rate: args.rate,
            recording_ns: recording_ns(),
            missing,
            rows: Vec::new(),
            tables: Vec::new(),
        };
        Ok(Bench { args, stop, toolbox, servers, record })
    }

    /// Every part that was asked for. What is complete is in the record, whatever happens.
    fn measure(&mut self) -> Result<()> {
        let parts = match self.args.part.is_empty() {
            true => Kind::value_variants().to_vec(),
            false => self.args.part.clone(),
        };
        if parts.contains(&Kind::Stall) && !self.servers.contains(&ServerKind::Hyper) {
            let why = "the stall test (it needs a server that can be frozen: --server hyper)";
            self.record.missing.push(why.into());
        }
        let mut result = Ok(());
        'parts: for part in parts {
            for server in self.servers.clone() {
                let needless = match part {
                    Kind::Throughput => false,
                    // One server is enough, and it is none's ceiling.
                    Kind::Open => server != self.servers[0],
                    // Only this one can be frozen.
                    Kind::Stall => server != ServerKind::Hyper,
                };
                if needless {
                    continue;
                }
                result = match part {
                    Kind::Throughput | Kind::Open => self.rounds(part, server),
                    Kind::Stall => self.stall(),
                };
                if result.is_err() || self.stop.is_set() {
                    break 'parts;
                }
            }
        }
        self.record.interrupted = self.stop.is_set();
        self.record.tables = self.record.tables();
        result
    }

    fn rounds(&mut self, part: Kind, server: ServerKind) -> Result<()> {
        let pace = match part {
            Kind::Open => Pace::Rate(self.args.rate),
            _ => Pace::Closed,
        };
        let entries: Vec<Entry> = self
            .toolbox
            .tools()
            .filter(|tool| part == Kind::Throughput || tool.has_rate())
            .map(|tool| Entry {
                tool,
                note: if part == Kind::Open { tool.way() } else { "" },
                pace,
                connections: self.args.connections,
            })
            .collect();
        let running = self.start(server, None)?;
        let mut rows: Vec<Row> = entries.iter().map(|e| row(part, server, e)).collect();
        // What failed once is not asked again, and its turns before are no figure.
        let mut gone = Vec::new();
        for round in 0..self.args.rounds {
            let mut order: Vec<usize> = (0..entries.len()).filter(|i| !gone.contains(i)).collect();
            if round % 2 == 1 {
                order.reverse();
            }
            let mut turns = Vec::new();
            for i in order {
                let tool = entries[i].tool;
                say(format!(
                    "{} on {}: round {} of {}, {}",
                    part.name(),
                    server.name(),
                    round + 1,
                    self.args.rounds,
                    tool.name()
                ));
                match self.turn(&entries[i], &running, self.args.duration.duration()) {
                    Ok(turn) => turns.push((i, turn)),
                    // A round that was cut short says nothing; those before it stand.
                    Err(_) if self.stop.is_set() => break,
                    // Without ours there is nothing to hold the others against.
                    Err(error) if tool == Tool::Wire => return Err(error.context(tool.name())),
                    Err(error) => {
                        let (name, server) = (tool.name(), server.name());
                        let why = format!("{name} on {server}: {error:#}");
                        say(format!("left out: {why}"));
                        self.record.missing.push(why);
                        gone.push(i);
                    }
                }
            }
            if self.stop.is_set() {
                break;
            }
            for (i, turn) in turns {
                rows[i].turns.push(turn);
            }
        }
        for i in gone {
            rows[i].turns.clear();
        }
        rows.retain(|row| !row.turns.is_empty());
        self.record.rows.extend(rows);
        Ok(())
    }

    /// The same load for each on a server of its own that freezes once.
    fn stall(&mut self) -> Result<()> {
        let (after, length, whole) = STALL;
        let at_rate = Pace::Rate(STALL_RATE);
        let entries = [
            (Tool::Wire, "open loop, 200/s", at_rate, self.args.connections),
            (Tool::Oha, "open loop, 200/s", at_rate, self.args.connections),
            (Tool::Hey, "200/s, one connection waits its turn", at_rate, 1),
            (
                Tool::Wrk,
                "closed loop; corrects its latencies afterwards",
                Pace::Closed,
                self.args.connections,
            ),
            (Tool::Wire, "closed loop", Pace::Closed, self.args.connections),
        ];
        let entries: Vec<Entry> = entries
            .into_iter()
            .filter(|(tool, ..)| self.toolbox.has(*tool))
            .map(|(tool, note, pace, connections)| Entry { tool, note, pace, connections })
            .collect();
        for entry in entries {
            say(format!(
                "a server that stands still for 1 s: {}, {}",
                entry.tool.name(),
                entry.note
            ));
            let running = self.start(ServerKind::Hyper, Some(Freeze { after, length }))?;
            let turn = self.turn(&entry, &running, whole);
            if self.stop.is_set() {
                return Ok(());
            }
            let mut row = row(Kind::Stall, ServerKind::Hyper, &entry);
            row.turns.push(turn.with_context(|| entry.tool.name())?);
            self.record.rows.push(row);
        }
        Ok(())
    }

    fn start(&self, server: ServerKind, freeze: Option<Freeze>) -> Result<Server> {
        let _seated = sit(self.record.pinned.map(|(server, _)| server));
        Server::start(server, freeze, &self.stop)
    }

    fn turn(&self, entry: &Entry, server: &Server, length: Duration) -> Result<Turn> {
        let job = Job {
            url: &server.url,
            connections: entry.connections,
            pace: entry.pace,
            length,
            stop: &self.stop,
        };
        let before = server.cpu_s();
        let reading = {
            let _seated = sit(self.record.pinned.map(|(_, generator)| generator));
            self.toolbox.send(entry.tool, &job)?
        };
        let after = server.cpu_s();
        ensure!(!self.stop.is_set(), "stopped");
        ensure!(reading.requests > 0, "it sent nothing");
        let each = |cpu_s: Option<f64>| cpu_s.map(|s| s * 1e6 / reading.requests as f64);
        Ok(Turn {
            per_s: reading.per_s,
            cpu_us: each(reading.cpu_s),
            server_cpu_us: each(before.zip(after).map(|(b, a)| a - b)),
            p50_ms: reading.p50_s.map(|s| s * 1e3),
            p99_ms: reading.p99_s.map(|s| s * 1e3),
            max_ms: reading.max_s.map(|s| s * 1e3),
            schedule_error_p99_ms: reading.schedule_error_p99_s.map(|s| s * 1e3),
            waited: reading.waited,
        })
    }
}

fn row(part: Kind, server: ServerKind, entry: &Entry) -> Row {
    Row {
        part,
        server: server.name().into(),
        tool: entry.tool.name().into(),
        note: entry.note.into(),
        turns: Vec::new(),
    }
}

/// Nanoseconds for one outcome in the books of a closed loop, the reading of the clock included:
/// median of nine.
fn recording_ns() -> f64 {
    const OUTCOMES: u32 = 100_000;
    let samples: Vec<f64> = (0..9)
        .map(|_| {
            let origin = Instant::now();
            let window = (origin, origin + Duration::from_secs(3600));
            let (book, mut part) = (Book::new(origin, Some(window)), Part::default());
            let mut start = origin;
            for _ in 0..OUTCOMES {
                book.enter(start);
                let end = Instant::now();
                book.leave(start, end, Outcome::Ok, start >= window.0);
                part.add(window, start, end, Outcome::Ok);
                start = end;
            }
            book.add(part);
            origin.elapsed().as_nanos() as f64 / f64::from(OUTCOMES)
        })
        .collect();
    stats::median(&samples)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_that_cannot_be_drawn_again_says_why() {
        let dir = tempfile::tempdir().unwrap();
        let told = || format!("{:#}", kept(dir.path()).unwrap_err());
        assert!(told().contains("measures one"), "{}", told());
        let path = dir.path().join(RECORD);
        std::fs::write(&path, "{\"schema\": 1, \"command\"").unwrap();
        assert!(told().contains("is not a record"), "{}", told());
        let committed = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("../../results/reference/instrument")
            .join(RECORD);
        let good = std::fs::read_to_string(committed).unwrap();
        std::fs::write(&path, good.replace("\"schema\": 1", "\"schema\": 99")).unwrap();
        assert!(told().contains("schema 99"), "{}", told());
        std::fs::write(&path, &good).unwrap();
        let record = kept(dir.path()).unwrap();
        keep(dir.path(), &record).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), good);
    }
}
