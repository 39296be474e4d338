//! Names under which another key's value was found.

use std::collections::HashSet;

use parking_lot::Mutex;

use crate::remote::Name;

/// So many are remembered; beyond, all are told anew.
const MOST: usize = 1024;

#[derive(Default)]
pub(super) struct Strangers(Mutex<HashSet<Name, ahash::RandomState>>);

impl Strangers {
    /// Whether nothing of the kind was found under the name before.
    pub(super) fn is_new(&self, name: &Name) -> bool {
        let mut names = self.0.lock();
        if names.contains(name) {
            return false;
        }
        if names.len() >= MOST {
            names.clear();
        }
        names.insert(name.clone())
    }
}
