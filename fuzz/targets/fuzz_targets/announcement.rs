//! Any bytes as `announcement`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| larder_fuzz::run("announcement", bytes));
