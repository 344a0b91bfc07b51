/// Stirs `seed` so many times. The result of one round is the input of the next, so that there is no shorter way.
///
/// The step is SplitMix64's (Steele, Lea and Flood, 2014).
pub(crate) fn stir(seed: u64, rounds: u64) -> u64 {
    let mut state = seed;
    for _ in 0..rounds {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        state = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        state = (state ^ (state >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        state ^= state >> 31;
    }
    state
}
