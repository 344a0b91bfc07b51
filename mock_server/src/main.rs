//! The upstream as a program of its own, for any client.

mod bodies;

use std::io::{self, Write};
use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use mock_server::site::MAX_PRODUCTS;
use mock_server::{
    Chance, Change, Counters, Every, Faults, MAX_PLACES, MAX_SLOTS, Outage, Quota, Route, Service,
    Site, Spec, Tail, Upstream,
};
use tokio::sync::mpsc;

/// An HTTP server of known, finite capacity.
///
/// SLOTS requests are served at a time, each for SERVICE; QUEUE more may wait; the rest are refused with 503. Every
/// path answers the same 256 bytes. Capacity is SLOTS/SERVICE: 1000 requests/s by default.
///
/// Bodies of requests are read into memory, up to 1 MB in any case. On Linux a connection that sends more than 16 MB
/// ahead of its answers, or 1 MB when memory is short, is cut off.
#[derive(Parser)]
#[command(name = "mock_server", version)]
struct Args {
    /// Address and port to listen on; port 0 takes a free one
    #[arg(long, default_value = "127.0.0.1:8080", value_name = "IP:PORT", value_parser = address)]
    listen: SocketAddr,
    /// How many requests are served at a time
    #[arg(long, default_value = "100", value_parser = slots, allow_negative_numbers = true)]
    slots: usize,
    /// Time a request takes: 100ms, exp:100ms, lognormal:100ms:0.5 or trace:10ms,20ms
    #[arg(long, default_value = "100ms", allow_hyphen_values = true)]
    service: Service,
    /// How many may wait for a slot, or `unbounded`
    #[arg(long, default_value = "400", value_parser = queue, allow_negative_numbers = true)]
    queue: Places,
    /// Take another time from some time on, e.g. 2s:20ms, counted from the first request
    #[arg(long, value_name = "AFTER:SERVICE")]
    change: Option<Change>,
    /// Let in so many a second, and so many at once, e.g. 100:20; the rest get 429
    #[arg(long, value_name = "PER_SECOND:BURST", allow_hyphen_values = true)]
    quota: Option<Quota>,
    /// Seed of service times and faults
    #[arg(long, default_value = "1", value_parser = seed, allow_negative_numbers = true)]
    seed: u64,
    /// What a refusal or a 429 asks the client to wait; sent in whole seconds, rounded up, and as retry-after-ms; 0s sends nothing
    #[arg(long, default_value = "1s", value_parser = duration, value_name = "DURATION")]
    retry_after: Duration,
    /// A path with a service of its own, e.g. /weather=300ms, /news=exp:400ms@20 or /news=400ms@20:80
    #[arg(long = "route", value_name = "PATH=SERVICE[@SLOTS[:QUEUE]]")]
    routes: Vec<Route>,
    /// A shop to crawl, with so many products, in place of the same bytes for every path
    #[arg(long, value_name = "PRODUCTS", value_parser = products, allow_negative_numbers = true)]
    site: Option<u64>,
    /// Fail by chance, e.g. 0.05:500
    #[arg(long = "fail", value_name = "PROBABILITY:STATUS")]
    statuses: Vec<Chance>,
    /// Fail every nth request, e.g. 7:500, or every nth item, e.g. item:7:500 (the number that ends the path)
    #[arg(long = "every", value_name = "[item:]N:STATUS")]
    every: Vec<Every>,
    /// Be down for a while, e.g. 2s..4s or 2s..4s:502, counted from the start
    #[arg(long = "outage", value_name = "FROM..UNTIL[:STATUS]")]
    outages: Vec<Outage>,
    /// Take much longer now and then, e.g. 0.01:10
    #[arg(long, value_name = "PROBABILITY:FACTOR")]
    slow: Option<Tail>,
    /// Break answers off after half of what they promise
    #[arg(long, default_value = "0", value_name = "PROBABILITY", value_parser = probability, allow_negative_numbers = true)]
    truncate: f64,
    /// Reset connections in place of an answer
    #[arg(long, default_value = "0", value_name = "PROBABILITY", value_parser = probability, allow_negative_numbers = true)]
    cut: f64,
    /// Print JSON lines
    #[arg(long)]
    json: bool,
}

/// So that clap sees one value, not an optional argument.
#[derive(Clone, Copy)]
struct Places(Option<usize>);

fn address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| {
        "allowed is an IP address and a port, as in 127.0.0.1:8080 or [::1]:8080".into()
    })
}

fn slots(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(slots) if (1..=MAX_SLOTS).contains(&slots) => Ok(slots),
        _ => Err(format!("allowed is 1 to {MAX_SLOTS}")),
    }
}

fn queue(text: &str) -> Result<Places, String> {
    match text.parse() {
        _ if text == "unbounded" => Ok(Places(None)),
        Ok(places) if places <= MAX_PLACES => Ok(Places(Some(places))),
        _ => Err(format!("allowed is 0 to {MAX_PLACES}, or unbounded")),
    }
}

fn seed(text: &str) -> Result<u64, String> {
    text.parse().map_err(|_| format!("allowed is a whole number, 0 to {}", u64::MAX))
}

fn products(text: &str) -> Result<u64, String> {
    match text.parse() {
        Ok(products) if (1..=MAX_PRODUCTS).contains(&products) => Ok(products),
        _ => Err(format!("allowed is 1 to {MAX_PRODUCTS}")),
    }
}

fn probability(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(probability) if (0.0..=1.0).contains(&probability) => Ok(probability),
        _ => Err("allowed is 0 to 1".into()),
    }
}

fn duration(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text)
        .map_err(|_| "allowed is a number and its unit, as in 100ms or 2s".into())
}

fn main() -> ExitCode {
    let args = Args::parse();
    let spec = Spec {
        queue: args.queue.0,
        change: args.change,
        quota: args.quota,
        seed: args.seed,
        retry_after: args.retry_after,
        routes: args.routes,
        site: args.site.map(|products| Site::new(args.seed, products)),
        faults: Faults {
            statuses: args.statuses,
            every: args.every,
            outages: args.outages,
            tail: args.slow,
            truncate: args.truncate,
            cut: args.cut,
        },
        ..Spec::new(args.slots, args.service)
    };
    if let Err(error) = spec.check() {
        eprintln!("error: {error}");
        return ExitCode::from(2);
    }
    quieten();
    match run(args.listen, spec, args.json) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// wiremock panics at a request it cannot read: a client that left in mid-body, a target that is no URL. It costs
/// that connection only, and is no news to whoever runs the server.
fn quieten() {
    let others = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        let file = panic.location().map_or("", |at| at.file());
        if !(file.contains("wiremock") && file.ends_with("request.rs")) {
            others(panic);
        }
    }));
}

fn run(listen: SocketAddr, spec: Spec, json: bool) -> io::Result<()> {
    // One file descriptor a connection; where the limit stays low, few connections still work.
    let _ = rlimit::increase_nofile_limit(u64::MAX);
    mock_server::room()?;
    let (stop, mut stopped) = mpsc::unbounded_channel();
    ctrlc::set_handler(move || {
        // Nobody listens any more once the server is stopping.
        let _ = stop.send(());
    })
    .map_err(io::Error::other)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let upstream = Upstream::start_on(listen, spec).await?;
        if !listen.ip().is_loopback() {
            eprintln!(
                "warning: listening on {}, which other machines may reach",
                upstream.address()
            );
        }
        let url = upstream.url();
        say(&if json {
            format!("{{\"listening\":\"{url}\"}}")
        } else {
            format!("listening on {url}")
        });
        let ended = tokio::select! {
            _ = stopped.recv() => false,
            () = upstream.ended() => true,
            never = bodies::bound(upstream.address()) => match never {},
        };
        let counters = upstream.shutdown().await;
        say(&if json {
            object(&counters)
        } else {
            counters.to_string()
        });
        if ended {
            let text = "the server could not accept a connection: there were more than the limit on open files allows; raise it, as with `ulimit -n 20000`";
            return Err(io::Error::other(text));
        }
        Ok(())
    })
}

/// A reader that has gone is no reason to stop serving.
fn say(line: &str) {
    let mut out = io::stdout().lock();
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}

fn object(counters: &Counters) -> String {
    let text = counters.to_string();
    let words: Vec<&str> = text.split(' ').collect();
    let fields: Vec<String> =
        words.chunks_exact(2).map(|pair| format!("\"{}\":{}", pair[0], pair[1])).collect();
    format!("{{{}}}", fields.join(","))
}
