//! Where writers write: a file compressed as its ending says, or stdout.

use std::{
    fs::File,
    io::{self, BufWriter, Write},
    path::Path,
    sync::Arc,
};

use crate::{Error, ErrorKind, FORMATS, Format, Request, formats, input::Compression, open::endings};

/// Takes a trace in one format.
pub trait Writer: Send {
    /// Writes `requests` in order.
    ///
    /// # Errors
    /// The operating system refused.
    fn write(&mut self, requests: &[Request]) -> Result<(), Error>;

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
    let format = match format {
        Some(name) => formats::named(name)?,
        None => by_ending(path)?,
    };
    let create = format.create.ok_or_else(|| {
        let written: Vec<_> = FORMATS.iter().filter(|f| f.create.is_some()).map(|f| f.name).collect();
        let what = format!("traces cannot be written as {}, but as {}", format.name, written.join(", "));
        Error::new(ErrorKind::Unsupported, what)
    })?;
    create(Output::create(path)?)
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
    sink: Sink,
}

enum Sink {
    Plain(Box<dyn Write + Send>),
    Gzip(flate2::write::GzEncoder<Box<dyn Write + Send>>),
    Zstd(zstd::stream::write::Encoder<'static, Box<dyn Write + Send>>),
    Xz(liblzma::write::XzEncoder<Box<dyn Write + Send>>),
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
        let file: Box<dyn Write + Send> = Box::new(BufWriter::with_capacity(1 << 17, file));
        let sink = match compression.map_or(Compression::Plain, |(_, c)| *c) {
            Compression::Plain => Sink::Plain(file),
            Compression::Gzip => Sink::Gzip(flate2::write::GzEncoder::new(file, flate2::Compression::default())),
            Compression::Zstd => Sink::Zstd(zstd::stream::write::Encoder::new(file, 3).map_err(failed)?),
            // The presets above take minutes for what they save.
            Compression::Xz => Sink::Xz(liblzma::write::XzEncoder::new(file, 1)),
        };
        Ok(Self { name: name.as_str().into(), sink })
    }

    /// Any sink, plain.
    pub fn to(name: &str, sink: impl Write + Send + 'static) -> Self {
        Self { name: name.into(), sink: Sink::Plain(Box::new(BufWriter::with_capacity(1 << 17, sink))) }
    }

    pub(crate) fn put(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.write_all(bytes).map_err(|e| self.failed(e))
    }

    /// Ends the compressed stream and flushes.
    pub(crate) fn finish(self) -> Result<(), Error> {
        let Self { name, sink } = self;
        let done = match sink {
            Sink::Plain(sink) => Ok(sink),
            Sink::Gzip(sink) => sink.finish(),
            Sink::Zstd(sink) => sink.finish(),
            Sink::Xz(sink) => sink.finish(),
        };
        done.and_then(|mut sink| sink.flush()).map_err(|e| Error::io(e, "writing").file(&name))
    }

    pub(crate) fn failed(&self, error: io::Error) -> Error {
        Error::io(error, "writing").file(&self.name)
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

    fn finish(self: Box<Self>) -> Result<(), Error> {
        self.output.finish()
    }
}
