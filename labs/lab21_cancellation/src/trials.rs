//! One trial of each condition: the lesson's code at work, and the books of what came of it.

use std::{
    collections::BTreeMap,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

pub(super) use super::world::part;
use lab_kit::{prelude::*, record::Span, theory::cancellation::even};
use tokio::{sync::Mutex, task::JoinSet};

use super::{
    Accounts, Params, ask_detached, ask_owned,
    clock::{Clock, in_virtual_time},
    drain, gauges, look_again, look_once, look_spawned, pay_anew, pay_once,
    plan::{Ending, Receiving, Way},
    receive_anew, receive_on, stop_at_once, transfer_halfway, transfer_spawned, transfer_whole,
    world::{Bank, Became, Books, Call, Desk, Hop, Line, Server, work},
};

/// So many holding times a run may take before it is said to stand still.
const STANDS_STILL: u32 = 100;

/// Requests of the experiment over HTTP.
pub(super) const HTTP_REQUESTS: usize = 20;
/// Time for the last answers to be written.
const DUE: Duration = Duration::from_millis(60);

/// The books of a trial.
fn books(offered: usize, wall: Duration) -> Trial {
    Trial { offered: offered as u64, wall_s: wall.as_secs_f64(), ..Trial::default() }
}

/// Books in which the latencies of the successes are these.
fn with_ok(mut trial: Trial, took: impl IntoIterator<Item = Duration>) -> Trial {
    for took in took {
        trial.ok += 1;
        trial.latency.record(took);
    }
    trial
}

fn note(trial: &mut Trial, gauge: Gauge, value: f64) {
    trial.gauges.insert(gauge.to_string(), value);
}

fn failed(trial: &mut Trial, kind: &str, n: u64) {
    if n > 0 {
        trial.failed += n;
        trial.failures.insert(kind.into(), n);
    }
}

/// Receivers side by side, each with items and a ticker of its own. In virtual time there is one.
pub(super) async fn receive(clock: Clock, way: Way, of: Receiving) -> Trial {
    let mut lines = JoinSet::new();
    let begin = clock.now() + Duration::from_millis(20);
    for first in (0..of.items).step_by(of.each) {
        let (items, line) = async_channel::unbounded();
        let line = Arc::new(Line::new(line, clock.clone(), of.hand_over));
        let (own, feeding, source) = (first..of.items.min(first + of.each), of, clock.clone());
        lines.spawn(async move {
            line.clock.sleep_until(begin).await;
            let ticks = line.clock.ticks(of.period);
            // The ticker knows when it began; so do the items.
            let begun = line.clock.now();
            let feeder = tokio::spawn(async move {
                for (place, item) in own.enumerate() {
                    source.sleep_until(begun + feeding.comes(place, item)).await;
                    let _ = items.send((item, source.now())).await;
                }
            });
            match way {
                Way::Wrong => receive_anew(&line, ticks).await,
                _ => receive_on(&line, ticks).await,
            }
            let _ = feeder.await;
            line
        });
    }
    let lines = lines.join_all().await;
    let handed_over: Vec<(usize, Duration)> = lines.iter().flat_map(|line| line.took()).collect();
    let once: BTreeMap<usize, Duration> = handed_over.iter().copied().collect();
    let mut trial = with_ok(books(of.items, clock.now() - begin), once.into_values());
    let lost = trial.offered - trial.ok;
    note(&mut trial, gauges::HANDED_OVER, handed_over.len() as f64);
    failed(&mut trial, "taken and not handed over", lost);
    note(&mut trial, gauges::LOST, lost as f64);
    note(&mut trial, gauges::TICKS, lines.iter().map(|line| line.ticks.load(Relaxed) as f64).sum());
    trial
}

/// Bills are paid one after another.
pub(super) fn pay(p: &Params, way: Way) -> Result<Trial> {
    in_virtual_time(async |clock| {
        let bank = Bank::new(clock.clone(), p.write.duration(), p.answer.duration());
        let patience = p.patience.duration();
        let mut took = Vec::with_capacity(p.items);
        for bill in 0..p.items {
            let begun = clock.now();
            match way {
                Way::Wrong => pay_anew(&bank, bill, patience).await,
                _ => pay_once(&bank, bill, patience).await,
            }
            took.push(clock.now() - begun);
        }
        let written = bank.written.lock().expect("nobody panics holding it");
        let mut paid = vec![0usize; p.items];
        written.values().for_each(|bill| paid[*bill] += 1);
        let twice: usize = paid.iter().map(|times| times.saturating_sub(1)).sum();
        let mut trial = with_ok(
            books(p.items, clock.now()),
            took.iter().copied().zip(&paid).filter(|(_, n)| **n > 0).map(|(t, _)| t),
        );
        let unpaid = trial.offered - trial.ok;
        note(&mut trial, gauges::ATTEMPTS, bank.attempts.load(Relaxed) as f64);
        note(&mut trial, gauges::WRITTEN, written.len() as f64);
        note(&mut trial, gauges::TWICE, twice as f64);
        failed(&mut trial, "never paid", unpaid);
        trial
    })
}

/// Transfers one after another, each given up by its caller at an instant of its own.
pub(super) fn transfer(p: &Params, way: Way) -> Result<Trial> {
    in_virtual_time(async |clock| {
        let whole = p.items as i64;
        let accounts: Accounts = Arc::new(Mutex::new([whole, 0]));
        let (step, span) = (p.step.duration(), p.given_up.duration());
        let mut took = Vec::new();
        for n in 0..p.items {
            let (begun, accounts, clock) = (clock.now(), accounts.clone(), &clock);
            let patience = part(span, even(n));
            let ended = match way {
                Way::Wrong => {
                    clock.timeout(patience, transfer_halfway(accounts, clock.clone(), step)).await
                }
                Way::Right => {
                    clock.timeout(patience, transfer_whole(accounts, clock.clone(), step)).await
                }
                Way::Spawned => {
                    clock.timeout(patience, transfer_spawned(accounts, clock.clone(), step)).await
                }
            };
            if ended.is_some() {
                took.push(clock.now() - begun);
            }
        }
        // The lock is fair: this one comes after all transfers that still go on by themselves.
        let [debited, credited] = *accounts.lock().await;
        let mut trial = with_ok(books(p.items, clock.now()), took);
        trial.timed_out = trial.offered - trial.ok;
        let gave_up = trial.timed_out as f64;
        note(&mut trial, gauges::CANCELLED, gave_up);
        note(&mut trial, gauges::MISSING, (whole - debited - credited) as f64);
        note(&mut trial, gauges::CREDITED, credited as f64);
        trial
    })
}

/// Requests that make several calls each, and go away after a while.
pub(super) fn call(p: &Params, way: Way) -> Result<Trial> {
    in_virtual_time(async |clock| {
        let kept: Arc<Books> = Arc::default();
        let (longest, patience) = (p.call.duration(), p.patience.duration());
        let mut took = Vec::new();
        for n in 0..p.items {
            let begun = clock.now();
            let calls = (0..p.fan).map(|call| {
                let lasts = part(longest, even(n * p.fan + call));
                let call = work(kept.clone(), clock.clone(), call, lasts, begun + patience);
                Box::pin(call) as Call
            });
            let calls: Vec<_> = calls.collect();
            let all = match way {
                Way::Wrong => ask_detached(calls, clock.clone(), patience).await,
                _ => ask_owned(calls, clock.clone(), patience).await,
            };
            if all {
                took.push(clock.now() - begun);
            }
        }
        // Until the last of those that go on by themselves has ended.
        clock.sleep(longest).await;
        let mut trial = with_ok(books(p.items, clock.now()), took);
        trial.timed_out = trial.offered - trial.ok;
        write_down(&mut trial, &kept);
        note(&mut trial, gauges::ORPHANS, kept.orphans());
        trial
    })
}

/// Requests at the same time whose calls go to a service over HTTP, which keeps books of who has left.
pub(super) async fn call_http(r: &Recorder, p: &Params, way: Way) -> Result<Trial> {
    let (longest, patience) = (p.call.duration(), p.patience.duration());
    let all = HTTP_REQUESTS * p.fan;
    let spec = Spec::new(all, ServiceTime::Constant(longest));
    let (service, client) = r.connected(spec, all).await?;
    let clock = Clock::Real(Instant::now());
    let requests = (0..HTTP_REQUESTS).map(|_| {
        let begun = clock.now();
        let calls = (0..p.fan).map(|_| {
            let (client, url) = (client.clone(), service.url());
            Box::pin(async move { drop(http::get(&client, &url).await) }) as Call
        });
        let calls: Vec<_> = calls.collect();
        let clock = clock.clone();
        async move {
            let all = match way {
                Way::Wrong => ask_detached(calls, clock.clone(), patience).await,
                _ => ask_owned(calls, clock.clone(), patience).await,
            };
            all.then(|| clock.now() - begun)
        }
    });
    let took = futures_util::future::join_all(requests).await;
    // The books say who has left when the answer is due.
    clock.sleep_until(longest + patience.min(longest) + DUE).await;
    let mut trial = with_ok(books(HTTP_REQUESTS, clock.now()), took.into_iter().flatten());
    trial.timed_out = trial.offered - trial.ok;
    if let Some(counters) = service.counters() {
        note(&mut trial, gauge::UPSTREAM_ARRIVED, counters.arrived as f64);
        note(&mut trial, gauges::SERVED, counters.served as f64);
        note(&mut trial, gauges::LEFT, counters.abandoned as f64);
    }
    Ok(trial)
}

fn write_down(trial: &mut Trial, kept: &Books) {
    note(trial, gauges::WORK_S, kept.work_s());
    note(trial, gauges::VAIN_S, kept.vain_s());
    note(trial, gauges::BEGUN_LATE, kept.begun_late());
}

/// Requests that go from service to service.
pub(super) fn chain(p: &Params, way: Way) -> Result<Trial> {
    in_virtual_time(async |clock| {
        let kept: Arc<Books> = Arc::default();
        let (lasts, patience) = (p.work.duration(), p.patience.duration());
        let whole = lasts * p.hops as u32 + patience * 2;
        let mut took = Vec::new();
        for _ in 0..p.items {
            let begun = clock.now();
            let hop = Hop {
                clock: clock.clone(),
                books: kept.clone(),
                place: 0,
                hops: p.hops,
                lasts,
                patience,
                client_goes: begun + patience,
                sent_along: way != Way::Wrong,
            };
            let asked = clock.timeout(patience, hop.serve(begun + patience)).await;
            if asked.flatten().is_some() {
                took.push(clock.now() - begun);
            }
            clock.sleep_until(begun + whole).await;
        }
        let mut trial = with_ok(books(p.items, clock.now()), took);
        trial.timed_out = trial.offered - trial.ok;
        write_down(&mut trial, &kept);
        let spans = kept.spans.lock().expect("nobody panics holding it");
        // The first request.
        for (place, begun, ended) in spans.iter().filter(|(_, begun, _)| *begun < whole) {
            let lane = format!("hop {}", place + 1);
            let (start_s, end_s) = (begun.as_secs_f64(), ended.as_secs_f64());
            trial.spans.push(Span { lane, name: "work".into(), start_s, end_s });
        }
        trial
    })
}

/// Runs in which a future waits for a lock that somebody holds, and its owner looks elsewhere.
pub(super) fn look(p: &Params, way: Way) -> Result<Trial> {
    in_virtual_time(async |clock| {
        let hold = p.hold.duration();
        let (mut took, mut turned) = (Vec::new(), 0);
        for n in 0..p.items {
            let desk =
                Desk { clock: clock.clone(), lock: Mutex::new(()), hold, turned: false.into() };
            let desk = Arc::new(desk);
            let (holder, begun) = (desk.clone(), clock.now());
            let holder = tokio::spawn(async move { holder.behind_the_lock().await });
            tokio::task::yield_now().await;
            let after = part(3 * hold, even(n));
            let limit = STANDS_STILL * hold;
            let ended = match way {
                Way::Wrong => clock.timeout(limit, look_again(&desk, after)).await,
                Way::Right => clock.timeout(limit, look_once(&desk, after)).await,
                Way::Spawned => clock.timeout(limit, look_spawned(desk.clone(), after)).await,
            };
            if ended.is_some() {
                took.push(clock.now() - begun);
            }
            turned += usize::from(desk.turned.load(Relaxed));
            let _ = holder.await;
        }
        let mut trial = with_ok(books(p.items, clock.now()), took);
        trial.timed_out = trial.offered - trial.ok;
        let gave_up = trial.timed_out as f64;
        note(&mut trial, gauges::STUCK, gave_up);
        note(&mut trial, gauges::TURNED, turned as f64);
        trial
    })
}

/// A server under load is stopped.
pub(super) async fn stop(clock: Clock, p: &Params, ending: Ending) -> Trial {
    let theory = p.stop();
    let (inside, gap) = (p.inside.duration(), p.gap.duration());
    let begin = clock.now() + Duration::from_millis(20);
    let (server, balancer) = Server::start(clock.clone(), inside);
    let balancer = Arc::new(balancer);
    let n = p.requests();
    let requests = (0..n).map(|k| {
        let (balancer, clock) = (balancer.clone(), clock.clone());
        async move {
            let due = begin + Duration::from_secs_f64(k as f64 / p.rate);
            clock.sleep_until(due).await;
            let became = balancer.send(gap).await;
            (became, clock.now().saturating_sub(due))
        }
    });
    let requests = futures_util::future::join_all(requests);
    let ends = async {
        clock.sleep_until(begin + Duration::from_secs_f64(theory.at())).await;
        match ending.gap_and_patience(p) {
            None => stop_at_once(server).await,
            Some((gap, patience)) => drain(server, &clock, gap, patience).await,
        }
    };
    let (became, ()) = tokio::join!(requests, ends);
    let count = |of: Became| became.iter().filter(|(became, _)| *became == of).count() as u64;
    let ok = became.iter().filter(|(b, _)| matches!(b, Became::Answered | Became::Elsewhere));
    let mut trial = with_ok(books(n, clock.now() - begin), ok.map(|(_, took)| *took));
    let (broken_off, shut_out) = (count(Became::BrokenOff), count(Became::ShutOut));
    failed(&mut trial, "broken off", broken_off);
    failed(&mut trial, "shut out", shut_out);
    note(&mut trial, gauges::BROKEN_OFF, broken_off as f64);
    note(&mut trial, gauges::SHUT_OUT, shut_out as f64);
    note(&mut trial, gauges::ELSEWHERE, count(Became::Elsewhere) as f64);
    trial
}
