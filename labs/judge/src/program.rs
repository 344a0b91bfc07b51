//! Running the program that is judged, within bounds.

use std::process::{Command, ExitStatus};

use anyhow::{Context, Result, bail};
use lab_kit::{
    child::{Bounds, Child, How},
    stop::Stop,
};

use crate::{asked::Asked, brief::Brief};

/// How a program ended by itself.
pub struct Ended {
    /// What it says: 0 for well. Of one that was killed 128 and the signal, as shells have it.
    pub code: i32,
    words: String,
}

impl Ended {
    /// The end of what it wrote to standard error, as the end of a sentence.
    pub fn last_words(&self) -> &str {
        &self.words
    }
}

/// Runs the command of what is asked, against the service at this address. `None` when the run was stopped.
///
/// # Errors
/// When it cannot be started, or had to be ended: it took too long, wrote too much, held too much memory or too
/// many processes.
pub async fn run<B: Brief>(asked: &Asked, url: &str, stop: &Stop) -> Result<Option<Ended>> {
    let words = asked.words::<B>(url);
    let Some((program, arguments)) = words.split_first() else {
        bail!("no command");
    };
    let mut command = Command::new(program);
    command.args(arguments).envs(asked.environment::<B>(url));
    // A service on this machine is never behind a proxy.
    for name in ["NO_PROXY", "no_proxy"] {
        command.env(name, "127.0.0.1,localhost");
    }
    for name in ["http_proxy", "HTTP_PROXY", "ALL_PROXY", "all_proxy"] {
        command.env_remove(name);
    }
    let child = Child::spawn(command, Bounds::of(asked.patience.duration()), stop);
    let mut child = child.with_context(|| format!("cannot start {program}"))?;
    // Nobody types anything.
    drop(child.take_input());
    let ended = child.ended().await;
    match ended.how {
        How::Exited(status) => Ok(Some(Ended { code: code(status), words: ended.said() })),
        How::Stopped => Ok(None),
        _ => bail!("{program} {}", ended.why()),
    }
}

fn code(status: ExitStatus) -> i32 {
    #[cfg(unix)]
    if let Some(signal) = std::os::unix::process::ExitStatusExt::signal(&status) {
        return 128 + signal;
    }
    status.code().unwrap_or(1)
}
