//! The queue against its own rules, and against the formulas of queueing theory.

use mock_server::queue::{Admission, Queue};
use proptest::prelude::*;
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64;

/// (arrival, start, finish) of those admitted before, in order.
type Admitted = Vec<(u64, u64, u64)>;

fn in_service(jobs: &Admitted, at: u64) -> usize {
    let busy = |&&(_, start, finish): &&(u64, u64, u64)| start <= at && at < finish;
    jobs.iter().filter(busy).count()
}

fn waiting(jobs: &Admitted, at: u64) -> usize {
    let waits = |&&(arrival, start, _): &&(u64, u64, u64)| arrival <= at && at < start;
    jobs.iter().filter(waits).count()
}

proptest! {
    #[test]
    fn the_rules_hold(
        slots in 1_usize..5,
        places in proptest::option::of(0_usize..4),
        requests in proptest::collection::vec((0_u64..12, 0_u64..25), 1..80),
    ) {
        let mut queue = Queue::new(slots, places);
        let mut jobs: Admitted = Vec::new();
        let (mut now, mut refused) = (0, 0);
        for (gap, service) in requests {
            now += gap;
            let mut before = queue.clone();
            match queue.arrive(now, service) {
                Admission::Admitted { start, finish } => {
                    prop_assert_eq!(finish, start + service);
                    if start > now {
                        // Work conserving: it waits only while every slot is busy.
                        prop_assert!((now..start).all(|at| in_service(&jobs, at) == slots));
                    }
                    prop_assert!(in_service(&jobs, start) < slots);
                    prop_assert!(start >= now);
                    let last = jobs.last().map_or(0, |job| job.1);
                    prop_assert!(start >= last, "first come, first served");
                    jobs.push((now, start, finish));
                }
                Admission::Refused { free_at } => {
                    refused += 1;
                    prop_assert_eq!(in_service(&jobs, now), slots);
                    prop_assert_eq!(Some(waiting(&jobs, now)), places);
                    prop_assert!(free_at > now);
                    let early = before.clone().arrive(free_at - 1, 1);
                    let refused_early = matches!(early, Admission::Refused { .. });
                    prop_assert!(refused_early);
                    let on_time = before.arrive(free_at, 1);
                    let admitted_then = matches!(on_time, Admission::Admitted { .. });
                    prop_assert!(admitted_then);
                }
            }
            prop_assert_eq!(queue.in_service(now), in_service(&jobs, now));
            prop_assert_eq!(queue.waiting(now), waiting(&jobs, now));
            prop_assert_eq!(queue.backlog(now), in_service(&jobs, now) + waiting(&jobs, now));
            prop_assert!(queue.in_service(now) <= slots);
            prop_assert!(places.is_none_or(|places| queue.waiting(now) <= places));
            let counts = queue.counts();
            prop_assert_eq!(counts.arrived, counts.admitted + counts.refused);
            prop_assert_eq!((counts.admitted, counts.refused), (jobs.len() as u64, refused));
        }
    }

    #[test]
    fn any_instants_are_survived(
        slots in 0_usize..4,
        requests in proptest::collection::vec((any::<u64>(), any::<u64>()), 1..40),
    ) {
        let mut queue = Queue::new(slots, Some(3));
        for (now, service) in requests {
            queue.arrive(now, service);
            prop_assert!(queue.backlog(now) <= slots.max(1) + 3);
        }
    }
}

#[test]
fn no_slots_count_as_one() {
    assert_eq!(Queue::new(0, None).slots(), 1);
}

#[test]
fn an_instant_before_the_latest_counts_as_the_latest() {
    let mut queue = Queue::new(2, None);
    queue.arrive(100, 10);
    let admission = queue.arrive(50, 10);
    let expected = Admission::Admitted { start: 100, finish: 110 };
    assert_eq!(admission, expected);
}

/// Slots are a number, not an allocation: this one would be 8 EB.
#[test]
fn idle_slots_cost_nothing() {
    let mut queue = Queue::new(1 << 60, None);
    for _ in 0..1000 {
        queue.arrive(0, 1000);
    }
    assert_eq!((queue.in_service(0), queue.waiting(0)), (1000, 0));
}

// ---- Theory: long seeded runs in virtual time ----

/// One mean service time; large, so that rounding to whole nanoseconds does not matter.
const SERVICE: f64 = 1e9;
const BATCHES: usize = 64;
const BATCH: usize = 1 << 15;
/// Student's t for 63 degrees of freedom, two-sided, one false alarm in 1,000.
const T: f64 = 3.45;

/// Of one run: shares of those arrived, and the mean wait of those admitted in service times. Each with half the width
/// of its 99.9 % confidence interval by batch means.
#[derive(Debug)]
struct Measured {
    refused: (f64, f64),
    delayed: (f64, f64),
    wait: (f64, f64),
}

fn exponential(rng: &mut Pcg64) -> f64 {
    let u: f64 = rng.random();
    -(1.0 - u).ln()
}

/// Poisson arrivals at `rho` of what `slots` can do, after a warm-up of four batches.
fn run(
    slots: usize,
    places: Option<usize>,
    rho: f64,
    mut service: impl FnMut(&mut Pcg64) -> f64,
) -> Measured {
    let mut rng = Pcg64::seed_from_u64(20_240_229);
    let mut queue = Queue::new(slots, places);
    let gap = SERVICE / (rho * slots as f64);
    let mut now = 0.0;
    let mut batches = [const { Vec::new() }; 3];
    for batch in 0..BATCHES + 4 {
        let (mut refused, mut delayed, mut wait) = (0.0, 0.0, 0.0);
        for _ in 0..BATCH {
            now += gap * exponential(&mut rng);
            let at = now as u64;
            match queue.arrive(at, (SERVICE * service(&mut rng)) as u64) {
                Admission::Refused { .. } => refused += 1.0,
                Admission::Admitted { start, .. } => {
                    delayed += f64::from(u8::from(start > at));
                    wait += (start - at) as f64 / SERVICE;
                }
            }
        }
        if batch >= 4 {
            let n = BATCH as f64;
            batches[0].push(refused / n);
            batches[1].push(delayed / n);
            batches[2].push(wait / (n - refused));
        }
    }
    let [refused, delayed, wait] = batches.map(|means| interval(&means));
    Measured { refused, delayed, wait }
}

fn interval(means: &[f64]) -> (f64, f64) {
    let n = means.len() as f64;
    let mean = means.iter().sum::<f64>() / n;
    let variance = means.iter().map(|m| (m - mean).powi(2)).sum::<f64>() / (n - 1.0);
    (mean, T * (variance / n).sqrt())
}

/// Inside the interval, and the interval narrow enough to mean something.
#[track_caller]
fn agrees(what: &str, (measured, half): (f64, f64), theory: f64) {
    assert!(half < 0.08 * theory, "{what}: {measured} ± {half} decides nothing");
    assert!(
        (measured - theory).abs() < half,
        "{what}: measured {measured} ± {half}, theory {theory}"
    );
}

/// The loss share of M/G/c/c at offered load a: B(0) = 1, B(k) = aB(k−1) / (k + aB(k−1)) (Erlang 1917).
fn erlang_b(slots: usize, a: f64) -> f64 {
    (1..=slots).fold(1.0, |b, k| a * b / (k as f64 + a * b))
}

/// The share that waits in M/M/c at offered load a < c: C = B / (1 − ρ(1 − B)).
fn erlang_c(slots: usize, a: f64) -> f64 {
    let b = erlang_b(slots, a);
    b / (1.0 - a / slots as f64 * (1.0 - b))
}

/// The mean wait of M/D/c in service times. The number present after one service time is those who waited, plus a
/// Poisson number of arrivals: N' = max(N − c, 0) + A. Its stationary mean less a is the mean line, by Little's law
/// the wait times a.
fn md_c_wait(slots: usize, a: f64) -> f64 {
    // Beyond this the probabilities are below 1e-9 for the loads used here.
    let states = 12 * slots + 60;
    let mut poisson = vec![(-a).exp()];
    for k in 1..states {
        poisson.push(poisson[k - 1] * a / k as f64);
    }
    let mut now = vec![0.0; states];
    now[0] = 1.0;
    for _ in 0..600 {
        let mut next = vec![0.0; states];
        for (n, p) in now.iter().enumerate() {
            let left = n.saturating_sub(slots);
            for (arrivals, q) in poisson.iter().take(states - left).enumerate() {
                next[left + arrivals] += p * q;
            }
        }
        now = next;
    }
    let present: f64 = now.iter().enumerate().map(|(n, p)| n as f64 * p).sum();
    (present - a) / a
}

#[test]
fn losses_are_erlang_b_whatever_the_service() {
    for (slots, rho) in [(1, 0.5), (5, 0.8), (20, 1.1)] {
        let theory = erlang_b(slots, rho * slots as f64);
        let random = run(slots, Some(0), rho, exponential);
        agrees("M/M/c/c", random.refused, theory);
        let constant = run(slots, Some(0), rho, |_| 1.0);
        agrees("M/D/c/c", constant.refused, theory);
        assert_eq!(random.wait.0, 0.0);
    }
}

#[test]
fn waits_are_erlang_c() {
    for (slots, rho) in [(1, 0.6), (4, 0.8), (20, 0.85)] {
        let a = rho * slots as f64;
        let measured = run(slots, None, rho, exponential);
        let theory = erlang_c(slots, a);
        agrees("M/M/c delayed", measured.delayed, theory);
        agrees("M/M/c wait", measured.wait, theory / (slots as f64 - a));
        assert_eq!(measured.refused.0, 0.0);
    }
}

/// M/M/c/c+K: the states beyond c are geometric.
#[test]
fn a_bounded_queue_loses_what_its_birth_death_chain_says() {
    for (slots, places, rho) in [(1, 3, 0.9), (4, 8, 1.2)] {
        let a: f64 = rho * slots as f64;
        let mut weights = vec![1.0];
        for n in 1..=slots + places {
            weights.push(weights[n - 1] * a / n.min(slots) as f64);
        }
        let theory = weights[slots + places] / weights.iter().sum::<f64>();
        let measured = run(slots, Some(places), rho, exponential);
        agrees("M/M/c/c+K", measured.refused, theory);
    }
}

#[test]
fn constant_service_waits_less() {
    // M/D/1: ρ / 2(1 − ρ), which the chain for c slots must give too.
    for rho in [0.5, 0.8] {
        let theory = rho / (2.0 * (1.0 - rho));
        let chain = md_c_wait(1, rho);
        assert!((chain - theory).abs() < 1e-6, "{chain} {theory}");
        agrees("M/D/1 wait", run(1, None, rho, |_| 1.0).wait, theory);
    }
    for (slots, rho) in [(4, 0.8), (10, 0.9)] {
        let measured = run(slots, None, rho, |_| 1.0);
        agrees("M/D/c wait", measured.wait, md_c_wait(slots, rho * slots as f64));
    }
}
