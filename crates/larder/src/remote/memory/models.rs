//! Generations of what instances learned, as a Redis keeps them.

use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::time::Instant;

use super::InProcess;
use crate::Error;
use crate::bounds::FOR_EVER;
use crate::remote::Name;
use crate::sharing::{GENERATIONS, Generation, MOST_BYTES, ModelStore};

/// What is kept under a name.
#[derive(Default)]
pub(super) struct Models {
    /// Who may publish, and until when.
    leader: Option<(u64, Instant)>,
    newest: u64,
    /// Oldest first.
    kept: Vec<(u64, Instant, Bytes)>,
}

impl Models {
    fn leader(&self) -> Option<u64> {
        self.leader.filter(|(_, until)| Instant::now() < *until).map(|(who, _)| who)
    }
}

impl ModelStore for InProcess {
    fn fetch<'a>(&'a self, name: &'a Name, known: u64) -> BoxFuture<'a, Result<Vec<Generation>, Error>> {
        async move {
            self.travel().await?;
            let mut found: Vec<_> = {
                let mut models = self.shared.models.lock();
                let models = models.entry(name.clone()).or_default();
                let kept = models.kept.iter().rev().filter(|_| models.newest != known);
                kept.map(|(number, at, bytes)| Generation {
                    number: *number,
                    age: at.elapsed(),
                    bytes: bytes.slice(..bytes.len().min(MOST_BYTES + 1)),
                })
                .collect()
            };
            for generation in &mut found {
                let mut answer = [Some(std::mem::take(&mut generation.bytes))];
                self.link.state.lock().garble(&mut answer);
                let [bytes] = answer;
                generation.bytes = bytes.unwrap_or_default();
            }
            self.arrive(found)
        }
        .boxed()
    }

    fn lead<'a>(&'a self, name: &'a Name, publisher: u64, ttl: Duration) -> BoxFuture<'a, Result<bool, Error>> {
        async move {
            self.travel().await?;
            let leads = {
                let mut models = self.shared.models.lock();
                let models = models.entry(name.clone()).or_default();
                let leads = models.leader().is_none_or(|leader| leader == publisher);
                if leads {
                    models.leader = Some((publisher, Instant::now() + ttl.min(FOR_EVER)));
                }
                leads
            };
            self.arrive(leads)
        }
        .boxed()
    }

    fn publish<'a>(
        &'a self,
        name: &'a Name,
        publisher: u64,
        bytes: Bytes,
    ) -> BoxFuture<'a, Result<Option<u64>, Error>> {
        async move {
            self.travel().await?;
            let number = {
                let mut models = self.shared.models.lock();
                let models = models.entry(name.clone()).or_default();
                (models.leader() == Some(publisher)).then(|| {
                    models.newest += 1;
                    models.kept.push((models.newest, Instant::now(), bytes));
                    let late = models.kept.len().saturating_sub(GENERATIONS as usize);
                    models.kept.drain(..late);
                    models.newest
                })
            };
            self.arrive(number)
        }
        .boxed()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::sharing::testing::conformance;

    #[tokio::test(start_paused = true)]
    async fn conforms() {
        let store = InProcess::new(1 << 20);
        conformance(async || Arc::new(store.clone()) as Arc<dyn ModelStore>).await;
    }
}
