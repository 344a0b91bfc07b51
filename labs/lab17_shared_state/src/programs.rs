//! Programs that hang, and the same without: a lock held across an `.await`, two locks taken in two
//! orders. Each runs in a process of its own, and says what it has and what it waits for.

use std::{
    sync::{Arc, Barrier, Mutex},
    thread,
    time::Duration,
};

use anyhow::Result;
use clap::ValueEnum;
use tokio::{runtime::Builder, task::JoinSet, time::sleep};

use super::{
    async_lock, awaited_before,
    counters::{Account, Lock, pay_in_one_order, pay_payer_first},
    held_across_await,
    watchdog::{self, Witness},
};

/// A program that hangs, or does the same without.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Program {
    /// A std guard held across an await, on a current-thread runtime.
    HeldCurrent,
    /// The guard ends before the await.
    ScopedCurrent,
    /// A lock of tokio's, held across the await.
    AsyncCurrent,
    /// A std guard held across an await, on a multi-thread runtime.
    HeldMulti,
    /// The guard ends before the await.
    ScopedMulti,
    /// A lock of tokio's, held across the await.
    AsyncMulti,
    /// Two threads take two locks in two orders.
    TwoOrders,
    /// Two threads take two locks in one order.
    OneOrder,
}

/// Worker threads of the multi-thread runtime that hangs, and tasks that want its lock: more.
const WORKERS: usize = 2;
pub(super) const REQUESTS: usize = 4;

impl Program {
    pub(super) fn series(self) -> String {
        format!("program/{}", self.name())
    }

    /// It is meant to hang: it falls silent before it has ended.
    pub(super) fn hangs(self) -> bool {
        matches!(self, Program::HeldCurrent | Program::HeldMulti | Program::TwoOrders)
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Program::HeldCurrent => "held-current",
            Program::ScopedCurrent => "scoped-current",
            Program::AsyncCurrent => "async-current",
            Program::HeldMulti => "held-multi",
            Program::ScopedMulti => "scoped-multi",
            Program::AsyncMulti => "async-multi",
            Program::TwoOrders => "two-orders",
            Program::OneOrder => "one-order",
        }
    }

    /// In words.
    pub(super) fn title(self) -> &'static str {
        match self {
            Program::HeldCurrent => "std lock held across an await, one thread",
            Program::ScopedCurrent => "Guard ends before the await, one thread",
            Program::AsyncCurrent => "tokio lock held across the await, one thread",
            Program::HeldMulti => "std lock held across an await, two workers",
            Program::ScopedMulti => "Guard ends before the await, two workers",
            Program::AsyncMulti => "tokio lock held across the await, two workers",
            Program::TwoOrders => "Two locks in two orders",
            Program::OneOrder => "Two locks in one order",
        }
    }

    /// Runs it here, to its end if it has one.
    pub(super) fn run(self, pause: Duration) -> Result<()> {
        use Program::*;
        let runtime = match self {
            TwoOrders | OneOrder => return pay_each_other(pause, self == OneOrder),
            HeldCurrent | ScopedCurrent | AsyncCurrent => {
                Builder::new_current_thread().enable_all().build()?
            }
            HeldMulti | ScopedMulti | AsyncMulti => Builder::new_multi_thread()
                .worker_threads(WORKERS)
                .thread_name_fn(watchdog::worker_name())
                .enable_all()
                .build()?,
        };
        let (count, async_count) =
            (Arc::<Mutex<u64>>::default(), Arc::<tokio::sync::Mutex<u64>>::default());
        runtime.block_on(async {
            let mut requests = JoinSet::new();
            for i in 1..=REQUESTS {
                let (count, async_count) = (Arc::clone(&count), async_count.clone());
                requests.spawn(async move {
                    let request = Witness::new(format!("request {i}"));
                    request.says("sleeps");
                    sleep(pause / 2).await;
                    request.waits_for("the lock");
                    match self {
                        AsyncCurrent | AsyncMulti => *async_count.lock().await += 1,
                        _ => add_one(&count),
                    }
                    request.ends();
                });
            }
            let helper = tokio::spawn(async move {
                let helper = Witness::new("helper".into());
                helper.says("sleeps");
                sleep(pause).await;
                helper.ends();
            });
            let answer = async { helper.await.map_or(0, |()| 1) };
            let holder = Witness::new("holder".into());
            match self {
                HeldCurrent | HeldMulti => held_across_await(&holder, &count, answer).await,
                ScopedCurrent | ScopedMulti => awaited_before(&holder, &count, answer).await,
                _ => async_lock(&holder, &async_count, answer).await,
            }
            holder.ends();
            requests.join_all().await;
        });
        Ok(())
    }
}

/// As anybody would: the guard ends with the statement.
fn add_one(count: &Mutex<u64>) {
    *count.lock().expect("nobody panics holding it") += 1;
}

/// Two threads, each paying to the other's account. See `counters.rs` for the two ways.
fn pay_each_other(pause: Duration, one_order: bool) -> Result<()> {
    let accounts = [Account::new(1, 100), Account::new(2, 100)];
    let together = Barrier::new(2);
    thread::scope(|scope| {
        for i in [0, 1] {
            let (from, to, together) = (&accounts[i], &accounts[1 - i], &together);
            scope.spawn(move || {
                let payer = Witness::new(format!("thread {}", i + 1));
                let watch = |lock, number| match lock {
                    Lock::Awaited => payer.waits_for(&format!("account {number}")),
                    Lock::Taken => {
                        payer.has(&format!("account {number}"));
                        thread::sleep(pause);
                    }
                };
                together.wait();
                match one_order {
                    false => pay_payer_first(from, to, 10, watch),
                    true => pay_in_one_order(from, to, 10, watch),
                }
                payer.ends();
            });
        }
    });
    Ok(())
}
