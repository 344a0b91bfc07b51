//! What users and server say to each other: a line of text in each WebSocket message.

use std::{fmt, time::Duration};

/// A line from a user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request<'a> {
    /// `join 3`: the first line of every user.
    Join(u32),
    /// `say hello`: to everybody in the room, the speaker included.
    Say(&'a str),
    /// `solve 300000`: mathematics for so many microseconds of a processor.
    Solve(Duration),
}

impl<'a> Request<'a> {
    /// Reads a line; `None` for what is none of them.
    pub fn parse(line: &'a str) -> Option<Request<'a>> {
        let (word, rest) = line.split_once(' ')?;
        Some(match word {
            "join" => Request::Join(rest.parse().ok()?),
            "say" => Request::Say(rest),
            "solve" => Request::Solve(Duration::from_micros(rest.parse().ok()?)),
            _ => return None,
        })
    }
}

impl fmt::Display for Request<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Request::Join(room) => write!(f, "join {room}"),
            Request::Say(text) => write!(f, "say {text}"),
            Request::Solve(cost) => write!(f, "solve {}", cost.as_micros()),
        }
    }
}

/// A line from the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply<'a> {
    /// `welcome 7`: you are in, and this is your number.
    Welcome(u64),
    /// `said 7 hello`: a user of your room has said something, perhaps you.
    Said(u64, &'a str),
    /// `solved 300412`: it is done, and took so many microseconds.
    Solved(Duration),
    /// `failed why`: it is not done.
    Failed(&'a str),
}

impl<'a> Reply<'a> {
    /// Reads a line; `None` for what is none of them.
    pub fn parse(line: &'a str) -> Option<Reply<'a>> {
        let (word, rest) = line.split_once(' ')?;
        Some(match word {
            "welcome" => Reply::Welcome(rest.parse().ok()?),
            "said" => {
                let (user, text) = rest.split_once(' ')?;
                Reply::Said(user.parse().ok()?, text)
            }
            "solved" => Reply::Solved(Duration::from_micros(rest.parse().ok()?)),
            "failed" => Reply::Failed(rest),
            _ => return None,
        })
    }
}

impl fmt::Display for Reply<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reply::Welcome(user) => write!(f, "welcome {user}"),
            Reply::Said(user, text) => write!(f, "said {user} {text}"),
            Reply::Solved(took) => write!(f, "solved {}", took.as_micros()),
            Reply::Failed(why) => write!(f, "failed {why}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_written_reads_back(text: String, room: u32, user: u64, micros in 0u64..1 << 50) {
            let time = Duration::from_micros(micros);
            for request in [Request::Join(room), Request::Say(&text), Request::Solve(time)] {
                let line = request.to_string();
                prop_assert_eq!(Request::parse(&line), Some(request));
            }
            for reply in [Reply::Welcome(user), Reply::Said(user, &text), Reply::Solved(time), Reply::Failed(&text)] {
                let line = reply.to_string();
                prop_assert_eq!(Reply::parse(&line), Some(reply));
            }
        }

        #[test]
        fn odd_lines_never_panic(line: String) { let _ = (Request::parse(&line), Reply::parse(&line)); }
    }

    #[test]
    fn nonsense_is_refused() {
        for line in ["", "join", "join x", "join -1", "shout hello", "solve", "solve 1.5"] {
            assert_eq!(Request::parse(line), None, "{line}");
        }
        for line in ["said 1", "said x hello", "welcome", "solved soon"] {
            assert_eq!(Reply::parse(line), None, "{line}");
        }
    }
}
