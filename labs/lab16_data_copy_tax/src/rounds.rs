//! One trial: a payload is written and handed over, again and again, and the books are kept.

use anyhow::ensure;
use lab_kit::{prelude::*, record::Latency, stats::median};

use super::{
    HandOver, Params,
    gauges::{self, CONSUMER, PRODUCER},
    payload,
};

/// Most hand-overs of a trial.
pub const MOST: u64 = 1_000_000;

/// Writes a payload and hands it over, again and again, and looks at every answer.
pub fn repeat(r: &Recorder, p: &Params, mut way: impl HandOver) -> Result<()> {
    // Numbers that no other trial has: what an earlier one left behind is seen.
    let mut seq = r.seed() | 1;
    let mut once = |way: &mut dyn HandOver| {
        seq = seq.wrapping_add(1).max(1);
        let start = Instant::now();
        let place = way.place()?;
        let sum = payload::fill(place, seq);
        let ready = Instant::now();
        let answer = way.hand_over(seq)?;
        let end = Instant::now();
        ensure!(answer.seq == seq, "the consumer answered another hand-over");
        Ok((ready - start, end - ready, answer.read_ns, answer.sum == sum))
    };
    // Pages, caches and the other side's buffers are there before the clock starts.
    once(&mut way)?;
    let (mut write, mut handed, mut read) = (Vec::new(), Vec::new(), Vec::new());
    let (mut books, mut latency) = (Trial::default(), Latency::new());
    let before = way.spent()?;
    let start = Instant::now();
    while books.offered < p.least as u64
        || (start.elapsed() < p.window.duration() && books.offered < MOST)
    {
        let (wrote, took, read_ns, right) = once(&mut way)?;
        books.offered += 1;
        books.ok += u64::from(right);
        if right {
            latency.record(took);
        }
        write.push(wrote.as_secs_f64());
        handed.push(took.as_secs_f64());
        read.push(read_ns as f64 / 1e9);
    }
    let wall = start.elapsed();
    let after = way.spent()?;
    let n = books.offered as f64;
    books.failed = books.offered - books.ok;
    if books.failed > 0 {
        books.failures.insert("checksum".into(), books.failed);
    }
    books.latency = latency;
    r.books(books);
    r.wall(wall);
    r.gauge(gauges::HAND_OVER_S, median(&handed));
    r.gauge(gauges::PRODUCE_S, median(&write));
    r.gauge(gauges::READ_S, median(&read));
    r.gauge(gauges::CYCLE_S, wall.as_secs_f64() / n);
    let (here, there) = (after.0.since(before.0), after.1.since(before.1));
    for (side, spent) in [(PRODUCER, here), (CONSUMER, there)] {
        let each = |what: Gauge, value: f64| r.gauge(what.of(side), value / n);
        each(gauges::CPU_S, spent.cpu_ns as f64 / 1e9);
        each(gauges::FAULTS, spent.page_faults as f64);
        each(gauges::COPIED_BYTES, spent.copied as f64);
        each(gauges::CALLS, spent.calls as f64);
    }
    Ok(())
}
