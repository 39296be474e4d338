//! Any bytes as `oracle-general`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| larder_fuzz::run("oracle-general", bytes));
