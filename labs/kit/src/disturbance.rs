//! What may disturb a measured figure, which way, and by how much it did.

use crate::{
    gauge::{self, Gauge},
    host::Host,
    record::{Record, Trial},
};

/// Share of the processors that other programs may have before a run decides nothing about speeds: in
/// such company timers are late and computations slow.
const CROWDED: f64 = 0.1;

/// A resource of the machine that others may take away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resource {
    /// Waking in time: sleeps, timeouts, the answers of a server that waits.
    Timers,
    /// Time on a processor: computations. What computes is also late when timers are.
    Processors,
    /// Moving bytes: shared with whoever else moves some.
    Memory,
}

/// What disturbs a measured figure, and which way.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Disturbed {
    /// Nothing: a count, a number of bytes, an accuracy. Judged on any machine and at any scale.
    Never,
    /// It gets longer: a time, in seconds or a multiple of them.
    Longer(Resource),
    /// It gets smaller: a rate, a share that comes in time, a speed-up.
    Fewer(Resource),
    /// It goes either way: a ratio of two such figures, a place on an axis.
    Either(Resource),
    /// A time that many operations of the window take on average: only those get longer that were under way
    /// when the machine stood still.
    Mean(Resource),
    /// A count that no delay changes which is shorter than so many seconds: what is due by then is due with
    /// so much to spare. A longer one may change it by anything, a whole wave of answers.
    Beyond(Resource, f64),
    /// Theory knows what the machine does to it, or it is in both of what is compared: a wait beside timers
    /// whose lateness was measured at the same time, an identity.
    Foreseen(Resource),
}

impl Disturbed {
    /// What a disturbance of the machine takes away.
    pub fn resource(&self) -> Option<Resource> {
        match self {
            Disturbed::Never => None,
            Disturbed::Longer(r)
            | Disturbed::Fewer(r)
            | Disturbed::Either(r)
            | Disturbed::Mean(r)
            | Disturbed::Beyond(r, _)
            | Disturbed::Foreseen(r) => Some(*r),
        }
    }

    /// How much smaller and how much larger the value would have been at most without what disturbed it;
    /// `second` is a second in the unit of the value.
    ///
    /// A machine that stood still for so long has held a single time up by that at most, a mean by the share
    /// of it that was under way, and a rate by its share of the window; processor time that others had has
    /// slowed a computation by that share. Nothing else is explained by it.
    pub fn allowance(&self, value: f64, second: f64, by: Disturbance) -> (f64, f64) {
        let computes = !matches!(self.resource(), None | Some(Resource::Timers));
        let taken = if computes { by.taken() } else { 0.0 };
        let stood = by.stall_s / by.wall_s.max(by.stall_s).max(1e-9);
        let slower = value.abs() * (1.0 - 1.0 / (1.0 + taken));
        match self {
            Disturbed::Never | Disturbed::Foreseen(_) => (0.0, 0.0),
            Disturbed::Beyond(_, spare) if by.worst_stall_s <= *spare => (0.0, 0.0),
            Disturbed::Beyond(..) => (f64::INFINITY, f64::INFINITY),
            Disturbed::Mean(_) => {
                // Of those that begin together half are still to come when the mean has passed: twice the
                // mean is as long as any of them takes.
                let lasts = 2.0 * value.abs() / second.abs().max(1e-9);
                let under_way = ((lasts + by.stall_s) / by.wall_s.max(1e-9)).min(1.0);
                let held_up = (by.stall_s * second.abs() * under_way).min(value.abs());
                (held_up + slower, 0.0)
            }
            Disturbed::Longer(_) => {
                let held_up = (by.stall_s * second.abs()).min(value.abs());
                (held_up + slower, 0.0)
            }
            // A window that stood still for nine tenths says nothing of what fits into it.
            Disturbed::Fewer(_) => {
                (0.0, value.abs() * (taken + 1.0 / (1.0 - stood.min(0.9)) - 1.0))
            }
            Disturbed::Either(_) => {
                let most = value.abs() * (taken + stood);
                (most, most)
            }
        }
    }
}

/// What disturbed a trial, or trials on average.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Disturbance {
    /// Seconds for which the machine stood still.
    pub stall_s: f64,
    /// The same in the trial in which it stood still the longest.
    pub worst_stall_s: f64,
    /// Length of the measured part in seconds.
    pub wall_s: f64,
    /// Processor seconds that other programs had.
    pub others_s: f64,
}

impl Disturbance {
    /// Two ticks of the system's clock: less processor time than that cannot be told from none.
    const TICKS: f64 = 0.02;

    /// What disturbed this trial, as far as it was written down.
    pub fn of(trial: &Trial, cores: usize) -> Disturbance {
        let gauge = |name: Gauge| trial.gauge(name).filter(|v| v.is_finite());
        let stall = gauge(gauge::STALL_TOTAL_MS).or_else(|| gauge(gauge::STALL_MAX_MS));
        let processors_s = trial.wall_s.max(0.0) * cores as f64;
        let others = gauge(gauge::OTHERS_CPU_SHARE).unwrap_or(0.0) * processors_s;
        let stall_s = stall.unwrap_or(0.0).max(0.0) / 1e3;
        Disturbance {
            stall_s,
            worst_stall_s: stall_s,
            wall_s: trial.wall_s.max(0.0),
            others_s: (others - Disturbance::TICKS).max(0.0),
        }
    }

    /// The mean of several trials.
    pub fn mean(all: &[Disturbance]) -> Disturbance {
        let n = all.len().max(1) as f64;
        let mean = |f: fn(&Disturbance) -> f64| all.iter().map(f).sum::<f64>() / n;
        Disturbance {
            stall_s: mean(|d| d.stall_s),
            worst_stall_s: all.iter().fold(0.0, |worst, d| d.worst_stall_s.max(worst)),
            wall_s: mean(|d| d.wall_s),
            others_s: mean(|d| d.others_s),
        }
    }

    /// That of the trial that was disturbed the most.
    pub fn worst(all: &[Disturbance]) -> Disturbance {
        let all = all.iter().copied();
        all.fold(Disturbance::default(), Disturbance::or)
    }

    /// The worse of two, for figures made of both.
    pub fn or(self, other: Disturbance) -> Disturbance {
        let share = |d: &Disturbance| d.taken() + d.stall_s / d.wall_s.max(1e-9);
        if share(&other) > share(&self) { other } else { self }
    }

    /// Processor time of others as a share of the trial, as if all of it had been taken from one thread.
    fn taken(&self) -> f64 {
        self.others_s / self.wall_s.max(1e-9)
    }
}

/// Why a machine is unfit to measure something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unfit {
    /// The sentence.
    pub why: String,
    /// What cannot be measured: figures that need one of these.
    pub takes: &'static [Resource],
}

impl Unfit {
    /// What it takes, in words: "timers and processors".
    pub fn needed(&self) -> String {
        let names: Vec<&str> = self.takes.iter().map(Resource::word).collect();
        match names.split_last() {
            Some((last, rest)) if !rest.is_empty() => format!("{} and {last}", rest.join(", ")),
            _ => names.concat(),
        }
    }
}

impl Resource {
    fn word(&self) -> &'static str {
        match self {
            Resource::Timers => "timers",
            Resource::Processors => "processors",
            Resource::Memory => "memory bandwidth",
        }
    }
}

use Resource::{Memory, Processors, Timers};
const ALL: &[Resource] = &[Timers, Processors, Memory];

/// Everything that made the machine of a record unfit, before the run or during it.
pub fn unfit(record: &Record) -> Vec<Unfit> {
    let mut found = of_host(&record.host);
    found.extend(crowded(record));
    found
}

/// Other programs during the run. Processor time comes in ticks: only the sum over the run means
/// something.
fn crowded(record: &Record) -> Option<Unfit> {
    let (mut others, mut whole) = (0.0, 0.0);
    let trials = record.points.iter().flat_map(|p| &p.trials);
    for trial in trials.filter(|t| t.wall_s > 0.05) {
        // Trials in virtual time have none.
        let Some(share) = trial.gauge(gauge::OTHERS_CPU_SHARE) else { continue };
        others += share * trial.wall_s;
        whole += trial.wall_s;
    }
    let share = others / whole;
    (share > CROWDED).then(|| Unfit {
        why: format!("other programs had {:.0} % of the processors during the run", share * 100.0),
        takes: ALL,
    })
}

impl Host {
    /// Why this machine is a poor place to measure, one sentence a reason; empty when it is fit.
    pub fn complaints(&self) -> Vec<String> {
        of_host(self).into_iter().map(|unfit| unfit.why).collect()
    }
}

/// Why this machine is a poor place to measure; empty when it is fit.
pub fn of_host(host: &Host) -> Vec<Unfit> {
    let mut found = Vec::new();
    let mut unfit = |takes, why| found.push(Unfit { why, takes });
    if host.build == "debug" {
        unfit(ALL, "this is a debug build: run with --release".to_string());
    }
    if host.cores < 2 {
        unfit(
            &[Processors],
            "there is only one processor: nothing can run in parallel".to_string(),
        );
    } else if host.width(host.cores) < 0.75 * host.cores as f64 {
        unfit(
            &[Processors, Memory],
            format!(
                "{} processors give only {:.2} processors' worth of work: close other programs, plug in the charger",
                host.cores,
                host.width(host.cores)
            ),
        );
    }
    if host.timer_late_p99_ms > 5.0 {
        unfit(
            &[Timers],
            format!(
                "a 1 ms sleep ends up to {:.1} ms late: the machine is busy with something else",
                host.timer_late_p99_ms
            ),
        );
    }
    if host.spin_jitter_ms > 5.0 {
        unfit(
            &[Processors],
            format!(
                "a running thread was kept off its processor for {:.1} ms",
                host.spin_jitter_ms
            ),
        );
    }
    if host.upstream_ceiling_per_s < 4000.0 {
        unfit(
            &[Timers, Processors],
            format!("the mock server answers only {:.0} requests/s", host.upstream_ceiling_per_s),
        );
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn stall(stall_s: f64) -> Disturbance {
        Disturbance { stall_s, worst_stall_s: stall_s, wall_s: 2.0, others_s: 0.0 }
    }

    #[test]
    fn a_stall_explains_its_own_length_and_no_more() {
        let longer = Disturbed::Longer(Timers);
        let (down, up) = longer.allowance(0.6, 1.0, stall(3.7e-3));
        assert!((down - 3.7e-3).abs() < 1e-12 && up == 0.0);
        // The same in milliseconds.
        let (down, _) = longer.allowance(600.0, 1e3, stall(3.7e-3));
        assert!((down - 3.7).abs() < 1e-9);
        // A rate of a window of two seconds, of which a tenth stood still.
        let (down, up) = Disturbed::Fewer(Timers).allowance(90.0, 1.0, stall(0.2));
        assert!(down == 0.0 && (up - 10.0).abs() < 1e-9);
        assert_eq!(Disturbed::Never.allowance(5.0, 1.0, stall(1.0)), (0.0, 0.0));
    }

    #[test]
    fn a_mean_is_held_up_by_those_under_way_and_a_count_by_what_it_has_to_spare() {
        // Of two seconds 0.1 stood still: requests of up to 0.6 s were under way in a third of the window.
        let (down, up) = Disturbed::Mean(Timers).allowance(0.3, 1.0, stall(0.1));
        assert!((down - 0.035).abs() < 1e-12 && up == 0.0);
        let (down, _) = Disturbed::Mean(Timers).allowance(300.0, 1e3, stall(0.1));
        assert!((down - 35.0).abs() < 1e-9);
        let count = Disturbed::Beyond(Timers, 0.05);
        assert_eq!(count.allowance(100.0, 1.0, stall(0.05)), (0.0, 0.0));
        // One trial of several is enough.
        let one = Disturbance::mean(&[stall(0.1), stall(0.0), stall(0.0)]);
        assert_eq!(count.allowance(100.0, 1.0, one).1, f64::INFINITY);
        let foreseen = Disturbed::Foreseen(Timers);
        assert_eq!(foreseen.allowance(5.0, 1.0, stall(1.0)), (0.0, 0.0));
        assert_eq!(foreseen.resource(), Some(Timers));
    }

    #[test]
    fn processor_time_of_others_slows_what_computes_and_nothing_that_waits() {
        let by = Disturbance { wall_s: 1.0, others_s: 0.25, ..Disturbance::default() };
        let (down, _) = Disturbed::Longer(Processors).allowance(1.0, 1.0, by);
        assert!((down - 0.2).abs() < 1e-12);
        assert_eq!(Disturbed::Longer(Timers).allowance(1.0, 1.0, by), (0.0, 0.0));
    }

    proptest! {
        #[test]
        fn allowances_are_never_negative_and_grow_with_what_disturbed(
            value in -1e6f64..1e6, stall_s in 0f64..10.0, more in 0f64..10.0, others_s in 0f64..10.0
        ) {
            for disturbed in [Disturbed::Longer(Processors), Disturbed::Fewer(Memory), Disturbed::Either(Timers), Disturbed::Mean(Timers), Disturbed::Beyond(Timers, 1.0)] {
                let of = |stall_s| disturbed.allowance(value, 1.0, Disturbance { stall_s, worst_stall_s: stall_s, wall_s: 5.0, others_s });
                let ((a, b), (c, d)) = (of(stall_s), of(stall_s + more));
                prop_assert!(a >= 0.0 && b >= 0.0 && c >= a - 1e-9 && d >= b - 1e-9);
            }
        }
    }
}
