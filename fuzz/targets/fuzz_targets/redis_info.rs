//! Any bytes as `redis-info`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| larder_fuzz::run("redis-info", bytes));
