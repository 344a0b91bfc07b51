//! Jobs that are released one after another, taken in that order by a pool of workers that share a
//! machine's processors.

use super::is_amount;

/// One job: when it may begin, and how long one processor of its own needs for it. In seconds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Job {
    /// Not before this.
    pub release: f64,
    /// Seconds on a processor of its own.
    pub cost: f64,
}

/// When each job starts and ends, in the order of `jobs`: list scheduling in the order of release
/// (R. L. Graham, 1966; jobs released together keep their order) on `workers` workers that share
/// the processors evenly.
///
/// `width(a)` is what `a` running workers get together, in processors: `a` on a machine with enough
/// of them, the measured effective parallelism on a real one, and always `a` for jobs that only
/// sleep. No worker is faster than one processor.
///
/// `NaN` for every job when a time is negative or not finite, or there are no workers or no width.
pub fn list_schedule(
    jobs: &[Job],
    workers: usize,
    width: impl Fn(usize) -> f64,
) -> Vec<(f64, f64)> {
    let mut times = vec![(f64::NAN, f64::NAN); jobs.len()];
    let finite = |t: f64| is_amount(t) && t.is_finite();
    if workers == 0 || !jobs.iter().all(|j| finite(j.release) && finite(j.cost)) {
        return times;
    }
    let mut waiting: Vec<usize> = (0..jobs.len()).collect();
    waiting.sort_by(|a, b| jobs[*a].release.total_cmp(&jobs[*b].release));
    let mut waiting = waiting.into_iter().peekable();
    let mut running: Vec<(usize, f64)> = Vec::new();
    let mut now = 0.0f64;
    loop {
        while running.len() < workers
            && let Some(job) = waiting.next_if(|j| jobs[*j].release <= now)
        {
            times[job].0 = now;
            running.push((job, jobs[job].cost));
        }
        let next = waiting.peek().map(|j| jobs[*j].release);
        let active = running.len();
        let shortest = running.iter().map(|(_, rest)| *rest).reduce(f64::min);
        let Some(shortest) = shortest else {
            let Some(release) = next else { return times };
            now = release;
            continue;
        };
        let speed = (width(active) / active as f64).min(1.0);
        if speed.is_nan() || speed <= 0.0 {
            return vec![(f64::NAN, f64::NAN); jobs.len()];
        }
        // Until a job ends, or one is released that finds a worker free.
        let arrives = next.filter(|release| active < workers && *release < now + shortest / speed);
        let done = match arrives {
            Some(release) => (release - now) * speed,
            None => shortest,
        };
        now = arrives.unwrap_or(now + shortest / speed);
        running.retain_mut(|(job, rest)| {
            *rest -= done;
            let ended = arrives.is_none() && *rest <= 0.0;
            if ended {
                times[*job].1 = now;
            }
            !ended
        });
    }
}

/// When the last job ends; 0 without jobs, `NaN` as [`list_schedule`].
pub fn makespan(jobs: &[Job], workers: usize, width: impl Fn(usize) -> f64) -> f64 {
    let ends = list_schedule(jobs, workers, width).into_iter();
    ends.map(|(_, end)| end).fold(0.0, |last, end| if end.is_nan() { end } else { last.max(end) })
}

/// The critical path, the longest `release + cost`: the end on a machine with a processor for each
/// job, and on no machine sooner. 0 without jobs.
pub fn critical_path(jobs: &[Job]) -> f64 {
    jobs.iter().map(|j| j.release + j.cost).fold(0.0, f64::max)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::amdahl::makespan_equal_jobs;
    use proptest::prelude::*;

    fn jobs(times: &[(f64, f64)]) -> Vec<Job> {
        let job = |&(release, cost)| Job { release, cost };
        times.iter().map(job).collect()
    }

    fn whole(processors: usize) -> impl Fn(usize) -> f64 {
        move |active| active.min(processors) as f64
    }

    #[test]
    fn three_sources() {
        // 300, 400 and 250 ms, each followed by 500 ms of inference.
        let sources = jobs(&[(0.3, 0.5), (0.4, 0.5), (0.25, 0.5)]);
        let end = |workers, processors| makespan(&sources, workers, whole(processors));
        assert!((critical_path(&sources) - 0.9).abs() < 1e-12);
        assert!((end(3, 3) - 0.9).abs() < 1e-12);
        assert!((end(2, 2) - 1.25).abs() < 1e-12);
        assert!((end(1, 2) - 1.75).abs() < 1e-12);
        // Three workers on two processors: at 0.4 s 0.35, 0.4 and 0.5 s are left, done at two thirds
        // of a processor each until 0.925 s; then 0.05 and 0.15 s at full speed.
        assert!((end(3, 2) - 1.075).abs() < 1e-9);
        let slots = list_schedule(&sources, 2, whole(2));
        assert!((slots[2].0 - 0.25).abs() < 1e-12 && (slots[1].0 - 0.75).abs() < 1e-12);
    }

    #[test]
    fn odd_input() {
        assert_eq!(makespan(&[], 0, whole(0)), 0.0);
        assert!(makespan(&jobs(&[(0.0, 1.0)]), 0, whole(1)).is_nan());
        assert!(makespan(&jobs(&[(0.0, 1.0)]), 1, |_| 0.0).is_nan());
        assert!(makespan(&jobs(&[(0.0, f64::NAN)]), 1, whole(1)).is_nan());
        assert_eq!(makespan(&jobs(&[(2.0, 0.0), (2.0, 0.0)]), 1, whole(1)), 2.0);
    }

    /// The textbook: each job in order of release on the worker that is free first.
    fn textbook(jobs: &[Job], workers: usize) -> f64 {
        let mut order = jobs.to_vec();
        order.sort_by(|a, b| a.release.total_cmp(&b.release));
        let mut free = vec![0.0f64; workers];
        for job in order {
            let first = free.iter_mut().min_by(|a, b| a.total_cmp(b)).unwrap();
            *first = first.max(job.release) + job.cost;
        }
        free.into_iter().fold(0.0, f64::max)
    }

    proptest! {
        #[test]
        fn a_processor_for_each_worker_is_the_textbook(
            times in prop::collection::vec((0.0..5f64, 0.0..2f64), 1..12), workers in 1usize..5,
        ) {
            let jobs = jobs(&times);
            let end = makespan(&jobs, workers, whole(workers));
            prop_assert!((end - textbook(&jobs, workers)).abs() < 1e-9);
        }

        #[test]
        fn bounded_below_by_path_and_work_and_above_by_graham(
            times in prop::collection::vec((0.0..5f64, 0.0..2f64), 1..12),
            workers in 1usize..6, processors in 1usize..4,
        ) {
            let jobs = jobs(&times);
            let end = makespan(&jobs, workers, whole(processors));
            let work: f64 = jobs.iter().map(|j| j.cost).sum();
            let first = jobs.iter().map(|j| j.release).fold(f64::INFINITY, f64::min);
            let last = jobs.iter().map(|j| j.release).fold(0.0, f64::max);
            let most = workers.min(processors) as f64;
            prop_assert!(end >= critical_path(&jobs) - 1e-9);
            prop_assert!(end >= first + work / most - 1e-9);
            // Never idle while a job waits: at the worst everything begins when all are released.
            prop_assert!(end <= last + work + 1e-9);
            let longest = jobs.iter().map(|j| j.cost).fold(0.0, f64::max);
            if workers <= processors {
                prop_assert!(end <= last + work / most + longest + 1e-9);
            }
        }

        #[test]
        fn equal_jobs_released_together_take_waves(
            n in 1usize..20, workers in 1usize..8, width in 1.0..6f64,
        ) {
            let jobs = jobs(&vec![(0.0, 0.3); n]);
            let end = makespan(&jobs, workers, |a| width.min(a as f64));
            prop_assert!((end - makespan_equal_jobs(n, 0.3, workers, width)).abs() < 1e-9);
        }

        #[test]
        fn work_is_conserved(
            times in prop::collection::vec((0.0..5f64, 0.01..2f64), 1..12), workers in 1usize..6,
        ) {
            // On one processor whatever the number of workers: it is never idle while work waits.
            let jobs = jobs(&times);
            let end = makespan(&jobs, workers, whole(1));
            prop_assert!((end - textbook(&jobs, 1)).abs() < 1e-9);
        }
    }
}
