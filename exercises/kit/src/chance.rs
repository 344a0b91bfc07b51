use std::hash::{BuildHasher, Hasher, RandomState};

/// A number by chance, 0 or more and less than 1; another one each time.
#[must_use]
pub fn chance() -> f64 {
    // The standard library draws keys for its hash maps, and this is the digest of nothing with a new key.
    let drawn = RandomState::new().build_hasher().finish();
    (drawn >> 11) as f64 / (1_u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use super::chance;

    #[test]
    fn it_is_even_and_never_the_same() {
        let drawn: Vec<f64> = (0..10_000).map(|_| chance()).collect();
        assert!(drawn.iter().all(|x| (0.0..1.0).contains(x)));
        let mean = drawn.iter().sum::<f64>() / 10_000.0;
        assert!((0.45..0.55).contains(&mean), "{mean}");
        let bits: std::collections::HashSet<u64> = drawn.iter().map(|x| x.to_bits()).collect();
        assert_eq!(bits.len(), 10_000);
    }
}
