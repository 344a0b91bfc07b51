//! What a trial of a condition is, whatever theory says of it.

use lab_kit::{
    accounts::{ensure, gauge},
    prelude::*,
};

use super::{
    Params,
    corpus::WORDS_A_LINE,
    gauges,
    plan::PAIR,
    wire::{LATE, PART},
};

/// What two clocks may differ by: a share, and seconds.
const CLOCK: (f64, f64) = (0.02, 1e-4);
/// Bytes of a pair on the wire beside its word, and of the longest word.
const PAIR_B: (f64, f64) = (16.0, 8.0);
/// Bytes of the heads of messages, for each pair and for each process.
const HEAD_B: (f64, f64) = (2.0, 4096.0);
/// How far the words of a text may lie from their law: a share, and standard deviations.
const CHANCE: (f64, f64) = (0.1, 5.0);

pub(super) fn premise(p: &Params, at: &Condition, t: &Trial) -> Result<(), String> {
    match at.series() {
        "loopback" => loopback(p, t),
        "one thread" => law(p, at.x(), t),
        "rayon" => counted(t),
        "killed" => counted(t).and_then(|()| killed(t)),
        series if series.starts_with("python/") => counted(t),
        series if series.starts_with("paper/") => on_paper(p, series, t),
        series => {
            counted(t)?;
            worked(t)?;
            shuffled(p, series, at.x(), t)
        }
    }
}

/// These times were a part of that one.
fn within(what: &str, parts: f64, whole: f64) -> Result<(), String> {
    ensure(parts <= whole * (1.0 + CLOCK.0) + CLOCK.1, || {
        format!("{what} took {parts:.3e} s, within {whole:.3e} s")
    })
}

fn counted(t: &Trial) -> Result<(), String> {
    let (words, distinct) = (gauge(t, gauges::WORDS)?, gauge(t, gauges::DISTINCT)?);
    ensure((1.0..=words).contains(&distinct), || format!("{distinct} different words of {words}"))
}

/// The text has as many words as were asked for.
fn law(p: &Params, bytes: f64, t: &Trial) -> Result<(), String> {
    counted(t)?;
    let (words, due) = (gauge(t, gauges::WORDS)?, p.law().words(bytes));
    let room = CHANCE.0 * due + CHANCE.1 * due.sqrt() + 2.0 * WORDS_A_LINE as f64;
    ensure((words - due).abs() <= room, || format!("{words} words, where {due:.0} should be"))
}

fn loopback(p: &Params, t: &Trial) -> Result<(), String> {
    // An older record does not know how long a message takes.
    let message = t.gauge(gauges::MESSAGE_S_PER_BYTE).unwrap_or(0.0) / PAIR as f64;
    let sent = (4.0 * gauge(t, gauges::S_PER_BYTE)? + message) * p.bytes.f();
    within("what was sent", sent, t.wall_s)
}

fn on_paper(p: &Params, series: &str, t: &Trial) -> Result<(), String> {
    let of = |name: Gauge| gauge(t, name);
    let took = of(gauges::SERIALIZE_S)? + of(gauges::DISCARD_S)? + of(gauges::DESERIALIZE_S)?;
    within("writing and reading", took, t.wall_s)?;
    let (bytes, pairs) = (of(gauges::BYTES)?, of(gauges::PAIRS)?);
    let text = if series == "paper/text" { p.bytes.f() } else { 0.0 };
    ensure(pairs > 0.0 || text > 0.0, || "no pair was written".into())?;
    pairs_and_text(bytes, pairs, text, 1.0)
}

/// Bytes are those of so many pairs, and of the text.
fn pairs_and_text(bytes: f64, pairs: f64, text: f64, processes: f64) -> Result<(), String> {
    let most = pairs * (PAIR_B.0 + PAIR_B.1 + HEAD_B.0) + text * 1.01 + HEAD_B.1 * processes;
    let least = pairs * PAIR_B.0 + text * 0.99;
    ensure((least..=most).contains(&bytes), || format!("{bytes} bytes of {pairs} pairs"))
}

/// What the workers did fits into the job, and the job into its clock.
fn worked(t: &Trial) -> Result<(), String> {
    let of = |name: Gauge| gauge(t, name);
    let parts = of(gauges::READ_S)? + of(gauges::MAP_S)? + of(gauges::PACK_S)?;
    let parts =
        parts + of(gauges::SERIALIZE_S)? + of(gauges::DESERIALIZE_S)? + of(gauges::REDUCE_S)?;
    within("a worker's parts", parts, of(gauges::WORKER_S)?)?;
    within("a worker", of(gauges::WORKER_S)?, t.wall_s)?;
    within("connecting", of(gauges::CONNECT_S)?, of(gauges::START_S)?)
}

/// As many pairs as there are words for, and as many bytes as pairs that went to another process.
fn shuffled(p: &Params, series: &str, x: f64, t: &Trial) -> Result<(), String> {
    let of = |name: Gauge| gauge(t, name);
    let pair = PAIR as f64;
    let (processes, workers) = match series {
        "threads" => (1.0, x),
        "raw" | "combined" => (x, x),
        _ => (pair, pair),
    };
    let (pairs, away) = (of(gauges::PAIRS)?, of(gauges::PAIRS_AWAY)?);
    let (words, distinct) = (of(gauges::WORDS)?, of(gauges::DISTINCT)?);
    let due = match series {
        "raw" => words..=words,
        _ => distinct..=distinct * workers,
    };
    ensure(due.contains(&pairs) && away <= pairs, || {
        format!("{pairs} pairs of {words} words, {distinct} of them different")
    })?;
    let sent = of(gauges::WIRE_BYTES)?;
    if processes == 1.0 {
        return ensure(sent == 0.0, || format!("one process sent {sent} bytes"));
    }
    let is_sent = series.starts_with("text");
    let text = if is_sent { p.bytes.f() / pair } else { 0.0 };
    pairs_and_text(sent, away, text, processes)?;
    // A slow wire lets a process have sent nothing but a part, and what a sleep was late by, too early.
    let early = LATE.as_secs_f64() + PART as f64 / p.network.f();
    let least = text / p.network.f() - early;
    ensure(!series.ends_with("/network") || t.wall_s >= least, || {
        format!("{text} bytes came within {:.4} s", t.wall_s)
    })
}

/// The output is one thing, and it was seen to.
fn killed(t: &Trial) -> Result<(), String> {
    let (absent, broken) = (gauge(t, gauges::ABSENT)?, gauge(t, gauges::BROKEN_OUTPUTS)?);
    gauge(t, gauges::OTHERS_FAILED)?;
    ensure(gauge(t, gauges::STOPPED_S)? > 0.0, || "nothing was killed".into())?;
    ensure([absent, broken, absent + broken].iter().all(|n| [0.0, 1.0].contains(n)), || {
        format!("the output was absent ({absent}) and broken ({broken})")
    })
}
