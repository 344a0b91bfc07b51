//! The lab book in a browser: the cover, the page of a lab, and that on other languages.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use browser_tests::{Chromium, LOOKS, axe, labs};

/// Makes the book from the committed records.
fn book(labs: &Path, out: &Path) -> Result<()> {
    let reference = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../results/reference");
    let made = Command::new(labs)
        .arg("book")
        .arg(reference)
        .arg("--out")
        .arg(out)
        .stdin(Stdio::null())
        .output()?;
    ensure!(made.status.success(), "labs book: {}", String::from_utf8_lossy(&made.stderr));
    Ok(())
}

/// The page of a lab: the first file whose name has its number.
fn page_of(site: &Path, lab: &str) -> Result<PathBuf> {
    let mut pages: Vec<PathBuf> =
        std::fs::read_dir(site)?.map(|entry| entry.map(|e| e.path())).collect::<Result<_, _>>()?;
    pages.sort();
    let is_it = |path: &PathBuf| {
        let name = path.file_name().map(|n| n.to_string_lossy().into_owned());
        name.is_some_and(|name| name.starts_with(lab) && name.ends_with(".html"))
    };
    let found = pages.into_iter().find(is_it);
    found.with_context(|| format!("{} has no page of {lab}", site.display()))
}

#[tokio::test]
async fn cover_and_lab_hold_what_a_page_must() -> Result<()> {
    let Some(labs) = labs() else { return Ok(()) };
    let site = tempfile::tempdir()?;
    book(&labs, site.path())?;
    let Some(browser) = Chromium::start().await? else {
        return Ok(());
    };
    let axe = axe();
    let pages = [
        ("cover", site.path().join("index.html")),
        ("lab 3", page_of(site.path(), "lab03")?),
        ("languages", page_of(site.path(), "languages")?),
    ];
    for (what, file) in pages {
        for look in LOOKS {
            let tab = browser.tab(look).await?;
            tab.open(&format!("file://{}", file.display())).await?;
            tab.check(what, axe.as_deref()).await?;
            let folds = tab.unfold().await?;
            if folds > 0 {
                tab.check(&format!("{what}, unfolded"), axe.as_deref()).await?;
            }
            tab.close().await?;
        }
    }
    browser.end().await
}
