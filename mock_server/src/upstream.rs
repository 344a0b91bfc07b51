use std::fmt;
use std::future::{Future, pending};
use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::task::{Context, Waker};
use std::time::{Duration, Instant};

use bytes::Bytes;
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::runtime::Handle;
use tokio::sync::{oneshot, watch};
use wiremock::http::HeaderValue;
use wiremock::matchers::any;
use wiremock::{Match, Mock, MockServer, Request, Respond, ResponseTemplate};

use crate::fault;
use crate::ledger::{Entry, Ledger, Pending};
use crate::queue::{Admission, Queue};
use crate::script::{Prompter, Turn};
use crate::spec::{Asked, Body, Slots};
use crate::{MAX_TIME, ParseError, Sampler, Spec, limits};

/// Connections the kernel holds until the server accepts them. With the usual 128 a burst loses SYNs, which the
/// clients see as latencies of 1 s and more.
const BACKLOG: i32 = 8192;

/// Requests after which wiremock's copies of them (about 4 KB each) are dropped. wiremock numbers its resets in
/// 16 bits and checks the sum where overflow checks are on, so those builds spend theirs more slowly.
const KEPT: u64 = if cfg!(debug_assertions) { 2048 } else { 256 };

/// Bytes of bodies after which they are dropped sooner.
const KEPT_BYTES: u64 = 16 << 20;

/// The path of the handshake that ends [`Upstream::start`]; an ordinary path from then on.
const READY: &str = "/.mock_server/ready";

/// One upstream, running: an HTTP/1.1 server on a port and a thread of its own. Any number run side by side.
///
/// # What an answer's time is made of
///
/// A request is stamped when the server's thread has read it. The [queue](crate::queue) says when its service ends,
/// and the answer is sent then: service and waiting exist in virtual time only, so that even 1,000 slots cost no
/// more than the one thread. What a client sees on top is the way there and back, and the thread's own work, some
/// tens of microseconds a request.
///
/// The runtime's timers tick in milliseconds and fire 1–2 ms late. The upstream measures that lateness, with a
/// few sleeps at the start and with every answer from then on, and shortens each sleep by the smoothed figure,
/// [`Upstream::timer_lateness`]. A single answer is still up to a millisecond early or late.
///
/// # A client that leaves
///
/// does not free its slot: the upstream goes on working for it, as most real ones do.
///
/// Dropping an upstream closes its port, cuts off the answers still due and ends its thread a moment later;
/// [`Upstream::shutdown`] waits for that.
pub struct Upstream {
    server: Held,
    shared: Arc<Shared>,
    address: SocketAddr,
    ended: watch::Receiver<()>,
    unmounted: watch::Receiver<()>,
}

/// The server, to be let go of in any task.
///
/// wiremock waits for a lock of tokio's when it is dropped, and blocks until it has it. To a task that has used up
/// its turn tokio gives no lock before that task yields, which one that is blocked never does: it would hang once in
/// 128 times that a load of many requests ends.
struct Held(Option<Arc<MockServer>>);

impl Drop for Held {
    fn drop(&mut self) {
        let server = self.0.take();
        let letting_go = pin!(tokio::task::unconstrained(async move { drop(server) }));
        // It is ready at once: there is nothing in it to wait for.
        let _ = letting_go.poll(&mut Context::from_waker(Waker::noop()));
    }
}

/// What an upstream has seen since its start or latest [`Upstream::reset`].
///
/// Two sums hold at all times: `arrived = admitted + refused + down`, and
/// `admitted = served + abandoned + those whose answers are still due`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    /// Requests read whole.
    pub arrived: u64,
    /// Those that got a slot, now or later.
    pub admitted: u64,
    /// Those answered 503 because every slot was busy and every waiting place taken.
    pub refused: u64,
    /// Those that met an outage or a cut connection, and took no slot.
    pub down: u64,
    /// Answers handed to the socket, faulty ones included. A client that leaves while its answer is under way to
    /// it counts as served.
    pub served: u64,
    /// Answers no longer wanted when they fell due: the client had left, or the upstream was shut down.
    pub abandoned: u64,
    /// Failures made on purpose: statuses, truncated answers, outages, cut connections. A slow tail is none.
    pub faulted: u64,
    /// Requests in the queue now: holding a slot or waiting for one. Those abandoned hold theirs all the same.
    pub backlog: u64,
    /// Time between the first and the latest request for the slots of the [`Spec`]: how long a burst took to arrive.
    pub spread: Duration,
}

impl fmt::Display for Counters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "arrived {} admitted {} refused {} down {} served {} abandoned {} faulted {} backlog {}",
            self.arrived,
            self.admitted,
            self.refused,
            self.down,
            self.served,
            self.abandoned,
            self.faulted,
            self.backlog
        )
    }
}

impl Upstream {
    /// Starts an upstream on a free port of 127.0.0.1. It takes some 10 ms and needs no particular runtime.
    ///
    /// # Errors
    ///
    /// A spec that fails its [check](Spec::check) (`InvalidInput`), or those of [`Upstream::start_on`].
    pub async fn start(spec: Spec) -> io::Result<Self> {
        Self::start_on(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), spec).await
    }

    /// Starts an upstream on `listen`; port 0 takes a free one.
    ///
    /// # Errors
    ///
    /// A spec that fails its [check](Spec::check) (`InvalidInput`); a limit on threads or open files that leaves no
    /// [room](crate::room); an address that is busy (`AddrInUse`), not allowed or not this machine's; a server that does not
    /// answer (`TimedOut` and others).
    pub async fn start_on(listen: SocketAddr, spec: Spec) -> io::Result<Self> {
        spec.check().map_err(invalid)?;
        limits::room()?;
        let listener = bind(listen, spec.faults.cut > 0.0)
            .map_err(|e| io::Error::new(e.kind(), format!("cannot listen on {listen}: {e}")))?;
        let address = listener.local_addr()?;
        let starting = MockServer::builder().listener(listener).disable_request_recording().start();
        let server = Arc::new(limits::start(starting).await?);
        let (life, ended) = watch::channel(());
        let (mounted, unmounted) = watch::channel(());
        let mounted = Arc::new(mounted);
        let shared = Arc::new(Shared {
            origin: Instant::now(),
            epoch: Mutex::new(Epoch::new(spec)),
            lateness: Arc::default(),
            server: Arc::downgrade(&server),
            mounted: Arc::downgrade(&mounted),
            runtime: OnceLock::new(),
            life: Mutex::new(Some(life)),
            open: AtomicBool::new(false),
            kept: AtomicU64::new(0),
            kept_bytes: AtomicU64::new(0),
            resets: AtomicU32::new(0),
        });
        for mock in mocks(&shared, mounted) {
            server.register(mock).await;
        }
        let (reply, answered) = oneshot::channel();
        let target = reachable(address);
        let greeting = move || {
            // The receiver is gone when the caller has given up on the start.
            let _ = reply.send(handshake(target));
        };
        std::thread::Builder::new()
            .spawn(greeting)
            .map_err(|error| limits::no_threads(error.kind()))?;
        answered.await.unwrap_or_else(|_| {
            let ended = "the server's handshake ended before its answer";
            Err(io::Error::other(ended))
        })?;
        shared.epoch().began = Instant::now();
        shared.open.store(true, Relaxed);
        Ok(Self { server: Held(Some(server)), shared, address, ended, unmounted })
    }

    /// The base URL, `http://127.0.0.1:34567`, without a slash at its end.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", reachable(self.address))
    }

    /// The address it listens on.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What it has seen since its start or latest reset.
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.shared.counters()
    }

    /// The requests since its start or latest reset, one by one in order of arrival: the first
    /// [`Spec::ledger`] of them.
    #[must_use]
    pub fn ledger(&self) -> Vec<Entry> {
        let ledger = Arc::clone(&self.shared.epoch().ledger);
        ledger.entries()
    }

    /// How late the timers of the server's thread fire at present, smoothed, 0 to 5 ms. Sleeps are shortened by it.
    #[must_use]
    pub fn timer_lateness(&self) -> Duration {
        self.shared.lateness.get()
    }

    /// Begins anew with `spec`: an empty queue, fresh counters and random streams; port and connections stay.
    ///
    /// Answers still due from before are sent when they fall due and counted nowhere.
    ///
    /// # Errors
    ///
    /// A spec that fails its [check](Spec::check) (`InvalidInput`; the upstream goes on as before), or a server
    /// that has [ended](Upstream::ended).
    pub async fn reset(&self, spec: Spec) -> io::Result<()> {
        spec.check().map_err(invalid)?;
        *self.shared.epoch() = Epoch::new(spec);
        self.forget().await
    }

    /// Drops the copies wiremock keeps of the requests it has seen, about 4 KB each. It changes nothing else and
    /// no request notices.
    ///
    /// The upstream does it by itself every few hundred requests or 16 MB of bodies, and every [`Upstream::reset`] does it too. Builds
    /// with debug assertions stop after 65,535 times, 134 million requests.
    ///
    /// # Errors
    ///
    /// A server that has [ended](Upstream::ended).
    pub async fn forget(&self) -> io::Result<()> {
        let gone = || io::Error::new(io::ErrorKind::NotConnected, "the upstream has ended");
        let (done, finished) = oneshot::channel();
        self.shared.forget(Some(done));
        finished.await.map_err(|_| gone())
    }

    /// Returns when the server has ended by itself, which happens when accepting a connection fails: most often
    /// because the process has no file descriptors left.
    pub async fn ended(&self) {
        // Nothing is ever sent: an error is the news.
        while self.ended.clone().changed().await.is_ok() {}
    }

    /// Closes the port, cuts off the answers still due (they count as abandoned), waits until the server has let
    /// go of everything and returns the last counters.
    pub async fn shutdown(self) -> Counters {
        let Self { server, shared, mut unmounted, .. } = self;
        drop(server);
        while unmounted.changed().await.is_ok() {}
        shared.counters()
    }
}

impl fmt::Debug for Upstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upstream")
            .field("address", &self.address)
            .field("counters", &self.counters())
            .finish_non_exhaustive()
    }
}

fn invalid(error: ParseError) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, error)
}

/// Connections inherit the options of their listener; wiremock offers no other way to reach them.
fn bind(address: SocketAddr, resets: bool) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    // Elsewhere the option would let a second server take a port that is in use.
    #[cfg(unix)]
    socket.set_reuse_address(true)?;
    socket.set_tcp_nodelay(true)?;
    if resets {
        socket.set_linger(Some(Duration::ZERO))?;
    }
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

/// The first request: proof that the server answers, and its runtime's first sleeps.
fn handshake(target: SocketAddr) -> io::Result<()> {
    const PATIENCE: Duration = Duration::from_secs(10);
    let mut stream = TcpStream::connect_timeout(&target, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    write!(stream, "GET {READY} HTTP/1.1\r\nhost: {target}\r\nconnection: close\r\n\r\n")?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).map_err(|e| {
        let text = format!("the server on {target} does not answer: {e}");
        io::Error::new(e.kind(), text)
    })?;
    if answer.starts_with(b"HTTP/1.1 204") {
        Ok(())
    } else {
        let text = format!("the server on {target} ended before it answered");
        Err(io::Error::new(io::ErrorKind::UnexpectedEof, text))
    }
}

/// What the server's thread and the [`Upstream`] have in common.
struct Shared {
    /// The origin of virtual time.
    origin: Instant,
    epoch: Mutex<Epoch>,
    lateness: Arc<Lateness>,
    /// Weak, because the server owns the mocks and these own this.
    server: Weak<MockServer>,
    mounted: Weak<watch::Sender<()>>,
    runtime: OnceLock<Handle>,
    /// Moved to the server's runtime at the handshake, to be dropped with it.
    life: Mutex<Option<watch::Sender<()>>>,
    open: AtomicBool,
    kept: AtomicU64,
    kept_bytes: AtomicU64,
    resets: AtomicU32,
}

impl Shared {
    /// A panic in a body's maker happens outside the lock; there is no state it could leave half done.
    fn epoch(&self) -> MutexGuard<'_, Epoch> {
        self.epoch.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> u64 {
        nanos(self.origin.elapsed())
    }

    fn counters(&self) -> Counters {
        let mut guard = self.epoch();
        let epoch = &mut *guard;
        let now = self.now();
        let backlogs = epoch.queues.iter_mut().map(|queue| queue.backlog(now));
        let backlog: usize = backlogs.sum();
        Counters {
            served: epoch.tally.served.load(Relaxed),
            abandoned: epoch.tally.abandoned.load(Relaxed),
            backlog: backlog as u64,
            spread: epoch
                .first
                .map_or(Duration::ZERO, |first| Duration::from_nanos(epoch.latest - first)),
            ..epoch.counters
        }
    }

    fn is_handshake(&self, request: &Request) -> bool {
        !self.open.load(Relaxed) && request.url.path() == READY
    }

    fn greet(&self) -> ResponseTemplate {
        let Ok(runtime) = Handle::try_current() else {
            return ResponseTemplate::new(500);
        };
        let life = self.life.lock().map_or(None, |mut life| life.take());
        runtime.spawn(async move {
            let _life = life;
            pending::<()>().await
        });
        // Seven phases of the tick; all are back before the answer to the handshake. The first sleep brings each
        // probe to a tick, so that the two that follow end equally late, unless the machine stands still: the
        // earlier one counts, or a short run would be served early to its end.
        for i in 0..7 {
            let lateness = Arc::clone(&self.lateness);
            runtime.spawn(async move {
                let asked = Duration::from_micros(1000 + i * 143);
                let mut late = Duration::MAX;
                for round in 0..3 {
                    let start = Instant::now();
                    tokio::time::sleep(asked).await;
                    if round > 0 {
                        late = late.min(start.elapsed().saturating_sub(asked));
                    }
                }
                lateness.first(late, i);
            });
        }
        let _ = self.runtime.set(runtime);
        ResponseTemplate::new(204).set_delay(Duration::from_millis(12))
    }

    /// Replaces the mocks, and with them the requests they keep, by fresh ones over the same state.
    ///
    /// It runs on the server's only thread and finds wiremock's lock free, so it never yields between the two
    /// steps and no request can come between them.
    fn forget(self: &Arc<Self>, done: Option<oneshot::Sender<()>>) {
        self.kept.store(0, Relaxed);
        self.kept_bytes.store(0, Relaxed);
        let Some(runtime) = self.runtime.get() else {
            return;
        };
        let spent = cfg!(debug_assertions) && self.resets.fetch_add(1, Relaxed) >= u16::MAX.into();
        let shared = Arc::clone(self);
        runtime.spawn(async move {
            let (server, mounted) = (shared.server.upgrade(), shared.mounted.upgrade());
            if let (Some(server), Some(mounted), false) = (server, mounted, spent) {
                let fresh = mocks(&shared, mounted);
                server.reset().await;
                for mock in fresh {
                    server.register(mock).await;
                }
            }
            if let Some(done) = done {
                // The receiver is gone when the caller no longer waits.
                let _ = done.send(());
            }
        });
    }
}

/// What one spec has led to.
pub(crate) struct Epoch {
    spec: Spec,
    began: Instant,
    /// The queue of the spec, then those of the routes with slots of their own.
    queues: Vec<Queue>,
    /// The service of the spec, then those of the routes, each with its queue.
    lanes: Vec<(Sampler, usize)>,
    chance: Pcg64,
    prompter: Option<Prompter>,
    /// Without `served`, `abandoned` and `backlog`, which are found elsewhere.
    pub(crate) counters: Counters,
    tally: Arc<Tally>,
    /// Arrivals at the first queue.
    first: Option<u64>,
    latest: u64,
    ledger: Arc<Ledger>,
    /// What [`Gate`] has decided and [`Answer`] is about to carry out.
    decided: Option<(Verdict, Option<Pending>)>,
}

#[derive(Default)]
pub(crate) struct Tally {
    served: AtomicU64,
    abandoned: AtomicU64,
}

/// What becomes of a request.
pub(crate) enum Verdict {
    Cut,
    Refuse {
        status: u16,
        retry_after: Option<u64>,
    },
    Serve {
        number: u64,
        /// In virtual time.
        finish: u64,
        status: u16,
        retry_after: Option<u64>,
        truncated: bool,
        body: Body,
        tally: Arc<Tally>,
    },
}

impl Epoch {
    pub(crate) fn new(spec: Spec) -> Self {
        let mut queues = vec![Queue::new(spec.slots, spec.queue)];
        let mut lanes = vec![(spec.service.sampler(spec.seed), 0)];
        for (i, route) in spec.routes.iter().enumerate() {
            let queue = match route.slots {
                Slots::Shared => 0,
                Slots::Own { slots, queue } => {
                    queues.push(Queue::new(slots, queue));
                    queues.len() - 1
                }
            };
            let seed = spec.seed.wrapping_add(i as u64 + 1);
            lanes.push((route.service.sampler(seed), queue));
        }
        Self {
            began: Instant::now(),
            queues,
            lanes,
            chance: Pcg64::seed_from_u64(!spec.seed),
            prompter: spec.script.clone().map(Prompter::new),
            counters: Counters::default(),
            tally: Arc::default(),
            first: None,
            latest: 0,
            ledger: Arc::new(Ledger::new(spec.ledger)),
            decided: None,
            spec,
        }
    }

    pub(crate) fn decide(&mut self, now: u64, asked: &Asked<'_>) -> Verdict {
        let path = asked.path;
        let turn = self.prompter.as_mut().map_or_else(Turn::default, |p| p.turn(asked));
        self.counters.arrived += 1;
        let number = self.counters.arrived;
        let [cut, failure, truncate, tail]: [f64; 4] = self.chance.random();
        let faults = &self.spec.faults;
        if let Some(status) = faults.outage(self.began.elapsed()) {
            self.counters.down += 1;
            self.counters.faulted += 1;
            return Verdict::Refuse { status, retry_after: None };
        }
        if turn.cut || cut < faults.cut {
            self.counters.down += 1;
            self.counters.faulted += 1;
            return Verdict::Cut;
        }
        let routes = self.spec.routes.iter().enumerate();
        let route = routes
            .filter(|(_, route)| route.covers(path))
            .max_by_key(|(_, route)| route.path_prefix.len());
        let (lane, body) = route.map_or((0, &self.spec.body), |(i, r)| (i + 1, &r.body));
        let site = self.spec.site.filter(|_| lane == 0);
        let reply = site.map(|site| site.reply(path, failure));
        let (sampler, queue) = &mut self.lanes[lane];
        if *queue == 0 {
            self.first.get_or_insert(now);
            self.latest = now.max(self.latest);
        }
        let mut service = sampler.next_time();
        if self.spec.cycle > 1 {
            let place = fault::item(path).unwrap_or_default() % self.spec.cycle;
            service = longer(service, (1 + place) as f64);
        }
        if let Some(slow) = faults.tail
            && tail < slow.probability
        {
            service = longer(service, slow.factor);
        }
        if let Some(reply) = reply.filter(|reply| reply.factor != 1.0) {
            service = longer(service, reply.factor);
        }
        let service = turn.service.map_or(service, |own| own.min(MAX_TIME));
        let wait = self.spec.retry_after;
        let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
        let retry_after = (seconds > 0).then_some(seconds);
        let finish = match self.queues[*queue].arrive(now, nanos(service)) {
            Admission::Admitted { finish, .. } => finish,
            Admission::Refused { .. } => {
                self.counters.refused += 1;
                return Verdict::Refuse { status: 503, retry_after };
            }
        };
        self.counters.admitted += 1;
        let by_number = faults.by_number(number, path);
        let busy = reply.map(|r| r.status).filter(|status| *status == 429);
        let failed = turn.status.or(by_number).or_else(|| faults.by_chance(failure)).or(busy);
        let truncated = failed.is_none() && truncate < faults.truncate;
        if failed.is_some() || truncated {
            self.counters.faulted += 1;
        }
        Verdict::Serve {
            number,
            finish,
            // A page that is not there is no fault.
            status: failed.unwrap_or(reply.map_or(200, |r| r.status)),
            retry_after,
            truncated,
            body: site.map_or_else(|| body.clone(), |site| site.body(path)),
            tally: Arc::clone(&self.tally),
        }
    }

    fn write_down(&self, request: &Request, verdict: &Verdict) -> Option<Pending> {
        let (status, retry_after, is_due) = match verdict {
            Verdict::Cut => (0, &None, false),
            Verdict::Refuse { status, retry_after } => (*status, retry_after, false),
            Verdict::Serve { status: 429, retry_after, .. } => (429, retry_after, true),
            Verdict::Serve { status, .. } => (*status, &None, true),
        };
        let mut path = request.url.path().to_owned();
        if let Some(query) = request.url.query() {
            path.push('?');
            path.push_str(query);
        }
        let arrived = self.ledger.now();
        self.ledger.arrival(Entry {
            method: request.method.to_string(),
            path,
            arrived,
            left: (!is_due).then_some(arrived),
            status,
            retry_after: retry_after.map(Duration::from_secs),
            abandoned: false,
        })
    }
}

/// The two mocks: one that ends the connection, if its matcher says so, and one for everything else.
fn mocks(shared: &Arc<Shared>, mounted: Arc<watch::Sender<()>>) -> [Mock; 2] {
    let gate = Gate(Arc::clone(shared));
    let answer = Answer { shared: Arc::clone(shared), _mounted: mounted };
    [
        Mock::given(gate)
            .respond_with_err(|_: &Request| io::Error::from(io::ErrorKind::ConnectionReset))
            .with_priority(1),
        Mock::given(any()).respond_with(answer).with_priority(2),
    ]
}

/// Decides what becomes of each request and lets those through whose connection is to be cut: a matcher is the
/// only place in wiremock to choose between an answer and an error, and only an error ends the connection.
struct Gate(Arc<Shared>);

impl Match for Gate {
    fn matches(&self, request: &Request) -> bool {
        if self.0.is_handshake(request) {
            return false;
        }
        let body = request.body.len() as u64;
        let kept = self.0.kept.fetch_add(1, Relaxed) + 1;
        let bytes = self.0.kept_bytes.fetch_add(body, Relaxed) + body;
        if kept >= KEPT || bytes >= KEPT_BYTES {
            self.0.forget(None);
        }
        let mut epoch = self.0.epoch();
        let verdict = epoch.decide(self.0.now(), &asked(request));
        let cut = matches!(verdict, Verdict::Cut);
        let pending = epoch.write_down(request, &verdict);
        epoch.decided = Some((verdict, pending));
        cut
    }
}

struct Answer {
    shared: Arc<Shared>,
    /// Dropped with the last of the mocks, so that [`Upstream::shutdown`] knows when everything is gone.
    _mounted: Arc<watch::Sender<()>>,
}

impl Respond for Answer {
    fn respond(&self, request: &Request) -> ResponseTemplate {
        let shared = &*self.shared;
        if shared.is_handshake(request) {
            return shared.greet();
        }
        // wiremock matches and answers under one lock, so this is the verdict on this very request.
        let verdict = shared.epoch().decided.take();
        match verdict {
            Some((
                Verdict::Serve { number, finish, status, retry_after, truncated, body, tally },
                pending,
            )) => {
                let asked = asked(request);
                let mut answer = ResponseTemplate::new(status);
                if status == 200 {
                    let bytes = body.bytes(&asked);
                    if truncated {
                        // The blank at the end is one that readers must strip, and keeps hyper's debug builds from
                        // comparing the promise with the body.
                        answer = answer
                            .insert_header("content-length", format!("{} ", 2 * bytes.len() + 1))
                            .insert_header("connection", "close");
                    }
                    answer = answer.set_body_raw(bytes, body.mime());
                }
                if let Some(seconds) = retry_after.filter(|_| status == 429) {
                    answer = answer.insert_header("retry-after", seconds.to_string());
                }
                let now = Instant::now();
                let wait = Duration::from_nanos(finish)
                    .saturating_sub(now.saturating_duration_since(shared.origin))
                    .saturating_sub(shared.lateness.get());
                let ticket = Ticket {
                    text: number.to_string(),
                    due: (!wait.is_zero()).then(|| now.checked_add(wait)).flatten(),
                    tally,
                    pending,
                    lateness: Arc::clone(&shared.lateness),
                };
                if let Ok(value) = HeaderValue::from_maybe_shared(Bytes::from_owner(ticket)) {
                    answer = answer.insert_header("x-request-number", value);
                }
                // Even a sleep of nothing would last until the next tick.
                if wait.is_zero() { answer } else { answer.set_delay(wait) }
            }
            Some((Verdict::Refuse { status, retry_after }, _)) => {
                let answer = ResponseTemplate::new(status);
                match retry_after {
                    Some(seconds) => answer.insert_header("retry-after", seconds.to_string()),
                    None => answer,
                }
            }
            Some((Verdict::Cut, _)) | None => ResponseTemplate::new(500),
        }
    }
}

fn asked(request: &Request) -> Asked<'_> {
    Asked {
        method: request.method.as_str(),
        path: request.url.path(),
        query: request.url.query(),
        body: &request.body,
    }
}

/// The value of an answer's `x-request-number` header, and the witness of what became of the answer: it is dropped
/// when the headers have been written, or with the answer when nobody waits for it any more.
struct Ticket {
    text: String,
    /// When the sleep was to end; none when there was no sleep.
    due: Option<Instant>,
    tally: Arc<Tally>,
    pending: Option<Pending>,
    lateness: Arc<Lateness>,
}

impl AsRef<[u8]> for Ticket {
    fn as_ref(&self) -> &[u8] {
        self.text.as_bytes()
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let late = self.due.map(|due| Instant::now().checked_duration_since(due));
        if let Some(pending) = &self.pending {
            // A sleep never ends early.
            pending.done(late == Some(None));
        }
        match late {
            Some(None) => self.tally.abandoned.fetch_add(1, Relaxed),
            Some(Some(late)) => {
                self.lateness.observe(late);
                self.tally.served.fetch_add(1, Relaxed)
            }
            None => self.tally.served.fetch_add(1, Relaxed),
        };
    }
}

/// How late sleeps end, smoothed; in nanoseconds.
#[derive(Default)]
struct Lateness(AtomicU64);

impl Lateness {
    const MOST: u64 = 5_000_000;
    /// One stalled moment of the machine makes a whole batch of answers late: no single one may count for more.
    const STEP: i64 = 200_000;
    const WEIGHT: i64 = 16;

    fn get(&self) -> Duration {
        Duration::from_nanos(self.0.load(Relaxed))
    }

    /// The running mean of the probes, of which `before` have been seen.
    fn first(&self, late: Duration, before: u64) {
        let late = nanos(late).min(Self::MOST);
        let mean = (self.0.load(Relaxed) * before + late) / (before + 1);
        self.0.store(mean, Relaxed);
    }

    /// Only the server's thread observes, so load and store need not be one step.
    fn observe(&self, late: Duration) {
        let now = self.0.load(Relaxed).cast_signed();
        let error = (nanos(late).cast_signed() - now).clamp(-Self::STEP, Self::STEP);
        let next = (now + error / Self::WEIGHT).max(0).cast_unsigned();
        self.0.store(next.min(Self::MOST), Relaxed);
    }
}

/// `Duration::mul_f64` without its panic.
fn longer(time: Duration, factor: f64) -> Duration {
    Duration::try_from_secs_f64(time.as_secs_f64() * factor).unwrap_or(Duration::MAX)
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
