//! The crate's one error type.

use std::path::Path;
use std::{error, fmt, io};

/// What went wrong; callers branch on this.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// A setting is out of its range.
    BadOption,
    /// There is nothing to learn from, or what there is cannot be.
    BadExamples,
    /// A model's file is damaged, or was made for something else.
    BadModel,
    /// A file cannot be read or written.
    Io,
}

/// Why a model could not be trained, read or written.
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

    pub(crate) fn model(path: &Path, source: larder_policy::Error) -> Self {
        let message = format!("{}: {source}", path.display());
        Self { kind: ErrorKind::BadModel, message, source: Some(Box::new(source)) }
    }

    pub(crate) fn io(path: &Path, source: io::Error) -> Self {
        let message = format!("{}: {source}", path.display());
        Self { kind: ErrorKind::Io, message, source: Some(Box::new(source)) }
    }

    /// What went wrong.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// Whether the same call may succeed later without a change to the command or the files.
    pub fn is_retryable(&self) -> bool {
        self.kind == ErrorKind::Io
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

impl From<larder_policy::Error> for Error {
    fn from(source: larder_policy::Error) -> Self {
        Self { kind: ErrorKind::BadModel, message: source.to_string(), source: Some(Box::new(source)) }
    }
}
