//! A trace's bytes: a file or stdin, decompressed by content, behind one large buffer.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, Cursor, Read},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use flate2::bufread::GzDecoder;

use crate::{Error, ErrorKind};

/// Decoders yield blocks of about this size, and a batch of rows fits many times over.
const BUFFER: usize = 1 << 18;

/// A line or record longer than this is no trace row: the cap keeps garbage from filling memory.
const LONGEST: usize = 1 << 24;

/// The logarithm of the largest window of zstd: 128 MiB.
const LARGEST_WINDOW: u32 = 27;

/// The source of a reader: decompressed bytes with a position, peekable from the start.
pub struct Input {
    name: Arc<str>,
    path: Option<PathBuf>,
    source: Box<dyn Read + Send>,
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    /// Offset of `buffer[start]` in the decompressed source.
    offset: u64,
    line: u64,
    ended: bool,
    compressed: bool,
    consumed: Arc<AtomicU64>,
    total: Option<u64>,
}

impl Input {
    /// Opens `path`, `-` being stdin, and sees by its first bytes whether it is gzip, zstd, xz or plain.
    pub fn open(path: &Path) -> Result<Self, Error> {
        if path == Path::new("-") {
            return Self::new("stdin", io::stdin(), None);
        }
        let name = path.display().to_string();
        let failed = |e| Error::io(e, "opening").file(&Arc::from(name.as_str()));
        let file = File::open(path).map_err(failed)?;
        let meta = file.metadata().map_err(failed)?;
        let mut input = Self::new(&name, file, meta.is_file().then_some(meta.len()))?;
        input.path = Some(path.to_owned());
        Ok(input)
    }

    /// Any stream; `total` is its length in bytes before decompression, where it is known.
    pub fn new(name: &str, raw: impl Read + Send + 'static, total: Option<u64>) -> Result<Self, Error> {
        let name: Arc<str> = name.into();
        let consumed = Arc::new(AtomicU64::new(0));
        let mut raw = Counted { raw, consumed: consumed.clone() };
        let mut magic = Vec::new();
        raw.by_ref().take(6).read_to_end(&mut magic).map_err(|e| Error::io(e, "reading").file(&name))?;
        let compression = Compression::of_magic(&magic);
        let source = compression.decoder(Cursor::new(magic).chain(raw)).map_err(|e| Error::io(e, "reading"))?;
        Ok(Self {
            name,
            path: None,
            source,
            buffer: vec![0; BUFFER],
            start: 0,
            end: 0,
            offset: 0,
            line: 0,
            ended: false,
            compressed: compression != Compression::Plain,
            consumed,
            total,
        })
    }

    /// The file's name as errors give it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The plain file below, for formats that must seek; none for streams and compressed files.
    pub fn seekable(&self) -> Option<&Path> {
        self.path.as_deref().filter(|_| !self.compressed)
    }

    /// Up to `n` first bytes not yet consumed; fewer where the source ends before.
    pub fn head(&mut self, n: usize) -> Result<&[u8], Error> {
        while self.end - self.start < n.min(LONGEST) && !self.ended {
            self.fill()?;
        }
        Ok(&self.buffer[self.start..self.end.min(self.start + n)])
    }

    /// The next line without its end, or none at the end of the source.
    #[inline]
    pub fn line(&mut self) -> Result<Option<&[u8]>, Error> {
        let mut seen = 0;
        loop {
            let window = &self.buffer[self.start + seen..self.end];
            if let Some(at) = memchr::memchr(b'\n', window) {
                return Ok(Some(self.take_line(seen + at, 1)));
            }
            seen = self.end - self.start;
            if self.ended {
                return Ok((seen > 0).then(|| self.take_line(seen, 0)));
            }
            self.fill()?;
        }
    }

    #[inline]
    fn take_line(&mut self, length: usize, newline: usize) -> &[u8] {
        let line = &self.buffer[self.start..self.start + length];
        self.start += length + newline;
        self.offset += (length + newline) as u64;
        self.line += 1;
        line.strip_suffix(b"\r").unwrap_or(line)
    }

    /// As many whole records of `size` bytes as are at hand; empty at the end. Bytes left over are an error.
    pub fn records(&mut self, size: usize) -> Result<&[u8], Error> {
        while self.end - self.start < size && !self.ended {
            self.fill()?;
        }
        let held = self.end - self.start;
        if held < size && held > 0 {
            let what = format!("the last record has {held} of {size} bytes: the file is truncated");
            return Err(Error::new(ErrorKind::Truncated, what).file(&self.name).byte(self.offset));
        }
        Ok(&self.buffer[self.start..self.start + held - held % size])
    }

    /// Passes over `n` bytes that [`Input::head`] or [`Input::records`] showed.
    pub fn consume(&mut self, n: usize) {
        let n = n.min(self.end - self.start);
        self.start += n;
        self.offset += n as u64;
    }

    /// Passes over the mark that some editors put before UTF-8 text.
    pub(crate) fn skip_byte_order_mark(&mut self) -> Result<(), Error> {
        let head = self.head(64)?;
        let text = !head.iter().any(|b| *b < b'\t');
        if head.starts_with(b"\xef\xbb\xbf") && text {
            self.consume(3);
        }
        Ok(())
    }

    /// Lines taken so far.
    pub fn lines(&self) -> u64 {
        self.line
    }

    /// Offset of the next byte in the decompressed source.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// How far the reader is in the source as it lies on disk.
    pub fn progress(&self) -> Progress {
        Progress { bytes: self.consumed.load(Ordering::Relaxed), total: self.total }
    }

    /// Places `error` in this file.
    pub(crate) fn place(&self, error: Error) -> Error {
        error.file(&self.name)
    }

    fn fill(&mut self) -> Result<(), Error> {
        if self.start > 0 && self.end == self.buffer.len() {
            self.buffer.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
        if self.end == self.buffer.len() {
            if self.end >= LONGEST {
                let what = format!("a line longer than {LONGEST} bytes");
                let error = Error::new(ErrorKind::BadRow, what).help("this is not a trace of this format");
                return Err(error.file(&self.name).line(self.line + 1).byte(self.offset));
            }
            self.buffer.resize(self.end * 2, 0);
        }
        let read = loop {
            match self.source.read(&mut self.buffer[self.end..]) {
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(Error::io(e, "reading").file(&self.name).byte(self.offset)),
                Ok(read) => break read,
            }
        };
        self.end += read;
        self.ended = read == 0;
        Ok(())
    }
}

/// For libraries that frame rows themselves.
impl Read for Input {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.head(1).map_err(Error::into_io)?;
        let n = buf.len().min(self.end - self.start);
        buf[..n].copy_from_slice(&self.buffer[self.start..self.start + n]);
        self.consume(n);
        Ok(n)
    }
}

/// How far a reader is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Bytes taken from the source, compressed as it lies there; a generator counts requests instead.
    pub bytes: u64,
    /// The source's whole length in the same unit, where it is known.
    pub total: Option<u64>,
}

impl Progress {
    /// The share done, from 0 to 1, where the whole is known.
    pub fn share(&self) -> Option<f64> {
        self.total.filter(|&t| t > 0).map(|t| (self.bytes as f64 / t as f64).min(1.0))
    }
}

struct Counted<R> {
    raw: R,
    consumed: Arc<AtomicU64>,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let n = self.raw.read(buf)?;
        self.consumed.fetch_add(n as u64, Ordering::Relaxed);
        Ok(n)
    }
}

/// A gzip archive's members, one after another; zeros behind one are padding, as gzip itself has it. None once they have ended.
struct Gzip<R>(Option<GzDecoder<R>>);

impl<R: BufRead> Read for Gzip<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        while let Some(member) = &mut self.0 {
            let read = member.read(buf)?;
            if read > 0 || buf.is_empty() {
                return Ok(read);
            }
            let Some(mut raw) = self.0.take().map(GzDecoder::into_inner) else { break };
            let next = loop {
                let there = raw.fill_buf()?;
                match (there.first().copied(), there.iter().take_while(|byte| **byte == 0).count()) {
                    (next, 0) => break next,
                    (_, zeros) => raw.consume(zeros),
                }
            };
            match next {
                None => break,
                Some(0x1f) => {}
                Some(_) => return Err(io::Error::new(io::ErrorKind::InvalidData, "what follows its end is no gzip")),
            }
            self.0 = Some(GzDecoder::new(raw));
        }
        Ok(0)
    }
}

/// How a file is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Compression {
    Plain,
    Gzip,
    Zstd,
    Xz,
}

impl Compression {
    /// File endings by compression.
    pub(crate) const ENDINGS: [(&str, Self); 5] =
        [("gz", Self::Gzip), ("gzip", Self::Gzip), ("zst", Self::Zstd), ("zstd", Self::Zstd), ("xz", Self::Xz)];

    fn of_magic(head: &[u8]) -> Self {
        match head {
            // Its third byte names deflate, the only method there is.
            [0x1f, 0x8b, 8, ..] => Self::Gzip,
            // A zstd frame, or a skippable one before it.
            [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Self::Zstd,
            [0xfd, b'7', b'z', b'X', b'Z', 0] => Self::Xz,
            _ => Self::Plain,
        }
    }

    fn decoder(self, raw: impl Read + Send + 'static) -> io::Result<Box<dyn Read + Send>> {
        let buffered = |raw| BufReader::with_capacity(BUFFER, raw);
        Ok(match self {
            Self::Plain => Box::new(raw),
            Self::Gzip => Box::new(Gzip(Some(GzDecoder::new(buffered(raw))))),
            Self::Xz => Box::new(liblzma::bufread::XzDecoder::new_multi_decoder(buffered(raw))),
            Self::Zstd => {
                let mut decoder = zstd::stream::read::Decoder::with_buffer(buffered(raw))?;
                // Archives made with `--long`; a few bytes could else ask for 2 GiB.
                decoder.window_log_max(LARGEST_WINDOW)?;
                Box::new(decoder)
            }
        })
    }
}
