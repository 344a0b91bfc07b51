//! What does it cost to count together? The counters are those of lab 17, from its own file.

use std::{hint::black_box, thread};

use super::{Case, Group, case};

use lab17::counters::{
    Adjacent, Counter, FetchAdd, LoadThenStore, Locked, Messages, Padded, WriteLocked,
};

/// Additions by each thread: enough for the threads' own start not to matter.
const ADDITIONS: u64 = 20_000;
const THREADS: usize = 2;

pub fn group() -> Group {
    let cases = vec![
        // Nothing shared but the end: what any other way is measured by.
        count::<Padded>("padded"),
        count::<Adjacent>("adjacent"),
        count::<LoadThenStore>("load_then_store_wrong"),
        count::<FetchAdd>("fetch_add"),
        count::<Locked>("mutex"),
        count::<WriteLocked>("rwlock_write"),
        count::<Messages>("messages"),
    ];
    Group { name: "sharing", cases }
}

fn count<C: Counter>(name: &str) -> Case {
    case(name, ADDITIONS * THREADS as u64, || {
        || {
            let counter = C::new(THREADS);
            thread::scope(|scope| {
                for i in 0..THREADS {
                    let counter = &counter;
                    scope.spawn(move || (0..ADDITIONS).for_each(|_| counter.add(i)));
                }
            });
            black_box(counter.total());
        }
    })
}
