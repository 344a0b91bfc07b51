//! An answer of HTTP/1.1, read as its bytes come (RFC 9112).
//!
//! Heads are read by httparse and looked at where they lie: who only wants to know whether an answer is
//! right needs no map of its headers and no copy of its body.

use std::mem::MaybeUninit;

use httparse::{EMPTY_HEADER, ParserConfig, Response, Status};
use lab_kit::load::{Failure, Outcome};

use crate::target::Reading;

/// The most headers of an answer.
const HEADERS: usize = 64;

/// What came is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Broken;

/// An answer that is being read.
pub(crate) struct Answer<'a> {
    part: Part,
    status: u16,
    keeps: bool,
    reading: Reading<'a>,
}

/// What comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Head,
    /// So many bytes of the body.
    Length(u64),
    /// Everything until the connection is closed.
    UntilClosed,
    ChunkSize,
    Chunk(u64),
    ChunkEnd,
    Trailers,
    Nothing,
}

impl<'a> Answer<'a> {
    /// Nothing of it has come.
    pub(crate) fn new(reading: Reading<'a>) -> Answer<'a> {
        Answer { part: Part::Head, status: 0, keeps: true, reading }
    }

    /// Takes what it can of the bytes that have come and returns how many. What it leaves is to be
    /// given again, with more behind it.
    ///
    /// # Errors
    /// When this is no answer.
    pub(crate) fn take(&mut self, bytes: &[u8]) -> Result<usize, Broken> {
        let mut taken = 0;
        loop {
            let rest = &bytes[taken..];
            let n = match self.part {
                Part::Nothing => return Ok(taken),
                Part::Head => self.head(rest)?,
                Part::Length(left) => self.body(rest, left, Part::Length, Part::Nothing),
                Part::Chunk(left) => self.body(rest, left, Part::Chunk, Part::ChunkEnd),
                Part::UntilClosed => {
                    self.reading.take(rest);
                    rest.len()
                }
                Part::ChunkSize => match httparse::parse_chunk_size(rest).map_err(|_| Broken)? {
                    Status::Partial => 0,
                    Status::Complete((n, size)) => {
                        self.part = match size {
                            0 => Part::Trailers,
                            size => Part::Chunk(size),
                        };
                        n
                    }
                },
                Part::ChunkEnd => match rest {
                    [] | [b'\r'] => 0,
                    [b'\r', b'\n', ..] => {
                        self.part = Part::ChunkSize;
                        2
                    }
                    _ => return Err(Broken),
                },
                Part::Trailers => {
                    let mut headers = [EMPTY_HEADER; HEADERS];
                    match httparse::parse_headers(rest, &mut headers).map_err(|_| Broken)? {
                        Status::Partial => 0,
                        Status::Complete((n, _)) => {
                            self.part = Part::Nothing;
                            n
                        }
                    }
                }
            };
            if n == 0 {
                return Ok(taken);
            }
            taken += n;
        }
    }

    /// True once it is complete.
    pub(crate) fn is_whole(&self) -> bool {
        self.part == Part::Nothing
    }

    /// The connection has been closed: the end of an answer that says no other.
    ///
    /// # Errors
    /// When it was not complete.
    pub(crate) fn closed(&mut self) -> Result<(), Broken> {
        match self.part {
            Part::UntilClosed | Part::Nothing => {
                self.part = Part::Nothing;
                self.keeps = false;
                Ok(())
            }
            _ => Err(Broken),
        }
    }

    /// True when the connection may be asked again.
    pub(crate) fn keeps_connection(&self) -> bool {
        self.keeps
    }

    /// What became of the request, once the answer is complete.
    pub(crate) fn outcome(&self) -> Outcome {
        match self.status {
            429 | 503 => Outcome::Rejected,
            200..300 if self.reading.is_right() => Outcome::Ok,
            200..300 => Outcome::Failed(Failure::Body),
            code => Outcome::Failed(Failure::Status(code)),
        }
    }

    fn body(&mut self, rest: &[u8], left: u64, more: fn(u64) -> Part, end: Part) -> usize {
        let n = usize::try_from(left).map_or(rest.len(), |left| left.min(rest.len()));
        self.reading.take(&rest[..n]);
        self.part = match left - n as u64 {
            0 => end,
            left => more(left),
        };
        n
    }

    fn head(&mut self, rest: &[u8]) -> Result<usize, Broken> {
        let mut headers = [const { MaybeUninit::uninit() }; HEADERS];
        let mut head = Response::new(&mut []);
        let read = ParserConfig::default().parse_response_with_uninit_headers(
            &mut head,
            rest,
            &mut headers,
        );
        let Status::Complete(n) = read.map_err(|_| Broken)? else {
            return Ok(0);
        };
        self.status = head.code.ok_or(Broken)?;
        self.keeps = head.version == Some(1);
        let (mut length, mut chunked) = (None, None);
        for header in head.headers.iter() {
            let is = |name: &str| header.name.eq_ignore_ascii_case(name);
            if is("content-length") {
                let text = std::str::from_utf8(header.value).map_err(|_| Broken)?;
                // A sign is no digit, though Rust's parser takes one.
                let plain = text.bytes().all(|b| b.is_ascii_digit());
                let n = text.parse::<u64>().ok().filter(|_| plain).ok_or(Broken)?;
                // Two that differ are how answers are smuggled into one another.
                if length.replace(n).is_some_and(|before| before != n) {
                    return Err(Broken);
                }
            } else if is("transfer-encoding") {
                // The last coding says where the body ends.
                let last = words(header.value).last();
                chunked = Some(last.is_some_and(|word| word.eq_ignore_ascii_case(b"chunked")));
            } else if is("connection") {
                for word in words(header.value) {
                    if word.eq_ignore_ascii_case(b"close") {
                        self.keeps = false;
                    } else if word.eq_ignore_ascii_case(b"keep-alive") && head.version == Some(0) {
                        self.keeps = true;
                    }
                }
            }
        }
        self.part = match (self.status, chunked, length) {
            // Nobody asked for another protocol.
            (101, ..) => return Err(Broken),
            // The answer itself is still to come.
            (100..200, ..) => Part::Head,
            (204 | 304, ..) => Part::Nothing,
            (_, Some(true), _) => Part::ChunkSize,
            (_, Some(false), _) | (_, None, None) => Part::UntilClosed,
            (_, None, Some(0)) => Part::Nothing,
            (_, None, Some(n)) => Part::Length(n),
        };
        if self.part == Part::UntilClosed {
            self.keeps = false;
        }
        Ok(n)
    }
}

/// The words of a header that lists some, without the spaces about them.
fn words(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|b| *b == b',').map(<[u8]>::trim_ascii)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use proptest::prelude::*;
    use rand::RngExt;

    use super::*;
    use lab_testing::fuzz;

    use crate::target::Expect;

    /// What became of an answer that came in parts of these lengths and then, perhaps, ended: how many
    /// bytes were left, whether it is complete, keeps the connection, and its outcome.
    fn read(
        bytes: &[u8],
        parts: &[usize],
        ends: bool,
    ) -> Result<(usize, bool, bool, Outcome), Broken> {
        let expect = Expect::Body(Bytes::from_static(b"abcd"));
        let mut answer = Answer::new(expect.reading());
        let (mut from, mut to) = (0, 0);
        let mut parts = parts.iter().cycle();
        while to < bytes.len() && !answer.is_whole() {
            to = bytes.len().min(to + parts.next().copied().unwrap_or(bytes.len()));
            from += answer.take(&bytes[from..to])?;
        }
        if ends {
            answer.closed()?;
        }
        Ok((bytes.len() - from, answer.is_whole(), answer.keeps_connection(), answer.outcome()))
    }

    fn whole(text: &str) -> Result<(usize, bool, bool, Outcome), Broken> {
        read(text.as_bytes(), &[], false)
    }

    const WRONG_BODY: Outcome = Outcome::Failed(Failure::Body);

    /// Answers: whether they end by themselves, whether they keep the connection, and their outcome.
    const SAMPLES: &[(&str, bool, bool, Outcome)] = &[
        ("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nabcd", true, true, Outcome::Ok),
        ("HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nabcx", true, true, WRONG_BODY),
        (
            "HTTP/1.1 200 OK\r\ncontent-length: 4\r\ncontent-length: 4\r\n\r\nabcd",
            true,
            true,
            Outcome::Ok,
        ),
        (
            "HTTP/1.1 200 OK\r\nconnection: Close\r\ncontent-length: 4\r\n\r\nabcd",
            true,
            false,
            Outcome::Ok,
        ),
        ("HTTP/1.0 200 OK\r\ncontent-length: 4\r\n\r\nabcd", true, false, Outcome::Ok),
        (
            "HTTP/1.0 200 OK\r\nconnection: a, keep-alive\r\ncontent-length: 4\r\n\r\nabcd",
            true,
            true,
            Outcome::Ok,
        ),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, Chunked\r\n\r\n2;x=y\r\nab\r\n2\r\ncd\r\n0\r\nlast: 1\r\n\r\n",
            true,
            true,
            Outcome::Ok,
        ),
        (
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ncontent-length: 9\r\n\r\n4\r\nabcd\r\n0\r\n\r\n",
            true,
            true,
            Outcome::Ok,
        ),
        (
            "HTTP/1.1 103 Early\r\nlink: x\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nabcd",
            true,
            true,
            Outcome::Ok,
        ),
        ("HTTP/1.1 204 No\r\ncontent-length: 7\r\n\r\n", true, true, WRONG_BODY),
        ("HTTP/1.1 503 Busy\r\ncontent-length: 0\r\n\r\n", true, true, Outcome::Rejected),
        ("HTTP/1.1 429 Slow\r\ncontent-length: 2\r\n\r\nno", true, true, Outcome::Rejected),
        (
            "HTTP/1.1 500 No\r\ncontent-length: 0\r\n\r\n",
            true,
            true,
            Outcome::Failed(Failure::Status(500)),
        ),
        (
            "HTTP/1.1 301 Away\r\ncontent-length: 0\r\n\r\n",
            true,
            true,
            Outcome::Failed(Failure::Status(301)),
        ),
        // Only the end of the connection is the end of these.
        ("HTTP/1.1 200 OK\r\n\r\nabcd", false, false, Outcome::Ok),
        ("HTTP/1.1 200 OK\r\ntransfer-encoding: gzip\r\n\r\nabcd", false, false, Outcome::Ok),
    ];

    #[test]
    fn an_answer_ends_where_it_says() {
        for &(text, ends, keeps, outcome) in SAMPLES {
            assert_eq!(whole(text), Ok((0, ends, keeps, outcome)), "{text}");
            // At the end of the connection all of them are complete, and it is gone.
            let closed = read(text.as_bytes(), &[], true);
            assert_eq!(closed, Ok((0, true, false, outcome)), "{text}");
        }
        let two = "HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nabcdHTTP/1.1";
        assert_eq!(whole(two), Ok((8, true, true, Outcome::Ok)));
    }

    #[test]
    fn what_is_no_answer_is_broken() {
        for text in [
            "good day\r\n\r\n",
            "HTTP/1.1 200 OK\r\ncontent-length: 4\r\ncontent-length: 5\r\n\r\nabcd",
            "HTTP/1.1 200 OK\r\ncontent-length: +4\r\n\r\nabcd",
            "HTTP/1.1 200 OK\r\ncontent-length: \r\n\r\nabcd",
            "HTTP/1.1 200 OK\r\ncontent-length: 99999999999999999999\r\n\r\nabcd",
            "HTTP/1.1 101 Switching\r\n\r\n",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nx\r\nabcd\r\n",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nabcdef\r\n",
        ] {
            assert_eq!(whole(text), Err(Broken), "{text}");
        }
    }

    const WORDS: &[&str] = &[
        "HTTP/1.1 ",
        "HTTP/1.0 ",
        "100 Continue\r\n\r\n",
        "HTTP/1.1 103 Early\r\n\r\n",
        "101",
        "200",
        "204",
        "999",
        "\r\n",
        "\r\n\r\n",
        "\n",
        "\0",
        ": ",
        " ",
        ",",
        ";",
        "content-length: ",
        "Content-Length: 4\r\n",
        "transfer-encoding: chunked\r\n",
        "connection: close\r\n",
        "gzip",
        "0",
        "4",
        "-1",
        "18446744073709551615",
        "18446744073709551616",
        "0\r\n\r\n",
        "ffffffffffffffff\r\n",
        "10000000000000000\r\n",
        "a: b\r\n",
    ];

    /// However it is changed, what comes is read to the same end in one piece and in many.
    #[test]
    fn what_is_changed_is_the_same_in_any_parts() {
        let samples: Vec<_> = SAMPLES.iter().map(|(text, ..)| *text).collect();
        fuzz(&samples, WORDS, |bytes, rng| {
            let parts: Vec<usize> = (0..4).map(|_| rng.random_range(1..40)).collect();
            for ends in [false, true] {
                let whole = read(bytes, &[], ends);
                assert_eq!(read(bytes, &parts, ends), whole, "in parts of {parts:?}");
                assert_eq!(read(bytes, &[1], ends), whole, "byte by byte");
            }
        });
    }

    proptest! {
        #[test]
        fn an_answer_is_the_same_in_any_parts(
            i in 0..SAMPLES.len(), parts in prop::collection::vec(1usize..30, 1..8)
        ) {
            let text = SAMPLES[i].0;
            prop_assert_eq!(read(text.as_bytes(), &parts, false), whole(text));
        }

        #[test]
        fn what_is_cut_off_is_never_complete(i in 0..SAMPLES.len(), share in 0.0f64..1.0) {
            let (text, ends, ..) = SAMPLES[i];
            let cut = &text.as_bytes()[..(text.len() as f64 * share) as usize];
            // Without a length only the head can be cut off.
            if ends || !cut.windows(4).any(|w| w == b"\r\n\r\n") {
                prop_assert_eq!(read(cut, &[], true), Err(Broken));
            }
        }

        #[test]
        fn any_bytes_are_read_to_some_end(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let mut head = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n".to_vec();
            let _ = read(&bytes, &[7], true);
            head.extend(bytes);
            let _ = read(&head, &[7], true);
        }
    }
}
