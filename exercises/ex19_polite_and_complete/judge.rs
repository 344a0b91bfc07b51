//! Several hosts, drawn anew; their books say who was asked for what, when, and how many at a time.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::{Mutex, PoisonError},
    time::Duration,
};

use anyhow::Result;
use mock_server::{Body, Entry, Script, Service, Spec, Turn};

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
/// Of the first pages of each host: they are under way until all hosts are at their limit.
const SLOW: Duration = Duration::from_millis(120);
/// What a 429 asks for.
const LATER: Duration = Duration::from_secs(1);
const HOSTS: [&str; 5] = ["/north", "/east", "/south", "/west", "/harbour"];
/// Pages of a chain, each of which is found on the one before.
const CHAIN: usize = 3;
/// Pages that a page may keep back, with all of a chain behind it.
const KEPT: usize = 2 * CHAIN;

/// Most pages with a 429 that are shown.
const SHOWN: usize = 5;

/// From a url to those that it links to.
type Web = BTreeMap<String, Vec<String>>;

/// What there is to be crawled.
#[derive(Clone)]
struct Town {
    hosts: &'static [&'static str],
    limit: usize,
    first: String,
    web: Web,
    /// Pages of each host that are found at the same time.
    many: Vec<Vec<String>>,
    /// The host of which as many of those as may be under way are answered 429, and a page of a chain that is as well.
    busy: usize,
    refused: String,
}

impl Judge for PoliteAndComplete {
    fn card(&self) -> Card {
        Card {
            folder: "ex19_polite_and_complete",
            title: "Polite, and complete",
            lab: 19,
            question: Question {
                text: "A few of some 80 requests are answered 429: as many as may be under way at one host, and one more. How many pages will be missing when the file as it is has ended?",
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
                    name: "limit-above-all",
                    belief: "a limit for each host, and a smaller one above them all",
                    ask: "When every host has `per_host` requests under way, how many are there in all?",
                },
                Misconception {
                    name: "permit-asleep",
                    belief: "a permit for a page instead of one for a request",
                    ask: "What is done with the permit of a page that waits to be asked for again, and who could use it?",
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
        let town = town(bench);
        let secret = bench.draw(1..u64::MAX);
        let pages = town.web.clone();
        let spec = Spec {
            script: Some(script(town.clone())),
            retry_after: LATER,
            body: Body::made("text/plain", move |asked| {
                let links = pages.get(asked.path).map(|links| links.join("\n"));
                let stamp = books::stamp(secret, asked.path);
                format!("{stamp}\n{}", links.unwrap_or_default()).into_bytes()
            }),
            ..Spec::new(1000, Service::Constant(SERVICE))
        };
        let Town { first, web, limit, .. } = &town;
        let upstream = bench.upstream(spec)?;
        let run = Run::new().service(&upstream).give("first", first).give("per_host", limit);
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
        let mistake = town.look(&mut verdict, &ledger);
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

/// Each host has a page of links to many, which all link to the beginning of one chain.
fn town(bench: &mut Bench) -> Town {
    let limit = bench.draw(3..6) as usize;
    let hosts = &HOSTS[..bench.draw(4..6) as usize];
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
    let (mut all, mut chains) = (Vec::new(), Vec::new());
    for (host, hub) in hubs.iter().enumerate() {
        let many: Vec<String> = (0..48 / hosts.len()).map(|_| page(host, bench)).collect();
        let mut next = page(host, bench);
        links.push((hub.clone(), [many.as_slice(), hubs.as_slice()].concat()));
        links.extend(many.iter().map(|url| (url.clone(), vec![first.clone(), next.clone()])));
        all.push(many);
        for step in 1..=CHAIN {
            let (aside, on) = (page(host + step, bench), page(host + step, bench));
            chains.push(next.clone());
            links.push((next, vec![aside.clone(), on.clone()]));
            links.push((aside, vec![hub.clone()]));
            next = on;
        }
    }
    web.extend(links);
    let busy = bench.draw(0..hosts.len() as u64) as usize;
    let refused = chains.swap_remove(bench.draw(0..chains.len() as u64) as usize);
    Town { hosts, limit, first, web, many: all, busy, refused }
}

/// The first pages of each host are slow, and those of one host have to be asked for again.
fn script(town: Town) -> Script {
    let came = Mutex::new(vec![0; town.hosts.len()]);
    Script::new(move |asked, before| {
        let path = asked.path.to_owned();
        let host = town.many.iter().position(|many| many.contains(&path));
        match host {
            _ if before > 0 => Turn::default(),
            None if path == town.refused => Turn::fails(429),
            None => Turn::default(),
            Some(host) => {
                let mut came = came.lock().unwrap_or_else(PoisonError::into_inner);
                came[host] += 1;
                let is_first = came[host] <= town.limit;
                let status = (is_first && host == town.busy).then_some(429);
                Turn { status, service: is_first.then_some(SLOW), cut: false }
            }
        }
    })
}

impl Town {
    /// What the books say, and what it looks like.
    fn look(&self, verdict: &mut Verdict, ledger: &[Entry]) -> Option<&'static str> {
        let Town { hosts, limit, .. } = *self;
        let good: Vec<Entry> = ledger.iter().filter(|entry| entry.status == 200).cloned().collect();
        let each = books::each_once(verdict, &good, self.web.keys().cloned());
        let (early, never) = asked_again(verdict, ledger);
        let kept = kept(ledger);
        let said = format!(
            "{kept} pages were first asked for after all hosts had been idle for half a second; {KEPT} at most could not be known before"
        );
        verdict.check(kept <= KEPT, said);
        let asleep = self.is_asleep(verdict, ledger);
        let of_host = |host: &&str| books::under(ledger, &format!("{host}/"));
        let of_hosts: Vec<Vec<Entry>> = hosts.iter().map(of_host).collect();
        let most: Vec<usize> = of_hosts.iter().map(|own| books::most_in_flight(own)).collect();
        let list: Vec<String> = most.iter().map(ToString::to_string).collect();
        verdict.check(
            most.iter().all(|most| *most == limit),
            format!(
                "the hosts had at most {} requests at the same time; the limit is {limit}",
                list.join(", ")
            ),
        );
        let (whole, others) = (books::most_in_flight(ledger), (hosts.len() - 1) * limit);
        let said = format!(
            "all {} hosts together had {whole} at the same time, at most; all but one may have {others}",
            hosts.len()
        );
        verdict.check(whole > others, said);
        let most = most.into_iter().max().unwrap_or(0);
        let busiest = of_hosts.into_iter().max_by_key(|own| books::most_in_flight(own));
        for line in books::in_flight_chart(&busiest.unwrap_or_default(), limit) {
            verdict.show(line.replace("as the service counts them", "at the busiest host"));
        }
        let again = books::attempts(&good).values().any(|times| *times > 1);
        Some(match () {
            () if never > 0 => "gives-up",
            () if most > limit => "no-limit",
            () if again => "marked-when-fetched",
            () if !each => "empty-is-done",
            () if early > 0 => "asks-again-at-once",
            () if asleep && most == limit => "permit-asleep",
            () if kept > KEPT => "level-by-level",
            () if whole <= limit => "one-limit-for-all",
            () if whole <= others => "limit-above-all",
            () => return None,
        })
    }

    /// Whether the busy host was left alone until the first of its pages could be asked for again.
    fn is_asleep(&self, verdict: &mut Verdict, ledger: &[Entry]) -> bool {
        let mut asked = HashSet::new();
        let mut own = ledger.iter().filter(|entry| self.many[self.busy].contains(&entry.path));
        let again = own.by_ref().position(|entry| !asked.insert(&entry.path));
        let (others, all) = (asked.len().saturating_sub(self.limit), self.many[self.busy].len());
        let said = format!(
            "while {} pages of {} waited to be asked for again, {others} of its other {} were asked for",
            self.limit,
            self.hosts[self.busy],
            all - self.limit
        );
        !verdict.check(again.is_none() || others > 0, said)
    }
}

/// How many pages that were answered 429 were asked for again too early, and how many never.
fn asked_again(verdict: &mut Verdict, ledger: &[Entry]) -> (usize, usize) {
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
    (early, never)
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
