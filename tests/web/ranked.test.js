// Rows that are the first few in an order: the page shows those of the newest window, and no key that has left it.

import assert from "node:assert/strict";
import { browserTest, eventually, figures, open, ranking, status, table } from "./support/browser.js";
import { MockServer } from "./support/mock.js";

async function serve(t, options, windows = []) {
  const server = await MockServer.start({ page: { chart: "rank", additive: false, unit: "sold" }, series: [], ...options });
  t.after(() => server.close());
  for (const window of windows) rank(server, window);
  return server;
}

/** Publishes a window of `[key, value]` in order; the first three keys that are met have a line. */
function rank(server, top, more = {}) {
  const known = server.series.map(({ key }) => key);
  for (const [key] of top) if (known.length < 3 && !known.includes(key)) known.push(key);
  const series = known.map((key) => ({ key, label: key === "a" ? "Apples" : key }));
  server.publish(known.map((key) => top.find(([own]) => own === key)?.[1] ?? null), { series, top, ...more });
}

/** The bars: `[["1", "Apples", "5", width of the bar in percent], ...]`. */
function places(page) {
  return page.$$eval(".place", (rows) => rows.map((row) => [
    ...[".place-number", ".place-name", ".place-value"].map((part) => row.querySelector(part).textContent),
    Math.round(100 * row.querySelector(".rank-bar-fill").getBoundingClientRect().width
      / row.querySelector(".rank-bar").getBoundingClientRect().width),
  ]));
}

browserTest("the newest window is shown as bars, also of keys without a line", async (t) => {
  const server = await serve(t, {}, [[["a", 8], ["b", 6]], [["b", 9], ["c", 2]]]);
  const page = await open(t, server.url);
  await status(page, /^Live$/);
  assert.deepEqual(await places(page), [["1", "b", "9", 100], ["2", "c", "2", 22]]);
  rank(server, [["a", 8], ["x", 4], ["b", 4], ["y", 2]]);
  await eventually(() => places(page), [["1", "Apples", "8", 100], ["2", "x", "4", 50], ["3", "b", "4", 50], ["4", "y", "2", 25]]);
  assert.match(await page.textContent("#places-time"), /12:00:02, sold$/);
  assert.match(await page.textContent("#live-region"), /: b 9, c 2 sold$/);
  for (const part of ["#chart", ".side-card", ".figures"]) assert.equal(await page.isVisible(part), false, part);
  assert.deepEqual((await table(page))[0], ["12:00:02", "Apples 8", "x 4", "b 4", "y 2"]);
  assert.deepEqual((await table(page))[2], ["12:00:00", "Apples 8", "b 6", "–", "–"]);
  assert.deepEqual(page.problems, []);
});

browserTest("a window that is given again has what is in it now", async (t) => {
  const server = await serve(t, {}, [[["a", 2], ["b", 1]]]);
  const page = await open(t, server.url);
  await status(page, /^Live$/);
  rank(server, [["c", 3], ["a", 2]], { at: server.time });
  await eventually(() => places(page), [["1", "c", "3", 100], ["2", "Apples", "2", 67]]);
  await page.getByRole("button", { name: "Line" }).click();
  assert.deepEqual(await figures(page), [["c", "3"], ["Apples", "2"]]);
  assert.deepEqual(await ranking(page), [["Apples", "2", ""], ["c", "3", ""]]);
  assert.equal(await page.textContent("#side-heading"), "Now");
  await page.getByRole("button", { name: "Ranking" }).click();
  assert.equal((await places(page)).length, 2);
});

browserTest("other results are ranked where the file says so", async (t) => {
  const series = ["a", "b", "c"].map((key) => ({ key, label: key }));
  const server = await MockServer.start({ series, page: { chart: "rank" } });
  t.after(() => server.close());
  server.publish([1, 9, 3]);
  server.publish([5, null, 7]);
  const page = await open(t, server.url, { width: 360, height: 740 });
  await status(page, /^Live$/);
  assert.deepEqual((await places(page)).map((row) => row.slice(0, 3)), [["1", "c", "7"], ["2", "a", "5"]]);
  const [content, width] = await page.evaluate(() => [document.documentElement.scrollWidth, innerWidth]);
  assert.equal(content, width);
});
