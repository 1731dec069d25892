// What the page costs: the share of its main thread's time while many series come at a high rate. A benchmark, not a
// test: `PIPECTL_TEST_BROWSER=/usr/bin/chromium node cost.js [SECONDS]`.

import { chromium } from "playwright-core";
import { MockServer } from "./support/mock.js";
import { seeded } from "./support/random.js";

const SECONDS = Number(process.argv[2] ?? 20);
const RATE = 10;
const KEPT = 3000;
const random = seeded(1);

const cases = [
  { name: "2 series", series: 2 },
  { name: "34 series", series: 34 },
  { name: "34 series, stacked", series: 34, chart: "stacked" },
  { name: "34 series, table open", series: 34, table: true },
  { name: "200 series", series: 200 },
];

const browser = await chromium.launch({
  executablePath: process.env.PIPECTL_TEST_BROWSER,
  args: ["--no-sandbox", "--disable-gpu", "--disable-background-networking"],
});
for (const { name, series, chart = "line", table = false } of cases) {
  const keys = Array.from({ length: series }, (_, i) => ({ key: `k${i}`, label: `Key ${i}` }));
  const server = await MockServer.start({ series: keys, interval: 1000 / RATE, page: { chart, window_ms: 300_000 } });
  const next = () => server.publish(keys.map((_, i) => Math.round(10 * (i + 1) * (1 + random()))));
  for (let i = 0; i < KEPT; i += 1) next();
  const page = await browser.newPage({ viewport: { width: 1280, height: 800 } });
  await page.addInitScript(countLongTasks);
  await page.goto(server.url);
  await page.waitForSelector("#chart canvas");
  if (table) await page.$eval("#table-box", (box) => { box.open = true; });
  const session = await page.context().newCDPSession(page);
  await session.send("Performance.enable");
  const taken = async () => {
    const { metrics } = await session.send("Performance.getMetrics");
    return metrics.find((metric) => metric.name === "TaskDuration").value;
  };
  await page.evaluate(() => { window.longTasks = 0; });
  const before = await taken();
  const begun = performance.now();
  const timer = setInterval(next, 1000 / RATE);
  await new Promise((resolve) => setTimeout(resolve, SECONDS * 1000));
  clearInterval(timer);
  const part = (await taken() - before) / ((performance.now() - begun) / 1000);
  const long = await page.evaluate(() => window.longTasks);
  console.log(`${name}: ${(100 * part).toFixed(1)} % of the main thread, ${long} tasks over 50 ms`);
  await page.close();
  await server.close();
}
await browser.close();

/** Runs in the page. */
function countLongTasks() {
  window.longTasks = 0;
  new PerformanceObserver((list) => { window.longTasks += list.getEntries().length; })
    .observe({ entryTypes: ["longtask"] });
}
