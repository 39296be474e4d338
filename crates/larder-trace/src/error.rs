//! What can go wrong with a trace, and where.

use std::{error, fmt, io, sync::Arc};

/// What went wrong; callers branch on this.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The operating system refused: no such file, no permission, a full disk.
    Io,
    /// The source ends in the middle of a compressed frame or of a record.
    Truncated,
    /// The compressed stream, or a container such as Parquet, is damaged.
    Corrupt,
    /// A row does not follow its format.
    BadRow,
    /// No format was recognised, or none has the name asked for.
    UnknownFormat,
    /// An option, a column mapping or a generator's parameter is wrong.
    BadOption,
    /// The format cannot do this: write, or be read from a stream.
    Unsupported,
}

/// The error of this crate: what was wrong, in which file, line and byte, and what to do.
pub struct Error(Box<Inner>);

struct Inner {
    kind: ErrorKind,
    what: String,
    help: &'static str,
    file: Option<Arc<str>>,
    line: Option<u64>,
    byte: Option<u64>,
    source: Option<Box<dyn error::Error + Send + Sync>>,
}

impl Error {
    pub(crate) fn new(kind: ErrorKind, what: impl Into<String>) -> Self {
        let what = what.into();
        Self(Box::new(Inner { kind, what, help: "", file: None, line: None, byte: None, source: None }))
    }

    pub(crate) fn option(what: impl Into<String>) -> Self {
        Self::new(ErrorKind::BadOption, what)
    }

    /// Sorts what a reader returned: decoders report a cut archive as an unexpected end, and damage as invalid data.
    pub(crate) fn io(source: io::Error, doing: &str) -> Self {
        use io::ErrorKind::{InvalidData, InvalidInput, Other, UnexpectedEof};
        let kind = match source.kind() {
            UnexpectedEof => ErrorKind::Truncated,
            _ if source.raw_os_error().is_some() => ErrorKind::Io,
            Other if source.to_string().contains("too much memory") => ErrorKind::Unsupported,
            // flate2 calls damage an invalid input, zstd an error of no kind.
            InvalidData | InvalidInput | Other => ErrorKind::Corrupt,
            _ => ErrorKind::Io,
        };
        let (what, help) = match kind {
            ErrorKind::Truncated => {
                (format!("{doing}: the archive is truncated"), "fetch it again or compare its checksum")
            }
            ErrorKind::Unsupported => (
                format!("{doing}: the archive's window is larger than 128 MiB"),
                "compress it again with zstd --long=27 at most",
            ),
            ErrorKind::Corrupt => (format!("{doing}: the archive is damaged: {source}"), "fetch it again"),
            _ => (format!("{doing}: {source}"), ""),
        };
        Self::new(kind, what).help(help).with_source(source)
    }

    pub(crate) fn help(mut self, help: &'static str) -> Self {
        self.0.help = help;
        self
    }

    /// As an error of `std::io`, for libraries that read through [`Input`](crate::Input).
    pub(crate) fn into_io(self) -> io::Error {
        io::Error::other(self)
    }

    pub(crate) fn file(mut self, file: &Arc<str>) -> Self {
        self.0.file = Some(file.clone());
        self
    }

    pub(crate) fn line(mut self, line: u64) -> Self {
        self.0.line = Some(line);
        self
    }

    pub(crate) fn byte(mut self, byte: u64) -> Self {
        self.0.byte = Some(byte);
        self
    }

    pub(crate) fn with_source(mut self, source: impl Into<Box<dyn error::Error + Send + Sync>>) -> Self {
        self.0.source = Some(source.into());
        self
    }

    /// What went wrong.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// Whether the same call may succeed later without a change to the file or the options.
    pub fn retryable(&self) -> bool {
        let transient = |e: &io::Error| {
            matches!(e.kind(), io::ErrorKind::Interrupted | io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock)
        };
        self.0.source.as_ref().and_then(|s| s.downcast_ref()).is_some_and(transient)
    }

    /// The line, from one, where the source has lines.
    pub fn at_line(&self) -> Option<u64> {
        self.0.line
    }

    /// The byte's offset, from zero, in the decompressed source.
    pub fn at_byte(&self) -> Option<u64> {
        self.0.byte
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Inner { what, help, file, line, byte, .. } = &*self.0;
        if let Some(file) = file {
            write!(f, "{file}: ")?;
        }
        match (line, byte) {
            (Some(line), Some(byte)) => write!(f, "line {line}, byte {byte}: ")?,
            (Some(line), None) => write!(f, "line {line}: ")?,
            (None, Some(byte)) => write!(f, "byte {byte}: ")?,
            (None, None) => {}
        }
        f.write_str(what)?;
        if !help.is_empty() {
            write!(f, " ({help})")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {self}", self.0.kind)
    }
}

impl error::Error for Error {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        self.0.source.as_deref().map(|e| e as _)
    }
}
