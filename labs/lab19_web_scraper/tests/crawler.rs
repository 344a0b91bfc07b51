//! lab19's crawler as a process: killed at any moment, alone on its state, resumed with a shop of its
//! own. Only books are asserted, never times.

use std::{
    path::Path,
    process::{Command, Stdio},
    thread,
    time::Duration,
};

use lab_crawl::embedded::Books;
use lab_testing::ends;
use mock_server::{Service, Site, Spec, Upstream};

const QUICK: [&str; 10] =
    ["--samples", "32", "--limit", "20", "--workers", "1", "--fetch", "5ms", "--retry-after", "0"];

fn crawler(state: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lab19"));
    command.args(QUICK).arg("--state").arg(state);
    command.stdin(Stdio::null());
    command
}

#[track_caller]
fn sound(books: &Books) {
    assert_eq!((books.lost, books.strays), (0, 0), "{books:?}");
}

/// Every page within reach is there once, with its price.
#[track_caller]
fn complete(state: &Path, site: &Site) {
    let (books, census) = (Books::read(state).unwrap(), site.census());
    sound(&books);
    assert_eq!((books.pages, books.tasks.done), (census.pages, census.pages));
    assert_eq!((books.products, books.price_cents), (census.products, census.price_cents));
    assert_eq!(books.tasks.dead, census.broken);
    assert!(books.tasks.over(), "{books:?}");
}

#[test]
fn killed_at_twenty_moments_and_started_again_every_page_is_there_once() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let site = Site { page_bytes: 2000, busy: 0.01, broken: 0.05, ..Site::new(12, 700) };
    let spec = Spec {
        site: Some(site),
        retry_after: Duration::ZERO,
        ..Spec::new(20, Service::Constant(Duration::from_millis(5)))
    };
    let upstream = runtime.block_on(Upstream::start(spec)).unwrap();
    let url = upstream.url();
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path();
    let mut dice = 19u64;
    for kill in 0..20 {
        dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let mut child =
            crawler(state).args(["--upstream", &url]).stdout(Stdio::null()).spawn().unwrap();
        // From before it has begun to well into its work.
        thread::sleep(Duration::from_micros((dice >> 33) % 120_000));
        child.kill().unwrap();
        child.wait().unwrap();
        // The first kills may come before there are any tables.
        match Books::read(state) {
            Ok(books) => sound(&books),
            Err(error) => assert!(kill < 10, "{error}"),
        }
    }
    ends(crawler(state).args(["--upstream", &url]), 0);
    complete(state, &site);
    // Once more: nothing is left to do but to ask for the rules and to learn.
    let before = upstream.counters().arrived;
    let (said, _) = ends(crawler(state).args(["--upstream", &url]), 0);
    let done = format!("{} pages are done, 0 wait", site.census().pages);
    assert!(said.contains(&done), "{said}");
    assert_eq!(upstream.counters().arrived, before + 33);
    complete(state, &site);
}

#[test]
fn a_shop_of_its_own_is_found_again_where_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let own = |state: &Path| {
        let mut command = crawler(state);
        command.args(["--products", "300"]);
        command
    };
    let mut first = own(folder.path()).stdout(Stdio::null()).spawn().unwrap();
    while Books::read(folder.path()).map_or(0, |books| books.pages) < 20 {
        thread::sleep(Duration::from_millis(5));
        assert!(first.try_wait().unwrap().is_none(), "it ended by itself");
    }
    first.kill().unwrap();
    first.wait().unwrap();
    let before = Books::read(folder.path()).unwrap();
    sound(&before);
    let (said, _) = ends(&mut own(folder.path()), 0);
    let books = Books::read(folder.path()).unwrap();
    sound(&books);
    let stored = format!("{} pages stored", books.pages);
    let within = format!("{} pages within reach", books.pages);
    assert!(said.contains(&stored) && said.contains(&within), "{said}");
}

#[test]
fn two_crawlers_do_not_share_a_state_and_a_site_that_is_not_there_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let slow = ["--products", "2000", "--fetch", "200ms"];
    let mut first = crawler(folder.path()).args(slow).stdout(Stdio::null()).spawn().unwrap();
    while Books::read(folder.path()).is_err() {
        thread::sleep(Duration::from_millis(5));
    }
    let (_, why) = ends(&mut crawler(folder.path()), 1);
    assert!(why.contains("another crawl works on"), "{why}");
    first.kill().unwrap();
    first.wait().unwrap();
    let other = tempfile::tempdir().unwrap();
    for (site, part) in
        [("shop", "http://127.0.0.1:8080"), ("http://shop.example", "--allow-remote-target")]
    {
        let (_, why) = ends(crawler(other.path()).args(["--upstream", site]), 2);
        assert!(why.contains(part), "{why}");
    }
}
