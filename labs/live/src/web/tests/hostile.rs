//! What no page of this server would send: each is refused for its reason, and nothing changes.

use rand::RngExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::*;
use lab_testing::fuzz;

/// Method, target, further headers, body, and the status of the answer.
type Bad = (&'static str, &'static str, &'static [(&'static str, &'static str)], &'static str, u16);

const HERE: &[(&str, &str)] = &[("host", HOST), ("origin", OWN)];

const BAD: &[Bad] = &[
    // Values.
    ("POST", "/trap/set", HERE, "clients=-1", 422),
    ("POST", "/trap/set", HERE, "clients=-0", 422),
    ("POST", "/trap/set", HERE, "clients=1.0", 422),
    ("POST", "/trap/set", HERE, "clients=1e2", 422),
    ("POST", "/trap/set", HERE, "clients=0x10", 422),
    ("POST", "/trap/set", HERE, "clients=NaN", 422),
    ("POST", "/trap/set", HERE, "clients=inf", 422),
    ("POST", "/trap/set", HERE, "clients=4294967295", 422),
    ("POST", "/trap/set", HERE, "clients=4294967297", 422),
    ("POST", "/trap/set", HERE, "clients=18446744073709551616", 422),
    ("POST", "/trap/set", HERE, "clients=1%00", 422),
    ("POST", "/trap/set", HERE, "clients=%ff%fe", 422),
    ("POST", "/trap/set", HERE, "clients=%D9%A3", 422),
    ("POST", "/trap/set", HERE, "clients=+5", 422),
    ("POST", "/trap/set", HERE, "clients=5%0d%0a", 422),
    ("POST", "/trap/set", HERE, "clients=<script>", 422),
    ("POST", "/trap/set", HERE, "slots=41", 422),
    ("POST", "/trap/set", HERE, "service=19", 422),
    ("POST", "/trap/set", HERE, "timeout=2001", 422),
    ("POST", "/trap/set", HERE, "queue=2", 422),
    ("POST", "/heartbeat/set", HERE, "busy=1501", 422),
    ("POST", "/heartbeat/set", HERE, "pause=0", 422),
    ("POST", "/heartbeat/set", HERE, "beat=0", 422),
    ("POST", "/heartbeat/set", HERE, "place=2", 422),
    ("POST", "/pipeline/set", HERE, "fetch=0", 422),
    ("POST", "/pipeline/set", HERE, "depth=41", 422),
    ("POST", "/pipeline/set", HERE, "times=9", 422),
    // Names.
    ("POST", "/trap/set", HERE, "Clients=5", 422),
    ("POST", "/trap/set", HERE, "clients%20=5", 422),
    ("POST", "/trap/set", HERE, "clients%00=5", 422),
    ("POST", "/trap/set", HERE, "=5", 422),
    ("POST", "/trap/set", HERE, "5", 422),
    ("POST", "/trap/set", HERE, "{\"clients\":5}", 422),
    ("POST", "/trap/set", HERE, "__proto__=5", 422),
    ("POST", "/pipeline/set", HERE, "clients=5", 422),
    // Forms.
    ("POST", "/trap/set", HERE, "&&&", 400),
    ("POST", "/trap/set", HERE, "page=", 400),
    ("POST", "/trap/set", HERE, "clients=5&page=-1", 400),
    ("POST", "/trap/set", HERE, "clients=5&page=18446744073709551616", 400),
    ("POST", "/trap/set", HERE, "clients=5&page=1.5", 400),
    ("POST", "/trap/set", HERE, "clients=5&clients=5", 400),
    ("POST", "/trap/set", HERE, "clients=5&x", 400),
    ("POST", "/trap/set?clients=5", HERE, "", 400),
    // Places.
    ("POST", "/Trap/set", HERE, "clients=5", 404),
    ("POST", "/tr%61p%00/set", HERE, "clients=5", 404),
    ("POST", "/%2e%2e/set", HERE, "clients=5", 404),
    ("POST", "//trap/set", HERE, "clients=5", 404),
    ("POST", "/trap/set/", HERE, "clients=5", 404),
    ("POST", "/trap/start/now", HERE, "", 404),
    ("POST", "/%ff/start", HERE, "", 400),
    ("GET", "/%ff", HERE, "", 400),
    ("GET", "/trap%0d%0aset-cookie:x", HERE, "", 404),
    ("GET", "/assets/%2e%2e%2f%2e%2e%2fetc%2fpasswd", HERE, "", 404),
    ("GET", "/assets/..", HERE, "", 404),
    ("GET", "/assets/live.css%00", HERE, "", 404),
    ("GET", "/assets/LIVE.CSS", HERE, "", 404),
    ("GET", "/assets/", HERE, "", 404),
    ("GET", "/nothing/events?page=1", HERE, "", 404),
    // Methods.
    ("GET", "/trap/set?clients=5", HERE, "", 405),
    ("PUT", "/trap/set", HERE, "clients=5", 405),
    ("DELETE", "/trap", HERE, "", 405),
    ("TRACE", "/trap", HERE, "", 405),
    ("BREW", "/trap/start", HERE, "", 405),
    ("OPTIONS", "*", HERE, "", 404),
    ("CONNECT", "localhost:7000", HERE, "", 404),
    // Whose page it is.
    ("POST", "/trap/set", &[("host", HOST)], "clients=5", 403),
    ("POST", "/trap/set", &[("origin", OWN)], "clients=5", 403),
    ("POST", "/trap/set", &[("host", "localhost"), ("origin", OWN)], "clients=5", 403),
    ("POST", "/trap/set", &[("host", "LOCALHOST:7001"), ("origin", OWN)], "clients=5", 403),
    ("POST", "/trap/set", &[("host", "localhost.:7000"), ("origin", OWN)], "clients=5", 403),
    ("POST", "/trap/set", &[("host", "0.0.0.0:7000"), ("origin", OWN)], "clients=5", 403),
    ("POST", "/trap/set", &[("host", "127.1:7000"), ("origin", OWN)], "clients=5", 403),
    ("POST", "/trap/set", &[("host", "2130706433:7000"), ("origin", OWN)], "clients=5", 403),
    (
        "POST",
        "/trap/set",
        &[("host", "[::ffff:127.0.0.1]:7000"), ("origin", OWN)],
        "clients=5",
        403,
    ),
    (
        "POST",
        "/trap/set",
        &[("host", "localhost:7000, evil.example"), ("origin", OWN)],
        "clients=5",
        403,
    ),
    (
        "POST",
        "/trap/set",
        &[("host", "evil.example"), ("x-forwarded-host", HOST), ("origin", OWN)],
        "clients=5",
        403,
    ),
    (
        "POST",
        "http://evil.example/trap/set",
        &[("host", "evil.example"), ("origin", OWN)],
        "clients=5",
        403,
    ),
    ("POST", "/trap/set", &[("host", HOST), ("origin", "HTTP://localhost:7000")], "clients=5", 403),
    (
        "POST",
        "/trap/set",
        &[("host", HOST), ("origin", "http://localhost:7000/")],
        "clients=5",
        403,
    ),
    (
        "POST",
        "/trap/set",
        &[("host", HOST), ("origin", "http://localhost:07000")],
        "clients=5",
        403,
    ),
    (
        "POST",
        "/trap/set",
        &[("host", HOST), ("origin", "http://evil.example@localhost:7000")],
        "clients=5",
        403,
    ),
    ("POST", "/trap/set", &[("host", HOST), ("origin", "file://")], "clients=5", 403),
    (
        "POST",
        "/trap/set",
        &[("host", HOST), ("origin", "http://localhost:7000 http://evil.example")],
        "clients=5",
        403,
    ),
    ("POST", "/trap/set", &[("host", HOST), ("origin", OWN), ("origin", "null")], "clients=5", 403),
    ("POST", "/trap/set", &[("host", HOST), ("referer", OWN)], "clients=5", 403),
    ("GET", "/trap/events", &[("host", HOST), ("origin", "null")], "", 403),
    ("GET", "/assets/live.css", &[("host", "evil.example")], "", 403),
];

/// A link on another page leads here, but nothing of this server is loaded into that page.
#[tokio::test]
async fn other_pages_may_only_lead_here() {
    let site = Site::new();
    for path in ["/trap", "/trap/events?page=1", "/assets/live.css"] {
        for from in ["cross-site", "same-site"] {
            for (mode, status) in [("no-cors", 403), ("cors", 403), ("navigate", 200)] {
                let headers = [("host", HOST), ("sec-fetch-site", from), ("sec-fetch-mode", mode)];
                let answer = site.ask("GET", path, &headers, "").await;
                assert_eq!(answer.status(), status, "{path} {from} {mode}");
            }
        }
        let own = [("host", HOST), ("sec-fetch-site", "same-origin"), ("sec-fetch-mode", "cors")];
        assert_eq!(site.ask("GET", path, &own, "").await.status(), 200, "{path}");
    }
}

#[tokio::test]
async fn what_no_page_sends_is_refused_and_changes_nothing() {
    assert!(BAD.len() >= 60);
    let site = Site::new();
    let before = site.state();
    let mut wrong = Vec::new();
    for (method, target, headers, body, status) in BAD {
        let answer = site.ask(method, target, headers, body).await;
        if answer.status().as_u16() != *status {
            wrong.push(format!(
                "{method} {target} {headers:?} {body:?}: {}, not {status}",
                answer.status()
            ));
        }
        assert!(answer.headers().contains_key("content-security-policy"));
        assert!(!text(answer).await.contains("<script>"), "{target} {body}");
        assert_eq!(site.state(), before, "{method} {target} {headers:?} {body}");
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// Targets and forms, a request each: a target, and a form after a blank.
const REQUESTS: &[&str] = &[
    "/trap/set clients=5&page=1",
    "/heartbeat/set busy=100",
    "/pipeline/set times=1&page=2",
    "/trap?calm=1",
    "/assets/live.css",
    "/",
];

const WORDS: &[&str] = &[
    "/",
    "?",
    "&",
    "=",
    "%",
    "%00",
    "%2e%2e",
    "%ff",
    "+",
    " ",
    "#",
    "\0",
    "\r\n",
    "é",
    "-1",
    "0",
    "1.5",
    "1e308",
    "NaN",
    "4294967296",
    "18446744073709551616",
    "clients",
    "slots",
    "service",
    "timeout",
    "queue",
    "page=",
    "calm=",
    "/set",
    "trap",
    "heartbeat",
    "pipeline",
    "http://localhost:7000",
    "//evil.example",
];

#[test]
fn whatever_is_asked_for_settings_stay_in_bounds() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let within = runtime.enter();
    let site = Site::new();
    drop(within);
    let mut set = 0;
    fuzz(REQUESTS, WORDS, |bytes, rng| {
        let request = String::from_utf8_lossy(bytes);
        let (target, form) = request.split_once(' ').unwrap_or((&request, ""));
        // Pages take seats and starting takes a run; both have tests of their own.
        let method = if target.ends_with("/set") || rng.random() { "POST" } else { "OPTIONS" };
        let started = target.contains("start") || target.contains("stop");
        if started || Uri::try_from(target).is_err() {
            return;
        }
        let answer = runtime.block_on(site.ask(method, target, HERE, form));
        let status = answer.status().as_u16();
        let of_another = Uri::try_from(target).is_ok_and(|uri| uri.authority().is_some());
        assert!(
            matches!(status, 200 | 400 | 404 | 405 | 413 | 422) || (status == 403 && of_another),
            "{status}"
        );
        set += u32::from(status == 200);
        for settings in site.app.hall.news().borrow().settings {
            for (control, value) in settings.each() {
                let kept = settings.with(control.key, &value.to_string());
                assert_eq!(kept, Ok(settings));
            }
        }
    });
    assert!(set > 0, "nothing was set");
}

/// Sends these bytes to a server and returns what it says until it hangs up or has said this much.
async fn say(address: std::net::SocketAddr, bytes: Vec<u8>) -> String {
    let (mut from, mut to) = TcpStream::connect(address).await.unwrap().into_split();
    // It may hang up before it has read everything.
    let sending = tokio::spawn(async move {
        let _ = to.write_all(&bytes).await;
        to
    });
    let mut said = vec![0; 12];
    let got = from.read_exact(&mut said).await;
    sending.abort();
    match got {
        Ok(_) => String::from_utf8_lossy(&said).into_owned(),
        Err(_) => String::new(),
    }
}

#[tokio::test]
async fn heads_and_bodies_are_bounded() {
    let stop = Stop::default();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let app = App::new(stop.clone());
    app.open(listener).unwrap();
    let head =
        format!("POST /trap/set HTTP/1.1\r\nhost: {address}\r\norigin: http://{address}\r\n");
    let long = "x".repeat(1 << 20);
    for (what, bytes, status) in [
        ("a length", format!("{head}content-length: 10000000000\r\n\r\n"), "413"),
        ("a length of 2^64", format!("{head}content-length: 18446744073709551616\r\n\r\n"), "400"),
        ("a length that is none", format!("{head}content-length: -1\r\n\r\n"), "400"),
        (
            "chunks",
            format!("{head}transfer-encoding: chunked\r\n\r\n{}", "1\r\nx\r\n".repeat(600)),
            "413",
        ),
        (
            "a chunk of 2^64-1",
            format!("{head}transfer-encoding: chunked\r\n\r\nffffffffffffffff\r\n{long}"),
            "413",
        ),
        ("headers", format!("{head}{}\r\n", "a: b\r\n".repeat(10_000)), "431"),
        ("a header", format!("{head}a: {long}\r\n\r\n"), "431"),
        ("a target", format!("GET /{long} HTTP/1.1\r\nhost: {address}\r\n\r\n"), "431"),
        (
            "a long target",
            format!("GET /{} HTTP/1.1\r\nhost: {address}\r\n\r\n", &long[..60_000]),
            "404",
        ),
        (
            "another host's target",
            format!("GET http://evil.example/ HTTP/1.1\r\nhost: {address}\r\n\r\n"),
            "403",
        ),
        ("CONNECT", format!("CONNECT evil.example:80 HTTP/1.1\r\nhost: {address}\r\n\r\n"), "403"),
        ("no host", "GET / HTTP/1.1\r\n\r\n".to_owned(), "403"),
        ("garbage", "\0\0\0\0\r\n\r\n".to_owned(), "400"),
    ] {
        let said = say(address, bytes.into_bytes()).await;
        assert_eq!(said.strip_prefix("HTTP/1.1 "), Some(status), "{what}");
    }
    stop.set();
    app.doors.closed().await;
}

/// The way to another port is of this machine, whatever a target names.
#[tokio::test]
async fn a_page_is_sent_to_no_other_host() {
    let site = Site::new();
    let headers = [("host", HOST)];
    let target = "/trap?calm=1";
    let mut sent = site.ask("GET", target, &headers, "").await;
    while sent.status() == StatusCode::OK {
        sent = site.ask("GET", target, &headers, "").await;
    }
    let there = sent.headers()["location"].to_str().unwrap();
    assert!(there.starts_with("http://localhost:"), "{there}");
    assert_eq!(there.matches("http").count(), 1, "{there}");
    assert!(there.ends_with("/trap?calm=1"), "{there}");
    // A target may name the host that is meant.
    for (named, status) in [("http://localhost:7000", 307), ("http://evil.example", 403)] {
        let sent = site.ask("GET", &format!("{named}{target}"), &headers, "").await;
        assert_eq!(sent.status(), status, "{named}");
    }
    site.app.stop.set();
}
