//! The rate that adapts: it grows steadily, and a refusal cuts it (Chiu and Jain 1989).

use std::sync::{Arc, Mutex as Cell};

use lab_kit::prelude::*;
use tokio::{sync::Mutex, time::sleep_until};

use super::api::Api;

/// So many a second as the service has let through so far.
pub(super) async fn adaptive(rate: Arc<Adaptive>, api: Api) -> Outcome {
    loop {
        rate.take().await;
        let sent = Instant::now();
        let answer = api.ask().await;
        if answer.is_refused() {
            rate.refused(sent);
        }
        if let Some(outcome) = answer.settled().await {
            return outcome;
        }
    }
}

/// A pace that follows what is refused.
pub(super) struct Adaptive {
    /// What it gains, per second and second.
    gain: f64,
    /// What a refusal leaves of it.
    back: f64,
    /// What it is, and when it was cut last.
    rate: Cell<(f64, Instant)>,
    next: Mutex<Instant>,
}

impl Adaptive {
    pub(super) fn new(start: f64, gain: f64, back: f64) -> Adaptive {
        Adaptive {
            gain,
            back,
            rate: Cell::new((start, Instant::now())),
            next: Mutex::new(Instant::now()),
        }
    }

    /// Waits until it is time for one more.
    pub(super) async fn take(&self) {
        let mut next = self.next.lock().await;
        sleep_until((*next).into()).await;
        *next += self.gap();
    }

    /// The time to the one after; the rate has grown by then.
    fn gap(&self) -> Duration {
        let mut rate = self.rate.lock().expect("nobody panics holding it");
        let gap = 1.0 / rate.0;
        rate.0 += self.gain * gap;
        Duration::from_secs_f64(gap)
    }

    /// Less, from now on, unless the request was sent before the last cut: of that the service did not yet know.
    pub(super) fn refused(&self, sent: Instant) {
        let mut rate = self.rate.lock().expect("nobody panics holding it");
        if sent >= rate.1 {
            *rate = (rate.0 * self.back, Instant::now());
        }
    }
}
