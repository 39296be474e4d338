//! Any bytes as `peer-frame`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| larder_fuzz::run("peer-frame", bytes));
