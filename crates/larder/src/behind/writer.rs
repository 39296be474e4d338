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
    /// What came after the appends of the last group.
    left_over: Option<Command>,
    /// When the next sync is due, if anything was written since the last.
    sync_at: Option<Instant>,
    /// When the next checkpoint is due, if the sink has more than the last one says.
    checkpoint_at: Option<Instant>,
    /// The last checkpoint failed: the next one waits until it is due, whatever it would free.
    is_stuck: bool,
}

impl Writer {
    pub(super) fn new(log: Log, options: Arc<Options>, shared: Arc<Shared>, commands: Receiver<Command>) -> Self {
        Self { log, options, shared, commands, left_over: None, sync_at: None, checkpoint_at: None, is_stuck: false }
    }

    /// Serves until it is stopped or nobody is left to ask.
    pub(super) fn run(mut self) {
        while self.serve().is_continue() {
            self.keep_time();
        }
        self.sync();
        self.checkpoint();
    }

    /// Waits for a command and does it; appends that are there and follow each other are one group. No more than that: under a load that
    /// never lets up there is always another command, and what is due must be done all the same.
    fn serve(&mut self) -> ControlFlow<()> {
        let command = match self.next() {
            Ok(command) => command,
            Err(RecvTimeoutError::Timeout) => return ControlFlow::Continue(()),
            Err(RecvTimeoutError::Disconnected) => return ControlFlow::Break(()),
        };
        match command {
            Command::Append(append) => self.commit_with(append),
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

    /// The next command, unless something is due before there is one.
    fn next(&mut self) -> Result<Command, RecvTimeoutError> {
        if let Some(command) = self.left_over.take() {
            return Ok(command);
        }
        match [self.sync_at, self.checkpoint_at].into_iter().flatten().min() {
            None => self.commands.recv().map_err(|_| RecvTimeoutError::Disconnected),
            Some(due) => self.commands.recv_timeout(due.saturating_duration_since(Instant::now())),
        }
    }

    /// Commits an append together with those that are there already.
    fn commit_with(&mut self, first: Append) {
        let (mut bytes, mut group) = (first.bytes(), vec![first]);
        while bytes < GROUP_BYTES {
            match self.commands.try_recv() {
                Ok(Command::Append(append)) => {
                    bytes += append.bytes();
                    group.push(append);
                }
                Ok(other) => {
                    self.left_over = Some(other);
                    break;
                }
                Err(_) => break,
            }
        }
        self.commit(group);
    }

    /// Writes a group, durable at once, and only then tells those who wait.
    fn commit(&mut self, group: Vec<Append>) {
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
        if self.checkpoint_at.is_some_and(|at| at <= now) || self.log.is_wasteful() && !self.is_stuck {
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
        let stored = self.log.checkpoint();
        self.is_stuck = stored.is_err();
        if let Err(error) = stored {
            self.shared.counters.failed_syncs.fetch_add(1, Relaxed);
            tracing::warn!(%error, "write-behind: no checkpoint, or a finished segment stays; tried again later");
            self.checkpoint_at = Some(Instant::now() + self.options.checkpoint_interval);
        }
    }
}

impl Append {
    fn bytes(&self) -> usize {
        record::length(self.name.len(), self.value.as_ref().map_or(0, Bytes::len))
    }
}

#[cfg(test)]
mod tests {
    use super::super::gate::Gate;
    use super::super::pending::Pending;
    use super::super::stats::Counters;
    use super::*;

    fn writer(folder: &tempfile::TempDir, options: Options) -> (Writer, std::sync::mpsc::Sender<Command>) {
        let options = Arc::new(options);
        let (log, recovered) = Log::open(folder.path(), &options).unwrap();
        let (pending, counters) = (Pending::default(), Counters::new(&recovered));
        let shared = Arc::new(Shared { pending, counters, hearers: Default::default() });
        let (commands, receiver) = std::sync::mpsc::channel();
        (Writer::new(log, options, shared, receiver), commands)
    }

    fn append(commands: &std::sync::mpsc::Sender<Command>, bytes: usize) {
        let room = Gate::new(&Options::default()).admit(bytes);
        let (value, reply) = (Some(vec![7; bytes].into()), oneshot::channel().0);
        commands.send(Command::Append(Append { name: "k".into(), value, room, reply })).unwrap();
    }

    #[test]
    fn what_is_due_is_done_though_commands_never_end() {
        let folder = tempfile::tempdir().unwrap();
        let (mut writer, commands) = writer(&folder, Options { segment_bytes: 1, ..Options::default() });
        (0..3).for_each(|_| append(&commands, GROUP_BYTES));
        commands.send(Command::Acknowledge(2)).unwrap();
        (0..5).for_each(|_| append(&commands, GROUP_BYTES));
        drop(commands);
        let first = folder.path().join(super::super::segment::name(1, "log"));
        loop {
            assert!(writer.serve().is_continue());
            writer.keep_time();
            if !first.exists() {
                break;
            }
        }
        assert!(writer.shared.pending.size().0 < 8, "what the sink has is deleted while there is more to do");
    }
}
