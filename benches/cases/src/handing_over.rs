//! What does it cost to hand something over, and how much room does a channel need?

use std::{collections::VecDeque, hint::black_box, thread};

use tokio::sync::{mpsc, oneshot};

use super::{Case, Group, case, current, keep, on_one_thread, two_threads};

/// Things handed over in a call.
const THINGS: u64 = 200;
/// The same between threads: enough for the threads' own start not to matter.
const FAR: u64 = 5000;
/// Room of the channels that are compared with one another.
const ROOM: usize = 100;

pub fn group() -> Group {
    let mut cases = vec![deque()];
    cases.extend([1, 10, 100].map(within_a_thread));
    cases.extend([
        unbounded_within_a_thread(),
        oneshots(),
        between_threads(),
        std_between_threads(),
        crossbeam_between_threads(),
        flume_from_thread_to_task(),
    ]);
    Group { name: "handing_over", cases }
}

/// No channel: what putting in and taking out costs by itself.
fn deque() -> Case {
    let all = case("deque", THINGS, || {
        let mut deque = VecDeque::new();
        move || {
            deque.extend(0..black_box(THINGS));
            while let Some(thing) = deque.pop_front() {
                black_box(thing);
            }
        }
    });
    all.held()
}

/// Two tasks on one thread: with room for n things they take turns every n.
fn within_a_thread(room: usize) -> Case {
    on_one_thread(format!("mpsc_{room}"), THINGS, move || async move {
        let (give, mut take) = mpsc::channel(room);
        let giver = tokio::spawn(async move {
            for i in 0..THINGS {
                give.send(i).await.expect("somebody takes");
            }
        });
        while let Some(thing) = take.recv().await {
            black_box(thing);
        }
        giver.await.expect("it does not panic");
    })
}

/// Room for all: who gives never waits.
fn unbounded_within_a_thread() -> Case {
    on_one_thread("mpsc_unbounded", THINGS, || async {
        let (give, mut take) = mpsc::unbounded_channel();
        let giver = tokio::spawn(async move {
            (0..THINGS).for_each(|i| give.send(i).expect("somebody takes"));
        });
        while let Some(thing) = take.recv().await {
            black_box(thing);
        }
        giver.await.expect("it does not panic");
    })
}

/// A channel for each thing.
fn oneshots() -> Case {
    on_one_thread("oneshot", THINGS, || async {
        for i in 0..THINGS {
            let (give, take) = oneshot::channel();
            give.send(i).expect("somebody takes");
            black_box(take.await.expect("it is there"));
        }
    })
}

/// Between two threads: what decides is how often one of them has to be woken up.
fn between_threads() -> Case {
    case("mpsc_100_2_threads", FAR, || {
        let runtime = two_threads();
        move || {
            runtime.block_on(async {
                let (give, mut take) = mpsc::channel(ROOM);
                let taker = tokio::spawn(async move {
                    while let Some(thing) = take.recv().await {
                        black_box::<u64>(thing);
                    }
                });
                let giver = tokio::spawn(async move {
                    for i in 0..FAR {
                        give.send(i).await.expect("somebody takes");
                    }
                });
                giver.await.expect("it does not panic");
                taker.await.expect("it does not panic");
            });
        }
    })
}

/// The standard library's channel is crossbeam's; crossbeam's can also be taken from by many and selected
/// over.
fn std_between_threads() -> Case {
    case("std_100_2_threads", FAR, || {
        || {
            let (give, take) = std::sync::mpsc::sync_channel(ROOM);
            thread::scope(|scope| {
                scope.spawn(move || {
                    (0..FAR).for_each(|i| give.send(i).expect("somebody takes"));
                });
                take.iter().for_each(keep::<u64>);
            });
        }
    })
}

fn crossbeam_between_threads() -> Case {
    case("crossbeam_100_2_threads", FAR, || {
        || {
            let (give, take) = crossbeam_channel::bounded(ROOM);
            thread::scope(|scope| {
                scope.spawn(move || {
                    (0..FAR).for_each(|i| give.send(i).expect("somebody takes"));
                });
                take.iter().for_each(keep::<u64>);
            });
        }
    })
}

/// flume's ends may each be blocking or async: here a thread gives and a task takes.
fn flume_from_thread_to_task() -> Case {
    case("flume_100_thread_to_task", FAR, || {
        let runtime = current();
        move || {
            let (give, take) = flume::bounded(ROOM);
            thread::scope(|scope| {
                scope.spawn(move || {
                    (0..FAR).for_each(|i| give.send(i).expect("somebody takes"));
                });
                runtime.block_on(async {
                    while let Ok(thing) = take.recv_async().await {
                        black_box::<u64>(thing);
                    }
                });
            });
        }
    })
}
