//! Who may enter.

use crate::eviction::{Arrival, Setup};
use crate::params::Param;
use crate::{Access, KeyHash};

/// Decides whether a newcomer is worth a place.
pub trait Admission: Send {
    /// Sees every lookup, and whether it hit.
    fn record(&mut self, access: &Access, hit: bool);

    /// Whether the newcomer may enter. `victim` would leave for it; `None` while there is room. Asked once for each
    /// newcomer.
    fn admit(&mut self, newcomer: &Arrival, victim: Option<KeyHash>) -> bool;

    /// The capacity is now `capacity`, in units of weight; `objects` is the most residents there can be, when known.
    fn on_resize(&mut self, capacity: u64, objects: Option<usize>) {
        let _ = (capacity, objects);
    }

    /// Bytes allocated for metadata.
    fn bytes(&self) -> usize;
}

/// A registered admission policy.
#[derive(Debug)]
pub struct AdmissionEntry {
    /// Its name on the command line and in configuration.
    pub name: &'static str,
    /// One line for help texts.
    pub about: &'static str,
    /// Where it was published.
    pub source: &'static str,
    /// Its parameters with their defaults and ranges.
    pub params: &'static [Param],
    /// Builds it; `None` admits everything, at no cost.
    pub build: fn(&Setup<'_>) -> Option<Box<dyn Admission>>,
}

mod adaptsize;
mod size;
mod tinylfu;

/// Every admission policy, in the order help texts show them.
pub static REGISTRY: &[AdmissionEntry] = &[
    AdmissionEntry { name: "always", about: "everybody enters", source: "baseline", params: &[], build: |_| None },
    AdmissionEntry {
        name: "tinylfu",
        about: "whoever was asked for more often than the victim enters",
        source: "Einziger et al., ACM TOS 2017",
        params: tinylfu::PARAMS,
        build: |setup| Some(Box::new(tinylfu::TinyLfu::new(setup))),
    },
    AdmissionEntry {
        name: "size",
        about: "nothing larger than a limit enters",
        source: "Abrams et al., 1995",
        params: size::PARAMS,
        build: |setup| Some(Box::new(size::SizeThreshold::new(setup))),
    },
    AdmissionEntry {
        name: "adaptsize",
        about: "the smaller, the likelier it enters; the scale follows a model",
        source: "Berger et al., NSDI 2017",
        params: adaptsize::PARAMS,
        build: |setup| Some(Box::new(adaptsize::AdaptSize::new(setup))),
    },
];
