//! Where writers write: a file compressed as its ending says, or stdout.

use std::{
    fs::File,
    io::{self, BufWriter, Write},
    path::Path,
    sync::Arc,
};

use crate::{Error, ErrorKind, FORMATS, Format, Request, formats, input::Compression, open::endings};

/// How hard zstd tries.
pub(crate) const LEVEL: i32 = 3;

/// Takes a trace in one format.
pub trait Writer: Send {
    /// Writes `requests` in order.
    ///
    /// # Errors
    /// The operating system refused.
    fn write(&mut self, requests: &[Request]) -> Result<(), Error>;

    /// Writes what is held back, so that the trace reads up to here whatever becomes of this process, and returns the
    /// bytes it has by now. A compressed trace ends a frame here, so seldom is better; formats that are made at their end
    /// (`oracle-general`, `parquet`) hold back all the same.
    ///
    /// # Errors
    /// The operating system refused; the writer is not to be used after it.
    fn flush(&mut self) -> Result<u64, Error>;

    /// Writes what is held back and ends the file. A writer dropped without it leaves a truncated file.
    ///
    /// # Errors
    /// The operating system refused.
    fn finish(self: Box<Self>) -> Result<(), Error>;
}

/// Creates the trace at `path` (`-` for stdout), in the format named or, where none is, the one its ending tells;
/// the last ending says how it is compressed (`.gz`, `.zst`, `.xz`).
///
/// Formats that carry no operations take sets as requests like any other and leave deletes out.
///
/// # Errors
/// The file cannot be created, or the format is not known or can only be read.
pub fn create(path: impl AsRef<Path>, format: Option<&str>) -> Result<Box<dyn Writer>, Error> {
    let path = path.as_ref();
    let format = written(path, format)?;
    let create = format.create.ok_or_else(|| {
        let written: Vec<_> = FORMATS.iter().filter(|f| f.create.is_some()).map(|f| f.name).collect();
        let what = format!("traces cannot be written as {}, but as {}", format.name, written.join(", "));
        Error::new(ErrorKind::Unsupported, what)
    })?;
    create(Output::create(path)?)
}

/// The format in which [`create`] would write.
///
/// # Errors
/// It is not known.
pub fn written(path: impl AsRef<Path>, format: Option<&str>) -> Result<&'static Format, Error> {
    match format {
        Some(name) => formats::named(name),
        None => by_ending(path.as_ref()),
    }
}

fn by_ending(path: &Path) -> Result<&'static Format, Error> {
    let endings = endings(&path.to_string_lossy());
    let fits =
        |f: &&Format| f.create.is_some() && f.extensions.iter().any(|e| endings.contains(&e.to_ascii_lowercase()));
    FORMATS.iter().find(fits).ok_or_else(|| {
        let what = format!("the ending of {} tells no format", path.display());
        Error::new(ErrorKind::UnknownFormat, what).help("name the format")
    })
}

/// A buffered, compressing byte sink that knows its name.
pub struct Output {
    name: Arc<str>,
    compression: Compression,
    sink: Sink,
}

enum Sink {
    Plain(Raw),
    Gzip(flate2::write::GzEncoder<Raw>),
    Zstd(zstd::stream::write::Encoder<'static, Raw>),
    Xz(liblzma::write::XzEncoder<Raw>),
}

impl Sink {
    fn new(raw: Raw, compression: Compression) -> io::Result<Self> {
        Ok(match compression {
            Compression::Plain => Self::Plain(raw),
            Compression::Gzip => Self::Gzip(flate2::write::GzEncoder::new(raw, flate2::Compression::default())),
            Compression::Zstd => Self::Zstd(zstd::stream::write::Encoder::new(raw, LEVEL)?),
            // The presets above take minutes for what they save.
            Compression::Xz => Self::Xz(liblzma::write::XzEncoder::new(raw, 1)),
        })
    }

    /// Ends the compressed stream and hands everything to the operating system.
    fn finish(self) -> io::Result<Raw> {
        let mut raw = match self {
            Self::Plain(raw) => raw,
            Self::Gzip(encoder) => encoder.finish()?,
            Self::Zstd(encoder) => encoder.finish()?,
            Self::Xz(encoder) => encoder.finish()?,
        };
        raw.flush()?;
        Ok(raw)
    }
}

/// A buffered sink that counts.
struct Raw {
    sink: BufWriter<Box<dyn Write + Send>>,
    written: u64,
}

impl Raw {
    fn new(sink: Box<dyn Write + Send>) -> Self {
        Self { sink: BufWriter::with_capacity(1 << 17, sink), written: 0 }
    }

    /// What is left in an output whose frame could not be ended.
    fn broken() -> Self {
        struct Broken;
        impl Write for Broken {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(io::Error::other("an earlier write failed"))
            }

            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        Self { sink: BufWriter::with_capacity(0, Box::new(Broken)), written: 0 }
    }
}

impl Write for Raw {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.sink.write(bytes)?;
        self.written += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.sink.flush()
    }
}

impl Output {
    fn create(path: &Path) -> Result<Self, Error> {
        if path == Path::new("-") {
            return Ok(Self::to("stdout", io::stdout()));
        }
        let name = path.display().to_string();
        let failed = |e| Error::io(e, "creating").file(&Arc::from(name.as_str()));
        let file = File::create(path).map_err(failed)?;
        let ending = path.extension().and_then(|e| e.to_str()).unwrap_or_default();
        let compression = Compression::ENDINGS.iter().find(|(e, _)| e.eq_ignore_ascii_case(ending));
        let compression = compression.map_or(Compression::Plain, |(_, c)| *c);
        let sink = Sink::new(Raw::new(Box::new(file)), compression).map_err(failed)?;
        Ok(Self { name: name.as_str().into(), compression, sink })
    }

    /// Any sink, plain.
    pub fn to(name: &str, sink: impl Write + Send + 'static) -> Self {
        let sink = Sink::Plain(Raw::new(Box::new(sink)));
        Self { name: name.into(), compression: Compression::Plain, sink }
    }

    pub(crate) fn put(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.write_all(bytes).map_err(|e| self.failed(e))
    }

    /// Ends the compressed frame, hands everything to the operating system, and begins a new frame. Returns the bytes
    /// handed over so far.
    pub(crate) fn end_frame(&mut self) -> Result<u64, Error> {
        let sink = std::mem::replace(&mut self.sink, Sink::Plain(Raw::broken()));
        let restarted = sink.finish().and_then(|raw| {
            let written = raw.written;
            Ok((Sink::new(raw, self.compression)?, written))
        });
        let (sink, written) = restarted.map_err(|e| self.failed(e))?;
        self.sink = sink;
        Ok(written)
    }

    /// Bytes handed to the operating system, or about to be.
    pub(crate) fn written(&self) -> u64 {
        match &self.sink {
            Sink::Plain(raw) => raw.written,
            Sink::Gzip(encoder) => encoder.get_ref().written,
            Sink::Zstd(encoder) => encoder.get_ref().written,
            Sink::Xz(encoder) => encoder.get_ref().written,
        }
    }

    /// Ends the compressed stream and flushes.
    pub(crate) fn finish(self) -> Result<(), Error> {
        let Self { name, sink, .. } = self;
        sink.finish().map(drop).map_err(|e| Error::io(e, "writing").file(&name))
    }

    pub(crate) fn failed(&self, error: io::Error) -> Error {
        self.place(Error::io(error, "writing"))
    }

    /// Places `error` in this file.
    pub(crate) fn place(&self, error: Error) -> Error {
        error.file(&self.name)
    }
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.sink {
            Sink::Plain(sink) => sink.write(bytes),
            Sink::Gzip(sink) => sink.write(bytes),
            Sink::Zstd(sink) => sink.write(bytes),
            Sink::Xz(sink) => sink.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match &mut self.sink {
            Sink::Plain(sink) => sink.flush(),
            Sink::Gzip(sink) => sink.flush(),
            Sink::Zstd(sink) => sink.flush(),
            Sink::Xz(sink) => sink.flush(),
        }
    }
}

/// The writer all line formats share: a header and one function from a request to its line.
pub(crate) struct LineWriter {
    output: Output,
    lines: Vec<u8>,
    format: fn(&Request, &mut Vec<u8>),
}

impl LineWriter {
    pub(crate) fn boxed(
        mut output: Output,
        header: &str,
        format: fn(&Request, &mut Vec<u8>),
    ) -> Result<Box<dyn Writer>, Error> {
        output.put(header.as_bytes())?;
        Ok(Box::new(Self { output, lines: Vec::new(), format }))
    }
}

impl Writer for LineWriter {
    fn write(&mut self, requests: &[Request]) -> Result<(), Error> {
        for chunk in requests.chunks(1024) {
            self.lines.clear();
            chunk.iter().for_each(|r| (self.format)(r, &mut self.lines));
            self.output.put(&self.lines)?;
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<u64, Error> {
        self.output.end_frame()
    }

    fn finish(self: Box<Self>) -> Result<(), Error> {
        self.output.finish()
    }
}
