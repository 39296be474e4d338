//! Any text as a generator's description and as a column mapping.
#![no_main]

libfuzzer_sys::fuzz_target!(|text: &str| larder_fuzz::describe(text));
