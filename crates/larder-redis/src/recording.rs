//! What instances of a service see, recorded into one stream: an entry is a batch of a [`larder::recorder::Recorder`], as its fields `format`
//! (1), `recorder`, `number`, `rows` and `data`, the rows as larder's CSV compressed with zstd.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use larder::recorder::{Batch, Sink};
use larder::{Error, ErrorKind, bounds};
use redis::{FromRedisValue, Value, cmd, from_redis_value};
use tokio::runtime::Handle;

use crate::config::RedisConfig;
use crate::connect::{Conn, connect};
use crate::errors::translate;
use crate::link::{Link, LinkState, keep};

/// The only format there is.
const FORMAT: &str = "1";
/// Rows that a batch may have; a recorder's has 4096 at the most.
const MOST_ROWS: u32 = 1 << 16;
/// Entries read at once: batches are 20 to 50 KiB each, 350 at the most.
const PAGE: u32 = 16;

/// Where recorders of several instances write: one stream. A batch that the server may already have, for its answer was lost, is sent
/// again under its number; [`RecordReader`] leaves it out.
pub struct RecordStream {
    link: Arc<Link>,
    stream: String,
    most: u64,
}

impl RecordStream {
    /// A sink that appends to `stream`, over a connection that lasts as long as the recording. The stream is trimmed to about
    /// `most` batches, the oldest first (`MAXLEN ~`): of 4096 events each, or of five seconds where there are fewer.
    ///
    /// # Errors
    /// [`ErrorKind::Config`]: the stream has no name or no room, or a setting is out of its limits.
    pub fn new(config: RedisConfig, stream: impl Into<String>, most: u64) -> Result<Self, Error> {
        let stream = stream.into();
        if stream.is_empty() {
            return Err(Error::new(ErrorKind::Config, "a recording needs a stream with a name"));
        }
        bounds::check("recording: batches of the stream", most, 1, i64::MAX as u64)?;
        Ok(Self { link: Arc::new(Link::new(config)?), stream, most })
    }

    /// How the link is, for metrics.
    pub fn state(&self) -> LinkState {
        self.link.state()
    }

    async fn add(&self, batch: &Batch) -> Result<(), Error> {
        self.link.check_writes()?;
        let mut add = cmd("XADD");
        add.arg(&self.stream).arg("MAXLEN").arg("~").arg(self.most).arg("*");
        add.arg("format").arg(FORMAT).arg("recorder").arg(format!("{:016x}", batch.recorder));
        add.arg("number").arg(batch.number).arg("rows").arg(batch.rows).arg("data").arg(&batch.bytes[..]);
        match self.link.many(vec![add]).await?.pop() {
            Some(Ok(Value::BulkString(_))) => Ok(()),
            Some(Err(error)) => Err(translate(error)),
            _ => Err(self.link.confused()),
        }
    }
}

impl Sink for RecordStream {
    fn begin(&self, runtime: &Handle) {
        // It ends with the runtime.
        runtime.spawn(keep(self.link.clone()));
    }

    fn append<'a>(&'a self, batch: &'a Batch) -> BoxFuture<'a, Result<(), Error>> {
        self.add(batch).boxed()
    }
}

impl fmt::Debug for RecordStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.state();
        f.debug_struct("RecordStream").field("stream", &self.stream).field("state", &state).finish_non_exhaustive()
    }
}

/// Reads a stream that recorders write to: every batch it had when reading began, once, in the order in which they arrived.
pub struct RecordReader {
    conn: Conn,
    stream: String,
    /// The last entry there was.
    end: String,
    /// After which entry to go on.
    after: Option<String>,
    page: VecDeque<Entry>,
    /// The last batch of each recorder.
    seen: HashMap<u64, u64>,
    missing: u64,
}

/// An entry's id, and its fields and their values in turns.
type Entry = (String, Vec<Vec<u8>>);

impl RecordReader {
    /// Connects and looks where the stream ends now.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`]: there is no such stream, or nothing in it. [`ErrorKind::Remote`]: the server cannot be reached or does
    /// not let us in. Messages say why, but nothing of the login.
    pub async fn open(config: &RedisConfig, stream: impl Into<String>) -> Result<Self, Error> {
        config.check()?;
        let conn = connect(config, Some(config.answer_within)).await.map_err(|failure| with_cause(failure.error))?;
        let stream = stream.into();
        let mut reader = Self {
            conn,
            stream,
            end: String::new(),
            after: None,
            page: VecDeque::new(),
            seen: HashMap::new(),
            missing: 0,
        };
        let stream = &reader.stream;
        let absent = |what: String| Err(Error::new(ErrorKind::NotFound, what));
        let (mut kind, mut last) = (cmd("TYPE"), cmd("XREVRANGE"));
        kind.arg(stream);
        last.arg(stream).arg("+").arg("-").arg("COUNT").arg(1);
        match reader.ask::<String>(&kind).await?.as_str() {
            "stream" => {}
            "none" => return absent(format!("there is no stream '{}' in this database", reader.stream)),
            other => return absent(format!("'{}' is a {other}, no stream", reader.stream)),
        }
        match reader.ask::<Vec<Entry>>(&last).await?.pop() {
            Some((id, _)) => reader.end = id,
            None => return absent(format!("the stream '{}' is empty", reader.stream)),
        }
        Ok(reader)
    }

    /// The next batch with its entry's id; none at the end.
    ///
    /// # Errors
    /// [`ErrorKind::Codec`]: an entry is not a recorder's, or of a format to come; the message has its id. Or the connection broke.
    pub async fn next(&mut self) -> Result<Option<(String, Batch)>, Error> {
        loop {
            let Some((id, fields)) = self.page.pop_front() else {
                if !self.turn().await? {
                    return Ok(None);
                }
                continue;
            };
            let batch = batch(&fields).map_err(|what| {
                let (stream, kind) = (&self.stream, ErrorKind::Codec);
                let help = format!("name the stream that recorders write to, or take it out with XDEL {stream} {id}");
                Error::new(kind, format!("entry {id} of the stream '{stream}' {what} ({help})"))
            })?;
            match self.seen.get(&batch.recorder) {
                // Sent again: a recorder sends in order.
                Some(&before) if batch.number <= before => continue,
                Some(&before) => self.missing += batch.number - before - 1,
                // What was before may have been trimmed long since.
                None => {}
            }
            self.seen.insert(batch.recorder, batch.number);
            return Ok(Some((id, batch)));
        }
    }

    /// Batches so far that are not there, though such before and after them are: their recorders had to drop them, or they were deleted.
    pub fn missing(&self) -> u64 {
        self.missing
    }

    /// Reads the next page; says whether there was one.
    async fn turn(&mut self) -> Result<bool, Error> {
        let from = self.after.as_ref().map_or_else(|| "-".to_owned(), |after| format!("({after}"));
        let mut range = cmd("XRANGE");
        range.arg(&self.stream).arg(from).arg(&self.end).arg("COUNT").arg(PAGE);
        self.page = self.ask::<Vec<Entry>>(&range).await?.into();
        self.after = self.page.back().map(|(id, _)| id.clone());
        Ok(!self.page.is_empty())
    }

    async fn ask<T: FromRedisValue>(&mut self, cmd: &redis::Cmd) -> Result<T, Error> {
        let answer = self.conn.one(cmd).await.map_err(|error| match error.redirect_node() {
            Some((node, _)) => {
                let what = format!("the stream '{}' lies on another node of the cluster: ask {node}", self.stream);
                Error::caused(ErrorKind::NotFound, what, error)
            }
            None => with_cause(translate(error)),
        })?;
        from_redis_value(answer).map_err(|error| Error::caused(ErrorKind::Remote, format!("the Redis: {error}"), error))
    }
}

impl fmt::Debug for RecordReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RecordReader").field("stream", &self.stream).finish_non_exhaustive()
    }
}

/// The batch of these fields, or what is wrong with them.
pub(crate) fn batch(fields: &[Vec<u8>]) -> Result<Batch, String> {
    let value = |name: &str| {
        let pair = fields.chunks_exact(2).find(|pair| pair[0] == name.as_bytes());
        pair.map(|pair| &pair[1][..]).ok_or_else(|| format!("is no recorder's: it has no field '{name}'"))
    };
    let number = |name: &str, radix: u32| {
        let text = str::from_utf8(value(name)?).ok();
        let number = text.and_then(|text| u64::from_str_radix(text, radix).ok());
        number.ok_or_else(|| format!("is no recorder's: its '{name}' is no number"))
    };
    match value("format")? {
        format if format == FORMAT.as_bytes() => {}
        other => {
            let other = String::from_utf8_lossy(&other[..other.len().min(20)]).into_owned();
            return Err(format!("is of the format '{other}', and this larder reads {FORMAT} alone"));
        }
    }
    let rows = u32::try_from(number("rows", 10)?).ok().filter(|rows| *rows <= MOST_ROWS);
    let rows = rows.ok_or_else(|| "has too many rows to be a recorder's".to_owned())?;
    let bytes = value("data")?.to_vec().into();
    Ok(Batch { recorder: number("recorder", 16)?, number: number("number", 10)?, rows, bytes })
}

/// The error with its cause in its text: whoever reads it is at a terminal.
fn with_cause(error: Error) -> Error {
    match std::error::Error::source(&error) {
        Some(source) => Error::caused(error.kind(), format!("{error}: {source}"), error.clone()),
        None => error,
    }
}
