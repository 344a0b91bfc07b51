//! Asks for every item of the judge's, by the exercise's function.

mod exercise;

use exercise_kit::harness;

fn main() {
    let line = harness::open();
    let (items, limit): (Vec<u64>, usize) = (line.list("items"), line.given("limit"));
    harness::event_loop(async {
        let answers = exercise::fetch_all(line.service(), items, limit).await;
        for (place, answer) in answers.into_iter().enumerate() {
            line.reply(place as u64, answer);
        }
        line.end();
    });
}
