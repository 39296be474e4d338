//! All settings of a cache that are plain data; from code, or from TOML.

#[cfg(feature = "config")]
mod raw;
#[cfg(feature = "config")]
mod scalar;

use std::time::Duration;

use larder_policy::Capacity;

use crate::key::KeyRules;
use crate::prices::Prices;
use crate::proof::Control;
use crate::remote::TierConfig;
use crate::rules::Rules;
use crate::sharing::Sharing;

/// What a [`Builder`](crate::Builder) can be told without code: everything but stores, loaders and functions. `larder.toml` in the
/// repository shows every setting with its default.
///
/// ```
/// use larder::{Cache, Config};
///
/// let text = r#"
///     [cache]
///     capacity = 50_000
///     stale_if_error = "10m"
///
///     [cache.freshness]
///     objective = "1%"
///     max_ttl = "1h"
///
///     [sessions]
///     capacity = 1_000
/// "#;
/// let prices: Cache<String, u64> = Cache::builder().config(Config::from_toml(text, "cache")?).build()?;
/// let sessions: Cache<u64, String> = Cache::builder().config(Config::from_toml(text, "sessions")?).build()?;
/// # Ok::<(), larder::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Config {
    /// See [`Builder::name`](crate::Builder::name).
    pub name: String,
    /// In entries or bytes; the one setting without a default.
    pub capacity: Option<Capacity>,
    /// See [`Builder::policy`](crate::Builder::policy).
    pub policy: String,
    /// See [`Builder::control`](crate::Builder::control).
    pub control: Control,
    /// See [`Builder::prices`](crate::Builder::prices).
    pub prices: Prices,
    /// How it behaves.
    pub rules: Rules,
    /// In how many parts the memory is locked; by the number of processors where none is given.
    pub segments: Option<usize>,
    /// At most so many loads at once.
    pub loads: usize,
    /// Which keys are accepted by the remote tier.
    pub key_rules: KeyRules,
    /// How the remote tier is used, where there is one.
    pub tier: TierConfig,
    /// See [`Builder::lease`](crate::Builder::lease).
    pub lease: Option<Duration>,
    /// When instances look for what others learned and publish, where they share it.
    pub sharing: Sharing,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            name: "cache".into(),
            capacity: None,
            policy: "learned".into(),
            control: Control::default(),
            prices: Prices::default(),
            rules: Rules::default(),
            segments: None,
            loads: 1024,
            key_rules: KeyRules::default(),
            tier: TierConfig::default(),
            lease: None,
            sharing: Sharing::default(),
        }
    }
}

#[cfg(feature = "config")]
impl Config {
    /// The settings in the table `table` of a TOML document; other tables may be there and are not looked at.
    ///
    /// # Errors
    /// [`ErrorKind::Config`](crate::ErrorKind::Config), naming the line, the key, and what to write instead.
    pub fn from_toml(text: &str, table: &str) -> Result<Self, crate::Error> {
        raw::Table::parse(text, table)?.check(text, table)
    }
}
