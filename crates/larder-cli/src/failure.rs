//! How a command ends when it does not succeed.

use std::error::Error;
use std::io::{self, Write};

/// Writes a line to stderr. Nobody may read it any more, which is no reason to end as `eprintln!` would.
pub(crate) fn tell(line: &str) {
    let _ = writeln!(io::stderr(), "{line}");
}

/// What `main` turns into an exit code.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The command line must change: exit 2.
    Usage(String),
    /// Something else went wrong: exit 1.
    Failed(String),
    /// Nobody reads our output any more: exit 0, quietly.
    BrokenPipe,
}

impl From<larder_sim::Error> for Failure {
    fn from(error: larder_sim::Error) -> Self {
        match error.kind() {
            larder_sim::ErrorKind::BadOption => Self::Usage(error.to_string()),
            _ => Self::Failed(error.to_string()),
        }
    }
}

impl From<larder_model::Error> for Failure {
    fn from(error: larder_model::Error) -> Self {
        match error.kind() {
            larder_model::ErrorKind::BadOption => Self::Usage(error.to_string()),
            _ => Self::Failed(error.to_string()),
        }
    }
}

impl From<larder::Error> for Failure {
    fn from(error: larder::Error) -> Self {
        // What the machine refuses, such as a port in use, may be granted to the same command line later; another machine's address will not be.
        let refused = error.source().and_then(|source| source.downcast_ref::<io::Error>()).map(io::Error::kind);
        match error.kind() {
            larder::ErrorKind::Config if matches!(refused, None | Some(io::ErrorKind::AddrNotAvailable)) => {
                Self::Usage(error.to_string())
            }
            _ => Self::Failed(error.to_string()),
        }
    }
}

/// Of the demonstration's database.
impl From<rusqlite::Error> for Failure {
    fn from(error: rusqlite::Error) -> Self {
        Self::Failed(format!("the database: {error}"))
    }
}

/// Of converting: here stdout is written by the trace's writer.
impl From<larder_trace::Error> for Failure {
    fn from(error: larder_trace::Error) -> Self {
        let source = error.source().and_then(|source| source.downcast_ref::<io::Error>());
        if source.is_some_and(|source| source.kind() == io::ErrorKind::BrokenPipe) {
            return Self::BrokenPipe;
        }
        larder_sim::Error::from(error).into()
    }
}

/// Of writing to stdout, the only file the commands write themselves.
impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self::BrokenPipe,
            _ => Self::Failed(format!("stdout: {error}")),
        }
    }
}
