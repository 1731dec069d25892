// The figures on the page are those of the results, whatever their size, sign and distance.

import assert from "node:assert/strict";
import { browserTest, eventually, figures, open, ranking, status, table } from "./support/browser.js";
import { MockServer } from "./support/mock.js";

const DAY = 86_400_000;

async function serve(t, options, windows = []) {
  const server = await MockServer.start(options);
  t.after(() => server.close());
  for (const window of windows) server.publish(window);
  return server;
}

function named(...keys) {
  return keys.map((key) => ({ key, label: key }));
}

/** The labels of an axis as the chart would write them now: uPlot draws them on its canvas. */
function axisTexts(page) {
  return page.evaluate(() => window.drawnTexts.slice(-40));
}

/** Runs in the page: `drawnTexts` keeps what is written on canvases. */
function keepTexts() {
  window.drawnTexts = [];
  const write = CanvasRenderingContext2D.prototype.fillText;
  CanvasRenderingContext2D.prototype.fillText = function keep(text, ...rest) {
    window.drawnTexts.push(text);
    return write.call(this, text, ...rest);
  };
}

browserTest("small and huge values are not 0, and push nothing out of the page", async (t) => {
  const server = await serve(t, { series: named("tiny", "least", "huge") }, [[0.00123, 2e-9, 1e300], [0.00456, 3e-9, 2e300]]);
  const page = await open(t, server.url, { init: keepTexts });
  await status(page, /^Live$/);
  assert.deepEqual((await figures(page)).slice(0, 3), [["tiny", "0.00456"], ["least", "3E-9"], ["huge", "2E300"]]);
  assert.deepEqual((await table(page))[0].slice(1), ["0.00456", "3E-9", "2E300"]);
  const [content, width] = await page.evaluate(() => [document.documentElement.scrollWidth, innerWidth]);
  assert.equal(content, width);
  assert.deepEqual(page.problems, []);
});

browserTest("figures that differ in their last digits are drawn apart, and the axis says them", async (t) => {
  const values = Array.from({ length: 20 }, (_, i) => [1_000_000.36 + i * 0.009]);
  const server = await serve(t, { series: named("price"), page: { additive: false } }, values);
  const page = await open(t, server.url, { init: keepTexts });
  await status(page, /^Live$/);
  const figuresOfAxis = (await axisTexts(page)).filter((text) => text.startsWith("1,000,000."));
  assert.ok(new Set(figuresOfAxis).size >= 3, figuresOfAxis.join(" "));
  const spark = await page.getAttribute(".spark-line", "d");
  assert.ok(spark.length > 0);
});

browserTest("values below 0 have a true sum and no shares", async (t) => {
  const server = await serve(t, { series: named("up", "down"), page: { chart: "share" } }, [[5, -8], [1, -2]]);
  const page = await open(t, server.url);
  await status(page, /^Live$/);
  assert.deepEqual(await figures(page), [["up", "1"], ["down", "-2"], ["All", "-1"]]);
  assert.deepEqual(await ranking(page), [["up", "6", ""], ["down", "-10", ""]]);
  assert.equal(await page.isVisible(".donut"), false);
  const kinds = await page.$$eval(".segment", (all) => all.filter((node) => !node.hidden).map((node) => node.textContent));
  assert.deepEqual(kinds, ["Line", "Bars"]);
  // The line of a falling series falls: its last place is lower than its first.
  const ys = await page.$$eval(".spark-line", (all) => all.map((line) => line.getAttribute("d").match(/ [\d.]+/g).map(Number)));
  assert.ok(ys[1].every((y) => y > 0 && y < 32) && ys[1][0] > ys[1][1], JSON.stringify(ys));
});

browserTest("windows of a day are told by dates, and several are in view", async (t) => {
  const server = await serve(t, { series: named("a"), interval: DAY, page: { window_ms: 300_000 } });
  server.time = Date.UTC(2026, 8, 1) - 1;
  for (let i = 0; i < 60; i += 1) server.publish([100 + i]);
  const page = await open(t, server.url, { init: keepTexts });
  await status(page, /^Live$/);
  const texts = await axisTexts(page);
  assert.ok(texts.filter((text) => /^\d+ (Sept?|Oct|Nov)$/.test(text)).length >= 3, texts.join(" "));
  assert.ok(!texts.includes("00:00"), texts.join(" "));
  // The newest window is the 30th of October, which ends at midnight.
  assert.deepEqual((await table(page))[0], ["30 Oct 2026", "159"]);
  assert.ok(texts.some((text) => text.endsWith("Oct")) && !texts.includes("31 Oct"), texts.join(" "));
  const spans = await page.$$eval("#span option", (all) => all.map((node) => node.textContent));
  assert.ok(spans.every((text) => /^\d+ days$/.test(text)), spans.join(" "));
});

browserTest("a pointer that rests reads the window under it, also after the next one came", async (t) => {
  const server = await serve(t, { series: named("a") }, Array.from({ length: 60 }, (_, i) => [i]));
  const page = await open(t, server.url);
  await status(page, /^Live$/);
  const box = await page.locator("#chart .u-over").boundingBox();
  await page.mouse.move(box.x + box.width * 0.5, box.y + 40);
  const nearest = () => page.evaluate(() => {
    const over = document.querySelector("#chart .u-over").getBoundingClientRect();
    const line = document.querySelector("#chart .u-cursor-x").getBoundingClientRect();
    const at = (line.x - over.x) / over.width;
    return [document.querySelector(".readout b").textContent, at];
  });
  for (let i = 60; i < 80; i += 1) {
    server.publish([i]);
    await eventually(() => figures(page), [["a", String(i)]]);
    const [read, at] = await nearest();
    // Sixty seconds are in view: the newest at the right.
    assert.ok(Math.abs(Number(read) - (i - 60 * (1 - at))) <= 0.6, `${read} is read at ${at} when ${i} is the newest`);
  }
});

browserTest("a finger reads the chart, and what it read stays until it taps elsewhere", async (t) => {
  const server = await serve(t, { series: named("a") }, Array.from({ length: 60 }, (_, i) => [i]));
  const page = await open(t, server.url, { width: 360, height: 740, hasTouch: true, isMobile: true });
  await status(page, /^Live$/);
  const box = await page.locator("#chart .u-over").boundingBox();
  await page.touchscreen.tap(box.x + box.width * 0.5, box.y + 40);
  await page.waitForSelector(".readout b", { state: "visible" });
  const read = Number(await page.textContent(".readout b"));
  assert.ok(read > 20 && read < 45, String(read));
  await page.touchscreen.tap(20, 20);
  await page.waitForSelector("#readout", { state: "hidden" });
});

browserTest("a series that is taken out of the chart is not in the sum", async (t) => {
  const server = await serve(t, { series: named("a", "b", "c") }, [[5, 3, 2], [7, 4, 1]]);
  const page = await open(t, server.url);
  await status(page, /^Live$/);
  assert.deepEqual((await figures(page)).at(-1), ["All", "12"]);
  await page.getByRole("button", { name: /^b / }).click();
  await eventually(() => figures(page), [["a", "7"], ["c", "1"], ["All", "8"]]);
  assert.deepEqual(await ranking(page), [["a", "12", "80.0%"], ["b", "7", ""], ["c", "3", "20.0%"]]);
  assert.equal(await page.textContent(".ring-total"), "15");
});

browserTest("the page keeps as many windows as the server gives it", async (t) => {
  const server = await serve(t, { series: named("a") }, Array.from({ length: 5000 }, (_, i) => [i]));
  const page = await open(t, server.url);
  await status(page, /^Live$/);
  await page.selectOption("#span", { label: "60 min" });
  await page.focus("#chart");
  await page.keyboard.press("Home");
  assert.match(await page.getAttribute("#chart", "aria-valuetext"), /: a 1,399$/);
});

browserTest("windows that overlap have shares of the newest, and no totals", async (t) => {
  const server = await serve(t, { series: named("a", "b"), page: { totals: false } }, [[5, 3], [6, 2]]);
  const page = await open(t, server.url);
  await status(page, /^Live$/);
  assert.deepEqual(await figures(page), [["a", "6"], ["b", "2"], ["All", "8"]]);
  assert.deepEqual(await ranking(page), [["a", "6", "75.0%"], ["b", "2", "25.0%"]]);
  assert.equal(await page.textContent("#side-heading"), "Shares now");
  assert.deepEqual([await page.textContent(".ring-total"), await page.textContent(".ring-word")], ["8", "now"]);
});
