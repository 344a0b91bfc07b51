//! Small cases in every order of the threads' steps; then real threads, held against what must come of it.

use anyhow::Result;

use crate::{
    bench::Bench,
    exercise::{Card, Judge, Misconception, Question},
    line::Run,
    verdict::Verdict,
};

/// Two accounts, two locks.
pub struct TwoAccounts;

/// Real threads, transfers that they make in turn, and how often over.
const THREADS: u64 = 3;
const TRANSFERS: u64 = 60;
const ROUNDS: u64 = 1000;
/// So long a silence ends a run that was rejected already.
const PATIENCE_MS: u64 = 300;
/// What is tried in every order, and what it is about.
const CASES: [(&str, &str); 7] = [
    ("opposite", "two opposite transfers"),
    ("turns", "transfers after which the other account is the richer one"),
    ("scarce", "two transfers with enough for one"),
    ("seen", "a transfer while somebody looks at all accounts"),
    ("itself", "a transfer from an account to itself"),
    ("exact", "a transfer of all that is in an account"),
    ("apart", "two transfers with no account in common"),
];

impl Judge for TwoAccounts {
    fn card(&self) -> Card {
        Card {
            folder: "ex17_two_accounts",
            title: "Two accounts, two locks",
            lab: 17,
            question: Question {
                text: "Three threads are to make 60,000 transfers to and fro, in all. How many will the file as it is have made when everything stands still?",
                gauge: "transfers",
                unit: "transfers",
            },
            misconceptions: &[
                Misconception {
                    name: "from-then-to",
                    belief: "an order of locks that turns round with the money",
                    ask: "Which lock does a transfer from 0 to 1 take first, and which one from 1 to 0?",
                },
                Misconception {
                    name: "poorer-first",
                    belief: "an order of locks that is the same only as long as nobody transfers anything",
                    ask: "Can two threads, one a little later than the other, choose different first locks?",
                },
                Misconception {
                    name: "looked-before",
                    belief: "a look at a balance that still counts when the lock has been given back",
                    ask: "What may another thread do between your look at the balance and your change of it?",
                },
                Misconception {
                    name: "one-at-a-time",
                    belief: "a transfer in two halves, with a moment between them",
                    ask: "Where is the money when the first lock has been given back and the second is not yet taken?",
                },
                Misconception {
                    name: "seen-in-passing",
                    belief: "balances that were not there at the same time",
                    ask: "What may a transfer do to an account that `balances` has passed already?",
                },
                Misconception {
                    name: "same-lock-twice",
                    belief: "two accounts that are always two",
                    ask: "What does a thread wait for that asks for a lock it holds?",
                },
                Misconception {
                    name: "one-lock",
                    belief: "one lock for the whole bank, or as good as one",
                    ask: "What do two transfers between four different accounts have to do with each other?",
                },
                Misconception {
                    name: "one-lock-more",
                    belief: "two locks for two accounts, and one more that everybody needs",
                    ask: "Both accounts are locked already. From whom does the third lock protect them?",
                },
                Misconception {
                    name: "leaves-something",
                    belief: "an account that may not become empty",
                    ask: "What is left after a transfer of all that there is, and is that below zero?",
                },
            ],
            orders: true,
            pace: None,
        }
    }

    fn judge(&self, bench: &mut Bench) -> Result<Verdict> {
        let mut verdict = Verdict::new();
        for (case, about) in CASES {
            let amount = bench.draw(2..9);
            let given = Run::new().give("case", case).give("amount", amount);
            let holds = bench.orders(&mut verdict, given)?;
            if let Some(check) = verdict.checks.last_mut() {
                check.said = format!("{about}: {}", check.said);
            }
            if !holds {
                if let Some(mistake) = mistake(&verdict, case, amount) {
                    verdict.looks_like(mistake);
                }
                break;
            }
        }
        if bench.replays() {
            return Ok(verdict);
        }
        if verdict.holds() {
            let together = verdict.measured.get("together").copied().unwrap_or(0.0);
            let said = format!(
                "of these two, {together} at most held a lock at the same time, in any order"
            );
            if !verdict.check(together >= 2.0, said) && together == 1.0 {
                verdict.looks_like("one-lock");
            }
        }
        real(bench, &mut verdict)?;
        Ok(verdict)
    }
}

/// What it looks like when this case breaks.
fn mistake(verdict: &Verdict, case: &str, amount: u64) -> Option<&'static str> {
    let said = &verdict.checks.last()?.said;
    let is_race = verdict.measured.get("forced").is_some_and(|forced| *forced > 0.0);
    let is_deadlock = said.contains("a deadlock");
    let seen = said
        .split_once("there was ")
        .and_then(|(_, rest)| rest.split(' ').next()?.parse::<i64>().ok());
    match (case, is_deadlock, seen) {
        ("itself", true, _) => Some("same-lock-twice"),
        ("exact", false, _) if said.contains("all that there is was refused") => {
            Some("leaves-something")
        }
        _ if !is_race => None,
        ("opposite", true, _) => Some("from-then-to"),
        ("turns", true, _) => Some("poorer-first"),
        ("opposite" | "turns" | "scarce", false, _) => Some("looked-before"),
        // The transfer goes from the account that is read first to the one that is read next.
        (_, false, Some(seen)) if seen > 10 * amount.cast_signed() => Some("seen-in-passing"),
        (_, false, Some(_)) => Some("one-at-a-time"),
        _ => None,
    }
}

/// Real threads. There is enough in each account for everything, so that what is left in each is known.
fn real(bench: &mut Bench, verdict: &mut Verdict) -> Result<()> {
    let accounts = bench.draw(5..8);
    let mut balances = vec![1_000_000; accounts as usize];
    let mut wanted = balances.clone();
    let mut flat = Vec::new();
    for _ in 0..TRANSFERS {
        let (from, apart, amount) =
            (bench.draw(0..accounts), bench.draw(1..accounts), bench.draw(1..9));
        let to = (from + apart) % accounts;
        flat.extend([from, to, amount]);
        let moved = amount * ROUNDS;
        balances[from as usize] += moved;
        wanted[to as usize] += moved;
    }
    let patience = if verdict.holds() { 0 } else { PATIENCE_MS };
    let amount = if verdict.holds() { bench.draw(1..9) } else { 0 };
    let run = Run::new()
        .give("case", "")
        .give("amount", amount)
        .list("balances", &balances)
        .list("transfers", &flat);
    let run = run.give("threads", THREADS).give("rounds", ROUNDS).give("patience", patience);
    let was_held = verdict.holds();
    let seen = bench.run_through(verdict, run)?;
    let text = |id| seen.reply(id).map(|reply| reply.text.as_str());
    let made = text(0).and_then(|made| made.parse::<u64>().ok()).unwrap_or(0);
    verdict.measured("transfers", made as f64);
    let (Some(looks), Some(left)) = (text(1), text(2)) else {
        if !was_held {
            verdict.show(format!(
                "three real threads stood still after {made} of {} transfers",
                TRANSFERS * ROUNDS
            ));
        }
        return Ok(());
    };
    let all = TRANSFERS * ROUNDS;
    verdict.check(made == all, format!("three real threads made {made} of {all} transfers"));
    let (wrong, asked) = looks.split_once(' ').unwrap_or_default();
    let said = format!(
        "of {asked} looks at all accounts meanwhile, {wrong} saw money missing or there twice"
    );
    verdict.check(wrong == "0", said);
    let left: Vec<Option<u64>> = left.split(' ').map(|left| left.parse().ok()).collect();
    let right = left.iter().zip(&wanted).filter(|(left, wanted)| **left == Some(**wanted)).count();
    verdict.check(
        right == wanted.len() && left.len() == wanted.len(),
        format!("{right} of {accounts} accounts have in the end what they must have"),
    );
    let counts = text(3).and_then(|counts| counts.split_once(' '));
    if let Some((Ok(stops), Ok(ends))) =
        counts.map(|(stops, ends)| (stops.parse::<u64>(), ends.parse::<u64>()))
    {
        let said = format!(
            "a transfer got at what is behind the locks of exercise_kit::sync {stops} times; meanwhile another one, with no account in common, came to its end {ends} times"
        );
        // At two accounts, and at each of them.
        if !verdict.check(stops >= 2 && ends == stops, said) && ends < stops {
            verdict.looks_like("one-lock-more");
        }
    }
    Ok(())
}
