//! The generator against servers that answer well, badly, late and not at all: every request has one
//! fate, and the books close.

use std::{
    io::{BufRead, BufReader, Write},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use lab_generator::{
    target::{Expect, Target},
    wire::Wire,
};
use lab_kit::{
    load::{Closed, Open, Tally},
    stop::Stop,
};

const OK: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nabcd";
const CLOSES: &[u8] = b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 4\r\n\r\nabcd";
const CHUNKED: &[u8] =
    b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nab\r\n2\r\ncd\r\n0\r\n\r\n";
const OTHER: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nabcx";
const SHORT: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nab";
const BUSY: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n";
const ERROR: &[u8] = b"HTTP/1.1 500 Internal Server Error\r\ncontent-length: 2\r\n\r\nno";
const NO_HTTP: &[u8] = b"good day\r\n\r\n";

/// What a server does with a request.
#[derive(Clone, Copy)]
enum Deed {
    /// Writes this and keeps the connection.
    Write(&'static [u8]),
    /// Writes this and closes it.
    WriteAndClose(&'static [u8]),
    /// Reads and never answers.
    Hang,
    /// Writes the first and then the second again and again.
    NoEnd(&'static [u8], &'static [u8]),
}
use Deed::{Hang, NoEnd, Write as W, WriteAndClose};

/// A server that does these deeds one after another, over and over; also how many requests it got.
fn server(deeds: &'static [Deed]) -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let (address, got) = (listener.local_addr().unwrap(), Arc::new(AtomicUsize::new(0)));
    let count = got.clone();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let count = count.clone();
            std::thread::spawn(move || serve(stream, deeds, &count));
        }
    });
    (address, got)
}

fn serve(mut stream: TcpStream, deeds: &[Deed], count: &AtomicUsize) -> Option<()> {
    let mut lines = BufReader::new(stream.try_clone().ok()?).lines();
    loop {
        while !lines.next()?.ok()?.is_empty() {}
        match deeds[count.fetch_add(1, Ordering::Relaxed) % deeds.len()] {
            W(answer) => stream.write_all(answer).ok()?,
            WriteAndClose(answer) => {
                let _ = stream.write_all(answer);
                return None;
            }
            Hang => {}
            NoEnd(first, part) => {
                stream.write_all(first).ok()?;
                let parts = part.repeat(1 + 65_536 / part.len());
                while stream.write_all(&parts).is_ok() {}
            }
        }
    }
}

fn wire(address: SocketAddr, stop: &Stop) -> Wire {
    let expect = Expect::Body(Bytes::from_static(b"abcd"));
    let target = Target::new(&format!("http://{address}/x"), expect).unwrap();
    Wire::new(target, stop.clone())
}

/// So many arrivals, which is so many requests whatever the time they take.
fn arrivals(n: u32) -> Open {
    Open {
        rate: 2000.0,
        poisson: false,
        window: Duration::from_micros(u64::from(n) * 500 + 250),
        seed: 1,
    }
}

fn send(deeds: &'static [Deed], n: u32, connections: usize) -> (Tally, usize) {
    let (address, got) = server(deeds);
    let paced = wire(address, &Stop::default())
        .timeout(Duration::from_secs(5))
        .open(arrivals(n), connections)
        .unwrap();
    assert!(paced.tally.trial.books_close());
    assert_eq!(paced.tally.trial.offered, u64::from(n));
    assert_eq!(paced.tally.sent, u64::from(n));
    assert_eq!(paced.schedule_error.count() + paced.waited, u64::from(n));
    (paced.tally, got.load(Ordering::Relaxed))
}

#[test]
fn every_answer_has_its_fate() {
    let deeds: &[Deed] = &[W(OK), W(BUSY), W(CHUNKED), W(ERROR), W(OTHER), W(OK)];
    let (tally, got) = send(deeds, 60, 1);
    let t = &tally.trial;
    assert_eq!((t.ok, t.rejected, t.failed, t.timed_out), (30, 10, 20, 0));
    assert_eq!((t.failures["status 500"], t.failures["body"]), (10, 10));
    assert_eq!(got, 60);
    assert!(tally.goodput_per_s * 1.9 < tally.attempts_per_s);
}

#[test]
fn a_connection_that_is_closed_after_an_answer_costs_nothing() {
    let (tally, got) = send(&[WriteAndClose(CLOSES), W(OK)], 40, 3);
    assert_eq!((tally.trial.ok, got), (40, 40));
}

#[test]
fn what_breaks_is_broken_and_the_next_request_has_a_new_connection() {
    for bad in [
        &[WriteAndClose(SHORT), W(OK)],
        &[WriteAndClose(b""), W(OK)],
        &[WriteAndClose(NO_HTTP), W(OK)],
    ] {
        let (tally, got) = send(bad, 20, 1);
        let t = &tally.trial;
        assert_eq!((t.ok, t.failed, got), (10, 10, 20));
        assert_eq!(t.failures["broken"], 10);
    }
}

#[test]
fn nobody_listens() {
    let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = free.local_addr().unwrap();
    drop(free);
    let paced = wire(address, &Stop::default()).open(arrivals(10), 2);
    let tally = paced.unwrap().tally;
    assert!(tally.trial.books_close());
    assert_eq!((tally.trial.offered, tally.trial.failures["connect"]), (10, 10));
    assert_eq!(tally.goodput_per_s, 0.0);
}

/// Both connections hang with the first two; who waits for one of them in vain gives up, too.
#[test]
fn who_gets_no_answer_times_out_and_so_does_who_waits_behind() {
    let (address, _) = server(&[Hang]);
    let paced = wire(address, &Stop::default())
        .timeout(Duration::from_millis(60))
        .open(arrivals(10), 2)
        .unwrap();
    let t = &paced.tally.trial;
    assert!(t.books_close());
    assert_eq!((t.offered, t.timed_out), (10, 10));
    assert!(paced.waited >= 8, "{}", paced.waited);
    assert!(t.attempt_latency.quantile_s(0.0) >= Some(0.0599));
}

#[test]
fn a_stop_ends_a_load_and_the_books_say_what_was_not_sent() {
    let (address, got) = server(&[W(OK), Hang]);
    let stop = Stop::default();
    let stopper = stop.clone();
    std::thread::spawn(move || {
        while got.load(Ordering::Relaxed) < 4 {
            std::thread::sleep(Duration::from_millis(1));
        }
        stopper.set();
    });
    let tally = wire(address, &stop).open(arrivals(1_000_000), 2).unwrap().tally;
    let t = &tally.trial;
    assert!(t.books_close());
    assert_eq!(t.offered, 1_000_000);
    assert_eq!(t.aborted, 2, "one on each connection");
    assert!(t.never_sent > 900_000, "{}", t.never_sent);
}

#[test]
fn a_closed_loop_counts_what_it_sent_on_any_number_of_threads() {
    for threads in [1, 3] {
        let (address, got) = server(&[W(OK), W(ERROR)]);
        let plan = Closed { clients: 5, window: Duration::from_millis(50), ..Closed::default() };
        let wire = wire(address, &Stop::default()).threads(threads);
        let tally = wire.closed(plan).unwrap();
        let t = &tally.trial;
        assert!(t.books_close() && t.offered > 0);
        assert_eq!(tally.sent as usize, got.load(Ordering::Relaxed));
        assert_eq!((t.offered, t.ok + t.failed), (tally.sent, tally.sent));
        assert!(t.ok.abs_diff(t.failed) <= 5, "{} {}", t.ok, t.failed);
        assert!(tally.max_in_flight <= 5 && tally.goodput_per_s > 0.0);
    }
}

/// The most memory this process has had, in MB; 0 where nobody says.
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmHWM"));
    let kb = line.and_then(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok());
    kb.unwrap_or(0) / 1024
}

#[test]
fn what_never_ends_takes_neither_memory_nor_more_than_its_time() {
    const CHUNKS: &[u8] = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
    let before = peak();
    // Whether it can still be an answer, or is none.
    for (can_be, deeds) in [
        (true, &[NoEnd(b"HTTP/1.1 200 OK\r\n\r\n", b"x")]),
        (true, &[NoEnd(b"HTTP/1.1 200 OK\r\ncontent-length: 18446744073709551615\r\n\r\n", b"x")]),
        (true, &[NoEnd(CHUNKS, b"1\r\nx\r\n")]),
        (
            true,
            &[NoEnd(
                b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nffffffffffffffff\r\n",
                b"x",
            )],
        ),
        (true, &[NoEnd(b"", b"HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n")]),
        (false, &[NoEnd(b"HTTP/1.1 200 ", b"x")]),
        (false, &[NoEnd(b"HTTP/1.1 200 OK\r\n", b"a: b\r\n")]),
        (false, &[NoEnd(b"HTTP/1.1 200 OK\r\na: ", b"x")]),
        (false, &[NoEnd(b"HTTP/1.1 200 OK\r\ncontent-length: ", b"1")]),
        (false, &[NoEnd(CHUNKS, b"1;x=")]),
        (false, &[NoEnd(CHUNKS, b"f")]),
        (
            false,
            &[NoEnd(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n", b"a: b\r\n")],
        ),
        (false, &[NoEnd(b"", b"\0")]),
        (false, &[NoEnd(b"", b"HTTP/1.1 101 Switching\r\n\r\n")]),
    ] as [(bool, &'static [Deed]); 14]
    {
        let (address, _) = server(deeds);
        let paced = wire(address, &Stop::default())
            .timeout(Duration::from_millis(100))
            .open(arrivals(2), 2)
            .unwrap();
        let t = &paced.tally.trial;
        assert!(t.books_close());
        let expected = if can_be { (2, 0) } else { (0, 2) };
        assert_eq!((t.timed_out, t.failed), expected, "{:?}", t.failures);
    }
    let grown = peak().saturating_sub(before);
    assert!(grown < 64, "{grown} MB");
}

#[test]
fn no_clients_are_refused() {
    let (address, _) = server(&[W(OK)]);
    let wire = wire(address, &Stop::default());
    assert!(wire.open(arrivals(1), 0).is_err());
    let none = Closed { clients: 0, ..Closed::default() };
    assert!(wire.closed(none).is_err());
}
