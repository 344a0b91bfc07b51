//! Work that is broken off half-way: how often, and what is lost or done in vain.
//!
//! Something that is broken off at an instant which has nothing to do with its own steps is broken off in each
//! stretch of it as often as that stretch is long: the share of the cancellations that land in a window is the
//! window's share of the time over which they are spread. Everything here is that one sentence, applied to what has
//! been taken and not handed over, written and not confirmed, debited and not credited, begun and not waited for.
//!
//! Cancellations here are spread by [`even`], not by chance: their counts are exact, and near the share.

use super::is_amount;

/// The most that [`landed`] and [`Charges::excess`] go through.
pub const MOST: usize = 10_000_000;

/// The `k`-th of a sequence of numbers in `0..1` that are spread as evenly as a sequence can be, however many of them
/// are taken: the fractional parts of multiples of the golden ratio (Weyl 1916).
pub fn even(k: usize) -> f64 {
    const GOLDEN: f64 = 0.618_033_988_749_894_9;
    ((k + 1) as f64 * GOLDEN).fract()
}

/// How far the count of the first `n` of them in an interval may be from its share of `n`, at most (Kuipers and
/// Niederreiter, *Uniform Distribution of Sequences*, 1974, theorem 3.4 of chapter 2, for the golden ratio).
pub fn uneven(n: usize) -> f64 {
    let golden = (1.0 + 5f64.sqrt()) / 2.0;
    3.0 + (1.0 / golden.ln() + 1.0 / 2f64.ln()) * (n.max(1) as f64).ln()
}

/// How many of `n` cancellations, spread evenly over `span` seconds, land in the window `[from, to)`.
pub fn landed(n: usize, span: f64, (from, to): (f64, f64)) -> usize {
    let inside = |k: &usize| (from..to).contains(&(even(*k) * span));
    (0..n.min(MOST)).filter(inside).count()
}

/// The share of the cancellations spread over `span` seconds that lands in the window.
pub fn share(span: f64, (from, to): (f64, f64)) -> f64 {
    let inside = to.min(span).max(0.0) - from.min(span).max(0.0);
    if span > 0.0 { inside.max(0.0) / span } else { f64::NAN }
}

/// True when one time is a whole multiple of the other, to a nanosecond: then two things fall due at one instant, and
/// what happens first is nobody's law.
fn is_multiple(long: f64, short: f64) -> bool {
    let times = long / short;
    (times - times.round()).abs() * short < 1e-9
}

/// A receiver that takes an item and hands it over some time later, beside a ticker. A tick that comes between these
/// two drops what has been taken.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Receive {
    /// Seconds from taking to handing over, h.
    pub hand_over: f64,
    /// Seconds from tick to tick, P.
    pub period: f64,
}

impl Receive {
    /// The share that is lost of items that come one by one, at any time between two ticks: `min(1, h/P)`.
    pub fn lost_share(&self) -> f64 {
        share(self.period, self.window())
    }

    /// How many are lost of `n` items that come one by one, [`even`]ly between the ticks.
    pub fn lost(&self, n: usize) -> usize {
        landed(n, self.period, self.window())
    }

    /// An item that comes in the last h seconds before a tick is not handed over by then.
    fn window(&self) -> (f64, f64) {
        ((self.period - self.hand_over).max(0.0), self.period)
    }

    /// How many are handed over from one tick to the next when the next item is always there: `⌊P/h⌋`. `None` where P
    /// is a multiple of h: the last of them and the tick fall on one instant.
    pub fn between_ticks(&self) -> Option<usize> {
        let known = is_amount(self.period) && self.hand_over > 0.0;
        (known && !is_multiple(self.period, self.hand_over))
            .then(|| (self.period / self.hand_over) as usize)
    }

    /// How many are lost of `n` items that are all there from the first tick on: each tick drops the one under way.
    pub fn lost_of_backlog(&self, n: usize) -> Option<usize> {
        Some(n / (self.between_ticks()?.checked_add(1)?))
    }
}

/// Charges that a bank writes down and then confirms. A client that has waited too long cannot know which of the two
/// it has cut off, and tries again.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Charges {
    /// Writing takes up to so many seconds, spread [`even`]ly from attempt to attempt.
    pub write: f64,
    /// Seconds from the write to its confirmation at the client.
    pub answer: f64,
    /// Seconds after which the client gives an attempt up, T.
    pub patience: f64,
}

impl Charges {
    /// The share of the attempts that are written and not confirmed in time.
    pub fn unknown(&self) -> f64 {
        share(self.write, (self.patience - self.answer, self.patience))
    }

    /// The share of the attempts that are confirmed in time.
    pub fn confirmed(&self) -> f64 {
        share(self.write, (0.0, self.patience - self.answer))
    }

    /// Charges too many for each bill that is tried until it is confirmed, when each attempt that is written counts.
    pub fn excess_share(&self) -> f64 {
        self.unknown() / self.confirmed()
    }

    /// Attempts until `bills` bills have been confirmed one after another, and how many of these attempts were written
    /// and not confirmed. `None` where hardly any attempt is confirmed, or for more attempts than [`MOST`].
    pub fn excess(&self, bills: usize) -> Option<(usize, usize)> {
        let all = bills as f64 / self.confirmed();
        if all.is_nan() || all > MOST as f64 / 2.0 {
            return None;
        }
        let (mut attempts, mut excess, mut paid) = (0, 0, 0);
        while paid < bills && attempts < MOST {
            let written = even(attempts) * self.write;
            attempts += 1;
            if written + self.answer < self.patience {
                paid += 1;
            } else if written < self.patience {
                excess += 1;
            }
        }
        (paid == bills).then_some((attempts, excess))
    }
}

/// Calls whose caller goes away after a while, which take up to `longest` seconds, [`even`]ly spread.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Calls {
    /// Seconds of the longest.
    pub longest: f64,
    /// Seconds after which the caller goes away, T.
    pub patience: f64,
}

impl Calls {
    /// How many of `n` calls are under way when their caller goes.
    pub fn orphans(&self, n: usize) -> usize {
        landed(n, self.longest, (self.patience, f64::INFINITY))
    }

    /// Seconds that `n` calls take when nobody ends them, and how many of these come after the caller has gone.
    pub fn work(&self, n: usize) -> (f64, f64) {
        let times = (0..n.min(MOST)).map(|k| even(k) * self.longest);
        times.fold((0.0, 0.0), |(all, vain), time| {
            (all + time, vain + (time - self.patience).max(0.0))
        })
    }

    /// The share of the work that is in vain: of times spread evenly up to S the orphans are `1 − T/S`, with `(S − T)/2`
    /// left each, of a mean of `S/2`.
    pub fn vain_share(&self) -> f64 {
        (1.0 - self.patience / self.longest).max(0.0).powi(2)
    }
}

/// Services that call each other in a row, each after its own work; and a client that goes away.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Chain {
    /// How many.
    pub hops: usize,
    /// Seconds that each works before it calls the next one, w.
    pub work: f64,
    /// Seconds after which the client goes away, and so does each service that waits for the next one, T.
    pub patience: f64,
}

impl Chain {
    /// Seconds of work after the client has gone, where each hop's clock starts when it is called: all that is left,
    /// `n·w − T`. Work that is longer than a hop's own patience is given up by itself, and nothing is called.
    pub fn vain(&self) -> f64 {
        let whole = self.hops as f64 * self.work;
        if self.calls_on() { (whole - self.patience).max(0.0) } else { 0.0 }
    }

    /// A hop is done before its own patience ends.
    fn calls_on(&self) -> bool {
        self.work < self.patience
    }

    /// How many hops begin after the client has gone. `None` where one begins at that very instant.
    pub fn begun_late(&self) -> Option<usize> {
        if !self.calls_on() {
            return Some(0);
        }
        let in_time = (self.patience / self.work) as usize + 1;
        let tie = in_time <= self.hops && is_multiple(self.patience, self.work);
        (!tie).then(|| self.hops.saturating_sub(in_time))
    }
}

/// A server that is stopped while requests come at a constant rate, behind a balancer that hears of it late.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Stop {
    /// Requests per second, λ.
    pub rate: f64,
    /// Seconds that each is inside, W.
    pub inside: f64,
    /// Seconds until the balancer knows that the server is not ready, the gap.
    pub gap: f64,
}

impl Stop {
    /// When it is stopped, in seconds from the first arrival: after as many arrivals as are inside, and between two.
    pub fn at(&self) -> f64 {
        ((self.rate * self.inside).ceil() + 1.0 + even(0)) / self.rate
    }

    /// How many arrive after `from` and before `to`, in seconds from the first arrival.
    pub fn arrivals(&self, from: f64, to: f64) -> usize {
        let until = |t: f64| if t > 0.0 { (t * self.rate).ceil() } else { 0.0 };
        (until(to) - until(from)).max(0.0) as usize
    }

    /// How many are inside at an instant, by Little's law `λ·W` of them.
    pub fn inside_at(&self, at: f64) -> usize {
        self.arrivals(at - self.inside, at)
    }

    /// How many come between the stop and the moment at which the balancer knows: `λ·gap`.
    pub fn in_the_gap(&self) -> usize {
        self.arrivals(self.at(), self.at() + self.gap)
    }

    /// How many of those who came until `known` are not done `patience` seconds after the door was closed: `λ·(W − D)`
    /// where the one was closed as soon as the other was so.
    pub fn cut_short(&self, known: f64, closed: f64, patience: f64) -> usize {
        self.arrivals(closed + patience - self.inside, known)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn even_numbers_are_as_even_as_published() {
        for n in [1, 7, 100, 1000, 30_000] {
            for (from, to) in [(0.0, 0.1), (0.3, 0.35), (0.5, 1.0)] {
                let off = landed(n, 1.0, (from, to)) as f64 - n as f64 * (to - from);
                assert!(off.abs() <= uneven(n), "{n}: off by {off}");
            }
        }
        // Whatever their number, the gaps between them have three lengths at most (Sós 1958).
        for n in 2..200 {
            let mut all: Vec<f64> = (0..n).map(even).chain([0.0, 1.0]).collect();
            all.sort_by(f64::total_cmp);
            let mut gaps: Vec<f64> = all.windows(2).map(|w| w[1] - w[0]).collect();
            gaps.sort_by(f64::total_cmp);
            gaps.dedup_by(|a, b| (*a - *b).abs() < 1e-9);
            assert!(gaps.len() <= 3, "{n}: {gaps:?}");
        }
    }

    #[test]
    fn figures_by_hand() {
        let receive = Receive { hand_over: 12.0, period: 50.0 };
        assert_eq!(receive.lost_share(), 0.24);
        assert_eq!((receive.between_ticks(), receive.lost_of_backlog(100)), (Some(4), Some(20)));
        let starving = Receive { hand_over: 12.0, period: 8.0 };
        assert_eq!((starving.lost_share(), starving.lost(50)), (1.0, 50));
        assert_eq!(starving.lost_of_backlog(50), Some(50));
        assert_eq!(Receive { hand_over: 12.0, period: 36.0 }.lost_of_backlog(50), None);
        let charges = Charges { write: 0.1, answer: 0.02, patience: 0.06 };
        assert!((charges.excess_share() - 0.5).abs() < 1e-12);
        let patient = Charges { patience: 0.12, ..charges };
        assert_eq!(patient.excess(40), Some((40, 0)));
        assert!(patient.unknown() < 1e-12);
        assert_eq!(Charges { patience: 0.02, ..charges }.excess(1), None);
        let calls = Calls { longest: 0.2, patience: 0.06 };
        let (all, vain) = calls.work(10_000);
        assert!((vain / all - calls.vain_share()).abs() < 1e-3);
        assert!((calls.vain_share() - 0.49).abs() < 1e-12);
        let chain = Chain { hops: 3, work: 0.04, patience: 0.06 };
        assert!((chain.vain() - 0.06).abs() < 1e-12);
        assert_eq!(chain.begun_late(), Some(1));
        assert_eq!(Chain { patience: 0.08, ..chain }.begun_late(), None);
        let stop = Stop { rate: 200.0, inside: 0.25, gap: 0.1 };
        assert_eq!((stop.inside_at(stop.at()), stop.in_the_gap()), (50, 20));
        assert_eq!(stop.cut_short(stop.at() + stop.gap, stop.at() + stop.gap, 0.125), 25);
        assert_eq!(stop.cut_short(stop.at(), stop.at(), 0.3), 0);
    }

    #[test]
    fn odd_input_is_no_panic() {
        for odd in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            let receive = Receive { hand_over: odd, period: odd };
            let _ = (receive.lost_share(), receive.lost(3), receive.lost_of_backlog(3));
            let charges = Charges { write: odd, answer: odd, patience: odd };
            let _ = (charges.excess(3), charges.excess_share());
            let calls = Calls { longest: odd, patience: odd };
            let _ = (calls.orphans(3), calls.work(3), calls.vain_share());
            let chain = Chain { hops: 3, work: odd, patience: odd };
            let _ = (chain.vain(), chain.begun_late());
            let stop = Stop { rate: odd, inside: odd, gap: odd };
            let _ = (stop.inside_at(odd), stop.in_the_gap(), stop.cut_short(odd, odd, odd));
        }
    }

    /// A receiver, instant by instant: how many of the items that come at these instants are lost.
    fn lost_by_steps(comes: &[u64], hand_over: u64, period: u64) -> usize {
        let (mut lost, mut next, mut under_way) = (0, 0, None);
        let end = comes.last().map_or(0, |last| last + 2 * (hand_over + period) + 2)
            + comes.len() as u64 * hand_over;
        for now in 0..end {
            if under_way == Some(now) {
                under_way = None;
            }
            if now % period == 0 && now > 0 && under_way.take().is_some() {
                lost += 1;
            }
            if under_way.is_none() && next < comes.len() && comes[next] <= now {
                under_way = Some(now + hand_over);
                next += 1;
            }
        }
        lost
    }

    /// A chain, instant by instant: the work after the client has gone, and the hops begun by then.
    fn chain_by_steps(hops: usize, work: u64, patience: u64) -> (u64, usize) {
        let (mut vain, mut late) = (0, 0);
        for now in 0..hops as u64 * work {
            let began = now / work * work;
            // Its own clock has run out, or that of the one before, which then did not call it.
            if now >= began + patience || (began > 0 && work >= patience) {
                break;
            }
            if now >= patience {
                vain += 1;
                late += usize::from(now % work == 0);
            }
        }
        (vain, late)
    }

    proptest! {
        #[test]
        fn a_tick_drops_what_is_half_way(
            hand_over in 1u64..40, period in 2u64..60, phases in prop::collection::vec(1u64..1000, 1..30),
        ) {
            // One by one: the next comes when the one before is done with. Odd instants do not meet ticks.
            let (h, p) = (2 * hand_over, 2 * period);
            let apart = p * (2 + h / p);
            let comes: Vec<u64> = (0..).zip(&phases).map(|(k, at)| k * apart + 2 * (at % period) + 1).collect();
            let by_formula = comes.iter().filter(|at| h > p - *at % p).count();
            prop_assert_eq!(lost_by_steps(&comes, h, p), by_formula);
            // And as many of them as the share says, when they are spread over all instants.
            let spread: Vec<u64> = (0..period).map(|k| k * apart + 2 * k + 1).collect();
            let share = Receive { hand_over: h as f64, period: p as f64 }.lost_share();
            prop_assert_eq!(lost_by_steps(&spread, h, p) as f64, (share * period as f64).round());
        }

        #[test]
        fn a_busy_receiver_loses_one_at_every_tick(hand_over in 1u64..40, period in 2u64..90, n in 1usize..60) {
            let receive = Receive { hand_over: hand_over as f64, period: period as f64 };
            if let Some(lost) = receive.lost_of_backlog(n) {
                prop_assert_eq!(lost_by_steps(&vec![0; n], hand_over, period), lost);
            } else {
                prop_assert_eq!(period % hand_over, 0);
            }
        }

        #[test]
        fn charges_are_counted_as_their_shares_say(
            write in 0.05f64..1.0, answer in 0.01f64..0.5, more in 0.05f64..1.0, bills in 1usize..2000,
        ) {
            let charges = Charges { write, answer, patience: answer + more * write };
            let (attempts, excess) = charges.excess(bills).unwrap();
            let off = uneven(attempts);
            prop_assert!((attempts as f64 * charges.confirmed() - bills as f64).abs() <= off);
            prop_assert!((attempts as f64 * charges.unknown() - excess as f64).abs() <= off);
        }

        #[test]
        fn a_chain_goes_on_for_all_that_is_left(hops in 1usize..8, work in 1u64..40, patience in 1u64..200) {
            let chain = Chain { hops, work: work as f64, patience: patience as f64 };
            let (vain, late) = chain_by_steps(hops, work, patience);
            prop_assert!((chain.vain() - vain as f64).abs() < 1e-9);
            if let Some(begun) = chain.begun_late() {
                prop_assert_eq!(begun, late);
            } else {
                prop_assert_eq!(patience % work, 0);
            }
        }

        #[test]
        fn a_stop_loses_who_is_inside_and_who_comes_before_it_is_known(
            rate in 1f64..500.0, inside in 0.001f64..1.0, gap in 0.001f64..1.0, part in 0.05f64..1.0,
        ) {
            let stop = Stop { rate, inside, gap };
            let at = stop.at();
            let comes = |k: usize| k as f64 / rate;
            let all = ((at + gap + 1.0) * rate) as usize + 2;
            let count = |is: &dyn Fn(f64) -> bool| (0..all).filter(|k| is(comes(*k))).count();
            prop_assert_eq!(stop.inside_at(at), count(&|t| t < at && t + inside > at));
            prop_assert_eq!(stop.in_the_gap(), count(&|t| t > at && t < at + gap));
            let (known, closed) = (at + gap, at + gap * (1.0 + part));
            let cut = count(&|t| t < known && t + inside > closed + part * inside);
            prop_assert_eq!(stop.cut_short(known, closed, part * inside), cut);
            prop_assert!((stop.inside_at(at) as f64 - rate * inside).abs() <= 1.0);
        }
    }
}
