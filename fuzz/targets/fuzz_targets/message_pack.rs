//! Any bytes as `message-pack`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| larder_fuzz::run("message-pack", bytes));
