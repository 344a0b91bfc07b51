//! Theory beside measurement for lab21.

use lab_kit::{prelude::*, theory::cancellation};

use super::{
    Params, gauges,
    plan::{Ending, GAPS},
};

use Resource::Timers;

/// On the machine's clock taking, handing over and ticking are each late by up to a tick of the timers.
const LATE_S: f64 = 3e-3;

/// What times are rounded to.
const NANO: f64 = 1e-9;

/// Where so few are spread that they may miss a share by more than this, theory has nothing to say of it.
const MOST_UNEVEN: f64 = 0.4;

pub(super) fn explain(p: &Params, summary: &Summary) -> Findings {
    let view = View { p, summary };
    let figures = [view.over_ticks(), view.pairs(), view.along_the_chain(), view.at_the_stop()];
    let tables = [view.pairs_table(), view.ticks_table(), view.stop_table()];
    Findings {
        headline: view.headline(),
        figures: figures.into_iter().flatten().collect(),
        tables: tables.into_iter().filter_map(Table::unless_empty).collect(),
        claims: view.claims(),
        answers: view.answers(),
    }
}

/// The record, and what theory says of its conditions.
pub(super) struct View<'a> {
    pub(super) p: &'a Params,
    pub(super) summary: &'a Summary<'a>,
}

/// A condition in words.
pub(super) fn name(k: &Condition) -> String {
    match k.x() {
        0.0 => k.series().into(),
        ms => format!("{}, a tick every {}", k.series(), seconds(ms / 1e3)),
    }
}

/// A count, which is the same in every trial.
pub(super) fn count(k: &Condition, gauge: Gauge) -> Option<Estimate> {
    k.every(|t| t.gauge(gauge))
}

/// A count as a share, in percent, of what was offered.
pub(super) fn share(k: &Condition, gauge: Gauge) -> Option<Estimate> {
    k.every(|t| Some(100.0 * t.gauge(gauge)? / t.offered as f64))
}

/// Requests that a stop loses.
pub(super) fn lost_at_stop(t: &Trial) -> Option<f64> {
    Some(t.gauge(gauges::BROKEN_OFF)? + t.gauge(gauges::SHUT_OUT)?)
}

/// What theory counts, where it can.
fn counted(n: Option<usize>) -> f64 {
    n.map_or(f64::NAN, |n| n as f64)
}

impl<'a> View<'a> {
    pub(super) fn only(&self, series: &str) -> Option<Condition<'a>> {
        self.summary.only(series)
    }

    /// A case of each condition of a series.
    fn cases(
        &self,
        series: &str,
        predicted: impl Fn(&Condition) -> f64,
        measured: impl Fn(&Condition) -> Option<Estimate>,
    ) -> Vec<Case> {
        let all = self.summary.series(series).into_iter();
        all.map(|k| Case::exact(name(&k), predicted(&k), measured(&k))).collect()
    }

    /// What a stop loses, counted from the schedule.
    pub(super) fn lost_at(&self, ending: Ending) -> f64 {
        let (p, stop) = (self.p, self.p.stop());
        let at = stop.at();
        let (known, closed) = (at + stop.gap, at + GAPS * stop.gap);
        let lost = match ending {
            Ending::AtOnce => stop.inside_at(at) + stop.in_the_gap(),
            Ending::ClosedFirst => stop.in_the_gap() + stop.cut_short(at, at, p.drain.s()),
            Ending::Drained => stop.cut_short(known, closed, p.drain.s()),
            Ending::CutShort => stop.cut_short(known, closed, stop.inside / 4.0),
        };
        lost as f64
    }

    /// A server that waits as long as it must loses nothing.
    fn drains(&self) -> bool {
        self.lost_at(Ending::Drained) == 0.0
    }

    fn claims(&self) -> Vec<Claim> {
        let mut claims = vec![
            self.one_by_one(),
            self.backlog(),
            self.windows(),
            self.twice(),
            self.missing(),
            self.in_vain(),
            self.remaining(),
            self.left_over_http(),
            self.chain(),
            self.stuck(),
            self.stopped(),
            self.right_ways(),
        ];
        claims.extend(self.on_the_machines_clock());
        claims
    }

    fn one_by_one(&self) -> Claim {
        let (p, n) = (self.p, self.p.items);
        let cases = self.cases(
            "receive/dropped",
            |k| p.receive(k.x()).lost(n) as f64,
            |k| count(k, gauges::LOST),
        );
        let text = "of items that come one by one, just those are lost whose hand-over a tick falls into, counted from the schedule";
        Law::counted(text, "items lost").near(cases)
    }

    fn backlog(&self) -> Claim {
        let (p, n) = (self.p, self.p.items);
        // Where the last hand-over ends on a tick it is a coin toss, and theory says nothing.
        let all = self.summary.series("backlog/dropped").into_iter();
        let cases = all.filter_map(|k| {
            let lost = p.receive(k.x()).lost_of_backlog(n)?;
            Some(Case::exact(name(&k), lost as f64, count(&k, gauges::LOST)))
        });
        let text = "with the next item always there, each tick drops one, and ⌊P/h⌋ are handed over in between: none if a hand-over is longer than that";
        Law::counted(text, "items lost").near(cases)
    }

    /// One law for all windows: closed forms, where the counts above go through the schedule.
    fn windows(&self) -> Claim {
        let p = self.p;
        let of =
            |k: Condition, share_of_time: f64, n: usize, hit: &dyn Fn(&Trial) -> Option<f64>| {
                let measured = k.every(|t| Some(100.0 * hit(t)? / n as f64));
                let tolerance = 100.0 * cancellation::uneven(n) / n as f64;
                Case::new(name(&k), 100.0 * share_of_time, measured, tolerance)
            };
        let receive = self.summary.series("receive/dropped").into_iter();
        let receive = receive.map(|k| {
            let share = p.receive(k.x()).lost_share();
            of(k, share, p.items, &|t| t.gauge(gauges::LOST))
        });
        let charges = p.charges();
        let attempts = charges.excess(p.items).map_or(1, |(attempts, _)| attempts);
        let pay = self
            .only("pay/new key")
            .map(|k| of(k, charges.unknown(), attempts, &|t| t.gauge(gauges::TWICE)));
        let transfer = self.only("transfer/halfway").map(|k| {
            let share = cancellation::share(p.given_up.s(), p.debited());
            of(k, share, p.items, &|t| t.gauge(gauges::MISSING))
        });
        let lock = self.only("lock/kept").map(|k| {
            let share = cancellation::share(3.0, (0.0, 2.0));
            of(k, share, p.items, &|t| t.gauge(gauges::STUCK))
        });
        let all = receive.chain(pay).chain(transfer).chain(lock);
        let cases = all.filter(|case| case.tolerance <= 100.0 * MOST_UNEVEN);
        Law::counted("a window is hit by the share of the cancellations that it is of the time", "% of the cancellations")
            .within("as far as evenly spread cancellations can miss a share: (3 + 3.5·ln n)/n (Kuipers and Niederreiter 1974)")
            .near(cases)
    }

    fn twice(&self) -> Claim {
        let excess = self.p.charges().excess(self.p.items).map(|(_, excess)| excess);
        let cases = self.cases("pay/new key", |_| counted(excess), |k| count(k, gauges::TWICE));
        let text = "with a new key for each attempt, every attempt that is written and not confirmed in time is a charge too many";
        Law::counted(text, "charges too many").near(cases)
    }

    fn missing(&self) -> Claim {
        let p = self.p;
        let landed = cancellation::landed(p.items, p.given_up.s(), p.debited()) as f64;
        let cases = self.cases("transfer/halfway", |_| landed, |k| count(k, gauges::MISSING));
        let text = "the sum of the accounts is wrong by just the cancellations that land between debit and credit";
        Law::counted(text, "transfers' worth of money").near(cases)
    }

    fn in_vain(&self) -> Claim {
        let n = self.p.items * self.p.fan;
        let (_, vain) = self.p.calls().work(n);
        let of = |k: &Condition| k.every(|t| t.gauge(gauges::VAIN_S));
        let cases = self.cases("calls/detached", |_| vain, of);
        let cases = cases.into_iter().map(|case| Case { tolerance: n as f64 * NANO, ..case });
        let text = "a detached call works on to its end: what is done in vain is what is left of the calls when their callers go";
        Law::counted(text, "s of work in vain")
            .within("a nanosecond a call: times are rounded to them")
            .near(cases)
    }

    /// Orphans times remaining time.
    fn remaining(&self) -> Claim {
        let (p, n) = (self.p, self.p.items * self.p.fan);
        let calls = p.calls();
        let left = (calls.longest - calls.patience) / 2.0;
        // Koksma's inequality for the sum of what is left, and as much again for how many it is divided by.
        let uneven = 3.0 * cancellation::uneven(n) / calls.orphans(n) as f64;
        let mean = |t: &Trial| Some(t.gauge(gauges::VAIN_S)? / t.gauge(gauges::ORPHANS)?);
        let detached = self.summary.series("calls/detached").into_iter();
        let told = detached.filter(|_| left > 0.0 && uneven <= MOST_UNEVEN);
        let cases = told.map(|k| Case::new(name(&k), left, k.every(mean), uneven * left));
        let text = "wasted work is orphans times what is left of each, (S − T)/2 on average";
        Law::counted(text, "s an orphan")
            .within(
                "as far as so many evenly spread times can miss their mean (Koksma's inequality)",
            )
            .near(cases)
    }

    fn left_over_http(&self) -> Claim {
        let left = counted(self.p.left_over_http());
        let owned = self.cases("http calls/owned", |_| left, |k| count(k, gauges::LEFT));
        let detached = self.cases("http calls/detached", |_| 0.0, |k| count(k, gauges::LEFT));
        let text = "over HTTP, by the books of the service: owned calls leave it when their caller goes, detached ones stay until an answer that nobody reads";
        Law::new(text, "calls that left", Disturbed::Beyond(Timers, 0.02))
            .near([owned, detached].concat())
    }

    fn chain(&self) -> Claim {
        let (p, chain) = (self.p, self.p.chain());
        // Where a hop ends just when its patience does, it is a coin toss.
        let vain = if chain.work == chain.patience { f64::NAN } else { chain.vain() };
        let each = |t: &Trial| Some(t.gauge(gauges::VAIN_S)? / p.items as f64);
        let cases = self.cases("chain/own clocks", |_| vain, |k| k.every(each));
        let cases = cases.into_iter().map(|case| Case { tolerance: p.hops as f64 * NANO, ..case });
        let text = "hops with clocks of their own work n·w − T in vain for each request, all that is left when the client goes";
        Law::counted(text, "s in vain a request")
            .within("a nanosecond a hop: times are rounded to them")
            .near(cases)
    }

    fn stuck(&self) -> Claim {
        let landed = cancellation::landed(self.p.items, 3.0, (0.0, 2.0)) as f64;
        let cases = self.cases("lock/kept", |_| landed, |k| count(k, gauges::STUCK));
        let text = "a future that is kept and not polled stands still for ever with whoever waits for the same lock, whether it is in the queue or holds the lock";
        Law::counted(text, "runs that stand still").near(cases)
    }

    fn stopped(&self) -> Claim {
        let cases = Ending::ALL.into_iter().filter(|ending| self.lost_at(*ending) > 0.0);
        let cases = cases.flat_map(|ending| {
            let series = format!("stop/{}", ending.name());
            self.cases(&series, |_| self.lost_at(ending), |k| k.every(lost_at_stop))
        });
        let text = "a stop loses those inside that it does not wait for, and those who come before the balancer knows and find the door shut";
        Law::counted(text, "requests lost").near(cases)
    }

    /// What the right ways lose, of everything that the wrong ones do.
    fn right_ways(&self) -> Claim {
        let nothing = |series: &str, gauge: Gauge| self.cases(series, |_| 0.0, |k| count(k, gauge));
        let mut cases = [
            nothing("receive/kept", gauges::LOST),
            nothing("backlog/kept", gauges::LOST),
            nothing("real receive/kept", gauges::LOST),
            nothing("pay/one key", gauges::TWICE),
            nothing("transfer/whole", gauges::MISSING),
            nothing("transfer/spawned", gauges::MISSING),
            nothing("calls/owned", gauges::VAIN_S),
            nothing("chain/one deadline", gauges::VAIN_S),
            nothing("lock/dropped", gauges::STUCK),
            nothing("lock/spawned", gauges::STUCK),
        ]
        .concat();
        if self.drains() {
            cases.extend(self.cases("stop/drained", |_| 0.0, |k| k.every(lost_at_stop)));
        }
        let text = "right ways: nothing is lost, nothing done twice, nothing missing, nothing worked in vain, nothing stands still";
        Law::counted(text, "lost, too many, missing, in vain or stuck").near(cases)
    }

    /// The same code with the machine's timers.
    fn on_the_machines_clock(&self) -> [Claim; 2] {
        let p = self.p;
        let receive = self.summary.series("real receive/dropped").into_iter();
        let receive = receive.map(|k| {
            let lost = k.estimate(|t| Some(100.0 * t.gauge(gauges::LOST)? / t.offered as f64));
            let (n, late) = (p.items, LATE_S / (k.x() / 1e3));
            let tolerance = 100.0 * (cancellation::uneven(n) / n as f64 + late);
            Case::new(name(&k), 100.0 * p.receive(k.x()).lost_share(), lost, tolerance)
        });
        let stop = Ending::ALL.into_iter().flat_map(|ending| {
            let series = format!("real stop/{}", ending.name());
            let cases = self.cases(&series, |_| self.lost_at(ending), |k| k.every(lost_at_stop));
            let edges = if self.lost_at(ending) > 0.0 { 1.0 + 2.0 * LATE_S * p.rate } else { 0.0 };
            cases.into_iter().map(move |case| Case { tolerance: edges, ..case })
        });
        [
            Law::new("on the machine's clock as well, min(1, h/P) of the items is lost", "% of the items", Disturbed::Either(Timers))
                .within("3 ms of P: taking, handing over and ticking are each late by up to a tick of the timers; and as far as evenly spread items can miss a share")
                .near(receive),
            Law::new("on the machine's clock as well, a stop loses λ·W and λ·gap, or nothing", "requests lost", Disturbed::Beyond(Timers, LATE_S))
                .within("one request and those of 3 ms, at each end of the time in which they come; none where nothing is lost")
                .near(stop),
        ]
    }

    /// The slowest ticker.
    pub(super) fn slowest(&self) -> Option<Condition<'a>> {
        self.summary.series("receive/dropped").pop()
    }

    fn answers(&self) -> Vec<Answer> {
        let (p, slowest) = (self.p, self.slowest());
        let theory = slowest.map_or(f64::NAN, |k| 100.0 * p.receive(k.x()).lost_share());
        let lost = slowest.and_then(|k| share(&k, gauges::LOST));
        let twice = self.only("pay/new key").and_then(|k| share(&k, gauges::TWICE));
        let stopped = self.only("stop/at once").and_then(|k| k.every(lost_at_stop));
        let stop = p.stop();
        vec![
            Answer::near("lost", lost, theory),
            Answer::near("twice", twice, 100.0 * p.charges().excess_share()),
            Answer::near("stop", stopped, stop.rate * (stop.inside + stop.gap)),
        ]
    }
}

#[cfg(test)]
mod tests {
    use std::sync::OnceLock;

    use lab_kit::{
        claim::Verdict,
        host::Host,
        lab::{entry, params},
        record::{Point, Record},
    };
    use proptest::prelude::*;

    use super::*;
    use crate::{CancellationLab, plan::in_virtual_order};

    /// What these flags make in virtual time, as a record.
    fn record(flags: &[String]) -> Record {
        static HOST: OnceLock<Host> = OnceLock::new();
        let host = HOST.get_or_init(|| Host::calibrate(Scale::Smoke).unwrap());
        let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
        let p = params::<CancellationLab>(&flags);
        let mut points: Vec<Point> = Vec::new();
        for (series, x, run) in in_virtual_order(&p) {
            points.push(Point { series, x, trials: vec![run(&p).unwrap()] });
        }
        Record {
            schema: 1,
            lab: "lab21".into(),
            params: serde_json::to_value(&p).unwrap(),
            command: String::new(),
            preset: None,
            scale: Scale::Quick,
            seed: 1,
            started_at: String::new(),
            interrupted: false,
            target: None,
            predictions: Default::default(),
            notes: vec![],
            host: host.clone(),
            points,
        }
    }

    /// The claims that are not confirmed.
    fn lost(record: &Record) -> Vec<String> {
        let findings = entry::<CancellationLab>().explain(record).unwrap();
        let claims = findings.claims.into_iter();
        let lost = claims.filter(|claim| claim.verdict() != Verdict::Confirmed);
        lost.map(|claim| format!("{}: {:?} {}", claim.text, claim.verdict(), claim.detail()))
            .collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]

        /// In nanoseconds, so that hardly two things fall on one instant.
        #[test]
        fn whatever_the_flags_everything_is_counted_as_theory_says(
            items in 1usize..300,
            ns in prop::collection::vec(2_000_001u64..200_000_003, 12), more in 0u64..200_000_000,
            fan in 1usize..5, hops in 1usize..6, rate in 1.0f64..900.0,
        ) {
            const NAMES: [&str; 12] = [
                "hand-over", "write", "answer", "step", "given-up", "call", "work", "hold", "inside", "gap", "drain", "ticks",
            ];
            // Some attempts are confirmed in time.
            let patience = ns[1] / 8 + ns[2] + more;
            let mut flags = vec![
                format!("--items={items}"),
                format!("--fan={fan}"),
                format!("--hops={hops}"),
                format!("--rate={rate}"),
                format!("--patience={patience}ns"),
            ];
            flags.extend(NAMES.iter().zip(&ns).map(|(name, ns)| format!("--{name}={ns}ns")));
            let lost = lost(&record(&flags));
            prop_assert!(lost.is_empty(), "{lost:#?}");
        }
    }

    #[test]
    fn a_trial_that_is_not_what_its_condition_says_is_noticed() {
        type Alteration = (&'static str, fn(&mut Trial));
        fn set(t: &mut Trial, gauge: Gauge, value: f64) {
            t.gauges.insert(gauge.to_string(), value);
        }
        let alterations: [Alteration; 14] = [
            ("receive/dropped", |t| set(t, gauges::TICKS, 1.0)),
            ("receive/kept", |t| set(t, gauges::HANDED_OVER, 61.0)),
            ("backlog/dropped", |t| set(t, gauges::LOST, 0.0)),
            ("pay/one key", |t| set(t, gauges::ATTEMPTS, 60.0)),
            ("pay/new key", |t| set(t, gauges::TWICE, 0.0)),
            ("transfer/halfway", |t| set(t, gauges::CREDITED, 60.0)),
            ("transfer/whole", |t| set(t, gauges::CANCELLED, 0.0)),
            ("transfer/spawned", |t| set(t, gauges::CREDITED, 59.0)),
            ("calls/owned", |t| set(t, gauges::WORK_S, 9.0)),
            ("calls/detached", |t| set(t, gauges::ORPHANS, 0.0)),
            ("chain/one deadline", |t| set(t, gauges::BEGUN_LATE, 1.0)),
            ("lock/dropped", |t| set(t, gauges::TURNED, 0.0)),
            ("stop/drained", |t| set(t, gauges::ELSEWHERE, 0.0)),
            ("stop/at once", |t| set(t, gauges::SHUT_OUT, 0.0)),
        ];
        let sound = record(&["--items=60".to_string()]);
        assert!(lost(&sound).is_empty(), "{:?}", lost(&sound));
        for (at, (series, alter)) in alterations.into_iter().enumerate() {
            let mut record = sound.clone();
            let points = record.points.iter_mut().filter(|point| point.series == series);
            points.flat_map(|point| &mut point.trials).for_each(alter);
            let said = lost(&record);
            let noticed = said.iter().any(|claim| claim.contains("the books close"));
            assert!(noticed, "alteration {at} of {series}: {said:?}");
        }
    }
}
