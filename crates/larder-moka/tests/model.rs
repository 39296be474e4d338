//! Races of what has no lock, by a model checker: the very files of the crate, over the atomics of [loom](https://docs.rs/loom), which runs
//! every order of steps within a number of preemptions, weak memory included. Models have a twin with a fault put in, and the checker must
//! find that.
#![allow(clippy::unwrap_used, reason = "a test may panic")]
#![allow(dead_code, unreachable_pub, unused_imports, reason = "each model takes what it needs of the files")]

use std::panic;
use std::time::Instant;

use larder_policy::KeyHash;
use loom::sync::atomic::Ordering::Relaxed;
use loom::sync::{Arc, Mutex};
use loom::thread;

use fences::{Fences, Seen, Ticket};
use rings::Rings;

#[path = "../src/fences.rs"]
mod fences;
#[path = "../src/rings.rs"]
mod rings;

/// The checker's.
mod atomic {
    pub(crate) use loom::sync::atomic::{AtomicU64, Ordering};
}

const KEY: KeyHash = KeyHash(1);

/// What is done wrong.
#[derive(Clone, Copy, PartialEq)]
enum Fault {
    None,
    InvalidatesFirst,
    TicketTooLate,
    LooksTooLate,
    GlanceDecides,
    PutsBackWhatStood,
}

/// moka's table of one key, and the origin.
struct Small {
    fences: Fences,
    table: Mutex<Option<(u64, Ticket)>>,
    origin: atomic::AtomicU64,
}

impl Small {
    /// As `Core` and `Expiry` do: a ticket, the origin's word, the table, and then once more whether the fence was raised.
    fn load(&self, fault: Fault) {
        let early = self.fences.ticket();
        let value = self.origin.load(Relaxed);
        let ticket = if fault == Fault::TicketTooLate { self.fences.ticket() } else { early };
        let _landing = self.fences.landing(KEY);
        *self.table.lock().unwrap() = Some((value, ticket));
        if !self.fences.admit(KEY, ticket) {
            let mut table = self.table.lock().unwrap();
            if table.is_some_and(|(_, own)| own == ticket) {
                *table = None;
            }
        }
    }

    /// As a load does that fails, and puts back what there was.
    fn fail(&self, fault: Fault) {
        let before = self.fences.before(KEY);
        let Some((value, _)) = *self.table.lock().unwrap() else { return };
        let _landing = self.fences.landing(KEY);
        let stands = match fault {
            Fault::PutsBackWhatStood => self.fences.admit(KEY, before.ticket),
            _ => self.fences.stands(KEY, before),
        };
        if stands {
            *self.table.lock().unwrap() = Some((value, before.ticket));
            if !self.fences.admit(KEY, before.ticket) {
                *self.table.lock().unwrap() = None;
            }
        }
    }

    /// As readers do: what was on its way in before, the table, and then what is; closer where that does not tell.
    fn read(&self, fault: Fault) -> Option<u64> {
        let mut look = self.fences.glance();
        loop {
            let (value, ticket) = (*self.table.lock().unwrap())?;
            if fault == Fault::LooksTooLate {
                look = self.fences.glance();
            }
            match self.fences.judge(look, KEY, ticket) {
                Seen::Good => return Some(value),
                Seen::Void => return None,
                Seen::Unsure if fault == Fault::GlanceDecides => return Some(value),
                Seen::Unsure => look = self.fences.look(KEY),
            }
        }
    }

    /// As `changed` does, once the origin was written.
    fn changed(&self, fault: Fault) {
        let _change = self.fences.change(KEY);
        self.origin.store(2, Relaxed);
        if fault == Fault::InvalidatesFirst {
            *self.table.lock().unwrap() = None;
            self.fences.raise(KEY);
        } else {
            self.fences.raise(KEY);
            *self.table.lock().unwrap() = None;
        }
    }
}

/// However loads and a write fall together, what is read once the write is over is not from before it, nor what is kept in the end.
fn fences(fault: Fault) {
    check(move || {
        let small =
            Arc::new(Small { fences: Fences::of_many(1), table: Mutex::new(None), origin: atomic::AtomicU64::new(1) });
        let loads: Vec<_> = (0..2)
            .map(|_| {
                let small = small.clone();
                thread::spawn(move || small.load(fault))
            })
            .collect();
        small.changed(fault);
        assert!(small.read(fault).is_none_or(|value| value == 2), "the old value was read");
        loads.into_iter().for_each(|load| load.join().unwrap());
        let kept = *small.table.lock().unwrap();
        assert!(kept.is_none_or(|(value, _)| value == 2), "the old value was kept");
    });
}

/// What a load that fails puts back is not from before a write that is over.
fn failing(fault: Fault) {
    check(move || {
        let origin = atomic::AtomicU64::new(1);
        let small = Arc::new(Small { fences: Fences::of_many(1), table: Mutex::new(Some((1, Ticket(0)))), origin });
        let own = small.clone();
        let load = thread::spawn(move || own.fail(fault));
        small.changed(fault);
        assert!(small.read(fault).is_none_or(|value| value == 2), "the old value was read");
        load.join().unwrap();
        assert!(small.table.lock().unwrap().is_none(), "the old value was put back");
    });
}

/// Every hit is handed out or counted as lost, while they are taken too.
fn rings() {
    check(|| {
        let rings = Arc::new(Rings::<2>::of_many(1));
        let threads: Vec<_> = (0..2)
            .map(|thread| {
                let rings = rings.clone();
                thread::spawn(move || {
                    rings.record(KeyHash(10 + thread));
                    rings.record(KeyHash(20 + thread));
                })
            })
            .collect();
        let mut taken = Vec::new();
        rings.take(|key| taken.push(key.0));
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        rings.take(|key| taken.push(key.0));
        let (taken_in_all, lost) = (taken.len() as u64, rings.lost());
        assert!(taken_in_all + lost >= 4 && taken_in_all <= 4, "{taken:?}, {lost} lost");
        taken.sort_unstable();
        taken.dedup();
        assert_eq!(taken.len() as u64, taken_in_all, "a hit was handed out twice");
    });
}

fn check(model: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(3);
    builder.check(model);
}

fn main() {
    let models: [(&str, fn()); 3] = [
        ("what a write overtook is not kept", || fences(Fault::None)),
        ("what a write took out is not put back", || failing(Fault::None)),
        ("no hit is lost uncounted", rings),
    ];
    for (name, model) in models {
        let start = Instant::now();
        model();
        println!("holds: {name}, {:.1} s", start.elapsed().as_secs_f64());
    }
    panic::set_hook(Box::new(|_| ()));
    let broken: [(&str, fn()); 5] = [
        ("an invalidation before its fence", || fences(Fault::InvalidatesFirst)),
        ("a ticket taken after the origin was asked", || fences(Fault::TicketTooLate)),
        ("a look taken after the table was read", || fences(Fault::LooksTooLate)),
        ("a glance that is taken for enough", || fences(Fault::GlanceDecides)),
        ("a write under way that a failed load does not heed", || failing(Fault::PutsBackWhatStood)),
    ];
    for (name, model) in broken {
        if panic::catch_unwind(model).is_ok() {
            let _ = panic::take_hook();
            panic!("{name}: the checker found no fault in what has one");
        }
        println!("found: {name}");
    }
}
