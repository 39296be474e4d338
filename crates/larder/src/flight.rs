//! Single flight: of many who miss a key at once, one loads and all get its answer.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::watch;

use crate::Error;
use crate::fetched::Found;

/// The answer of a load: a value, or that the origin has none.
pub(crate) type Answer<V> = Result<Found<Option<V>>, Error>;

/// A load under way.
pub(crate) struct Flight<K, V> {
    pub(crate) key: K,
    /// Which generation of the whole cache it began in: a `clear` since then makes its answer void.
    pub(crate) generation: u32,
    /// It renews what is served meanwhile: no reader waits for it.
    pub(crate) renews: bool,
    /// The key was written or invalidated since it began: its answer is not kept, and nobody joins it any more.
    fenced: AtomicBool,
    answer: watch::Sender<Option<Answer<V>>>,
}

impl<K, V: Clone> Flight<K, V> {
    pub(crate) fn new(key: K, generation: u32, renews: bool) -> Arc<Self> {
        Arc::new(Self { key, generation, renews, fenced: AtomicBool::new(false), answer: watch::Sender::new(None) })
    }

    // Every access to the fence is made under the shard's lock, so the flag needs no ordering of its own.
    pub(crate) fn fence(&self) {
        self.fenced.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_fenced(&self) -> bool {
        self.fenced.load(Ordering::Relaxed)
    }

    pub(crate) fn land(&self, answer: Answer<V>) {
        self.answer.send_replace(Some(answer));
    }

    /// The answer, when it comes.
    pub(crate) async fn answer(&self) -> Answer<V> {
        let mut answers = self.answer.subscribe();
        // The sender lives as long as `self`, so the channel cannot close while this waits.
        match answers.wait_for(Option::is_some).await {
            Ok(answer) => answer.clone().unwrap_or_else(|| Err(crate::load::abandoned())),
            Err(_) => Err(crate::load::abandoned()),
        }
    }
}
