//! Loads before anybody asks: after a restart what is worth most, and each day what will be read soon.
//!
//! A [`Planner`] takes what a snapshot or the remote tier offers and keeps the best that fits the budgets; [`warm`] loads it at a
//! bounded rate; [`Warmed`] counts how much of it was hit before it left. [`Rhythms`] finds keys that are read at certain hours of
//! the day and says when to warm them.

mod daily;
mod days;
mod plan;
mod rhythms;
mod warm;
mod warmed;

pub use daily::Daily;
pub use days::Days;
pub use plan::{Candidate, Limits, Plan, Planner};
pub use rhythms::{Rhythms, Schedule};
pub use warm::{Ended, Report, warm};
pub use warmed::{Usefulness, Warmed};
