//! What a run needs: how long it takes and what it holds, told before anything is measured.
//!
//! Every lab adds up what its plan does with the flags it was given. The sums are rough, within a factor of
//! two for flags as people give them: they are there so that a slip of a unit costs a sentence and not an
//! afternoon, the memory or the disk. Times are added up as numbers, so that no flag makes a sum overflow.

use crate::{
    card::Card,
    host, limits, os,
    record::Scale,
    runtimes::Languages,
    session::{Company, SPARE_FILES, Sweep},
};

/// Processor seconds of a request over loopback, both ends together.
pub const REQUEST_S: f64 = 1.5e-4;

/// Seconds that a program in another language takes to start and to find out how fast it computes, about.
pub const START_S: f64 = 0.5;

/// Memory in bytes of an open connection, both ends together.
pub const CONNECTION_B: f64 = 30e3;

/// How a run is sized besides the lab's own flags.
#[derive(Clone, Copy, Debug)]
pub struct Extent {
    /// How large the run is.
    pub scale: Scale,
    /// Repetitions of each condition.
    pub trials: usize,
    /// Never runs two conditions at the same time.
    pub one_at_a_time: bool,
    /// The languages that a comparison is asked for with.
    pub with: Languages,
}

impl Extent {
    /// How often everything is repeated, for sums.
    pub fn times(&self) -> f64 {
        self.trials.max(1) as f64
    }

    /// Whether it is a run at smoke scale, which repeats nothing for an interval.
    pub fn smoke(&self) -> bool {
        self.scale == Scale::Smoke
    }

    /// The levels whose connections the open-file limit allows: the others are left out, see
    /// [`crate::session::Session::levels_that_fit`].
    pub fn that_fit(&self, levels: &[usize]) -> Vec<usize> {
        let limit = os::raise_open_file_limit();
        let room =
            limit.map_or(usize::MAX, |limit| (limit.saturating_sub(SPARE_FILES) / 2) as usize);
        levels.iter().copied().filter(|n| *n <= room).collect()
    }

    /// Conditions that run on a runtime, side by side where there is room: as [`crate::session::Sweep`]
    /// runs them.
    pub fn sweep(&self) -> Beside {
        Beside { extent: *self, conditions: Vec::new() }
    }
}

/// What a run needs.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Needs {
    /// Seconds that measuring takes, over all trials.
    pub seconds: f64,
    /// Bytes of memory that are held at the same time, at most.
    pub memory: f64,
    /// Bytes in temporary files at the same time, at most.
    pub disk: f64,
    /// What makes it less, for the user: "fewer --items or a shorter --fetch".
    pub less: &'static str,
}

/// Processors' worth of computing that so many threads get, as far as can be told without measuring: in
/// the middle between one and as many as there are.
pub fn processors(threads: usize) -> f64 {
    (1.0 + threads.clamp(1, host::cores()) as f64) / 2.0
}

/// Seconds until an upstream runs and so many connections to it are open.
pub fn connected(connections: usize) -> f64 {
    let n = connections as f64;
    let held = match connections {
        0..=150 => 0.01,
        151..=600 => 0.04,
        601..=2100 => 0.14,
        _ => 1.0,
    };
    0.01 + held + 1e-4 * n
}

/// Conditions that may run side by side, with the seconds that each takes.
pub struct Beside {
    extent: Extent,
    conditions: Vec<Planned>,
}

/// One of them.
pub struct Planned {
    company: Company,
    group: &'static str,
    trials: usize,
    seconds: f64,
}

impl Planned {
    /// As [`crate::session::Added::among`].
    pub fn among(&mut self, conditions: usize) -> &mut Planned {
        if conditions < 3 {
            self.trials = self.trials.max(3);
        }
        self
    }

    /// As [`crate::session::Added::only_sleeps`].
    pub fn only_sleeps(&mut self) -> &mut Planned {
        self.company = Company::Small(1);
        self
    }

    /// As [`crate::session::Added::only_beside`].
    pub fn only_beside(&mut self, group: &'static str) -> &mut Planned {
        self.group = group;
        self
    }
}

impl Beside {
    /// Adds a steady load with the number of requests it keeps in flight.
    pub fn steady(&mut self, in_flight: usize, seconds: f64) -> &mut Planned {
        self.add(Company::of_steady(in_flight), seconds)
    }

    /// Adds a burst of so many requests.
    pub fn burst(&mut self, requests: usize, seconds: f64) -> &mut Planned {
        self.add(Company::of_burst(requests), seconds)
    }

    /// Adds a condition beside which nothing runs.
    pub fn alone(&mut self, seconds: f64) -> &mut Planned {
        self.add(Company::Alone, seconds)
    }

    fn add(&mut self, company: Company, seconds: f64) -> &mut Planned {
        self.conditions.push(Planned {
            company,
            group: "",
            trials: self.extent.trials.max(1),
            seconds,
        });
        let last = self.conditions.len() - 1;
        &mut self.conditions[last]
    }

    /// Seconds that all trials of all of them take.
    pub fn seconds(&self) -> f64 {
        let mut until: Vec<usize> = self.conditions.iter().map(|c| c.trials).collect();
        until.sort_unstable();
        until.dedup();
        let (mut sum, mut done) = (0.0, 0);
        // Rounds in which the same conditions take part take the same time.
        for trials in until {
            sum += self.round(trials) * (trials - done) as f64;
            done = trials;
        }
        sum
    }

    /// Seconds of a round of those that have so many trials or more.
    fn round(&self, trials: usize) -> f64 {
        let members: Vec<&Planned> =
            self.conditions.iter().filter(|c| c.trials >= trials).collect();
        if self.extent.one_at_a_time {
            return members.iter().map(|c| c.seconds).sum();
        }
        let mut small: Vec<(usize, f64)> = Vec::new();
        let mut steady: Vec<(&str, usize, f64)> = Vec::new();
        let mut alone = 0.0;
        for c in members {
            match c.company {
                Company::Small(n) => small.push((n, c.seconds)),
                Company::Steady(n) => steady.push((c.group, n, c.seconds)),
                Company::Alone => alone += c.seconds,
            }
        }
        steady.sort_by_key(|(group, ..)| *group);
        let largest = steady.iter().map(|(_, n, _)| *n).max().unwrap_or(1);
        let groups = steady.chunk_by(|a, b| a.0 == b.0).map(|group| {
            let of_group: Vec<(usize, f64)> = group.iter().map(|(_, n, s)| (*n, *s)).collect();
            packed(&of_group, largest)
        });
        packed(&small, Sweep::SMALL_TOGETHER) + groups.sum::<f64>() + alone
    }
}

/// Seconds of conditions that share a room, each with its share of it: as long as the longest, and no
/// shorter than the room allows.
fn packed(conditions: &[(usize, f64)], room: usize) -> f64 {
    let room = room.max(1);
    let area = |(share, seconds): &(usize, f64)| (*share).min(room) as f64 / room as f64 * seconds;
    let longest = conditions.iter().map(|c| c.1).fold(0.0, f64::max);
    conditions.iter().map(area).sum::<f64>().max(longest)
}

/// Longest run without `--long`, in seconds.
pub fn limit_s(scale: Scale) -> f64 {
    match scale {
        Scale::Smoke => 20.0,
        Scale::Quick => 300.0,
        Scale::Full => 600.0,
    }
}

impl Needs {
    /// The same with what every run takes besides: the machine is calibrated, and what is uncertain is
    /// measured on for a share `more` of the time.
    pub(crate) fn of_a_run(self, scale: Scale, more: f64) -> Needs {
        let calibration = if scale == Scale::Smoke { 0.4 } else { 1.5 };
        Needs { seconds: calibration + self.seconds * (1.0 + more), ..self }
    }

    /// Why a run that takes so long is not begun without `--long`, with the sentence for the user.
    pub(crate) fn too_long(&self, card: &Card, scale: Scale) -> Option<String> {
        let (limit, less) = (limit_s(scale), self.less);
        // What is no number is no promise either.
        let fits = self.seconds <= limit;
        (!fits).then(|| {
            format!(
                "{} with these flags would take about {} (limit at {scale} scale: {}): {less}, or fewer --trials; or add --long and wait",
                card.id(),
                words(self.seconds),
                words(limit)
            )
        })
    }

    /// Why there is no room for a run, with the sentence for the user.
    pub(crate) fn too_large(&self, card: &Card) -> Option<String> {
        let (id, less) = (card.id(), self.less);
        let memory = limits::for_memory().map(|limit| limit.left as f64);
        if let Some(left) = memory.filter(|left| self.memory > *left) {
            return Some(format!(
                "{id} with these flags would hold about {} in memory, and this machine can give {}: {less}",
                bytes(self.memory),
                bytes(left)
            ));
        }
        let folder = std::env::temp_dir();
        // Others write as well, and a full disk harms everybody.
        let room = os::free_bytes(&folder).map(|free| (0.9 * free as f64 - 64e6).max(0.0));
        let left = room.filter(|left| self.disk > *left)?;
        Some(format!(
            "{id} with these flags would write about {} of temporary files, and {} has room for {}: {less}; or set TMPDIR to a folder with more room",
            bytes(self.disk),
            folder.display(),
            bytes(left)
        ))
    }
}

/// A stretch of time in words: "40 s", "14 minutes", "3 hours".
pub(crate) fn words(seconds: f64) -> String {
    let minutes = seconds / 60.0;
    match seconds {
        ..100.0 => format!("{seconds:.0} s"),
        ..7200.0 => format!("{minutes:.0} minutes"),
        ..172_800.0 => format!("{:.0} hours", minutes / 60.0),
        _ => format!("{:.0} days", minutes / 1440.0),
    }
}

/// Bytes in words: "12 GB".
fn bytes(bytes: f64) -> String {
    match bytes {
        ..1e6 => format!("{:.0} KB", bytes / 1e3),
        ..1e9 => format!("{:.0} MB", bytes / 1e6),
        ..1e13 => format!("{:.1} GB", bytes / 1e9),
        _ => format!("{:.0} TB", bytes / 1e12),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXTENT: Extent =
        Extent { scale: Scale::Quick, trials: 2, one_at_a_time: false, with: Languages::NONE };

    #[test]
    fn conditions_side_by_side_take_as_long_as_the_longest_of_them() {
        let mut sweep = EXTENT.sweep();
        sweep.steady(10, 1.0);
        sweep.steady(20, 3.0);
        assert!((sweep.seconds() - 6.0).abs() < 1e-9);
        sweep.burst(1000, 0.5);
        assert!((sweep.seconds() - 7.0).abs() < 1e-9);
        sweep.alone(1.0).among(1);
        assert!((sweep.seconds() - 10.0).abs() < 1e-9);
        // The largest has the room to itself, and groups do not meet.
        sweep.steady(1000, 2.0).only_beside("a");
        sweep.steady(500, 2.0).only_beside("b");
        sweep.steady(500, 2.0).only_beside("b");
        assert!((sweep.seconds() - 18.0).abs() < 1e-9);
    }

    #[test]
    fn what_only_sleeps_has_room_for_more_of_its_kind() {
        let (mut some, mut more) = (EXTENT.sweep(), EXTENT.sweep());
        for _ in 0..200 {
            some.steady(1, 1.0);
            more.steady(1, 1.0).only_sleeps();
        }
        assert!(some.seconds() > 2.0 * more.seconds() && (more.seconds() - 2.0).abs() < 1e-9);
    }

    #[test]
    fn one_at_a_time_they_add_up() {
        let one_at_a_time = true;
        let mut sweep = Extent { one_at_a_time, ..EXTENT }.sweep();
        sweep.steady(10, 1.0);
        sweep.steady(20, 3.0).among(2);
        assert!((sweep.seconds() - (2.0 * 4.0 + 3.0)).abs() < 1e-9);
    }

    #[test]
    fn amounts_in_words() {
        let said = [3.2, 99.0, 840.0, 10_800.0, 1e6].map(words);
        assert_eq!(said, ["3 s", "99 s", "14 minutes", "3 hours", "12 days"]);
        let said = [3e7, 1.25e10, 1e15].map(bytes);
        assert_eq!(said, ["30 MB", "12.5 GB", "1000 TB"]);
        assert_eq!(words(f64::INFINITY), "inf days");
    }
}
