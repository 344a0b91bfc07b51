//! A chooser in virtual time: how long requests took, and who got them, in five worlds.

use anyhow::Result;

use crate::{
    bench::Bench,
    exercise::{Card, Judge, Misconception, Question},
    line::{Run, Seen},
    verdict::Verdict,
};

/// Choose well.
pub struct ChooseWell;

/// Requests in each world.
const REQUESTS: u64 = 24_000;
/// Mean times, in service times: two choices take a little more than two, in turn three; at random it is five.
const SOON: f64 = 3.8;
/// With a server less, or one that is slow.
const SOON_WITH_FEWER: f64 = 4.0;
/// Of an equal part, what a server that is spared gets at most.
const SPARED: f64 = 0.7;

impl Judge for ChooseWell {
    fn card(&self) -> Card {
        Card {
            folder: "ex22_choose_well",
            title: "Choose well",
            lab: 22,
            question: Question {
                text: "Some ten servers, all alike, have four fifths of the load that they can bear. Their counts are read every 20 service times, and the file as it is takes the least of them. At random a request would take 5 service times on average. How many does it take with the file as it is?",
                gauge: "mean_time",
                unit: "service times",
            },
            misconceptions: &[
                Misconception {
                    name: "herd",
                    belief: "the least of counts that were true a while ago for the least of now",
                    ask: "A hundred requests come before the counts are read again. Where do they all go?",
                },
                Misconception {
                    name: "old-counts",
                    belief: "a choice of two by counts that are older than the lines are",
                    ask: "What do you know of each server without reading anything?",
                },
                Misconception {
                    name: "as-good-as-random",
                    belief: "two looks at the same server for a choice of two",
                    ask: "How often are the two that you compare two different ones?",
                },
                Misconception {
                    name: "counts-for-ever",
                    belief: "what was sent for what is in flight",
                    ask: "A server has answered all that it got. What does your count say?",
                },
                Misconception {
                    name: "errors-are-answers",
                    belief: "a server that refuses at once for one that is quick",
                    ask: "What is in flight at a server that refuses everything?",
                },
                Misconception {
                    name: "out-for-ever",
                    belief: "a server that failed once for one that always will",
                    ask: "Who tells your chooser that a server works again, when it is never asked?",
                },
                Misconception {
                    name: "full-trust",
                    belief: "time that has passed for a proof that a server works again",
                    ask: "A server that was out is tried again, and refuses. How many more requests does it get?",
                },
                Misconception {
                    name: "not-in-a-row",
                    belief: "a few errors among many answers for a server that is down",
                    ask: "What does an answer say about the errors before it?",
                },
                Misconception {
                    name: "nobody-left",
                    belief: "that somebody can always be asked",
                    ask: "All servers are out. What does your chooser return?",
                },
            ],
            orders: false,
            pace: None,
        }
    }

    fn judge(&self, bench: &mut Bench) -> Result<Verdict> {
        let mut verdict = Verdict::new();
        let servers = bench.draw(9..12);
        let (strikes, out_for) = (bench.draw(3..5), bench.draw(40..60));
        let odd = bench.draw(0..servers);
        let run = Run::new()
            .give("servers", servers)
            .give("strikes", strikes)
            .give("out_for", out_for)
            .give("odd", odd)
            .give("requests", REQUESTS)
            .give("seed", bench.draw(1..u64::MAX));
        let seen = bench.run_through(&mut verdict, run)?;
        let told: Vec<Option<World>> = (0..5).map(|id| World::told(&seen, id)).collect();
        if let [Some(alike), Some(slow), Some(fails), Some(now_and_then), all_fail] = &told[..] {
            let given = Given { servers: servers as f64, strikes, out_for: out_for as f64 };
            verdict.measured("mean_time", alike.mean);
            let mistake = alike
                .judged(&mut verdict, slow, &given)
                .or(slow.judged_slow(&mut verdict, &given))
                .or(fails.judged_failing(&mut verdict, &given))
                .or(now_and_then.judged_now_and_then(&mut verdict))
                .or(judged_all_failing(all_fail.as_ref(), &mut verdict, &given));
            mistake.into_iter().for_each(|mistake| verdict.looks_like(mistake));
        } else {
            verdict.check(false, "the chooser did not come to the end of four worlds");
        }
        Ok(verdict)
    }
}

/// What was drawn.
struct Given {
    servers: f64,
    strikes: u64,
    out_for: f64,
}

/// What came of one world.
#[derive(Clone, Copy)]
struct World {
    /// Mean time of an answer, in service times.
    mean: f64,
    refused: f64,
    /// Requests to the odd server, and those in the last quarter.
    to_odd: f64,
    to_odd_last: f64,
    /// The largest part of what comes between two readings that goes to one server.
    top: f64,
    /// The fewest requests of a server in the last quarter.
    fewest: f64,
    /// How long it lasted.
    lasted: f64,
}

impl World {
    fn told(seen: &Seen, id: u64) -> Option<World> {
        let reply = seen.reply(id)?;
        let figures: Vec<f64> = reply.text.split(' ').filter_map(|f| f.parse().ok()).collect();
        let [mean, refused, to_odd, to_odd_last, top, fewest, lasted] = figures[..] else {
            return None;
        };
        let (mean, top) = (mean / 1000.0, top / 1000.0);
        Some(World { mean, refused, to_odd, to_odd_last, top, fewest, lasted })
    }

    /// Of all requests, those to the odd server.
    fn share(&self) -> f64 {
        self.to_odd / REQUESTS as f64
    }

    /// All alike. What is as slow as chance, and yet spares a slow server, has looked at counts.
    fn judged(&self, verdict: &mut Verdict, slow: &World, given: &Given) -> Option<&'static str> {
        let said = format!(
            "servers all alike: an answer took {:.1} service times on average; {SOON} are enough, at random it would be 5",
            self.mean
        );
        let mistake = match self.top {
            top if top > 0.3 => "herd",
            _ if slow.share() <= SPARED / given.servers => "old-counts",
            _ => "as-good-as-random",
        };
        (!verdict.check(self.mean <= SOON, said)).then_some(mistake)
    }

    fn judged_slow(&self, verdict: &mut Verdict, given: &Given) -> Option<&'static str> {
        let share = self.share();
        let said = format!(
            "one that takes five times as long got {:.1} % of all requests, and an answer took {:.1} service times",
            100.0 * share,
            self.mean
        );
        let holds =
            verdict.check(share <= SPARED / given.servers && self.mean <= SOON_WITH_FEWER, said);
        (!holds).then_some("counts-for-ever")
    }

    /// One refuses in the middle third.
    fn judged_failing(&self, verdict: &mut Verdict, given: &Given) -> Option<&'static str> {
        let tries = self.lasted / 3.0 / given.out_for;
        // One of each time that it is back, and as many as it takes to begin with.
        let most = given.strikes as f64 + 1.3 * tries + 3.0;
        let said = format!(
            "one that refused for a third of the time was asked {} times while it did; {most:.0} are enough to put it out and to see each {} service times whether it is back",
            self.refused, given.out_for
        );
        let few = verdict.check(self.refused <= most, said);
        let part = 0.25 * REQUESTS as f64 / given.servers;
        let said = format!(
            "in the last quarter, when it had long been back, it got {} requests; an equal part would be {part:.0}",
            self.to_odd_last
        );
        let back = verdict.check(self.to_odd_last >= 0.6 * part, said);
        match (few, back) {
            (true, true) => None,
            (_, false) => Some("out-for-ever"),
            // Strikes anew for each time that it is back, and not one.
            _ if self.refused <= 1.3 * given.strikes as f64 * (tries + 1.0) + 3.0 => {
                Some("full-trust")
            }
            _ => Some("errors-are-answers"),
        }
    }

    /// Everybody refuses one in fifty.
    fn judged_now_and_then(&self, verdict: &mut Verdict) -> Option<&'static str> {
        let said = format!(
            "where everybody refuses one in fifty, an answer took {:.1} service times on average",
            self.mean
        );
        (!verdict.check(self.mean <= SOON, said)).then_some("not-in-a-row")
    }
}

/// Everybody refuses, for a while; nothing where the chooser did not come to its end.
fn judged_all_failing(
    world: Option<&World>,
    verdict: &mut Verdict,
    given: &Given,
) -> Option<&'static str> {
    let Some(world) = world else {
        verdict.check(false, "when all were out, the chooser came to its end");
        return Some("nobody-left");
    };
    let part = 0.25 * REQUESTS as f64 / given.servers;
    let said = format!(
        "after a while in which everybody refused, each got {} requests or more in the last quarter; an equal part would be {part:.0}",
        world.fewest
    );
    (!verdict.check(world.fewest >= 0.5 * part, said)).then_some("out-for-ever")
}
