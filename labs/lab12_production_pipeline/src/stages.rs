//! The stages of the pipeline, one by one, and what they need.

use std::future::pending;

use lab_kit::prelude::*;
use lab_parts::client::{Client, FetchError, Kind, Request, Retries};
use rayon::{ThreadPool, ThreadPoolBuilder};
use tokio::{sync::Semaphore, time::sleep};

use super::{
    Hangs, Line, Params,
    log::Log,
    store::{Store, StoreError},
};

/// What all runs share.
pub(super) struct Tools {
    pub(super) kernel: Kernel,
    pub(super) pool: ThreadPool,
}

impl Tools {
    pub(super) fn new(p: &Params) -> Result<Tools> {
        let pool = ThreadPoolBuilder::new()
            .num_threads(p.workers)
            .thread_name(|i| format!("worker {}", i + 1));
        Ok(Tools { kernel: Kernel::calibrate(), pool: pool.build()? })
    }
}

impl<'a> Line<'a> {
    pub(super) fn new(
        p: &'a Params,
        tools: &'a Tools,
        url: String,
        store: Store,
        log: Log,
    ) -> Result<Self> {
        let http = http::builder().build()?;
        let retries = p.attempts as u32 - 1;
        let client = Client::builder()
            .pool(http.clone())
            .concurrency(p.batch)
            .attempt_timeout(p.fetch_timeout.duration())
            .deadline(p.fetch_timeout.duration() * 2 * p.attempts as u32)
            .retries(Retries::up_to(retries, p.backoff()))
            .seed(log.seed());
        Ok(Line {
            p,
            tools,
            client: client.build()?,
            http,
            url,
            store,
            connections: Semaphore::new(p.connections),
            hangs: Hangs::Before,
            careful: true,
            log,
        })
    }

    pub(super) async fn fail(&self, item: usize, reason: String) -> Result<(), StoreError> {
        self.store.fail(item, reason.clone()).await?;
        self.log.failed(item, reason);
        Ok(())
    }

    /// Waiting: on the event loop, with the client of lab05. Its timeout is an attempt's.
    pub(super) async fn fetch(&self, item: usize) -> Result<Bytes, String> {
        let begun = Instant::now();
        let url = format!("{}/items/{item}", self.url);
        let answer = self.client.fetch(Request::get(url)).await;
        self.log.span("fetch", item, begun, Instant::now());
        let body = answer.map_err(|error| reason(&error))?;
        if body != mock_server::BODY {
            return Err("the answer is not that of this lab's upstream".into());
        }
        Ok(body)
    }

    /// Half of the way to a database elsewhere and back: a hanging one never ends.
    pub(super) async fn round_trip(&self, item: usize, half: Hangs) {
        if self.p.hangs(item) && half == self.hangs {
            pending::<()>().await;
        }
        if half == Hangs::Before {
            sleep(self.p.store.duration()).await;
        }
    }
}

/// Without address and times: reasons are counted.
fn reason(error: &FetchError) -> String {
    let why = match error.kind {
        Kind::Timeout => "no answer in time".into(),
        Kind::Connect => "no connection".into(),
        Kind::Broken => "the connection broke".into(),
        Kind::Status(code) => format!("status {code}"),
        other => format!("{other:?}"),
    };
    format!("{why} ({} attempts)", error.attempts)
}

/// FNV-1a, in hexadecimal.
pub(super) fn digest(body: &[u8]) -> String {
    let hash = body.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    });
    format!("{hash:016x}")
}
