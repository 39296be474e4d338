//! Who is to hear what has become of writes, before the log answers for their keys no more.

use std::collections::HashSet;
use std::sync::Arc;

use futures_util::future::BoxFuture;

use crate::remote::Name;
use crate::sync::Mutex;

/// What has become of some writes, by the names of their keys.
#[derive(Default)]
pub(crate) struct News {
    /// The sink has the writes; what others kept of the keys meanwhile may be from before.
    pub(crate) outdated: Vec<Name>,
    /// The sink refused the writes: what was written is not true, and nobody may keep it.
    pub(crate) refused: Vec<Name>,
}

/// Told of news; done once it has told everybody it knows.
pub(crate) type Hearer = Arc<dyn Fn(&News) -> BoxFuture<'static, ()> + Send + Sync>;

#[derive(Default)]
pub(super) struct Hearers(Mutex<Inner>);

#[derive(Default)]
struct Inner {
    all: Vec<Hearer>,
    /// Of writes that an earlier process left, those done with. The sink gets them as soon as the log is open, when who is to hear of
    /// them may not be there yet. No more names than were recovered.
    missed: HashSet<Name, ahash::RandomState>,
}

impl Hearers {
    /// From now on `hearer` is told. What comes back is to be run: it tells what was missed.
    pub(super) fn add(&self, hearer: Hearer) -> BoxFuture<'static, ()> {
        let mut inner = self.0.lock();
        inner.all.push(hearer.clone());
        let news = News { outdated: inner.missed.iter().cloned().collect(), ..News::default() };
        drop(inner);
        hearer(&news)
    }

    /// Tells all there are; of the `recovered` names also those who come later.
    pub(super) async fn tell(&self, news: &News, recovered: impl Iterator<Item = Name>) {
        let hearers = {
            let mut inner = self.0.lock();
            inner.missed.extend(recovered);
            inner.all.clone()
        };
        if news.outdated.is_empty() && news.refused.is_empty() {
            return;
        }
        for hearer in hearers {
            hearer(news).await;
        }
    }
}
