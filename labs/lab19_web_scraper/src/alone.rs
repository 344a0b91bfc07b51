//! The crawler without an experiment around it: `--state DIR`. This is also what the lab kills.

use std::{path::Path, sync::Arc};

use anyhow::{anyhow, ensure};
use lab_kit::{heap::Heap, prelude::*};
use mock_server::Upstream;
use tokio::runtime::Builder;

use super::{
    Params,
    crawls::{client, crawler, pool},
    kill, watch,
};
use lab_crawl::{
    TaskQueue,
    embedded::{Books, Embedded, Options},
    worker,
};

/// Seed of the shop of a crawl that runs by itself: the same whenever it is started again.
const OWN_SEED: u64 = 19;

impl Params {
    /// The flags of a crawl that runs by itself.
    pub(super) fn of_the_crawl(&self) -> Vec<String> {
        let flags = [
            ("limit", self.limit.to_string()),
            ("samples", self.samples.to_string()),
            ("workers", self.workers.to_string()),
            ("fetch", self.fetch.to_string()),
            ("slow-factor", self.slow_factor.to_string()),
            ("retry-after", self.retry_after.to_string()),
            ("every", "5ms".to_string()),
        ];
        let words = flags.map(|(name, value)| [format!("--{name}"), value]);
        words.concat()
    }
}

/// A crawl without an experiment around it. It says how far it is, goes on from where the last one
/// ended, and may be killed at any time.
pub(super) fn run(p: &Params, dir: &Path) -> Result<()> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let products = p.products.last().copied().unwrap_or(1);
    let site = p.site(OWN_SEED, products);
    runtime.block_on(async {
        let frontier = Arc::new(Embedded::open(dir, Options::default())?);
        let own = match &p.upstream {
            Some(_) => None,
            None => {
                // The addresses of an earlier run are those of its server.
                let listen = kill::listen(frontier.first());
                Some(Upstream::start_on(listen, p.spec(site, p.limit)).await?)
            }
        };
        let given = p.upstream.clone().unwrap_or_default();
        let url = own.as_ref().map_or(given, Upstream::url);
        let first = worker::first_task(&url).map_err(|e| anyhow!(e))?;
        let found = frontier.now();
        println!(
            "{}: {} pages are done, {} wait, {} are dead letters",
            dir.display(),
            found.done,
            found.waiting,
            found.dead
        );
        frontier.offer(std::slice::from_ref(&first)).await?;
        let (client, _) = client(p, p.limit, std::process::id().into())?;
        let crawler = crawler(p, client, pool(p.workers, Heap::new())?, &first, p.limit).await?;
        let start = Instant::now();
        tokio::select! {
            ended = crawler.work(&*frontier, &*frontier) => ended?,
            () = watch::say(&frontier, &crawler, p.every.duration()) => {}
        }
        watch::line(&frontier, &crawler, start.elapsed());
        anyhow::Ok(())
    })?;
    let books = Books::read(dir)?;
    println!(
        "{} pages stored, {} of them products; {} dead letters {:?}; {} lost",
        books.pages, books.products, books.tasks.dead, books.reasons, books.lost
    );
    ensure!(
        books.products > 0,
        "not one product was found: is {} the shop of `mock_server --site`?",
        p.upstream.as_deref().map_or("it".into(), lab_kit::address::shown)
    );
    if p.upstream.is_none() {
        let census = site.census();
        println!(
            "in the shop: {} pages within reach, {} of them products; {} links lead nowhere",
            census.pages, census.products, census.broken
        );
    }
    Ok(())
}
