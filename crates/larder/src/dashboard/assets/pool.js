// Several caches as one: counts are summed, rates are weighed by the reads or requests that they are of, and the half-widths of independent
// intervals are added in quadrature, as the library does it.

const sum = (parts, of) => parts.reduce((total, part) => total + of(part), 0);

/** The value all parts share, or null. */
const common = (parts, of) => (parts.every((part) => of(part) === of(parts[0])) ? of(parts[0]) : null);

/**
 * What is doubtful is unknown in each alike and does not average out: half-widths that hold some are added as they are.
 * @param {{weight: number, value: number, low: number, high: number, doubtful?: number}[]} parts
 */
function interval(parts) {
  const total = sum(parts, (part) => part.weight);
  if (!(total > 0)) return null;
  const mean = (of) => sum(parts, (part) => (of(part) * part.weight) / total);
  const [bounds, errors] = [parts.filter(({ doubtful }) => doubtful > 0), parts.filter(({ doubtful }) => !(doubtful > 0))];
  const share = (part, of) => (of(part) * part.weight) / total;
  const width = (of) => sum(bounds, (part) => share(part, of)) + Math.sqrt(sum(errors, (part) => share(part, of) ** 2));
  const value = mean((part) => part.value);
  return { value, low: value - width((part) => part.value - part.low), high: value + width((part) => part.high - part.value) };
}

/** Caches are of one service that share a name but for a number: `users`, or `users-1` and `users-2`. */
export const service = (name) => name.replace(/-\d+$/, "");

export const reads = (counts) => counts.hits + counts.misses;

/** One report of several. */
export function poolReports(reports) {
  if (reports.length === 1) return reports[0];
  const first = reports[0];
  const counts = Object.fromEntries(Object.keys(first.counts).map((name) => [name, sum(reports, (r) => r.counts[name])]));
  const remotes = reports.map((report) => report.remote).filter(Boolean);
  const proven = reports.filter((report) => report.control);
  const logs = reports.map((report) => report.behind).filter(Boolean);
  return {
    ...first,
    name: common(reports, (r) => service(r.name)) ?? "several caches",
    policy: common(reports, (r) => r.policy) ?? "several policies",
    uptime: Math.max(...reports.map((r) => r.uptime)),
    counts,
    entries: sum(reports, (r) => r.entries),
    weight: sum(reports, (r) => r.weight),
    capacity: sum(reports, (r) => r.capacity),
    metadata_bytes: sum(reports, (r) => r.metadata_bytes),
    freshness: {
      objective: common(reports, (r) => r.freshness.objective),
      ttl: common(reports, (r) => r.freshness.ttl),
      measured: poolRate(reports, (r) => r.freshness.measured),
      recent: poolRate(reports, (r) => r.freshness.recent),
      prefixes: poolPrefixes(reports),
    },
    prices: commonPrices(reports.map((r) => r.prices)),
    control: proven.length ? poolControls(proven) : null,
    remote: remotes.length ? poolRemotes(remotes) : null,
    ttls: poolHistograms(reports.map((r) => r.ttls)),
    latency: poolLatency(reports.map((r) => r.latency)),
    model: poolModels(reports.map((r) => r.model)),
    behind: logs.length ? poolLogs(logs) : null,
  };
}

const poolCosts = (costs) => Object.fromEntries(["memory", "loads", "total"].map((of) => [of, sum(costs, (cost) => cost[of])]));

/** Prices that all have, or null. */
const commonPrices = (all) => common(all.map((prices) => JSON.stringify(prices ?? null)), (text) => text) && all[0];

/** A rate is weighed by the reads it is of; where an older version does not tell them, by all there were. */
function poolRate(reports, rate) {
  const known = reports.filter(rate);
  const parts = known.map((r) => ({ weight: rate(r).reads ?? reads(r.counts), value: rate(r).rate, ...rate(r) }));
  const pooled = interval(parts);
  const sure = known.every((r) => rate(r).is_certifiable);
  return pooled && { rate: pooled.value, low: Math.max(0, pooled.low), high: Math.min(1, pooled.high), is_certifiable: sure };
}

/** Objectives of keys with a prefix, by prefix. */
function poolPrefixes(reports) {
  const names = new Set(reports.flatMap((r) => r.freshness.prefixes.map(({ prefix }) => prefix)));
  return [...names].map((prefix) => {
    const own = (r) => r.freshness.prefixes.find((one) => one.prefix === prefix);
    const having = reports.filter(own);
    return { prefix, objective: common(having, (r) => own(r).objective), measured: poolRate(having, (r) => own(r).measured), recent: poolRate(having, (r) => own(r).recent) };
  });
}

function poolControls(reports) {
  const controls = reports.map((report) => report.control);
  const first = controls[0];
  const gain = interval(controls.map((c) => ({ weight: c.requests, value: c.gain, low: c.low, high: c.high })));
  const requests = sum(controls, (c) => c.requests);
  const mean = (of) => (requests ? sum(controls, (c) => of(c) * c.requests) / requests : 0);
  const weight = ({ counts, control }, at) => control.sizes[at]?.reads ?? reads(counts);
  const sizes = first.sizes.map(({ scale }, at) => ({
    scale,
    hit_ratio: sum(reports, (r) => (r.control.sizes[at]?.hit_ratio ?? 0) * weight(r, at)) / (sum(reports, (r) => weight(r, at)) || 1),
    loads_an_hour: sum(controls, (c) => c.sizes[at]?.loads_an_hour ?? 0),
    cost: controls.every((c) => c.sizes[at]?.cost) ? poolCosts(controls.map((c) => c.sizes[at].cost)) : null,
  }));
  return {
    ...first,
    policy: common(controls, (c) => c.policy) ?? "several controls",
    state: common(controls, (c) => c.state) ?? "differs",
    treated: sum(controls, (c) => c.treated),
    parts: sum(controls, (c) => c.parts),
    rollbacks: sum(controls, (c) => c.rollbacks),
    last_breach: controls.map((c) => c.last_breach).find(Boolean) ?? null,
    resumes_in: controls.map((c) => c.resumes_in).find((seconds) => seconds !== null) ?? null,
    hit_ratio: mean((c) => c.hit_ratio),
    control_hit_ratio: mean((c) => c.control_hit_ratio),
    gain: gain?.value ?? 0,
    low: gain?.low ?? 0,
    high: gain?.high ?? 0,
    requests,
    slices: Math.min(...controls.map((c) => c.slices)),
    turnovers: Math.min(...controls.map((c) => c.turnovers)),
    counted_for: Math.max(...controls.map((c) => c.counted_for ?? 0)) || null,
    effective_keys: sum(controls, (c) => c.effective_keys),
    refusals: kinds(controls.flatMap((c) => c.refusals)),
    arms: null,
    sizes: controls.every((c) => c.sizes.length === first.sizes.length) ? sizes : [],
  };
}

/** Of reasons that differ in their numbers alone, the first. */
const kinds = (reasons) => [...new Map(reasons.map((reason) => [reason.replace(/[\d.,]+/g, ""), reason]).reverse()).values()].reverse();

function poolRemotes(remotes) {
  const worst = ["open", "half-open", "closed"].find((state) => remotes.some((r) => r.breaker === state));
  return {
    breaker: worst,
    in_flight: sum(remotes, (r) => r.in_flight),
    queued: sum(remotes, (r) => r.queued),
    pending: sum(remotes, (r) => r.pending),
    counts: poolCounts(remotes),
    // Instances share their server; a sum would count it once for each.
    server: remotes.map((r) => r.server).find(Boolean) ?? null,
  };
}

const poolCounts = (all) => Object.fromEntries(Object.keys(all[0].counts).map((name) => [name, sum(all, (one) => one.counts[name] ?? 0)]));

function poolLogs(logs) {
  const waits = logs.map((log) => log.oldest).filter((oldest) => oldest !== null);
  return {
    pending: sum(logs, (log) => log.pending),
    pending_bytes: sum(logs, (log) => log.pending_bytes),
    oldest: waits.length ? Math.max(...waits) : null,
    counts: poolCounts(logs),
  };
}

/** Losses and errors are means over the parts of those that know theirs. */
function poolModels(models) {
  const known = models.filter(Boolean);
  if (!known.length) return null;
  const of = (name) => sum(known, (model) => model[name]);
  const mean = (name) => {
    const sure = known.filter((model) => typeof model[name] === "number");
    return sure.length ? sum(sure, (model) => model[name] * model.parts) / sum(sure, (model) => model.parts) : null;
  };
  const means = { loss: mean("loss"), loss_to_prior: mean("loss_to_prior"), calibration_error: mean("calibration_error") };
  const drift = Math.max(...known.map((model) => model.drift));
  return { parts: of("parts"), on_duty: of("on_duty"), retreats: of("retreats"), drift, drifts: of("drifts"), ...means };
}

const poolLatency = (all) =>
  all.every(Boolean)
    ? Object.fromEntries(["local", "remote", "origin"].map((tier) => [tier, poolHistograms(all.map((one) => one[tier]))]))
    : null;

function poolHistograms(all) {
  if (!all.every(Boolean)) return null;
  const counts = all[0].counts.map((_, at) => sum(all, (one) => one.counts[at] ?? 0));
  const { bounds } = all[0];
  const at = (share) => quantile(bounds, counts, share);
  return { bounds, counts, sum: sum(all, (one) => one.sum), p50: at(0.5), p95: at(0.95), p99: at(0.99) };
}

/** A straight line through the bucket; null where nothing was noted. */
function quantile(bounds, counts, share) {
  const total = sum(counts, (count) => count);
  if (!total) return null;
  let below = 0;
  for (const [at, count] of counts.entries()) {
    if (count && below + count >= share * total) {
      const low = at ? bounds[at - 1] : 0;
      const high = bounds[at] ?? low;
      return low + ((high - low) * (share * total - below)) / count;
    }
    below += count;
  }
  return bounds[bounds.length - 1];
}

const COUNTED = ["hits", "misses", "remote_hits", "loads", "load_errors", "stale"];

/**
 * Moments of history as one cache's: `{at, counts…, measured, control}`, those in which a chosen cache was there. Counts are what happened since
 * the first of them in caches that were there a moment before too, so that who comes, goes or starts anew makes no step.
 */
export function poolMoments(moments, ids) {
  const pooled = [];
  let before = new Map();
  for (const { at, caches } of moments) {
    const chosen = caches.filter(({ id }) => ids.includes(id));
    const last = pooled[pooled.length - 1];
    const counts = Object.fromEntries(COUNTED.map((name) => [name, last?.[name] ?? 0]));
    for (const point of chosen) {
      const then = before.get(point.id);
      if (!then || COUNTED.some((name) => point[name] < then[name])) continue;
      for (const name of COUNTED) counts[name] += point[name] - then[name];
    }
    before = new Map(chosen.map((point) => [point.id, point]));
    if (!chosen.length) continue;
    const measured = chosen.filter((point) => point.measured).map((point) => {
      const [value, low, high, weight, doubtful] = point.measured;
      return { weight, value, low, high, doubtful };
    });
    const controls = chosen.map((point) => point.control).filter(Boolean);
    const requests = sum(controls, (c) => c.requests);
    pooled.push({
      at,
      ...counts,
      measured: interval(measured),
      control: requests
        ? {
            control: sum(controls, (c) => c.control_hit_ratio * c.requests) / requests,
            gain: interval(controls.map((c) => ({ weight: c.requests, value: c.gain, low: c.low, high: c.high }))),
          }
        : null,
    });
  }
  return pooled;
}

/** The change over the last `seconds`, loads with those that failed, before moment number `at`, or as far back as is known; null where too little is. */
export function since(moments, at, seconds) {
  const now = moments[at];
  let from = at;
  while (from > 0 && now.at - moments[from].at < seconds * 1000) from -= 1;
  const then = moments[from];
  const took = (now.at - then.at) / 1000;
  if (took < 0.5) return null;
  const of = (name) => now[name] - then[name];
  const errors = of("load_errors");
  return { seconds: took, reads: of("hits") + of("misses"), hits: of("hits"), remote_hits: of("remote_hits"), stale: of("stale"), loads: of("loads") + errors, errors };
}
