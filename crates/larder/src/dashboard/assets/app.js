// The page: which caches are shown, and what is told when.

import { make, tell } from "./charts.js";
import { Feed } from "./feed.js";
import { act, explain, showDecisions, showHottest } from "./lists.js";
import { poolMoments, poolReports, service } from "./pool.js";
import { prefill, show } from "./views.js";
import { span, time } from "./words.js";

const REMEMBERED = ["price-memory", "price-loads", "bytes"];
/** Between two looks at the lists, which cost the service more than a report. */
const LISTS_EVERY = 5000;

const choice = document.getElementById("cache");
const token = document.getElementById("token");
let feed = null;

/** What can be chosen: each service as a whole, then each cache. */
function offer(caches) {
  const services = Map.groupBy(caches, ({ report }) => service(report.name));
  const options = [];
  for (const [name, members] of services) {
    if (members.length > 1) options.push([`all ${members.length} of ${name}`, members.map(({ id }) => id), name]);
    options.push(...members.map(({ id }) => [id, [id], ""]));
  }
  const values = options.map(([, ids]) => JSON.stringify(ids));
  if (values.join() === [...choice.options].map((option) => option.value).join()) return;
  const chosen = choice.value;
  const whole = choice.selectedOptions[0]?.dataset.service;
  choice.replaceChildren(...options.map(([name, , service], at) => make("option", { value: values[at], "data-service": service }, name)));
  // Of a service as a whole it stays the whole, whoever came or left.
  const again = values.includes(chosen) ? values.indexOf(chosen) : options.findIndex(([, , service]) => service && service === whole);
  if (again >= 0) choice.selectedIndex = again;
}

const chosen = () => (choice.value ? JSON.parse(choice.value) : []);

/** The instance whose cache it is, by the address of its page; undefined where it is this one's. */
const owner = (id) => feed.frame.peers.find(({ address }) => id.startsWith(`${address}/`))?.address;

/** Each instance has a token of its own: what is another's is acted on there. */
function offerActions(ids, control) {
  const others = [...new Set(ids.map(owner).filter(Boolean))];
  document.getElementById("act").hidden ||= ids.every(owner);
  const elsewhere = document.getElementById("elsewhere");
  elsewhere.hidden = !others.length || !control;
  const links = others.flatMap((address, at) => [at ? ", " : "", make("a", { href: `http://${address}/` }, address)]);
  elsewhere.replaceChildren("An instance is rolled back on its own page, with its own token: ", ...links, ".");
}

/** Whom the page follows, and what is wrong with that. */
function tellInstances({ peers, registry }) {
  const count = peers.length === 1 ? " Follows one other instance." : peers.length ? ` Follows ${peers.length} other instances.` : "";
  const lost = peers.filter(({ error }) => error).map(({ address, error }) => ` ${address} is not reached: ${error}.`);
  return count + lost.join("") + (registry ? ` Instances cannot be looked up, those known are followed: ${registry}.` : "");
}

function refresh() {
  const frame = feed.frame;
  if (!frame) return;
  offer(frame.caches);
  const ids = chosen();
  const reports = frame.caches.filter(({ id }) => ids.includes(id)).map(({ report }) => report);
  document.documentElement.dataset.at = String(frame.at);
  for (const part of document.querySelectorAll(".choose, .tiles, .grid")) part.hidden = !reports.length;
  if (!reports.length) {
    tell("sentence", frame.peers.length ? "No cache is shown: no instance that is followed has been reached." : "No cache is shown yet: this dashboard has none, and knows no other instance.");
    document.title = "larder";
    tell("foot", `Nothing to show at ${time(frame.at)}.${tellInstances(frame)}`);
    return;
  }
  const report = poolReports(reports);
  prefill(report);
  show(report, poolMoments(feed.moments, ids));
  offerActions(ids, report.control);
  document.title = `${report.name} – larder`;
  tell("foot", `${report.name} with ${report.policy}, up ${span(report.uptime)}; numbers of ${time(frame.at)}.${tellInstances(frame)}`);
}

function refreshLists() {
  const ids = chosen();
  if (document.hidden || !ids.length || feed.state !== "live") return;
  // While the service cannot be reached the banner says so.
  Promise.all([showHottest(ids), showDecisions(ids)]).catch(() => {});
}

function showState(state, seconds) {
  const pill = tell("connection", { live: "live", lost: "no connection", waiting: "connecting" }[state]);
  pill.className = `pill ${state}`;
  const banner = document.getElementById("lost");
  banner.hidden = state !== "lost";
  if (state === "lost") {
    // Announced once, then only seen to count.
    banner.setAttribute("aria-live", seconds > 6 ? "off" : "assertive");
    banner.textContent = `Nothing has come for ${span(seconds)}: the numbers below are old. The service may be gone; the page tries again by itself.`;
  }
}

/** The address may bring the token behind its #, which is sent nowhere; it does not stay there. */
function takeToken() {
  const given = new URLSearchParams(location.hash.slice(1)).get("token");
  if (!given) return;
  token.value = given;
  history.replaceState(null, "", location.pathname);
}

function listen() {
  choice.addEventListener("change", () => {
    refresh();
    refreshLists();
  });
  for (const id of REMEMBERED) {
    const input = document.getElementById(id);
    input.value = localStorage.getItem(`larder ${id}`) ?? "";
    input.addEventListener("change", () => localStorage.setItem(`larder ${id}`, input.value));
  }
  for (const id of [...REMEMBERED, "wanted"]) document.getElementById(id).addEventListener("input", refresh);
  document.getElementById("explain").addEventListener("submit", (event) => {
    event.preventDefault();
    const key = document.getElementById("key").value;
    if (key) explain(key, chosen());
  });
  document.getElementById("act").addEventListener("submit", (event) => {
    event.preventDefault();
    act(event.submitter?.value ?? "roll-back", chosen().filter((id) => !owner(id)), token.value.trim());
  });
  addEventListener("hashchange", takeToken);
}

takeToken();
listen();
feed = new Feed({ frame: refresh, state: showState });
setTimeout(refreshLists, 1500);
setInterval(refreshLists, LISTS_EVERY);
