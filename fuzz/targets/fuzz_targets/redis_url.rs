//! Any bytes as `redis-url`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| larder_fuzz::run("redis-url", bytes));
