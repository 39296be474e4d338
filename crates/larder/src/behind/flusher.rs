//! The task that gives the sink what the log holds, one batch after another, so that the order of the log is the sink's.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc;
use std::time::Duration;

use backon::{BackoffBuilder as _, ExponentialBuilder};
use futures_util::FutureExt as _;
use tokio::sync::{oneshot, watch};
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::hearers::News;
use super::pending::{Batch, Next};
use super::writer::Command;
use super::{Options, Shared, Sink, Write};
use crate::{Error, ErrorKind};

/// What was kept of a write elsewhere, besides the log, may be gone after this. Until the sink has a write, other processes may load what
/// the origin had before it and keep that: once it has, they are told again. Of values this is only done where they waited for longer.
const LONG: Duration = Duration::from_secs(5);

/// Whether the flusher goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stop {
    /// It does.
    No,
    /// Once everything is with the sink, or then.
    By(Instant),
    /// At once.
    Now,
}

pub(super) struct Flusher {
    pub(super) sink: Arc<dyn Sink>,
    pub(super) options: Arc<Options>,
    pub(super) shared: Arc<Shared>,
    pub(super) log: mpsc::Sender<Command>,
    pub(super) stop: watch::Receiver<Stop>,
}

impl Flusher {
    /// Serves until it is stopped; what the sink does not have then stays in the log.
    pub(super) async fn run(self) {
        tokio::select! {
            biased;
            () = out_of_time(self.stop.clone()) => {}
            () = self.flush() => {}
        }
        // Fails only if the thread is gone, which is what it asks for.
        let _ = self.log.send(Command::Stop);
    }

    /// Gives batches to the sink until the log is shut down and empty.
    async fn flush(&self) {
        let mut stop = self.stop.clone();
        loop {
            let stopping = match *stop.borrow_and_update() {
                Stop::No => false,
                Stop::By(_) => true,
                Stop::Now => return,
            };
            let ready = match self.shared.pending.next(&self.options) {
                Next::Ready => true,
                Next::Empty if stopping => return,
                Next::At(_) if stopping => true,
                Next::Empty => {
                    tokio::select! {
                        () = self.shared.pending.arrived.notified() => {}
                        _ = stop.changed() => {}
                    }
                    false
                }
                Next::At(at) => tokio::select! {
                    () = sleep_until(at.into()) => true,
                    () = self.shared.pending.arrived.notified() => false,
                    _ = stop.changed() => false,
                },
            };
            if ready && let Some(batch) = self.shared.pending.take(&self.options) {
                self.deliver(batch).await;
            }
        }
    }

    /// Sees to it that each write of the batch is with the sink or with the dead letters.
    async fn deliver(&self, batch: Batch) {
        let mut refused = Vec::new();
        if let Err(error) = self.offer(&batch.writes).await {
            // One write that the sink can never take does not hold back the others, nor take them with it.
            if let [_] = batch.writes[..] {
                refused.push((batch.writes[0].clone(), error));
            } else {
                for write in &batch.writes {
                    if let Err(error) = self.offer(std::slice::from_ref(write)).await {
                        refused.push((write.clone(), error));
                    }
                }
            }
        }
        self.park(&refused).await;
        let counters = &self.shared.counters;
        // Before anybody is told: who keeps what it wrote looks here afterwards.
        counters.dead.fetch_add(refused.len() as u64, Relaxed);
        let waited_long = batch.waited(LONG);
        let outdated = batch.writes.iter().filter(|write| waited_long || write.value.is_none());
        let news = News {
            outdated: outdated.map(|write| write.name.clone()).collect(),
            refused: refused.iter().map(|(write, _)| write.name.clone()).collect(),
        };
        self.shared.hearers.tell(&news, batch.recovered()).await;
        counters.flushed.fetch_add((batch.writes.len() - refused.len()) as u64, Relaxed);
        counters.coalesced.fetch_add(batch.coalesced(), Relaxed);
        // Fails only if the thread is gone; then the sink is offered the batch again, which does no harm.
        let _ = self.log.send(Command::Acknowledge(batch.last()));
        self.shared.pending.done(batch);
    }

    /// Calls the sink until it takes the writes.
    ///
    /// # Errors
    /// The sink says that it never will.
    async fn offer(&self, writes: &[Write]) -> Result<(), Error> {
        self.insist("the sink fails", || async {
            let call = AssertUnwindSafe(async { self.sink.write(writes).await }).catch_unwind();
            match timeout(self.options.sink_timeout, call).await {
                Ok(Ok(outcome)) => outcome,
                Ok(Err(_)) => Err(Error::new(ErrorKind::Panicked, "write-behind: the sink panicked")),
                Err(_) => Err(Error::new(ErrorKind::Timeout, "write-behind: the sink did not answer in time")),
            }
        })
        .await
    }

    /// Keeps what the sink refuses; until that is done it is not out of the log.
    async fn park(&self, refused: &[(Write, Error)]) {
        let Some((first, error)) = refused.first() else { return };
        tracing::error!(sequence = first.sequence, writes = refused.len(), %error, "write-behind: the sink refuses writes");
        let writes: Vec<Write> = refused.iter().map(|(write, _)| write.clone()).collect();
        let kept = self.insist("dead letters cannot be kept", || async {
            let (reply, answer) = oneshot::channel();
            let gone = || Error::new(ErrorKind::Storage, "write-behind: the log's thread is gone");
            self.log.send(Command::Park(writes.clone(), reply)).map_err(|_| gone())?;
            answer.await.map_err(|_| gone())?
        });
        // All of these errors are `Storage`, which is tried again: there is none left.
        let _ = kept.await;
    }

    /// Tries until it works or the error says that trying again is no use.
    async fn insist<F: Future<Output = Result<(), Error>>>(
        &self,
        what: &str,
        mut attempt: impl FnMut() -> F,
    ) -> Result<(), Error> {
        let mut stop = self.stop.clone();
        let mut delays = self.delays();
        loop {
            let error = match attempt().await {
                Err(error) if error.is_retryable() => error,
                outcome => return outcome,
            };
            self.shared.counters.retried.fetch_add(1, Relaxed);
            let delay = delays.next().unwrap_or(self.options.retry_longest);
            tracing::warn!(%error, ?delay, "write-behind: {what}; tried again");
            tokio::select! {
                () = sleep(delay) => {}
                // There is little time left: at once, and from the shortest delay on.
                _ = stop.changed() => delays = self.delays(),
            }
        }
    }

    fn delays(&self) -> impl Iterator<Item = Duration> + use<> {
        ExponentialBuilder::new()
            .with_min_delay(self.options.retry_first)
            .with_max_delay(self.options.retry_longest)
            .without_max_times()
            .with_jitter()
            .build()
    }
}

/// Returns when the flusher must stop, whatever it is doing.
async fn out_of_time(mut stop: watch::Receiver<Stop>) {
    loop {
        let current = *stop.borrow_and_update();
        let deadline = async {
            match current {
                Stop::No => std::future::pending().await,
                Stop::By(deadline) => sleep_until(deadline).await,
                Stop::Now => {}
            }
        };
        tokio::select! {
            () = deadline => return,
            changed = stop.changed() => if changed.is_err() { return },
        }
    }
}
