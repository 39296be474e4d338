//! The options of `larder convert`.

use std::path::PathBuf;

use clap::Args;
use clap::builder::PossibleValuesParser;
use larder_trace::FORMATS;

use crate::args::ReadingArgs;

#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  larder convert access.log.gz access.csv.zst
  larder convert redis://localhost/users:traffic users.parquet
  larder convert access.log - --to csv --hash-keys --secret 'only we know' > shared.csv")]
pub(crate) struct ConvertArgs {
    /// The trace to read, `-` for stdin, `gen:…`, or `redis://HOST/STREAM`
    #[arg(value_name = "IN")]
    pub(crate) input: String,

    /// The file to write, `-` for stdout; its endings say in which format and how compressed
    #[arg(value_name = "OUT")]
    pub(crate) output: PathBuf,

    #[command(flatten)]
    pub(crate) reading: ReadingArgs,

    /// The format to write, where the ending does not tell
    #[arg(long, value_name = "FORMAT", value_parser = PossibleValuesParser::new(
        FORMATS.iter().filter(|format| format.create.is_some()).map(|format| format.name)))]
    pub(crate) to: Option<String>,

    /// Hide the keys: each is replaced by a keyed hash that only the secret could tell
    #[arg(long, requires = "secret")]
    pub(crate) hash_keys: bool,

    /// The secret of --hash-keys
    #[arg(long, env = "LARDER_SECRET", hide_env_values = true)]
    pub(crate) secret: Option<String>,
}
