//! Ordinary redis-rs code, and the lines that let larder choose how long each value is kept.
//!
//! `cargo run -p larder-redis --example redis_plugin [redis://localhost]`

use larder_redis::{Freshness, Learned, LearnedConfig};
use redis::AsyncCommands;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let url = std::env::args().nth(1).unwrap_or_else(|| "redis://localhost".to_owned());
    let conn = redis::Client::open(url)?.get_multiplexed_async_connection().await?;
    // This line is larder's. Of all reads of pages, at most 1 % may be outdated; other keys are not touched.
    let mut conn = Learned::new(conn, LearnedConfig::new(Freshness::stale_reads(0.01)?, &["page:"]));

    for round in 0..3 {
        for page in 0..5 {
            let key = format!("page:{page}");
            let cached: Option<String> = conn.get(&key).await?;
            if cached.is_none() {
                // No `EX`, no `PX`: how long it is kept is learned.
                let () = conn.set(&key, load(page)).await?;
                let left: i64 = conn.pttl(&key).await?;
                println!("round {round}: {key} loaded, kept for {left} ms");
            }
        }
    }
    println!("{:?}", conn.state());
    Ok(())
}

fn load(page: u32) -> String {
    format!("the text of page {page}")
}
