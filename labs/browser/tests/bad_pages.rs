//! What the other tests look for is found where it is.

use anyhow::Result;
use browser_tests::{Chromium, Look, Scheme};

#[tokio::test]
async fn a_bad_page_is_found_out() -> Result<()> {
    let Some(browser) = Chromium::start().await? else {
        return Ok(());
    };
    for (body, found) in [
        ("<p>fine</p>", None),
        ("<p style='width: 2000px'>far too wide</p>", Some("overflow")),
        ("<img src='data:,'>", Some("no text alternative")),
        ("<svg role='img'></svg>", Some("no text alternative")),
        ("<script>console.error('told')</script>", Some("told")),
        ("<script>throw Error('thrown')</script>", Some("thrown")),
        ("<img alt='' src='file:///nowhere.png'>", Some("nowhere.png")),
    ] {
        let tab = browser.tab(Look::new(360, Scheme::Dark)).await?;
        // A page of its own kind: one from a file may ask for files.
        let file = tempfile::Builder::new().suffix(".html").tempfile()?;
        std::fs::write(file.path(), format!("<!doctype html><title>t</title>{body}"))?;
        tab.open(&format!("file://{}", file.path().display())).await?;
        let wide: u32 = tab.eval("innerWidth").await?;
        let dark: bool = tab.eval("matchMedia('(prefers-color-scheme: dark)').matches").await?;
        assert_eq!((wide, dark), (360, true));
        let told = tab.check("page", None).await.map_err(|e| e.to_string());
        match (told, found) {
            (Ok(()), None) => {}
            (Err(told), Some(found)) if told.contains(found) => {}
            (told, found) => panic!("{body}: expected {found:?}, got {told:?}"),
        }
        tab.close().await?;
    }
    browser.end().await
}
