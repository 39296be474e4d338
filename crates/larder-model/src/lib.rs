//! Trains and judges the models of larder: what a learned cache policy knows before it has seen anything.
//!
//! The kernel emits [`Example`](larder_policy::learned::Example)s; `fit` learns from them with linfa, [`evaluate`] judges, and
//! [`folder`] keeps what was learned with its card and the recipe to repeat it. To serve a model takes the kernel alone.
#![forbid(unsafe_code)]

mod card;
mod error;
pub mod evaluate;
mod fit;
pub mod folder;
mod ftrl;
mod lead;
mod recipe;

pub use card::{Card, Gain, HeldOut, Ratios};
pub use error::{Error, ErrorKind};
pub use fit::{Cell, Fit, Fitted};
pub use lead::{Lead, Over};
pub use recipe::{Recipe, Settings, TraceRecord, file_hash};
