//! The ways in which saturated clients are held back, a condition each.

use std::{num::NonZeroU32, sync::Arc};

use governor::RateLimiter;
use lab_kit::prelude::*;
use mock_server::Quota;
use tokio::sync::Semaphore;

use super::{
    Bucket, Window, a_second, a_window,
    adaptive::{Adaptive, adaptive},
    at_a_time, at_once, by_governor, permit_first,
    plan::Params,
    token_first,
    world::{World, saturated},
};

/// What holds clients back.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Held {
    Semaphore(usize),
    Nothing,
    Window,
    Leaky,
    Bucket,
    Governor,
    Adaptive,
    TokenFirst,
    PermitFirst,
}

impl Held {
    /// All of them, with semaphores of these numbers of permits.
    pub(super) fn all(limits: &[usize]) -> Vec<Held> {
        use Held::*;
        let others = [Nothing, Window, Leaky, Bucket, Governor, Adaptive, TokenFirst, PermitFirst];
        limits.iter().map(|m| Semaphore(*m)).chain(others).collect()
    }

    pub(super) fn series(self) -> &'static str {
        match self {
            Held::Semaphore(_) => "semaphore",
            Held::Nothing => "none",
            Held::Window => "window",
            Held::Leaky => "leaky",
            Held::Bucket => "bucket",
            Held::Governor => "governor",
            Held::Adaptive => "adaptive",
            Held::TokenFirst => "token first",
            Held::PermitFirst => "permit first",
        }
    }

    /// Its place on the axis.
    pub(super) fn x(self) -> f64 {
        if let Held::Semaphore(m) = self { m as f64 } else { 0.0 }
    }

    /// Requests in flight, about.
    pub(super) fn in_flight(self, p: &Params) -> usize {
        let world = World::of(p);
        let busy = (f64::from(p.quota) * p.before.s().max(p.after.s())).ceil() as usize;
        match self {
            Held::Semaphore(m) => m,
            Held::Nothing => p.crowd,
            Held::Window => world.per_window() + busy,
            Held::Leaky | Held::Bucket | Held::Governor | Held::Adaptive => {
                busy + world.client_quota().burst as usize
            }
            Held::TokenFirst | Held::PermitFirst => p.permits,
        }
    }

    /// Clients, so many that some always wait for their turn.
    pub(super) fn clients(self, p: &Params) -> usize {
        match self {
            Held::Nothing => p.crowd,
            _ => p.clients.max(2 * self.in_flight(p)),
        }
    }

    /// Runs the condition.
    pub(super) async fn run(self, r: Recorder, p: &Params) -> Result<()> {
        let (world, sizes) = (World::of(p), (self.clients(p), self.in_flight(p)));
        let (permits, gain, back) = (p.permits, p.gain, p.back);
        let bucket = move |quota| Arc::new(Bucket::of(quota));
        let both = move || (bucket(world.client_quota()), Arc::new(Semaphore::new(permits)));
        match self {
            Held::Semaphore(m) => {
                let way = || {
                    let semaphore = Arc::new(Semaphore::new(m));
                    move |api| at_a_time(semaphore.clone(), api)
                };
                saturated(r, world, sizes, way).await
            }
            Held::Nothing => saturated(r, world, sizes, || at_once).await,
            Held::Window => {
                let way = || {
                    let window = Arc::new(Window::about_to_end(world.per_window(), world.window));
                    move |api| a_window(window.clone(), api)
                };
                saturated(r, world, sizes, way).await
            }
            Held::Leaky | Held::Bucket => {
                let even = Quota { burst: 1, ..world.quota };
                let quota = if self == Held::Leaky { even } else { world.client_quota() };
                let way = || {
                    let bucket = bucket(quota);
                    move |api| a_second(bucket.clone(), api)
                };
                saturated(r, world, sizes, way).await
            }
            Held::Governor => {
                let way = || {
                    let limiter = Arc::new(RateLimiter::direct(governor_of(world.client_quota())));
                    move |api| by_governor(limiter.clone(), api)
                };
                saturated(r, world, sizes, way).await
            }
            Held::Adaptive => {
                let way = || {
                    let rate = Arc::new(Adaptive::new(2.0 * world.quota.per_s, gain, back));
                    move |api| adaptive(rate.clone(), api)
                };
                saturated(r, world, sizes, way).await
            }
            Held::TokenFirst => {
                let way = || {
                    let (bucket, semaphore) = both();
                    move |api| token_first(bucket.clone(), semaphore.clone(), api)
                };
                saturated(r, world, sizes, way).await
            }
            Held::PermitFirst => {
                let way = || {
                    let (bucket, semaphore) = both();
                    move |api| permit_first(bucket.clone(), semaphore.clone(), api)
                };
                saturated(r, world, sizes, way).await
            }
        }
    }
}

/// The same quota in the library's words, which has whole numbers.
fn governor_of(quota: Quota) -> governor::Quota {
    let whole = |n: u32| NonZeroU32::new(n).unwrap_or(NonZeroU32::MIN);
    governor::Quota::per_second(whole(quota.per_s as u32)).allow_burst(whole(quota.burst))
}

#[cfg(test)]
mod tests {
    use super::*;
    use governor::clock::FakeRelativeClock;
    use lab_kit::theory::rate;

    /// The library's limiter and the service's bucket admit the same requests of any, with governor's own examples
    /// among them: two a second are used up by two, and there is one more after half a second.
    #[test]
    fn governor_admits_what_the_bucket_admits() {
        for (per_s, burst, step_ms) in
            [(2, 2, 1_u64), (50, 5, 7), (37, 2, 13), (100, 1, 3), (1, 1, 499)]
        {
            let quota = Quota { per_s: f64::from(per_s), burst };
            let clock = FakeRelativeClock::default();
            let theirs = RateLimiter::direct_with_clock(governor_of(quota), clock.clone());
            let mut ours = rate::Bucket::new(quota);
            let mut differ = 0;
            for i in 0..2000_u64 {
                let is_in = ours.take(i * step_ms * 1_000_000).is_ok();
                differ += usize::from(is_in != theirs.check().is_ok());
                clock.advance(Duration::from_millis(step_ms));
            }
            // Both round the gap to whole nanoseconds.
            assert!(differ <= 2, "{per_s}/s, {burst} at once: {differ} of 2000 differ");
        }
    }
}
