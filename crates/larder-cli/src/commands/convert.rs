//! `larder convert`: the same requests in another format.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use larder_policy::Op;
use larder_sim::{Observer, Stage};
use larder_trace::{ErrorKind, Format, Options, Reader, Trace, create, open, written};
use tempfile::NamedTempFile;

use super::{CUT, MANY};
use crate::args::ConvertArgs;
use crate::failure::Failure;
use crate::interrupt;
use crate::needs::tell_mapping;
use crate::progress::Bar;
use crate::streams;
use crate::table::count;

/// Requests converted at a time.
const BATCH: usize = 1 << 14;

pub(crate) fn run(args: &ConvertArgs) -> Result<(), Failure> {
    refuse_same_file(Path::new(&args.input), &args.output)?;
    let options = Options { secret: secret(args)?, ..args.reading.options() };
    let fetched = streams::is_stream(&args.input).then(|| streams::fetch(&args.input)).transpose()?;
    let input = fetched.as_ref().map_or(Path::new(&args.input), |file| file.path());
    let mut reader = open(input, &options)?;
    tell_mapping(reader.name(), &reader);
    let output = Beside::of(&args.output)?;
    let (rows, deletes) = copy(&mut reader, &output, args.to.as_deref())?;
    output.keep()?;
    let skipped = reader.skipped();
    if skipped.bad > 0 {
        tracing::warn!(rows = skipped.bad, first = skipped.first.first(), "passed over bad rows");
    }
    if skipped.guessed_sizes > rows / MANY {
        let what =
            "sizes were guessed, by the mean of known ones: these rows come before any that tells that of their key";
        tracing::warn!(rows = skipped.guessed_sizes, of = rows, "{what}");
    }
    if skipped.cut > 0 {
        tracing::warn!(rows = skipped.cut, of = rows, "{CUT}");
    }
    if let Ok(format) = written(&args.output, args.to.as_deref()) {
        tell_made_up(&reader, format);
    }
    let done = format!("{} rows read from {}, {} of them deletes", count(rows), reader.format(), count(deletes));
    tracing::info!("{done}");
    Ok(())
}

/// What the trace has not and the format must: whoever reads it takes it for real, but for larder's own CSV, whose reader knows it when it sees it.
fn tell_made_up(reader: &Trace, format: &Format) {
    let (has, takes) = (reader.carries(), format.carries);
    if ["larder", "csv"].contains(&format.name) {
        return;
    }
    if takes.times && !has.times {
        tracing::warn!("it has no times: the rows' numbers stand for them, in seconds, and will be read as times");
    }
    if takes.sizes && !has.sizes {
        tracing::warn!("it has no sizes: 1 stands for each, and will be read as a size");
    }
}

/// That of the keys, if they are to be hidden.
fn secret(args: &ConvertArgs) -> Result<Option<String>, Failure> {
    // One in the environment may be for others; one that is given here is meant.
    if !args.hash_keys && args.secret.is_some() && args.secret != std::env::var("LARDER_SECRET").ok() {
        return Err(Failure::Usage("--secret hides no key by itself: add --hash-keys".into()));
    }
    Ok(args.secret.clone().filter(|_| args.hash_keys))
}

/// Returns how many rows there were, and how many of them deletes.
fn copy(reader: &mut Trace, output: &Beside<'_>, format: Option<&str>) -> Result<(u64, u64), Failure> {
    let failed = |error| output.named(error);
    let mut writer = create(output.path(), format).map_err(failed)?;
    let bar = Bar::new(reader.name());
    let mut batch = Vec::with_capacity(BATCH);
    let (mut rows, mut deletes) = (0u64, 0u64);
    while reader.read(&mut batch, BATCH)? > 0 {
        writer.write(&batch).map_err(failed)?;
        rows += batch.len() as u64;
        deletes += batch.iter().filter(|request| request.op == Op::Delete).count() as u64;
        batch.clear();
        bar.progress(Stage::Replay, rows, reader.progress());
    }
    writer.finish().map_err(failed)?;
    bar.clear();
    Ok((rows, deletes))
}

/// Where the output is written until it is whole: what was there stays as it was till then, and nothing that is half a trace is left.
struct Beside<'a> {
    output: &'a Path,
    /// None for what is no file: stdout, a pipe.
    temporary: Option<Temporary>,
}

struct Temporary {
    file: NamedTempFile,
    /// Where it goes in the end: the output, or what that is a link to.
    place: PathBuf,
}

impl<'a> Beside<'a> {
    fn of(output: &'a Path) -> Result<Self, Failure> {
        let there = fs::metadata(output).ok();
        let is_file = there.as_ref().is_none_or(fs::Metadata::is_file) && output != Path::new("-");
        let Some(name) = output.file_name().filter(|_| is_file) else { return Ok(Self { output, temporary: None }) };
        let place = fs::canonicalize(output).unwrap_or_else(|_| output.to_owned());
        let folder = place.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        // The name's endings tell the format and the compression.
        let mut builder = tempfile::Builder::new();
        builder.prefix(".larder-").suffix(name);
        // As any new file, for whom the user's mask says.
        #[cfg(unix)]
        builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
        let file = builder.tempfile_in(folder).map_err(|error| unwritten(output, &error))?;
        interrupt::remove(file.path().to_owned())?;
        if let Some(there) = there {
            fs::set_permissions(file.path(), there.permissions()).map_err(|error| unwritten(output, &error))?;
        }
        Ok(Self { output, temporary: Some(Temporary { file, place }) })
    }

    fn path(&self) -> &Path {
        self.temporary.as_ref().map_or(self.output, |temporary| temporary.file.path())
    }

    /// An error of writing, which names what was asked for.
    fn named(&self, error: larder_trace::Error) -> Failure {
        let (temporary, output) = (self.path().display().to_string(), self.output.display().to_string());
        if error.kind() == ErrorKind::UnknownFormat {
            return Failure::Usage(format!("{output}: its ending tells no format: name one with --to"));
        }
        match Failure::from(error) {
            Failure::Usage(what) => Failure::Usage(what.replace(&temporary, &output)),
            Failure::Failed(what) => Failure::Failed(what.replace(&temporary, &output)),
            Failure::BrokenPipe => Failure::BrokenPipe,
        }
    }

    fn keep(self) -> Result<(), Failure> {
        let Some(Temporary { file, place }) = self.temporary else { return Ok(()) };
        file.persist(place).map(drop).map_err(|error| unwritten(self.output, &error.error))
    }
}

fn unwritten(output: &Path, error: &io::Error) -> Failure {
    // What names the temporary file tells nobody anything.
    let why = error.to_string();
    let why = why.split(" at path ").next().unwrap_or(&why);
    Failure::Failed(format!("{}: writing: {why}", output.display()))
}

/// It would take the place of what is read.
fn refuse_same_file(input: &Path, output: &Path) -> Result<(), Failure> {
    match (fs::canonicalize(input), fs::canonicalize(output)) {
        (Ok(from), Ok(to)) if from == to => {
            Err(Failure::Usage(format!("{} cannot be converted onto itself; name another file", input.display())))
        }
        _ => Ok(()),
    }
}
