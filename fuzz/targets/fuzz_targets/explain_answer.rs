//! Any bytes as `explain-answer`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| larder_fuzz::run("explain-answer", bytes));
