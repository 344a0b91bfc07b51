//! # Cancellation
//!
//! ## The question
//!
//! What is lost when a future is dropped?
//!
//! ## What to predict
//!
//! A receiver takes items off a channel and hands each over, which takes {hand-over} (`h`). The same loop looks
//! at a ticker, every {ticks} (`P`). `select!` runs both, and drops whichever has not ended first. What share of the
//! items is never handed over, if they come one by one? And if the next one is always there?
//!
//! A client pays {items} bills, one after another. The bank writes a charge down within {write}, and its
//! confirmation comes {answer} later. The client gives up after {patience} (`T`), and tries again until it hears
//! something. How many charges are too many?
//!
//! A server gets {rate} requests a second (`λ`), each of which is inside for {inside} (`W`). It is stopped. The
//! balancer in front of it notices {gap} later. How many requests are lost?
//!
//! ## The experiment
//!
//! Seven pairs of a wrong way and a right way, each a few lines apart, are below. They run on tokio's own tasks,
//! channels, locks and `select!`, in *virtual time*: the clock stands still while anything can be done, and jumps to
//! the next timer when nothing can. So what is lost can be counted, and is the same in every run. Cancellations are
//! spread evenly, not drawn. The first pair and the last run on the machine's clock as well, the fourth over HTTP.
//!
//! ## What the figures show
//!
//! A future that is dropped stops at the `await` where it stands. What it had done is done, what it had taken is
//! gone, and the rest never happens. No error says so. So each loss is a window between two steps, and the number of
//! cancellations that land in it: over a time `P`, a window of `h` is hit by a share `h/P` of them.
//!
//! 1. *Taken and not handed over.* One by one, `min(1, h/P)` of the items is lost. With the next one always
//!    there, each tick drops one of `⌊P/h⌋ + 1`. A ticker that is faster than a hand-over loses everything, for
//!    ever. `recv` is cancel-safe. A function that awaits once more after it is not.
//! 2. *Written and not confirmed.* A timeout says nothing of whether the write has happened. With a new key for each
//!    attempt the bank is charged again for every one that was written and not confirmed in time.
//! 3. *Debited and not credited.* A lock keeps others out and undoes nothing. A transfer waits {step}, debits, waits
//!    {step} and credits. Dropped in between, its guard leaves an unlocked lock and a wrong sum.
//! 4. *Begun and not waited for.* A task does not end with its handle. Calls that take up to {call} (`S`) go on
//!    for `(S − T)/2` on average after their caller has gone. A `JoinSet` ends them with itself; over HTTP, it
//!    closes their connections, and the service may notice.
//! 5. *Called by somebody who has gone.* A hop whose clock starts when it is called works on for a client that has
//!    left: {hops} hops (`n`) of {work} (`w`) work `n·w − T` in vain. With the deadline sent along they end at `T`.
//! 6. *Kept and not polled.* The queue of a fair lock keeps the place of a future that exists. If nobody polls it, it
//!    neither takes the lock nor passes it on, and who asks behind it waits for ever ("futurelock", Oxide RFD 609,
//!    2025). In the first pair `&mut` is the right way. Here it is the wrong one.
//! 7. *Inside when the server stops.* By Little's law `λ·W` requests are inside, and `λ·gap` come until the
//!    balancer knows. A server that says it is not ready, serves on until that is known, closes its door and
//!    waits for those inside loses none. Where it waits only for `D`, shorter than `W`, it loses about `λ·(W −
//!    D)`, less those who would have come while the door was shut and the balancer knew.
//!
//! All of them are one decision about a future that is not finished. Either it is dropped: then no `await` may stand
//! between two steps that belong together. Or it is kept: then somebody must poll it.
//!
//! ## A common belief
//!
//! *An `await` is just a function call.* A function call returns. An `await` is a place where a function may end
//! without returning, and every line before it must leave things in order.
//!
//! *Dropping a future stops the work.* It stops that future. What it has spawned, or asked of others, goes on.
//!
//! *A tokio `Mutex` makes it safe.* A lock of the standard library remembers that somebody panicked while holding it
//! (poison). This one does not, and neither knows that its guard was dropped half-way.
//!
//! ## In production
//!
//! Look up "cancel safety" in the documentation of each method that stands in a `select!` branch; tokio's say
//! it. Keep half-done work in a pinned future or in a struct, not in the branch. Give each write an idempotency
//! key that is made before the first attempt. Let no `await` stand between two changes that belong together, or
//! put both into a task that nobody cancels. Own every task: a `JoinSet`, or a `CancellationToken` that it
//! listens to (structured concurrency). Send deadlines along with requests (gRPC has a header for it). Never
//! await in a branch what a paused future may hold. On SIGTERM turn readiness off, serve on until every
//! balancer has noticed, close, and drain with a deadline that is shorter than the one after which the platform
//! kills.
//!
//! ## Check yourself
//!
//! - The ticker of the first pair is made twice as fast. When does the share double, and when does it not?
//! - A timeout is twice as long. Are there fewer double charges?
//! - Which of the seven would a panic instead of a drop change?
//! - Why does the spawned transfer keep the sum right although its caller has gone?

use std::{pin::pin, sync::Arc};

use futures_util::future::join_all;
use lab_kit::prelude::*;
use tokio::{select, sync::Mutex, task::JoinSet};

use clock::{Clock, Ticks};
use world::{Bank, Call, Desk, Hop, Line, Server};

mod clock;
mod figures;
mod findings;
mod gauges;
mod plan;
mod premise;
mod trials;
mod world;

pub use plan::{CancellationLab, Params};

impl Line {
    /// Takes an item and hands it over; `None` when there will be none. Dropped between the two, it loses the item.
    async fn carry(&self) -> Option<()> {
        let item = self.items.recv().await.ok()?;
        self.clock.sleep(self.hand_over).await;
        self.handed_over(item);
        Some(())
    }
}

// wrong(1): A tick drops what was taken
async fn receive_anew(line: &Line, mut ticks: Ticks) {
    loop {
        select! {
            () = ticks.tick() => line.beat(),
            carried = line.carry() => if carried.is_none() { return },
        }
    }
}

// right(1): The future outlives the tick
// so(1): The branch borrows the future instead of owning it. After a tick the same one goes on.
async fn receive_on(line: &Line, mut ticks: Ticks) {
    let mut carrying = pin!(line.carry());
    loop {
        select! {
            () = ticks.tick() => line.beat(),
            carried = &mut carrying => match carried {
                Some(()) => carrying.set(line.carry()),
                None => return,
            },
        }
    }
}

// wrong(2): Each attempt is a new charge
async fn pay_anew(bank: &Bank, bill: usize, patience: Duration) {
    loop {
        let key = bank.new_key();
        if bank.clock.timeout(patience, bank.charge(bill, key)).await.is_some() {
            return;
        }
    }
}

// right(2): Each attempt is the same charge
// so(2): The key is made outside the loop, so the bank can tell that it has been here before.
async fn pay_once(bank: &Bank, bill: usize, patience: Duration) {
    let key = bank.new_key();
    while bank.clock.timeout(patience, bank.charge(bill, key)).await.is_none() {}
}

/// Two accounts; their sum should stay what it is.
type Accounts = Arc<Mutex<[i64; 2]>>;

// wrong(3): An await between debit and credit
async fn transfer_halfway(accounts: Accounts, clock: Clock, step: Duration) {
    let mut accounts = accounts.lock().await;
    clock.sleep(step).await;
    accounts[0] -= 1;
    clock.sleep(step).await;
    accounts[1] += 1;
}

// right(3): All waiting first, or in a task of its own
// so(3): What no await divides, no cancellation divides. And who drops a task's handle drops no task.
async fn transfer_whole(accounts: Accounts, clock: Clock, step: Duration) {
    let mut accounts = accounts.lock().await;
    clock.sleep(step).await;
    clock.sleep(step).await;
    accounts[0] -= 1;
    accounts[1] += 1;
}

async fn transfer_spawned(accounts: Accounts, clock: Clock, step: Duration) {
    let _ = tokio::spawn(transfer_halfway(accounts, clock, step)).await;
}

// wrong(4): Tasks outlive who asked for them
async fn ask_detached(calls: Vec<Call>, clock: Clock, patience: Duration) -> bool {
    let calls = calls.into_iter().map(tokio::spawn);
    clock.timeout(patience, join_all(calls)).await.is_some()
}

// right(4): Tasks end with their set
// so(4): A dropped handle lets its task go on. A dropped `JoinSet` aborts all of its tasks.
async fn ask_owned(calls: Vec<Call>, clock: Clock, patience: Duration) -> bool {
    let calls: JoinSet<()> = calls.into_iter().collect();
    clock.timeout(patience, calls.join_all()).await.is_some()
}

// wrong(5): Every hop has a clock of its own
async fn serve_by_own_clock(hop: &Hop) -> Option<()> {
    let until = hop.clock.now() + hop.patience;
    hop.clock.timeout_at(until, hop.work_and_call(until)).await?
}

// right(5): The deadline is sent along
// so(5): One clock, the client's. Nobody begins or goes on when it has run out.
async fn serve_by_deadline(hop: &Hop, until: Duration) -> Option<()> {
    hop.clock.timeout_at(until, hop.work_and_call(until)).await?
}

// wrong(6): In the queue, and not polled
async fn look_again(desk: &Desk, after: Duration) {
    let mut first = pin!(desk.behind_the_lock());
    select! {
        () = &mut first => {}
        () = desk.impatient(after) => desk.behind_the_lock().await,
    }
}

// right(6): Out of the queue
// so(6): Without `&mut` the future is dropped before the branch runs, and gives up its place, or the lock. Where its
//     work must not be lost, it is spawned: a task is polled whatever the branch waits for.
async fn look_once(desk: &Desk, after: Duration) {
    select! {
        () = desk.behind_the_lock() => {}
        () = desk.impatient(after) => desk.behind_the_lock().await,
    }
}

async fn look_spawned(desk: Arc<Desk>, after: Duration) {
    let first = desk.clone();
    let mut first = tokio::spawn(async move { first.behind_the_lock().await });
    select! {
        _ = &mut first => {}
        () = desk.impatient(after) => desk.behind_the_lock().await,
    }
}

// wrong(7): Stop
async fn stop_at_once(server: Server) {
    drop(server);
}

// right(7): Not ready, wait, close, drain
// so(7): Those who come in the gap are still served, and those inside are waited for, up to a deadline.
async fn drain(mut server: Server, clock: &Clock, gap: Duration, patience: Duration) {
    server.not_ready();
    clock.sleep(gap).await;
    server.close();
    clock.timeout(patience, server.idle()).await;
}
