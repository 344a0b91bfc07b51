//! Questions with deadlines: which of them the service was asked when it was too late, and how many were answered in
//! time.

use std::{path::Path, time::Duration};

use anyhow::Result;
use mock_server::{Body, Entry, Service, Spec, Upstream};

use crate::{
    bench::Bench,
    books,
    exercise::{Card, Judge, Misconception, Question},
    line::{End, Run, Seen},
    verdict::Verdict,
};

/// Shed by deadline.
pub struct ShedByDeadline;

/// How many bursts, how many questions in them for each worker, and how many service times end before their deadlines.
type Bursts = (u64, u64, [u64; 2]);
const CROWDED: Bursts = (4, 6, [2, 3]);
/// Nobody need be late.
const QUIET: Bursts = (2, 3, [3, 3]);
/// The first burst: by then the program is there.
const FIRST: Duration = Duration::from_millis(40);
/// From one burst to the next, in service times: what can be answered in time is done by then.
const APART: f64 = 4.5;
/// What is left of the deadline, in service times, when a question has waited as long as it may.
const SPARE: f64 = 0.6;

/// What is lost where times are told in whole milliseconds.
const TICK: Duration = Duration::from_millis(2);

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
                Misconception {
                    name: "short-queue",
                    belief: "a bound on those who wait, where each of them has a deadline of its own",
                    ask: "Your queue is full, and the next question has much time. When would a worker be free for it?",
                },
                Misconception {
                    name: "thins-out",
                    belief: "a share of all questions that is sent away, whoever has time",
                    ask: "Who of those that your program sends away would have been late?",
                },
            ],
            orders: false,
            pace: Some("sheds-too-much"),
        }
    }

    fn judge(&self, bench: &mut Bench) -> Result<Verdict> {
        let mut verdict = Verdict::new();
        let load = Load::drawn(bench, CROWDED);
        let upstream = bench.upstream(load.spec())?;
        let seen = bench.run_through(&mut verdict, load.run(&upstream))?;
        let ledger = upstream.ledger();
        let all = load.stories(&seen, &ledger);
        let count = |is: &dyn Fn(&Story) -> bool| all.iter().filter(|story| is(story)).count();
        let in_time = count(&|story| story.is_in_time());
        verdict.measured("in_time_percent", 100.0 * in_time as f64 / all.len() as f64);
        let (answered, late) = (count(&|story| story.is_answered), count(&|story| story.is_late));
        verdict.check(
            answered + late == all.len() && seen.replies.len() == all.len(),
            format!(
                "of {} questions {answered} got the service's answer and {late} heard `late`",
                all.len()
            ),
        );
        let paths = all.iter().filter(|story| story.is_answered).map(|story| path(story.asked.id));
        books::each_once(&mut verdict, &ledger, paths);
        let most = books::most_in_flight(&ledger) as u64;
        let said = format!(
            "the service had at most {most} at the same time; there are {} workers",
            load.workers
        );
        verdict.check(most == load.workers, said);
        let begun = count(&|story| story.began.is_some());
        let (hopeless, expired) = begun_too_late(&all, load.service);
        let said = format!(
            "of {begun} that the service was asked, {hopeless} could not be answered in time any more"
        );
        verdict.check(8 * hopeless <= begun, said);
        chart(&mut verdict, &all, load.bursts[0].len());
        let early = count(&|story| story.is_sent_away(load.service));
        let possible = load.possible();
        let is_poor = 3 * in_time < 2 * possible;
        if is_poor && 4 * early < late && verdict.holds() {
            // It may be the machine. Then the reference is no better.
            let figure = |bench: &mut Bench, program: &Path| {
                Load::drawn(bench, CROWDED).figure(bench, program)
            };
            let what = "what can be answered in time, for each that was,";
            bench.pace(&mut verdict, what, |figure| format!("{figure:.1}"), figure)?;
        } else {
            let said = format!("{in_time} were answered in time; taken in turn, {possible} can be");
            verdict.check(!is_poor, said);
            let told =
                count(&|story| story.is_late && story.took <= story.asked.patience + load.service);
            let said = format!(
                "of {late} that heard `late`, {told} heard it no later than a service time after their deadline"
            );
            verdict.check(is_poor || 4 * told >= 3 * late, said);
        }
        if seen.end == End::Finished {
            let shed = sheds(bench, &mut verdict)?;
            let mistake = if ledger.iter().any(|entry| entry.abandoned) {
                Some("walks-away")
            } else if count(&|story| story.is_late && story.began.is_some()) > 0 {
                Some("looks-afterwards")
            } else if 8 * hopeless > begun {
                Some(if 4 * expired > hopeless { "looks-too-early" } else { "expired-only" })
            } else {
                shed
            };
            let mistake = mistake.filter(|_| !verdict.holds());
            mistake.into_iter().for_each(|mistake| verdict.looks_like(mistake));
        }
        Ok(verdict)
    }
}

/// Sends bursts of which everybody can be answered: what it looks like when somebody is sent away.
fn sheds(bench: &mut Bench, verdict: &mut Verdict) -> Result<Option<&'static str>> {
    let load = Load::drawn(bench, QUIET);
    let upstream = bench.upstream(load.spec())?;
    let seen = bench.run_through(verdict, load.run(&upstream))?;
    let all = load.stories(&seen, &upstream.ledger());
    let size = load.bursts[0].len();
    let places = |burst: &[Story]| -> Vec<usize> {
        let away = |place: &usize| burst[*place].is_sent_away(load.service);
        (0..burst.len()).filter(away).collect()
    };
    let away: Vec<_> = all.chunks(size).map(places).filter(|away| !away.is_empty()).collect();
    let count = away.iter().map(Vec::len).sum::<usize>();
    let said = format!(
        "of {} questions that could all be answered in time, {count} heard `late` with time left",
        all.len()
    );
    let holds = verdict.check(16 * count <= all.len(), said);
    let all_after = |away: &Vec<usize>| away[0] + away.len() == size;
    let shed = match () {
        () if !away.iter().all(all_after) => "thins-out",
        () if away.iter().all(|away| away[0] == load.workers as usize) => "sheds-too-much",
        () => "short-queue",
    };
    Ok((!holds).then_some(shed))
}

/// What is asked in one run.
struct Load {
    workers: u64,
    service: Duration,
    secret: u64,
    bursts: Vec<Vec<Asked>>,
}

impl Load {
    fn drawn(bench: &mut Bench, wanted: Bursts) -> Load {
        let workers = 2 * bench.draw(2..4);
        let service = Duration::from_millis(bench.draw(76..90));
        let secret = bench.draw(1..u64::MAX);
        Load { workers, service, secret, bursts: bursts(bench, workers, service, wanted) }
    }

    fn spec(&self) -> Spec {
        let secret = self.secret;
        let body = Body::made("text/plain", move |asked| {
            books::stamp(secret, asked.path).to_string().into_bytes()
        });
        Spec { body, ..Spec::new(1000, Service::Constant(self.service)) }
    }

    fn run(&self, upstream: &Upstream) -> Run<'static> {
        let run = Run::new().service(upstream).give("workers", self.workers);
        let run = run.give("service_ms", self.service.as_millis());
        self.bursts.iter().fold(run, |run, burst| {
            let line = |asked: &Asked| format!("{} {}", path(asked.id), asked.patience.as_millis());
            let lines: Vec<String> = burst.iter().map(line).collect();
            run.job(burst[0].at, burst[0].id, lines.join("\n"))
        })
    }

    fn stories(&self, seen: &Seen, ledger: &[Entry]) -> Vec<Story<'_>> {
        self.bursts
            .iter()
            .flatten()
            .map(|asked| Story::of(asked, self.secret, seen, ledger))
            .collect()
    }

    fn possible(&self) -> usize {
        self.bursts.iter().map(|burst| possible(burst, self.workers as usize)).sum()
    }

    /// For each question that a program answers in time, how many could be.
    fn figure(&self, bench: &Bench, program: &Path) -> Result<f64> {
        let upstream = bench.upstream(self.spec())?;
        let seen = self.run(&upstream).of(program)?;
        let in_time = self
            .stories(&seen, &upstream.ledger())
            .iter()
            .filter(|story| story.is_in_time())
            .count();
        Ok(self.possible() as f64 / (in_time as f64).max(0.5))
    }
}

/// What became of a question.
struct Story<'a> {
    asked: &'a Asked,
    is_answered: bool,
    is_late: bool,
    /// From its coming to what was heard.
    took: Duration,
    /// From its coming to the moment at which the service had it, by two clocks that began at different times.
    began: Option<f64>,
}

impl<'a> Story<'a> {
    fn of(asked: &'a Asked, secret: u64, seen: &Seen, ledger: &[Entry]) -> Story<'a> {
        let sent = seen.sent.get(&asked.burst).copied().unwrap_or_default();
        let reply = seen.reply(asked.id);
        let path = path(asked.id);
        let says = |text: &str| reply.is_some_and(|reply| reply.text == text);
        let entry = ledger.iter().find(|entry| entry.path == path);
        Story {
            asked,
            is_answered: says(&books::stamp(secret, &path).to_string()),
            is_late: says("late"),
            took: reply.map_or(asked.patience * 10, |reply| reply.at.saturating_sub(sent)),
            began: entry.map(|entry| entry.arrived.as_secs_f64() - sent.as_secs_f64()),
        }
    }

    /// Told `late` while there was time for all of the work.
    fn is_sent_away(&self, service: Duration) -> bool {
        self.is_late && self.took + service + TICK < self.asked.patience
    }

    fn is_in_time(&self) -> bool {
        self.is_answered && self.took <= self.asked.patience
    }
}

/// What became of each burst.
fn chart(verdict: &mut Verdict, all: &[Story], size: usize) {
    for burst in all.chunks(size) {
        let count = |is: &dyn Fn(&Story) -> bool| burst.iter().filter(|story| is(story)).count();
        let asked = count(&|story| story.began.is_some());
        let (in_time, late) = (count(&|story| story.is_in_time()), count(&|story| story.is_late));
        verdict.show(format!(
            "at {:>4} ms {} came, the service was asked {asked}: {in_time} in time, {late} heard `late`",
            burst[0].asked.at.as_millis(),
            burst.len(),
        ));
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

fn bursts(
    bench: &mut Bench,
    workers: u64,
    service: Duration,
    (count, crowd, [one, other]): Bursts,
) -> Vec<Vec<Asked>> {
    let mut next = bench.draw(1000..1_000_000);
    let mut bursts = Vec::new();
    for number in 0..count {
        let (burst, at) = (next, FIRST + service.mul_f64(APART * number as f64));
        // Of two in a row one may have more time than the other: which one is drawn.
        let pairs = (0..crowd * workers / 2)
            .flat_map(|_| [[one, other], [other, one]][bench.draw(0..2) as usize]);
        let asked = pairs.zip(burst..).map(|(rounds, id)| {
            let patience = service.mul_f64(rounds as f64 + SPARE);
            Asked { id, burst, at, rounds, patience }
        });
        bursts.push(asked.collect());
        next += crowd * workers;
    }
    bursts
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
