//! What is measured, in which order, and with which flags.

use std::path::PathBuf;

use lab_kit::{host, prelude::*};
use mock_server::Site;
use tokio::runtime::Builder;

use super::{
    alone,
    crawls::{crawled, killed, limited},
    findings, gauges,
    learnt::{HELD_OUT, MORE, learnt},
    model::wall,
    premise,
    ways::{Put, Sessions, backlog, sessions, stuck},
};
use lab_crawl::worker;

/// The constants of the experiment.
#[derive(Args, Clone, Debug, Serialize, Deserialize)]
pub struct Params {
    /// Products of the shops that are crawled
    #[arg(long, value_delimiter = ',', default_value = "1500,2500,4500", value_parser = count)]
    pub products: Vec<usize>,
    /// Requests that the shop allows at a time
    #[arg(long, default_value_t = 40, value_parser = level)]
    pub limit: usize,
    /// Time the shop takes for an answer
    #[arg(long, default_value = "16ms")]
    pub fetch: Time,
    /// Length of a page
    #[arg(long, default_value = "8KB")]
    pub page: Size,
    /// Share of the products that take the shop longer
    #[arg(long, default_value_t = 0.02, value_parser = share)]
    pub slow: f64,
    /// How many times as long
    #[arg(long, default_value_t = 5.0)]
    pub slow_factor: f64,
    /// Share of the products with a link that leads nowhere
    #[arg(long, default_value_t = 0.02, value_parser = share)]
    pub broken: f64,
    /// Share of the requests that are asked to come back later (429)
    #[arg(long, default_value_t = 0.002, value_parser = share)]
    pub busy: f64,
    /// After how many seconds (0: it does not say)
    #[arg(long, default_value_t = 1)]
    pub retry_after: u64,
    /// Labelled pages to learn the categories from
    #[arg(long, default_value_t = 240, value_parser = count)]
    pub samples: usize,
    /// Threads that read and classify [default: one for each processor but the event loop's]
    #[arg(long, default_value_t = (host::cores() - 1).clamp(1, 64), hide_default_value = true, value_parser = level)]
    pub workers: usize,
    /// Limits for the host, with one thread that computes
    #[arg(long, value_delimiter = ',', default_value = "1,2,3,4,6,8", value_parser = level)]
    pub limits: Vec<usize>,
    /// What a page costs that thread
    #[arg(long, default_value = "5ms")]
    pub burden: Time,
    /// Pages for each of those limits
    #[arg(long, default_value_t = 50, value_parser = level)]
    pub listed: usize,
    /// How often the crawler is killed on its way
    #[arg(long, default_value_t = 2, value_parser = level)]
    pub kills: usize,
    /// Products of the shop that it crawls meanwhile
    #[arg(long, default_value_t = 600, value_parser = count)]
    pub killed_products: usize,
    /// How long the reader of a full queue is stuck
    #[arg(long, default_value = "100ms")]
    pub stall: Time,
    /// Time between two beats on the event loop meanwhile
    #[arg(long, default_value = "10ms")]
    pub beat: Time,
    /// Places of that queue, and of the one before a slow computation
    #[arg(long, default_value_t = 8, value_parser = level)]
    pub places: usize,
    /// Pages fetched with a client for each, or with one for all
    #[arg(long, default_value_t = 800, value_parser = level)]
    pub sessions: usize,
    /// Time an answer takes there: so short that the client is what takes the time
    #[arg(long, default_value = "1ms")]
    pub session_fetch: Time,
    /// Pages fetched before a slow computation
    #[arg(long, value_delimiter = ',', default_value = "100,200,300", value_parser = level)]
    pub backlogs: Vec<usize>,
    /// What that computation takes for a page
    #[arg(long, default_value = "1ms")]
    pub compute: Time,
    /// Do no experiment: crawl the last of --products, with the state in this folder, from where it is
    #[arg(long, value_name = "DIR", value_parser = folder)]
    #[serde(skip)]
    pub state: Option<PathBuf>,
    /// With --state: crawl this site instead of one of its own
    #[arg(long, value_name = "URL", requires = "state")]
    #[serde(skip)]
    pub upstream: Option<String>,
    /// With --state: how often to say how far it is
    #[arg(long, default_value = "500ms")]
    #[serde(skip, default = "Params::every")]
    pub every: Time,
}

/// A folder, or a place where there is nothing yet.
fn folder(text: &str) -> Result<PathBuf, String> {
    let folder = PathBuf::from(text);
    let mut all = folder.ancestors();
    let there = all.find(|part| part.symlink_metadata().is_ok());
    match there.is_none_or(|part| part.is_dir()) {
        true => Ok(folder),
        false => Err("expected a folder, or the name of a new one: that is something else".into()),
    }
}

fn share(text: &str) -> Result<f64, String> {
    within(text, 0.0..=0.9, "a share from 0 to 0.9")
}

impl Params {
    fn every() -> Time {
        Time::ms(500)
    }

    /// A shop, with everything that shops have.
    pub fn site(&self, seed: u64, products: usize) -> Site {
        Site {
            page_bytes: self.page.b(),
            slow: self.slow,
            slow_factor: self.slow_factor,
            broken: self.broken,
            busy: self.busy,
            ..Site::new(seed, products as u64)
        }
    }

    /// The same without anything that goes wrong or takes longer.
    pub(super) fn calm(&self, seed: u64, products: usize) -> Site {
        Site { slow: 0.0, broken: 0.0, busy: 0.0, withdrawn: 0.0, ..self.site(seed, products) }
    }

    /// The shop's server: it has room for whoever keeps to the limit.
    pub(super) fn spec(&self, site: Site, limit: usize) -> Spec {
        Spec {
            seed: site.seed,
            site: Some(site),
            retry_after: Duration::from_secs(self.retry_after),
            ..Spec::new(limit, ServiceTime::Constant(self.fetch.duration()))
        }
    }
}

/// What takes a moment is repeated for its interval.
fn repeats(scale: Scale) -> usize {
    match scale {
        Scale::Smoke => 1,
        _ => 5,
    }
}

/// Seconds that the experiment takes, roughly, with what takes a moment repeated so often: for what a run
/// needs.
fn takes(p: &Params, repeats: f64) -> f64 {
    // Processor seconds of a page: to make it and send it, to read it and classify it, to keep what it said.
    let page = 4e-4 + p.page.f() * 2.5e-8;
    // Of so many requests the unluckiest is asked to come back so often in a row. A client has patience,
    // and there are three of them for a page.
    let waits = |n: usize| {
        if p.busy <= 0.0 {
            return 0.0;
        }
        let often = (n as f64 * p.busy).min(1.0) * ((n as f64).ln() / -p.busy.ln()).max(1.0);
        often * (p.retry_after as f64).max(0.05)
    };
    let again = 1.0 / (1.0 - p.busy.min(0.99));
    let learnt = p.samples as f64 * (again * p.fetch.s() / p.limit as f64).max(page);
    // Threads that find nothing to do wake all the same.
    let idle = p.workers.saturating_sub(4 * host::cores()) as f64 * 3e-5;
    let crawl = |n: usize| {
        let page = page + idle;
        let slowest = p.fetch.s() * p.slow_factor;
        again * wall(p, n).max(n as f64 * page) + waits(n) + slowest + learnt + waits(p.samples)
    };
    let crawls: f64 = p.products.iter().map(|n| 0.1 + crawl(*n)).sum();
    let killed = crawl(p.killed_products)
        + p.kills as f64 * (0.2 + learnt + waits(p.samples) + p.limit as f64 * page);
    let listed = p.listed as f64;
    let limits = p.limits.iter().map(|m| {
        let each = (p.fetch.s() / *m as f64).max(p.burden.s() + page);
        0.05 + listed * each + p.fetch.s() + p.burden.s()
    });
    let backlogs = p.backlogs.iter().map(|n| {
        0.05 + *n as f64 * (p.fetch.s() / p.limit as f64).max(p.compute.s() + 1e-4).max(page / 2.0)
            + p.fetch.s()
    });
    let sent = |each: f64| {
        p.sessions as f64 * (p.session_fetch.s() / p.limit as f64).max(each + page / 4.0)
    };
    let stuck = 2.0 * (0.05 + p.stall.s() + 4.0 * p.fetch.s() + 2.0 * p.limit as f64 * page / 2.0);
    let read = (1.0 + MORE as f64) * p.samples as f64 + 2.0 * HELD_OUT as f64;
    let moments = stuck + sent(1e-4) + sent(5e-5) + read * page / 4.0;
    crawls + killed + limits.sum::<f64>() + 2.0 * backlogs.sum::<f64>() + repeats * moments
}

/// lab19.
pub struct WebScraper;

impl Lab for WebScraper {
    type Params = Params;

    const CARD: Card = Card {
        number: 19,
        name: "web_scraper",
        title: "The web scraper",
        question: "How fast can a crawler be without being rude, losing a page or growing?",
        predict: &[
            Question {
                key: "pages",
                ask: "A shop allows {limit} requests at a time and answers each within {fetch}: how many million pages an hour does the crawler fetch?",
                unit: "million pages/hour",
                hint: "0.1 to 20",
            },
            Question {
                key: "memory",
                ask: "Shops of {products} products: how many times as much memory does the crawler take for the largest as for the smallest?",
                unit: "times",
                hint: "1 to 50",
            },
            Question {
                key: "wrong",
                ask: "The crawler is killed on its way and started again, {kills}×: how many pages are missing at the end, or there twice?",
                unit: "pages",
                hint: "0 to 100",
            },
        ],
        next: &[
            (
                "cargo run --release --bin lab19 -- --state my-crawl --products 100000",
                "a crawl by itself: kill it (kill -9), start it again, look into the folder",
            ),
            (
                "cargo run --release --bin lab19 -- --fetch 4ms",
                "a faster host: which stage is the bottleneck now?",
            ),
            (
                "cargo run --release --bin lab19 -- --busy 0.1",
                "a host that often asks to come back later: where do those pages wait?",
            ),
            (
                "cargo run --release --bin lab19 -- --samples 16",
                "little to learn from: what becomes of the accuracy?",
            ),
            (
                "cargo run --release --bin lab19 -- --page 64KB",
                "longer pages: what becomes of memory and throughput?",
            ),
            (
                "cargo run --release -- make next polite_and_complete",
                "make it: a crawl that is polite and complete",
            ),
        ],
        sources: lab_kit::sources!["lib.rs"],
        answers: include_str!("../answers.md"),
        sizes: Sizes {
            smoke: &[
                "--products",
                "20,40,80",
                "--limit",
                "10",
                "--fetch",
                "5ms",
                "--retry-after",
                "0",
                "--samples",
                "16",
                "--limits",
                "2,4",
                "--burden",
                "500us",
                "--listed",
                "8",
                "--kills",
                "1",
                "--killed-products",
                "60",
                "--stall",
                "20ms",
                "--beat",
                "4ms",
                "--places",
                "4",
                "--sessions",
                "20",
                "--backlogs",
                "8,16,24",
                "--compute",
                "500us",
            ],
            full: &[
                "--products",
                "2000,10000,100000",
                "--listed",
                "400",
                "--kills",
                "5",
                "--killed-products",
                "5000",
                "--sessions",
                "2000",
                "--backlogs",
                "300,600,1000",
            ],
            trials: (1, 1),
        },
    };

    const PRESETS: &'static [Preset] = &[Preset {
        name: "source",
        what: "4 workers, 10 addresses with a client for each (article on the scraper)",
        flags: "--workers 4 --sessions 10",
        differs: "The source's pages were on the internet; here the shop is on this machine, allows {limit} requests at a time and answers within {fetch}. Its kernel, a sum of 50,000 squares in Python for each page, is a burden of {burden} here, and reading and classifying a page.",
        printed: &[Printed {
            what: "pages an hour",
            unit: "",
            at: &[(0.0, 100_000.0)],
            read: |s, _| {
                let per_hour = |t: &Trial| Some(3600.0 * t.gauge(gauges::PAGES)? / t.wall_s);
                s.series("crawl").last()?.estimate(per_hour)
            },
        }],
    }];

    fn check(p: &Params) -> Result<(), String> {
        if !(1.0..=1000.0).contains(&p.slow_factor) {
            return Err("--slow-factor must be 1 to 1000".into());
        }
        if p.retry_after > 60 {
            return Err("--retry-after must be at most 60 seconds".into());
        }
        if p.page.b() > 1 << 20 {
            return Err("--page must be at most 1MB".into());
        }
        if let Some(site) = &p.upstream {
            worker::permitted("--upstream", &site.as_str().into())?;
        }
        if p.state.is_some() {
            // No experiment: as long as it takes.
            return Ok(());
        }
        if p.limit < p.places + 4 {
            return Err(format!(
                "--limit must be {} or more: the first pages that come must overflow the --places",
                p.places + 4
            ));
        }
        if p.stall.s() < 4.0 * p.beat.s() {
            return Err(
                "--stall is shorter than four --beat: such a gap could be a late timer".into()
            );
        }
        Ok(())
    }

    fn needs(p: &Params, extent: &Extent) -> Needs {
        let most = |all: &[usize]| all.iter().copied().max().unwrap_or(0) as f64;
        // What was fetched and not computed yet is in memory where there is no bound.
        let waiting = most(&p.backlogs) * p.page.f();
        let labelled = p.samples as f64 * p.page.f();
        Needs {
            seconds: extent.times() * takes(p, repeats(extent.scale) as f64),
            memory: 2.0 * waiting.max(labelled)
                + p.limit as f64 * (2.0 * p.page.f() + needs::CONNECTION_B),
            disk: most(&p.products).max(p.killed_products as f64) * 1000.0,
            less: "fewer --products, --samples, --listed, --kills, --sessions or --backlogs, a higher --limit, or shorter times",
        }
    }

    fn instead(p: &Params) -> Option<Result<()>> {
        p.state.as_deref().map(|dir| alone::run(p, dir))
    }

    fn measure(p: &Params, session: &mut Session) -> Result<()> {
        // Everything that waits is on one event loop; what computes, and what blocks, is elsewhere.
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let (rt, kernel) = (&runtime, Kernel::calibrate());
        let repeats = repeats(session.scale);
        let limits = session.levels_that_fit(&p.limits);
        let mut plan = session.plan();
        for products in &p.products {
            plan.point("crawl", *products as f64, |r| rt.block_on(crawled(r, p, *products)));
        }
        for limit in limits {
            plan.point("limit", limit as f64, move |r| rt.block_on(limited(r, p, kernel, limit)));
        }
        plan.point("killed", 0.0, |r| rt.block_on(killed(r, p)));
        for _ in 0..repeats {
            plan.point("put/blocking", 0.0, |r| rt.block_on(stuck(r, p, Put::Blocks)));
            plan.point("put/awaited", 0.0, |r| rt.block_on(stuck(r, p, Put::Awaits)));
            plan.point("session/each", 0.0, |r| rt.block_on(sessions(r, p, Sessions::Each)));
            plan.point("session/shared", 0.0, |r| rt.block_on(sessions(r, p, Sessions::Shared)));
            for samples in [p.samples, MORE * p.samples] {
                plan.point("learnt", samples as f64, move |r| learnt(r, p, samples));
            }
        }
        for pages in &p.backlogs {
            plan.point("queue/unbounded", *pages as f64, |r| {
                rt.block_on(backlog(r, p, kernel, *pages, None))
            });
            plan.point("queue/bounded", *pages as f64, |r| {
                rt.block_on(backlog(r, p, kernel, *pages, Some(p.places)))
            });
        }
        plan.run()
    }

    fn premise(p: &Params, at: &Condition, trial: &Trial) -> Result<(), String> {
        premise::premise(p, at, trial)
    }

    fn explain(p: &Params, summary: &Summary) -> Findings {
        findings::explain(p, summary)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// The usual ones but for these flags.
    pub(crate) fn params(flags: &[&str]) -> Params {
        lab_kit::lab::params::<WebScraper>(flags)
    }

    #[test]
    fn flags_that_make_no_sense_are_refused_with_what_to_do() {
        for (flags, part) in [
            (&["--limit", "11"][..], "--places"),
            (&["--stall", "20ms"], "--beat"),
            (&["--slow-factor", "0"], "--slow-factor"),
            (&["--retry-after", "100"], "--retry-after"),
            (&["--page", "2MB"], "--page"),
        ] {
            let why = WebScraper::check(&params(flags)).unwrap_err();
            assert!(why.contains(part), "{why}");
        }
        WebScraper::check(&params(&[])).unwrap();
    }
}
