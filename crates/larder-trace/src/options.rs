//! How a trace is to be read.

use std::fmt;

use crate::{Columns, Error, formats};

/// Options of [`open`](crate::open()); the default reads a whole trace strictly, its format seen by its content.
#[derive(Clone)]
pub struct Options {
    /// A name of [`FORMATS`](crate::FORMATS); none detects it.
    pub format: Option<String>,
    /// Which columns or fields hold what, for CSV, JSON lines and Parquet.
    pub columns: Columns,
    /// Bad rows to pass over before giving up.
    pub skip_bad: u64,
    /// Requests to yield at most.
    pub limit: Option<u64>,
    /// Hides the keys: each is replaced by its SipHash-2-4 under this secret.
    pub secret: Option<String>,
    /// Bytes a block, for block traces whose requests span several.
    pub block_size: u32,
    /// Takes responses of every status from access logs, not only 2xx and 3xx.
    pub all_statuses: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            format: None,
            columns: Columns::default(),
            skip_bad: 0,
            limit: None,
            secret: None,
            block_size: 4096,
            all_statuses: false,
        }
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { format, columns, skip_bad, limit, secret, block_size, all_statuses } = self;
        // The secret must not get into logs.
        let secret = secret.as_ref().map(|_| "…");
        f.debug_struct("Options")
            .field("format", format)
            .field("columns", columns)
            .field("skip_bad", skip_bad)
            .field("limit", limit)
            .field("secret", &secret)
            .field("block_size", block_size)
            .field("all_statuses", all_statuses)
            .finish()
    }
}

impl Options {
    /// Checks what the types do not.
    pub(crate) fn check(&self) -> Result<(), Error> {
        if self.block_size == 0 {
            return Err(Error::option("the block size is 0; give it in bytes, such as 4096"));
        }
        if self.secret.as_deref() == Some("") {
            return Err(Error::option("the secret is empty: it would hide nothing"));
        }
        self.format.as_deref().map_or(Ok(()), |name| formats::named(name).map(drop))
    }
}
