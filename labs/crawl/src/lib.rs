//! A crawler in parts: who hands out the pages, who keeps what was found, and the loop between them.
//!
//! # Layout
//!
//! - [`Task`], [`Taken`], [`Page`]: what goes round. The url of a page is the key of everything.
//! - [`TaskQueue`]: hands out pages and remembers which urls it has ever seen. [`embedded::Embedded`]
//!   keeps it in a SQLite file.
//! - [`Database`]: keeps pages, once each. [`embedded::Embedded`] again, in the same file.
//! - [`extract`]: from HTML to fields, links and words. [`classify`]: from words to a category.
//! - [`robots`]: what a site asks of its visitors.
//! - [`address`]: the URL of a server, without its password wherever it shows; opening what is there.
//! - `redis` and `postgres` (feature `scale-out`): the queue and the database for workers in any number
//!   of processes on any number of hosts. `command`: `labs worker` and `labs queue`.
//! - [`worker`]: the loop: take, fetch, extract and classify, store, finish.
//!
//! # At least once, and yet exactly once
//!
//! A worker stores a page first and reports it finished second. If it dies between the two, the page
//! is handed out again, fetched again and stored again: *at least once*. Because a page that is there
//! already stays as it is, its effect is there *exactly once*. The other order would lose pages.

use std::{error::Error, fmt, time::Duration};

use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};

pub mod address;
pub mod classify;
mod command;
pub mod embedded;
pub mod extract;
#[cfg(feature = "scale-out")]
pub mod postgres;
#[cfg(feature = "scale-out")]
pub mod redis;
pub mod robots;
#[cfg(feature = "tls")]
mod tls;
pub mod worker;

pub use command::COMMANDS;

/// A page to fetch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Task {
    /// Absolute and normalised: it is the key of everything.
    pub url: String,
    /// Links followed from the first page to this one.
    pub depth: u32,
}

/// A task that a worker has taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Taken {
    /// What is to be done.
    pub task: Task,
    /// How often it was handed out, this time included: from 1.
    pub delivery: u32,
    /// The queue's own name for this delivery. Nobody else needs to understand it.
    pub receipt: String,
}

/// A page as it is stored. `url` is its primary key, and writing it twice changes nothing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Page {
    /// Where it was.
    pub url: String,
    /// Its title.
    pub title: String,
    /// Its price in cents, if it is a product.
    pub price_cents: Option<i64>,
    /// The category it was classified as; empty for a page that sells nothing.
    pub category: String,
    /// Length of its visible text in bytes.
    pub text_bytes: u32,
    /// Links on it that lead to pages of the same site.
    pub links: u32,
}

/// Where the tasks of a queue are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueueStatus {
    /// Urls ever offered, each counted once.
    pub seen: u64,
    /// Tasks that nobody has taken.
    pub waiting: u64,
    /// Tasks that a worker has taken and not yet finished.
    pub in_flight: u64,
    /// Tasks finished.
    pub done: u64,
    /// Dead letters: tasks that failed as often as is allowed.
    pub dead: u64,
}

impl QueueStatus {
    /// True when nothing is left to do. Links found on a page are offered in the step that finishes
    /// it, so that this cannot be true while there are still pages to come.
    pub fn over(&self) -> bool {
        self.waiting == 0 && self.in_flight == 0
    }
}

/// Hands out tasks to any number of workers.
pub trait TaskQueue: Send + Sync {
    /// Offers tasks; those whose url was ever offered before are left out. Returns how many were new.
    fn offer<'a>(&'a self, tasks: &'a [Task]) -> BoxFuture<'a, Result<u64, QueueError>>;

    /// Takes up to `most` tasks, waiting up to `wait` for the first. Reclaims tasks of workers that
    /// have died.
    fn take<'a>(
        &'a self,
        most: usize,
        wait: Duration,
    ) -> BoxFuture<'a, Result<Vec<Taken>, QueueError>>;

    /// Still working on these: nobody else may take them yet.
    fn renew<'a>(&'a self, taken: &'a [Taken]) -> BoxFuture<'a, Result<(), QueueError>>;

    /// Done, and these links were found on the way: both or neither, in one step. Called after the
    /// pages are stored.
    fn finish<'a>(
        &'a self,
        done: &'a [Taken],
        found: &'a [Task],
    ) -> BoxFuture<'a, Result<(), QueueError>>;

    /// Failed: to be handed out again if trying `again` can help and it was not handed out as often as
    /// is allowed yet; otherwise a dead letter with this reason. (A page that is not there, 404, will
    /// not be there the next time either.)
    fn fail<'a>(
        &'a self,
        failed: &'a Taken,
        why: &'a str,
        again: bool,
    ) -> BoxFuture<'a, Result<(), QueueError>>;

    /// Where the tasks are.
    fn status<'a>(&'a self) -> BoxFuture<'a, Result<QueueStatus, QueueError>>;
}

/// Keeps pages.
pub trait Database: Send + Sync {
    /// Writes pages in one transaction; pages that are there already stay as they are. Returns how many
    /// were new.
    fn store<'a>(&'a self, pages: &'a [Page]) -> BoxFuture<'a, Result<u64, DatabaseError>>;

    /// How many pages there are.
    fn count<'a>(&'a self) -> BoxFuture<'a, Result<u64, DatabaseError>>;
}

/// Why a queue did not do what it was asked. Its text never has a password in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum QueueError {
    /// It may work in a moment: no connection, a restart, a lock.
    Transient(String),
    /// It will not work by itself: wrong address, wrong password, a full disk, a foreign file.
    Permanent(String),
}

/// Why a database did not do what it was asked. Its text never has a password in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DatabaseError {
    /// It may work in a moment: no connection, a restart, a lock.
    Transient(String),
    /// It will not work by itself: wrong address, wrong password, a full disk, a foreign file.
    Permanent(String),
}

impl QueueError {
    /// True when trying again makes sense.
    pub fn is_transient(&self) -> bool {
        matches!(self, QueueError::Transient(_))
    }
}

impl DatabaseError {
    /// True when trying again makes sense.
    pub fn is_transient(&self) -> bool {
        matches!(self, DatabaseError::Transient(_))
    }
}

impl fmt::Display for QueueError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (QueueError::Transient(why) | QueueError::Permanent(why)) = self;
        write!(f, "queue: {why}")
    }
}

impl fmt::Display for DatabaseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (DatabaseError::Transient(why) | DatabaseError::Permanent(why)) = self;
        write!(f, "database: {why}")
    }
}

impl Error for QueueError {}
impl Error for DatabaseError {}
