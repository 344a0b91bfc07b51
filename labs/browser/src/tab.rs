use std::env;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use base64::{Engine, prelude::BASE64_STANDARD};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::Look;
use crate::protocol::{PATIENCE, Protocol};

/// True when a page and its fonts have come.
const COMPLETE: &str = "new Promise(come => document.readyState === 'complete' ? come() \
    : addEventListener('load', come)).then(() => document.fonts.ready).then(() => true)";

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
    protocol: Arc<Protocol>,
    target: String,
    session: String,
    look: Look,
}

impl Tab {
    pub(crate) async fn new(protocol: Arc<Protocol>, look: Look) -> Result<Tab> {
        let named = |of: &Value, what: &str| {
            let name = of[what].as_str().map(str::to_owned);
            name.with_context(|| format!("the browser told no {what}"))
        };
        let blank = json!({"url": "about:blank"});
        let created = protocol.call(None, "Target.createTarget", blank).await?;
        let target = named(&created, "targetId")?;
        let attach = json!({"targetId": target, "flatten": true});
        let attached = protocol.call(None, "Target.attachToTarget", attach).await?;
        let tab = Tab { protocol, target, session: named(&attached, "sessionId")?, look };
        tab.call("Log.enable", json!({})).await?;
        tab.call("Runtime.enable", json!({})).await?;
        let size = json!({
            "width": look.width, "height": 800, "deviceScaleFactor": 1, "mobile": false,
        });
        tab.call("Emulation.setDeviceMetricsOverride", size).await?;
        let scheme = json!({"name": "prefers-color-scheme", "value": look.scheme.name()});
        let media = json!({"features": [scheme]});
        tab.call("Emulation.setEmulatedMedia", media).await?;
        Ok(tab)
    }

    async fn call(&self, method: &str, params: Value) -> Result<Value> {
        let session = Some(self.session.as_str());
        self.protocol.call(session, method, params).await
    }

    /// Loads a page, and waits for its fonts.
    ///
    /// # Errors
    /// What the browser says.
    pub async fn open(&self, url: &str) -> Result<()> {
        let went = self.call("Page.navigate", json!({"url": url})).await?;
        ensure!(went.get("errorText").is_none(), "opening {url}: {}", went["errorText"]);
        self.eval::<bool>(COMPLETE).await?;
        Ok(())
    }

    /// The value of an expression, awaited if it is a promise.
    ///
    /// # Errors
    /// An exception in it, or a value of another kind.
    pub async fn eval<T: DeserializeOwned>(&self, expression: &str) -> Result<T> {
        let params = json!({
            "expression": expression, "awaitPromise": true, "returnByValue": true,
        });
        let mut done = self.call("Runtime.evaluate", params).await?;
        if let Some(thrown) = done.get("exceptionDetails") {
            bail!("{thrown}, of: {expression}");
        }
        let value = done["result"]["value"].take();
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
        for kind in ["rawKeyDown", "keyUp"] {
            let mut event = json!({
                "type": kind, "key": key, "code": key, "windowsVirtualKeyCode": code,
            });
            if key == "Enter" && kind == "rawKeyDown" {
                event["type"] = "keyDown".into();
                event["text"] = "\r".into();
            }
            self.call("Input.dispatchKeyEvent", event).await?;
        }
        Ok(())
    }

    /// All that must hold for any page, in this look; `what` names it in the errors.
    ///
    /// # Errors
    /// What does not hold.
    pub async fn check(&self, what: &str, axe: Option<&str>) -> Result<()> {
        let what = format!("{what}, {} px, {}", self.look.width, self.look.scheme.name());
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
                self.eval::<Value>(&format!("(() => {{ {axe}; return null; }})()")).await?;
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
        self.eval::<Value>("(document.activeElement?.blur(), null)").await?;
        for _ in 0..2 * stops + 20 {
            if self.eval::<usize>(closed).await? == 0 {
                break;
            }
            self.press("Tab").await?;
            if self.eval::<u8>(NEXT).await? == 1 {
                self.press("Enter").await?;
                self.until("document.activeElement.parentElement.open").await?;
            }
        }
        let left: usize = self.eval(closed).await?;
        ensure!(left == 0, "{left} of {before} folds cannot be opened by keyboard");
        Ok(before)
    }

    /// What the console said that it should not have.
    pub fn console(&self) -> Vec<String> {
        self.protocol.complaints(&self.session)
    }

    /// A screenshot of the whole page into the folder that `SHOTS` names, if it does.
    ///
    /// # Errors
    /// What the browser or the file system says.
    pub async fn shoot(&self, what: &str) -> Result<()> {
        let Some(folder) = env::var_os("SHOTS").map(PathBuf::from) else {
            return Ok(());
        };
        let name: String =
            what.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
        let layout = self.call("Page.getLayoutMetrics", json!({})).await?;
        let mut whole = layout["cssContentSize"].clone();
        whole["scale"] = 1.into();
        let params = json!({"format": "png", "captureBeyondViewport": true, "clip": whole});
        let shot = self.call("Page.captureScreenshot", params).await?;
        let data = shot["data"].as_str().context("a screenshot without data")?;
        std::fs::write(folder.join(format!("{name}.png")), BASE64_STANDARD.decode(data)?)?;
        Ok(())
    }

    /// Closes the page.
    ///
    /// # Errors
    /// What the browser says.
    pub async fn close(self) -> Result<()> {
        let target = json!({"targetId": self.target});
        self.protocol.call(None, "Target.closeTarget", target).await?;
        Ok(())
    }
}
