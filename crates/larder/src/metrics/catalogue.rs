//! Every metric of a cache: its name, kind, unit, labels and meaning.

use metrics::Unit;

/// A metric: one row of the catalogue.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Metric {
    /// Its name, as scrapes show it.
    pub name: &'static str,
    /// What it is.
    pub kind: Kind,
    /// What it counts in.
    pub unit: Unit,
    /// Its labels beside `cache`, each with the values it can have.
    pub labels: &'static [(&'static str, &'static str)],
    /// What it means.
    pub help: &'static str,
}

/// What a metric is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only grows, while the process lives.
    Counter,
    /// What is so now.
    Gauge,
    /// Of short times: from 128 ns to 8.6 s, each bound twice the one before, or four or eight times where hardly any read is:
    /// slower than memory and faster than a network, or beyond two seconds.
    Latency,
    /// Of times that a network takes: the same from 65 µs on.
    Wait,
    /// Of long times: from 17 ms to 13 days, each bound four times the one before.
    Span,
}

impl Kind {
    /// The buckets' bounds that fit a histogram, in seconds; none where it is no histogram. They are bounds of the
    /// buckets in which the cache notes times.
    pub fn bounds(self) -> Vec<f64> {
        let seconds = |power| 2_f64.powi(power) / 1e9;
        match self {
            Self::Counter | Self::Gauge => Vec::new(),
            Self::Latency => (7..12).chain([14]).chain(16..32).chain([33]).map(seconds).collect(),
            Self::Wait => (16..32).chain([33]).map(seconds).collect(),
            Self::Span => (24..=50).step_by(2).map(seconds).collect(),
        }
    }

    /// The word for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Latency | Self::Wait | Self::Span => "histogram",
        }
    }
}

impl Metric {
    /// Any metric.
    pub const fn new(
        name: &'static str,
        kind: Kind,
        unit: Unit,
        labels: &'static [(&'static str, &'static str)],
        help: &'static str,
    ) -> Self {
        Self { name, kind, unit, labels, help }
    }

    /// A number of things that happened.
    pub const fn counter(
        name: &'static str,
        labels: &'static [(&'static str, &'static str)],
        help: &'static str,
    ) -> Self {
        Self::new(name, Kind::Counter, Unit::Count, labels, help)
    }

    /// What is so now, without labels of its own.
    pub const fn gauge(name: &'static str, unit: Unit, help: &'static str) -> Self {
        Self::new(name, Kind::Gauge, unit, &[], help)
    }

    /// With labels beside `cache`.
    const fn with(self, labels: &'static [(&'static str, &'static str)]) -> Self {
        Self { labels, ..self }
    }
}

const TIERS: &[(&str, &str)] = &[("tier", "`l1` this process's memory, `l2` the remote tier, `origin`")];

const PREFIX: &[(&str, &str)] =
    &[("prefix", "how the keys begin that have an objective of their own; none for all others")];

/// Every metric of a cache. All carry the label `cache`, its name.
pub const CATALOGUE: &[Metric] = &[
    Metric::counter(
        "larder_gets_total",
        &[
            ("tier", "`l1`, `l2`"),
            (
                "arm",
                "who decides in the key's part of the memory: the cache's own `policy`, or its `control`. A control that only \
                 stands beside it has no reads; what it would have hit is `larder_experiment_hit_ratio`",
            ),
            ("result", "`hit`, `miss`; `stale` in `l1`: served beyond its time in an emergency"),
        ],
        "Reads of a tier by what came of them.",
    ),
    Metric::counter(
        "larder_loads_total",
        &[("result", "`found`, `absent`, `error`")],
        "Loads from the origin: for readers, renewals and audits.",
    ),
    Metric::counter("larder_coalesced_total", &[], "Readers that waited for somebody else's load."),
    Metric::counter("larder_refreshes_total", &[], "Loads that renew what is still served."),
    Metric::counter("larder_audits_total", &[], "Hits checked at the origin to measure the stale rate."),
    Metric::counter(
        "larder_evictions_total",
        &[("cause", "`size` to make room, `expired`, `removed` with its key, `cleared` with everything")],
        "Entries that left the memory.",
    ),
    Metric::counter(
        "larder_admissions_total",
        &[(
            "decision",
            "`admitted`, `renewed` a resident; not kept: `refused` by the policy, `too_heavy`, `fenced` by a write \
             meanwhile, `outrun` by a newer version",
        )],
        "Values on their way into the memory.",
    ),
    Metric::counter("larder_writes_total", &[], "Values the service wrote."),
    Metric::counter(
        "larder_invalidations_total",
        &[("source", "`local` by this process, `remote` heard from another")],
        "Keys removed or reported as changed.",
    ),
    Metric::counter(
        "larder_epoch_bumps_total",
        &[("cause", "`clear`, `doubt`: messages may have been lost, `tags`: too many were removed to tell apart")],
        "Times everything, or everything with a tag, became void or doubtful.",
    ),
    Metric::counter(
        "larder_prewarm_keys_total",
        &[("result", "`hit`, `left` without a hit, `untracked`")],
        "Keys warmed ahead of their readers, once their fate is known.",
    ),
    Metric::gauge("larder_entries", Unit::Count, "Entries resident."),
    Metric::gauge(
        "larder_capacity_entries",
        Unit::Count,
        "The most entries there may be, where the capacity is in entries.",
    ),
    Metric::gauge("larder_weight_bytes", Unit::Bytes, "What the entries weigh, where the capacity is in bytes."),
    Metric::gauge("larder_capacity_bytes", Unit::Bytes, "The most they may weigh, where the capacity is in bytes."),
    Metric::gauge(
        "larder_memory_hourly_cost",
        Unit::Count,
        "What the capacity costs an hour, in the currency of the prices; none of the costs without `Builder::prices`.",
    ),
    Metric::gauge("larder_load_cost", Unit::Count, "What a load from the origin costs."),
    Metric::gauge(
        "larder_cheapest_size_ratio",
        Unit::Count,
        "The size that would cost least, as a multiple of the capacity, of those the control's ghosts look at.",
    ),
    Metric::gauge("larder_metadata_bytes", Unit::Bytes, "Memory held beside keys and values."),
    Metric::gauge("larder_uptime_seconds", Unit::Seconds, "Time since the cache was built."),
    Metric::gauge("larder_info", Unit::Count, "Always 1.").with(&[
        ("policy", "the policy as it was given"),
        ("control", "the policy it is measured against; empty for none"),
        ("version", "larder's"),
    ]),
    Metric::new(
        "larder_get_duration_seconds",
        Kind::Latency,
        Unit::Seconds,
        TIERS,
        "Reads by who answered, one in 64, drawn.",
    ),
    Metric::new(
        "larder_load_duration_seconds",
        Kind::Wait,
        Unit::Seconds,
        &[],
        "Loads from the origin that were answered.",
    ),
    Metric::new("larder_ttl_seconds", Kind::Span, Unit::Seconds, &[], "Lifetimes given to values when they came."),
    Metric::new("larder_hit_age_seconds", Kind::Span, Unit::Seconds, &[], "Age of what hits served, one in 64, drawn."),
    Metric::new(
        "larder_eviction_age_seconds",
        Kind::Span,
        Unit::Seconds,
        &[],
        "Age of entries that made room for others.",
    ),
    Metric::new(
        "larder_residence_seconds",
        Kind::Span,
        Unit::Seconds,
        &[],
        "Time in memory of entries that made room for others.",
    ),
    Metric::gauge(
        "larder_stale_ratio",
        Unit::Count,
        "Share of reads served stale, measured by audits since the cache was built. Where values may be outdated for a while and no load tells when they \
         changed, a model says which of those found changed count; the interval holds without it. Reads served beyond their time because the origin failed are no part of it.",
    )
    .with(PREFIX),
    Metric::gauge("larder_stale_lower_ratio", Unit::Count, "Lower end of its interval of 95 %.").with(PREFIX),
    Metric::gauge("larder_stale_upper_ratio", Unit::Count, "Upper end of its interval of 95 %.").with(PREFIX),
    Metric::gauge(
        "larder_stale_recent_ratio",
        Unit::Count,
        "Share of reads served stale, measured by audits of the last hour, as `larder_stale_ratio`.",
    )
    .with(PREFIX),
    Metric::gauge("larder_stale_recent_lower_ratio", Unit::Count, "Lower end of its interval of 95 %.").with(PREFIX),
    Metric::gauge("larder_stale_recent_upper_ratio", Unit::Count, "Upper end of its interval of 95 %.").with(PREFIX),
    Metric::gauge("larder_stale_objective_ratio", Unit::Count, "Share of reads that may be stale.").with(PREFIX),
    Metric::gauge(
        "larder_flipping_keys",
        Unit::Count,
        "Keys whose values alternate, so that any is as good as another; their reads are no part of the objective.",
    )
    .with(&[("class", "what stands before the first `:` or `/` of the keys, where there have been any; empty where there is neither; of 16 classes, and of all `(others)`")]),
    Metric::gauge("larder_breaker_state", Unit::Count, "The remote tier's breaker: 0 closed, 1 half-open, 2 open."),
    Metric::gauge("larder_l2_in_flight", Unit::Count, "Calls of the remote tier under way."),
    Metric::gauge("larder_l2_queued_fills", Unit::Count, "Fills of the remote tier that wait or are being sent."),
    Metric::gauge(
        "larder_l2_pending_invalidations",
        Unit::Count,
        "Invalidations the remote tier has not heard of yet.",
    ),
    Metric::counter(
        "larder_l2_events_total",
        &[("event", "the fields of `larder::remote::Counts`, such as `failed`, `timed_out`, `refused`, `opened`")],
        "What happened at the remote tier.",
    ),
    Metric::counter(
        "larder_recorder_events_total",
        &[("result", "`written`, `dropped`: the queue or the file was full, or the sink did not keep up")],
        "Events of the cache's recorder; where several caches share it, each tells all.",
    ),
    Metric::new("larder_recorder_bytes_total", Kind::Counter, Unit::Bytes, &[], "Bytes of the recording so far."),
    Metric::gauge(
        "larder_write_behind_pending_writes",
        Unit::Count,
        "Writes in the write-behind log that the sink does not have yet.",
    ),
    Metric::gauge("larder_write_behind_pending_bytes", Unit::Bytes, "Bytes of these, as they lie in the log."),
    Metric::gauge(
        "larder_write_behind_oldest_seconds",
        Unit::Seconds,
        "How long the oldest of these has waited; 0 where none waits.",
    ),
    Metric::counter(
        "larder_write_behind_events_total",
        &[(
            "event",
            "what became of writes: `appended` to the log, `recovered` from it at the start, `flushed` to the sink, `coalesced` \
             with a later one to the key, `dead_lettered`: the sink refused them, `failed`: the disk did not take them, `lost` in a \
             damaged log; and attempts that were repeated: `retried` at the sink, `failed_syncs` of the disk",
        )],
        "What happened to the write-behind log since it was opened.",
    ),
    Metric::gauge(
        "larder_model_fallback_ratio",
        Unit::Count,
        "Parts of the memory that LRU ranks, for the model did worse.",
    ),
    Metric::counter("larder_model_retreats_total", &[], "Times the model had to step back."),
    Metric::gauge(
        "larder_model_loss_ratio",
        Unit::Count,
        "Log-loss of what the model said lately, each time before it learned what happened, over the loss of something simpler: below 1 \
         the model is better.",
    )
    .with(&[(
        "against",
        "`base_rate`, who knows how often entries are read and nothing else; `prior`, the model it began with or took over last",
    )]),
    Metric::gauge(
        "larder_model_calibration_error_ratio",
        Unit::Count,
        "How far the model's probabilities are off, on average (expected calibration error), of what it said lately.",
    ),
    Metric::gauge(
        "larder_model_drift_ratio",
        Unit::Count,
        "How far the part of the memory that is worst off is on its way to 1, where its model has foretold worse than the base rate for \
         so long that it begins anew as LRU.",
    ),
    Metric::counter("larder_model_drifts_total", &[], "Times a model drifted so far, and began anew."),
    Metric::gauge("larder_model_generation", Unit::Count, "The shared model in use here: its number."),
    Metric::gauge("larder_model_age_seconds", Unit::Seconds, "Time since it was published."),
    Metric::counter(
        "larder_model_loads_total",
        &[(
            "result",
            "`adopted` from another instance; `refused`: damaged, of another version or for other settings; `failed`: the \
             store could not be asked",
        )],
        "Looks for what other instances learned, by what came of them.",
    ),
    Metric::counter("larder_model_publishes_total", &[], "What this instance learned and published for the others."),
    Metric::gauge(
        "larder_experiment_state",
        Unit::Count,
        "The policy on trial: 0 baseline, 1 ramping, 2 adopted, 3 cooling down after a rollback.",
    ),
    Metric::counter("larder_experiment_rollbacks_total", &[], "Times the policy on trial was rolled back."),
    Metric::gauge("larder_experiment_treated_ratio", Unit::Count, "Parts of the memory that the policy on trial runs."),
    Metric::gauge(
        "larder_experiment_hit_ratio",
        Unit::Count,
        "Hit ratio of the parts that run the policy, and what the control would have hit there, over `larder_experiment_counted_seconds`. None of it, nor \
         of the effects, while the policy decides nowhere or nothing counts yet.",
    )
    .with(&[("arm", "`policy` on trial, `control`")]),
    Metric::gauge(
        "larder_experiment_effect_ratio",
        Unit::Count,
        "What the policy hits more than its control, as a share of reads: over `larder_experiment_counted_seconds`, not of late.",
    ),
    Metric::gauge(
        "larder_experiment_effect_lower_ratio",
        Unit::Count,
        "Lower end of its interval of 95 %, valid at all times.",
    ),
    Metric::gauge(
        "larder_experiment_effect_upper_ratio",
        Unit::Count,
        "Upper end of its interval of 95 %, valid at all times.",
    ),
    Metric::gauge(
        "larder_experiment_counted_seconds",
        Unit::Seconds,
        "For how long the gain has been counted: since the policy last changed sides anywhere, and the memory was turned over twice; and anew once it has \
         settled where it stays. While all fits into the memory, that does not begin.",
    ),
    Metric::gauge("larder_experiment_effective_keys", Unit::Count, "So many equally popular keys would tell as much."),
    Metric::gauge("larder_experiment_turnovers", Unit::Count, "How often the memory was turned over."),
    Metric::gauge(
        "larder_experiment_refusals",
        Unit::Count,
        "Reasons why nothing may be concluded; 0 where something may.",
    ),
    Metric::gauge(
        "larder_arms_hit_ratio",
        Unit::Count,
        "Hit ratio of the parts of the memory that an arm runs, where both do.",
    )
    .with(&[("arm", "`policy` on trial, `control`")]),
    Metric::gauge(
        "larder_arms_effect_ratio",
        Unit::Count,
        "What all traffic's hit ratio gains by the policy, told from those parts, over `larder_experiment_counted_seconds`. Not to be believed while there \
         are `larder_arms_refusals`.",
    ),
    Metric::gauge(
        "larder_arms_effect_lower_ratio",
        Unit::Count,
        "Lower end of its interval of 95 %, valid at all times.",
    ),
    Metric::gauge(
        "larder_arms_effect_upper_ratio",
        Unit::Count,
        "Upper end of its interval of 95 %, valid at all times.",
    ),
    Metric::gauge(
        "larder_arms_refusals",
        Unit::Count,
        "Reasons why nothing may be concluded from the arms, such as fewer than 8 parts in one of them; 0 where something may.",
    ),
    Metric::gauge(
        "larder_arms_origin_loads_change_ratio",
        Unit::Count,
        "By what share the policy has more loads of the origin a read than its control.",
    ),
    Metric::gauge(
        "larder_arms_p99_change_ratio",
        Unit::Count,
        "By what share the 99th percentile of its reads' time is longer.",
    ),
    Metric::gauge("larder_arms_stale_ratio", Unit::Count, "Share of an arm's answers that audits found stale.")
        .with(&[("arm", "`policy` on trial, `control`")]),
    Metric::gauge("larder_size_hit_ratio", Unit::Count, "Hit ratio the control would have with another capacity.")
        .with(&[("scale", "the multiple of the capacity")]),
];
