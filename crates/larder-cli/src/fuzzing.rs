//! Decoders that nobody but the program calls, for `fuzz/`.

use serde_json::Value;

pub use crate::commands::explain::told;
pub use crate::commands::top::looked;

/// Entries of a Redis Stream, as their fields and values in turns, merged into a trace; how many rows that has, or why not.
///
/// # Errors
/// What is wrong with an entry.
pub fn merged(entries: &[Vec<Vec<u8>>]) -> Result<u64, String> {
    crate::streams::merged(entries).map_err(|failure| format!("{failure:?}"))
}

/// What a dashboard answered, as far as it is JSON.
pub fn answer(bytes: &[u8]) -> Option<Value> {
    serde_json::from_slice(bytes).ok()
}
