//! Queue and database of a crawl in one SQLite file: nothing to install, and killed at any moment it
//! goes on from where it was.
//!
//! # What holds
//!
//! - A url is in the table `tasks` once, whoever finds it how often: the table is the frontier and the
//!   memory of what was seen in one, and it is on the disk. The process keeps nothing that grows with
//!   the number of pages.
//! - A task is waiting, taken, done or dead. That it is done and what was found on its page is one
//!   transaction, so that a crawl that looks finished is.
//! - A page is in the table `pages` once. It is written before its task is done: a process that ends in
//!   between fetches that page again, and writing it again changes nothing.
//! - One process at a time: a lock on a file, which the system releases whatever ends the process.
//!   Whatever was taken when the file is opened was therefore taken by a process that has ended.
//!
//! # What blocks
//!
//! As in lab12: a call of SQLite blocks its thread, so one thread has the connection. Everybody sends
//! to it through a bounded channel and awaits the answer; it takes all that has come since it last
//! looked and commits that as one transaction.

use std::{
    fs::{File, OpenOptions, TryLockError},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use futures_util::future::BoxFuture;
use rusqlite::{
    Connection, ErrorCode, OpenFlags, OptionalExtension, Transaction, TransactionBehavior, params,
};
use tokio::{
    sync::{Notify, mpsc, oneshot},
    time::timeout_at,
};

use super::{Database, DatabaseError, Page, QueueError, QueueStatus, Taken, Task, TaskQueue};

/// Requests that may wait for the thread that has the connection.
const WAITING: usize = 64;
/// Version of the tables.
const SCHEMA: i64 = 19;
/// Memory that SQLite may use for pages of its file, in KiB: it does not depend on the file's size.
const CACHE_KIB: i64 = 4096;

const TABLES: &str = "
    CREATE TABLE tasks (
        id INTEGER PRIMARY KEY,
        url TEXT NOT NULL UNIQUE,
        depth INTEGER NOT NULL,
        state INTEGER NOT NULL DEFAULT 0 CHECK (state BETWEEN 0 AND 3),
        deliveries INTEGER NOT NULL DEFAULT 0,
        failures INTEGER NOT NULL DEFAULT 0,
        reason TEXT
    );
    CREATE INDEX waiting ON tasks (id) WHERE state = 0;
    CREATE TABLE pages (
        url TEXT PRIMARY KEY,
        title TEXT NOT NULL,
        price_cents INTEGER,
        category TEXT NOT NULL,
        text_bytes INTEGER NOT NULL,
        links INTEGER NOT NULL
    ) WITHOUT ROWID;";

/// The states of a task, as written in the table.
const OPEN: i64 = 0;
const TAKEN: i64 = 1;
const DONE: i64 = 2;
const DEAD: i64 = 3;

/// How a file is opened.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Failures after which a task is a dead letter.
    pub failures: u32,
    /// How long to wait for a lock that another connection holds.
    pub busy: Duration,
}

impl Default for Options {
    fn default() -> Options {
        Options { failures: 3, busy: Duration::from_secs(5) }
    }
}

/// Why something could not be done.
#[derive(Clone, Debug)]
struct Failure {
    transient: bool,
    why: String,
}

impl Failure {
    fn lasting(why: impl Into<String>) -> Failure {
        Failure { transient: false, why: why.into() }
    }

    fn of(path: &Path, busy: Duration, error: &rusqlite::Error) -> Failure {
        let path = path.display();
        match error.sqlite_error_code() {
            Some(ErrorCode::DiskFull) => Failure::lasting(format!(
                "no room for {path}: what is stored stays stored; make room and start again with the same state"
            )),
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Failure {
                transient: true,
                why: format!("another program has held {path} locked for more than {busy:?}"),
            },
            Some(ErrorCode::NotADatabase) => Failure::lasting(format!(
                "{path} is no database: choose another state, or move this file away"
            )),
            _ => Failure::lasting(format!("{path}: {error}")),
        }
    }
}

impl From<Failure> for QueueError {
    fn from(failure: Failure) -> QueueError {
        if failure.transient {
            QueueError::Transient(failure.why)
        } else {
            QueueError::Permanent(failure.why)
        }
    }
}

impl From<Failure> for DatabaseError {
    fn from(failure: Failure) -> DatabaseError {
        if failure.transient {
            DatabaseError::Transient(failure.why)
        } else {
            DatabaseError::Permanent(failure.why)
        }
    }
}

/// What is asked of the connection.
#[derive(Debug)]
enum Ask {
    Offer(Vec<Task>),
    Take(usize),
    Finish(Vec<i64>, Vec<Task>),
    Fail { id: i64, why: String, again: bool },
    Store(Vec<Page>),
}

/// What it answers.
#[derive(Debug)]
enum Told {
    Number(u64),
    Tasks(Vec<Taken>),
}

type Reply = oneshot::Sender<Result<Told, Failure>>;

/// Where the tasks are, and how busy the connection has been. Written by its thread alone, after each
/// commit, so that looking costs nothing.
#[derive(Debug, Default)]
struct Counts {
    seen: AtomicU64,
    waiting: AtomicU64,
    taken: AtomicU64,
    done: AtomicU64,
    dead: AtomicU64,
    pages: AtomicU64,
    busy_ns: AtomicU64,
}

impl Counts {
    fn status(&self) -> QueueStatus {
        QueueStatus {
            seen: self.seen.load(Relaxed),
            waiting: self.waiting.load(Relaxed),
            in_flight: self.taken.load(Relaxed),
            done: self.done.load(Relaxed),
            dead: self.dead.load(Relaxed),
        }
    }

    fn set(&self, tally: &Tally) {
        let QueueStatus { seen, waiting, in_flight, done, dead } = tally.tasks;
        self.seen.store(seen, Relaxed);
        self.waiting.store(waiting, Relaxed);
        self.taken.store(in_flight, Relaxed);
        self.done.store(done, Relaxed);
        self.dead.store(dead, Relaxed);
        self.pages.store(tally.pages, Relaxed);
    }
}

/// The same counts, as the transaction under way sees them.
#[derive(Clone, Copy, Debug, Default)]
struct Tally {
    tasks: QueueStatus,
    pages: u64,
}

/// Queue and database of a crawl in a folder. See the module's documentation for what holds.
pub struct Embedded {
    sender: Option<mpsc::Sender<(Ask, Reply)>>,
    counts: Arc<Counts>,
    /// Woken when a task has come, or when none will.
    news: Arc<Notify>,
    failed: Arc<Mutex<Option<Failure>>>,
    thread: Option<JoinHandle<()>>,
    first: Option<String>,
    /// Released when the process ends, however it ends.
    _lock: File,
}

impl Embedded {
    /// Opens the crawl in a folder, or begins one there. Tasks that were taken are waiting again:
    /// whoever took them has ended.
    ///
    /// # Errors
    /// When it is in use, foreign, locked, or cannot be read or written.
    pub fn open(dir: &Path, options: Options) -> Result<Embedded, QueueError> {
        Embedded::open_with(dir, options, || {})
    }

    /// The same; the thread that has the connection begins with `on_start`.
    ///
    /// # Errors
    /// As [`Embedded::open`].
    pub fn open_with(
        dir: &Path,
        options: Options,
        on_start: impl FnOnce() + Send + 'static,
    ) -> Result<Embedded, QueueError> {
        let lock = locked(dir)?;
        let (mut connection, first) = Writer::open(dir, options)?;
        let (sender, asked) = mpsc::channel(WAITING);
        let (counts, news) = (Arc::new(Counts::default()), Arc::new(Notify::new()));
        counts.set(&connection.tally);
        let failed = Arc::new(Mutex::new(None));
        let shared = (counts.clone(), news.clone(), failed.clone());
        let thread = std::thread::Builder::new()
            .name("writer".into())
            .spawn(move || {
                on_start();
                connection.serve(asked, &shared.0, &shared.1, &shared.2);
            })
            .map_err(|e| QueueError::Permanent(format!("no thread for writing: {e}")))?;
        Ok(Embedded {
            sender: Some(sender),
            counts,
            news,
            failed,
            thread: Some(thread),
            first,
            _lock: lock,
        })
    }

    /// The first url that was ever offered here, before it was opened.
    pub fn first(&self) -> Option<&str> {
        self.first.as_deref()
    }

    /// Where the tasks are, without waiting.
    pub fn now(&self) -> QueueStatus {
        self.counts.status()
    }

    /// How long the connection has been at work since the file was opened.
    pub fn busy(&self) -> Duration {
        Duration::from_nanos(self.counts.busy_ns.load(Relaxed))
    }

    async fn ask(&self, ask: Ask) -> Result<Told, Failure> {
        let (reply, answer) = oneshot::channel();
        let sender = self.sender.as_ref();
        // A full channel makes everybody wait here, and nobody block.
        match sender {
            Some(sender) => sender.send((ask, reply)).await.map_err(|_| self.gone())?,
            None => return Err(self.gone()),
        }
        answer.await.unwrap_or_else(|_| Err(self.gone()))
    }

    async fn number(&self, ask: Ask) -> Result<u64, Failure> {
        match self.ask(ask).await? {
            Told::Number(number) => Ok(number),
            Told::Tasks(tasks) => Ok(tasks.len() as u64),
        }
    }

    fn gone(&self) -> Failure {
        let failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        let ended = || Failure::lasting("the thread that writes has ended");
        failed.clone().unwrap_or_else(ended)
    }
}

impl Drop for Embedded {
    /// Waits until everything has been written.
    fn drop(&mut self) {
        drop(self.sender.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl TaskQueue for Embedded {
    fn offer<'a>(&'a self, tasks: &'a [Task]) -> BoxFuture<'a, Result<u64, QueueError>> {
        Box::pin(async move { Ok(self.number(Ask::Offer(tasks.to_vec())).await?) })
    }

    fn take<'a>(
        &'a self,
        most: usize,
        wait: Duration,
    ) -> BoxFuture<'a, Result<Vec<Taken>, QueueError>> {
        Box::pin(async move {
            let until = tokio::time::Instant::now() + wait;
            loop {
                // Listening begins before looking: what comes in between is not missed.
                let mut news = std::pin::pin!(self.news.notified());
                news.as_mut().enable();
                let Told::Tasks(tasks) = self.ask(Ask::Take(most)).await? else {
                    return Ok(Vec::new());
                };
                if !tasks.is_empty() || self.now().over() {
                    return Ok(tasks);
                }
                if timeout_at(until, news).await.is_err() {
                    return Ok(tasks);
                }
            }
        })
    }

    /// One process at a time: nobody else could take them.
    fn renew<'a>(&'a self, _taken: &'a [Taken]) -> BoxFuture<'a, Result<(), QueueError>> {
        Box::pin(async move { Ok(()) })
    }

    fn finish<'a>(
        &'a self,
        done: &'a [Taken],
        found: &'a [Task],
    ) -> BoxFuture<'a, Result<(), QueueError>> {
        Box::pin(async move {
            let ids = done.iter().map(id).collect::<Result<_, _>>()?;
            self.ask(Ask::Finish(ids, found.to_vec())).await?;
            Ok(())
        })
    }

    fn fail<'a>(
        &'a self,
        failed: &'a Taken,
        why: &'a str,
        again: bool,
    ) -> BoxFuture<'a, Result<(), QueueError>> {
        Box::pin(async move {
            let (id, why) = (id(failed)?, why.to_string());
            self.ask(Ask::Fail { id, why, again }).await?;
            Ok(())
        })
    }

    fn status<'a>(&'a self) -> BoxFuture<'a, Result<QueueStatus, QueueError>> {
        Box::pin(async move { Ok(self.now()) })
    }
}

impl Database for Embedded {
    fn store<'a>(&'a self, pages: &'a [Page]) -> BoxFuture<'a, Result<u64, DatabaseError>> {
        Box::pin(async move { Ok(self.number(Ask::Store(pages.to_vec())).await?) })
    }

    fn count<'a>(&'a self) -> BoxFuture<'a, Result<u64, DatabaseError>> {
        Box::pin(async move { Ok(self.counts.pages.load(Relaxed)) })
    }
}

fn id(taken: &Taken) -> Result<i64, QueueError> {
    let wrong = |_| QueueError::Permanent(format!("{} was not taken here", taken.task.url));
    taken.receipt.parse().map_err(wrong)
}

fn path(dir: &Path) -> PathBuf {
    dir.join("crawl.db")
}

fn locked(dir: &Path) -> Result<File, QueueError> {
    let refuse = |why: String| QueueError::Permanent(why);
    std::fs::create_dir_all(dir).map_err(|e| refuse(format!("{}: {e}", dir.display())))?;
    let path = dir.join("lock");
    let lock = OpenOptions::new().create(true).truncate(false).write(true).open(&path);
    let lock = lock.map_err(|e| refuse(format!("{}: {e}", path.display())))?;
    lock.try_lock().map_err(|error| match error {
        TryLockError::WouldBlock => refuse(format!(
            "another crawl works on {}: wait for its end, or choose another state",
            dir.display()
        )),
        TryLockError::Error(error) => refuse(format!("{}: {error}", path.display())),
    })?;
    Ok(lock)
}

/// The connection, and what is asked of it.
struct Writer {
    db: Connection,
    path: PathBuf,
    options: Options,
    tally: Tally,
}

impl Writer {
    fn open(dir: &Path, options: Options) -> Result<(Writer, Option<String>), Failure> {
        let path = path(dir);
        let error = |e: &rusqlite::Error| Failure::of(&path, options.busy, e);
        let mut db = Connection::open(&path).map_err(|e| error(&e))?;
        let (tally, first) = begin(&mut db, options).map_err(|e| error(&e))?.ok_or_else(|| {
            Failure::lasting(format!(
                "{} has tables of another version: choose another state, or move this file away",
                path.display()
            ))
        })?;
        let writer = Writer { db, path, options, tally };
        Ok((writer, first))
    }

    /// Answers until nobody can ask any more, or until it cannot go on.
    fn serve(
        &mut self,
        mut asked: mpsc::Receiver<(Ask, Reply)>,
        counts: &Counts,
        news: &Notify,
        failed: &Mutex<Option<Failure>>,
    ) {
        let mut together = Vec::with_capacity(WAITING);
        while asked.blocking_recv_many(&mut together, WAITING) > 0 {
            let begun = Instant::now();
            let (asks, replies): (Vec<Ask>, Vec<Reply>) = together.drain(..).unzip();
            let before = self.tally;
            let result = self.commit(&asks);
            if result.is_err() {
                self.tally = before;
            }
            counts.set(&self.tally);
            let busy = begun.elapsed().as_nanos() as u64;
            counts.busy_ns.fetch_add(busy, Relaxed);
            if self.tally.tasks.waiting > 0 || self.tally.tasks.over() {
                news.notify_waiters();
            }
            match result {
                Ok(told) => {
                    for (reply, told) in replies.into_iter().zip(told) {
                        // Whoever has given up does not listen.
                        let _ = reply.send(Ok(told));
                    }
                }
                Err(failure) => {
                    if !failure.transient {
                        *failed.lock().unwrap_or_else(PoisonError::into_inner) =
                            Some(failure.clone());
                    }
                    for reply in replies {
                        let _ = reply.send(Err(failure.clone()));
                    }
                    if !failure.transient {
                        return;
                    }
                }
            }
        }
    }

    /// Does all that is asked as one transaction.
    fn commit(&mut self, asks: &[Ask]) -> Result<Vec<Told>, Failure> {
        let (options, tally) = (self.options, &mut self.tally);
        let db = &mut self.db;
        let mut all = || -> rusqlite::Result<Vec<Told>> {
            let tx = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let told = asks
                .iter()
                .map(|ask| answer(&tx, tally, options, ask))
                .collect::<rusqlite::Result<Vec<Told>>>()?;
            tx.commit()?;
            Ok(told)
        };
        all().map_err(|e| Failure::of(&self.path, options.busy, &e))
    }
}

/// Sets the connection up, makes the tables, once, and makes sense of what an earlier process left.
/// `None` for tables of another version.
fn begin(
    db: &mut Connection,
    options: Options,
) -> rusqlite::Result<Option<(Tally, Option<String>)>> {
    db.busy_timeout(options.busy)?;
    // Readers do not wait for the writer, and a commit is one append to the log. A process that is
    // killed loses nothing; a machine without power may lose its last commits, whole ones.
    db.pragma_update(None, "journal_mode", "WAL")?;
    db.pragma_update(None, "synchronous", "NORMAL")?;
    db.pragma_update(None, "cache_size", -CACHE_KIB)?;
    let tx = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let version: i64 = tx.pragma_query_value(None, "user_version", |row| row.get(0))?;
    if version == 0 {
        tx.execute_batch(TABLES)?;
        tx.pragma_update(None, "user_version", SCHEMA)?;
    } else if version != SCHEMA {
        return Ok(None);
    }
    tx.execute("UPDATE tasks SET state = ?1 WHERE state = ?2", [OPEN, TAKEN])?;
    let first = tx
        .query_row("SELECT url FROM tasks ORDER BY id LIMIT 1", [], |row| row.get(0))
        .optional()?;
    let tally = tally(&tx)?;
    tx.commit()?;
    Ok(Some((tally, first)))
}

fn tally(db: &Connection) -> rusqlite::Result<Tally> {
    let mut tally = Tally::default();
    let mut states = db.prepare("SELECT state, count(*) FROM tasks GROUP BY state")?;
    let mut rows = states.query([])?;
    while let Some(row) = rows.next()? {
        let (state, count): (i64, i64) = (row.get(0)?, row.get(1)?);
        let count = count as u64;
        tally.tasks.seen += count;
        match state {
            OPEN => tally.tasks.waiting = count,
            TAKEN => tally.tasks.in_flight = count,
            DONE => tally.tasks.done = count,
            _ => tally.tasks.dead = count,
        }
    }
    let pages: i64 = db.query_row("SELECT count(*) FROM pages", [], |row| row.get(0))?;
    tally.pages = pages as u64;
    Ok(tally)
}

fn answer(
    tx: &Transaction,
    tally: &mut Tally,
    options: Options,
    ask: &Ask,
) -> rusqlite::Result<Told> {
    let tasks = &mut tally.tasks;
    match ask {
        Ask::Offer(offered) => {
            let new = offer(tx, offered)?;
            tasks.seen += new;
            tasks.waiting += new;
            Ok(Told::Number(new))
        }
        Ask::Take(most) => {
            let taken = take(tx, *most)?;
            tasks.waiting -= taken.len() as u64;
            tasks.in_flight += taken.len() as u64;
            Ok(Told::Tasks(taken))
        }
        Ask::Finish(ids, found) => {
            let mut done = tx.prepare("UPDATE tasks SET state = 2 WHERE id = ?1 AND state = 1")?;
            let mut number = 0;
            for id in ids {
                number += done.execute([id])? as u64;
            }
            tasks.in_flight -= number;
            tasks.done += number;
            let new = offer(tx, found)?;
            tasks.seen += new;
            tasks.waiting += new;
            Ok(Told::Number(number))
        }
        Ask::Fail { id, why, again } => {
            let mut failed = tx.prepare(
                "UPDATE tasks SET failures = failures + 1, reason = ?2,
                     state = CASE WHEN ?3 AND failures + 1 < ?4 THEN 0 ELSE 3 END
                 WHERE id = ?1 AND state = 1 RETURNING state",
            )?;
            let state: Option<i64> = failed
                .query_row(params![id, why, again, options.failures], |row| row.get(0))
                .optional()?;
            match state {
                Some(OPEN) => {
                    tasks.in_flight -= 1;
                    tasks.waiting += 1;
                }
                Some(_) => {
                    tasks.in_flight -= 1;
                    tasks.dead += 1;
                }
                None => {}
            }
            Ok(Told::Number(u64::from(state == Some(DEAD))))
        }
        Ask::Store(pages) => {
            let mut insert = tx.prepare(
                "INSERT INTO pages (url, title, price_cents, category, text_bytes, links)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT DO NOTHING",
            )?;
            let mut new = 0;
            for page in pages {
                new += insert.execute(params![
                    page.url,
                    page.title,
                    page.price_cents,
                    page.category,
                    page.text_bytes,
                    page.links
                ])? as u64;
            }
            tally.pages += new;
            Ok(Told::Number(new))
        }
    }
}

/// How many were new.
fn offer(tx: &Transaction, tasks: &[Task]) -> rusqlite::Result<u64> {
    // Looking first is cheaper than to fail: most links lead to what was seen long ago.
    let mut known = tx.prepare("SELECT 1 FROM tasks WHERE url = ?1")?;
    let mut insert = tx.prepare("INSERT INTO tasks (url, depth) VALUES (?1, ?2)")?;
    let mut new = 0;
    for task in tasks {
        if !known.exists([&task.url])? {
            insert.execute(params![task.url, task.depth])?;
            new += 1;
        }
    }
    Ok(new)
}

/// In the order in which they were found, so that the crawl goes in breadth.
fn take(tx: &Transaction, most: usize) -> rusqlite::Result<Vec<Taken>> {
    let mut select = tx.prepare(
        "SELECT id, url, depth, deliveries + 1 FROM tasks INDEXED BY waiting
         WHERE state = 0 ORDER BY id LIMIT ?1",
    )?;
    let mut update =
        tx.prepare("UPDATE tasks SET state = 1, deliveries = deliveries + 1 WHERE id = ?1")?;
    let rows = select.query_map([most as i64], |row| {
        Ok(Taken {
            task: Task { url: row.get(1)?, depth: row.get(2)? },
            delivery: row.get(3)?,
            receipt: row.get::<_, i64>(0)?.to_string(),
        })
    })?;
    let taken = rows.collect::<rusqlite::Result<Vec<Taken>>>()?;
    for taken in &taken {
        update.execute([taken.receipt.as_str()])?;
    }
    Ok(taken)
}

/// A crawl as it lies on the disk, counted from the evidence.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Books {
    /// Where the tasks are.
    pub tasks: QueueStatus,
    /// Pages stored.
    pub pages: u64,
    /// Pages of products: those with a price.
    pub products: u64,
    /// Sum of the prices.
    pub price_cents: u64,
    /// Tasks that are done and have no page.
    pub lost: u64,
    /// Pages of urls that nobody ever found: stored under a second name.
    pub strays: u64,
    /// Why dead letters are dead, and how many are.
    pub reasons: Vec<(String, u64)>,
}

impl Books {
    /// Reads them without changing anything, whether or not a process works on the state.
    ///
    /// # Errors
    /// When there is no state, or it cannot be read.
    pub fn read(dir: &Path) -> Result<Books, DatabaseError> {
        let (path, busy) = (path(dir), Duration::from_secs(5));
        let read = || -> rusqlite::Result<Books> {
            let db = connect(&path, busy)?;
            let one = |sql: &str| db.query_row(sql, [], |row| row.get::<_, i64>(0));
            let Tally { tasks, pages } = tally(&db)?;
            let mut reasons = db.prepare(
                "SELECT coalesce(reason, ''), count(*) FROM tasks WHERE state = 3 GROUP BY 1",
            )?;
            let reasons = reasons
                .query_map([], |row| Ok((row.get(0)?, row.get::<_, i64>(1)? as u64)))?
                .collect::<rusqlite::Result<_>>()?;
            Ok(Books {
                tasks,
                pages,
                products: one("SELECT count(price_cents) FROM pages")? as u64,
                price_cents: one("SELECT coalesce(sum(price_cents), 0) FROM pages")? as u64,
                lost: one(
                    "SELECT count(*) FROM tasks WHERE state = 2 AND url NOT IN (SELECT url FROM pages)",
                )? as u64,
                strays: one("SELECT count(*) FROM pages WHERE url NOT IN (SELECT url FROM tasks)")?
                    as u64,
                reasons,
            })
        };
        read().map_err(|e| Failure::of(&path, busy, &e).into())
    }

    /// Calls `each` with every page, one after another, in no particular order.
    ///
    /// # Errors
    /// As [`Books::read`].
    pub fn pages(dir: &Path, mut each: impl FnMut(&Page)) -> Result<(), DatabaseError> {
        let (path, busy) = (path(dir), Duration::from_secs(5));
        let mut read = || -> rusqlite::Result<()> {
            let db = connect(&path, busy)?;
            let mut pages = db.prepare(
                "SELECT url, title, price_cents, category, text_bytes, links FROM pages",
            )?;
            let mut rows = pages.query([])?;
            while let Some(row) = rows.next()? {
                each(&Page {
                    url: row.get(0)?,
                    title: row.get(1)?,
                    price_cents: row.get(2)?,
                    category: row.get(3)?,
                    text_bytes: row.get(4)?,
                    links: row.get(5)?,
                });
            }
            Ok(())
        };
        read().map_err(|e| Failure::of(&path, busy, &e).into())
    }
}

fn connect(path: &Path, busy: Duration) -> rusqlite::Result<Connection> {
    // A log that a killed process left must be read back, which needs to write.
    let db = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    db.busy_timeout(busy)?;
    Ok(db)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn task(name: &str) -> Task {
        Task { url: format!("http://shop/{name}"), depth: 1 }
    }

    fn page(task: &Task) -> Page {
        Page {
            url: task.url.clone(),
            title: "a title".into(),
            price_cents: Some(1299),
            category: "toys".into(),
            text_bytes: 10,
            links: 2,
        }
    }

    fn run<T>(future: impl Future<Output = T>) -> T {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
        runtime.unwrap().block_on(future)
    }

    fn open(dir: &Path) -> Embedded {
        Embedded::open(dir, Options::default()).unwrap()
    }

    #[test]
    fn a_url_is_handed_out_once_however_often_it_is_offered() {
        let dir = tempfile::tempdir().unwrap();
        let crawl = open(dir.path());
        run(async {
            let tasks = [task("a"), task("b"), task("a")];
            assert_eq!(crawl.offer(&tasks).await.unwrap(), 2);
            assert_eq!(crawl.offer(&tasks).await.unwrap(), 0);
            let taken = crawl.take(10, Duration::ZERO).await.unwrap();
            let urls: Vec<_> = taken.iter().map(|t| t.task.url.as_str()).collect();
            assert_eq!(urls, ["http://shop/a", "http://shop/b"]);
            crawl.store(&[page(&tasks[0])]).await.unwrap();
            crawl.finish(&taken[..1], &[task("b"), task("c")]).await.unwrap();
            assert_eq!(crawl.offer(&tasks).await.unwrap(), 0);
            let status = crawl.status().await.unwrap();
            let expected = QueueStatus { seen: 3, waiting: 1, in_flight: 1, done: 1, dead: 0 };
            assert_eq!(status, expected);
            assert_eq!(crawl.count().await.unwrap(), 1);
        });
        drop(crawl);
        let books = Books::read(dir.path()).unwrap();
        assert_eq!((books.pages, books.lost, books.strays), (1, 0, 0));
        assert_eq!((books.products, books.price_cents), (1, 1299));
    }

    #[test]
    fn who_died_with_a_task_gives_it_back_and_storing_twice_changes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let crawl = open(dir.path());
        run(async {
            crawl.offer(&[task("a")]).await.unwrap();
            let taken = crawl.take(1, Duration::ZERO).await.unwrap();
            assert_eq!(taken[0].delivery, 1);
            assert_eq!(crawl.store(&[page(&taken[0].task)]).await.unwrap(), 1);
        });
        // Between storing and finishing it ends.
        drop(crawl);
        let crawl = open(dir.path());
        assert_eq!(crawl.first(), Some("http://shop/a"));
        run(async {
            let taken = crawl.take(1, Duration::ZERO).await.unwrap();
            assert_eq!(taken[0].delivery, 2);
            let changed = Page { title: "another".into(), ..page(&taken[0].task) };
            assert_eq!(crawl.store(&[changed]).await.unwrap(), 0);
            crawl.finish(&taken, &[]).await.unwrap();
            // Once more changes nothing either.
            crawl.finish(&taken, &[]).await.unwrap();
            assert!(crawl.status().await.unwrap().over());
            assert!(crawl.take(1, Duration::from_secs(60)).await.unwrap().is_empty());
        });
        drop(crawl);
        let mut titles = Vec::new();
        Books::pages(dir.path(), |page| titles.push(page.title.clone())).unwrap();
        assert_eq!(titles, ["a title"]);
    }

    #[test]
    fn a_failure_comes_again_until_it_is_a_dead_letter_and_at_once_where_that_cannot_help() {
        let dir = tempfile::tempdir().unwrap();
        let crawl = open(dir.path());
        run(async {
            crawl.offer(&[task("a")]).await.unwrap();
            for delivery in 1..=3 {
                let taken = crawl.take(1, Duration::ZERO).await.unwrap();
                assert_eq!(taken[0].delivery, delivery);
                crawl.fail(&taken[0], "no answer", true).await.unwrap();
            }
            assert_eq!(crawl.now().dead, 1);
            crawl.offer(&[task("gone")]).await.unwrap();
            let taken = crawl.take(1, Duration::ZERO).await.unwrap();
            crawl.fail(&taken[0], "status 404", false).await.unwrap();
            assert_eq!(crawl.now().dead, 2);
            assert!(crawl.now().over());
        });
        drop(crawl);
        let books = Books::read(dir.path()).unwrap();
        let reasons = [("no answer".to_string(), 1), ("status 404".to_string(), 1)];
        assert_eq!(books.reasons, reasons);
    }

    #[test]
    fn a_taker_waits_for_what_another_finds() {
        let dir = tempfile::tempdir().unwrap();
        let crawl = open(dir.path());
        run(async {
            crawl.offer(&[task("a")]).await.unwrap();
            let first = crawl.take(1, Duration::ZERO).await.unwrap();
            let found = [task("b")];
            let waits = crawl.take(1, Duration::from_secs(60));
            let (second, finished) = tokio::join!(waits, crawl.finish(&first, &found));
            finished.unwrap();
            assert_eq!(second.unwrap()[0].task, found[0]);
            // And a moment is enough where nothing comes.
            assert!(crawl.take(1, Duration::from_millis(1)).await.unwrap().is_empty());
        });
    }

    #[test]
    fn one_process_at_a_time_and_only_its_own_file() {
        let dir = tempfile::tempdir().unwrap();
        let crawl = open(dir.path());
        let why = |result: Result<Embedded, QueueError>| result.map(drop).unwrap_err().to_string();
        let second = Embedded::open(dir.path(), Options::default());
        assert!(why(second).contains("another crawl works on"));
        drop(crawl);
        let db = Connection::open(path(dir.path())).unwrap();
        db.pragma_update(None, "user_version", 12).unwrap();
        drop(db);
        let foreign = Embedded::open(dir.path(), Options::default());
        assert!(why(foreign).contains("another version"));
        std::fs::write(path(dir.path()), [7; 4096]).unwrap();
        let broken = Embedded::open(dir.path(), Options::default());
        assert!(why(broken).contains("no database"));
    }

    #[test]
    fn a_lock_of_another_program_is_transient() {
        let dir = tempfile::tempdir().unwrap();
        let options = Options { busy: Duration::from_millis(20), ..Options::default() };
        let crawl = Embedded::open(dir.path(), options).unwrap();
        let other = Connection::open(path(dir.path())).unwrap();
        other.execute_batch("BEGIN IMMEDIATE").unwrap();
        let refused = run(crawl.offer(&[task("a")])).unwrap_err();
        assert!(refused.is_transient(), "{refused}");
        other.execute_batch("ROLLBACK").unwrap();
        assert_eq!(run(crawl.offer(&[task("a")])), Ok(1));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        /// Whatever the links are, and wherever the process ends on its way, each url is done once.
        #[test]
        fn a_walk_over_any_graph_ends_with_each_url_done_once(
            links in prop::collection::vec(prop::collection::vec(0usize..20, 0..4), 20),
            most in 1usize..7, restart_every in 2usize..9,
        ) {
            let dir = tempfile::tempdir().unwrap();
            let mut crawl = open(dir.path());
            run(crawl.offer(&[task("0")])).unwrap();
            let (mut rounds, mut fetched) = (0, 0);
            loop {
                rounds += 1;
                let taken = run(crawl.take(most, Duration::ZERO)).unwrap();
                if taken.is_empty() {
                    prop_assert!(crawl.now().over());
                    break;
                }
                fetched += taken.len();
                let pages: Vec<Page> = taken.iter().map(|t| page(&t.task)).collect();
                run(crawl.store(&pages)).unwrap();
                if rounds % restart_every == 0 {
                    drop(crawl);
                    crawl = open(dir.path());
                    continue;
                }
                let of = |t: &Taken| t.task.url.rsplit('/').next().unwrap().parse::<usize>().unwrap();
                let found: Vec<Task> = taken.iter()
                    .flat_map(|t| links[of(t)].iter().map(|n| task(&n.to_string())))
                    .collect();
                run(crawl.finish(&taken, &found)).unwrap();
            }
            drop(crawl);
            // The simple way.
            let (mut seen, mut todo) = (std::collections::BTreeSet::from([0]), vec![0]);
            while let Some(at) = todo.pop() {
                todo.extend(links[at].iter().filter(|n| seen.insert(**n)));
            }
            let books = Books::read(dir.path()).unwrap();
            prop_assert_eq!((books.pages, books.tasks.done), (seen.len() as u64, seen.len() as u64));
            prop_assert_eq!((books.lost, books.strays), (0, 0));
            prop_assert!(fetched >= seen.len());
        }
    }
}
