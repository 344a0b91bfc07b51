//! Several hosts, drawn anew; their books say who was asked for what, when, and how many at a time.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    time::Duration,
};

use anyhow::Result;
use mock_server::{Body, By, Entry, Every, Faults, Service, Spec};

use crate::{
    bench::Bench,
    books,
    exercise::{Card, Judge, Misconception, Question},
    line::{End, Run},
    verdict::Verdict,
};

/// Polite, and complete.
pub struct PoliteAndComplete;

const SERVICE: Duration = Duration::from_millis(20);
/// What a 429 asks for.
const LATER: Duration = Duration::from_secs(1);
const HOSTS: [&str; 5] = ["/north", "/east", "/south", "/west", "/harbour"];
/// Pages of a chain, each of which is found on the one before.
const CHAIN: usize = 3;
/// Pages that two pages may keep back, each of them with all of a chain behind it.
const KEPT: usize = 2 * (2 * CHAIN + 2);

/// Most pages with a 429 that are shown.
const SHOWN: usize = 5;

/// From a url to those that it links to.
type Web = BTreeMap<String, Vec<String>>;

impl Judge for PoliteAndComplete {
    fn card(&self) -> Card {
        Card {
            folder: "ex19_polite_and_complete",
            title: "Polite, and complete",
            lab: 19,
            question: Question {
                text: "Two of some 80 requests are answered 429. How many pages will be missing when the file as it is has ended?",
                gauge: "missing",
                unit: "pages",
            },
            misconceptions: &[
                Misconception {
                    name: "gives-up",
                    belief: "a page that is not there now for one that is not there",
                    ask: "Who asks again for a page that was answered with 429, and who for the pages that only it links to?",
                },
                Misconception {
                    name: "no-limit",
                    belief: "a limit that is none for a single host",
                    ask: "How many permits can requests to the same host hold, of all that there are?",
                },
                Misconception {
                    name: "one-limit-for-all",
                    belief: "one limit that all hosts share",
                    ask: "With `per_host` requests under way at one host, how many can there be at the others?",
                },
                Misconception {
                    name: "marked-when-fetched",
                    belief: "a page that is noted when it has come, and not when it was queued",
                    ask: "Two pages under way link to the same third one. What does the second find noted when it comes?",
                },
                Misconception {
                    name: "empty-is-done",
                    belief: "an empty queue for the end",
                    ask: "While the queue is empty, who may still find a page that nobody has seen?",
                },
                Misconception {
                    name: "level-by-level",
                    belief: "pages that wait for others with which they have nothing to do",
                    ask: "While one page waits to be asked for again, what do the links on its neighbours wait for?",
                },
                Misconception {
                    name: "asks-again-at-once",
                    belief: "a pause of one's own choice",
                    ask: "Which field of the answer says how long the host wants to be left alone?",
                },
            ],
            orders: false,
            pace: None,
        }
    }

    fn judge(&self, bench: &mut Bench) -> Result<Verdict> {
        let mut verdict = Verdict::new();
        let limit = bench.draw(3..6) as usize;
        let hosts = &HOSTS[..bench.draw(4..6) as usize];
        let (first, web) = web(bench, hosts);
        let secret = bench.draw(1..u64::MAX);
        let pages = web.clone();
        let every = Every { nth: bench.draw(30..37), status: 429, by: By::Arrival };
        let spec = Spec {
            faults: Faults { every: vec![every], ..Faults::default() },
            retry_after: LATER,
            body: Body::made("text/plain", move |asked| {
                let links = pages.get(asked.path).map(|links| links.join("\n"));
                let stamp = books::stamp(secret, asked.path);
                format!("{stamp}\n{}", links.unwrap_or_default()).into_bytes()
            }),
            ..Spec::new(1000, Service::Constant(SERVICE))
        };
        let upstream = bench.upstream(spec)?;
        let run = Run::new().service(&upstream).give("first", &first).give("per_host", limit);
        let seen = bench.run_through(&mut verdict, run)?;
        let ledger = upstream.ledger();
        let mut back: HashMap<&str, usize> = HashMap::new();
        for reply in &seen.replies {
            *back.entry(&reply.text).or_default() += 1;
        }
        let known = |url: &String| {
            back.get(format!("{url} {}", books::stamp(secret, url)).as_str()) == Some(&1)
        };
        let returned = web.keys().filter(|url| known(url)).count();
        verdict.measured("missing", (web.len() - returned) as f64);
        let mistake = look(&mut verdict, &ledger, &web, hosts, limit);
        let all = returned == web.len() && seen.replies.len() == returned;
        verdict.check(
            all,
            format!(
                "{} pages were returned, {returned} of them right and once; there are {}",
                seen.replies.len(),
                web.len()
            ),
        );
        if !verdict.holds() && seen.end == End::Finished {
            mistake.into_iter().for_each(|name| verdict.looks_like(name));
        }
        Ok(verdict)
    }
}

/// The first url, and all pages. Each host has a page of links to many, which all link to the beginning of one chain.
fn web(bench: &mut Bench, hosts: &[&str]) -> (String, Web) {
    let mut web = Web::new();
    let mut page = |host: usize, bench: &mut Bench| loop {
        let url = format!("{}/{}", hosts[host % hosts.len()], bench.draw(10_000..100_000));
        if !web.contains_key(&url) {
            web.insert(url.clone(), Vec::new());
            return url;
        }
    };
    let first = page(0, bench);
    let hubs: Vec<String> = (0..hosts.len()).map(|host| page(host, bench)).collect();
    let mut links = vec![(first.clone(), hubs.clone())];
    for (host, hub) in hubs.iter().enumerate() {
        let many: Vec<String> = (0..48 / hosts.len()).map(|_| page(host, bench)).collect();
        let mut next = page(host, bench);
        links.push((hub.clone(), [many.as_slice(), hubs.as_slice()].concat()));
        links.extend(many.into_iter().map(|url| (url, vec![first.clone(), next.clone()])));
        for step in 1..=CHAIN {
            let (aside, on) = (page(host + step, bench), page(host + step, bench));
            links.push((next, vec![aside.clone(), on.clone()]));
            links.push((aside, vec![hub.clone()]));
            next = on;
        }
    }
    web.extend(links);
    (first, web)
}

/// What the books say, and what it looks like.
fn look(
    verdict: &mut Verdict,
    ledger: &[Entry],
    web: &Web,
    hosts: &[&str],
    limit: usize,
) -> Option<&'static str> {
    let good: Vec<Entry> = ledger.iter().filter(|entry| entry.status == 200).cloned().collect();
    let each = books::each_once(verdict, &good, web.keys().cloned());
    let (mut busy, mut early, mut never) = (0, 0, 0);
    for (place, entry) in ledger.iter().enumerate().filter(|(_, entry)| entry.status == 429) {
        busy += 1;
        let again = ledger[place + 1..].iter().find(|later| later.path == entry.path);
        let at = |at: Duration| format!("{} ms", at.as_millis());
        let left = entry.left.unwrap_or(entry.arrived);
        never += usize::from(again.is_none());
        early += usize::from(again.is_some_and(|again| again.arrived < left + LATER));
        let then = again.map_or("never".to_owned(), |again| {
            format!("{} later", at(again.arrived.saturating_sub(left)))
        });
        if busy > SHOWN {
            continue;
        }
        verdict.show(format!(
            "{} was answered 429 at {}, and asked for again {then}",
            entry.path,
            at(left)
        ));
    }
    let said = format!(
        "of {busy} pages that were answered 429, {early} were asked for again too early, and {never} never"
    );
    verdict.check(early + never == 0, said);
    let kept = kept(ledger);
    let said = format!(
        "{kept} pages were first asked for after all hosts had been idle for half a second; {KEPT} at most could not be known before"
    );
    verdict.check(kept <= KEPT, said);
    let mut most = 0;
    let mut busiest = Vec::new();
    for host in hosts {
        let own = |entry: &&Entry| {
            entry.path.strip_prefix(host).is_some_and(|rest| rest.starts_with('/'))
        };
        let own: Vec<Entry> = ledger.iter().filter(own).cloned().collect();
        if books::most_in_flight(&own) > most {
            (most, busiest) = (books::most_in_flight(&own), own);
        }
    }
    verdict.check(
        most == limit,
        format!("the busiest host had {most} requests at the same time, at most; the limit is {limit}"),
    );
    let whole = books::most_in_flight(ledger);
    verdict.check(
        whole > limit,
        format!("all {} hosts together had {whole} at the same time, at most", hosts.len()),
    );
    for line in books::in_flight_chart(&busiest, limit) {
        verdict.show(line.replace("as the service counts them", "at the busiest host"));
    }
    let again = books::attempts(&good).values().any(|times| *times > 1);
    Some(if never > 0 {
        "gives-up"
    } else if most > limit {
        "no-limit"
    } else if again {
        "marked-when-fetched"
    } else if !each {
        "empty-is-done"
    } else if early > 0 {
        "asks-again-at-once"
    } else if kept > KEPT {
        "level-by-level"
    } else if whole <= limit {
        "one-limit-for-all"
    } else {
        return None;
    })
}

/// Pages that were first asked for after nobody had been asked for anything for a long time.
fn kept(ledger: &[Entry]) -> usize {
    let (mut done, mut is_late) = (Duration::MAX, false);
    let (mut seen, mut kept) = (HashSet::new(), 0);
    for entry in ledger {
        is_late |= entry.arrived.saturating_sub(done) > LATER / 2;
        kept += usize::from(seen.insert(&entry.path) && is_late);
        let left = entry.left.unwrap_or(entry.arrived);
        done = if done == Duration::MAX { left } else { done.max(left) };
    }
    kept
}
