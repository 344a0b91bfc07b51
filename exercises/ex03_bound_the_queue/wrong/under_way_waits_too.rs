use std::sync::Arc;

use exercise_kit::Service;
use tokio::sync::{Mutex, mpsc, oneshot};

type Waiting = (String, oneshot::Sender<String>);

/// Stands between those who order and a service that can do few orders at a time.
///
/// At most `slots` orders may be under way at the service, and at most `places` more may wait here.
pub struct FrontEnd {
    queue: mpsc::Sender<Waiting>,
}

impl FrontEnd {
    pub fn new(service: Service, slots: usize, places: usize) -> FrontEnd {
        let (queue, waiting) = mpsc::channel(places);
        let waiting = Arc::new(Mutex::new(waiting));
        for _ in 0..slots {
            tokio::spawn(work(service.clone(), Arc::clone(&waiting)));
        }
        FrontEnd { queue }
    }

    /// Returns the service's answer to an order such as `/order/7`, or `busy` at once when all slots and places are
    /// taken. This is called in a task for each order.
    pub async fn handle(&self, order: String) -> String {
        let (answer, answered) = oneshot::channel();
        if self.queue.try_send((order, answer)).is_err() {
            return "busy".to_owned();
        }
        answered.await.expect("a worker answers")
    }
}

/// One slot: takes the next order as soon as it has answered the last.
async fn work(service: Service, waiting: Arc<Mutex<mpsc::Receiver<Waiting>>>) {
    loop {
        let next = waiting.lock().await.recv().await;
        let Some((order, answer)) = next else { break };
        let _ = answer.send(ask(&service, &order).await);
    }
}

async fn ask(service: &Service, order: &str) -> String {
    match service.get(order).await {
        Ok(answer) => answer.body,
        Err(failure) => panic!("{order}: {failure}"),
    }
}
