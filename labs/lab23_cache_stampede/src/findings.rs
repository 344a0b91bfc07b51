//! Theory beside measurement for lab23.

use lab_kit::{
    prelude::*,
    theory::cache::{Early, HotKey, Zipf},
};
use rand::RngExt;

use super::{
    Params, figures, gauges,
    held::Policy,
    hot::Way,
    rush::{LEAD, Rush},
};

/// By so much an answer may be later than the upstream's service is long: two ticks of its timers and two of those
/// who send.
const LATE_S: f64 = 4e-3;
const WHY_LATE: &str =
    "4 ms for each time that a value is computed: two ticks of the timers at either end";

/// What is disturbed moves with the share of the window that the machine stood still.
const OF_A_WINDOW: Disturbed = Disturbed::Either(Resource::Timers);

pub(super) fn explain(p: &Params, summary: &Summary) -> Findings {
    let view = View::of(p, summary);
    Findings {
        headline: view.headline(),
        figures: figures::all(&view),
        tables: [view.ways(), view.held_table()].into_iter().flatten().collect(),
        claims: view.claims(),
        answers: view.answers(),
    }
}

/// The record, and what theory says of its conditions.
pub(super) struct View<'a> {
    pub(super) p: &'a Params,
    /// Every miss asks, over the rate.
    pub(super) none: Vec<Condition<'a>>,
    /// One asks at a time: lock, moka, stale.
    pub(super) ones: Vec<Condition<'a>>,
    /// By chance, over β.
    pub(super) early: Vec<Condition<'a>>,
    /// Keys of one age.
    pub(super) together: Option<Condition<'a>>,
    pub(super) jittered: Option<Condition<'a>>,
    /// Hits by policy, over the size in percent.
    pub(super) held: Vec<(Policy, Vec<Condition<'a>>)>,
    pub(super) zipf: Zipf,
}

/// A gauge for each of another.
fn per(t: &Trial, one: Gauge, of: Gauge) -> Option<f64> {
    Some(t.gauge(one)? / t.gauge(of).filter(|n| *n > 0.0)?)
}

/// Requests at the upstream for each end.
pub(super) fn herd(k: &Condition) -> Option<Estimate> {
    k.estimate(|t| per(t, gauges::HERD, gauges::ENDS))
}

/// The share of a herd that is refused.
pub(super) fn refused(k: &Condition) -> Option<Estimate> {
    k.estimate(|t| per(t, gauges::HERD_REFUSED, gauges::HERD))
}

/// The share of the requests that found no fresh value: they waited, or got an old one.
fn unserved(k: &Condition) -> Option<Estimate> {
    let stale = k.series() == "stale";
    k.estimate(|t| per(t, if stale { gauges::OLD } else { gauges::WAITED }, gauges::ASKED))
}

/// The share of the requests that hit.
pub(super) fn hits(k: &Condition) -> Option<Estimate> {
    k.estimate(|t| per(t, gauges::HITS, gauges::COUNTED))
}

/// Requests refused for each key of one age.
fn refused_per_key(k: &Condition) -> Option<Estimate> {
    k.estimate(|t| per(t, gauge::UPSTREAM_REFUSED, gauges::KEYS))
}

impl<'a> View<'a> {
    fn of(p: &'a Params, summary: &Summary<'a>) -> View<'a> {
        let ones = Way::ONES.into_iter().filter_map(|way| summary.only(way.series()));
        let held = Policy::ALL.map(|policy| (policy, summary.series(policy.series())));
        View {
            p,
            none: summary.series("none"),
            ones: ones.collect(),
            early: summary.series("early"),
            together: summary.only("together"),
            jittered: summary.only("jittered"),
            held: held.into(),
            zipf: p.popularity(),
        }
    }

    /// The key where every miss asks.
    pub(super) fn key(&self, k: &Condition) -> HotKey {
        self.p.key(k.x())
    }

    /// Every miss asks, at the rate of the others.
    pub(super) fn base(&self) -> Option<&Condition<'a>> {
        self.none.iter().find(|k| k.x() == self.p.rate).or(self.none.last())
    }

    pub(super) fn one(&self, way: &str) -> Option<&Condition<'a>> {
        self.ones.iter().find(|k| k.series() == way)
    }

    /// What 4 ms more of each computation make of what theory says.
    fn late(&self, k: &Condition, of: impl Fn(HotKey) -> f64) -> f64 {
        let key = self.key(k);
        let later = HotKey { service: key.service + LATE_S, ..key };
        (of(later) - of(key)).abs()
    }

    fn headline(&self) -> String {
        let base = self.base();
        let herd = cell(base.and_then(herd), number);
        let rate = base.map_or(self.p.rate, Condition::x);
        let lock = cell(self.one("lock").and_then(self::herd), number);
        let early = self.early.last();
        let early = early.map(|k| {
            format!("; with β = {} it makes {} early", k.x(), cell(self::herd(k), number))
        });
        format!(
            "A key that is asked for {} times a second and takes {} to compute makes {herd} requests at the upstream each time it expires, and {lock} behind a lock{}.",
            number(rate),
            self.p.service,
            early.unwrap_or_default()
        )
    }
}

/// The claims.
impl View<'_> {
    fn claims(&self) -> Vec<Claim> {
        let hot = [
            self.herds(),
            self.refusals(),
            self.topples(),
            self.one_each(),
            self.cycles(),
            self.without(),
            self.waits(),
            self.never("nobody waits who may take the old value", gauges::WAITED, &["stale"]),
            self.never(
                "nobody gets a value older than its life where nobody may",
                gauges::OLD,
                &["none", "lock", "moka", "early"],
            ),
            self.oldest(),
            self.early_requests(),
            self.early_ahead(),
        ];
        hot.into_iter().chain(self.of_one_age()).chain(self.hit_rates()).collect()
    }

    /// What one more request makes of the service in seconds, as a share.
    fn late_share(&self) -> f64 {
        LATE_S / self.p.service.s()
    }

    fn herds(&self) -> Claim {
        Quantity::new("requests", number, herd)
            .theory(|k| Some(self.key(k).herd()))
            .within(Within::Share(self.late_share()), WHY_LATE)
            .disturbed(OF_A_WINDOW)
            .near(
                "where every miss asks, the end of a value makes 1 + λ·s requests at the upstream",
                |k| format!("{}/s", number(k.x())),
                &self.none,
            )
    }

    fn refusals(&self) -> Claim {
        let room = self.p.room();
        let share = |key: HotKey| key.turned_away(room) / key.herd();
        let cases = self.none.iter().map(|k| {
            let key = self.key(k);
            let tolerance = 0.01 + LATE_S * key.rate / key.herd();
            let name = format!("{}/s", number(k.x()));
            Case::new(name, share(key), refused(k), tolerance).scaled(100.0)
        });
        Law::new("refused is what the herd has more than c + K", "% of the herd", OF_A_WINDOW)
            .within("1 %, and who comes in the 4 ms from when a slot is free to when the value is there: he finds room")
            .near(cases)
    }

    fn topples(&self) -> Claim {
        let room = self.p.room();
        let topples = |key: HotKey| key.topples(room);
        let count = |name: Gauge| move |t: &Trial| Some(t.gauge(name)?.max(0.0) as u64);
        let cases = self.none.iter().map(|k| {
            let share = k.share_of(count(gauges::TOPPLED), count(gauges::ENDS));
            let tolerance = 0.04 + self.late(k, topples);
            let name = format!("{}/s", number(k.x()));
            Case::new(name, topples(self.key(k)), share, tolerance).scaled(100.0)
        });
        let text = "somebody is refused as often as a Poisson number and one exceeds c + K";
        Law::new(text, "% of the ends", OF_A_WINDOW)
            .within("4 %, since the slots become free while the last of a herd arrive; and what 4 ms more for each value make of it")
            .near(cases)
    }

    fn one_each(&self) -> Claim {
        let cases = self.ones.iter().map(|k| {
            let herd = k.every(|t| per(t, gauges::HERD, gauges::ENDS));
            Case::exact(k.series(), 1.0, herd)
        });
        let text =
            "behind a lock, by moka or with old values meanwhile it makes one, at each single end";
        Law::new(text, "requests", self.unless_late()).near(cases)
    }

    /// Counts that change only if somebody gives up.
    fn unless_late(&self) -> Disturbed {
        Disturbed::Beyond(Resource::Timers, self.p.timeout.s() - 2.0 * self.p.service.s())
    }

    fn cycles(&self) -> Claim {
        Quantity::gauge("s", seconds, gauges::CYCLE_MEAN_S)
            .theory(|_| Some(self.p.key(self.p.rate).cycle()))
            .within(Within::Absolute(LATE_S), WHY_LATE)
            .disturbed(Disturbed::Longer(Resource::Timers))
            .near(
                "the upstream then gets a request every L + s + 1/λ",
                |k| k.series().into(),
                &self.ones,
            )
    }

    fn without(&self) -> Claim {
        Quantity::new("% of the requests", percent, unserved)
            .scaled(100.0)
            .theory(|_| Some(self.p.key(self.p.rate).unserved()))
            .within(Within::Share(self.late_share()), WHY_LATE)
            .disturbed(OF_A_WINDOW)
            .near(
                "as many wait behind a lock as get an old value meanwhile: (1 + λ·s)/(1 + λ·(L + s))",
                |k| k.series().into(),
                &self.ones,
            )
    }

    fn waits(&self) -> Claim {
        let wait = self.ones.iter().filter(|k| k.series() != "stale");
        Quantity::gauge("s", seconds, gauges::WAIT_MEAN_S)
            .theory(|_| Some(self.p.key(self.p.rate).wait()))
            .within(Within::Absolute(LATE_S), WHY_LATE)
            .disturbed(Disturbed::Mean(Resource::Timers))
            .near(
                "those who wait behind a lock wait for the rest of s, on average s·(1 + λ·s/2)/(1 + λ·s)",
                |k| k.series().into(),
                wait,
            )
    }

    /// A count that is nought unless an answer comes very late.
    fn never(&self, text: &str, gauge: Gauge, ways: &[&str]) -> Claim {
        let all = self.none.iter().chain(&self.ones).chain(&self.early);
        let meant = all.filter(|k| ways.contains(&k.series()));
        let cases = meant.map(|k| Case::exact(k.to_string(), 0.0, k.every(|t| t.gauge(gauge))));
        let spare = self.p.grace.s().min(self.p.timeout.s()) - 2.0 * self.p.service.s();
        Law::new(text, "requests", Disturbed::Beyond(Resource::Timers, spare)).near(cases)
    }

    fn oldest(&self) -> Claim {
        let bound = self.p.ttl.s() + self.p.grace.s();
        let stale = self.one("stale").map(|k| {
            let oldest = k.every(|t| t.gauge(gauges::OLDEST_S));
            Case::exact(k.series(), bound, oldest)
        });
        let text = "no old value is handed out that is older than it may be, L and the grace";
        Law::counted(text, "s").at_most(stale)
    }

    fn early_requests(&self) -> Claim {
        Quantity::new("requests", number, herd)
            .theory(|k| Some(self.p.early(k.x()).requests()))
            .within(Within::Share(self.late_share()), WHY_LATE)
            .disturbed(OF_A_WINDOW)
            .near(
                "early by chance, the end of a value makes 1 + E[λκ·e^(−u/κ)·(e^(s/κ) − 1)] requests (e^(1/β) for many), with κ = β·s",
                |k| format!("β = {}", k.x()),
                &self.early,
            )
    }

    fn early_ahead(&self) -> Claim {
        let ahead = |k: &Condition, later: f64| {
            let early = self.p.early(k.x());
            let key = HotKey { service: early.key.service + later, ..early.key };
            Early { key, ..early }.ahead()
        };
        let cases = self.early.iter().map(|k| {
            let (predicted, later) = (ahead(k, 0.0), ahead(k, LATE_S));
            let measured = k.gauge(gauges::AHEAD_MEAN_S);
            let tolerance = later - predicted + 0.03 * predicted;
            Case::new(format!("β = {}", k.x()), predicted, measured, tolerance)
        });
        let text = "and the first one asks ∫(1 − exp(−λκ·e^(−u/κ))) du before the end (κ·(ln λκ + γ) for many)";
        Law::new(text, "s", OF_A_WINDOW)
            .within("what 4 ms more for each value make of it, and 3 %: a window sees more of short lives")
            .near(cases)
    }

    /// Keys of one age.
    fn of_one_age(&self) -> [Claim; 2] {
        let all = self.p.same_age();
        let jitter = self.p.jitter.s();
        // Followed in virtual time from the end of the first values on.
        let window = Rush::new(self.p, false).window.saturating_sub(LEAD).as_secs_f64();
        let (at_once, last) = all.rushes(|_| 0.0, window);
        let (spread, _) = all.rushes(|rng| jitter * rng.random::<f64>(), window);
        let refused = [(&self.together, at_once), (&self.jittered, spread)];
        let cases = refused.into_iter().filter_map(|(k, predicted)| {
            let k = k.as_ref()?;
            let tolerance = 0.05 + self.late_share() * predicted;
            Some(Case::new(k.series(), predicted, refused_per_key(k), tolerance))
        });
        let of_key = "keys that end together are refused, and keys that end spread over j hardly, as often as in virtual time";
        let recovers = self.together.iter().map(|k| {
            let measured = k.gauge(gauges::RECOVERY_S);
            Case::new(k.series(), last, measured, 1.5 / self.p.key_rate)
        });
        [
            Law::new(of_key, "refusals a key", OF_A_WINDOW)
                .within("a twentieth of a request, and 4 ms for each time that a value is computed")
                .near(cases),
            Law::new("they are all there again when the slots have served them, k·s/c, and the last ones were asked for", "s", Disturbed::Longer(Resource::Timers))
                .within("a gap and a half between requests for a key: the last ones wait until somebody asks for them")
                .near(recovers),
        ]
    }

    /// Hits, by policy.
    fn hit_rates(&self) -> [Claim; 3] {
        let of = |k: &Condition| self.p.entries(k.x());
        let all = |wanted: [Policy; 1]| {
            let policies = self.held.iter().filter(move |(policy, _)| wanted.contains(policy));
            policies.flat_map(|(_, conditions)| conditions)
        };
        let name = |k: &Condition| format!("{}, {} %", k.series(), number(k.x()));
        let case = |k: &Condition, theory: f64, tolerance: f64| {
            Case::new(name(k), theory, hits(k), tolerance).scaled(100.0)
        };
        let lru = all([Policy::Lru]).chain(all([Policy::MokaLru]));
        let near = lru.map(|k| case(k, self.zipf.lru(of(k)), 0.01));
        let best = all([Policy::TinyLfu]).map(|k| case(k, self.zipf.best(of(k)) + 0.005, 0.0));
        let better = all([Policy::TinyLfu]).map(|k| case(k, self.zipf.lru(of(k)), 0.0));
        let text = "least recently used hits as Che's approximation says, in ten lines and by moka";
        [
            Law::counted(text, "%")
                .within("1 % of the requests: the approximation is for many keys and a large cache")
                .near(near),
            Law::counted("moka's own policy hits more than that", "%").at_least(better),
            Law::counted(
                "and no more than the most popular keys are asked for, and half a percent",
                "%",
            )
            .at_most(best),
        ]
    }
}

/// Tables and answers.
impl View<'_> {
    fn ways(&self) -> Option<Table> {
        let base = self.none.iter().filter(|k| k.x() == self.p.rate);
        let all: Vec<&Condition> = base.chain(&self.ones).chain(&self.early).collect();
        let name = |k: &&Condition| match k.series() {
            "early" => format!("early, β = {}, {}/s", k.x(), number(self.p.early_rate)),
            series => format!("{series}, {}/s", number(k.x())),
        };
        let theory = |k: &&Condition| match k.series() {
            "none" => number(self.key(k).herd()),
            "early" => number(self.p.early(k.x()).requests()),
            _ => "1".into(),
        };
        Table::of("What the end of a hot key makes", all)
            .column("way", name)
            .cells("requests at the upstream", number, |k| herd(k))
            .column("theory", theory)
            .cells("refused", percent, |k| refused(k))
            .cells("waited", percent, |k| k.estimate(|t| per(t, gauges::WAITED, gauges::ASKED)))
            .cells("how long", seconds, |k| k.gauge(gauges::WAIT_MEAN_S))
            .cells("got an old value", percent, |k| {
                k.estimate(|t| per(t, gauges::OLD, gauges::ASKED))
            })
            .cells("oldest", seconds, |k| k.gauge(gauges::OLDEST_S))
            .cells("asked before the end", seconds, |k| k.gauge(gauges::AHEAD_MEAN_S))
            .note(format!(
                "{} to compute, kept for {}. Refused: of the requests at the upstream, of which {} find room. Waited and old: of the users' requests.",
                self.p.service,
                self.p.ttl,
                self.p.room()
            ))
            .unless_empty()
    }

    fn held_table(&self) -> Option<Table> {
        let of = |policy: Policy, x: f64| {
            let found = self.held.iter().find(|(p, _)| *p == policy);
            found?.1.iter().find(|k| k.x() == x).and_then(hits)
        };
        let sizes: Vec<f64> = self.p.sizes.clone();
        let entries = |x: &f64| self.p.entries(*x);
        Table::of(
            format!("What a cache answers of {} keys, Zipf {}", self.p.items, self.p.zipf),
            sizes,
        )
        .column("size", |x| format!("{} %", number(*x)))
        .column("entries", |x| entries(x).to_string())
        .cells("least recently used", percent, |x| of(Policy::Lru, *x))
        .column("Che", |x| percent(self.zipf.lru(entries(x))))
        .cells("moka, the same", percent, |x| of(Policy::MokaLru, *x))
        .cells("moka, TinyLFU", percent, |x| of(Policy::TinyLfu, *x))
        .column("best possible", |x| percent(self.zipf.best(entries(x))))
        .done()
        .unless_empty()
    }

    fn answers(&self) -> Vec<Answer> {
        let base = self.base();
        let early = self.early.last();
        let least = self.held[0].1.first();
        let rate = base.map_or(self.p.rate, Condition::x);
        let hit = least.map_or(f64::NAN, |k| self.zipf.lru(self.p.entries(k.x())));
        vec![
            Answer::near("herd", base.and_then(herd), self.p.key(rate).herd()),
            Answer::near(
                "early",
                early.and_then(herd),
                early.map_or(f64::NAN, |k| self.p.early(k.x()).requests()),
            ),
            Answer::near("hits", least.and_then(hits), hit).scaled(100.0),
        ]
    }
}
