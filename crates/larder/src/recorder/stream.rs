//! A recording that goes to a sink in batches, such as a Redis Stream. What the sink does not take in time is dropped and counted.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use std::time::Duration;

use backon::{BackoffBuilder as _, ExponentialBuilder};
use bytes::Bytes;
use futures_util::future::BoxFuture;
use larder_trace::Request;
use tokio::runtime::{Handle, Runtime};
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, oneshot};

use super::Shared;
use super::writer::Target;
use crate::{Error, ErrorKind};

/// Batches that may wait for the sink; of 4096 events each they take some 5 MiB.
const QUEUE: usize = 64;
/// How long the end of a recording waits for what the sink has not taken yet.
const GOODBYE: Duration = Duration::from_secs(5);
const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Events of one recorder in the order of their times: up to 4096, or those of five seconds. A read comes when its load has ended: one that took
/// longer than about a second stands behind what came later.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    /// Whose: a number that each recorder draws when it begins.
    pub recorder: u64,
    /// Which of its batches this is, counted from 1. One that is missing was dropped.
    pub number: u64,
    /// How many events.
    pub rows: u32,
    /// The events as a trace of its own: larder's CSV with its header, compressed with zstd.
    pub bytes: Bytes,
}

/// Where batches go. A sink is one recorder's.
pub trait Sink: Send + Sync + 'static {
    /// Called once before the first batch, with a runtime of the recorder's own that ends with the recording: for connections.
    fn begin(&self, _runtime: &Handle) {}

    /// Appends a batch.
    ///
    /// # Errors
    /// It is not there, or nobody knows: it is offered again after a pause, up to five seconds, for as long as the recording lasts.
    fn append<'a>(&'a self, batch: &'a Batch) -> BoxFuture<'a, Result<(), Error>>;
}

pub(super) struct Stream {
    shared: Arc<Shared>,
    recorder: u64,
    /// The last batch's.
    number: u64,
    batches: mpsc::Sender<Batch>,
    /// Dropped when there will be no more.
    open: oneshot::Sender<()>,
    /// Events handed to the thread.
    handed: u64,
    /// Whether the last batch was dropped.
    drops: bool,
    /// Returns the sink's last error, if that has not passed.
    thread: JoinHandle<Option<Error>>,
}

impl Stream {
    pub(super) fn begin(shared: Arc<Shared>, sink: Arc<dyn Sink>) -> Result<Self, Error> {
        let failed = |error| Error::caused(ErrorKind::Sink, "the recorder's second thread did not start", error);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(failed)?;
        let (batches, received) = mpsc::channel(QUEUE);
        let (open, closed) = oneshot::channel();
        let thread = std::thread::Builder::new().name("larder-stream".to_owned()).spawn({
            let shared = shared.clone();
            move || deliver(&runtime, &*sink, received, closed, &shared)
        });
        let thread = thread.map_err(failed)?;
        Ok(Self { shared, recorder: fastrand::u64(..), number: 0, batches, open, handed: 0, drops: false, thread })
    }
}

impl Target for Stream {
    const PATIENCE: Duration = Duration::from_secs(5);

    fn frame(&mut self, rows: &[Request]) -> Result<usize, Error> {
        self.number += 1;
        let bytes = larder_trace::packed(rows).map_err(super::file::unwritten)?.into();
        let batch = Batch { recorder: self.recorder, number: self.number, rows: rows.len() as u32, bytes };
        match self.batches.try_send(batch) {
            Ok(()) => (self.handed, self.drops) = (self.handed + rows.len() as u64, false),
            Err(TrySendError::Full(_)) => {
                self.shared.lanes.drop_many(rows.len() as u64);
                if !std::mem::replace(&mut self.drops, true) {
                    tracing::warn!("a recording's sink does not keep up: batches are dropped");
                }
            }
            Err(TrySendError::Closed(_)) => return Err(Error::new(ErrorKind::Sink, "a recording's sink panicked")),
        }
        Ok(rows.len())
    }

    fn finish(self, so_far: Result<(), Error>) -> Result<(), Error> {
        let Self { shared, batches, open, handed, thread, .. } = self;
        drop((batches, open));
        let Ok(last) = thread.join() else {
            shared.lanes.drop_many(handed - shared.written.load(Ordering::Relaxed));
            return so_far.and(Err(Error::new(ErrorKind::Sink, "a recording's sink panicked")));
        };
        match handed - shared.written.load(Ordering::Relaxed) {
            0 => so_far,
            lost => {
                shared.lanes.drop_many(lost);
                let why = last.map_or_else(|| format!("it took longer than {GOODBYE:?}"), |error| error.to_string());
                Err(Error::new(ErrorKind::Sink, format!("the last {lost} events did not reach the sink: {why}")))
            }
        }
    }
}

/// Offers batches to the sink until there are no more, or it is too late.
fn deliver(
    runtime: &Runtime,
    sink: &dyn Sink,
    batches: mpsc::Receiver<Batch>,
    closed: oneshot::Receiver<()>,
    shared: &Shared,
) -> Option<Error> {
    let mut last = None;
    runtime.block_on(async {
        sink.begin(runtime.handle());
        let too_late = async {
            // Nothing is ever sent: it ends when the recording does.
            let _ = closed.await;
            tokio::time::sleep(GOODBYE).await;
        };
        tokio::select! {
            () = offer(sink, batches, shared, &mut last) => {}
            () = too_late => {}
        }
    });
    last
}

async fn offer(sink: &dyn Sink, mut batches: mpsc::Receiver<Batch>, shared: &Shared, last: &mut Option<Error>) {
    let pauses =
        ExponentialBuilder::new().with_min_delay(FIRST_PAUSE).with_max_delay(LONGEST_PAUSE).without_max_times();
    while let Some(batch) = batches.recv().await {
        let mut pauses = pauses.build();
        while let Err(error) = sink.append(&batch).await {
            tracing::debug!(%error, "a batch of a recording is offered again");
            *last = Some(error);
            tokio::time::sleep(pauses.next().unwrap_or(LONGEST_PAUSE)).await;
        }
        *last = None;
        shared.bytes.fetch_add(batch.bytes.len() as u64, Ordering::Relaxed);
        shared.written.fetch_add(u64::from(batch.rows), Ordering::Relaxed);
    }
}
