//! What a blocked event loop does to everybody else, in closed form.

/// A server whose event loop is away once, from `at` to `at + block`, seen by users who talk and
/// listen at evenly spread times. All times in seconds, from the beginning.
#[derive(Clone, Copy, Debug)]
pub struct Away {
    /// When the loop stops.
    pub at: f64,
    /// For how long.
    pub block: f64,
    /// For how long users talk.
    pub window: f64,
    /// Time between two heartbeats to a user.
    pub beat: f64,
    /// Silence after which a user leaves.
    pub patience: f64,
    /// How long the loop then needs to see to every connection once.
    pub after: f64,
}

impl Away {
    /// Share of the users who leave.
    ///
    /// What a user had heard last when the loop stopped was a heartbeat 0 to `beat` old, evenly
    /// spread. So the silences are evenly spread from `block` to `block + beat`, and those that are
    /// longer than the patience end with the user gone: all of them or none, unless the block is
    /// less than a beat shorter than the patience.
    pub fn leave_share(&self) -> f64 {
        ((self.silence() + self.beat - self.patience) / self.beat).clamp(0.0, 1.0)
    }

    /// From the stop until a heartbeat comes again: users have their turn one after another, on
    /// average in the middle of the round.
    fn silence(&self) -> f64 {
        self.block + self.after / 2.0
    }

    /// Heartbeats missed, for each user on average: those that fell due while the loop was away, and
    /// until the user left. The next one is sent when its timer has its turn, which is in that half of
    /// the round in which nothing is written yet. Exact for a block of two beats or more.
    pub fn missed(&self) -> f64 {
        let silence = self.block + self.after / 4.0;
        let beats = |silence: f64| (silence / self.beat + 1e-9).floor();
        const USERS: usize = 1000;
        let of = |user: usize| {
            let before = (user as f64 + 0.5) / USERS as f64 * self.beat;
            beats((silence + before).min(self.patience))
        };
        (0..USERS).map(of).sum::<f64>() / USERS as f64
    }

    /// Share of the echoes heard that fell due while the loop was away.
    fn share(&self) -> f64 {
        let stay = 1.0 - self.leave_share();
        let during = stay * self.block.min(self.window - self.at);
        let after = stay * (self.window - self.at - self.block).max(0.0);
        during / (self.at + during + after)
    }

    /// Quantile `q` of the echoes' latency, where `calm` is what an echo takes when nobody blocks.
    ///
    /// An echo due so long after the loop stopped waits for the rest of the block: the waits fall
    /// evenly from `block` to nothing (or to what is left at the end of the window). With the share
    /// f of the echoes in the block, the slowest share 1 − q of all is the slowest (1 − q)/f of
    /// those. On top comes the round in which the loop sees to everybody once: first it reads what
    /// all have said, which is half of it, and then it writes to them in the order in which they
    /// spoke, so who was due first is heard in the middle of the round and who was due last at its end.
    pub fn quantile(&self, q: f64, calm: f64) -> f64 {
        let slower = 1.0 - q;
        let share = self.share();
        if slower >= share {
            return calm;
        }
        let seen = self.block.min(self.window - self.at);
        let (middle, end) = ((self.after / 2.0).max(calm), self.after.max(calm));
        middle + self.block - (seen - (end - middle) * seen / self.block) * slower / share
    }

    /// Share of the messages that are not heard, or never said, because their speakers leave.
    pub fn lost_share(&self) -> f64 {
        self.leave_share() * (1.0 - self.at / self.window)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const AWAY: Away =
        Away { at: 0.1, block: 0.4, window: 0.6, beat: 0.05, patience: 1.0, after: 0.0 };

    #[test]
    fn worked_examples() {
        // Two thirds of the echoes are due in the block.
        assert!((AWAY.quantile(1.0, 0.0) - 0.4).abs() < 1e-12);
        assert!((AWAY.quantile(0.99, 0.0) - 0.394).abs() < 1e-12);
        assert!((AWAY.quantile(0.5, 0.001) - 0.101).abs() < 1e-12);
        assert!((AWAY.quantile(0.3, 0.001) - 0.001).abs() < 1e-12);
        assert!((AWAY.missed() - 8.0).abs() < 1e-9);
        assert_eq!((AWAY.leave_share(), AWAY.lost_share()), (0.0, 0.0));
        let half = Away { patience: 0.425, ..AWAY };
        assert!((half.leave_share() - 0.5).abs() < 1e-9);
        let gone = Away { patience: 0.3, ..AWAY };
        assert_eq!(gone.leave_share(), 1.0);
        assert!((gone.missed() - 6.0).abs() < 1e-9);
        assert!((gone.lost_share() - 5.0 / 6.0).abs() < 1e-12);
        // A round of 10 ms: the silence is 5 ms longer, the first echoes come 5 ms later and the last
        // ones 10 ms.
        let round = Away { after: 0.01, ..half };
        assert!((round.leave_share() - 0.6).abs() < 1e-9);
        assert!((Away { after: 0.01, ..AWAY }.quantile(0.5, 0.001) - 0.10875).abs() < 1e-12);
        // Who is left has heard nothing late.
        assert_eq!(gone.quantile(1.0, 0.001), 0.001);
    }

    proptest! {
        /// Against counting: users and messages one by one.
        #[test]
        fn the_laws_are_what_counting_gives(
            at in 0.05..0.5f64, block in 0.2..2.0f64, after in 0.0..0.5f64, beats in 4.0..20.0f64, patience in 0.5..2.0f64, q in 0.0..1.0f64,
        ) {
            const USERS: usize = 400;
            const MESSAGES: usize = 20_000;
            let away = Away { at, block, window: at + block + after, beat: block / beats, patience: patience * block, after: 0.0 };
            let silence = |user: usize| away.block + (user as f64 + 0.5) / USERS as f64 * away.beat;
            let leaves = |user: usize| silence(user) > away.patience;
            let gone = (0..USERS).filter(|u| leaves(*u)).count() as f64 / USERS as f64;
            prop_assert!((away.leave_share() - gone).abs() <= 1.5 / USERS as f64);
            let mut waits = Vec::new();
            for message in 0..MESSAGES {
                let due = (message as f64 + 0.5) / MESSAGES as f64 * away.window;
                // Users take turns; an odd step spreads them over the phases.
                if due < away.at || !leaves(message * 7 % USERS) {
                    let end = away.at + away.block;
                    waits.push(if (away.at..end).contains(&due) { end - due } else { 0.0 });
                }
            }
            let lost = 1.0 - waits.len() as f64 / MESSAGES as f64;
            prop_assert!((away.lost_share() - lost).abs() < 0.01, "{} {lost}", away.lost_share());
            waits.sort_by(f64::total_cmp);
            let counted = waits[((waits.len() - 1) as f64 * q) as usize];
            let share = 1.0 - away.leave_share();
            // Where next to nobody is left, next to nothing is counted.
            if share > 0.05 {
                prop_assert!((away.quantile(q, 0.0) - counted).abs() < 0.03 * away.block / share, "{} {counted}", away.quantile(q, 0.0));
            }
        }
    }
}
