// What comes off the wire is text and nothing else; the token stays out of sight; nothing is fetched from elsewhere.

import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { readFile, readdir } from "node:fs/promises";
import { test } from "node:test";
import { browserTest, figures, open, ranking, status, table } from "./support/browser.js";
import { MockServer } from "./support/mock.js";

const DASHBOARDS = new URL("../../dashboards/", import.meta.url);

browserTest("markup in keys, labels and words is shown as text", async (t) => {
  const bad = "<img src=x onerror=\"document.title='owned'\"><script>document.title='owned'</script>";
  const colour = "red;background:url(http://example.invalid/x)";
  const server = await MockServer.start({
    series: [{ key: bad, label: bad, colour }, { key: "</script>", label: "</script>" }],
    page: { title: bad, subtitle: bad, unit: bad },
  });
  t.after(() => server.close());
  for (let i = 0; i < 5; i += 1) server.publish([3, 1]);
  const page = await open(t, server.url);
  await status(page, /^Live$/);
  await page.focus("#chart");
  await page.keyboard.press("ArrowLeft");
  assert.deepEqual((await figures(page)).map(([name]) => name), [bad, "</script>", "All"]);
  assert.equal((await ranking(page))[0][0], bad);
  assert.equal((await table(page)).length, 5);
  assert.equal(await page.textContent("h1"), bad);
  assert.equal(await page.locator("img, body script").count(), 0);
  assert.equal(await page.title(), bad);
  assert.deepEqual(page.problems, []);
});

browserTest("the token comes from the fragment, leaves the address bar and lasts for the tab", async (t) => {
  const server = await MockServer.start({ token: "s3cret" });
  t.after(() => server.close());
  server.publish([1, 2, 3]);
  const page = await open(t, `${server.url}#token=s3cret`);
  await status(page, /^Live$/);
  assert.equal(page.url(), server.url);
  assert.equal(server.auths.at(-1).token, "s3cret");
  await page.reload();
  await status(page, /^Live$/);
  assert.ok(!(await page.content()).includes("s3cret"));
});

browserTest("without the token the page says so and does not knock again; a token given later is used", async (t) => {
  const server = await MockServer.start({ token: "s3cret" });
  t.after(() => server.close());
  server.publish([1, 2, 3]);
  const page = await open(t, server.url, { clock: true });
  await status(page, /Access refused/);
  await page.clock.runFor(100);
  assert.equal(await page.textContent("#empty-title"), "This dashboard needs a token");
  await page.clock.runFor(30_000);
  assert.equal(server.auths.length, 1);
  await page.evaluate(() => { location.hash = "token=s3cret"; });
  await status(page, /^Live$/);
  assert.equal(page.url(), server.url);
});

test("the page's files have no inline script or style and no address of another host", async () => {
  const folder = new URL("gender/", DASHBOARDS);
  const names = await readdir(folder);
  assert.ok(names.includes("index.html") && names.includes("app.js"));
  for (const name of names) {
    const text = await readFile(new URL(name, folder), "utf8");
    assert.doesNotMatch(text.replace("http://www.w3.org/2000/svg", ""), /https?:\/\//, name);
    assert.doesNotMatch(text, /innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function/, name);
    if (name.endsWith(".html")) assert.doesNotMatch(text, /<style|\sstyle=|\son\w+=|<script(?![^>]*\ssrc=)/, name);
  }
});

test("nothing in the page knows what is counted", async () => {
  const folder = new URL("gender/", DASHBOARDS);
  for (const name of await readdir(folder)) {
    assert.doesNotMatch(await readFile(new URL(name, folder), "utf8"), /gender|women|female|province/i, name);
  }
});

test("vendored files are those of the packages, and their sums stand in VENDORED.md", async () => {
  const noted = await readFile(new URL("vendor/VENDORED.md", DASHBOARDS), "utf8");
  const from = {
    "uPlot.iife.min.js": "uplot", "uPlot.min.css": "uplot", "socket.io.min.js": "socket.io-client",
  };
  for (const [name, packageName] of Object.entries(from)) {
    const vendored = await readFile(new URL(`vendor/${name}`, DASHBOARDS));
    const published = await readFile(new URL(`node_modules/${packageName}/dist/${name}`, import.meta.url));
    assert.ok(vendored.equals(published), name);
    const sum = createHash("sha256").update(vendored).digest("hex");
    const { version } = JSON.parse(await readFile(new URL(`node_modules/${packageName}/package.json`, import.meta.url)));
    assert.ok(noted.split("\n").some((line) => line.includes(`\`${name}\``) && line.includes(sum) && line.includes(` ${version} `)), name);
  }
});
