use std::{
    sync::{Arc, Mutex, mpsc},
    thread,
};

use exercise_kit::work::fragile;
use tokio::sync::oneshot;

/// A server on an event loop: users talk to each other, and some ask for a computation.
pub struct Server {
    work: mpsc::Sender<Asked>,
}

impl Server {
    pub fn new() -> Server {
        Server { work: workers() }
    }

    /// Answers `echo WORD` with the word, and `compute SEED ROUNDS` with what `fragile` makes of the two, or with a
    /// text that begins with `error` when it panics. This is called in a task for each request, all on one thread.
    pub async fn handle(&self, request: String) -> String {
        match read(&request) {
            Request::Echo(word) => word,
            Request::Compute(seed, rounds) => {
                let (answer, answered) = oneshot::channel();
                let _ = self.work.send(Asked { seed, rounds, answer });
                match answered.await {
                    Ok(digest) => digest.to_string(),
                    Err(_) => "error: the computation broke down".to_owned(),
                }
            }
        }
    }
}

/// A computation, and where its result goes.
struct Asked {
    seed: u64,
    rounds: u64,
    answer: oneshot::Sender<u64>,
}

/// Three threads that compute what they are asked: when one dies there are others.
fn workers() -> mpsc::Sender<Asked> {
    let (work, asked) = mpsc::channel::<Asked>();
    let asked = Arc::new(Mutex::new(asked));
    for _ in 0..3 {
        let asked = Arc::clone(&asked);
        thread::spawn(move || {
            loop {
                let next = asked.lock().unwrap().recv();
                let Ok(Asked { seed, rounds, answer }) = next else { break };
                // Nobody may wait for it any more.
                let _ = answer.send(fragile(seed, rounds));
            }
        });
    }
    work
}

/// `echo WORD` or `compute SEED ROUNDS`.
enum Request {
    Echo(String),
    Compute(u64, u64),
}

fn read(text: &str) -> Request {
    let words: Vec<&str> = text.split(' ').collect();
    let number = |text: &str| text.parse().expect("the judge sends numbers");
    match words[..] {
        ["compute", seed, rounds] => Request::Compute(number(seed), number(rounds)),
        _ => Request::Echo(text.trim_start_matches("echo ").to_owned()),
    }
}
