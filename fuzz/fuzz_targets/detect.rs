//! Any bytes, plain or compressed, as whatever they are taken for.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| larder_fuzz::read(None, bytes));
