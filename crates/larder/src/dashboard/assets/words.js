// Numbers and states as people say them.

const LOCALE = "en";
const THIN = "\u00a0";

export const count = (number) => Math.round(number).toLocaleString(LOCALE);

/** A number a second: more digits where it is small. */
export const rate = (number) =>
  number >= 100 ? count(number) : number.toLocaleString(LOCALE, { maximumSignificantDigits: number >= 1 ? 3 : 2 });

export const percent = (share, digits = share < 0.0995 && share > 0 ? 2 : 1) => `${(share * 100).toFixed(digits)}${THIN}%`;

const signed = (number, digits) => (number < 0 ? "−" : "+") + Math.abs(number).toFixed(digits);

/** A difference of shares. */
export const points = (difference) => `${signed(difference * 100, 1)}${THIN}points`;

/** By what share something is more. */
export const change = (share) => `${signed(share * 100, 1)}${THIN}%`;

export const range = (low, high) => `${(low * 100).toFixed(1).replace("-", "−")} to ${(high * 100).toFixed(1).replace("-", "−")}`;

/** A percentage in a sentence: as many digits as it takes. */
const plainPercent = (share) => `${Number((share * 100).toPrecision(2))}${THIN}%`;

export function span(seconds) {
  if (seconds === null || seconds === undefined) return "–";
  if (seconds < 1e-3) return `${(seconds * 1e6).toPrecision(3)} µs`.replace(/\.0+ /, " ");
  if (seconds < 0.9995) return `${Number((seconds * 1e3).toPrecision(3))} ms`;
  if (seconds < 100) return `${Number(seconds.toPrecision(3))} s`;
  if (seconds < 7200) return `${Math.round(seconds / 60)} min`;
  if (seconds < 172800) return `${Number((seconds / 3600).toPrecision(3))} h`;
  return `${Number((seconds / 86400).toPrecision(3))} d`;
}

export function bytes(number) {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  const at = Math.min(Math.floor(Math.log2(Math.max(number, 1)) / 10), units.length - 1);
  return `${Number((number / 1024 ** at).toPrecision(3)).toLocaleString(LOCALE)} ${units[at]}`;
}

export const time = (at) => new Date(at).toLocaleTimeString(LOCALE, { hour12: false });

/** Weights are bytes or entries. */
export const weight = (number, report) => (report.is_in_bytes ? bytes(number) : `${count(number)} ${number === 1 ? "entry" : "entries"}`);

/** How the last hour's stale rate stands to its objective: `kept`, `missed`, or `open`. */
export function standing({ objective, recent }) {
  if (objective === null || !recent) return "unknown";
  if (recent.high <= objective) return "kept";
  return recent.low > objective ? "missed" : "open";
}

/** What is good or bad, as the page colours it. */
export const tone = (standing) => ({ kept: "good", missed: "bad" })[standing] ?? "";

/** Objectives there are, with whose keys they are of: all, or those with a prefix and the others. */
export function objectives({ objective, recent, prefixes = [] }) {
  const all = objective === null ? [] : [{ keys: prefixes.length ? "other keys" : "all keys", objective, recent }];
  return [...all, ...prefixes.map((own) => ({ ...own, keys: `“${own.prefix}”` }))];
}

/** The one that is worst kept, by how many times its rate is what it may be; undefined without any. */
export function worst(freshness) {
  const rank = (own) => [["kept", "open", "missed"].indexOf(standing(own)), own.recent && own.objective ? own.recent.rate / own.objective : 0];
  return objectives(freshness).reduce((worst, own) => {
    if (!worst) return own;
    const [[a, b], [c, d]] = [rank(own), rank(worst)];
    return a > c || (a === c && b > d) ? own : worst;
  }, undefined);
}

/** Whether something may be said about the gain: `better`, `worse`, `open`, or `unknown`. */
export function verdict(control) {
  if (!control || !control.requests) return "unknown";
  if (control.refusals.length) return "open";
  if (control.low > 0) return "better";
  return control.high < 0 ? "worse" : "open";
}

/** When a gain will be told, where none is counted yet. */
export const later = ({ treated, turnovers }) =>
  treated ? `once the memory was turned over twice, and so far it was ${turnovers.toFixed(1)} times` : "once the policy decides somewhere";

/** Over how long it has been counted; an older version does not say. */
export const counted = ({ counted_for: seconds }) => (seconds ? `, over ${span(seconds)}` : "");

/** The one sentence, as parts: text, and what is to be stressed with its tone. */
export function sentence(report) {
  const { control, freshness, policy, remote } = report;
  const parts = [];
  const gain = control && `${Math.abs(control.gain * 100).toFixed(1)}${THIN}points ${control.gain < 0 ? "fewer" : "more"}`;
  const between = control && `(${range(control.low, control.high)}, 95${THIN}%${counted(control)})`;
  switch (verdict(control)) {
    case "better":
    case "worse":
      parts.push(`larder’s ${policy} policy hits `, [gain, control.gain < 0 ? "bad" : "good"], ` than ${control.policy} would ${between}`);
      break;
    case "open":
      parts.push(`larder’s ${policy} policy hits `, [gain, ""], ` than ${control.policy} would so far, which is `, ["not certain yet", ""], ` ${between}`);
      break;
    default:
      if (control?.state === "cooling-down") parts.push(["The policy is rolled back", "bad"], `: ${control.policy} decides in place of ${policy}`);
      else parts.push(control ? `What ${policy} gains over ${control.policy} is told ${later(control)}` : `The ${policy} policy runs without a control beside it`);
  }
  const told = worst(freshness);
  const whose = told && freshness.prefixes?.length ? ` about ${told.keys}` : "";
  if (told?.recent && told.objective !== null) {
    parts.push("; ", [plainPercent(told.recent.rate), tone(standing(told))], ` of answers${whose} stale, objective ${plainPercent(told.objective)}`);
    if (whose) parts.push(", the worst kept of all");
  } else if (freshness.ttl !== null) {
    parts.push(`; ${whose ? "any other" : "every"} value lives ${span(freshness.ttl)}`);
  } else if (told && told.objective !== null) {
    parts.push(`; no answer was checked yet against the objective of ${plainPercent(told.objective)} stale`);
  }
  parts.push(".");
  if (remote && remote.breaker !== "closed") parts.push(" ", ["The remote tier does not answer", "bad"], `: its breaker is ${remote.breaker}.`);
  return parts;
}

export const STATES = {
  baseline: "measuring the baseline",
  ramping: "ramping up",
  adopted: "adopted",
  "cooling-down": "rolled back, cooling down",
  differs: "differs between the caches",
};

/** A logged decision: what, and why. */
export function decision({ what, seconds, other }) {
  const age = span(seconds);
  switch (what) {
    case "admitted":
      return ["admitted", other ? `worth more than what left; to live ${age}` : `there was room; to live ${age}`];
    case "refused":
      return ["refused", "worth less than all candidates to leave"];
    case "too-heavy":
      return ["refused", "heavier than a segment's share of the capacity"];
    case "evicted":
      return ["evicted", `${age} old, worth least of the candidates`];
    case "expired":
      return ["expired", `${age} old, at the end of its life`];
    case "renewed":
      return ["renewed", `${age} old, ahead of its end`];
    case "audited":
      return ["audited", `${age} old, to measure the stale rate`];
    default:
      return ["outdated", `${age} old: likely stale, so it is loaded anew`];
  }
}
