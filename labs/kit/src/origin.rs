//! Where a figure was taken from: what theory touched decides what kind of claim it makes.

/// Conditions that can be told apart. A record with more of them tells some for others, which can only
/// make a prediction look *less* independent of what it is compared with.
const TOLD_APART: usize = 256;

/// What a figure was taken from: the machine's calibration, conditions of the run, or neither.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Origin {
    conditions: [u64; TOLD_APART / 64],
    host: bool,
    fitted: bool,
}

impl Origin {
    /// The machine's calibration, which was measured before the run.
    pub const fn host() -> Origin {
        Origin { conditions: [0; TOLD_APART / 64], host: true, fitted: false }
    }

    /// The condition at this place of the record.
    pub(crate) fn condition(at: usize) -> Origin {
        let mut origin = Origin::default();
        origin.conditions[at % TOLD_APART / 64] |= 1 << (at % 64);
        origin
    }

    /// All that either was taken from.
    pub fn and(mut self, other: Origin) -> Origin {
        for (mine, theirs) in self.conditions.iter_mut().zip(other.conditions) {
            *mine |= theirs;
        }
        self.host |= other.host;
        self.fitted |= other.fitted;
        self
    }

    /// True when something measured went into it, in the calibration or in the run.
    pub fn is_measured(&self) -> bool {
        self.host || self.conditions.iter().any(|c| *c != 0)
    }

    /// True when a law was fitted to what it was taken from.
    pub fn is_fitted(&self) -> bool {
        self.fitted
    }

    /// True when both were taken from one condition.
    pub fn meets(&self, other: &Origin) -> bool {
        let pairs = self.conditions.iter().zip(other.conditions);
        pairs.into_iter().any(|(a, b)| a & b != 0)
    }

    /// The same, and a law was fitted to it.
    pub(crate) fn fitted(self) -> Origin {
        Origin { fitted: true, ..self }
    }

    /// True when the condition at this place of the record is in it.
    pub(crate) fn has(&self, at: usize) -> bool {
        self.meets(&Origin::condition(at))
    }
}
