//! Seven ways to count, and two to pay: everything here that threads share.
//!
//! The types come from `super::sync`: those of the standard library in the lab, those of a model
//! checker in its tests. Both compile this very file.

use super::sync::{
    Mutex, MutexGuard, RwLock,
    atomic::{AtomicU64, Ordering::Relaxed},
    mpsc, thread,
};

/// A count that several threads add to.
pub trait Counter: Send + Sync + 'static {
    /// A count of zero, for so many threads.
    fn new(threads: usize) -> Self;
    /// One more; `thread` is the number of the thread that says so.
    fn add(&self, thread: usize);
    /// What it has come to, once all threads are done.
    fn total(self) -> u64;
}

/// Wrong: reads, then writes. What another thread writes between the two is lost. Each of the two
/// is atomic, and no data race in Rust's sense; together they are not.
pub struct LoadThenStore(AtomicU64);

// wrong(1): Reads, then writes
impl Counter for LoadThenStore {
    fn new(_: usize) -> Self {
        LoadThenStore(AtomicU64::new(0))
    }
    fn add(&self, _: usize) {
        let seen = self.0.load(Relaxed);
        self.0.store(seen + 1, Relaxed);
    }
    fn total(self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// Right: reading and writing is one step.
pub struct FetchAdd(AtomicU64);

// right(1): One atomic step
// so(1): Each of the two operations is atomic. What is lost is lost between them.
impl Counter for FetchAdd {
    fn new(_: usize) -> Self {
        FetchAdd(AtomicU64::new(0))
    }
    fn add(&self, _: usize) {
        self.0.fetch_add(1, Relaxed);
    }
    fn total(self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// Right: one thread at a time.
pub struct Locked(Mutex<u64>);

impl Counter for Locked {
    fn new(_: usize) -> Self {
        Locked(Mutex::new(0))
    }
    fn add(&self, _: usize) {
        *self.0.lock().expect("nobody panics holding it") += 1;
    }
    fn total(self) -> u64 {
        *self.0.lock().expect("nobody panics holding it")
    }
}

/// Right, and for nothing: everybody writes, so it is a slower mutex.
pub struct WriteLocked(RwLock<u64>);

impl Counter for WriteLocked {
    fn new(_: usize) -> Self {
        WriteLocked(RwLock::new(0))
    }
    fn add(&self, _: usize) {
        *self.0.write().expect("nobody panics holding it") += 1;
    }
    fn total(self) -> u64 {
        *self.0.read().expect("nobody panics holding it")
    }
}

/// Right: a counter for each thread, added up at the end. But they lie side by side in one cache
/// line, which goes back and forth between the processors as though they were one counter.
pub struct Adjacent(Vec<Line>);

/// Two cache lines of 64 bytes, which some processors fetch together, or one of 128.
#[repr(align(128))]
struct Line([AtomicU64; 16]);

impl Counter for Adjacent {
    fn new(threads: usize) -> Self {
        let line = |_| Line(std::array::from_fn(|_| AtomicU64::new(0)));
        Adjacent((0..threads.div_ceil(16)).map(line).collect())
    }
    fn add(&self, thread: usize) {
        self.0[thread / 16].0[thread % 16].fetch_add(1, Relaxed);
    }
    fn total(self) -> u64 {
        let all = self.0.iter().flat_map(|line| &line.0);
        all.map(|count| count.load(Relaxed)).sum()
    }
}

/// Right: a counter for each thread, in a line of its own.
pub struct Padded(Vec<Alone>);

/// `crossbeam_utils::CachePadded` does the same with the right size for each processor.
#[repr(align(128))]
struct Alone(AtomicU64);

impl Counter for Padded {
    fn new(threads: usize) -> Self {
        Padded((0..threads).map(|_| Alone(AtomicU64::new(0))).collect())
    }
    fn add(&self, thread: usize) {
        self.0[thread].0.fetch_add(1, Relaxed);
    }
    fn total(self) -> u64 {
        self.0.iter().map(|count| count.0.load(Relaxed)).sum()
    }
}

/// Right: nothing is shared. One thread owns the count, the others tell it; the channel is bounded,
/// or what it has not counted yet would fill the memory.
pub struct Messages {
    tell: mpsc::SyncSender<u64>,
    owner: thread::JoinHandle<u64>,
}

impl Counter for Messages {
    fn new(_: usize) -> Self {
        let (tell, told) = mpsc::sync_channel(1024);
        let owner = thread::spawn(move || {
            let mut count = 0;
            while let Ok(more) = told.recv() {
                count += more;
            }
            count
        });
        Messages { tell, owner }
    }
    fn add(&self, _: usize) {
        self.tell.send(1).expect("the owner listens to the last");
    }
    fn total(self) -> u64 {
        drop(self.tell);
        self.owner.join().expect("the owner does not panic")
    }
}

/// An account; its number tells it from others.
pub struct Account {
    number: usize,
    balance: Mutex<i64>,
}

/// What a thread does with the lock of an account.
pub enum Lock {
    /// It waits for it.
    Awaited,
    /// It has it.
    Taken,
}

impl Account {
    /// An account with this number.
    pub fn new(number: usize, balance: i64) -> Account {
        Account { number, balance: Mutex::new(balance) }
    }

    /// Locks it, and tells `watch` so, with its number.
    fn locked(&self, watch: &impl Fn(Lock, usize)) -> MutexGuard<'_, i64> {
        watch(Lock::Awaited, self.number);
        let balance = self.balance.lock().expect("nobody panics holding it");
        watch(Lock::Taken, self.number);
        balance
    }

    /// What is on it.
    pub fn balance(&self) -> i64 {
        *self.locked(&|_, _| {})
    }
}

// wrong(3): Two locks in two orders
/// Wrong: the payer's account first. Two who pay each other lock in two orders.
pub fn pay_payer_first(from: &Account, to: &Account, sum: i64, watch: impl Fn(Lock, usize)) {
    let mut from = from.locked(&watch);
    let mut to = to.locked(&watch);
    *from -= sum;
    *to += sum;
}

// right(3): Two locks in one order
// so(3): Two who pay each other lock in two orders and wait for each other for ever. One order for
//     all, and nobody does.
/// Right: the lower number first, whoever pays.
pub fn pay_in_one_order(from: &Account, to: &Account, sum: i64, watch: impl Fn(Lock, usize)) {
    let up = from.number < to.number;
    let (first, second) = if up { (from, to) } else { (to, from) };
    let (mut first, mut second) = (first.locked(&watch), second.locked(&watch));
    let signed = if up { sum } else { -sum };
    *first -= signed;
    *second += signed;
}
