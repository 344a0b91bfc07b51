//! The text: words whose frequencies follow Zipf's law, made from a seed, so that every host can make
//! the same; and pieces of a text file, cut at the ends of lines.

use std::{
    fs::File,
    io::{self, BufWriter, Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use rand::SeedableRng;
use rand_distr::{Distribution, Zipf};
use rand_pcg::Pcg64Mcg;
use serde::{Deserialize, Serialize};

/// Words on a line.
pub(super) const WORDS_A_LINE: usize = 12;

/// How a text is made: the word of rank r comes up with probability proportional to `r^-exponent`
/// (Zipf 1949).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Law {
    /// Different words there are.
    pub vocabulary: usize,
    /// How uneven their frequencies are; 1 is about that of languages.
    pub exponent: f64,
}

impl Law {
    /// The ranks, kept for the laws that were asked for last: theory asks for them again and again.
    fn ranks(&self) -> Arc<[Ranks]> {
        static KNOWN: Mutex<Vec<(Law, Arc<[Ranks]>)>> = Mutex::new(Vec::new());
        let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, ranks)) = known.iter().find(|(law, _)| law == self) {
            return ranks.clone();
        }
        let ranks: Arc<[Ranks]> = self.work_out_ranks().into();
        known.truncate(2);
        known.insert(0, (*self, ranks.clone()));
        ranks
    }

    /// The ranks, the most frequent first, with their probabilities. Far down, where neighbours are as likely
    /// as each other, a thousandth of them is taken together.
    fn work_out_ranks(&self) -> Vec<Ranks> {
        let (mut ranks, mut at) = (Vec::new(), 0);
        // Where words become longer, and how long they are up to there.
        let (mut longer, mut words) = (100, 100);
        let length = |rank: usize| word(rank).len() as f64 + 1.0;
        let mut bytes = length(0);
        while at < self.vocabulary {
            if at == longer {
                words *= 100;
                longer += words;
                bytes = length(at);
            }
            let size = if at < EACH_RANK { 1 } else { at / 1000 };
            let end = (at + size).min(self.vocabulary).min(longer);
            let middle = (at + 1 + end) as f64 / 2.0;
            ranks.push(Ranks {
                count: (end - at) as f64,
                probability: middle.powf(-self.exponent),
                missing: 0.0,
                bytes,
            });
            at = end;
        }
        let sum: f64 = ranks.iter().map(|r| r.count * r.probability).sum();
        for r in &mut ranks {
            r.probability /= sum;
            r.missing = (-r.probability).ln_1p();
        }
        ranks
    }

    /// How many different words are expected among so many: each word is missing with probability
    /// `(1 - p)^words`.
    pub fn distinct(&self, words: f64) -> f64 {
        self.ranks().iter().map(|r| r.count * r.there(words)).sum()
    }

    /// Standard deviation of how many different words there are among so many.
    pub fn distinct_deviation(&self, words: f64) -> f64 {
        // Words crowd each other out, which only makes the sum vary less.
        let variance = |r: &Ranks| r.count * r.there(words) * (1.0 - r.there(words));
        self.ranks().iter().map(variance).sum::<f64>().sqrt()
    }

    /// How many words a text of so many bytes is expected to have, each with the blank after it.
    pub fn words(&self, bytes: f64) -> f64 {
        let length = |r: &Ranks| r.count * r.probability * r.bytes;
        bytes / self.ranks().iter().map(length).sum::<f64>()
    }

    /// Bytes of a word with the blank after it: of one of the text, and of one of its different
    /// words, for a text of so many words.
    pub fn word_bytes(&self, words: f64) -> (f64, f64) {
        let (mut each, mut different, mut count) = (0.0, 0.0, 0.0);
        for r in self.ranks().iter() {
            let there = r.count * r.there(words);
            each += r.count * r.probability * r.bytes;
            different += there * r.bytes;
            count += there;
        }
        (each, different / count)
    }

    /// Writes a text of at least so many bytes, in whole lines.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn write(&self, path: &Path, bytes: u64, seed: u64) -> io::Result<()> {
        let law = Zipf::new(self.vocabulary as f64, self.exponent).map_err(io::Error::other)?;
        let words: Vec<String> = (0..self.vocabulary).map(word).collect();
        let mut rng = Pcg64Mcg::seed_from_u64(seed);
        let mut file = BufWriter::with_capacity(1 << 16, File::create(path)?);
        let mut written = 0;
        while written < bytes {
            for at in 1..=WORDS_A_LINE {
                let rank = law.sample(&mut rng) as usize;
                let word = &words[rank.clamp(1, self.vocabulary) - 1];
                file.write_all(word.as_bytes())?;
                file.write_all(if at == WORDS_A_LINE { b"\n" } else { b" " })?;
                written += word.len() as u64 + 1;
            }
        }
        file.flush()
    }
}

/// Up to so many ranks, theory looks at each by itself.
const EACH_RANK: usize = 50_000;

/// Ranks that are as likely as each other, or nearly.
struct Ranks {
    /// How many.
    count: f64,
    /// Of each of them.
    probability: f64,
    /// The logarithm of the probability that a word is none of them.
    missing: f64,
    /// Bytes of a word with the blank after it.
    bytes: f64,
}

impl Ranks {
    /// The probability that one of them is among so many words.
    fn there(&self, words: f64) -> f64 {
        -(words * self.missing).exp_m1()
    }
}

/// The word of a rank, from 0: syllables of two letters, fewer for the more frequent words.
fn word(rank: usize) -> String {
    const CONSONANTS: &[u8; 20] = b"bcdfghjklmnpqrstvwxz";
    const VOWELS: &[u8; 5] = b"aeiou";
    let (mut rest, mut text) = (rank + 1, Vec::new());
    while rest > 0 {
        // Digits from 1 to 100, so that no two ranks are written alike.
        let digit = (rest - 1) % 100;
        rest = (rest - 1) / 100;
        text.extend([char::from(CONSONANTS[digit / 5]), char::from(VOWELS[digit % 5])]);
    }
    text.into_iter().collect()
}

/// The beginning of a text file, up to the line in which the last of so many bytes is.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Source {
    /// The file.
    pub file: PathBuf,
    /// Bytes of it.
    pub bytes: u64,
}

impl Source {
    /// The `i`-th of `n` pieces of about the same size: the lines that begin in it. Every line is in
    /// exactly one piece.
    ///
    /// # Errors
    /// When the file cannot be read, or is not UTF-8.
    pub fn piece(&self, i: usize, n: usize) -> io::Result<String> {
        let mut file = File::open(&self.file)?;
        let whole = self.bytes.min(file.metadata()?.len());
        let cut = |i: usize| (u128::from(whole) * i as u128 / n as u128) as u64;
        let (start, end) = (cut(i), cut(i + 1));
        if start == end {
            return Ok(String::new());
        }
        // From the byte before on: a line begins after a line feed.
        let from = start.saturating_sub(1);
        file.seek(SeekFrom::Start(from))?;
        let mut text = vec![0; (end - from) as usize];
        file.read_exact(&mut text)?;
        if start > 0 {
            let before = text[..text.len() - 1].iter().position(|b| *b == b'\n');
            let Some(line_feed) = before else {
                return Ok(String::new());
            };
            text.drain(..=line_feed);
        }
        // To the end of the last line that has begun.
        while text.last() != Some(&b'\n') {
            let mut more = [0; 4096];
            let read = file.read(&mut more)?;
            let until = more[..read].iter().position(|b| *b == b'\n');
            text.extend(&more[..until.map_or(read, |at| at + 1)]);
            if read == 0 || until.is_some() {
                break;
            }
        }
        String::from_utf8(text).map_err(|e| io::Error::new(io::ErrorKind::InvalidData, e))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use proptest::prelude::*;

    const LAW: Law = Law { vocabulary: 5000, exponent: 1.0 };

    #[test]
    fn no_two_ranks_have_the_same_word() {
        let words: HashSet<String> = (0..100_000).map(word).collect();
        assert_eq!(words.len(), 100_000);
        assert_eq!((word(0).len(), word(100).len(), word(10_100).len()), (2, 4, 6));
    }

    #[test]
    fn ranks_that_are_taken_together_count_as_each_by_itself() {
        let law = Law { vocabulary: 1_200_000, exponent: 0.7 };
        let ranks = law.ranks();
        assert!(ranks.len() < EACH_RANK + 10_000);
        let count: f64 = ranks.iter().map(|r| r.count).sum();
        assert_eq!(count, law.vocabulary as f64);
        let mut at = 0;
        for r in ranks.iter() {
            for rank in [at, at + r.count as usize - 1] {
                assert_eq!(r.bytes, word(rank).len() as f64 + 1.0, "{rank}");
            }
            at += r.count as usize;
        }
        let weight = |rank: usize| (rank as f64).powf(-law.exponent);
        let sum: f64 = (1..=law.vocabulary).map(weight).sum();
        let each = (1..=law.vocabulary).map(|rank| weight(rank) / sum);
        let words = 1e6;
        let distinct: f64 = each.map(|p| -(words * (-p).ln_1p()).exp_m1()).sum();
        assert!((law.distinct(words) / distinct - 1.0).abs() < 1e-6);
    }

    #[test]
    fn a_text_follows_its_law_and_its_seed() {
        let folder = tempfile::tempdir().unwrap();
        let make = |name: &str, seed| {
            let path = folder.path().join(name);
            LAW.write(&path, 200_000, seed).unwrap();
            std::fs::read_to_string(path).unwrap()
        };
        let text = make("a", 1);
        assert_eq!(text, make("b", 1));
        assert_ne!(text, make("c", 2));
        let words: Vec<&str> = text.split_ascii_whitespace().collect();
        let different: HashSet<&str> = words.iter().copied().collect();
        let expected = LAW.distinct(words.len() as f64);
        // Three standard deviations are less than 3 % here.
        assert!((different.len() as f64 / expected - 1.0).abs() < 0.03, "{expected}");
        let chance = 4.0 * LAW.distinct_deviation(words.len() as f64);
        assert!((different.len() as f64 - expected).abs() < chance);
        assert!((LAW.words(text.len() as f64) / words.len() as f64 - 1.0).abs() < 0.01);
        let (each, long) = LAW.word_bytes(words.len() as f64);
        let mean = different.iter().map(|w| w.len() + 1).sum::<usize>() as f64;
        assert!((text.len() as f64 / words.len() as f64 / each - 1.0).abs() < 0.01);
        assert!((mean / different.len() as f64 / long - 1.0).abs() < 0.01);
    }

    proptest! {
        #[test]
        fn pieces_are_the_text(lines in prop::collection::vec("[ab ]{0,9}", 0..20), last in "[ab]{0,3}", n in 1usize..9, bytes in 0u64..200) {
            let folder = tempfile::tempdir().unwrap();
            let file = folder.path().join("text");
            let text: String = lines.iter().map(|l| format!("{l}\n")).chain([last]).collect();
            std::fs::write(&file, &text).unwrap();
            let all = |source: &Source| {
                (0..n).map(|i| source.piece(i, n).unwrap()).collect::<String>()
            };
            let whole = Source { file, bytes: u64::MAX };
            prop_assert_eq!(all(&whole), text.clone());
            // A beginning is the lines that begin in it, however it is cut.
            let part = Source { bytes, ..whole };
            prop_assert_eq!(all(&part), part.piece(0, 1).unwrap());
            prop_assert!(text.starts_with(&part.piece(0, 1).unwrap()));
        }
    }
}
