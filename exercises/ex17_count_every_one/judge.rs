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

impl Judge for CountEveryOne {
    fn card(&self) -> Card {
        Card {
            folder: "ex17_count_every_one",
            title: "Count every one",
            lab: 17,
            question: Question {
                text: "Some threads call the file's add_one at the same time, 100,000 times each. Of a hundred calls, how many will the counter have missed?",
                gauge: "missed",
                unit: "%",
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
        let each = bench.draw(90_000..110_000);
        let threads = bench.draw(3..8);
        let given = || Run::new().give("each", each).give("threads", threads);
        let holds = bench.orders(&mut verdict, given())?;
        let [steps, forced] =
            ["steps", "forced"].map(|what| verdict.measured.get(what).copied().unwrap_or(0.0));
        if holds {
            let said = format!(
                "in the last of these orders, threads took {steps} steps with a lock or an atomic of exercise_kit::sync"
            );
            // One for each call at least: others cannot be put in order.
            verdict.check(steps >= 4.0, said);
        } else if forced > 0.0 {
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
        let figures = seen.reply(0).and_then(|reply| reply.text.split_once(' '));
        if let Some((Ok(called), Ok(counted))) =
            figures.map(|(called, counted)| (called.parse::<u64>(), counted.parse::<u64>()))
        {
            let missed = called.abs_diff(counted) as f64 / called.max(1) as f64;
            verdict.measured("missed", 100.0 * missed);
            let said = format!(
                "{threads} real threads called {called} times in all, {each} at a time each: {counted} were counted"
            );
            verdict.check(counted == called, said);
        }
        Ok(verdict)
    }
}
