// The panels that follow the reports.

import { Chart, fill, make, tell } from "./charts.js";
import { reads, since } from "./pool.js";
import * as words from "./words.js";

/** Seconds over which rates are taken, in charts and in the figures of now. */
const SMOOTH = 10;
const NOW = 60;
/** Moments before a line is worth drawing. */
const LEAST = 3;

const short = (share) => `${Number((share * 100).toPrecision(3))}%`;
const clock = (seconds) => words.time(seconds * 1000);
/** Around what there is, never beyond what a share can be. */
const around = (low, high) => {
  const room = Math.max((high - low) * 0.12, 0.005);
  return [Math.max(0, low - room), Math.min(1, high + room)];
};
const time = { x: clock, axis: "time", time: true };
const band = { color: "policy", edge: true };

const arms = new Chart("arms", {
  ...time,
  lines: [{ name: "policy", color: "policy" }, { name: "control", color: "control", dash: [7, 5] }, { name: "95 % upper", ...band }, { name: "95 % lower", ...band }],
  band: [3, 4],
  y: short,
  height: 250,
});
const loads = new Chart("loads", {
  ...time,
  lines: [{ name: "reads", color: "policy" }, { name: "loads", color: "origin", dash: [7, 5] }],
  y: words.rate,
  range: (_, high) => [0, high * 1.1 || 1],
});
const stale = new Chart("stale", {
  ...time,
  lines: [{ name: "measured", color: "policy" }, { name: "objective", color: "goal", dash: [3, 4] }, { name: "95 % upper", ...band }, { name: "95 % lower", ...band }],
  band: [3, 4],
  y: short,
});
const sizes = new Chart("sizes", {
  lines: [{ name: "hit ratio", color: "control", dots: true }],
  y: short,
  x: (scale) => `${Number(scale.toPrecision(2))}×`,
  axis: "size",
  log: true,
  range: around,
});

/** An objective, and where a rate lies. */
const atMost = (objective) => (objective === null ? "differs" : words.percent(objective, objective < 0.01 ? 2 : objective < 0.1 ? 1 : 0));
const between = ({ low, high }) => `${(low * 100).toFixed(2)} to ${(high * 100).toFixed(2)}`;

/** Shows a report, and what came before it. */
export function show(report, moments) {
  sayItAll(report);
  const now = moments.length ? since(moments, moments.length - 1, NOW) : null;
  showTiles(report, now);
  showArms(report, moments);
  showTrial(report);
  showWaterfall(report, now);
  showLoads(moments);
  showStale(report, moments);
  showSizes(report);
  showTtls(report.ttls);
  showLatency(report.latency);
  showRemote(report.remote);
  showModel(report);
  showBehind(report.behind);
}

/** What was last spoken, and when: screen readers hear changes, not every second. */
let spoken = { text: "", at: -Infinity };

function sayItAll(report) {
  const parts = words.sentence(report);
  const text = parts.map((part) => (Array.isArray(part) ? part[0] : part)).join("");
  const element = document.getElementById("sentence");
  if (element.textContent === text) return;
  element.replaceChildren(...parts.map((part) => (Array.isArray(part) ? make("b", { class: part[1] }, part[0]) : part)));
  if (performance.now() - spoken.at > 30_000) {
    spoken = { text, at: performance.now() };
    tell("spoken", text);
  }
}

function showTiles(report, now) {
  const { counts, control, freshness } = report;
  const total = reads(counts);
  const ratio = now?.reads ? now.hits / now.reads : total ? counts.hits / total : null;
  tell("hit-ratio", ratio === null ? "–" : words.percent(ratio), total ? counts.hits / total : "");
  tell("hit-sub", now ? `${words.rate(now.reads / now.seconds)} reads a second` : "no reads yet");
  const verdict = words.verdict(control);
  tell("gain", verdict === "unknown" ? "–" : words.points(control.gain), control?.gain ?? "").className = `big ${{ better: "good", worse: "bad" }[verdict] ?? ""}`;
  const against = verdict === "unknown" ? "" : `${words.range(control.low, control.high)}, beside ${control.policy}${words.counted(control)}`;
  tell("gain-sub", control ? against || (control.treated ? `told ${words.later(control)}` : "the policy decides nowhere now") : "no control is measured");
  const { recent, objective = null, keys } = words.worst(freshness) ?? {};
  tell("stale", recent ? words.percent(recent.rate, 2) : "–", recent?.rate ?? "").className = `big ${words.tone(words.standing({ objective, recent }))}`;
  const whose = freshness.prefixes?.length ? `${keys}, the worst kept: ` : "";
  tell("stale-sub", objective === null ? "no objective is set" : `${whose}objective ${atMost(objective)}${recent ? `; ${between(recent)} in the last hour` : ", nothing checked yet"}`);
  // Loads that fail burden the origin like others.
  const asked = counts.loads + counts.load_errors;
  const spared = now?.reads ? 1 - now.loads / now.reads : total ? 1 - asked / total : null;
  tell("saved", spared === null ? "–" : words.percent(spared), asked);
  const failing = now?.errors ? `, ${words.percent(now.errors / now.loads)} fail` : "";
  tell("saved-sub", now ? `${words.rate(now.loads / now.seconds)} loads a second${failing}` : "no loads yet").className = failing ? "sub bad" : "sub";
  const full = report.capacity ? report.weight / report.capacity : 0;
  tell("memory", words.percent(full, 0), report.weight);
  document.getElementById("memory-bar").style.width = `${Math.min(100, full * 100)}%`;
  tell("memory-sub", `${words.count(report.entries)} entries of ${words.weight(report.capacity, report)}`, report.entries);
}

function showArms(report, moments) {
  const { control, policy } = report;
  const known = moments.filter((moment) => moment.control);
  const why = !control
    ? "This cache runs without a control: nothing says what another policy would have hit. Its own hit ratio is above."
    : known.length < LEAST
      ? `What ${control.policy} would have hit is told ${words.later(control)}. While everything fits into the memory, no policy could do better.`
      : "";
  fill("arms", why, ["arms-chart", "arms-legend"]);
  tell("arms-about", control ? `The share of reads whose key ${policy} has kept, beside what ${control.policy} would have hit of the same. Who is kept is compared, fresh or not, so both lie above the hit ratio. The band holds the gain with 95 %, however often one looks. Each point counts all since the policy last changed sides${words.counted(control)}, not of late alone.` : "");
  if (why) return;
  arms.rename(0, policy);
  arms.rename(1, `${control.policy}, the control`);
  const of = (value) => known.map(({ control }) => value(control.control, control.gain));
  const [policyLine, controlLine] = [of((c, g) => c + g.value), of((c) => c)];
  const [high, low] = [of((c, g) => Math.min(1, c + g.high)), of((c, g) => Math.max(0, c + g.low))];
  // The first intervals are wide: what matters are the lines, and where the band has been lately.
  const late = Math.floor(known.length / 2);
  const shown = [...policyLine, ...controlLine, ...high.slice(late), ...low.slice(late)];
  arms.options.range = () => around(Math.min(...shown), Math.max(...shown));
  arms.set([known.map(({ at }) => at / 1000), policyLine, controlLine, high, low]);
}

function facts(id, pairs) {
  const list = document.getElementById(id);
  list.replaceChildren(...pairs.flatMap(([name, value, tone, raw]) => [make("dt", {}, name), make("dd", { class: tone ?? "", "data-raw": raw ?? "" }, value)]));
}

/** By what share an arm has more than the control, where that lies, and the probability of so much by chance, to either side. */
const more = (name, difference) => (difference ? [[name, `${words.change(difference.change)} (${difference.low === null ? "" : `${words.range(difference.low, difference.high)}; `}p = ${Math.min(1, 2 * Math.min(difference.p_more, difference.p_less)).toPrecision(2)})`]] : []);

/** A measured rate with its interval. */
const within = (measured) => `${words.percent(measured.rate, 2)} (${between(measured)})`;

/** The real arms beside each other, where both run and something counts: what ghosts cannot see, too. */
const hands = ({ arms, requests }) => (arms && requests ? [
  ["Arms", `${words.percent(arms.hit_ratio)} and ${words.percent(arms.control_hit_ratio)}: ${words.points(arms.effect)}, ${words.range(arms.low, arms.high)}${arms.refusals.length ? "; nothing may be concluded yet" : ""}`],
  ...more("Loads a read", arms.origin_loads),
  ...more("99th percentile", arms.p99),
  ...(arms.stale && arms.control_stale ? [["Stale answers", `${within(arms.stale)} and ${within(arms.control_stale)}`]] : []),
] : []);

function showTrial({ control }) {
  fill("trial", control ? "" : "No control runs beside this cache, so there is nothing to roll back.", ["trial", "act"]);
  // What stands against both is said once.
  const ofArms = (control?.arms?.refusals ?? []).filter((why) => !control.refusals.includes(why));
  const refusals = [...(control?.refusals ?? []), ...ofArms.map((why) => `from the arms: ${why}`)];
  document.getElementById("refusals").hidden = !refusals.length;
  if (!control) return;
  const back = control.state === "cooling-down";
  const resumes = control.resumes_in === null ? "" : `, ${words.span(control.resumes_in)} left`;
  facts("trial", [
    ["State", (words.STATES[control.state] ?? control.state) + resumes, back ? "bad" : "", control.state],
    ["Runs the policy", `${control.treated} of ${control.parts} parts`],
    ...(control.ttl === null ? [] : [["The control's lifetime", words.span(control.ttl)]]),
    ...(control.age_share === null ? [] : [["The control's lifetime", `${words.percent(control.age_share)} of the time unchanged`]]),
    ...(control.objective === null ? [] : [["The control's objective", words.percent(control.objective)]]),
    ["Evidence", `${words.count(control.requests)} reads${words.counted(control)}, memory turned over ${control.turnovers.toFixed(1)} times`],
    ["Tells as much as", `${words.count(control.effective_keys)} equal keys`],
    ...hands(control),
    ["Rollbacks", control.last_breach ? `${control.rollbacks}; last: ${control.last_breach}` : String(control.rollbacks), "", control.rollbacks],
  ]);
  const list = document.querySelector("#refusals ul");
  list.replaceChildren(...refusals.map((why) => make("li", {}, why)));
}

function showWaterfall(report, now) {
  const total = now?.reads ?? 0;
  fill("waterfall", total ? "" : "No reads in the last minute.", ["waterfall"]);
  if (!total) return;
  // How many readers a load that failed had is not counted: what nobody else answered is the origin's, or nobody's.
  const rest = Math.max(0, total - now.hits - now.stale - now.remote_hits);
  const tiers = [
    ["Memory", now.hits, "memory"],
    ...(now.stale ? [["Beyond its time", now.stale, "memory"]] : []),
    ...(report.remote ? [["Remote tier", now.remote_hits, "remote"]] : []),
    [now.errors ? "Origin, or failed" : "Origin", rest, "origin"],
  ];
  tell("waterfall-about", `Of the reads of the last minute.${now.errors ? ` Of the loads ${words.percent(now.errors / now.loads)} failed.` : ""}`);
  let before = 0;
  const rows = tiers.map(([name, number, kind]) => {
    const bar = make("i", { class: `bar ${kind}` });
    bar.style.width = `${(number / total) * 100}%`;
    // What one tier answers, the next is not asked.
    bar.style.marginLeft = `${(before / total) * 100}%`;
    before += number;
    return make("tr", {}, make("th", { scope: "row" }, name), make("td", {}, bar), make("td", {}, words.percent(number / total)));
  });
  document.querySelector("#waterfall tbody").replaceChildren(...rows);
}

function showLoads(moments) {
  const known = moments.map((moment, at) => [moment.at / 1000, since(moments, at, SMOOTH)]).filter(([, change]) => change);
  fill("loads", known.length < LEAST ? "A few seconds of traffic are needed before there is a line to draw." : "", ["loads-chart", "loads-legend"]);
  if (known.length < LEAST) return;
  loads.set([known.map(([at]) => at), known.map(([, c]) => c.reads / c.seconds), known.map(([, c]) => c.loads / c.seconds)]);
}

/** Each objective with how it is kept, where there are several. */
function showObjectives(freshness) {
  const all = freshness.prefixes?.length ? words.objectives(freshness) : [];
  document.getElementById("objectives").hidden = !all.length;
  const row = ({ keys, objective, recent }) => {
    const standing = words.standing({ objective, recent });
    const told = { kept: "kept", missed: "missed", open: "not certain yet" }[standing] ?? "nothing checked yet";
    const cells = [recent ? within(recent) : "–", atMost(objective), told];
    return make("tr", { "data-raw": recent?.rate ?? "" }, make("th", { scope: "row" }, keys), ...cells.map((text, at) => make("td", { class: at === 2 ? words.tone(standing) : "" }, text)));
  };
  document.querySelector("#objectives tbody").replaceChildren(...all.map(row));
}

function showStale({ freshness }, moments) {
  showObjectives(freshness);
  const { objective, ttl, prefixes } = freshness;
  const known = moments.filter((moment) => moment.measured);
  const whose = prefixes?.length ? "of other keys " : "";
  const why = objective === null
    ? `Nothing ${whose}is measured: ${ttl === null ? "there is no objective" : `${whose ? "each of their values" : "every value"} lives ${words.span(ttl)}, whatever that makes stale`}. Freshness::stale_reads sets an objective.`
    : known.length < LEAST ? "No hit has been checked at the origin yet." : "";
  fill("stale", why, ["stale-chart", "stale-legend"]);
  tell("stale-about", objective === null ? "" : `The share of the last hour’s reads ${whose}served stale, as audits of hits measure it, with 95 %.`);
  if (why) return;
  const of = (name) => known.map(({ measured }) => measured[name]);
  // The first intervals are as wide as the axis: what matters are the rate, the objective, and where the interval ends now.
  const most = Math.max(3 * objective, 1.2 * Math.max(...of("value").slice(-300)), 1.1 * known[known.length - 1].measured.high);
  stale.options.range = () => [0, Math.min(1, most)];
  stale.set([known.map(({ at }) => at / 1000), of("value"), known.map(() => objective), of("high").map((high) => Math.min(1, high)), of("low").map((low) => Math.max(0, low))]);
}

/** The curve's value at a scale, straight lines between its points by the logarithm of the scale; null outside. */
function at(curve, scale) {
  const next = curve.findIndex((point) => point.scale >= scale);
  if (next < 0 || (next === 0 && curve[0].scale > scale)) return null;
  if (curve[next].scale === scale) return curve[next].hit_ratio;
  const [low, high] = [curve[next - 1], curve[next]];
  const share = Math.log(scale / low.scale) / Math.log(high.scale / low.scale);
  return low.hit_ratio + share * (high.hit_ratio - low.hit_ratio);
}

/** The least scale with a hit ratio; null where no size that was looked at has it. */
function scaleFor(curve, wanted) {
  const next = curve.findIndex((point) => point.hit_ratio >= wanted);
  if (next < 0) return null;
  if (next === 0) return curve[0].scale;
  const [low, high] = [curve[next - 1], curve[next]];
  return low.scale * (high.scale / low.scale) ** ((wanted - low.hit_ratio) / (high.hit_ratio - low.hit_ratio));
}

function showSizes(report) {
  const { control } = report;
  // A hit ratio that falls with the size is noise.
  let best = 0;
  const curve = (control?.sizes ?? []).map(({ scale, hit_ratio }) => ({ scale, hit_ratio: (best = Math.max(best, hit_ratio)) }));
  const why = !control ? "Other sizes are looked at by the control’s ghosts, and no control runs." : best === 0 ? "The ghosts of other sizes have not seen enough traffic yet." : "";
  fill("sizes", why, ["sizes-chart", "sizes-answers"]);
  tell("sizes-about", control ? `What ${control.policy} would hit of this traffic with other sizes of memory, from a sample of keys; 1× is ${words.weight(report.capacity, report)}.` : "");
  if (why) return;
  sizes.set([curve.map((point) => point.scale), curve.map((point) => point.hit_ratio)]);
  const [here, twice] = [at(curve, 1), at(curve, 2)];
  if (here !== null && twice !== null) tell("twice", `At twice the memory: ${words.percent(twice)} instead of ${words.percent(here)}, ${words.points(twice - here)}.`, twice);
  showNeeded(report, curve);
  showMoney(report, control.sizes);
}

const number = (id) => {
  const value = Number.parseFloat(document.getElementById(id).value);
  return value > 0 ? value : null;
};

function showNeeded(report, curve) {
  const wanted = number("wanted");
  const scale = wanted && scaleFor(curve, wanted / 100);
  const least = scale === curve[0].scale ? "at most " : "";
  const answer = wanted === null ? "" : scale === null ? `no size up to ${curve[curve.length - 1].scale}× has that` : `${least}${scale.toFixed(2)}× the memory, ${words.weight(scale * report.capacity, report)}`;
  tell("needed", answer, scale ?? "");
}

/** The service's own prices, as the page asks for them: shown where the reader has typed none. */
const configured = (prices) => ({ "price-memory": prices?.gib_hour, "price-loads": prices && prices.load * 1e6, bytes: prices?.entry_bytes });

export function prefill({ prices }) {
  for (const [id, value] of Object.entries(configured(prices))) {
    const input = document.getElementById(id);
    const typed = localStorage.getItem(`larder ${id}`);
    if (!typed && input !== document.activeElement) input.value = value ? Number(value.toPrecision(12)) : "";
  }
  tell("money-legend", prices ? "What it costs, by the service’s prices or yours" : "What it costs, if you give prices");
}

const money = (amount) => amount.toLocaleString("en", amount > 0 && amount < 0.01 ? { maximumSignificantDigits: 2 } : { minimumFractionDigits: 2, maximumFractionDigits: amount < 1 ? 4 : 2 });

/** What an hour costs with each size: its memory, and the loads it leaves. */
function showMoney(report, sizes) {
  document.getElementById("bytes-label").hidden = report.is_in_bytes;
  const [memory, million, each] = [number("price-memory"), number("price-loads"), report.is_in_bytes ? 1 : number("bytes")];
  // Without prices here, the sum of what each cache costs by its own.
  const priced = memory !== null || million !== null;
  const cost = ({ scale, loads_an_hour, cost }) => {
    if (!priced) return cost;
    const [room, loads] = [((memory ?? 0) * report.capacity * (each ?? 0) * scale) / 2 ** 30, ((million ?? 0) / 1e6) * loads_an_hour];
    return { memory: room, loads, total: room + loads };
  };
  const costs = sizes.map(cost);
  const known = costs.every(Boolean) && (memory === null || each !== null);
  document.getElementById("costs").hidden = !known;
  const cheapest = known && costs.reduce((least, { total }, at) => (total < costs[least].total ? at : least), 0);
  const of = (scale) => money(costs[sizes.findIndex((size) => size.scale === scale)].total);
  tell("money", known ? `An hour costs ${of(1)} now and ${of(2)} at twice the memory; cheapest of these sizes is ${sizes[cheapest].scale}×, with ${money(costs[cheapest].total)}.` : "");
  if (!known) return;
  const cells = ({ memory, loads, total }) => [memory, loads, total].map((amount) => make("td", { "data-raw": amount }, money(amount)));
  const rows = sizes.map(({ scale }, at) => make("tr", {}, make("th", { scope: "row" }, at === cheapest ? `${scale}×, cheapest` : `${scale}×`), ...cells(costs[at])));
  document.querySelector("#costs tbody").replaceChildren(...rows);
}

/** At most a dozen columns of a histogram: those between the first and the last that anything fell into. */
function showTtls(ttls) {
  const total = ttls?.counts.reduce((all, number) => all + number, 0) ?? 0;
  fill("ttls", total ? "" : "No lifetimes are recorded yet.", ["ttls"]);
  if (!total) return;
  const first = ttls.counts.findIndex((number) => number > 0);
  const last = ttls.counts.findLastIndex((number) => number > 0);
  const each = Math.ceil((last - first + 1) / 12);
  const rows = [];
  for (let from = first; from <= last; from += each) {
    const number = ttls.counts.slice(from, from + each).reduce((all, one) => all + one, 0);
    const bound = ttls.bounds[from + each - 1];
    rows.push([bound === undefined ? `over ${words.span(ttls.bounds[ttls.bounds.length - 1])}` : `up to ${words.span(bound)}`, number]);
  }
  const most = Math.max(...rows.map(([, number]) => number));
  document.querySelector("#ttls tbody").replaceChildren(...rows.map(([name, number]) => {
    const bar = make("i", { class: "bar" });
    bar.style.width = `${(number / most) * 100}%`;
    return make("tr", {}, make("th", { scope: "row" }, name), make("td", {}, bar), make("td", {}, words.percent(number / total)));
  }));
}

function showLatency(latency) {
  const tiers = [["Memory", latency?.local], ["Remote tier", latency?.remote], ["Origin", latency?.origin]].filter(([, times]) => times && times.p50 !== null);
  fill("latency", tiers.length ? "" : "No latencies are recorded yet.", ["latency"]);
  const cells = (times) => [times.p50, times.p95, times.p99].map((time) => make("td", {}, words.span(time)));
  document.querySelector("#latency tbody").replaceChildren(...tiers.map(([name, times]) => make("tr", {}, make("th", { scope: "row" }, name), ...cells(times))));
}

/** What happened at all, by name; what should not is marked. */
const happened = (counts, bad = []) => Object.entries(counts).filter(([, number]) => number > 0).map(([name, number]) => [name.replaceAll("_", " "), words.count(number), bad.includes(name) ? "bad" : "", number]);

/** What the server says about itself, where the store asks it. */
function serverFacts(server) {
  if (!server) return [];
  const limit = server.limit_bytes ? ` of ${words.bytes(server.limit_bytes)}` : "";
  const lag = server.replicas ? [["Slowest replica lags by", words.bytes(server.lag_bytes), "", server.lag_bytes]] : [];
  return [
    ["Server's memory", words.bytes(server.used_bytes) + limit, "", server.used_bytes],
    ["Evicted there", words.count(server.evicted), "", server.evicted],
    ["Expired there", words.count(server.expired), "", server.expired],
    ...lag,
  ];
}

function showRemote(remote) {
  fill("remote", remote ? "" : "This cache has no remote tier: memory, then the origin.", ["remote"]);
  if (!remote) return;
  const breaker = { closed: "closed: calls go through", open: "open: nothing is asked of it", "half-open": "half-open: a few calls try whether it is back" };
  facts("remote", [
    ["Breaker", breaker[remote.breaker] ?? remote.breaker, remote.breaker === "closed" ? "good" : "bad", remote.breaker],
    ["Calls under way", words.count(remote.in_flight)],
    ["Fills queued", words.count(remote.queued)],
    ["Invalidations pending", words.count(remote.pending), remote.pending ? "bad" : ""],
    ...serverFacts(remote.server),
    ...happened(remote.counts),
  ]);
}

/** How well the model foretells: whether it ranks at all, and its losses as shares of others'. */
function showModel({ model, policy }) {
  fill("model", model ? "" : `No model ranks entries under ${policy}.`, ["model", "model-about"]);
  if (!model) return;
  const share = (loss) => (typeof loss === "number" ? loss.toFixed(3) : "too little was said yet");
  const error = model.calibration_error;
  facts("model", [
    ["On duty", `${model.on_duty} of ${model.parts} parts; stepped back ${model.retreats} times`, model.on_duty ? "" : "bad", model.on_duty],
    ["Loss to the base rate’s", share(model.loss), model.loss >= 1 ? "bad" : model.loss > 0 ? "good" : "", model.loss],
    ["Loss to the prior’s", share(model.loss_to_prior), "", model.loss_to_prior],
    ["Calibration error", typeof error === "number" ? words.percent(error, 2) : share(null), "", error],
    ["Drift", `${words.percent(model.drift, 0)} of what sets it aside; began anew ${model.drifts} times`, model.drift < 0.5 ? "" : "bad", model.drift],
  ]);
}

/** What became of writes that is no good news. */
const WRONG = ["dead_lettered", "failed", "failed_syncs", "lost"];

function showBehind(log) {
  document.getElementById("behind-card").hidden = !log;
  if (!log) return;
  facts("behind", [
    ["Pending", `${words.count(log.pending)} writes, ${words.bytes(log.pending_bytes)}`, "", log.pending],
    ["The oldest waits", log.oldest === null ? "none does" : words.span(log.oldest), "", log.oldest],
    ...happened(log.counts, WRONG),
  ]);
}
