//! How closely the upstream keeps its times: `cargo run --release -p mock_server --example fidelity`.
#![expect(clippy::disallowed_methods, reason = "the server does not know the kit of the labs")]

use std::time::{Duration, Instant};

use mock_server::{BODY, Service, Spec, Upstream};

const WARM_UP: Duration = Duration::from_secs(1);
const MEASURED: Duration = Duration::from_secs(5);

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let spec = |slots, ms| Spec::new(slots, Service::Constant(Duration::from_millis(ms)));
    let begun = Instant::now();
    let upstream = Upstream::start(spec(100, 100)).await?;
    println!("started in {:.1?}", begun.elapsed());
    println!("   c      s     N  answers/s  N/s or c/s      off  mean ms   p50     p99  lateness");
    for (slots, ms, clients) in [
        (100, 100, 1),
        (100, 100, 10),
        (100, 100, 50),
        (100, 100, 100),
        (100, 100, 200),
        (50, 50, 1),
        (50, 50, 25),
        (50, 50, 50),
        (50, 50, 100),
    ] {
        upstream.reset(spec(slots, ms)).await?;
        let mut millis = closed_loop(&upstream.url(), clients, Duration::from_millis(ms)).await?;
        millis.sort_by(f64::total_cmp);
        let n = millis.len();
        let rate = n as f64 / MEASURED.as_secs_f64();
        let expected = clients.min(slots) as f64 / (ms as f64 / 1e3);
        println!(
            "{slots:4} {ms:4}ms {clients:5} {rate:10.1} {expected:11.1} {:+7.2}% {:8.2} {:5.1} {:7.1} {:7}us",
            (rate / expected - 1.0) * 100.0,
            millis.iter().sum::<f64>() / n as f64,
            millis[n / 2],
            millis[n * 99 / 100],
            upstream.timer_lateness().as_micros(),
        );
    }
    println!("{}", upstream.shutdown().await);

    let upstream = Upstream::start(spec(100_000, 0)).await?;
    let cpu = thread_cpu();
    closed_loop(&upstream.url(), 64, Duration::from_millis(10)).await?;
    let now = thread_cpu();
    let used = (now.0 - cpu.0, now.1 - cpu.1);
    let count = upstream.counters().served;
    let rate = count as f64 / (WARM_UP + MEASURED).as_secs_f64();
    println!("no service time, 64 clients: {rate:.0} answers/s");
    println!(
        "{:.1} us of CPU an answer in the server's thread, {:.1} us in all others",
        used.0 / count as f64 * 1e6,
        used.1 / count as f64 * 1e6
    );
    Ok(())
}

/// Latencies in ms of answers that came between warm-up and end, from clients that ask again at once and start
/// spread over one service time.
async fn closed_loop(url: &str, clients: usize, service: Duration) -> reqwest::Result<Vec<f64>> {
    let client =
        reqwest::Client::builder().no_proxy().pool_max_idle_per_host(usize::MAX).build()?;
    let begin = Instant::now() + WARM_UP;
    let end = begin + MEASURED;
    let tasks: Vec<_> = (0..clients)
        .map(|i| {
            let (client, url) = (client.clone(), url.to_owned());
            tokio::spawn(async move {
                tokio::time::sleep(service * i as u32 / clients as u32).await;
                let mut millis = Vec::new();
                loop {
                    let asked = Instant::now();
                    let body = client.get(&url).send().await?.bytes().await?;
                    let now = Instant::now();
                    if now >= end {
                        return Ok::<_, reqwest::Error>(millis);
                    }
                    if now >= begin && body == BODY {
                        millis.push(asked.elapsed().as_secs_f64() * 1e3);
                    }
                }
            })
        })
        .collect();
    let mut all = Vec::new();
    for task in tasks {
        if let Ok(millis) = task.await {
            all.append(&mut millis?);
        }
    }
    Ok(all)
}

/// CPU seconds of the one thread besides the main one that has used most, which is the server's, and of all others.
/// Linux alone; elsewhere zero.
fn thread_cpu() -> (f64, f64) {
    let mut seconds: Vec<f64> = std::fs::read_dir("/proc/self/task")
        .into_iter()
        .flatten()
        .filter_map(|task| {
            let task = task.ok()?;
            let text = std::fs::read_to_string(task.path().join("schedstat")).ok()?;
            let nanos: f64 = text.split(' ').next()?.parse().ok()?;
            (task.file_name() != std::process::id().to_string().as_str()).then_some(nanos / 1e9)
        })
        .collect();
    seconds.sort_by(f64::total_cmp);
    let server = seconds.pop().unwrap_or_default();
    let main = std::fs::read_to_string("/proc/thread-self/schedstat")
        .ok()
        .and_then(|text| text.split(' ').next()?.parse::<f64>().ok())
        .unwrap_or_default();
    (server, main / 1e9 + seconds.iter().sum::<f64>())
}
