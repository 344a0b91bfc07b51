//! A check: something that a program was asked to do, the claim that its books must bear out, and what is at
//! fault where they do not.

use lab_kit::{claim::Verdict, prelude::*};

use crate::{asked::Asked, brief::ALL, gauges, reading};

/// Something that a program was asked to do.
pub struct Check {
    /// What is at fault where the claim is refuted, in a few words: "no back-off".
    pub fault: &'static str,
    /// What it usually comes from.
    pub cause: &'static str,
    /// What the books must bear out.
    pub claim: Claim,
}

impl Check {
    /// Whether the books say that the fault is there.
    pub fn is_found(&self) -> bool {
        self.claim.verdict() == Verdict::Refuted
    }
}

/// How many there are in all trials: none should be.
pub fn none(text: impl Into<String>, unit: &'static str, k: &Condition, gauge: Gauge) -> Claim {
    Law::counted(text, unit).near([Case::exact("", 0.0, k.total(|t| t.gauge(gauge)))])
}

/// The same of something that a machine which stands still for a moment may bring about.
fn none_beyond(
    text: impl Into<String>,
    unit: &'static str,
    k: &Condition,
    gauge: Gauge,
    spare_s: f64,
) -> Claim {
    let disturbed = Disturbed::Beyond(Resource::Timers, spare_s);
    Law::new(text, unit, disturbed).near([Case::exact("", 0.0, k.every(|t| t.gauge(gauge)))])
}

/// Every item is asked for.
pub fn nothing_lost(k: &Condition) -> Check {
    all_asked_for(k, "every item is asked for")
}

/// The same, in the words of a brief.
pub fn all_asked_for(k: &Condition, text: &str) -> Check {
    Check {
        fault: "lost items",
        cause: "a loop that ends too early, an error that ends a worker, a task that nobody waited for",
        claim: none(text, "items", k, gauges::MISSED),
    }
}

const ONCE: &str = "nothing is asked for again once it has been answered";

/// No item is asked for again after its answer.
pub fn nothing_twice(p: &Asked, k: &Condition) -> Check {
    let spare = p.timeout.s() - p.service_s();
    Check { claim: none_beyond(ONCE, "requests", k, gauges::AGAIN, spare), ..answered_once(k) }
}

/// The same where nothing is given up, so that no answer can be late.
pub fn answered_once(k: &Condition) -> Check {
    Check {
        fault: "duplicates",
        cause: "the same item in two workers' hands, or a retry that does not look whether an answer came",
        claim: none(ONCE, "requests", k, gauges::AGAIN),
    }
}

/// Nothing else is asked for.
pub fn nothing_else(k: &Condition) -> Check {
    Check {
        fault: "stray requests",
        cause: "a path put together wrongly, another method, or one item too many",
        claim: none("nothing else is asked for", "requests", k, gauges::STRAY),
    }
}

/// At most so many requests are at the service at a time, below each of these paths by itself.
pub fn limit_holds(p: &Asked, k: &Condition, parts: &[&'static str]) -> Check {
    // When an attempt that was given up has ended is a guess; see `reading::end`.
    let guessed =
        k.total(|t| t.gauge(gauges::GIVEN_UP)).is_none_or(|given_up| given_up.value > 0.0);
    let spare = (1.0 - reading::COUNTED) * p.timeout.s();
    let disturbed =
        if guessed { Disturbed::Beyond(Resource::Timers, spare) } else { Disturbed::Never };
    let text = format!("no more than {} requests are in flight at a time", p.limit);
    let (fault, text) = match parts {
        [ALL] => ("no limit for all requests together", text),
        parts => ("no limit", format!("{text} at {}", parts.join(", at "))),
    };
    let at = |part: &&'static str| {
        let most = k.every(|t| t.gauge(gauges::most_at(part)));
        Case::exact(*part, p.limit as f64, most)
    };
    Check {
        fault,
        cause: "no semaphore at all, or one made inside the function that asks, so that every call has its own",
        claim: Law::new(text, "requests", disturbed).at_most(parts.iter().map(at)),
    }
}

/// Why so few items show nothing of a mean; `None` where they are at least so many limits.
pub fn too_few(items: usize, limits: usize, limit: usize) -> Option<String> {
    let least = limits * limit;
    (items < least).then(|| format!("{items} are too few to tell: {least} would"))
}

/// Why a window cannot be told from batches; `None` where it can.
pub fn in_step(p: &Asked) -> Option<String> {
    let is_constant = matches!(p.service.of, ServiceTime::Constant(_));
    is_constant.then(|| "all requests take equally long, so that batches look like a window; try --service lognormal:50ms:0.5".into())
}

/// Why a limit of one cannot be told from batches of one.
pub fn alone(p: &Asked) -> Option<String> {
    (p.limit == 1).then(|| "one at a time has no batches".into())
}

/// Fewest limits of items from which a mean says something.
const LIMITS: usize = 4;

/// A new request is on its way for so many seconds at most after another has ended.
const TURN_S: f64 = 5e-3;

/// How often a window runs out of requests by chance: all others end, too, while one request is replaced by the next.
fn empty_by_chance(p: &Asked) -> f64 {
    let others = i32::try_from(p.limit).unwrap_or(i32::MAX) - 1;
    (p.n as f64 * (TURN_S / p.service_s()).min(1.0).powi(others)).floor()
}

/// The service is never left with nothing to do before the end.
pub fn no_barriers(p: &Asked, k: &Condition) -> Check {
    let empty = k.every(|t| t.gauge(gauges::FOUND_EMPTY));
    let disturbed = Disturbed::Beyond(Resource::Timers, p.service_s());
    let law =
        Law::new("the service never runs out of requests before the last item", "times", disturbed);
    Check {
        fault: "batches with a barrier",
        cause: "a batch is awaited as a whole before the next one begins, so its slowest item holds up all others",
        claim: law
            .within("what chance makes of it, when all requests end within 5 ms of each other")
            .at_most([Case::exact("", empty_by_chance(p), empty)])
            .unless(alone(p))
            .unless(in_step(p)),
    }
}

/// The limit is used.
pub fn limit_is_used(p: &Asked, k: &Condition) -> Check {
    let share = k.estimate(|t| Some(t.gauge(gauges::AT_SERVICE_MEAN)? / p.limit as f64));
    let text =
        format!("on average more of the {} places are in use than batches would use", p.limit);
    let law = Law::new(text, "%", Disturbed::Fewer(Resource::Timers));
    let bound = 100.0 * half_way(p.limit);
    Check {
        fault: "the limit is not used",
        cause: "too few workers, a barrier, or a permit that is held while nothing is in flight",
        claim: law
            .within("the bound is between two cases: a window, in which all places are in use, and batches, which wait for their slowest request (their geometric mean)")
            .at_least([Case::exact("", bound, share.map(|share| share.scaled(100.0)))])
            .unless(alone(p))
            .unless(too_few(p.n, LIMITS, p.limit)),
    }
}

/// Half-way, in logarithms, between a window, which uses all of a limit, and batches of its size: the longest of
/// m exponential times is 1 + 1/2 + … + 1/m means long (Rényi 1953).
pub fn half_way(limit: usize) -> f64 {
    let longest: f64 = (1..=limit).map(|i| 1.0 / i as f64).sum();
    1.0 / longest.sqrt()
}

/// All items that the service has are answered in the end.
pub fn all_recovered(k: &Condition, there: impl Fn(&Trial) -> Option<f64>) -> Check {
    let missing = k.every(|t| Some(there(t)? - t.gauge(gauges::ANSWERED)?));
    let text = "every item that the service has is answered in the end";
    Check {
        fault: "gives up too early",
        cause: "too few attempts, or a failure that passes is taken for one that stays",
        claim: Law::counted(text, "items missing").near([Case::exact("", 0.0, missing)]),
    }
}

/// Items are tried so often at most.
pub fn tries_are_bounded(p: &Asked, k: &Condition) -> Check {
    let most = k.every(|t| t.gauge(gauges::TRIES_MAX));
    let text = format!("no item is asked for more than {} times", p.attempts);
    Check {
        fault: "retries without a bound",
        cause: "a loop that tries until it succeeds",
        claim: Law::counted(text, "attempts").at_most([Case::exact("", p.attempts as f64, most)]),
    }
}

/// A retry waits.
pub fn backs_off(k: &Condition) -> Check {
    let count = |gauge: Gauge| move |t: &Trial| t.gauge(gauge).map(|n| n as u64);
    let share = k.share_of(count(gauges::AT_ONCE), count(gauges::RETRIES));
    let text = "few retries come as soon as the attempt before has failed";
    Check {
        fault: "no back-off",
        cause: "the retry loop does not sleep: it hits a service that has just said that it cannot",
        claim: Law::counted(text, "%")
            .within("a wait below a tenth of --backoff counts: without waiting all are, and of random waits from none to --backoff one in ten is")
            .at_most([Case::exact("", 25.0, share.map(|share| share.scaled(100.0)))]),
    }
}

/// A second retry waits longer than a first.
pub fn backs_off_further(p: &Asked, k: &Condition) -> Check {
    let sum = |gauge: Gauge| k.total(move |t| t.gauge(gauge)).map(|sum| sum.value);
    let mean = sum(gauges::SECOND_WAITS_S).zip(sum(gauges::SECOND_WAITS)).filter(|(_, n)| *n > 0.0);
    let mean = mean.map(|(sum, n)| Estimate::exact(sum / n / p.backoff.s()).from(k.origin()));
    let text = "second retries wait for about twice as long as first ones should";
    Check {
        fault: "a back-off that does not grow",
        cause: "the same pause every time: it is not doubled",
        claim: Law::counted(text, "times --backoff")
            .within("2 is asked for, 1 is the same pause again")
            .at_least([Case::exact("", 1.5, mean)]),
    }
}

/// Retry-After is honoured.
pub fn honours_retry_after(k: &Condition) -> Check {
    let text = "no retry comes before the time that Retry-After asks for";
    Check {
        fault: "Retry-After ignored",
        cause: "503 and 429 are handled as any other failure",
        claim: none(text, "retries", k, gauges::EARLY),
    }
}

/// What is not there is not asked for again.
pub fn gone_is_gone(k: &Condition) -> Check {
    let text = "what is not there (404) is asked for once";
    Check {
        fault: "retries what cannot succeed",
        cause: "every failure is retried, whatever its status says",
        claim: none(text, "requests", k, gauges::GONE_AGAIN),
    }
}

/// Every order is sent.
pub fn orders_sent(k: &Condition) -> Check {
    Check {
        fault: "lost orders",
        cause: "an error ends the loop over the orders",
        claim: none("every order is sent", "orders", k, gauges::ORDERS_MISSED),
    }
}

/// No order is sent twice.
pub fn orders_once(k: &Condition) -> Check {
    Check {
        fault: "a POST sent again",
        cause: "orders go through the same retry loop as items: a POST that failed may have been carried out",
        claim: none(
            "no order is sent again, whatever is answered",
            "orders",
            k,
            gauges::ORDERS_AGAIN,
        ),
    }
}

/// Attempts are given up.
pub fn has_a_timeout(p: &Asked, k: &Condition) -> Check {
    let text = "no attempt is waited for beyond four times its timeout";
    Check {
        fault: "no timeout",
        cause: "the client's own timeout is none, or minutes",
        claim: none_beyond(text, "attempts", k, gauges::WAITED_ON, 3.0 * p.timeout.s()),
    }
}

/// A permit is for the request alone: `held_share` of the limit is in use when permits are held while their items
/// wait.
pub fn sleeps_without_a_permit(p: &Asked, k: &Condition, held_share: f64) -> Check {
    let share = k.estimate(|t| Some(t.gauge(gauges::UNTIL_BEGUN_MEAN)? / p.limit as f64));
    let text = "the limit is in use until the last item has begun: other items go on while some wait for their next attempt";
    Check {
        fault: "a permit held while sleeping",
        cause: "the retry loop, with its pauses, is inside the semaphore",
        claim: Law::new(text, "%", Disturbed::Fewer(Resource::Timers))
            .within("the bound is between all in use, and what is in use when permits are held through the pauses (their geometric mean)")
            .at_least([Case::exact("", 100.0 * held_share.sqrt(), share.map(|s| s.scaled(100.0)))])
            .unless(too_few(p.n, LIMITS, p.limit)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn five_limits_are_enough() {
        assert_eq!(too_few(50, 5, 10), None);
        assert!(too_few(49, 5, 10).is_some_and(|why| why.contains("50")));
    }

    #[test]
    fn batches_use_less_than_half_way() {
        for limit in [2, 10, 100] {
            let batches = half_way(limit).powi(2);
            assert!(batches < half_way(limit) && half_way(limit) < 1.0);
        }
        // 1 + 1/2 + 1/3 + 1/4 = 25/12
        assert!((half_way(4).powi(2) - 12.0 / 25.0).abs() < 1e-12);
    }
}
