//! Clients against a service of c slots: real requests to the mock server, in real time.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header::HOST;
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use lab_kit::theory::ClosedLoop;
use mock_server::{BODY, Service, Spec, Upstream};
use tokio::net::TcpSocket;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{sleep, timeout};

use super::Engine;
use crate::control::Settings;
use crate::meter::{History, Rates};
use crate::text::number;

/// Seconds that are shown.
pub const SPAN: f64 = 30.0;
/// Mean time that a refused client waits, as in lab 3.
const PAUSE: f64 = 0.5;
/// One part in the golden ratio: multiples of it spread evenly over 0 to 1.
const GOLDEN: f64 = 0.618_033_988_749_895;

/// What became of attempts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Answered whole and in time.
    pub ok: u64,
    /// Turned away.
    pub refused: u64,
    /// Given up.
    pub late: u64,
    /// Anything else, such as no connection.
    pub failed: u64,
}

impl Tally {
    /// All of them.
    pub fn attempts(&self) -> u64 {
        self.ok + self.refused + self.late + self.failed
    }
}

/// Rates a second at one instant.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sample {
    /// Answers in time.
    pub good: f64,
    /// Attempts that ended, however.
    pub attempts: f64,
    /// Attempts given up.
    pub late: f64,
    /// Attempts turned away.
    pub refused: f64,
    /// The goodput of the closed loop in virtual time, in the long run.
    pub theory: f64,
    /// What the slots can do: c/s.
    pub capacity: f64,
}

/// The trap at one instant.
#[derive(Clone, Debug)]
pub struct View {
    /// As they are now.
    pub settings: Settings,
    at: f64,
    history: History<Sample>,
    /// Since the start.
    pub tally: Tally,
    /// Requests that hold a slot or wait for one, those of clients that left included.
    pub backlog: u64,
}

impl View {
    pub(super) fn idle(settings: &Settings) -> View {
        View {
            settings: *settings,
            at: 0.0,
            history: History::of(SPAN),
            tally: Tally::default(),
            backlog: 0,
        }
    }

    /// Age in seconds and rates, oldest first.
    pub fn samples(&self) -> impl Iterator<Item = (f64, Sample)> + '_ {
        self.history.iter().map(|(t, sample)| (self.at - t, sample))
    }

    /// The latest rates; before the start what theory says, and nothing measured.
    pub fn now(&self) -> Sample {
        let latest = self.history.iter().next_back().map(|(_, sample)| sample);
        latest.unwrap_or_else(|| Sample {
            theory: expected(&self.settings),
            capacity: capacity(&self.settings),
            ..Sample::default()
        })
    }

    /// One sentence.
    pub fn finding(&self) -> String {
        let now = self.now();
        let (n, c) = (self.settings.get("clients"), self.settings.get("slots"));
        let shown = number(now.capacity);
        if self.tally.attempts() == 0 {
            return format!(
                "{n} {} {c} {}: what will the goodput be?",
                plural(n, "client for", "clients for"),
                plural(c, "slot", "slots")
            );
        }
        if now.good < 0.6 * now.capacity.min(f64::from(n) / self.settings.seconds("service")) {
            return format!(
                "Collapse: the slots could answer {shown} a second, and {} are answered in time",
                number(now.good)
            );
        }
        if n <= c {
            "A slot for every client: each one more adds to the goodput".into()
        } else if now.refused > 0.5 {
            format!("Refused at the door: those inside are answered in time, {shown} a second")
        } else {
            format!("The slots are full at {shown} a second: more clients only wait longer")
        }
    }
}

fn plural(n: u32, one: &'static str, many: &'static str) -> &'static str {
    if n == 1 { one } else { many }
}

fn capacity(settings: &Settings) -> f64 {
    f64::from(settings.get("slots")) / settings.seconds("service")
}

fn places(settings: &Settings) -> Option<usize> {
    (settings.get("queue") == 1).then_some(4 * settings.get("slots") as usize)
}

/// The goodput that the closed loop settles at, by stepping through it.
fn expected(settings: &Settings) -> f64 {
    let clients = settings.get("clients") as usize;
    let closed = ClosedLoop {
        clients,
        slots: settings.get("slots") as usize,
        service: settings.seconds("service"),
        queue: places(settings),
        timeout: settings.seconds("timeout"),
        pause_after_refusal: PAUSE,
        ramp: settings.seconds("timeout"),
        ramped: clients,
        overhead: 0.3e-3,
        jitter: 1e-3,
        warm_up: 6.0,
        window: 4.0,
        seed: 1,
    };
    closed.simulate().goodput
}

/// What the clients share.
struct Shared {
    address: SocketAddr,
    timeout_ms: AtomicU64,
    /// As in [`Tally`].
    ended: [AtomicU64; 4],
}

/// The clients and their service.
pub(super) struct Trap {
    settings: Settings,
    upstream: Upstream,
    shared: Arc<Shared>,
    clients: JoinSet<()>,
    /// Of those that are there, in order of arrival.
    handles: Vec<AbortHandle>,
    began: Instant,
    rates: Rates<4>,
    history: History<Sample>,
    theory: f64,
}

impl Engine for Trap {
    async fn start(settings: Settings) -> Result<Trap> {
        let upstream = Upstream::start(spec(&settings)).await.context("starting the service")?;
        let shared = Shared {
            address: upstream.address(),
            timeout_ms: AtomicU64::new(settings.get("timeout").into()),
            ended: Default::default(),
        };
        let mut trap = Trap {
            settings,
            upstream,
            shared: Arc::new(shared),
            clients: JoinSet::new(),
            handles: Vec::new(),
            began: Instant::now(),
            rates: Rates::over(1.0),
            history: History::of(SPAN),
            theory: expected(&settings),
        };
        trap.fit_clients();
        Ok(trap)
    }

    async fn set(&mut self, settings: Settings) -> Result<()> {
        let service = |s: &Settings| (s.get("slots"), s.get("service"), s.get("queue"));
        let other_service = service(&settings) != service(&self.settings);
        self.settings = settings;
        let timeout = settings.get("timeout").into();
        self.shared.timeout_ms.store(timeout, Relaxed);
        self.theory = expected(&settings);
        if other_service {
            let reset = self.upstream.reset(spec(&settings)).await;
            reset.context("changing the service")?;
        }
        self.fit_clients();
        Ok(())
    }

    fn look(&mut self) -> super::View {
        let at = self.began.elapsed().as_secs_f64();
        let [ok, refused, late, failed] =
            std::array::from_fn(|i| self.shared.ended[i].load(Relaxed));
        let tally = Tally { ok, refused, late, failed };
        let counts = [ok, tally.attempts(), late, refused].map(|n| n as f64);
        let [good, attempts, late, refused] = self.rates.at(at, counts);
        self.history.push(
            at,
            Sample {
                good,
                attempts,
                late,
                refused,
                theory: self.theory,
                capacity: capacity(&self.settings),
            },
        );
        super::View::Trap(View {
            settings: self.settings,
            at,
            history: self.history.clone(),
            tally,
            backlog: self.upstream.counters().backlog,
        })
    }

    async fn end(mut self) {
        self.clients.shutdown().await;
        self.upstream.shutdown().await;
    }
}

impl Trap {
    /// As many clients as there should be. Those that come begin within one timeout; those that go
    /// leave at once, and what they had in flight is not counted.
    fn fit_clients(&mut self) {
        let wanted = self.settings.get("clients") as usize;
        while let Some(leaving) =
            (self.handles.len() > wanted).then(|| self.handles.pop()).flatten()
        {
            leaving.abort();
        }
        while self.clients.try_join_next().is_some() {}
        for i in self.handles.len()..wanted {
            let delay = self.settings.seconds("timeout") * (i as f64 * GOLDEN).fract();
            let client = client(self.shared.clone(), Duration::from_secs_f64(delay), i);
            self.handles.push(self.clients.spawn(client));
        }
    }
}

fn spec(settings: &Settings) -> Spec {
    let service = Duration::from_millis(settings.get("service").into());
    Spec {
        queue: places(settings),
        ..Spec::new(settings.get("slots") as usize, Service::Constant(service))
    }
}

/// Sends, waits, and sends again.
async fn client(shared: Arc<Shared>, delay: Duration, i: usize) {
    sleep(delay).await;
    let mut wire = None;
    let mut refusals = i as f64;
    loop {
        let patience = Duration::from_millis(shared.timeout_ms.load(Relaxed));
        let outcome = timeout(patience, attempt(&mut wire, shared.address)).await;
        let (kind, pause) = match outcome {
            Ok(Ok(StatusCode::OK)) => (0, 0.0),
            Ok(Ok(StatusCode::SERVICE_UNAVAILABLE)) => {
                refusals += 1.0;
                (1, PAUSE * (0.5 + (refusals * GOLDEN).fract()))
            }
            Err(_) => (2, 0.0),
            Ok(_) => (3, PAUSE),
        };
        shared.ended[kind].fetch_add(1, Relaxed);
        if pause > 0.0 {
            sleep(Duration::from_secs_f64(pause)).await;
        }
    }
}

/// A connection, and the task that drives it.
struct Wire {
    sender: SendRequest<Empty<Bytes>>,
    driver: AbortHandle,
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

impl Wire {
    /// A connection that is reset, not closed, when its client leaves: one that is closed keeps its
    /// port for a minute, and a collapse leaves thousands a second.
    async fn open(address: SocketAddr) -> Result<Wire> {
        let socket = TcpSocket::new_v4()?;
        socket.set_nodelay(true)?;
        socket.set_zero_linger()?;
        let stream = socket.connect(address).await?;
        let (sender, connection) = handshake(TokioIo::new(stream)).await?;
        let driver = tokio::spawn(async move {
            // An error shows in the request, too.
            let _ = connection.await;
        });
        Ok(Wire { sender, driver: driver.abort_handle() })
    }
}

/// One request over the client's connection, or over a new one; only a whole answer leaves it open.
async fn attempt(kept: &mut Option<Wire>, address: SocketAddr) -> Result<StatusCode> {
    let mut wire = match kept.take() {
        Some(wire) => wire,
        None => Wire::open(address).await?,
    };
    wire.sender.ready().await?;
    let request = Request::get("/").header(HOST, address.to_string());
    let answer = wire.sender.send_request(request.body(Empty::new())?).await?;
    let status = answer.status();
    let body = answer.into_body().collect().await?.to_bytes();
    ensure!(status != StatusCode::OK || body == BODY, "half an answer");
    *kept = Some(wire);
    Ok(status)
}

#[cfg(test)]
pub(super) fn samples() -> [View; 2] {
    let settings = Settings::new(crate::control::Demo::Trap);
    let crowded = settings.with("clients", "250").unwrap();
    let view = |settings: Settings, good: f64, attempts: f64| {
        let mut view = View::idle(&settings);
        for i in 0..=300 {
            view.at = f64::from(i) * 0.11;
            let wave = 20.0 * (view.at * 1.7).sin();
            let sample = Sample {
                good: good + wave.abs(),
                attempts: attempts + wave,
                theory: good + f64::from(i / 7),
                capacity: 200.0 + f64::from(i / 9),
                ..Sample::default()
            };
            view.history.push(view.at, sample);
        }
        view.tally.ok = 100;
        view
    };
    [view(settings, 197.3, 198.0), view(crowded, 3.0, 1712.0)]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::Demo;

    fn set(values: &[(&str, &str)]) -> Settings {
        values.iter().fold(Settings::new(Demo::Trap), |s, (k, v)| s.with(k, v).unwrap())
    }

    #[test]
    fn theory_knows_all_three_regimes() {
        // N/s; c/s; and past c·T/s = 65 clients hardly anything.
        let few = expected(&set(&[("clients", "5")]));
        assert!((few - 100.0).abs() < 4.0, "{few}");
        let full = expected(&set(&[("clients", "40")]));
        assert!((full - 200.0).abs() < 4.0, "{full}");
        let crowded = expected(&set(&[("clients", "200")]));
        assert!(crowded < 20.0, "{crowded}");
        let bounded = expected(&set(&[("clients", "200"), ("queue", "1")]));
        assert!((bounded - 200.0).abs() < 6.0, "{bounded}");
    }

    #[test]
    fn the_finding_says_what_is_measured() {
        let [full, collapsed] = samples();
        assert!(full.finding().starts_with("A slot for every client"), "{}", full.finding());
        assert!(collapsed.finding().starts_with("Collapse"));
        assert_eq!(
            View::idle(&set(&[("clients", "1")])).finding(),
            "1 client for 10 slots: what will the goodput be?"
        );
    }
}
