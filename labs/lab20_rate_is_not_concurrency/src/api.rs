//! The service as a client sees it.

use std::sync::{Arc, Mutex};

use lab_kit::prelude::*;
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;
use reqwest::{Client, Response, StatusCode};
use tokio::time::sleep;

/// What a client knows of the service.
#[derive(Clone)]
pub(super) struct Api {
    client: Client,
    url: Arc<str>,
    chance: Arc<Mutex<Pcg64Mcg>>,
}

/// What became of an attempt, or after a refusal (429), how long to wait before the next.
pub(super) struct Answer(Result<Outcome, Duration>);

impl Answer {
    pub(super) fn is_refused(&self) -> bool {
        self.0.is_err()
    }

    /// What became of the request; `None` when it has to be sent again, which it is time to do.
    pub(super) async fn settled(self) -> Option<Outcome> {
        match self.0 {
            Ok(outcome) => Some(outcome),
            Err(wait) => {
                sleep(wait).await;
                None
            }
        }
    }
}

impl Api {
    /// `seed` is that of the pauses.
    pub(super) fn new(client: Client, url: String, seed: u64) -> Api {
        let chance = Arc::new(Mutex::new(Pcg64Mcg::seed_from_u64(seed)));
        Api { client, url: url.into(), chance }
    }

    /// Asks once.
    pub(super) async fn ask(&self) -> Answer {
        let answer = match self.client.get(&*self.url).send().await {
            Ok(answer) => answer,
            Err(error) => return Answer(Ok(Outcome::of_error(&error.into()))),
        };
        match asked_to_wait(&answer) {
            Some(wait) => {
                // Read to its end, or its connection could not be used again.
                let _ = http::body(answer).await;
                Answer(Err(wait.mul_f64(0.5 + self.random())))
            }
            None => Answer(Ok(Outcome::of(http::expected(answer).await))),
        }
    }

    /// Half to one and a half of what the service says, so that those refused together do not come back together.
    fn random(&self) -> f64 {
        self.chance.lock().expect("nobody panics holding it").random()
    }
}

/// What a 429 asks for: in milliseconds, or where the service does not say these, in whole seconds.
fn asked_to_wait(answer: &Response) -> Option<Duration> {
    if answer.status() != StatusCode::TOO_MANY_REQUESTS {
        return None;
    }
    let number = |name: &str| answer.headers().get(name)?.to_str().ok()?.parse::<u32>().ok();
    let ms = number("retry-after-ms").map(|ms| Duration::from_millis(ms.into()));
    let seconds = || number("retry-after").map(|s| Duration::from_secs(s.into()));
    Some(ms.or_else(seconds).unwrap_or(Duration::from_secs(1)))
}
