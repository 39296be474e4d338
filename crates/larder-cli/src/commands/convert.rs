//! `larder convert`: the same requests in another format.

use std::fs;
use std::path::Path;

use larder_policy::Op;
use larder_sim::{Observer, Stage};
use larder_trace::{Options, Reader, create, open};

use crate::args::ConvertArgs;
use crate::failure::Failure;
use crate::progress::Bar;
use crate::streams;
use crate::table::count;

/// Requests converted at a time.
const BATCH: usize = 1 << 14;

pub(crate) fn run(args: &ConvertArgs) -> Result<(), Failure> {
    refuse_same_file(Path::new(&args.input), &args.output)?;
    let secret = if args.hash_keys { args.secret.clone() } else { None };
    let options = Options { secret, ..args.reading.options() };
    let fetched = streams::is_stream(&args.input).then(|| streams::fetch(&args.input)).transpose()?;
    let input = fetched.as_ref().map_or(Path::new(&args.input), |file| file.path());
    let mut reader = open(input, &options)?;
    let mut writer = create(&args.output, args.to.as_deref())?;
    let bar = Bar::new(reader.name());
    let mut batch = Vec::with_capacity(BATCH);
    let (mut rows, mut deletes) = (0u64, 0u64);
    while reader.read(&mut batch, BATCH)? > 0 {
        writer.write(&batch)?;
        rows += batch.len() as u64;
        deletes += batch.iter().filter(|request| request.op == Op::Delete).count() as u64;
        batch.clear();
        bar.progress(Stage::Replay, rows, reader.progress());
    }
    writer.finish()?;
    bar.clear();
    let skipped = reader.skipped();
    if skipped.bad > 0 {
        tracing::warn!(rows = skipped.bad, first = skipped.first.first(), "passed over bad rows");
    }
    let written = format!("{} rows read from {}, {} of them deletes", count(rows), reader.format(), count(deletes));
    tracing::info!("{written}");
    Ok(())
}

/// Creating the output would empty the input before it is read.
fn refuse_same_file(input: &Path, output: &Path) -> Result<(), Failure> {
    match (fs::canonicalize(input), fs::canonicalize(output)) {
        (Ok(from), Ok(to)) if from == to => {
            Err(Failure::Usage(format!("{} cannot be converted onto itself; name another file", input.display())))
        }
        _ => Ok(()),
    }
}
