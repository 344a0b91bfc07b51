//! A client with plenty to do and the learner's limit: first at a model of a service, in a time that is only computed,
//! then at a real one.

mod exercise;

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, VecDeque},
    time::{Duration, Instant},
};

use exercise::Limit;
use exercise_kit::harness;
use tokio::task::JoinSet;

/// Most requests that the client can have under way, whatever the limit says.
const MOST: usize = 200;
/// So many service times each part of a case lasts.
const ROUNDS: u64 = 300;
/// Samples of each part for the chart.
const SAMPLES: u64 = 20;

fn main() {
    let line = harness::open();
    for case in 0..line.given("cases") {
        let given: Vec<u64> = line.list(&format!("case{case}"));
        let mut model = Model::new(given[0]);
        for part in given[1..].chunks(3) {
            model.places = part[1] as usize;
            line.reply(case, model.part(part[0] as usize, part[2] as usize));
        }
    }
    harness::event_loop(real(&line));
    line.end();
}

/// Slots that are busy for the same time with each request, and places to wait. Times are in microseconds.
struct Model {
    limit: Limit,
    service: u64,
    places: usize,
    now: u64,
    /// When each slot is free.
    slots: BinaryHeap<Reverse<u64>>,
    /// Answers by the time they come: when, when it was sent, whether it was served.
    answers: BinaryHeap<Reverse<(u64, u64, bool)>>,
    /// When those end that the service has.
    inside: VecDeque<u64>,
    fell: bool,
}

impl Model {
    fn new(service: u64) -> Model {
        let limit = Limit::new();
        let (slots, answers, inside) = Default::default();
        Model { limit, service, places: 0, now: 0, slots, answers, inside, fell: false }
    }

    /// With so many slots, and so much to do at a time. What came of it: thousandths of the slots under way in the
    /// later half, of what the slots could serve, of answers that were refusals, of slots for the least and the
    /// highest limit; how often the limit rose, fell, and rose after it had fallen; how high it was at first, in
    /// thousandths; then samples of it.
    fn part(&mut self, slots: usize, demand: usize) -> String {
        let mut free: Vec<_> = std::mem::take(&mut self.slots).into_vec();
        free.sort_unstable_by_key(|Reverse(free)| Reverse(*free));
        free.resize(slots, Reverse(self.now));
        self.slots = free.into();
        let (began, length) = (self.now, ROUNDS * self.service);
        let (mut area, mut served, mut refused) = (0, 0, 0);
        let (mut low, mut high, mut first) = (usize::MAX, 0, 0);
        let (mut rose, mut fell, mut again) = (0, 0, 0);
        let mut samples = Vec::new();
        loop {
            while self.answers.len() < self.limit.current().min(demand).min(MOST) {
                self.send();
            }
            let due = self.answers.peek().map_or(u64::MAX, |Reverse((due, ..))| *due);
            let until = due.min(began + length);
            let later = until.saturating_sub(self.now.max(began + length / 2));
            area += later * self.answers.len() as u64;
            self.now = until;
            while samples.len() as u64 * length / SAMPLES <= until - began {
                samples.push((1000 * self.limit.current() / slots).to_string());
            }
            if due >= began + length {
                break;
            }
            let Some(Reverse((_, sent, ok))) = self.answers.pop() else { break };
            let before = self.limit.current();
            self.limit.answered(Duration::from_micros(until - sent), ok, self.answers.len() + 1);
            let limit = self.limit.current();
            again += u64::from(limit > before && self.fell);
            rose += u64::from(limit > before);
            fell += u64::from(limit < before);
            self.fell |= limit < before;
            if until - began < length / 8 {
                first = first.max(self.answers.len());
            }
            if until >= began + length / 2 {
                (served, refused) = (served + u64::from(ok), refused + u64::from(!ok));
                (low, high) = (low.min(limit), high.max(limit));
            }
        }
        let (slots, half) = (slots as u64, length / 2);
        let share = |part: u64, whole: u64| 1000 * part / whole.max(1);
        let figures = [
            share(area, slots * half),
            share(served * self.service, slots * half),
            share(refused, served + refused),
            share(low.min(high) as u64, slots),
            share(high as u64, slots),
            rose,
            fell,
            again,
            share(first as u64, slots),
        ];
        format!("{} {}", figures.map(|figure| figure.to_string()).join(" "), samples.join(" "))
    }

    fn send(&mut self) {
        while self.inside.front().is_some_and(|end| *end <= self.now) {
            self.inside.pop_front();
        }
        if self.inside.len() >= self.slots.len() + self.places {
            // It takes little time to say no.
            self.answers.push(Reverse((self.now + self.service / 10, self.now, false)));
            return;
        }
        let Reverse(free) = self.slots.pop().expect("a service has a slot");
        let end = free.max(self.now) + self.service;
        self.slots.push(Reverse(end));
        self.inside.push_back(end);
        self.answers.push(Reverse((end, self.now, true)));
    }
}

/// The same client at the judge's service, for a while.
async fn real(line: &harness::Line) {
    let (service, mut limit) = (line.service(), Limit::new());
    let length = Duration::from_millis(line.given("length"));
    let (began, mut tasks, mut number) = (Instant::now(), JoinSet::new(), 0);
    loop {
        while began.elapsed() < length && tasks.len() < limit.current().min(MOST) {
            let (service, path) = (service.clone(), format!("/item/{number}"));
            number += 1;
            tasks.spawn(async move {
                let sent = Instant::now();
                let answer = service.get(&path).await;
                (sent.elapsed(), answer.is_ok_and(|answer| answer.is_ok()))
            });
        }
        let under_way = tasks.len();
        let Some(done) = tasks.join_next().await else { break };
        let (took, ok) = done.expect("a request does not panic");
        limit.answered(took, ok, under_way);
    }
}
