//! The crate's one error type.

use std::fmt;

/// What kind of mistake a configuration holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// No policy of that name is registered.
    UnknownPolicy,
    /// The policy has no parameter of that name.
    UnknownParameter,
    /// A value is not a number or outside the parameter's range.
    BadValue,
    /// A model is damaged, or was made for something else.
    BadModel,
    /// The policy needs something this host does not give, such as knowledge of the future.
    Unsupported,
}

/// A configuration that cannot be built. Never retryable: the same text fails the same way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    kind: ErrorKind,
    message: String,
}

impl Error {
    pub(crate) fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into() }
    }

    /// What kind of mistake it is.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// Whether trying again could help: never, for a configuration.
    pub fn is_retryable(&self) -> bool {
        false
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {}
