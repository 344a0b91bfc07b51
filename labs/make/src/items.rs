//! Items of a service that answers by a script.

use std::time::Duration;

use mock_server::{Body, Entry, Script, Service, Spec, Turn, Upstream};

use crate::{bench::Bench, books, line::Seen};

/// Items `/item/N`, numbered from a number that was drawn, with contents that nobody can guess. Their *place* is
/// counted from 0.
#[derive(Clone, Copy, Debug)]
pub struct Items {
    first: u64,
    count: u64,
    secret: u64,
}

impl Items {
    /// So many items.
    pub fn draw(bench: &mut Bench, count: u64) -> Items {
        let (first, secret) = (bench.draw(100_000..1_000_000), bench.draw(1..u64::MAX));
        Items { first, count, secret }
    }

    /// Their numbers, in the order of their places.
    #[must_use]
    pub fn numbers(&self) -> Vec<u64> {
        (self.first..self.first + self.count).collect()
    }

    /// What the item at a place is asked for by.
    #[must_use]
    pub fn path(&self, place: u64) -> String {
        format!("/item/{}", self.first + place)
    }

    /// The content of the item at a place.
    #[must_use]
    pub fn body(&self, place: u64) -> String {
        books::stamp(self.secret, &self.path(place)).to_string()
    }

    /// How many of the items at these places were replied with their content, by their numbers.
    #[must_use]
    pub fn back(&self, seen: &Seen, places: std::ops::Range<u64>) -> u64 {
        let right = |place: &u64| {
            let reply = seen.reply(self.first + place);
            reply.is_some_and(|reply| reply.text == self.body(*place))
        };
        places.filter(right).count() as u64
    }

    /// A service that has them. The script goes by an item's place and how often it was asked for before; what is
    /// no item is not there.
    pub fn spec(
        &self,
        service: Duration,
        turn: impl Fn(u64, u64) -> Turn + Send + Sync + 'static,
    ) -> Spec {
        let Items { first, count, secret } = *self;
        let script = move |path: &str, before| {
            let number = path.strip_prefix("/item/").and_then(|number| number.parse::<u64>().ok());
            let place = number.and_then(|number| number.checked_sub(first));
            place.filter(|place| *place < count).map_or(Turn::fails(404), |p| turn(p, before))
        };
        Spec {
            body: Body::made("text/plain", move |asked| {
                books::stamp(secret, asked.path).to_string().into_bytes()
            }),
            script: Some(Script::new(move |asked, before| script(asked.path, before))),
            ..Spec::new(1000, Service::Constant(service))
        }
    }

    /// The requests for each item, in the order of their places.
    #[must_use]
    pub fn tries(&self, upstream: &Upstream) -> Vec<Vec<Entry>> {
        let ledger = upstream.ledger();
        let mut by_path = books::by_path(&ledger);
        let mut tries = |place| by_path.remove(self.path(place).as_str()).unwrap_or_default();
        (0..self.count).map(|place| tries(place).into_iter().cloned().collect()).collect()
    }
}
