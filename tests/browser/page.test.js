// The dashboard in a real browser, beside a real service.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { after, before, test } from "node:test";
import { openPage, report, startBrowser, startPage, startService, until } from "./service.js";

const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
let service, browser;

before(async () => {
  [service, browser] = await Promise.all([startService(), startBrowser()]);
  // Until every panel has something to show.
  await until(service.origin, ({ caches }) => caches.every(({ report: { control, freshness, latency } }) => control?.requests && freshness.recent && control.sizes.length && latency.local.p50));
}, { timeout: 120_000 });

after(async () => {
  await browser?.close();
  await service?.stop();
});

/** Chooses one cache, and reads the page's numbers together with the frame they are of. */
async function numbers(page, cache) {
  await page.selectOption("#cache", JSON.stringify([cache]));
  // The frame that the page heard, taken from its own stream, so that both are of one moment.
  return page.evaluate(async (id) => {
    const raw = () => Object.fromEntries(["hit-ratio", "gain", "stale", "saved", "memory", "memory-sub"].map((name) => [name, Number(document.getElementById(name).dataset.raw)]));
    for (;;) {
      const frame = await (await fetch("report")).json();
      if (String(frame.at) === document.documentElement.dataset.at) {
        // An instance elsewhere that was slow to answer is there again in a later one.
        const cache = frame.caches.find((cache) => cache.id === id);
        if (cache) return { raw: raw(), report: cache.report };
      }
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }, cache);
}

test("the numbers on the page are those of /report", async () => {
  const { page, context, wrong } = await openPage(browser, service.origin);
  for (const { id: cache } of (await report(service.origin)).caches) {
    const { raw, report: of } = await numbers(page, cache);
    const { counts, control, freshness } = of;
    assert.equal(raw["hit-ratio"], counts.hits / (counts.hits + counts.misses));
    assert.equal(raw.gain, control.gain);
    assert.equal(raw.stale, freshness.recent.rate);
    assert.equal(raw.saved, counts.loads + counts.load_errors);
    assert.equal(raw.memory, of.weight);
    assert.equal(raw["memory-sub"], of.entries);
  }
  assert.deepEqual(wrong, []);
  await context.close();
});

test("both processes together are summed", async () => {
  const { page, context } = await openPage(browser, service.origin);
  assert.match(await page.locator("#cache option").first().textContent(), /all 2 of larder/);
  const both = await page.evaluate(async () => {
    for (;;) {
      const frame = await (await fetch("report")).json();
      const { at } = document.documentElement.dataset;
      const entries = Number(document.getElementById("memory-sub").dataset.raw);
      if (String(frame.at) === at) return { entries, each: frame.caches.map(({ report: { entries: own } }) => own) };
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  });
  assert.equal(both.entries, both.each[0] + both.each[1]);
  await context.close();
});

test("who comes, goes or starts anew makes no step in what is summed", async () => {
  const { page, context } = await openPage(browser, service.origin);
  const [rates, gains] = await page.evaluate(async () => {
    const { poolMoments, since } = await import("./pool.js");
    const gain = { control_hit_ratio: 0.5, gain: 0.1, low: 0, high: 0.2, requests: 100 };
    const cache = (id, hits, misses) => ({ id, hits, misses, remote_hits: 0, loads: misses, load_errors: 0, stale: 0, measured: null, control: gain });
    // One of ten reads a second is there before the other, of a hundred; that one starts anew, then ends.
    const others = [[], [cache("b", 5000, 5000)], [cache("b", 5050, 5050)], [cache("b", 0, 0)], [cache("b", 50, 50)], []];
    const moments = others.map((other, at) => ({ at: at * 1000, caches: [cache("a", 5 * at, 5 * at), ...other] }));
    const pooled = poolMoments(moments, ["a", "b"]);
    return [pooled.map((_, at) => since(pooled, at, 1)?.reads ?? null), pooled.map(({ control }) => control.gain.value)];
  });
  assert.deepEqual(rates, [null, 10, 110, 10, 110, 10]);
  for (const gain of gains) assert.ok(Math.abs(gain - 0.1) < 1e-9, gains);
  await context.close();
});

test("the last hour of several caches is weighed by its reads, not by those of their lives", async () => {
  const { page, context } = await openPage(browser, service.origin);
  const [rate, size, moment, doubtful, prefix] = await page.evaluate(async () => {
    const { poolMoments, poolReports } = await import("./pool.js");
    const { report } = (await (await fetch("report")).json()).caches[0];
    const stale = (rate, reads, doubtful = 0) => ({ rate, low: rate / 2, high: rate * 2, is_certifiable: true, reads, doubtful });
    const of = (hits, recent, hit_ratio, reads) => ({
      ...report,
      counts: { ...report.counts, hits, misses: 0 },
      freshness: { ...report.freshness, recent, prefixes: [{ prefix: "price:", objective: 0.001, measured: null, recent }] },
      control: { ...report.control, sizes: [{ scale: 1, hit_ratio, reads, loads_an_hour: 0, cost: null }] },
    });
    // One that has been up for a month, and one for an hour.
    const pooled = poolReports([of(2.6e9, stale(0.005, 3.6e6), 0.9, 100), of(3.6e6, stale(0.1, 3.6e6), 0.1, 100)]);
    const point = (id, hits, measured) => ({ id, hits, misses: 0, remote_hits: 0, loads: 0, load_errors: 0, stale: 0, measured, control: null });
    const [moment] = poolMoments([{ at: 0, caches: [point("a", 2.6e9, [0.005, 0, 0.01, 3.6e6, 0]), point("b", 3.6e6, [0.1, 0.05, 0.2, 3.6e6, 0])] }], ["a", "b"]);
    const bound = { rate: 0.0025, low: 0, high: 0.23, is_certifiable: false, reads: 10, doubtful: 0.22 };
    const sixteen = poolReports(Array(16).fill(of(1000, bound, 0.5, 10))).freshness.recent;
    return [pooled.freshness.recent.rate, pooled.control.sizes[0].hit_ratio, moment.measured.value, [sixteen.low, sixteen.high], pooled.freshness.prefixes];
  });
  assert.ok(Math.abs(rate - 0.0525) < 1e-9 && Math.abs(moment - 0.0525) < 1e-9, `${rate} ${moment}`);
  assert.equal(size, 0.5);
  // What nobody knows does not average out.
  assert.ok(Math.abs(doubtful[0]) < 1e-9 && Math.abs(doubtful[1] - 0.23) < 1e-9, doubtful);
  assert.ok(prefix.length === 1 && prefix[0].prefix === "price:" && Math.abs(prefix[0].recent.rate - 0.0525) < 1e-9, JSON.stringify(prefix));
  await context.close();
});

test("keys with an objective of their own have a row, and the worst is told first", async () => {
  const { page, context } = await openPage(browser, service.origin);
  const shown = await page.evaluate(async () => {
    const { show } = await import("./views.js");
    const { report } = (await (await fetch("report")).json()).caches[0];
    const stale = (rate) => ({ rate, low: 0.9 * rate, high: 1.1 * rate, is_certifiable: true, reads: 1e6, doubtful: 0 });
    const prefixes = [{ prefix: "price:", objective: 0.001, measured: null, recent: stale(0.02) }, { prefix: "new:", objective: 0.1, measured: null, recent: null }];
    show({ ...report, freshness: { ...report.freshness, objective: 0.01, recent: stale(0.004), prefixes } }, []);
    const text = (id) => document.getElementById(id).textContent;
    const rows = [...document.querySelectorAll("#objectives tbody tr")].map((row) => [...row.children].map((cell) => cell.textContent).join("|"));
    return { sentence: text("sentence"), tile: [text("stale"), text("stale-sub"), document.getElementById("stale").className], rows, bad: document.querySelector("#objectives .bad")?.textContent, about: text("stale-about") };
  });
  assert.match(shown.sentence, /2\s% of answers about “price:” stale, objective 0.1\s%, the worst kept of all/);
  assert.deepEqual(shown.tile, ["2.00\u00a0%", "“price:”, the worst kept: objective 0.10\u00a0%; 1.80 to 2.20 in the last hour", "big bad"]);
  assert.deepEqual(shown.rows, ["other keys|0.40\u00a0% (0.36 to 0.44)|1.0\u00a0%|kept", "“price:”|2.00\u00a0% (1.80 to 2.20)|0.10\u00a0%|missed", "“new:”|–|10\u00a0%|nothing checked yet"]);
  assert.equal(shown.bad, "missed");
  assert.match(shown.about, /reads of other keys/);
  await context.close();
});

test("a gain is told once it counts, with since when, and the arms' with what stands against it", async () => {
  const { page, context } = await openPage(browser, service.origin);
  const [before, after] = await page.evaluate(async () => {
    const { show } = await import("./views.js");
    const { report } = (await (await fetch("report")).json()).caches[0];
    const loads = { change: 0.1, low: -0.2, high: 0.5, p_more: 0.3, p_less: 0.7 };
    const arms = { hit_ratio: 0.6, control_hit_ratio: 0.5, effect: 0.1, low: 0.05, high: 0.15, origin_loads: loads, p99: null, stale: null, control_stale: null, refusals: ["few slices", "4 shards"] };
    const of = (control) => {
      show({ ...report, control: { ...report.control, state: "adopted", treated: 60, parts: 64, arms, ...control } }, []);
      return ["sentence", "gain", "gain-sub", "arms-empty", "trial", "refusals", "arms-about"].map((id) => document.getElementById(id).textContent);
    };
    const none = { requests: 0, counted_for: null, turnovers: 0.3, gain: 0, low: -1, high: 1, refusals: ["few slices"] };
    return [of(none), of({ requests: 1e6, counted_for: 5400, turnovers: 9, gain: 0.1, low: 0.05, high: 0.15, refusals: [] })];
  });
  assert.match(before[0], /is told once the memory was turned over twice, and so far it was 0.3 times/);
  assert.equal(before[1], "–");
  assert.match(before[3], /turned over twice.* While everything fits into the memory, no policy could do better/);
  assert.doesNotMatch(before[4], /Arms/);
  assert.equal(before[5].match(/few slices/g).length, 1, before[5]);
  assert.match(after[0], /95\s%, over 90 min\)/);
  assert.match(after[2], /over 90 min/);
  assert.match(after[4], /Arms60.0\s% and 50.0\s%: .*; nothing may be concluded yet.*p = 0.60/);
  assert.match(after[5], /from the arms: 4 shards/);
  assert.match(after[6], /since the policy last changed sides, over 90 min, not of late alone/);
  await context.close();
});

test("other sizes of several caches are weighed by reads", async () => {
  const { page, context } = await openPage(browser, service.origin);
  const hit = await page.evaluate(async () => {
    const { poolReports } = await import("./pool.js");
    const { report } = (await (await fetch("report")).json()).caches[0];
    // Two of an older version, which does not say how many reads that is told from.
    const of = (hits, misses, hit_ratio) => ({ ...report, counts: { ...report.counts, hits, misses }, control: { ...report.control, sizes: [{ scale: 1, hit_ratio, loads_an_hour: 0, cost: null }] } });
    return poolReports([of(90_000, 10_000, 0.9), of(10, 90, 0.1)]).control.sizes[0].hit_ratio;
  });
  assert.equal(hit.toFixed(3), "0.899");
  await context.close();
});

test("loads that fail are loads, and are marked", async () => {
  const { page, context } = await openPage(browser, service.origin);
  const shown = await page.evaluate(async () => {
    const [{ poolMoments }, { show }] = await Promise.all([import("./pool.js"), import("./views.js")]);
    const { report } = (await (await fetch("report")).json()).caches[0];
    // A hundred reads a second, half of them hits; of the others' loads nine of ten fail.
    const caches = (at) => [{ id: "a", hits: 50 * at, misses: 50 * at, remote_hits: 0, loads: 5 * at, load_errors: 45 * at, stale: 10 * at, measured: null, control: null }];
    show(report, poolMoments([0, 1, 2, 3].map((at) => ({ at: 1000 * at, caches: caches(at) })), ["a"]));
    const sub = document.getElementById("saved-sub");
    const rows = [...document.querySelectorAll("#waterfall tbody tr")].map((row) => `${row.firstChild.textContent} ${row.lastChild.textContent}`);
    return [document.getElementById("saved").textContent, sub.textContent, sub.className, rows, document.getElementById("waterfall-about").textContent];
  });
  assert.deepEqual(shown.slice(0, 3), ["50.0\u00a0%", "50 loads a second, 90.0\u00a0% fail", "sub bad"]);
  // A tenth was served beyond its time; of the other misses nobody can say which the origin answered.
  assert.deepEqual(shown[3], ["Memory 50.0\u00a0%", "Beyond its time 10.0\u00a0%", "Remote tier 0.0\u00a0%", "Origin, or failed 40.0\u00a0%"]);
  assert.match(shown[4], /Of the loads 90.0\s% failed/);
  await context.close();
});

test("after a server's clock is set back the page goes on", async () => {
  const { page, context } = await openPage(browser, service.origin);
  const known = await page.evaluate(async () => {
    const { Feed } = await import("./feed.js");
    const feed = Object.assign(Object.create(Feed.prototype), { moments: [], heard: { frame() {}, state() {} } });
    for (const at of [1000, 2000, 3000, 1500, 2500]) feed.receive({ at, caches: [] });
    return feed.moments.map(({ at }) => at);
  });
  assert.deepEqual(known, [1000, 1500, 2500]);
  await context.close();
});

test("every panel says something, and nothing is wrong on the console", async () => {
  const { page, context, wrong } = await openPage(browser, service.origin);
  await page.waitForFunction(() => document.querySelectorAll("#hot tbody tr, #log tbody tr").length > 10);
  for (const panel of ["arms", "loads", "stale", "sizes"]) {
    await page.waitForSelector(`#${panel}-chart canvas`, { state: "visible" });
    const label = await page.locator(`#${panel}-chart`).getAttribute("aria-label");
    assert.match(label, /now [\d.,]+/, panel);
    await page.locator(`#${panel}-table`).locator("xpath=..").locator("summary").click();
    await page.waitForFunction((name) => document.querySelectorAll(`#${name}-table tbody tr`).length > 2, panel);
  }
  assert.equal(await page.locator("#waterfall tbody tr").count(), 3);
  assert.ok((await page.locator("#ttls tbody tr").count()) > 1);
  assert.match(await page.locator("#latency tbody tr").first().textContent(), /Memory[\d.]+ µs/);
  assert.equal(await page.locator(".empty:visible").count(), 1, "only the question for a key is empty");
  assert.match(await page.locator("#sentence").textContent(), /stale/);
  assert.match(await page.locator("#twice").textContent(), /twice the memory: [\d.]+\s%/);
  // On a busy machine the breaker may rest for a while.
  await page.waitForFunction(() => /closed/.test(document.querySelector("#remote dd").textContent));
  assert.ok((await page.locator("#trial dd").count()) >= 5);
  assert.match(await page.locator("#model").textContent(), /On duty\d+ of \d+ parts/);
  assert.deepEqual(wrong, []);
  await context.close();
});

test("the model's losses are those of /report, and a write-behind log is told where there is one", async () => {
  const { page, context, wrong } = await openPage(browser, service.origin);
  const { id } = (await until(service.origin, ({ caches }) => caches[0].report.model.loss !== null)).caches[0];
  await page.selectOption("#cache", JSON.stringify([id]));
  const [shown, model] = await page.evaluate(async (cache) => {
    for (;;) {
      const frame = await (await fetch("report")).json();
      const raw = () => [...document.querySelectorAll("#model dd")].map((fact) => fact.dataset.raw);
      if (String(frame.at) === document.documentElement.dataset.at) return [raw(), frame.caches.find((one) => one.id === cache).report.model];
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }, id);
  const told = [model.on_duty, model.loss, model.loss_to_prior, model.calibration_error, model.drift];
  assert.deepEqual(shown, told.map((number) => String(number ?? "")));
  assert.match(await page.locator("#model").textContent(), /Drift\d+\s?% of what sets it aside; began anew \d+ times/);
  assert.ok(!(await page.locator("#behind-card").isVisible()), "the demonstration has no such log");
  // Of two instances with one: sums, the one that waits longest, and what was lost is marked.
  const facts = await page.evaluate(async () => {
    const [{ poolReports }, { show }] = await Promise.all([import("./pool.js"), import("./views.js")]);
    const [{ report: one }, { report: other }] = (await (await fetch("report")).json()).caches;
    const log = (pending, oldest, lost) => ({ pending, pending_bytes: 1024 * pending, oldest, counts: { appended: 100, lost } });
    const model = (loss, parts, drift, drifts) => ({ ...one.model, loss, parts, drift, drifts });
    const pooled = poolReports([
      { ...one, behind: log(3, 2.5, 0), model: model(0.5, 1, 0.6, 1) },
      { ...other, behind: log(1, null, 2), model: model(0.9, 3, 0.1, 2) },
    ]);
    show(pooled, []);
    const list = (name) => Object.fromEntries([...document.querySelectorAll(`#${name} dt`)].map((term) => [term.textContent, [term.nextSibling.textContent, term.nextSibling.className]]));
    return { ...list("behind"), loss: list("model")["Loss to the base rate’s"], drift: list("model").Drift };
  });
  assert.deepEqual(facts, {
    Pending: ["4 writes, 4 KiB", ""],
    "The oldest waits": ["2.5 s", ""],
    appended: ["200", ""],
    lost: ["2", "bad"],
    loss: ["0.800", "good"],
    // The worst of them, and all of the times.
    drift: ["60\u00a0% of what sets it aside; began anew 3 times", "bad"],
  });
  assert.deepEqual(wrong, []);
  await context.close();
});

test("a page of its own shows an instance elsewhere, and sends there whoever wants to act", async () => {
  const nobody = "127.0.0.1:1";
  const own = await startPage([service.origin, nobody]);
  const { page, context, wrong } = await openPage(browser, own.origin);
  await page.waitForFunction(() => document.querySelectorAll("#cache option").length > 2);
  const address = new URL(service.origin).host;
  const options = await page.locator("#cache option").allTextContents();
  assert.deepEqual(options, ["all 2 of larder", `${address}/larder-1`, `${address}/larder-2`]);
  const { raw, report: of } = await numbers(page, `${address}/larder-1`);
  assert.equal(raw["hit-ratio"], of.counts.hits / (of.counts.hits + of.counts.misses));
  assert.ok(!(await page.locator("#act").isVisible()), "there is nothing here to act upon");
  assert.equal(await page.locator("#elsewhere a").getAttribute("href"), `${service.origin}/`);
  // Keys are asked about there.
  await page.waitForSelector("#hot .key");
  await page.locator("#hot .key").first().click();
  await page.waitForSelector("#told .adds");
  const foot = await page.locator("#foot").textContent();
  assert.match(foot, /Follows 2 other instances\..*127\.0\.0\.1:1 is not reached/);
  assert.deepEqual(wrong, []);
  await context.close();
  await own.stop();
});

test("a page that reaches nobody says so instead of showing numbers", async () => {
  const own = await startPage(["127.0.0.1:1"]);
  const { page, context, wrong } = await openPage(browser, own.origin);
  assert.match(await page.locator("#sentence").textContent(), /no instance that is followed has been reached/);
  assert.ok(!(await page.locator(".tiles").isVisible()) && !(await page.locator(".grid").isVisible()));
  assert.deepEqual(wrong, []);
  await context.close();
  await own.stop();
});

test("a size for a hit ratio, and what it costs", async () => {
  const { page, context } = await openPage(browser, service.origin);
  const { control } = (await report(service.origin)).caches[0].report;
  const [low, high] = [control.sizes[0].hit_ratio, control.sizes.at(-1).hit_ratio];
  await page.fill("#wanted", ((100 * (low + high)) / 2).toFixed(1));
  await page.waitForFunction(() => /×/.test(document.getElementById("needed").textContent));
  await page.fill("#wanted", "99.9");
  await page.waitForFunction(() => /no size/.test(document.getElementById("needed").textContent));
  // The service's own prices, until the reader types others.
  await page.waitForFunction(() => /An hour costs/.test(document.getElementById("money").textContent));
  assert.deepEqual(await Promise.all(["price-memory", "price-loads", "bytes"].map((id) => page.inputValue(`#${id}`))), ["0.005", "0.4", "300"]);
  const id = (await report(service.origin)).caches[0].id;
  await page.selectOption("#cache", JSON.stringify([id]));
  const costs = await page.evaluate(async (id) => {
    for (;;) {
      const frame = await (await fetch("report")).json();
      if (String(frame.at) === document.documentElement.dataset.at) {
        const shown = [...document.querySelectorAll("#costs tbody tr")].map((row) => Number(row.lastChild.dataset.raw));
        const { control } = frame.caches.find((cache) => cache.id === id).report;
        return { shown, told: control.sizes.map((size) => size.cost.total), cheapest: control.cheapest, sentence: document.getElementById("money").textContent };
      }
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }, id);
  assert.equal(costs.shown.length, control.sizes.length);
  costs.shown.forEach((cost, at) => assert.ok(Math.abs(cost - costs.told[at]) <= 1e-9 * cost, `${cost} for ${costs.told[at]}`));
  assert.match(costs.sentence, new RegExp(`cheapest of these sizes is ${costs.cheapest}×`));
  for (const [id, value] of [["price-memory", "5000"], ["price-loads", "0"], ["bytes", "400"]]) await page.fill(`#${id}`, value);
  await page.waitForFunction(() => /cheapest of these sizes is 0.25×/.test(document.getElementById("money").textContent));
  // Prices stay, on this machine.
  await page.locator("#bytes").blur();
  await page.reload();
  await page.waitForFunction(() => document.documentElement.dataset.at);
  assert.equal(await page.inputValue("#bytes"), "400");
  // Who clears a field has the service's price again.
  await page.fill("#bytes", "");
  await page.locator("#bytes").blur();
  await page.waitForFunction(() => document.getElementById("bytes").value === "300");
  await context.close();
});

test("a key explains itself, and no key is shown in clear", async () => {
  const { page, context, wrong } = await openPage(browser, service.origin);
  await page.waitForSelector("#hot .key");
  await page.locator("#hot .key").first().click();
  await page.waitForSelector("#told .adds");
  // Whichever it was: keys change places.
  assert.match(await page.locator("#told h3").first().textContent(), new RegExp(await page.inputValue("#key")));
  const [terms, sum] = await page.evaluate(() => {
    const number = (cell) => Number(cell.textContent.replace("−", "-"));
    return [[...document.querySelectorAll("#told tbody .number")].map(number), number(document.querySelector("#told tfoot .number"))];
  });
  assert.ok(Math.abs(terms.reduce((total, term) => total + term, 0) - sum) < 0.01, `${terms} make ${sum}`);
  await page.fill("#key", "page:<b>x</b>");
  await page.press("#key", "Enter");
  await page.waitForFunction(() => /does not hold/.test(document.getElementById("told").textContent));
  const text = await page.evaluate(() => document.body.innerText);
  assert.doesNotMatch(text, /(price|stock|page):\d/);
  assert.deepEqual(wrong, []);
  await context.close();
});

test("rolling back takes the token, by keyboard too", async () => {
  const { page, context, wrong } = await openPage(browser, service.origin);
  const state = () => report(service.origin).then(({ caches }) => caches.map((cache) => cache.report.control.state));
  // A frame may have been made while one of the two was still to be told.
  const both = (wanted) => until(service.origin, ({ caches }) => caches.every((cache) => cache.report.control.state === wanted));
  const acted = (pattern) => page.waitForFunction((text) => new RegExp(text).test(document.getElementById("acted").textContent), pattern);
  await page.click("#roll-back");
  await acted("Give the token");
  await page.fill("#token", "0".repeat(32));
  await page.click("#roll-back");
  await acted("Refused: the token is missing or wrong");
  assert.deepEqual(await state(), ["adopted", "adopted"]);
  await page.fill("#token", service.token);
  await page.focus("#roll-back");
  await page.keyboard.press("Enter");
  await acted("Rolled back");
  await both("cooling-down");
  await page.waitForFunction(() => /cooling down/.test(document.getElementById("trial").textContent));
  // What was gained is no more.
  await page.waitForFunction(() => /is rolled back: .* decides/.test(document.getElementById("sentence").textContent));
  assert.equal(await page.locator("#gain").textContent(), "–");
  await page.keyboard.press("Tab");
  assert.equal(await page.evaluate(() => document.activeElement.id), "resume");
  await page.keyboard.press("Enter");
  await acted("Resumed");
  await both("adopted");
  // The browser itself notes refused requests; nothing else may be there.
  assert.deepEqual(wrong.filter((line) => !/status of 403/.test(line)), []);
  await context.close();
});

test("the address brings the token, which does not stay in it", async () => {
  const { page, context } = await openPage(browser, service.origin, { hash: `#token=${service.token}` });
  assert.equal(await page.inputValue("#token"), service.token);
  assert.equal(await page.evaluate(() => location.hash), "");
  await context.close();
});

test("everything is reached by keyboard, in the order of the page", async () => {
  const { page, context } = await openPage(browser, service.origin);
  await page.waitForSelector("#hot .key");
  await page.keyboard.press("Tab");
  assert.equal(await page.evaluate(() => document.activeElement.textContent), "Skip to the numbers");
  await page.keyboard.press("Enter");
  assert.equal(await page.evaluate(() => document.activeElement.id), "main");
  const wanted = ["token", "roll-back", "resume", "wanted", "price-memory", "key"];
  const reached = [];
  for (let presses = 0; presses < 80 && wanted.some((id) => !reached.includes(id)); presses += 1) {
    await page.keyboard.press("Tab");
    const { id, outline } = await page.evaluate(() => ({ id: document.activeElement.id, outline: getComputedStyle(document.activeElement).outlineStyle }));
    assert.notEqual(outline, "none", `the focus on ${id} is seen`);
    reached.push(id);
  }
  assert.deepEqual(reached.filter((id) => wanted.includes(id)), wanted);
  await context.close();
});

for (const [name, options] of [
  ["light", { colorScheme: "light" }],
  ["dark", { colorScheme: "dark" }],
  ["phone", { colorScheme: "light", viewport: { width: 360, height: 740 } }],
]) {
  test(`no barrier in ${name}, and nothing sticks out`, async () => {
    const { page, context } = await openPage(browser, service.origin, { ...options, bypassCSP: true });
    await page.waitForSelector("#hot .key");
    await page.locator("#hot .key").first().click();
    await page.waitForSelector("#told .adds");
    const width = await page.evaluate(() => [document.documentElement.scrollWidth, innerWidth]);
    assert.ok(width[0] <= width[1], `${width[0]} px wide in ${width[1]}`);
    await page.evaluate(axe);
    const { violations } = await page.evaluate(() => globalThis.axe.run({ runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "best-practice"] }));
    const told = violations.map(({ id, help, nodes }) => `${id}: ${help}: ${nodes.map((node) => node.html).slice(0, 3).join(" ")}`);
    assert.deepEqual(told, []);
    await context.close();
  });
}

test("when the service is gone the page says that its numbers are old", async () => {
  const own = await startService();
  const { page, context } = await openPage(browser, own.origin);
  await page.waitForFunction(() => document.getElementById("connection").textContent === "live");
  await own.stop("SIGKILL");
  await page.waitForFunction(() => !document.getElementById("lost").hidden && /numbers below are old/.test(document.getElementById("lost").textContent));
  assert.equal(await page.locator("#connection").textContent(), "no connection");
  await context.close();
});
