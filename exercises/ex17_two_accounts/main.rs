//! Small cases whose orders are tried, and then threads that transfer over and over.

mod exercise;

use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::{Duration, Instant},
};

use exercise::Bank;
use exercise_kit::{harness, sync::Arc, thread};

/// From an account to an account, and how much.
type Transfer = (usize, usize, i64);

fn main() {
    let line = harness::open();
    let case: String = line.given("case");
    let amount = line.given("amount");
    if harness::orders(&line, move || small(&case, amount)) {
        return;
    }
    real(&line);
    apart(&line);
    line.end();
}

/// One small case; it panics where something is wrong.
fn small(case: &str, n: i64) {
    match case {
        "opposite" => both(&[9 * n, 99 * n], &[(0, 1, n)], &[(1, 0, 2 * n)]),
        // After the first transfer the other account is the richer one.
        "turns" => both(&[3 * n, 2 * n], &[(0, 1, n), (0, 1, n)], &[(1, 0, n)]),
        "apart" => both(&[9 * n; 4], &[(0, 1, n)], &[(2, 3, 2 * n)]),
        "scarce" => scarce(n),
        "seen" => seen(n),
        "itself" => {
            let bank = Bank::new(&[2 * n, 2 * n]);
            assert!(bank.transfer(0, 0, n), "a transfer from an account to itself was refused");
            assert!(!bank.transfer(0, 0, 3 * n), "there was not enough, and it was not refused");
            holds(&bank, &[2 * n, 2 * n]);
        }
        "exact" => {
            let bank = Bank::new(&[2 * n, 0]);
            assert!(bank.transfer(0, 1, 2 * n), "a transfer of all that there is was refused");
            assert!(bank.transfer(1, 1, 2 * n), "a transfer of all that there is was refused");
            holds(&bank, &[0, 2 * n]);
        }
        other => panic!("there is no case {other}"),
    }
}

fn holds(bank: &Bank, wanted: &[i64]) {
    let balances: Vec<i64> = bank.balances();
    assert!(balances == wanted, "the accounts have {balances:?} at the end, not {wanted:?}");
}

/// Two threads make these transfers; each is possible.
fn both(balances: &[i64], first: &[Transfer], second: &[Transfer]) {
    let bank = Arc::new(Bank::new(balances));
    let handles = [first, second].map(|transfers| {
        let (bank, transfers) = (Arc::clone(&bank), transfers.to_vec());
        thread::spawn(move || {
            for (from, to, amount) in transfers {
                assert!(
                    bank.transfer(from, to, amount),
                    "a transfer was refused, with enough in the account"
                );
            }
        })
    });
    let mut wanted = balances.to_vec();
    for (from, to, amount) in first.iter().chain(second) {
        wanted[*from] -= amount;
        wanted[*to] += amount;
    }
    for handle in handles {
        handle.join().unwrap();
    }
    holds(&bank, &wanted);
}

/// Two threads want nearly all of one account.
fn scarce(n: i64) {
    let bank = Arc::new(Bank::new(&[3 * n, 0, 0]));
    let handles = [1, 2].map(|to| {
        let bank = Arc::clone(&bank);
        thread::spawn(move || bank.transfer(0, to, 2 * n))
    });
    let made = handles.map(|handle| i64::from(handle.join().unwrap()));
    let balances: Vec<i64> = bank.balances();
    let left = balances[0];
    assert!(
        left >= 0,
        "account 0 had {}, and has {left} after two transfers of {} each",
        3 * n,
        2 * n
    );
    assert!(
        made[0] + made[1] == 1,
        "of two transfers of {} from an account with {}, {} were made",
        2 * n,
        3 * n,
        made[0] + made[1]
    );
    holds(&bank, &[n, 2 * n * made[0], 2 * n * made[1]]);
}

/// Somebody looks at all accounts while a transfer is made.
fn seen(n: i64) {
    let bank = Arc::new(Bank::new(&[5 * n, 5 * n]));
    let other = Arc::clone(&bank);
    let handle = thread::spawn(move || other.transfer(0, 1, n));
    let balances: Vec<i64> = bank.balances();
    let (total, whole) = (balances.iter().sum::<i64>(), 10 * n);
    assert!(total == whole, "during a transfer, there was {total} in the bank instead of {whole}");
    let is_one = balances == [5 * n, 5 * n] || balances == [4 * n, 6 * n];
    assert!(is_one, "the accounts were seen with {balances:?}, which they never had");
    assert!(handle.join().unwrap(), "a transfer was refused, with enough in the account");
    holds(&bank, &[4 * n, 6 * n]);
}

/// One transfer stops each time that it gets at an account, until another one is made that has none in common with it.
fn apart(line: &harness::Line) {
    let amount = line.given("amount");
    if amount > 0 {
        let bank = Arc::new(Bank::new(&[1000 * amount; 4]));
        let other = Arc::clone(&bank);
        let work = || drop(bank.transfer(0, 1, amount));
        let (stops, ends) =
            harness::in_the_middle(work, move || drop(other.transfer(2, 3, amount)));
        line.reply(3, format!("{stops} {ends}"));
    }
}

/// Counts while real threads transfer.
#[derive(Default)]
struct Counts {
    made: AtomicU64,
    ended: AtomicU64,
    looks: AtomicU64,
    wrong: AtomicU64,
}

/// Real threads make the judge's transfers, so many times over, while one more looks at all accounts.
fn real(line: &harness::Line) {
    let (balances, flat): (Vec<i64>, Vec<i64>) = (line.list("balances"), line.list("transfers"));
    let (threads, rounds): (u64, u64) = (line.given("threads"), line.given("rounds"));
    let patience = Duration::from_millis(line.given("patience"));
    let whole: i64 = balances.iter().sum();
    let shared = std::sync::Arc::new((Bank::new(&balances), Counts::default()));
    for own in 0..threads {
        let shared = shared.clone();
        let own = flat.chunks(3).skip(own as usize).step_by(threads as usize);
        let own: Vec<Transfer> = own.map(|t| (t[0] as usize, t[1] as usize, t[2])).collect();
        std::thread::spawn(move || {
            let (bank, counts) = &*shared;
            for (from, to, amount) in (0..rounds).flat_map(|_| &own) {
                counts.made.fetch_add(u64::from(bank.transfer(*from, *to, *amount)), Relaxed);
            }
            counts.ended.fetch_add(1, Relaxed);
        });
    }
    let looked = shared.clone();
    std::thread::spawn(move || {
        let (bank, counts) = &*looked;
        loop {
            let total: i64 = bank.balances().iter().sum();
            counts.wrong.fetch_add(u64::from(total != whole), Relaxed);
            counts.looks.fetch_add(1, Relaxed);
        }
    });
    let (bank, counts) = &*shared;
    let (mut moved, mut last) = (Instant::now(), 0);
    while counts.ended.load(Relaxed) < threads {
        std::thread::sleep(Duration::from_millis(1));
        let made = counts.made.load(Relaxed);
        if made > last {
            (last, moved) = (made, Instant::now());
        }
        // Only who was found wanting before is not waited for.
        if !patience.is_zero() && moved.elapsed() > patience {
            return line.reply(0, made);
        }
    }
    let (wrong, looks) = (counts.wrong.load(Relaxed), counts.looks.load(Relaxed));
    line.reply(0, counts.made.load(Relaxed));
    line.reply(1, format!("{wrong} {looks}"));
    let left: Vec<String> = bank.balances().iter().map(ToString::to_string).collect();
    line.reply(2, left.join(" "));
}
