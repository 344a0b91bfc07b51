//! What was measured, and what follows from it: tables and a chart.

use clap::ValueEnum;
use lab_kit::{
    figure::{Axis, BarGroup, Bars, Body, Colour, Figure, Unit, ValueBar},
    findings::Table,
    stats,
};
use serde::{Deserialize, Serialize};

/// Version of the format.
pub const SCHEMA: u32 = 1;

/// The tool that the others are held against.
const OURS: &str = "wire";

/// One comparison.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Comparison {
    /// [`SCHEMA`] of the program that wrote it.
    pub schema: u32,
    /// The command that repeats it.
    pub command: String,
    /// UTC, RFC 3339.
    pub started_at: String,
    /// True when it was stopped early: rounds that are here are complete.
    pub interrupted: bool,
    /// Operating system and architecture.
    pub system: String,
    /// Name of the processor, where the system tells.
    pub cpu: Option<String>,
    /// Processors this process may use.
    pub cores: usize,
    /// "release" or "debug".
    pub build: String,
    /// Processors of servers and generators, where they are pinned.
    pub pinned: Option<(usize, usize)>,
    /// Connections of every tool.
    pub connections: u32,
    /// Length of a turn, in seconds.
    pub duration_s: f64,
    /// Arrivals a second of the open loop.
    pub rate: u32,
    /// One outcome in the books with the reading of the clock, in nanoseconds.
    pub recording_ns: f64,
    /// What was left out, and how to get it.
    pub missing: Vec<String>,
    /// Measurements.
    pub rows: Vec<Row>,
    /// What the rows say; computed from them alone.
    pub tables: Vec<Table>,
}

/// What a part asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// How many requests a second, as fast as answers come.
    Throughput,
    /// Latency at a fixed rate.
    Open,
    /// Who notices a server that stands still for a second.
    Stall,
}

impl Kind {
    pub(super) fn name(self) -> &'static str {
        match self {
            Kind::Throughput => "throughput",
            Kind::Open => "open loop",
            Kind::Stall => "stall",
        }
    }
}

/// One tool on one server.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Row {
    /// Which question.
    pub part: Kind,
    /// "hyper", "nginx".
    pub server: String,
    /// "wire", "wrk".
    pub tool: String,
    /// How it sends.
    pub note: String,
    /// One a round.
    pub turns: Vec<Turn>,
}

/// What one turn gave. What a tool or the system does not tell is `None`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Turn {
    /// Successes a second.
    pub per_s: f64,
    /// Processor time of the sender for a request, in microseconds.
    pub cpu_us: Option<f64>,
    /// The same of the server.
    pub server_cpu_us: Option<f64>,
    /// Latency, in milliseconds.
    pub p50_ms: Option<f64>,
    /// Latency, in milliseconds.
    pub p99_ms: Option<f64>,
    /// Latency, in milliseconds.
    pub max_ms: Option<f64>,
    /// How late arrivals were sent, of an open loop of ours, in milliseconds.
    pub schedule_error_p99_ms: Option<f64>,
    /// Arrivals that found every connection busy, of an open loop of ours.
    pub waited: Option<u64>,
}

/// Median of a few rounds, and the interval that holds the true one.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Middle {
    median: f64,
    low: f64,
    high: f64,
}

impl Middle {
    fn of(values: &[f64]) -> Option<Middle> {
        let mut sorted = values.to_vec();
        sorted.sort_by(f64::total_cmp);
        let (out, _) = sign_interval(sorted.len());
        Some(Middle {
            median: stats::median(values),
            low: *sorted.get(out)?,
            high: *sorted.get(sorted.len() - 1 - out)?,
        })
    }
}

/// The interval of the sign test (Thompson 1936) for the median of `n` independent rounds: how many of
/// the smallest and of the largest lie outside, and how surely it holds the true median. At least 0.95,
/// or with fewer than six rounds their whole range. Each round is above the median or below it like a
/// coin, so that with k left out at either end it is missed by k or fewer heads, or tails, of n.
fn sign_interval(n: usize) -> (usize, f64) {
    let mut within = (0, 0.0);
    let mut probability = 0.5f64.powi(n as i32);
    let mut missed = 0.0;
    for out in 0..n.div_ceil(2) {
        missed += 2.0 * probability;
        if out > 0 && missed > 0.05 {
            break;
        }
        within = (out, 1.0 - missed);
        probability *= (n - out) as f64 / (out + 1) as f64;
    }
    within
}

/// Latency at a quantile, in seconds, of an open loop of `whole` seconds whose server answers at once
/// but for one stretch of `frozen` seconds: whoever arrives in it waits for its end. None for those
/// that did not wait.
pub fn stalled_quantile(frozen: f64, whole: f64, q: f64) -> Option<f64> {
    let waited = frozen - (1.0 - q) * whole;
    (waited > 0.0).then_some(waited)
}

impl Row {
    fn all(&self, value: impl Fn(&Turn) -> Option<f64>) -> Option<Middle> {
        let values: Vec<f64> = self.turns.iter().filter_map(value).collect();
        Middle::of(&values)
    }
}

fn cell(value: Option<Middle>, digits: usize) -> String {
    value.map_or("–".into(), |m| format!("{:.digits$}", m.median))
}

fn ranged(value: Option<Middle>) -> String {
    value.map_or("–".into(), |m| match m.low == m.high {
        true => format!("{:.2}", m.median),
        false => format!("{:.2} ({:.2}–{:.2})", m.median, m.low, m.high),
    })
}

impl Comparison {
    fn of(&self, part: Kind) -> impl Iterator<Item = &Row> {
        self.rows.iter().filter(move |row| row.part == part)
    }

    /// Requests/s of ours over that of a row, round by round.
    fn ratio(&self, row: &Row) -> Option<Middle> {
        let ours = self.of(row.part).find(|r| r.server == row.server && r.tool == OURS)?;
        let pairs = ours.turns.iter().zip(&row.turns);
        let ratios: Vec<f64> = pairs.map(|(o, t)| o.per_s / t.per_s).collect();
        Middle::of(&ratios)
    }

    /// What the rows say.
    pub fn tables(&self) -> Vec<Table> {
        let parts = [self.throughput(), self.open(), self.stall()];
        parts.into_iter().flatten().collect()
    }

    fn where_it_ran(&self) -> String {
        let seats = match self.pinned {
            Some((server, generator)) => {
                format!("servers on processor {server}, generators on processor {generator}")
            }
            None => "nothing pinned to a processor".into(),
        };
        let debug = if self.build == "debug" { "; a debug build" } else { "" };
        let cut = if self.interrupted { "; interrupted" } else { "" };
        format!("{}, {seats}{debug}{cut}", self.system)
    }

    fn throughput(&self) -> Option<Table> {
        let rounds = self.of(Kind::Throughput).map(|r| r.turns.len()).max()?;
        let title =
            format!("As fast as answers come: one thread, {} connections", self.connections);
        let columns = [
            "server",
            "generator",
            "requests/s",
            "wire ÷ it",
            "CPU a request",
            "server's CPU",
            "p50",
            "p99",
        ];
        let mut table = Table::new(&title, &columns);
        for row in self.of(Kind::Throughput) {
            let ratio = match row.tool == OURS {
                true => "1".into(),
                false => ranged(self.ratio(row)),
            };
            table.row([
                row.server.clone(),
                row.tool.clone(),
                cell(row.all(|t| Some(t.per_s)), 0),
                ratio,
                micros(row.all(|t| t.cpu_us)),
                micros(row.all(|t| t.server_cpu_us)),
                millis(row.all(|t| t.p50_ms)),
                millis(row.all(|t| t.p99_ms)),
            ]);
        }
        table.note = format!(
            "Medians of {rounds} rounds of {} s, interleaved; ratios round by round, with the interval that holds the true median in {:.0} of 100 runs. {}. Recording an outcome takes wire {:.0} ns, the clock included. A server whose processor is busy all the time sets the ceiling for everybody.",
            self.duration_s,
            100.0 * sign_interval(rounds).1,
            self.where_it_ran(),
            self.recording_ns
        );
        Some(table)
    }

    fn open(&self) -> Option<Table> {
        let rounds = self.of(Kind::Open).map(|r| r.turns.len()).max()?;
        let title = format!("At {} requests/s, whatever the answers do", self.rate);
        let columns = [
            "server",
            "generator",
            "sent as",
            "requests/s",
            "p50",
            "p99",
            "schedule error p99",
            "CPU a request",
        ];
        let mut table = Table::new(&title, &columns);
        for row in self.of(Kind::Open) {
            table.row([
                row.server.clone(),
                row.tool.clone(),
                row.note.clone(),
                cell(row.all(|t| Some(t.per_s)), 0),
                millis(row.all(|t| t.p50_ms)),
                millis(row.all(|t| t.p99_ms)),
                millis(row.all(|t| t.schedule_error_p99_ms)),
                micros(row.all(|t| t.cpu_us)),
            ]);
        }
        table.note = format!(
            "Medians of {rounds} rounds of {} s. Latency of an open loop counts from the intended start; the schedule error, how late wire sent, is in it. wrk has no fixed rate. {}.",
            self.duration_s,
            self.where_it_ran()
        );
        Some(table)
    }

    fn stall(&self) -> Option<Table> {
        self.of(Kind::Stall).next()?;
        let columns = ["generator", "sent as", "requests/s", "p50", "p99", "max"];
        let mut table = Table::new("A server that stands still for a second", &columns);
        for row in self.of(Kind::Stall) {
            table.row([
                row.tool.clone(),
                row.note.clone(),
                cell(row.all(|t| Some(t.per_s)), 0),
                millis(row.all(|t| t.p50_ms)),
                millis(row.all(|t| t.p99_ms)),
                millis(row.all(|t| t.max_ms)),
            ]);
        }
        let (_, frozen, whole) = super::STALL;
        let (frozen, whole) = (frozen.as_secs_f64(), whole.as_secs_f64());
        let theory = stalled_quantile(frozen, whole, 0.99).unwrap_or(0.0);
        table.note = format!(
            "In {whole} s of load one server thread sleeps for {frozen} s. One in {:.0} users of an open loop meets that, and p99 should be {:.0} ms. A closed loop has one request a connection waiting, asks nothing else in the meantime, and does not see what it did not ask.",
            whole / frozen,
            theory * 1e3
        );
        Some(table)
    }

    /// Requests/s of each tool as a share of wire's.
    pub fn figure(&self) -> Option<Figure> {
        let mut groups: Vec<BarGroup> = Vec::new();
        let mut said = Vec::new();
        for row in self.of(Kind::Throughput) {
            let Some(ratio) = self.ratio(row) else {
                continue;
            };
            if groups.last().is_none_or(|g| g.label != row.server) {
                groups.push(BarGroup {
                    label: row.server.clone(),
                    note: String::new(),
                    bars: Vec::new(),
                });
            }
            let ours = row.tool == OURS;
            let colour = if ours { Colour::Blue } else { Colour::Muted };
            let per_s = row.all(|t| Some(t.per_s)).map_or(0.0, |m| m.median);
            let label = format!("{}, {per_s:.0}/s", row.tool);
            let bar = ValueBar::measured(&label, colour, 1.0 / ratio.median);
            let interval = (!ours).then_some((1.0 / ratio.high, 1.0 / ratio.low));
            groups.last_mut()?.bars.push(bar.with_interval(interval));
            if !ours {
                said.push((row.server.clone(), row.tool.clone(), ratio.median));
            }
        }
        let last = groups.last()?.label.clone();
        let said: Vec<String> = said
            .iter()
            .filter(|(server, ..)| *server == last)
            .map(|(_, tool, ratio)| format!("{ratio:.2} × {tool}"))
            .collect();
        let title = match said.is_empty() {
            true => format!("wire alone on {last}"),
            false => format!("On {last}, wire sends {}", said.join(", ")),
        };
        Some(Figure {
            id: "generator".into(),
            desc: format!("Bars of requests a second as multiples of wire's. {title}."),
            title,
            subtitle: format!(
                "one thread, {} connections, 1 KB; median of rounds with its interval; {}",
                self.connections,
                self.where_it_ran()
            ),
            body: Body::Bars(Bars {
                x: Axis::linear("requests/s as a multiple of wire's", Unit::Factor),
                groups,
            }),
        })
    }
}

fn micros(value: Option<Middle>) -> String {
    value.map_or("–".into(), |m| format!("{:.1} µs", m.median))
}

fn millis(value: Option<Middle>) -> String {
    value.map_or("–".into(), |m| match m.median {
        ms if ms < 10.0 => format!("{ms:.2} ms"),
        ms if ms < 100.0 => format!("{ms:.1} ms"),
        ms => format!("{ms:.0} ms"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(tool: &str, per_s: [f64; 3]) -> Row {
        Row {
            part: Kind::Throughput,
            server: "hyper".into(),
            tool: tool.into(),
            note: String::new(),
            turns: per_s
                .into_iter()
                .map(|per_s| Turn { per_s, p50_ms: Some(0.5), ..Turn::default() })
                .collect(),
        }
    }

    fn comparison(rows: Vec<Row>) -> Comparison {
        Comparison {
            schema: SCHEMA,
            command: "bench-generator".into(),
            started_at: "2026-01-01T00:00:00Z".into(),
            interrupted: false,
            system: "linux x86_64".into(),
            cpu: None,
            cores: 2,
            build: "release".into(),
            pinned: Some((0, 1)),
            connections: 64,
            duration_s: 2.0,
            rate: 5000,
            recording_ns: 60.0,
            missing: vec![],
            rows,
            tables: vec![],
        }
    }

    #[test]
    fn ratios_are_taken_round_by_round() {
        // The machine drifts by a factor of four; in every round ours is twice as fast.
        let c = comparison(vec![
            row("wire", [400.0, 200.0, 100.0]),
            row("other", [200.0, 100.0, 50.0]),
        ]);
        let ratio = c.ratio(&c.rows[1]).unwrap();
        assert_eq!((ratio.median, ratio.low, ratio.high), (2.0, 2.0, 2.0));
        let table = &c.tables()[0];
        assert_eq!(table.rows[0][3], "1");
        assert_eq!(table.rows[1][2..4], ["100", "2.00"]);
        assert!(table.note.contains("75 of 100"), "{}", table.note);
        let Body::Bars(bars) = c.figure().unwrap().body else { panic!("not bars") };
        assert_eq!(bars.groups[0].bars[1].value, 0.5);
        assert_eq!(bars.groups[0].bars[1].interval, Some((0.5, 0.5)));
    }

    #[test]
    fn without_ours_there_are_no_ratios_and_no_chart() {
        let c = comparison(vec![row("other", [1.0, 1.0, 1.0])]);
        assert_eq!(c.tables()[0].rows[0][3], "–");
        assert!(c.figure().is_none());
        assert!(comparison(vec![]).tables().is_empty());
    }

    #[test]
    fn the_interval_of_a_few_rounds_covers_so_often() {
        // Binomial tables: 12 of 2,048 are 0 or 1 heads of 11; 21,700 of 2^20 are 5 or fewer of 20.
        assert_eq!(sign_interval(1), (0, 0.0));
        assert_eq!(sign_interval(2), (0, 0.5));
        assert_eq!(sign_interval(5), (0, 0.9375));
        assert_eq!(sign_interval(6), (0, 0.96875));
        assert_eq!(sign_interval(11), (1, 1.0 - 24.0 / 2048.0));
        let (out, covered) = sign_interval(20);
        assert_eq!(out, 5);
        assert!((covered - (1.0 - 2.0 * 21_700.0 / 1_048_576.0)).abs() < 1e-12);
        assert_eq!(Middle::of(&[]), None);
        let eleven: Vec<f64> = (1..=11).rev().map(f64::from).collect();
        let Middle { median, low, high } = Middle::of(&eleven).unwrap();
        assert_eq!((median, low, high), (6.0, 2.0, 10.0));
    }

    #[test]
    fn a_stall_shows_at_the_quantiles_it_reaches() {
        // 1 s of 5 s: 20 of 100 wait, evenly between 0 and 1 s.
        let near = |a: Option<f64>, b: f64| assert!((a.unwrap() - b).abs() < 1e-9, "{a:?}");
        near(stalled_quantile(1.0, 5.0, 0.99), 0.95);
        near(stalled_quantile(1.0, 5.0, 0.9), 0.5);
        near(stalled_quantile(1.0, 5.0, 1.0), 1.0);
        assert_eq!(stalled_quantile(1.0, 5.0, 0.5), None);
        // Counted out, for the same arrivals one by one.
        let mut waits: Vec<f64> = (0..1000)
            .map(|i| i as f64 / 200.0)
            .map(|at| if (2.0..3.0).contains(&at) { 3.0 - at } else { 0.0 })
            .collect();
        waits.sort_by(f64::total_cmp);
        let theory = stalled_quantile(1.0, 5.0, 0.99).unwrap();
        assert!((waits[989] - theory).abs() < 0.01);
    }
}
