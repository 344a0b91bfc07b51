//! How much of what is asked a cache holds: counted, without a clock.

use lab_kit::{prelude::*, theory::cache::Zipf};
use moka::{policy::EvictionPolicy, sync::Cache};
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;

use super::{Lru, gauges};

/// Which cache.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Policy {
    /// The one of the lesson.
    Lru,
    /// moka with the same policy.
    MokaLru,
    /// moka as it comes.
    TinyLfu,
}

impl Policy {
    pub(super) const ALL: [Policy; 3] = [Policy::Lru, Policy::MokaLru, Policy::TinyLfu];

    pub(super) fn series(self) -> &'static str {
        match self {
            Policy::Lru => "hits/lru",
            Policy::MokaLru => "hits/moka lru",
            Policy::TinyLfu => "hits/moka tinylfu",
        }
    }
}

/// So many requests, of which the first part only fills the cache.
pub(super) fn run(r: &Recorder, policy: Policy, zipf: &Zipf, size: usize, counted: usize) {
    let mut rng = Pcg64Mcg::seed_from_u64(r.seed());
    let keys = (0..counted + counted / 2).map(|_| zipf.key(rng.random()));
    let (hits, entries) = match policy {
        Policy::Lru => {
            let mut lru = Lru { most: size, ..Lru::default() };
            let hits = keys.map(|key| lru.get(key)).skip(counted / 2).filter(|hit| *hit).count();
            (hits, lru.asked.len() as u64)
        }
        Policy::MokaLru | Policy::TinyLfu => {
            let of = if policy == Policy::MokaLru {
                EvictionPolicy::lru()
            } else {
                EvictionPolicy::tiny_lfu()
            };
            let builder = Cache::builder().max_capacity(size as u64);
            let moka = builder.eviction_policy(of).build();
            let got = keys.map(|key| {
                let hit = moka.get(&key).is_some();
                if !hit {
                    moka.insert(key, ());
                    // Its housekeeping comes in batches: until then it holds more than it should.
                    moka.run_pending_tasks();
                }
                hit
            });
            (got.skip(counted / 2).filter(|hit| *hit).count(), moka.entry_count())
        }
    };
    r.gauge(gauges::HITS, hits as f64);
    r.gauge(gauges::COUNTED, counted as f64);
    r.gauge(gauges::ENTRIES, entries as f64);
}
