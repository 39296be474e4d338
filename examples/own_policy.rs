//! A policy of your own in a cache: `cargo run -p larder-examples --example own_policy`.
//!
//! Reads go round in a loop longer than the cache, the worst there is for LRU. This policy lets the most recently used leave, which is
//! right for loops and for little else.

use std::convert::Infallible;

use larder::{Builder, Cache, Error};
use larder_policy::eviction::{Arrival, Eviction, Fate, Removal};
use larder_policy::{Access, Policy, Reuse, Slot};

/// Residents in the order of their last use.
#[derive(Default)]
struct Mru(Vec<Slot>);

impl Eviction for Mru {
    fn victim(&mut self, _newcomer: Option<&Arrival>) -> Option<Slot> {
        self.0.last().copied()
    }

    fn on_insert(&mut self, slot: Slot, _newcomer: &Arrival) {
        self.0.push(slot);
    }

    fn on_hit(&mut self, slot: Slot, _access: &Access, _reuse: Reuse) -> Option<Slot> {
        self.0.retain(|&other| other != slot);
        self.0.push(slot);
        None
    }

    fn on_remove(&mut self, slot: Slot, _why: Removal) -> Fate {
        self.0.retain(|&other| other != slot);
        Fate::Gone
    }

    fn bytes(&self) -> usize {
        self.0.capacity() * size_of::<Slot>()
    }

    fn validate(&self, residents: usize, _ghosts: usize) {
        assert_eq!(self.0.len(), residents);
    }
}

/// The hit ratio of a cache of 100 entries on ten rounds through 120 keys.
async fn hit_ratio(builder: Builder<u32, u32>) -> Result<f64, Error> {
    let cache = builder.capacity(100).build()?;
    for read in 0..1200 {
        let key = read % 120;
        cache.get_with(&key, move || async move { Ok::<_, Infallible>(key) }).await?;
    }
    cache.validate();
    Ok(cache.stats().counts.hit_ratio())
}

#[tokio::main]
async fn main() -> Result<(), Error> {
    let own = Cache::builder().policy_with(|_capacity, _seed| Policy::new(Box::<Mru>::default()));
    println!("own policy  {:5.1}%", 100.0 * hit_ratio(own).await?);
    for name in ["lru", "learned"] {
        println!("{name:11} {:5.1}%", 100.0 * hit_ratio(Cache::builder().policy(name)).await?);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn it_is_asked_who_leaves() {
        let own = Cache::builder().policy_with(|_capacity, _seed| Policy::new(Box::<Mru>::default()));
        let (own, lru) = (hit_ratio(own).await.unwrap(), hit_ratio(Cache::builder().policy("lru")).await.unwrap());
        assert_eq!(lru, 0.0);
        assert!(own > 0.7, "{own}");
    }
}
