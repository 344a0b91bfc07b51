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
//! Every worker has a processor of its own, where the system takes such wishes (`labs/kit/src/seats.rs`): left
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

use std::time::Instant;

use timely::dataflow::{Scope, StreamVec, channels::pact::Exchange, operators::generic::Operator};

mod bench;
pub mod corpus;
pub mod count;
pub mod dataflow;
mod findings;
mod gauges;
mod model;
mod plan;
mod premise;
mod processes;
mod ray;
mod theory;
pub mod wire;

pub use plan::{MapReduce, Params};

use count::count;
use dataflow::{Builder, Load, Parcel, Parcels, Share, Shared, Way, next_block, produced};

// wrong: A pair for every word
/// Without a combiner: a pair for every word, block by block, so that the owners add up meanwhile.
fn every_word<'scope>(scope: Scope<'scope, u64>, share: &Shared) -> Parcels<'scope> {
    let share = share.clone();
    let mut text: Option<(String, usize)> = None;
    produced(scope, move || {
        let mut share = share.borrow_mut();
        let (text, at) = text.get_or_insert_with(|| (share.own(), 0));
        let (block, _) = next_block(&text[*at..])?;
        *at += block.len();
        Some(share.raw(block))
    })
}

// right: Counted first, then a pair for each different word
// so: The network carries what the map makes. Adding up before the shuffle leaves one pair for
//     each different word.
/// With a combiner: the piece is counted, and there is a pair for each different word.
fn counted_first<'scope>(scope: Scope<'scope, u64>, share: &Shared) -> Parcels<'scope> {
    let (share, mut done) = (share.clone(), false);
    produced(scope, move || {
        let mut share = share.borrow_mut();
        (!std::mem::replace(&mut done, true)).then(|| {
            let text = share.own();
            share.combined(&text)
        })
    })
}

impl Share {
    /// The map side without a combiner: a pair for every word.
    fn raw(&mut self, text: &str) -> Vec<Parcel> {
        self.packed(|packer| text.split_ascii_whitespace().for_each(|w| packer.put(w, 1)))
    }

    /// The map side with a combiner: one pair for each different word.
    fn combined(&mut self, text: &str) -> Vec<Parcel> {
        let start = Instant::now();
        let counts = count(text);
        self.done.map_s += start.elapsed().as_secs_f64();
        self.packed(|packer| counts.into_iter().for_each(|(w, n)| packer.put(w, n)))
    }

    /// The reduce side.
    fn reduce(&mut self, parcel: Parcel) {
        let start = Instant::now();
        if let Load::Pairs(pairs) = parcel.load {
            for (word, count) in pairs {
                *self.counts.entry(word).or_default() += count;
            }
        }
        self.done.reduce_s += start.elapsed().as_secs_f64();
    }
}

/// The job: map, shuffle, reduce.
fn counted<'scope>(
    scope: Scope<'scope, u64>,
    way: Way,
    share: &Shared,
) -> StreamVec<'scope, u64, ()> {
    let parcels = match way {
        Way::Raw => every_word(scope, share),
        Way::Combined => counted_first(scope, share),
        Way::Text => counted_there(handed_out(scope, share), share),
    };
    added_up(parcels, share)
}

/// The reduce side: parcels go to their owners, who add up.
fn added_up<'scope>(parcels: Parcels<'scope>, share: &Shared) -> StreamVec<'scope, u64, ()> {
    let share = share.clone();
    let to_owner = Exchange::new(|parcel: &Parcel| parcel.to as u64);
    parcels.unary::<Builder<()>, _, _, _>(to_owner, "add up", |_, _| {
        move |input, _| {
            input.for_each(|_, parcels| {
                let mut share = share.borrow_mut();
                parcels.drain(..).for_each(|parcel| share.reduce(parcel));
            });
        }
    })
}

/// The first worker reads everybody's piece: the others' first, which then are on their way while it
/// counts its own.
fn handed_out<'scope>(scope: Scope<'scope, u64>, share: &Shared) -> Parcels<'scope> {
    let share = share.clone();
    let mut left = if scope.index() == 0 { scope.peers() } else { 0 };
    produced(scope, move || {
        left = left.checked_sub(1)?;
        let text = share.borrow_mut().read(left);
        Some(vec![Parcel { to: left, load: Load::Text(text) }])
    })
}

/// The map side of those who are sent their text.
fn counted_there<'scope>(texts: Parcels<'scope>, share: &Shared) -> Parcels<'scope> {
    let share = share.clone();
    let to_its_worker = Exchange::new(|parcel: &Parcel| parcel.to as u64);
    texts.unary::<Builder<Parcel>, _, _, _>(to_its_worker, "count", |_, _| {
        move |input, output| {
            input.for_each(|time, parcels| {
                for parcel in parcels.drain(..) {
                    if let Load::Text(text) = parcel.load {
                        let parcels = share.borrow_mut().combined(&text);
                        output.session(&time).give_iterator(parcels.into_iter());
                    }
                }
            });
        }
    })
}
