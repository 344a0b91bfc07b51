//! A pipeline in a process of its own, which is killed again and again until it has done its work.

use std::{
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Stdio},
};

use anyhow::bail;
use lab_kit::{cli, prelude::*};

use super::{Params, ProductionPipeline, gauges, store::Books};

/// Runs the pipeline on a state until it is done, killing it `p.kills` times on the way: each time
/// after a random number of items, and then some.
pub(super) fn until_done(r: &Recorder, p: &Params, url: &str, state: &Path) -> Result<Books> {
    let mut dice = Dice(r.seed());
    // Spread over the items, with something left for every kill.
    let share = (p.items / (p.kills + 1)) as u64;
    let (least, spread) = ((share / 3).max(1), (share / 2).max(1));
    let (mut done, mut kills, start) = (0usize, 0usize, Instant::now());
    r.trace("done", start, 0.0);
    for round in 0..=p.kills {
        let mut child = cli::Ended(start_child(p, url, state)?);
        let last = round == p.kills;
        let until = if last { u64::MAX } else { least + dice.roll() % spread };
        let output = child.0.stdout.take();
        let lines = BufReader::new(output.expect("its output was asked for")).lines();
        let mut heard = 0;
        for line in lines {
            if !line?.starts_with("item ") {
                continue;
            }
            (heard, done) = (heard + 1, done + 1);
            r.trace("done", Instant::now(), done as f64);
            if heard == until {
                std::thread::sleep(Duration::from_micros(dice.roll() % 10_000));
                break;
            }
        }
        if heard == until {
            // SIGKILL on Unix, TerminateProcess on Windows: nothing in it can prepare for this.
            child.0.kill()?;
            child.0.wait()?;
            kills += 1;
            r.trace("killed", Instant::now(), done as f64);
            // What it did between its last line and its end counts too.
            done = Books::read(state)?.accounted();
            r.trace("done", Instant::now(), done as f64);
        } else {
            let status = child.0.wait()?;
            if !status.success() {
                bail!("the pipeline's process ended with {status}; its message is above");
            }
            break;
        }
    }
    r.wall(start.elapsed());
    r.gauge(gauges::KILLS, kills as f64);
    Ok(Books::read(state)?)
}

fn start_child(p: &Params, url: &str, state: &Path) -> Result<Child> {
    let mut command = cli::again(&ProductionPipeline::CARD)?;
    command.args(p.of_the_pipeline());
    command.arg("--upstream").arg(url).arg("--state").arg(state);
    Ok(command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?)
}

/// Random numbers: SplitMix64 (Steele, Lea and Flood 2014).
struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }
}
