//! What is replayed: a trace that can be read once or, where a survey comes first, twice.

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use larder_policy::Time;
use larder_trace::{Carries, Input, Options, Progress, Reader, Request, Skipped};
use tempfile::NamedTempFile;

use crate::{BATCH, Error};

/// A trace to replay.
#[derive(Debug)]
pub struct Source {
    name: String,
    place: Place,
    options: Options,
    /// Rows passed over at the start.
    skip: u64,
    seen: Arc<Mutex<Seen>>,
}

/// What the last pass over a trace came upon that its results depend on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// Rows read.
    pub rows: u64,
    /// Rows that could not be read and were passed over, as the options allow.
    pub bad_rows: u64,
    /// Rows whose size is a guess; see [`Skipped::guessed_sizes`].
    pub guessed_sizes: u64,
    /// Rows with a number too large for a request; see [`Skipped::cut`].
    pub cut: u64,
    /// Rows more than a minute earlier than one before them, in a trace that has times.
    pub early_rows: u64,
    /// Rows with a lifetime.
    pub lifetimes: u64,
}

/// How far the rows of one log may be out of order: requests are written when they end.
const IN_ORDER: Duration = Duration::from_secs(60);

#[derive(Debug)]
enum Place {
    Path(PathBuf),
    Spooled(NamedTempFile),
    /// Without a name: however the process ends, nothing is left of it.
    Unnamed(Arc<Mutex<File>>),
    Memory(Arc<[Request]>),
}

impl Source {
    /// A file, `-` for stdin, or `gen:…`, as [`larder_trace::open()`] takes them. Nothing is opened yet.
    pub fn trace(path: impl AsRef<Path>, options: Options) -> Self {
        let path = path.as_ref();
        let name = if path == Path::new("-") { "stdin".into() } else { larder_trace::trace_name(path) };
        Self::new(name, Place::Path(path.to_owned()), options)
    }

    /// A trace in a temporary file, which goes with it.
    pub fn spooled(name: impl Into<String>, file: NamedTempFile, options: Options) -> Self {
        Self::new(name.into(), Place::Spooled(file), options)
    }

    /// Requests at hand.
    pub fn requests(name: impl Into<String>, requests: impl Into<Arc<[Request]>>) -> Self {
        Self::new(name.into(), Place::Memory(requests.into()), Options::default())
    }

    fn new(name: String, place: Place, options: Options) -> Self {
        Self { name, place, options, skip: 0, seen: Arc::default() }
    }

    /// The trace's name: the file's without folders and endings, `stdin`, or the generator's description.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The file it lies in; none for generators, streams, and requests at hand.
    pub fn file(&self) -> Option<&Path> {
        match &self.place {
            Place::Path(path) => Some(&**path).filter(|path| path.is_file()),
            Place::Spooled(file) => Some(file.path()),
            Place::Unnamed(_) | Place::Memory(_) => None,
        }
    }

    /// Whether it lies somewhere, and can be read again; a generator makes it again instead.
    pub fn is_kept(&self) -> bool {
        self.file().is_some() || !matches!(self.place, Place::Path(_))
    }

    /// What the last pass over it came upon.
    pub fn seen(&self) -> Seen {
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts reading from the beginning.
    ///
    /// # Errors
    /// The trace cannot be opened or its format is not known.
    pub fn open(&self) -> Result<Box<dyn Reader>, Error> {
        let (reader, shared) = (self.open_whole()?, self.seen.clone());
        Ok(Box::new(Pass { reader, skip: self.skip, shared, seen: Seen::default(), latest: Time(0) }))
    }

    /// From now on the trace begins at this row, counted from 0.
    pub fn start_at(&mut self, row: u64) {
        self.skip = row;
    }

    fn open_whole(&self) -> Result<Box<dyn Reader>, Error> {
        let spool = |e| Error::io(format!("{}: reading the spooled copy", self.name), e);
        let spooled = |raw: Box<dyn Read + Send>, length: io::Result<u64>| -> Result<Box<dyn Reader>, Error> {
            let input = Input::new(&self.name, raw, Some(length.map_err(spool)?))?;
            Ok(Box::new(larder_trace::open_input(input, &self.options)?))
        };
        match &self.place {
            Place::Path(path) => Ok(Box::new(larder_trace::open(path, &self.options)?)),
            Place::Spooled(file) => {
                let raw = file.reopen().map_err(spool)?;
                let length = raw.metadata().map(|meta| meta.len());
                spooled(Box::new(raw), length)
            }
            Place::Unnamed(file) => {
                let raw = Spool { file: file.clone(), at: 0 };
                let length = raw.length();
                spooled(Box::new(raw), length)
            }
            Place::Memory(requests) => Ok(Box::new(Memory { requests: requests.clone(), next: 0 })),
        }
    }

    /// Makes sure that the trace can be opened more than once: what flows in through stdin or a pipe is spooled to a
    /// temporary file first.
    ///
    /// # Errors
    /// The spool cannot be written.
    pub fn make_repeatable(&mut self) -> Result<(), Error> {
        let Place::Path(path) = &self.place else { return Ok(()) };
        let spool = |e| Error::io(format!("{}: spooling to a temporary file", self.name), e);
        let mut stream: Box<dyn Read> = if path == Path::new("-") {
            Box::new(io::stdin())
        } else if fs::metadata(path).is_ok_and(|meta| !meta.is_file() && !meta.is_dir()) {
            Box::new(File::open(path).map_err(spool)?)
        } else {
            // A file, a generator, or a path whose fault `open` will name.
            return Ok(());
        };
        let mut file = tempfile::tempfile().map_err(spool)?;
        io::copy(&mut stream, &mut file).map_err(spool)?;
        self.place = Place::Unnamed(Arc::new(Mutex::new(file)));
        Ok(())
    }
}

/// Reads a file that can be opened only once, as if it had been opened anew.
struct Spool {
    file: Arc<Mutex<File>>,
    at: u64,
}

impl Spool {
    fn length(&self) -> io::Result<u64> {
        self.file.lock().unwrap_or_else(PoisonError::into_inner).metadata().map(|meta| meta.len())
    }
}

impl Read for Spool {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        file.seek(SeekFrom::Start(self.at))?;
        let read = file.read(buf)?;
        self.at += read as u64;
        Ok(read)
    }
}

/// A pass over a trace, from where it begins.
struct Pass {
    reader: Box<dyn Reader>,
    skip: u64,
    shared: Arc<Mutex<Seen>>,
    seen: Seen,
    latest: Time,
}

impl Reader for Pass {
    fn read(&mut self, batch: &mut Vec<Request>, max: usize) -> Result<usize, larder_trace::Error> {
        let mut passed = Vec::new();
        while self.skip > 0 {
            passed.clear();
            let most = usize::try_from(self.skip).unwrap_or(usize::MAX).min(BATCH);
            match self.reader.read(&mut passed, most)? {
                0 => return Ok(0),
                read => self.skip -= read as u64,
            }
        }
        let start = batch.len();
        let read = self.reader.read(batch, max);
        self.look(&batch[start..]);
        read
    }

    fn carries(&self) -> Carries {
        self.reader.carries()
    }

    fn skipped(&self) -> Skipped {
        self.reader.skipped()
    }

    fn progress(&self) -> Progress {
        self.reader.progress()
    }

    fn mapping(&self) -> Option<String> {
        self.reader.mapping()
    }
}

impl Pass {
    fn look(&mut self, rows: &[Request]) {
        let (Skipped { bad, guessed_sizes, cut, .. }, is_timed) = (self.reader.skipped(), self.reader.carries().times);
        let seen = &mut self.seen;
        seen.rows += rows.len() as u64;
        (seen.bad_rows, seen.guessed_sizes, seen.cut) = (bad, guessed_sizes, cut);
        for row in rows {
            seen.lifetimes += u64::from(row.ttl > 0);
            seen.early_rows += u64::from(is_timed && self.latest.since(row.at) > IN_ORDER);
            self.latest = self.latest.max(row.at);
        }
        *self.shared.lock().unwrap_or_else(PoisonError::into_inner) = *seen;
    }
}

/// Requests that are there already.
struct Memory {
    requests: Arc<[Request]>,
    next: usize,
}

impl Reader for Memory {
    fn read(&mut self, batch: &mut Vec<Request>, max: usize) -> Result<usize, larder_trace::Error> {
        let rest = &self.requests[self.next..];
        let taken = rest.len().min(max);
        batch.extend_from_slice(&rest[..taken]);
        self.next += taken;
        Ok(taken)
    }

    fn carries(&self) -> Carries {
        Carries::ALL
    }

    fn skipped(&self) -> Skipped {
        Skipped::default()
    }

    fn progress(&self) -> Progress {
        Progress { bytes: self.next as u64, total: Some(self.requests.len() as u64) }
    }
}
