// What the page shows of each shape of result, from the file to the figures: the real binary behind a browser.

import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";
import { eventually, figures, open, ranking, status, table } from "./support/browser.js";
import { binaryTest, freePort, prepare } from "./support/pipectl.js";

const PAGE = fileURLToPath(new URL("../../dashboards/gender", import.meta.url));
const BROWSER = { PIPECTL_TEST_BROWSER: process.env.PIPECTL_TEST_BROWSER };

/** A file that reads `rows.csv` (`at,k,g,v`) through a topic into `window`, and shows what that gives. */
function file({ port, window, between = "", sink = "" }) {
  return `
name: shapes
connections:
  kafka: { brokers: embedded }
pipelines:
  rows:
    - source: csv
      time: { field: at, format: epoch_ms }
      with: { path: rows.csv }
    - transform: cast
      with: { fields: { v: integer } }
    - sink: kafka
      with: { topic: rows }
  shown:
    - source: kafka
      with: { topic: rows, format: { json: { fields: { k: text, g: text, v: integer } } } }
    - window: ${window}
${between}    - sink: socketio
      with: { listen: "127.0.0.1:${port}", page: ${PAGE}${sink} }
`;
}

/** Rows \`at,k,g,v\` from lists of [second, k, g, v]. */
function csv(rows) {
  return ["at,k,g,v", ...rows.map(([second, k, g = "x", v = 1]) => [1.7e12 + second * 1000, k, g, v].join())].join("\n");
}

/** The page of a file, once it is live. */
async function show(t, rows, options) {
  const port = await freePort();
  const start = await prepare(t, file({ port, ...options }), csv(rows));
  const { url } = await start();
  const page = await open(t, url);
  await status(page, /^(Live|No new data)/);
  return page;
}

/** The windows of the table, oldest first: for each the texts of its cells. */
async function windows(page) {
  return (await table(page)).reverse().map((row) => row.slice(1).filter((text) => text !== "–"));
}

/** So many rows of a key, in this second. */
function times(count, second, ...row) {
  return Array.from({ length: count }, () => [second, ...row]);
}

binaryTest("a top 3 that is given again has 3 keys, whichever led before", async (t) => {
  // Each three keys lead, one after the other.
  const rows = [1, 2, 3, 4].flatMap((round) => ["a", "b", "c"].flatMap((k, i) => times(round * 40 + i, 1, `${k}${round}`)));
  const slow = { window: "top-k\n      with: { field: k, k: 3, size: 1h, emit: updates, every: 50ms }" };
  const port = await freePort();
  const yaml = file({ port, ...slow, sink: ", key: k" }).replace("rows.csv }", "rows.csv, rate: 400/s }")
    .replace("time: { field: at, format: epoch_ms }", "id: csv");
  const start = await prepare(t, yaml, csv(rows));
  const { url } = await start();
  const page = await open(t, url);
  await status(page, /^(Live|No new data)/);
  await eventually(async () => (await windows(page)).at(-1), ["c4 162", "b4 161", "a4 160"], 15_000);
}, BROWSER);

binaryTest("a late row that changes a top 2 takes the place of what it displaces", async (t) => {
  const rows = [...times(3, 1, "a"), ...times(2, 1, "b"), ...times(1, 1500, "z"), ...times(4, 2, "c"), ...times(1, 2500, "z")];
  const page = await show(t, rows, {
    window: "top-k\n      with: { field: k, k: 2, size: 1000s, lateness: 1h }", sink: ", key: k",
  });
  await eventually(() => windows(page).then((all) => all.slice(0, 2)), [["c 4", "a 3"], ["z 1"]]);
}, BROWSER);

/** What is said of a page's view: kind of chart, and the heading beside it. */
function view(page) {
  return page.evaluate(() => [
    document.body.dataset.view, document.querySelector(".segment[aria-pressed=true]").dataset.kind,
    document.getElementById("side-heading").textContent,
  ]);
}

/** The last row closes the windows before it; its own stays open for as long as a test takes. */
const END = [10_000, "end", "end", 1];

binaryTest("a window without a key is one line, with its own summary in place of shares", async (t) => {
  const rows = [...times(4, 1, "a"), ...times(1, 1200, "a"), ...times(7, 2100, "b"), END];
  const page = await show(t, rows, { window: "count\n      with: { size: 1000s }" });
  await eventually(() => figures(page), [["count", "7"]]);
  assert.deepEqual(await view(page), ["chart", "line", "In view"]);
  const summary = () => page.$$eval(".summary-line", (all) => all.filter((line) => !line.hidden)
    .map((line) => [line.querySelector("dt").textContent, line.querySelector("dd").textContent]));
  assert.deepEqual(await summary(), [["Newest", "7"], ["Least", "1"], ["Mean", "4"], ["Greatest", "7"], ["In all", "12"]]);
  for (const part of [".donut", "#ranking", "[data-kind=share]"]) assert.equal(await page.isVisible(part), false, part);
  assert.deepEqual(page.problems, []);
}, BROWSER);

binaryTest("a window by two fields has a line for each pair, and all its rows are counted", async (t) => {
  const rows = [...times(4, 1, "a", "x"), ...times(2, 1, "a", "y"), ...times(3, 1, "b", "x"), END];
  const page = await show(t, rows, { window: "count\n      with: { key: [k, g], size: 1000s }" });
  await eventually(() => figures(page), [["a / x", "4"], ["a / y", "2"], ["b / x", "3"], ["All", "9"]]);
  assert.deepEqual(await ranking(page), [["a / x", "4", "44.4%"], ["a / y", "2", "22.2%"], ["b / x", "3", "33.3%"]]);
}, BROWSER);

binaryTest("several numbers are a line each, which are not added up", async (t) => {
  const rows = [[1, "a", "x", 5], [2, "a", "x", 7], [3, "b", "x", 1], [1100, "a", "x", 2], END];
  const columns = "columns: { orders: count, sold: { sum: { field: v } } }";
  const page = await show(t, rows, { window: `aggregates\n      with: { size: 1000s, ${columns} }` });
  await eventually(() => figures(page), [["orders", "1"], ["sold", "2"]]);
  assert.deepEqual(await ranking(page), [["orders", "4", ""], ["sold", "15", ""]]);
  assert.deepEqual(await view(page), ["chart", "line", "Totals"]);
  assert.deepEqual(await windows(page), [["3", "13"], ["1", "2"]]);
  const keyed = await show(t, rows, { window: `aggregates\n      with: { key: k, size: 1000s, ${columns} }` });
  await eventually(() => ranking(keyed), [["a / orders", "3", ""], ["a / sold", "14", ""], ["b / orders", "1", ""], ["b / sold", "1", ""]]);
}, BROWSER);

binaryTest("quantiles are shown together, and only as they are now", async (t) => {
  const rows = [...Array.from({ length: 101 }, (_, i) => [1, "a", "x", i * 10]), END];
  const page = await show(t, rows, { window: "quantiles\n      with: { field: v, of: [0.5, 0.9], size: 1000s }" });
  await eventually(async () => (await figures(page)).map(([name, value]) => [name, Math.round(value / 50) * 50]), [["p50", 500], ["p90", 900]]);
  assert.deepEqual(await view(page), ["chart", "line", "Now"]);
}, BROWSER);

binaryTest("a top-k is shown as bars in its order, with nothing said in the file", async (t) => {
  const rows = [...times(2, 1, "a"), ...times(5, 1, "b"), ...times(3, 1, "c"), END];
  const page = await show(t, rows, { window: "top-k\n      with: { field: k, k: 2, size: 1000s }" });
  const places = () => page.$$eval(".place", (all) => all.map((row) => row.innerText.split("\n").join(" ")));
  await eventually(places, ["1 b 5", "2 c 3"]);
  assert.deepEqual((await view(page)).slice(0, 2), ["rank", "rank"]);
  const grouped = await show(t, rows.map(([second, k], i) => [second, k, i % 2 ? "x" : "y"]), {
    window: "top-k\n      with: { key: g, field: k, k: 1, size: 1000s }",
  });
  const of = () => grouped.$$eval(".place-name", (all) => all.map((node) => node.textContent));
  await eventually(of, ["x / b", "y / b"]);
}, BROWSER);

for (const [chart, seen, gone] of [
  ["area", ["#chart", "#ranking"], ["#places"]],
  ["rank", ["#places"], ["#chart", "#ranking", ".figures"]],
  ["table", ["#table table"], [".board", ".figures"]],
  ["number", [".figures"], [".board"]],
]) {
  binaryTest(`chart: ${chart} is what the file says`, async (t) => {
    const rows = [...times(2, 1, "a"), ...times(5, 1, "b"), END];
    const page = await show(t, rows, { window: "count-by-key\n      with: { key: k, size: 1000s }", sink: `, chart: ${chart}` });
    await page.waitForSelector(seen[0], { state: "visible" });
    for (const part of seen) assert.equal(await page.isVisible(part), true, part);
    for (const part of gone) assert.equal(await page.isVisible(part), false, part);
    assert.deepEqual(page.problems, []);
  }, BROWSER);
}
