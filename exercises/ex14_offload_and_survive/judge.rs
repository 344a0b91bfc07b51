//! Computations, some of which panic: who was answered, with what, and who had to wait.

use std::time::Duration;

use anyhow::Result;

use crate::{
    bench::Bench,
    exercise::{Card, Judge, Misconception, Question},
    line::{End, Run, Seen},
    stir::stir,
    verdict::Verdict,
};

/// Offload and survive.
pub struct OffloadAndSurvive;

/// Of a computation: some 20 ms; and of one of many, a tenth of a millisecond.
const ROUNDS: u64 = 5_000_000;
const SHORT: u64 = 30_000;
/// When computations come, in ms: each time all at the same instant. Between the others come many short ones.
const BURSTS: [u64; 4] = [20, 400, 700, 1100];
const MANY: usize = 2;
/// How many of those are sound, and how many panic: more than there are workers in any pool.
const STORM: [usize; 2] = [16, 64];
/// Who of the others panics: the second one, and the fifth or the sixth.
const PANICS: usize = 1;
/// Echoes come with the first burst, and with the last one.
const ECHOES: u64 = 60;
/// From one echo to the next, in ms.
const BEAT: u64 = 1;

/// A computation, by its number.
struct Asked {
    seed: u64,
    /// None where it panics.
    digest: Option<u64>,
    id: u64,
    rounds: u64,
    burst: u64,
}

impl Judge for OffloadAndSurvive {
    fn card(&self) -> Card {
        Card {
            folder: "ex14_offload_and_survive",
            title: "Offload and survive",
            lab: 14,
            question: Question {
                text: "The file as it is gets 88 computations, one after the other, and the second one panics. How many of the 88 will never be answered?",
                gauge: "unanswered",
                unit: "computations",
            },
            misconceptions: &[
                Misconception {
                    name: "worker-dies",
                    belief: "a panic that ends a worker for good",
                    ask: "After a panic, which thread takes the next computation?",
                },
                Misconception {
                    name: "unwraps",
                    belief: "a panic that is handed on to the one who asked",
                    ask: "What does `handle` do with a result that says that there is none?",
                },
                Misconception {
                    name: "never-restarted",
                    belief: "an error that is told, by a server that cannot compute any more",
                    ask: "After the first error, who is left to compute anything?",
                },
                Misconception {
                    name: "drops-the-queue",
                    belief: "a new worker for those who come later, and none for those who had been waiting",
                    ask: "What becomes of the computations that stood behind the one that panicked?",
                },
                Misconception {
                    name: "spare-workers",
                    belief: "workers that are many enough to lose some",
                    ask: "How many panics are there until the last worker is gone, and what comes after?",
                },
                Misconception {
                    name: "blocks-after-a-panic",
                    belief: "a way out for the rare case, on which the event loop waits",
                    ask: "After the first panic, on whom does the event loop wait, and who waits for the event loop?",
                },
                Misconception {
                    name: "on-the-loop",
                    belief: "a panic that is caught, while the event loop waits for the end of the computation",
                    ask: "Which thread runs the computation, or waits for it, and who else needs that thread?",
                },
            ],
            orders: false,
            pace: None,
        }
    }

    fn judge(&self, bench: &mut Bench) -> Result<Verdict> {
        let mut verdict = Verdict::new();
        let all = computations(bench);
        let seen = bench.run_through(&mut verdict, load(&all))?;
        let unanswered = all.iter().filter(|asked| seen.reply(asked.id).is_none()).count();
        verdict.measured("unanswered", unanswered as f64);
        if matches!(seen.end, End::Early(_)) {
            return Ok(verdict);
        }
        let (echoed, echoes) =
            (echoes().filter(|id| says(&seen, *id, &word(*id))).count(), echoes().count());
        verdict.check(
            echoed == echoes,
            format!("{echoed} of {echoes} echoes came back with their word"),
        );
        let (broken, sound): (Vec<_>, Vec<_>) =
            all.iter().partition(|asked| asked.digest.is_none());
        let told = broken.iter().filter(|asked| is_error(&seen, asked)).count();
        let said = format!("of {} whose computation panicked, {told} got an error", broken.len());
        verdict.check(told == broken.len(), said);
        let right = sound.iter().filter(|asked| is_right(&seen, asked)).count();
        let errors = sound.iter().filter(|asked| is_error(&seen, asked)).count();
        let said =
            format!("of {} others, {right} got their result, and {errors} an error", sound.len());
        verdict.check(right == sound.len(), said);
        let requests = echoes + all.len();
        let said = format!("{} answers came to {requests} requests", seen.replies.len());
        verdict.check(seen.replies.len() == requests, said);
        // Nobody can know who panics without having computed it.
        let begun = all.iter().filter(|asked| {
            let call = format!("fragile {} {} ", asked.seed, asked.rounds);
            seen.did.iter().any(|did| did.starts_with(&call))
        });
        let begun = begun.count();
        let said = format!("`fragile` was called for {begun} of {} computations", all.len());
        verdict.check(begun == all.len(), said);
        let on_loop = seen.did.iter().filter(|did| !did.ends_with("thread")).count();
        verdict.check(on_loop == 0, format!("{on_loop} of them ran on the event loop's thread"));
        let blocked = [("first", 0), ("last", 3)]
            .map(|(which, burst)| is_blocked(&mut verdict, &seen, which, &of_burst(&all, burst)));
        for asked in all.iter().filter(|asked| asked.rounds == ROUNDS) {
            verdict.show(line(&seen, asked));
        }
        if !verdict.holds() {
            let mistake = if on_loop > 0 || blocked.contains(&true) {
                let first = of_burst(&all, 0);
                let answers = first.iter().filter_map(|asked| Some(seen.reply(asked.id)?.at));
                // Nobody had panicked by then.
                let (came, went) = meanwhile(&seen, &first, answers.min());
                let from_the_start = 2 * went < came || came == 0;
                Some(if from_the_start { "on-the-loop" } else { "blocks-after-a-panic" })
            } else {
                mistake(&seen, &broken, &sound)
            };
            mistake.into_iter().for_each(|mistake| verdict.looks_like(mistake));
        }
        Ok(verdict)
    }
}

fn of_burst(all: &[Asked], burst: usize) -> Vec<&Asked> {
    all.iter().filter(|asked| asked.burst == BURSTS[burst]).collect()
}

/// Whether most echoes had to wait for a burst's end.
fn is_blocked(verdict: &mut Verdict, seen: &Seen, which: &str, burst: &[&Asked]) -> bool {
    // Who was told of an error without any need may not have been computed for at all.
    let done = burst.iter().filter(|asked| asked.digest.is_none() || is_right(seen, asked));
    let end = done.filter_map(|asked| Some(seen.reply(asked.id)?.at)).max();
    let (came, went) = meanwhile(seen, burst, end);
    if came < 5 {
        verdict.undecided = Some("too few echoes came to tell whether they wait".to_owned());
    }
    !verdict.check(
        2 * went >= came,
        format!("{came} echoes came while the {which} burst was computed; {went} were answered before its end"),
    )
}

/// What the answers look like.
fn mistake(seen: &Seen, broken: &[&Asked], sound: &[&Asked]) -> Option<&'static str> {
    let is_lost = |asked: &&Asked| seen.reply(asked.id).is_none();
    // Numbers are in the order of coming.
    let later = || sound.iter().filter(|asked| asked.id > broken[0].id);
    if broken.iter().all(is_lost) {
        return Some(if later().any(is_lost) { "worker-dies" } else { "unwraps" });
    }
    let right = later().filter(|asked| is_right(seen, asked)).count();
    let errors = later().any(|asked| is_error(seen, asked));
    let recovers =
        later().filter(|asked| asked.burst == BURSTS[3]).all(|asked| is_right(seen, asked));
    let of_those_left = if recovers { "drops-the-queue" } else { "spare-workers" };
    errors.then_some(if right > 0 { of_those_left } else { "never-restarted" })
}

/// Eight, of which two panic, and many short ones. Which ones do is drawn, and cannot be seen from outside.
fn computations(bench: &mut Bench) -> Vec<Asked> {
    let [mut long, broken] = seeds(bench, ROUNDS, [6, 2]);
    for (place, broken) in [PANICS, 4 + bench.draw(0..2) as usize].into_iter().zip(broken) {
        long.insert(place, broken);
    }
    let [sound, mut many] = seeds(bench, SHORT, STORM);
    for sound in sound {
        many.insert(bench.draw(0..many.len() as u64) as usize, sound);
    }
    let bursts = [(0, 4), (1, 2), (MANY, many.len()), (3, 2)];
    let bursts = bursts.into_iter().flat_map(|(burst, count)| vec![BURSTS[burst]; count]);
    let last = long.split_off(6);
    let drawn = [long, many, last].concat().into_iter();
    let numbered = drawn.zip(bursts).zip(1..);
    let asked = numbered.map(|(((seed, digest), burst), id)| {
        let rounds = if burst == BURSTS[MANY] { SHORT } else { ROUNDS };
        Asked { seed, digest, id, rounds, burst }
    });
    asked.collect()
}

/// Seeds with what becomes of them: so many that are sound, and so many that panic.
fn seeds(bench: &mut Bench, rounds: u64, wanted: [usize; 2]) -> [Vec<(u64, Option<u64>)>; 2] {
    let mut drawn = [Vec::new(), Vec::new()];
    while (0..2).any(|kind| drawn[kind].len() < wanted[kind]) {
        let seed = bench.draw(1..u64::MAX);
        let digest = Some(stir(seed, rounds)).filter(|digest| !digest.is_multiple_of(4));
        let kind = usize::from(digest.is_none());
        if drawn[kind].len() < wanted[kind] {
            drawn[kind].push((seed, digest));
        }
    }
    drawn
}

fn load(all: &[Asked]) -> Run<'static> {
    let mut run = Run::new().at_most(Duration::from_secs(4));
    for burst in BURSTS {
        let of = all.iter().filter(|asked| asked.burst == burst);
        let line = |asked: &Asked| format!("compute {} {}", asked.seed, asked.rounds);
        let lines: Vec<_> = of.clone().map(line).collect();
        let first = of.map(|asked| asked.id).min().unwrap_or(0);
        run = run.job(Duration::from_millis(burst), first, lines.join("\n"));
    }
    let beats = (1..=ECHOES).map(|beat| BEAT * beat);
    let beats = [BURSTS[0], BURSTS[3]]
        .into_iter()
        .flat_map(|burst| beats.clone().map(move |beat| burst + beat));
    for (at, id) in beats.zip(echoes()) {
        run = run.job(Duration::from_millis(at), id, format!("echo {}", word(id)));
    }
    run
}

/// How many echoes came between a burst and a moment, and how many of them were answered before that.
fn meanwhile(seen: &Seen, burst: &[&Asked], until: Option<Duration>) -> (usize, usize) {
    let from = burst.first().and_then(|asked| seen.sent.get(&asked.id).copied());
    let (Some(from), Some(until)) = (from, until) else { return (0, 0) };
    let is_between = |id: &u64| seen.sent.get(id).is_some_and(|sent| (from..until).contains(sent));
    let came = echoes().filter(is_between);
    let went = came.clone().filter(|id| seen.reply(*id).is_some_and(|reply| reply.at < until));
    (came.count(), went.count())
}

fn line(seen: &Seen, asked: &Asked) -> String {
    let kind = if asked.digest.is_some() { "is sound" } else { "panics  " };
    let answer = seen.reply(asked.id).map_or("no answer".to_owned(), |reply| {
        let text: String = reply.text.chars().take(40).collect();
        format!("{text} at {} ms", reply.at.as_millis())
    });
    format!("computation {} came at {:>3} ms, {kind}: {answer}", asked.id, asked.burst)
}

fn is_error(seen: &Seen, asked: &Asked) -> bool {
    seen.reply(asked.id).is_some_and(|reply| reply.text.starts_with("error"))
}

fn is_right(seen: &Seen, asked: &Asked) -> bool {
    asked.digest.is_some_and(|digest| says(seen, asked.id, &digest.to_string()))
}

fn says(seen: &Seen, id: u64, text: &str) -> bool {
    seen.reply(id).is_some_and(|reply| reply.text == text)
}

fn echoes() -> std::ops::Range<u64> {
    1000..1000 + 2 * ECHOES
}

fn word(id: u64) -> String {
    format!("w{id}")
}
