//! Questions with deadlines: which of them the service was asked when it was too late, and how many were answered in
//! time.

use std::time::Duration;

use anyhow::Result;
use mock_server::{Body, Entry, Service, Spec};

use crate::{
    bench::Bench,
    books,
    exercise::{Card, Judge, Misconception, Question},
    line::{End, Run, Seen},
    verdict::Verdict,
};

/// Shed by deadline.
pub struct ShedByDeadline;

const BURSTS: u64 = 4;
/// The first burst: by then the program is there.
const FIRST: Duration = Duration::from_millis(40);
/// From one burst to the next, in service times: what can be answered in time is done by then.
const APART: f64 = 4.5;
/// So many times as many questions as workers in a burst.
const CROWD: u64 = 6;
/// What is left of the deadline, in service times, when a question has waited as long as it may.
const SPARE: f64 = 0.6;

/// A question.
struct Asked {
    id: u64,
    /// The first one of its burst, and when they come.
    burst: u64,
    at: Duration,
    /// So many service times in a row end before its deadline.
    rounds: u64,
    patience: Duration,
}

impl Judge for ShedByDeadline {
    fn card(&self) -> Card {
        Card {
            folder: "ex15_shed_by_deadline",
            title: "Shed by deadline",
            lab: 15,
            question: Question {
                text: "Four bursts come, 4.5 service times apart. Each has 6 questions for every worker; the deadlines are 2.6 or 3.6 service times. At best half of all questions can be answered in time. How many per cent will the file as it is answer in time?",
                gauge: "in_time_percent",
                unit: "%",
            },
            misconceptions: &[
                Misconception {
                    name: "looks-too-early",
                    belief: "a deadline that nobody looks at when the work begins",
                    ask: "What has happened between the last look at the clock and the moment at which the service is asked?",
                },
                Misconception {
                    name: "expired-only",
                    belief: "a question with some time left for one that can be answered in time",
                    ask: "Ten milliseconds before its deadline a question gets a worker. When will its answer be there?",
                },
                Misconception {
                    name: "looks-afterwards",
                    belief: "an answer that is thrown away for work that is saved",
                    ask: "By the time that your program finds a question late, what has it cost the service?",
                },
                Misconception {
                    name: "walks-away",
                    belief: "to stop waiting for work is to stop the work",
                    ask: "What does the service do with a question whose asker has gone?",
                },
                Misconception {
                    name: "sheds-too-much",
                    belief: "everybody who has to wait for one who will be late",
                    ask: "A question can wait for two service times and still be answered in time. What does it hear?",
                },
            ],
            orders: false,
            pace: None,
        }
    }

    fn judge(&self, bench: &mut Bench) -> Result<Verdict> {
        let mut verdict = Verdict::new();
        let (workers, millis) = (bench.draw(3..6), bench.draw(76..90));
        let service = Duration::from_millis(millis);
        let secret = bench.draw(1..u64::MAX);
        let stamp = move |path: &str| books::stamp(secret, path).to_string();
        let body = Body::made("text/plain", move |asked| stamp(asked.path).into_bytes());
        let upstream =
            bench.upstream(Spec { body, ..Spec::new(1000, Service::Constant(service)) })?;
        let run = Run::new().service(&upstream).give("workers", workers).give("service_ms", millis);
        let bursts = bursts(bench, workers, service);
        let seen = bench.run_through(&mut verdict, load(run, &bursts))?;
        let ledger = upstream.ledger();
        let all: Vec<Story> =
            bursts.iter().flatten().map(|asked| Story::of(asked, &seen, &ledger)).collect();
        let is_answered =
            |story: &&Story| story.heard == Some(stamp(&path(story.asked.id)).as_str());
        let is_in_time = |story: &&Story| is_answered(story) && story.took <= story.asked.patience;
        let is_late = |story: &&Story| story.heard == Some("late");
        let in_time = all.iter().filter(is_in_time).count();
        verdict.measured("in_time_percent", 100.0 * in_time as f64 / all.len() as f64);
        let (answered, late) =
            (all.iter().filter(is_answered).count(), all.iter().filter(is_late).count());
        verdict.check(
            answered + late == all.len() && seen.replies.len() == all.len(),
            format!(
                "of {} questions {answered} got the service's answer and {late} heard `late`",
                all.len()
            ),
        );
        let paths = all.iter().filter(is_answered).map(|story| path(story.asked.id));
        books::each_once(&mut verdict, &ledger, paths);
        let most = books::most_in_flight(&ledger) as u64;
        let said =
            format!("the service had at most {most} at the same time; there are {workers} workers");
        verdict.check(most <= workers, said);
        let begun = all.iter().filter(|story| story.began.is_some()).count();
        let (hopeless, expired) = begun_too_late(&all, service);
        let said = format!(
            "of {begun} that the service was asked, {hopeless} could not be answered in time any more"
        );
        verdict.check(10 * hopeless <= begun, said);
        let possible: usize = bursts.iter().map(|burst| possible(burst, workers as usize)).sum();
        let said = format!("{in_time} were answered in time; taken in turn, {possible} can be");
        verdict.check(3 * in_time >= 2 * possible, said);
        let is_told =
            |story: &&Story| is_late(story) && story.took <= story.asked.patience + service;
        let told = all.iter().filter(is_told).count();
        let said = format!(
            "of {late} that heard `late`, {told} heard it no later than a service time after their deadline"
        );
        verdict.check(4 * told >= 3 * late, said);
        for burst in all.chunks(bursts[0].len()) {
            let count = |is: &dyn Fn(&&Story) -> bool| burst.iter().filter(is).count();
            verdict.show(format!(
                "at {:>4} ms {} came: the service was asked {}, {} were answered in time, {} heard `late`",
                burst[0].asked.at.as_millis(),
                burst.len(),
                count(&|story| story.began.is_some()),
                count(&is_in_time),
                count(&is_late),
            ));
        }
        let mistake = if ledger.iter().any(|entry| entry.abandoned) {
            Some("walks-away")
        } else if all.iter().any(|story| is_late(&story) && story.began.is_some()) {
            Some("looks-afterwards")
        } else if 10 * hopeless > begun {
            Some(if 4 * expired > hopeless { "looks-too-early" } else { "expired-only" })
        } else {
            (most == workers && 3 * in_time < 2 * possible).then_some("sheds-too-much")
        };
        if let Some(mistake) = mistake.filter(|_| !verdict.holds() && seen.end == End::Finished) {
            verdict.looks_like(mistake);
        }
        Ok(verdict)
    }
}

/// What became of a question.
struct Story<'a> {
    asked: &'a Asked,
    heard: Option<&'a str>,
    /// From its coming to what was heard.
    took: Duration,
    /// From its coming to the moment at which the service had it, by two clocks that began at different times.
    began: Option<f64>,
}

impl<'a> Story<'a> {
    fn of(asked: &'a Asked, seen: &'a Seen, ledger: &[Entry]) -> Story<'a> {
        let sent = seen.sent.get(&asked.burst).copied().unwrap_or_default();
        let reply = seen.reply(asked.id);
        let path = path(asked.id);
        let entry = ledger.iter().find(|entry| entry.path == path);
        Story {
            asked,
            heard: reply.map(|reply| reply.text.as_str()),
            took: reply.map_or(Duration::MAX, |reply| reply.at.saturating_sub(sent)),
            began: entry.map(|entry| entry.arrived.as_secs_f64() - sent.as_secs_f64()),
        }
    }
}

/// How many were begun when they could not be answered in time any more, and how many of these after their deadline.
fn begun_too_late(all: &[Story], service: Duration) -> (usize, usize) {
    // The first to find a free worker did not wait: that is where the service's clock stands.
    let clock = all.iter().filter_map(|story| story.began).fold(f64::MAX, f64::min);
    let overdue = |spare: Duration| {
        let is_over = |story: &&Story| {
            let patience = story.asked.patience.saturating_sub(spare).as_secs_f64();
            story.began.is_some_and(|began| began - clock > patience)
        };
        all.iter().filter(is_over).count()
    };
    // A quarter of a service time for the way there.
    (overdue(service * 3 / 4), overdue(Duration::ZERO))
}

fn bursts(bench: &mut Bench, workers: u64, service: Duration) -> Vec<Vec<Asked>> {
    let mut next = bench.draw(1000..1_000_000);
    let mut bursts = Vec::new();
    for number in 0..BURSTS {
        let (burst, at) = (next, FIRST + service.mul_f64(APART * number as f64));
        // Of two in a row one has more time than the other: which one is drawn.
        let pairs =
            (0..CROWD * workers / 2).flat_map(|_| [[2, 3], [3, 2]][bench.draw(0..2) as usize]);
        let asked = pairs.zip(burst..).map(|(rounds, id)| {
            let patience = service.mul_f64(rounds as f64 + SPARE);
            Asked { id, burst, at, rounds, patience }
        });
        bursts.push(asked.collect());
        next += CROWD * workers;
    }
    bursts
}

fn load<'a>(run: Run<'a>, bursts: &[Vec<Asked>]) -> Run<'a> {
    bursts.iter().fold(run, |run, burst| {
        let line = |asked: &Asked| format!("{} {}", path(asked.id), asked.patience.as_millis());
        let lines: Vec<String> = burst.iter().map(line).collect();
        run.job(burst[0].at, burst[0].id, lines.join("\n"))
    })
}

/// How many of a burst are answered in time by who takes them in turn and leaves out whom it cannot help.
fn possible(burst: &[Asked], workers: usize) -> usize {
    let mut waiting: Vec<u64> = burst.iter().map(|asked| asked.rounds).collect();
    let mut answered = 0;
    for round in 1.. {
        waiting.retain(|rounds| *rounds >= round);
        let now = waiting.len().min(workers);
        if now == 0 {
            break;
        }
        waiting.drain(..now);
        answered += now;
    }
    answered
}

fn path(id: u64) -> String {
    format!("/question/{id}")
}
