//! Every order of the threads' steps, fewest forced switches first.
//!
//! A program of a few steps is explored whole: all orders without a forced switch (a switch away from a thread that
//! could have gone on), then all with one, with two, and so on (iterative context bounding: Musuvathi and Qadeer,
//! 2007). The first order that breaks something has therefore as few forced switches as any that does. Beyond a
//! bound on their number, orders are drawn by PCT (Burckhardt et al., 2010), from a fixed seed.

use std::{
    collections::BTreeMap,
    fmt::Write,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use shuttle::{
    Config, FailurePersistence, MaxSteps, Runner,
    scheduler::{PctScheduler, Schedule, Scheduler, Task, TaskId},
};

use crate::harness::Line;

/// Most orders that are tried one by one.
const WHOLE: u64 = 20_000;
/// Most time for them.
const PATIENCE: Duration = Duration::from_secs(4);
/// Orders that are drawn beyond.
const DRAWN: usize = 2_000;
/// How many priority changes a drawn order has at most.
const DEPTH: usize = 3;
/// The seed of those drawn.
const SEED: u64 = 0x0dd5;
/// Steps after which one order is left: a thread that waits in a circle takes any number.
const STEPS: usize = 4_000;

/// What a thread did in the order that is being tried.
static EVENTS: Mutex<Vec<(usize, String)>> = Mutex::new(Vec::new());
/// How many orders came to their end: one that takes too many steps is left, and shows nothing.
static ENDED: Mutex<u64> = Mutex::new(0);
/// How many locks and atomics there are in it, for their names.
static NAMED: Mutex<usize> = Mutex::new(0);

/// What each thread holds now, and how many held something at the same time, in any order tried: at most.
static HELD: Mutex<Held> = Mutex::new(Held { now: BTreeMap::new(), most: 0 });
/// Something has panicked in it: what comes now is only the clearing up.
static OVER: AtomicBool = AtomicBool::new(false);

struct Held {
    now: BTreeMap<usize, usize>,
    most: usize,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Writes down what the current thread does.
pub(crate) fn event(what: impl Into<String>) {
    if OVER.load(Relaxed) {
        return;
    }
    if let Some(task) = shuttle::current::try_get_current_task() {
        lock(&EVENTS).push((usize::from(task), what.into()));
    }
}

/// Notes that the current thread holds one lock more, or one less.
pub(crate) fn holds(one_more: bool) {
    let Some(task) = shuttle::current::try_get_current_task() else { return };
    let mut held = lock(&HELD);
    let count = held.now.entry(usize::from(task)).or_default();
    *count = if one_more { *count + 1 } else { count.saturating_sub(1) };
    let now = held.now.values().filter(|count| **count > 0).count();
    held.most = held.most.max(now);
}

/// A, B, C: the next name of a lock or atomic, in the order of making.
pub(crate) fn name() -> String {
    let mut named = lock(&NAMED);
    let letter = char::from(b'A' + u8::try_from(*named % 26).unwrap_or(0));
    *named += 1;
    if *named > 26 { format!("{letter}{}", (*named - 1) / 26) } else { letter.to_string() }
}

/// What is left of an order when it has been tried.
#[derive(Clone, Debug, Default)]
struct Tried {
    /// Which thread took each step.
    steps: Vec<usize>,
    /// How many of them were forced switches.
    forced: usize,
    orders: u64,
    /// A choice was left out because of the bound.
    bounded: bool,
    /// The orders ran out before their number did.
    finished: bool,
}

type Shared = Arc<Mutex<Tried>>;

impl Tried {
    fn begin(&mut self) {
        self.orders += 1;
        self.steps.clear();
        self.forced = 0;
    }

    fn step(&mut self, next: TaskId, runnable: &[&Task], current: Option<TaskId>, yields: bool) {
        let could_go_on = runnable.iter().any(|task| current == Some(task.id()));
        self.forced += usize::from(could_go_on && !yields && current != Some(next));
        self.steps.push(usize::from(next));
    }
}

/// All orders with at most `bound` forced switches, depth first.
struct Bounded {
    bound: usize,
    path: Vec<Choice>,
    depth: usize,
    forced: usize,
    until: Instant,
    tried: Shared,
}

struct Choice {
    options: Vec<TaskId>,
    at: usize,
    /// Whether all but the first are forced switches.
    costs: bool,
}

impl Bounded {
    /// Moves on to the next order; false when there is none.
    fn advance(&mut self) -> bool {
        while let Some(last) = self.path.last_mut() {
            if last.at + 1 < last.options.len() {
                last.at += 1;
                return true;
            }
            self.path.pop();
        }
        false
    }
}

impl Scheduler for Bounded {
    fn new_execution(&mut self) -> Option<Schedule> {
        let is_first = lock(&self.tried).orders == 0;
        let there_is_more = is_first || self.advance();
        let mut tried = lock(&self.tried);
        if !there_is_more {
            tried.finished = true;
            return None;
        }
        if tried.orders >= WHOLE || Instant::now() >= self.until {
            return None;
        }
        tried.begin();
        (self.depth, self.forced) = (0, 0);
        begin();
        Some(Schedule::new(0))
    }

    fn next_task(
        &mut self,
        runnable: &[&Task],
        current: Option<TaskId>,
        is_yielding: bool,
    ) -> Option<TaskId> {
        if self.depth == self.path.len() {
            let mut options: Vec<TaskId> = runnable.iter().map(|task| task.id()).collect();
            let own = current.and_then(|own| options.iter().position(|id| *id == own));
            let mut costs = false;
            match own {
                // Who yields lets the others go first.
                Some(at) if is_yielding && options.len() > 1 => {
                    options.remove(at);
                }
                Some(at) => {
                    options[..=at].rotate_right(1);
                    costs = true;
                    if self.forced >= self.bound && options.len() > 1 {
                        options.truncate(1);
                        lock(&self.tried).bounded = true;
                    }
                }
                None => {}
            }
            self.path.push(Choice { options, at: 0, costs });
        }
        let choice = &self.path[self.depth];
        self.depth += 1;
        self.forced += usize::from(choice.costs && choice.at > 0);
        let task = choice.options[choice.at];
        lock(&self.tried).step(task, runnable, current, is_yielding);
        Some(task)
    }

    fn next_u64(&mut self) -> u64 {
        0
    }
}

/// Another scheduler's orders, written down.
struct Written<S> {
    scheduler: S,
    tried: Shared,
}

impl<S: Scheduler> Scheduler for Written<S> {
    fn new_execution(&mut self) -> Option<Schedule> {
        let next = self.scheduler.new_execution()?;
        lock(&self.tried).begin();
        begin();
        Some(next)
    }

    fn next_task(
        &mut self,
        runnable: &[&Task],
        current: Option<TaskId>,
        is_yielding: bool,
    ) -> Option<TaskId> {
        let task = self.scheduler.next_task(runnable, current, is_yielding)?;
        lock(&self.tried).step(task, runnable, current, is_yielding);
        Some(task)
    }

    fn next_u64(&mut self) -> u64 {
        self.scheduler.next_u64()
    }
}

/// One order, as it was written down; where it cannot be followed, whoever can go on does.
struct Replayed {
    steps: Vec<usize>,
    at: usize,
    done: bool,
}

impl Scheduler for Replayed {
    fn new_execution(&mut self) -> Option<Schedule> {
        let first = !std::mem::replace(&mut self.done, true);
        first.then(|| Schedule::new(0))
    }

    fn next_task(
        &mut self,
        runnable: &[&Task],
        current: Option<TaskId>,
        _is_yielding: bool,
    ) -> Option<TaskId> {
        let wanted = self.steps.get(self.at);
        self.at += 1;
        let ids = || runnable.iter().map(|task| task.id());
        ids()
            .find(|id| wanted == Some(&usize::from(*id)))
            .or_else(|| ids().find(|id| current == Some(*id)))
            .or_else(|| ids().next())
    }

    fn next_u64(&mut self) -> u64 {
        0
    }
}

fn begin() {
    lock(&EVENTS).clear();
    *lock(&NAMED) = 0;
    lock(&HELD).now.clear();
    OVER.store(false, Relaxed);
}

/// Runs one scheduler to its end, or to the first order that breaks something: why.
fn run<S: Scheduler + 'static>(
    scheduler: S,
    check: &Arc<dyn Fn() + Send + Sync>,
) -> Option<String> {
    let mut config = Config::new();
    config.stack_size = 0x20_000;
    config.failure_persistence = FailurePersistence::None;
    config.max_steps = MaxSteps::ContinueAfter(STEPS);
    config.silence_warnings = true;
    let check = Arc::clone(check);
    let runner = Runner::new(scheduler, config);
    let to_its_end = move || {
        check();
        *lock(&ENDED) += 1;
    };
    let outcome = catch_unwind(AssertUnwindSafe(|| runner.run(to_its_end)));
    let cause = outcome.err()?;
    let text = cause.downcast_ref::<String>().cloned();
    text.or_else(|| cause.downcast_ref::<&str>().map(ToString::to_string))
        .or_else(|| Some("a thread panicked".to_owned()))
}

/// Tries the orders and tells the judge through `say`.
pub(crate) fn explore(line: &Line, check: impl Fn() + Send + Sync + 'static, say: fn(&str)) {
    // What panics in here is what is looked for, and is told below.
    std::panic::set_hook(Box::new(|_| OVER.store(true, Relaxed)));
    let check: Arc<dyn Fn() + Send + Sync> = Arc::new(check);
    let tried = Shared::default();
    let steps: Vec<usize> = line.list("replay");
    if !steps.is_empty() {
        begin();
        let scheduler = Replayed { steps: steps.clone(), at: 0, done: false };
        let why = run(Written { scheduler, tried: Arc::clone(&tried) }, &check);
        lock(&tried).steps = steps;
        return tell(say, &tried, why, "replayed");
    }
    let until = Instant::now() + PATIENCE;
    for bound in 0.. {
        *lock(&tried) = Tried::default();
        let scheduler = Bounded {
            bound,
            path: Vec::new(),
            depth: 0,
            forced: 0,
            until,
            tried: Arc::clone(&tried),
        };
        let why = run(scheduler, &check);
        let Tried { bounded, finished, .. } = *lock(&tried);
        if why.is_some() || (finished && !bounded) {
            return tell(say, &tried, why, "all");
        }
        if !finished {
            break;
        }
    }
    let whole = lock(&tried).orders;
    *lock(&tried) = Tried::default();
    let scheduler = PctScheduler::new_from_seed(SEED, DEPTH, DRAWN);
    let why = run(Written { scheduler, tried: Arc::clone(&tried) }, &check);
    lock(&tried).orders += whole;
    tell(say, &tried, why, "some");
}

/// A deadlock as a sentence: who holds what, and waits for what.
fn deadlock(events: &[(usize, String)]) -> String {
    let mut threads: BTreeMap<usize, (Vec<&str>, Option<String>)> = BTreeMap::new();
    for (task, what) in events {
        let (holds, waits) = threads.entry(*task).or_default();
        let words: Vec<&str> = what.split(' ').collect();
        *waits = None;
        match words[..] {
            ["asks", "for", "lock", name] => *waits = Some(format!("lock {name}")),
            ["takes", "lock", name] | ["is", "woken", "and", "takes", "lock", name] => {
                holds.push(name)
            }
            ["gives", "lock", name, "back", ref rest @ ..] => {
                holds.retain(|held| *held != name);
                *waits = rest.last().map(|condvar| format!("a wake-up of {condvar}"));
            }
            _ => {}
        }
    }
    let mut said = "a deadlock, a wait without end".to_owned();
    let waiting =
        threads.iter().filter_map(|(task, (holds, waits))| Some((task, holds, waits.as_ref()?)));
    for (i, (task, holds, waits)) in waiting.enumerate() {
        let _ = write!(said, "{} ", if i > 0 { "," } else { ":" });
        let _ = if *task == 0 { write!(said, "main") } else { write!(said, "thread {task}") };
        for (i, name) in holds.iter().enumerate() {
            let _ = write!(said, "{}lock {name}", if i > 0 { " and " } else { " holds " });
        }
        let _ = write!(said, "{}waits for {waits}", if holds.is_empty() { " " } else { " and " });
        if holds.iter().any(|held| waits.strip_prefix("lock ") == Some(held)) {
            said.push_str(", its own");
        }
    }
    said
}

fn tell(say: fn(&str), tried: &Shared, why: Option<String>, which: &str) {
    let tried = lock(tried).clone();
    say(&format!("did together {}", lock(&HELD).most));
    let steps = lock(&EVENTS).iter().filter(|(task, _)| *task > 0).count();
    say(&format!("did steps {steps}"));
    say(&format!("did forced {}", tried.forced));
    let none = || format!("no order of the steps comes to its end within {STEPS} of them");
    let Some(why) = why.or_else(|| (*lock(&ENDED) == 0).then(none)) else {
        say(&format!("orders held {which} {}", tried.orders));
        return say("end");
    };
    let why = why.lines().next().unwrap_or_default().to_owned();
    let why = if why.starts_with("deadlock!") { deadlock(&lock(&EVENTS)) } else { why };
    for (task, what) in lock(&EVENTS).iter() {
        say(&format!("event {task} {what}"));
    }
    let mut steps = String::new();
    for (i, step) in tried.steps.iter().enumerate() {
        let _ = write!(steps, "{}{step}", if i > 0 { "," } else { "" });
    }
    say(&format!("schedule {steps}"));
    say(&format!("orders broken {which} {} {why}", tried.orders));
    say("end");
}

#[cfg(test)]
mod tests {
    use shuttle::{
        scheduler::DfsScheduler,
        sync::{Mutex, atomic::AtomicU64, atomic::Ordering::SeqCst},
        thread,
    };

    use super::*;

    /// All orders with at most so many forced switches: why one breaks, and what is left.
    fn bounded(bound: usize, check: &Arc<dyn Fn() + Send + Sync>) -> (Option<String>, Tried) {
        let tried = Shared::default();
        let scheduler = Bounded {
            bound,
            path: Vec::new(),
            depth: 0,
            forced: 0,
            until: Instant::now() + Duration::from_secs(60),
            tried: Arc::clone(&tried),
        };
        let why = run(scheduler, check);
        let tried = lock(&tried).clone();
        (why, tried)
    }

    fn both(work: fn(&AtomicU64), holds: fn(u64) -> bool) -> Arc<dyn Fn() + Send + Sync> {
        Arc::new(move || {
            let count = std::sync::Arc::new(AtomicU64::new(0));
            let threads = [0, 1].map(|_| {
                let count = std::sync::Arc::clone(&count);
                thread::spawn(move || work(&count))
            });
            for thread in threads {
                thread.join().unwrap();
            }
            assert!(holds(count.load(SeqCst)), "it is {}", count.load(SeqCst));
        })
    }

    fn twice(count: &AtomicU64) {
        count.fetch_add(1, SeqCst);
        count.fetch_add(1, SeqCst);
    }

    fn in_two_steps(count: &AtomicU64) {
        let before = count.load(SeqCst);
        count.store(before + 1, SeqCst);
    }

    /// With enough switches allowed there are as many orders as depth-first search has that knows no bound.
    #[test]
    fn no_order_is_left_out_and_none_is_tried_twice() {
        let check = both(twice, |total| total == 4);
        let all = Runner::new(DfsScheduler::new(None, false), Config::new()).run({
            let check = Arc::clone(&check);
            move || check()
        });
        let (why, tried) = bounded(usize::MAX, &check);
        assert_eq!((why, tried.orders), (None, all as u64));
        assert!(tried.finished && !tried.bounded && all > 10, "{all}");
        let fewer: Vec<u64> = (0..4).map(|bound| bounded(bound, &check).1.orders).collect();
        assert!(fewer.is_sorted() && fewer[0] < fewer[1] && fewer[3] < all as u64, "{fewer:?}");
    }

    #[test]
    fn a_lost_update_takes_one_forced_switch_and_can_be_replayed() {
        let check = both(in_two_steps, |total| total == 2);
        assert_eq!(bounded(0, &check).0, None);
        let (why, tried) = bounded(1, &check);
        assert_eq!((why.as_deref(), tried.forced), (Some("it is 1"), 1));
        for _ in 0..10 {
            let replayed = Replayed { steps: tried.steps.clone(), at: 0, done: false };
            assert_eq!(run(replayed, &check), why);
        }
    }

    #[test]
    fn a_deadlock_is_found() {
        let check: Arc<dyn Fn() + Send + Sync> = Arc::new(|| {
            let locks = std::sync::Arc::new([Mutex::new(()), Mutex::new(())]);
            let threads = [(0, 1), (1, 0)].map(|(first, second)| {
                let locks = std::sync::Arc::clone(&locks);
                thread::spawn(move || {
                    let _first = locks[first].lock().unwrap();
                    let _second = locks[second].lock().unwrap();
                })
            });
            for thread in threads {
                thread.join().unwrap();
            }
        });
        assert_eq!(bounded(0, &check).0, None);
        assert!(bounded(1, &check).0.unwrap().contains("deadlock"));
    }
}
