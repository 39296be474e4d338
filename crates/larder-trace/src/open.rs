//! From a path to requests: the one call most users need.

use std::{fmt, path::Path};

use crate::{
    Carries, Columns, Error, ErrorKind, FORMATS, Format, Input, Options, Progress, Reader, Request, Skipped, formats,
    generate, input::Compression, key::Hiding,
};

/// Bytes shown to the formats' detectors.
pub(crate) const HEAD: usize = 1 << 14;

/// Opens the trace at `path`: a file, `-` for stdin, or `gen:…` for a generator (see
/// [`GENERATORS`](crate::GENERATORS)).
///
/// # Errors
/// The file cannot be opened, its format is not known, or an option does not fit.
///
/// ```no_run
/// # fn main() -> Result<(), larder_trace::Error> {
/// use larder_trace::{Options, Reader, open};
///
/// let mut trace = open("web07.csv.zst", &Options::default())?;
/// let mut batch = Vec::new();
/// while trace.read(&mut batch, 4096)? > 0 {
///     batch.drain(..).for_each(|request| println!("{}", request.key));
/// }
/// # Ok(()) }
/// ```
pub fn open(path: impl AsRef<Path>, options: &Options) -> Result<Trace, Error> {
    options.check()?;
    let path = path.as_ref();
    if let Some(spec) = path.to_str().and_then(|p| p.strip_prefix("gen:")) {
        if options.columns != Columns::default() {
            return Err(Error::option("columns are mapped, and a generated trace has none: leave them out"));
        }
        return Ok(Trace::new(trace_name(path), "generated", generate::reader(spec)?, options));
    }
    open_input(Input::open(path)?, options)
}

/// Opens a trace from any stream; see [`Input::new`].
///
/// # Errors
/// As [`open`].
pub fn open_input(mut input: Input, options: &Options) -> Result<Trace, Error> {
    options.check()?;
    input.skip_byte_order_mark()?;
    let format = match &options.format {
        Some(name) => match formats::named(name)? {
            format if !format.mapped && options.columns != Columns::default() => {
                let mapped: Vec<_> = FORMATS.iter().filter(|format| format.mapped).map(|format| format.name).collect();
                let what =
                    format!("columns are mapped, and {name} has its own: leave them out, or name another format");
                return Err(input.place(Error::option(format!("{what} ({})", mapped.join(", ")))));
            }
            format => format,
        },
        None => detect(&mut input, options)?,
    };
    let name = trace_name(input.name());
    Ok(Trace::new(name, format.name, (format.open)(input, options)?, options))
}

/// The format whose detector is surest of the first bytes; the file's ending decides between equals.
fn detect(input: &mut Input, options: &Options) -> Result<&'static Format, Error> {
    let endings = endings(input.name());
    let mapped = options.columns != Columns::default();
    let head = input.head(HEAD)?;
    let best = FORMATS
        .iter()
        // Columns that are mapped ask for a format that maps.
        .filter(|f| f.mapped || !mapped)
        .map(|f| ((f.detect)(head), f.extensions.iter().any(|e| endings.contains(&e.to_ascii_lowercase())), f))
        .filter(|(confidence, ..)| *confidence > Confidence::No)
        // `max_by_key` would take the last of equals; the table's order is the order of preference.
        .reduce(|best, next| if (next.0, next.1) > (best.0, best.1) { next } else { best });
    let (what, help) = match head.trim_ascii_start() {
        [] => ("the trace is empty", ""),
        [b'P', b'A', b'R', b'1', ..] => {
            ("this is Parquet, and this build is without the feature parquet", "install with --features parquet")
        }
        [b'[' | b'{', ..] => ("this JSON is not one object a line", "make it so, as with jq -c '.[]'"),
        _ => ("no format was recognised", "name it with --format, or map the columns of a table with --columns"),
    };
    let is_table = mapped && !head.contains(&0) && !head.trim_ascii_start().starts_with(b"[");
    let table = formats::named("csv").ok().filter(|_| is_table);
    best.map(|(.., format)| format)
        .or(table)
        .ok_or_else(|| input.place(Error::new(ErrorKind::UnknownFormat, what).help(help)))
}

/// How sure a format is that a trace is its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Confidence {
    /// It is not.
    No,
    /// It could be, as nearly any text could.
    Maybe,
    /// Its rows look right.
    Likely,
    /// It bears the format's own mark.
    Certain,
}

/// An open trace: a reader with the trace's name, its limit, and its keys hidden where a secret was given.
pub struct Trace {
    name: String,
    format: &'static str,
    reader: Box<dyn Reader>,
    left: u64,
    hiding: Option<Hiding>,
    /// As [`Skipped::cut`].
    cut: u64,
}

impl Trace {
    fn new(name: String, format: &'static str, reader: Box<dyn Reader>, options: &Options) -> Self {
        let hiding = options.secret.as_deref().map(Hiding::new);
        Self { name, format, reader, left: options.limit.unwrap_or(u64::MAX), hiding, cut: 0 }
    }

    /// The trace's name, as [`trace_name`] gives it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The name of the format it is read as.
    pub fn format(&self) -> &'static str {
        self.format
    }
}

impl fmt::Debug for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Trace").field("name", &self.name).field("format", &self.format).finish_non_exhaustive()
    }
}

impl Reader for Trace {
    fn read(&mut self, batch: &mut Vec<Request>, max: usize) -> Result<usize, Error> {
        let start = batch.len();
        let max = max.min(usize::try_from(self.left).unwrap_or(usize::MAX));
        let result = self.reader.read(batch, max);
        let read = &batch[start..];
        self.left -= read.len() as u64;
        self.cut += read.iter().filter(|r| r.size.max(r.ttl).max(r.cost) == u32::MAX).count() as u64;
        if let Some(hiding) = &self.hiding {
            batch[start..].iter_mut().for_each(|r| r.key = hiding.hide(r.key));
        }
        result
    }

    fn carries(&self) -> Carries {
        self.reader.carries()
    }

    fn skipped(&self) -> Skipped {
        Skipped { cut: self.cut, ..self.reader.skipped() }
    }

    fn progress(&self) -> Progress {
        self.reader.progress()
    }

    fn mapping(&self) -> Option<String> {
        self.reader.mapping().map(|mapping| format!("{}: {mapping}", self.format))
    }
}

/// The requests one by one, those before an error too; after it the iterator ends.
impl IntoIterator for Trace {
    type Item = Result<Request, Error>;
    type IntoIter = Requests;

    fn into_iter(self) -> Requests {
        Requests { trace: self, batch: Vec::new(), next: 0, ended: false, error: None }
    }
}

/// Iterator over a [`Trace`].
pub struct Requests {
    trace: Trace,
    batch: Vec<Request>,
    next: usize,
    ended: bool,
    /// Told after the good rows before it.
    error: Option<Error>,
}

impl Iterator for Requests {
    type Item = Result<Request, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.next == self.batch.len() && !self.ended {
            self.batch.clear();
            self.next = 0;
            match self.trace.read(&mut self.batch, 4096) {
                Ok(read) => self.ended = read == 0,
                Err(error) => (self.ended, self.error) = (true, Some(error)),
            }
        }
        let Some(&request) = self.batch.get(self.next) else { return self.error.take().map(Err) };
        self.next += 1;
        Some(Ok(request))
    }
}

/// A trace's name: the file's without folders and without the endings of known formats and compressions
/// (`web07.csv.zst` is `web07`); dots inside a name stay.
pub fn trace_name(path: impl AsRef<Path>) -> String {
    let path = path.as_ref();
    if let Some(spec) = path.to_str().and_then(|p| p.strip_prefix("gen:")) {
        return spec.to_owned();
    }
    let file = path.file_name().map_or_else(String::new, |f| f.to_string_lossy().into_owned());
    strip_endings(&file).0.to_owned()
}

/// The known endings of `name`, in lower case.
pub(crate) fn endings(name: &str) -> Vec<String> {
    strip_endings(name).1
}

fn strip_endings(name: &str) -> (&str, Vec<String>) {
    let known = |ending: &str| {
        let is = |e: &str| e.eq_ignore_ascii_case(ending);
        Compression::ENDINGS.iter().any(|(e, _)| is(e)) || FORMATS.iter().flat_map(|f| f.extensions).any(|e| is(e))
    };
    let (mut stem, mut endings) = (name, Vec::new());
    while let Some((before, ending)) = stem.rsplit_once('.').filter(|(b, e)| !b.is_empty() && known(e)) {
        endings.push(ending.to_ascii_lowercase());
        stem = before;
    }
    (stem, endings)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_lose_known_endings_only() {
        for (path, name) in [
            ("web07.csv.zst", "web07"),
            ("/a/b/cluster52.sort.zst", "cluster52"),
            ("w106.oracleGeneral.bin.zst", "w106"),
            ("v1.2.host.csv", "v1.2.host"),
            ("P3.lis.gz", "P3"),
            (".csv", ".csv"),
            ("-", "-"),
            ("gen:zipf:alpha=0.9/keys=10", "zipf:alpha=0.9/keys=10"),
        ] {
            assert_eq!(trace_name(path), name);
        }
    }
}
