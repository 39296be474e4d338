//! Any bytes as `libcachesim-csv`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| larder_fuzz::run("libcachesim-csv", bytes));
