//! The program `larder`.
#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    larder_cli::main()
}
