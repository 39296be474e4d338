//! What the tests share: where the real traces are.
#![forbid(unsafe_code)]

use std::path::PathBuf;

/// The path of a shared trace, `NAME.csv.zst` in `LARDER_TRACES` (default `../shared/traces` beside the workspace).
/// `None`, with a message, where there are no traces; the test then has nothing to do.
///
/// # Panics
/// When the trace is missing although `LARDER_REQUIRE_TRACES=1` demands it.
pub fn shared_trace(name: &str) -> Option<PathBuf> {
    let folder = std::env::var_os("LARDER_TRACES").map_or_else(
        || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../shared/traces"),
        |folder| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..").join(folder),
    );
    let path = folder.join(format!("{name}.csv.zst"));
    if path.exists() {
        return Some(path);
    }
    let required = std::env::var("LARDER_REQUIRE_TRACES").is_ok_and(|value| value == "1");
    assert!(!required, "LARDER_REQUIRE_TRACES=1, but there is no {}", path.display());
    println!("skipped: no traces");
    None
}

/// The README's code, compiled and run.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
pub struct Readme;
