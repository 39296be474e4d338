//! A report as series: names, labels, numbers.

use larder_policy::Weigh;

use crate::report::{ControlReport, FreshnessReport, RemoteReport, Report};
use crate::stats::{Counts, StaleRate};
use crate::telemetry::Histogram;

/// A name, labels beside the cache's, and a number.
pub(super) type Series<T> = (&'static str, Vec<(&'static str, String)>, T);

fn of<T>(name: &'static str, number: T) -> Series<T> {
    (name, Vec::new(), number)
}

fn by<T>(name: &'static str, label: &'static str, value: impl Into<String>, number: T) -> Series<T> {
    (name, vec![(label, value.into())], number)
}

/// Classes that are told apart: their number has no other bound.
const CLASSES: usize = 16;

/// What only grows, always in the same order.
pub(super) fn counters(report: &Report) -> Vec<Series<u64>> {
    let (counts, warmed) = (&report.counts, &report.warmed);
    let mut series = vec![
        by("larder_loads_total", "result", "found", counts.loads - counts.absent),
        by("larder_loads_total", "result", "absent", counts.absent),
        by("larder_loads_total", "result", "error", counts.load_errors),
        of("larder_coalesced_total", counts.coalesced),
        of("larder_refreshes_total", counts.refreshes),
        of("larder_audits_total", counts.audits),
        by("larder_evictions_total", "cause", "size", counts.evicted),
        by("larder_evictions_total", "cause", "expired", counts.expired),
        by("larder_evictions_total", "cause", "removed", counts.removed),
        by("larder_evictions_total", "cause", "cleared", counts.cleared),
        by("larder_admissions_total", "decision", "admitted", counts.admitted),
        by("larder_admissions_total", "decision", "renewed", counts.renewed),
        by("larder_admissions_total", "decision", "refused", counts.refused - counts.too_heavy),
        by("larder_admissions_total", "decision", "too_heavy", counts.too_heavy),
        by("larder_admissions_total", "decision", "fenced", counts.fenced),
        by("larder_admissions_total", "decision", "outrun", counts.outrun),
        of("larder_writes_total", counts.writes),
        by("larder_invalidations_total", "source", "local", counts.removals),
        by("larder_invalidations_total", "source", "remote", counts.heard),
        by("larder_epoch_bumps_total", "cause", "clear", report.epochs.clears),
        by("larder_epoch_bumps_total", "cause", "doubt", report.epochs.doubts),
        by("larder_epoch_bumps_total", "cause", "tags", report.epochs.tags),
        by("larder_prewarm_keys_total", "result", "hit", warmed.hit),
        by("larder_prewarm_keys_total", "result", "left", warmed.left),
        by("larder_prewarm_keys_total", "result", "untracked", warmed.untracked),
    ];
    if let Some(remote) = &report.remote {
        // What came of reads is in `larder_gets_total`.
        let events = remote.counts.iter().filter(|(event, _)| !["hits", "misses"].contains(*event));
        series.extend(events.map(|(&event, &times)| by("larder_l2_events_total", "event", event, times)));
    }
    if let Some(sharing) = &report.sharing {
        let loads = [("adopted", sharing.adopted), ("refused", sharing.refused), ("failed", sharing.failed)];
        series.extend(loads.map(|(result, times)| by("larder_model_loads_total", "result", result, times)));
        series.push(of("larder_model_publishes_total", sharing.published));
    }
    series.extend(report.behind.iter().flat_map(|behind| {
        behind.counts.iter().map(|(&event, &times)| by("larder_write_behind_events_total", "event", event, times))
    }));
    if let Some(recorded) = report.recorder {
        series.push(by("larder_recorder_events_total", "result", "written", recorded.written));
        series.push(by("larder_recorder_events_total", "result", "dropped", recorded.dropped));
        series.push(of("larder_recorder_bytes_total", recorded.bytes));
    }
    let of_control = report.control.as_ref().map(|control| control.counts);
    series.extend(gets("policy", *counts - of_control.unwrap_or_default(), report.remote.is_some()));
    series.extend(of_control.into_iter().flat_map(|counts| gets("control", counts, report.remote.is_some())));
    series.extend(
        report.control.as_ref().map(|control| of("larder_experiment_rollbacks_total", u64::from(control.rollbacks))),
    );
    // Where it is not there from the start it comes last, so that the others keep their places.
    series.extend(report.model.into_iter().flat_map(|model| {
        [of("larder_model_retreats_total", model.retreats), of("larder_model_drifts_total", model.drifts)]
    }));
    series
}

/// Reads of the tiers in the parts of the memory that an arm runs.
fn gets(arm: &'static str, counts: Counts, has_remote: bool) -> impl Iterator<Item = Series<u64>> {
    let remote = [("l2", "hit", counts.remote_hits), ("l2", "miss", counts.remote_misses)];
    [
        ("l1", "hit", counts.hits),
        ("l1", "miss", counts.misses.saturating_sub(counts.stale)),
        ("l1", "stale", counts.stale),
    ]
    .into_iter()
    .chain(remote.into_iter().filter(move |_| has_remote))
    .map(move |(tier, result, number)| {
        let labels = [("tier", tier), ("arm", arm), ("result", result)].map(|(name, value)| (name, value.to_owned()));
        ("larder_gets_total", labels.into(), number)
    })
}

/// What is so now; infinite where an interval is.
pub(super) fn gauges(report: &Report) -> Vec<Series<f64>> {
    let control = report.control.as_ref().map_or("", |control| control.policy.as_str());
    let info = vec![
        ("policy", report.policy.clone()),
        ("control", control.to_owned()),
        ("version", env!("CARGO_PKG_VERSION").to_owned()),
    ];
    let mut series = vec![
        ("larder_info", info, 1.0),
        of("larder_entries", report.entries as f64),
        of("larder_metadata_bytes", report.metadata_bytes as f64),
        of("larder_uptime_seconds", report.uptime),
    ];
    if report.is_in_bytes {
        series.push(of("larder_weight_bytes", report.weight as f64));
        series.push(of("larder_capacity_bytes", report.capacity as f64));
    } else {
        series.push(of("larder_capacity_entries", report.capacity as f64));
    }
    if let Some(prices) = report.prices {
        let weigh = if report.is_in_bytes { Weigh::Bytes } else { Weigh::Objects };
        series.extend(
            prices.hour(report.capacity as f64, weigh, 0.0).map(|hour| of("larder_memory_hourly_cost", hour.memory)),
        );
        series.push(of("larder_load_cost", prices.load));
    }
    let FreshnessReport { objective, measured, recent, prefixes, flipping, .. } = &report.freshness;
    series.extend(of_freshness(None, *objective, [*measured, *recent]));
    series.extend(
        prefixes
            .iter()
            .flat_map(|own| of_freshness(Some(&own.prefix), Some(own.objective), [own.measured, own.recent])),
    );
    let (first, others) = flipping.split_at(flipping.len().min(CLASSES));
    let others: u64 = others.iter().map(|own| own.keys).sum();
    series.extend(first.iter().map(|own| by("larder_flipping_keys", "class", &own.class, own.keys as f64)));
    series.extend((others > 0).then(|| by("larder_flipping_keys", "class", "(others)", others as f64)));
    if let Some(model) = report.model {
        series.push(of("larder_model_fallback_ratio", 1.0 - model.on_duty as f64 / model.parts as f64));
        series.extend(model.loss.map(|loss| by("larder_model_loss_ratio", "against", "base_rate", loss)));
        series.extend(model.loss_to_prior.map(|loss| by("larder_model_loss_ratio", "against", "prior", loss)));
        series.extend(model.calibration_error.map(|error| of("larder_model_calibration_error_ratio", error)));
        series.push(of("larder_model_drift_ratio", model.drift));
    }
    if let Some(sharing) = &report.sharing {
        series.extend(sharing.generation.map(|generation| of("larder_model_generation", generation as f64)));
        series.extend(sharing.age.map(|age| of("larder_model_age_seconds", age)));
    }
    if let Some(behind) = &report.behind {
        series.push(of("larder_write_behind_pending_writes", behind.pending as f64));
        series.push(of("larder_write_behind_pending_bytes", behind.pending_bytes as f64));
        series.push(of("larder_write_behind_oldest_seconds", behind.oldest.unwrap_or(0.0)));
    }
    report.remote.iter().for_each(|remote| series.extend(of_remote(remote)));
    report.control.iter().for_each(|control| series.extend(of_control(control)));
    series
}

/// Of the keys with a prefix, or of those that no prefix has an objective for.
fn of_freshness(
    prefix: Option<&str>,
    objective: Option<f64>,
    [measured, recent]: [Option<StaleRate>; 2],
) -> impl Iterator<Item = Series<f64>> {
    let rates = measured.into_iter().flat_map(|StaleRate { rate, low, high, .. }| {
        [("larder_stale_ratio", rate), ("larder_stale_lower_ratio", low), ("larder_stale_upper_ratio", high)]
    });
    let late = recent.into_iter().flat_map(|StaleRate { rate, low, high, .. }| {
        [
            ("larder_stale_recent_ratio", rate),
            ("larder_stale_recent_lower_ratio", low),
            ("larder_stale_recent_upper_ratio", high),
        ]
    });
    let objective = objective.map(|objective| ("larder_stale_objective_ratio", objective));
    let label = prefix.map(|prefix| ("prefix", prefix.to_owned()));
    objective
        .into_iter()
        .chain(rates)
        .chain(late)
        .map(move |(name, number)| (name, label.iter().cloned().collect(), number))
}

fn of_remote(remote: &RemoteReport) -> impl Iterator<Item = Series<f64>> {
    let breaker = match remote.breaker {
        "closed" => 0.0,
        "half-open" => 1.0,
        _ => 2.0,
    };
    [
        of("larder_breaker_state", breaker),
        of("larder_l2_in_flight", remote.in_flight as f64),
        of("larder_l2_queued_fills", remote.queued as f64),
        of("larder_l2_pending_invalidations", remote.pending as f64),
    ]
    .into_iter()
}

fn of_control(control: &ControlReport) -> impl Iterator<Item = Series<f64>> {
    let state = match control.state {
        "baseline" => 0.0,
        "ramping" => 1.0,
        "adopted" => 2.0,
        _ => 3.0,
    };
    // Until something counts there is nothing to tell, and a hit ratio of 0 is none.
    let is_counted = control.requests > 0;
    let refusals = control.arms.iter().map(|arms| of("larder_arms_refusals", arms.refusals.len() as f64));
    let arms = control.arms.iter().filter(move |_| is_counted).flat_map(|arms| {
        [
            by("larder_arms_hit_ratio", "arm", "policy", arms.hit_ratio),
            by("larder_arms_hit_ratio", "arm", "control", arms.control_hit_ratio),
            of("larder_arms_effect_ratio", arms.effect),
            of("larder_arms_effect_lower_ratio", arms.low),
            of("larder_arms_effect_upper_ratio", arms.high),
        ]
        .into_iter()
        .chain(arms.origin_loads.map(|loads| of("larder_arms_origin_loads_change_ratio", loads.change)))
        .chain(arms.p99.map(|p99| of("larder_arms_p99_change_ratio", p99.change)))
        .chain(arms.stale.map(|stale| by("larder_arms_stale_ratio", "arm", "policy", stale.rate)))
        .chain(arms.control_stale.map(|stale| by("larder_arms_stale_ratio", "arm", "control", stale.rate)))
    });
    let sizes =
        control.sizes.iter().map(|size| by("larder_size_hit_ratio", "scale", size.scale.to_string(), size.hit_ratio));
    // Where the policy decides nowhere it gains nothing either.
    let gain = [
        by("larder_experiment_hit_ratio", "arm", "policy", control.hit_ratio),
        by("larder_experiment_hit_ratio", "arm", "control", control.control_hit_ratio),
        of("larder_experiment_effect_ratio", control.gain),
        of("larder_experiment_effect_lower_ratio", control.low),
        of("larder_experiment_effect_upper_ratio", control.high),
    ];
    [
        of("larder_experiment_state", state),
        of("larder_experiment_treated_ratio", control.treated as f64 / control.parts as f64),
        of("larder_experiment_effective_keys", control.effective_keys),
        of("larder_experiment_turnovers", control.turnovers),
        of("larder_experiment_refusals", control.refusals.len() as f64),
    ]
    .into_iter()
    .chain(control.counted_for.map(|seconds| of("larder_experiment_counted_seconds", seconds)))
    .chain(gain.into_iter().filter(move |_| control.treated > 0 && is_counted))
    .chain(refusals)
    .chain(arms)
    .chain(sizes)
    .chain(control.cheapest.map(|scale| of("larder_cheapest_size_ratio", scale)))
}

/// How long things took and lasted.
pub(super) fn histograms(report: &Report) -> [Series<&Histogram>; 8] {
    let Report { latency, ages, residence, ttls, loads, .. } = report;
    [
        by("larder_get_duration_seconds", "tier", "l1", &latency.local),
        by("larder_get_duration_seconds", "tier", "l2", &latency.remote),
        by("larder_get_duration_seconds", "tier", "origin", &latency.origin),
        of("larder_load_duration_seconds", loads),
        of("larder_ttl_seconds", ttls),
        of("larder_hit_age_seconds", &ages.at_hit),
        of("larder_eviction_age_seconds", &ages.at_eviction),
        of("larder_residence_seconds", residence),
    ]
}
