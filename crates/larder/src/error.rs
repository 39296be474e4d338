//! The crate's one error type.

use std::fmt;
use std::sync::Arc;

/// What went wrong; callers branch on this.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The origin has no such value. It is remembered for as long as negative answers are.
    NotFound,
    /// The loader failed.
    Loader,
    /// The loader panicked.
    Panicked,
    /// The answer did not come in time; a load that was begun goes on.
    Timeout,
    /// Too much is under way: a limit on loads, a queue or a budget is reached.
    Overloaded,
    /// The remote tier failed, or its breaker is open.
    Remote,
    /// A value could not be encoded or decoded.
    Codec,
    /// A model is damaged, of another version, or holds what no model may hold: it is not used.
    BadModel,
    /// The sink of a write failed.
    Sink,
    /// The disk failed: no space, no permission, a damaged file.
    Storage,
    /// A key is too long, empty, or has characters that are not allowed.
    BadKey,
    /// A setting is wrong, or two do not go together.
    Config,
    /// The cache is shutting down.
    Closed,
}

/// What went wrong, why, and whether trying again could help. Cheap to clone: everybody who waited for a load gets it.
#[derive(Clone)]
pub struct Error(Arc<Inner>);

struct Inner {
    kind: ErrorKind,
    what: String,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl Error {
    /// An error of this kind, saying what was wrong and what to do about it.
    pub fn new(kind: ErrorKind, what: impl Into<String>) -> Self {
        Self(Arc::new(Inner { kind, what: what.into(), source: None }))
    }

    /// An error of this kind with the one that caused it.
    pub fn caused(
        kind: ErrorKind,
        what: impl Into<String>,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        Self(Arc::new(Inner { kind, what: what.into(), source: Some(source.into()) }))
    }

    /// The origin has no such value: a loader returns this where it has no `Option`.
    pub fn not_found() -> Self {
        Self::new(ErrorKind::NotFound, "the origin has no such value")
    }

    /// What went wrong.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// Whether trying again, later, could help.
    pub fn is_retryable(&self) -> bool {
        use ErrorKind::*;
        match self.0.kind {
            Loader | Panicked | Timeout | Overloaded | Remote | Sink | Storage => true,
            NotFound | Codec | BadModel | BadKey | Config | Closed => false,
        }
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Error")
            .field("kind", &self.0.kind)
            .field("what", &self.0.what)
            .field("source", &self.0.source)
            .finish()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.what)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source.as_ref().map(|source| &**source as _)
    }
}

impl From<larder_policy::Error> for Error {
    fn from(error: larder_policy::Error) -> Self {
        Self::caused(ErrorKind::Config, error.to_string(), error)
    }
}
