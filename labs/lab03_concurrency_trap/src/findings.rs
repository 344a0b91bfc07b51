//! Theory beside measurement for lab03.

use lab_kit::prelude::*;
use lab_kit::theory::{Band, Burst, ClosedLoop, Prediction, Usl, little};

use super::{
    languages,
    plan::{Fall, Params, TIMEOUTS, plan},
};

use Resource::Timers;

pub(super) fn explain(p: &Params, summary: &Summary) -> Findings {
    let view = View::of(p, summary);
    let mut figures = vec![view.burst()];
    if !p.bursts_only {
        figures.insert(0, view.trap());
    }
    figures.extend(view.recovery.map(|k| recovery_figure(&k, p)));
    let mut tables = vec![view.burst_table()];
    if !p.bursts_only {
        tables.insert(0, view.sustained_table());
    }
    tables.extend(languages::table(summary));
    Findings {
        headline: view.headline(),
        figures,
        tables,
        claims: [view.claims(), languages::claims(p, summary)].concat(),
        answers: view.answers(),
    }
}

/// Levels this close to `N = c·T/s` are decided by late timers, as a share of it: below, everybody is
/// answered in time; above, nobody.
const ANSWERED: f64 = 0.95;
pub(super) const LOST: f64 = 1.2;

/// The record, and what the flags say.
struct View<'a> {
    p: &'a Params,
    summary: &'a Summary<'a>,
    c: f64,
    s: f64,
    t: f64,
    unbounded: Vec<Condition<'a>>,
    bounded: Vec<Condition<'a>>,
    bursts: Vec<Condition<'a>>,
    recovery: Option<Condition<'a>>,
}

/// A sustained load on a queue with so many places.
#[derive(Clone, Copy)]
struct Sustained<'a> {
    k: Condition<'a>,
    queue: Option<usize>,
}

impl<'a> View<'a> {
    fn of(p: &'a Params, summary: &'a Summary<'a>) -> View<'a> {
        View {
            p,
            summary,
            c: p.slots as f64,
            s: p.service.s(),
            t: p.timeout.s(),
            unbounded: summary.series("sustained/unbounded"),
            bounded: summary.series("sustained/bounded"),
            bursts: summary.series("burst/unbounded"),
            recovery: summary.only("recovery/unbounded"),
        }
    }

    /// Slots times the rate of one: the most that can be answered in a second.
    fn capacity(&self) -> f64 {
        self.c / self.s
    }

    /// The number of clients at which waiting takes as long as patience.
    fn patience(&self) -> f64 {
        self.c * self.t / self.s
    }

    /// Both sustained arms.
    fn sustained(&self) -> Vec<Sustained<'a>> {
        let of = |series: &[Condition<'a>], queue| {
            let all = series.iter().map(|k| Sustained { k: *k, queue });
            all.collect::<Vec<_>>()
        };
        [of(&self.unbounded, None), of(&self.bounded, Some(self.p.queue))].concat()
    }

    /// How many of so many clients are in the service, waiting or served, once it is full.
    fn inside(&self, clients: f64, queue: Option<usize>) -> f64 {
        queue.map_or(clients, |places| clients.min(self.c + places as f64))
    }

    /// How long a request then takes, if nobody gives up.
    fn time_inside(&self, clients: f64, queue: Option<usize>) -> f64 {
        (self.inside(clients, queue) * self.s / self.c).max(self.s)
    }

    /// Everybody who is let in is answered in time.
    fn answered(&self, clients: f64, queue: Option<usize>) -> bool {
        self.time_inside(clients, queue) < ANSWERED * self.t
    }

    /// Everybody gives up.
    fn collapses(&self, clients: f64, queue: Option<usize>) -> bool {
        queue.is_none() && clients > LOST * self.patience()
    }

    /// Good answers per second of a sustained load on an unbounded queue: `N/s`, `c/s`, nothing. Round
    /// the cliff the closed loop in virtual time knows more.
    fn sustained_goodput(&self, clients: f64) -> f64 {
        match () {
            () if self.collapses(clients, None) => 0.0,
            () if self.answered(clients, None) => clients.min(self.c) / self.s,
            () => goodput_of(&self.model(clients, None).median, self.window_s(clients, None)),
        }
    }

    /// Attempts per second on an unbounded queue, where theory needs no simulation.
    fn sustained_attempts(&self, clients: f64) -> Option<f64> {
        match () {
            () if self.collapses(clients, None) => Some(clients / self.t),
            () if self.answered(clients, None) => Some(clients.min(self.c) / self.s),
            () => None,
        }
    }

    fn window_s(&self, clients: f64, queue: Option<usize>) -> f64 {
        plan(self.p, clients as usize, queue).window.as_secs_f64()
    }

    /// The closed loop stepped through in virtual time.
    fn model(&self, clients: f64, queue: Option<usize>) -> Band {
        let plan = plan(self.p, clients as usize, queue);
        let simulation = ClosedLoop {
            clients: plan.clients,
            slots: self.p.slots,
            service: self.s,
            queue,
            timeout: self.t,
            pause_after_refusal: self.p.retry_after.s(),
            ramp: plan.ramp.as_secs_f64(),
            ramped: plan.ramped,
            overhead: self.summary.host().request_overhead_ms / 1e3,
            jitter: 1e-3,
            warm_up: plan.warm_up.as_secs_f64(),
            window: plan.window.as_secs_f64(),
            seed: self.summary.seed(),
        };
        simulation.band(5)
    }

    fn burst_of(&self, requests: f64, queue: Option<usize>) -> Burst {
        Burst { n: requests as usize, slots: self.p.slots, service: self.s, queue, timeout: self.t }
    }

    /// A count of a sustained load over the length of its window. Where clients give up, a window shorter
    /// than five timeouts counts nothing: each of them begins once in a timeout.
    fn rate(&self, load: &Sustained, count: impl Fn(&Trial) -> u64) -> Option<Estimate> {
        load.k.estimate(|trial| {
            let rate = count(trial) as f64 / trial.wall_s;
            self.long_enough(load, trial).then_some(rate)
        })
    }

    fn long_enough(&self, load: &Sustained, trial: &Trial) -> bool {
        let gives_up = self.time_inside(load.k.x(), load.queue) > self.t;
        !gives_up || trial.wall_s > 0.999 * f64::from(TIMEOUTS) * self.t
    }

    fn goodput(&self, load: &Sustained) -> Option<Estimate> {
        self.rate(load, |trial| trial.ok)
    }

    fn attempts(&self, load: &Sustained) -> Option<Estimate> {
        self.rate(load, |trial| trial.offered)
    }

    fn name(&self, load: &Sustained) -> String {
        let queue = load.queue.map_or("unbounded", |_| "bounded");
        format!("{} clients, {queue}", load.k.x())
    }

    /// A tick of the timers, a millisecond, as a share of a service time.
    fn tick(&self) -> f64 {
        1e-3 / self.s
    }
}

/// Counted like what is measured: attempts that begin in the window.
fn goodput_of(prediction: &Prediction, window_s: f64) -> f64 {
    prediction.ok as f64 / window_s
}

/// The claims.
impl View<'_> {
    fn claims(&self) -> Vec<Claim> {
        let mut claims = vec![
            self.a_slot_each(),
            self.capacity_and_no_more(),
            self.collapse(),
            self.round_the_cliff(),
            self.attempts_rise(),
            self.refused_come_back(),
        ];
        claims.extend(self.bursts_in_waves());
        claims.extend([
            self.latency(),
            self.littles_law(),
            self.books(),
            self.recovers(),
            self.pool(),
        ]);
        claims
    }

    fn a_slot_each(&self) -> Claim {
        let below = self.sustained().into_iter().filter(|l| l.k.x() <= self.c);
        let overhead = self.summary.calibrated(|host| host.request_overhead_ms) / 1e3;
        let cases = below.map(|load| {
            // Where slots are idle, nothing hides what a request costs besides.
            let predicted = load.k.x() / (overhead + self.s);
            let one = 1.0 / self.window_s(load.k.x(), load.queue);
            let tolerance = self.tick() * predicted.value + one;
            Case::new(self.name(&load), predicted, self.goodput(&load), tolerance)
        });
        let text = "up to N = c clients the goodput is N/s, or a little less by what a request takes besides";
        Law::new(text, "requests/s", Disturbed::Fewer(Timers))
            .within("a tick of the timers, 1 ms, in each service time; and one request, which the end of the window cuts off")
            .near(cases)
    }

    fn capacity_and_no_more(&self) -> Claim {
        let full = self.sustained().into_iter().filter(|l| {
            let clients = l.k.x();
            clients > self.c && self.answered(clients, l.queue)
        });
        let cases = full
            .map(|load| Case::share(self.name(&load), self.capacity(), self.goodput(&load), 0.01));
        let text = "beyond N = c the goodput is c/s while the wait is shorter than the timeout; a queue bounded short enough keeps it so at every level";
        Law::new(text, "requests/s", Disturbed::Fewer(Timers))
            .within("1 %: slots that always have work lose nothing; a window of twenty service times cuts off a few answers of 20·c")
            .near(cases)
    }

    fn collapse(&self) -> Claim {
        let crowded = self.sustained().into_iter();
        let crowded = crowded.filter(|l| self.collapses(l.k.x(), l.queue));
        let cases = crowded.map(|load| {
            let in_time =
                load.k.total(|trial| self.long_enough(&load, trial).then_some(trial.ok as f64));
            let attempts = load.k.x() / self.t * self.window_s(load.k.x(), load.queue);
            let attempts = attempts * load.k.trials().len() as f64;
            Case::new(self.name(&load), 0.0, in_time, attempts / 100.0)
        });
        let text = "collapse: beyond N = c·T/s, of the attempts that begin on an unbounded queue within five timeouts none is answered in time";
        Law::new(text, "answers in time", Disturbed::Either(Timers))
            .within("one attempt in a hundred: a gap in the arrivals, when the machine stands still, lets a few in")
            .near(cases)
    }

    fn round_the_cliff(&self) -> Claim {
        let overhead = self.summary.calibrated(|host| host.request_overhead_ms);
        let rest = self.sustained().into_iter().filter(|l| {
            let clients = l.k.x();
            let known = self.answered(clients, l.queue) || self.collapses(clients, l.queue);
            clients > self.c && !known
        });
        let tolerance = 0.05 * self.capacity();
        let cases = rest.filter_map(|load| {
            let clients = load.k.x();
            let band = self.model(clients, load.queue);
            // Where the model itself strays by more, it says nothing.
            let says = band.goodput.1 - band.goodput.0 < tolerance;
            let goodput = goodput_of(&band.median, self.window_s(clients, load.queue));
            let predicted = Given::new(goodput, overhead.origin());
            let case = Case::new(self.name(&load), predicted, self.goodput(&load), tolerance);
            says.then_some(case)
        });
        let text = "where the wait is about as long as the timeout or a queue is bounded too far away, the sustained goodput is that of the closed loop in virtual time";
        Law::new(text, "requests/s", Disturbed::Either(Timers))
            .within("5 % of the capacity: one wave of answers in twenty may be late or in time")
            .near(cases)
    }

    /// From each level to the next, from the first that fills the slots.
    fn attempts_rise(&self) -> Claim {
        let loads = self.unbounded.iter().map(|k| Sustained { k: *k, queue: None });
        let known = |load: Sustained<'_>| {
            let predicted = self.sustained_attempts(load.k.x())?;
            (load.k.x() >= self.c).then_some((predicted, self.attempts(&load), load.k.x()))
        };
        let levels: Vec<_> = loads.filter_map(known).collect();
        let cases = levels.windows(2).map(|pair| {
            let ((low, before, from), (high, after, to)) = (pair[0], pair[1]);
            let more = before.zip(after).map(|(before, after)| after.minus(before));
            Case::new(format!("from {from} to {to} clients"), high - low, more, RECONNECT * high)
        });
        let text = "attempts do not rise while everybody is answered in time; beyond N = c·T/s, where everybody gives up, they do, to N/T";
        Law::new(text, "more requests/s", Disturbed::Either(Timers))
            .within("3 % of all attempts: who gives up loses the connection too, and connects anew before the next attempt")
            .near(cases)
    }

    fn refused_come_back(&self) -> Claim {
        let (queue, pause) = (Some(self.p.queue), self.p.retry_after.s());
        let loads = self.bounded.iter().map(|k| Sustained { k: *k, queue });
        // Where nobody is refused yet, it is c/s.
        let full = |l: &Sustained| l.k.x() > self.c && self.answered(l.k.x(), queue);
        let some = |l: &Sustained| l.k.x() > self.inside(l.k.x(), queue);
        let loads: Vec<_> = loads.filter(full).collect();
        let refused = pause > 0.0 && loads.iter().any(some);
        let refused = loads.into_iter().filter(move |_| refused);
        let cases = refused.map(|load| {
            let clients = load.k.x();
            let predicted = self.capacity() + (clients - self.inside(clients, queue)) / pause;
            Case::share(self.name(&load), predicted, self.attempts(&load), 0.05)
        });
        let text = "at a bounded queue attempts rise as well: c/s are answered, and each client that finds no place comes back once in a pause";
        Law::new(text, "requests/s", Disturbed::Fewer(Timers))
            .within("5 %: the window is one or two pauses long, and those refused together come back spread over one")
            .near(cases)
    }

    /// Counting waves. Where T is a multiple of s, luck decides, and the claim is open.
    fn bursts_in_waves(&self) -> Vec<Claim> {
        let all = [("unbounded", None), ("bounded", Some(self.p.queue))];
        let cases: Vec<(f64, Case)> = all
            .into_iter()
            .flat_map(|(arm, queue)| {
                let bursts = self.summary.series(&format!("burst/{arm}"));
                bursts.into_iter().map(move |k| (arm, queue, k))
            })
            .filter(|(_, queue, k)| queue.is_none() || k.x() / ARRIVE_PER_S < self.s / 2.0)
            .map(|(arm, queue, k)| {
                let burst = self.burst_of(k.x(), queue);
                let predicted = Given::from(burst.successes() as f64);
                let predicted = match queue {
                    None => predicted,
                    Some(_) => predicted.and(self.arrival_s(k.x()).origin()),
                };
                // On a slower machine than that they may have taken too long to arrive.
                let at_once = queue.is_none() || self.arrival_s(k.x()).value < self.s / 2.0;
                let measured = k.estimate(|trial| Some(trial.ok as f64));
                let measured = measured.filter(|_| at_once);
                let name = format!("{} at once, {arm}", k.x());
                (burst.margin(), Case::new(name, predicted, measured, k.x().min(self.c) / 10.0))
            })
            .collect();
        let text =
            "of a burst, min(N, c·⌊T/s⌋) are answered in time, or c + K if the queue holds fewer";
        let tossed = |margin: f64| margin < 3e-3;
        let sure = cases.iter().map(|(margin, _)| *margin);
        // Half of it: the other half is for the lateness of timers and network in each wave.
        let spare = sure.filter(|m| !tossed(*m)).fold(f64::INFINITY, f64::min) / 2.0;
        let law = |text: String| {
            Law::new(text, "requests", Disturbed::Beyond(Timers, spare)).within(
                "a tenth of a wave: a wave of min(N, c) answers is in time or late as a whole",
            )
        };
        let of = |toss| {
            let cases = cases.iter().filter(move |(m, _)| tossed(*m) == toss);
            cases.map(|(_, case)| case.clone()).collect::<Vec<_>>()
        };
        let lucky = law(format!("{text}, where the last wave is a coin toss")).near(of(true));
        let why = "T is a multiple of s".to_string();
        vec![law(text.into()).near(of(false)), lucky.unless(Some(why))]
    }

    /// How long a burst takes to arrive, by the calibration.
    fn arrival_s(&self, requests: f64) -> Given {
        requests / self.summary.calibrated(|host| host.upstream_ceiling_per_s)
    }

    fn latency(&self) -> Claim {
        let overhead = self.summary.calibrated(|host| host.request_overhead_ms);
        let answered = self.sustained().into_iter();
        let answered = answered.filter(|l| self.answered(l.k.x(), l.queue));
        let cases = answered.map(|load| {
            let clients = load.k.x();
            let inside = 1e3 * self.time_inside(clients, load.queue);
            // Where all slots have work, what a request costs besides hides behind the wait.
            let predicted = match clients {
                n if n <= self.c => overhead + inside,
                _ => inside.into(),
            };
            let measured = load.k.latency(0.5).map(|e| e.scaled(1e3));
            Case::share(self.name(&load), predicted, measured, self.tick())
        });
        let text = "the median latency is s, plus the measured overhead, up to N = c, and N·s/c beyond, while that is shorter than the timeout";
        // Of many requests: a machine that stands still holds up those that are answered meanwhile.
        Law::new(text, "ms", Disturbed::Either(Timers))
            .within("a tick of the timers, 1 ms, in each service time waited for")
            .near(cases)
    }

    /// Three instruments: a thread that looks how many are in flight, the server's count, the clients'
    /// clocks.
    fn littles_law(&self) -> Claim {
        let cases = self.sustained().into_iter().map(|load| {
            let (clients, queue) = (load.k.x(), load.queue);
            let inside = self.inside(clients, queue);
            let time = self.time_inside(clients, queue).min(self.t);
            let cut = time / (self.window_s(clients, queue) * inside.sqrt());
            let measured = load.k.estimate(|trial| {
                let time = trial.attempt_latency.mean_s()?;
                let number = little::number_in_system(trial.gauge(gauge::ARRIVED_PER_S)?, time);
                Some(trial.gauge(gauge::IN_FLIGHT_SAMPLED)? / number)
            });
            Case::new(self.name(&load), 1.0, measured, 0.01 + cut)
        });
        let text = "Little's law: requests in flight, as a thread sees them that looks now and then, over arrivals per second, as the server counts them, times the mean time of an attempt by the clients' clocks";
        Law::new(text, "(ratio)", Disturbed::Foreseen(Timers))
            .within("1 %, and what the ends of the window cut: about √L of L requests weigh differently at either, each for W, so W/(window·√L)")
            .near(cases)
    }

    fn books(&self) -> Claim {
        // Who gives up does not learn that it was refused, in the warm-up or in the window.
        let differ = self.summary.total(|trial| {
            let gave_up = trial.timed_out + trial.failed + trial.aborted > 0;
            let told = (trial.ok + trial.rejected) as f64;
            let untold = trial.gauge(gauge::SENT_TOTAL).filter(|_| gave_up);
            let untold = untold.map_or(0.0, |sent| (sent - told).max(0.0));
            let ours = trial.gauge(gauge::REFUSED_TOTAL)?;
            let differ = (ours - trial.gauge(gauge::UPSTREAM_REFUSED)?).abs();
            Some((differ - untold).max(0.0))
        });
        let cases =
            differ.map(|differ| Case::exact("all trials, but for who gives up", 0.0, Some(differ)));
        Law::counted("client and server count the same refusals", "refusals that differ")
            .books()
            .near(cases)
    }

    fn recovers(&self) -> Claim {
        let (p, fall) = (self.p, Fall::of(self.p));
        let aftermath =
            self.burst_of(fall.burst as f64, None).aftermath(fall.rate, fall.watch.as_secs_f64());
        // Means over tenths of the way: a single request can just miss a wave. While the burst arrives,
        // the first of the others find fewer before them.
        let tenth = fall.drain / 10.0;
        let cases = self.recovery.iter().flat_map(|k| {
            let aftermath = &aftermath;
            (1..12).filter_map(move |i| {
                let (from, to) = (tenth * f64::from(i), tenth * f64::from(i + 1));
                Some(Case::new(
                    format!("{} to {} after the burst", seconds(from), seconds(to)),
                    mean_latency(aftermath, from, to)?,
                    k.every(|trial| mean_latency(&steady_latencies(trial), from, to)),
                    p.service.s() / 10.0,
                ))
            })
        });
        let text = "after a burst, at half load, latency falls to s within backlog/(c/s − λ)";
        // All cases are of one condition and cannot lend each other an interval: each trial has to agree by
        // itself. Means as well; and the service's own clock goes on when the machine stands still.
        Law::new(text, "s", Disturbed::Either(Timers))
            .within("a tenth of s: the burst takes about that long to arrive, and all steps of the way down come that much later")
            .near(cases)
    }

    fn pool(&self) -> Claim {
        let p = self.p;
        let cases = self.summary.series("burst/pool").into_iter().map(|k| {
            let waves = p.slots.min(p.pool) as f64 * (self.t / self.s).floor();
            let predicted = (waves + p.pool as f64).min(k.x());
            let reach = k.every(|trial| trial.gauge(gauge::UPSTREAM_ARRIVED));
            Case::share(format!("{} at once", k.x()), predicted, reach, 0.02)
        });
        let text = format!(
            "through a pool of {} connections c·⌊T/s⌋ + {} requests reach the upstream, the rest never do",
            p.pool, p.pool
        );
        Law::new(text, "requests", Disturbed::Fewer(Timers))
            .within("2 %: one answer in fifty may be held up past the timeout, and its connection with it")
            .near(cases)
    }
}

/// How many requests arrive in a second on a machine like that of the reference. Slots that become free while a
/// burst arrives make room in a bounded queue: half a service time leaves no doubt.
const ARRIVE_PER_S: f64 = 50_000.0;

/// What a client that has given up pays before its next attempt, as a share of the attempts.
const RECONNECT: f64 = 0.03;

/// The charts.
impl<'a> View<'a> {
    fn line(
        &self,
        label: &str,
        colour: Colour,
        series: &[Condition<'a>],
        f: impl Fn(&Condition<'a>) -> Option<Estimate>,
    ) -> Line {
        Line::of_estimates(label, colour, series.iter().map(|k| (k.x(), f(k))))
    }

    /// The same line, broken where theory has a cliff: nobody measured what lies between.
    fn broken(&self, line: Line) -> Line {
        let cliff = self.patience();
        line.broken(cliff, |x| x >= cliff)
    }

    fn unbounded_goodput(&self, k: &Condition<'a>) -> Option<Estimate> {
        self.goodput(&Sustained { k: *k, queue: None })
    }

    fn unbounded_attempts(&self, k: &Condition<'a>) -> Option<Estimate> {
        self.attempts(&Sustained { k: *k, queue: None })
    }

    fn bounded_goodput(&self, k: &Condition<'a>) -> Option<Estimate> {
        self.goodput(&Sustained { k: *k, queue: Some(self.p.queue) })
    }

    fn level_axis(&self, label: &str) -> Axis {
        let measured = if self.p.bursts_only { &self.bursts } else { &self.unbounded };
        let levels: Vec<f64> = measured.iter().map(Condition::x).collect();
        Axis::log(label, Unit::Number).with_ticks(levels)
    }

    /// Where goodput is full: the smallest level within a wave of answers of the most, one in twenty of a window.
    fn knee(&self) -> Option<Knee> {
        let of = |k: &Condition<'a>| {
            let goodput = self.unbounded_goodput(k)?.value;
            Some(Reached { clients: k.x(), goodput })
        };
        let levels: Vec<Reached> = self.unbounded.iter().filter_map(of).collect();
        let most = levels.iter().map(|l| l.goodput).fold(0.0, f64::max);
        let full = levels.iter().position(|l| l.goodput >= 0.95 * most)?;
        let below = levels[..full].windows(2);
        Some(Knee {
            before: full.checked_sub(1).map(|at| levels[at]),
            full: levels[full],
            last: *levels.last()?,
            rises: full > 0 && below.clone().all(|l| l[0].goodput < l[1].goodput),
        })
    }

    fn trap_title(&self) -> String {
        let Some(Knee { full, last, rises, .. }) = self.knee().filter(|k| k.full.goodput > 0.0)
        else {
            return "Requests per second under sustained load".into();
        };
        let (end, clients) = (number(last.goodput), last.clients);
        let stops = self.knee().map_or(String::new(), |knee| knee.stops());
        let attempts = self.unbounded.last();
        let attempts = attempts.and_then(|k| self.unbounded_attempts(k));
        match () {
            () if full.clients == last.clients && rises => {
                format!(
                    "Goodput grows with the clients, to {end}/s at {clients}, the most that were tried"
                )
            }
            () if full.clients == last.clients => {
                format!("Goodput is {end}/s at {clients} clients")
            }
            () if last.goodput < 0.9 * full.goodput => format!(
                "{stops}; at {clients} it is {end}/s, of {} attempts/s",
                cell(attempts, number)
            ),
            () => format!("{stops}; at {clients} it is {end}/s"),
        }
    }

    fn headline(&self) -> String {
        let (p, last) = (self.p, self.unbounded.last());
        if p.bursts_only {
            return format!("{}.", self.burst_title());
        }
        let Some(knee) = self.knee().filter(|knee| knee.full.goodput > 0.0) else {
            return "Nothing was answered under sustained load.".into();
        };
        let (full, end) = (knee.full, knee.last);
        let goodput = number(full.goodput);
        if full.clients == end.clients {
            let verb = if knee.rises { "grows to" } else { "is" };
            return format!(
                "With {} slots of {} goodput {verb} {goodput}/s at {} clients, the most that were tried.",
                p.slots, p.service, full.clients
            );
        }
        let bounded = self.bounded.iter().find(|k| k.x() == end.clients);
        let reached = match knee.before {
            Some(_) => format!("grows to {goodput}/s at {} clients and no further", full.clients),
            None => format!("is {goodput}/s at {} clients and no more beyond", full.clients),
        };
        format!(
            "With {} slots of {} goodput {reached}. At {} clients it is {}/s with an unbounded queue and {}/s with {} places, while {}/s are attempted at the unbounded one.",
            p.slots,
            p.service,
            end.clients,
            number(end.goodput),
            cell(bounded.and_then(|k| self.bounded_goodput(k)), number),
            p.queue,
            cell(last.and_then(|k| self.unbounded_attempts(k)), number)
        )
    }

    fn rates(&self) -> Panel {
        let last = self.unbounded.last().map_or(1.0, Condition::x);
        let (full, cliff) = (self.c.min(last), self.patience().min(last));
        // Straight between its corners, and a cliff.
        let mut theory: Vec<(f64, f64)> =
            (0..=60).map(|i| full.powf(f64::from(i) / 60.0)).map(|n| (n, n / self.s)).collect();
        theory.push((cliff, full / self.s));
        if cliff < last {
            theory.extend([(cliff, 0.0), (last, 0.0)]);
        }
        let goodput = self.line("goodput, unbounded", Colour::Vermilion, &self.unbounded, |k| {
            self.unbounded_goodput(k)
        });
        let positive: Vec<_> = goodput.points.iter().filter(|(_, y)| *y > 0.0).copied().collect();
        let fit = Usl::fit(&positive).filter(|fit| fit.r_squared > 0.5);
        let fitted = fit.map(|fit| {
            let clients = (0..=120).map(|i| last.powf(f64::from(i) / 120.0));
            let curve = clients.map(|n| (n, fit.usl.at(n)));
            Line::theory("USL (fitted)", Colour::Purple, curve.collect())
        });
        Panel::new("Requests per second", Unit::Number)
            .note("attempts count failures, goodput does not")
            .layer(Line::theory("theory", Colour::Muted, theory))
            .layer(
                self.line("attempts", Colour::Orange, &self.unbounded, |k| {
                    self.unbounded_attempts(k)
                }),
            )
            .layer(self.line("goodput, bounded", Colour::Green, &self.bounded, |k| {
                self.bounded_goodput(k)
            }))
            .layer(self.broken(goodput))
            .layers(fitted)
            .height(1.5)
    }

    fn trap(&self) -> Figure {
        let p = self.p;
        let waited = |label, colour, q| {
            self.line(label, colour, &self.unbounded, move |k| k.attempt_latency(q))
        };
        let share = |label, colour, series| self.line(label, colour, series, |k| k.success_share());
        let last = self.unbounded.last().map_or(0.0, Condition::x);
        let knees = [
            Mark::at(self.c, format!("N = c = {}", p.slots), Colour::Purple),
            Mark::at(self.patience(), format!("N = c·T/s = {:.0}", self.patience()), Colour::Ink),
        ];
        let trials = self.unbounded.first().map_or(0, |k| k.trials().len());
        Figure::new("trap", self.trap_title())
            .subtitle(format!(
                "Sustained load on {} slots of {}; clients wait {}; bounded queue: {} places. {trials} trial(s) a point, bands: 95 % intervals",
                p.slots, p.service, p.timeout, p.queue
            ))
            .desc("Three panels over the number of clients: requests per second, latency, success share.")
            .over(self.level_axis("clients (requests in flight), log scale"), [
                self.rates(),
                Panel::new("Time until the answer, or until giving up", Axis::log("", Unit::Seconds))
                    .note("unbounded queue, log scale")
                    .layer(Layer::rule(self.t, format!("timeout {}", p.timeout)))
                    .layer(waited("p50", Colour::Sky, 0.5))
                    .layer(waited("p95", Colour::Blue, 0.95))
                    .layer(waited("p99", Colour::Ink, 0.99)),
                Panel::new("Success share", Axis::share())
                    .note("of attempts, answered in time")
                    .layer(share("bounded", Colour::Green, &self.bounded))
                    .layer(self.broken(share("unbounded", Colour::Vermilion, &self.unbounded)))
                    .height(0.8),
            ])
            .marks(knees.into_iter().filter(|mark| mark.x < last))
    }

    fn burst_title(&self) -> String {
        let largest = self.bursts.last();
        let Some((k, share)) = largest.and_then(|k| Some((k, k.success_share()?.value))) else {
            return "Bursts of requests".into();
        };
        let waves = (self.t / self.s).floor();
        match share {
            1.0 => format!("Of {} requests at once all are answered in time", k.x()),
            share => format!(
                "Of {} requests at once {} are answered in time; {} slots times {} waves are {}",
                k.x(),
                percent(share),
                self.p.slots,
                number(waves),
                number(self.c * waves)
            ),
        }
    }

    fn burst(&self) -> Figure {
        let p = self.p;
        let limited = self.summary.series("burst/bounded");
        let last = self.bursts.last().map_or(1.0, Condition::x);
        let theory = |queue| {
            let sizes = (0..=200).map(|i| last.powf(f64::from(i) / 200.0).round());
            let share = |n: f64| (n, self.burst_of(n, queue).success_share());
            Line::theory("", Colour::Muted, sizes.map(share).collect())
        };
        let share = |label, colour, series| self.line(label, colour, series, |k| k.success_share());
        Figure::new("burst", self.burst_title())
            .subtitle(format!(
                "Bursts at {} slots of {}; clients wait {}; bounded queue: {} places",
                p.slots, p.service, p.timeout, p.queue
            ))
            .desc("Two panels over the size of the burst: requests per second counted two ways, success share with theory.")
            .over(self.level_axis("requests at once, log scale"), [
                Panel::new("Requests per second", Unit::Number)
                    .note("N / time, which counts failures, and good answers / time")
                    .layer(self.line("N / time", Colour::Orange, &self.bursts, all_by_time))
                    .layer(self.line("good / time", Colour::Vermilion, &self.bursts, good_by_time))
                    .height(1.2),
                Panel::new("Success share", Axis::share())
                    .note("dashed: theory")
                    .layers([theory(None), theory(Some(p.queue))])
                    .layer(share("unbounded", Colour::Vermilion, &self.bursts))
                    .layer(share("bounded", Colour::Green, &limited)),
            ])
    }
}

/// All requests over the time of the burst, which counts failures.
pub(super) fn all_by_time(k: &Condition) -> Option<Estimate> {
    k.estimate(|t| Some(t.offered as f64 / t.wall_s))
}

fn good_by_time(k: &Condition) -> Option<Estimate> {
    k.estimate(|t| Some(t.ok as f64 / t.wall_s))
}

/// A level of the sustained load, and what was answered there per second.
#[derive(Clone, Copy)]
struct Reached {
    clients: f64,
    goodput: f64,
}

/// What the levels that were tried say of where goodput stops growing.
struct Knee {
    /// The level before, if there is one.
    before: Option<Reached>,
    full: Reached,
    last: Reached,
    /// From level to level up to there.
    rises: bool,
}

impl Knee {
    /// Where it grows in proportion up to a level, it stops there or later; otherwise somewhere before it.
    fn stops(&self) -> String {
        let (goodput, clients) = (number(self.full.goodput), self.full.clients);
        let Some(before) = self.before else {
            return format!("Goodput does not grow beyond {clients} clients, {goodput}/s");
        };
        let proportional = self.full.goodput / before.goodput > 0.9 * clients / before.clients;
        match proportional {
            true => format!("Goodput stops growing at {clients} clients, {goodput}/s"),
            false => format!(
                "Goodput stops growing between {} and {clients} clients, at {goodput}/s",
                before.clients
            ),
        }
    }
}

/// The tables and the answers.
impl View<'_> {
    fn sustained_table(&self) -> Table {
        let share = |k: &Condition, of: fn(&Trial) -> u64| {
            k.estimate(|t| (t.offered > 0).then(|| of(t) as f64 / t.offered as f64))
        };
        let twin = |k: &Condition| self.summary.at("sustained/bounded", k.x());
        Table::of("Sustained load", &self.unbounded)
            .column("clients", |k| number(k.x()))
            .cells("attempts/s", number, |k| self.unbounded_attempts(k))
            .cells("goodput/s unbounded", number, |k| self.unbounded_goodput(k))
            .column("theory", |k| number(self.sustained_goodput(k.x())))
            .cells("goodput/s bounded", number, |k| self.bounded_goodput(&twin(k)?))
            .cells("p50", seconds, |k| k.attempt_latency(0.5))
            .cells("p95", seconds, |k| k.attempt_latency(0.95))
            .cells("p99", seconds, |k| k.attempt_latency(0.99))
            .cells("success", percent, |k| k.success_share())
            .cells("timed out", percent, |k| share(k, |t| t.timed_out))
            .cells("refused (bounded)", percent, |k| share(&twin(k)?, |t| t.rejected))
            .note(format!(
                "Attempts and good answers are counted over the window. Latencies count from the intended start to the answer or to giving up, unbounded queue. Overhead of a request on this machine: {}.",
                seconds(self.summary.host().request_overhead_ms / 1e3)
            ))
    }

    fn burst_table(&self) -> Table {
        let twin = |k: &Condition| self.summary.at("burst/bounded", k.x());
        let theory = |k: &Condition, queue| percent(self.burst_of(k.x(), queue).success_share());
        let pool = self.summary.series("burst/pool");
        let pool = pool.last().map(|k| {
            format!(
                "Through a pool of {} connections, of {} requests at once {} succeed and {} ever reach the upstream: the rest time out in the client.",
                self.p.pool,
                k.x(),
                cell(k.success_share(), percent),
                cell(k.gauge(gauge::UPSTREAM_ARRIVED), number)
            )
        });
        Table::of("Bursts", &self.bursts)
            .column("at once", |k| number(k.x()))
            .cells("N/time", number, |k| all_by_time(k))
            .cells("good/time", number, |k| good_by_time(k))
            .cells("success", percent, |k| k.success_share())
            .column("theory", |k| theory(k, None))
            .cells("success bounded", percent, |k| twin(k)?.success_share())
            .column("theory bounded", |k| theory(k, Some(self.p.queue)))
            .cells("failed otherwise", number, |k| k.estimate(|t| Some(t.failed as f64)))
            .note(pool.unwrap_or_default())
    }

    fn answers(&self) -> Vec<Answer> {
        let (level, burst) = (self.unbounded.last(), self.bursts.last());
        let theory = level.map_or(f64::NAN, |k| self.sustained_goodput(k.x()));
        let lucky = burst.map_or(f64::NAN, |k| self.burst_of(k.x(), None).success_share());
        vec![
            Answer::near("goodput", level.and_then(|k| self.unbounded_goodput(k)), theory),
            Answer::near("success", burst.and_then(Condition::success_share), lucky).scaled(100.0),
        ]
    }
}

/// Latencies over the time of arrival after the burst.
fn steady_latencies(trial: &Trial) -> Vec<(f64, f64)> {
    let from = trial.started_s();
    let trace = trial.trace("latency_s").iter();
    let mut points: Vec<(f64, f64)> = trace.map(|(at, latency)| (at - from, *latency)).collect();
    points.sort_by(|a, b| a.0.total_cmp(&b.0));
    points
}

/// Mean latency of those that arrived between two instants.
fn mean_latency(latencies: &[(f64, f64)], from: f64, to: f64) -> Option<f64> {
    let inside: Vec<f64> =
        latencies.iter().filter(|(at, _)| (from..to).contains(at)).map(|(_, l)| *l).collect();
    (!inside.is_empty()).then(|| inside.iter().sum::<f64>() / inside.len() as f64)
}

/// Latency after the burst, falling along the line that the leftover capacity draws.
fn recovery_figure(k: &Condition, p: &Params) -> Figure {
    let (fall, service) = (Fall::of(p), p.service.s());
    let watch = fall.watch.as_secs_f64();
    // Each second takes half a second of the wait away, at half the capacity.
    let line = |at: f64| service + ((fall.drain - at) / 2.0).max(0.0);
    let theory = [0.0, fall.drain, watch].map(|at| (at, line(at)));
    let felt = |trial: &Trial| {
        let latencies = steady_latencies(trial).into_iter();
        let slow = latencies.filter(|(_, latency)| *latency > 2.0 * service);
        slow.map(|(at, _)| at).fold(0.0, f64::max)
    };
    let drawn = k.typical(felt);
    let measured = drawn.map(steady_latencies).unwrap_or_default();
    let took = drawn.map_or(f64::NAN, felt);
    let title = format!(
        "A burst of {} requests is felt for {}; its clients wait {}",
        fall.burst,
        seconds(took),
        p.timeout
    );
    Figure::new("recovery", title)
        .subtitle(format!(
            "At 0 s {} requests arrive at once; from then on {}/s, half the capacity. Dashed: the backlog worked off by what capacity is left. It steps because slots filled together come free together. One of {} trial(s)",
            fall.burst,
            number(fall.rate),
            k.trials().len()
        ))
        .desc("Latency of requests over the time of their arrival, falling in a straight line to the service time.")
        .over(Axis::linear("time of arrival after the burst", Unit::Seconds).with_range(0.0, watch), [
            Panel::new("Latency", Unit::Seconds)
                .note("of the steady requests, which wait as long as it takes")
                .layer(Line::trace("measured", Colour::Blue, measured))
                .layer(Line::theory("theory", Colour::Muted, theory.into()))
                .height(1.3),
        ])
}
