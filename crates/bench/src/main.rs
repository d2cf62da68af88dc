//! Measures the product as its users run it: release binaries, separate processes, a database that syncs to disk.
//!
//! `gateway` compares a model request through the gateway with the same request sent to the provider directly, in
//! alternating rounds of one run, so that a machine that is slow today is slow for both. Start in [`gateway`], which is the
//! plan of the run; [`load`] and [`connection`] are the load, [`deployment`] what is measured, [`process`] and
//! [`statements`] what it costs, [`profile`] where the time goes, [`report`] what is written.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a program for people at a terminal")]

mod connection;
mod deployment;
mod gateway;
mod load;
mod machine;
mod process;
mod profile;
mod report;
mod request;
mod statements;
mod statistics;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use tokio::signal::unix::{SignalKind, signal};

/// Measure the product.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask bench", max_term_width = 110)]
struct Arguments {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Model requests: through the gateway, and directly to the provider.
    Gateway(gateway::Options),
}

fn main() -> ExitCode {
    let What::Gateway(options) = Arguments::parse().what;
    // One thread: the load must leave the processors to what is measured.
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("error: starting the runtime: {error}");
            return ExitCode::FAILURE;
        }
    };
    runtime.block_on(run(options))
}

async fn run(options: gateway::Options) -> ExitCode {
    let mut report = report::Report::default();
    // Whatever ends the measurement, dropping it stops every process it started and removes their files.
    let outcome = tokio::select! {
        outcome = gateway::measure(&options, &mut report) => outcome,
        error = interrupted() => Err(error),
    };
    if report.ledgers.iter().any(|ledger| !ledger.measurements.is_empty()) {
        report.complete = outcome.is_ok();
        println!("{report}");
        match report.write(&options.output) {
            Ok(()) => eprintln!("written to {}", options.output.display()),
            Err(error) => eprintln!("error: {error:#}"),
        }
    }
    match outcome {
        Ok(()) if report.errors() == 0 => ExitCode::SUCCESS,
        Ok(()) => {
            eprintln!("error: {} requests were not answered as they should be", report.errors());
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Waits for Ctrl-C, a supervisor's SIGTERM, or a closed terminal.
async fn interrupted() -> anyhow::Error {
    let wait = async {
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        let mut hang_up = signal(SignalKind::hangup())?;
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            _ = hang_up.recv() => {}
        }
        Ok::<_, std::io::Error>(())
    };
    match wait.await {
        Ok(()) => anyhow::anyhow!("interrupted"),
        Err(error) => anyhow::Error::new(error).context("listening for signals"),
    }
}
