//! A limit at services of many kinds: computed ones, in a time of their own, and a real one.

use std::time::Duration;

use anyhow::Result;
use mock_server::{Service, Spec};

use crate::{
    bench::Bench,
    books,
    exercise::{Card, Judge, Misconception, Question},
    line::{End, Run},
    verdict::Verdict,
};

/// A limit that finds the service's capacity.
pub struct AdaptiveLimit;

/// Of the real service.
const SLOTS: usize = 8;
const SERVICE: Duration = Duration::from_millis(20);
const LENGTH_MS: u64 = 700;
/// Services that are computed.
const CASES: u64 = 5;
/// No bound on the places to wait, or on what there is to do.
const PLENTY: u64 = 1_000_000;
/// Least share of the capacity, most requests for each slot, most refusals, most in a rush: in thousandths.
const USED: u64 = 700;
const UNDER_WAY: u64 = 2500;
const REFUSED: u64 = 200;
const RUSH: u64 = 3500;

/// A service that was computed.
struct Case {
    what: &'static str,
    /// Slots, places to wait, and what there is to do at a time, of each part.
    parts: Vec<[u64; 3]>,
    /// What came of each part.
    came: Vec<Came>,
}

/// Of one part. Shares are in thousandths.
struct Came {
    under_way: u64,
    used: u64,
    refused: u64,
    low: u64,
    high: u64,
    rose: u64,
    fell: u64,
    again: u64,
    first: u64,
    samples: Vec<u64>,
}

impl Judge for AdaptiveLimit {
    fn card(&self) -> Card {
        Card {
            folder: "ex04_adaptive_limit",
            title: "A limit that finds the service's capacity",
            lab: 4,
            question: Question {
                text: "The file as it is keeps 40 requests under way at a service with 8 slots, each busy for 20 ms with a request. How long does a request take, on the mean?",
                gauge: "mean_ms",
                unit: "ms",
            },
            misconceptions: &[
                Misconception {
                    name: "constant",
                    belief: "one number for every service",
                    ask: "What would this number do at a service with a fifth of the slots, or with five times as many?",
                },
                Misconception {
                    name: "few-sizes",
                    belief: "a few sizes that are tried, of which one will fit",
                    ask: "Which numbers of slots lie between two of your sizes, and what becomes of a service that has them?",
                },
                Misconception {
                    name: "only-grows",
                    belief: "a way up and none down",
                    ask: "What lowers your limit when the service becomes smaller?",
                },
                Misconception {
                    name: "refusals-only",
                    belief: "a service that says when it has enough",
                    ask: "How would you notice that requests wait in a service that refuses nothing?",
                },
                Misconception {
                    name: "fixed-latency",
                    belief: "a number of milliseconds that is slow everywhere",
                    ask: "How long does an answer take that has not waited: here, and at a service ten times as fast?",
                },
                Misconception {
                    name: "cuts-for-each",
                    belief: "a step down for each answer that tells of the same trouble",
                    ask: "How many requests are under way when the first late answer comes, and what will their answers do?",
                },
                Misconception {
                    name: "overshoots",
                    belief: "a step up at each answer that is a share of the limit",
                    ask: "How many answers come in one service time, and by how much has the limit grown after all of them?",
                },
                Misconception {
                    name: "never-recovers",
                    belief: "a capacity that is found once and for all",
                    ask: "What raises your limit again after it was lowered?",
                },
                Misconception {
                    name: "grows-unused",
                    belief: "quick answers for a proof that more could be under way",
                    ask: "If 3 requests are under way and the limit is 10, what does a quick answer tell about 11?",
                },
            ],
            orders: false,
            pace: None,
        }
    }

    fn judge(&self, bench: &mut Bench) -> Result<Verdict> {
        let mut verdict = Verdict::new();
        let mut cases = Vec::new();
        let mut run = Run::new().give("length", LENGTH_MS).give("cases", CASES);
        for case in 0..CASES {
            let [few, many] = [bench.draw(5..9), bench.draw(30..41)];
            let plenty = |slots| [slots, PLENTY, PLENTY];
            let refusing = |slots| [slots, slots / 2, PLENTY];
            let (what, ms, parts) = match case {
                0 => (
                    "refuses what it cannot take",
                    15..25,
                    vec![refusing(few), refusing(many), refusing(few)],
                ),
                1 => ("fast, refuses nothing", 5..9, vec![plenty(many), plenty(few)]),
                2 => ("slow, refuses nothing", 150..250, vec![plenty(few), plenty(many)]),
                3 => (
                    "little to do, then much",
                    15..25,
                    vec![[few, PLENTY, bench.draw(2..4)], plenty(few)],
                ),
                _ => ("of any size, refuses", 15..25, sizes(bench).map(refusing).to_vec()),
            };
            let service = bench.draw(ms) * 1000 + bench.draw(0..1000);
            let flat = [&[service], parts.concat().as_slice()].concat();
            run = run.list(&format!("case{case}"), &flat);
            cases.push(Case { what, parts, came: Vec::new() });
        }
        let upstream = bench.upstream(Spec::new(SLOTS, Service::Constant(SERVICE)))?;
        let seen = bench.run_through(&mut verdict, run.service(&upstream))?;
        for reply in &seen.replies {
            if let (Some(case), Some(came)) = (cases.get_mut(reply.id as usize), came(&reply.text))
            {
                case.came.push(came);
            }
        }
        if cases.iter().all(|case| case.came.len() == case.parts.len()) {
            for case in &cases {
                look(&mut verdict, case);
            }
            if !verdict.holds() && seen.end == End::Finished {
                mistake(&cases).into_iter().for_each(|name| verdict.looks_like(name));
            }
        }
        let ledger = upstream.ledger();
        let later = ledger.iter().filter(|entry| {
            entry.arrived >= ledger.last().map_or(Duration::ZERO, |last| last.arrived / 2)
        });
        let took: Vec<f64> =
            later.filter_map(|e| Some((e.left? - e.arrived).as_secs_f64() * 1e3)).collect();
        verdict.measured("mean_ms", lab_kit::stats::mean(&took));
        let most = books::most_in_flight(&ledger);
        let said = format!(
            "a real service with {SLOTS} slots had {most} requests at the same time, at most"
        );
        verdict.check(most <= 4 * SLOTS, said);
        for line in books::in_flight_chart(&ledger, SLOTS) {
            verdict.show(line);
        }
        Ok(verdict)
    }
}

/// Numbers of slots from 4 to 63, in any order: two of each doubling, which lie half of it apart. One limit fits what
/// has at most some twice as many slots as another one that it fits, so that a few limits leave out one of these.
fn sizes(bench: &mut Bench) -> [u64; 8] {
    let mut sizes = [0; 8];
    for doubling in 0..4 {
        let from = f64::from(4 << doubling);
        let part = bench.draw(0..100) as f64 / 200.0;
        for (place, part) in [part, part + 0.5].into_iter().enumerate() {
            sizes[2 * doubling + place] = (from * part.exp2()) as u64;
        }
    }
    for place in (1..sizes.len()).rev() {
        sizes.swap(place, bench.draw(0..place as u64 + 1) as usize);
    }
    sizes
}

fn came(text: &str) -> Option<Came> {
    let figures: Option<Vec<u64>> = text.split(' ').map(|figure| figure.parse().ok()).collect();
    let [under_way, used, refused, low, high, rose, fell, again, first, ref samples @ ..] =
        figures?[..]
    else {
        return None;
    };
    Some(Came {
        under_way,
        used,
        refused,
        low,
        high,
        rose,
        fell,
        again,
        first,
        samples: samples.to_vec(),
    })
}

/// One computed service. What it did when little was asked of it says nothing about its capacity.
fn look(verdict: &mut Verdict, case: &Case) {
    let mut chart = String::new();
    for ([slots, _, demand], came) in case.parts.iter().zip(&case.came) {
        for sample in &came.samples {
            chart.push(['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'][(sample / 250).min(7) as usize]);
        }
        if *demand < PLENTY {
            continue;
        }
        let [under_way, used, refused, first] =
            [came.under_way, came.used, came.refused, came.first].map(|n| n as f64 / 1000.0);
        let mut holds = came.used >= USED && came.under_way <= UNDER_WAY && came.refused <= REFUSED;
        let mut said = format!(
            "{}, {slots} slots: {:.0} % of the capacity used, {under_way:.2} requests under way for each slot, {:.0} % of the answers refusals",
            case.what,
            used * 100.0,
            refused * 100.0
        );
        if case.parts[0][2] < PLENTY {
            holds &= came.first <= RUSH;
            said.push_str(&format!(", {first:.2} for each slot at first"));
        }
        verdict.check(holds, said);
    }
    verdict.show(format!("{chart}  {}", case.what));
}

/// What it looks like.
fn mistake(cases: &[Case]) -> Option<&'static str> {
    let [refusing, fast, slow, idle, sizes] = cases else { return None };
    let all = || cases.iter().flat_map(|case| &case.came);
    let any = |case: &Case, is: fn(&Came) -> bool| case.came.iter().any(is);
    let idles = |came: &Came| came.used < USED;
    let over = |came: &Came| came.under_way > UNDER_WAY;
    let swings = |came: &Came| (1000..1700).contains(&came.high) && 5 * came.low < 2 * came.high;
    Some(if all().all(|came| came.rose + came.fell == 0) {
        "constant"
    } else if all().all(|came| came.fell == 0) {
        "only-grows"
    } else if all().all(|came| came.again == 0) {
        "never-recovers"
    } else if any(refusing, |came| came.refused > REFUSED) {
        "overshoots"
    } else if [fast, slow].iter().all(|case| any(case, |came| came.under_way > 2 * UNDER_WAY)) {
        "refusals-only"
    } else if (fast.came.first().is_some_and(over) && !any(slow, over))
        || (any(slow, idles) && !any(fast, idles))
    {
        "fixed-latency"
    } else if [fast, slow].iter().any(|case| any(case, idles) && any(case, swings)) {
        "cuts-for-each"
    } else if any(idle, |came| came.first > RUSH) {
        "grows-unused"
    } else if any(sizes, idles) || any(sizes, |came| came.refused > REFUSED) {
        "few-sizes"
    } else {
        return None;
    })
}
