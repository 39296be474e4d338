//! Settings at the ends of what times and numbers can be: each is refused with an error that names it, or makes a cache that works.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::convert::Infallible;
use std::time::Duration;

use larder_moka::{Builder, Freshness, Held, Plugin, Refresh, sync};

const TIMES: [Duration; 7] = [
    Duration::ZERO,
    Duration::from_nanos(1),
    Duration::from_secs(1),
    Duration::from_secs(1 << 40),
    Duration::from_micros(u64::MAX),
    Duration::from_secs(u64::MAX),
    Duration::MAX,
];
const FLOATS: [f64; 8] = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -1.0, 0.0, f64::MIN_POSITIVE, 1.0, f64::MAX];

fn plain() -> Builder<u64, u64> {
    Plugin::builder().digest(|value| *value)
}

#[test]
fn a_plug_in_told_nonsense_says_so_or_serves() {
    let learned = || Freshness::stale_reads(0.01).unwrap();
    let mut all = Vec::new();
    for time in TIMES {
        all.push(("ttl", plain().freshness(Freshness::fixed_ttl(time))));
        all.push(("max_ttl", plain().freshness(learned().max_ttl(time))));
        all.push(("min_ttl", plain().freshness(learned().max_ttl(Duration::MAX).min_ttl(time))));
        all.push(("starting_ttl", plain().freshness(learned().starting_ttl(time))));
        all.push(("older_than", plain().freshness(learned().older_than(time))));
        all.push(("stale_if_error", plain().stale_if_error(time)));
        all.push(("error_pause", plain().error_pause(time)));
    }
    for float in FLOATS {
        all.push(("jitter", plain().jitter(float)));
        all.push(("ahead", plain().refresh(Refresh::Ahead(float))));
        all.push(("β", plain().refresh(Refresh::Early(float))));
        all.push(("rent", plain().freshness(learned().rent(float))));
        all.push(("refresh_ahead", plain().freshness(learned().refresh_ahead(float))));
    }
    let mut good = 0;
    for (setting, builder) in all {
        let plugin = match builder.admission("learned").build() {
            Ok(plugin) => plugin,
            Err(error) => {
                assert!(error.to_string().contains(setting), "{setting}: {error}");
                continue;
            }
        };
        serves(plugin, 100, setting);
        good += 1;
    }
    assert!(good > 30, "{good}");
    for capacity in [0, 1, u64::MAX] {
        serves(plain().admission("wtinylfu").build().unwrap(), capacity, "capacity");
        serves(plain().admission("learned").weigh(|_, _| u32::MAX).build().unwrap(), capacity, "weight");
    }
}

fn serves(plugin: Plugin<u64, u64>, capacity: u64, setting: &str) {
    let moka = moka::sync::Cache::<u64, Held<u64>>::builder().max_capacity(capacity).expire_after(plugin.expiry());
    let cache = sync::Cache::attach(moka.build(), plugin);
    for key in 0..300 {
        assert_eq!(cache.get_with(&(key % 7), move || Ok::<_, Infallible>(key % 7)).unwrap(), key % 7, "{setting}");
        if key % 50 == 0 {
            cache.changed(&(key % 7));
        }
    }
}
