//! What is started is given back. A test binary of its own, so that no other test opens or ends anything meanwhile.
#![expect(clippy::disallowed_methods, reason = "the server does not know the kit of the labs")]
#![cfg(target_os = "linux")]

use std::time::Duration;

use mock_server::{Service, Spec, Upstream};

fn entries(directory: &str) -> usize {
    std::fs::read_dir(directory).unwrap().count()
}

fn resident_kb() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|l| l.starts_with("VmRSS")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// Threads end a moment after they have let go of everything.
async fn settles_at(threads: usize, files: usize) {
    while entries("/proc/self/task") > threads || entries("/proc/self/fd") > files {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn two_hundred_starts_leave_nothing_behind() {
    let spec = || Spec::new(10, Service::Constant(Duration::from_millis(1)));
    let client = reqwest::Client::builder().no_proxy().pool_max_idle_per_host(0).build().unwrap();
    // The first makes what the process keeps for ever.
    Upstream::start(spec()).await.unwrap().shutdown().await;
    let threads = entries("/proc/self/task");
    let files = entries("/proc/self/fd");
    let mut after_some = 0;
    for i in 0..200 {
        let upstream = Upstream::start(spec()).await.unwrap();
        let answer = client.get(upstream.url()).send().await.unwrap();
        answer.bytes().await.unwrap();
        if i % 2 == 0 {
            upstream.shutdown().await;
        } else {
            drop(upstream);
        }
        if i == 50 {
            after_some = resident_kb();
        }
    }
    settles_at(threads, files).await;
    let grown = resident_kb().saturating_sub(after_some);
    assert!(grown < 8 * 1024, "{grown} kB more after 150 upstreams");
}
