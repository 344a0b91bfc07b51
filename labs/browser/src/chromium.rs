use std::env;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;

use anyhow::{Context, Result};
use serde_json::json;
use tempfile::TempDir;
use tokio::process::Child;
use tokio::time::timeout;

use crate::Tab;
use crate::protocol::{PATIENCE, Protocol};

/// No window, nothing of its own on the network or on the screen, every page awake although nobody sees
/// it. Chromium refuses its sandbox to root, and containers seldom have what it needs.
const FLAGS: [&str; 17] = [
    "--headless",
    "--remote-debugging-port=0",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-background-timer-throttling",
    "--disable-backgrounding-occluded-windows",
    "--disable-renderer-backgrounding",
    "--disable-breakpad",
    "--disable-component-update",
    "--disable-default-apps",
    "--disable-extensions",
    "--disable-sync",
    "--hide-scrollbars",
    "--mute-audio",
    "--no-first-run",
];

/// A colour scheme that a reader prefers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// Dark on light.
    Light,
    /// Light on dark.
    Dark,
}

impl Scheme {
    /// Its name in media queries.
    pub fn name(self) -> &'static str {
        match self {
            Scheme::Light => "light",
            Scheme::Dark => "dark",
        }
    }
}

/// How wide a window is, in CSS pixels, and what its reader prefers.
#[derive(Clone, Copy, Debug)]
pub struct Look {
    /// Its width.
    pub width: u32,
    /// The scheme.
    pub scheme: Scheme,
}

impl Look {
    /// That width and that scheme.
    pub const fn new(width: u32, scheme: Scheme) -> Look {
        Look { width, scheme }
    }
}

/// A browser without a window, with a fresh profile. It ends when this is dropped.
pub struct Chromium {
    protocol: Arc<Protocol>,
    process: Child,
    _profile: TempDir,
}

impl Chromium {
    /// Starts it; `None`, and says so, when there is none on this machine.
    ///
    /// # Errors
    /// A browser that does not start.
    pub async fn start() -> Result<Option<Chromium>> {
        let Some(program) = find() else {
            println!("skipped: there is no Chromium on the path, nor named by CHROMIUM");
            return Ok(None);
        };
        let profile = tempfile::tempdir()?;
        let mut command = tokio::process::Command::new(program);
        command
            .args(FLAGS)
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true);
        let process = command.spawn().context("starting Chromium")?;
        let protocol = Protocol::connect(profile.path()).await?;
        Ok(Some(Chromium { protocol: Arc::new(protocol), process, _profile: profile }))
    }

    /// An empty page with this look.
    ///
    /// # Errors
    /// What the browser says.
    pub async fn tab(&self, look: Look) -> Result<Tab> {
        Tab::new(self.protocol.clone(), look).await
    }

    /// Ends it and waits for that.
    ///
    /// # Errors
    /// What the browser says.
    pub async fn end(mut self) -> Result<()> {
        self.protocol.call(None, "Browser.close", json!({})).await?;
        timeout(PATIENCE, self.process.wait()).await.context("the browser does not end")??;
        Ok(())
    }
}

/// The browser's program.
fn find() -> Option<PathBuf> {
    let works = |program: &PathBuf| {
        let asked = Command::new(program).arg("--version").output();
        asked.is_ok_and(|answer| answer.status.success())
    };
    if let Some(named) = env::var_os("CHROMIUM").filter(|named| !named.is_empty()) {
        return Some(PathBuf::from(named)).filter(works);
    }
    let folders: Vec<PathBuf> = env::split_paths(&env::var_os("PATH")?).collect();
    ["chromium", "chromium-browser", "google-chrome", "chrome"]
        .iter()
        .flat_map(|name| folders.iter().map(move |folder| folder.join(name)))
        .find(|program| program.is_file() && works(program))
}
