//! Where dashboards are, as a Redis keeps it.

use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::time::Instant;

use super::InProcess;
use crate::Error;
use crate::registry::{LONGEST_ADDRESS, MOST_ADDRESSES, Registry};
use crate::remote::Name;

/// Addresses, each until its time has run out.
pub(super) type Addresses = Vec<(Bytes, Instant)>;

impl Registry for InProcess {
    fn register<'a>(&'a self, name: &'a Name, address: &'a str, ttl: Duration) -> BoxFuture<'a, Result<(), Error>> {
        async move {
            self.travel().await?;
            let now = Instant::now();
            {
                let mut all = self.shared.addresses.lock();
                let kept = all.entry(name.clone()).or_default();
                kept.retain(|(own, until)| *until > now && own != address.as_bytes());
                kept.push((Bytes::copy_from_slice(address.as_bytes()), now + ttl));
            }
            self.arrive(())
        }
        .boxed()
    }

    fn withdraw<'a>(&'a self, name: &'a Name, address: &'a str) -> BoxFuture<'a, Result<(), Error>> {
        async move {
            self.travel().await?;
            if let Some(kept) = self.shared.addresses.lock().get_mut(name) {
                kept.retain(|(own, _)| own != address.as_bytes());
            }
            self.arrive(())
        }
        .boxed()
    }

    fn registered<'a>(&'a self, name: &'a Name) -> BoxFuture<'a, Result<Vec<Bytes>, Error>> {
        async move {
            self.travel().await?;
            let now = Instant::now();
            let cut = |bytes: &Bytes| bytes.slice(..bytes.len().min(LONGEST_ADDRESS + 1));
            let found = self.shared.addresses.lock().get(name).map_or_else(Vec::new, |kept| {
                let alive = kept.iter().filter(|(_, until)| *until > now);
                alive.map(|(address, _)| cut(address)).take(MOST_ADDRESSES).collect()
            });
            self.arrive(found)
        }
        .boxed()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::registry::testing::conformance;

    #[tokio::test(start_paused = true)]
    async fn conforms() {
        let store = InProcess::new(1 << 20);
        conformance(async || Arc::new(store.clone()) as Arc<dyn Registry>).await;
    }
}
