//! The users: as many WebSocket clients as wanted, on an event loop and a thread of their own, so
//! that what stops the server does not stop those who measure it.
//!
//! Each says something when it is due, whether or not the last thing has come back, and measures
//! from the instant at which it was *due* until it hears itself: who waits for the answer before
//! speaking again measures only one echo in each silence, and calls that the rest did not exist.
//! User 0 says nothing and asks for mathematics.

use std::{
    collections::{BTreeMap, HashMap},
    net::SocketAddr,
    panic::resume_unwind,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, anyhow};
use futures_util::{SinkExt, StreamExt, future::try_join_all};
use lab_kit::{
    gauge,
    load::Load,
    record::{Latency, Trial},
    session::Recorder,
};
use tokio::{
    net::TcpStream,
    runtime::{Builder, Handle},
    select,
    sync::{Notify, watch},
    task::JoinSet,
    time::{sleep, sleep_until, timeout_at},
};
use tokio_tungstenite::{
    WebSocketStream, client_async_with_config,
    tungstenite::{Bytes, Message},
};

use super::{
    gauges,
    protocol::{Reply, Request},
    server::websocket,
};

/// Users who connect at the same time.
const WAVE: usize = 64;

/// Echoes of a trial that are drawn, at most.
pub(super) const DRAWN: usize = 3000;

/// Who comes, and what they do.
#[derive(Clone, Debug)]
pub struct Crowd {
    /// How many, user 0 included.
    pub users: usize,
    /// Members of a room, at most.
    pub per_room: usize,
    /// Messages a second, of all users together, evenly spread.
    pub rate: f64,
    /// For how long they talk.
    pub window: Duration,
    /// Time between two heartbeats of the server.
    pub beat: Duration,
    /// A user that has heard no heartbeat for so long leaves.
    pub patience: Duration,
    /// When user 0 asks, after the beginning.
    pub ask_at: Duration,
    /// What it asks for, each as soon as the last one is answered.
    pub asks: Vec<Duration>,
    /// What the heartbeats' times count from.
    pub origin: Instant,
}

/// Why somebody is not there any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Gone {
    /// Out of patience.
    Left,
    /// The server ended the connection.
    Disconnected,
}

/// An answer to user 0.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// From the question to the answer.
    pub waited: Duration,
    /// How long it was computed, or why not.
    pub result: Result<Duration, String>,
}

/// What all users together have seen.
#[derive(Debug, Default)]
pub struct Heard {
    /// When they began to talk, after the origin of their clock.
    pub start: Duration,
    /// From the beginning until the last of them had heard all it was to hear.
    pub took: Duration,
    /// What everybody said: when it was due after the start, and how long until the speaker heard it.
    pub echoes: Vec<(Duration, Fate)>,
    /// Heartbeats that had not come a beat after they were due.
    pub missed: u64,
    /// Users who lost patience.
    pub left: u64,
    /// Users whom the server disconnected.
    pub disconnected: u64,
    /// Messages of their rooms that arrived.
    pub received: usize,
    /// Messages that arrived twice, or out of order, or after a gap.
    pub disorder: u64,
    /// What user 0 was told.
    pub answers: Vec<Answer>,
    /// Share of the time that the users' event loop was busy.
    pub busy: f64,
}

/// What became of something said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// Its speaker heard it so long after it was due.
    Echo(Duration),
    /// Not heard when its speaker left.
    Left,
    /// Not heard when its speaker was disconnected.
    Disconnected,
    /// Not heard when all was over.
    Unheard,
    /// Its speaker had gone before it was due.
    NeverSent,
}

impl Crowd {
    fn rooms(&self) -> usize {
        self.users.div_ceil(self.per_room).max(1)
    }

    fn room_of(&self, user: usize) -> usize {
        user % self.rooms()
    }

    /// Messages of all users together.
    pub fn messages(&self) -> usize {
        (self.window.as_secs_f64() * self.rate).round() as usize
    }

    /// When the next thing a user says is due, after the start. They take turns, user 0 excepted.
    fn due(&self, user: usize, spoken: usize) -> Option<Duration> {
        let turn = spoken * (self.users - 1) + user.checked_sub(1)?;
        (turn < self.messages()).then(|| Duration::from_secs_f64(turn as f64 / self.rate))
    }

    fn says(&self, user: usize) -> usize {
        (0..).take_while(|spoken| self.due(user, *spoken).is_some()).count()
    }

    /// Messages that reach somebody when all stay: each one every member of the speaker's room.
    pub fn deliveries(&self) -> usize {
        let mut members = vec![0; self.rooms()];
        (0..self.users).for_each(|user| members[self.room_of(user)] += 1);
        let speakers = 1..self.users;
        speakers.map(|user| self.says(user) * members[self.room_of(user)]).sum()
    }

    /// Lets all of them visit a server. `meanwhile` is called with the beginning, as soon as everybody
    /// is inside, on the thread that called this.
    ///
    /// # Errors
    /// When somebody does not get in.
    pub fn visit(
        self,
        address: SocketAddr,
        load: Load,
        meanwhile: impl FnOnce(Instant) -> Result<()>,
    ) -> Result<Heard> {
        let (tell, begun) = mpsc::channel();
        let users = thread::Builder::new().name("users".into()).spawn(move || {
            let runtime = Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(Arc::new(self).come(address, &load, &tell))
        })?;
        // Without a beginning there has been an error, and it is told below.
        let done = begun.recv().map_or(Ok(()), meanwhile);
        let heard = users.join().unwrap_or_else(|panic| resume_unwind(panic))?;
        done.map(|()| heard)
    }

    async fn come(
        self: Arc<Crowd>,
        address: SocketAddr,
        load: &Load,
        tell: &mpsc::Sender<Instant>,
    ) -> Result<Heard> {
        let shared = Arc::new(Shared::default());
        shared.talking.store(self.users, Ordering::Relaxed);
        let (phase, phases) = watch::channel(Phase::Before);
        let mut users = JoinSet::new();
        for wave in (0..self.users).collect::<Vec<_>>().chunks(WAVE) {
            let inside = wave.iter().map(|user| {
                let line = Request::Join(self.room_of(*user) as u32).to_string();
                enter(address, line)
            });
            let inside = try_join_all(inside).await.context("a user did not get in")?;
            for (user, (socket, number)) in wave.iter().zip(inside) {
                let one = User {
                    me: *user,
                    number,
                    crowd: self.clone(),
                    shared: shared.clone(),
                    spoken: 0,
                    echoes: vec![None; self.says(*user)],
                    asked: None,
                    answers: Vec::new(),
                    last_of: HashMap::new(),
                    beat_due: None,
                    beat_heard: None,
                    missed: 0,
                    received: 0,
                    disorder: 0,
                };
                users.spawn(one.stay(socket, phases.clone()));
            }
        }
        // A moment for those who came last.
        let start = Instant::now() + Duration::from_millis(5);
        phase.send_replace(Phase::Talking(start));
        let _ = tell.send(start);
        let metrics = Handle::current().metrics();
        let busy = metrics.worker_total_busy_duration(0);

        let asked: Duration = self.asks.iter().sum();
        let limit = start + self.window + self.patience + 4 * asked + Duration::from_secs(5);
        let done = timeout_at(limit.into(), shared.all_done());
        let _ = load.unless_stopped(done).await;
        // Everybody has heard itself. The others of its room may be a moment later, and so may
        // those who are about to leave.
        let (all, begun) = (self.deliveries(), Instant::now());
        while shared.received.load(Ordering::Relaxed) < all && begun.elapsed() < self.beat {
            sleep(Duration::from_millis(1)).await;
        }
        // One heartbeat more tells those who stay which ones they have missed.
        let last = start + self.ask_at + asked + self.beat.mul_f64(1.3);
        let _ = load.unless_stopped(sleep_until(last.into())).await;
        let took = start.elapsed();
        phase.send_replace(Phase::Over);

        let mut heard = Heard {
            start: start - self.origin,
            took,
            busy: (metrics.worker_total_busy_duration(0) - busy).as_secs_f64() / took.as_secs_f64(),
            ..Heard::default()
        };
        for (user, gone) in users.join_all().await {
            heard.add(&self, user, gone);
        }
        heard.echoes.sort_by_key(|(due, _)| *due);
        Ok(heard)
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Phase {
    Before,
    Talking(Instant),
    Over,
}

/// The beginning; `None` when there is none.
async fn begun(phases: &mut watch::Receiver<Phase>) -> Option<Instant> {
    match *phases.wait_for(|p| *p != Phase::Before).await.ok()? {
        Phase::Talking(start) => Some(start),
        _ => None,
    }
}

async fn over(phases: &mut watch::Receiver<Phase>) {
    let _ = phases.wait_for(|p| *p == Phase::Over).await;
}

/// What the users tell those who wait for them.
#[derive(Default)]
struct Shared {
    /// Users with something still to say or to hear.
    talking: AtomicUsize,
    received: AtomicUsize,
    changed: Notify,
}

impl Shared {
    async fn all_done(&self) {
        while self.talking.load(Ordering::Relaxed) > 0 {
            self.changed.notified().await;
        }
    }
}

type Socket = WebSocketStream<TcpStream>;

/// Connects and joins; returns the connection and the number the server gave.
async fn enter(address: SocketAddr, line: String) -> Result<(Socket, u64)> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let url = format!("ws://{address}/");
    let (mut socket, _) = client_async_with_config(url, stream, Some(websocket())).await?;
    socket.send(Message::text(line)).await?;
    let first = socket.next().await.context("the server hung up")??;
    match Reply::parse(first.to_text()?) {
        Some(Reply::Welcome(number)) => Ok((socket, number)),
        _ => Err(anyhow!("the server said {first:?} instead of welcome")),
    }
}

/// One user.
struct User {
    me: usize,
    number: u64,
    crowd: Arc<Crowd>,
    shared: Arc<Shared>,
    spoken: usize,
    echoes: Vec<Option<Duration>>,
    asked: Option<Instant>,
    answers: Vec<Answer>,
    /// Of each speaker, the last thing heard.
    last_of: HashMap<u64, usize>,
    /// When the last heartbeat that has come was due, and when it came.
    beat_due: Option<Duration>,
    beat_heard: Option<Instant>,
    missed: u64,
    received: usize,
    disorder: u64,
}

impl User {
    async fn stay(
        mut self,
        mut socket: Socket,
        mut phases: watch::Receiver<Phase>,
    ) -> (User, Option<Gone>) {
        // Until all are inside: answer heartbeats.
        let start = loop {
            select! {
                biased;
                start = begun(&mut phases) => match start {
                    Some(start) => break start,
                    None => return (self, None),
                },
                message = socket.next() => if self.hear(message, Instant::now()).is_err() {
                    self.done();
                    return (self, Some(Gone::Disconnected));
                },
            }
        };
        let gone = self.talk(&mut socket, start, &mut phases).await;
        if gone.is_some() && !self.finished() {
            self.done();
        }
        (self, gone)
    }

    async fn talk(
        &mut self,
        socket: &mut Socket,
        start: Instant,
        phases: &mut watch::Receiver<Phase>,
    ) -> Option<Gone> {
        let crowd = self.crowd.clone();
        let since = |heard: Option<Instant>| heard.map_or(start, |at| at.max(start));
        let speak = sleep_until(start.into());
        let leave = sleep_until((start + crowd.patience).into());
        tokio::pin!(speak, leave);
        let me = self.me;
        let mut asks = crowd.asks.iter().filter(|_| me == 0);
        let mut ask = asks.next().map(|cost| (crowd.ask_at, *cost));
        if self.finished() {
            self.done();
        }
        loop {
            let next = crowd.due(self.me, self.spoken).or(ask.map(|(at, _)| at));
            if let Some(due) = next {
                speak.as_mut().reset((start + due).into());
            }
            select! {
                // Reads before it judges: what has come in time must not count as silence.
                biased;
                message = socket.next() => {
                    let (before, answered) = (self.finished(), self.answers.len());
                    if self.hear(message, start).is_err() {
                        return Some(Gone::Disconnected);
                    }
                    leave.as_mut().reset((since(self.beat_heard) + crowd.patience).into());
                    if self.answers.len() > answered {
                        ask = asks.next().map(|cost| (start.elapsed(), *cost));
                    }
                    if !before && self.finished() {
                        self.done();
                    }
                }
                () = &mut leave => {
                    // All that fell due since the last one that came.
                    if let Some(due) = self.beat_due {
                        let silence = crowd.origin.elapsed().saturating_sub(due);
                        self.missed += (silence.as_secs_f64() / crowd.beat.as_secs_f64()) as u64;
                    }
                    return Some(Gone::Left);
                }
                () = &mut speak, if next.is_some() => {
                    let line = match ask {
                        Some((_, cost)) => {
                            (ask, self.asked) = (None, Some(Instant::now()));
                            Request::Solve(cost).to_string()
                        }
                        None => {
                            self.spoken += 1;
                            Request::Say(&(self.spoken - 1).to_string()).to_string()
                        }
                    };
                    if socket.send(Message::text(line)).await.is_err() {
                        return Some(Gone::Disconnected);
                    }
                }
                () = over(phases) => return None,
            }
        }
    }

    /// Has it heard all it said, and been answered all it asked?
    fn finished(&self) -> bool {
        let asks = if self.me == 0 { self.crowd.asks.len() } else { 0 };
        self.answers.len() == asks && self.echoes.iter().all(Option::is_some)
    }

    fn done(&self) {
        self.shared.talking.fetch_sub(1, Ordering::Relaxed);
        self.shared.changed.notify_one();
    }

    /// Takes in what came from the server; an error when that was the end of it.
    fn hear(
        &mut self,
        message: Option<Result<Message, tokio_tungstenite::tungstenite::Error>>,
        start: Instant,
    ) -> Result<(), ()> {
        match message {
            Some(Ok(Message::Text(line))) => self.read(&line, start).ok_or(()),
            Some(Ok(Message::Ping(payload))) => self.heartbeat(&payload).ok_or(()),
            Some(Ok(Message::Pong(_))) => Ok(()),
            _ => Err(()),
        }
    }

    fn read(&mut self, line: &str, start: Instant) -> Option<()> {
        match Reply::parse(line)? {
            Reply::Said(speaker, words) => {
                let spoken: usize = words.parse().ok()?;
                let expected = self.last_of.get(&speaker).map_or(0, |last| last + 1);
                self.disorder += u64::from(spoken != expected);
                self.last_of.insert(speaker, spoken);
                self.received += 1;
                self.shared.received.fetch_add(1, Ordering::Relaxed);
                if speaker == self.number {
                    let due = self.crowd.due(self.me, spoken)?;
                    *self.echoes.get_mut(spoken)? = Some(start.elapsed().saturating_sub(due));
                }
            }
            Reply::Solved(took) => self.answered(Ok(took)),
            Reply::Failed(why) => self.answered(Err(why.into())),
            Reply::Welcome(_) => return None,
        }
        Some(())
    }

    fn answered(&mut self, result: Result<Duration, String>) {
        if let Some(asked) = self.asked.take() {
            let waited = asked.elapsed();
            self.answers.push(Answer { waited, result });
        }
    }

    fn heartbeat(&mut self, payload: &Bytes) -> Option<()> {
        let due = Duration::from_nanos(u64::from_be_bytes(payload.as_ref().try_into().ok()?));
        let (beat, now) = (self.crowd.beat, Instant::now());
        let late = (now - self.crowd.origin).saturating_sub(due);
        if let Some(last) = self.beat_due {
            let beats = due.saturating_sub(last).as_secs_f64() / beat.as_secs_f64();
            self.missed += (beats.round() as u64).saturating_sub(1);
        }
        self.missed += u64::from(late > beat);
        (self.beat_due, self.beat_heard) = (Some(due), Some(now));
        Some(())
    }
}

impl Heard {
    fn add(&mut self, crowd: &Crowd, user: User, gone: Option<Gone>) {
        for (spoken, echo) in user.echoes.iter().enumerate() {
            let fate = match (echo, gone) {
                (Some(took), _) => Fate::Echo(*took),
                (None, _) if spoken >= user.spoken => Fate::NeverSent,
                (None, Some(Gone::Left)) => Fate::Left,
                (None, Some(Gone::Disconnected)) => Fate::Disconnected,
                (None, None) => Fate::Unheard,
            };
            if let Some(due) = crowd.due(user.me, spoken) {
                self.echoes.push((due, fate));
            }
        }
        self.missed += user.missed;
        self.left += u64::from(gone == Some(Gone::Left));
        self.disconnected += u64::from(gone == Some(Gone::Disconnected));
        self.received += user.received;
        self.disorder += user.disorder;
        self.answers.extend(user.answers);
    }

    /// The books of what was said: every message has exactly one fate.
    pub fn books(&self) -> Trial {
        let mut trial = Trial {
            wall_s: self.took.as_secs_f64(),
            offered: self.echoes.len() as u64,
            latency: Latency::new(),
            ..Trial::default()
        };
        let mut failures: BTreeMap<String, u64> = BTreeMap::new();
        for (_, fate) in &self.echoes {
            match fate {
                Fate::Echo(took) => {
                    trial.ok += 1;
                    trial.latency.record(*took);
                    trial.attempt_latency.record(*took);
                }
                Fate::Left => *failures.entry("left".into()).or_default() += 1,
                Fate::Disconnected => *failures.entry("disconnected".into()).or_default() += 1,
                Fate::Unheard => trial.timed_out += 1,
                Fate::NeverSent => trial.never_sent += 1,
            }
        }
        trial.failed = failures.values().sum();
        trial.failures = failures;
        trial
    }

    /// Writes all of it down.
    pub fn record(&self, r: &Recorder, origin: Instant) {
        r.books(self.books());
        let (solved, failed) = self.answers.iter().fold((0, 0), |(ok, failed), a| {
            if a.result.is_ok() { (ok + 1, failed) } else { (ok, failed + 1) }
        });
        for (gauge, value) in [
            (gauges::MISSED_HEARTBEATS, self.missed as f64),
            (gauges::USERS_LEFT, self.left as f64),
            (gauges::USERS_DISCONNECTED, self.disconnected as f64),
            (gauges::MESSAGES_RECEIVED, self.received as f64),
            (gauges::MESSAGES_IN_DISORDER, self.disorder as f64),
            (gauges::JOBS_SOLVED, f64::from(solved)),
            (gauges::JOBS_FAILED, f64::from(failed)),
            (gauges::USERS_BUSY_SHARE, self.busy),
            (gauge::STARTED_S, self.start.as_secs_f64()),
        ] {
            r.gauge(gauge, value);
        }
        let waits = [gauges::ANSWER_S, gauges::SECOND_ANSWER_S];
        for (gauge, answer) in waits.into_iter().zip(&self.answers) {
            r.gauge(gauge, answer.waited.as_secs_f64());
        }
        let every = self.echoes.len().div_ceil(DRAWN).max(1);
        for (due, fate) in self.echoes.iter().step_by(every) {
            if let Fate::Echo(took) = fate {
                r.trace("echoes", origin + self.start + *due, took.as_secs_f64());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::{Config, Server, Solve};
    use futures_util::FutureExt;
    use proptest::prelude::*;

    fn crowd(users: usize, origin: Instant) -> Crowd {
        Crowd {
            users,
            per_room: 4,
            rate: 500.0,
            window: Duration::from_millis(60),
            beat: Duration::from_millis(10),
            patience: Duration::from_secs(30),
            ask_at: Duration::from_millis(10),
            asks: vec![],
            origin,
        }
    }

    fn server(origin: Instant, solve: Solve) -> Server {
        let config = Config {
            beat: Duration::from_millis(10),
            unanswered: 3000,
            outbox: 256,
            origin,
            solve,
        };
        Server::start(config).unwrap()
    }

    fn solved() -> Solve {
        Arc::new(|cost| async move { Ok(cost) }.boxed())
    }

    proptest! {
        #[test]
        fn users_take_turns_and_every_message_has_one_speaker(users in 2usize..60, per_room in 2usize..20, rate in 1f64..2000.0, ms in 1u64..500) {
            let crowd = Crowd { per_room, rate, window: Duration::from_millis(ms), ..crowd(users, Instant::now()) };
            let said = (0..users).flat_map(|u| (0..crowd.says(u)).map(move |k| (u, k)));
            let mut dues: Vec<Duration> = said.filter_map(|(u, k)| crowd.due(u, k)).collect();
            dues.sort();
            prop_assert_eq!(dues.len(), crowd.messages());
            for (turn, due) in dues.iter().enumerate() {
                prop_assert!((due.as_secs_f64() - turn as f64 / rate).abs() < 1e-8);
            }
            prop_assert_eq!(crowd.says(0), 0);
            // Everybody is in a room, none of which is too large.
            let mut members = vec![0; crowd.rooms()];
            (0..users).for_each(|user| members[crowd.room_of(user)] += 1);
            prop_assert!(members.iter().all(|m| (1..=per_room).contains(m)));
            let one_room = Crowd { per_room: users, ..crowd };
            prop_assert_eq!(one_room.deliveries(), one_room.messages() * users);
        }
    }

    #[test]
    fn everybody_hears_everything_once() {
        let origin = Instant::now();
        let server = server(origin, solved());
        let cost = Duration::from_micros(5);
        let crowd = Crowd { asks: vec![cost, 2 * cost], ..crowd(11, origin) };
        let (deliveries, messages) = (crowd.deliveries(), crowd.messages());
        let heard = crowd.visit(server.address(), Load::default(), |_| Ok(())).unwrap();
        assert_eq!((heard.received, heard.disorder), (deliveries, 0));
        assert_eq!((heard.left, heard.disconnected), (0, 0));
        let books = heard.books();
        assert!(books.books_close());
        assert_eq!((books.offered, books.ok), (messages as u64, messages as u64));
        let results: Vec<_> = heard.answers.iter().map(|a| a.result.clone()).collect();
        assert_eq!(results, [Ok(cost), Ok(2 * cost)]);
        let counted = server.counted();
        assert_eq!((counted.said, counted.delivered), (messages as u64, deliveries as u64));
        assert_eq!((counted.joined, counted.slow, counted.given_up), (11, 0, 0));
    }

    #[test]
    fn a_server_that_is_away_too_long_loses_everybody_and_the_books_close() {
        let origin = Instant::now();
        let solve: Solve = Arc::new(|cost| {
            async move {
                thread::sleep(cost);
                Ok(cost)
            }
            .boxed()
        });
        let server = server(origin, solve);
        let crowd = Crowd {
            patience: Duration::from_millis(100),
            asks: vec![Duration::from_secs(1)],
            ..crowd(9, origin)
        };
        let heard = crowd.visit(server.address(), Load::default(), |_| Ok(())).unwrap();
        assert_eq!((heard.left, heard.disconnected), (9, 0));
        assert!(heard.missed >= 9, "{}", heard.missed);
        let books = heard.books();
        assert!(books.books_close() && books.failures.contains_key("left"), "{books:?}");
        assert_eq!(heard.answers, []);
    }

    #[test]
    fn a_server_that_dies_disconnects_everybody_and_the_books_close() {
        let origin = Instant::now();
        let server = server(origin, solved());
        let address = server.address();
        let window = Duration::from_secs(20);
        let crowd = Crowd { window, rate: 100.0, ..crowd(9, origin) };
        let heard = crowd.visit(address, Load::default(), |_| {
            drop(server);
            Ok(())
        });
        let heard = heard.unwrap();
        assert_eq!((heard.left, heard.disconnected), (0, 9));
        let books = heard.books();
        assert!(books.books_close() && books.never_sent > 1000, "{books:?}");
    }

    #[test]
    fn nobody_gets_in_where_there_is_no_server() {
        let server = server(Instant::now(), solved());
        let address = server.address();
        drop(server);
        let nobody = crowd(3, Instant::now()).visit(address, Load::default(), |_| panic!("begun"));
        assert!(nobody.is_err());
    }
}
