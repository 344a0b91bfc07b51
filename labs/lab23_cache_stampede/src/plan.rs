//! What is measured, and what it needs.

use lab_kit::{
    accounts::Fate,
    host,
    prelude::*,
    theory::{
        Burst,
        cache::{Early, HotKey, MAX_KEYS, SameAge, Zipf},
    },
};

use super::{
    findings,
    held::{self, Policy},
    hot::{self, Hot, Way},
    premise,
    rush::{self, Rush},
};

/// The constants of the experiment.
#[derive(Args, Clone, Debug, Serialize, Deserialize)]
pub struct Params {
    /// How often the key is asked for, per second: λ
    #[arg(long, default_value_t = 200.0, value_parser = rate)]
    pub rate: f64,
    /// Rates at which every miss asks, with commas
    #[arg(long, value_delimiter = ',', value_parser = rate, default_value = "50,100,200,400")]
    pub rates: Vec<f64>,
    /// How long the upstream computes a value: s
    #[arg(long, default_value = "50ms")]
    pub service: Time,
    /// How long a value is kept: L
    #[arg(long, default_value = "300ms")]
    pub ttl: Time,
    /// Service slots that the upstream has left: c
    #[arg(long, default_value_t = 9, value_parser = level)]
    pub slots: usize,
    /// Requests that may wait for a slot; others are refused: K
    #[arg(long, default_value_t = 0, value_parser = places)]
    pub places: usize,
    /// How long a client waits for the upstream: T
    #[arg(long, default_value = "2s")]
    pub timeout: Time,
    /// How eager requests refresh early: β, with commas
    #[arg(long, value_delimiter = ',', value_parser = beta, default_value = "0.5,1,1.5")]
    pub betas: Vec<f64>,
    /// How often the keys are asked for that are refreshed early, per second
    #[arg(long, default_value_t = 50.0, value_parser = rate)]
    pub early_rate: f64,
    /// How long after its end an old value may be served meanwhile
    #[arg(long, default_value = "300ms")]
    pub grace: Time,
    /// How long keys are asked for
    #[arg(long, default_value = "2500ms")]
    pub window: Time,
    /// Ends of values that are watched in a trial, about: there are as many keys side by side as that takes
    #[arg(long, default_value_t = 40, value_parser = expiries)]
    pub expiries: usize,
    /// Keys of one age
    #[arg(long, default_value_t = 90, value_parser = same_age)]
    pub keys: usize,
    /// How often each of these is asked for, per second
    #[arg(long, default_value_t = 10.0, value_parser = rate)]
    pub key_rate: f64,
    /// Over how long jitter spreads the ends of their lives
    #[arg(long, default_value = "1500ms")]
    pub jitter: Time,
    /// Keys of unequal popularity
    #[arg(long, default_value_t = 10_000, value_parser = items)]
    pub items: usize,
    /// Exponent of their popularity (Zipf): α
    #[arg(long, default_value_t = 0.9, value_parser = exponent)]
    pub zipf: f64,
    /// Sizes of the cache in percent of these keys, with commas
    #[arg(long, value_delimiter = ',', value_parser = share, default_value = "1,3,10,30")]
    pub sizes: Vec<f64>,
    /// Requests that are counted for a hit rate
    #[arg(long, default_value_t = 80_000, value_parser = counted)]
    pub counted: usize,
}

fn rate(text: &str) -> Result<f64, String> {
    within(text, 1.0..=5000.0, "a rate from 1 to 5000 a second")
}

fn places(text: &str) -> Result<usize, String> {
    whole(text, 0..=2000)
}

fn beta(text: &str) -> Result<f64, String> {
    within(text, 0.05..=10.0, "a number from 0.05 to 10")
}

fn expiries(text: &str) -> Result<usize, String> {
    whole(text, 1..=1000)
}

fn same_age(text: &str) -> Result<usize, String> {
    whole(text, 1..=2000)
}

fn items(text: &str) -> Result<usize, String> {
    whole(text, 10..=100_000)
}

fn exponent(text: &str) -> Result<f64, String> {
    within(text, 0.0..=3.0, "an exponent from 0 to 3")
}

fn share(text: &str) -> Result<f64, String> {
    within(text, 0.01..=99.0, "a share from 0.01 to 99 percent")
}

fn counted(text: &str) -> Result<usize, String> {
    whole(text, 1000..=5_000_000)
}

/// Most requests per second for keys, over everything that runs side by side.
const MOST_PER_S: f64 = 60_000.0;

/// A condition is several trials side by side, each with keys and random numbers of its own.
pub(super) fn parts(scale: Scale) -> usize {
    match scale {
        Scale::Smoke => 1,
        Scale::Quick | Scale::Full => 3,
    }
}

/// lab23.
pub struct CacheStampedeLab;

impl Lab for CacheStampedeLab {
    type Params = Params;

    const TAKES_TARGET: bool = false;

    const CARD: Card = Card {
        number: 23,
        name: "cache_stampede",
        title: "Cache stampede",
        question: "The hottest key expires: how many requests does the upstream get?",
        predict: &[
            Question {
                key: "herd",
                ask: "A key is asked for {rate} times a second, and computing its value takes {service}. Every miss asks the upstream. How many requests does it get each time the value expires?",
                unit: "requests",
                hint: "1 to 1000",
            },
            Question {
                key: "early",
                ask: "Another key is asked for {early-rate} times a second, and each request may ask the upstream before the value expires, by chance (XFetch, with the last of β = {betas}). How many requests does the upstream get each time?",
                unit: "requests",
                hint: "0 to 100",
            },
            Question {
                key: "hits",
                ask: "A cache of 1 % of {items} keys (or the smallest that is tried), least recently used; the popularity of the keys follows Zipf's law with the exponent {zipf}. What share of the requests does it answer?",
                unit: "%",
                hint: "0 to 100",
            },
        ],
        next: &[
            (
                "cargo run --release -p lab23 -- --service 100ms --ttl 600ms --window 5s",
                "values that take twice as long: does the herd double?",
            ),
            (
                "cargo run --release -p lab23 -- --betas 0.25,1,4 --ttl 2s --window 8s",
                "more and less eager: what does being early cost?",
            ),
            (
                "cargo run --release -p lab23 -- --zipf 0.6",
                "keys that are more alike: what is a cache of one percent worth then?",
            ),
            ("cargo run --release -- make next let_one_through", "make it: a cache that asks once"),
        ],
        sources: lab_kit::sources!["lib.rs"],
        answers: include_str!("../answers.md"),
        sizes: Sizes {
            smoke: &[
                "--rate",
                "200",
                "--rates",
                "200",
                "--service",
                "20ms",
                "--ttl",
                "80ms",
                "--grace",
                "80ms",
                "--window",
                "400ms",
                "--expiries",
                "10",
                "--betas",
                "1",
                "--keys",
                "15",
                "--jitter",
                "200ms",
                "--sizes",
                "1,10",
                "--items",
                "1000",
                "--counted",
                "5000",
            ],
            full: &["--expiries", "50", "--window", "3s", "--counted", "200000"],
            trials: (3, 6),
        },
    };

    fn check(p: &Params) -> Result<(), String> {
        let waves = (p.slots + p.places).div_ceil(p.slots) as f64;
        if p.timeout.s() < 1.2 * waves * p.service.s() {
            return Err(format!(
                "--timeout is shorter than those wait whom the upstream lets in: with --slots {} and --places {} the last one is answered after {}; lengthen --timeout to half as much again, or have fewer --places",
                p.slots,
                p.places,
                seconds(waves * p.service.s())
            ));
        }
        if p.window.s() < 2.5 * (p.ttl.s() + 2.0 * p.service.s()) {
            return Err("--window is too short to see values expire: lengthen it to some five times --ttl and --service".into());
        }
        if [p.rates.len(), p.betas.len(), p.sizes.len()].contains(&0) {
            return Err("--rates, --betas and --sizes need a value each".into());
        }
        if p.key_rate * p.service.s() > 100.0 || p.rates.iter().any(|r| r * p.service.s() > 1000.0)
        {
            return Err("more than a thousand requests would come while one is computed: a lower rate or a shorter --service".into());
        }
        let rush = Rush::new(p, false);
        if rush.window > Duration::from_secs(60) || rush.asks() > MOST_PER_S {
            return Err("keys of one age would be asked for too often or for too long: fewer --keys, or another --key-rate or --jitter".into());
        }
        let per_s = p.asks() / p.window.s();
        if per_s > MOST_PER_S {
            return Err(format!(
                "these would be {per_s:.0} requests a second for keys, more than {MOST_PER_S:.0}: lower --rate, --rates or --expiries"
            ));
        }
        Ok(())
    }

    fn needs(p: &Params, extent: &Extent) -> Needs {
        // As in `measure`: keys that are only asked for do not disturb each other.
        let extent = &Extent { one_at_a_time: false, ..*extent };
        let mut sweep = extent.sweep();
        let lasts = 0.15 + p.window.s().max(Rush::new(p, false).window.as_secs_f64());
        for _ in 0..(p.hot().len() + 2) * parts(extent.scale) {
            sweep.steady(1, lasts);
        }
        let counted = 1.5 * (p.counted * Policy::ALL.len() * p.sizes.len()) as f64;
        let held = extent.times() * counted * 6e-7;
        Needs {
            seconds: held + sweep.seconds() + extent.times() * p.asks() * 2e-6,
            memory: p.asks() * 600.0 + p.items as f64 * 200.0,
            less: "a shorter --window, fewer --expiries or fewer --counted",
            ..Needs::default()
        }
    }

    fn measure(p: &Params, session: &mut Session) -> Result<()> {
        let zipf = p.popularity();
        let mut counts = session.plan();
        for policy in Policy::ALL {
            for percent in p.sizes.iter().copied() {
                let (zipf, size, counted) = (&zipf, p.entries(percent), p.counted);
                counts.point(policy.series(), percent, move |r| {
                    r.timed(|| held::run(r, policy, zipf, size, counted))
                });
            }
        }
        counts.run()?;
        let runtime = host::runtime()?;
        // Keys that are only asked for do not disturb each other, at any scale.
        session.one_at_a_time = false;
        let timeout = p.timeout.duration();
        let parts = parts(session.scale);
        let mut sweep = session.sweep();
        for _ in 0..parts {
            for (x, hot) in p.hot() {
                let hot = hot.part(parts);
                let (series, spec) = (hot.way.series(), hot::spec(p, hot.keys));
                sweep.steady(series, x, 1, move |r| hot::run(r, spec.clone(), timeout, hot));
            }
            for spreads in [false, true] {
                let (rush, spec) = (Rush::new(p, spreads), rush::spec(p));
                let series = rush.series();
                sweep.steady(series, 0.0, 1, move |r| rush::run(r, spec.clone(), timeout, rush));
            }
        }
        runtime.block_on(sweep.run())
    }

    fn may(_p: &Params, at: &Condition) -> &'static [Fate] {
        premise::may(at)
    }

    fn premise(p: &Params, at: &Condition, trial: &Trial) -> Result<(), String> {
        premise::premise(p, at, trial)
    }

    fn explain(p: &Params, summary: &Summary) -> Findings {
        findings::explain(p, summary)
    }
}

impl Params {
    /// The conditions with hot keys, each with its place on its axis.
    pub(super) fn hot(&self) -> Vec<(f64, Hot)> {
        let herds = self.rates.iter().map(|rate| (*rate, Hot::herd(self, *rate)));
        let ones = Way::ONES.into_iter().map(|way| (self.rate, Hot::one(self, way)));
        let early = self.betas.iter().map(|beta| (*beta, Hot::early(self, *beta)));
        herds.chain(ones).chain(early).collect()
    }

    /// Requests for keys of a round, about.
    fn asks(&self) -> f64 {
        let hot: f64 = self.hot().iter().map(|(_, hot)| hot.asks()).sum();
        hot + 6.0 * Rush::new(self, false).asks()
    }

    /// How many of those who come at once are answered: `c + K`, all of them within the timeout.
    pub(super) fn room(&self) -> usize {
        let (service, timeout) = (self.service.s(), self.timeout.s());
        let n = self.slots + self.places;
        Burst { n, slots: self.slots, service, queue: Some(self.places), timeout }.successes()
    }

    /// The hot key, asked for at this rate.
    pub(super) fn key(&self, rate: f64) -> HotKey {
        HotKey { rate, service: self.service.s(), ttl: self.ttl.s() }
    }

    /// The same, refreshed early.
    pub(super) fn early(&self, beta: f64) -> Early {
        Early { key: self.key(self.early_rate), beta }
    }

    /// The keys of one age.
    pub(super) fn same_age(&self) -> SameAge {
        SameAge {
            keys: self.keys,
            rate: self.key_rate,
            service: self.service.s(),
            slots: self.slots,
            room: self.room(),
        }
    }

    /// How popular the keys are whose hits are counted.
    pub(super) fn popularity(&self) -> Zipf {
        Zipf::new(self.items.min(MAX_KEYS), self.zipf)
    }

    /// Entries of a cache of so many percent of the keys.
    pub(super) fn entries(&self, percent: f64) -> usize {
        ((self.items as f64 * percent / 100.0).round() as usize).max(1)
    }
}
