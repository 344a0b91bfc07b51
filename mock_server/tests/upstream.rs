//! The running upstream against a client's own accounting. Nothing here depends on how long anything took, only on
//! what happens in the end.
#![expect(clippy::disallowed_methods, reason = "the server does not know the kit of the labs")]

use std::time::Duration;

use mock_server::{
    BODY, Body, Faults, Outage, Route, Script, Service, Site, Slots, Spec, Turn, Upstream,
};
use reqwest::{Client, StatusCode};
use tokio::task::JoinSet;

const MS: Duration = Duration::from_millis(1);
const LONG: Duration = Duration::from_secs(3000);

fn spec(slots: usize, service: Duration) -> Spec {
    Spec::new(slots, Service::Constant(service))
}

fn client() -> Client {
    Client::builder().no_proxy().pool_max_idle_per_host(usize::MAX).build().unwrap()
}

/// Waits for what happens soon, however slow the machine is.
async fn until(condition: impl Fn() -> bool) {
    while !condition() {
        tokio::time::sleep(MS).await;
    }
}

/// Sends `n` requests at once; per request its status, if there was one, and whether the body was whole.
async fn burst(client: &Client, url: &str, n: usize) -> Vec<(Option<StatusCode>, bool)> {
    let mut tasks = JoinSet::new();
    for _ in 0..n {
        let request = client.get(url);
        tasks.spawn(async move {
            match request.send().await {
                Ok(answer) => {
                    let status = answer.status();
                    let body = answer.bytes().await;
                    (Some(status), body.is_ok_and(|body| body == BODY))
                }
                Err(_) => (None, false),
            }
        });
    }
    tasks.join_all().await
}

fn count<T>(all: &[T], which: impl Fn(&T) -> bool) -> u64 {
    all.iter().filter(|x| which(x)).count() as u64
}

#[tokio::test]
async fn its_accounts_agree_with_the_clients() {
    let spec = Spec { queue: Some(10), ..spec(5, 50 * MS) };
    let upstream = Upstream::start(spec).await.unwrap();
    let answers = burst(&client(), &upstream.url(), 100).await;
    let ok = count(&answers, |a| *a == (Some(StatusCode::OK), true));
    let refused = count(&answers, |a| a.0 == Some(StatusCode::SERVICE_UNAVAILABLE));
    assert_eq!(ok + refused, 100);
    assert!(ok >= 15, "five slots and ten places: {ok}");
    let counters = upstream.shutdown().await;
    assert_eq!(counters.arrived, 100);
    assert_eq!((counters.admitted, counters.served), (ok, ok));
    assert_eq!((counters.refused, counters.abandoned), (refused, 0));
}

#[tokio::test]
async fn a_full_upstream_says_when_to_come_back() {
    let full = |retry_after| Spec { queue: Some(0), retry_after, ..spec(1, LONG) };
    let upstream = Upstream::start(full(1001 * MS)).await.unwrap();
    let client = client();
    for (wait, header) in [(1001 * MS, Some("2")), (MS, Some("1")), (Duration::ZERO, None)] {
        upstream.reset(full(wait)).await.unwrap();
        let holder = tokio::spawn(client.get(upstream.url()).send());
        until(|| upstream.counters().admitted == 1).await;
        let answer = client.get(upstream.url()).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
        let value = answer.headers().get("retry-after");
        assert_eq!(value.map(|v| v.to_str().unwrap()), header);
        holder.abort();
    }
}

#[tokio::test]
async fn a_client_that_leaves_is_noticed_and_keeps_its_slot() {
    let upstream = Upstream::start(spec(1, LONG)).await.unwrap();
    let client = client();
    let leaver = tokio::spawn(client.get(upstream.url()).send());
    until(|| upstream.counters().admitted == 1).await;
    leaver.abort();
    until(|| upstream.counters().abandoned == 1).await;
    assert_eq!(upstream.counters().backlog, 1);
    let _stayer = tokio::spawn(client.get(upstream.url()).send());
    until(|| upstream.counters().admitted == 2).await;
    let counters = upstream.shutdown().await;
    assert_eq!((counters.abandoned, counters.served), (2, 0));
}

#[tokio::test]
async fn faults_by_number_hit_every_nth() {
    let faults = |every: &str| Spec {
        faults: Faults { every: vec![every.parse().unwrap()], ..Faults::default() },
        ..spec(100, MS)
    };
    let upstream = Upstream::start(faults("7:500")).await.unwrap();
    let client = client();
    let mut failed = Vec::new();
    for i in 1..=30 {
        let answer = client.get(upstream.url()).send().await.unwrap();
        if answer.status() == StatusCode::INTERNAL_SERVER_ERROR {
            failed.push(i);
        }
    }
    assert_eq!(failed, [7, 14, 21, 28]);
    assert_eq!((upstream.counters().faulted, upstream.counters().served), (4, 30));

    upstream.reset(faults("item:7:502")).await.unwrap();
    for (item, status) in [(13, 200), (14, 502), (14, 502), (0, 502), (15, 200)] {
        let url = format!("{}/items/{item}", upstream.url());
        assert_eq!(client.get(url).send().await.unwrap().status(), status);
    }
    assert_eq!(upstream.counters().faulted, 3);
}

#[tokio::test]
async fn faults_by_chance_are_seeded_and_counted() {
    let faulty = Spec {
        faults: Faults {
            statuses: vec!["0.3:500".parse().unwrap()],
            truncate: 0.2,
            cut: 0.2,
            ..Faults::default()
        },
        ..spec(100, MS)
    };
    let upstream = Upstream::start(faulty.clone()).await.unwrap();
    let client = client();
    let mut runs = Vec::new();
    for _ in 0..2 {
        upstream.reset(faulty.clone()).await.unwrap();
        let mut seen = Vec::new();
        for _ in 0..100 {
            seen.extend(burst(&client, &upstream.url(), 1).await);
        }
        let counters = upstream.counters();
        assert_eq!(counters.arrived, 100);
        assert_eq!(counters.faulted, 100 - count(&seen, |a| a.1));
        assert_eq!(counters.down, count(&seen, |a| a.0.is_none()));
        assert_eq!(counters.arrived, counters.admitted + counters.down);
        let broken = count(&seen, |a| *a == (Some(StatusCode::OK), false));
        assert!(broken > 0 && counters.down > 0, "{counters}");
        runs.push(seen);
    }
    assert_eq!(runs[0], runs[1]);
}

/// Linux hands a listener's linger option on to its connections.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_cut_is_a_reset_and_a_truncation_is_an_early_end() {
    use std::io::{ErrorKind, Read, Write};
    let faulty = |cut, truncate| Spec {
        faults: Faults { cut, truncate, ..Faults::default() },
        ..spec(1, MS)
    };
    let upstream = Upstream::start(faulty(1.0, 0.0)).await.unwrap();
    let ask = || {
        let mut stream = std::net::TcpStream::connect(upstream.address()).unwrap();
        stream.write_all(b"GET / HTTP/1.1\r\nhost: mock\r\n\r\n").unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).map(|_| String::from_utf8(answer).unwrap())
    };
    assert_eq!(ask().unwrap_err().kind(), ErrorKind::ConnectionReset);
    upstream.reset(faulty(0.0, 1.0)).await.unwrap();
    let answer = ask().unwrap();
    assert!(answer.contains("content-length: 513"), "{answer}");
    assert!(answer.ends_with(std::str::from_utf8(BODY).unwrap()));
}

#[tokio::test]
async fn an_outage_takes_no_slot() {
    let outage = Outage { from: Duration::ZERO, until: LONG, status: 502 };
    let down =
        Spec { faults: Faults { outages: vec![outage], ..Faults::default() }, ..spec(1, LONG) };
    let upstream = Upstream::start(down).await.unwrap();
    let answers = burst(&client(), &upstream.url(), 5).await;
    assert_eq!(count(&answers, |a| a.0 == Some(StatusCode::BAD_GATEWAY)), 5);
    let counters = upstream.counters();
    assert_eq!((counters.down, counters.admitted, counters.backlog), (5, 0, 0));
}

#[tokio::test]
async fn routes_have_services_slots_and_bodies_of_their_own() {
    let own = Slots::Own { slots: 1, queue: Some(0) };
    let spec = Spec {
        queue: Some(0),
        routes: vec![
            Route::new("/shared", Service::Constant(MS)),
            Route {
                slots: own,
                body: Body::made("text/plain", |asked| asked.path.as_bytes().to_vec()),
                ..Route::new("/own", Service::Constant(MS))
            },
        ],
        ..spec(1, LONG)
    };
    let upstream = Upstream::start(spec).await.unwrap();
    let client = client();
    let url = upstream.url();
    let _holder = tokio::spawn(client.get(&url).send());
    until(|| upstream.counters().admitted == 1).await;
    let shared = client.get(format!("{url}/shared")).send().await.unwrap();
    assert_eq!(shared.status(), StatusCode::SERVICE_UNAVAILABLE);
    let own = client.get(format!("{url}/own/7?q=1")).send().await.unwrap();
    assert_eq!(own.text().await.unwrap(), "/own/7");
}

#[tokio::test]
async fn what_is_not_allowed_does_not_start() {
    let error = Upstream::start(spec(0, MS)).await.unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::InvalidInput);
    let upstream = Upstream::start(spec(1, MS)).await.unwrap();
    let error = Upstream::start_on(upstream.address(), spec(1, MS)).await.unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::AddrInUse);
    assert!(error.to_string().contains(&upstream.address().to_string()));
    assert!(upstream.reset(spec(0, MS)).await.is_err());
    assert!(burst(&client(), &upstream.url(), 1).await[0].1);
}

#[tokio::test]
async fn items_of_a_cycle_take_longer_one_after_another() {
    let upstream = Upstream::start(Spec { cycle: 3, ..spec(10, 40 * MS) }).await.unwrap();
    let client = client();
    // Nothing is answered before its time; how much later is the machine's affair.
    for (item, times) in [(2, 3), (4, 2), (301, 2), (5, 3)] {
        let sent = std::time::Instant::now();
        let answer = client.get(format!("{}/items/{item}", upstream.url())).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK);
        assert!(sent.elapsed() > (40 * times - 20) * MS, "item {item}");
    }
    for cycle in [0, mock_server::MAX_CYCLE + 1] {
        assert!(Spec { cycle, ..spec(1, MS) }.check().is_err());
    }
}

#[tokio::test]
async fn two_run_side_by_side() {
    let one = Upstream::start(spec(1, MS)).await.unwrap();
    let two = Upstream::start(spec(1, MS)).await.unwrap();
    let client = client();
    burst(&client, &one.url(), 3).await;
    burst(&client, &two.url(), 5).await;
    assert_eq!((one.counters().served, two.counters().served), (3, 5));
}

/// wiremock answers 404 when nothing is mounted: dropping its memory must never show as that.
#[tokio::test]
async fn forgetting_goes_unnoticed_under_load() {
    const EACH: u64 = 400;
    let upstream = Upstream::start(spec(100_000, Duration::ZERO)).await.unwrap();
    let client = client();
    let mut tasks = JoinSet::new();
    for _ in 0..16 {
        let (client, url) = (client.clone(), upstream.url());
        tasks.spawn(async move {
            let mut whole = 0;
            for _ in 0..EACH {
                let answer = client.get(&url).send().await.unwrap();
                whole += u64::from(answer.bytes().await.unwrap() == BODY);
            }
            whole
        });
    }
    while upstream.counters().arrived < 16 * EACH {
        upstream.forget().await.unwrap();
        tokio::task::yield_now().await;
    }
    assert_eq!(tasks.join_all().await.iter().sum::<u64>(), 16 * EACH);
    assert_eq!(upstream.counters().served, 16 * EACH);
}

#[tokio::test]
async fn a_site_has_pages_and_manners() {
    let site = Site { busy: 0.5, ..Site::new(3, 50) };
    let spec = Spec {
        site: Some(site),
        retry_after: Duration::from_millis(1500),
        routes: vec!["/weather=0ms".parse().unwrap()],
        ..spec(5, MS)
    };
    let (upstream, client) = (Upstream::start(spec).await.unwrap(), client());
    let get = async |path: &str| {
        let answer = client.get(format!("{}{path}", upstream.url())).send().await;
        answer.unwrap()
    };
    let mut busy = 0;
    for product in 0..50 {
        let path = format!("/p/{product}");
        let answer = get(&path).await;
        if answer.status() == StatusCode::TOO_MANY_REQUESTS {
            assert_eq!(answer.headers()["retry-after"], "2");
            busy += 1;
            continue;
        }
        assert_eq!(answer.headers()["content-type"], "text/html; charset=utf-8");
        assert_eq!(answer.text().await.unwrap(), site.page(&path));
    }
    assert!((5..45).contains(&busy), "{busy}");
    assert_eq!(upstream.counters().faulted, busy);
    assert_eq!(get("/gone/3").await.status(), StatusCode::NOT_FOUND);
    let robots = get("/robots.txt").await;
    assert_eq!(robots.headers()["content-type"], "text/plain");
    assert!(robots.text().await.unwrap().contains("Disallow: /cart/"));
    // A route of its own goes before.
    assert_eq!(get("/weather").await.bytes().await.unwrap(), BODY);
    assert_eq!(upstream.counters().faulted, busy);
}

#[tokio::test]
async fn a_script_decides_by_path_and_by_how_often_it_was_asked_for() {
    let script = Script::new(|asked, before| match (asked.path, asked.query, before) {
        ("/mends", _, 0) => Turn::fails(503),
        ("/mends", _, 1) => Turn::cut(),
        ("/never", ..) => Turn::fails(404),
        ("/slow", Some("really"), 0) => Turn::takes(LONG),
        ("/odd", ..) => Turn::fails(200_u16),
        _ => Turn::default(),
    });
    let spec = Spec { script: Some(script), ledger: 20, ..spec(100, Duration::ZERO) };
    let upstream = Upstream::start(spec).await.unwrap();
    let client = client();
    let get = async |path: &str| {
        let answer = client.get(upstream.url() + path).send().await;
        answer.map_or(0, |answer| answer.status().as_u16())
    };
    for (path, wanted) in [
        ("/mends", 503),
        ("/never", 404),
        ("/mends", 0),
        ("/never", 404),
        ("/mends", 200),
        ("/odd", 200),
    ] {
        assert_eq!(get(path).await, wanted, "{path}");
    }
    let patience = Duration::from_millis(20);
    tokio::time::timeout(patience, get("/slow?really")).await.unwrap_err();
    assert_eq!(get("/slow?really").await, 200);
    until(|| upstream.ledger().iter().any(|e| e.abandoned)).await;
    let statuses: Vec<u16> = upstream.ledger().iter().map(|e| e.status).collect();
    assert_eq!(statuses, [503, 404, 0, 404, 200, 200, 200, 200]);
}

#[tokio::test]
async fn the_ledger_has_each_request_with_its_way_and_end() {
    let every = |text: &str| text.parse().unwrap();
    let spec = Spec {
        ledger: 3,
        queue: Some(0),
        faults: Faults { every: vec![every("2:500")], ..Faults::default() },
        ..spec(1, Duration::ZERO)
    };
    let upstream = Upstream::start(spec).await.unwrap();
    let client = reqwest::Client::new();
    for path in ["/a/1?x=2", "/b", "/c", "/beyond"] {
        let answer = client.get(upstream.url() + path).send().await.unwrap();
        answer.bytes().await.unwrap();
    }
    let ledger = upstream.ledger();
    let seen: Vec<_> = ledger.iter().map(|e| (e.path.as_str(), e.status)).collect();
    assert_eq!(seen, [("/a/1?x=2", 200), ("/b", 500), ("/c", 200)]);
    assert!(ledger.windows(2).all(|two| two[0].left.unwrap() <= two[1].arrived));
    assert!(ledger.iter().all(|e| !e.abandoned && e.arrived <= e.left.unwrap()));
}
