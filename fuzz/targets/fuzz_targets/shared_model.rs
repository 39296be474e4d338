//! Any bytes as `shared-model`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| larder_fuzz::run("shared-model", bytes));
