//! Lab 19: a shop is crawled, politely and completely.

use std::collections::BTreeSet;

use lab_kit::prelude::*;
use mock_server::{Entry, Script, Site, Turn};

use crate::{
    asked::Asked,
    brief::Brief,
    check::{self, Check},
    gauges,
    reading::{self, Items},
};

/// Lab 19.
pub struct Crawl;

const ROBOTS: &str = "/robots.txt";
/// What robots.txt asks to stay away from.
const DISALLOWED: &str = "/cart/";
/// The cart is left after so many pages: a program that does not stay away comes to an end all the same.
const CART: usize = 10;

/// The shop: the same in every trial, but for which requests meet a 429.
fn shop(p: &Asked) -> Site {
    Site {
        page_bytes: 4 << 10,
        broken: 0.05,
        withdrawn: 0.05,
        busy: 0.1,
        ..Site::new(19, p.n as u64)
    }
}

/// Everything that links lead to, level by level: first the first page, then what it links to, and so on. What is
/// not there (404) is among it.
fn levels(site: &Site) -> Vec<Vec<String>> {
    let mut seen = BTreeSet::from(["/".to_owned()]);
    let mut levels = vec![vec!["/".to_owned()]];
    while let Some(last) = levels.last().filter(|level| !level.is_empty()) {
        let linked = last.iter().flat_map(|path| links(path, &site.page(path)));
        let is_new = |path: &String| !path.starts_with(DISALLOWED) && seen.insert(path.clone());
        let next = linked.filter(is_new).collect();
        levels.push(next);
    }
    levels.pop();
    levels
}

/// Where the links of a page lead on its host.
fn links(path: &str, page: &str) -> Vec<String> {
    let page = without(&without(page, "<!--", "-->"), "<script>", "</script>");
    let parts = page.split("href=").skip(1);
    let hrefs = parts.filter_map(|part| match part.chars().next()? {
        quote @ ('"' | '\'') => part[1..].split(quote).next(),
        _ => part.split(['>', ' ']).next(),
    });
    hrefs.filter_map(|href| address(path, href)).collect()
}

/// A text without what is between two marks.
fn without(text: &str, from: &str, to: &str) -> String {
    let mut parts = text.split(from);
    let first = parts.next().unwrap_or_default();
    let rest = parts.filter_map(|part| Some(part.split_once(to)?.1));
    std::iter::once(first).chain(rest).collect()
}

/// The path that a link on the page at `path` leads to; none where it leads elsewhere.
fn address(path: &str, href: &str) -> Option<String> {
    let href = href.split('#').next().filter(|href| !href.is_empty() && !href.contains(':'))?;
    if href.starts_with('/') {
        return Some(href.to_owned());
    }
    let mut folder = path.rsplit_once('/')?.0;
    let mut rest = href;
    while let Some(up) = rest.strip_prefix("../") {
        (folder, rest) = (folder.rsplit_once('/')?.0, up);
    }
    Some(format!("{folder}/{rest}"))
}

/// Pages that were asked for before all of the levels above their own had been answered.
fn ahead(ledger: &[Entry], p: &Asked) -> usize {
    let (mut above, mut ahead) = (Duration::ZERO, 0);
    for level in levels(&shop(p)) {
        let pages = Items::of(ledger, &requests(level), None);
        let first = pages.tries.values().filter_map(|tries| tries.first());
        ahead += first.filter(|entry| entry.arrived < above).count();
        let answered = |tries: &Vec<&Entry>| {
            let is_last = |entry: &&&Entry| reading::is_answer(entry) || entry.status == 404;
            let last = tries.iter().find(is_last).and_then(|entry| entry.left);
            last.unwrap_or(Duration::MAX)
        };
        above = pages.tries.values().map(answered).max().unwrap_or(above).max(above);
    }
    ahead
}

fn requests(paths: Vec<String>) -> Vec<String> {
    paths.into_iter().map(|path| format!("GET {path}")).collect()
}

/// Requests that came before robots.txt had been answered.
fn before_robots(ledger: &[Entry]) -> usize {
    let is_robots = |entry: &&Entry| reading::path(entry) == ROBOTS;
    let answered = ledger.iter().filter(is_robots).filter(|entry| reading::is_answer(entry));
    let read = answered.filter_map(|entry| entry.left).min().unwrap_or(Duration::MAX);
    ledger.iter().filter(|entry| !is_robots(entry) && entry.arrived < read).count()
}

impl Crawl {
    /// Half-way, in logarithms, between one at a time and all of the limit.
    fn half_way(limit: usize) -> f64 {
        (limit as f64).sqrt()
    }

    /// Half of the pages that begin while the last pages of the level above are under way: where one of those ends
    /// another page begins, so it is all of the limit but one.
    fn ahead(limit: usize) -> f64 {
        (limit - 1) as f64 / 2.0
    }
}

impl Brief for Crawl {
    const CARD: Card = Card {
        number: 19,
        name: "judge_crawl",
        title: "A program and the shop that it crawls",
        question: "Is every page fetched once, and is robots.txt obeyed?",
        predict: &[],
        next: &[],
        sources: &[],
        answers: "",
        sizes: Sizes { smoke: &["--n", "180"], full: &["--n", "900"], trials: (3, 5) },
    };

    const FLAGS: &'static [(&'static str, &'static str)] =
        &[("n", "200"), ("limit", "10"), ("slots", "100"), ("service", "lognormal:40ms:0.5")];

    const TASK: &'static str = "Crawl the shop at {url}/, which has N products. GET {url}/robots.txt first, and stay away from what it disallows for everybody. Then GET {url}/ and every page of this host that links lead to, each until it has come, and then not again. Links are in <a href=...>. They may be relative, repeated, or end in a #part. Comments and scripts have no links. What is not there (404) is not asked for again. A 429 is, and not before its Retry-After has passed; other pages go on meanwhile. No more than {limit} requests are in flight at any time, and the next one begins as soon as any other has ended, however many links its page is away from the first.";

    fn spec(p: &Asked, seed: u64) -> Spec {
        let script = Script::new(|asked, _| {
            let cart = asked.path.strip_prefix(DISALLOWED).and_then(|n| n.parse().ok());
            if cart.is_some_and(|n: usize| n >= CART) { Turn::fails(404) } else { Turn::default() }
        });
        Spec {
            seed,
            site: Some(shop(p)),
            script: Some(script),
            ..Spec::new(p.slots, p.service.of.clone())
        }
    }

    fn items(p: &Asked) -> Vec<String> {
        requests(levels(&shop(p)).concat())
    }

    fn wanted(p: &Asked) -> usize {
        let census = shop(p).census();
        (census.pages + census.broken) as usize
    }

    fn knows(_: &Asked, entry: &Entry) -> bool {
        reading::path(entry) == ROBOTS || entry.path.starts_with(DISALLOWED)
    }

    fn read(p: &Asked, ledger: &[Entry]) -> Vec<(Gauge, f64)> {
        let ended = reading::ended(ledger, p.gives_up::<Self>());
        let disallowed = ledger.iter().filter(|entry| entry.path.starts_with(DISALLOWED));
        vec![
            (gauges::DISALLOWED, disallowed.count() as f64),
            (gauges::BEFORE_ROBOTS, before_robots(ledger) as f64),
            (gauges::AHEAD, ahead(ledger, p) as f64),
            (gauges::FOUND, reading::found_on_arrival(&ended, p.limit)),
        ]
    }

    fn checks(p: &Asked, k: &Condition) -> Vec<Check> {
        let pages = shop(p).census().pages as usize;
        let found = k.every(|t| t.gauge(gauges::FOUND));
        let used = Law::counted(
            "the limit is used: requests in flight when one begins, on average",
            "at a time",
        );
        let ahead = k.every(|t| t.gauge(gauges::AHEAD));
        let no_levels = Law::counted(
            "pages begin while pages that are fewer links from the first are still awaited",
            "pages",
        );
        let open = check::alone(p).or_else(|| check::too_few(pages, 5, p.limit));
        vec![
            check::all_asked_for(k, "everything that links lead to is asked for"),
            check::all_recovered(k, |_| Some(pages as f64)),
            check::answered_once(k),
            check::nothing_else(k),
            Check {
                fault: "robots.txt not obeyed",
                cause: "links are followed wherever they lead",
                claim: check::none(
                    "nothing is asked for that robots.txt disallows",
                    "requests",
                    k,
                    gauges::DISALLOWED,
                ),
            },
            Check {
                fault: "robots.txt read too late, or not at all",
                cause: "it is fetched beside the first pages, as if it were one of them",
                claim: check::none(
                    "no page is asked for before robots.txt has been read",
                    "requests",
                    k,
                    gauges::BEFORE_ROBOTS,
                ),
            },
            check::honours_retry_after(k),
            check::gone_is_gone(k),
            check::limit_holds(p, k, Self::LIMITED),
            Check {
                fault: "the limit is not used",
                cause: "one page after another, or all wait while one of them waits for its Retry-After",
                claim: used
                    .within("the bound is between one at a time and all of the limit (their geometric mean)")
                    .at_least([Case::exact("", Crawl::half_way(p.limit), found)])
                    .unless(open.clone()),
            },
            Check {
                fault: "a barrier after each level",
                cause: "all links of a level are gathered before the first of them is followed",
                claim: no_levels
                    .within("half of the pages that begin beside the last pages of one level; behind a barrier there is none")
                    .at_least([Case::exact("", Crawl::ahead(p.limit), ahead)])
                    .unless(open)
                    .unless(check::in_step(p)),
            },
        ]
    }

    fn seconds(p: &Asked) -> f64 {
        // Pages that are asked to come back make the end longer, each time by a second.
        1.2 * p.n as f64 * p.service_s() / p.limit.min(p.slots) as f64 + 3.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_read_as_people_write_them() {
        let page = "<!-- <a href=\"/cart/0\">no</a> --><script>'<a href=\"/no\">'</script>\
            <a href='/about#team'>a</a> <a href=/c/1>b</a> <a class=\"x\" href=\"../p/7\">c</a>\
            <a href=\"8\">d</a><a href=\"#more\">e</a><a href=\"http://elsewhere.invalid/\">f</a>\
            <a href=\"mailto:a@b.invalid\">g</a>";
        assert_eq!(links("/p/1", page), ["/about", "/c/1", "/p/7", "/p/8"]);
    }

    /// What is found by following links is what the shop says is within reach.
    #[test]
    fn all_that_is_within_reach_is_found() {
        for products in [1, 60, 700] {
            let site = Site { broken: 0.05, withdrawn: 0.05, ..Site::new(19, products) };
            let found = levels(&site).concat();
            let (pages, gone): (Vec<&String>, Vec<&String>) =
                found.iter().partition(|path| !site.page(path).is_empty());
            let census = site.census();
            assert_eq!((pages.len() as u64, gone.len() as u64), (census.pages, census.broken));
        }
    }

    /// What is counted without making a page is what making them finds.
    #[test]
    fn as_many_are_wanted_as_there_are() {
        let p = lab_kit::lab::params::<crate::brief::Judged<Crawl>>(&["--", "true"]);
        assert_eq!(Crawl::wanted(&p.asked), Crawl::items(&p.asked).len());
    }

    #[test]
    fn a_page_before_robots_txt_is_counted() {
        let entry = |path: &str, arrived, left| reading::entry(path, arrived, left, 200);
        let ledger = [entry("/", 5, 20), entry(ROBOTS, 0, 10), entry("/about", 10, 20)];
        assert_eq!(before_robots(&ledger), 1);
        assert_eq!(before_robots(&[entry("/", 5, 20), entry("/about", 10, 20)]), 2);
    }
}
