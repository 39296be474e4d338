//! One file a command.

pub(crate) mod demo;
pub(crate) mod list;
pub(crate) mod replay;
