//! From asynchronous fetching to parallel computing and back: a bounded bridge.
//!
//! ```text
//! source → fetch (async) → bounded queue → process (rayon) → store (async) → results
//! ```
//!
//! Waiting belongs on an event loop and computing on a pool of threads; this is the piece between
//! them. It stands by itself: take the file, it needs `tokio` (`sync`), `rayon` and `futures-util`.
//!
//! ```
//! use futures_util::{StreamExt, stream};
//! use lab_parts::bridge::{Bridge, Limits};
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() {
//! let bridge = Bridge::new(2, Limits { fetches: 10, queue: 4, stores: 3 }).unwrap();
//! let mut results = std::pin::pin!(bridge.run(
//!     stream::iter(1..=100u64),
//!     |n| async move { Ok::<_, std::io::Error>(n) }, // fetch: anything that waits
//!     |n| Ok((1..=n).sum::<u64>()),                  // process: anything that computes
//!     |sum| async move { Ok(sum) },                  // store: anything that waits
//! ));
//! let mut total = 0;
//! while let Some((_index, result)) = results.next().await {
//!     total += result.unwrap();
//! }
//! assert_eq!(total, 171_700);
//! # }
//! ```
//!
//! # What holds
//!
//! - **Bounded.** At most [`Bridge::bound`] items are between the source and the end of their
//!   store: `fetches` being fetched (or fetched and waiting for a place), `queue` + the width of
//!   the pool waiting for a worker, on one, or computed and waiting for a store, and `stores` being
//!   stored. The source is not asked for an item before there is room for it, so a slow store slows
//!   the source down and memory does not depend on how many items there are.
//! - **No worker ever waits.** A rayon thread that blocks on a full channel is a thread that does
//!   not compute, and a pool of them is a deadlock. Here the event loop waits for a place before it
//!   hands an item over, and a worker hands its result back through a oneshot, which never blocks.
//!   The queue lies on the pool's side, so that a worker that is done finds the next item there and
//!   does not wait for the event loop to wake.
//! - **One result an item**, with its index in the source, in order of completion;
//!   [`Bridge::run_all`] returns them in input order.
//! - **A panic is its item's.** In fetch, process or store it becomes [`ItemError::Panicked`] of
//!   this item; all others go on. (The source is nobody's item: its panic is the caller's.)
//! - **Dropping the stream stops it.** Fetches and stores in flight are dropped, items that wait
//!   for a worker are taken back, and nothing has been spawned that could go on. Only what a worker
//!   is computing at this instant is finished, since no thread can be stopped from outside; its
//!   result is dropped.
//! - **It is lazy.** Nothing happens unless the stream is polled. Fetches and stores run inside the
//!   task that polls it: one that computes (a large JSON body) holds up the others. Move that into
//!   `process`.

use std::{
    any::Any,
    error::Error,
    fmt,
    future::Future,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Mutex, PoisonError},
};

use futures_util::{FutureExt, Stream, StreamExt, stream};
use rayon::{ThreadPool, ThreadPoolBuildError, ThreadPoolBuilder};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

/// How many items may be where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Fetches in flight; 0 counts as 1.
    pub fetches: usize,
    /// Places before the pool, besides one for each of its threads.
    pub queue: usize,
    /// Stores in flight; 0 counts as 1.
    pub stores: usize,
}

/// Why an item has no result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ItemError<E> {
    /// It could not be fetched.
    Fetch(E),
    /// It could not be processed.
    Process(E),
    /// Fetch, process or store panicked, with this message.
    Panicked(String),
    /// It could not be stored. (Nor is it known whether one whose store panicked was.)
    Store(E),
}

impl<E: fmt::Display> fmt::Display for ItemError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ItemError::Fetch(e) => write!(f, "fetch: {e}"),
            ItemError::Process(e) => write!(f, "process: {e}"),
            ItemError::Panicked(message) => write!(f, "panicked: {message}"),
            ItemError::Store(e) => write!(f, "store: {e}"),
        }
    }
}

impl<E: Error + 'static> Error for ItemError<E> {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            ItemError::Fetch(e) | ItemError::Process(e) | ItemError::Store(e) => Some(e),
            ItemError::Panicked(_) => None,
        }
    }
}

/// A pool of threads and what may be on its way to it and from it. Cheap to clone; clones share the
/// pool, but each run has limits of its own.
#[derive(Clone, Debug)]
pub struct Bridge {
    pool: Arc<ThreadPool>,
    limits: Limits,
}

impl Bridge {
    /// A bridge with a pool of its own of `width` threads (0: one for each processor).
    ///
    /// # Errors
    /// When the threads cannot be had.
    pub fn new(width: usize, limits: Limits) -> Result<Bridge, ThreadPoolBuildError> {
        let pool = ThreadPoolBuilder::new()
            .num_threads(width)
            .thread_name(|i| format!("worker {}", i + 1));
        Ok(Bridge::on(Arc::new(pool.build()?), limits))
    }

    /// A bridge to a pool that others may use as well.
    pub fn on(pool: Arc<ThreadPool>, limits: Limits) -> Bridge {
        // Far more than any memory holds, and few enough for a semaphore, and for a sum of them.
        let most = Semaphore::MAX_PERMITS / 8;
        let limits = Limits {
            fetches: limits.fetches.clamp(1, most),
            queue: limits.queue.min(most),
            stores: limits.stores.clamp(1, most),
        };
        Bridge { pool, limits }
    }

    /// Threads of the pool.
    pub fn width(&self) -> usize {
        self.pool.current_num_threads()
    }

    /// The most items of one run that exist at the same time between the source and the end of
    /// their store: `fetches + queue + width + stores`.
    pub fn bound(&self) -> usize {
        self.limits.fetches + self.limits.queue + self.width() + self.limits.stores
    }

    /// Takes every item of `source` through the three stages; yields each item's index and result,
    /// in order of completion.
    pub fn run<S, F, Fetching, P, D, Storing, A, B, R, E>(
        &self,
        source: S,
        fetch: F,
        process: P,
        store: D,
    ) -> impl Stream<Item = (usize, Result<R, ItemError<E>>)>
    + use<S, F, Fetching, P, D, Storing, A, B, R, E>
    where
        S: Stream,
        F: Fn(S::Item) -> Fetching,
        Fetching: Future<Output = Result<A, E>>,
        P: Fn(A) -> Result<B, E> + Send + Sync + 'static,
        D: Fn(B) -> Storing,
        Storing: Future<Output = Result<R, E>>,
        A: Send + 'static,
        B: Send + 'static,
        E: Send + 'static,
    {
        let fetches = Arc::new(Semaphore::new(self.limits.fetches));
        let line = Arc::new(Line {
            pool: self.pool.clone(),
            places: Semaphore::new(self.limits.queue + self.width()),
            stores: Semaphore::new(self.limits.stores),
            fetch,
            process: Arc::new(process),
            store,
        });
        // Room first, then the item.
        let items = stream::unfold((Box::pin(source), 0), move |(mut source, index)| {
            let fetches = fetches.clone();
            async move {
                let room = fetches.acquire_owned().await.ok()?;
                let item = source.next().await?;
                Some(((index, item, room), (source, index + 1)))
            }
        });
        items
            .map(move |(index, item, room)| {
                let line = line.clone();
                async move { (index, line.take(item, room).await) }
            })
            .buffer_unordered(self.bound())
    }

    /// Takes all items through the three stages; returns their results in input order. For few
    /// enough results to keep them all.
    pub async fn run_all<I, F, Fetching, P, D, Storing, A, B, R, E>(
        &self,
        items: I,
        fetch: F,
        process: P,
        store: D,
    ) -> Vec<Result<R, ItemError<E>>>
    where
        I: IntoIterator,
        F: Fn(I::Item) -> Fetching,
        Fetching: Future<Output = Result<A, E>>,
        P: Fn(A) -> Result<B, E> + Send + Sync + 'static,
        D: Fn(B) -> Storing,
        Storing: Future<Output = Result<R, E>>,
        A: Send + 'static,
        B: Send + 'static,
        E: Send + 'static,
    {
        let run = self.run(stream::iter(items), fetch, process, store);
        let mut results: Vec<_> = run.collect().await;
        results.sort_unstable_by_key(|(index, _)| *index);
        results.into_iter().map(|(_, result)| result).collect()
    }
}

/// What the items of one run share.
struct Line<F, P, D> {
    pool: Arc<ThreadPool>,
    places: Semaphore,
    stores: Semaphore,
    fetch: F,
    process: Arc<P>,
    store: D,
}

impl<F, P, D> Line<F, P, D> {
    /// The way of one item. It leaves a stage only when there is room in the next one.
    async fn take<T, Fetching, Storing, A, B, R, E>(
        &self,
        item: T,
        room: OwnedSemaphorePermit,
    ) -> Result<R, ItemError<E>>
    where
        F: Fn(T) -> Fetching,
        Fetching: Future<Output = Result<A, E>>,
        P: Fn(A) -> Result<B, E> + Send + Sync + 'static,
        D: Fn(B) -> Storing,
        Storing: Future<Output = Result<R, E>>,
        A: Send + 'static,
        B: Send + 'static,
        E: Send + 'static,
    {
        let fetched = contained(async { (self.fetch)(item).await }).await?;
        let fetched = fetched.map_err(ItemError::Fetch)?;
        // These semaphores are never closed.
        let place = self.places.acquire().await;
        drop(room);
        let process = self.process.clone();
        let processed = on_pool(&self.pool, fetched, move |fetched| process(fetched)).await?;
        let processed = processed.map_err(ItemError::Process)?;
        let _storing = self.stores.acquire().await;
        drop(place);
        let stored = contained(async { (self.store)(processed).await }).await?;
        stored.map_err(ItemError::Store)
    }
}

/// Awaits a future whose panic is nobody else's.
async fn contained<T, E>(future: impl Future<Output = T>) -> Result<T, ItemError<E>> {
    let ended = AssertUnwindSafe(future).catch_unwind().await;
    ended.map_err(|panic| ItemError::Panicked(message(&*panic)))
}

/// Computes on a pool and awaits the result. Dropped, it takes the item back unless a worker has
/// begun with it.
async fn on_pool<A, B, E>(
    pool: &ThreadPool,
    item: A,
    process: impl FnOnce(A) -> B + Send + 'static,
) -> Result<B, ItemError<E>>
where
    A: Send + 'static,
    B: Send + 'static,
{
    let (answer, result) = oneshot::channel();
    let item = Handed(Arc::new(Mutex::new(Some(item))));
    let waiting = item.0.clone();
    pool.spawn(move || {
        // A panic that escaped would end the program: not even that of a destructor may.
        let _ = catch_unwind(AssertUnwindSafe(move || {
            let Some(item) = take(&waiting) else { return };
            let result = catch_unwind(AssertUnwindSafe(|| process(item)));
            let _ = answer.send(result);
        }));
    });
    match result.await {
        Ok(Ok(result)) => Ok(result),
        Ok(Err(panic)) => Err(ItemError::Panicked(message(&*panic))),
        Err(_) => Err(ItemError::Panicked("the pool lost the item".into())),
    }
}

/// An item that waits for a worker, until its owner goes away.
struct Handed<A>(Arc<Mutex<Option<A>>>);

impl<A> Drop for Handed<A> {
    fn drop(&mut self) {
        drop(take(&self.0));
    }
}

fn take<A>(slot: &Mutex<Option<A>>) -> Option<A> {
    slot.lock().unwrap_or_else(PoisonError::into_inner).take()
}

fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|s| s.to_string());
    text.or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "a panic without a message".into())
}

#[cfg(test)]
mod tests {
    use std::{
        panic::resume_unwind,
        sync::{
            atomic::{AtomicUsize, Ordering::SeqCst},
            mpsc,
        },
    };

    use proptest::prelude::*;
    use tokio::task::yield_now;

    use super::*;

    /// Counts what exists, and the most that ever did.
    #[derive(Default)]
    struct Count {
        now: AtomicUsize,
        most: AtomicUsize,
    }

    impl Count {
        fn enter(self: &Arc<Count>) -> Inside {
            let now = self.now.fetch_add(1, SeqCst) + 1;
            self.most.fetch_max(now, SeqCst);
            Inside(self.clone())
        }

        fn now(&self) -> usize {
            self.now.load(SeqCst)
        }

        fn most(&self) -> usize {
            self.most.load(SeqCst)
        }
    }

    struct Inside(Arc<Count>);

    impl Drop for Inside {
        fn drop(&mut self) {
            self.0.now.fetch_sub(1, SeqCst);
        }
    }

    #[derive(Default)]
    struct Counts {
        items: Arc<Count>,
        fetching: Arc<Count>,
        computing: Arc<Count>,
        storing: Arc<Count>,
    }

    /// An item, counted as long as it exists.
    struct Item {
        index: usize,
        plan: Plan,
        _inside: Inside,
    }

    #[derive(Clone, Copy, Debug)]
    struct Plan {
        fate: Fate,
        /// How often fetch, process and store let others go first.
        yields: (u8, u8, u8),
    }

    #[derive(Clone, Copy, Debug, PartialEq)]
    enum Fate {
        Fine,
        FetchFails,
        FetchPanics,
        ProcessFails,
        ProcessPanics,
        StoreFails,
        StorePanics,
    }

    impl Fate {
        fn result(self, index: usize) -> Result<usize, ItemError<usize>> {
            match self {
                Fate::Fine => Ok(index),
                Fate::FetchFails => Err(ItemError::Fetch(index)),
                Fate::ProcessFails => Err(ItemError::Process(index)),
                Fate::StoreFails => Err(ItemError::Store(index)),
                _ => Err(ItemError::Panicked(index.to_string())),
            }
        }
    }

    /// Without the panic hook, which would write to the terminal.
    fn panic_with(index: usize) -> ! {
        resume_unwind(Box::new(index.to_string()))
    }

    /// A run of planned items.
    fn run(
        bridge: &Bridge,
        plans: Vec<Plan>,
        counts: &Counts,
    ) -> impl Stream<Item = (usize, Result<usize, ItemError<usize>>)> + Send + 'static {
        let items = counts.items.clone();
        let source = plans.into_iter().enumerate().map(move |(index, plan)| Item {
            index,
            plan,
            _inside: items.enter(),
        });
        let (fetching, computing) = (counts.fetching.clone(), counts.computing.clone());
        let storing = counts.storing.clone();
        bridge.run(
            stream::iter(source),
            move |item: Item| {
                let inside = fetching.enter();
                async move {
                    let _inside = inside;
                    for _ in 0..item.plan.yields.0 {
                        yield_now().await;
                    }
                    match item.plan.fate {
                        Fate::FetchFails => Err(item.index),
                        Fate::FetchPanics => panic_with(item.index),
                        _ => Ok(item),
                    }
                }
            },
            move |item: Item| {
                let _inside = computing.enter();
                (0..item.plan.yields.1).for_each(|_| std::thread::yield_now());
                match item.plan.fate {
                    Fate::ProcessFails => Err(item.index),
                    Fate::ProcessPanics => panic_with(item.index),
                    _ => Ok(item),
                }
            },
            move |item: Item| {
                let inside = storing.enter();
                async move {
                    let _inside = inside;
                    for _ in 0..item.plan.yields.2 {
                        yield_now().await;
                    }
                    match item.plan.fate {
                        Fate::StoreFails => Err(item.index),
                        Fate::StorePanics => panic_with(item.index),
                        _ => Ok(item.index),
                    }
                }
            },
        )
    }

    fn plans(most: usize) -> impl Strategy<Value = Vec<Plan>> {
        let fate = prop_oneof![
            4 => Just(Fate::Fine),
            1 => Just(Fate::FetchFails),
            1 => Just(Fate::FetchPanics),
            1 => Just(Fate::ProcessFails),
            1 => Just(Fate::ProcessPanics),
            1 => Just(Fate::StoreFails),
            1 => Just(Fate::StorePanics),
        ];
        let plan =
            (fate, (0u8..4, 0u8..4, 0u8..4)).prop_map(|(fate, yields)| Plan { fate, yields });
        prop::collection::vec(plan, 0..most)
    }

    fn limits() -> impl Strategy<Value = Limits> {
        (0usize..6, 0usize..5, 0usize..4).prop_map(|(fetches, queue, stores)| Limits {
            fetches,
            queue,
            stores,
        })
    }

    fn block_on<T>(future: impl Future<Output = T>) -> T {
        let runtime = tokio::runtime::Builder::new_current_thread().build();
        runtime.unwrap().block_on(future)
    }

    /// Nothing is left once the workers have finished what they had begun.
    fn comes_to_rest(counts: &Counts) {
        while counts.items.now() > 0 {
            std::thread::yield_now();
        }
        for count in [&counts.fetching, &counts.computing, &counts.storing] {
            assert_eq!(count.now(), 0);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]

        #[test]
        fn every_item_has_its_own_result_and_no_bound_is_exceeded(
            plans in plans(40), limits in limits(), width in 1usize..4,
        ) {
            let bridge = Bridge::new(width, limits).unwrap();
            let counts = Counts::default();
            let results: Vec<_> = block_on(run(&bridge, plans.clone(), &counts).collect());
            let mut seen = vec![0; plans.len()];
            for (index, result) in results {
                seen[index] += 1;
                prop_assert_eq!(result, plans[index].fate.result(index));
            }
            prop_assert!(seen.iter().all(|n| *n == 1), "{seen:?}");
            prop_assert!(counts.items.most() <= bridge.bound());
            prop_assert!(counts.fetching.most() <= limits.fetches.max(1));
            prop_assert!(counts.computing.most() <= width);
            prop_assert!(counts.storing.most() <= limits.stores.max(1));
            comes_to_rest(&counts);
        }

        #[test]
        fn dropped_anywhere_it_leaves_nothing(
            plans in plans(40), limits in limits(), width in 1usize..4, after in 0usize..40, polls in 0usize..20,
        ) {
            let bridge = Bridge::new(width, limits).unwrap();
            let counts = Counts::default();
            let taken = block_on(async {
                let mut run = Box::pin(run(&bridge, plans.clone(), &counts));
                let mut taken = Vec::new();
                while taken.len() < after && let Some((index, result)) = run.next().await {
                    assert_eq!(result, plans[index].fate.result(index));
                    taken.push(index);
                }
                // Some more of the way, without waiting for anything.
                for _ in 0..polls {
                    if let Some(Some((index, _))) = run.next().now_or_never() {
                        taken.push(index);
                    }
                    yield_now().await;
                }
                taken
            });
            comes_to_rest(&counts);
            let mut once = taken.clone();
            once.sort_unstable();
            once.dedup();
            prop_assert_eq!(once.len(), taken.len());
            // The pool is as good as new.
            let again: Vec<_> = block_on(run(&bridge, plans.clone(), &counts).collect());
            prop_assert_eq!(again.len(), plans.len());
        }
    }

    #[test]
    fn full_everywhere_it_holds_as_many_items_as_it_says_and_dropping_takes_them_back() {
        let limits = Limits { fetches: 3, queue: 4, stores: 2 };
        let bridge = Bridge::new(2, limits).unwrap();
        let items = Arc::<Count>::default();
        let (source, begun) = (items.clone(), Arc::<Count>::default());
        let (go, gate) = mpsc::channel::<()>();
        let gate = Mutex::new(gate);
        block_on(async {
            let workers = begun.clone();
            // The first two pass; the stores that never end and the workers that wait hold the rest.
            let passed = AtomicUsize::new(0);
            let mut run = Box::pin(bridge.run(
                stream::iter((0..100).map(move |_| source.enter())),
                |item| async move { Ok::<_, ()>(item) },
                move |item| {
                    if passed.fetch_add(1, SeqCst) >= 2 {
                        let _inside = workers.enter();
                        let _ = gate.lock().unwrap().recv();
                        return Ok(item);
                    }
                    Ok(item)
                },
                |item| async move {
                    let _item = item;
                    std::future::pending::<Result<(), ()>>().await
                },
            ));
            while items.now() < bridge.bound() || begun.now() < bridge.width() {
                assert!(run.next().now_or_never().is_none());
                yield_now().await;
            }
            for _ in 0..100 {
                assert!(run.next().now_or_never().is_none());
                yield_now().await;
            }
            assert_eq!(items.most(), bridge.bound());
            drop(run);
            // All but what the two workers are at.
            assert_eq!(items.now(), bridge.width());
        });
        drop(go);
        while items.now() > 0 {
            std::thread::yield_now();
        }
        assert_eq!(begun.most(), bridge.width());
    }

    #[test]
    fn results_in_input_order_over_a_shared_pool_of_one() {
        let pool = Arc::new(ThreadPoolBuilder::new().num_threads(1).build().unwrap());
        let limits = Limits { fetches: 8, queue: 0, stores: 1 };
        let (a, b) = (Bridge::on(pool.clone(), limits), Bridge::on(pool, limits));
        let go = |bridge: Bridge| async move {
            let fetch = |n: u32| async move {
                for _ in 0..n % 5 {
                    yield_now().await;
                }
                Ok::<_, ()>(n)
            };
            let results =
                bridge.run_all(0..50, fetch, |n| Ok(n * 2), |n| async move { Ok(n) }).await;
            results.into_iter().map(Result::unwrap).collect::<Vec<_>>()
        };
        let doubled: Vec<_> = (0..50).map(|n| n * 2).collect();
        let (left, right) = block_on(async { tokio::join!(go(a), go(b)) });
        assert_eq!((left, right), (doubled.clone(), doubled));
    }

    #[test]
    fn no_items_no_results_and_huge_limits() {
        let huge = Limits { fetches: usize::MAX, queue: usize::MAX, stores: usize::MAX };
        let bridge = Bridge::new(1, huge).unwrap();
        for n in [0, 3] {
            let results = block_on(bridge.run_all(
                0..n,
                |n| async move { Ok::<_, ()>(n) },
                Ok,
                |n| async move { Ok(n) },
            ));
            assert_eq!(results.len(), n);
        }
    }

    #[test]
    fn errors_name_their_stage() {
        let fetch = ItemError::Fetch(std::io::Error::other("gone"));
        assert_eq!(fetch.to_string(), "fetch: gone");
        assert!(fetch.source().is_some());
        let message = message(&*Box::new("boom") as &(dyn Any + Send));
        let panicked = ItemError::<std::io::Error>::Panicked(message);
        assert_eq!(panicked.to_string(), "panicked: boom");
        assert!(panicked.source().is_none());
    }
}
