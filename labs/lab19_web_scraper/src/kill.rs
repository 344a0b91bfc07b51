//! A crawl in a process of its own, which is killed again and again until it is over.

use std::{
    io::{BufRead, BufReader},
    net::{Ipv4Addr, SocketAddr},
    path::Path,
    process::{Child, Stdio},
};

use anyhow::bail;
use lab_kit::{cli, prelude::*};

use super::{Params, WebScraper, gauges};
use lab_crawl::embedded::Books;

/// Runs a crawl on a state until it is over, killing it `p.kills` times on the way: each time after
/// about so many more of its `pages`.
pub(super) fn until_done(
    r: &Recorder,
    p: &Params,
    url: &str,
    state: &Path,
    pages: u64,
) -> Result<()> {
    let mut dice = r.seed();
    // Spread over the pages, with something left for every kill.
    let share = pages / (p.kills as u64 + 1);
    let (mut done, mut kills, start) = (0, 0, Instant::now());
    r.trace("done", start, 0.0);
    for round in 0..=p.kills {
        let mut child = cli::Ended(start_child(p, url, state)?);
        let last = round == p.kills;
        dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let until =
            if last { u64::MAX } else { done + share / 3 + (dice >> 33) % (share / 2).max(1) };
        let output = child.0.stdout.take();
        let lines = BufReader::new(output.expect("its output was asked for")).lines();
        let mut reached = false;
        for line in lines {
            // "1234 done, …"
            let line = line?;
            let Some(now) = line.split_once(" done, ").and_then(|(n, _)| n.parse::<u64>().ok())
            else {
                continue;
            };
            done = now;
            r.trace("done", Instant::now(), done as f64);
            if done >= until {
                reached = true;
                break;
            }
        }
        if !reached {
            let status = child.0.wait()?;
            if !status.success() {
                bail!("the crawl's process ended with {status}; its message is above");
            }
            break;
        }
        // SIGKILL on Unix, TerminateProcess on Windows: nothing in it can prepare for this.
        child.0.kill()?;
        child.0.wait()?;
        kills += 1;
        r.trace("killed", Instant::now(), done as f64);
        // What it did between its last line and its end counts too.
        done = Books::read(state)?.tasks.done;
        r.trace("done", Instant::now(), done as f64);
    }
    r.wall(start.elapsed());
    r.gauge(gauges::KILLS, f64::from(kills));
    Ok(())
}

fn start_child(p: &Params, url: &str, state: &Path) -> Result<Child> {
    let mut command = cli::again(&WebScraper::CARD)?;
    command.args(p.of_the_crawl());
    command.arg("--upstream").arg(url).arg("--state").arg(state);
    Ok(command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?)
}

/// Where the server of a crawl's own shop is to listen: where it did when the crawl began, because its
/// pages are known by their addresses; or on any free port.
pub(super) fn listen(first: Option<&str>) -> SocketAddr {
    let address = first.and_then(|url| url.strip_prefix("http://")?.split('/').next());
    let address = address.and_then(|address| address.parse().ok());
    address.unwrap_or(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shop_is_where_it_was() {
        let was = listen(Some("http://127.0.0.1:4711/"));
        assert_eq!(was.to_string(), "127.0.0.1:4711");
        for none in [None, Some("http://shop/"), Some("x")] {
            assert_eq!(listen(none).port(), 0);
        }
    }
}
