//! Decoders that nobody but the crate calls, for `fuzz/`.

use bytes::Bytes;
use larder_policy::freshness::{ClassPriors, Freshness};
use larder_policy::learned::Prior;

use crate::Error;
use crate::sharing::bundle::Bundle;

pub use crate::behind::fuzzing::{checkpoint, identity, segment, segment_of};
#[cfg(feature = "dashboard")]
pub use crate::dashboard::fuzzing::{host, peer_frame, registered};

/// What instances share, from its parts.
pub fn bundle_of(reuse: Option<Prior>, classes: Option<ClassPriors>) -> Bytes {
    Bundle { reuse: reuse.map(Into::into), classes: classes.map(Into::into) }.to_bytes()
}

/// Reads what instances share and writes it again.
///
/// # Errors
/// It is refused.
pub fn bundle(bytes: &[u8], freshness: &Freshness) -> Result<Bytes, Error> {
    Bundle::from_bytes(bytes, freshness).map(|bundle| bundle.to_bytes())
}
