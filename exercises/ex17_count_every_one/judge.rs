//! Every order of the steps of two threads; then real ones.

use anyhow::Result;

use crate::{
    bench::Bench,
    exercise::{Card, Judge, Misconception, Question},
    line::Run,
    verdict::Verdict,
};

/// Count every one.
pub struct CountEveryOne;

/// So many real threads.
const THREADS: u64 = 4;

impl Judge for CountEveryOne {
    fn card(&self) -> Card {
        Card {
            folder: "ex17_count_every_one",
            title: "Count every one",
            lab: 17,
            question: Question {
                text: "Four threads call the file's add_one 200,000 times each. How many calls will the counter have missed?",
                gauge: "missed",
                unit: "calls",
            },
            misconceptions: &[
                Misconception {
                    name: "stricter-ordering",
                    belief: "two steps on an atomic for one",
                    ask: "What can another thread do between your reading and your writing?",
                },
                Misconception {
                    name: "two-locks",
                    belief: "a lock for each step instead of one around both",
                    ask: "How often does `add_one` give the lock back before it has counted?",
                },
                Misconception {
                    name: "gives-up",
                    belief: "an exchange whose failure nobody looks at",
                    ask: "What does compare_exchange return when another thread was quicker, and what happens then?",
                },
                Misconception {
                    name: "flag-is-no-lock",
                    belief: "a flag, looked at and then raised, for a lock",
                    ask: "Can two threads both see that nobody is busy before either says that it is?",
                },
            ],
            orders: true,
            pace: None,
        }
    }

    fn judge(&self, bench: &mut Bench) -> Result<Verdict> {
        let mut verdict = Verdict::new();
        let each = bench.draw(180_000..220_000);
        let given = || Run::new().give("each", each).give("threads", THREADS);
        let holds = bench.orders(&mut verdict, given())?;
        if !holds {
            let done: Vec<&str> = verdict.evidence.iter().map(|line| line.trim_start()).collect();
            let any = |sign: &str| done.iter().any(|line| line.contains(sign));
            verdict.looks_like(if any("finds") {
                "gives-up"
            } else if any("true") {
                "flag-is-no-lock"
            } else if any("lock") {
                "two-locks"
            } else {
                "stricter-ordering"
            });
        }
        if bench.replays() {
            return Ok(verdict);
        }
        let seen = bench.run_through(&mut verdict, given())?;
        if let Some(total) = seen.reply(0).and_then(|reply| reply.text.parse::<u64>().ok()) {
            let wanted = THREADS * each;
            verdict.measured("missed", wanted.abs_diff(total) as f64);
            verdict.check(
                total == wanted,
                format!("{THREADS} real threads counted {each} times each: the counter says {total} of {wanted}"),
            );
        }
        Ok(verdict)
    }
}
