//! Each decoder is given damaged samples: it neither panics, nor breaks a rule of its own, nor allocates more than it says.
//!
//! One test, for what is allocated is counted for the whole process. `LARDER_FUZZ=1000` makes it a thousand times as long.
#![allow(clippy::unwrap_used, reason = "outside of test functions, but in tests alone")]

use std::alloc::System;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Instant;
use std::{env, fs};

use cap::Cap;
use larder_fuzz::mutate::Mutator;
use larder_fuzz::{DECODERS, Decoder};

#[global_allocator]
static MEMORY: Cap<System> = Cap::new(System, usize::MAX);

/// Damaged samples of each decoder that costs little.
const CASES: usize = 10_000;
const SEED: u64 = 20;

/// What a decoder does with the bytes is wrong: says what, or none.
fn fault(decoder: &Decoder, bytes: &[u8]) -> Option<String> {
    let before = MEMORY.total_allocated();
    let outcome = catch_unwind(AssertUnwindSafe(|| decoder.run(bytes)));
    let allocated = MEMORY.total_allocated() - before;
    if let Err(panic) = outcome {
        let message = panic.downcast_ref::<String>().cloned();
        return Some(message.or_else(|| Some((*panic.downcast_ref::<&str>()?).to_owned())).unwrap_or_default());
    }
    let most = decoder.base + decoder.times * bytes.len();
    (allocated > most).then(|| format!("allocates {allocated} bytes for {} that it was given", bytes.len()))
}

#[test]
fn no_damage_makes_a_decoder_panic_or_take_more_memory_than_it_says() {
    let times = env::var("LARDER_FUZZ").map_or(1, |times| times.parse::<usize>().unwrap());
    // A panic is told below, and those of Parquet's library are caught on the way.
    std::panic::set_hook(Box::new(|_| {}));
    let mut faults = Vec::new();
    for decoder in DECODERS.iter() {
        let (start, mut mutator) = (Instant::now(), Mutator::new(SEED));
        let damaged = std::iter::repeat_with(|| mutator.damaged(&decoder.samples));
        let all = decoder.samples.iter().cloned().chain(damaged.take(CASES * times / decoder.cost as usize));
        for (case, bytes) in all.enumerate() {
            if let Some(what) = fault(decoder, &bytes) {
                let path = env::temp_dir().join(format!("larder-fuzz-{}", decoder.name));
                fs::write(&path, &bytes).unwrap();
                faults.push(format!(
                    "{}, seed {SEED}, case {case}: {what}; the bytes: {}",
                    decoder.name,
                    path.display()
                ));
                break;
            }
        }
        println!("{:>16} {:5} ms", decoder.name, start.elapsed().as_millis());
    }
    drop(std::panic::take_hook());
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}
