//! Lifetimes on trial: what each arm's values live by.

use larder_policy::experiment::{Arm, Settings, fresh_enough};
use larder_policy::freshness::Freshness;

use super::control::Control;
use crate::{Error, ErrorKind};

/// By how much loads of the origin may rise where the cache is to be fresher than its control, which is what the loads are for.
const FRESHER: f64 = 1.0;

/// The cache's lifetimes on trial beside its control's.
#[derive(Clone, Debug)]
pub(crate) struct Trial {
    own: Freshness,
    pub(crate) control: Freshness,
}

impl Trial {
    /// What `control` tries of a cache with this freshness, if lifetimes at all; and the settings with what they are held to.
    ///
    /// # Errors
    /// [`ErrorKind::Config`]: the cache's lifetimes are not chosen by a share of stale reads, the control has both a lifetime and an objective, or an
    /// objective for a prefix that has none in the cache.
    pub(crate) fn of(control: &Control, own: &Freshness) -> Result<(Settings, Option<Self>), Error> {
        let mut settings = control.settings.clone();
        let wrong = |what: String| Err(Error::new(ErrorKind::Config, what));
        let other = match (control.ttl, &control.freshness) {
            (None, None) => return Ok((settings, None)),
            (Some(_), Some(_)) => {
                return wrong("a control has either a ttl or a freshness of its own: take one away".into());
            }
            // The cache's objective is set aside, and answers are audited for it all the same.
            (Some(ttl), None) => Freshness::fixed_ttl(ttl),
            (None, Some(freshness)) => freshness.clone(),
        };
        let Some(objective) = own.objective() else {
            let what = "a control with lifetimes of its own tries lifetimes that keep to a share of stale reads: give the cache such an \
                        objective (Freshness::stale_reads, freshness.objective), or the control no ttl and no freshness";
            return wrong(what.into());
        };
        if !other.is_rule() {
            if let Some(strange) = other.prefixes().find(|prefix| own.prefixes().all(|own| own != *prefix)) {
                return wrong(format!(
                    "the control has an objective for keys that begin with '{strange}', and the cache has none: give it one too"
                ));
            }
            let usual = Settings::new(1, 0).guardrails.origin_loads;
            let loads = &mut settings.guardrails.origin_loads;
            if other.objective().is_some_and(|laxer| laxer > objective) && *loads == usual {
                *loads = FRESHER;
            }
        }
        settings.lifetimes = true;
        settings.guardrails.stale.get_or_insert(fresh_enough(objective));
        Ok((settings, Some(Self { own: own.clone(), control: other })))
    }

    pub(crate) fn arm(&self, arm: Arm) -> &Freshness {
        match arm {
            Arm::Control => &self.control,
            Arm::Treatment => &self.own,
        }
    }
}
