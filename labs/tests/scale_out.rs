//! Lab 19's crawl on real servers: what the queue and the database promise, and that processes and
//! servers may be killed at any moment. Only books are asserted, never times.

mod servers;

use std::{
    collections::{BTreeMap, BTreeSet},
    process::{Command, Output, Stdio},
    sync::Arc,
    time::Duration,
};

use lab_crawl::{
    Page, QueueStatus, Taken, Task, TaskQueue,
    address::{ServerUrl, open_database, open_queue},
    redis::Redis,
};
use mock_server::{Service, Site, Spec, Upstream};
use servers::{Ended, PostgresServer, RedisServer, wait_for};

const NOW: Duration = Duration::from_millis(1);
/// Longer than any lease in these tests.
const A_WHILE: Duration = Duration::from_secs(30);

fn task(number: u64) -> Task {
    Task { url: format!("http://127.0.0.1:1/p/{number}"), depth: number as u32 }
}

fn page(task: &Task) -> Page {
    Page {
        url: task.url.clone(),
        title: format!("page {}", task.depth),
        price_cents: task.depth.is_multiple_of(2).then_some(i64::from(task.depth)),
        category: String::new(),
        text_bytes: 1,
        links: 0,
    }
}

async fn worker(server: &RedisServer, parameters: &str, name: &str) -> Redis {
    Redis::open(&server.url(parameters), Some(name)).await.unwrap()
}

/// Every task that was ever new is in one place.
async fn status(queue: &dyn TaskQueue) -> QueueStatus {
    let status = queue.status().await.unwrap();
    let QueueStatus { seen, waiting, in_flight, done, dead } = status;
    assert_eq!(seen, waiting + in_flight + done + dead, "{status:?}");
    status
}

#[tokio::test]
async fn a_url_is_handed_out_once_and_done_once() {
    let Some(server) = RedisServer::start() else {
        return;
    };
    let queue = worker(&server, "", "w").await;
    assert_eq!(queue.keeps_data().await.unwrap(), Some(true));
    assert_eq!(queue.offer(&[task(1), task(2), task(1)]).await.unwrap(), 2);
    assert_eq!(queue.offer(&[task(2), task(3)]).await.unwrap(), 1);
    let taken = queue.take(10, NOW).await.unwrap();
    let urls: Vec<&Task> = taken.iter().map(|t| &t.task).collect();
    assert_eq!(urls, [&task(1), &task(2), &task(3)]);
    assert!(taken.iter().all(|t| t.delivery == 1));
    assert_eq!(queue.take(10, NOW).await.unwrap(), []);
    assert_eq!(queue.take(0, A_WHILE).await.unwrap(), []);
    // Links that were seen are left out, the task's own among them.
    queue.finish(&taken[..1], &[task(1), task(3), task(4)]).await.unwrap();
    let expected = QueueStatus { seen: 4, waiting: 1, in_flight: 2, done: 1, dead: 0 };
    assert_eq!(status(&queue).await, expected);
    // Again, as after an answer that was lost.
    queue.finish(&taken[..1], &[task(4)]).await.unwrap();
    assert_eq!(status(&queue).await, expected);
    queue.finish(&taken[1..], &[]).await.unwrap();
    let rest = queue.take(10, NOW).await.unwrap();
    queue.finish(&rest, &[]).await.unwrap();
    assert!(status(&queue).await.over());
    // Two prefixes are two queues.
    let other = worker(&server, "prefix=other", "w").await;
    assert_eq!(status(&other).await, QueueStatus::default());
    queue.clear().await.unwrap();
    assert_eq!(status(&queue).await, QueueStatus::default());
    assert_eq!(queue.offer(&[task(1)]).await.unwrap(), 1);
}

#[tokio::test]
async fn what_fails_comes_again_and_is_a_dead_letter_in_the_end() {
    let Some(server) = RedisServer::start() else {
        return;
    };
    let queue = worker(&server, "deliveries=3&lease=1s", "w").await;
    queue.offer(&[task(1), task(2)]).await.unwrap();
    let taken = queue.take(2, NOW).await.unwrap();
    queue.fail(&taken[1], "404 Not Found", false).await.unwrap();
    let mut one = taken[0].clone();
    for delivery in 1..=3 {
        assert_eq!(one.delivery, delivery);
        assert_eq!(status(&queue).await.in_flight, 1);
        queue.fail(&one, "refused", true).await.unwrap();
        if delivery < 3 {
            // It waits; nobody has it.
            assert_eq!((status(&queue).await.waiting, status(&queue).await.in_flight), (1, 0));
            one = queue.take(5, A_WHILE).await.unwrap().remove(0);
        }
    }
    let end = QueueStatus { seen: 2, waiting: 0, in_flight: 0, done: 0, dead: 2 };
    assert_eq!(status(&queue).await, end);
    let letters = queue.dead_letters(9).await.unwrap();
    let said: Vec<_> =
        letters.iter().map(|l| (l.url.clone(), l.deliveries, l.why.as_str())).collect();
    assert_eq!(said, [(task(1).url, 3, "refused"), (task(2).url, 1, "404 Not Found")]);
}

#[tokio::test]
async fn tasks_of_a_dead_worker_go_to_others_and_a_late_one_disturbs_nobody() {
    let Some(server) = RedisServer::start() else {
        return;
    };
    let parameters = "lease=3s&deliveries=2";
    let (late, other) =
        tokio::join!(worker(&server, parameters, "late"), worker(&server, parameters, "other"));
    late.offer(&[task(1), task(2), task(3)]).await.unwrap();
    let stuck = late.take(3, NOW).await.unwrap();
    // Renewed, nobody gets them, however long that takes.
    for _ in 0..8 {
        tokio::time::sleep(Duration::from_millis(500)).await;
        late.renew(&stuck).await.unwrap();
        assert_eq!(other.take(3, NOW).await.unwrap(), []);
    }
    // Not renewed, they go to who asks next.
    let mut taken = Vec::new();
    while taken.len() < 3 {
        taken.extend(other.take(3, A_WHILE).await.unwrap());
    }
    assert!(taken.iter().all(|t| t.delivery == 2), "{taken:?}");
    let holders = other.overview().await.unwrap().holders;
    assert_eq!(holders, BTreeMap::from([("other".to_string(), 3)]));
    // The first worker wakes up. What it says of what is not its own changes nothing.
    late.renew(&stuck).await.unwrap();
    late.fail(&stuck[0], "slow", true).await.unwrap();
    late.fail(&stuck[0], "slow", false).await.unwrap();
    assert_eq!(other.overview().await.unwrap().holders, holders);
    assert_eq!(status(&other).await.dead, 0);
    // But what it has finished is finished, once.
    late.finish(&stuck[1..2], &[]).await.unwrap();
    other.finish(&taken, &[]).await.unwrap();
    assert_eq!(status(&other).await.done, 3);
}

#[tokio::test]
async fn a_task_that_takes_its_worker_with_it_does_not_do_so_for_ever() {
    let Some(server) = RedisServer::start() else {
        return;
    };
    let queue = worker(&server, "lease=100ms&deliveries=3", "w").await;
    queue.offer(&[task(1)]).await.unwrap();
    for delivery in 1..=3 {
        let taken = queue.take(1, A_WHILE).await.unwrap();
        assert_eq!(taken[0].delivery, delivery);
    }
    assert_eq!(queue.take(1, Duration::from_millis(600)).await.unwrap(), []);
    assert_eq!(status(&queue).await.dead, 1);
    let letter = queue.dead_letters(1).await.unwrap().remove(0);
    assert!(letter.why.contains("never reported on"), "{letter:?}");
}

/// SplitMix64.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)) % sides
    }
}

#[tokio::test]
async fn whatever_the_workers_do_every_task_is_in_one_place() {
    let Some(server) = RedisServer::start() else {
        return;
    };
    for seed in 0..4 {
        let mut dice = Dice(seed);
        let parameters = format!("lease=60ms&deliveries=4&prefix=walk{seed}");
        let mut workers = Vec::new();
        for name in ["a", "b", "c"] {
            workers.push((worker(&server, &parameters, name).await, Vec::<Taken>::new()));
        }
        let mut done = BTreeSet::new();
        for _ in 0..200 {
            let who = dice.roll(3) as usize;
            let (queue, held) = &mut workers[who];
            match dice.roll(8) {
                0 => {
                    let some: Vec<Task> = (0..5).map(|_| task(dice.roll(60))).collect();
                    queue.offer(&some).await.unwrap();
                }
                1..=3 => held.extend(queue.take(3, NOW).await.unwrap()),
                4 if !held.is_empty() => {
                    let one = held.swap_remove(dice.roll(held.len() as u64) as usize);
                    queue.fail(&one, "dice", dice.roll(2) == 0).await.unwrap();
                }
                // Dies, and is born again.
                5 => held.clear(),
                6 => queue.renew(held).await.unwrap(),
                _ => {
                    let before = status(queue).await.done;
                    let some: Vec<Task> = (0..2).map(|_| task(dice.roll(60))).collect();
                    queue.finish(held, &some).await.unwrap();
                    let after = status(queue).await.done;
                    done.extend(held.drain(..).map(|t| t.task.url));
                    // A url is done once at most, whoever says so and how often.
                    assert!(after >= before && after <= done.len() as u64);
                }
            }
            status(&workers[0].0).await;
        }
        // Somebody who works properly ends it.
        let queue = &workers[0].0;
        while !status(queue).await.over() {
            let taken = queue.take(10, Duration::from_millis(100)).await.unwrap();
            queue.finish(&taken, &[]).await.unwrap();
        }
        let end = status(queue).await;
        assert_eq!(end.seen, end.done + end.dead);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn redis_may_be_killed_and_comes_back_with_everything() {
    let Some(mut server) = RedisServer::start() else {
        return;
    };
    let queue = Arc::new(worker(&server, "lease=1m", "w").await);
    queue.offer(&[task(1), task(2)]).await.unwrap();
    let taken = queue.take(1, NOW).await.unwrap();
    // Somebody is waiting for tasks when it happens, and somebody reports while it is down.
    let rest = queue.take(5, NOW).await.unwrap();
    let waiting = tokio::spawn({
        let queue = queue.clone();
        async move { queue.take(5, A_WHILE).await }
    });
    server.kill();
    let reporting = tokio::spawn({
        let (queue, taken) = (queue.clone(), taken.clone());
        async move { queue.finish(&taken, &[task(3)]).await }
    });
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(!waiting.is_finished() && !reporting.is_finished());
    server.restart();
    reporting.await.unwrap().unwrap();
    let found = waiting.await.unwrap().unwrap();
    assert_eq!(found[0].task, task(3));
    queue.finish(&rest, &[]).await.unwrap();
    queue.finish(&found, &[]).await.unwrap();
    let end = QueueStatus { seen: 3, waiting: 0, in_flight: 0, done: 3, dead: 0 };
    assert_eq!(status(&*queue).await, end);
}

#[tokio::test]
async fn a_redis_that_forgot_everything_is_not_taken_for_an_empty_one() {
    let lines = ["appendonly no"];
    let started = RedisServer::start_with(Default::default(), servers::HERE, &lines);
    let Some(mut server) = started else { return };
    let queue = worker(&server, "", "w").await;
    assert_eq!(queue.keeps_data().await.unwrap(), Some(false));
    queue.offer(&[task(1)]).await.unwrap();
    server.restart();
    let error = queue.take(1, A_WHILE).await.unwrap_err();
    assert!(!error.is_transient());
    assert!(error.to_string().contains("appendonly yes"), "{error}");
    assert!(queue.status().await.is_err());
}

#[tokio::test]
async fn a_wrong_password_is_said_and_not_shown() {
    if let Some(server) = RedisServer::start() {
        let wrong = server.url("").reveal().replace("hunter2", "hunter3");
        let error = open_queue(&wrong.as_str().into(), None).await.err().unwrap();
        assert!(!error.is_transient());
        let text = format!("{error} {error:?}");
        assert!(text.contains("password") && !text.contains("hunter"), "{text}");
    }
    if let Some(server) = PostgresServer::start() {
        let wrong = server.url("").reveal().replace("hunter2", "hunter3");
        let error = open_database(&wrong.as_str().into()).await.err().unwrap();
        assert!(!error.is_transient());
        let text = format!("{error} {error:?}");
        assert!(text.contains("password") && !text.contains("hunter"), "{text}");
        let wrong = server.url("").reveal().replace("/postgres?", "/nobody?");
        let error = open_database(&wrong.as_str().into()).await.err().unwrap();
        assert!(error.to_string().contains("createdb"), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_is_in_the_database_once_whoever_stores_it_and_how_often() {
    let Some(mut server) = PostgresServer::start() else {
        return;
    };
    let url = server.url("");
    // All at once, on a database that has no table yet.
    let open = (0..8).map(|_| open_database(&url));
    let all = futures_util::future::try_join_all(open).await.unwrap();
    let database = all[0].clone();
    let pages: Vec<Page> = (0..1500).map(|n| page(&task(n))).collect();
    assert_eq!(database.store(&[]).await.unwrap(), 0);
    assert_eq!(database.store(&pages[..10]).await.unwrap(), 10);
    assert_eq!(database.store(&pages[5..15]).await.unwrap(), 5);
    assert_eq!(database.store(&[pages[20].clone(), pages[20].clone()]).await.unwrap(), 1);
    // What is there stays as it is.
    let other = Page { title: "other".into(), ..pages[0].clone() };
    assert_eq!(database.store(&[other]).await.unwrap(), 0);
    let odd = Page { url: "odd".into(), title: "a\0b ' \" \\ ü".into(), ..pages[0].clone() };
    assert_eq!(database.store(&[odd]).await.unwrap(), 1);
    assert_eq!(database.count().await.unwrap(), 17);
    // Batches that overlap, in every order, from all sides, while the server is stopped and started.
    let storing = all.iter().enumerate().map(|(who, database)| {
        let (database, mut mine) = (database.clone(), pages.clone());
        tokio::spawn(async move {
            let mut dice = Dice(who as u64);
            for _ in 0..20 {
                for at in (1..mine.len()).rev() {
                    mine.swap(at, dice.roll(at as u64 + 1) as usize);
                }
                database.store(&mine[..300]).await.unwrap();
            }
            database.store(&mine).await.unwrap();
        })
    });
    let storing: Vec<_> = storing.collect();
    server.restart();
    for one in storing {
        one.await.unwrap();
    }
    assert_eq!(database.count().await.unwrap(), 1501);
    let (client, connection) =
        tokio_postgres::connect(server.url("").reveal(), tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    let rows = client.query("select url, title, price_cents from pages", &[]).await.unwrap();
    let stored: BTreeMap<String, (String, Option<i64>)> =
        rows.iter().map(|row| (row.get(0), (row.get(1), row.get(2)))).collect();
    for page in &pages {
        assert_eq!(stored[&page.url], (page.title.clone(), page.price_cents));
    }
    assert_eq!(stored["odd"].0, "ab ' \" \\ ü");
}

fn labs(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_labs"));
    command.env_remove("LABS_QUEUE").env_remove("LABS_DATABASE");
    command.args(arguments).stdin(Stdio::null()).output().unwrap()
}

#[track_caller]
fn said(output: &Output, code: i32) -> (String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(code), "{stdout}\n{stderr}");
    for text in [&stdout, &stderr] {
        assert!(!text.contains("panicked") && !text.contains("hunter"), "{text}");
    }
    (stdout, stderr)
}

#[test]
fn the_commands_say_what_is_missing_and_show_no_password() {
    let nowhere = "redis://:hunter2@127.0.0.1:1";
    let (_, stderr) = said(&labs(&["queue", "status", "--queue", nowhere]), 1);
    assert!(stderr.contains("redis-server --port"), "{stderr}");
    let (_, stderr) = said(&labs(&["queue", "status"]), 2);
    assert!(stderr.contains("LABS_QUEUE"), "{stderr}");
    let (_, stderr) = said(&labs(&["queue", "status", "--queue", "hunter2"]), 1);
    assert!(stderr.contains("redis://127.0.0.1:6379"), "{stderr}");
    said(&labs(&["queue", "status", "--queue", nowhere, "--colour"]), 2);
    let database = "postgres://labs:hunter2@127.0.0.1:1/labs";
    let worker = labs(&["worker", "--queue", nowhere, "--database", database]);
    said(&worker, 1);
    said(&labs(&["worker", "--queue", nowhere]), 2);
}

#[test]
fn a_queue_is_filled_looked_at_and_emptied() {
    let Some(server) = RedisServer::start() else {
        return;
    };
    let url = server.url("prefix=shop").reveal().to_string();
    let fill = |site: &str| labs(&["queue", "fill", "--queue", &url, site]);
    let (stdout, _) = said(&fill("http://127.0.0.1:8080"), 0);
    assert!(stdout.starts_with("http://127.0.0.1:8080/ waits in redis://"), "{stdout}");
    let (stdout, _) = said(&fill("http://127.0.0.1:8080/#top"), 0);
    assert!(stdout.contains("has seen"), "{stdout}");
    said(&fill("nowhere"), 2);
    let (_, stderr) = said(&fill("http://example.com"), 2);
    assert!(stderr.contains("--allow-remote-target"), "{stderr}");
    let mut command = Command::new(env!("CARGO_BIN_EXE_labs"));
    let from_environment = command.args(["queue", "status", "--json"]).env("LABS_QUEUE", &url);
    let (stdout, _) = said(&from_environment.output().unwrap(), 0);
    let status: serde_json::Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!((&status["seen"], &status["waiting"]), (&1.into(), &1.into()), "{status}");
    let (stdout, _) = said(&labs(&["queue", "status", "--queue", &url]), 0);
    assert!(stdout.contains("waiting") && stdout.contains("prefix=shop"), "{stdout}");
    said(&labs(&["queue", "clear", "--queue", &url]), 0);
    let (stdout, _) = said(&labs(&["queue", "status", "--queue", &url, "--json"]), 0);
    assert!(stdout.contains("\"seen\": 0"), "{stdout}");
}

/// A shop that bears 500 requests a second, so that there is time to kill somebody.
async fn shop(products: u64) -> (Site, Upstream) {
    let site = Site { page_bytes: 1000, ..Site::new(3, products) };
    let spec = Spec {
        site: Some(site),
        retry_after: Duration::ZERO,
        ..Spec::new(10, Service::Constant(Duration::from_millis(20)))
    };
    (site, Upstream::start(spec).await.unwrap())
}

/// `labs worker`, whose URLs nobody sees in the list of processes.
fn start_worker(name: &str, queue: &ServerUrl, database: &ServerUrl, site: &str) -> Ended {
    let mut command = Command::new(env!("CARGO_BIN_EXE_labs"));
    command.args(["worker", "--site", site, "--concurrency", "8", "--learn", "40", "--name", name]);
    command.env("LABS_QUEUE", queue.reveal()).env("LABS_DATABASE", database.reveal());
    Ended(command.stdin(Stdio::null()).stdout(Stdio::null()).spawn().unwrap())
}

/// What is in the database.
async fn rows(database: &ServerUrl) -> Vec<(String, Option<i64>)> {
    let connected = tokio_postgres::connect(database.reveal(), tokio_postgres::NoTls).await;
    let (client, connection) = connected.unwrap();
    tokio::spawn(connection);
    let rows = client.query("select url, price_cents from pages", &[]).await.unwrap();
    rows.iter().map(|row| (row.get(0), row.get(1))).collect()
}

/// Three workers, one of which is killed every two seconds and replaced; Redis is killed once, too.
#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_pages_are_stored_once_each_while_everything_is_killed() {
    let Some(mut redis) = RedisServer::start() else {
        return;
    };
    let Some(postgres) = PostgresServer::start() else {
        return;
    };
    let (site, upstream) = shop(10_000).await;
    // A slow machine sees many kills, and a task may be with one who is killed five times in a row: here
    // nothing is to be given up for that.
    let (queue_url, database) = (redis.url("lease=2s&deliveries=50"), postgres.url(""));
    let queue = Redis::open(&queue_url, None).await.unwrap();
    let start = |n: usize| start_worker(&format!("w{n}"), &queue_url, &database, &upstream.url());
    let mut workers: Vec<_> = (0..3).map(start).collect();
    wait_for_async(async || queue.first().await.unwrap()).await;
    let mut kills = 0;
    loop {
        tokio::time::sleep(Duration::from_secs(2)).await;
        let status = status(&queue).await;
        if status.over() {
            break;
        }
        eprintln!("after {kills} kills: {status:?}");
        // Redis in the third round, when everybody is at work; a worker in the others.
        if kills == 2 {
            redis.kill();
            tokio::time::sleep(Duration::from_millis(500)).await;
            redis.restart();
        } else {
            workers[kills % 3].kill();
            workers[kills % 3] = start(kills + 3);
        }
        kills += 1;
        assert!(kills < 100, "no end");
    }
    // They end by themselves when nothing is left.
    for worker in &mut workers {
        let ended = wait_for("a worker ends", || worker.0.try_wait().unwrap());
        assert!(ended.success(), "{ended}");
    }
    assert!(kills > 3, "over before anything was killed");
    let (census, status) = (site.census(), status(&queue).await);
    let rows = rows(&database).await;
    assert_eq!(rows.len() as u64, census.pages);
    let products = rows.iter().filter_map(|(_, price)| *price);
    assert_eq!(products.clone().count() as u64, census.products);
    assert_eq!(products.sum::<i64>() as u64, census.price_cents);
    assert_eq!((status.done, status.dead), (census.pages, census.broken));
    for letter in queue.dead_letters(10_000).await.unwrap() {
        assert_eq!(letter.why, "status 404", "{letter:?}");
    }
}

/// Waits until there is something, without holding up the runtime.
async fn wait_for_async<T>(look: impl AsyncFn() -> Option<T>) -> T {
    for _ in 0..2000 {
        if let Some(found) = look().await {
            return found;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("waited in vain");
}

#[cfg(unix)]
#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_is_interrupted_hands_nothing_back() {
    let Some(redis) = RedisServer::start() else {
        return;
    };
    let Some(postgres) = PostgresServer::start() else {
        return;
    };
    let (_, upstream) = shop(5_000).await;
    // So long that nobody gets by time what somebody has.
    let (queue_url, database) = (redis.url("lease=10m"), postgres.url(""));
    let queue = Redis::open(&queue_url, None).await.unwrap();
    let mut worker = start_worker("w", &queue_url, &database, &upstream.url());
    wait_for_async(async || (status(&queue).await.done > 200).then_some(())).await;
    let pid = worker.0.id().to_string();
    assert!(Command::new("kill").args(["-s", "INT", &pid]).status().unwrap().success());
    let ended = wait_for("the worker ends", || worker.0.try_wait().unwrap());
    assert_eq!(ended.code(), Some(130));
    let status = status(&queue).await;
    assert_eq!(status.in_flight, 0, "{status:?}");
    assert_eq!(status.done, rows(&database).await.len() as u64);
    // A site of its own needs a queue of its own.
    let other = start_worker("x", &queue_url, &database, "http://127.0.0.1:1").0.wait().unwrap();
    assert_eq!(other.code(), Some(2));
}

#[cfg(feature = "tls")]
mod encrypted {
    use std::path::Path;

    use super::*;
    use servers::{HERE, hand_over, skip};

    /// An authority, and a certificate of it that is good for 127.0.0.1.
    fn certificates(folder: &Path) -> bool {
        let openssl = |words: &str| {
            let words = words.split_whitespace().map(|word| word.replace('_', " "));
            let made = Command::new("openssl").args(words).current_dir(folder).output();
            made.is_ok_and(|made| made.status.success())
        };
        let new = "req -x509 -newkey rsa:2048 -nodes -days 2";
        let made = openssl(&format!("{new} -keyout ca.key -out ca.pem -subj /CN=Test_authority"))
            && openssl(&format!(
                "{new} -keyout key.pem -out cert.pem -subj /CN=Test -CA ca.pem -CAkey ca.key \
                 -addext subjectAltName=IP:127.0.0.1 -addext basicConstraints=CA:FALSE"
            ));
        if !made {
            skip("openssl 3 is not installed, which makes the certificates");
        }
        made
    }

    #[tokio::test]
    async fn redis_over_tls_with_a_certificate_that_is_verified() {
        let folder = tempfile::TempDir::new().unwrap();
        if !certificates(folder.path()) {
            return;
        }
        let file = |name: &str| folder.path().join(name).display().to_string();
        let lines = format!(
            "appendonly yes\nport 0\ntls-port PORT\ntls-auth-clients no\ntls-cert-file {}\n\
             tls-key-file {}\ntls-ca-cert-file {}",
            file("cert.pem"),
            file("key.pem"),
            file("ca.pem")
        );
        let Some(server) = RedisServer::start_with(Default::default(), HERE, &[&lines]) else {
            return;
        };
        let url = |parameters: &str| {
            let plain = server.url(parameters);
            plain.reveal().replacen("redis://", "rediss://", 1).as_str().into()
        };
        let queue =
            open_queue(&url(&format!("sslrootcert={}", file("ca.pem"))), None).await.unwrap();
        assert_eq!(queue.offer(&[task(1)]).await.unwrap(), 1);
        // Nobody vouches for it.
        let error = open_queue(&url(""), None).await.err().unwrap().to_string();
        assert!(error.contains("ertificate") && !error.contains("hunter"), "{error}");
        let error = open_queue(&url("sslrootcert=/nowhere"), None).await.err().unwrap().to_string();
        assert!(error.contains("/nowhere"), "{error}");
        // And it takes nobody without.
        let error = open_queue(&server.url(""), None).await.err().unwrap();
        assert!(!error.is_transient(), "{error}");
    }

    #[tokio::test]
    async fn postgres_over_tls_with_a_certificate_that_is_verified() {
        let folder = tempfile::TempDir::new().unwrap();
        if !certificates(folder.path()) {
            return;
        }
        let prepare = |data: &Path| {
            std::fs::write(data.join("pg_hba.conf"), "hostssl all all 0.0.0.0/0 scram-sha-256\n")
                .unwrap();
            for (from, to) in [("cert.pem", "server.crt"), ("key.pem", "server.key")] {
                std::fs::copy(folder.path().join(from), data.join(to)).unwrap();
                hand_over(&data.join(to));
            }
        };
        let server = PostgresServer::start_with(Default::default(), HERE, &["ssl=on"], prepare);
        let Some(server) = server else { return };
        let ca = folder.path().join("ca.pem").display().to_string();
        let url = server.url(&format!("sslmode=verify-full&sslrootcert={ca}"));
        let database = open_database(&url).await.unwrap();
        assert_eq!(database.store(&[page(&task(1))]).await.unwrap(), 1);
        let error = open_database(&server.url("sslmode=require")).await.err().unwrap().to_string();
        assert!(error.contains("ertificate") && !error.contains("hunter"), "{error}");
        // It takes nobody without; the hint says what is missing.
        let error = open_database(&server.url("")).await.err().unwrap().to_string();
        assert!(error.contains("sslmode=require"), "{error}");
    }
}
