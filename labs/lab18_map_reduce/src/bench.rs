//! How an arm is measured: what comes before the clock, what the clock is round, and whether the counts
//! are right.

use std::{collections::BTreeMap, ops::Add, path::PathBuf};

use anyhow::{Context, ensure};
use lab_kit::prelude::*;
use rayon::{ThreadPool, ThreadPoolBuilder};

use super::{
    Params,
    corpus::Source,
    count::{Digest, one_thread},
    dataflow::{self, Job, Way},
    gauges,
    processes::{Group, Report, Shape},
};
use lab_kit::seats::sit_in_turn;

/// What all arms share: the text, what is to come out, and a pool.
pub(super) struct Bench {
    _folder: tempfile::TempDir,
    pub file: PathBuf,
    /// What the counts of a text of so many bytes come to.
    right: BTreeMap<Size, Digest>,
    pub pool: ThreadPool,
    rounds: usize,
    whole: Size,
}

impl Bench {
    pub fn new(p: &Params, seed: u64) -> Result<Bench> {
        let folder = lab_kit::scratch::folder().context("no temporary folder for the text")?;
        let file = folder.path().join("text");
        let written = p.law().write(&file, p.bytes.b() as u64, seed);
        written.context("cannot write the text")?;
        let bench = Bench {
            _folder: folder,
            file,
            right: BTreeMap::new(),
            pool: ThreadPoolBuilder::new()
                .num_threads(p.threads)
                .start_handler(|i| sit_in_turn(i).for_good())
                .build()?,
            rounds: p.rounds,
            whole: p.bytes,
        };
        let right = p.all_sizes().into_iter().map(|size| {
            let (_, digest) = one_thread(&bench.source(size))?;
            Ok((size, digest))
        });
        let right = right.collect::<Result<_>>()?;
        Ok(Bench { right, ..bench })
    }

    fn source(&self, size: Size) -> Source {
        Source { file: self.file.clone(), bytes: size.b() as u64 }
    }

    /// The counts must be right in every arm: anything else is no result.
    pub fn check(&self, r: &Recorder, size: Size, digest: Digest) -> Result<()> {
        let right = self.right[&size];
        r.gauge(gauges::WRONG, f64::from(u8::from(digest != right)));
        r.gauge(gauges::WORDS, right.words as f64);
        r.gauge(gauges::DISTINCT, right.distinct as f64);
        ensure!(digest == right, "counted {digest:?} instead of {right:?}");
        Ok(())
    }

    /// An arm in this process: once to warm up, then the mean of some rounds.
    pub fn inside(
        &self,
        r: &Recorder,
        size: Size,
        mut run: impl FnMut(&Source) -> Result<(Duration, Digest)>,
    ) -> Result<()> {
        let source = self.source(size);
        run(&source)?;
        let mut whole = Duration::ZERO;
        for _ in 0..self.rounds {
            let (took, digest) = run(&source)?;
            self.check(r, size, digest)?;
            whole += took;
        }
        r.wall(whole / self.rounds as u32);
        Ok(())
    }

    /// What it takes to write messages as bytes and to read them again, where nobody sends them.
    pub fn on_paper(&self, r: &Recorder, way: Way) -> Result<()> {
        // Of every word a part is enough.
        let source = match way {
            Way::Raw => Source { bytes: self.whole.b() as u64 / 4, ..self.source(self.whole) },
            _ => self.source(self.whole),
        };
        dataflow::on_paper(&source, way)?;
        let paper = dataflow::on_paper(&source, way)?;
        r.gauge(gauges::SERIALIZE_S, paper.serialize.as_secs_f64());
        r.gauge(gauges::DISCARD_S, paper.discard.as_secs_f64());
        r.gauge(gauges::DESERIALIZE_S, paper.deserialize.as_secs_f64());
        r.gauge(gauges::BYTES, paper.bytes as f64);
        r.gauge(gauges::PAIRS, paper.pairs as f64);
        Ok(())
    }

    /// An arm with processes. They start, find each other, do a job without text and one to warm up:
    /// all that is written down apart. Then the clock of a job runs from the order, with the text in a
    /// file that is in the memory of the system, until the last process has said that it is done.
    pub fn group(&self, r: &Recorder, shape: Shape, way: Way, size: Size) -> Result<()> {
        let mut group = Group::start(shape)?;
        r.gauge(gauges::START_S, group.start.as_secs_f64());
        r.gauge(gauges::CONNECT_S, group.connect.as_secs_f64());
        let job = |size: Option<Size>| Job {
            way,
            source: Source { bytes: size.map_or(0, |s| s.b() as u64), ..self.source(self.whole) },
            collect: false,
            output: None,
        };
        group.run(&job(None))?;
        let (empty, _) = group.run(&job(None))?;
        r.gauge(gauges::EMPTY_S, empty.as_secs_f64());
        group.run(&job(Some(size)))?;
        let mut whole = Duration::ZERO;
        for _ in 0..self.rounds {
            let (took, reports) = group.run(&job(Some(size)))?;
            whole += took;
            self.check(r, size, written_down(r, &reports))?;
        }
        r.wall(whole / self.rounds as u32);
        group.end()
    }

    /// A process is killed at some moment of a job that is to write a file; then the job runs again.
    pub fn killed(&self, r: &Recorder, shape: Shape) -> Result<()> {
        let (folder, size) = (r.folder()?, self.whole);
        let output = folder.path().join("counts");
        let job = Job {
            way: Way::Raw,
            source: self.source(size),
            collect: true,
            output: Some(output.clone()),
        };
        let quiet = Shape { quiet: true, ..shape };
        let (alone, _) = one_thread(&job.source)?;
        let mut group = Group::start(quiet)?;
        group.order(&job)?;
        // Within the time in which one thread would count: every word on the wire takes longer.
        let share = (r.seed() >> 11) as f64 / (1_u64 << 53) as f64;
        std::thread::sleep(alone.mul_f64(share));
        let (stopped, failed) = group.kill(shape.processes - 1)?;
        r.gauge(gauges::STOPPED_S, stopped.as_secs_f64());
        r.gauge(gauges::OTHERS_FAILED, failed as f64);
        let left = dataflow::read_output(&output)?;
        let broken = left.is_some_and(|digest| digest != self.right[&size]);
        r.gauge(gauges::BROKEN_OUTPUTS, f64::from(u8::from(broken)));
        r.gauge(gauges::ABSENT, f64::from(u8::from(left.is_none())));

        let start = Instant::now();
        let mut group = Group::start(shape)?;
        group.run(&job)?;
        r.wall(start.elapsed());
        group.end()?;
        let counted = dataflow::read_output(&output)?.context("the output is missing")?;
        self.check(r, size, counted)
    }
}

/// Writes down what the processes say they did: means over the workers, and sums for what was sent.
fn written_down(r: &Recorder, reports: &[Report]) -> Digest {
    let workers: Vec<_> = reports.iter().flat_map(|report| &report.workers).collect();
    for done in &workers {
        r.sample(gauges::READ_S, done.read_s);
        r.sample(gauges::MAP_S, done.map_s);
        r.sample(gauges::PACK_S, done.pack_s);
        r.sample(gauges::SERIALIZE_S, done.serialize_s);
        r.sample(gauges::DESERIALIZE_S, done.deserialize_s);
        r.sample(gauges::REDUCE_S, done.reduce_s);
        r.sample(gauges::WORKER_S, done.whole_s);
    }
    for report in reports {
        r.sample(gauges::SENDING_S, report.sending_s);
    }
    let pairs: u64 = workers.iter().map(|done| done.pairs).sum();
    let away: u64 = workers.iter().map(|done| done.away).sum();
    let sent: u64 = reports.iter().map(|report| report.sent).sum();
    for (name, value) in
        [(gauges::PAIRS, pairs), (gauges::PAIRS_AWAY, away), (gauges::WIRE_BYTES, sent)]
    {
        r.gauge(name, value as f64);
    }
    let digests = workers.iter().map(|done| done.digest);
    digests.fold(Digest::default(), Add::add)
}
