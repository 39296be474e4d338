//! Nothing but a place for the programs beside this folder.
#![forbid(unsafe_code)]
