use std::{collections::HashMap, fmt, sync::Arc, time::Duration};

use crate::spec::Asked;

/// Decides about requests one by one: by what is asked for, and how often that path was asked for before.
///
/// It runs on the server's thread before anything else is decided, with the upstream's books locked: keep it short,
/// and ask the upstream nothing in it.
///
/// ```
/// use mock_server::{Script, Turn};
///
/// // The first answer on every path is a failure.
/// let script = Script::new(|_, before| match before {
///     0 => Turn::fails(503),
///     _ => Turn::default(),
/// });
/// ```
#[derive(Clone)]
pub struct Script(Arc<Decide>);

type Decide = dyn Fn(&Asked<'_>, u64) -> Turn + Send + Sync;

/// What becomes of one request. As with every other one by default.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Turn {
    /// The status of its answer, 400 to 599; any other is none. The slot is held all the same.
    pub status: Option<u16>,
    /// How long it holds its slot.
    pub service: Option<Duration>,
    /// Whether the connection is ended in place of an answer. It takes no slot.
    pub cut: bool,
}

impl Turn {
    /// An answer with this failure status.
    #[must_use]
    pub fn fails(status: u16) -> Self {
        Self { status: Some(status), ..Self::default() }
    }

    /// An answer that takes this long.
    #[must_use]
    pub fn takes(service: Duration) -> Self {
        Self { service: Some(service), ..Self::default() }
    }

    /// No answer: the connection is ended.
    #[must_use]
    pub fn cut() -> Self {
        Self { cut: true, ..Self::default() }
    }
}

impl Script {
    /// A script from a function of the request and how often its path was asked for before.
    #[must_use]
    pub fn new(turn: impl Fn(&Asked<'_>, u64) -> Turn + Send + Sync + 'static) -> Self {
        Self(Arc::new(turn))
    }
}

impl fmt::Debug for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Script")
    }
}

/// A script, and how often each path was asked for.
#[derive(Debug)]
pub(crate) struct Prompter {
    script: Script,
    before: HashMap<String, u64>,
}

impl Prompter {
    pub(crate) fn new(script: Script) -> Self {
        Self { script, before: HashMap::new() }
    }

    pub(crate) fn turn(&mut self, asked: &Asked<'_>) -> Turn {
        let before = self.before.entry(asked.path.to_owned()).or_default();
        let mut turn = (self.script.0)(asked, *before);
        *before += 1;
        turn.status = turn.status.filter(|status| (400..=599).contains(status));
        turn
    }
}
