//! A crawl without a site: pages that exist in arithmetic alone, so that only the queue, the database
//! and processes that are killed are on trial. The worker is this test's own program, started again.

use std::{
    collections::{BTreeMap, BTreeSet},
    env,
    process::{Command, Stdio},
    sync::Arc,
    time::Duration,
};

use futures_util::future::join_all;
use lab_crawl::{
    Database, Page, Task, TaskQueue,
    address::{ServerUrl, open_database, open_queue},
};

use super::{Ended, Place};

/// Tells a program of tests that it is a worker, and of which pages.
const ROLE: &str = "LABS_TEST_PAGES";
/// And what it is called.
const NAME: &str = "LABS_TEST_NAME";
/// Pages under way at a time in one worker.
const WIDTH: usize = 8;
/// One page.
const FETCH: Duration = Duration::from_millis(40);
/// Deliveries after which a page that fails is a dead letter.
pub const DELIVERIES: u32 = 5;

/// The first page is the site's own.
pub const SITE: &str = "http://made.up/";

fn url(number: u64) -> String {
    match number {
        0 => SITE.to_string(),
        _ => format!("{SITE}{number}"),
    }
}

fn number(url: &str) -> u64 {
    match url.strip_prefix(SITE).unwrap() {
        "" => 0,
        number => number.parse().unwrap(),
    }
}

/// A tree, so that every page is within reach, and links across it.
fn links(number: u64, pages: u64) -> Vec<u64> {
    let across = [number * 7919 + 13, number * 104_729 + 7].map(|n| n % pages);
    let down = [2 * number + 1, 2 * number + 2].into_iter().filter(|n| *n < pages);
    down.chain(across).collect()
}

/// Fails however often it is tried.
fn always_fails(number: u64) -> bool {
    number % 1000 == 7
}

/// Pages that are there, and those that always fail, as a crawl finds them.
pub fn census(pages: u64) -> (BTreeSet<String>, BTreeSet<String>) {
    let (mut seen, mut next) = (BTreeSet::from([0]), vec![0]);
    while let Some(number) = next.pop() {
        if !always_fails(number) {
            next.extend(links(number, pages).into_iter().filter(|n| seen.insert(*n)));
        }
    }
    let (dead, there): (BTreeSet<u64>, BTreeSet<u64>) =
        seen.into_iter().partition(|n| always_fails(*n));
    let urls = |numbers: BTreeSet<u64>| numbers.into_iter().map(url).collect();
    (urls(there), urls(dead))
}

/// Starts this program again, as a worker: its test `worker_process` is one.
pub fn start(
    place: &Place,
    name: &str,
    pages: u64,
    queue: &ServerUrl,
    database: &ServerUrl,
) -> Ended {
    let mut command: Command = place.command(env::current_exe().unwrap());
    command.args(["worker_process", "--exact", "--nocapture", "--test-threads=1"]);
    command.env(ROLE, pages.to_string()).env(NAME, name);
    command.env("LABS_QUEUE", queue.reveal()).env("LABS_DATABASE", database.reveal());
    let command = command.stdin(Stdio::null()).stdout(Stdio::null());
    Ended(command.spawn().unwrap())
}

/// What `worker_process` does: nothing, unless it was started as one.
pub fn worker_process() {
    let Ok(pages) = env::var(ROLE) else { return };
    let pages = pages.parse().unwrap();
    let url = |name| ServerUrl::from(env::var(name).unwrap().as_str());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let name = env::var(NAME).unwrap();
        let queue = open_queue(&url("LABS_QUEUE"), Some(&name)).await.unwrap();
        let database = open_database(&url("LABS_DATABASE")).await.unwrap();
        work(pages, queue, database).await;
    });
}

/// The urls in a database, asked for from a place by this program: its test `urls_process`.
pub fn stored(place: &Place, database: &ServerUrl) -> Option<BTreeSet<String>> {
    let mut command: Command = place.command(env::current_exe().unwrap());
    command.args(["urls_process", "--exact", "--nocapture", "--test-threads=1"]);
    let output = command.env(ROLE, "urls").env("LABS_DATABASE", database.reveal()).output();
    let text = String::from_utf8(output.unwrap().stdout).unwrap();
    let urls = text.lines().filter_map(|line| line.strip_prefix("url ").map(str::to_string));
    text.contains("that is all").then(|| urls.collect())
}

/// Whether a database answers.
pub fn prepared(place: &Place, database: &ServerUrl) -> Option<()> {
    stored(place, database).map(drop)
}

/// What `urls_process` does: nothing, unless it was asked.
pub fn urls_process() {
    if env::var(ROLE).is_err() {
        return;
    }
    let url = env::var("LABS_DATABASE").unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let connected = tokio_postgres::connect(&url, tokio_postgres::NoTls).await;
        let (client, connection) = connected.unwrap();
        tokio::spawn(connection);
        // Makes the table, if nobody has yet.
        open_database(&url.as_str().into()).await.unwrap();
        // The harness has begun a line.
        println!();
        for row in client.query("select url from pages", &[]).await.unwrap() {
            println!("url {}", row.get::<_, String>(0));
        }
        println!("that is all");
    });
}

async fn work(pages: u64, queue: Arc<dyn TaskQueue>, database: Arc<dyn Database>) {
    loop {
        let taken = queue.take(WIDTH, Duration::from_millis(500)).await.unwrap();
        if taken.is_empty() && queue.status().await.unwrap().over() {
            return;
        }
        let fetched = join_all(taken.into_iter().map(|taken| async {
            let number = number(&taken.task.url);
            tokio::time::sleep(FETCH).await;
            if always_fails(number) {
                queue.fail(&taken, "it always fails", true).await.unwrap();
                return None;
            }
            Some((taken, links(number, pages)))
        }));
        let fetched: BTreeMap<String, _> = fetched
            .await
            .into_iter()
            .flatten()
            .map(|(taken, links)| (taken.task.url.clone(), (taken, links)))
            .collect();
        let stored: Vec<Page> = fetched
            .iter()
            .map(|(url, (_, links))| Page {
                url: url.clone(),
                title: url.clone(),
                price_cents: None,
                category: String::new(),
                text_bytes: 0,
                links: links.len() as u32,
            })
            .collect();
        database.store(&stored).await.unwrap();
        let found: Vec<Task> = fetched
            .values()
            .flat_map(|(taken, links)| links.iter().map(|n| (taken.task.depth + 1, *n)))
            .map(|(depth, number)| Task { url: self::url(number), depth })
            .collect();
        let done: Vec<_> = fetched.into_values().map(|(taken, _)| taken).collect();
        queue.finish(&done, &found).await.unwrap();
    }
}
