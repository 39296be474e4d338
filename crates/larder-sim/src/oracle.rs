//! Knowledge of the future, for the policies that need it.

use std::sync::Arc;

use larder_policy::{Access, Op, Predictor, Reuse};

use crate::hash::KeyMap;
use crate::{Error, ErrorKind};

const NEVER: u32 = u32::MAX;

/// For each lookup of a trace, the number of the next lookup of the same key that could count as a hit. A delete in between cuts the tie, for what
/// is removed cannot be hit; where only gets count, so does a set: it puts its value there whether the old one stayed or not.
#[derive(Clone, Debug)]
pub struct NextAccess(Arc<Vec<u32>>);

impl NextAccess {
    /// A predictor that starts at the trace's first lookup.
    pub fn oracle(&self) -> Oracle {
        Oracle { next: self.clone(), at: 0 }
    }
}

/// Builds [`NextAccess`] in one pass forward.
#[derive(Debug, Default)]
pub(crate) struct Future {
    gets_only: bool,
    next: Vec<u32>,
    last: KeyMap<u32>,
}

impl Future {
    pub(crate) fn new(gets_only: bool) -> Self {
        Self { gets_only, ..Self::default() }
    }

    pub(crate) fn push(&mut self, access: &Access) -> Result<(), Error> {
        if access.op == Op::Delete {
            self.last.remove(&access.key.0);
            return Ok(());
        }
        let now = u32::try_from(self.next.len()).ok().filter(|&now| now < NEVER).ok_or_else(|| {
            let message = format!("policies that know the future take traces of up to {NEVER} requests; add --limit");
            Error::new(ErrorKind::TooLong, message)
        })?;
        self.next.push(NEVER);
        let previous = self.last.insert(access.key.0, now);
        if let Some(previous) = previous.filter(|_| access.op == Op::Get || !self.gets_only) {
            self.next[previous as usize] = now;
        }
        Ok(())
    }

    pub(crate) fn finish(self) -> NextAccess {
        NextAccess(Arc::new(self.next))
    }
}

/// Predicts what will happen, having seen it.
#[derive(Clone, Debug)]
pub struct Oracle {
    next: NextAccess,
    at: usize,
}

impl Predictor for Oracle {
    #[inline]
    fn predict(&mut self, _: &Access) -> Reuse {
        // Beyond the surveyed part nothing is known to come back.
        let next = self.next.0.get(self.at).copied().unwrap_or(NEVER);
        let at = self.at as u64;
        self.at += 1;
        Reuse { at, next: if next == NEVER { Reuse::NEVER } else { u64::from(next) } }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use larder_policy::{KeyHash, Time};
    use proptest::prelude::*;

    fn access(key: u64, op: Op) -> Access {
        Access { op, ..Access::get(KeyHash::mix(key), Time(0)) }
    }

    proptest! {
        #[test]
        fn agrees_with_looking_ahead(rows in prop::collection::vec((0u64..12, 0u8..5), 0..200), gets_only: bool) {
            let rows: Vec<Access> = rows
                .into_iter()
                .map(|(key, op)| access(key, match op { 0 => Op::Delete, 1 => Op::Set, _ => Op::Get }))
                .collect();
            let mut future = Future::new(gets_only);
            rows.iter().for_each(|row| future.push(row).unwrap());
            let mut oracle = future.finish().oracle();
            let number = |row: usize| rows[..row].iter().filter(|row| row.op != Op::Delete).count() as u64;
            for (at, row) in rows.iter().enumerate().filter(|(_, row)| row.op != Op::Delete) {
                let again = (at + 1..rows.len()).find(|&later| rows[later].key == row.key);
                let next = match again {
                    Some(later) if rows[later].op == Op::Get => number(later),
                    Some(later) if rows[later].op == Op::Set && !gets_only => number(later),
                    _ => Reuse::NEVER,
                };
                prop_assert_eq!(oracle.predict(row), Reuse { at: number(at), next });
            }
            prop_assert_eq!(oracle.predict(&access(1, Op::Get)).next, Reuse::NEVER);
        }
    }
}
