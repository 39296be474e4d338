//! Tenants: a cache each, so that none can take another's memory, loads or keys.

use std::collections::HashMap;
use std::fmt;

use parking_lot::{ReentrantMutex, RwLock};

use crate::builder::Builder;
use crate::cache::Cache;
use crate::key::Key;
use crate::remote::names;
use crate::{Error, ErrorKind};

type Make<K, V> = Box<dyn Fn(&str) -> Builder<K, V> + Send + Sync>;

/// A cache for each tenant, made when it is first asked for: with its own memory, its own limit on loads, its own objective, and
/// its own namespace in a remote tier.
///
/// ```
/// use larder::{Cache, LoadLimit, Tenants};
///
/// // Each may load from the origin four at a time, and all together sixteen.
/// let all = LoadLimit::new(16);
/// let tenants: Tenants<u64, String> = Tenants::new("orders", 100, move |tenant| {
///     let entries = if tenant == "acme" { 100_000 } else { 1_000 };
///     Cache::builder().capacity(entries).loads(4).load_limit(all.clone())
/// })?;
/// let acme = tenants.of("acme")?;
/// # Ok::<(), larder::Error>(())
/// ```
pub struct Tenants<K, V>
where
    K: Key + Clone,
    V: Clone + Send + Sync + 'static,
{
    name: String,
    most: usize,
    make: Make<K, V>,
    /// One cache is made at a time; `make` may ask for another tenant's.
    making: ReentrantMutex<()>,
    caches: RwLock<HashMap<String, Cache<K, V>>>,
}

impl<K, V> Tenants<K, V>
where
    K: Key + Clone,
    V: Clone + Send + Sync + 'static,
{
    /// At most so many tenants; `make` gives each one's settings, but for the name and the namespace, which are `name` and the tenant's. It may ask
    /// for another tenant's cache.
    ///
    /// # Errors
    /// [`ErrorKind::Config`]: the name has other characters than letters, digits, `.`, `_` and `-`.
    pub fn new(
        name: impl Into<String>,
        most: usize,
        make: impl Fn(&str) -> Builder<K, V> + Send + Sync + 'static,
    ) -> Result<Self, Error> {
        let name = name.into();
        if !names::is_namespace(&name) {
            let what = format!("tenants cannot be called '{name}': letters, digits, '.', '_', '-'");
            return Err(Error::new(ErrorKind::Config, what));
        }
        Ok(Self { name, most, make: Box::new(make), making: ReentrantMutex::default(), caches: RwLock::default() })
    }

    /// The cache of a tenant.
    ///
    /// # Errors
    /// [`ErrorKind::BadKey`] if the tenant's name has other characters than a cache's; [`ErrorKind::Overloaded`] if it would be one too
    /// many; [`ErrorKind::Config`] if its settings are wrong.
    pub fn of(&self, tenant: &str) -> Result<Cache<K, V>, Error> {
        if let Some(cache) = self.caches.read().get(tenant) {
            return Ok(cache.clone());
        }
        // A tenant is no tenant's prefix: the separator cannot be in either name.
        if tenant.contains("--") || tenant.starts_with('-') || tenant.ends_with('-') || !names::is_namespace(tenant) {
            let what = "a tenant's name has letters, digits, '.', '_' and single '-' within, and nothing else";
            return Err(Error::new(ErrorKind::BadKey, what));
        }
        let _making = self.making.lock();
        if let Some(cache) = self.caches.read().get(tenant) {
            return Ok(cache.clone());
        }
        self.has_room(self.caches.read().len())?;
        // No lock on the caches meanwhile: this is the user's code, which may ask for them.
        let cache = (self.make)(tenant).apart(format!("{}--{tenant}", self.name)).build()?;
        let mut caches = self.caches.write();
        self.has_room(caches.len())?;
        caches.insert(tenant.to_owned(), cache.clone());
        Ok(cache)
    }

    fn has_room(&self, tenants: usize) -> Result<(), Error> {
        let what = || format!("there are {tenants} tenants, as many as are allowed");
        if tenants < self.most { Ok(()) } else { Err(Error::new(ErrorKind::Overloaded, what())) }
    }

    /// Lets go of a tenant's cache; what others hold of it goes on. Whether there was one.
    pub fn remove(&self, tenant: &str) -> bool {
        let cache = self.caches.write().remove(tenant);
        // Dropped when the lock is free: its values' drops are the user's code.
        cache.is_some()
    }

    /// The tenants there are, in no order.
    pub fn names(&self) -> Vec<String> {
        self.caches.read().keys().cloned().collect()
    }
}

impl<K, V> fmt::Debug for Tenants<K, V>
where
    K: Key + Clone,
    V: Clone + Send + Sync + 'static,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tenants").field("name", &self.name).field("tenants", &self.caches.read().len()).finish()
    }
}
