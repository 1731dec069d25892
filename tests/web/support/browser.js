// The browser of the tests: where it is, how a page is opened in it, and how its state is read.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { chromium } from "playwright-core";

const PATH = process.env.PIPECTL_TEST_BROWSER;
let browser;

/** Declares a test that needs the browser; without one it says so loudly and passes. */
export function browserTest(name, run) {
  if (!PATH) {
    console.log(`SKIPPED ${name}: set PIPECTL_TEST_BROWSER to the path of a Chromium`);
    test(name, { skip: "PIPECTL_TEST_BROWSER is not set" }, () => {});
    return;
  }
  test(name, { timeout: 60_000 }, run);
}

before(async () => {
  if (!PATH) return;
  browser = await chromium.launch({
    executablePath: PATH,
    args: ["--no-sandbox", "--disable-gpu", "--disable-background-networking"],
  });
});
after(() => browser?.close());

/**
 * Opens `url` in a fresh context (closed with the test `t`). The page collects what must not happen in
 * `page.problems`: script errors, refused content, requests to other hosts, failed files.
 */
export async function open(t, url, { width = 1280, height = 800, clock = false, init, ...context } = {}) {
  const made = await browser.newContext({
    viewport: { width, height }, timezoneId: "UTC", locale: "en-GB", reducedMotion: "reduce", ...context,
  });
  t.after(() => made.close());
  const page = await made.newPage();
  page.setDefaultTimeout(15_000);
  page.problems = [];
  page.on("pageerror", (error) => page.problems.push(String(error)));
  page.on("console", (message) => {
    if (message.type() === "error" && !/WebSocket connection|ERR_CONNECTION_REFUSED|ERR_SOCKET/.test(message.text())) {
      page.problems.push(message.text());
    }
  });
  page.on("request", (request) => {
    if (new URL(request.url()).host !== new URL(url).host) page.problems.push(`asked ${request.url()}`);
  });
  if (clock) await page.clock.install();
  await page.addInitScript(countEvents);
  if (init) await page.addInitScript(init);
  await page.goto(url);
  return page;
}

/** Runs in the page: `window.received` counts the Socket.IO events that came in, by name. */
function countEvents() {
  window.received = {};
  const Real = window.WebSocket;
  window.WebSocket = class extends Real {
    constructor(...all) {
      super(...all);
      this.addEventListener("message", ({ data }) => {
        const name = /^42\/live,\["(\w+)"/.exec(data)?.[1];
        if (name) window.received[name] = (window.received[name] ?? 0) + 1;
      });
    }
  };
}

/** Waits until `read()` deep-equals `wanted`, and fails with the difference when it never does. */
export async function eventually(read, wanted, within = 8_000) {
  const end = Date.now() + within;
  for (;;) {
    const got = await read();
    try {
      assert.deepEqual(got, wanted);
      return;
    } catch (difference) {
      if (Date.now() > end) throw difference;
    }
    await new Promise((resolve) => setTimeout(resolve, 25));
  }
}

/** Waits until the pill's text matches. */
export async function status(page, pattern) {
  await page.waitForFunction((source) => new RegExp(source).test(document.getElementById("status-text").textContent),
    pattern.source);
}

/** The figures above the chart: `[["Women", "5"], ...]`. */
export function figures(page) {
  return page.$$eval(".tile", (tiles) => tiles.map((tile) =>
    [tile.querySelector(".tile-name").textContent, tile.querySelector(".tile-value").textContent]));
}

/** The rows beside the chart: `[["Women", "1,200", "51.0%"], ...]`. */
export function ranking(page) {
  return page.$$eval(".rank", (rows) => rows.map((row) =>
    [".rank-name", ".rank-value", ".rank-share"].map((part) => row.querySelector(part).textContent)));
}

/** The table's body, newest first: `[["12:00:00", "5", "4"], ...]`. Opens the table. */
export async function table(page) {
  await page.$eval("#table-box", (box) => { box.open = true; });
  return page.$$eval("#table tbody tr", (rows) => rows.map((row) =>
    [...row.cells].map((cell) => cell.textContent.replace(/^.*, /, ""))));
}

/**
 * For each column of the plot's pixels, left to right: whether `colour` ("#rrggbb") is seen in it.
 */
export function columnsWith(page, colour) {
  return page.$eval("#chart canvas", (canvas, wanted) => {
    const [r, g, b] = [1, 3, 5].map((at) => parseInt(wanted.slice(at, at + 2), 16));
    const plot = document.querySelector("#chart .u-over");
    const scale = canvas.width / canvas.clientWidth;
    const width = Math.floor(plot.offsetWidth * scale);
    const height = Math.floor(plot.offsetHeight * scale);
    const { data } = canvas.getContext("2d").getImageData(plot.offsetLeft * scale, plot.offsetTop * scale, width, height);
    const seen = new Array(width).fill(false);
    for (let i = 0; i < data.length; i += 4) {
      const far = Math.abs(data[i] - r) + Math.abs(data[i + 1] - g) + Math.abs(data[i + 2] - b);
      if (far < 40 && data[i + 3] > 200) seen[(i / 4) % width] = true;
    }
    return seen;
  }, colour);
}
