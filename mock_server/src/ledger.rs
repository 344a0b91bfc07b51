use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// Most requests that one ledger holds.
pub const MAX_LEDGER: usize = 100_000;

/// One request, as the upstream saw it: when it came, and when it was done with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
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

    pub(crate) fn entries(&self) -> Vec<Entry> {
        self.lock().clone()
    }

    /// Writes a request down: where, once it is answered, is to be noted when.
    pub(crate) fn arrival(
        self: &Arc<Self>,
        path: String,
        status: u16,
        is_due: bool,
    ) -> Option<Pending> {
        let arrived = self.began.elapsed();
        let mut entries = self.lock();
        if entries.len() >= self.most {
            return None;
        }
        let left = (!is_due).then_some(arrived);
        entries.push(Entry { path, arrived, left, status, abandoned: false });
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
