use exercise_kit::Service;
use tokio::task::JoinSet;

use crate::{Chunk, Source};

/// Sends every chunk to the service, and returns the answers in the order of the chunks.
///
/// At no time may more than `limit` chunks be read and not yet answered. As long as there are chunks left, `limit`
/// requests are in flight.
pub async fn embed_all(mut source: Source, service: Service, limit: usize) -> Vec<String> {
    let mut tasks = JoinSet::new();
    let mut answers = Vec::new();
    loop {
        if tasks.len() == limit {
            answers.extend(tasks.join_next().await.map(|done| done.expect("a task ends")));
        }
        let Some(chunk) = source.next().await else { break };
        let service = service.clone();
        tasks.spawn(async move { embed(&service, chunk).await });
    }
    answers.extend(tasks.join_all().await);
    answers.sort_unstable_by_key(|(chunk, _)| chunk.number);
    answers.into_iter().map(|(_, answer)| answer).collect()
}

/// The chunk and the service's answer.
async fn embed(service: &Service, chunk: Chunk) -> (Chunk, String) {
    match service.put(&format!("/embed/{}", chunk.number), chunk.text.clone()).await {
        Ok(answer) => (chunk, answer.body),
        Err(failure) => panic!("chunk {}: {failure}", chunk.number),
    }
}
