//! The command line of larder.
#![forbid(unsafe_code)]

mod args;
mod commands;
mod explain_args;
mod failure;
mod freshness_args;
mod progress;
mod table;

use std::io::{self, IsTerminal};
use std::process::ExitCode;

use clap::Parser;
use tracing_subscriber::EnvFilter;

use args::{Cli, Command};
use failure::Failure;

fn main() -> ExitCode {
    let cli = Cli::parse();
    log_to_stderr();
    let done = match &cli.command {
        None => commands::demo::run(),
        Some(Command::Replay(args)) => commands::replay::run(args),
        Some(Command::Compare(args)) => commands::compare::run(args),
        Some(Command::Curve(args)) => commands::curve::run(args),
        Some(Command::Train(args)) => commands::train::run(args),
        Some(Command::Explain(args)) => commands::explain::run(args),
        Some(Command::Stats(args)) => commands::stats::run(args),
        Some(Command::Freshness(args)) => commands::freshness::run(args),
        Some(Command::Convert(args)) => commands::convert::run(args),
        Some(Command::Policies) => commands::list::policies(),
        Some(Command::Formats) => commands::list::formats(),
    };
    match done {
        // Whoever read our output has read enough, as `head` does.
        Ok(()) | Err(Failure::BrokenPipe) => ExitCode::SUCCESS,
        Err(Failure::Usage(message)) => {
            eprintln!("error: {message}\n\nFor more information, try '--help'.");
            ExitCode::from(2)
        }
        Err(Failure::Failed(message)) => {
            eprintln!("error: {message}");
            ExitCode::FAILURE
        }
    }
}

/// Logs go to stderr, warnings and worse unless `LARDER_LOG` says otherwise (`info`, `larder_sim=debug`).
fn log_to_stderr() {
    let filter = EnvFilter::try_from_env("LARDER_LOG").unwrap_or_else(|_| EnvFilter::new("warn"));
    let colour = io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr).with_ansi(colour).without_time().init();
}
