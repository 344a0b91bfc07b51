//! Messages on a pipe.
//!
//! A pipe carries bytes, not messages: what is written at once may be read in pieces, and two
//! messages at once. So each message is sent as a *frame*: its length in four bytes, the most
//! significant one first, and then so many bytes.

use std::io::{self, ErrorKind, Read, Write};

/// Most bytes in a frame. Without a bound, four bytes of nonsense would ask for four gigabytes.
pub const LARGEST: usize = 1 << 20;

/// Writes a frame and sends it on its way.
///
/// # Errors
/// `InvalidInput` when it is longer than [`LARGEST`]; what the pipe says otherwise.
pub fn write_frame(to: &mut impl Write, payload: &[u8]) -> io::Result<()> {
    if payload.len() > LARGEST {
        return Err(ErrorKind::InvalidInput.into());
    }
    let length = (payload.len() as u32).to_be_bytes();
    // In one piece: another system call for four bytes would be as expensive as the whole.
    to.write_all(&[&length, payload].concat())?;
    to.flush()
}

/// Reads a frame, however it arrives in pieces; `None` when the other side has ended after a whole
/// one.
///
/// # Errors
/// `UnexpectedEof` when the other side has ended within a frame; `InvalidData` when the length is
/// more than [`LARGEST`]; what the pipe says otherwise.
pub fn read_frame(from: &mut impl Read) -> io::Result<Option<Vec<u8>>> {
    let mut length = [0; 4];
    // The end may come before the first byte, and not after it.
    let first = loop {
        match from.read(&mut length[..1]) {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            read => break read?,
        }
    };
    if first == 0 {
        return Ok(None);
    }
    from.read_exact(&mut length[1..])?;
    let length = u32::from_be_bytes(length) as usize;
    if length > LARGEST {
        return Err(ErrorKind::InvalidData.into());
    }
    let mut payload = vec![0; length];
    from.read_exact(&mut payload)?;
    Ok(Some(payload))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Bytes that arrive in pieces of these sizes, over and over, with an interruption between two.
    struct Pieces<'a> {
        bytes: &'a [u8],
        sizes: &'a [usize],
        turn: usize,
    }

    impl Read for Pieces<'_> {
        fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
            self.turn += 1;
            if self.turn.is_multiple_of(2) {
                return Err(ErrorKind::Interrupted.into());
            }
            let piece = self.sizes[self.turn / 2 % self.sizes.len()];
            let n = piece.min(into.len()).min(self.bytes.len());
            let (now, later) = self.bytes.split_at(n);
            into[..n].copy_from_slice(now);
            self.bytes = later;
            Ok(n)
        }
    }

    fn written(messages: &[Vec<u8>]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for message in messages {
            write_frame(&mut bytes, message).unwrap();
        }
        bytes
    }

    proptest! {
        #[test]
        fn any_split_of_the_bytes_gives_the_same_messages(
            messages in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 0..20),
            sizes in prop::collection::vec(1usize..40, 1..10),
        ) {
            let bytes = written(&messages);
            let mut pieces = Pieces { bytes: &bytes, sizes: &sizes, turn: 0 };
            for message in &messages {
                prop_assert_eq!(read_frame(&mut pieces).unwrap(), Some(message.clone()));
            }
            prop_assert_eq!(read_frame(&mut pieces).unwrap(), None);
        }

        /// Cut off anywhere, whole messages come out whole, and the torn one is an error.
        #[test]
        fn a_torn_frame_is_an_error_and_no_message(
            messages in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..50), 1..6),
            cut in 0.0..1.0f64,
        ) {
            let bytes = written(&messages);
            let at = (bytes.len() as f64 * cut) as usize;
            let mut left = &bytes[..at];
            let (mut read, mut length) = (0, 0);
            let ended = loop {
                match read_frame(&mut left) {
                    Ok(Some(message)) => { prop_assert_eq!(&message, &messages[read]); length += 4 + message.len(); read += 1; }
                    Ok(None) => break true,
                    Err(error) => { prop_assert_eq!(error.kind(), ErrorKind::UnexpectedEof); break false; }
                }
            };
            prop_assert_eq!(ended, length == at);
        }

        #[test]
        fn nonsense_never_asks_for_much(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            let mut left = &bytes[..];
            while let Ok(Some(message)) = read_frame(&mut left) { prop_assert!(message.len() <= bytes.len()); }
        }
    }

    #[test]
    fn lengths_have_a_bound() {
        assert_eq!(read_frame(&mut &[255u8; 8][..]).unwrap_err().kind(), ErrorKind::InvalidData);
        let long = vec![0; LARGEST + 1];
        assert_eq!(
            write_frame(&mut io::sink(), &long).unwrap_err().kind(),
            ErrorKind::InvalidInput
        );
        let bytes = written(&[vec![1; LARGEST]]);
        assert_eq!(read_frame(&mut &bytes[..]).unwrap().map(|m| m.len()), Some(LARGEST));
    }
}
