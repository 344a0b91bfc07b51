//! The other ends of the connections: clients in a process of their own, since both ends of a
//! connection take a descriptor, and a process has only so many.
//!
//! It does what it is told line by line, answers each line with one, and ends when nobody can tell
//! it anything any more: with whoever started it.

use std::{
    io::{BufRead, BufReader, Write},
    net::{SocketAddr, TcpStream},
    process::{Child, ChildStdin, ChildStdout, Stdio},
};

use anyhow::{Context, bail};
use lab_kit::{cli, os, prelude::*};

use super::FiftyThousandChatters;

/// The process of the other ends.
pub(super) fn hold() -> Result<()> {
    os::raise_open_file_limit();
    let mut streams = Vec::new();
    let mut out = std::io::stdout();
    for line in std::io::stdin().lines() {
        let line = line?;
        let answer = match line.split_whitespace().collect::<Vec<_>>()[..] {
            ["connect", address, number] => {
                connect(&mut streams, address.parse()?, number.parse()?)
            }
            ["speak"] => speak(&mut streams),
            _ => bail!("\"{line}\" is no order"),
        };
        writeln!(out, "{answer}")?;
        out.flush()?;
    }
    Ok(())
}

/// "100", or how many there were before something went wrong, and what.
fn connect(streams: &mut Vec<TcpStream>, to: SocketAddr, number: usize) -> String {
    for done in 0..number {
        match TcpStream::connect(to) {
            Ok(stream) => streams.push(stream),
            Err(error) => return format!("{done} {error}"),
        }
    }
    number.to_string()
}

/// A byte for everyone.
fn speak(streams: &mut [TcpStream]) -> String {
    let heard = streams.iter_mut().filter_map(|s| s.write_all(b"!").ok());
    heard.count().to_string()
}

/// Whoever tells the other ends what to do.
pub(super) struct Far {
    child: Child,
    /// `None` once it has been told to end.
    orders: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

impl Far {
    pub(super) fn start() -> Result<Far> {
        let mut command = cli::again(&<FiftyThousandChatters as Lab>::CARD)?;
        let mut child = command
            .arg("--far")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot start a process for the other ends")?;
        let (orders, answers) = (child.stdin.take(), child.stdout.take());
        Ok(Far {
            child,
            orders,
            answers: BufReader::new(answers.context("its output was asked for")?),
        })
    }

    /// Opens connections; how many were opened, and why not all.
    pub(super) fn connect(
        &mut self,
        to: SocketAddr,
        number: usize,
    ) -> Result<(usize, Option<String>)> {
        self.order(&format!("connect {to} {number}"))?;
        let answer = self.answer()?;
        let (done, error) = match answer.split_once(' ') {
            Some((done, error)) => (done, Some(error.to_string())),
            None => (answer.as_str(), None),
        };
        Ok((done.parse()?, error))
    }

    /// Has a byte sent through every connection, without waiting for it.
    pub(super) fn speak(&mut self) -> Result<()> {
        self.order("speak")
    }

    /// The answer to the last order.
    pub(super) fn answer(&mut self) -> Result<String> {
        let mut line = String::new();
        self.answers.read_line(&mut line)?;
        if line.is_empty() {
            bail!("the process of the other ends has ended; its message is above");
        }
        Ok(line.trim().to_string())
    }

    fn order(&mut self, text: &str) -> Result<()> {
        let orders = self.orders.as_mut().context("it has been told to end")?;
        writeln!(orders, "{text}")?;
        Ok(orders.flush()?)
    }
}

impl Drop for Far {
    fn drop(&mut self) {
        drop(self.orders.take());
        let _ = self.child.wait();
    }
}
