//! A Redis Stream as the sink of a write-behind log: each write is there once, however often it is sent.
//!
//! An entry's id is the log's identity and the write's sequence. Writes come in the order of their sequences, so that whatever is not
//! beyond the stream's last id is there already, or was: the server leaves it out, in one step with adding the rest.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use larder::behind::{Sink, Write};
use larder::{Error, ErrorKind, bounds};
use redis::{RedisResult, Value, cmd};
use tokio::runtime::Handle;
use tokio::task::JoinHandle;

use crate::config::{RedisConfig, Target};
use crate::errors::translate;
use crate::link::{Link, LinkState, keep};
use crate::scripts::{ADD, Call};

/// How a stream is kept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StreamOptions {
    /// The stream is trimmed to about so many entries, at least one, the oldest first (`MAXLEN ~`); none: never. Consumers must be done with them by then.
    pub max_len: Option<u64>,
    /// A batch counts as taken once so many replicas have it too (`WAIT`), so that a fail-over to one of those loses nothing. 0.
    pub replicas: u32,
}

/// The sink: `XADD` of each write with the fields `name` and `value`; without `value` the name was deleted. A consumer that reads the
/// stream sees every acknowledged write once, in the order of the log.
///
/// A stream is one log's: of two, the one begun later has it, and the other's writes wait in their log until it is given another
/// stream. What the server itself forgets is gone: let it run with `appendonly`, and set [`StreamOptions::replicas`] where it may fail
/// over.
pub struct StreamSink {
    link: Arc<Link>,
    stream: String,
    options: StreamOptions,
    /// Whose writes they are; 0 until that is told.
    log: AtomicU64,
    keeper: JoinHandle<()>,
}

impl StreamSink {
    /// A sink that adds to `stream`, over a connection of its own that is kept on `runtime`.
    ///
    /// # Errors
    /// [`ErrorKind::Config`]: the stream has no name, a setting is out of its limits, or a cluster is asked to wait for replicas, which it cannot.
    pub fn new(
        config: RedisConfig,
        stream: impl Into<String>,
        options: StreamOptions,
        runtime: &Handle,
    ) -> Result<Self, Error> {
        let stream = stream.into();
        if stream.is_empty() {
            return Err(Error::new(ErrorKind::Config, "a stream needs a name"));
        }
        bounds::check("stream: max_len", options.max_len.unwrap_or(1), 1, i64::MAX as u64)?;
        if options.replicas > 0 && matches!(config.target, Target::Cluster(_)) {
            let what = "in a cluster nothing waits for replicas: leave `replicas` at 0, or write to one master";
            return Err(Error::new(ErrorKind::Config, what));
        }
        let link = Arc::new(Link::new(config)?);
        let keeper = runtime.spawn(keep(link.clone()));
        Ok(Self { link, stream, options, log: AtomicU64::new(0), keeper })
    }

    /// How the link is, for metrics.
    pub fn state(&self) -> LinkState {
        self.link.state()
    }

    async fn add(&self, batch: &[Write]) -> Result<(), Error> {
        let log = self.log.load(Relaxed);
        if log == 0 {
            // Written through, a write has no sequence that tells it from its repetition.
            let what = "a stream takes the writes of a write-behind log alone: use `write_behind`";
            return Err(Error::new(ErrorKind::Config, what));
        }
        self.link.check_writes()?;
        let StreamOptions { max_len, replicas } = self.options;
        let head = [log.to_string(), max_len.unwrap_or(0).to_string(), replicas.to_string()];
        let sequences: Vec<_> = batch.iter().map(|write| write.sequence.to_string()).collect();
        let mut args: Vec<&[u8]> = head.iter().map(String::as_bytes).collect();
        for (write, sequence) in batch.iter().zip(&sequences) {
            let kind: &[u8] = if write.value.is_some() { b"1" } else { b"0" };
            args.extend([sequence.as_bytes(), write.name.as_bytes(), kind, write.value.as_deref().unwrap_or_default()]);
        }
        // By its text: beside a batch that is nothing, and the answer to `WAIT` is about what came before it on its connection.
        let mut cmds = vec![Call { script: &ADD, keys: vec![&self.stream], args }.by_text()];
        if replicas > 0 {
            let mut wait = cmd("WAIT");
            wait.arg(replicas).arg((self.link.config.answer_within / 2).as_millis().max(1) as u64);
            cmds.push(wait);
        }
        let mut answers = self.link.many(cmds).await?.into_iter();
        match self.number(answers.next())? {
            0 => {}
            _ => {
                let what =
                    format!("the stream {} has another log's writes: give each log a stream of its own", self.stream);
                return Err(Error::new(ErrorKind::Sink, what));
            }
        }
        if replicas > 0 {
            let have = self.number(answers.next())?;
            if have < i64::from(replicas) {
                return Err(Error::new(ErrorKind::Sink, format!("{have} of {replicas} replicas have the writes yet")));
            }
        }
        Ok(())
    }

    fn number(&self, answer: Option<RedisResult<Value>>) -> Result<i64, Error> {
        match answer {
            Some(Ok(Value::Int(number))) => Ok(number),
            Some(Err(error)) => Err(translate(error)),
            _ => Err(self.link.confused()),
        }
    }
}

impl Sink for StreamSink {
    fn begin(&self, log: u64) {
        self.log.store(log, Relaxed);
    }

    fn write<'a>(&'a self, batch: &'a [Write]) -> BoxFuture<'a, Result<(), Error>> {
        self.add(batch).boxed()
    }
}

impl Drop for StreamSink {
    fn drop(&mut self) {
        self.keeper.abort();
    }
}

impl fmt::Debug for StreamSink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StreamSink").field("stream", &self.stream).field("state", &self.state()).finish_non_exhaustive()
    }
}
