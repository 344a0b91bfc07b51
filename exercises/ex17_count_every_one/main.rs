//! Threads of the judge's count, each on its own.

mod exercise;

use std::{
    sync::Barrier,
    time::{Duration, Instant},
};

use exercise::Counter;
use exercise_kit::{harness, sync::Arc, thread};

/// Real threads count for at least so long: a call is lost only when two of them really run at the same time.
const LONG_ENOUGH: Duration = Duration::from_millis(400);

fn main() {
    let line = harness::open();
    if harness::orders(&line, || {
        let total = count(2, 2);
        assert!(total == 4, "two threads counted twice each: the counter says {total}, not 4");
    }) {
        return;
    }
    let (threads, each) = (line.given("threads"), line.given("each"));
    let (began, mut called, mut counted) = (Instant::now(), 0, 0);
    while counted == called && began.elapsed() < LONG_ENOUGH {
        called += threads * each;
        counted += at_once(threads, each);
    }
    line.reply(0, format!("{called} {counted}"));
    line.end();
}

/// The same with real threads that begin at the same moment.
fn at_once(threads: u64, each: u64) -> u64 {
    let counter = Counter::new();
    let start = Barrier::new(threads as usize);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                start.wait();
                for _ in 0..each {
                    counter.add_one();
                }
            });
        }
    });
    counter.total()
}

/// So many threads count so many times each; what the counter says when all have ended.
fn count(threads: u64, each: u64) -> u64 {
    let counter = Arc::new(Counter::new());
    let handles: Vec<_> = (0..threads)
        .map(|_| {
            let counter = Arc::clone(&counter);
            thread::spawn(move || {
                for _ in 0..each {
                    counter.add_one();
                }
            })
        })
        .collect();
    for handle in handles {
        handle.join().expect("a thread that counts does not panic");
    }
    counter.total()
}
