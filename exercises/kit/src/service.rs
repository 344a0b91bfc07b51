use std::{fmt, sync::Arc, time::Duration};

use http_body_util::{BodyExt, Full};
use hyper::{Method, Request, body::Bytes, header::RETRY_AFTER};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};

use crate::harness::Span;

/// A service that can be asked, with a pool of connections of its own. Clones share the pool.
#[derive(Clone, Debug)]
pub struct Service {
    client: Client<HttpConnector, Full<Bytes>>,
    base: Arc<str>,
}

/// What the service said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// 200 when all is well, 503 when it is busy, 429 when it was asked too often, another 5xx when it failed.
    pub status: u16,
    /// The content; empty unless the status is 200.
    pub body: String,
    /// How long the service asks not to be asked again.
    pub retry_after: Option<Duration>,
}

impl Answer {
    /// Whether the status is 200.
    #[must_use]
    pub fn is_ok(&self) -> bool {
        self.status == 200
    }
}

/// No answer came.
#[derive(Debug)]
pub struct Failure(String);

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Failure {}

impl Service {
    pub(crate) fn new(base: &str) -> Service {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        let client = Client::builder(TokioExecutor::new()).build(connector);
        Service { client, base: base.into() }
    }

    /// Asks for a path, as in `/item/7`, and waits for the whole answer. Dropping the future gives up the wait;
    /// the service goes on working all the same.
    ///
    /// # Errors
    /// When no whole answer comes. An answer that says no is an [`Answer`].
    pub async fn get(&self, path: &str) -> Result<Answer, Failure> {
        self.ask(Method::GET, path, Bytes::new()).await
    }

    /// Hands content to a path, as in `/store/7`, and waits for the whole answer.
    ///
    /// # Errors
    /// When no whole answer comes.
    pub async fn put(&self, path: &str, content: impl Into<Bytes>) -> Result<Answer, Failure> {
        self.ask(Method::PUT, path, content.into()).await
    }

    async fn ask(&self, method: Method, path: &str, content: Bytes) -> Result<Answer, Failure> {
        let _span = Span::new("asks", "answered", path);
        let request = Request::builder().method(method).uri(format!("{}{path}", self.base));
        let request = request
            .body(Full::new(content))
            .map_err(|error| Failure(format!("`{path}` is no path: {error}")))?;
        let gone = |error: &dyn fmt::Display| Failure(format!("no answer: {error}"));
        let response = self.client.request(request).await.map_err(|e| gone(&e))?;
        let status = response.status().as_u16();
        let retry_after = response
            .headers()
            .get(RETRY_AFTER)
            .and_then(|value| value.to_str().ok()?.parse().ok())
            .map(Duration::from_secs);
        let body = response.into_body().collect().await.map_err(|e| gone(&e))?.to_bytes();
        let body = String::from_utf8_lossy(&body).into_owned();
        Ok(Answer { status, body, retry_after })
    }
}
