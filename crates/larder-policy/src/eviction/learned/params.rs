//! What may be set of it.

use crate::params::Param;

/// Candidates that may come up again, at most.
pub(super) const MOST_KEPT: usize = 16;

pub(crate) const PARAMS: &[Param] = &[
    Param { name: "samples", default: 16.0, least: 1.0, most: 64.0, about: "residents drawn for each eviction" },
    Param {
        name: "kept",
        default: 4.0,
        least: 0.0,
        most: MOST_KEPT as f64,
        about: "candidates that come up again at the next",
    },
    Param {
        name: "focus",
        default: 8.0,
        least: 1.0,
        most: 64.0,
        about: "of so many drawn, the one worth least is watched: the model learns most where it decides; 1 learns from all alike",
    },
    Param {
        name: "ghosts",
        default: 4.5,
        least: 0.0,
        most: 64.0,
        about: "remembered keys, as a multiple of the residents",
    },
    Param {
        name: "labels",
        default: 8192.0,
        least: 16.0,
        most: 65536.0,
        about: "examples that may wait for their outcome",
    },
    Param { name: "rate", default: 0.08, least: 0.0, most: 1.0, about: "how fast the model learns; 0 keeps the prior" },
    Param {
        name: "prior",
        default: 1.0,
        least: 0.0,
        most: 1.0,
        about: "1 starts from what was learned offline, 0 from LRU whatever model is given",
    },
    Param {
        name: "guard",
        default: 1.0,
        least: 0.0,
        most: 1.0,
        about: "1 steps back to a classical rule while that does better; 0 never",
    },
    Param {
        name: "refuse",
        default: 1.0,
        least: 0.0,
        most: 1.0,
        about: "1 refuses newcomers worth less than who would leave for them; 0 lets everybody in",
    },
];
