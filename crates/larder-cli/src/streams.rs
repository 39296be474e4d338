//! What services recorded into a Redis Stream, fetched as a trace: the batches of all instances, merged by time.
//!
//! Batches are spooled as they come, compressed. Those that overlap in time are the only ones that are in memory together.

use std::fs::File;
use std::io::{self, Cursor, Read, Seek, SeekFrom, Write};
use std::time::Duration;

use larder::recorder::Batch;
use larder_policy::Time;
use larder_redis::{RecordReader, RedisConfig};
use larder_trace::{Input, Options, Request, open_input};
use tempfile::NamedTempFile;

use crate::failure::Failure;
use crate::interrupt;

/// A page of batches is a few MiB, and a line may be thin.
const PATIENCE: Duration = Duration::from_secs(10);

/// Whether a trace is one.
pub(crate) fn is_stream(trace: &str) -> bool {
    ["redis://", "rediss://"].iter().any(|scheme| trace.starts_with(scheme))
}

/// The stream's name.
pub(crate) fn name(url: &str) -> &str {
    parts(url).map_or(url, |(_, stream)| stream)
}

/// The URL without the login it may hold: commands are written into reports and recipes.
pub(crate) fn without_login(word: &str) -> String {
    match word.split_once("://") {
        Some((scheme, rest)) if is_stream(word) => {
            let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
            let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
            format!("{scheme}://{host}{path}")
        }
        _ => word.to_owned(),
    }
}

/// The server's URL, with the database, and the stream's name.
fn parts(url: &str) -> Option<(&str, &str)> {
    let host = url.find("://")? + 3;
    let path = host + url[host..].find('/')? + 1;
    let number = url[path..].find(|letter: char| !letter.is_ascii_digit());
    match number.map(|end| path + end) {
        // A number is the database's, if something comes after it.
        Some(end) if end > path && url[end..].starts_with('/') => Some((&url[..end], &url[end + 1..])),
        Some(_) => Some((&url[..path], &url[path..])),
        None => None,
    }
    .filter(|(_, stream)| !stream.is_empty())
}

/// Copies a stream as it is now to a temporary file, its rows in the order of their times.
///
/// # Errors
/// The URL names no stream; the server or the stream cannot be read; an entry is not a recorder's, or damaged.
pub(crate) fn fetch(url: &str) -> Result<NamedTempFile, Failure> {
    let Some((server, stream)) = parts(url) else {
        let shown = without_login(url);
        return Err(Failure::Usage(format!(
            "{shown} names no stream: give redis://[user:password@]host[:port][/db]/STREAM"
        )));
    };
    provide_crypto();
    let mut config = RedisConfig::single(server)?;
    (config.connect_within, config.answer_within) = (PATIENCE, PATIENCE);
    let shown = without_login(server);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let spool = runtime.block_on(Spool::fill(&config, stream, &shown))?;
    spool.merged()
}

/// What `rediss://` needs, where it is built in.
pub(crate) fn provide_crypto() {
    #[cfg(feature = "tls")]
    // An error says that there is one already.
    let _ = rustls::crypto::ring::default_provider().install_default();
}

/// Batches as they came.
struct Spool {
    file: File,
    batches: Vec<Spooled>,
    /// Bytes so far.
    length: u64,
}

/// Where a batch lies in the spool.
struct Spooled {
    /// Its entry, as errors name it.
    name: String,
    /// Its first row's time.
    from: Time,
    offset: u64,
    length: usize,
    rows: u32,
}

impl Spool {
    fn new() -> Result<Self, Failure> {
        Ok(Self { file: tempfile::tempfile().map_err(unspooled)?, batches: Vec::new(), length: 0 })
    }

    /// Adds a batch that says how many rows it has; no more are read of one that has more, however well it is packed.
    fn add(&mut self, name: String, batch: &Batch, help: &str) -> Result<(), Failure> {
        let damaged = |what: String| Failure::Failed(format!("{what} ({help})"));
        let rows = rows(&name, &batch.bytes, batch.rows).map_err(|error| damaged(error.to_string()))?;
        if rows.len() != batch.rows as usize {
            return Err(damaged(format!("{name}: not the {} rows that it says it has", batch.rows)));
        }
        let Some(first) = rows.first() else { return Ok(()) };
        self.file.write_all(&batch.bytes).map_err(unspooled)?;
        let (from, length) = (first.at, batch.bytes.len());
        self.batches.push(Spooled { name, from, offset: self.length, length, rows: batch.rows });
        self.length += length as u64;
        Ok(())
    }

    async fn fill(config: &RedisConfig, stream: &str, shown: &str) -> Result<Self, Failure> {
        let failed = |error: larder::Error| Failure::Failed(format!("{shown}: {error}"));
        let mut reader = RecordReader::open(config, stream).await.map_err(failed)?;
        let mut spool = Self::new()?;
        while let Some((id, batch)) = reader.next().await.map_err(failed)? {
            let name = format!("{shown}: entry {id} of the stream '{stream}'");
            let help = format!("the entry is damaged: go on without it by XDEL {stream} {id}");
            spool.add(name, &batch, &help)?;
        }
        if reader.missing() > 0 {
            let missing = reader.missing();
            tracing::warn!(stream, missing, "batches are missing: their recorders dropped them, or they were deleted");
        }
        Ok(spool)
    }

    fn merged(mut self) -> Result<NamedTempFile, Failure> {
        let file = tempfile::Builder::new().suffix(".csv.zst").tempfile().map_err(unspooled)?;
        interrupt::remove(file.path().to_owned())?;
        let mut writer = larder_trace::create(file.path(), None)?;
        self.batches.sort_by_key(|batch| batch.from);
        // What is not yet known to come before all that is to come.
        let mut open: Vec<Request> = Vec::new();
        for batch in &self.batches {
            let before = open.partition_point(|row| row.at < batch.from);
            writer.write(&open[..before])?;
            open.drain(..before);
            let mut bytes = vec![0; batch.length];
            self.file.seek(SeekFrom::Start(batch.offset)).map_err(unspooled)?;
            self.file.read_exact(&mut bytes).map_err(unspooled)?;
            open.extend(rows(&batch.name, &bytes, batch.rows)?);
            open.sort_by_key(|row| row.at);
        }
        writer.write(&open)?;
        writer.finish()?;
        Ok(file)
    }
}

/// The rows of a batch, and at most one more than it should have.
fn rows(name: &str, bytes: &[u8], most: u32) -> Result<Vec<Request>, larder_trace::Error> {
    let options = Options { format: Some("larder".into()), ..Options::default() };
    let input = Input::new(name, Cursor::new(bytes.to_vec()), Some(bytes.len() as u64))?;
    open_input(input, &options)?.into_iter().take((most as usize).saturating_add(1)).collect()
}

fn unspooled(error: io::Error) -> Failure {
    Failure::Failed(format!("spooling a stream to a temporary file: {error}"))
}

/// As [`fetch`], of entries at hand: how many rows there are.
#[cfg(feature = "fuzzing")]
pub(crate) fn merged(entries: &[Vec<Vec<u8>>]) -> Result<u64, Failure> {
    let mut spool = Spool::new()?;
    for (at, fields) in entries.iter().enumerate() {
        let batch = larder_redis::fuzzing::batch(fields).map_err(Failure::Failed)?;
        spool.add(format!("entry {at}"), &batch, "damaged")?;
    }
    let trace = spool.merged()?;
    let rows = larder_trace::open(trace.path(), &Options::default())?.into_iter().collect::<Result<Vec<_>, _>>()?;
    assert!(rows.is_sorted_by_key(|row| row.at), "a trace goes forward in time");
    Ok(rows.len() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_name_a_server_a_database_and_a_stream() {
        for (url, server, stream) in [
            ("redis://localhost/users:traffic", "redis://localhost/", "users:traffic"),
            ("redis://localhost:7000/3/traffic", "redis://localhost:7000/3", "traffic"),
            ("rediss://ann:secret@host/0/7", "rediss://ann:secret@host/0", "7"),
            ("redis://host/a/b", "redis://host/", "a/b"),
            ("redis://host/7days", "redis://host/", "7days"),
        ] {
            assert_eq!(parts(url), Some((server, stream)), "{url}");
            assert!(RedisConfig::single(&server.replace("rediss", "redis")).is_ok(), "{server}");
        }
        for url in
            ["redis://", "redis://localhost", "redis://localhost/", "redis://localhost/0", "redis://localhost/0/"]
        {
            assert_eq!(parts(url), None, "{url}");
        }
    }

    #[test]
    fn a_login_is_not_repeated() {
        assert_eq!(without_login("redis://ann:se@cret@host:1/0/traffic"), "redis://host:1/0/traffic");
        assert_eq!(without_login("rediss://:secret@host"), "rediss://host");
        assert_eq!(without_login("a@b.csv"), "a@b.csv");
    }
}
