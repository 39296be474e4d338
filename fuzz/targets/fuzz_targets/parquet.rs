//! Any bytes as `parquet`. Its library's panics are caught and become errors, so the hook that ends the process at any
//! panic is taken away; one that is not caught still ends it.
#![no_main]

libfuzzer_sys::fuzz_target!(
    init: std::panic::set_hook(Box::new(|_| {})),
    |bytes: &[u8]| larder_fuzz::run("parquet", bytes)
);
