//! Chunks of a source, which the judge watches, go to a service by the exercise's function.

mod exercise;

use exercise_kit::harness;

pub use source::{Chunk, Source};

/// In place of a chunk: the most texts that were kept at the same time.
const TEXTS: u64 = u64::MAX;

fn main() {
    let line = harness::open();
    let (chunks, limit): (Vec<u64>, usize) = (line.list("chunks"), line.given("limit"));
    harness::event_loop(async {
        let source = Source::new(line.service(), chunks);
        let answers = exercise::embed_all(source, line.service(), limit).await;
        for (place, answer) in (0..).zip(answers) {
            line.reply(place, answer);
        }
        line.reply(TEXTS, line.most_texts());
        line.end();
    });
}

mod source {
    use exercise_kit::{Service, Text};
    use tokio::task::JoinHandle;

    /// A part of a long text.
    #[derive(Debug)]
    pub struct Chunk {
        /// Later chunks have higher numbers.
        pub number: u64,
        /// What is to be sent.
        pub text: Text,
    }

    /// A long text. It is read a chunk at a time, when the next one is asked for.
    pub struct Source {
        service: Service,
        chunks: std::vec::IntoIter<u64>,
        under_way: Option<JoinHandle<Chunk>>,
    }

    impl Source {
        pub(crate) fn new(service: Service, chunks: Vec<u64>) -> Source {
            Source { service, chunks: chunks.into_iter(), under_way: None }
        }

        /// Reads the next chunk; none at the end of the text. Who gives up waiting gets it the next time.
        pub async fn next(&mut self) -> Option<Chunk> {
            if self.under_way.is_none() {
                let (number, service) = (self.chunks.next()?, self.service.clone());
                self.under_way = Some(tokio::spawn(read(service, number)));
            }
            let chunk = self.under_way.as_mut()?.await;
            self.under_way = None;
            Some(chunk.expect("a chunk can be read"))
        }
    }

    async fn read(service: Service, number: u64) -> Chunk {
        match service.get(&format!("/chunk/{number}")).await {
            Ok(answer) => Chunk { number, text: Text::new(answer.body) },
            Err(failure) => panic!("chunk {number}: {failure}"),
        }
    }
}
