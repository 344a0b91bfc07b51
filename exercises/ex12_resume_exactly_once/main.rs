//! Carries items from a source to a store, a few at a time, with a journal that outlives this process.

mod exercise;

use std::{collections::VecDeque, sync::Arc};

use exercise_kit::{Service, harness};
use tokio::task::JoinSet;

/// Where items come from.
#[derive(Clone)]
pub struct Source(Service);

/// Where items go.
#[derive(Clone)]
pub struct Store {
    service: Service,
    run: u64,
}

/// What outlives this process.
#[derive(Clone)]
pub struct Journal {
    service: Service,
    run: u64,
    lines: Arc<[String]>,
}

impl Source {
    /// The content of an item.
    pub async fn fetch(&self, item: u64) -> String {
        done(self.0.get(&format!("/item/{item}")).await)
    }
}

impl Store {
    /// Puts an item under a key, a word of letters, digits and dashes. It is there when this returns, and perhaps
    /// before. With a key that the store knows it changes nothing.
    pub async fn put(&self, item: u64, key: &str, content: String) {
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '-';
        assert!(!key.is_empty() && key.chars().all(plain), "`{key}` is no key");
        let path = format!("/run/{}/store/{item}?{key}", self.run);
        done(self.service.put(&path, content).await);
    }
}

impl Journal {
    /// Adds a line. It is safe when this returns, and perhaps before.
    pub async fn append(&self, line: &str) {
        done(self.service.put(&format!("/run/{}/journal", self.run), line.to_owned()).await);
    }

    /// The lines that were written before this process began.
    pub fn lines(&self) -> &[String] {
        &self.lines
    }
}

/// The source, the store and the journal do not fail: they answer, or this process is killed.
fn done(answer: Result<exercise_kit::Answer, exercise_kit::Failure>) -> String {
    let answer = answer.unwrap_or_else(|failure| panic!("{failure}"));
    assert!(answer.is_ok(), "the service answered {}", answer.status);
    answer.body
}

fn main() {
    let line = harness::open();
    let (run, window): (u64, usize) = (line.given("run"), line.given("window"));
    let lines: String = line.given("journal");
    let lines: Arc<[String]> = lines.lines().map(str::to_owned).collect();
    let items: Vec<u64> = line.list("items");
    harness::event_loop(async {
        let service = line.service();
        let journal = Journal { service: service.clone(), run, lines };
        let (source, store) = (Source(service.clone()), Store { service, run });
        let mut todo: VecDeque<u64> = exercise::todo(&items, journal.lines()).into();
        let mut under_way = JoinSet::new();
        loop {
            while under_way.len() < window
                && let Some(item) = todo.pop_front()
            {
                let (source, store, journal) = (source.clone(), store.clone(), journal.clone());
                under_way.spawn(exercise::carry(item, source, store, journal));
            }
            let Some(carried) = under_way.join_next().await else { break };
            carried.expect("carrying an item does not panic");
        }
        line.end();
    });
}
