use exercise_kit::work::digest;

/// Answers one request: `ping WORD` with the word, `digest SEED ROUNDS` with the digest.
///
/// The server calls this in a task for each request, all of them on one thread.
pub async fn handle(request: String) -> String {
    let words: Vec<&str> = request.split(' ').collect();
    match words[..] {
        ["ping", word] => word.to_owned(),
        ["digest", seed, rounds] => {
            let (seed, rounds) = (number(seed), number(rounds));
            let done = std::thread::spawn(move || digest(seed, rounds)).join();
            done.expect("a digest does not panic").to_string()
        }
        _ => format!("unknown request: {request}"),
    }
}

fn number(text: &str) -> u64 {
    text.parse().expect("the judge sends numbers")
}
