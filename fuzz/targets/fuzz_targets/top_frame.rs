//! Any bytes as `top-frame`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| larder_fuzz::run("top-frame", bytes));
