//! What a trial of a condition is, whatever theory says of it.

use lab_kit::{
    accounts::{ensure, gauge},
    prelude::*,
};

use super::{Params, gauges, languages, plan::EACH};

pub(super) fn premise(p: &Params, at: &Condition, t: &Trial) -> Result<(), String> {
    if Language::of_series(at.series()).is_some() {
        return languages::premise(p, t);
    }
    let (series, x) = (at.series(), at.x());
    let (m, chunk) = (p.concurrency as f64, p.chunk.f());
    match series.split('/').collect::<Vec<_>>()[..] {
        ["crash"] => crash(p, t),
        ["heap", "size", _] => held(p, t, x, p.heap_chunk.f()),
        ["heap", "level", _] => held(p, t, EACH as f64 * x * chunk, chunk),
        ["heap", "chunk", _] => held(p, t, p.heap_widest() as f64 * x, x),
        ["heap", "kept", _] => held(p, t, (x + m) * chunk, chunk),
        ["batch", _] => speed(p, t, Some(x)),
        ["level", _] => speed(p, t, Some(p.batch as f64)),
        ["window", _] => speed(p, t, None),
        _ => Ok(()),
    }
}

/// So much text is so many chunks: up to three bytes of each go to the next, where a character is cut. A text
/// of one's own may be shorter, and parts of it empty.
fn chunked(p: &Params, lines: f64, text: f64, chunk: f64) -> Result<(), String> {
    let most = (text / (chunk - 3.0)).ceil() + 1.0;
    let least = if p.file.is_some() { 1.0 } else { (text / chunk).floor() };
    ensure((least..=most).contains(&lines), || {
        format!("{lines} chunks of a text that has {least} at least and {most} at most")
    })
}

/// Every chunk is there, was asked for once, and the batches are those that its number makes.
fn speed(p: &Params, t: &Trial, batch: Option<f64>) -> Result<(), String> {
    let lines = gauge(t, gauges::LINES)?;
    chunked(p, lines, p.size.f(), p.chunk.f())?;
    // A server that somebody else runs does not say.
    let Some(arrived) = t.gauge(gauge::UPSTREAM_ARRIVED) else {
        return Ok(());
    };
    ensure(arrived == lines, || format!("{arrived} requests arrived for {lines} lines"))?;
    let Some(batch) = batch else {
        return Ok(());
    };
    let (batches, due) = (gauge(t, gauges::BATCHES)?, (lines / batch).ceil() - 1.0);
    ensure(batches == due, || format!("{batches} batches are followed by another, of {due}"))?;
    let lasted = batches * t.gauge(gauges::BATCH_MEAN_S).unwrap_or(0.0);
    ensure(lasted <= t.wall_s * 1.001 + 1e-3, || {
        format!("the batches lasted {lasted:.3} s in {:.3} s", t.wall_s)
    })
}

/// What was left and what was written then is what is on the disk, and what was sent before the end of the
/// first run is at least what that left.
fn crash(p: &Params, t: &Trial) -> Result<(), String> {
    let (chunks, left) = (gauge(t, gauges::CHUNKS)?, gauge(t, gauges::LINES_LEFT)?);
    chunked(p, chunks, p.size.f(), p.chunk.f())?;
    let there = left + gauge(t, gauges::LINES)?;
    let due = chunks - gauge(t, gauges::CHUNKS_MISSING)?;
    ensure(there == due, || format!("{there} lines were written, and {due} chunks are there"))?;
    let sent = t.gauge(gauges::SENT_TWICE).zip(t.gauge(gauges::SENT_AGAIN));
    let before = sent.map(|(twice, again)| twice + chunks - again);
    ensure(before.is_none_or(|before| before >= left), || {
        format!("{left} lines were left, of fewer requests")
    })
}

/// The whole text went through, and memory that is held is held at the peak as well.
fn held(p: &Params, t: &Trial, text: f64, chunk: f64) -> Result<(), String> {
    chunked(p, gauge(t, gauges::LINES)?, text, chunk)?;
    let (idle, peak) = (gauge(t, gauges::HEAP_IDLE_BYTES)?, gauge(t, gauges::HEAP_PEAK_BYTES)?);
    ensure(0.0 < idle && idle <= peak, || {
        format!("{idle} bytes were held idle and {peak} at the peak")
    })?;
    // Its connections are still open.
    let end = gauge(t, gauges::HEAP_HELD_BYTES)?;
    ensure(end >= idle / 2.0, || {
        format!("{end} bytes were held at the end, and {idle} before the first request")
    })
}
