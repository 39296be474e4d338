//! The options of `larder top`.

use std::num::NonZeroU64;

use clap::Args;

#[derive(Debug, Args)]
#[command(after_long_help = "\
Shows what a dashboard shows, in a terminal: one row a cache, hit ratio and loads over time, the experiment. Up and down choose a \
cache, q ends. Where the output is no terminal, or with --lines, it prints one line a second and cache instead.

Examples:
  larder demo --serve & larder top
  larder top http://127.0.0.1:9465
  larder serve 10.0.0.2:9465 10.0.0.3:9465 & larder top http://127.0.0.1:9466
  larder top --lines --count 10 | tee top.txt")]
pub(crate) struct TopArgs {
    /// The dashboard's address, as the service printed it
    #[arg(value_name = "URL", default_value = "http://127.0.0.1:9465")]
    pub(crate) url: String,

    /// Print lines, even to a terminal
    #[arg(long)]
    pub(crate) lines: bool,

    /// End after so many seconds
    #[arg(long, value_name = "N")]
    pub(crate) count: Option<NonZeroU64>,
}
