//! A remote tier of your own, here a folder of files: `cargo run -p larder-examples --example own_store`.
//!
//! It can do the least a store can: it keeps bytes. It tells nobody about invalidations and does not fence, so another process may serve
//! what it holds until its end, and a value that was loaded before a change may be kept after it; [`Capabilities`] says so, and
//! `larder::remote::testing::conformance` checks what it claims.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};
use std::{fs, io, process};

use bytes::Bytes;
use futures_util::future::{BoxFuture, FutureExt};
use larder::remote::envelope::fingerprint;
use larder::remote::{Capabilities, Filled, Invalidation, Item, Name, Notice, RemoteStore};
use larder::{Builder, Cache, Error, ErrorKind, codec};
use tokio::sync::broadcast;
use tokio::task::spawn_blocking;

/// A file a key, with its end and its name before the bytes.
#[derive(Clone)]
struct Folder(PathBuf);

impl Folder {
    fn path(&self, name: &str) -> PathBuf {
        self.0.join(format!("{:016x}", fingerprint(name)))
    }

    fn read(&self, name: &str) -> io::Result<Option<Bytes>> {
        let bytes = match fs::read(self.path(name)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            bytes => Bytes::from(bytes?),
        };
        // Another name of the same hash, a damaged file, or too old.
        Ok(parse(&bytes)
            .filter(|(end, own, _)| *own == name.as_bytes() && *end > now())
            .map(|(.., at)| bytes.slice(at..)))
    }

    /// Nobody ever sees half a file.
    fn write(&self, item: &Item) -> io::Result<()> {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let path = self.path(&item.name);
        let own = format!("new-{}-{}", process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        let draft = path.with_extension(own);
        let end = now() + item.ttl.as_micros() as u64;
        let mut bytes = Vec::with_capacity(12 + item.name.len() + item.bytes.len());
        bytes.extend_from_slice(&end.to_le_bytes());
        bytes.extend_from_slice(&(item.name.len() as u32).to_le_bytes());
        bytes.extend_from_slice(item.name.as_bytes());
        bytes.extend_from_slice(&item.bytes);
        fs::write(&draft, bytes)?;
        fs::rename(draft, path)
    }

    /// Removes what has ended; what a service would do now and then.
    fn sweep(&self) -> io::Result<()> {
        for file in fs::read_dir(&self.0)? {
            let path = file?.path();
            if parse(&fs::read(&path)?).is_none_or(|(end, ..)| end <= now()) {
                fs::remove_file(path)?;
            }
        }
        Ok(())
    }
}

/// The end, the name, and where the value begins.
fn parse(bytes: &[u8]) -> Option<(u64, &[u8], usize)> {
    let end = u64::from_le_bytes(bytes.get(..8)?.try_into().ok()?);
    let length = u32::from_le_bytes(bytes.get(8..12)?.try_into().ok()?) as usize;
    Some((end, bytes.get(12..12 + length)?, 12 + length))
}

/// In microseconds since the Unix epoch.
fn now() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_micros() as u64)
}

/// Files block: on a thread where that does no harm.
fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> BoxFuture<'static, Result<T, Error>> {
    let failed = |error: io::Error| Error::caused(ErrorKind::Remote, format!("the folder: {error}"), error);
    async move { spawn_blocking(work).await.map_err(io::Error::other).and_then(|done| done).map_err(failed) }.boxed()
}

impl RemoteStore for Folder {
    fn capabilities(&self) -> Capabilities {
        Capabilities::default()
    }

    fn get<'a>(&'a self, names: &'a [Name]) -> BoxFuture<'a, Result<Vec<Option<Bytes>>, Error>> {
        let (folder, names) = (self.clone(), names.to_vec());
        blocking(move || names.iter().map(|name| folder.read(name)).collect())
    }

    fn put<'a>(&'a self, items: &'a [Item]) -> BoxFuture<'a, Result<Filled, Error>> {
        let (folder, items) = (self.clone(), items.to_vec());
        blocking(move || {
            items.iter().try_for_each(|item| folder.write(item)).map(|()| Filled { kept: items.len(), not_admitted: 0 })
        })
    }

    fn invalidate<'a>(&'a self, notices: &'a [Notice]) -> BoxFuture<'a, Result<(), Error>> {
        let (folder, items) = (self.clone(), notices.iter().map(|notice| notice.instead.clone()).collect::<Vec<_>>());
        blocking(move || items.iter().try_for_each(|item| folder.write(item)))
    }

    fn listen(&self) -> broadcast::Receiver<Invalidation> {
        // Closed from the start: nothing is ever announced.
        broadcast::Sender::new(1).subscribe()
    }
}

/// For a cache whose second tier outlives it.
fn builder(folder: &Path) -> Builder<u32, String> {
    Cache::builder().name("squares").capacity(1000).remote(Folder(folder.to_owned()), codec::Plain)
}

async fn square(cache: &Cache<u32, String>, number: u32) -> Result<String, Error> {
    let load = move || async move {
        println!("computing {number}²");
        Ok::<_, Error>((number * number).to_string())
    };
    cache.get_with(&number, load).await
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = tempfile::tempdir()?;
    for process in ["the first process", "another process"] {
        let cache = builder(folder.path()).build()?;
        println!("{process}: {}", square(&cache, 12).await?);
        cache.close(Duration::from_secs(1)).await;
    }
    Folder(folder.path().to_owned()).sweep()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use larder::remote::TierConfig;

    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn it_conforms() {
        let folder = tempfile::tempdir().unwrap();
        let store = Folder(folder.path().to_owned());
        larder::remote::testing::conformance(async || Arc::new(store.clone()) as Arc<dyn RemoteStore>).await;
        store.sweep().unwrap();
        assert!(fs::read_dir(folder.path()).unwrap().count() > 0, "what lives long is still there");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn another_process_finds_what_the_first_has_loaded() {
        let folder = tempfile::tempdir().unwrap();
        // Longer than a busy machine takes: what comes too late is loaded or left out.
        let tier = || TierConfig { deadline: Duration::from_secs(10), ..TierConfig::default() };
        let cache = || builder(folder.path()).tier(tier()).build().unwrap();
        let first = cache();
        assert_eq!(square(&first, 12).await.unwrap(), "144");
        assert!(first.close(Duration::from_secs(10)).await);
        let other = cache();
        assert_eq!(other.get(&12).await.as_deref(), Some("144"));
        assert_eq!(other.stats().counts.remote_hits, 1);
    }
}
