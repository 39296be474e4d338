//! An objective at work: who steers it, who measures it, and what an audit says of both.

use crate::freshness::Freshness;
use crate::freshness::audit::{Audit, Audits, Outcome};
use crate::freshness::controller::Controller;

/// An objective at work.
pub(in crate::freshness) struct Group {
    pub(in crate::freshness) freshness: Freshness,
    pub(in crate::freshness) controller: Controller,
    pub(in crate::freshness) audits: Audits,
    pub(super) most_stale: f64,
    /// Everything lives by this rule for now, whatever the objective.
    pub(in crate::freshness) suspended: Option<Freshness>,
    /// The origin says when values change.
    pub(super) tells_times: bool,
}

/// What the origin said of a hit drawn for an audit.
pub(super) struct Answer {
    pub(super) changed: bool,
    /// The chance of that, as foreseen.
    pub(super) foreseen: f64,
    /// Seconds since it was known to be good, and since it last changed, where that is told.
    pub(super) age: f64,
    pub(super) outdated: Option<f64>,
}

impl Group {
    pub(super) fn new(freshness: Freshness) -> Self {
        // Without a share there is nothing to steer.
        let share = freshness.objective().unwrap_or(1.0);
        let (controller, audits, most_stale) = (Controller::new(share), Audits::new(share), most_stale(share));
        Self { freshness, controller, audits, most_stale, suspended: None, tells_times: false }
    }

    /// What a read that is foreseen to be stale with probability `stale` is charged: by what audits found of such forecasts, for most values served
    /// are never asked for again, and nothing else corrects what they are charged.
    #[inline]
    pub(super) fn charge(&self, stale: f64) -> f64 {
        stale * self.audits.bias()
    }

    /// Of the reads of a life, charged as `served` stale ones, its load tells of `known`.
    pub(super) fn told(&mut self, served: f64, known: f64) {
        let known = self.audits.recounted(served, known);
        self.controller.correct(served, known);
    }

    /// What the origin said of what was served and drawn for `audit`.
    pub(super) fn found(&mut self, audit: Audit, answer: Answer) {
        let Answer { changed, foreseen, age, outdated } = answer;
        let grace = self.freshness.grace.as_secs_f64();
        let is_told = grace == 0.0 || self.tells_times;
        let outcome = match outdated {
            _ if !changed || (grace > 0.0 && age <= grace) => Outcome::FRESH,
            _ if grace == 0.0 => Outcome::STALE,
            Some(outdated) if outdated > grace => Outcome::STALE,
            // By its last change it is not; an earlier one, which that hides, is foreseen.
            Some(_) => {
                let chance = audit.stale.unwrap_or(1.0);
                Outcome { least: 0.0, chance, most: chance }
            }
            None => {
                let chance = audit.stale.map_or(1.0, |stale| (stale / foreseen.max(1e-12)).min(1.0));
                Outcome { least: 0.0, chance, most: 1.0 }
            }
        };
        // Without a time the forecast is compared with what was seen, which is whether it changed at all: not with what itself makes of that.
        let seen = (foreseen, if changed { 1.0 } else { 0.0 });
        let compared = audit.stale.map(|stale| if is_told { (stale, outcome.chance) } else { seen });
        let charged = audit.stale.filter(|_| is_told && self.suspended.is_none()).map(|stale| self.charge(stale));
        self.audits.found(audit, outcome, compared);
        if let Some(charged) = charged {
            self.controller.correct(charged, outcome.chance);
        }
    }
}

/// The greatest chance of being stale that is ever served.
pub(super) fn most_stale(share: f64) -> f64 {
    (50.0 * share).clamp(0.2, 0.7)
}
