//! Who fetches: an event loop with connections to the service.

use futures_util::{Stream, TryStreamExt};
use lab_kit::prelude::*;
use tokio::runtime::{Builder, Runtime};

use super::Job;

impl Job {
    /// An upstream that never lets a request wait.
    pub(super) fn upstream(&self, clients: usize) -> Spec {
        let times = (1..=self.cycle as u32).map(|times| self.fetch * times);
        Spec::new(clients, ServiceTime::Trace(times.collect()))
    }

    /// The service that is such an upstream.
    pub(super) fn service(&self, r: &Recorder, clients: usize) -> Result<Service> {
        event_loop()?.block_on(r.upstream(self.upstream(clients)))
    }
}

pub(super) fn event_loop() -> Result<Runtime> {
    Ok(Builder::new_current_thread().enable_all().build()?)
}

/// An event loop, and connections that are open on it before the clock starts.
pub(super) struct Desk {
    runtime: Runtime,
    client: reqwest::Client,
    url: String,
}

impl Desk {
    pub(super) fn open(r: &Recorder, service: &Service, connections: usize) -> Result<Desk> {
        let (runtime, client) = (event_loop()?, http::client());
        runtime.block_on(r.connect(&client, service, connections))?;
        let url = service.url();
        Ok(Desk { runtime, client, url })
    }

    pub(super) async fn fetch(&self) -> Result<Bytes> {
        Ok(http::expected(self.client.get(&self.url).send().await?).await?)
    }

    /// Fetches and waits for the answer, with nothing else to do.
    pub(super) fn fetch_alone(&self) -> Result<Bytes> {
        self.runtime.block_on(self.fetch())
    }

    /// Runs all of it on this event loop, or as much as there is before the first failure.
    pub(super) fn run(&self, all: impl Stream<Item = Result<()>>) -> Result<()> {
        self.runtime.block_on(all.try_collect())
    }
}
