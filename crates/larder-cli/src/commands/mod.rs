//! One file a command.

pub(crate) mod arms;
pub(crate) mod compare;
pub(crate) mod convert;
pub(crate) mod curve;
pub(crate) mod demo;
pub(crate) mod explain;
pub(crate) mod freshness;
pub(crate) mod list;
pub(crate) mod predictions;
pub(crate) mod replay;
pub(crate) mod serve;
pub(crate) mod sizes;
pub(crate) mod stats;
pub(crate) mod top;
pub(crate) mod train;

use std::io::{self, Write};
use std::path::Path;

use larder_policy::Op;
use larder_sim::{Experiment, Lifetimes, Metric, Outcome, Report, Seen, Source};
use serde::Serialize;

use crate::failure::{Failure, tell};
use crate::streams;

/// The command as it was given, but for logins, for whoever wants to repeat it.
pub(crate) fn command_line() -> String {
    quoted(std::env::args_os().skip(1).map(|word| streams::without_login(&word.to_string_lossy())))
}

/// A command of ours, its words quoted where a shell needs it.
pub(crate) fn quoted(words: impl Iterator<Item = String>) -> String {
    let plain = |word: &str| !word.is_empty() && word.chars().all(|c| c.is_alphanumeric() || "-_./:=,%+@*".contains(c));
    let quoted = |word: String| if plain(&word) { word } else { format!("'{}'", word.replace('\'', "'\\''")) };
    ["larder".to_owned()].into_iter().chain(words.map(quoted)).collect::<Vec<_>>().join(" ")
}

pub(crate) fn print_json<T: Serialize>(records: impl IntoIterator<Item = T>) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    for record in records {
        serde_json::to_writer(&mut out, &record).map_err(io::Error::from)?;
        writeln!(out)?;
    }
    Ok(())
}

/// Whoever read our output may have read enough, as `head` does: what is written beside it is wanted all the same.
pub(crate) fn unless_read_enough(printed: Result<(), Failure>, writes: bool) -> Result<(), Failure> {
    match printed {
        Err(Failure::BrokenPipe) if writes => Ok(()),
        printed => printed,
    }
}

/// Says how many rows could not be read, where some were to be passed over.
pub(crate) fn tell_bad_rows(source: &Source) {
    let rows = source.seen().bad_rows;
    if rows > 0 {
        tracing::warn!(trace = source.name(), rows, "passed over bad rows");
    }
}

/// Says what the last pass over a trace came upon that makes its results doubtful.
pub(crate) fn tell_doubts(source: &Source, lifetimes: Lifetimes) {
    tell_bad_rows(source);
    let (trace, Seen { rows: of, guessed_sizes, cut, early_rows, lifetimes: given, .. }) =
        (source.name(), source.seen());
    if guessed_sizes > of / MANY {
        let what = "rows come before any that tells the size of their key: it was guessed, by the mean of known ones";
        tracing::warn!(trace, rows = guessed_sizes, of, "{what}");
    }
    if cut > 0 {
        tracing::warn!(trace, rows = cut, of, "{CUT}");
    }
    if early_rows > of / MANY {
        tracing::warn!(trace, rows = early_rows, of, "times go back: sort the trace by time");
    }
    if lifetimes == Lifetimes::Given && given == 0 {
        tracing::warn!(trace, "--ttl given: no row has a lifetime, so that nothing expired");
    }
}

/// What is said of rows with numbers too large for a request.
pub(crate) const CUT: &str = "rows have a size, lifetime or cost beyond 4294967295, and were read as if it were that";

/// One row in so many is worth a word.
pub(crate) const MANY: u64 = 20;

/// How a replay failed. An option that does not fit is the command line's fault, but not where the trace has no key that a cache may hold.
pub(crate) fn failed(error: larder_sim::Error, source: &Source) -> Failure {
    match Failure::from(error) {
        // What came through a pipe is gone, unless it was spooled to a file.
        Failure::Usage(what) if source.is_kept() && lacks(source, |op| op != Op::Delete) => Failure::Failed(what),
        failure => failure,
    }
}

/// Whether no row of the trace is one that is wanted. One that cannot be read is at another fault.
pub(crate) fn lacks(source: &Source, wanted: impl Fn(Op) -> bool) -> bool {
    let Ok(mut reader) = source.open() else { return false };
    let mut batch = Vec::new();
    loop {
        batch.clear();
        match reader.read(&mut batch, 1 << 14) {
            Ok(0) => return true,
            Ok(_) if !batch.iter().any(|request| wanted(request.op)) => {}
            _ => return false,
        }
    }
}

/// Tries whether files can be made in a folder that may not be there yet: told before the work, not after it.
pub(crate) fn try_folder(folder: Option<&Path>) -> Result<(), Failure> {
    let Some(folder) = folder else { return Ok(()) };
    let there = folder.ancestors().find(|above| above.exists()).unwrap_or(Path::new("."));
    let tried =
        if there.is_dir() { tempfile::tempfile_in(there).map(drop) } else { Err(io::ErrorKind::NotADirectory.into()) };
    tried.map_err(|error| {
        let there = there.display();
        Failure::Failed(format!("{}: no folder can be written there, for {there}: {error}", folder.display()))
    })
}

/// Writes the report and says where it is.
pub(crate) fn write_report(
    folder: &Path,
    command: &str,
    experiment: &Experiment,
    metric: Metric,
    outcomes: &[Outcome],
) -> Result<(), Failure> {
    let counted = if experiment.gets_only { "gets" } else { "gets and sets" };
    let lifetimes = match experiment.lifetimes {
        Lifetimes::Ignored => "nothing expires".to_owned(),
        Lifetimes::Given => "as the trace gives them".to_owned(),
        Lifetimes::Fixed(span) => humantime::format_duration(span).to_string(),
    };
    let report = Report {
        command,
        configuration: vec![("counted", counted.to_owned()), ("lifetimes", lifetimes)],
        seed: experiment.seed,
        weigh: experiment.weigh,
        metric,
        outcomes,
    };
    let page = report.write(folder)?;
    tell(&format!("report: {}", page.display()));
    Ok(())
}
