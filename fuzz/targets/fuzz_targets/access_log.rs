//! Any bytes as `access-log`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| larder_fuzz::run("access-log", bytes));
