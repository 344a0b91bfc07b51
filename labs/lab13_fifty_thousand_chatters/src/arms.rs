//! The ways to hold chatters that are compared, and how many of each.

use clap::ValueEnum;
use lab_kit::{limits, prelude::*};

use super::{Params, holder};

/// Sizes of a buffer inside a future: known when the program is compiled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[allow(missing_docs)]
pub enum Buffer {
    #[value(name = "1KB")]
    K1,
    #[default]
    #[value(name = "4KB")]
    K4,
    #[value(name = "8KB")]
    K8,
    #[value(name = "32KB")]
    K32,
}

impl Buffer {
    /// Its size.
    pub(super) fn bytes(self) -> usize {
        match self {
            Buffer::K1 => 1 << 10,
            Buffer::K4 => 4 << 10,
            Buffer::K8 => 8 << 10,
            Buffer::K32 => 32 << 10,
        }
    }
}

/// A way to hold a chatter who says nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
pub enum Arm {
    /// A task that waits.
    Task,
    /// A task that holds a buffer while it waits.
    Inline,
    /// A task that makes its buffer when there is something to read.
    Late,
    /// A task that has once been deep in its calls.
    DeepTask,
    /// A task with a connection.
    Socket,
    /// A thread that waits.
    Thread,
    /// A thread that has once been deep in its calls.
    DeepThread,
    /// Nobody: what the runtime adds to a future.
    Nobody,
}

impl Arm {
    /// The arms that are tried with several numbers.
    pub(super) const LINES: [Arm; 7] = [
        Arm::Task,
        Arm::Late,
        Arm::Inline,
        Arm::DeepTask,
        Arm::Socket,
        Arm::Thread,
        Arm::DeepThread,
    ];

    pub(super) fn series(self) -> &'static str {
        match self {
            Arm::Task => "task",
            Arm::Inline => "task/inline",
            Arm::Late => "task/late",
            Arm::DeepTask => "task/deep",
            Arm::Socket => "socket",
            Arm::Thread => "thread",
            Arm::DeepThread => "thread/deep",
            Arm::Nobody => "nobody",
        }
    }

    pub(super) fn is_thread(self) -> bool {
        matches!(self, Arm::Thread | Arm::DeepThread)
    }

    /// The most that are tried: deep threads take so much that fewer must do.
    pub(super) fn most(self, p: &Params) -> usize {
        match self {
            Arm::Thread => p.threads,
            Arm::DeepThread => p.threads.div_ceil(4),
            Arm::Socket => p.sockets,
            _ => p.tasks,
        }
    }

    /// Seconds that one takes, about, to be there, to be woken and to go.
    pub(super) fn each_s(self, p: &Params) -> f64 {
        let (buffer, depth) = (p.buffer.bytes() as f64, p.depth.f());
        match self {
            Arm::Task | Arm::Nobody => 6e-6,
            Arm::Late => 6e-6 + buffer * 1e-10,
            Arm::Inline => 6e-6 + buffer * 1e-9,
            Arm::DeepTask => 6e-6 + depth * 1e-10,
            Arm::Socket => 6e-5,
            Arm::Thread => 8e-5,
            Arm::DeepThread => 8e-5 + depth * 4e-10,
        }
    }

    /// What limits their number, besides memory.
    pub(super) fn limits(self, most: usize) -> Vec<limits::Limit> {
        match self {
            Arm::Thread | Arm::DeepThread => limits::for_threads(holder::MAPPINGS),
            Arm::Socket => limits::for_connections(holder::listeners(most) as u64),
            _ => Vec::new(),
        }
    }
}
