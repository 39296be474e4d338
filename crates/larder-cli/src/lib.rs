//! The command line of larder; all there is to call is [`main`].
#![forbid(unsafe_code)]

mod args;
mod client;
mod commands;
mod convert_args;
mod curve_args;
mod demo_args;
mod explain_args;
mod failure;
mod freshness_args;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
mod interrupt;
mod metrics;
mod needs;
mod predictions_args;
mod price_args;
mod progress;
mod serve_args;
mod streams;
mod table;
mod top_args;
mod train_args;

use std::io::{self, IsTerminal};
use std::process::ExitCode;

use clap::Parser;
use tracing_subscriber::EnvFilter;

use args::{Cli, Command};
use failure::{Failure, tell};

/// Does what the command line says. 2: it must change; 1: something else went wrong.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    log_to_stderr();
    interrupt::outlive_full_files();
    let done = match &cli.command.unwrap_or_else(Command::demo) {
        Command::Demo(args) => commands::demo::run(args),
        Command::Replay(args) => commands::replay::run(args),
        Command::Compare(args) => commands::compare::run(args),
        Command::Curve(args) => commands::curve::run(args),
        Command::Train(args) => commands::train::run(args),
        Command::Predictions(args) => commands::predictions::run(args),
        Command::Explain(args) => commands::explain::run(args),
        Command::Stats(args) => commands::stats::run(args),
        Command::Freshness(args) => commands::freshness::run(args),
        Command::Convert(args) => commands::convert::run(args),
        Command::Serve(args) => commands::serve::run(args),
        Command::Top(args) => commands::top::run(args),
        Command::Policies => commands::list::policies(),
        Command::Formats => commands::list::formats(),
    };
    match done {
        // Whoever read our output has read enough, as `head` does.
        Ok(()) | Err(Failure::BrokenPipe) => ExitCode::SUCCESS,
        Err(Failure::Usage(message)) => {
            tell(&format!("error: {message}\n\nFor more information, try '--help'."));
            ExitCode::from(2)
        }
        Err(Failure::Failed(message)) => {
            tell(&format!("error: {message}"));
            ExitCode::FAILURE
        }
    }
}

/// Logs go to stderr, warnings and worse unless `LARDER_LOG` says otherwise (`info`, `larder_sim=debug`).
fn log_to_stderr() {
    let filter = EnvFilter::try_from_env("LARDER_LOG").unwrap_or_else(|_| EnvFilter::new("warn"));
    let colour = io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    // It would tell of a closed stderr on stderr, and panic.
    let log = tracing_subscriber::fmt().log_internal_errors(false);
    log.with_env_filter(filter).with_writer(io::stderr).with_ansi(colour).without_time().init();
}
