//! Instances find each other: each registers its dashboard's address where all look, and follows whoever is registered.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use super::State;
use super::address::Address;
use crate::registry::Registry;
use crate::remote::{Name, names};
use crate::{Error, ErrorKind};

/// The most a call of the registry may take: nobody waits for it but the task.
const PATIENCE: Duration = Duration::from_secs(2);
/// A registration lasts for so many looks: as many may fail in a row before the others forget the instance.
const LASTS: u32 = 5;
/// Before the first answer of a registry that is still being connected to it is asked so many times as often.
const AT_FIRST: u32 = 8;
/// So many failures in a row are told.
const TOLD: u32 = 3;
/// The most instances that are followed.
const MOST: usize = 64;

/// How a dashboard finds those of the service's other instances, and is found by them, without a list of addresses: all register in one
/// place, such as the service's Redis. Who comes appears on the page; who leaves goes, and so does within five looks whoever is killed.
///
/// What the registry tells is not trusted: it is followed as far as it is an address, by requests for `/report`, and for 64 instances.
/// While the registry fails, those known so far are followed; once it answers again they have five looks' time to come back.
///
/// Registered is where the dashboard listens, unless something else is [advertised](Self::advertised): one on loopback is found by those on
/// its machine alone.
#[derive(Clone)]
pub struct Discovery {
    registry: Arc<dyn Registry>,
    name: Name,
    presence: Presence,
    every: Duration,
}

/// What an instance says of itself.
#[derive(Clone, Debug)]
enum Presence {
    /// Where it listens.
    Listening,
    /// Where it is reached by the others.
    At(Address),
    /// Nothing.
    Hidden,
}

impl Discovery {
    /// By way of `registry`, among those who use `namespace` there: that of the service's cache, or any that its instances have in common.
    ///
    /// # Errors
    /// [`ErrorKind::Config`]: no namespace may be called so.
    pub fn new(registry: impl Registry, namespace: &str) -> Result<Self, Error> {
        if !names::is_namespace(namespace) {
            let what = format!("'{namespace}' is no namespace: use 1 to 64 characters out of a-z A-Z 0-9 . _ -");
            return Err(Error::new(ErrorKind::Config, what));
        }
        let (name, every) = (names::dashboards(namespace), Duration::from_secs(2));
        Ok(Self { registry: Arc::new(registry), name, presence: Presence::Listening, every })
    }

    /// Registers this host and port instead of those it listens on: those by which the other instances reach it. Its host is one of
    /// the [names](super::DashboardConfig::hosts) it answers to.
    ///
    /// # Errors
    /// [`ErrorKind::Config`]: it is no `host:port`.
    pub fn advertised(self, address: &str) -> Result<Self, Error> {
        Ok(Self { presence: Presence::At(Address::parse(address)?), ..self })
    }

    /// Follows the others without being followed: a page that has no cache of its own.
    #[must_use]
    pub fn hidden(self) -> Self {
        Self { presence: Presence::Hidden, ..self }
    }

    /// How often to look, and to renew what was registered for five times as long; each 2 seconds unless told otherwise, at least 10 ms.
    #[must_use]
    pub fn every(self, every: Duration) -> Self {
        Self { every: every.max(Duration::from_millis(10)), ..self }
    }

    /// What to register for a dashboard that listens there.
    pub(super) fn own(&self, listening: SocketAddr) -> Result<Option<Address>, Error> {
        match &self.presence {
            Presence::Hidden => Ok(None),
            Presence::At(address) => Ok(Some(address.clone())),
            Presence::Listening => {
                let own = Address::try_from(listening).map_err(|error| {
                    let what =
                        format!("{listening} tells the other instances nothing: name one with Discovery::advertised");
                    Error::caused(ErrorKind::Config, what, error)
                })?;
                Ok(Some(own))
            }
        }
    }

    /// Registers `own`, and tells who is registered beside it.
    async fn round(&self, own: Option<&Address>) -> Result<Vec<Address>, Error> {
        if let Some(own) = own {
            within(self.registry.register(&self.name, own.text(), self.every * LASTS)).await?;
        }
        let found = within(self.registry.registered(&self.name)).await?;
        Ok(chosen(found.iter().map(|address| &**address), own))
    }

    /// Registers and follows, for ever.
    async fn rounds(&self, state: &State, own: Option<&Address>) -> ! {
        let (mut known, mut failed, mut grace, mut has_answered) = (Vec::new(), 0, 0, false);
        loop {
            let done = self.round(own).await;
            state.peers.registry_says(done.as_ref().err().map(ToString::to_string));
            match done {
                Ok(mut found) => {
                    // A registry that was gone may have forgotten all: they are about to say again where they are.
                    if grace > 0 {
                        found.append(&mut known);
                        found = some(found);
                    }
                    known = found;
                    state.peers.follow(&known);
                    (failed, grace, has_answered) = (0, u32::saturating_sub(grace, 1), true);
                }
                Err(error) => {
                    (failed, grace) = (failed + 1, LASTS);
                    if failed == TOLD {
                        tracing::warn!(%error, "instances cannot be looked up for now: those known are followed");
                    }
                }
            }
            sleep(if has_answered { self.every } else { self.every / AT_FIRST }).await;
        }
    }
}

/// Registers and follows until stopped, then leaves.
pub(super) async fn run(
    state: Arc<State>,
    discovery: Discovery,
    own: Option<Address>,
    mut stopped: watch::Receiver<bool>,
) {
    tokio::select! {
        never = discovery.rounds(&state, own.as_ref()) => never,
        _ = stopped.wait_for(|stop| *stop) => {}
    }
    if let Some(own) = own
        && let Err(error) = within(discovery.registry.withdraw(&discovery.name, own.text())).await
    {
        tracing::debug!(%error, "the dashboard's address runs out by itself");
    }
}

/// Whom to follow of what a registry tells: addresses of others, in order, so that it is the same ones each time.
pub(super) fn chosen<'a>(found: impl Iterator<Item = &'a [u8]>, own: Option<&Address>) -> Vec<Address> {
    let addresses = found.filter_map(|bytes| Address::parse(str::from_utf8(bytes).ok()?).ok());
    some(addresses.filter(|address| Some(address) != own).collect())
}

/// The first of them, each once.
fn some(mut addresses: Vec<Address>) -> Vec<Address> {
    addresses.sort();
    addresses.dedup();
    addresses.truncate(MOST);
    addresses
}

async fn within<T>(call: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    let silent = || Error::new(ErrorKind::Timeout, format!("the registry did not answer within {PATIENCE:?}"));
    timeout(PATIENCE, call).await.unwrap_or_else(|_| Err(silent()))
}

impl fmt::Debug for Discovery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, presence, every, .. } = self;
        f.debug_struct("Discovery")
            .field("name", name)
            .field("presence", presence)
            .field("every", every)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_registered_is_followed_as_far_as_it_is_an_address() {
        let own = Address::parse("10.0.0.1:1").unwrap();
        let told = ["10.0.0.3:1", "http://evil/", "10.0.0.1:1", "\u{0}", "10.0.0.2:1", "HOST:1", "host:1"];
        let found = told.iter().map(|text| text.as_bytes()).chain([&b"\xff:1"[..]]);
        let texts: Vec<_> = chosen(found, Some(&own)).iter().map(ToString::to_string).collect();
        assert_eq!(texts, ["10.0.0.2:1", "10.0.0.3:1", "host:1"]);
        let many: Vec<_> = (0..200).map(|at| format!("host-{at}:1")).collect();
        let some = chosen(many.iter().map(|text| text.as_bytes()), None);
        let again = chosen(many.iter().rev().map(|text| text.as_bytes()), None);
        assert_eq!((some.len(), &some), (MOST, &again));
    }

    #[test]
    fn a_wrong_setting_says_what_to_do() {
        let discovery = || Discovery::new(crate::remote::InProcess::new(1 << 20), "users");
        let everywhere = SocketAddr::new([0, 0, 0, 0].into(), 9465);
        let error = discovery().unwrap().own(everywhere).unwrap_err();
        assert!(error.to_string().contains("Discovery::advertised"), "{error}");
        assert!(discovery().unwrap().hidden().own(everywhere).unwrap().is_none());
        let named = discovery().unwrap().advertised("cache-1.internal:80").unwrap();
        assert_eq!(named.own(everywhere).unwrap().unwrap().to_string(), "cache-1.internal:80");
        assert!(discovery().unwrap().advertised("http://cache-1").unwrap_err().to_string().contains("host:port"));
        let error = Discovery::new(crate::remote::InProcess::new(1 << 20), "a:b").unwrap_err();
        assert!(error.to_string().contains("'a:b' is no namespace"), "{error}");
    }
}
