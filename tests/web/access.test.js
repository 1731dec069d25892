// For everybody and on every screen: small, dark, by keyboard, by ear, and for eyes that do not tell all colours.

import assert from "node:assert/strict";
import { browserTest, eventually, open, ranking, status } from "./support/browser.js";
import { MockServer } from "./support/mock.js";
import { PROVINCES } from "./support/provinces.js";

async function serve(t, options, windows = 30) {
  const server = await MockServer.start(options);
  t.after(() => server.close());
  for (let i = 0; i < windows; i += 1) server.publish(server.series.map((_, at) => 40 - at + (i % 5)));
  return server;
}

function provinces() {
  return { series: PROVINCES.map((key) => ({ key, label: key })), page: { title: "各省购物人数" } };
}

browserTest("nothing scrolls sideways at 360 pixels, with 34 series, long words and an open table", async (t) => {
  const long = { key: "long", label: "Donaudampfschifffahrtsgesellschaftskapitänsmützenabzeichen".repeat(2) };
  const series = [long, ...provinces().series];
  const server = await serve(t, { series, page: { title: long.label, subtitle: long.label, unit: "records each second and partition" } });
  for (const scheme of ["light", "dark"]) {
    const page = await open(t, server.url, { width: 360, height: 740, colorScheme: scheme });
    await status(page, /^Live$/);
    await page.click("summary");
    for (const kind of ["bars", "stacked", "share", "line"]) {
      await page.click(`[data-kind="${kind}"]`);
      const [content, window] = await page.evaluate(() => [document.documentElement.scrollWidth, window.innerWidth]);
      assert.equal(content, window, `${kind}, ${scheme}`);
    }
    const cut = await page.$$eval(".tile, .card-head, .rank, .pill", (all) =>
      all.filter((node) => node.getBoundingClientRect().right > window.innerWidth).map((node) => node.className));
    assert.deepEqual(cut, []);
    assert.deepEqual(page.problems, []);
  }
});

browserTest("34 Chinese names are right, the largest stand first, and each line is its own", async (t) => {
  const server = await serve(t, provinces());
  const page = await open(t, server.url);
  await status(page, /^Live$/);
  assert.equal(await page.title(), "各省购物人数");
  assert.deepEqual((await ranking(page)).map(([name]) => name), PROVINCES);
  assert.deepEqual(await page.$$eval(".tile-name", (all) => all.map((node) => node.textContent)),
    [...PROVINCES.slice(0, 4), "All 34"]);
  const looks = await page.$$eval(".rank .swatch line", (all) =>
    all.map((line) => `${line.getAttribute("stroke")} ${line.getAttribute("stroke-dasharray")}`));
  assert.equal(new Set(looks).size, 34, "colour and dash together tell every line from every other");
});

browserTest("two lines differ by dash as well as by colour, in label and chart", async (t) => {
  const server = await serve(t);
  const page = await open(t, server.url);
  await status(page, /^Live$/);
  const dashes = await page.$$eval(".rank .swatch line", (all) => all.map((line) => line.getAttribute("stroke-dasharray")));
  assert.equal(new Set(dashes).size, 2);
});

browserTest("every colour can be seen on its card (3 to 1), in light and dark, configured ones too", async (t) => {
  const colours = [...Array(8).fill(undefined), "#000000", "#ffffff", "yellow", "navy", "no colour at all"];
  const series = colours.map((colour, i) => ({ key: `k${i}`, label: `k${i}`, ...(colour && { colour }) }));
  const server = await serve(t, { series });
  for (const scheme of ["light", "dark"]) {
    const page = await open(t, server.url, { colorScheme: scheme });
    await status(page, /^Live$/);
    const contrasts = await page.evaluate(() => {
      const light = (text) => {
        const [r, g, b] = text.match(/\d+/g).slice(0, 3).map((part) => {
          const channel = Number(part) / 255;
          return channel <= 0.04045 ? channel / 12.92 : ((channel + 0.055) / 1.055) ** 2.4;
        });
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
      };
      const against = (a, b) => (Math.max(light(a), light(b)) + 0.05) / (Math.min(light(a), light(b)) + 0.05);
      const card = getComputedStyle(document.querySelector(".card")).backgroundColor;
      const lines = [...document.querySelectorAll(".rank .swatch line")].map((line) => against(line.getAttribute("stroke"), card));
      const words = [".tile-unit", ".tile-name", ".rank-share", ".hint", ".rank-name", "#status-text"]
        .map((part) => against(getComputedStyle(document.querySelector(part)).color, card));
      return { lines: Math.min(...lines), words: Math.min(...words), card };
    });
    assert.ok(contrasts.lines >= 2.95, `lines, ${scheme}: ${contrasts.lines}`);
    assert.ok(contrasts.words >= 4.5, `words, ${scheme}: ${contrasts.words}`);
    assert.equal(contrasts.card === "rgb(255, 255, 255)", scheme === "light");
  }
});

browserTest("the chart follows the system from light to dark while it runs", async (t) => {
  const server = await serve(t, { series: [{ key: "a", label: "a" }] });
  const page = await open(t, server.url, { colorScheme: "light" });
  await status(page, /^Live$/);
  const stroke = () => page.getAttribute(".tile .swatch line", "stroke");
  const before = await stroke();
  await page.emulateMedia({ colorScheme: "dark" });
  await page.waitForFunction((old) => document.querySelector(".tile .swatch line").getAttribute("stroke") !== old, before);
});

browserTest("arrow keys read points: shown beside the cursor and spoken as the chart's value", async (t) => {
  const server = await serve(t, {}, 0);
  for (let i = 0; i < 30; i += 1) server.publish([i, 100 + i, 0]);
  const page = await open(t, server.url);
  await status(page, /^Live$/);
  for (let i = 0; i < 12; i += 1) {
    await page.keyboard.press("Tab");
    if (await page.evaluate(() => document.activeElement.id === "chart")) break;
  }
  assert.equal(await page.evaluate(() => document.activeElement.id), "chart", "reached by Tab");
  const spoken = () => page.getAttribute("#chart", "aria-valuetext");
  const read = async (key, pattern) => {
    await page.keyboard.press(key);
    assert.match(await spoken(), pattern);
    assert.equal(await page.isVisible("#readout"), true);
  };
  await read("ArrowLeft", /12:00:29: Women 29, Men 129/);
  await read("ArrowLeft", /12:00:28: Women 28, Men 128/);
  await read("PageUp", /12:00:18: Women 18, Men 118/);
  await read("ArrowRight", /12:00:19: Women 19, Men 119/);
  await read("Home", /12:00:00: Women 0, Men 100/);
  await read("ArrowLeft", /12:00:00: Women 0, Men 100/);
  await read("End", /12:00:29: Women 29, Men 129/);
  assert.match(await page.textContent("#readout"), /12:00:29.*Women29.*Men129/);
  server.publish([77, 78, 0]);
  await page.waitForFunction(() => document.querySelector(".tile-value").textContent === "77");
  assert.match(await page.textContent("#readout"), /12:00:29/, "what is being read stays");
  await read("ArrowRight", /12:00:30: Women 77, Men 78/);
  await page.keyboard.press("Escape");
  assert.equal(await page.isVisible("#readout"), false);
});

browserTest("the pointer reads points too", async (t) => {
  const server = await serve(t);
  const page = await open(t, server.url);
  await status(page, /^Live$/);
  await page.hover("#chart", { position: { x: 700, y: 150 } });
  await page.waitForSelector("#readout", { state: "visible" });
  assert.match(await page.textContent("#readout"), /Women\d+Men\d+/);
  await page.mouse.move(5, 5);
  await page.waitForSelector("#readout", { state: "hidden" });
});

browserTest("the same data is there as a table with heads, filled only while open", async (t) => {
  const server = await serve(t);
  const page = await open(t, server.url);
  await status(page, /^Live$/);
  assert.equal(await page.locator("#table table").count(), 0);
  await page.focus("summary");
  await page.keyboard.press("Enter");
  await page.waitForSelector("#table table");
  assert.deepEqual(await page.$$eval("#table thead th", (all) => all.map((cell) => [cell.scope, cell.textContent])),
    [["col", "Time"], ["col", "Women"], ["col", "Men"]]);
  assert.equal(await page.$$eval("#table tbody th[scope=row]", (all) => all.length), 30);
});

browserTest("a screen reader is told the newest values at most every 15 seconds", async (t) => {
  const server = await serve(t);
  const page = await open(t, server.url, { clock: true, init: () => {
    window.spoken = [];
    document.addEventListener("DOMContentLoaded", () => {
      const region = document.getElementById("live-region");
      new MutationObserver(() => window.spoken.push([performance.now(), region.textContent]))
        .observe(region, { childList: true, characterData: true, subtree: true });
    });
  } });
  assert.equal(await page.getAttribute("#live-region", "aria-live"), "polite");
  await page.clock.runFor(100);
  await status(page, /^Live$/);
  for (let i = 0; i < 50; i += 1) {
    server.publish([1000 + i, 5, 0]);
    await page.clock.runFor(1000);
  }
  const spoken = await page.evaluate(() => window.spoken);
  assert.ok(spoken.length >= 3 && spoken.length <= 5, `${spoken.length} messages in 50 s`);
  for (let i = 1; i < spoken.length; i += 1) {
    assert.ok(spoken[i][0] - spoken[i - 1][0] >= 15_000, `${spoken[i][0] - spoken[i - 1][0]} ms apart`);
    assert.match(spoken[i][1], /Women 1,\d+, Men 5 per second/);
  }
});

browserTest("who asked for less motion gets none", async (t) => {
  const server = await serve(t, {}, 0);
  const page = await open(t, server.url, { reducedMotion: "reduce" });
  await status(page, /waiting for data/);
  const moving = () => page.evaluate(() => document.getAnimations().filter((one) => one.playState === "running").length);
  assert.equal(await moving(), 0);
  server.publish([1, 2, 3]);
  await status(page, /^Live$/);
  await eventually(moving, 0);
});
