//! The browser's own protocol (Chrome DevTools Protocol 1.3): JSON in a WebSocket.
//!
//! A request has a number and gets an answer with the same number; everything else is an event. With
//! the session of a page, both are about that page. The dozen methods that the tests call are named where
//! they are used: a library with all of them is 5 MB of generated code and half of the tests' build.

use std::collections::HashMap;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_tungstenite::client_async_with_config;
use tokio_tungstenite::tungstenite::{Message, protocol::WebSocketConfig};

/// The browser may take so long for an answer.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// Where a browser writes the port and the path of its protocol, in its profile.
const PORT_FILE: &str = "DevToolsActivePort";

/// What is on its way.
#[derive(Default)]
struct Under {
    waiting: HashMap<u64, oneshot::Sender<Value>>,
    /// What the consoles of pages said that they should not have, by session.
    complaints: HashMap<String, Vec<String>>,
}

/// A connection to a browser.
pub(crate) struct Protocol {
    numbers: AtomicU64,
    out: mpsc::UnboundedSender<Message>,
    under: Arc<Mutex<Under>>,
    pump: JoinHandle<()>,
}

impl Protocol {
    /// Connects to the browser with this profile, as soon as it listens.
    pub(crate) async fn connect(profile: &Path) -> Result<Protocol> {
        let listening = async {
            loop {
                let told = std::fs::read_to_string(profile.join(PORT_FILE)).unwrap_or_default();
                if let Some((port, path)) = told.split_once('\n')
                    && let Ok(port) = port.parse::<u16>()
                {
                    return (port, path.trim().to_owned());
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let (port, path) = timeout(PATIENCE, listening)
            .await
            .context("the browser does not say where it listens")?;
        let stream = TcpStream::connect(("127.0.0.1", port)).await?;
        // Of a browser that we started: a long page's picture may be large.
        let any_size = WebSocketConfig::default().max_message_size(None).max_frame_size(None);
        let url = format!("ws://127.0.0.1:{port}{path}");
        let (socket, _) = client_async_with_config(url, stream, Some(any_size))
            .await
            .context("speaking to the browser")?;

        let (mut write, mut read) = socket.split();
        let (out, mut outbox) = mpsc::unbounded_channel();
        let under = Arc::new(Mutex::new(Under::default()));
        let theirs = under.clone();
        let pump = tokio::spawn(async move {
            let writing = async {
                while let Some(message) = outbox.recv().await {
                    if write.send(message).await.is_err() {
                        break;
                    }
                }
            };
            let reading = async {
                while let Some(Ok(message)) = read.next().await {
                    if let Message::Text(text) = message
                        && let Ok(heard) = serde_json::from_str(&text)
                    {
                        locked(&theirs).hear(heard);
                    }
                }
            };
            tokio::select! { () = writing => {}, () = reading => {} }
            // Nobody answers those any more.
            locked(&theirs).waiting.clear();
        });
        Ok(Protocol { numbers: AtomicU64::new(1), out, under, pump })
    }

    /// Calls a method, of a page or of the browser itself, and waits for its result.
    pub(crate) async fn call(
        &self,
        session: Option<&str>,
        method: &str,
        params: Value,
    ) -> Result<Value> {
        let id = self.numbers.fetch_add(1, Ordering::Relaxed);
        let mut request = json!({"id": id, "method": method, "params": params});
        if let Some(session) = session {
            request["sessionId"] = session.into();
        }
        let (answer, answered) = oneshot::channel();
        locked(&self.under).waiting.insert(id, answer);
        let sent = self.out.send(Message::text(request.to_string()));
        sent.ok().context("the browser has gone")?;
        let answer = timeout(PATIENCE, answered)
            .await
            .with_context(|| format!("no answer to {method}"))?
            .with_context(|| format!("the browser went before it answered {method}"))?;
        if let Some(error) = answer.get("error") {
            bail!("{method}: {error}");
        }
        Ok(answer["result"].clone())
    }

    /// What the console of a page has said so far that it should not have.
    pub(crate) fn complaints(&self, session: &str) -> Vec<String> {
        let under = locked(&self.under);
        under.complaints.get(session).cloned().unwrap_or_default()
    }
}

impl Drop for Protocol {
    fn drop(&mut self) {
        self.pump.abort();
    }
}

impl Under {
    fn hear(&mut self, message: Value) {
        if let Some(id) = message["id"].as_u64() {
            if let Some(waiting) = self.waiting.remove(&id) {
                // Whoever gave up needs no answer.
                let _ = waiting.send(message);
            }
        } else if let Some(session) = message["sessionId"].as_str()
            && let Some(what) = complaint(&message)
        {
            let all = self.complaints.entry(session.into()).or_default();
            all.push(what);
        }
    }
}

/// Errors and warnings of the console, exceptions, and what the browser refused.
fn complaint(event: &Value) -> Option<String> {
    let params = &event["params"];
    let is_bad = |level: &Value| matches!(level.as_str(), Some("error" | "warning" | "assert"));
    match event["method"].as_str()? {
        "Runtime.consoleAPICalled" if is_bad(&params["type"]) => Some(params["args"].to_string()),
        "Runtime.exceptionThrown" => Some(params["exceptionDetails"].to_string()),
        "Log.entryAdded" if is_bad(&params["entry"]["level"]) => {
            let entry = &params["entry"];
            Some(format!("{} {}", entry["text"], entry["url"]))
        }
        _ => None,
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
