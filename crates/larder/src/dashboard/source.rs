//! A cache as the dashboard sees it, whatever its keys and values are.

use std::sync::{Arc, Weak};

use parking_lot::RwLock;

use crate::cache::Inner;
use crate::explain::{Explained, Hot, Logged};
use crate::{Cache, Error, ErrorKind, Key, Report};

/// The most caches on one page.
const MOST: usize = 64;

/// A cache that may be gone: then every answer is `None`.
pub(super) trait Source: Send + Sync {
    fn report(&self) -> Option<Report>;
    fn hottest(&self, most: usize) -> Option<Vec<Hot>>;
    /// What is known of the key of this text or label.
    fn explain(&self, key: &str) -> Option<Explained>;
    fn decisions(&self) -> Option<Vec<Logged>>;
    fn roll_back(&self) -> Option<bool>;
    fn resume(&self) -> Option<bool>;
}

impl<K, V> Source for Weak<Inner<K, V>>
where
    K: Key + Clone,
    V: Clone + Send + Sync + 'static,
{
    fn report(&self) -> Option<Report> {
        Some(Cache { inner: self.upgrade()? }.report())
    }

    fn hottest(&self, most: usize) -> Option<Vec<Hot>> {
        Some(Cache { inner: self.upgrade()? }.most_read(most))
    }

    fn explain(&self, key: &str) -> Option<Explained> {
        Some(Cache { inner: self.upgrade()? }.explain_text(key))
    }

    fn decisions(&self) -> Option<Vec<Logged>> {
        Some(Cache { inner: self.upgrade()? }.decisions())
    }

    fn roll_back(&self) -> Option<bool> {
        Some(Cache { inner: self.upgrade()? }.roll_back())
    }

    fn resume(&self) -> Option<bool> {
        Some(Cache { inner: self.upgrade()? }.resume())
    }
}

type Named = (Arc<str>, Arc<dyn Source>);

/// All caches of a page, in the order in which they came.
#[derive(Default)]
pub(super) struct Sources(RwLock<Vec<Named>>);

impl Sources {
    /// Adds a cache under `name`, or where that is taken, with a number.
    pub(super) fn add(&self, name: &str, source: Arc<dyn Source>) -> Result<(), Error> {
        let mut all = self.0.write();
        if all.len() >= MOST {
            return Err(Error::new(ErrorKind::Overloaded, format!("a dashboard shows {MOST} caches at most")));
        }
        let is_free = |id: &str| all.iter().all(|(own, _)| **own != *id);
        let numbered = (2..).map(|number| format!("{name}-{number}"));
        let id = std::iter::once(name.to_owned()).chain(numbered).find(|id| is_free(id)).unwrap_or_default();
        all.push((id.into(), source));
        Ok(())
    }

    /// What each cache reports; those that are gone leave.
    pub(super) fn reports(&self) -> Vec<(Arc<str>, Report)> {
        let all = self.0.read().clone();
        let reports: Vec<_> = all.iter().map(|(id, source)| (id.clone(), source.report())).collect();
        if reports.iter().any(|(_, report)| report.is_none()) {
            let is_gone = |id: &Arc<str>| reports.iter().any(|(own, report)| own == id && report.is_none());
            self.0.write().retain(|(id, _)| !is_gone(id));
        }
        reports.into_iter().filter_map(|(id, report)| Some((id, report?))).collect()
    }

    /// The cache of this name, or the first where none is named.
    pub(super) fn find(&self, id: Option<&str>) -> Option<Arc<dyn Source>> {
        let all = self.0.read();
        let mut found = all.iter().filter(|(own, _)| id.is_none_or(|id| **own == *id));
        found.next().map(|(_, source)| source.clone())
    }
}
