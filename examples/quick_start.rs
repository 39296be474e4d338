//! The quick start, which the READMEs show from here on.

use larder::{Cache, Freshness};

#[tokio::main]
async fn main() -> Result<(), larder::Error> {
    let cache: Cache<u64, String> =
        Cache::builder().capacity(100_000).freshness(Freshness::stale_reads(0.01)?).digest_by_hash().build()?;
    let user = cache.get_with(&42, move || user(42)).await?;
    println!("{user}");
    Ok(())
}

async fn user(id: u64) -> Result<String, std::io::Error> {
    Ok(format!("user {id}, from your database"))
}
