//! What does it cost to have something done by somebody else?

use std::{hint::black_box, thread};

use tokio::task::JoinSet;

use super::{Case, Group, case, current, keep, on_one_thread, two_threads};

/// Errands in a call.
const ERRANDS: u64 = 100;

/// What has to be done: next to nothing, so that what remains is the way there and back.
fn errand(i: u64) -> u64 {
    black_box(i) + 1
}

pub fn group() -> Group {
    let cases = vec![
        case("call", ERRANDS, || || (0..ERRANDS).for_each(|i| keep(errand(i)))).held(),
        on_one_thread("future", ERRANDS, || async {
            for i in 0..ERRANDS {
                black_box(async { errand(i) }.await);
            }
        }),
        tasks("task", current).held(),
        tasks("task_2_threads", two_threads),
        case("spawn_blocking", ERRANDS, || {
            let runtime = current();
            move || {
                runtime.block_on(async {
                    let mut set = JoinSet::new();
                    for i in 0..ERRANDS {
                        set.spawn_blocking(move || errand(i));
                    }
                    black_box(set.join_all().await);
                });
            }
        }),
        case("rayon", ERRANDS, || {
            || {
                rayon::scope(|scope| {
                    for i in 0..ERRANDS {
                        scope.spawn(move |_| keep(errand(i)));
                    }
                });
            }
        }),
        case("thread", 20, || {
            || {
                let threads: Vec<_> = (0..20).map(|i| thread::spawn(move || errand(i))).collect();
                for thread in threads {
                    black_box(thread.join().expect("it does not panic"));
                }
            }
        }),
    ];
    Group { name: "spawning", cases }
}

fn tasks(name: &str, runtime: fn() -> tokio::runtime::Runtime) -> Case {
    case(name, ERRANDS, move || {
        let runtime = runtime();
        move || {
            runtime.block_on(async {
                let mut set = JoinSet::new();
                for i in 0..ERRANDS {
                    set.spawn(async move { errand(i) });
                }
                black_box(set.join_all().await);
            });
        }
    })
}
