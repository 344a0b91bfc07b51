//! Where a pipeline keeps what it has done: a database, a file to fall back to, and what both mean
//! after the process was killed.
//!
//! # What holds
//!
//! Whenever the process ends, each item is in exactly one of four places: not done, in the table
//! `results`, in the fallback file, or failed with a reason. An item is never in two.
//!
//! - A result and the status `stored` are one transaction: both are there or neither.
//! - A line of the fallback file is on the disk *before* the status says so. A line without a status
//!   means that the process ended in between; [`Store::open`] recognises it by its item number and
//!   does not do that item again. A last line that was torn is cut off.
//! - `fetched` and `processed` are progress, not promises: what was fetched is gone with the
//!   process, so those items begin again. The work is done at least once, its effect exactly once.
//! - One process at a time: a lock on a file, which the system releases whatever ends the process.
//!
//! # What blocks
//!
//! Calls of SQLite block their thread, for as long as another connection holds a lock. So one
//! thread has the connection, and everybody else sends to it through a bounded channel. It takes
//! all that has come since it last looked and commits that as one transaction.

use std::{
    collections::BTreeMap,
    fmt,
    fs::{File, OpenOptions, TryLockError},
    io::{self, Read, Write as _},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU8, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

use rusqlite::{Connection, ErrorCode, OpenFlags, TransactionBehavior, params};
use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, oneshot};

/// Writes that may wait for the thread that has the connection.
const WAITING: usize = 64;
/// Version of the tables.
const SCHEMA: i64 = 1;

/// How a database is opened.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// What a commit waits for.
    pub synchronous: Synchronous,
    /// How long to wait for a lock that another connection holds.
    pub busy: Duration,
    /// Largest size of the database in pages of 4 KiB; `None` for as large as the disk.
    pub pages: Option<u32>,
}

impl Default for Options {
    fn default() -> Options {
        Options { synchronous: Synchronous::Normal, busy: Duration::from_secs(5), pages: None }
    }
}

/// What a commit waits for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Synchronous {
    /// For the write-ahead log to be with the operating system. A process that is killed loses
    /// nothing. A machine that loses power loses its last commits, whole ones: statuses and
    /// results together, so those items are done again.
    #[default]
    Normal,
    /// For the disk. Needed when somebody acts on an answer "stored" that cannot be taken back.
    Full,
}

/// Where an item is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Status {
    /// Not begun, or begun in a process that has ended.
    Pending,
    /// Its data have come.
    Fetched,
    /// Its result is computed.
    Processed,
    /// Its result is in the database or in the fallback file.
    Stored,
    /// It has no result, for a reason that is written down.
    Failed,
}

impl Status {
    const ALL: [Status; 5] =
        [Status::Pending, Status::Fetched, Status::Processed, Status::Stored, Status::Failed];

    /// As written in the database.
    pub fn name(self) -> &'static str {
        match self {
            Status::Pending => "pending",
            Status::Fetched => "fetched",
            Status::Processed => "processed",
            Status::Stored => "stored",
            Status::Failed => "failed",
        }
    }
}

/// What processing an item gives.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Output {
    /// The item's number: the key by which it is known everywhere.
    pub item: usize,
    /// A digest of the body, in hexadecimal.
    pub digest: String,
    /// The body.
    pub body: String,
}

/// Why a store cannot go on. Every sentence says what to do; the state can be resumed after each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreError {
    /// No room for the database or the fallback file.
    Full(PathBuf, String),
    /// Another connection holds the database's lock.
    Locked(PathBuf, Duration),
    /// Another process works on this state.
    InUse(PathBuf),
    /// What is there is not the state of this run.
    Foreign(PathBuf, String),
    /// Anything else.
    Other(PathBuf, String),
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StoreError::Full(path, why) => write!(
                f,
                "no room for {}: {why}. What is stored stays stored. Make room (or raise --db-pages) and start again with the same --state",
                path.display()
            ),
            StoreError::Locked(path, busy) => write!(
                f,
                "another program has held {} locked for more than {busy:?}. What is stored stays stored. End that program and start again with the same --state",
                path.display()
            ),
            StoreError::InUse(dir) => write!(
                f,
                "another pipeline works on {}: two at once would store items twice. Wait for its end, or choose another --state",
                dir.display()
            ),
            StoreError::Foreign(path, why) => write!(
                f,
                "{}: {why}. Choose another --state, or move this one away",
                path.display()
            ),
            StoreError::Other(path, why) => write!(f, "{}: {why}", path.display()),
        }
    }
}

impl std::error::Error for StoreError {}

/// Who decides about a write that takes too long: whoever is first. The thread that writes takes the
/// claim when it begins; a client that gives up abandons it. Without it, a write given up on could
/// still happen.
#[derive(Clone, Debug, Default)]
pub struct Claim(Arc<AtomicU8>);

impl Claim {
    const OPEN: u8 = 0;
    const TAKEN: u8 = 1;
    const ABANDONED: u8 = 2;

    fn decide(&self, as_what: u8) -> bool {
        self.0.compare_exchange(Self::OPEN, as_what, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }

    /// True when the write has not begun; then it never will.
    pub fn abandon(&self) -> bool {
        self.decide(Self::ABANDONED)
    }

    fn take(&self) -> bool {
        self.decide(Self::TAKEN)
    }
}

/// What is asked of the connection.
#[derive(Debug)]
enum Ask {
    /// Progress: nobody waits for it.
    Note(usize, Status),
    Insert(Output, Claim),
    FellBack(usize),
    Fail(usize, String),
    Has(usize),
}

type Reply = oneshot::Sender<Result<bool, StoreError>>;

/// The state of a run, open. See the module's documentation for what holds.
pub struct Store {
    way: Way,
    fallback: Arc<Mutex<Fallback>>,
    /// Released when the process ends, however it ends.
    _lock: File,
}

enum Way {
    Thread {
        sender: mpsc::Sender<(Ask, Option<Reply>)>,
        /// Why the thread has stopped.
        failed: Arc<Mutex<Option<StoreError>>>,
        thread: JoinHandle<()>,
    },
    /// The wrong way.
    InPlace(Mutex<Database>),
}

/// What was there when a state was opened.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// Items still to be done, in order.
    pub todo: Vec<usize>,
    /// Items done before.
    pub done: usize,
    /// Items that an earlier process had begun.
    pub begun: usize,
    /// Lines of the fallback file without a status: now they have one.
    pub recognised: usize,
    /// True when the last line of the fallback file was torn and has been cut off.
    pub torn: bool,
}

impl Store {
    /// Opens the state in a folder, or begins one there. Writes go through a thread of their own.
    ///
    /// # Errors
    /// When the state is in use, foreign, locked, or cannot be read or written.
    pub fn open(dir: &Path, items: usize, options: Options) -> Result<(Store, Found), StoreError> {
        let (mut database, fallback, lock, found) = prepare(dir, items, options)?;
        let (sender, mut asked) = mpsc::channel::<(Ask, Option<Reply>)>(WAITING);
        let failed = Arc::new(Mutex::new(None));
        let why = failed.clone();
        let writer = move || {
            let mut together = Vec::new();
            while asked.blocking_recv_many(&mut together, WAITING) > 0 {
                let (asks, replies): (Vec<Ask>, Vec<Option<Reply>>) = together.drain(..).unzip();
                let result = database.commit(&asks);
                if let Err(error) = &result {
                    *why.lock().unwrap_or_else(PoisonError::into_inner) = Some(error.clone());
                }
                for (i, reply) in replies.into_iter().enumerate() {
                    let answer = result.as_ref().map(|done| done[i]).map_err(Clone::clone);
                    // Whoever has given up does not listen.
                    let _ = reply.map(|r| r.send(answer));
                }
                if result.is_err() {
                    return;
                }
            }
        };
        let thread = std::thread::Builder::new()
            .name("writer".into())
            .spawn(writer)
            .map_err(|e| StoreError::Other(dir.into(), format!("no thread for writing: {e}")))?;
        let store = Store {
            way: Way::Thread { sender, failed, thread },
            fallback: Arc::new(Mutex::new(fallback)),
            _lock: lock,
        };
        Ok((store, found))
    }

    /// The wrong way: the same store, whose every call blocks the thread that makes it.
    ///
    /// # Errors
    /// As [`Store::open`].
    pub fn open_in_place(
        dir: &Path,
        items: usize,
        options: Options,
    ) -> Result<(Store, Found), StoreError> {
        let (database, fallback, lock, found) = prepare(dir, items, options)?;
        let store = Store {
            way: Way::InPlace(Mutex::new(database)),
            fallback: Arc::new(Mutex::new(fallback)),
            _lock: lock,
        };
        Ok((store, found))
    }

    /// Writes down progress. Waits for a place in the queue, not for the disk.
    ///
    /// # Errors
    /// When the store has failed.
    pub async fn note(&self, item: usize, status: Status) -> Result<(), StoreError> {
        self.ask(Ask::Note(item, status), false).await.map(drop)
    }

    /// Stores a result in the database, unless the claim has been abandoned; true when it is there.
    ///
    /// # Errors
    /// When the store has failed.
    pub async fn insert(&self, output: Output, claim: Claim) -> Result<bool, StoreError> {
        self.ask(Ask::Insert(output, claim), true).await
    }

    /// True when the database has a result of this item. Asked after everything sent before.
    ///
    /// # Errors
    /// When the store has failed.
    pub async fn has(&self, item: usize) -> Result<bool, StoreError> {
        self.ask(Ask::Has(item), true).await
    }

    /// Stores a result in the fallback file: first the line, on the disk, then the status. It goes
    /// round the thread that has the database, which may be what is stuck.
    ///
    /// # Errors
    /// When there is no room, or the store has failed.
    pub async fn fall_back(&self, output: Output) -> Result<(), StoreError> {
        let (fallback, item) = (self.fallback.clone(), output.item);
        let append = move || {
            let mut file = fallback.lock().unwrap_or_else(PoisonError::into_inner);
            file.append(&output)
        };
        match tokio::task::spawn_blocking(append).await {
            Ok(result) => result?,
            Err(ended) => return Err(StoreError::Other(PathBuf::new(), ended.to_string())),
        }
        self.ask(Ask::FellBack(item), true).await.map(drop)
    }

    /// Writes down why an item has no result.
    ///
    /// # Errors
    /// When the store has failed.
    pub async fn fail(&self, item: usize, reason: String) -> Result<(), StoreError> {
        self.ask(Ask::Fail(item, reason), true).await.map(drop)
    }

    async fn ask(&self, ask: Ask, answered: bool) -> Result<bool, StoreError> {
        match &self.way {
            Way::InPlace(database) => {
                let mut database = database.lock().unwrap_or_else(PoisonError::into_inner);
                Ok(database.commit(&[ask])?[0])
            }
            Way::Thread { sender, failed, .. } => {
                let gone = || {
                    let why = failed.lock().unwrap_or_else(PoisonError::into_inner);
                    let ended = || StoreError::Other(PathBuf::new(), "the writer has ended".into());
                    why.clone().unwrap_or_else(ended)
                };
                let (reply, answer) = oneshot::channel();
                let reply = answered.then_some(reply);
                sender.send((ask, reply)).await.map_err(|_| gone())?;
                if !answered {
                    return Ok(true);
                }
                answer.await.unwrap_or_else(|_| Err(gone()))
            }
        }
    }

    /// Waits until everything has been written.
    ///
    /// # Errors
    /// When the store has failed.
    pub fn close(self) -> Result<(), StoreError> {
        let Way::Thread { sender, failed, thread } = self.way else {
            return Ok(());
        };
        drop(sender);
        let _ = thread.join();
        let mut failed = failed.lock().unwrap_or_else(PoisonError::into_inner);
        failed.take().map_or(Ok(()), Err)
    }
}

fn database_path(dir: &Path) -> PathBuf {
    dir.join("pipeline.db")
}

fn fallback_path(dir: &Path) -> PathBuf {
    dir.join("fallback.jsonl")
}

fn other(path: &Path) -> impl Fn(io::Error) -> StoreError + use<'_> {
    |error| match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            StoreError::Full(path.into(), error.to_string())
        }
        _ => StoreError::Other(path.into(), error.to_string()),
    }
}

/// Locks, opens and repairs a state.
fn prepare(
    dir: &Path,
    items: usize,
    options: Options,
) -> Result<(Database, Fallback, File, Found), StoreError> {
    std::fs::create_dir_all(dir).map_err(other(dir))?;
    let lock_path = dir.join("lock");
    let lock = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&lock_path)
        .map_err(other(&lock_path))?;
    lock.try_lock().map_err(|error| match error {
        TryLockError::WouldBlock => StoreError::InUse(dir.into()),
        TryLockError::Error(error) => other(&lock_path)(error),
    })?;
    let mut database = Database::open(dir, items, options)?;
    let (fallback, lines, torn) = Fallback::open(dir)?;
    let mut found = database.recover(items, &lines)?;
    found.torn = torn;
    Ok((database, fallback, lock, found))
}

/// The connection, and what is asked of it.
struct Database {
    db: Connection,
    path: PathBuf,
    busy: Duration,
}

impl Database {
    fn open(dir: &Path, items: usize, options: Options) -> Result<Database, StoreError> {
        let path = database_path(dir);
        let opened = Connection::open(&path);
        let db = opened.map_err(|e| sql(&path, options.busy, &e))?;
        let mut database = Database { db, path, busy: options.busy };
        let begun = database.begin(items, options);
        begun.map_err(|e| database.error(&e))?.map_or(Ok(database), Err)
    }

    /// Sets the connection up and makes the tables, once. The inner value says what is foreign.
    fn begin(&mut self, items: usize, options: Options) -> rusqlite::Result<Option<StoreError>> {
        let db = &mut self.db;
        db.busy_timeout(options.busy)?;
        // Readers do not wait for the writer, and a commit is one append to the log.
        db.pragma_update(None, "journal_mode", "WAL")?;
        let synchronous = match options.synchronous {
            Synchronous::Normal => "NORMAL",
            Synchronous::Full => "FULL",
        };
        db.pragma_update(None, "synchronous", synchronous)?;
        if let Some(pages) = options.pages {
            db.pragma_update(None, "max_page_count", pages)?;
        }
        let tx = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let version: i64 = tx.pragma_query_value(None, "user_version", |row| row.get(0))?;
        if version == 0 {
            tx.execute_batch(
                "CREATE TABLE items (
                     item INTEGER PRIMARY KEY,
                     status TEXT NOT NULL DEFAULT 'pending'
                         CHECK (status IN ('pending', 'fetched', 'processed', 'stored', 'failed')),
                     place TEXT CHECK (place IN ('database', 'fallback')),
                     reason TEXT,
                     CHECK ((status = 'stored') = (place IS NOT NULL)),
                     CHECK ((status = 'failed') = (reason IS NOT NULL))
                 );
                 CREATE TABLE results (
                     item INTEGER PRIMARY KEY REFERENCES items (item),
                     digest TEXT NOT NULL,
                     body TEXT NOT NULL
                 );",
            )?;
            for item in 0..items {
                tx.execute("INSERT INTO items (item) VALUES (?1)", [item as i64])?;
            }
            tx.pragma_update(None, "user_version", SCHEMA)?;
        } else if version != SCHEMA {
            let why = format!("version {version} of the tables is not known here");
            return Ok(Some(StoreError::Foreign(self.path.clone(), why)));
        }
        let there: i64 = tx.query_row("SELECT count(*) FROM items", [], |row| row.get(0))?;
        if there != items as i64 {
            let why = format!("this state is of a run with {there} items, not {items}");
            return Ok(Some(StoreError::Foreign(self.path.clone(), why)));
        }
        tx.commit()?;
        Ok(None)
    }

    /// Makes sense of what an earlier process left.
    fn recover(&mut self, items: usize, lines: &[Output]) -> Result<Found, StoreError> {
        if let Some(line) = lines.iter().find(|line| line.item >= items) {
            let why = format!("the fallback file has an item {}", line.item);
            return Err(StoreError::Foreign(self.path.clone(), why));
        }
        let recovered = self.recovered(lines);
        recovered.map_err(|e| self.error(&e))
    }

    fn recovered(&mut self, lines: &[Output]) -> rusqlite::Result<Found> {
        let tx = self.db.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let mut found = Found::default();
        for line in lines {
            found.recognised += tx.execute(
                "UPDATE items SET status = 'stored', place = 'fallback' WHERE item = ?1 AND status NOT IN ('stored', 'failed')",
                [line.item as i64],
            )?;
        }
        found.begun = tx.execute(
            "UPDATE items SET status = 'pending' WHERE status IN ('fetched', 'processed')",
            [],
        )?;
        let mut todo =
            tx.prepare("SELECT item FROM items WHERE status = 'pending' ORDER BY item")?;
        let rows = todo.query_map([], |row| row.get::<_, i64>(0))?;
        for item in rows {
            found.todo.push(item? as usize);
        }
        drop(todo);
        found.done = tx.query_row(
            "SELECT count(*) FROM items WHERE status IN ('stored', 'failed')",
            [],
            |row| row.get::<_, i64>(0),
        )? as usize;
        tx.commit()?;
        Ok(found)
    }

    /// Does all that is asked as one transaction.
    fn commit(&mut self, asks: &[Ask]) -> Result<Vec<bool>, StoreError> {
        let committed = self.committed(asks);
        committed.map_err(|e| self.error(&e))
    }

    fn committed(&mut self, asks: &[Ask]) -> rusqlite::Result<Vec<bool>> {
        let tx = self.db.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let mut done = Vec::with_capacity(asks.len());
        for ask in asks {
            done.push(match ask {
                Ask::Note(item, status) => {
                    let mut update =
                        tx.prepare("UPDATE items SET status = ?2 WHERE item = ?1")?;
                    update.execute(params![*item as i64, status.name()])? == 1
                }
                Ask::Insert(output, claim) => {
                    let ours = claim.take();
                    if ours {
                        let item = output.item as i64;
                        tx.prepare(
                            "INSERT INTO results (item, digest, body) VALUES (?1, ?2, ?3)",
                        )?
                        .execute(params![item, output.digest, output.body])?;
                        tx.prepare(
                            "UPDATE items SET status = 'stored', place = 'database' WHERE item = ?1",
                        )?
                        .execute([item])?;
                    }
                    ours
                }
                Ask::FellBack(item) => {
                    let mut update = tx.prepare(
                        "UPDATE items SET status = 'stored', place = 'fallback' WHERE item = ?1",
                    )?;
                    update.execute([*item as i64])? == 1
                }
                Ask::Fail(item, reason) => {
                    let mut update = tx.prepare(
                        "UPDATE items SET status = 'failed', reason = ?2 WHERE item = ?1",
                    )?;
                    update.execute(params![*item as i64, reason])? == 1
                }
                Ask::Has(item) => tx
                    .prepare("SELECT 1 FROM results WHERE item = ?1")?
                    .exists([*item as i64])?,
            });
        }
        tx.commit()?;
        Ok(done)
    }

    fn error(&self, error: &rusqlite::Error) -> StoreError {
        sql(&self.path, self.busy, error)
    }
}

fn sql(path: &Path, busy: Duration, error: &rusqlite::Error) -> StoreError {
    match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => StoreError::Full(path.into(), error.to_string()),
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
            StoreError::Locked(path.into(), busy)
        }
        Some(ErrorCode::NotADatabase) => StoreError::Foreign(path.into(), error.to_string()),
        _ => StoreError::Other(path.into(), error.to_string()),
    }
}

/// The file to fall back to: a JSON line an item.
#[derive(Debug)]
struct Fallback {
    file: File,
    path: PathBuf,
}

impl Fallback {
    /// Opens it with the lines it has. Each was on the disk before the next one began, so only the
    /// last one can be torn: it is cut off.
    fn open(dir: &Path) -> Result<(Fallback, Vec<Output>, bool), StoreError> {
        let path = fallback_path(dir);
        let new = !path.exists();
        let file = OpenOptions::new()
            .create(true)
            .read(true)
            .append(true)
            .open(&path)
            .map_err(other(&path))?;
        if new {
            // The name has to be on the disk as well. Windows has no such call, and no need of it.
            let _ = File::open(dir).and_then(|dir| dir.sync_all());
        }
        let mut text = Vec::new();
        let length = file.metadata().map_err(other(&path))?.len();
        (&file).take(length).read_to_end(&mut text).map_err(other(&path))?;
        let read = lines(&text).map_err(|why| StoreError::Foreign(path.clone(), why))?;
        let torn = read.whole < text.len();
        if torn {
            file.set_len(read.whole as u64).and_then(|()| file.sync_all()).map_err(other(&path))?;
        }
        Ok((Fallback { file, path }, read.outputs, torn))
    }

    /// Appends a line, with one write, and waits until it is on the disk.
    fn append(&mut self, output: &Output) -> Result<(), StoreError> {
        let mut line = serde_json::to_vec(output)
            .map_err(|e| StoreError::Other(self.path.clone(), e.to_string()))?;
        line.push(b'\n');
        self.file.write_all(&line).and_then(|()| self.file.sync_data()).map_err(other(&self.path))
    }
}

/// What a fallback file says.
#[derive(Debug, PartialEq, Eq)]
struct Lines {
    outputs: Vec<Output>,
    /// Bytes up to the end of the last whole line.
    whole: usize,
}

fn lines(text: &[u8]) -> Result<Lines, String> {
    let mut read = Lines { outputs: Vec::new(), whole: 0 };
    let mut pieces = text.split_inclusive(|b| *b == b'\n').enumerate().peekable();
    while let Some((i, piece)) = pieces.next() {
        let output = serde_json::from_slice(piece).ok();
        match output.filter(|_| piece.ends_with(b"\n")) {
            Some(output) => read.outputs.push(output),
            None if pieces.peek().is_none() => break,
            None => return Err(format!("line {} is not a result", i + 1)),
        }
        read.whole += piece.len();
    }
    Ok(read)
}

/// The state as it lies on the disk, counted from the evidence: statuses beside results and lines.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Books {
    /// Items by status.
    pub statuses: BTreeMap<&'static str, usize>,
    /// Items whose result is in the database.
    pub in_database: usize,
    /// Items whose result is in the fallback file.
    pub in_fallback: usize,
    /// Items that failed.
    pub failed: usize,
    /// Items that are in more than one place, or twice in one.
    pub twice: Vec<usize>,
    /// Items whose status claims a result that is nowhere.
    pub lost: Vec<usize>,
    /// Reasons of those that failed.
    pub reasons: BTreeMap<String, usize>,
}

impl Books {
    /// Reads them without changing anything, whether or not a process works on the state.
    ///
    /// # Errors
    /// When there is no state, or it cannot be read.
    pub fn read(dir: &Path) -> Result<Books, StoreError> {
        let path = database_path(dir);
        let busy = Duration::from_secs(5);
        let text = std::fs::read(fallback_path(dir)).unwrap_or_default();
        let lines = lines(&text).map_err(|why| StoreError::Foreign(fallback_path(dir), why))?;
        Self::of(&path, busy, &lines.outputs).map_err(|e| sql(&path, busy, &e))
    }

    fn of(path: &Path, busy: Duration, lines: &[Output]) -> rusqlite::Result<Books> {
        // A log that a killed process left must be read back, which needs to write.
        let db = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
        db.busy_timeout(busy)?;
        let mut books = Books::default();
        let mut rows = db.prepare(
            "SELECT items.item, status, place, reason, results.item IS NOT NULL
             FROM items LEFT JOIN results ON results.item = items.item ORDER BY items.item",
        )?;
        let mut rows = rows.query([])?;
        while let Some(row) = rows.next()? {
            let item = row.get::<_, i64>(0)? as usize;
            let (status, place): (String, Option<String>) = (row.get(1)?, row.get(2)?);
            let reason: Option<String> = row.get(3)?;
            let in_database: bool = row.get(4)?;
            let in_fallback = lines.iter().filter(|line| line.item == item).count();
            let name = Status::ALL.iter().find(|s| s.name() == status);
            *books.statuses.entry(name.map_or("unknown", |s| s.name())).or_default() += 1;
            books.in_database += usize::from(in_database);
            books.in_fallback += in_fallback.min(1);
            if let Some(reason) = reason {
                books.failed += 1;
                *books.reasons.entry(reason).or_default() += 1;
            }
            let places = usize::from(in_database) + in_fallback + usize::from(status == "failed");
            if places > 1 {
                books.twice.push(item);
            }
            let there = match place.as_deref() {
                Some("database") => in_database,
                Some(_) => in_fallback > 0,
                None => true,
            };
            if !there {
                books.lost.push(item);
            }
        }
        Ok(books)
    }

    /// Items with a result.
    pub fn stored(&self) -> usize {
        self.in_database + self.in_fallback
    }

    /// Items that are where they belong: each once.
    pub fn accounted(&self) -> usize {
        self.stored() + self.failed
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn output(item: usize) -> Output {
        Output { item, digest: format!("{item:x}"), body: "a line\nand \"another\"".repeat(3) }
    }

    fn run<T>(future: impl Future<Output = T>) -> T {
        let runtime = tokio::runtime::Builder::new_current_thread().build();
        runtime.unwrap().block_on(future)
    }

    fn open(dir: &Path, items: usize) -> (Store, Found) {
        Store::open(dir, items, Options::default()).unwrap()
    }

    #[test]
    fn a_state_is_resumed_from_where_it_was() {
        let dir = tempfile::tempdir().unwrap();
        let (store, found) = open(dir.path(), 6);
        assert_eq!(found.todo, [0, 1, 2, 3, 4, 5]);
        run(async {
            store.note(0, Status::Fetched).await.unwrap();
            assert!(store.insert(output(1), Claim::default()).await.unwrap());
            store.fall_back(output(2)).await.unwrap();
            store.fail(3, "no answer".into()).await.unwrap();
            store.note(4, Status::Fetched).await.unwrap();
            store.note(4, Status::Processed).await.unwrap();
        });
        store.close().unwrap();
        let (store, found) = open(dir.path(), 6);
        assert_eq!(found.todo, [0, 4, 5]);
        assert_eq!((found.done, found.begun, found.recognised), (3, 2, 0));
        store.close().unwrap();
        let books = Books::read(dir.path()).unwrap();
        assert_eq!((books.in_database, books.in_fallback, books.failed), (1, 1, 1));
        assert_eq!((books.twice, books.lost), (vec![], vec![]));
        assert_eq!(books.reasons, BTreeMap::from([("no answer".to_string(), 1)]));
    }

    /// The process ended between the line and the status, and within the next line.
    #[test]
    fn lines_without_a_status_are_recognised_and_a_torn_one_is_cut_off() {
        let dir = tempfile::tempdir().unwrap();
        open(dir.path(), 4).0.close().unwrap();
        let mut text = serde_json::to_vec(&output(2)).unwrap();
        text.push(b'\n');
        let whole = text.len();
        text.extend(&serde_json::to_vec(&output(3)).unwrap()[..20]);
        std::fs::write(fallback_path(dir.path()), text).unwrap();
        let (store, found) = open(dir.path(), 4);
        assert_eq!(found.todo, [0, 1, 3]);
        assert_eq!((found.recognised, found.torn), (1, true));
        run(store.fall_back(output(3))).unwrap();
        store.close().unwrap();
        let text = std::fs::read(fallback_path(dir.path())).unwrap();
        assert_eq!(text.len(), 2 * whole);
        let books = Books::read(dir.path()).unwrap();
        assert_eq!((books.in_fallback, books.twice, books.lost), (2, vec![], vec![]));
    }

    #[test]
    fn a_write_given_up_on_does_not_happen_and_one_that_has_begun_is_found() {
        let dir = tempfile::tempdir().unwrap();
        let (store, _) = open(dir.path(), 3);
        run(async {
            let claim = Claim::default();
            assert!(claim.abandon());
            assert!(!store.insert(output(0), claim).await.unwrap());
            assert!(!store.has(0).await.unwrap());
            let claim = Claim::default();
            assert!(store.insert(output(1), claim.clone()).await.unwrap());
            assert!(!claim.abandon());
            assert!(store.has(1).await.unwrap());
        });
    }

    #[test]
    fn an_item_in_two_places_and_one_in_none_are_noticed() {
        let dir = tempfile::tempdir().unwrap();
        let (store, _) = open(dir.path(), 3);
        run(async {
            store.insert(output(0), Claim::default()).await.unwrap();
            store.fall_back(output(0)).await.unwrap();
            store.fall_back(output(1)).await.unwrap();
        });
        store.close().unwrap();
        assert_eq!(Books::read(dir.path()).unwrap().twice, [0]);
        std::fs::write(fallback_path(dir.path()), "").unwrap();
        assert_eq!(Books::read(dir.path()).unwrap().lost, [0, 1]);
    }

    #[test]
    fn one_process_at_a_time_and_only_its_own_state() {
        let dir = tempfile::tempdir().unwrap();
        let (store, _) = open(dir.path(), 3);
        let second = Store::open(dir.path(), 3, Options::default());
        assert!(matches!(second.map(drop), Err(StoreError::InUse(_))));
        store.close().unwrap();
        let other = Store::open(dir.path(), 4, Options::default());
        assert!(matches!(other.map(drop), Err(StoreError::Foreign(..))));
        std::fs::write(fallback_path(dir.path()), "what is this?\n{}\n").unwrap();
        let other = Store::open(dir.path(), 3, Options::default());
        assert!(matches!(other.map(drop), Err(StoreError::Foreign(..))));
        std::fs::write(database_path(dir.path()), [7; 4096]).unwrap();
        let other = Store::open(dir.path(), 3, Options::default());
        assert!(matches!(other.map(drop), Err(StoreError::Foreign(..))));
    }

    proptest! {
        /// Wherever the last write stopped, what was whole is kept and nothing else is believed.
        #[test]
        fn a_file_cut_anywhere_has_its_whole_lines(items in prop::collection::vec(0usize..1000, 0..6), at in 0.0f64..1.0) {
            let mut text = Vec::new();
            let mut ends = vec![0];
            for item in &items {
                text.extend(serde_json::to_vec(&output(*item)).unwrap());
                text.push(b'\n');
                ends.push(text.len());
            }
            let cut = (at * (text.len() + 1) as f64) as usize;
            let read = lines(&text[..cut]).unwrap();
            let whole = ends.iter().filter(|end| **end <= cut).count() - 1;
            prop_assert_eq!(read.whole, ends[whole]);
            prop_assert_eq!(read.outputs.iter().map(|o| o.item).collect::<Vec<_>>(), &items[..whole]);
        }
    }
}
