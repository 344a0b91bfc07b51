use exercise_kit::work::fragile;

/// A server on an event loop: users talk to each other, and some ask for a computation.
pub struct Server;

impl Server {
    pub fn new() -> Server {
        Server
    }

    /// Answers `echo WORD` with the word, and `compute SEED ROUNDS` with what `fragile` makes of the two, or with a
    /// text that begins with `error` when it panics. This is called in a task for each request, all on one thread.
    pub async fn handle(&self, request: String) -> String {
        match read(&request) {
            Request::Echo(word) => word,
            Request::Compute(seed, rounds) => {
                // A thread that may block, and a panic there ends this one computation: it arrives here as an error.
                let done = tokio::task::spawn_blocking(move || fragile(seed, rounds)).await;
                match done {
                    Ok(digest) => digest.to_string(),
                    Err(_) => "error: the computation broke down".to_owned(),
                }
            }
        }
    }
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
