//! `labs worker` and `labs queue`: the crawl of lab 19 by any number of processes on any number of
//! hosts.
#![cfg_attr(
    not(feature = "scale-out"),
    allow(dead_code, reason = "the flags are there, what they do is not")
)]

use clap::{Args, CommandFactory, FromArgMatches, Subcommand};
use lab_kit::cli::{Extra, Failed};

use super::address::ServerUrl;

/// The commands that the umbrella has for the crawl.
pub const COMMANDS: &[Extra] = &[
    Extra {
        command: Worker::command,
        run: |matches| run::worker(Worker::from_arg_matches(matches).map_err(slip)?),
    },
    Extra {
        command: Queue::command,
        run: |matches| run::queue(Queue::from_arg_matches(matches).map_err(slip)?),
    },
];

fn slip(error: clap::Error) -> Failed {
    Failed::Usage(error.to_string())
}

/// Where passwords can be without standing in every list of processes.
const FROM_ENVIRONMENT: &str = "The URLs may also be in the environment, as LABS_QUEUE and LABS_DATABASE: there a password does \
     not show in the list of processes. Nothing that is printed has one.";

/// Crawls a site: takes pages from a queue, fetches and classifies them, stores them in a database
///
/// Any number of workers, on any hosts, share one queue and one database. One that is killed loses
/// nothing: what it had taken goes to the others. It ends when nothing is left to do, or with Ctrl-C
/// after what it has in hand.
#[derive(clap::Parser, Debug)]
#[command(name = "worker", after_help = FROM_ENVIRONMENT)]
struct Worker {
    /// The queue, such as redis://127.0.0.1:6379
    #[arg(long, value_name = "URL")]
    queue: Option<ServerUrl>,
    /// The database, such as postgres://user@127.0.0.1:5432/labs
    #[arg(long, value_name = "URL")]
    database: Option<ServerUrl>,
    /// The site, such as http://127.0.0.1:8080 [default: the one that the queue was filled with]
    #[arg(long, value_name = "URL")]
    site: Option<ServerUrl>,
    /// Name of this worker, different from all others [default: one that nobody has]
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// Requests in flight at a time: this worker's politeness
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..=1000))]
    concurrency: u16,
    /// Threads that extract and classify [default: one less than there are processors]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    threads: Option<u16>,
    /// Labelled pages of the site to learn from
    #[arg(long, value_name = "N", default_value_t = 200, value_parser = clap::value_parser!(u32).range(0..=100_000))]
    learn: u32,
    /// Stay when nothing is left, and wait for more
    #[arg(long)]
    stay: bool,
    /// Allow a site that is not on this machine: only where you may put load on it
    #[arg(long)]
    allow_remote_target: bool,
}

/// Looks at the queue of a crawl, fills it or empties it
#[derive(clap::Parser, Debug)]
#[command(name = "queue", after_help = FROM_ENVIRONMENT)]
struct Queue {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand, Debug)]
enum Action {
    /// Shows what waits, what is in flight and with whom, what is done, and the dead letters
    Status {
        #[command(flatten)]
        at: At,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Puts the first page of a site in; workers find the others from there
    Fill {
        #[command(flatten)]
        at: At,
        /// The site, such as http://127.0.0.1:8080
        #[arg(value_name = "SITE")]
        site: ServerUrl,
        /// Allow a site that is not on this machine: only where you may put load on it
        #[arg(long)]
        allow_remote_target: bool,
    },
    /// Forgets everything: pages seen, tasks, dead letters
    Clear {
        #[command(flatten)]
        at: At,
    },
}

#[derive(Args, Debug)]
struct At {
    /// The queue, such as redis://127.0.0.1:6379
    #[arg(long, value_name = "URL")]
    queue: Option<ServerUrl>,
}

/// From the flag, or else from the environment.
fn url(flag: Option<ServerUrl>, name: &str, variable: &str) -> Result<ServerUrl, Failed> {
    let from_environment = || std::env::var(variable).ok().map(|text| text.as_str().into());
    flag.or_else(from_environment).ok_or_else(|| {
        Failed::Usage(format!("which {name}? Give --{name} URL, or put the URL into {variable}"))
    })
}

#[cfg(not(feature = "scale-out"))]
mod run {
    //! What there is to say without the servers' clients.

    use super::*;
    use crate::address::not_built;

    pub fn worker(worker: Worker) -> Result<(), Failed> {
        let url = url(worker.queue, "queue", "LABS_QUEUE")?;
        Err(anyhow::anyhow!(not_built(&url, "scale-out")).into())
    }

    pub fn queue(queue: Queue) -> Result<(), Failed> {
        let (Action::Status { at, .. } | Action::Fill { at, .. } | Action::Clear { at }) =
            queue.action;
        let url = url(at.queue, "queue", "LABS_QUEUE")?;
        Err(anyhow::anyhow!(not_built(&url, "scale-out")).into())
    }
}

#[cfg(feature = "scale-out")]
mod run {
    use std::{
        collections::BTreeMap,
        fmt::Write,
        io::IsTerminal,
        sync::Arc,
        time::{Duration, Instant},
    };

    use anyhow::Context;
    use futures_util::future::BoxFuture;
    use lab_kit::{
        cli::{pretty, print, say},
        http,
        stop::Stop,
    };
    use serde::Serialize;

    use super::*;
    use crate::{
        QueueError, QueueStatus, Taken, Task, TaskQueue,
        address::open_database,
        redis::{DeadLetter, Overview, Redis},
        worker::{Crawler, Meter, Settings, learn, permitted, rules},
    };
    use lab_parts::client::Client;

    /// As many dead letters are shown.
    const LETTERS: usize = 10;
    /// Between two lines of progress, and between two looks at an empty queue.
    const LINE: Duration = Duration::from_secs(2);

    fn block_on<T>(future: impl Future<Output = Result<T, Failed>>) -> Result<T, Failed> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.context("cannot start a runtime")?.block_on(future)
    }

    pub fn worker(worker: Worker) -> Result<(), Failed> {
        let queue = url(worker.queue.clone(), "queue", "LABS_QUEUE")?;
        let database = url(worker.database.clone(), "database", "LABS_DATABASE")?;
        let stop = Stop::on_signals()?;
        block_on(async {
            tokio::select! {
                done = crawl(&worker, &queue, &database, &stop) => done,
                () = too_long(&stop) => Err(Failed::Interrupted),
            }
        })
    }

    /// Who was asked to stop and waits for a server meanwhile does not wait for ever.
    async fn too_long(stop: &Stop) {
        stop.wait().await;
        tokio::time::sleep(Duration::from_secs(30)).await;
    }

    async fn crawl(
        worker: &Worker,
        queue_url: &ServerUrl,
        database_url: &ServerUrl,
        stop: &Stop,
    ) -> Result<(), Failed> {
        if worker.allow_remote_target {
            http::allow_remote();
        }
        let queue = Redis::open(queue_url, worker.name.as_deref()).await?;
        let database = open_database(database_url).await?;
        let first = match (&worker.site, queue.first().await?) {
            (None, None) => {
                let say = format!("the queue at {queue_url} is empty; which site? Give --site URL");
                return Err(Failed::Usage(say));
            }
            (None, Some(first)) => site("the first page of the queue,", &first.as_str().into())?,
            (Some(asked), None) => site("--site", asked)?,
            (Some(asked), Some(known)) => {
                let first = site("--site", asked)?;
                if first.url != known {
                    return Err(Failed::Usage(format!(
                        "the queue at {queue_url} is that of {known}; another site needs a queue of its own, such as …?prefix=another"
                    )));
                }
                first
            }
        };
        if worker.site.is_some() {
            offer(&queue, &first).await?;
        }
        let threads = worker.threads.map_or_else(
            || std::thread::available_parallelism().map_or(1, |n| n.get().saturating_sub(1).max(1)),
            usize::from,
        );
        let limit = usize::from(worker.concurrency);
        let client = Client::builder().pool(http::client()).concurrency(limit);
        let client = client.build();
        let client = client.context("no client")?;
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
        let unreadable = || format!("the site at {} cannot be read", first.url);
        let rules = rules(&client, &first).await.with_context(unreadable)?;
        let model = learn(&client, &first, worker.learn as usize).await;
        let crawler = Crawler {
            client,
            pool: Arc::new(pool.context("no threads")?),
            rules: Arc::new(rules),
            model: model.with_context(unreadable)?.map(Arc::new),
            settings: Settings { renew: queue.lease() / 3, ..Settings::for_limit(limit) },
            meter: Arc::default(),
            burden: None,
        };
        let (meter, start) = (crawler.meter.clone(), Instant::now());
        let name = queue.name().to_string();
        let leaving = Leaving { queue, stop };
        let working = async {
            loop {
                crawler.work(&leaving, &*database).await?;
                if stop.is_set() || !worker.stay {
                    return Ok::<(), Failed>(());
                }
                tokio::select! {
                    () = tokio::time::sleep(LINE) => {}
                    () = stop.wait() => {}
                }
            }
        };
        tokio::select! {
            done = working => done?,
            () = watch(&name, &meter) => {}
        }
        let took = start.elapsed().as_secs_f64();
        let (stored, failed) = (meter.stored(), meter.failed());
        let rate = stored as f64 / took;
        print(format!(
            "{name}: {stored} pages stored, {failed} failed, {took:.1} s, {rate:.0} pages/s\n"
        ))?;
        match stop.is_set() {
            true => Err(Failed::Interrupted),
            false => Ok(()),
        }
    }

    /// A line now and then, on a terminal.
    async fn watch(name: &str, meter: &Meter) {
        let mut before = 0;
        loop {
            tokio::time::sleep(LINE).await;
            let stored = meter.stored();
            let rate = (stored - before) as f64 / LINE.as_secs_f64();
            before = stored;
            if std::io::stderr().is_terminal() {
                let (failed, hand) = (meter.failed(), meter.under_way());
                say(format!(
                    "{name}: {stored} stored, {rate:.0}/s, {hand} in hand, {failed} failed"
                ));
            }
        }
    }

    fn site(flag: &str, url: &ServerUrl) -> Result<Task, Failed> {
        permitted(flag, url).map_err(Failed::Usage)
    }

    async fn offer(queue: &Redis, first: &Task) -> Result<u64, Failed> {
        if queue.keeps_data().await? == Some(false) {
            say(
                "note: this Redis keeps its data in memory only; if it stops, the crawl has to begin again. `redis-server --appendonly yes` keeps it",
            );
        }
        Ok(queue.offer(std::slice::from_ref(first)).await?)
    }

    /// A queue that hands out nothing any more once its worker is to stop, and looks finished then: the
    /// worker ends when it has done what it has in hand.
    struct Leaving<'s> {
        queue: Redis,
        stop: &'s Stop,
    }

    impl TaskQueue for Leaving<'_> {
        fn offer<'a>(&'a self, tasks: &'a [Task]) -> BoxFuture<'a, Result<u64, QueueError>> {
            self.queue.offer(tasks)
        }

        fn take<'a>(
            &'a self,
            most: usize,
            wait: Duration,
        ) -> BoxFuture<'a, Result<Vec<Taken>, QueueError>> {
            if self.stop.is_set() {
                return Box::pin(async { Ok(Vec::new()) });
            }
            self.queue.take(most, wait)
        }

        fn renew<'a>(&'a self, taken: &'a [Taken]) -> BoxFuture<'a, Result<(), QueueError>> {
            self.queue.renew(taken)
        }

        fn finish<'a>(
            &'a self,
            done: &'a [Taken],
            found: &'a [Task],
        ) -> BoxFuture<'a, Result<(), QueueError>> {
            self.queue.finish(done, found)
        }

        fn fail<'a>(
            &'a self,
            failed: &'a Taken,
            why: &'a str,
            again: bool,
        ) -> BoxFuture<'a, Result<(), QueueError>> {
            self.queue.fail(failed, why, again)
        }

        fn status<'a>(&'a self) -> BoxFuture<'a, Result<QueueStatus, QueueError>> {
            if self.stop.is_set() {
                return Box::pin(async { Ok(QueueStatus::default()) });
            }
            self.queue.status()
        }
    }

    pub fn queue(queue: Queue) -> Result<(), Failed> {
        block_on(async {
            match queue.action {
                Action::Status { at, json } => status(open(at).await?, json).await,
                Action::Fill { at, site: text, allow_remote_target } => {
                    if allow_remote_target {
                        http::allow_remote();
                    }
                    let first = site("--site", &text)?;
                    let (url, queue) = open(at).await?;
                    let said = match offer(&queue, &first).await? {
                        0 => format!("{url} has seen {} before\n", first.url),
                        _ => format!("{} waits in {url}\n", first.url),
                    };
                    Ok(print(said)?)
                }
                Action::Clear { at } => Ok(open(at).await?.1.clear().await?),
            }
        })
    }

    async fn open(at: At) -> Result<(ServerUrl, Redis), Failed> {
        let url = url(at.queue, "queue", "LABS_QUEUE")?;
        let queue = Redis::open(&url, None).await?;
        Ok((url, queue))
    }

    /// As `--json` prints it.
    #[derive(Serialize)]
    struct Shown {
        #[serde(flatten)]
        status: QueueStatus,
        workers: BTreeMap<String, u64>,
        dead_letters: Vec<DeadLetter>,
    }

    async fn status((url, queue): (ServerUrl, Redis), json: bool) -> Result<(), Failed> {
        let Overview { status, holders } = queue.overview().await?;
        let dead_letters = queue.dead_letters(LETTERS).await?;
        let shown = Shown { status, workers: holders, dead_letters };
        if json {
            return pretty(&shown);
        }
        Ok(print(as_text(&url, &shown))?)
    }

    fn as_text(url: &ServerUrl, shown: &Shown) -> String {
        let status = &shown.status;
        let holders = shown.workers.iter().map(|(name, n)| format!("{name} {n}"));
        let holders = match holders.collect::<Vec<_>>().join(", ") {
            none if none.is_empty() => none,
            some => format!("   with {some}"),
        };
        let newest = match status.dead {
            0 => "",
            _ => "   dead letters, the newest first:",
        };
        let mut text = format!("queue at {url}\n");
        for (name, number, note) in [
            ("seen", status.seen, ""),
            ("waiting", status.waiting, ""),
            ("in flight", status.in_flight, &holders),
            ("done", status.done, ""),
            ("dead", status.dead, newest),
        ] {
            let _ = writeln!(text, "  {name:<10}{number:>10}{note}");
        }
        for letter in &shown.dead_letters {
            let DeadLetter { url, deliveries, why } = letter;
            let _ = writeln!(text, "    {url}: {why} (handed out {deliveries} times)");
        }
        text
    }
}
