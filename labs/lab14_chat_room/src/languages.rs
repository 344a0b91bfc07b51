//! The same room with a server in another language, and the same users.
//!
//! The server is a program of its own. Its heartbeats bear the time since its own start, which is when it says where
//! it listens: the line with its address is what the users' clock counts from. What it takes until that line is read
//! makes a heartbeat seem less late by as much.

use lab_kit::{
    accounts::{Fate, ensure, equal, gauge},
    prelude::*,
    session::{Plan, Server},
};
use tokio::runtime::{Builder, Runtime};

use super::{
    Params,
    findings::{LATE, gone},
    gauges,
    users::{Crowd, Heard},
};

use Language::{Go, Node, Python};

/// `python/lab14.py` and so on.
pub(super) const PROGRAMS: Programs = lab_kit::programs!("lab14", "Lab14": python, node, go, java);

/// Longer than any conversation that runs without `--long`.
const LIMIT: Duration = Duration::from_secs(700);

/// Longer than a server needs to start and to find out how fast it computes.
const STARTING: Duration = Duration::from_secs(60);

const QUIET: &str = "quiet";
const INLINE: &str = "inline";

/// A conversation: its name, that for the reader, the one in Rust it stands beside, and the languages that have it.
/// When nobody asks, the server is the one that would compute on its event loop.
const CONVERSATIONS: [(&str, &str, &str, &[Language]); 4] = [
    (QUIET, "nobody asks", "quiet", &Language::ALL),
    (INLINE, "on the scheduler's thread", "inline", &Language::ALL),
    (THREADS, "on another thread", "spawn_blocking", &Language::ALL),
    ("processes", "in another process", "process", &[Python, Node]),
];

const THREADS: &str = "threads";

/// By what share a computation may take less time than was asked for.
const CLOCK: f64 = 0.05;

/// The conversations of a language.
fn conversations(language: Language) -> impl Iterator<Item = &'static str> {
    let of_it = CONVERSATIONS.iter().filter(move |(.., having)| having.contains(&language));
    of_it.map(|(name, ..)| *name)
}

/// How often each is held in a round.
fn often(conversation: &str, smoke: bool) -> usize {
    if smoke || conversation == QUIET { 1 } else { 3 }
}

/// Adds the conversations with so many users.
pub(super) fn add<'a>(
    plan: &mut Plan<'_, 'a>,
    program: &'a Program,
    p: &'a Params,
    users: usize,
    smoke: bool,
) {
    for conversation in conversations(program.language) {
        for _ in 0..often(conversation, smoke) {
            let series = program.language.series(conversation);
            plan.point(&series, users as f64, move |r| talk(r, program, p, users, conversation));
        }
    }
}

/// Seconds that all conversations of a language take once, where one in Rust takes so long.
pub(super) fn takes(language: Language, visit_s: f64, smoke: bool) -> f64 {
    let all = conversations(language).map(|name| often(name, smoke) as f64);
    all.sum::<f64>() * (visit_s + needs::START_S)
}

/// A conversation: a server is started, the users come, talk and go, and the server says what it has counted.
fn talk(
    r: &Recorder,
    program: &Program,
    p: &Params,
    users: usize,
    conversation: &str,
) -> Result<()> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let arm = if conversation == QUIET { INLINE } else { conversation };
    let flags = [
        ("arm", arm.to_string()),
        ("beat", p.beat.s().to_string()),
        ("unanswered", p.unanswered().to_string()),
        ("outbox", p.outbox.to_string()),
    ];
    let mut server = r.serve(program, &flags, LIMIT)?;
    let Some(address) = runtime.block_on(server.listening(STARTING))? else {
        return Ok(());
    };
    let origin = Instant::now();
    let asks = if conversation == QUIET { vec![] } else { vec![p.block.duration()] };
    let crowd: Crowd = p.crowd(origin, users, p.block.s(), asks);
    let deliveries = crowd.deliveries();
    let heard = match crowd.visit(address, r.load(), |_| Ok(())) {
        Ok(heard) => heard,
        // Perhaps it tells why nobody gets in.
        Err(why) => return Err(runtime.block_on(server.end()).err().unwrap_or(why)),
    };
    record(r, heard, deliveries, origin);
    counted(r, &runtime, server, users)
}

/// Writes down what the users have seen. Their clock began later than that of the trial.
fn record(r: &Recorder, mut heard: Heard, deliveries: usize, origin: Instant) {
    heard.start += origin.saturating_duration_since(r.origin());
    heard.record(r, r.origin());
    r.gauge(gauges::MESSAGES_MEANT, deliveries as f64);
    let solved = heard.answers.iter().find_map(|answer| answer.result.as_ref().ok());
    if let Some(took) = solved {
        r.gauge(gauges::BUSY_S, took.as_secs_f64());
    }
}

/// What a server says at its end.
#[derive(Deserialize)]
struct Counted {
    joined: u64,
    said: u64,
    delivered: u64,
    given_up: u64,
    slow: u64,
    /// Whether one thread at a time runs, in Python.
    #[serde(default)]
    gil: Option<f64>,
}

/// Ends a server and writes down what it has counted.
fn counted(r: &Recorder, runtime: &Runtime, server: Server, users: usize) -> Result<()> {
    let Some(last) = runtime.block_on(server.end())? else {
        return Ok(());
    };
    let counted: Counted = serde_json::from_str(&last)?;
    anyhow::ensure!(counted.joined == users as u64, "{} of {users} users came in", counted.joined);
    for (gauge, n) in [
        (gauges::MESSAGES_SAID, counted.said),
        (gauges::MESSAGES_DELIVERED, counted.delivered),
        (gauges::USERS_SLOW, counted.slow),
        (gauges::USERS_GIVEN_UP, counted.given_up),
    ] {
        r.gauge(gauge, n as f64);
    }
    if let Some(gil) = counted.gil {
        r.gauge(gauges::GIL, gil);
    }
    Ok(())
}

/// Whether mathematics may hold up the loop: on its own thread, or on another one that has the same lock.
fn may_hold_up(language: Language, conversation: &str) -> bool {
    match (language, conversation) {
        (language, INLINE) => language != Go,
        (language, THREADS) => language == Python,
        _ => false,
    }
}

/// For which share of the mathematics the loop stands still, if it does.
///
/// A loop in Python gives the interpreter's lock away at each call to a socket, and a thread that computes keeps the
/// lock for 5 ms then (Beazley 2010, "Understanding the Python GIL"). A message is one call for each member of its
/// room, so the loop gets through one in so many messages.
fn held_up(p: &Params, language: Language, name: &str, k: &Condition) -> Option<f64> {
    if name == INLINE {
        return may_hold_up(language, name).then_some(1.0);
    }
    let locked = k.gauge(gauges::GIL).is_some_and(|gil| gil.value == 1.0);
    let calls = p.rate as f64 * (p.per_room as f64).min(k.x());
    let load = calls * runtimes::PYTHON_SWITCH_S;
    (may_hold_up(language, name) && locked && load > 2.0).then(|| 1.0 - 1.0 / load)
}

/// Only a server whose loop may be held up may lose users, and what they would have said and heard.
pub(super) fn may(language: Language, conversation: &str) -> &'static [Fate] {
    if may_hold_up(language, conversation) { &[Fate::Failed, Fate::NeverSent] } else { &[] }
}

/// What a trial is: as many speak as are asked to, what the users heard the server has sent, and what was asked for
/// was computed, if anything was.
pub(super) fn premise(
    p: &Params,
    language: Language,
    conversation: &str,
    users: f64,
    t: &Trial,
) -> Result<(), String> {
    // A record may come from anywhere.
    ensure((2.0..=20_000.0).contains(&users), || format!("{users} users were not asked for"))?;
    let crowd = p.crowd(Instant::now(), users as usize, p.block.s(), vec![]);
    equal("messages", t.offered as f64, crowd.messages() as f64)?;
    let meant = gauge(t, gauges::MESSAGES_MEANT)?;
    equal("messages for every ear", meant, crowd.deliveries() as f64)?;
    let (said, heard) = (gauge(t, gauges::MESSAGES_SAID)?, gauge(t, gauges::MESSAGES_RECEIVED)?);
    let delivered = gauge(t, gauges::MESSAGES_DELIVERED)?;
    let room = p.per_room as f64;
    let order = t.ok as f64 <= heard && heard <= delivered && delivered <= said * room;
    ensure(order, || format!("{said} were said, {delivered} delivered, {heard} heard"))?;
    ensure(said <= t.offered as f64, || format!("{said} messages came of {}", t.offered))?;
    let (solved, failed) = (gauge(t, gauges::JOBS_SOLVED)?, gauge(t, gauges::JOBS_FAILED)?);
    let asked = f64::from(u8::from(conversation != QUIET));
    // Who has left is told nothing.
    let alone = may_hold_up(language, conversation) && gauge(t, gauges::USERS_LEFT)? > 0.0;
    ensure((solved, failed) == (asked, 0.0) || alone, || {
        format!("{solved} jobs were done and {failed} failed, of {asked}")
    })?;
    if solved == 0.0 {
        return Ok(());
    }
    let (busy, answer) = (gauge(t, gauges::BUSY_S)?, gauge(t, gauges::ANSWER_S)?);
    ensure(busy >= p.block.s() / 4.0, || format!("only {} were computed", seconds(busy)))?;
    ensure(answer >= busy - LATE, || {
        format!("the answer came before {} were computed", seconds(busy))
    })
}

/// What the others notice, by what is known of each runtime.
pub(super) fn claims(p: &Params, summary: &Summary) -> Vec<Claim> {
    let all = || runtimes::conditions(summary).filter(|(_, name, _)| *name != QUIET);
    let named = |language: Language, name: &str, k: &Condition| {
        format!("{language}, {name}, {} users", number(k.x()))
    };
    let slowest = |k: &Condition| k.every(|t| t.latency.quantile_s(0.99));
    // What theory says at the flags' block, shorter by the clock.
    let away = |share: f64| p.away((1.0 - CLOCK) * p.block.s() * share);
    let held: Vec<_> = all()
        .filter_map(|(language, name, k)| {
            Some((language, name, k, held_up(p, language, name, &k)?))
        })
        .collect();
    // Who has left hears nothing late.
    let stayed = |k: &Condition| k.total(gone).is_some_and(|gone| gone.value == 0.0);
    let waits = held.iter().map(|(language, name, k, share)| {
        let least = summary.calibrated(|_| away(*share).quantile(0.99, 0.0) - LATE);
        Case::exact(named(*language, name, k), least, slowest(k).filter(|_| stayed(k)))
    });
    let misses = held.iter().map(|(language, name, k, share)| {
        let least = summary.calibrated(|_| {
            let late = LATE / p.beat.s();
            k.x() * (away(*share).missed() - late).max(0.0)
        });
        let missed = k.estimate(|t| t.gauge(gauges::MISSED_HEARTBEATS));
        Case::exact(named(*language, name, k), least, missed.filter(|_| stayed(k)))
    });
    let goal = 0.1 * p.block.s();
    let is_apart = |language: Language, name: &str| !may_hold_up(language, name);
    let elsewhere =
        all().filter(|(language, name, _)| *name != INLINE && is_apart(*language, name));
    let elsewhere = elsewhere
        .map(|(language, name, k)| Case::exact(named(language, name, &k), goal, slowest(&k)));
    let in_go = all().filter(|(language, name, _)| *language == Go && *name == INLINE);
    let in_go = in_go.filter_map(|(language, name, k)| {
        // One look until it is seen that something has come, and one until who computes is interrupted; and so for
        // each of the goroutines that an echo passes, which read and which write.
        let quiet = Given::from(summary.at(&Go.series(QUIET), k.x())?.latency(0.99)?);
        let most = quiet + 4.0 * runtimes::GO_LOOK_S;
        Some(Case::exact(named(language, name, &k), most, slowest(&k)))
    });
    let stays = all().filter(|(language, name, _)| is_apart(*language, name));
    let stays = stays.map(|(language, name, k)| {
        let lost = |t: &Trial| {
            let missing = t.gauge(gauges::MESSAGES_MEANT)? - t.gauge(gauges::MESSAGES_RECEIVED)?;
            let out = t.gauge(gauges::USERS_SLOW)? + t.gauge(gauges::USERS_GIVEN_UP)?;
            Some(gone(t)? + out + missing.abs() + t.gauge(gauges::MESSAGES_IN_DISORDER)?)
        };
        Case::exact(named(language, name, &k), 0.0, k.every(lost))
    });
    let longer = |text| Law::new(text, "s", Disturbed::Longer(Resource::Processors));
    vec![
        longer("mathematics on the thread that serves the users, in Python, Node and Java, and on another thread in Python, which has the same lock: an echo that falls due meanwhile waits until the mathematics ends")
            .within("5 % of the block, by which a computation may be quicker, 3 ms for late timers, and what a loop in Python gets through beside a thread that computes")
            .at_least(waits),
        Law::new("in the same cases every heartbeat that falls due meanwhile is missed", "heartbeats", Disturbed::Longer(Resource::Processors))
            .within("those of 5 % of the block, by which a computation may be quicker, and of 3 ms for late timers")
            .at_least(misses),
        longer("mathematics on the only thread, in Go: its runtime looks every 10 ms who has to wait, and an echo waits for two looks where it is read and two where it is written")
            .within("four times 10 ms on top of what echoes take when nobody asks")
            .at_most(in_go),
        longer("mathematics on another thread or in another process, except on a thread of Python's: 99 % of the others' echoes take at most a tenth of the time of the mathematics")
            .goal()
            .at_most(elsewhere),
        Law::counted("in every language mathematics that does not hold up the event loop costs no user and no message", "users and messages")
            .near(stays),
    ]
}

/// The conversations in Rust and in each language. How they stand to each other is for the reader.
pub(super) fn table(summary: &Summary) -> Option<Table> {
    let others: Vec<_> = runtimes::conditions(summary).collect();
    let mut rows = Vec::new();
    for (name, place, beside, _) in CONVERSATIONS {
        let of_it: Vec<_> = others.iter().filter(|(_, of, _)| *of == name).collect();
        let rust = of_it.first().and_then(|(.., k)| summary.at(beside, k.x()));
        rows.extend(rust.map(|k| (place, "Rust", k)));
        rows.extend(of_it.into_iter().map(|(language, _, k)| (place, language.name(), *k)));
    }
    Table::of(format!("Everybody else {}", runtimes::BESIDE), rows)
        .column("mathematics", |r| r.0.into())
        .column("language", |r| r.1.into())
        .column("users", |r| number(r.2.x()))
        .cells("p50", seconds, |r| r.2.latency(0.5))
        .cells("p99", seconds, |r| r.2.latency(0.99))
        .cells("slowest", seconds, |r| r.2.latency(1.0))
        .cells("heartbeats missed", number, |r| r.2.gauge(gauges::MISSED_HEARTBEATS))
        .cells("users gone", number, |r| r.2.estimate(gone))
        .cells("computed for", seconds, |r| r.2.gauge(gauges::BUSY_S))
        .cells("answered after", seconds, |r| r.2.gauge(gauges::ANSWER_S))
        .note("The users are the same program, whatever the server is written in. A server in another language is a process of its own, that of Rust a thread beside the users. Beside a thread that computes, an event loop in Python gives the interpreter's lock away at each call to a socket. It waits 5 ms to have the lock again, each time.")
        .unless_empty()
}
