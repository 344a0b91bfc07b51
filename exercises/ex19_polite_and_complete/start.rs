use std::collections::{HashSet, VecDeque};

use exercise_kit::Service;

use crate::links;

/// Fetches every page within reach of the first, once, and returns each with its url.
///
/// At no time may more than `per_host` requests be under way at one host. Other hosts do not wait for it.
pub async fn crawl(service: Service, first: String, per_host: usize) -> Vec<(String, String)> {
    let _ = per_host;
    let mut seen = HashSet::from([first.clone()]);
    let mut queue = VecDeque::from([first]);
    let mut pages = Vec::new();
    while let Some(url) = queue.pop_front() {
        let answer = service.get(&url).await.expect("the service answers");
        if !answer.is_ok() {
            continue;
        }
        for link in links(&answer.body) {
            if seen.insert(link.clone()) {
                queue.push_back(link);
            }
        }
        pages.push((url, answer.body));
    }
    pages
}
