//! The queue in Redis, for workers in any number of processes on any number of hosts.
//!
//! # What is where
//!
//! Under one prefix (`?prefix=` in the URL) there are
//!
//! - `…:seen`, a set: every url ever offered. A url goes into the stream when it is new here.
//! - `…:tasks`, a stream with one consumer group. An entry is a task; it is deleted when it is done. The
//!   group's list of pending entries is who has taken what, when, and how often it was handed out.
//! - `…:dead`, a stream: dead letters, with the reason.
//! - `…:done`, a number. `…:first`, the first url that was ever offered.
//!
//! # What holds
//!
//! - **Both or neither.** Every change is one script, and Redis runs a script alone and writes it to its
//!   file as one transaction. A page is done and its links are offered in the same step; so a Redis that
//!   loses the end of its file goes back to a moment that once was, in which the page was not done.
//! - **Nobody's task is lost.** A worker renews what it holds. What nobody has renewed for the *lease*
//!   (`?lease=10s`) goes to the next one that asks, and its count of deliveries goes up.
//! - **A late worker disturbs nobody.** Whoever finishes a task first has finished it; to finish it
//!   again changes nothing. Failing and renewing ask first whether the task is still one's own.
//! - **Nothing is tried for ever.** After so many deliveries (`?deliveries=5`) a task that failed, or that
//!   took its worker with it each time, is a dead letter.
//! - **Every call may be repeated**, and is, with back-off, when the connection breaks, an answer does not
//!   come, or the server is starting and still reads its file ([`PATIENCE`]). Only the count that
//!   [`offer`](TaskQueue::offer) returns may then be too low.
//!
//! The server must keep its data (`appendonly yes`), or all of that ends with its process.

use std::{
    cmp::max,
    collections::BTreeMap,
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use ::redis::{
    AsyncConnectionConfig, Client, Cmd, ErrorKind, FromRedisValue, RedisError, RedisResult,
    aio::MultiplexedConnection, cmd, streams::StreamReadReply,
};
use futures_util::future::BoxFuture;
use lab_kit::args::Time;
use tokio::sync::Mutex;

use super::{
    QueueError, QueueStatus, Taken, Task, TaskQueue,
    address::{ServerUrl, no_queue},
};

/// How long a call goes on trying while the server does not answer.
pub const PATIENCE: Duration = Duration::from_secs(60);
/// A connection that takes longer is given up.
const CONNECT: Duration = Duration::from_secs(3);
/// An answer that takes longer will not come: the server or the way to it is gone, even if the
/// connection does not know yet.
const ANSWER: Duration = Duration::from_secs(5);
/// First and longest pause between two tries.
const PAUSE: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));
/// First pause before a failed task is handed out again; it doubles with each delivery.
const AGAIN: Duration = Duration::from_millis(200);
/// The most tasks in one script, while which Redis does nothing else.
const CHUNK: usize = 1000;

/// In the order in which the scripts number them.
const KEYS: [&str; 5] = ["tasks", "seen", "dead", "done", "first"];
const GROUP: &str = "workers";
/// Holds what has failed and waits for another try. No worker can have this name.
const WAITING_ROOM: &str = "(again)";

/// Offers the tasks `ARGV[from…]`, two words each.
const OFFER: &str = "
local function offer(from)
  local new = 0
  for i = from, #ARGV, 2 do
    if redis.call('SADD', KEYS[2], ARGV[i]) == 1 then
      redis.call('XADD', KEYS[1], '*', 'url', ARGV[i], 'depth', ARGV[i + 1])
      new = new + 1
    end
  end
  return new
end
";

/// The first url ever is the site that is crawled.
const FILL: &str = "
if #ARGV > 0 then redis.call('SET', KEYS[5], ARGV[1], 'NX') end
return offer(1)
";

/// Makes an entry a dead letter.
const BURY: &str = "
local function bury(id, url, depth, deliveries, why)
  redis.call('XADD', KEYS[3], '*', 'url', url, 'depth', depth, 'deliveries', deliveries, 'why', why)
  redis.call('XACK', KEYS[1], ARGV[1], id)
  redis.call('XDEL', KEYS[1], id)
end
";

/// `{consumer, idle, deliveries}` of a pending entry, or nothing.
const HELD: &str = "
local function held(id)
  local entry = redis.call('XPENDING', KEYS[1], ARGV[1], id, id, 1)[1]
  if entry then return {entry[2], entry[3], entry[4]} end
end
";

/// ARGV: group, consumer, lease in ms, cursor, most, deliveries.
const CLAIM: &str = "
local reply = redis.call('XAUTOCLAIM', KEYS[1], ARGV[1], ARGV[2], ARGV[3], ARGV[4], 'COUNT', ARGV[5])
local claimed = {}
for _, entry in ipairs(reply[2]) do
  if entry and entry[2] then
    local id, url, depth = entry[1], entry[2][2], entry[2][4]
    local deliveries = held(id)[3]
    if deliveries > tonumber(ARGV[6]) then
      bury(id, url, depth, deliveries - 1, 'never reported on: its workers died, or took longer than the lease')
    else
      claimed[#claimed + 1] = {id, url, depth, deliveries}
    end
  end
end
return {reply[1], claimed}
";

/// ARGV: group, number of done, their ids, then the tasks found.
const FINISH: &str = "
local n = tonumber(ARGV[2])
for i = 3, n + 2 do
  if redis.call('XACK', KEYS[1], ARGV[1], ARGV[i]) == 1 then
    redis.call('XDEL', KEYS[1], ARGV[i])
    redis.call('INCR', KEYS[4])
  end
end
return offer(n + 3)
";

/// ARGV: group, consumer, id, delivery, deliveries, idle in ms, waiting room, url, depth, why.
const FAIL: &str = "
local now = held(ARGV[3])
-- Somebody else has it, or has done it: that is for them to report on.
if not now or now[1] ~= ARGV[2] or now[3] ~= tonumber(ARGV[4]) then return 0 end
if now[3] >= tonumber(ARGV[5]) then
  bury(ARGV[3], ARGV[8], ARGV[9], now[3], ARGV[10])
else
  -- As if it had been idle for nearly a lease: claimed again after the rest of it.
  redis.call('XCLAIM', KEYS[1], ARGV[1], ARGV[7], 0, ARGV[3], 'IDLE', ARGV[6], 'JUSTID')
end
return 1
";

/// ARGV: group, consumer, ids.
const RENEW: &str = "
for i = 3, #ARGV do
  local now = held(ARGV[i])
  if now and now[1] == ARGV[2] then
    redis.call('XCLAIM', KEYS[1], ARGV[1], ARGV[2], 0, ARGV[i], 'JUSTID')
  end
end
return 1
";

/// ARGV: group. Entries in the stream, urls seen, dead letters, done, then who holds how many.
const STATUS: &str = "
local holders = {}
for _, one in ipairs(redis.call('XPENDING', KEYS[1], ARGV[1])[4] or {}) do
  holders[#holders + 1] = {one[1], tonumber(one[2])}
end
return {
  redis.call('XLEN', KEYS[1]), redis.call('SCARD', KEYS[2]), redis.call('XLEN', KEYS[3]),
  tonumber(redis.call('GET', KEYS[4]) or 0), holders
}
";

/// A queue in Redis.
pub struct Redis {
    /// Without password: for messages.
    shown: String,
    /// Of the keys.
    prefix: String,
    /// Among the workers.
    name: String,
    lease: Duration,
    deliveries: u32,
    calls: Link,
    /// A read that waits for tasks holds its connection up for everything after it, so it has its own.
    reads: Link,
    /// One read at a time.
    turn: Mutex<Claiming>,
}

/// Where the search for abandoned tasks stands.
struct Claiming {
    due: Instant,
    cursor: String,
}

/// A task that failed as often as is allowed.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct DeadLetter {
    /// The page.
    pub url: String,
    /// How often it was handed out.
    pub deliveries: u32,
    /// What its last failure was.
    pub why: String,
}

/// All that can be known of a queue at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Overview {
    /// The numbers.
    pub status: QueueStatus,
    /// Workers that hold tasks, and how many. A dead one stays until its lease has run out and
    /// another has taken its tasks.
    pub holders: BTreeMap<String, u64>,
}

impl Redis {
    /// Connects, and makes the queue if it is not there.
    ///
    /// # Errors
    /// When nothing answers, the server lets nobody in, the URL has a parameter that is none, or the
    /// build has no TLS and the URL asks for it.
    pub async fn open(url: &ServerUrl, name: Option<&str>) -> Result<Redis, QueueError> {
        let permanent = QueueError::Permanent;
        let (plain, ours) = url.without(&["prefix", "lease", "deliveries", "sslrootcert"]);
        let (mut prefix, mut lease) = ("labs:crawl".to_string(), Duration::from_secs(10));
        let (mut deliveries, mut authority) = (5, None);
        for (key, value) in ours {
            let bad = |why: String| permanent(format!("{key}={value} in {url}: {why}"));
            match key.as_str() {
                "prefix" if value.is_empty() => return Err(bad("a prefix has letters".into())),
                "prefix" => prefix = value,
                "lease" => lease = value.parse::<Time>().map_err(bad)?.duration(),
                "deliveries" => {
                    let number = value.parse().ok().filter(|n| *n > 0);
                    deliveries = number.ok_or_else(|| bad("a number from 1 is needed".into()))?;
                }
                _ => authority = Some(value),
            }
        }
        let client = client(&plain, authority)?;
        let queue = Redis {
            shown: plain.to_string(),
            prefix,
            name: name.map_or_else(unique, str::to_string),
            lease,
            deliveries,
            calls: Link::new(client.clone()),
            reads: Link::new(client),
            turn: Mutex::new(Claiming { due: Instant::now(), cursor: "0-0".into() }),
        };
        if queue.name == WAITING_ROOM {
            return Err(permanent(format!("no worker can be called {WAITING_ROOM}")));
        }
        // A server that is not there now will not be there in a minute: say so at once. One that is just
        // starting is worth waiting for.
        match queue.calls.get().await {
            Err(error) if !is_busy(&error) => return Err(queue.absent(&error)),
            _ => queue.make_group().await?,
        }
        Ok(queue)
    }

    /// The name of this worker.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// After this time without [`renew`](TaskQueue::renew) a task goes to another worker.
    pub fn lease(&self) -> Duration {
        self.lease
    }

    /// The first url that was ever offered here.
    ///
    /// # Errors
    /// When the server does not answer.
    pub async fn first(&self) -> Result<Option<String>, QueueError> {
        self.call(cmd("GET").arg(self.key("first"))).await
    }

    /// Whether the server keeps its data when its process ends; `None` if it does not say.
    ///
    /// # Errors
    /// When the server does not answer.
    pub async fn keeps_data(&self) -> Result<Option<bool>, QueueError> {
        let told = self.call::<String>(cmd("INFO").arg("persistence")).await;
        match told {
            Ok(text) => Ok(text
                .lines()
                .find_map(|line| line.trim().strip_prefix("aof_enabled:"))
                .map(|value| value == "1")),
            // Servers for hire do not tell everything to everybody.
            Err(QueueError::Permanent(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The numbers, and who holds how many.
    ///
    /// # Errors
    /// When the server does not answer.
    pub async fn overview(&self) -> Result<Overview, QueueError> {
        type Reply = (u64, u64, u64, u64, Vec<(String, u64)>);
        let reply: Reply = self.call(self.script(&[STATUS]).arg(GROUP)).await?;
        let (entries, seen, dead, done, holders) = reply;
        let mut holders: BTreeMap<String, u64> = holders.into_iter().collect();
        holders.remove(WAITING_ROOM);
        let in_flight = holders.values().sum();
        let status =
            QueueStatus { seen, waiting: entries.saturating_sub(in_flight), in_flight, done, dead };
        Ok(Overview { status, holders })
    }

    /// The newest dead letters, at most `most`.
    ///
    /// # Errors
    /// When the server does not answer.
    pub async fn dead_letters(&self, most: usize) -> Result<Vec<DeadLetter>, QueueError> {
        let mut ask = cmd("XREVRANGE");
        ask.arg(self.key("dead")).arg("+").arg("-");
        ask.arg("COUNT").arg(most);
        let reply: ::redis::streams::StreamRangeReply = self.call(&ask).await?;
        let letter = |entry: &::redis::streams::StreamId| DeadLetter {
            url: entry.get("url").unwrap_or_default(),
            deliveries: entry.get("deliveries").unwrap_or_default(),
            why: entry.get("why").unwrap_or_default(),
        };
        Ok(reply.ids.iter().map(letter).collect())
    }

    /// Forgets everything under the prefix.
    ///
    /// # Errors
    /// When the server does not answer.
    pub async fn clear(&self) -> Result<(), QueueError> {
        let keys = KEYS.map(|key| self.key(key));
        self.call::<()>(cmd("DEL").arg(&keys)).await?;
        self.make_group().await
    }

    async fn make_group(&self) -> Result<(), QueueError> {
        let mut make = cmd("XGROUP");
        make.arg("CREATE").arg(self.key("tasks")).arg(GROUP);
        make.arg("0").arg("MKSTREAM");
        match self.run::<()>(&self.calls, &make, ANSWER).await {
            Err(Gone::For(error)) if error.code() == Some("BUSYGROUP") => Ok(()),
            made => made.map_err(|gone| self.told(gone)),
        }
    }

    fn key(&self, name: &str) -> String {
        format!("{}:{name}", self.prefix)
    }

    /// A script of these parts over the queue's keys; its arguments follow. Sent whole each time: it is
    /// a thousand bytes, and a server that was restarted does not know it any more.
    fn script(&self, parts: &[&str]) -> Cmd {
        let mut eval = cmd("EVAL");
        eval.arg(parts.concat()).arg(KEYS.len());
        for key in KEYS {
            eval.arg(self.key(key));
        }
        eval
    }

    async fn call<T: FromRedisValue>(&self, ask: &Cmd) -> Result<T, QueueError> {
        let answer = self.run(&self.calls, ask, ANSWER).await;
        answer.map_err(|gone| self.told(gone))
    }

    /// Asks until there is an answer.
    async fn run<T: FromRedisValue>(
        &self,
        link: &Link,
        ask: &Cmd,
        limit: Duration,
    ) -> Result<T, Gone> {
        let (start, mut pause) = (Instant::now(), PAUSE.0);
        loop {
            let error = match link.ask(ask, limit).await {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            if !is_transient(&error) {
                return Err(Gone::For(error));
            }
            if start.elapsed() + pause > PATIENCE {
                return Err(Gone::Silent(error));
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(PAUSE.1);
        }
    }

    fn told(&self, gone: Gone) -> QueueError {
        match gone {
            Gone::Silent(error) => QueueError::Transient(format!(
                "{} has not answered for {} s: {error}",
                self.shown,
                PATIENCE.as_secs()
            )),
            Gone::For(error) if error.code() == Some("NOGROUP") => QueueError::Permanent(format!(
                "{} has lost the queue \"{}\": it was cleared, or the server was restarted without its data (run it with --appendonly yes). Fill it again and start the workers again; what is stored stays",
                self.shown, self.prefix
            )),
            Gone::For(error) => QueueError::Permanent(format!("{}: {error}", self.shown)),
        }
    }

    /// What to say when the first connection fails.
    fn absent(&self, error: &RedisError) -> QueueError {
        let why = if refuses(error) {
            let hint = "the user and the password belong into the URL, as in redis://user:password@host:6379 or redis://:password@host:6379";
            return QueueError::Permanent(format!("{}: {error}; {hint}", self.shown));
        } else if error.is_io_error() {
            "Is it running? On this machine `redis-server --port 6379 --appendonly yes` starts it; on another one it must listen there (bind) and the way must be open"
        } else {
            "Is that a Redis server?"
        };
        QueueError::Permanent(format!("no Redis answers at {}: {error}. {why}", self.shown))
    }

    /// Tasks that nobody has renewed for a lease: of dead workers, and failed ones.
    async fn claim(&self, claiming: &mut Claiming, most: usize) -> Result<Vec<Taken>, QueueError> {
        let mut ask = self.script(&[HELD, BURY, CLAIM]);
        ask.arg(GROUP).arg(&self.name).arg(millis(self.lease));
        ask.arg(&claiming.cursor).arg(most).arg(self.deliveries);
        type Reply = (String, Vec<(String, String, u32, u32)>);
        let (cursor, claimed): Reply = self.call(&ask).await?;
        // From the start again: time to take a pause.
        if cursor == "0-0" {
            claiming.due = Instant::now() + self.pause();
        }
        claiming.cursor = cursor;
        let taken = |(receipt, url, depth, delivery)| Taken {
            task: Task { url, depth },
            delivery,
            receipt,
        };
        Ok(claimed.into_iter().map(taken).collect())
    }

    /// Between two searches for abandoned tasks.
    fn pause(&self) -> Duration {
        (self.lease / 8).clamp(Duration::from_millis(50), Duration::from_secs(1))
    }

    async fn take_some(&self, most: usize, wait: Duration) -> Result<Vec<Taken>, QueueError> {
        if most == 0 {
            return Ok(Vec::new());
        }
        let until = Instant::now() + wait;
        let mut claiming = self.turn.lock().await;
        loop {
            if claiming.due <= Instant::now() {
                let claimed = self.claim(&mut claiming, most).await?;
                if !claimed.is_empty() {
                    return Ok(claimed);
                }
            }
            let left = until.saturating_duration_since(Instant::now());
            let block = left.min(self.pause());
            let mut ask = cmd("XREADGROUP");
            ask.arg("GROUP").arg(GROUP).arg(&self.name);
            ask.arg("COUNT").arg(most);
            // BLOCK 0 is for ever.
            ask.arg("BLOCK").arg(max(1, millis(block)));
            ask.arg("STREAMS").arg(self.key("tasks")).arg(">");
            let reply: Option<StreamReadReply> = self
                .run(&self.reads, &ask, block + ANSWER)
                .await
                .map_err(|gone| self.told(gone))?;
            let entries = reply.into_iter().flat_map(|r| r.keys).flat_map(|k| k.ids);
            let new: Vec<Taken> = entries
                .map(|entry| Taken {
                    task: Task {
                        url: entry.get("url").unwrap_or_default(),
                        depth: entry.get("depth").unwrap_or_default(),
                    },
                    delivery: 1,
                    receipt: entry.id,
                })
                .collect();
            if !new.is_empty() || Instant::now() >= until {
                return Ok(new);
            }
        }
    }
}

impl TaskQueue for Redis {
    fn offer<'a>(&'a self, tasks: &'a [Task]) -> BoxFuture<'a, Result<u64, QueueError>> {
        Box::pin(async move {
            let mut new = 0;
            for tasks in tasks.chunks(CHUNK) {
                let mut ask = self.script(&[OFFER, FILL]);
                add(&mut ask, tasks);
                new += self.call::<u64>(&ask).await?;
            }
            Ok(new)
        })
    }

    fn take<'a>(
        &'a self,
        most: usize,
        wait: Duration,
    ) -> BoxFuture<'a, Result<Vec<Taken>, QueueError>> {
        Box::pin(self.take_some(most, wait))
    }

    fn renew<'a>(&'a self, taken: &'a [Taken]) -> BoxFuture<'a, Result<(), QueueError>> {
        Box::pin(async move {
            for taken in taken.chunks(CHUNK) {
                let mut ask = self.script(&[HELD, RENEW]);
                ask.arg(GROUP).arg(&self.name);
                for one in taken {
                    ask.arg(&one.receipt);
                }
                self.call::<()>(&ask).await?;
            }
            Ok(())
        })
    }

    fn finish<'a>(
        &'a self,
        done: &'a [Taken],
        found: &'a [Task],
    ) -> BoxFuture<'a, Result<(), QueueError>> {
        Box::pin(async move {
            let mut ask = self.script(&[OFFER, FINISH]);
            ask.arg(GROUP).arg(done.len());
            for one in done {
                ask.arg(&one.receipt);
            }
            add(&mut ask, found);
            self.call::<u64>(&ask).await.map(drop)
        })
    }

    fn fail<'a>(
        &'a self,
        failed: &'a Taken,
        why: &'a str,
        again: bool,
    ) -> BoxFuture<'a, Result<(), QueueError>> {
        Box::pin(async move {
            let most = if again { self.deliveries } else { 0 };
            let pause = AGAIN * 2u32.saturating_pow(failed.delivery.clamp(1, 10) - 1);
            let idle = self.lease.saturating_sub(pause).max(self.lease / 2);
            let mut ask = self.script(&[HELD, BURY, FAIL]);
            ask.arg(GROUP).arg(&self.name).arg(&failed.receipt);
            ask.arg(failed.delivery).arg(most);
            ask.arg(millis(idle)).arg(WAITING_ROOM);
            ask.arg(&failed.task.url).arg(failed.task.depth).arg(why);
            self.call::<()>(&ask).await
        })
    }

    fn status<'a>(&'a self) -> BoxFuture<'a, Result<QueueStatus, QueueError>> {
        Box::pin(async move { Ok(self.overview().await?.status) })
    }
}

fn add(ask: &mut Cmd, tasks: &[Task]) {
    for task in tasks {
        ask.arg(&task.url).arg(task.depth);
    }
}

fn millis(duration: Duration) -> u64 {
    duration.as_millis() as u64
}

/// A name that no other worker has, on this host or another.
fn unique() -> String {
    static MADE: AtomicU64 = AtomicU64::new(0);
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    format!(
        "{:x}-{:x}-{}",
        since.unwrap_or_default().as_micros(),
        std::process::id(),
        MADE.fetch_add(1, Ordering::Relaxed)
    )
}

/// Why there is no answer.
enum Gone {
    /// None within the patience; this was the last reason.
    Silent(RedisError),
    /// Asking again would not help.
    For(RedisError),
}

fn refuses(error: &RedisError) -> bool {
    error.kind() == ErrorKind::AuthenticationFailed
        || matches!(error.code(), Some("NOAUTH" | "WRONGPASS" | "NOPERM"))
}

fn is_busy(error: &RedisError) -> bool {
    let busy = ["LOADING", "BUSY", "TRYAGAIN", "CLUSTERDOWN", "MASTERDOWN", "READONLY"];
    error.code().is_some_and(|code| busy.contains(&code))
}

fn is_transient(error: &RedisError) -> bool {
    !refuses(error) && (error.is_io_error() || error.is_unrecoverable_error() || is_busy(error))
}

/// One connection, made when it is needed and made again when it broke.
struct Link {
    client: Client,
    open: Mutex<Option<(u64, MultiplexedConnection)>>,
    made: AtomicU64,
}

impl Link {
    fn new(client: Client) -> Link {
        Link { client, open: Mutex::new(None), made: AtomicU64::new(0) }
    }

    async fn get(&self) -> RedisResult<(u64, MultiplexedConnection)> {
        let mut open = self.open.lock().await;
        if let Some(open) = &*open {
            return Ok(open.clone());
        }
        // Limits of time are set for each question, as a read that waits may take long.
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(CONNECT))
            .set_response_timeout(None);
        let client = &self.client;
        let made = async {
            let mut made = client.get_multiplexed_async_connection_with_config(&config).await?;
            // While a server that was started again reads its file, it lets connections in and answers
            // every question with LOADING.
            cmd("PING").query_async::<()>(&mut made).await?;
            Ok(made)
        };
        let made = within(ANSWER, made).await?;
        let number = self.made.fetch_add(1, Ordering::Relaxed);
        *open = Some((number, made.clone()));
        Ok((number, made))
    }

    async fn ask<T: FromRedisValue>(&self, ask: &Cmd, limit: Duration) -> RedisResult<T> {
        let (number, mut open) = self.get().await?;
        let answer = within(limit, ask.query_async(&mut open)).await;
        if answer.as_ref().is_err_and(is_transient) {
            // Others may have noticed as well, and have a new one by now.
            let mut open = self.open.lock().await;
            if open.as_ref().is_some_and(|(now, _)| *now == number) {
                *open = None;
            }
        }
        answer
    }
}

async fn within<T>(
    limit: Duration,
    answer: impl Future<Output = RedisResult<T>>,
) -> RedisResult<T> {
    match tokio::time::timeout(limit, answer).await {
        Ok(answer) => answer,
        Err(_) => {
            let kind = std::io::ErrorKind::TimedOut;
            Err(std::io::Error::new(kind, format!("no answer within {limit:?}")).into())
        }
    }
}

/// The client, with TLS if the URL says so.
fn client(url: &ServerUrl, authority: Option<String>) -> Result<Client, QueueError> {
    // Its message is its own and repeats nothing of the URL.
    let unreadable = |error: RedisError| QueueError::Permanent(format!("{url}: {error}"));
    match url.scheme() {
        "redis" => return Client::open(url.reveal()).map_err(unreadable),
        "rediss" => {}
        _ => return Err(no_queue(url)),
    }
    #[cfg(not(feature = "tls"))]
    {
        let _ = authority;
        Err(QueueError::Permanent(super::address::not_built(url, "tls")))
    }
    #[cfg(feature = "tls")]
    {
        let certificates = super::tls::for_redis(authority.as_deref());
        let certificates =
            certificates.map_err(|why| QueueError::Permanent(format!("{url}: {why}")))?;
        Client::build_with_tls(url.reveal(), certificates).map_err(unreadable)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn refused(url: &str) -> String {
        let error = Redis::open(&url.into(), None).await.err().unwrap();
        assert!(!error.is_transient());
        let text = error.to_string();
        assert!(!text.contains("hunter2"), "{text}");
        text
    }

    #[tokio::test]
    async fn parameters_that_make_no_sense_are_named() {
        for parameter in ["lease=10", "lease=0s", "deliveries=0", "deliveries=x", "prefix="] {
            let text = refused(&format!("redis://:hunter2@127.0.0.1:1/?{parameter}")).await;
            assert!(text.contains(parameter), "{text}");
        }
        refused("redis://:hunter2@127.0.0.1:1/?colour=red").await;
        refused("redis://:hunter2@/").await;
    }

    #[tokio::test]
    async fn nobody_at_home_is_said_at_once_with_what_to_do() {
        // Bound and closed again: nobody listens there.
        let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = closed.local_addr().unwrap();
        drop(closed);
        let text = refused(&format!("redis://:hunter2@{address}/0")).await;
        for part in [&address.to_string(), "no Redis answers", "redis-server", "appendonly"] {
            assert!(text.contains(part), "{text}");
        }
    }

    #[cfg(not(feature = "tls"))]
    #[tokio::test]
    async fn tls_is_not_left_out_in_silence() {
        let text = refused("rediss://:hunter2@127.0.0.1:1").await;
        assert!(text.contains("--features tls"), "{text}");
    }

    #[test]
    fn names_are_unique() {
        assert_ne!(unique(), unique());
    }
}
