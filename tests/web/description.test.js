// The page follows what the server says of itself: words, colours, kind of chart, keys left out.

import assert from "node:assert/strict";
import { browserTest, columnsWith, eventually, figures, open, ranking, status, table } from "./support/browser.js";
import { GENDERS, MockServer } from "./support/mock.js";

async function serve(t, options, windows = []) {
  const server = await MockServer.start(options);
  t.after(() => server.close());
  for (const window of windows) server.publish(window);
  return server;
}

browserTest("title, labels, unit and colours come from the server, and hidden keys are nowhere", async (t) => {
  const server = await serve(t, { page: { subtitle: "Counted each second", unit: "a second" } }, [[5, 3, 100], [7, 4, 100]]);
  const page = await open(t, server.url);
  await status(page, /^Live$/);
  assert.equal(await page.title(), "Shoppers");
  assert.equal(await page.textContent("h1"), "Shoppers");
  assert.equal(await page.textContent("#subtitle"), "Counted each second");
  assert.deepEqual(await figures(page), [["Women", "7"], ["Men", "4"], ["All", "11"]]);
  assert.deepEqual(await ranking(page), [["Women", "12", "63.2%"], ["Men", "7", "36.8%"]]);
  assert.deepEqual(await table(page), [["12:00:01", "7", "4"], ["12:00:00", "5", "3"]]);
  assert.equal(await page.textContent(".ring-total"), "19");
  assert.equal(await page.$eval(".tile-value", (node) => getComputedStyle(node).color), "rgb(217, 83, 11)");
  assert.deepEqual(await page.$$eval(".tile-unit", (all) => all.map((node) => node.textContent)), ["a second", "a second", "a second"]);
  assert.ok(!(await page.textContent("body")).includes("Unknown"));
  assert.deepEqual(page.problems, []);
});

browserTest("with nothing described the page shows every key it meets, under its own name", async (t) => {
  const server = await serve(t, { series: [], page: { title: "count-by-key", unit: "" } });
  const page = await open(t, server.url);
  await status(page, /waiting for data/);
  server.publish([3], { series: [{ key: "24-29", label: "24-29" }] });
  await eventually(() => figures(page), [["24-29", "3"]]);
  server.publish([4, 9], { series: [{ key: "24-29", label: "24-29" }, { key: "", label: "" }] });
  await eventually(() => figures(page), [["24-29", "4"], ["(empty)", "9"], ["All", "13"]]);
  assert.deepEqual(await table(page), [["12:00:01", "4", "9"], ["12:00:00", "3", "–"]]);
});

browserTest("every kind of chart is drawn in the colours of its series", async (t) => {
  for (const chart of ["line", "bars", "stacked", "share", "constructor"]) {
    const server = await serve(t, { page: { chart } }, Array.from({ length: 40 }, (_, i) => [4 + (i % 3), 5, 1]));
    const page = await open(t, server.url, { deviceScaleFactor: 2 });
    await status(page, /^Live$/);
    const pressed = await page.$$eval(".segment[aria-pressed=true]", (all) => all.map((node) => node.dataset.kind));
    assert.deepEqual(pressed, [chart === "constructor" ? "line" : chart]);
    // Areas let the card through: what is painted is the colour at 78 % on white.
    const painted = chart === "stacked" || chart === "share" ? ["#e17941", "#448fd1"] : ["#d9530b", "#0f6fc4"];
    for (const colour of painted) {
      const columns = await columnsWith(page, colour);
      const share = columns.filter(Boolean).length / columns.length;
      assert.ok(share > 0.2, `${chart}: ${colour} is seen in ${Math.round(share * 100)} % of the columns`);
    }
    assert.deepEqual(page.problems, []);
  }
});

browserTest("the reader can choose another kind and span, and take a line out", async (t) => {
  const server = await serve(t, {}, Array.from({ length: 200 }, (_, i) => [4 + (i % 3), 5, 1]));
  const page = await open(t, server.url);
  await status(page, /^Live$/);
  const [first] = await page.$$eval("#span option", (all) => all.map((node) => node.textContent));
  assert.equal(first, "60 s");
  const before = await page.getAttribute("#chart", "aria-valuetext");
  await page.selectOption("#span", { label: "5 min" });
  await page.focus("#chart");
  await page.keyboard.press("Home");
  assert.notEqual(await page.getAttribute("#chart", "aria-valuetext"), before);
  assert.match(await page.getAttribute("#chart", "aria-valuetext"), /12:00:00: Women 4, Men 5/);
  await page.getByRole("button", { name: "Bars" }).click();
  assert.equal(await page.getAttribute('[data-kind="bars"]', "aria-pressed"), "true");
  await page.getByRole("button", { name: /^Men / }).click();
  assert.equal(await page.getByRole("button", { name: /^Men / }).getAttribute("aria-pressed"), "false");
  await eventually(async () => (await columnsWith(page, "#0f6fc4")).some(Boolean), false);
  assert.ok((await columnsWith(page, "#d9530b")).some(Boolean));
  await page.getByRole("button", { name: /^Men / }).click();
  await eventually(async () => (await columnsWith(page, "#0f6fc4")).some(Boolean), true);
});

browserTest("values that are not counts have no totals, shares or stacks", async (t) => {
  const server = await serve(t, { page: { additive: false, unit: "%", chart: "stacked" } }, [[5.25, 3.5, 1]]);
  const page = await open(t, server.url);
  await status(page, /^Live$/);
  assert.deepEqual(await figures(page), [["Women", "5.25"], ["Men", "3.5"]]);
  assert.deepEqual(await ranking(page), [["Women", "5.25", ""], ["Men", "3.5", ""]]);
  assert.equal(await page.isVisible(".donut"), false);
  assert.deepEqual(await page.$$eval(".segment", (all) => all.filter((node) => !node.hidden).map((node) => node.textContent)), ["Line", "Bars"]);
});

browserTest("before the first window the page says what it waits for", async (t) => {
  const server = await serve(t, { series: [] });
  const page = await open(t, server.url);
  await status(page, /waiting for data/);
  assert.equal(await page.textContent("#empty-title"), "Waiting for the first window");
  assert.equal(await page.isVisible("#chart"), false);
  server.publish([1, 2, 3], { series: GENDERS });
  await page.waitForSelector("#chart canvas", { state: "visible" });
  assert.equal(await page.isVisible("#empty"), false);
  await status(page, /^Live$/);
});

browserTest("a page older than its server asks to be reloaded, and rests", async (t) => {
  const server = await serve(t, { proto: 2 });
  const page = await open(t, server.url);
  await status(page, /Reload this page/);
  assert.equal(server.auths.length, 1);
});
