use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// Most requests that one ledger holds.
pub const MAX_LEDGER: usize = 100_000;

/// One request, as the upstream saw it: when it came, and when it was done with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// "GET", "POST", "PUT".
    pub method: String,
    /// The path as it was sent, with the query if there was one.
    pub path: String,
    /// When the server's thread had read it, since the start or the latest reset.
    pub arrived: Duration,
    /// When its answer was handed to the socket, or was due and nobody wanted it; none while it is due.
    ///
    /// A client that waits for the answer cannot ask again before this moment.
    pub left: Option<Duration>,
    /// The status of its answer; 0 where the connection was cut.
    pub status: u16,
    /// How long its answer asks the client to wait (`Retry-After`), in whole seconds; none where it does not.
    pub retry_after: Option<Duration>,
    /// Whether the client had left before its answer was due.
    pub abandoned: bool,
}

/// Requests one by one, up to a bound.
#[derive(Debug)]
pub(crate) struct Ledger {
    began: Instant,
    most: usize,
    entries: Mutex<Vec<Entry>>,
}

/// An entry whose answer is still due.
#[derive(Debug, Clone)]
pub(crate) struct Pending {
    ledger: Arc<Ledger>,
    place: usize,
}

impl Ledger {
    pub(crate) fn new(most: usize) -> Self {
        Self { began: Instant::now(), most, entries: Mutex::default() }
    }

    /// The time since the ledger was begun.
    pub(crate) fn now(&self) -> Duration {
        self.began.elapsed()
    }

    pub(crate) fn entries(&self) -> Vec<Entry> {
        self.lock().clone()
    }

    /// Writes a request down with what is known of it when it comes. Where its answer is due later, `left` is
    /// none, and where to note it then is returned.
    pub(crate) fn arrival(self: &Arc<Self>, entry: Entry) -> Option<Pending> {
        let is_due = entry.left.is_none();
        let mut entries = self.lock();
        if entries.len() >= self.most {
            return None;
        }
        entries.push(entry);
        let place = entries.len() - 1;
        is_due.then(|| Pending { ledger: Arc::clone(self), place })
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Entry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pending {
    pub(crate) fn done(&self, abandoned: bool) {
        let now = self.ledger.began.elapsed();
        if let Some(entry) = self.ledger.lock().get_mut(self.place) {
            entry.left = Some(now);
            entry.abandoned = abandoned;
        }
    }
}
