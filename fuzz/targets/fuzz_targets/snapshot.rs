//! Any bytes as `snapshot`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| larder_fuzz::run("snapshot", bytes));
