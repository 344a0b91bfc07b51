//! The program is killed three times, and what is in the store in the end is held against the source.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use anyhow::Result;
use mock_server::{Asked, Body, Script, Service, Spec, Turn};

use crate::{
    bench::Bench,
    books,
    exercise::{Card, Judge, Misconception, Question},
    line::{End, Run},
    verdict::Verdict,
};

/// Resume, exactly once.
pub struct ResumeExactlyOnce;

const ITEMS: u64 = 60;
/// So many pairs of items, of which the number of one is a part of the other's.
const PAIRS: u64 = 20;
/// Items before them.
const BEFORE: usize = 4;
const SERVICE: Duration = Duration::from_millis(5);
/// The store is slower than the journal: what is handed to both at the same time is in the journal first.
const STORE: Duration = Duration::from_millis(40);
/// One of the first items takes longer, the first time it is fetched: others are done before.
const LATE: Duration = Duration::from_millis(2000);
/// An answer that nobody will see.
const NEVER: Duration = Duration::from_secs(3000);

impl Judge for ResumeExactlyOnce {
    fn card(&self) -> Card {
        Card {
            folder: "ex12_resume_exactly_once",
            title: "Resume, exactly once",
            lab: 12,
            question: Question {
                text: "60 items, and the program is killed three times, after some ten items each. With the file as it is, how many items will be in the store under more than one key?",
                gauge: "more_than_once",
                unit: "items",
            },
            misconceptions: &[
                Misconception {
                    name: "numbers-from-one",
                    belief: "keys that are counted, and counted from the beginning at each start",
                    ask: "Which item had this key before the program was killed?",
                },
                Misconception {
                    name: "journal-first",
                    belief: "a line that says what was to be done, read as if it had been done",
                    ask: "The program is killed right after `append`. What does the line say, and what is in the store?",
                },
                Misconception {
                    name: "both-at-once",
                    belief: "a line that is written while the store may still lose the item",
                    ask: "The line is written, and the store has not answered. What is promised, and what is certain?",
                },
                Misconception {
                    name: "counts-lines",
                    belief: "a number of items for a set of items",
                    ask: "Several items are under way at a time: in which order do they end?",
                },
                Misconception {
                    name: "finds-parts",
                    belief: "a number that is a part of another one for that number",
                    ask: "Which lines does your program find when it looks for item 1204, and the journal speaks of 31204?",
                },
                Misconception {
                    name: "starts-over",
                    belief: "a journal that is written and not read",
                    ask: "How much of what a start does was done before?",
                },
                Misconception {
                    name: "fresh-keys",
                    belief: "a key for a request, where the store needs one for an item",
                    ask: "The program is killed after the store took an item, and before it said so. Which key does the item have next time?",
                },
            ],
            orders: false,
            pace: None,
        }
    }

    fn judge(&self, bench: &mut Bench) -> Result<Verdict> {
        let mut verdict = Verdict::new();
        let window = bench.draw(3..6);
        let items = items(bench);
        let world = World {
            secret: bench.draw(1..u64::MAX),
            late: items[bench.draw(0..3) as usize],
            ..World::default()
        };
        let world = Arc::new(Mutex::new(world));
        let (asked_of, body_of) = (Arc::clone(&world), Arc::clone(&world));
        let upstream = bench.upstream(Spec {
            script: Some(Script::new(move |asked, before| lock(&asked_of).turn(asked, before))),
            body: Body::made("text/plain", move |asked| {
                books::stamp(lock(&body_of).secret, asked.path).to_string().into_bytes()
            }),
            ..Spec::new(1000, Service::Constant(SERVICE))
        })?;
        let kills = [
            Some(At::Store(bench.draw(12..18))),
            Some(At::Line(bench.draw(8..12))),
            Some(At::Store(bench.draw(8..12))),
            None,
        ];
        for (run, kill) in (1..).zip(kills) {
            let journal = lock(&world).begin(run, kill);
            let given = Run::new().service(&upstream).list("items", &items).give("window", window);
            let given = given.give("run", run).give("journal", journal.join("\n"));
            let given = given.stop_when(|| lock(&world).is_down);
            let seen = bench.run_through(&mut verdict, given)?;
            if matches!(seen.end, End::Early(_) | End::TooLong(_)) {
                return Ok(verdict);
            }
            // Who is not killed has no reason to leave anything for the next start.
            let left = lock(&world).missing(&items).len();
            if seen.end == End::Finished && kill.is_some() && left > 0 {
                verdict
                    .check(false, format!("start {run} ended by itself and left {left} items out"));
            }
        }
        let world = lock(&world);
        let more = items.iter().filter(|item| world.keys_of(**item) > 1).count();
        verdict.measured("more_than_once", more as f64);
        world.look(&mut verdict, &items, window * world.kills);
        Ok(verdict)
    }
}

/// Numbers of which none is a part of another, but in its pair. Of half of the pairs the longer one comes early and
/// the shorter one late, of the others the other way round.
fn items(bench: &mut Bench) -> Vec<u64> {
    let mut next = bench.draw(12_000..15_000);
    // None of them begins with another digit than 1, or goes on with a second one.
    let mut number = |bench: &mut Bench| {
        next += bench.draw(1..100);
        next
    };
    let (mut early, mut late) = (Vec::new(), Vec::new());
    for pair in 0..PAIRS {
        let (short, digit) = (number(bench), bench.draw(2..10));
        let long = [10 * short + digit, 100_000 * digit + short][bench.draw(0..2) as usize];
        let (first, last) = if pair % 2 == 0 { (long, short) } else { (short, long) };
        early.push(first);
        late.push(last);
    }
    let mut items: Vec<u64> = (2 * PAIRS..ITEMS).map(|_| number(bench)).collect();
    items.splice(BEFORE..BEFORE, early);
    items.extend(late);
    items
}

/// The whole numbers of a text.
fn numbers(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !c.is_ascii_digit()).filter(|number| !number.is_empty())
}

/// Where a process is killed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum At {
    /// The store has been handed so many items in this run; nobody hears of the last one.
    Store(u64),
    /// So many lines were written in this run; nobody hears of the last one.
    Line(u64),
}

/// Source, store and journal.
#[derive(Default)]
struct World {
    secret: u64,
    late: u64,
    run: u64,
    kill: Option<At>,
    /// From the moment at which the process is killed nothing is done any more, and nothing answered.
    is_down: bool,
    kills: u64,
    /// Handed to the store and written in this run.
    puts: u64,
    written: u64,
    journal: Vec<String>,
    /// The item that came first with a key.
    keys: BTreeMap<String, u64>,
    /// Keys that were new, and when each came.
    fresh: Vec<(Instant, String)>,
    /// Of each item, whether a line came before it was handed to the store.
    line_first: BTreeMap<u64, bool>,
    before: BTreeSet<u64>,
    /// Items that were in the store before this run, and were handed to it again.
    again: u64,
    /// Items that came with the key of another one.
    turned_away: u64,
    made_up: u64,
    log: Vec<String>,
}

impl World {
    /// A new process begins: what it finds in the journal.
    fn begin(&mut self, run: u64, kill: Option<At>) -> Vec<String> {
        (self.run, self.kill, self.is_down) = (run, kill, false);
        (self.puts, self.written) = (0, 0);
        self.fresh.clear();
        self.before = self.keys.values().copied().collect();
        self.journal.clone()
    }

    fn turn(&mut self, asked: &Asked<'_>, before: u64) -> Turn {
        if self.is_down {
            return Turn::takes(NEVER);
        }
        let parts: Vec<&str> = asked.path.split('/').skip(1).collect();
        match parts[..] {
            ["item", item] if before == 0 && item.parse() == Ok(self.late) => {
                return Turn::takes(LATE);
            }
            ["item", _] => return Turn::default(),
            // A request of a process that was killed may still arrive.
            ["run", run, ..] if run.parse() != Ok(self.run) => return Turn::takes(NEVER),
            ["run", _, "store", item] => {
                self.put(item.parse().unwrap_or(0), asked.query.unwrap_or_default(), asked.body);
            }
            ["run", _, "journal"] => {
                self.written += 1;
                let line = String::from_utf8_lossy(asked.body).into_owned();
                self.log.push(format!("start {}: line `{line}` written", self.run));
                for item in numbers(&line).filter_map(|item| item.parse().ok()) {
                    self.line_first.entry(item).or_insert(true);
                }
                self.journal.push(line);
            }
            _ => return Turn::fails(404),
        }
        self.is_down = match self.kill {
            Some(At::Store(puts)) => self.puts >= puts,
            Some(At::Line(lines)) => self.written >= lines,
            None => false,
        };
        self.kills += u64::from(self.is_down);
        if !self.is_down {
            return if parts[2] == "store" { Turn::takes(STORE) } else { Turn::default() };
        }
        if let Some(last) = self.log.last_mut() {
            last.push_str(", and killed before it heard of that");
        }
        self.lose();
        Turn::takes(NEVER)
    }

    /// What the store cannot have answered yet may be lost: all but the one at which the process is killed.
    fn lose(&mut self) {
        let last = self.fresh.pop_if(|_| matches!(self.kill, Some(At::Store(_))));
        for (came, key) in std::mem::take(&mut self.fresh) {
            // An answer may be a little early.
            if came.elapsed() < STORE / 2
                && let Some(item) = self.keys.remove(&key)
            {
                self.log.push(format!("start {}: the store lost {item}, unanswered", self.run));
            }
        }
        self.fresh.extend(last);
    }

    fn put(&mut self, item: u64, key: &str, content: &[u8]) {
        self.puts += 1;
        self.log.push(format!("start {}: {item} to the store under `{key}`", self.run));
        self.again += u64::from(self.before.contains(&item));
        let right = books::stamp(self.secret, &format!("/item/{item}")).to_string();
        self.made_up += u64::from(right.as_bytes() != content);
        self.line_first.entry(item).or_insert(false);
        if !self.keys.contains_key(key) {
            self.fresh.push((Instant::now(), key.to_owned()));
        }
        let owner = *self.keys.entry(key.to_owned()).or_insert(item);
        self.turned_away += u64::from(owner != item);
    }

    fn keys_of(&self, item: u64) -> usize {
        self.keys.values().filter(|owner| **owner == item).count()
    }

    fn missing(&self, items: &[u64]) -> Vec<u64> {
        items.iter().copied().filter(|item| self.keys_of(*item) == 0).collect()
    }

    fn look(&self, verdict: &mut Verdict, items: &[u64], under_way: u64) {
        let keys: Vec<usize> = items.iter().map(|item| self.keys_of(*item)).collect();
        let map: String = keys
            .iter()
            .map(|keys| char::from_digit(*keys as u32 % 10, 10).unwrap_or('+'))
            .collect();
        verdict.show(format!(
            "killed {} times; under how many keys each item is in the store:",
            self.kills
        ));
        verdict.show(map);
        if let Some((item, _)) = items.iter().zip(&keys).find(|(_, keys)| **keys != 1) {
            verdict.show(format!("what was done with {item}:"));
            let item = item.to_string();
            let speaks_of = |line: &&String| numbers(line).any(|number| number == item);
            let done: Vec<_> = self.log.iter().filter(speaks_of).take(8).collect();
            if done.is_empty() {
                verdict.show("  it was never handed to the store");
            }
            done.into_iter().for_each(|line| verdict.show(format!("  {line}")));
        }
        let made_up = self.made_up;
        verdict.check(
            made_up == 0,
            format!("{made_up} items came to the store with another content than the source's"),
        );
        let turned_away = self.turned_away;
        let own = verdict.check(
            turned_away == 0,
            format!("{turned_away} times an item came with a key that another item had before"),
        );
        let lost = self.missing(items);
        let written: BTreeSet<&str> = self.journal.iter().flat_map(|line| numbers(line)).collect();
        let promised = lost.iter().filter(|item| written.contains(&*item.to_string())).count();
        let said = format!(
            "{} of {} items are not in the store; the journal speaks of {promised} of them",
            lost.len(),
            items.len()
        );
        let complete = verdict.check(lost.is_empty(), said);
        let more = keys.iter().filter(|keys| **keys > 1).count();
        let once = verdict
            .check(more == 0, format!("{more} items are in the store under more than one key"));
        let again = self.again;
        let resumed = verdict.check(
            again <= under_way,
            format!("what was in the store before a start was handed to it again {again} times; up to {under_way} may have been under way when it was killed"),
        );
        let beside = |item: &u64| {
            let item = item.to_string();
            written.iter().any(|other| other.contains(&item) || item.contains(other))
        };
        let lines_first = self.line_first.values().filter(|first| **first).count();
        let mistake = match () {
            () if made_up > 0 => None,
            // Nothing was killed, or nothing has a key of its own: none of those.
            () if self.kills == 0 || 4 * self.keys.len() < items.len() => None,
            () if !own => Some("numbers-from-one"),
            () if promised > 0 && 2 * lines_first > items.len() => Some("journal-first"),
            () if promised > 0 => Some("both-at-once"),
            () if !complete && lost.iter().all(beside) => Some("finds-parts"),
            () if !complete => Some("counts-lines"),
            () if !resumed => Some("starts-over"),
            () if !once => Some("fresh-keys"),
            () => None,
        };
        mistake.into_iter().for_each(|mistake| verdict.looks_like(mistake));
    }
}

fn lock(world: &Mutex<World>) -> MutexGuard<'_, World> {
    world.lock().unwrap_or_else(PoisonError::into_inner)
}
