//! Decoders that nobody but the crate calls, for `fuzz/`.

use larder::recorder::Batch;
use larder::remote::Invalidation;

use crate::{ServerInfo, info, listen, recording};

pub use crate::steer::fuzzing::{hello, hits, steer};

/// The batch of a recorder that an entry of a stream is.
///
/// # Errors
/// What is wrong with its fields.
pub fn batch(fields: &[Vec<u8>]) -> Result<Batch, String> {
    recording::batch(fields)
}

/// The figures in the text of `INFO`.
pub fn server_info(text: &str) -> ServerInfo {
    info::parse(text)
}

/// What a message on the channel says; none if it is our own, or only a sign.
pub fn announcement(sender: u64, message: &[u8]) -> Option<Invalidation> {
    listen::decode(sender, message)
}

/// The message that says so; none for a loss, which nobody announces.
pub fn announce(sender: u64, what: &Invalidation) -> Option<Vec<u8>> {
    listen::encode(sender, what)
}
