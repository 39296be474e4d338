// What is asked for: the hottest keys, the decisions, the explanation of a key, the two actions.

import { fill, make, tell } from "./charts.js";
import * as words from "./words.js";

/** The most rows of the log shown. */
const MOST = 40;
/** The most terms of a score shown. */
const TERMS = 10;

async function ask(path, parameters) {
  const response = await fetch(`${path}?${new URLSearchParams(parameters)}`, { cache: "no-store" });
  if (!response.ok) throw new Error((await response.text()).trim() || `the service answered ${response.status}`);
  return response.json();
}

/** A key's label, which explains itself when chosen. */
function keyButton(label, cache) {
  const button = make("button", { class: "key", type: "button", "data-key": label }, label);
  button.addEventListener("click", () => {
    document.getElementById("key").value = label;
    explain(label, [cache]);
    document.getElementById("explain-title").scrollIntoView({ block: "nearest" });
  });
  return button;
}

/** Rows are replaced unless somebody is on one of them. */
function rows(id, made) {
  const body = document.querySelector(`#${id} tbody`);
  if (!body.contains(document.activeElement)) body.replaceChildren(...made);
}

/** The hottest keys of the caches, most read first. */
export async function showHottest(ids) {
  const each = await Promise.all(ids.map(async (id) => (await ask("hottest", { cache: id, n: 15 })).map((hot) => ({ ...hot, id }))));
  const hottest = each.flat().sort((one, other) => other.reads - one.reads).slice(0, 15);
  fill("hot", hottest.length ? "" : "Memory is empty.", ["hot"]);
  rows("hot", hottest.map(({ key, reads, lifetime, age, size, id }) => {
    const cells = [words.rate(reads), words.span(lifetime), words.span(age), words.count(size)].map((text) => make("td", {}, text));
    return make("tr", {}, make("td", {}, keyButton(key, id)), ...cells);
  }));
}

/** The last decisions of the caches. */
export async function showDecisions(ids) {
  const each = await Promise.all(ids.map(async (id) => (await ask("decisions", { cache: id })).map((logged) => ({ ...logged, id }))));
  const logged = each.flat().sort((one, other) => other.at - one.at).slice(0, MOST);
  fill("log", logged.length ? "" : "Nothing was decided yet: no value came or left.", ["log"]);
  rows("log", logged.map((entry) => {
    const [what, why] = words.decision(entry);
    return make("tr", {}, make("td", {}, words.time(entry.at)), make("td", {}, keyButton(entry.key, entry.id)), make("td", {}, what), make("td", {}, why));
  }));
}

/** Asks each cache about a key; shows the one that holds it, or the first. */
export async function explain(key, ids) {
  const told = document.getElementById("told");
  try {
    const answers = await Promise.all(ids.map((id) => ask("explain", { cache: id, key })));
    const answer = answers.find((one) => one.is_resident) ?? answers.find((one) => one.score) ?? answers[0];
    told.replaceChildren(...explained(answer));
  } catch (error) {
    told.replaceChildren(make("p", { class: "empty" }, error.message));
  }
}

function explained({ key, words: lines, policy, arm, score, decisions }) {
  const side = arm === null ? policy : arm === "control" ? `${policy}, the control` : `${policy}, the policy on trial`;
  const parts = [make("h3", {}, `Key ${key}`), make("p", { class: "about" }, `Decided by ${side}.`), make("ul", {}, ...lines.map((line) => make("li", {}, line)))];
  if (score) {
    parts.push(make("h3", {}, "What adds up to the score"), make("p", { class: "about" }, `Towards leaving to the left, towards staying to the right; means over the model’s four spans. Model ${score.model}.`), terms(score));
  }
  if (decisions.length) {
    const items = decisions.slice(0, 8).map((entry) => make("li", {}, `${words.time(entry.at)} ${words.decision(entry).join(", ")}`));
    parts.push(make("h3", {}, "Decided about it"), make("ul", {}, ...items));
  }
  return parts;
}

function terms({ contributions, logits }) {
  const mean = (numbers) => numbers.reduce((total, number) => total + number, 0) / numbers.length;
  const all = contributions.map(({ name, value, adds }) => ({ name, value, adds: mean(adds) })).sort((a, b) => Math.abs(b.adds) - Math.abs(a.adds));
  const rest = all.slice(TERMS);
  const shown = [...all.slice(0, TERMS), { name: `${rest.length} others`, value: "", adds: rest.reduce((total, term) => total + term.adds, 0) }];
  const most = Math.max(...shown.map((term) => Math.abs(term.adds)), 1e-9);
  const text = (number) => (number < 0 ? "−" : "+") + Math.abs(number).toFixed(3);
  const line = ({ name, value, adds }) => {
    const bar = make("i", { class: adds < 0 ? "minus" : "" });
    const length = (Math.abs(adds) / most) * 50;
    bar.style.width = `${length}%`;
    bar.style.left = `${adds < 0 ? 50 - length : 50}%`;
    return make("tr", {}, make("th", { scope: "row" }, name), make("td", { class: "value" }, value), make("td", {}, make("span", { class: "track" }, bar)), make("td", { class: "number" }, text(adds)));
  };
  const total = make("tr", {}, make("th", { scope: "row" }, "logit"), make("td", { class: "value" }, "the sum"), make("td"), make("td", { class: "number" }, text(mean(logits))));
  return make("table", { class: "adds" }, make("caption", { class: "hidden" }, "Contributions to the score"), make("tbody", {}, ...shown.map(line)), make("tfoot", {}, total));
}

/** Rolls back or resumes; the token is asked for in the page, and kept nowhere. */
export async function act(action, ids, token) {
  if (!token) {
    tell("acted", "Give the token first: the service prints it with its address.");
    return;
  }
  tell("acted", "asking…");
  const done = await Promise.all(ids.map(async (id) => {
    const headers = { Authorization: `Bearer ${token}` };
    const response = await fetch(`${action}?${new URLSearchParams({ cache: id })}`, { method: "POST", headers });
    return response.ok ? null : (await response.text()).trim();
  })).catch((error) => [error.message]);
  const wrong = done.find(Boolean);
  tell("acted", wrong ? `Refused: ${wrong}` : action === "resume" ? "Resumed: the policy ramps up again." : "Rolled back: the control policy runs.");
}
