//! The thread that owns the log.
//!
//! A thread of its own, not the runtime's blocking pool: while one `fdatasync` runs, appends gather in the channel and share
//! the next one, which is group commit for nothing; a pool full of a user's blocking calls cannot hold writes up; and the log
//! is closed in order when the runtime is gone. No worker of the runtime ever waits for it.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Instant;

use bytes::Bytes;
use tokio::sync::oneshot;

use super::gate::Room;
use super::log::Log;
use super::pending::Entry;
use super::{Fsync, Options, Shared, Write, record};
use crate::Error;
use crate::remote::Name;

/// Appends beyond this many bytes wait for the next sync.
const GROUP_BYTES: usize = 1 << 20;

/// What the thread is asked to do.
pub(super) enum Command {
    Append(Append),
    /// The sink has everything up to this sequence.
    Acknowledge(u64),
    /// Keep what the sink refuses.
    Park(Vec<Write>, oneshot::Sender<Result<(), Error>>),
    /// Answer when everything asked before is done and durable.
    Barrier(oneshot::Sender<()>),
    /// Close the log.
    Stop,
}

pub(super) struct Append {
    pub(super) name: Name,
    pub(super) value: Option<Bytes>,
    pub(super) room: Room,
    pub(super) reply: oneshot::Sender<Result<u64, Error>>,
}

pub(super) struct Writer {
    log: Log,
    options: Arc<Options>,
    shared: Arc<Shared>,
    commands: Receiver<Command>,
    /// When the next sync is due, if anything was written since the last.
    sync_at: Option<Instant>,
    /// When the next checkpoint is due, if the sink has more than the last one says.
    checkpoint_at: Option<Instant>,
}

impl Writer {
    pub(super) fn new(log: Log, options: Arc<Options>, shared: Arc<Shared>, commands: Receiver<Command>) -> Self {
        Self { log, options, shared, commands, sync_at: None, checkpoint_at: None }
    }

    /// Serves until it is stopped or nobody is left to ask.
    pub(super) fn run(mut self) {
        while self.serve().is_continue() {
            self.keep_time();
        }
        self.sync();
        self.checkpoint();
    }

    /// Waits for commands and does all that are there; appends that follow each other are one group.
    fn serve(&mut self) -> ControlFlow<()> {
        let due = [self.sync_at, self.checkpoint_at].into_iter().flatten().min();
        let first = match due {
            None => self.commands.recv().map_err(|_| RecvTimeoutError::Disconnected),
            Some(due) => self.commands.recv_timeout(due.saturating_duration_since(Instant::now())),
        };
        let mut command = match first {
            Ok(command) => command,
            Err(RecvTimeoutError::Timeout) => return ControlFlow::Continue(()),
            Err(RecvTimeoutError::Disconnected) => return ControlFlow::Break(()),
        };
        let (mut group, mut bytes) = (Vec::new(), 0);
        loop {
            match command {
                Command::Append(append) => {
                    bytes += append.bytes();
                    group.push(append);
                }
                other => {
                    self.commit(std::mem::take(&mut group));
                    self.obey(other)?;
                }
            }
            match self.commands.try_recv() {
                Ok(next) if bytes < GROUP_BYTES => command = next,
                Ok(next) => {
                    self.commit(std::mem::take(&mut group));
                    bytes = 0;
                    command = next;
                }
                Err(_) => break,
            }
        }
        self.commit(group);
        ControlFlow::Continue(())
    }

    fn obey(&mut self, command: Command) -> ControlFlow<()> {
        match command {
            Command::Append(append) => self.commit(vec![append]),
            Command::Acknowledge(sequence) => {
                self.log.acknowledge(sequence);
                self.checkpoint_at.get_or_insert_with(|| Instant::now() + self.options.checkpoint_interval);
            }
            // Who asked may have gone; what was asked is done.
            Command::Park(writes, reply) => drop(reply.send(self.log.park(&writes))),
            Command::Barrier(reply) => {
                self.sync();
                let _ = reply.send(());
            }
            Command::Stop => return ControlFlow::Break(()),
        }
        ControlFlow::Continue(())
    }

    /// Writes a group, durable at once, and only then tells those who wait.
    fn commit(&mut self, group: Vec<Append>) {
        if group.is_empty() {
            return;
        }
        let writes: Vec<_> = group.iter().map(|append| (&append.name, append.value.as_ref())).collect();
        let first = match self.log.append(&writes) {
            Ok(first) => first,
            Err(error) => {
                self.shared.counters.failed.fetch_add(group.len() as u64, Relaxed);
                return group.into_iter().for_each(|append| drop(append.reply.send(Err(error.clone()))));
            }
        };
        self.shared.counters.appended.fetch_add(group.len() as u64, Relaxed);
        let (since, mut replies) = (Instant::now(), Vec::with_capacity(group.len()));
        let entries = (first..).zip(group).map(|(sequence, append)| {
            let bytes = append.bytes();
            let Append { name, value, room, reply } = append;
            replies.push((sequence, reply));
            Entry { write: Write { sequence, name, value }, bytes, since, is_recovered: false, _room: room }
        });
        self.shared.pending.push(entries, self.log.durable());
        for (sequence, reply) in replies {
            // A caller who gave up has its write in the log all the same.
            let _ = reply.send(Ok(sequence));
        }
        if let Fsync::Interval(interval) = self.options.fsync {
            self.sync_at.get_or_insert(since + interval);
        }
    }

    /// Does what is due.
    fn keep_time(&mut self) {
        let now = Instant::now();
        if self.sync_at.is_some_and(|at| at <= now) {
            self.sync();
        }
        if self.checkpoint_at.is_some_and(|at| at <= now) || self.log.is_wasteful() {
            self.checkpoint();
        }
    }

    fn sync(&mut self) {
        self.sync_at = None;
        match self.log.sync() {
            Ok(durable) => self.shared.pending.push([], durable),
            Err(error) => {
                self.shared.counters.failed_syncs.fetch_add(1, Relaxed);
                tracing::warn!(%error, "write-behind: the log cannot be synced; tried again later");
                if let Fsync::Interval(interval) = self.options.fsync {
                    self.sync_at = Some(Instant::now() + interval);
                }
            }
        }
    }

    fn checkpoint(&mut self) {
        self.checkpoint_at = None;
        if let Err(error) = self.log.checkpoint() {
            self.shared.counters.failed_syncs.fetch_add(1, Relaxed);
            tracing::warn!(%error, "write-behind: no checkpoint; tried again later");
            self.checkpoint_at = Some(Instant::now() + self.options.checkpoint_interval);
        }
    }
}

impl Append {
    fn bytes(&self) -> usize {
        record::length(self.name.len(), self.value.as_ref().map_or(0, Bytes::len))
    }
}
