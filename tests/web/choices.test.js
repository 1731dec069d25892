// What the reader chose outlives a reload, and drawing is bounded however fast results come.

import assert from "node:assert/strict";
import { browserTest, eventually, figures, open, ranking, status } from "./support/browser.js";
import { MockServer } from "./support/mock.js";

async function serve(t, options, windows = []) {
  const server = await MockServer.start(options);
  t.after(() => server.close());
  for (const window of windows) server.publish(window);
  return server;
}

const SERIES = ["a", "b & c", "d"].map((key) => ({ key, label: key }));

browserTest("kind, span and hidden series stand in the address, and are there after a reload", async (t) => {
  const server = await serve(t, { series: SERIES }, Array.from({ length: 200 }, () => [1, 2, 3]));
  const page = await open(t, `${server.url}?other=kept#token=secret`);
  await status(page, /^Live$/);
  await page.click("[data-kind=stacked]");
  await page.selectOption("#span", "120000");
  await page.click(".rank:has-text('b & c')");
  const chosen = () => page.evaluate(() => ({
    kind: document.querySelector("[data-kind=stacked]").getAttribute("aria-pressed"),
    span: document.getElementById("span").value,
    off: [...document.querySelectorAll(".rank[aria-pressed=false] .rank-name")].map((name) => name.textContent),
    all: document.querySelector(".tile-all .tile-value").textContent,
  }));
  const expected = { kind: "true", span: "120000", off: ["b & c"], all: "4" };
  await eventually(chosen, expected);
  assert.deepEqual([...new URL(page.url()).searchParams],
    [["other", "kept"], ["kind", "stacked"], ["span", "120000"], ["off", "b & c"]]);
  assert.doesNotMatch(page.url(), /secret/);
  await page.reload();
  await status(page, /^Live$/);
  await eventually(chosen, expected);
  // A server that began anew has the same keys, perhaps in another order.
  server.begin("second", [...SERIES].reverse());
  for (let i = 0; i < 200; i += 1) server.publish([3, 2, 1], { emit: false });
  server.live.disconnectSockets();
  await eventually(chosen, expected);
  await page.click(".rank:has-text('b & c')");
  await eventually(async () => (await chosen()).off, []);
  assert.deepEqual((await ranking(page)).length, 3);
  assert.deepEqual(page.problems, []);
});

browserTest("an address with nonsense is as one without", async (t) => {
  const server = await serve(t, { series: SERIES }, [[1, 2, 3]]);
  const page = await open(t, `${server.url}?kind=__proto__&span=-5&off=nobody&off=`);
  await status(page, /^Live$/);
  await eventually(() => figures(page), [["a", "1"], ["b & c", "2"], ["d", "3"], ["All", "6"]]);
  assert.equal(await page.getAttribute("[data-kind=line]", "aria-pressed"), "true");
  assert.deepEqual(page.problems, []);
});

browserTest("results that come fast are drawn a few times a second, and the last one is seen", async (t) => {
  const server = await serve(t, { series: SERIES, interval: 10 }, [[1, 2, 3]]);
  const page = await open(t, server.url, { init: countDraws });
  await status(page, /^Live$/);
  await page.evaluate(() => { window.draws = 0; });
  const began = Date.now();
  for (let i = 0; i < 150; i += 1) {
    server.publish([i, i, i]);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  await eventually(() => figures(page), [["a", "149"], ["b & c", "149"], ["d", "149"], ["All", "447"]]);
  const most = Math.ceil((Date.now() - began) / 250) + 2;
  const draws = await page.evaluate(() => window.draws);
  assert.ok(draws <= most, `${draws} draws, at most ${most}`);
});

/** Runs in the page: `draws` counts how often the chart is drawn from its beginning. */
function countDraws() {
  window.draws = 0;
  const clear = CanvasRenderingContext2D.prototype.clearRect;
  CanvasRenderingContext2D.prototype.clearRect = function count(...all) {
    if (this.canvas.closest("#chart")) window.draws += 1;
    return clear.apply(this, all);
  };
}

browserTest("the table keeps the lines that are there, and says what became of each", async (t) => {
  const server = await serve(t, { series: SERIES }, [[1, 2, 3], [4, 5, 6]]);
  const page = await open(t, server.url);
  await status(page, /^Live$/);
  const rows = () => page.$$eval("#table tbody tr", (all) => all.map((row) => [...row.cells].slice(1).map((cell) => cell.textContent).join()));
  await page.$eval("#table-box", (box) => { box.open = true; });
  await eventually(rows, ["4,5,6", "1,2,3"]);
  await page.$eval("#table tbody tr:last-child", (row) => { row.dataset.mine = "yes"; });
  const { t: first } = server.points[0];
  server.publish([7, 8, 9], { at: server.points[1].t + 1000 });
  server.publish([1, 2, 30], { at: first });
  await eventually(rows, ["7,8,9", "4,5,6", "1,2,30"]);
  assert.equal(await page.getAttribute("#table tbody tr:last-child", "data-mine"), "yes");
  server.time = server.points[2].t;
  server.skip(3);
  server.publish([0, 0, 0]);
  await eventually(rows, ["0,0,0", "", "7,8,9", "4,5,6", "1,2,30"]);
  assert.deepEqual(page.problems, []);
});
