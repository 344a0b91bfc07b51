//! Theory beside measurement for lab22.

use lab_kit::prelude::*;
use lab_kit::theory::balance;

use super::{
    Params,
    crowd::{Arm, Crowd, World},
    fan_out::FanOut,
    figures, gauges,
    view::{Point, View},
};

/// What disturbs a mean over a window: a stall moves it by its share of the window, not by its length.
const OF_A_WINDOW: Disturbed = Disturbed::Either(Resource::Timers);

/// A time on the servers' own schedule, where nobody looks at a count: a stall moves none of it.
const ON_SCHEDULE: Disturbed = Disturbed::Foreseen(Resource::Timers);

/// A timer fires when its tick has passed.
const TICK: f64 = 1e-3;

pub(super) fn explain(p: &Params, summary: &Summary) -> Findings {
    let view = View::of(p, summary);
    Findings {
        headline: figures::headline(&view),
        figures: figures::figures(&view),
        tables: figures::tables(&view),
        claims: view.claims(),
        answers: view.answers(),
    }
}

/// How much larger one gauge is than another, trial by trial: chance that is the same in both falls out.
fn beside(k: &Condition, one: Gauge, other: Gauge) -> Option<(Estimate, Estimate)> {
    let other_is = k.gauge(other)?;
    let by = k.estimate(|t| Some(t.gauge(one)? - t.gauge(other)?))?;
    Some((other_is, by.shifted(other_is.value)))
}

/// The claims.
impl<'a> View<'a> {
    fn claims(&self) -> Vec<Claim> {
        vec![
            self.exact_times(),
            self.exact_first(),
            self.by_formula(),
            self.tails(),
            self.by_simulator(),
            self.percentiles(),
            self.lost_in_the_sinkhole(),
            self.given_up_at_slow(),
            self.to_the_slow(),
            self.old_counts(),
            self.herd(),
            self.tips_over(),
            self.within_budget(),
            self.fan_out(),
            self.asked_again(),
            self.turns(),
        ]
    }

    /// Two ticks of a timer, as a share of a service: so much longer a server counts as busy than it is.
    fn unheard(&self) -> f64 {
        2.0 * TICK / self.p.service.s()
    }

    fn everything(&self) -> Vec<Point<'a>> {
        let all = Crowd::all(self.p).into_iter();
        all.filter_map(|c| self.point(c.arm, c.world, c.age)).collect()
    }

    /// The very same requests in virtual time.
    fn exact_times(&self) -> Claim {
        let calm = |point: &&Point| !matches!(point.crowd.arm, Arm::LeastOld | Arm::Hedged);
        let all = self.everything();
        let cases = all.iter().filter(calm).map(|point| {
            let pair = beside(&point.k, gauges::TIME_MEAN_S, gauges::EXACT_TIME_S);
            let (exact, measured) = pair.unzip();
            let exact = exact.map_or(f64::NAN.into(), Given::from);
            Case::new(point.name(), exact, measured, TICK + 0.05 * exact.value)
        });
        Law::new("requests take as long as their very own arrivals, draws and service times prescribe, event by event in virtual time (a herd and what tips over are left out: there a millisecond changes all that follows)", "s", OF_A_WINDOW)
            .within("a tick of a timer, and 5 %: a server that is done counts as busy until its answer is heard, and two that come within a tick may swap")
            .near(cases)
    }

    /// How many of them meet the sinkhole.
    fn exact_first(&self) -> Claim {
        let odd = self.everything().into_iter().filter(|p| p.crowd.world == World::Sinkhole);
        let cases = odd.map(|point| {
            let pair = beside(&point.k, gauges::FIRST_SHARE, gauges::EXACT_FIRST_SHARE);
            let (exact, measured) = pair.unzip();
            let exact = exact.map_or(f64::NAN.into(), Given::from);
            let tolerance = 1e-3 + (0.03 + self.unheard()) * exact.value;
            Case::new(point.name(), exact, measured, tolerance).scaled(100.0)
        });
        Law::new(
            "and as many of them go to the server that refuses",
            "% of the requests",
            OF_A_WINDOW,
        )
        .within("a tenth of a point, 3 %, and two ticks of a service: as above")
        .near(cases)
    }

    /// Mean times that have a formula.
    fn by_formula(&self) -> Claim {
        let (p, n) = (self.p, self.p.servers);
        let in_turn = p.service.s() * balance::mean_time_in_turn(p.load, n);
        // Cut off at the patience, it has no formula.
        let cut = in_turn > p.patience.s() / 6.0;
        let of = |arm, world, time| self.point(arm, world, 0.0).map(|point| (point, time));
        let all = [
            of(Arm::Random, World::Alike, self.mm1()),
            of(Arm::Random, World::Sinkhole, self.mm1()),
            of(Arm::InTurn, World::Alike, in_turn).filter(|_| !cut),
            of(Arm::InTurn, World::Sinkhole, in_turn).filter(|_| !cut),
        ];
        let cases = all.into_iter().flatten().map(|(point, time)| {
            let measured = point.k.gauge(gauges::TIME_MEAN_S);
            Case::new(point.name(), time, measured, TICK + 0.15 * time)
        });
        Law::new("at random each server is M/M/1: requests take s/(1 − ρ) on average; in turn it is Erlang(n)/M/1; the others do not notice one that refuses", "s", ON_SCHEDULE)
            .within("a tick of a timer, and 15 %: what chance makes of a load, magnified by 1/(1 − ρ)")
            .near(cases)
            .unless(self.held_up())
    }

    /// Shares of servers with at least so many.
    fn tails(&self) -> Claim {
        let random = self.point(Arm::Random, World::Alike, 0.0);
        let two = self.point(Arm::Two, World::Alike, 0.0);
        let of = |point: Option<Point<'a>>, predict: &dyn Fn(&Point, usize) -> f64| -> Vec<Case> {
            let Some(point) = point else { return vec![] };
            let each = gauges::SEEN.iter().enumerate();
            let cases = each.filter_map(|(at, gauge)| {
                let share = predict(&point, at);
                let name = format!("{}, {} or more", point.crowd.arm.name(), at + 1);
                let measured = point.k.gauge(*gauge);
                let case = Case::new(name, share, measured, 0.005 + (0.1 + self.unheard()) * share);
                // Of those between, the few that there are vary too much.
                ((share > 0.05 && at < 5) || share < 0.003).then(|| case.scaled(100.0))
            });
            cases.collect()
        };
        let mut cases = of(random, &|_, at| balance::at_least(self.p.load, 1, at as u32 + 1));
        cases.extend(of(two, &|point, at| self.forecast(point, gauges::SEEN[at])));
        Law::new("the share of servers with k requests or more is ρ^k at random; with two choices it falls far faster, as the simulator says for n", "% of the servers", OF_A_WINDOW)
            .within("half a point, 10 %, and two ticks of a service: what chance makes of a load, and servers that count as busy until they are heard")
            .near(cases)
    }

    /// Mean times that have no formula.
    fn by_simulator(&self) -> Claim {
        // A second request without a budget is metastable: chance decides when it tips over.
        let counted = |arm: &Arm| !matches!(arm, Arm::Random | Arm::InTurn | Arm::Hedged);
        let all = World::ALL.into_iter().flat_map(|world| {
            let arms: Vec<Arm> = world.arms().iter().copied().filter(counted).collect();
            self.arms(world, &arms)
        });
        self.near_forecast(
            all,
            gauges::TIME_MEAN_S,
            0.15,
            Law::new("by their counts requests take as long as the simulator says, by the flags and with random numbers of its own", "s", OF_A_WINDOW)
                .within("two ticks of a timer, and 15 %: what chance makes of a load"),
        )
    }

    fn near_forecast(
        &self,
        all: impl IntoIterator<Item = Point<'a>>,
        gauge: Gauge,
        share: f64,
        law: Law,
    ) -> Claim {
        let cases = all.into_iter().map(|point| {
            let predicted = self.forecast(&point, gauge);
            let measured = point.k.gauge(gauge);
            Case::new(point.name(), predicted, measured, 2.0 * TICK + share * predicted)
        });
        law.near(cases)
    }

    /// The slowest in a hundred.
    fn percentiles(&self) -> Claim {
        let arms = [Arm::Random, Arm::InTurn, Arm::Least, Arm::Two, Arm::Budgeted];
        let cases = self.arms(World::Alike, &arms).into_iter().map(|point| {
            let predicted = match point.crowd.arm {
                Arm::Random => self.mm1_p99(),
                _ => self.forecast(&point, gauges::TIME_P99_S),
            };
            let measured = point.k.gauge(gauges::TIME_P99_S);
            Case::new(point.name(), predicted, measured, 2.0 * TICK + 0.2 * predicted)
        });
        Law::new("servers all alike: one in a hundred takes longer than s·ln 100/(1 − ρ) at random, and than the simulator says by counts or hedged", "s", OF_A_WINDOW)
            .within("two ticks of a timer, and 20 %: what chance makes of a load, of which the slowest tell the most")
            .near(cases)
    }

    /// Where the sinkhole is.
    fn lost_in_the_sinkhole(&self) -> Claim {
        let all = self.arms(World::Sinkhole, World::Sinkhole.arms()).into_iter();
        let cases = all.filter(|point| self.sinkhole(point.crowd.arm).is_finite()).map(|point| {
            let predicted = self.sinkhole(point.crowd.arm);
            let measured = point.k.gauge(gauges::ERROR_SHARE);
            let tolerance = 1e-3 + (0.06 + self.unheard()) * predicted;
            Case::new(point.crowd.arm.name(), predicted, measured, tolerance).scaled(100.0)
        });
        Law::new("of all requests 1/n fails at random and in turn, (1 + a)/(n + a) by two choices, with a = ρ·n/(n − 1), more by the least in flight (a birth and death process), and 1/(λE + n/(1 + a)) once errors put a server out", "% of the requests", OF_A_WINDOW)
            .within("a tenth of a point, 6 %, and two ticks of a service: what chance makes of a load, and servers that count as busy until they are heard")
            .near(cases)
    }

    fn given_up_at_slow(&self) -> Claim {
        let cases = self.arms(World::Slow, &[Arm::Random, Arm::InTurn]).into_iter().map(|point| {
            let measured = point.k.gauge(gauges::GIVEN_UP_SHARE);
            let predicted = self.given_up(point.crowd.arm);
            // Near the border chance decides.
            let tolerance = 0.002 + 0.15 * predicted;
            Case::new(point.crowd.arm.name(), predicted, measured, tolerance).scaled(100.0)
        });
        let (p, border) = (self.p, self.p.load * self.p.slow);
        let line = self.p.load / (1.0 - self.p.load);
        let near = (0.7..1.3).contains(&border) || self.mm1_p99() >= p.patience.s() || line > 6.0;
        let why = "chance decides here who gives up: the slow server nearly keeps up, or others have long lines, too";
        Law::new("one slow server that gets its n-th part all the same: its line grows by ρ − 1/x a service time, and from then on who meets it gives up", "% of the requests", ON_SCHEDULE)
            .within("a fifth of a point, and 15 %: the lines that chance makes, which a fluid has not")
            .near(cases)
            .unless(near.then(|| why.into()).or(self.held_up()))
    }

    fn to_the_slow(&self) -> Claim {
        let cases = self.arms(World::Slow, &[Arm::Random, Arm::InTurn, Arm::Least, Arm::Two]);
        let cases = cases.into_iter().map(|point| {
            let predicted = match point.crowd.arm {
                Arm::Random | Arm::InTurn => 1.0 / self.p.servers as f64,
                _ => self.forecast(&point, gauges::FIRST_SHARE),
            };
            let measured = point.k.gauge(gauges::FIRST_SHARE);
            let tolerance = 1e-3 + (0.1 + self.unheard()) * predicted;
            Case::new(point.crowd.arm.name(), predicted, measured, tolerance).scaled(100.0)
        });
        Law::new("a slow server gets an n-th at random and in turn, and by counts what it can do, as the simulator says", "% of the requests", OF_A_WINDOW)
            .within("a tenth of a point, 10 %, and two ticks of a service: few requests, each of which stays for long")
            .near(cases)
    }

    fn old_counts(&self) -> Claim {
        let all = Arm::OLD.into_iter().flat_map(|arm| self.old(arm));
        self.near_forecast(
            all,
            gauges::TIME_MEAN_S,
            0.15,
            Law::new("the older the counts, the longer requests take: as the simulator says for each age", "s", OF_A_WINDOW)
                .within("two ticks of a timer, and 15 %: what chance makes of a load"),
        )
    }

    /// Older than this, counts are worse than none.
    fn herd(&self) -> Claim {
        let all = self.old(Arm::LeastOld).into_iter();
        let herds = all.filter(|p| self.forecast(p, gauges::TIME_MEAN_S) > 1.2 * self.mm1());
        let cases = herds.map(|point| {
            let measured = point.k.gauge(gauges::TIME_MEAN_S);
            Case::exact(point.name(), self.mm1(), measured)
        });
        let of_few = self.old(Arm::LeastOld).iter().all(|p| {
            let told = self.forecast(p, gauges::TIME_MEAN_S);
            told.is_nan() || told <= 1.2 * self.mm1()
        });
        let why =
            "counts of these ages are not old enough for a herd that is clearly worse than chance";
        Law::new("beyond an age that the simulator names, the least of old counts is worse than a server at random, s/(1 − ρ)", "s", OF_A_WINDOW)
            .at_least(cases)
            .unless(of_few.then(|| why.into()))
    }

    /// What hedging costs without a bound, where that is told.
    fn tips_over(&self) -> Claim {
        let least = 3.0 * (1.0 - self.p.hedge);
        let point = self.point(Arm::Hedged, World::Alike, 0.0);
        let told = point.map_or(f64::NAN, |point| self.forecast(&point, gauges::HEDGED_SHARE));
        let cases = point.map(|point| {
            let measured = point.k.gauge(gauges::HEDGED_SHARE);
            Case::exact(point.crowd.arm.name(), least, measured).scaled(100.0)
        });
        let calm = told.is_nan() || told < 2.0 * least;
        let why = "by the simulator, second requests do not tip these servers over in this time";
        Law::new("a second request for whatever takes longer than most: where twice the load is more than can be done the servers tip over, and far more than the slowest are sent twice", "% more requests", OF_A_WINDOW)
            .at_least(cases)
            .unless(calm.then(|| why.into()))
    }

    /// What hedging costs within a budget.
    fn within_budget(&self) -> Claim {
        let all = [World::Alike, World::Slow].into_iter();
        let all = all.filter_map(|world| self.point(Arm::Budgeted, world, 0.0));
        let cases = all.map(|point| {
            // What was saved up before the window may be spent in it.
            let come = point.crowd.rate * point.crowd.window;
            let saved = balance::SAVED / (come - 6.0 * come.sqrt()).max(1.0);
            let measured = point.k.every(|t| t.gauge(gauges::HEDGED_SHARE));
            let most = 1.0 - self.p.hedge + saved;
            Case::exact(point.crowd.world.name(), most, measured).scaled(100.0)
        });
        Law::counted(
            "within a budget, no more second requests are sent than it allows",
            "% more requests",
        )
        .at_most(cases)
    }

    /// What a request that needs k answers meets.
    fn fan_out(&self) -> Claim {
        let beyond = Disturbed::Beyond(Resource::Timers, FanOut::spare_s(self.p));
        let all = [false, true].into_iter().flat_map(|hedged| self.fan_outs(hedged));
        let cases = all.map(|(fan, k)| {
            let p = self.p.tail;
            let slow = if fan.again.is_some() { p * p } else { p };
            let predicted = balance::any_slow(slow, fan.answers as u32);
            let measured = k.share_of(|t| Some(t.timed_out), |t| Some(t.offered));
            let tolerance = 0.005 + 0.1 * predicted;
            Case::new(k.to_string(), predicted, measured, tolerance).scaled(100.0)
        });
        Law::new("of requests that need k answers 1 − (1 − p)^k are slow; with a second request for each that is late, 1 − (1 − p²)^k", "% of the requests", beyond)
            .within("half a point, and 10 %: answers that are slow by the machine's fault")
            .near(cases)
    }

    fn asked_again(&self) -> Claim {
        let beyond = Disturbed::Beyond(Resource::Timers, FanOut::spare_s(self.p));
        let cases = self.fan_outs(true).into_iter().map(|(_, k)| {
            let whole = |gauge: Gauge| move |t: &Trial| Some(t.gauge(gauge)?.max(0.0) as u64);
            let measured = k.share_of(whole(gauges::AGAIN_TOTAL), whole(gauges::ASKED_TOTAL));
            let tolerance = 0.001 + 0.15 * self.p.tail;
            Case::new(k.to_string(), self.p.tail, measured, tolerance).scaled(100.0)
        });
        Law::new("and that costs a share p of the requests to servers", "% more requests", beyond)
            .within("a tenth of a point, and 15 %: answers that are late by the machine's fault")
            .near(cases)
    }

    fn turns(&self) -> Claim {
        let all = World::ALL.into_iter().filter_map(|world| self.point(Arm::InTurn, world, 0.0));
        let cases = all.map(|point| {
            let apart = point.k.every(|t| t.gauge(gauges::APART_MOST));
            Case::exact(point.crowd.world.name(), 1.0, apart)
        });
        Law::counted("in turn, no server gets more than one request more than another", "requests")
            .books()
            .at_most(cases)
    }

    fn answers(&self) -> Vec<Answer> {
        let least = self.point(Arm::Least, World::Sinkhole, 0.0);
        let errors = least.and_then(|point| point.k.gauge(gauges::ERROR_SHARE));
        let (random, two) =
            (self.point(Arm::Random, World::Alike, 0.0), self.point(Arm::Two, World::Alike, 0.0));
        let times = random.zip(two).and_then(|(a, b)| a.k.ratio(&b.k, gauges::TIME_P99_S));
        let told = two.map_or(f64::NAN, |two| self.forecast(&two, gauges::TIME_P99_S));
        let widest = self.fan_outs(false).into_iter().max_by_key(|(fan, _)| fan.answers);
        let slow = widest.and_then(|(_, k)| k.share_of(|t| Some(t.timed_out), |t| Some(t.offered)));
        let most = self.p.fan_outs.iter().max().copied().unwrap_or(0);
        vec![
            Answer::near("sinkhole", errors, self.sinkhole(Arm::Least)).scaled(100.0),
            Answer::near("p99", times, self.mm1_p99() / told),
            Answer::near("fan_out", slow, balance::any_slow(self.p.tail, most as u32))
                .scaled(100.0),
        ]
    }
}
