use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use exercise_kit::Service;
use tokio::{sync::Semaphore, task::JoinSet, time::sleep};

use crate::{host, links};

/// Fetches every page within reach of the first, once, and returns each with its url.
///
/// At no time may more than `per_host` requests be under way at one host. Other hosts do not wait for it.
pub async fn crawl(service: Service, first: String, per_host: usize) -> Vec<(String, String)> {
    let mut permits: HashMap<String, Arc<Semaphore>> = HashMap::new();
    let mut seen = HashSet::from([first.clone()]);
    let mut queue = vec![first];
    let mut tasks = JoinSet::new();
    let mut pages = Vec::new();
    loop {
        for url in queue.drain(..) {
            let of_host = permits.entry(host(&url).to_owned());
            let of_host = of_host.or_insert_with(|| Arc::new(Semaphore::new(per_host))).clone();
            tasks.spawn(fetch(service.clone(), of_host, url));
        }
        let Some(done) = tasks.join_next().await else { return pages };
        let (url, body) = done.expect("a fetch ends");
        queue.extend(links(&body).into_iter().filter(|link| seen.insert(link.clone())));
        pages.push((url, body));
    }
}

async fn fetch(service: Service, permits: Arc<Semaphore>, url: String) -> (String, String) {
    // The host may have so many of us.
    let _permit = permits.acquire().await;
    loop {
        let answer = service.get(&url).await.expect("the service answers");
        if answer.is_ok() {
            return (url, answer.body);
        }
        sleep(answer.retry_after.unwrap_or_default()).await;
    }
}
