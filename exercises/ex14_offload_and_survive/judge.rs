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

/// Of a computation: some 20 ms.
const ROUNDS: u64 = 5_000_000;
/// When computations come, in ms: each time all at the same instant.
const BURSTS: [u64; 3] = [20, 400, 800];
/// Who of them panics: the second one, and the fifth or the sixth.
const PANICS: usize = 1;
const ECHOES: u64 = 60;
/// From one echo to the next, in ms.
const BEAT: u64 = 1;

/// A computation, by its number.
struct Asked {
    seed: u64,
    /// None where it panics.
    digest: Option<u64>,
    id: u64,
    burst: u64,
}

impl Judge for OffloadAndSurvive {
    fn card(&self) -> Card {
        Card {
            folder: "ex14_offload_and_survive",
            title: "Offload and survive",
            lab: 14,
            question: Question {
                text: "The file as it is gets 8 computations, one after the other, and the second one panics. How many of the 8 will never be answered?",
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
        let echoed = echoes().filter(|id| says(&seen, *id, &word(*id))).count() as u64;
        verdict.check(
            echoed == ECHOES,
            format!("{echoed} of {ECHOES} echoes came back with their word"),
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
        let requests = ECHOES as usize + all.len();
        let said = format!("{} answers came to {requests} requests", seen.replies.len());
        verdict.check(seen.replies.len() == requests, said);
        // Nobody can know who panics without having computed it.
        let begun = all.iter().filter(|asked| {
            let call = format!("fragile {} {ROUNDS} ", asked.seed);
            seen.did.iter().any(|did| did.starts_with(&call))
        });
        let begun = begun.count();
        let said = format!("`fragile` was called for {begun} of {} computations", all.len());
        verdict.check(begun == all.len(), said);
        let on_loop = seen.did.iter().filter(|did| !did.ends_with("thread")).count();
        verdict.check(on_loop == 0, format!("{on_loop} of them ran on the event loop's thread"));
        let (came, went) = meanwhile(&seen, &all);
        verdict.check(
            2 * went >= came,
            format!("{came} echoes came while the first burst was computed; {went} were answered before its end"),
        );
        if came < 5 {
            verdict.undecided = Some("too few echoes came to tell whether they wait".to_owned());
        }
        for asked in &all {
            verdict.show(line(&seen, asked));
        }
        if !verdict.holds() {
            let is_blocked = on_loop > 0 || 2 * went < came;
            let mistake =
                if is_blocked { Some("on-the-loop") } else { mistake(&seen, &broken, &sound) };
            mistake.into_iter().for_each(|mistake| verdict.looks_like(mistake));
        }
        Ok(verdict)
    }
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
    errors.then_some(if right > 0 { "drops-the-queue" } else { "never-restarted" })
}

/// Eight, of which two panic. Which ones do is drawn, and cannot be seen from outside.
fn computations(bench: &mut Bench) -> Vec<Asked> {
    let (mut broken, mut sound) = (Vec::new(), Vec::new());
    while broken.len() < 2 || sound.len() < 6 {
        let seed = bench.draw(1..u64::MAX);
        let digest = stir(seed, ROUNDS);
        if digest.is_multiple_of(4) {
            broken.push((seed, None))
        } else {
            sound.push((seed, Some(digest)))
        }
    }
    let mut drawn: Vec<_> = sound.into_iter().take(6).collect();
    drawn.insert(PANICS, broken[0]);
    drawn.insert(4 + bench.draw(0..2) as usize, broken[1]);
    let bursts = [0, 0, 0, 0, 1, 1, 2, 2].map(|burst| BURSTS[burst]);
    let numbered = drawn.into_iter().zip(bursts).zip(1..);
    numbered.map(|(((seed, digest), burst), id)| Asked { seed, digest, id, burst }).collect()
}

fn load(all: &[Asked]) -> Run<'static> {
    let mut run = Run::new().at_most(Duration::from_secs(4));
    for burst in BURSTS {
        let of = all.iter().filter(|asked| asked.burst == burst);
        let lines: Vec<_> =
            of.clone().map(|asked| format!("compute {} {ROUNDS}", asked.seed)).collect();
        let first = of.map(|asked| asked.id).min().unwrap_or(0);
        run = run.job(Duration::from_millis(burst), first, lines.join("\n"));
    }
    for (beat, id) in (1..).zip(echoes()) {
        let at = Duration::from_millis(BURSTS[0] + BEAT * beat);
        run = run.job(at, id, format!("echo {}", word(id)));
    }
    run
}

/// How many echoes came before the last answer to the first burst, and how many of them were answered before it.
fn meanwhile(seen: &Seen, all: &[Asked]) -> (usize, usize) {
    let of_first = all.iter().filter(|asked| asked.burst == BURSTS[0]);
    let Some(end) = of_first.filter_map(|asked| Some(seen.reply(asked.id)?.at)).max() else {
        return (0, 0);
    };
    let came = echoes().filter(|id| seen.sent.get(id).is_some_and(|sent| *sent < end));
    let went = came.clone().filter(|id| seen.reply(*id).is_some_and(|reply| reply.at < end));
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
    1000..1000 + ECHOES
}

fn word(id: u64) -> String {
    format!("w{id}")
}
