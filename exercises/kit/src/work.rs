//! Computation that takes time, and whose result says whether it was done.

/// Stirs `seed` so many times; 300,000 rounds are about a millisecond. Two digests after each other are one of as
/// many rounds as both: `digest(digest(seed, 3), 4) == digest(seed, 7)`.
#[must_use]
pub fn digest(seed: u64, rounds: u64) -> u64 {
    crate::harness::witness(crate::harness::Did::Digest);
    let _span = crate::harness::Span::new("digests", "digested", format!("{seed} {rounds}"));
    crate::harness::beside_the_loop(|| crate::stir::stir(seed, rounds))
}

/// As [`digest`], but it breaks down on one seed in four, and only when all is computed: nobody knows which before.
///
/// # Panics
/// When the digest is a multiple of four.
#[must_use]
pub fn fragile(seed: u64, rounds: u64) -> u64 {
    crate::harness::witness(crate::harness::Did::Fragile { seed, rounds });
    let digest = crate::stir::stir(seed, rounds);
    assert!(!digest.is_multiple_of(4), "the computation for seed {seed} broke down");
    digest
}

#[cfg(test)]
mod tests {
    use super::digest;

    #[test]
    fn each_round_counts_and_parts_make_the_whole() {
        let all: std::collections::HashSet<u64> = (0..100).map(|n| digest(7, n)).collect();
        assert_eq!(all.len(), 100);
        assert_eq!(digest(digest(7, 3), 4), digest(7, 7));
    }
}
