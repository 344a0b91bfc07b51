//! Names of this lab's figures.

lab_kit::gauges! {
    /// Parts of the answer that were delivered.
    PARTS = "parts",
    /// From the trial's origin, which the spans count from, to the beginning of the answer.
    BEGUN_S = "begun_s",
    /// The share of fetches that met the slow tail.
    SLOW_FETCHES = "slow_fetches",
    /// The share of answers that did.
    SLOW_ANSWERS = "slow_answers",
}
