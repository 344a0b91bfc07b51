//! What is handed over, and how the far side knows that it got all of it.
//!
//! A payload is a run of 64-bit words that depend on their place and on the number of the hand-over,
//! so that no two blocks are alike: not within one payload, and not between two. Its checksum adds
//! the words up, and adds the sums up as it goes, so that every word weighs as much as it is far
//! from the end (Fletcher 1982, on 64-bit words). A block that is lost, in another's place or left
//! over from an earlier payload changes it. It is no protection against an adversary.
//!
//! Eight sums side by side keep a processor's vector unit busy: reading is then as fast as memory
//! delivers, and that is what the lab wants to measure. The inner loops are written out plainly, so
//! that they become vector code whatever the compiler takes into one piece: a call for each word would
//! make it a computation of its own, four times as long.

#![allow(
    clippy::needless_range_loop,
    reason = "plain loops, see above: no call is left in them whatever is compiled in one piece"
)]

/// Words in a row.
const LANES: usize = 8;
/// Bytes in a row.
const ROW: usize = 8 * LANES;
/// 2⁶⁴ over the golden ratio: odd, with bits everywhere.
const STEP: u64 = 0x9E37_79B9_7F4A_7C15;

/// The sums of each column, and the sums of those sums.
#[derive(Default)]
struct Sum {
    words: [u64; LANES],
    sums: [u64; LANES],
}

impl Sum {
    #[inline(always)]
    fn add(&mut self, row: &[u64; LANES]) {
        for i in 0..LANES {
            self.words[i] = self.words[i].wrapping_add(row[i]);
            self.sums[i] = self.sums[i].wrapping_add(self.words[i]);
        }
    }

    /// One number of all, in which every column weighs differently.
    fn fold(&self, bytes: usize) -> u64 {
        let all = self.words.iter().chain(&self.sums);
        all.fold(bytes as u64, |h, x| mix(h ^ x))
    }
}

/// Scrambles a number (the finaliser of SplitMix64, Steele, Lea and Flood 2014).
fn mix(mut z: u64) -> u64 {
    z = z.wrapping_add(STEP);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// Writes the payload of a hand-over and returns its checksum: one pass that only writes.
pub fn fill(buffer: &mut [u8], seq: u64) -> u64 {
    let (mut sum, bytes) = (Sum::default(), buffer.len());
    let first = mix(seq);
    let mut row: [u64; LANES] = std::array::from_fn(|i| mix(first ^ i as u64));
    let step = mix(first) | 1;
    let (rows, rest) = buffer.as_chunks_mut::<ROW>();
    for place in rows {
        write(place, &row);
        sum.add(&row);
        for word in &mut row {
            *word = word.wrapping_add(step);
        }
    }
    if !rest.is_empty() {
        let mut last = [0; ROW];
        write(&mut last, &row);
        rest.copy_from_slice(&last[..rest.len()]);
        sum.add(&tail(rest));
    }
    sum.fold(bytes)
}

/// The checksum of what has arrived: one pass that only reads.
pub fn checksum(buffer: &[u8]) -> u64 {
    let mut sum = Sum::default();
    let (rows, rest) = buffer.as_chunks::<ROW>();
    for row in rows {
        sum.add(&words(row));
    }
    if !rest.is_empty() {
        sum.add(&tail(rest));
    }
    sum.fold(buffer.len())
}

/// What is left of a row, with zeros behind it.
fn tail(rest: &[u8]) -> [u64; LANES] {
    let mut row = [0; ROW];
    row[..rest.len()].copy_from_slice(rest);
    words(&row)
}

#[inline(always)]
fn words(row: &[u8; ROW]) -> [u64; LANES] {
    let (bytes, _) = row.as_chunks::<8>();
    let mut words = [0; LANES];
    for i in 0..LANES {
        words[i] = u64::from_le_bytes(bytes[i]);
    }
    words
}

#[inline(always)]
fn write(place: &mut [u8; ROW], row: &[u64; LANES]) {
    let (bytes, _) = place.as_chunks_mut::<8>();
    for i in 0..LANES {
        bytes[i] = row[i].to_le_bytes();
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn payload(bytes: usize, seq: u64) -> (Vec<u8>, u64) {
        let mut buffer = vec![0; bytes];
        let sum = fill(&mut buffer, seq);
        (buffer, sum)
    }

    proptest! {
        #[test]
        fn what_was_written_is_what_is_read(bytes in 0usize..5000, seq: u64) {
            let (buffer, sum) = payload(bytes, seq);
            prop_assert_eq!(checksum(&buffer), sum);
        }

        #[test]
        fn a_lost_a_swapped_and_a_stale_block_are_seen(
            blocks in 2usize..40, block in 8usize..300, one: prop::sample::Index, other: prop::sample::Index, seq in 1u64..1 << 60
        ) {
            let (good, sum) = payload(blocks * block, seq);
            let place = |i: usize| i * block..(i + 1) * block;
            let (one, other) = (place(one.index(blocks)), place(other.index(blocks)));
            let mut lost = good.clone();
            lost[one.clone()].fill(0);
            prop_assert_ne!(checksum(&lost), sum);
            let mut stale = good.clone();
            stale[one.clone()].copy_from_slice(&payload(good.len(), seq - 1).0[one.clone()]);
            prop_assert_ne!(checksum(&stale), sum);
            let mut swapped = good.clone();
            swapped[one.clone()].copy_from_slice(&good[other.clone()]);
            swapped[other.clone()].copy_from_slice(&good[one.clone()]);
            prop_assert_eq!(checksum(&swapped) == sum, one == other);
            prop_assert_ne!(checksum(&good[block..]), sum);
        }

        #[test]
        fn any_changed_byte_is_seen(bytes in 1usize..500, at: prop::sample::Index, flip in 1u8.., seq: u64) {
            let (mut buffer, sum) = payload(bytes, seq);
            let at = at.index(bytes);
            buffer[at] ^= flip;
            prop_assert_ne!(checksum(&buffer), sum);
        }
    }
}
