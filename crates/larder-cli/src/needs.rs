//! What a command takes of its traces beside their keys, and whether they have it.

use std::fs;
use std::io::{self, IsTerminal};
use std::path::Path;

use larder_sim::{Lifetimes, Source, Weigh};
use larder_trace::{Carries, Reader};

use crate::args::{MetricArg, WeighArg};
use crate::failure::{Failure, tell};
use crate::price_args::PriceArgs;
use crate::streams;

/// Each is the option that takes it, if there is one.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Needs {
    pub(crate) sizes: Option<&'static str>,
    pub(crate) times: Option<&'static str>,
    pub(crate) ttls: Option<&'static str>,
}

impl Needs {
    /// What comes of the option --ttl.
    pub(crate) fn ttl(self, lifetimes: Lifetimes) -> Self {
        match lifetimes {
            Lifetimes::Ignored => self,
            Lifetimes::Given => Self { ttls: Some("--ttl given"), ..self },
            Lifetimes::Fixed(_) => Self { times: Some("--ttl"), ..self },
        }
    }

    /// What comes of the option --metric.
    pub(crate) fn metric(self, metric: MetricArg) -> Self {
        match metric {
            MetricArg::Requests => self,
            MetricArg::Bytes => Self { sizes: Some("--metric bytes"), ..self },
        }
    }

    /// What comes of prices: they are for an hour, and memory is priced by its bytes.
    pub(crate) fn prices(self, prices: &PriceArgs, weigh: Weigh) -> Self {
        let [times, sizes] = prices.options();
        let sizes = sizes.filter(|_| weigh == Weigh::Objects);
        Self { sizes: self.sizes.or(sizes), times: self.times.or(times), ..self }
    }

    /// Opens a trace, which says what it carries. Where that is only how its first rows look, it is told and believed to be real.
    ///
    /// # Errors
    /// It cannot be opened, or has not got what is needed.
    pub(crate) fn check(self, source: &Source) -> Result<(), Failure> {
        let reader = source.open()?;
        let Carries { times, sizes, ttls, judged, .. } = reader.carries();
        let name = source.name();
        tell_mapping(name, &*reader);
        for (option, has, what, looks) in [
            (self.sizes, sizes, "sizes", "sizes are all 1, as where none are known"),
            (self.times, times, "times", "times rise by a second from row to row, as where none are known"),
            (self.ttls, ttls, "lifetimes", ""),
        ] {
            match option.filter(|_| !has) {
                None => {}
                Some(option) if judged => tell(&format!("{name}: {option} takes {what}; its {looks}")),
                Some(option) => {
                    let help = format!("name their column with --columns, or leave {option} out");
                    return Err(Failure::Usage(format!(
                        "{name}: {option} takes {what}, and this trace has none: {help}"
                    )));
                }
            }
        }
        Ok(())
    }

    /// As [`check`](Self::check), of a trace whose turn has come and that could not be opened twice before.
    pub(crate) fn check_flowing(self, source: &mut Source) -> Result<(), Failure> {
        if [self.sizes, self.times, self.ttls].iter().all(Option::is_none) {
            return Ok(());
        }
        source.make_repeatable()?;
        self.check(source)
    }
}

impl From<WeighArg> for Needs {
    fn from(weigh: WeighArg) -> Self {
        match weigh {
            WeighArg::Objects => Self::default(),
            WeighArg::Bytes => Self { sizes: Some("--weigh bytes"), ..Self::default() },
        }
    }
}

/// Says which columns were taken for what, to people and to logs: names that only look usual may hold something else.
pub(crate) fn tell_mapping(trace: &str, reader: &dyn Reader) {
    let Some(mapping) = reader.mapping() else { return };
    let line = format!("{trace}: read as {mapping}");
    if io::stderr().is_terminal() { tell(&line) } else { tracing::info!("{line}") }
}

/// Whether a trace comes once, from stdin, a pipe or a Redis: it cannot be tried before its turn.
pub(crate) fn flows(trace: &str) -> bool {
    streams::is_stream(trace) || is_pipe(trace)
}

/// Whether it comes once and is gone.
pub(crate) fn is_pipe(trace: &str) -> bool {
    trace == "-" || fs::metadata(Path::new(trace)).is_ok_and(|there| !there.is_file() && !there.is_dir())
}
