//! Back-pressure: what the sink does not have yet is bounded in writes and in bytes.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;

use super::Options;
use crate::{Error, ErrorKind};

/// How much may be outstanding.
pub(super) struct Gate {
    writes: Semaphore,
    bytes: Semaphore,
    most_bytes: usize,
    max_wait: Option<Duration>,
}

/// One write's share; given back when dropped.
pub(super) struct Room {
    gate: Arc<Gate>,
    writes: usize,
    bytes: usize,
}

impl Gate {
    pub(super) fn new(options: &Options) -> Arc<Self> {
        Arc::new(Self {
            writes: Semaphore::new(options.max_pending_writes),
            bytes: Semaphore::new(options.max_pending_bytes),
            most_bytes: options.max_pending_bytes,
            max_wait: options.max_wait,
        })
    }

    /// Waits for room, first come, first served.
    ///
    /// # Errors
    /// `Config`: there is never room for so many bytes; `Overloaded`: there was none in time; `Closed`.
    pub(super) async fn enter(self: &Arc<Self>, bytes: usize) -> Result<Room, Error> {
        if bytes > self.most_bytes {
            let what = format!("write-behind: a write of {bytes} bytes exceeds max_pending_bytes, {}", self.most_bytes);
            return Err(Error::new(ErrorKind::Config, what));
        }
        let wait = async {
            // The two permits are held until both are there; dropped on the way, they go back.
            let write = self.writes.acquire().await.map_err(|_| closed())?;
            // Checked against `most_bytes`, which fits.
            let share = self.bytes.acquire_many(bytes as u32).await.map_err(|_| closed())?;
            write.forget();
            share.forget();
            Ok(Room { gate: Arc::clone(self), writes: 1, bytes })
        };
        match self.max_wait {
            None => wait.await,
            Some(longest) => tokio::time::timeout(longest, wait).await.unwrap_or_else(|_| {
                let what = format!("write-behind: the sink does not keep up, no room within {longest:?}");
                Err(Error::new(ErrorKind::Overloaded, what))
            }),
        }
    }

    /// Room for a write that is in the log already: if there is not enough, what there is.
    pub(super) fn admit(self: &Arc<Self>, bytes: usize) -> Room {
        Room { gate: Arc::clone(self), writes: self.writes.forget_permits(1), bytes: self.bytes.forget_permits(bytes) }
    }

    /// Nobody gets in any more.
    pub(super) fn close(&self) {
        self.writes.close();
        self.bytes.close();
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        self.gate.writes.add_permits(self.writes);
        self.gate.bytes.add_permits(self.bytes);
    }
}

/// What callers get once the log is shut down.
pub(super) fn closed() -> Error {
    Error::new(ErrorKind::Closed, "write-behind: shut down")
}
