use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
};

use hyper::body::Bytes;

/// How many texts somebody keeps, and the most that there were.
static KEPT: (AtomicUsize, AtomicUsize) = (AtomicUsize::new(0), AtomicUsize::new(0));

/// A text to be handed to a service. Clones share it.
#[derive(Clone)]
pub struct Text(Arc<Counted>);

/// It counts itself as long as it lives.
struct Counted(String);

impl Text {
    /// From what is in it.
    #[must_use]
    pub fn new(text: String) -> Text {
        KEPT.1.fetch_max(KEPT.0.fetch_add(1, SeqCst) + 1, SeqCst);
        Text(Arc::new(Counted(text)))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        KEPT.0.fetch_sub(1, SeqCst);
    }
}

impl AsRef<[u8]> for Text {
    fn as_ref(&self) -> &[u8] {
        self.0.0.as_bytes()
    }
}

impl From<Text> for Bytes {
    fn from(text: Text) -> Bytes {
        Bytes::from_owner(text)
    }
}

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a text of {} bytes", self.0.0.len())
    }
}

/// The most texts that there were at the same time.
pub(crate) fn most() -> usize {
    KEPT.1.load(SeqCst)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_counts_until_its_last_clone_is_gone() {
        let (first, second) = (Text::new("a".to_owned()), Text::new("b".to_owned()));
        let sent = Bytes::from(first.clone());
        drop(first);
        assert_eq!((KEPT.0.load(SeqCst), most()), (2, 2));
        drop((sent, second));
        assert_eq!(KEPT.0.load(SeqCst), 0);
        drop(Text::new("c".to_owned()));
        assert_eq!(most(), 2);
    }
}
