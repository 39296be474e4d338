//! The crate's one error type.

use std::{error, fmt, io};

/// What went wrong; callers branch on this.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// A capacity, policy, lifetime or option is malformed or does not fit the others: the command must change.
    BadOption,
    /// The trace cannot be read.
    Trace,
    /// The trace is too long for what was asked of it.
    TooLong,
    /// A file of ours, a spool or a report, cannot be written.
    Io,
}

/// Why a replay could not be run or reported.
#[derive(Debug)]
pub struct Error {
    kind: ErrorKind,
    message: String,
    source: Option<Box<dyn error::Error + Send + Sync>>,
}

impl Error {
    pub(crate) fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), source: None }
    }

    pub(crate) fn option(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::BadOption, message)
    }

    /// `doing` names the file and what was to be done with it.
    pub(crate) fn io(doing: impl fmt::Display, source: io::Error) -> Self {
        let message = format!("{doing}: {source}");
        Self { kind: ErrorKind::Io, message, source: Some(Box::new(source)) }
    }

    /// What went wrong.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// Whether the same call may succeed later without a change to the command or the files.
    pub fn is_retryable(&self) -> bool {
        self.source.as_ref().and_then(|e| e.downcast_ref::<larder_trace::Error>()).is_some_and(|e| e.retryable())
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl error::Error for Error {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        self.source.as_deref().map(|e| e as _)
    }
}

impl From<larder_trace::Error> for Error {
    fn from(source: larder_trace::Error) -> Self {
        let kind = match source.kind() {
            larder_trace::ErrorKind::BadOption => ErrorKind::BadOption,
            _ => ErrorKind::Trace,
        };
        Self { kind, message: source.to_string(), source: Some(Box::new(source)) }
    }
}

impl From<larder_policy::Error> for Error {
    fn from(source: larder_policy::Error) -> Self {
        Self { kind: ErrorKind::BadOption, message: source.to_string(), source: Some(Box::new(source)) }
    }
}
