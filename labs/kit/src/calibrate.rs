//! Measures the machine and its apparatus, before anything else is.

use std::time::{Duration, Instant};

use mock_server::{Service, Spec, Upstream};

use crate::{
    host::{Host, cores, runtime},
    http,
    load::{Closed, Load, Outcome},
    os,
    record::{Scale, Trial},
    stats::quantile,
    work::{Kernel, effective_parallelism},
};

impl Host {
    /// Measures the machine: about half a second, a tenth at smoke scale.
    ///
    /// # Errors
    /// When no listener or runtime can be had.
    pub fn calibrate(scale: Scale) -> anyhow::Result<Host> {
        let smoke = scale == Scale::Smoke;
        let cores = cores();
        let kernel = Kernel::calibrate();
        let (cost, repeats) = if smoke { (5, 1) } else { (20, 4) };
        let parallel = effective_parallelism(kernel, cores, Duration::from_millis(cost), repeats);
        let runtime = runtime()?;
        let late = runtime.block_on(timer_lateness(if smoke { 10 } else { 60 }));
        let window = Duration::from_millis(if smoke { 20 } else { 150 });
        let (ceiling, overhead) = runtime.block_on(upstream_speed(window))?;
        Ok(Host {
            system: format!("{} {}", std::env::consts::OS, std::env::consts::ARCH),
            cpu: os::cpu_model(),
            cores,
            memory_bytes: os::memory_bytes(),
            open_files: os::raise_open_file_limit(),
            build: if cfg!(debug_assertions) { "debug" } else { "release" }.to_string(),
            effective_parallelism: parallel,
            timer_late_ms: quantile(&late, 0.5) * 1e3,
            timer_late_p99_ms: quantile(&late, 0.99) * 1e3,
            spin_jitter_ms: spin_jitter(Duration::from_millis(if smoke { 10 } else { 100 })) * 1e3,
            upstream_ceiling_per_s: ceiling,
            request_overhead_ms: overhead * 1e3,
        })
    }
}

/// How late sleeps of 1 ms end, in seconds, sorted.
async fn timer_lateness(samples: usize) -> Vec<f64> {
    let nap = Duration::from_millis(1);
    let mut late = Vec::with_capacity(samples);
    for _ in 0..samples {
        let start = Instant::now();
        tokio::time::sleep(nap).await;
        late.push(start.elapsed().saturating_sub(nap).as_secs_f64());
    }
    late.sort_by(f64::total_cmp);
    late
}

/// Longest gap between two looks at the clock of a thread that does nothing else, in seconds.
fn spin_jitter(during: Duration) -> f64 {
    let start = Instant::now();
    let (mut last, mut worst) = (start, Duration::ZERO);
    while last - start < during {
        let now = Instant::now();
        worst = worst.max(now - last);
        last = now;
    }
    worst.as_secs_f64()
}

/// Why the mock server did not answer, as far as can be told: what is blamed has been looked at.
fn silent(trial: &Trial) -> String {
    let loopback = std::net::TcpListener::bind("127.0.0.1:0").and_then(|listener| {
        let wait = Duration::from_secs(1);
        std::net::TcpStream::connect_timeout(&listener.local_addr()?, wait)
    });
    if let Err(error) = loopback {
        return format!(
            "nothing on this machine can be reached at 127.0.0.1 ({error}): is the loopback interface up (`ip link set lo up`), and does no firewall refuse it?"
        );
    }
    let failures = trial.failures.iter();
    let mut seen: Vec<String> = failures.map(|(kind, n)| format!("{n} × {kind}")).collect();
    seen.push(format!("{} without an answer in time", trial.timed_out + trial.aborted));
    format!(
        "the mock server on 127.0.0.1 gave none of {} requests an answer: {}",
        trial.offered,
        seen.join(", ")
    )
}

/// The mock server's ceiling (requests/s with 32 clients and no service time) and the overhead of
/// a single request in seconds.
async fn upstream_speed(window: Duration) -> anyhow::Result<(f64, f64)> {
    let instant = Spec::new(mock_server::MAX_SLOTS, Service::Constant(Duration::ZERO));
    let upstream = Upstream::start(instant).await?;
    let (client, url) = (http::client(), upstream.url());
    let get = move |_| {
        let (client, url) = (client.clone(), url.clone());
        async move { Outcome::of(http::get(&client, url).await) }
    };
    let mut window = window;
    loop {
        let closed = |clients| Closed { clients, warm_up: window / 3, window, ..Closed::default() };
        let one = Load::default().closed(closed(1), get.clone()).await;
        let many = Load::default().closed(closed(32), get.clone()).await;
        match one.trial.latency.quantile_s(0.5) {
            Some(overhead) if many.trial.ok > 0 => return Ok((many.goodput_per_s, overhead)),
            // A crowded machine may keep a program off its processors for a whole short window.
            _ if window < Duration::from_secs(1) => window = window * 4 + Duration::from_millis(10),
            _ => anyhow::bail!(silent(&many.trial)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_window_too_short_for_an_answer_is_made_longer() {
        let (ceiling, overhead) = upstream_speed(Duration::from_nanos(3)).await.unwrap();
        assert!(ceiling > 0.0 && overhead > 0.0);
    }
}
