//! `labs serve`.

use std::net::Ipv4Addr;

use anyhow::{Context, Result};
use clap::{ArgMatches, CommandFactory, FromArgMatches};
use lab_kit::cli::{Extra, Failed, say};
use lab_kit::stop::Stop;
use tokio::net::TcpListener;

use crate::web;

/// The command, for the umbrella.
pub const SERVE: Extra = Extra { command: Serve::command, run };

/// Serves the live classroom page on this machine: three demonstrations with sliders
///
/// The trap, the heartbeat and the pipeline, measured while they run. All pages show the same run; it
/// ends with its last page. Ctrl-C ends everything.
#[derive(clap::Parser, Debug)]
#[command(name = "serve")]
struct Serve {
    /// Port on 127.0.0.1; 0 takes a free one. Further ports are taken when more than four pages are open
    #[arg(long, value_name = "PORT", default_value_t = 8019)]
    port: u16,
}

fn run(matches: &ArgMatches) -> Result<(), Failed> {
    let flags = Serve::from_arg_matches(matches).map_err(|e| Failed::Usage(e.to_string()))?;
    let stop = Stop::on_signals()?;
    // The pages need little; each run has threads of its own.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("starting the server's runtime")?;
    runtime.block_on(serve(flags.port, stop))?;
    Ok(())
}

async fn serve(port: u16, stop: Stop) -> Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await.with_context(|| {
        format!(
            "port {port} cannot be used; choose another with --port, or --port 0 for any free one"
        )
    })?;
    let address = listener.local_addr()?;
    lab_kit::cli::print(format!("http://{address}/\n"))?;
    say("open it in a browser on this machine; Ctrl-C ends it");
    web::serve(listener, stop).await?;
    say("ended: nothing is left running");
    Ok(())
}
