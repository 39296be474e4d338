//! Races, by a model checker: the very files of the crate, over the checker's locks and atomics, run under many thousands of schedules that
//! [shuttle](https://docs.rs/shuttle) draws (random ones, and by Burckhardt et al., "A randomized scheduler with probabilistic guarantees
//! of finding bugs", ASPLOS 2010). Each model has a twin with a fault put in, and the checker must find that.
//!
//! What tokio has of its own (`watch`, `Notify`, `Semaphore`) is not taken apart: each of its steps is one here. Time does not pass.
#![allow(clippy::unwrap_used, reason = "a test may panic")]
#![allow(dead_code, unreachable_pub, reason = "each model takes what it needs of the files")]

use std::panic;
use std::time::Instant;

pub(crate) use larder::{Error, ErrorKind};
use shuttle::scheduler::{PctScheduler, RandomScheduler};
use shuttle::{Config, FailurePersistence, Runner};

#[path = "../src/flight.rs"]
mod flight;

/// What the files have from the rest of the crate.
mod fetched {
    pub(crate) use larder::Found;
}
mod hash {
    pub(crate) type Hashed = std::hash::BuildHasherDefault<std::hash::DefaultHasher>;
}
mod limits {
    #[derive(Default)]
    pub(crate) struct Lenders {}
}
mod load {
    pub(crate) fn abandoned() -> larder::Error {
        larder::Error::new(larder::ErrorKind::Panicked, "the load ended without an answer")
    }
}
mod remote {
    pub(crate) use larder::remote::Name;
}
#[path = "."]
mod behind {
    pub(crate) use larder::behind::{Options, Write};
    #[path = "../src/behind/gate.rs"]
    mod gate;
    // Beside what it models, which only its neighbours see.
    #[path = "models/pending.rs"]
    pub(crate) mod model;
    #[path = "../src/behind/pending.rs"]
    mod pending;
}

/// The checker's, with `parking_lot`'s face.
mod sync {
    pub(crate) use shuttle::sync::MutexGuard;
    pub(crate) use shuttle::sync::atomic::{AtomicBool, AtomicU64, Ordering};

    #[derive(Default)]
    pub(crate) struct Mutex<T>(shuttle::sync::Mutex<T>);

    impl<T> Mutex<T> {
        pub(crate) fn new(value: T) -> Self {
            Self(shuttle::sync::Mutex::new(value))
        }

        /// A panic elsewhere does not poison it.
        pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
            self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
        }
    }
}

#[path = "models/flights.rs"]
mod flights;

/// Schedules of each kind.
const SCHEDULES: usize = 20_000;
/// Changes of mind of a schedule by PCT.
const DEPTH: usize = 3;
const SEED: u64 = 5;

type Model = fn();

const HOLD: [(&str, Model); 3] = [
    ("one load a key, whoever gives up or panics", flights::one_load_a_key_whoever_gives_up),
    ("what a write overtook is not kept", flights::what_a_write_overtook_is_not_kept),
    ("a write is with the log or with the sink", behind::model::a_write_is_with_the_log_or_with_the_sink),
];

const BROKEN: [(&str, Model); 4] = [
    ("a load that panics lands nowhere", flights::without_a_hand_over),
    ("a fence looked at outside the lock", flights::with_a_fence_looked_at_too_early),
    ("a write forgotten before the sink has it", behind::model::with_a_write_forgotten_too_early),
    ("a write nobody is told of", behind::model::with_a_write_nobody_is_told_of),
];

fn check(model: Model, persistence: FailurePersistence) {
    let mut config = Config::default();
    config.failure_persistence = persistence;
    // Of atomics with weaker orderings, which are taken for sequentially consistent: here they count, and locks do the rest.
    config.silence_warnings = true;
    Runner::new(RandomScheduler::new_from_seed(SEED, SCHEDULES), config.clone()).run(model);
    Runner::new(PctScheduler::new_from_seed(SEED, DEPTH, SCHEDULES), config).run(model);
}

fn main() {
    for (name, model) in HOLD {
        let start = Instant::now();
        check(model, FailurePersistence::Print);
        println!("holds: {name}, {} schedules, {:.1} s", 2 * SCHEDULES, start.elapsed().as_secs_f64());
    }
    panic::set_hook(Box::new(|_| ()));
    for (name, model) in BROKEN {
        let found = panic::catch_unwind(|| check(model, FailurePersistence::None));
        if found.is_ok() {
            let _ = panic::take_hook();
            panic!("{name}: the checker found no fault in what has one");
        }
        println!("found: {name}");
    }
}
