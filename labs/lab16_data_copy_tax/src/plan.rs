//! What is asked for, what it needs, and what is measured in which order.

use std::{net::SocketAddr, path::PathBuf};

use anyhow::ensure;
use lab_kit::{limits, prelude::*, seats::sit};

use super::{
    calibrate::{self, Effort},
    child::{self, Wire},
    findings, premise,
    segment::Home,
    ways::{Seats, Setting, Way, hand_over},
};

/// The constants of the experiment.
#[derive(Args, Debug, Serialize, Deserialize)]
pub struct Params {
    /// Sizes of the payload, with commas
    #[arg(long, value_delimiter = ',', value_parser = size, default_value = "1KB,16KB,64KB,256KB,1MB,2MB,4MB,10MB,64MB")]
    pub sizes: Vec<Size>,
    /// The size that the bars and the headline are about [default: the size nearest to 10MB]
    #[arg(long, value_parser = size)]
    #[serde(default)]
    pub show: Option<Size>,
    /// Ways to hand it over, with commas
    #[arg(long, value_delimiter = ',', value_enum, default_values_t = Way::ALL)]
    pub ways: Vec<Way>,
    /// How long to hand over, for each size and way
    #[arg(long, default_value = "8ms")]
    pub window: Time,
    /// Hand-overs for each size and way, however long they take
    #[arg(long, default_value_t = 2, value_parser = few)]
    pub least: usize,
    /// Bytes that the wide pipe holds
    #[arg(long, default_value = "1MB", value_parser = size)]
    pub pipe: Size,
    /// Keep shared segments in files of this folder [default: in memory where the system can]
    #[arg(long, value_name = "DIR")]
    #[serde(default)]
    pub folder: Option<PathBuf>,
    /// Let the system choose the processors, which may be one for both sides
    #[arg(long)]
    #[serde(default)]
    pub unseated: bool,
    /// Do no experiment: consume what another process sends this way
    #[arg(long, value_enum, hide = true)]
    #[serde(skip)]
    pub consume: Option<Wire>,
    /// With --consume tcp: where the producer listens
    #[arg(long, hide = true)]
    #[serde(skip)]
    pub connect: Option<SocketAddr>,
    /// With --consume: on which processor
    #[arg(long, hide = true)]
    #[serde(skip)]
    pub seat: Option<usize>,
    /// With --consume: where the producer's segments are
    #[arg(long, hide = true)]
    #[serde(skip)]
    pub segments_in: Option<PathBuf>,
}

/// Largest payload.
const LARGEST: u64 = 1 << 30;
/// Payloads that are in memory at the same time, at most: the producer's, a segment or a clone, the
/// consumer's, and one on the way.
const AT_A_TIME: u64 = 4;

/// From here on a payload takes long to hand over.
const LONG: usize = 16 << 20;

fn size(text: &str) -> Result<Size, String> {
    let size: Size = text.parse()?;
    if size.b() as u64 > LARGEST {
        return Err("expected a size up to 1GB".into());
    }
    Ok(size)
}

fn few(text: &str) -> Result<usize, String> {
    whole(text, 1..=10_000)
}

impl Params {
    /// The sizes, ascending.
    pub(super) fn sizes(&self) -> Vec<Size> {
        let mut all = self.sizes.clone();
        all.extend(self.show);
        all.sort();
        all.dedup();
        all
    }

    /// The size of the bars.
    pub(super) fn show(&self) -> Size {
        let far = |s: &Size| (s.f().ln() - (10.0 * 1024.0 * 1024.0_f64).ln()).abs();
        let nearest = self.sizes().into_iter().min_by(|a, b| far(a).total_cmp(&far(b)));
        self.show.or(nearest).unwrap_or(Size::bytes(1))
    }

    /// Where it takes place.
    fn setting(&self) -> Setting {
        Setting {
            home: Home::new(self.folder.as_deref()),
            seats: if self.unseated { Seats::default() } else { Seats::two() },
        }
    }

    /// Whether it is measured only once in a trial: the largest take long, and most of the laws stand on the
    /// other sizes as well.
    fn once(&self, way: Way, size: Size) -> bool {
        size.b() > LONG && ![Way::Kept, Way::Pipe].contains(&way)
    }

    /// Seconds of a trial of one way, its buffers included. A payload that is larger than the caches takes so
    /// many nanoseconds a byte, from its first to the answer.
    fn hand_over_s(&self, way: Way, bytes: f64) -> f64 {
        let ns = match way {
            Way::Arc | Way::Kept => 0.4,
            Way::Copied => 0.6,
            Way::Clone | Way::Unix | Way::Tcp => 1.5,
            Way::Wide => 2.0,
            Way::Pipe | Way::Fresh => 3.0,
        };
        let one = 1e-9 * ns * bytes + 5e-5;
        let window = (self.window.s() + one).max(self.least as f64 * one);
        window + one + 1e-9 * bytes + 0.01
    }

    /// Seconds of a trial of the passes that theory is fed with.
    fn machine_s(&self, bytes: f64) -> f64 {
        let passes = 4 * (self.effort().least + 1) + 2 * self.effort().least.min(5) + 12;
        4.0 * self.effort().window.as_secs_f64() + 0.015 + passes as f64 * bytes / 1e9
    }

    /// How often to measure a pass. It gets a quarter of a way's time: there are four times as many passes.
    pub(super) fn effort(&self) -> Effort {
        Effort {
            window: self.window.duration().min(Duration::from_millis(200)) / 4,
            least: self.least.min(10),
        }
    }
}

/// lab16.
pub struct DataCopyTax;

impl Lab for DataCopyTax {
    type Params = Params;

    const TAKES_TARGET: bool = false;

    const CARD: Card = Card {
        number: 16,
        name: "data_copy_tax",
        title: "The tax on copies",
        question: "What does it cost to hand megabytes to another process?",
        predict: &[
            Question {
                key: "pipe",
                ask: "Take the payload nearest to 10 MB, unless another was asked for. It is written, then goes through a pipe to another process, which reads all of it. How long from the last byte written until it has answered?",
                unit: "ms",
                hint: "0.1 to 100",
            },
            Question {
                key: "kept",
                ask: "The same payload lies in shared memory that both have open: how long?",
                unit: "ms",
                hint: "0.001 to 100",
            },
            Question {
                key: "fresh",
                ask: "A new shared segment for each such payload: how many times as long as in the same one, writing included?",
                unit: "times",
                hint: "1 to 50",
            },
        ],
        next: &[
            (
                "cargo run --release --bin lab16 -- --ways kept,fresh,pipe --sizes 4KB,32KB,256KB,2MB,16MB,128MB",
                "where a new segment each time is still better than a pipe, and where it is worse",
            ),
            (
                "cargo run --release --bin lab16 -- --folder /dev/shm",
                "shared memory with a folder round it: the pages are reserved first, so a new segment costs another pass",
            ),
            (
                "cargo run --release --bin lab16 -- --ways arc,kept --sizes 1B,1KB,1MB,64MB",
                "one process or two: the border costs two wake-ups, and nothing a byte",
            ),
            (
                "cargo run --release --bin lab16 -- --unseated",
                "the system chooses the processors: times vary with whether both sides share one",
            ),
            (
                "cargo run --release -- make next hand_over_without_a_copy",
                "make it: one buffer for all",
            ),
        ],
        sources: lab_kit::sources!["lib.rs"],
        answers: include_str!("../answers.md"),
        sizes: Sizes {
            smoke: &["--sizes", "1KB,64KB,1MB", "--window", "1ms", "--least", "2"],
            full: &[
                "--window",
                "40ms",
                "--least",
                "5",
                "--sizes",
                "1KB,4KB,16KB,64KB,256KB,1MB,2MB,4MB,10MB,16MB,64MB",
            ],
            trials: (1, 6),
        },
    };

    fn needs(p: &Params, extent: &Extent) -> Needs {
        let repeats = repeats(extent.scale, extent.trials) as f64;
        let sizes = p.sizes();
        let (fit, _) = that_fit(&sizes);
        // Where none fits, there is no room for the smallest.
        let fit = if fit.is_empty() { &sizes[..1] } else { &fit[..] };
        let each = |s: Size| {
            let often = |way: Way| if p.once(way, s) { 1.0 } else { repeats };
            let ways = p.ways.iter();
            let ways = ways.map(|way| often(*way) * p.hand_over_s(*way, s.f()));
            ways.sum::<f64>() + repeats * p.machine_s(s.f())
        };
        let empty = p.ways.len() as f64 * repeats * p.hand_over_s(Way::Arc, 1.0);
        let largest = fit.last().map_or(0.0, |s| s.f());
        Needs {
            seconds: extent.times() * (fit.iter().map(|s| each(*s)).sum::<f64>() + empty),
            memory: largest * AT_A_TIME as f64,
            less: "fewer or smaller --sizes, fewer --ways, a shorter --window, or a smaller --least",
            ..Needs::default()
        }
    }

    fn instead(p: &Params) -> Option<Result<()>> {
        let wire = p.consume?;
        let _seated = sit(p.seat);
        Some(child::consume(wire, p.connect, p.segments_in.clone()))
    }

    fn measure(p: &Params, session: &mut Session) -> Result<()> {
        let setting = &p.setting();
        let (sizes, ways) = (sizes_that_fit(p, session)?, ways_that_are(p, session));
        let effort = p.effort();
        let repeats = repeats(session.scale, session.trials);
        let mut plan = session.plan();
        for size in sizes {
            let machine = move |r: &Recorder| calibrate::passes(r, setting, size.b(), effort);
            (0..repeats).for_each(|_| plan.point("machine", size.f(), machine));
            for way in ways.clone() {
                for _ in 0..if p.once(way, size) { 1 } else { repeats } {
                    plan.point(way.series(), size.f(), move |r| {
                        hand_over(r, p, setting, way, size.b())
                    });
                }
            }
        }
        // What a hand-over costs before the first byte.
        for way in ways {
            for _ in 0..repeats {
                plan.point(&way.empty(), 1.0, move |r| hand_over(r, p, setting, way, 1));
            }
        }
        plan.run()
    }

    fn ready(p: &Params) -> Result<(), String> {
        match p.folder.as_deref().filter(|folder| !folder.is_dir()) {
            Some(folder) => Err(format!(
                "--folder {}: expected a folder that exists, for shared segments",
                folder.display()
            )),
            None => Ok(()),
        }
    }

    fn premise(p: &Params, at: &Condition, trial: &Trial) -> Result<(), String> {
        premise::premise(p, at, trial)
    }

    fn explain(p: &Params, summary: &Summary) -> Findings {
        findings::explain(p, summary)
    }
}

/// How often each condition is measured in a trial.
fn repeats(scale: Scale, trials: usize) -> usize {
    match scale {
        Scale::Smoke => 1,
        _ => 3_usize.div_ceil(trials),
    }
}

/// The sizes that fit into the memory there is, and the others.
fn that_fit(sizes: &[Size]) -> (Vec<Size>, Vec<Size>) {
    let room = limits::for_memory().map_or(u64::MAX, |limit| limit.left);
    let fits = |size: &Size| (size.b() as u64).saturating_mul(AT_A_TIME) <= room;
    sizes.iter().copied().partition(fits)
}

/// The sizes that fit; the others are left out, with a note.
fn sizes_that_fit(p: &Params, session: &mut Session) -> Result<Vec<Size>> {
    let (fit, too_large) = that_fit(&p.sizes());
    if let Some(first) = too_large.first() {
        let why = limits::for_memory().map_or_else(String::new, |limit| limit.what);
        let why = format!(
            "{AT_A_TIME} payloads are in memory at a time, so payloads of {first} and more do not fit ({why})"
        );
        ensure!(!fit.is_empty(), "{why}: smaller --sizes");
        session.note(format!("{why} and were left out"));
    }
    Ok(fit)
}

/// The ways that this system has; the others are left out, with a note.
fn ways_that_are(p: &Params, session: &mut Session) -> Vec<Way> {
    let mut ways = p.ways.clone();
    if cfg!(not(unix)) && ways.contains(&Way::Unix) {
        session.note("no Unix socket: the standard library has none on this system");
        ways.retain(|way| *way != Way::Unix);
    }
    if cfg!(not(target_os = "linux")) && ways.contains(&Way::Wide) {
        session.note("no wide pipe: the size of a pipe is fixed on this system");
        ways.retain(|way| *way != Way::Wide);
    }
    ways
}
