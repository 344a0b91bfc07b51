//! Threads of the judge's count, each on its own.

mod exercise;

use exercise::Counter;
use exercise_kit::{harness, sync::Arc, thread};

fn main() {
    let line = harness::open();
    let each = line.given("each");
    if harness::orders(&line, || {
        let total = count(2, 2);
        assert!(total == 4, "two threads counted twice each: the counter says {total}, not 4");
    }) {
        return;
    }
    let threads: u64 = line.given("threads");
    line.reply(0, count(threads, each));
    line.end();
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
