//! Clients that send what no client should: the program answers or hangs up, stays small and serves the others.

#![cfg(target_os = "linux")]

mod common;

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::thread;
use std::time::Duration;

use common::Server;

/// The most memory allowed, in MB.
const MOST: u64 = 400;
/// Bytes of what is far too long.
const MB: usize = 1 << 20;

/// What becomes of some bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// An answer with this status.
    Status(u16),
    /// Nothing, and the end.
    HungUp,
    /// Nothing as long as the client says no more.
    Waits,
    /// Something that is not HTTP/1.
    Other,
}

use Fate::{HungUp, Other, Status, Waits};

fn text(text: &str) -> Vec<u8> {
    text.as_bytes().to_vec()
}

fn long(length: usize) -> String {
    "a".repeat(length)
}

/// A request with this first line.
fn line(line: &str) -> Vec<u8> {
    text(&format!("{line}\r\nhost: mock\r\n\r\n"))
}

/// A request with these headers.
fn headers(headers: &str) -> Vec<u8> {
    text(&format!("GET / HTTP/1.1\r\nhost: mock\r\n{headers}\r\n"))
}

/// A POST with these headers and this body.
fn post(headers: &str, body: &str) -> Vec<u8> {
    text(&format!("POST / HTTP/1.1\r\nhost: mock\r\n{headers}\r\n{body}"))
}

/// A frame of HTTP/2.
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = (payload.len() as u32).to_be_bytes();
    let mut frame = length[1..].to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

fn http2(frames: &[Vec<u8>]) -> Vec<u8> {
    let mut all = text("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    all.extend(frame(4, 0, 0, &[]));
    all.extend(frames.concat());
    all
}

/// What it is, what is sent, and what becomes of it.
type Case = (&'static str, Vec<u8>, Fate);

fn cases() -> Vec<Case> {
    [
        no_whole_requests(),
        versions_and_hosts(),
        methods(),
        absolute_targets(),
        paths(),
        many_and_odd_headers(),
        lengths(),
        codings(),
        pacing(),
        http2_frames(),
        http2_floods(),
    ]
    .concat()
}

/// Silence, halves and other protocols.
fn no_whole_requests() -> Vec<Case> {
    vec![
        ("nothing", vec![], Waits),
        ("a blank line", text("\r\n"), Waits),
        ("half a line", text("GET / HT"), Waits),
        ("half a head", text("GET / HTTP/1.1\r\nhost: mo"), Waits),
        ("zeros", vec![0; 100], Status(400)),
        ("all ones", vec![0xff; 100], Status(400)),
        ("every byte", (0..=255).collect(), Status(400)),
        ("TLS", vec![0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3], Status(400)),
        ("SSH", text("SSH-2.0-OpenSSH_9.6\r\n"), Status(400)),
        ("SMTP", text("EHLO mock\r\n"), Status(400)),
        ("Redis", text("*1\r\n$4\r\nPING\r\n"), Status(400)),
        ("a proxy's line", text("PROXY TCP4 1.2.3.4 1.2.3.4 1 2\r\n"), Status(400)),
    ]
}

fn versions_and_hosts() -> Vec<Case> {
    vec![
        ("lines without CR", text("GET / HTTP/1.1\nhost: mock\n\n"), Status(200)),
        ("no version", text("GET /\r\n\r\n"), Status(400)),
        ("HTTP/0.9", text("GET /\n"), Status(400)),
        ("HTTP/1.0", line("GET / HTTP/1.0"), Status(200)),
        ("HTTP/1.9", line("GET / HTTP/1.9"), Status(400)),
        ("HTTP/9.9", line("GET / HTTP/9.9"), Status(400)),
        ("no host", text("GET / HTTP/1.1\r\n\r\n"), Status(200)),
        ("two hosts", headers("host: other\r\n"), Status(200)),
    ]
}

fn methods() -> Vec<Case> {
    vec![
        ("an odd method", line("BREW / HTTP/1.1"), Status(200)),
        ("a long method", line(&format!("{} / HTTP/1.1", "A".repeat(10_000))), Status(200)),
        ("TRACE", line("TRACE / HTTP/1.1"), Status(200)),
        ("HEAD", line("HEAD / HTTP/1.1"), Status(200)),
        ("OPTIONS *", line("OPTIONS * HTTP/1.1"), Status(200)),
        ("CONNECT a name", line("CONNECT example.com:443 HTTP/1.1"), Status(200)),
        ("CONNECT an address", line("CONNECT 1.2.3.4:443 HTTP/1.1"), HungUp),
        ("CONNECT [::1]", line("CONNECT [::1]:443 HTTP/1.1"), HungUp),
        ("CONNECT a path", line("CONNECT / HTTP/1.1"), Status(200)),
    ]
}

/// Targets that name a server, as for a proxy.
fn absolute_targets() -> Vec<Case> {
    vec![
        ("an absolute target", line("GET http://elsewhere.invalid/x HTTP/1.1"), Status(200)),
        ("another scheme", line("GET ftp://elsewhere.invalid/x HTTP/1.1"), Status(200)),
        ("no such address", line("GET http://256.256.256.256/ HTTP/1.1"), HungUp),
        ("no such port", line("GET http://a:99999/ HTTP/1.1"), HungUp),
        ("half an address", line("GET http://[::1 HTTP/1.1"), Status(400)),
        ("a password", line("GET http://a:b@c/ HTTP/1.1"), Status(200)),
        ("a percent sign in a name", line("GET http://a%zz/ HTTP/1.1"), Status(400)),
    ]
}

fn paths() -> Vec<Case> {
    vec![
        ("a relative target", line("GET x HTTP/1.1"), HungUp),
        ("blanks in the target", line("GET /a b HTTP/1.1"), Status(400)),
        ("a target of NUL", line("GET /\0 HTTP/1.1"), Status(400)),
        ("%00", line("GET /a%00b HTTP/1.1"), Status(200)),
        ("a lone percent sign", line("GET /% HTTP/1.1"), Status(200)),
        ("dots", line("GET /../../etc/passwd HTTP/1.1"), Status(200)),
        ("coded dots", line("GET /%2e%2e/%2e%2e%2fetc HTTP/1.1"), Status(200)),
        ("backslashes", line("GET /..\\..\\x HTTP/1.1"), Status(200)),
        ("two slashes", line("GET //elsewhere.invalid/x HTTP/1.1"), Status(200)),
        ("a fragment", line("GET /#x HTTP/1.1"), Status(200)),
        (
            "bytes that are no UTF-8",
            [&b"GET /\xff\xfe HTTP/1.1\r\nhost: mock\r\n\r\n"[..]].concat(),
            Status(400),
        ),
        ("UTF-8", line("GET /größe HTTP/1.1"), Status(200)),
        ("a path of 60 kB", line(&format!("GET /{} HTTP/1.1", long(60_000))), Status(200)),
        ("a path of 1 MB", line(&format!("GET /{} HTTP/1.1", long(MB))), Status(431)),
        ("a query of 1 MB", line(&format!("GET /?{} HTTP/1.1", long(MB))), Status(431)),
    ]
}

fn many_and_odd_headers() -> Vec<Case> {
    let many = |n: usize, what: &str| headers(&what.repeat(n));
    vec![
        ("100 headers", many(98, "a: b\r\n"), Status(200)),
        ("10,000 headers", many(10_000, "a: b\r\n"), Status(431)),
        ("a header of 100 kB", headers(&format!("a: {}\r\n", long(100_000))), Status(200)),
        ("a header of 1 MB", headers(&format!("a: {}\r\n", long(MB))), Status(431)),
        ("a name of 1 MB", headers(&format!("{}: b\r\n", long(MB))), Status(431)),
        ("a header without colon", headers("nonsense\r\n"), Status(400)),
        ("a header without name", headers(": x\r\n"), Status(400)),
        ("a blank before the colon", headers("a : b\r\n"), Status(400)),
        ("a folded header", headers("a: b\r\n c\r\n"), Status(400)),
        ("NUL in a header", headers("a: \0\r\n"), Status(400)),
        ("a lone CR", headers("a: b\rc\r\n"), Status(400)),
        ("an upgrade", headers("connection: upgrade\r\nupgrade: websocket\r\n"), Status(200)),
        (
            "an upgrade to h2c",
            headers(
                "connection: upgrade, http2-settings\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABk\r\n",
            ),
            Status(200),
        ),
    ]
}

/// Bodies of some length.
fn lengths() -> Vec<Case> {
    vec![
        ("two lengths", post("content-length: 1\r\ncontent-length: 2\r\n", "ab"), Status(400)),
        ("a length with a sign", post("content-length: +1\r\n", "a"), Status(400)),
        ("a negative length", post("content-length: -1\r\n", ""), Status(400)),
        ("a length of 2^64", post("content-length: 18446744073709551616\r\n", ""), Status(400)),
        ("a length of 2^64-1", post("content-length: 18446744073709551615\r\n", "a"), Status(431)),
        ("a length of 2^63", post("content-length: 9223372036854775808\r\n", "a"), Waits),
        ("a length of 10 GB", post("content-length: 10000000000\r\n", "a"), Waits),
    ]
}

/// Bodies in chunks or in another coding.
fn codings() -> Vec<Case> {
    vec![
        (
            "a length and chunks",
            post("content-length: 3\r\ntransfer-encoding: chunked\r\n", "0\r\n\r\n"),
            Status(200),
        ),
        ("another coding", post("transfer-encoding: gzip\r\n", "x"), Status(400)),
        (
            "chunked, then another",
            post("transfer-encoding: chunked, gzip\r\n", "0\r\n\r\n"),
            Status(400),
        ),
        ("a chunk that is no number", post("transfer-encoding: chunked\r\n", "zz\r\n"), HungUp),
        (
            "a chunk of 2^64-1",
            post("transfer-encoding: chunked\r\n", "ffffffffffffffff\r\na"),
            Waits,
        ),
        (
            "a chunk of 2^68",
            post("transfer-encoding: chunked\r\n", "fffffffffffffffff\r\na"),
            HungUp,
        ),
        (
            "a chunk with a long extension",
            post("transfer-encoding: chunked\r\n", &format!("1;{}\r\na\r\n0\r\n\r\n", long(MB))),
            HungUp,
        ),
        ("a chunk without its end", post("transfer-encoding: chunked\r\n", "1\r\nabc\r\n"), HungUp),
        (
            "10,000 trailers",
            post(
                "transfer-encoding: chunked\r\n",
                &format!("0\r\n{}\r\n", "a: b\r\n".repeat(10_000)),
            ),
            HungUp,
        ),
    ]
}

/// Clients that wait within a request, and some that do not wait between two.
fn pacing() -> Vec<Case> {
    vec![
        ("a wait for 100", post("expect: 100-continue\r\ncontent-length: 4\r\n", ""), Status(100)),
        ("another wait", post("expect: the moon\r\ncontent-length: 0\r\n", ""), Status(200)),
        ("1,000 requests at once", line("GET / HTTP/1.1").repeat(1000), Status(200)),
        (
            "a request in a body",
            post("content-length: 3\r\n", "abcGET / HTTP/1.1\r\n\r\n"),
            Status(200),
        ),
    ]
}

fn http2_frames() -> Vec<Case> {
    vec![
        ("HTTP/2", http2(&[]), Other),
        ("HTTP/2, half its preface", text("PRI * HTTP/2.0\r\n\r\nSM"), Waits),
        ("HTTP/2, another preface", text("PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n"), Status(400)),
        ("HTTP/2, a frame of 16 MB", http2(&[vec![0xff, 0xff, 0xff, 0, 0, 0, 0, 0, 1]]), Other),
        ("HTTP/2, zeros", http2(&[vec![0; 1000]]), Other),
        ("HTTP/2, headers that are none", http2(&[frame(1, 5, 1, &[0xff; 100])]), Other),
        (
            "HTTP/2, headers without end",
            http2(&[frame(1, 0, 1, &[0x82; 100]), frame(9, 0, 1, &[0x82; 16_000]).repeat(100)]),
            Other,
        ),
    ]
}

/// Frames that are harmless one by one.
fn http2_floods() -> Vec<Case> {
    vec![
        (
            "HTTP/2, 10,000 streams",
            http2(
                &(0..10_000)
                    .map(|i| frame(1, 5, 2 * i + 1, &[0x82, 0x84, 0x86]))
                    .collect::<Vec<_>>(),
            ),
            Other,
        ),
        (
            "HTTP/2, 10,000 reset at once",
            http2(
                &(0..10_000)
                    .flat_map(|i| {
                        [
                            frame(1, 5, 2 * i + 1, &[0x82, 0x84, 0x86]),
                            frame(3, 0, 2 * i + 1, &[0, 0, 0, 8]),
                        ]
                    })
                    .collect::<Vec<_>>(),
            ),
            Other,
        ),
        ("HTTP/2, 10,000 pings", http2(&vec![frame(6, 0, 0, &[0; 8]); 10_000]), Other),
        (
            "HTTP/2, 10,000 settings",
            http2(&vec![frame(4, 0, 0, &[0, 3, 0, 0, 0, 1]); 10_000]),
            Other,
        ),
        (
            "HTTP/2, a window beyond its bound",
            http2(&vec![frame(8, 0, 0, &[0x7f, 0xff, 0xff, 0xff]); 2]),
            Other,
        ),
    ]
}

/// Sends in the background, so that neither side waits for the other, and sees what comes.
fn fate(server: &Server, bytes: &[u8]) -> Fate {
    let stream = server.connect();
    stream.set_read_timeout(Some(Duration::from_millis(400))).unwrap();
    thread::scope(|scope| {
        let (mut sending, mut reading) = (&stream, &stream);
        scope.spawn(move || {
            // The server may have hung up before it has read everything.
            let _ = sending.write_all(bytes);
        });
        let mut begin = [0; 12];
        let mut got = 0;
        let fate = loop {
            match reading.read(&mut begin[got..]) {
                Ok(0) => break if got == 0 { HungUp } else { Other },
                Ok(n) => got += n,
                Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                    break if got == 0 { Waits } else { Other };
                }
                Err(_) => break if got == 0 { HungUp } else { Other },
            }
            if got == begin.len() {
                let code = std::str::from_utf8(&begin)
                    .ok()
                    .and_then(|text| text.strip_prefix("HTTP/1."))
                    .and_then(|text| text[2..].trim().parse().ok());
                break code.map_or(Other, Status);
            }
        };
        // What is still being sent is not wanted any more.
        let _ = stream.shutdown(Shutdown::Both);
        fate
    })
}

#[test]
fn odd_requests_get_their_answer_and_hurt_nobody() {
    let server = Server::start(&["--service", "0s", "--queue", "unbounded"]);
    let cases = cases();
    assert!(cases.len() >= 60);
    let mut wrong = Vec::new();
    for (name, bytes, expected) in &cases {
        let fate = fate(&server, bytes);
        if fate != *expected {
            wrong.push(format!("{name}: {fate:?}, not {expected:?}"));
        }
        assert!(server.get("/").starts_with("HTTP/1.1 200"), "after {name}");
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    let peak = server.peak();
    assert!(peak < 100, "{peak} MB");
    let ended = server.stop("TERM");
    assert_eq!(ended.code, Some(0));
    assert_eq!(ended.said, "");
}

/// Sends `head` and then `part` until it was so many bytes; true when the server hung up.
fn is_cut(stream: &mut TcpStream, head: &[u8], part: &[u8], length: usize) -> bool {
    // A connection that was cut while its client was waiting for room says nothing more to the client's writes.
    let patience = Some(Duration::from_secs(2));
    stream.set_write_timeout(patience).unwrap();
    let sent = stream
        .write_all(head)
        .and_then(|()| (0..length / part.len()).try_for_each(|_| stream.write_all(part)));
    if sent.is_ok() {
        return false;
    }
    stream.set_read_timeout(patience).unwrap();
    match stream.read_to_end(&mut Vec::new()) {
        Ok(_) => true,
        Err(e) => !matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut),
    }
}

fn chunk(length: usize) -> Vec<u8> {
    let mut chunk = format!("{length:x}\r\n").into_bytes();
    chunk.extend(vec![b'x'; length]);
    chunk.extend(b"\r\n");
    chunk
}

#[test]
fn a_body_without_end_is_cut_off_and_the_others_are_served() {
    let server = Server::start(&["--service", "0s"]);
    let chunked = post("transfer-encoding: chunked\r\n", "");
    let long = post("content-length: 10000000000\r\n", "");
    let patient = post("expect: 100-continue\r\ntransfer-encoding: chunked\r\n", "");
    for (head, part) in [
        (&chunked, chunk(1 << 20)),
        (&chunked, chunk(1000).repeat(64)),
        (&long, vec![b'x'; 1 << 20]),
        (&patient, chunk(1 << 16)),
    ] {
        thread::scope(|scope| {
            let flood = scope.spawn(|| is_cut(&mut server.connect(), head, &part, 2 << 30));
            let mut served = 0;
            while served < 5 || !flood.is_finished() {
                assert!(server.get("/").starts_with("HTTP/1.1 200"));
                served += 1;
            }
            assert!(flood.join().unwrap(), "gigabytes are let through");
        });
    }
    let peak = server.peak();
    assert!(peak < MOST, "{peak} MB");
    assert_eq!(server.stop("TERM").said, "");
}

/// Each of them alone would be let through.
#[test]
fn many_long_bodies_together_are_bounded_too() {
    let server = Server::start(&["--service", "0s"]);
    let head = post("content-length: 10000000000\r\n", "");
    let part = vec![b'x'; 12_000_000];
    let cut: usize = thread::scope(|scope| {
        let send = || {
            let mut stream = server.connect();
            let cut = is_cut(&mut stream, &head, &part, part.len());
            (stream, cut)
        };
        let all: Vec<_> = (0..100).map(|_| scope.spawn(send)).collect();
        assert!(server.get("/").starts_with("HTTP/1.1 200"));
        // All stay open until the last has been sent.
        let held: Vec<_> = all.into_iter().map(|one| one.join().unwrap()).collect();
        held.iter().filter(|(_, cut)| *cut).count()
    });
    assert!(server.get("/").starts_with("HTTP/1.1 200"));
    let peak = server.peak();
    assert!(peak < MOST, "{peak} MB, {cut} cut off while they sent");
}

/// What wiremock keeps of requests is dropped by their size, not only by their number.
#[test]
fn bodies_that_end_are_not_kept() {
    let server = Server::start(&["--service", "0s"]);
    let request = post("content-length: 4000000\r\n", &"x".repeat(4_000_000));
    let mut stream = server.connect();
    for i in 0..200 {
        stream.write_all(&request).unwrap();
        let mut answer = [0; 12];
        stream.read_exact(&mut answer).unwrap();
        assert_eq!(&answer, b"HTTP/1.1 200", "{i}");
        // The rest of the answer, which is as long each time but for its number.
        let mut rest = Vec::new();
        while !rest.ends_with(mock_server::BODY) {
            let mut more = [0; 1024];
            let n = stream.read(&mut more).unwrap();
            assert!(n > 0, "{i}");
            rest.extend(&more[..n]);
        }
        if i % 3 == 2 {
            stream = server.connect();
        }
    }
    let peak = server.peak();
    assert!(peak < 200, "{peak} MB");
}

#[test]
fn clients_that_drip_or_leave_hold_nobody_up() {
    let server = Server::start(&["--service", "0s"]);
    let whole = post("content-length: 10\r\n", "0123456789");
    let mut dripping: Vec<_> = (0..whole.len()).map(|_| server.connect()).collect();
    // The nth has sent n bytes.
    for (n, stream) in dripping.iter_mut().enumerate() {
        stream.write_all(&whole[..n]).unwrap();
    }
    // Many more come and say nothing.
    let silent: Vec<_> = (0..500).map(|_| server.connect()).collect();
    assert!(server.get("/").starts_with("HTTP/1.1 200"));
    // Some close one half, some leave.
    for (n, stream) in dripping.iter().enumerate() {
        let how = if n % 2 == 0 { Shutdown::Write } else { Shutdown::Both };
        stream.shutdown(how).unwrap();
    }
    assert!(server.get("/").starts_with("HTTP/1.1 200"));
    drop((dripping, silent));
    let ended = server.stop("TERM");
    assert_eq!(ended.said, "", "a client that leaves is no news");
    assert!(ended.out.starts_with("arrived 2 "), "{ended:?}");
}
