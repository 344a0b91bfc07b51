//! One connection, and one exchange at a time on it.
//!
//! The task that waits for the answer writes and reads the socket itself: no second task, no pool, no
//! wake-up from one to the other and nothing allocated. A request is written in one piece, and its
//! answer is looked at where it was read to.

use std::{
    future::{Future, poll_fn},
    io,
    pin::{Pin, pin},
    sync::{
        OnceLock,
        atomic::{AtomicU8, AtomicU64, Ordering},
    },
    task::{Context, Poll, Waker},
    time::{Duration, Instant},
};

use lab_kit::load::{Failure, Outcome};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};

use crate::{answer::Answer, target::Target};

/// What is read at once, and the longest head of an answer. Small, so that the buffers of all
/// connections fit the processor's cache.
const BUFFER: usize = 8 * 1024;

/// What one connection shows to the clock of its thread, which rings when an exchange takes too long
/// or the run is stopped. One clock looks after all connections: a timer a request would cost more
/// than everything else that the generator does for it.
#[derive(Debug)]
pub(crate) struct Alarm {
    origin: Instant,
    /// Nanoseconds from the origin, plus one, to where the exchange in hand counts from; 0 for none.
    since: AtomicU64,
    rung: AtomicU8,
    /// The task that has the connection, always the same.
    task: OnceLock<Waker>,
}

const SILENT: u8 = 0;
const TOO_LONG: u8 = 1;
const STOPPED: u8 = 2;

impl Alarm {
    pub(crate) fn new(origin: Instant) -> Alarm {
        Alarm {
            origin,
            since: AtomicU64::new(0),
            rung: AtomicU8::new(SILENT),
            task: OnceLock::new(),
        }
    }

    /// To be called once, by the task that has the connection.
    pub(crate) async fn belongs_here(&self) {
        poll_fn(|cx| {
            let _ = self.task.set(cx.waker().clone());
            Poll::Ready(())
        })
        .await;
    }

    /// An exchange begins, and counts from `start`.
    pub(crate) fn begin(&self, start: Instant) {
        let since = start.saturating_duration_since(self.origin).as_nanos() as u64 + 1;
        self.since.store(since, Ordering::Relaxed);
    }

    /// It has ended. A stop stays; a time-out was that exchange's.
    pub(crate) fn end(&self) {
        self.since.store(0, Ordering::Relaxed);
        if self.rung.load(Ordering::Relaxed) == TOO_LONG {
            self.rung.store(SILENT, Ordering::Relaxed);
        }
    }

    /// The clock: rings if an exchange is older than `limit`.
    pub(crate) fn ring_if_older(&self, limit: Duration, now: Instant) {
        let since = self.since.load(Ordering::Relaxed);
        let age = now.saturating_duration_since(self.origin).as_nanos() as u64 + 1;
        if since != 0 && age.saturating_sub(since) >= limit.as_nanos() as u64 {
            self.ring(TOO_LONG);
        }
    }

    /// The run is stopped.
    pub(crate) fn stop(&self) {
        self.ring(STOPPED);
    }

    pub(crate) fn is_stopped(&self) -> bool {
        self.rung.load(Ordering::Relaxed) == STOPPED
    }

    fn ring(&self, what: u8) {
        self.rung.store(what, Ordering::Relaxed);
        if let Some(task) = self.task.get() {
            task.wake_by_ref();
        }
    }

    /// Waits for something unless the clock rings first.
    async fn unless_rung<T>(
        &self,
        mut poll: impl FnMut(&mut Context<'_>) -> Poll<T>,
    ) -> Result<T, Outcome> {
        poll_fn(|cx| match self.heard() {
            Some(outcome) => Poll::Ready(Err(outcome)),
            None => poll(cx).map(Ok),
        })
        .await
    }

    fn heard(&self) -> Option<Outcome> {
        match self.rung.load(Ordering::Relaxed) {
            SILENT => None,
            TOO_LONG => Some(Outcome::TimedOut),
            _ => Some(Outcome::Aborted),
        }
    }
}

const BROKEN: Outcome = Outcome::Failed(Failure::Broken);

/// A connection that opens when it is needed, and again when it has been closed.
pub(crate) struct Link<'a> {
    target: &'a Target,
    alarm: &'a Alarm,
    open: Option<TcpStream>,
    buffer: Box<[u8]>,
}

impl<'a> Link<'a> {
    pub(crate) fn new(target: &'a Target, alarm: &'a Alarm) -> Link<'a> {
        Link { target, alarm, open: None, buffer: vec![0; BUFFER].into() }
    }

    /// One request and its answer, read to the end. After anything but a whole answer the connection
    /// is closed: what is still to come on it belongs to nobody.
    pub(crate) async fn exchange(&mut self) -> Outcome {
        let outcome = match self.try_exchange().await {
            Ok(outcome) => return outcome,
            Err(outcome) => outcome,
        };
        self.open = None;
        outcome
    }

    /// Opens the connection if it is not.
    pub(crate) async fn connect(&mut self) -> Result<(), Outcome> {
        if self.open.is_some() {
            return Ok(());
        }
        let opening = async {
            let stream = TcpStream::connect(self.target.address).await?;
            stream.set_nodelay(true)?;
            io::Result::Ok(stream)
        };
        let mut opening = pin!(opening);
        let opened = self.alarm.unless_rung(|cx| opening.as_mut().poll(cx));
        self.open = Some(opened.await?.map_err(|_| Outcome::Failed(Failure::Connect))?);
        Ok(())
    }

    /// Sees what the server does while nothing is asked: it may close the connection. What it sends
    /// then is no answer, and ends it as well.
    pub(crate) fn poll_idle(&mut self, cx: &mut Context<'_>) {
        if let Some(stream) = &mut self.open
            && poll_read(stream, cx, &mut self.buffer).is_ready()
        {
            self.open = None;
        }
    }

    async fn try_exchange(&mut self) -> Result<Outcome, Outcome> {
        poll_fn(|cx| {
            self.poll_idle(cx);
            Poll::Ready(())
        })
        .await;
        self.connect().await?;
        self.write().await?;
        self.read().await
    }

    async fn write(&mut self) -> Result<(), Outcome> {
        let stream = self.open.as_mut().ok_or(BROKEN)?;
        let mut rest = &self.target.request[..];
        while !rest.is_empty() {
            let written = self.alarm.unless_rung(|cx| Pin::new(&mut *stream).poll_write(cx, rest));
            match written.await? {
                Ok(0) | Err(_) => return Err(BROKEN),
                Ok(n) => rest = &rest[n..],
            }
        }
        Ok(())
    }

    async fn read(&mut self) -> Result<Outcome, Outcome> {
        let stream = self.open.as_mut().ok_or(BROKEN)?;
        let mut answer = Answer::new(self.target.expect.reading());
        // What has been read and not taken.
        let (mut from, mut to) = (0, 0);
        while !answer.is_whole() {
            if from > 0 {
                self.buffer.copy_within(from..to, 0);
                (from, to) = (0, to - from);
            }
            let room = &mut self.buffer[to..];
            if room.is_empty() {
                return Err(BROKEN);
            }
            let read = self.alarm.unless_rung(|cx| poll_read(stream, cx, room));
            match read.await? {
                Err(_) => return Err(BROKEN),
                Ok(0) => answer.closed().map_err(|_| BROKEN)?,
                Ok(n) => {
                    to += n;
                    from += answer.take(&self.buffer[from..to]).map_err(|_| BROKEN)?;
                }
            }
        }
        // What follows an answer belongs to no request.
        if !answer.keeps_connection() || from < to {
            self.open = None;
        }
        Ok(answer.outcome())
    }
}

/// Reads what there is; 0 when the server has closed the connection.
fn poll_read(
    stream: &mut TcpStream,
    cx: &mut Context<'_>,
    room: &mut [u8],
) -> Poll<io::Result<usize>> {
    let mut room = ReadBuf::new(room);
    let read = Pin::new(stream).poll_read(cx, &mut room);
    read.map_ok(|()| room.filled().len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_rings_for_what_takes_too_long_and_for_nothing_else() {
        let origin = Instant::now();
        let at = |ms| origin + Duration::from_millis(ms);
        let limit = Duration::from_millis(10);
        let alarm = Alarm::new(origin);
        alarm.ring_if_older(limit, at(1000));
        assert_eq!(alarm.heard(), None, "nothing is in hand");
        alarm.begin(at(0));
        alarm.ring_if_older(limit, at(9));
        assert_eq!(alarm.heard(), None);
        alarm.ring_if_older(limit, at(10));
        assert_eq!(alarm.heard(), Some(Outcome::TimedOut));
        alarm.end();
        assert_eq!(alarm.heard(), None, "the next exchange has its own time");
        alarm.begin(at(20));
        alarm.ring_if_older(limit, at(29));
        assert_eq!(alarm.heard(), None);
        alarm.stop();
        alarm.end();
        assert_eq!(alarm.heard(), Some(Outcome::Aborted));
    }
}
