use std::sync::Arc;

use exercise_kit::Service;
use tokio::{sync::Semaphore, task::JoinSet};

use crate::{Chunk, Source};

/// Sends every chunk to the service, and returns the answers in the order of the chunks.
///
/// At no time may more than `limit` chunks be read and not yet answered. As long as there are chunks left, `limit`
/// requests are in flight.
pub async fn embed_all(mut source: Source, service: Service, limit: usize) -> Vec<String> {
    let permits = Arc::new(Semaphore::new(limit));
    let mut tasks = JoinSet::new();
    while let Some(chunk) = source.next().await {
        let (service, permits) = (service.clone(), Arc::clone(&permits));
        tasks.spawn(async move {
            let _permit = permits.acquire().await;
            embed(&service, chunk).await
        });
    }
    let mut answers = tasks.join_all().await;
    answers.sort_unstable();
    answers.into_iter().map(|(_, answer)| answer).collect()
}

/// The number of the chunk and the service's answer.
async fn embed(service: &Service, chunk: Chunk) -> (u64, String) {
    match service.put(&format!("/embed/{}", chunk.number), chunk.text).await {
        Ok(answer) => (chunk.number, answer.body),
        Err(failure) => panic!("chunk {}: {failure}", chunk.number),
    }
}
