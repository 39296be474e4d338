//! Write-behind between the log and the sink: `Pending` and `Gate`, with a writer's threads, the flusher's loop and readers of their own
//! writes.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use shuttle::future;
use shuttle::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};

use super::gate::Gate;
use super::pending::{Entry, Next, Pending};
use super::{Options, Write};
use crate::sync::Mutex;

const WRITERS: u64 = 2;
const EACH: u64 = 2;
/// So many may be outstanding.
const MOST: usize = 2;

#[derive(Clone, Copy, PartialEq)]
enum Fault {
    None,
    ForgottenEarly,
    NotTold,
}

struct Log {
    gate: Arc<Gate>,
    pending: Pending,
    /// What is in the file, up to which sequence.
    sequence: Mutex<u64>,
    sink: Mutex<HashMap<String, u64>>,
    outstanding: AtomicU64,
    is_over: AtomicBool,
    fault: Fault,
}

fn options() -> Options {
    Options { max_pending_writes: MOST, max_wait: None, batch_writes: 2, ..Options::default() }
}

impl Log {
    /// As `Behind::append` and the writer's thread: room, the log, and only then whoever waits.
    async fn append(&self, name: &str) -> u64 {
        let room = self.gate.enter(1).await.unwrap();
        assert!(self.outstanding.fetch_add(1, SeqCst) < MOST as u64, "more is outstanding than may be");
        let mut log = self.sequence.lock();
        *log += 1;
        let sequence = *log;
        let value = Some(Bytes::copy_from_slice(&sequence.to_le_bytes()));
        let write = Write { sequence, name: name.into(), value };
        let entry = Entry { write, bytes: 1, since: std::time::Instant::now(), is_recovered: false, _room: room };
        if self.fault == Fault::NotTold && sequence == 1 {
            // On the way to the sink, and looked up by nobody.
            self.sink.lock().insert(name.to_owned(), 0);
            drop(entry);
            self.outstanding.fetch_sub(1, SeqCst);
        } else {
            self.pending.push([entry], sequence);
        }
        sequence
    }

    /// What a reader of `name` sees: the log's word, or the sink's.
    fn read(&self, name: &str) -> u64 {
        match self.pending.latest(name) {
            Some(value) => u64::from_le_bytes(value.unwrap()[..].try_into().unwrap()),
            None => self.sink.lock().get(name).copied().unwrap_or(0),
        }
    }

    /// As `Flusher::flush`; time does not pass, so that what waits for more to come goes at once.
    async fn flush(&self) {
        let options = options();
        let mut last = 0;
        loop {
            match self.pending.next(&options) {
                Next::Empty if self.is_over.load(SeqCst) => return,
                Next::Empty => {
                    self.pending.arrived.notified().await;
                    continue;
                }
                Next::At(_) | Next::Ready => {}
            }
            let Some(batch) = self.pending.take(&options) else { continue };
            let (writes, many) = (batch.writes.clone(), batch.writes.len() as u64 + batch.coalesced());
            self.outstanding.fetch_sub(many, SeqCst);
            let deliver = || {
                let mut sink = self.sink.lock();
                for write in &writes {
                    assert!(write.sequence > last, "the sink saw sequences go back");
                    last = write.sequence;
                    sink.insert(write.name.to_string(), write.sequence);
                }
            };
            let mut deliver = Some(deliver);
            if self.fault != Fault::ForgottenEarly {
                deliver.take().into_iter().for_each(|mut deliver| deliver());
            }
            self.pending.done(batch);
            deliver.take().into_iter().for_each(|mut deliver| deliver());
        }
    }
}

fn run(fault: Fault) {
    let log = Arc::new(Log {
        gate: Gate::new(&options()),
        pending: Pending::default(),
        sequence: Mutex::new(0),
        sink: Mutex::default(),
        outstanding: AtomicU64::new(0),
        is_over: AtomicBool::new(false),
        fault,
    });
    let flusher = {
        let log = log.clone();
        future::spawn(async move { log.flush().await })
    };
    let writers: Vec<_> = (0..WRITERS)
        .map(|_| {
            let log = log.clone();
            future::spawn(async move {
                for _ in 0..EACH {
                    let sequence = log.append("a").await;
                    assert!(log.read("a") >= sequence, "a writer does not see its own write");
                    future::yield_now().await;
                    assert!(log.read("a") >= sequence, "what was seen is gone");
                }
            })
        })
        .collect();
    future::block_on(async {
        for writer in writers {
            writer.await.unwrap();
        }
        log.is_over.store(true, SeqCst);
        log.pending.arrived.notify_one();
        flusher.await.unwrap();
        // All room is back, or this would wait for ever.
        let _all = [log.gate.enter(1).await.unwrap(), log.gate.enter(1).await.unwrap()];
    });
    assert_eq!(log.sink.lock().get("a"), Some(&(WRITERS * EACH)), "an acknowledged write is lost");
    assert_eq!((log.pending.latest("a"), log.pending.size().0), (None, 0));
}

pub(crate) fn a_write_is_with_the_log_or_with_the_sink() {
    run(Fault::None);
}

pub(crate) fn with_a_write_forgotten_too_early() {
    run(Fault::ForgottenEarly);
}

pub(crate) fn with_a_write_nobody_is_told_of() {
    run(Fault::NotTold);
}
