//! Samples, changed at random and the same way each time, for tests of what reads other people's text.
//!
//! `FUZZ_SECONDS=600` goes on for ten minutes;
//! `FUZZ_CASE=17` repeats the case that a failed test has named.

use std::time::{Duration, Instant};

use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64;

/// What is tried when nobody asks for more.
const CASES: u64 = 5_000;

/// Calls `check` with samples in which bytes, parts and `words` have been changed, left out, repeated and put in. Its
/// random numbers belong to the case.
pub fn fuzz(
    samples: &[impl AsRef<[u8]>],
    words: &[&str],
    mut check: impl FnMut(&[u8], &mut Pcg64),
) {
    let mut try_case = |number| {
        let mut rng = Pcg64::seed_from_u64(number);
        let bytes = changed(samples, words, &mut rng);
        let case = Case { number, bytes };
        check(&case.bytes, &mut rng);
    };
    if let Some(number) = from_environment("FUZZ_CASE") {
        return try_case(number);
    }
    let end = from_environment("FUZZ_SECONDS").map(|s| Instant::now() + Duration::from_secs(s));
    let mut number = 0;
    while end.map_or(number < CASES, |end| Instant::now() < end) {
        try_case(number);
        number += 1;
    }
    println!("{number} cases");
}

/// Names itself when its check panics.
struct Case {
    number: u64,
    bytes: Vec<u8>,
}

impl Drop for Case {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("FUZZ_CASE={}: \"{}\"", self.number, self.bytes.escape_ascii());
        }
    }
}

fn from_environment(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} must be a whole number")))
}

fn one(from: &[impl AsRef<[u8]>], rng: &mut Pcg64) -> Vec<u8> {
    from[rng.random_range(0..from.len())].as_ref().to_vec()
}

fn changed(samples: &[impl AsRef<[u8]>], words: &[&str], rng: &mut Pcg64) -> Vec<u8> {
    let mut bytes = one(samples, rng);
    for _ in 0..rng.random_range(0..6) {
        let at = rng.random_range(0..=bytes.len());
        let to = rng.random_range(at..=bytes.len().min(at + 20));
        let new = match rng.random_range(0..7) {
            0 => vec![],
            1 => vec![rng.random()],
            2 => vec![rng.random_range(b' '..=b'~')],
            3 | 4 => one(words, rng),
            5 => bytes[at..to].repeat(rng.random_range(2..40)),
            _ => {
                let other = one(samples, rng);
                let from = rng.random_range(0..=other.len());
                bytes.truncate(to);
                other[from..].to_vec()
            }
        };
        let end = if rng.random() { at } else { to };
        bytes.splice(at..end, new);
    }
    bytes
}
