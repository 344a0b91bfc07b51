//! Several hosts, really: servers and workers in network namespaces of their own, with their own
//! addresses, joined by cables of which one is pulled and plugged in again (`scripts/namespaces.sh`).
//! Left out, with the reason, where that is not allowed.
#![cfg(target_os = "linux")]

mod servers;

use std::{
    net::{IpAddr, Ipv4Addr},
    path::Path,
    process::Command,
    sync::atomic::{AtomicU32, Ordering},
};

use servers::{Place, PostgresServer, RedisServer, made_up, skip, wait_for};

/// So many that the last ones are still waiting when the cable is plugged in again.
const PAGES: u64 = 6_000;
const HUB: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 91, 0, 1));

/// The hosts hub, a and b.
struct Hosts(String);

impl Hosts {
    fn up() -> Option<Hosts> {
        static MADE: AtomicU32 = AtomicU32::new(0);
        let number = MADE.fetch_add(1, Ordering::Relaxed);
        let hosts = Hosts(format!("labs{}-{number}", std::process::id()));
        match hosts.script(&["up"]) {
            Ok(()) => Some(hosts),
            Err(why) => {
                skip(&format!("no network namespaces here: {}", why.trim()));
                None
            }
        }
    }

    fn script(&self, words: &[&str]) -> Result<(), String> {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts/namespaces.sh");
        let done = Command::new("sh").arg(script).args(words).env("LABS_HOSTS", &self.0).output();
        let done = done.map_err(|error| error.to_string())?;
        match done.status.success() {
            true => Ok(()),
            false => Err(String::from_utf8_lossy(&done.stderr).into_owned()),
        }
    }

    fn place(&self, host: &str) -> Place {
        Place(Some(format!("{}-{host}", self.0)))
    }
}

impl Drop for Hosts {
    fn drop(&mut self) {
        let _ = self.script(&["down"]);
    }
}

#[test]
fn worker_process() {
    made_up::worker_process();
}

#[test]
fn urls_process() {
    made_up::urls_process();
}

#[test]
fn a_host_that_is_cut_off_loses_nothing_and_works_again_when_it_is_back() {
    let Some(hosts) = Hosts::up() else { return };
    let hub = hosts.place("hub");
    let Some(redis) = RedisServer::start_with(hub.clone(), HUB, &["appendonly yes"]) else {
        return;
    };
    let Some(postgres) = PostgresServer::start_with(hub.clone(), HUB, &[], |_| ()) else {
        return;
    };
    let deliveries = made_up::DELIVERIES;
    let queue = redis.url(&format!("lease=1500ms&deliveries={deliveries}"));
    let database = postgres.url("");

    let labs = |words: &[&str]| {
        let mut command = hub.command(env!("CARGO_BIN_EXE_labs"));
        let done = command.args(words).env("LABS_QUEUE", queue.reveal()).output().unwrap();
        done.status.success().then_some(done.stdout)
    };
    let status = || {
        let text = labs(&["queue", "status", "--json"]).expect("Redis answers");
        serde_json::from_slice::<serde_json::Value>(&text).unwrap()
    };
    let number = |name: &str| status()[name].as_u64().unwrap();
    let holds = |worker: &str| status()["workers"].get(worker).is_some();
    wait_for("Redis answers", || labs(&["queue", "fill", made_up::SITE, "--allow-remote-target"]));
    wait_for("PostgreSQL answers", || made_up::prepared(&hub, &database));

    let mut workers: Vec<_> = ["a", "b"]
        .map(|name| made_up::start(&hosts.place(name), name, PAGES, &queue, &database))
        .into();
    wait_for("both work", || (holds("a") && holds("b") && number("done") > 300).then_some(()));
    hosts.script(&["cut", "a"]).unwrap();
    wait_for("b has what a had", || (!holds("a")).then_some(()));
    let done = number("done");
    wait_for("b goes on", || (number("done") > done + 100).then_some(()));
    assert!(!holds("a"), "a is cut off");
    assert!(number("waiting") > 0, "too few pages for this test");
    hosts.script(&["mend", "a"]).unwrap();
    wait_for("a works again", || holds("a").then_some(()));
    for worker in &mut workers {
        let ended = wait_for("a worker ends", || worker.0.try_wait().unwrap());
        assert!(ended.success(), "{ended}");
    }

    let (there, fails) = made_up::census(PAGES);
    let stored = made_up::stored(&hub, &database).unwrap();
    assert_eq!(there.difference(&stored).collect::<Vec<_>>(), Vec::<&String>::new(), "missing");
    assert_eq!(stored.difference(&there).collect::<Vec<_>>(), Vec::<&String>::new(), "foreign");
    let end = status();
    assert_eq!((&end["waiting"], &end["in_flight"]), (&0.into(), &0.into()), "{end}");
    assert_eq!((&end["done"], &end["dead"]), (&there.len().into(), &fails.len().into()), "{end}");
}

#[test]
fn lab18_counts_on_two_hosts_what_one_counts() {
    let Some(hosts) = Hosts::up() else { return };
    let folder = tempfile::TempDir::new().unwrap();
    let file = |name: &str| folder.path().join(name);
    let start = |host: &str, number: &str, addresses: &str, output: &str| {
        std::fs::write(file(addresses), addresses.replace(',', "\n") + "\n").unwrap();
        let mut command = hosts.place(host).command(env!("CARGO_BIN_EXE_labs"));
        command
            .args(["run", "18", "--bytes", "2MB", "--process", number, "--hosts"])
            .arg(file(addresses));
        if !output.is_empty() {
            command.arg("--output").arg(file(output));
        }
        servers::Ended(command.spawn().unwrap())
    };
    let ends_well = |mut process: servers::Ended| {
        let ended = wait_for("lab18 ends", || process.0.try_wait().unwrap());
        assert!(ended.success(), "{ended}");
    };
    ends_well(start("hub", "0", "10.91.0.1:7018", "alone"));
    let both = "10.91.1.2:7018,10.91.2.2:7018";
    let (a, b) = (start("a", "0", both, "together"), start("b", "1", both, ""));
    ends_well(a);
    ends_well(b);
    let read = |name: &str| std::fs::read(file(name)).unwrap();
    assert!(!read("alone").is_empty());
    assert!(read("alone") == read("together"), "the counts differ");
}
