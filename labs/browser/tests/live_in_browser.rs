//! The live page in a browser, served by the real command.

use std::io::{BufRead, BufReader};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use browser_tests::{Chromium, LOOKS, Look, Scheme, Tab, axe, labs};

/// `labs serve` on a free port, killed when it is dropped.
struct Server {
    child: Child,
    url: String,
}

impl Server {
    fn start() -> Result<Option<Server>> {
        let Some(labs) = labs() else { return Ok(None) };
        let mut child = Command::new(labs)
            .args(["serve", "--port", "0"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        let out = child.stdout.take().context("no stdout")?;
        let mut url = String::new();
        BufReader::new(out).read_line(&mut url)?;
        ensure!(url.starts_with("http://127.0.0.1:"), "labs serve printed {url:?}");
        let url = url.trim().trim_end_matches('/').to_owned();
        Ok(Some(Server { child, url }))
    }

    fn page(&self, name: &str) -> String {
        format!("{}/{name}", self.url)
    }

    /// How many threads the process has; `None` where the system does not tell.
    fn threads(&self) -> Option<usize> {
        let tasks = format!("/proc/{}/task", self.child.id());
        Some(std::fs::read_dir(tasks).ok()?.count())
    }

    /// Ends it as Ctrl-C does.
    #[cfg(unix)]
    fn interrupt(mut self) -> Result<()> {
        let id = self.child.id().to_string();
        Command::new("kill").args(["-INT", &id]).status()?;
        let began = Instant::now();
        let status = loop {
            if let Some(status) = self.child.try_wait()? {
                break status;
            }
            ensure!(began.elapsed() < Duration::from_secs(20), "it goes on after Ctrl-C");
            std::thread::sleep(Duration::from_millis(50));
        };
        ensure!(status.success(), "ended with {status}");
        let address = self.url.trim_start_matches("http://");
        ensure!(TcpStream::connect(address).is_err(), "{address} still answers");
        Ok(())
    }

    #[cfg(not(unix))]
    fn interrupt(self) -> Result<()> {
        let _ = TcpStream::connect(&self.url);
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Something of the page's text.
const STATUS: &str = "document.querySelector('[role=status]').textContent";

async fn running(tab: &Tab, is: bool) -> Result<()> {
    let said = if is { "Running." } else { "Stopped." };
    tab.until(&format!("{STATUS} === '{said}'")).await
}

async fn click(tab: &Tab, what: &str) -> Result<()> {
    tab.eval::<Option<bool>>(&format!("document.querySelector('button.{what}').click()")).await?;
    Ok(())
}

#[tokio::test]
async fn every_page_holds_what_a_page_must_at_rest_and_at_work() -> Result<()> {
    let Some(server) = Server::start()? else {
        return Ok(());
    };
    let Some(browser) = Chromium::start().await? else {
        return Ok(());
    };
    let axe = axe();
    for look in LOOKS {
        let tab = browser.tab(look).await?;
        tab.open(&server.page("")).await?;
        tab.check("live", axe.as_deref()).await?;
        for name in ["trap", "heartbeat", "pipeline"] {
            tab.open(&server.page(name)).await?;
            tab.until(&format!("{STATUS}.length > 0")).await?;
            tab.check(&format!("live {name} at rest"), axe.as_deref()).await?;
            click(&tab, "start").await?;
            running(&tab, true).await?;
            // Long enough for a picture of something; whatever it shows, the page must hold.
            tokio::time::sleep(Duration::from_secs(4)).await;
            tab.check(&format!("live {name} at work"), axe.as_deref()).await?;
            ensure!(tab.unfold().await? > 0, "{name} has no fold");
            click(&tab, "stop").await?;
            running(&tab, false).await?;
        }
        tab.close().await?;
    }
    browser.end().await?;
    server.interrupt()
}

#[tokio::test]
async fn a_slider_changes_the_curve_by_keyboard_alone() -> Result<()> {
    let Some(server) = Server::start()? else {
        return Ok(());
    };
    let Some(browser) = Chromium::start().await? else {
        return Ok(());
    };
    let tab = browser.tab(Look::new(1280, Scheme::Light)).await?;
    tab.open(&server.page("trap")).await?;
    click(&tab, "start").await?;
    running(&tab, true).await?;
    let desc = "document.getElementById('trap-d').textContent";
    tab.until(&format!("/Goodput now [1-9]/.test({desc})")).await?;

    // From 10 slots to the most, 40: what the slots allow changes at once, the curve with it. The
    // browser writes down when.
    tab.eval::<Option<bool>>(
        "(() => { const s = document.getElementById('c-slots'); s.focus(); window.seen = null;
           s.addEventListener('input', () => { window.moved = performance.now(); }, { once: true });
           const said = () => document.querySelector('.chart text.capacity').textContent;
           const before = said();
           new MutationObserver(() => { if (window.seen === null && said() !== before) window.seen = performance.now(); })
             .observe(document.querySelector('.frame'), { childList: true, subtree: true }); })()",
    )
    .await?;
    tab.press("End").await?;
    tab.until("window.seen !== null").await?;
    tab.until("document.getElementById('o-slots').textContent === '40'").await?;
    let took: f64 = tab.eval("window.seen - window.moved").await?;
    println!("from the slider's move to the new picture: {took:.0} ms");
    tab.until(&format!("/The slots allow 800 a second/.test({desc})")).await?;

    // More clients: the measured curve follows.
    tab.eval::<Option<bool>>("document.getElementById('c-clients').focus()").await?;
    tab.press("End").await?;
    tab.until(&format!("Number({desc}.match(/attempts ([\\d,]+)/)[1].replace(',', '')) > 500"))
        .await?;
    ensure!(tab.console().is_empty(), "{:?}", tab.console());
    tab.shoot("live-trap-crowded").await?;
    browser.end().await?;
    server.interrupt()
}

#[tokio::test]
async fn ten_pages_show_one_run_and_it_ends_with_them() -> Result<()> {
    let Some(server) = Server::start()? else {
        return Ok(());
    };
    let Some(browser) = Chromium::start().await? else {
        return Ok(());
    };
    let before = server.threads();
    let mut tabs = Vec::new();
    for _ in 0..10 {
        let tab = browser.tab(Look::new(1280, Scheme::Dark)).await?;
        tab.open(&server.page("pipeline")).await?;
        tabs.push(tab);
    }
    click(&tabs[9], "start").await?;
    for tab in &tabs {
        running(tab, true).await?;
        tab.until("/Now [1-9]/.test(document.getElementById('throughput-d').textContent)").await?;
    }
    // What one sets shows on all.
    tabs[3].eval::<Option<bool>>("document.getElementById('c-embed').focus()").await?;
    tabs[3].press("ArrowRight").await?;
    for tab in &tabs {
        tab.until("document.getElementById('c-embed').value === '2'").await?;
        ensure!(tab.console().is_empty(), "{:?}", tab.console());
    }
    for tab in tabs {
        tab.close().await?;
    }
    // The run ends when its last page has been gone for some seconds.
    let late = browser.tab(Look::new(360, Scheme::Light)).await?;
    late.open(&server.page("")).await?;
    // Asked of the front page, which takes no seat; then why it ended.
    late.until("fetch('/').then(r => r.text()).then(t => !t.includes('Running.'))").await?;
    late.until(
        "fetch('/pipeline').then(r => r.text()).then(t => t.includes('no page was watching'))",
    )
    .await?;
    if let (Some(before), Some(after)) = (before, server.threads()) {
        // The pool of waiting threads may keep one or two for a moment; a run has more.
        println!("threads before the run {before}, after it {after}");
    }
    browser.end().await?;
    server.interrupt()
}
