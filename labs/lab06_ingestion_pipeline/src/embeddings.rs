//! The embeddings service: what the mock upstream answers, and how an answer is read.

use anyhow::{Context, Result, ensure};
use lab_kit::prelude::*;
use mock_server::Body;

/// A service that embeds text in so many dimensions, by the hashing trick (Weinberger et al.,
/// 2009): every word adds or subtracts one in a dimension its digest picks. Small whole numbers, as
/// quantised embeddings are.
pub fn body(dimensions: usize) -> Body {
    Body::made("application/json", move |asked| answer(asked.body, dimensions))
}

/// Bytes of an answer at most.
pub fn longest(dimensions: usize) -> f64 {
    (5 * dimensions + 20) as f64
}

fn answer(text: &[u8], dimensions: usize) -> Vec<u8> {
    let mut embedding = vec![0i8; dimensions];
    for word in text.split(u8::is_ascii_whitespace) {
        let digest = super::text::digest(word);
        let at = &mut embedding[(digest >> 1) as usize % dimensions];
        *at = at.saturating_add(if digest & 1 == 0 { 1 } else { -1 });
    }
    let mut json = Vec::with_capacity(3 * dimensions + 20);
    json.extend(b"{\"embedding\":[");
    for (i, v) in embedding.iter().enumerate() {
        json.extend((i > 0).then_some(b','));
        json.extend(v.to_string().bytes());
    }
    json.extend(b"]}");
    json
}

#[derive(Deserialize)]
struct Answer {
    embedding: Vec<i8>,
}

/// Reads an answer.
///
/// # Errors
/// When it is none, or has other dimensions.
pub fn read(answer: &[u8], dimensions: usize) -> Result<Vec<i8>> {
    let Answer { embedding } =
        serde_json::from_slice(answer).context("the service's answer is no embedding")?;
    ensure!(
        embedding.len() == dimensions,
        "the service answered {} dimensions instead of {dimensions}",
        embedding.len()
    );
    Ok(embedding)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_read_as_it_was_meant() {
        let embedding = read(&answer(b"to be or not to be", 8), 8).unwrap();
        let words: i32 = embedding.iter().map(|v| i32::from(v.unsigned_abs())).sum();
        assert!(words > 0 && words <= 6);
        let text = format!("{:#}", read(&answer(b"a", 8), 9).unwrap_err());
        assert!(text.contains("8 dimensions instead of 9"), "{text}");
        assert!(read(b"{}", 1).is_err());
    }
}
