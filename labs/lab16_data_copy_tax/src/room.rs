//! The consumer of the arms that stay inside one process: a thread.

use std::{
    ops::Deref,
    sync::mpsc::{Receiver, Sender, channel},
    thread,
};

use anyhow::{Result, anyhow};

use super::child::Answer;
use lab_kit::seats::sit;

/// A consumer on a thread of this process, and the producer's bytes.
pub struct Room<T> {
    /// The producer's bytes.
    pub own: T,
    to: Sender<(u64, T)>,
    from: Receiver<Answer>,
}

impl<T: Deref<Target = [u8]> + Send + 'static> Room<T> {
    /// Starts a consumer on a processor.
    ///
    /// # Errors
    /// When the system has no more threads.
    pub fn open(own: T, seat: Option<usize>) -> Result<Room<T>> {
        let (to, payloads) = channel::<(u64, T)>();
        let (answers, from) = channel();
        let consume = move || {
            let _seated = sit(seat);
            for (seq, payload) in payloads {
                let answer = Answer::to(seq, &payload);
                // Let go of it first: the answer says that it is the producer's again.
                drop(payload);
                if answers.send(answer).is_err() {
                    break;
                }
            }
        };
        let thread = thread::Builder::new().name("consumer".into());
        thread.spawn(consume)?;
        Ok(Room { own, to, from })
    }

    /// Hands over and waits for the answer.
    ///
    /// # Errors
    /// When the consumer is no longer there.
    pub fn send(&self, seq: u64, payload: T) -> Result<Answer> {
        let gone = |_| anyhow!("the consumer's thread is gone");
        self.to.send((seq, payload)).map_err(|_| anyhow!("the consumer's thread is gone"))?;
        self.from.recv().map_err(gone)
    }
}
