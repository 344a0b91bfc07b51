use exercise_kit::Service;

use crate::{Chunk, Source};

/// Sends every chunk to the service, and returns the answers in the order of the chunks.
///
/// At no time may more than `limit` chunks be read and not yet answered. As long as there are chunks left, `limit`
/// requests are in flight.
pub async fn embed_all(mut source: Source, service: Service, limit: usize) -> Vec<String> {
    let _ = limit;
    let mut answers = Vec::new();
    while let Some(chunk) = source.next().await {
        let (_, answer) = embed(&service, chunk).await;
        answers.push(answer);
    }
    answers
}

/// The number of the chunk and the service's answer.
async fn embed(service: &Service, chunk: Chunk) -> (u64, String) {
    match service.put(&format!("/embed/{}", chunk.number), chunk.text).await {
        Ok(answer) => (chunk.number, answer.body),
        Err(failure) => panic!("chunk {}: {failure}", chunk.number),
    }
}
