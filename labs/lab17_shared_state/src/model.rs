//! Every interleaving of the counters and of the payments: `counters.rs` once more, compiled with the
//! types of a model checker.
//!
//! Shuttle runs a piece of code again and again on threads of its own, of which one moves at a time,
//! and each time lets another one move at each step: here until there is no order left (depth-first).
//! What it does not model is memory that is weaker than sequentially consistent.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use counters::*;

#[path = "counters.rs"]
#[allow(clippy::duplicate_mod, reason = "the same code with other types is the point")]
mod counters;

/// The types that `counters.rs` is compiled with.
mod sync {
    pub(super) use shuttle::{
        sync::{Mutex, MutexGuard, RwLock, atomic, mpsc},
        thread,
    };
}

/// What is counted at the end, over all orders: in how many of them each.
fn outcomes<C: Counter>(threads: usize, updates: usize) -> BTreeMap<u64, usize> {
    let seen: Arc<Mutex<BTreeMap<u64, usize>>> = Arc::default();
    let note = seen.clone();
    let each_order = move || {
        let counter = Arc::new(C::new(threads));
        let thread = |thread| {
            let counter = counter.clone();
            sync::thread::spawn(move || (0..updates).for_each(|_| counter.add(thread)))
        };
        let all: Vec<_> = (0..threads).map(thread).collect();
        all.into_iter().for_each(|t| t.join().unwrap());
        let counter = Arc::into_inner(counter).unwrap();
        *note.lock().unwrap().entry(counter.total()).or_default() += 1;
    };
    shuttle::check_dfs(each_order, None);
    let seen = seen.lock().unwrap();
    seen.clone()
}

/// Two threads that pay each other, in every order; what is on the two accounts at the end.
fn pay_each_other(pay: fn(&Account, &Account)) {
    let each_order = move || {
        let accounts = Arc::new([Account::new(1, 100), Account::new(2, 100)]);
        let others = accounts.clone();
        let other = sync::thread::spawn(move || pay(&others[1], &others[0]));
        pay(&accounts[0], &accounts[1]);
        other.join().unwrap();
        assert_eq!([0, 1].map(|i| accounts[i].balance()), [100, 100]);
    };
    shuttle::check_dfs(each_order, None);
}

/// The race is proven, not hoped for; and so is the bound: two threads with two updates each may
/// count 2, and no less.
#[test]
fn reading_then_writing_may_count_two_and_no_less() {
    let seen = outcomes::<LoadThenStore>(2, 2);
    assert_eq!(seen.keys().copied().collect::<Vec<_>>(), [2, 3, 4]);
}

#[test]
fn the_others_never_lose_an_update() {
    fn only<C: Counter>(threads: usize, updates: usize) {
        let seen = outcomes::<C>(threads, updates);
        let seen: Vec<u64> = seen.into_keys().collect();
        assert_eq!(seen, [(threads * updates) as u64]);
    }
    only::<FetchAdd>(2, 3);
    only::<Locked>(2, 2);
    only::<WriteLocked>(2, 2);
    only::<Adjacent>(2, 3);
    only::<Padded>(2, 3);
}

#[test]
fn messages_all_arrive() {
    let seen = outcomes::<Messages>(2, 1);
    assert_eq!(seen.into_keys().collect::<Vec<_>>(), [2]);
}

#[test]
#[should_panic(expected = "deadlock")]
fn two_orders_of_two_locks_deadlock() {
    pay_each_other(|from, to| pay_payer_first(from, to, 10, |_, _| {}));
}

#[test]
fn one_order_of_two_locks_never_does_and_nobody_loses_money() {
    pay_each_other(|from, to| pay_in_one_order(from, to, 10, |_, _| {}));
}
