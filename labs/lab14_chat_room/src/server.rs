//! The chat server: WebSocket connections on one event loop, on a thread of its own.
//!
//! # Layout
//!
//! Each connection is one task that does four things at a time: it reads what its user says, writes
//! what waits in its queue, sends a heartbeat (a WebSocket ping, which every client answers with a
//! pong), and waits to be shown the door ([`super::rooms`]). When one of them ends, the others are
//! dropped, and with them the connection.
//!
//! The server gives a user up when so many heartbeats in a row have not been answered. It counts
//! what it has *sent*, and does not look at the clock: a server that has been away for a while would
//! find by the clock that all of its users have been silent, and throw out everybody, while their
//! words lie unread in its own buffers.

use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU32, AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use futures_util::{
    SinkExt, StreamExt,
    future::BoxFuture,
    stream::{SplitSink, SplitStream},
};
use tokio::{
    net::{TcpListener, TcpSocket, TcpStream},
    runtime::{Builder, Handle, Runtime},
    select,
    sync::{mpsc, oneshot},
    time::{MissedTickBehavior, interval_at, sleep},
};
use tokio_tungstenite::{
    WebSocketStream, accept_async_with_config,
    tungstenite::{Message, protocol::WebSocketConfig},
};

use super::{
    protocol::{Reply, Request},
    rooms::Rooms,
};

/// How a server answers a user who asks for mathematics that cost so much: with the time it took.
pub type Solve =
    Arc<dyn Fn(Duration) -> BoxFuture<'static, Result<Duration, String>> + Send + Sync>;

/// Longest message, in bytes.
pub const LONGEST: usize = 64 << 10;

/// Connections that wait to be accepted. The usual 128 lose some of many users who come at once,
/// each of whom then waits a second before it tries again.
const BACKLOG: u32 = 4096;

/// Bytes of the buffer that a connection is read into. The library's own 128 KiB are for few
/// connections that carry much; here 200 of them would be 50 MB at both ends.
const BUFFER: usize = 4096;

/// What a server needs to know.
#[derive(Clone)]
pub struct Config {
    /// Time between two heartbeats to a user.
    pub beat: Duration,
    /// A user who has not answered so many heartbeats is given up.
    pub unanswered: u32,
    /// Messages that may wait to be written to a user.
    pub outbox: usize,
    /// Heartbeats carry the time since this instant at which they were due.
    pub origin: Instant,
    /// Who does the mathematics.
    pub solve: Solve,
}

/// What a server has counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counted {
    /// Users who have joined.
    pub joined: u64,
    /// Messages to rooms.
    pub said: u64,
    /// Messages to members.
    pub delivered: u64,
    /// Users given up because they did not answer.
    pub given_up: u64,
    /// Users shown the door because they read too slowly.
    pub slow: u64,
    /// Connections that ended with an error, or said what is not in the protocol.
    pub broken: u64,
}

/// A running server.
pub struct Server {
    address: SocketAddr,
    handle: Handle,
    hall: Arc<Hall>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// Starts a server on a free port of this machine.
    ///
    /// # Errors
    /// When no listener, runtime or thread can be had.
    pub fn start(config: Config) -> io::Result<Server> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let listener = {
            let _inside = runtime.enter();
            let socket = TcpSocket::new_v4()?;
            socket.bind(([127, 0, 0, 1], 0).into())?;
            socket.listen(BACKLOG)?
        };
        let (stop, stopped) = oneshot::channel();
        let address = listener.local_addr()?;
        let (handle, hall) = (runtime.handle().clone(), Arc::new(Hall::new(config)));
        let there = hall.clone();
        let thread = thread::Builder::new()
            .name("server".into())
            .spawn(move || run(&runtime, listener, there, stopped))?;
        Ok(Server { address, handle, hall, stop: Some(stop), thread: Some(thread) })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// How long its event loop has been busy since it was started.
    pub fn busy(&self) -> Duration {
        self.handle.metrics().worker_total_busy_duration(0)
    }

    /// What it has counted so far.
    pub fn counted(&self) -> Counted {
        let count = |n: &AtomicU64| n.load(Ordering::Relaxed);
        Counted {
            joined: count(&self.hall.joined),
            said: count(&self.hall.said),
            delivered: count(&self.hall.delivered),
            given_up: count(&self.hall.given_up),
            slow: self.hall.rooms().slow(),
            broken: count(&self.hall.broken),
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn run(runtime: &Runtime, listener: TcpListener, hall: Arc<Hall>, stopped: oneshot::Receiver<()>) {
    runtime.block_on(async {
        select! {
            () = accept(listener, hall) => {}
            _ = stopped => {}
        }
    });
}

async fn accept(listener: TcpListener, hall: Arc<Hall>) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                let hall = hall.clone();
                tokio::spawn(async move {
                    if connection(stream, &hall).await.is_none() {
                        hall.broken.fetch_add(1, Ordering::Relaxed);
                    }
                });
            }
            // No descriptor left, for instance: some will be given back.
            Err(_) => sleep(Duration::from_millis(10)).await,
        }
    }
}

/// What all connections share.
struct Hall {
    config: Config,
    /// Never held across an `.await`.
    rooms: Mutex<Rooms<Message>>,
    joined: AtomicU64,
    said: AtomicU64,
    delivered: AtomicU64,
    given_up: AtomicU64,
    broken: AtomicU64,
}

impl Hall {
    fn new(config: Config) -> Hall {
        Hall {
            config,
            rooms: Mutex::default(),
            joined: AtomicU64::new(0),
            said: AtomicU64::new(0),
            delivered: AtomicU64::new(0),
            given_up: AtomicU64::new(0),
            broken: AtomicU64::new(0),
        }
    }

    fn rooms(&self) -> MutexGuard<'_, Rooms<Message>> {
        self.rooms.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

type Socket = WebSocketStream<TcpStream>;

/// The settings of both ends of a connection.
pub(super) fn websocket() -> WebSocketConfig {
    WebSocketConfig::default()
        .read_buffer_size(BUFFER)
        .write_buffer_size(BUFFER)
        .max_message_size(Some(LONGEST))
        .max_frame_size(Some(LONGEST))
}

/// One user, from the first word to the last. `None` when the connection broke, or was used for
/// something else.
async fn connection(stream: TcpStream, hall: &Arc<Hall>) -> Option<()> {
    stream.set_nodelay(true).ok()?;
    let mut socket = accept_async_with_config(stream, Some(websocket())).await.ok()?;
    let Message::Text(first) = socket.next().await?.ok()? else {
        return None;
    };
    let Request::Join(room) = Request::parse(&first)? else {
        return None;
    };
    let (outbox, queue) = mpsc::channel(hall.config.outbox);
    let joined = hall.rooms().join(room, outbox.clone());
    hall.joined.fetch_add(1, Ordering::Relaxed);
    let _ = outbox.try_send(text(&Reply::Welcome(joined.user)));
    let user = User {
        number: joined.user,
        room,
        hall: hall.clone(),
        outbox,
        unanswered: AtomicU32::new(0),
    };
    let (sink, stream) = socket.split();
    select! {
        _ = joined.shown_out => Some(()),
        () = user.beat() => {
            hall.given_up.fetch_add(1, Ordering::Relaxed);
            Some(())
        }
        written = write(sink, queue) => written,
        read = user.read(stream) => read,
    }
}

fn text(reply: &Reply) -> Message {
    Message::text(reply.to_string())
}

/// Writes what waits, as much as there is at a time: a system call for each would be dearer than
/// all the rest.
async fn write(
    mut sink: SplitSink<Socket, Message>,
    mut queue: mpsc::Receiver<Message>,
) -> Option<()> {
    let mut waiting = Vec::new();
    while queue.recv_many(&mut waiting, 64).await > 0 {
        for message in waiting.drain(..) {
            sink.feed(message).await.ok()?;
        }
        sink.flush().await.ok()?;
    }
    Some(())
}

struct User {
    number: u64,
    room: u32,
    hall: Arc<Hall>,
    outbox: mpsc::Sender<Message>,
    /// Heartbeats since the last answer.
    unanswered: AtomicU32,
}

impl Drop for User {
    fn drop(&mut self) {
        self.hall.rooms().leave(self.room, self.number);
    }
}

impl User {
    async fn read(&self, mut stream: SplitStream<Socket>) -> Option<()> {
        while let Some(message) = stream.next().await {
            match message.ok()? {
                Message::Text(line) => self.heard(&line)?,
                Message::Pong(_) => self.unanswered.store(0, Ordering::Relaxed),
                Message::Close(_) => break,
                // The library answers pings by itself.
                Message::Ping(_) => {}
                Message::Binary(_) | Message::Frame(_) => return None,
            }
        }
        Some(())
    }

    fn heard(&self, line: &str) -> Option<()> {
        match Request::parse(line)? {
            Request::Join(_) => return None,
            Request::Say(words) => {
                let said = text(&Reply::Said(self.number, words));
                let reached = self.hall.rooms().say(self.room, &said);
                self.hall.said.fetch_add(1, Ordering::Relaxed);
                self.hall.delivered.fetch_add(reached as u64, Ordering::Relaxed);
            }
            Request::Solve(cost) => {
                let (solve, outbox) = (self.hall.config.solve.clone(), self.outbox.clone());
                // A task of its own: its user may go on talking meanwhile. If that is enough to keep
                // everybody else talking is up to what `solve` does.
                let solving = tokio::spawn(async move { solve(cost).await });
                tokio::spawn(async move {
                    let reply = match solving.await {
                        Ok(Ok(took)) => text(&Reply::Solved(took)),
                        Ok(Err(why)) => text(&Reply::Failed(&why)),
                        Err(_) => text(&Reply::Failed("it panicked")),
                    };
                    let _ = outbox.send(reply).await;
                });
            }
        }
        Some(())
    }

    /// Sends heartbeats until too many of them stay without an answer.
    async fn beat(&self) {
        let Config { beat, unanswered, origin, .. } = self.hall.config;
        // Spread over the beat by the golden ratio, so that a thousand users are not a thousand
        // heartbeats at one instant.
        let phase = beat.mul_f64((self.number as f64 * 0.618_033_988_749_894_9).fract());
        let passed = (origin.elapsed().as_secs_f64() - phase.as_secs_f64()) / beat.as_secs_f64();
        let first = origin + phase + beat.mul_f64(passed.ceil().max(0.0));
        let mut timer = interval_at(first.into(), beat);
        // Those that fell due while the loop was away are left out: nobody needs six at once.
        timer.set_missed_tick_behavior(MissedTickBehavior::Skip);
        loop {
            let due = timer.tick().await.into_std() - origin;
            if self.unanswered.fetch_add(1, Ordering::Relaxed) >= unanswered {
                return;
            }
            let payload = (due.as_nanos() as u64).to_be_bytes().to_vec();
            // No place in the queue is for the room to notice.
            let _ = self.outbox.try_send(Message::Ping(payload.into()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;
    use tokio_tungstenite::client_async;

    fn config() -> Config {
        Config {
            beat: Duration::from_secs(60),
            unanswered: 3,
            outbox: 64,
            origin: Instant::now(),
            solve: Arc::new(|cost| async move { Ok(cost) }.boxed()),
        }
    }

    /// Runs users against a server.
    fn against<F: Future<Output = ()>>(config: Config, users: impl FnOnce(Arc<Server>) -> F) {
        let server = Arc::new(Server::start(config).unwrap());
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(users(server));
    }

    async fn connect(server: &Server) -> Socket {
        let stream = TcpStream::connect(server.address()).await.unwrap();
        client_async("ws://localhost/", stream).await.unwrap().0
    }

    async fn enter(server: &Server, room: u32) -> (Socket, u64) {
        let mut socket = connect(server).await;
        send(&mut socket, Request::Join(room)).await;
        match Reply::parse(&line(&mut socket).await) {
            Some(Reply::Welcome(number)) => (socket, number),
            other => panic!("{other:?}"),
        }
    }

    async fn send(socket: &mut Socket, request: Request<'_>) {
        socket.send(Message::text(request.to_string())).await.unwrap();
    }

    async fn line(socket: &mut Socket) -> String {
        loop {
            if let Message::Text(line) = socket.next().await.unwrap().unwrap() {
                return line.to_string();
            }
        }
    }

    /// True when nothing more can be read.
    async fn ended(socket: &mut Socket) -> bool {
        while let Some(Ok(_)) = socket.next().await {}
        true
    }

    async fn until(server: &Server, what: impl Fn(Counted) -> bool) {
        while !what(server.counted()) {
            sleep(Duration::from_millis(1)).await;
        }
    }

    #[test]
    fn what_is_said_in_a_room_is_heard_there_once_and_nowhere_else() {
        against(config(), |server| async move {
            let (mut one, first) = enter(&server, 1).await;
            let (mut two, second) = enter(&server, 1).await;
            let (mut other, third) = enter(&server, 2).await;
            for words in ["hello", "", "how are you?"] {
                send(&mut one, Request::Say(words)).await;
            }
            send(&mut other, Request::Say("nobody here")).await;
            for listener in [&mut one, &mut two] {
                for words in ["hello", "", "how are you?"] {
                    assert_eq!(line(listener).await, Reply::Said(first, words).to_string());
                }
            }
            let own = Reply::Said(third, "nobody here").to_string();
            assert_eq!(line(&mut other).await, own);
            // Who leaves is reached no more; the others are.
            drop(one);
            while server.hall.rooms().members(1) > 1 {
                sleep(Duration::from_millis(1)).await;
            }
            send(&mut two, Request::Say("bye")).await;
            let bye = Reply::Said(second, "bye").to_string();
            assert_eq!(line(&mut two).await, bye);
            let counted = server.counted();
            assert_eq!((counted.joined, counted.said, counted.delivered), (3, 5, 8));
        });
    }

    #[test]
    fn a_slow_reader_is_disconnected_and_the_room_goes_on() {
        against(config(), |server| async move {
            let (mut speaker, number) = enter(&server, 1).await;
            let (mut slow, _) = enter(&server, 1).await;
            // More than the buffers of both ends of a connection hold.
            let words = "x".repeat(LONGEST / 2);
            let mut messages = 0;
            while server.counted().slow == 0 {
                send(&mut speaker, Request::Say(&words)).await;
                assert_eq!(line(&mut speaker).await, Reply::Said(number, &words).to_string());
                messages += 1;
                assert!(messages < 5000, "it is never shown the door");
            }
            assert!(ended(&mut slow).await);
            send(&mut speaker, Request::Say("alone")).await;
            assert_eq!(line(&mut speaker).await, Reply::Said(number, "alone").to_string());
            let counted = server.counted();
            assert_eq!((counted.slow, counted.said), (1, messages + 1));
            assert_eq!(server.hall.rooms().members(1), 1);
        });
    }

    #[test]
    fn who_answers_no_heartbeat_is_given_up_and_who_does_is_not() {
        let beat = Duration::from_millis(10);
        against(Config { beat, ..config() }, |server| async move {
            let (mut silent, _) = enter(&server, 1).await;
            let (mut lively, _) = enter(&server, 1).await;
            // Reading is what answers pings.
            let reading = async { while let Some(Ok(_)) = lively.next().await {} };
            select! {
                () = until(&server, |c| c.given_up > 0) => {}
                () = reading => panic!("the lively one was given up"),
            }
            assert!(ended(&mut silent).await);
            assert_eq!(server.counted().given_up, 1);
        });
    }

    #[test]
    fn who_asks_gets_an_answer_whatever_happens() {
        let solve: Solve = Arc::new(|cost| {
            async move {
                match cost.as_micros() {
                    0 => Err("too easy".to_string()),
                    1 => panic!("as planned"),
                    _ => Ok(cost),
                }
            }
            .boxed()
        });
        against(Config { solve, ..config() }, |server| async move {
            let (mut asker, _) = enter(&server, 1).await;
            for (micros, answer) in
                [(0, "failed too easy"), (1, "failed it panicked"), (2, "solved 2")]
            {
                send(&mut asker, Request::Solve(Duration::from_micros(micros))).await;
                assert_eq!(line(&mut asker).await, answer);
            }
        });
    }

    #[test]
    fn nonsense_ends_its_own_connection_only() {
        against(config(), |server| async move {
            let (mut good, number) = enter(&server, 1).await;
            for (i, nonsense) in ["say hello", "shout", ""].into_iter().enumerate() {
                let mut bad = connect(&server).await;
                bad.send(Message::text(nonsense)).await.unwrap();
                assert!(ended(&mut bad).await);
                until(&server, |c| c.broken == i as u64 + 1).await;
            }
            let (mut bad, _) = enter(&server, 1).await;
            bad.send(Message::binary(vec![1, 2, 3])).await.unwrap();
            assert!(ended(&mut bad).await);
            let (mut bad, _) = enter(&server, 1).await;
            bad.send(Message::text("join 2")).await.unwrap();
            assert!(ended(&mut bad).await);
            until(&server, |c| c.broken == 5).await;
            send(&mut good, Request::Say("still here")).await;
            assert_eq!(line(&mut good).await, Reply::Said(number, "still here").to_string());
        });
    }
}
