//! Counting words inside one process: on one thread, and on a pool.

use std::{
    collections::{HashMap, hash_map::DefaultHasher},
    hash::{BuildHasher, BuildHasherDefault, Hash},
    io,
    ops::Add,
    time::{Duration, Instant},
};

use rayon::{ThreadPool, prelude::*};
use serde::{Deserialize, Serialize};

use super::corpus::Source;

/// A hash without random keys: every process must send a word to the same place.
pub type Fixed = BuildHasherDefault<DefaultHasher>;

/// How often each word was seen.
pub type Counts<Word> = HashMap<Word, u64, Fixed>;

/// Counts the words of a text.
pub fn count(text: &str) -> Counts<&str> {
    let mut counts = Counts::default();
    for word in text.split_ascii_whitespace() {
        *counts.entry(word).or_default() += 1;
    }
    counts
}

/// Which of so many workers counts a word. From the upper bits: the lower ones choose the place in
/// that worker's table, which would fill badly if they were all alike.
pub fn owner(word: &str, workers: usize) -> usize {
    let hash = Fixed::default().hash_one(word) >> 32;
    ((hash * workers as u64) >> 32) as usize
}

/// What counts come to, whatever their order and wherever their parts are: parts add up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Digest {
    /// Words.
    pub words: u64,
    /// Different words.
    pub distinct: u64,
    /// Sum over all words of a hash of the word and its count.
    pub sum: u64,
}

impl Digest {
    /// Of counts, or of a part of them.
    pub fn of<Word: AsRef<str> + Eq + Hash>(counts: &Counts<Word>) -> Digest {
        let each = counts.iter().map(|(word, count)| Digest {
            words: *count,
            distinct: 1,
            sum: fnv(word.as_ref(), *count),
        });
        each.fold(Digest::default(), Add::add)
    }
}

impl Add for Digest {
    type Output = Digest;

    fn add(self, other: Digest) -> Digest {
        Digest {
            words: self.words + other.words,
            distinct: self.distinct + other.distinct,
            sum: self.sum.wrapping_add(other.sum),
        }
    }
}

/// FNV-1a (Fowler, Noll, Vo) of "word TAB count": simple enough for every language.
fn fnv(word: &str, count: u64) -> u64 {
    let step = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3);
    let line = format!("{word}\t{count}");
    line.bytes().fold(0xCBF2_9CE4_8422_2325, step)
}

/// Reads and counts on this thread.
///
/// # Errors
/// When the text cannot be read.
pub fn one_thread(source: &Source) -> io::Result<(Duration, Digest)> {
    let start = Instant::now();
    let text = source.piece(0, 1)?;
    let counts = count(&text);
    Ok((start.elapsed(), Digest::of(&counts)))
}

/// Reads and counts a piece on each thread of a pool, and merges what they have.
///
/// # Errors
/// When the text cannot be read.
pub fn on_pool(source: &Source, pool: &ThreadPool) -> io::Result<(Duration, Digest)> {
    let n = pool.current_num_threads();
    let start = Instant::now();
    let pieces = (0..n).into_par_iter().map(|i| source.piece(i, n));
    let pieces: Vec<String> = pool.install(|| pieces.collect::<io::Result<_>>())?;
    let counts = pieces.par_iter().map(|text| count(text));
    let counts = pool.install(|| counts.reduce_with(merge)).unwrap_or_default();
    Ok((start.elapsed(), Digest::of(&counts)))
}

fn merge<'a>(a: Counts<&'a str>, b: Counts<&'a str>) -> Counts<&'a str> {
    let (mut into, from) = if a.len() >= b.len() { (a, b) } else { (b, a) };
    for (word, count) in from {
        *into.entry(word).or_default() += count;
    }
    into
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn words_and_their_counts() {
        let counts = count("to be or\nnot  to be\n");
        assert_eq!(counts[&"to"], 2);
        assert_eq!(counts.len(), 4);
        let digest = Digest::of(&counts);
        assert_eq!((digest.words, digest.distinct), (6, 4));
        // As lab18.py computes it.
        assert_eq!(fnv("a", 1), 0xE5BA_FC19_0412_7D0A);
    }

    #[test]
    fn owners_are_shared_out_evenly() {
        for workers in [1, 2, 3, 7] {
            let mut share = vec![0_usize; workers];
            (0..10_000).for_each(|i| share[owner(&format!("word{i}"), workers)] += 1);
            let even = 10_000 / workers;
            assert!(share.iter().all(|s| s.abs_diff(even) < even / 5), "{share:?}");
        }
    }

    proptest! {
        #[test]
        fn parts_add_up(words in prop::collection::vec("[a-d]{1,2}", 0..60), n in 1usize..5) {
            let text = words.join(" ");
            let all = count(&text);
            let parts = (0..n).map(|i| {
                let mine = all.iter().filter(|(w, _)| owner(w, n) == i);
                Digest::of(&mine.map(|(w, c)| (*w, *c)).collect::<Counts<&str>>())
            });
            prop_assert_eq!(parts.fold(Digest::default(), Add::add), Digest::of(&all));
        }

        #[test]
        fn a_wrong_count_is_noticed(words in prop::collection::vec("[a-d]{1,2}", 1..60)) {
            let text = words.join(" ");
            let right = count(&text);
            let mut wrong = right.clone();
            *wrong.values_mut().next().unwrap() += 1;
            prop_assert_ne!(Digest::of(&wrong), Digest::of(&right));
        }
    }
}
