//! The job as a dataflow: pieces of text are counted where they are, and each word's counts are added
//! up by its owner, wherever that worker runs.
//!
//! What goes from one worker to another is a [`Parcel`]. Inside a process it is handed over as it is;
//! between processes it is written as bytes (with bincode, by timely), sent, and read again. A parcel
//! times its own writing and reading: that is how serialization is measured from inside.

use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
    fs::{self, File},
    io::{self, BufWriter, Write},
    path::{Path, PathBuf},
    rc::Rc,
    time::{Duration, Instant},
};

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use timely::{
    bytes::arc::BytesMut,
    container::CapacityContainerBuilder,
    dataflow::{
        Scope, StreamVec,
        channels::{ContainerBytes, pact::Exchange},
        operators::{
            Probe,
            generic::{Operator, operator::source},
        },
    },
    worker::Worker,
};

use super::{
    corpus::Source,
    count::{Counts, Digest, owner},
    counted,
};

/// Pairs in a parcel at most, so that a message is some hundred kilobytes.
const PAIRS: usize = 1 << 12;
/// Text that the raw shuffle works on at a time: what it sends meanwhile is counted meanwhile.
const BLOCK: usize = 1 << 16;

/// What crosses the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Way {
    /// Every worker reads its piece and sends a pair for every word.
    Raw,
    /// Every worker reads its piece, counts it, and sends a pair for every different word.
    Combined,
    /// The first worker reads all and sends the others their pieces; then as combined.
    Text,
}

/// What is to be counted, how, and where to.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Job {
    /// What crosses the wire.
    pub way: Way,
    /// The text.
    pub source: Source,
    /// Whether the counts go to the first worker in the end. That takes all processes, so all must say
    /// the same.
    pub collect: bool,
    /// File that it writes them to: it appears when they are whole, or not at all.
    pub output: Option<PathBuf>,
}

/// What one worker did, and how long that took. Seconds are of wall-clock time on its thread.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct Done {
    /// Reading the file.
    pub read_s: f64,
    /// Splitting into words, and counting them unless each is sent.
    pub map_s: f64,
    /// Making pairs out of them, in parcels by owner.
    pub pack_s: f64,
    /// Writing parcels as bytes.
    pub serialize_s: f64,
    /// Reading parcels from bytes.
    pub deserialize_s: f64,
    /// Adding up what came.
    pub reduce_s: f64,
    /// From the order to the end, as the worker saw it.
    pub whole_s: f64,
    /// Pairs made here.
    pub pairs: u64,
    /// Pairs of them whose owner is another worker.
    pub away: u64,
    /// What this worker's share of the counts comes to.
    pub digest: Digest,
}

thread_local! {
    static SERIALIZING: Cell<Duration> = const { Cell::new(Duration::ZERO) };
    static DESERIALIZING: Cell<Duration> = const { Cell::new(Duration::ZERO) };
}

/// What one worker sends to another.
#[derive(Clone, Debug, PartialEq)]
pub struct Parcel {
    pub(super) to: usize,
    pub(super) load: Load,
}

/// What is in a parcel.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) enum Load {
    /// Text to be counted.
    Text(String),
    /// Words and how often they were seen.
    Pairs(Vec<(String, u64)>),
}

impl Serialize for Parcel {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        timed(&SERIALIZING, || (self.to, &self.load).serialize(serializer))
    }
}

impl<'de> Deserialize<'de> for Parcel {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Parcel, D::Error> {
        timed(&DESERIALIZING, || {
            let (to, load) = Deserialize::deserialize(deserializer)?;
            Ok(Parcel { to, load })
        })
    }
}

fn timed<T>(sum: &'static std::thread::LocalKey<Cell<Duration>>, work: impl FnOnce() -> T) -> T {
    let start = Instant::now();
    let result = work();
    sum.set(sum.get() + start.elapsed());
    result
}

/// Pairs on their way into parcels, an open one for each owner.
pub(super) struct Packer {
    open: Vec<Vec<(String, u64)>>,
    full: Vec<Parcel>,
}

impl Packer {
    fn new(workers: usize) -> Packer {
        Packer { open: vec![Vec::new(); workers], full: Vec::new() }
    }

    pub(super) fn put(&mut self, word: &str, count: u64) {
        let to = owner(word, self.open.len());
        self.open[to].push((word.to_owned(), count));
        if self.open[to].len() == PAIRS {
            self.close(to);
        }
    }

    fn close(&mut self, to: usize) {
        let load = Load::Pairs(std::mem::take(&mut self.open[to]));
        self.full.push(Parcel { to, load });
    }

    /// Every parcel, the open ones closed.
    fn parcels(mut self) -> Vec<Parcel> {
        for to in 0..self.open.len() {
            if !self.open[to].is_empty() {
                self.close(to);
            }
        }
        self.full
    }
}

/// A worker's share of a job while it goes on.
pub(super) struct Share {
    me: usize,
    peers: usize,
    source: Source,
    pub done: Done,
    pub counts: Counts<String>,
}

pub(super) type Shared = Rc<RefCell<Share>>;

impl Share {
    fn new(me: usize, peers: usize, source: Source) -> Share {
        Share { me, peers, source, done: Done::default(), counts: Counts::default() }
    }

    /// A job that has lost its input is lost: the process ends, and so do all others.
    pub(super) fn read(&mut self, i: usize) -> String {
        let start = Instant::now();
        let text = self.source.piece(i, self.peers);
        self.done.read_s += start.elapsed().as_secs_f64();
        text.unwrap_or_else(|e| panic!("cannot read {}: {e}", self.source.file.display()))
    }

    /// This worker's piece.
    pub(super) fn own(&mut self) -> String {
        self.read(self.me)
    }

    pub(super) fn packed(&mut self, fill: impl FnOnce(&mut Packer)) -> Vec<Parcel> {
        let start = Instant::now();
        let mut packer = Packer::new(self.peers);
        fill(&mut packer);
        let parcels = packer.parcels();
        for Parcel { to, load } in &parcels {
            let Load::Pairs(pairs) = load else { continue };
            self.done.pairs += pairs.len() as u64;
            self.done.away += if *to == self.me { 0 } else { pairs.len() as u64 };
        }
        self.done.pack_s += start.elapsed().as_secs_f64();
        parcels
    }
}

/// Parcels as they move from one operator to the next.
pub(super) type Parcels<'scope> = StreamVec<'scope, u64, Parcel>;
pub(super) type Builder<T> = CapacityContainerBuilder<Vec<T>>;

/// Does this worker's share of a job, up to the counts it owns. Ends when all workers' shares are done;
/// every worker must call it for the same jobs in the same order, and then [`close`].
///
/// # Panics
/// When the text cannot be read.
pub fn run(worker: &mut Worker, job: &Job) -> (Done, Counts<String>) {
    let (me, peers) = (worker.index(), worker.peers());
    let share = Rc::new(RefCell::new(Share::new(me, peers, job.source.clone())));
    SERIALIZING.set(Duration::ZERO);
    DESERIALIZING.set(Duration::ZERO);
    let start = Instant::now();
    let probe = worker.dataflow::<u64, _, _>(|scope| counted(scope, job.way, &share).probe().0);
    while !probe.done() {
        worker.step_or_park(None);
    }
    let (whole, serialize, deserialize) = (start.elapsed(), SERIALIZING.get(), DESERIALIZING.get());
    settle(worker);
    let mut share = share.borrow_mut();
    let done = Done {
        whole_s: whole.as_secs_f64(),
        serialize_s: serialize.as_secs_f64(),
        deserialize_s: deserialize.as_secs_f64(),
        ..share.done
    };
    (done, std::mem::take(&mut share.counts))
}

/// What no clock is round: what the counts come to, and their way into the output file.
///
/// # Panics
/// When the output cannot be written.
pub fn close(worker: &mut Worker, job: &Job, done: Done, counts: Counts<String>) -> Done {
    let digest = Digest::of(&counts);
    if job.collect {
        collect(worker, counts, job.output.as_deref());
    }
    Done { digest, ..done }
}

/// Steps until nothing is left of any dataflow: the others may still wait for what this worker has to
/// say about its progress.
fn settle(worker: &mut Worker) {
    while worker.has_dataflows() {
        worker.step_or_park(None);
    }
}

/// A source of parcels: as many at a time as `next` has, until it has no more.
pub(super) fn produced<'scope>(
    scope: Scope<'scope, u64>,
    mut next: impl FnMut() -> Option<Vec<Parcel>> + 'static,
) -> Parcels<'scope> {
    source::<_, Builder<Parcel>, _, _>(scope, "read", |capability, info| {
        let again = scope.activator_for(info.address);
        let mut capability = Some(capability);
        move |output| {
            let Some(now) = &capability else { return };
            match next() {
                Some(parcels) => {
                    output.session(now).give_iterator(parcels.into_iter());
                    again.activate();
                }
                None => capability = None,
            }
        }
    })
}

/// Sends all shares of the counts to the first worker, which writes them down. Nobody goes on before
/// that is done: who is told that the job is over finds its output.
fn collect(worker: &mut Worker, counts: Counts<String>, output: Option<&Path>) {
    let all = Rc::new(RefCell::new(HashMap::new()));
    let (mut pairs, into, path) =
        (Some(counts.into_iter().collect()), all.clone(), output.map(Path::to_owned));
    let first = worker.index() == 0;
    worker.dataflow::<u64, _, _>(|scope| {
        let sent = produced(scope, move || {
            let load = Load::Pairs(pairs.take()?);
            Some(vec![Parcel { to: 0, load }])
        });
        let to_the_first = Exchange::new(|_: &Parcel| 0);
        sent.unary_frontier::<Builder<()>, _, _, _>(to_the_first, "write", |capability, _| {
            // Held until the file is there, which holds up everybody.
            let mut open = Some(capability);
            move |(input, frontier), _| {
                input.for_each(|_, parcels| {
                    for parcel in parcels.drain(..) {
                        if let Load::Pairs(pairs) = parcel.load {
                            into.borrow_mut().extend(pairs);
                        }
                    }
                });
                if frontier.is_empty()
                    && open.take().is_some()
                    && first
                    && let Some(path) = &path
                {
                    let counts = std::mem::take(&mut *into.borrow_mut());
                    write_output(counts, path)
                        .unwrap_or_else(|e| panic!("cannot write {}: {e}", path.display()));
                }
            }
        });
    });
    settle(worker);
    drop(all);
}

impl std::fmt::Display for Way {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Way::Raw => "raw",
            Way::Combined => "combined",
            Way::Text => "text",
        })
    }
}

/// What it takes to turn all messages of a job into bytes and back.
#[derive(Clone, Copy, Debug, Default)]
pub struct Paper {
    /// Time to write them.
    pub serialize: Duration,
    /// Time to free what has been written.
    pub discard: Duration,
    /// Time to read them.
    pub deserialize: Duration,
    /// Their length.
    pub bytes: usize,
    /// Pairs in them.
    pub pairs: u64,
}

/// Calibration: the messages of one worker of two, written as bytes and read again, with nobody to
/// send them to.
///
/// # Errors
/// When the text cannot be read.
pub fn on_paper(source: &Source, way: Way) -> io::Result<Paper> {
    let mut share = Share::new(0, 2, source.clone());
    let text = source.piece(0, 1)?;
    let messages: Vec<Vec<Parcel>> = match way {
        Way::Text => vec![vec![Parcel { to: 1, load: Load::Text(text) }]],
        Way::Combined => by_owner(share.combined(&text)),
        Way::Raw => blocks(&text).flat_map(|block| by_owner(share.raw(block))).collect(),
    };
    let mut paper = Paper { pairs: share.done.pairs, ..Paper::default() };
    for message in messages {
        SERIALIZING.set(Duration::ZERO);
        DESERIALIZING.set(Duration::ZERO);
        let mut bytes = Vec::with_capacity(message.length_in_bytes());
        message.into_bytes(&mut bytes);
        let start = Instant::now();
        drop(message);
        paper.discard += start.elapsed();
        paper.bytes += bytes.len();
        let bytes = BytesMut::from(bytes).freeze();
        drop(Vec::<Parcel>::from_bytes(bytes));
        paper.serialize += SERIALIZING.get();
        paper.deserialize += DESERIALIZING.get();
    }
    Ok(paper)
}

/// Parcels for one owner go together, as in a dataflow.
fn by_owner(parcels: Vec<Parcel>) -> Vec<Vec<Parcel>> {
    let mut messages = vec![Vec::new(); 2];
    for parcel in parcels {
        messages[parcel.to].push(parcel);
    }
    messages
}

/// A text in blocks of about `BLOCK` bytes, cut at the ends of lines.
fn blocks(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let (block, after) = next_block(rest)?;
        rest = after;
        Some(block)
    })
}

/// The first block and what follows; none of no text.
pub(super) fn next_block(text: &str) -> Option<(&str, &str)> {
    if text.is_empty() {
        return None;
    }
    let from = BLOCK.min(text.len());
    let end = text.as_bytes()[from..].iter().position(|b| *b == b'\n');
    Some(text.split_at(end.map_or(text.len(), |at| from + at + 1)))
}

/// Writes the counts, sorted by word: under another name, flushed to the disk, and renamed then. A
/// crash at any moment leaves either all of it or nothing of that name.
fn write_output(counts: HashMap<String, u64>, output: &Path) -> io::Result<()> {
    let mut sorted: Vec<(String, u64)> = counts.into_iter().collect();
    sorted.sort_unstable();
    let mut name = output.as_os_str().to_owned();
    name.push(".part");
    let part = PathBuf::from(name);
    let mut file = BufWriter::new(File::create(&part)?);
    for (word, count) in sorted {
        writeln!(file, "{word}\t{count}")?;
    }
    file.into_inner()?.sync_all()?;
    fs::rename(part, output)
}

/// What the counts in an output file come to; none without such a file.
///
/// # Errors
/// When it cannot be read. A line that is no count counts as a word of its own, so that what is broken
/// is not right.
pub fn read_output(output: &Path) -> io::Result<Option<Digest>> {
    let text = match fs::read_to_string(output) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        read => read?,
    };
    let pairs = text.lines().map(|line| {
        let pair = line.split_once('\t');
        let pair = pair.and_then(|(word, count)| Some((word, count.parse().ok()?)));
        pair.unwrap_or((line, 0))
    });
    Ok(Some(Digest::of(&pairs.collect::<Counts<&str>>())))
}

#[cfg(test)]
mod tests {
    use super::{super::count::count, *};
    use timely::{WorkerConfig, communication, execute::execute_from};

    fn job(folder: &Path, way: Way, text: &str) -> Job {
        let file = folder.join("text");
        fs::write(&file, text).unwrap();
        Job {
            way,
            source: Source { file, bytes: text.len() as u64 },
            collect: true,
            output: Some(folder.join("counts")),
        }
    }

    fn text(words: usize) -> String {
        let word =
            |i: usize| format!("w{}{}", i * i % 977, if i.is_multiple_of(11) { '\n' } else { ' ' });
        (0..words).map(word).collect()
    }

    /// Runs a job on threads; with `bytes` every parcel that changes hands becomes bytes and back.
    fn on_threads(job: &Job, threads: usize, bytes: bool) -> Vec<Done> {
        let config = if bytes {
            communication::Config::ProcessBinary(threads)
        } else {
            communication::Config::Process(threads)
        };
        let (builders, others) = config.try_build().unwrap();
        let job = job.clone();
        let both = move |worker: &mut Worker| {
            let (done, counts) = run(worker, &job);
            close(worker, &job, done, counts);
            let (done, counts) = run(worker, &job);
            close(worker, &job, done, counts)
        };
        let guards = execute_from(builders, others, WorkerConfig::default(), both).unwrap();
        guards.join().into_iter().map(Result::unwrap).collect()
    }

    #[test]
    fn every_way_counts_the_same_on_any_number_of_workers_with_and_without_bytes() {
        for words in [0, 1, 40_000] {
            let text = text(words);
            let right = Digest::of(&count(&text));
            for way in [Way::Raw, Way::Combined, Way::Text] {
                for (threads, bytes) in [(1, false), (2, false), (2, true), (3, true)] {
                    let folder = tempfile::tempdir().unwrap();
                    let job = job(folder.path(), way, &text);
                    let done = on_threads(&job, threads, bytes);
                    let counted = done.iter().fold(Digest::default(), |a, d| a + d.digest);
                    assert_eq!(counted, right, "{way} {threads} {bytes}");
                    let output = read_output(job.output.as_ref().unwrap()).unwrap();
                    assert_eq!(output, Some(right), "{way} {threads} {bytes}");
                    let pairs: u64 = done.iter().map(|d| d.pairs).sum();
                    let away: u64 = done.iter().map(|d| d.away).sum();
                    match way {
                        Way::Raw => assert_eq!(pairs, right.words),
                        _ => assert!(pairs >= right.distinct && pairs <= right.words),
                    }
                    assert!(if threads == 1 { away == 0 } else { away <= pairs });
                }
            }
        }
    }

    #[test]
    fn parcels_survive_their_bytes() {
        let pairs = vec![("a".to_string(), 3), (String::new(), u64::MAX)];
        for load in [Load::Pairs(pairs), Load::Text("to be".into())] {
            let message = vec![Parcel { to: 5, load }; 3];
            let mut bytes = Vec::new();
            message.into_bytes(&mut bytes);
            assert_eq!(bytes.len(), message.length_in_bytes());
            let back = Vec::<Parcel>::from_bytes(BytesMut::from(bytes).freeze());
            assert_eq!(back, message);
        }
    }

    #[test]
    fn on_paper_all_pairs_become_bytes() {
        let folder = tempfile::tempdir().unwrap();
        let text = text(30_000);
        let source = job(folder.path(), Way::Raw, &text).source;
        let words = text.split_ascii_whitespace().count();
        let raw = on_paper(&source, Way::Raw).unwrap();
        assert_eq!(raw.pairs, words as u64);
        assert!(raw.bytes > 16 * words + text.len() - words);
        let combined = on_paper(&source, Way::Combined).unwrap();
        assert!(combined.pairs == count(&text).len() as u64 && combined.bytes < raw.bytes);
        let sent = on_paper(&source, Way::Text).unwrap();
        assert!(sent.bytes >= text.len() && sent.bytes < text.len() + 64);
    }

    #[test]
    fn a_broken_output_is_not_right() {
        let folder = tempfile::tempdir().unwrap();
        let output = folder.path().join("counts");
        assert_eq!(read_output(&output).unwrap(), None);
        let counts = HashMap::from([("a".to_string(), 2), ("b".to_string(), 1)]);
        let right = count("a b a");
        write_output(counts, &output).unwrap();
        assert_eq!(read_output(&output).unwrap(), Some(Digest::of(&right)));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        for broken in ["a\t2\n", "a\t2\nb", "a\t2\nb\t2\n", ""] {
            fs::write(&output, broken).unwrap();
            assert_ne!(read_output(&output).unwrap(), Some(Digest::of(&right)));
        }
    }
}
