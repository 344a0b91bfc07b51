use std::env;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use chromiumoxide::Page;
use chromiumoxide::cdp::browser_protocol::emulation::{
    MediaFeature, SetDeviceMetricsOverrideParams,
};
use chromiumoxide::cdp::browser_protocol::input::{DispatchKeyEventParams, DispatchKeyEventType};
use chromiumoxide::cdp::browser_protocol::log::{EventEntryAdded, LogEntryLevel};
use chromiumoxide::cdp::js_protocol::runtime::{
    ConsoleApiCalledType, EvaluateParams, EventConsoleApiCalled, EventExceptionThrown,
};
use chromiumoxide::page::ScreenshotParams;
use futures_util::StreamExt;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::Look;

/// Nothing on a page may take longer than this to come.
const PATIENCE: Duration = Duration::from_secs(20);

/// What sticks out: of the window, or a text out of its drawing. What can be scrolled to or is hidden
/// on purpose does not count.
const OVERFLOW: &str = r#"(() => {
  const found = [], wide = document.documentElement.clientWidth;
  if (document.documentElement.scrollWidth > wide + 1) found.push('the page is ' + document.documentElement.scrollWidth + ' wide');
  const name = e => e.tagName + (e.id ? '#' + e.id : '') + ' "' + e.textContent.trim().slice(0, 40) + '"';
  const kept = e => { for (let p = e.parentElement; p; p = p.parentElement) if (getComputedStyle(p).overflowX !== 'visible') return true; return false; };
  for (const e of document.body.querySelectorAll('*')) {
    const r = e.getBoundingClientRect(), s = getComputedStyle(e);
    if (!r.width || !r.height || s.visibility === 'hidden' || kept(e)) continue;
    if (r.right > wide + 1) found.push(name(e) + ' ends at ' + Math.round(r.right));
    if (r.left < -1 && r.right > 0) found.push(name(e) + ' begins at ' + Math.round(r.left));
  }
  for (const svg of document.querySelectorAll('svg[role=img]')) {
    const box = svg.getBoundingClientRect();
    for (const t of svg.querySelectorAll('text')) {
      const r = t.getBoundingClientRect();
      if (r.width && (r.left < box.left - 2 || r.right > box.right + 2 || r.top < box.top - 4 || r.bottom > box.bottom + 4))
        found.push('text out of its drawing: ' + name(t));
    }
  }
  return found;
})()"#;

/// Pictures without a text alternative.
const SILENT: &str = r#"(() => {
  const found = [];
  const said = e => (e.getAttribute('aria-label') || (e.getAttribute('aria-labelledby') || '').split(/\s+/)
    .map(id => document.getElementById(id)?.textContent || '').join('') || e.querySelector(':scope > title')?.textContent || '').trim();
  for (const e of document.querySelectorAll('img')) if (!e.hasAttribute('alt')) found.push('img ' + e.src.slice(0, 80));
  for (const e of document.querySelectorAll('svg, [role=img]')) {
    if (e.parentElement.closest('svg, [aria-hidden=true], [role=img]') || e.getAttribute('aria-hidden') === 'true') continue;
    if (e.tagName === 'svg' && e.getAttribute('role') !== 'img') found.push('svg without a role ' + e.outerHTML.slice(0, 80));
    else if (!said(e)) found.push('no name for ' + e.outerHTML.slice(0, 80));
  }
  return found;
})()"#;

/// What axe-core finds and counts as serious or critical.
const AXE: &str = r#"axe.run(document, { resultTypes: ['violations'] }).then(r => r.violations
  .filter(v => v.impact === 'serious' || v.impact === 'critical')
  .map(v => v.id + ': ' + v.help + ' at ' + v.nodes.slice(0, 3).map(n => n.target.join(' ') + ' ' + (n.any[0]?.message || '')).join('; ')))"#;

/// A page in the browser.
pub struct Tab {
    page: Page,
    look: Look,
    console: Arc<Mutex<Vec<String>>>,
}

impl Tab {
    pub(crate) async fn new(page: Page, look: Look) -> Result<Tab> {
        let console = Arc::new(Mutex::new(Vec::new()));
        listen(&page, &console).await?;
        page.execute(SetDeviceMetricsOverrideParams::new(
            look.width, 800, 1.0, false,
        ))
        .await?;
        page.emulate_media_features(vec![MediaFeature::new(
            "prefers-color-scheme",
            look.scheme.name(),
        )])
        .await?;
        Ok(Tab {
            page,
            look,
            console,
        })
    }

    /// Loads a page, and waits for its fonts.
    ///
    /// # Errors
    /// What the browser says.
    pub async fn open(&self, url: &str) -> Result<()> {
        self.page
            .goto(url)
            .await
            .with_context(|| format!("opening {url}"))?;
        self.eval::<bool>("document.fonts.ready.then(() => true)")
            .await?;
        Ok(())
    }

    /// The value of an expression, awaited if it is a promise.
    ///
    /// # Errors
    /// An exception in it, or a value of another kind.
    pub async fn eval<T: DeserializeOwned>(&self, expression: &str) -> Result<T> {
        let params = EvaluateParams::builder()
            .expression(expression)
            .await_promise(true)
            .return_by_value(true)
            .build()
            .map_err(anyhow::Error::msg)?;
        let value = self.page.evaluate_expression(params).await?;
        let value: Value = value.value().cloned().unwrap_or(Value::Null);
        serde_json::from_value(value).with_context(|| format!("of: {expression}"))
    }

    /// Waits until an expression is true.
    ///
    /// # Errors
    /// When it is not within 20 s.
    pub async fn until(&self, expression: &str) -> Result<()> {
        let began = Instant::now();
        while !self.eval::<bool>(expression).await? {
            ensure!(began.elapsed() < PATIENCE, "never true: {expression}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Ok(())
    }

    /// Presses a key: `Tab`, `Enter`, `End`, `Home` or an arrow.
    ///
    /// # Errors
    /// Another key, or what the browser says.
    pub async fn press(&self, key: &str) -> Result<()> {
        let code = match key {
            "Tab" => 9,
            "Enter" => 13,
            "End" => 35,
            "Home" => 36,
            "ArrowLeft" => 37,
            "ArrowRight" => 39,
            _ => bail!("the tests know no key {key}"),
        };
        for down in [true, false] {
            let mut event = DispatchKeyEventParams::builder()
                .r#type(match down {
                    true if key == "Enter" => DispatchKeyEventType::KeyDown,
                    true => DispatchKeyEventType::RawKeyDown,
                    false => DispatchKeyEventType::KeyUp,
                })
                .key(key)
                .code(key)
                .windows_virtual_key_code(code);
            if key == "Enter" && down {
                event = event.text("\r");
            }
            let event = event.build().map_err(anyhow::Error::msg)?;
            self.page.execute(event).await?;
        }
        Ok(())
    }

    /// All that must hold for any page, in this look; `what` names it in the errors.
    ///
    /// # Errors
    /// What does not hold.
    pub async fn check(&self, what: &str, axe: Option<&str>) -> Result<()> {
        let what = format!(
            "{what}, {} px, {}",
            self.look.width,
            self.look.scheme.name()
        );
        let none = |kind: &str, found: Vec<String>| {
            ensure!(found.is_empty(), "{what}: {kind}:\n{}", found.join("\n"));
            Ok(())
        };
        self.shoot(&what).await?;
        none("overflow", self.eval(OVERFLOW).await?)?;
        none("no text alternative", self.eval(SILENT).await?)?;
        if let Some(axe) = axe {
            let there: bool = self.eval("typeof axe === 'object'").await?;
            if !there {
                self.eval::<Value>(&format!("(() => {{ {axe}; return null; }})()"))
                    .await?;
            }
            none("accessibility", self.eval(AXE).await?)?;
        }
        none("the console said", self.console())
    }

    /// Opens every fold by keyboard alone: goes to it with Tab and presses Enter. Returns how many
    /// there are.
    ///
    /// # Errors
    /// A fold that cannot be reached or does not open.
    pub async fn unfold(&self) -> Result<usize> {
        const NEXT: &str = "(() => { const s = document.activeElement; \
             return s?.tagName === 'SUMMARY' && !s.parentElement.open ? 1 : 0; })()";
        let closed = "document.querySelectorAll('details:not([open]) > summary').length";
        let before: usize = self.eval(closed).await?;
        let stops: usize = self
            .eval("document.querySelectorAll('a, button, input, summary, [tabindex]').length")
            .await?;
        self.eval::<Value>("(document.activeElement?.blur(), null)")
            .await?;
        for _ in 0..2 * stops + 20 {
            if self.eval::<usize>(closed).await? == 0 {
                break;
            }
            self.press("Tab").await?;
            if self.eval::<u8>(NEXT).await? == 1 {
                self.press("Enter").await?;
                self.until("document.activeElement.parentElement.open")
                    .await?;
            }
        }
        let left: usize = self.eval(closed).await?;
        ensure!(
            left == 0,
            "{left} of {before} folds cannot be opened by keyboard"
        );
        Ok(before)
    }

    /// What the console said that it should not have.
    pub fn console(&self) -> Vec<String> {
        self.console
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// A screenshot of the whole page into the folder that `SHOTS` names, if it does.
    ///
    /// # Errors
    /// What the browser or the file system says.
    pub async fn shoot(&self, what: &str) -> Result<()> {
        if let Some(folder) = env::var_os("SHOTS").map(PathBuf::from) {
            let name: String = what
                .chars()
                .map(|c| if c.is_ascii_alphanumeric() { c } else { '-' })
                .collect();
            let params = ScreenshotParams::builder().full_page(true).build();
            let file = folder.join(format!("{name}.png"));
            self.page.save_screenshot(params, file).await?;
        }
        Ok(())
    }

    /// Closes the page.
    ///
    /// # Errors
    /// What the browser says.
    pub async fn close(self) -> Result<()> {
        self.page.close().await?;
        Ok(())
    }
}

/// Writes down errors and warnings of the console, exceptions, and what the browser refused.
async fn listen(page: &Page, console: &Arc<Mutex<Vec<String>>>) -> Result<()> {
    let note = |console: &Mutex<Vec<String>>, text: String| {
        console
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(text);
    };
    let mut calls = page.event_listener::<EventConsoleApiCalled>().await?;
    let theirs = console.clone();
    tokio::spawn(async move {
        while let Some(call) = calls.next().await {
            let kind = &call.r#type;
            if matches!(
                kind,
                ConsoleApiCalledType::Error
                    | ConsoleApiCalledType::Warning
                    | ConsoleApiCalledType::Assert
            ) {
                note(&theirs, format!("{:?}", call.args));
            }
        }
    });
    let mut thrown = page.event_listener::<EventExceptionThrown>().await?;
    let theirs = console.clone();
    tokio::spawn(async move {
        while let Some(event) = thrown.next().await {
            note(&theirs, format!("{:?}", event.exception_details));
        }
    });
    let mut entries = page.event_listener::<EventEntryAdded>().await?;
    let theirs = console.clone();
    tokio::spawn(async move {
        while let Some(event) = entries.next().await {
            let entry = &event.entry;
            if matches!(entry.level, LogEntryLevel::Error | LogEntryLevel::Warning) {
                note(&theirs, format!("{} {:?}", entry.text, entry.url));
            }
        }
    });
    page.enable_log().await?;
    page.enable_runtime().await?;
    Ok(())
}
