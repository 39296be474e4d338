//! What comes of a read and of a load.

use std::any::Any;

use larder::{Error, ErrorKind, Found, Tier, Time};
use larder_policy::KeyHash;
use larder_policy::freshness::Audit;
use parking_lot::Mutex;

use crate::fences::{Before, Landing, Ticket};
use crate::held::Held;

/// What to do with a value that moka holds.
#[derive(Debug)]
pub(crate) enum Judged {
    Serve,
    /// Serve it, and load it anew meanwhile.
    Renew(Option<Audit>),
    /// Load it anew first.
    Reload,
}

/// Why a load leaves nothing in moka.
pub(crate) enum Passed<V> {
    /// Its value was not let in, or a write overtook it: it is for the readers alone.
    Unkept(Held<V>),
    Failed(Error),
    /// The entry to be loaded anew has left meanwhile.
    Gone,
}

/// What a load panicked with.
type Panic = Mutex<Box<dyn Any + Send>>;

/// What has come of a load of a key that moka did not hold. It goes to its reader, and to those who waited for it, as moka's error: values
/// come from moka alike whether it held them or somebody was waited for.
pub(crate) struct Landed<V> {
    pub(crate) key: KeyHash,
    pub(crate) ticket: Ticket,
    /// Or what it panicked with: its own reader's to go on with. Of those who waited another loads, however often; moka would give up.
    pub(crate) brought: Result<Result<Held<V>, Passed<V>>, Panic>,
}

/// What goes with a load of what moka has.
pub(crate) struct Course<'a> {
    /// From before moka was asked what it has: if the load fails, that is what is put back.
    pub(crate) before: Before,
    /// Why it took that out.
    pub(crate) failure: Option<Error>,
    /// Until what it put there is settled.
    pub(crate) landing: Option<Landing<'a>>,
}

/// An entry of moka's beside the one a reader saw.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    Same,
    /// Somebody has loaded or written it meanwhile.
    Newer,
    Gone,
}

impl<V: Clone> Passed<V> {
    /// What a reader gets whose load this was, or who waited for it.
    pub(crate) fn answer(&self, now: Time) -> Result<Found<V>, Error> {
        match self {
            Self::Unkept(held) => Ok(held.clone().found(Tier::Origin, now)),
            Self::Failed(error) => Err(error.clone()),
            Self::Gone => Err(Error::new(ErrorKind::Loader, "the entry left while it was loaded anew")),
        }
    }
}
