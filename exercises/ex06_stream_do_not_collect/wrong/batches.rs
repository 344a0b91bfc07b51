use exercise_kit::Service;
use tokio::task::JoinSet;

use crate::{Chunk, Source};

/// Sends every chunk to the service, and returns the answers in the order of the chunks.
///
/// At no time may more than `limit` chunks be read and not yet answered. As long as there are chunks left, `limit`
/// requests are in flight.
pub async fn embed_all(mut source: Source, service: Service, limit: usize) -> Vec<String> {
    let mut answers = Vec::new();
    loop {
        let mut batch = JoinSet::new();
        while batch.len() < limit {
            let Some(chunk) = source.next().await else { break };
            let service = service.clone();
            batch.spawn(async move { embed(&service, chunk).await });
        }
        if batch.is_empty() {
            break;
        }
        answers.extend(batch.join_all().await);
    }
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
