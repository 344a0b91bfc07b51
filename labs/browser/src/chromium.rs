use std::env;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, anyhow};
use chromiumoxide::Browser;
use chromiumoxide::browser::BrowserConfig;
use futures_util::StreamExt;
use tempfile::TempDir;
use tokio::task::JoinHandle;

use crate::Tab;

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

/// A browser without a window, with a fresh profile.
pub struct Chromium {
    browser: Browser,
    pump: JoinHandle<()>,
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
        // Chromium refuses its sandbox to root, and containers seldom have what it needs.
        let config = BrowserConfig::builder()
            .chrome_executable(program)
            .no_sandbox()
            .user_data_dir(profile.path())
            .viewport(None)
            .args([
                "--disable-gpu",
                "--disable-dev-shm-usage",
                "--no-first-run",
                "--disable-background-networking",
                "--disable-component-update",
                "--disable-sync",
            ])
            .build()
            .map_err(|why| anyhow!(why))?;
        let (browser, mut handler) = Browser::launch(config).await.context("starting Chromium")?;
        let pump = tokio::spawn(async move { while handler.next().await.is_some() {} });
        Ok(Some(Chromium {
            browser,
            pump,
            _profile: profile,
        }))
    }

    /// An empty page with this look.
    ///
    /// # Errors
    /// What the browser says.
    pub async fn tab(&self, look: Look) -> Result<Tab> {
        let page = self.browser.new_page("about:blank").await?;
        Tab::new(page, look).await
    }

    /// Ends it and waits for that.
    ///
    /// # Errors
    /// What the browser says.
    pub async fn end(mut self) -> Result<()> {
        self.browser.close().await?;
        self.browser.wait().await?;
        self.pump.abort();
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
