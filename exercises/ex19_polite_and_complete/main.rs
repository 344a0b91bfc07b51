//! Crawls the judge's hosts from one page, by the exercise's function.

mod exercise;

use exercise_kit::harness;

fn main() {
    let line = harness::open();
    let (first, per_host): (String, usize) = (line.given("first"), line.given("per_host"));
    harness::event_loop(async {
        let pages = exercise::crawl(line.service(), first, per_host).await;
        for (place, (url, body)) in pages.into_iter().enumerate() {
            line.reply(place as u64, format!("{url} {}", body.lines().next().unwrap_or_default()));
        }
        line.end();
    });
}

/// The host of a url: `/north` of `/north/17`.
pub fn host(url: &str) -> &str {
    let end = url[1..].find('/').map_or(url.len(), |slash| slash + 1);
    &url[..end]
}

/// The urls that a page links to, in order, some of them more than once.
pub fn links(body: &str) -> Vec<String> {
    body.lines().skip(1).map(str::to_owned).collect()
}
