//! Users in bursts, and the service's books: how often it was asked for each path, and what was under way at the same
//! time.

use std::{
    collections::HashMap,
    ops::Range,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use anyhow::Result;
use mock_server::{Body, Entry, Script, Service, Spec, Turn};

use crate::{
    bench::Bench,
    books,
    exercise::{Card, Judge, Misconception, Question},
    line::{End, Run, Seen},
    verdict::Verdict,
};

/// Let one through.
pub struct LetOneThrough;

const SERVICE: Duration = Duration::from_millis(120);
const TTL: Duration = Duration::from_millis(1500);
/// The first burst; the one that finds fresh answers; and the one that finds old ones, long after these have ended.
const FIRST: Duration = Duration::from_millis(40);
const SECOND: Duration = Duration::from_millis(640);
const THIRD: Duration = Duration::from_millis(2900);
/// Users of the hot path in each burst.
const HOT: u64 = 20;
/// Other paths, with a user each, in the same burst.
const OTHERS: u64 = 6;
/// Users of the path that fails, and of the one whose first user does not wait.
const BESIDE: u64 = 8;
/// How long users wait: to the end, or not until the first answer.
const PATIENT: u64 = 60_000;
const IMPATIENT: u64 = 50;
/// Nobody needs so long, and who waits for ever is ended.
const LIMIT: Duration = Duration::from_secs(6);
/// How late the judge itself may be.
const BEHIND: Duration = Duration::from_millis(200);

impl Judge for LetOneThrough {
    fn card(&self) -> Card {
        Card {
            folder: "ex23_let_one_through",
            title: "Let one through",
            lab: 23,
            question: Question {
                text: "A path is asked for by 20 users at the same moment, and again when the answer is fresh, and again when it is old. With the file as it is, how many requests will the service get for it?",
                gauge: "requests_for_hot",
                unit: "requests",
            },
            misconceptions: MISCONCEPTIONS,
            orders: false,
            pace: None,
        }
    }

    fn judge(&self, bench: &mut Bench) -> Result<Verdict> {
        bench.in_time(BEHIND, attempt)
    }
}

const MISCONCEPTIONS: &[Misconception] = &[
    Misconception {
        name: "every-miss-asks",
        belief: "to look and then to act for one step",
        ask: "Twenty look before the first answer has come. What does each of them find, and what does it do?",
    },
    Misconception {
        name: "looks-once",
        belief: "what was seen before a wait for what is so after it",
        ask: "What has happened to the value while your program waited for its turn?",
    },
    Misconception {
        name: "one-lock",
        belief: "one lock for what has nothing to do with each other",
        ask: "Somebody asks for another path while the service is busy with the hot one. What does he wait for?",
    },
    Misconception {
        name: "stale-for-ever",
        belief: "an answer that was right once for one that is right",
        ask: "How old may an answer be, and where does your program look at its age?",
    },
    Misconception {
        name: "keeps-failures",
        belief: "a failure for an answer like others",
        ask: "The service has failed once and is well again. When does the next user of that path hear of it?",
    },
    Misconception {
        name: "never-released",
        belief: "an end that is reached however the way to it ends",
        ask: "The one who asks gets an error, or is dropped while he waits. Who tells those who wait for him?",
    },
];

/// Who asks for what: the number of the first user, and how many there are.
struct Users {
    first: u64,
    count: u64,
    path: String,
}

impl Users {
    fn ids(&self) -> Range<u64> {
        self.first..self.first + self.count
    }

    /// How many of them heard this.
    fn heard(&self, seen: &Seen, text: &str) -> u64 {
        let same = |id: &u64| seen.reply(*id).is_some_and(|reply| reply.text == text);
        self.ids().filter(same).count() as u64
    }
}

/// A burst: its lines, each a user of a path who waits for so long.
struct Burst {
    at: Duration,
    first: u64,
    lines: Vec<String>,
}

impl Burst {
    fn add(&mut self, path: &str, count: u64, patience: u64) -> Users {
        let first = self.first + self.lines.len() as u64;
        self.lines.extend((0..count).map(|_| format!("{path} {patience}")));
        Users { first, count, path: path.to_owned() }
    }
}

/// What the service answers when a path is asked for the nth time, from 1.
fn answer(secret: u64, path: &str, nth: u64) -> String {
    books::stamp(secret, &format!("{path} {nth}")).to_string()
}

/// A service whose answers are new each time. The path that fails does so the first time.
fn spec(secret: u64, fails: String) -> Spec {
    let made = Mutex::new(HashMap::<String, u64>::new());
    let fail = fails.clone();
    let body = Body::made("text/plain", move |asked| {
        let mut made = made.lock().unwrap_or_else(PoisonError::into_inner);
        let nth = made.entry(asked.path.to_owned()).or_default();
        *nth += 1;
        answer(secret, asked.path, *nth).into_bytes()
    });
    let script = Script::new(move |asked, before| {
        if asked.path == fail && before == 0 { Turn::fails(500) } else { Turn::default() }
    });
    Spec { body, script: Some(script), ..Spec::new(1000, Service::Constant(SERVICE)) }
}

fn attempt(bench: &mut Bench) -> Result<(Verdict, Duration)> {
    let mut verdict = Verdict::new();
    let (secret, name) = (bench.draw(1..u64::MAX), bench.draw(100_000..1_000_000));
    let path = |what: u64| format!("/page/{}", name + what);
    let (hot, fails, left) = (path(0), path(1), path(2));
    let begin = bench.draw(1000..1_000_000);
    let burst = |at, n: u64| Burst { at, first: begin + n * 1000, lines: Vec::new() };
    let mut bursts = [burst(FIRST, 0), burst(SECOND, 1), burst(THIRD, 2)];
    let scene = Scene {
        secret,
        hot: [0, 1, 2].map(|n: usize| bursts[n].add(&hot, HOT, PATIENT)),
        others: (0..OTHERS).map(|n| bursts[0].add(&path(10 + n), 1, PATIENT)).collect(),
        fails: [0, 1].map(|n: usize| bursts[n].add(&fails, BESIDE, PATIENT)),
        gone: bursts[0].add(&left, 1, IMPATIENT),
        beside: bursts[0].add(&left, BESIDE, PATIENT),
    };
    let upstream = bench.upstream(spec(secret, fails))?;
    let run = Run::new().service(&upstream).give("ttl_ms", TTL.as_millis()).at_most(LIMIT);
    let run = bursts
        .iter()
        .fold(run, |run, burst| run.job(burst.at, burst.first, burst.lines.join("\n")));
    let seen = bench.run(run)?;
    let ledger = upstream.ledger();
    let found = scene.judge(&mut verdict, &seen, &ledger);
    // Who waits for ever for what nobody brings is told so by name.
    let waits = matches!(seen.end, End::TooLong(_)) && found == Some("never-released");
    if !waits {
        crate::bench::note(&mut verdict, &seen);
    }
    let found = found.filter(|_| !verdict.holds());
    found.into_iter().for_each(|name| verdict.looks_like(name));
    Ok((verdict, seen.behind))
}

/// What was asked.
struct Scene {
    secret: u64,
    hot: [Users; 3],
    others: Vec<Users>,
    fails: [Users; 2],
    gone: Users,
    beside: Users,
}

impl Scene {
    fn judge(&self, verdict: &mut Verdict, seen: &Seen, ledger: &[Entry]) -> Option<&'static str> {
        let by_path = books::by_path(ledger);
        let of = |users: &Users| by_path.get(users.path.as_str()).cloned().unwrap_or_default();
        let labels = [("hot", &self.hot[0]), ("fails", &self.fails[0]), ("leaves", &self.gone)];
        let mut rows: Vec<(String, Vec<&Entry>)> =
            labels.map(|(label, users)| (label.to_owned(), of(users))).into();
        rows.extend(self.others.iter().take(2).map(|users| ("other".to_owned(), of(users))));
        verdict.show("requests for some of the paths, at the service:");
        books::timeline(&rows).into_iter().for_each(|line| verdict.show(line));
        let named = [
            self.at_once(verdict, &of(&self.hot[0])),
            self.hot(verdict, seen, of(&self.hot[0]).len() as u64),
            self.apart(verdict, &self.others.iter().flat_map(of).cloned().collect::<Vec<_>>()),
            self.failures(verdict, seen, of(&self.fails[0]).len() as u64),
            self.dropped(verdict, seen, of(&self.gone).len() as u64),
        ];
        named.into_iter().flatten().next()
    }

    /// Never two at the same time for the same path.
    fn at_once(&self, verdict: &mut Verdict, hot: &[&Entry]) -> Option<&'static str> {
        let hot: Vec<Entry> = hot.iter().map(|entry| (*entry).clone()).collect();
        let most = books::most_in_flight(&hot);
        let said = format!("the service was asked for the hot path by {most} at the same time");
        (!verdict.check(most <= 1, said)).then_some("every-miss-asks")
    }

    /// One request for each end, and what it brought for everybody.
    fn hot(&self, verdict: &mut Verdict, seen: &Seen, asked: u64) -> Option<&'static str> {
        verdict.measured("requests_for_hot", asked as f64);
        let path = &self.hot[0].path;
        let version = |nth| answer(self.secret, path, nth);
        let said = format!(
            "the hot path was asked for {asked} times: twice is once, and once again when that answer was old"
        );
        let twice = verdict.check(asked == 2, said);
        let [first, second, third] = &self.hot;
        let fresh = first.heard(seen, &version(1)) + second.heard(seen, &version(1));
        let said = format!("{fresh} of {} users got the first answer while it was fresh", 2 * HOT);
        let all = verdict.check(fresh == 2 * HOT, said);
        let old = third.heard(seen, &version(1));
        let said = format!("{old} of {HOT} got it when it was older than it may be");
        if !verdict.check(old == 0, said) {
            return Some("stale-for-ever");
        }
        let new = third.heard(seen, &version(2));
        let said = format!("{new} of {HOT} got the second answer");
        verdict.check(new == HOT, said);
        (!twice && !all && asked > HOT).then_some("looks-once")
    }

    /// Paths that have nothing to do with each other.
    fn apart(&self, verdict: &mut Verdict, others: &[Entry]) -> Option<&'static str> {
        let most = books::most_in_flight(others) as u64;
        let said = format!(
            "{most} of {OTHERS} other paths were asked for at the same time, by users who came together"
        );
        let all = verdict.check(most == OTHERS, said);
        (!all && most == 1).then_some("one-lock")
    }

    /// A failure is for those who were there, and not for those who come later.
    fn failures(&self, verdict: &mut Verdict, seen: &Seen, asked: u64) -> Option<&'static str> {
        let [first, second] = &self.fails;
        let good = answer(self.secret, &first.path, 2);
        let one = answer(self.secret, &first.path, 1);
        // Bodies are made for what succeeds: whether a failure counts is the service's matter.
        let well = |users: &Users| users.heard(seen, &good) + users.heard(seen, &one);
        let told = first.heard(seen, "failed") + well(first);
        let said =
            format!("{told} of {BESIDE} users heard of a failure, or got what came after it");
        let heard = verdict.check(told == BESIDE, said);
        let later = well(second);
        let said = format!("{later} of {BESIDE} who came later got an answer");
        let again = verdict.check(later == BESIDE, said);
        let said = format!("the path that fails once was asked for {asked} times");
        verdict.check(asked == 2, said);
        match () {
            () if !heard => Some("never-released"),
            () if !again && second.heard(seen, "failed") == BESIDE => Some("keeps-failures"),
            () => None,
        }
    }

    /// Who leaves takes nothing with him.
    fn dropped(&self, verdict: &mut Verdict, seen: &Seen, asked: u64) -> Option<&'static str> {
        let gone = self.gone.heard(seen, "gone");
        let versions = [1, 2].map(|nth| answer(self.secret, &self.gone.path, nth));
        let well: u64 = versions.iter().map(|text| self.beside.heard(seen, text)).sum();
        let said = format!(
            "{gone} user left before the answer, and {well} of {BESIDE} who waited beside him got one"
        );
        let all = verdict.check(well == BESIDE, said);
        let said = format!("that path was asked for {asked} times: by him, and by one of them");
        verdict.check((1..=2).contains(&asked), said);
        (!all && well == 0).then_some("never-released")
    }
}
