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
    // And not too many in all.
    let all = Arc::new(Semaphore::new(per_host + 1));
    let mut seen = HashSet::from([first.clone()]);
    let mut queue = vec![first];
    let mut tasks = JoinSet::new();
    let mut pages = Vec::new();
    loop {
        for url in queue.drain(..) {
            let of_host = permits.entry(host(&url).to_owned());
            let of_host = of_host.or_insert_with(|| Arc::new(Semaphore::new(per_host))).clone();
            tasks.spawn(fetch(service.clone(), [of_host, Arc::clone(&all)], url));
        }
        let Some(done) = tasks.join_next().await else { return pages };
        let (url, body) = done.expect("a fetch ends");
        queue.extend(links(&body).into_iter().filter(|link| seen.insert(link.clone())));
        pages.push((url, body));
    }
}

async fn fetch(service: Service, permits: [Arc<Semaphore>; 2], url: String) -> (String, String) {
    loop {
        let [of_host, all] = &permits;
        let permit = (of_host.acquire().await, all.acquire().await);
        let answer = service.get(&url).await.expect("the service answers");
        drop(permit);
        if answer.is_ok() {
            return (url, answer.body);
        }
        sleep(answer.retry_after.unwrap_or_default()).await;
    }
}
