//! Text in pieces: a file read chunk by chunk, its cleaning, and text to practise on.

use std::{io, path::Path};

use bytes::Bytes;
use tokio::{
    fs::File,
    io::{AsyncRead, AsyncReadExt, BufReader, Take},
};

use super::output::Done;

/// Bytes read from the disk at a time, whatever the size of a chunk.
const READ: usize = 64 * 1024;

/// A piece of the file, cleaned.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Chunk {
    /// Its place in the file, counted from 0.
    pub number: u64,
    /// Where it begins, in bytes.
    pub offset: u64,
    /// What it says.
    pub text: Bytes,
}

/// Reads chunks one after another and holds no more than one of them.
pub struct Chunks<R> {
    source: R,
    size: usize,
    /// The beginning of a character that the last chunk ended in: three bytes at most.
    rest: Vec<u8>,
    number: u64,
    offset: u64,
    done: Done,
}

/// The chunks of the first so many bytes of a file.
pub type FileChunks = Chunks<BufReader<Take<File>>>;

impl FileChunks {
    /// The chunks of the first `bytes` of a file, without those that are done.
    ///
    /// # Errors
    /// When the file cannot be opened.
    pub async fn open(path: &Path, bytes: u64, size: usize, done: Done) -> io::Result<Self> {
        let file = File::open(path).await?.take(bytes);
        Ok(Chunks::new(BufReader::with_capacity(READ, file), size, done))
    }
}

impl<R: AsyncRead + Unpin> Chunks<R> {
    /// Chunks of at most `size` bytes (four at least, so that every character fits).
    pub fn new(source: R, size: usize, done: Done) -> Chunks<R> {
        Chunks { source, size: size.max(4), rest: Vec::new(), number: 0, offset: 0, done }
    }

    /// The next chunk that is not done; `None` at the end. One that is empty when cleaned is left
    /// out: there is nothing to ask the service about.
    ///
    /// # Errors
    /// Those of the source.
    pub async fn next(&mut self) -> io::Result<Option<Chunk>> {
        loop {
            let raw = self.read().await?;
            if raw.is_empty() {
                return Ok(None);
            }
            let (number, offset) = (self.number, self.offset);
            self.number += 1;
            self.offset += raw.len() as u64;
            if self.done.contains(number) {
                continue;
            }
            // What is no UTF-8 becomes U+FFFD.
            let text = clean(&String::from_utf8_lossy(&raw));
            if !text.is_empty() {
                let text = Bytes::from(text);
                return Ok(Some(Chunk { number, offset, text }));
            }
        }
    }

    /// The next `n` chunks, fewer at the end.
    ///
    /// # Errors
    /// Those of the source.
    pub async fn next_batch(&mut self, n: usize) -> io::Result<Vec<Chunk>> {
        let mut batch = Vec::new();
        while batch.len() < n
            && let Some(chunk) = self.next().await?
        {
            batch.push(chunk);
        }
        Ok(batch)
    }

    /// The next bytes up to the end of a character; none at the end of the source.
    async fn read(&mut self) -> io::Result<Vec<u8>> {
        let mut raw = vec![0; self.size];
        let mut filled = self.rest.len();
        raw[..filled].copy_from_slice(&self.rest);
        while filled < self.size {
            match self.source.read(&mut raw[filled..]).await? {
                0 => break,
                n => filled += n,
            }
        }
        raw.truncate(filled);
        let end = if filled < self.size { filled } else { boundary(&raw) };
        self.rest = raw.split_off(end);
        Ok(raw)
    }
}

/// Where to cut so that no character is cut in two: the length without the beginning of a
/// character that does not end here. Bytes that are no UTF-8 stay where they are.
fn boundary(bytes: &[u8]) -> usize {
    for back in 1..=bytes.len().min(3) {
        let at = bytes.len() - back;
        let width = match bytes[at] {
            0x80..=0xBF => continue,
            0xC0..=0xDF => 2,
            0xE0..=0xEF => 3,
            0xF0..=0xF7 => 4,
            _ => 1,
        };
        return if width > back { at } else { bytes.len() };
    }
    bytes.len()
}

/// Blanks and control characters as a reader wants them: every run of white space becomes one
/// blank, or one line break if it has one; what cannot be seen goes; nothing at either end.
pub fn clean(text: &str) -> String {
    let mut clean = String::with_capacity(text.len());
    let mut gap = None;
    for c in text.chars() {
        // Before white space, because tabs and line breaks are control characters, too.
        if c.is_whitespace() {
            let line = matches!(c, '\n' | '\r' | '\u{85}' | '\u{2028}' | '\u{2029}');
            gap = Some(if line || gap == Some('\n') { '\n' } else { ' ' });
        } else if !(c.is_control()
            || matches!(c, '\u{200B}'..='\u{200F}' | '\u{2060}' | '\u{FEFF}'))
        {
            clean.extend(gap.take().filter(|_| !clean.is_empty()));
            clean.push(c);
        }
    }
    clean
}

/// A digest of a text: FNV-1a in 64 bits (Fowler, Noll and Vo, 1991). It recognises a text, and
/// protects it from nobody.
pub fn digest(text: &[u8]) -> u64 {
    text.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3)
    })
}

/// Sentences as they come out of scanned and converted documents.
const SENTENCES: [&str; 8] = [
    "The  queue is\tlonger than the counter,   and nobody knows why.\r\n",
    "Größere Stapel, längeres Warten: so hält ein Nachzügler alle auf. ",
    "Un café, s’il vous plaît\u{200B} – et l’addition,\u{A0}merci !\n\n\n",
    "Время ожидания растёт быстрее, чем нагрузка. ",
    "待ち行列は長い。\u{3000}窓口は一つ。 ",
    "A page break\u{0C} in the middle, a bell\u{07} at the end. ",
    "Throughput = work in flight / time in flight \u{1F680}. ",
    "\u{FEFF}Tables\tcome\t\tout\tlike\tthis.\r",
];

/// Writes a text of exactly `bytes` bytes: always the same one for a seed.
///
/// # Errors
/// When it cannot be written.
pub fn generate(path: &Path, bytes: u64, seed: u64) -> io::Result<()> {
    use std::io::Write;
    let mut file = io::BufWriter::new(std::fs::File::create(path)?);
    let mut left = usize::try_from(bytes).map_err(io::Error::other)?;
    let mut state = seed;
    while left > 0 {
        // A linear congruential generator (Knuth, MMIX): good enough to shuffle sentences.
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let sentence = SENTENCES[(state >> 61) as usize];
        if sentence.len() <= left {
            file.write_all(sentence.as_bytes())?;
            left -= sentence.len();
        } else {
            file.write_all(&vec![b'.'; left])?;
            left = 0;
        }
    }
    file.flush()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn all(source: &[u8], size: usize) -> Vec<Vec<u8>> {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let mut chunks = Chunks::new(source, size, Done::default());
            let mut raw = Vec::new();
            loop {
                match chunks.read().await.unwrap() {
                    piece if piece.is_empty() => return raw,
                    piece => raw.push(piece),
                }
            }
        })
    }

    #[test]
    fn cleaning_says_what_it_does() {
        for (dirty, tidy) in [
            ("a  b\t c", "a b c"),
            ("a \r\n\n b", "a\nb"),
            ("\u{FEFF}a\u{7}b\u{200B}c", "abc"),
            (" \n ", ""),
            ("ß\u{A0}–", "ß –"),
        ] {
            assert_eq!(clean(dirty), tidy, "{dirty:?}");
        }
    }

    #[test]
    fn chunks_have_numbers_and_places_and_done_ones_are_left_out() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let mut done = Done::default();
        done.insert(1);
        let source = "abcd efgh        ijkl".as_bytes();
        runtime.block_on(async {
            let mut chunks = Chunks::new(source, 4, done);
            let batch = chunks.next_batch(9).await.unwrap();
            let seen: Vec<_> = batch.iter().map(|c| (c.number, c.offset, c.text.clone())).collect();
            // Chunk 1 is done, chunk 3 is nothing but blanks.
            let expected = [(0, 0, "abcd"), (2, 8, "h"), (4, 16, "ijk"), (5, 20, "l")];
            let expected: Vec<_> = expected.map(|(n, o, t)| (n, o, Bytes::from(t))).into();
            assert_eq!(seen, expected);
            assert!(chunks.next_batch(9).await.unwrap().is_empty());
        });
    }

    #[test]
    fn a_generated_text_is_the_same_for_its_seed_and_as_long_as_asked() {
        let folder = tempfile::tempdir().unwrap();
        let make = |name: &str, seed| {
            let path = folder.path().join(name);
            generate(&path, 5000, seed).unwrap();
            std::fs::read_to_string(path).unwrap()
        };
        let (a, b, c) = (make("a", 1), make("b", 1), make("c", 2));
        assert_eq!((a.len(), a == b, a == c), (5000, true, false));
    }

    proptest! {
        #[test]
        fn chunks_lose_nothing_and_cut_no_character(text in "\\PC{0,300}", size in 4usize..40) {
            let chunks = all(text.as_bytes(), size);
            prop_assert_eq!(chunks.concat(), text.as_bytes());
            for chunk in &chunks {
                prop_assert!(chunk.len() <= size && std::str::from_utf8(chunk).is_ok());
            }
            // All but the last are full, up to a character that did not fit.
            prop_assert!(chunks.iter().rev().skip(1).all(|c| c.len() > size - 4));
        }

        #[test]
        fn bytes_of_any_kind_come_through(bytes: Vec<u8>, size in 4usize..40) {
            prop_assert_eq!(all(&bytes, size).concat(), bytes);
        }

        #[test]
        fn clean_text_stays_as_it_is(text: String) {
            let once = clean(&text);
            prop_assert_eq!(clean(&once), once.clone());
            prop_assert!(!once.contains("  ") && !once.contains('\t') && once.len() <= text.len());
        }
    }
}
