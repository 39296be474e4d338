//! Miss-ratio curves: how many accesses miss at every size.
//!
//! [`StackDistances`] gives LRU's exactly, at all sizes in one pass. For any other policy [`CurveRun`] replays small
//! samples of the keys through small caches and says how far off that may be.

mod fenwick;
mod mini;
mod stack;

pub use mini::{Curve, CurveRun, Point};
pub use stack::StackDistances;
