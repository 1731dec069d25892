// The real server under official clients: npm socket.io-client 4.x and 2.x, python-socketio, plain HTTP, and the page.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { once } from "node:events";
import { request } from "node:http";
import { createRequire } from "node:module";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { io } from "socket.io-client";
import { PROVINCES } from "./support/provinces.js";
import { eventually, figures, open, ranking, status, table } from "./support/browser.js";
import { binaryTest, freePort, pipeline, prepare, rows } from "./support/pipectl.js";

const io2 = createRequire(import.meta.url)("socket.io-client-2");
const WITH_LABELS = [
  "title: Shoppers", "unit: per second", 'labels: { "0": Women, "1": Men }', 'leave_out: ["2"]', 'legacy: { keys: ["0", "1"] }',
];

async function run(t, options = {}, csv) {
  const port = await freePort();
  const start = await prepare(t, pipeline({ port, sink: WITH_LABELS, ...options }), csv);
  return { start, server: await start() };
}

function client(t, url, options = {}, library = io) {
  const socket = library(url, { reconnection: false, forceNew: true, ...options });
  t.after(() => socket.close());
  return socket;
}

/** The arguments of the next event of that name; a refusal fails the wait. */
function next(socket, name) {
  return new Promise((resolve, reject) => {
    socket.once(name, resolve);
    if (name !== "connect_error") socket.once("connect_error", reject);
  });
}

/** Collects `count` events. */
async function collect(socket, name, count) {
  const got = [];
  while (got.length < count) got.push(await next(socket, name));
  return got;
}

function isLegacy(message) {
  assert.deepEqual(Object.keys(message), ["data"]);
  assert.match(message.data, /^\d+,\d+$/);
}

for (const transports of [["polling"], ["websocket"], ["polling", "websocket"]]) {
  binaryTest(`client 4.x, ${transports.join(" then ")}: both namespaces as described`, async (t) => {
    const { server } = await run(t);
    const old = client(t, server.url, { transports });
    const answer = next(old, "connected");
    old.emit("test_connect", { data: "anything" });
    assert.deepEqual(await answer, { data: "Connected" });
    (await collect(old, "test_message", 3)).forEach(isLegacy);

    const live = client(t, `${server.url}live`, { transports });
    const points = collect(live, "point", 4);
    const hello = await next(live, "hello");
    assert.equal(hello.proto, 1);
    assert.ok(hello.epoch.length > 0);
    assert.deepEqual(hello.series.slice(0, 2).map(({ key, label }) => [key, label]), [["0", "Women"], ["1", "Men"]]);
    assert.equal(hello.page.title, "Shoppers");
    assert.equal(hello.page.unit, "per second");
    assert.equal(hello.page.chart, "line");
    assert.ok(hello.points.length > 0, "history at once");
    assert.equal(hello.points.at(-1).seq, hello.last_seq);
    (await points).forEach((point, i) => {
      assert.equal(point.seq, hello.last_seq + 1 + i);
      assert.equal(typeof point.t, "number");
      assert.ok(point.v.every((value) => value === null || Number.isInteger(value)));
    });
  });
}

binaryTest("client 2.x receives the old page's messages where legacy clients are allowed, and nothing where not", async (t) => {
  const { server } = await run(t, { sink: [...WITH_LABELS, "legacy_clients: true"] });
  for (const transports of [["polling"], ["websocket"], ["polling", "websocket"]]) {
    const old = client(t, server.url, { transports }, io2);
    const answer = next(old, "connected");
    old.emit("test_connect", { data: "anything" });
    assert.deepEqual(await answer, { data: "Connected" });
    (await collect(old, "test_message", 2)).forEach(isLegacy);
  }
  const { server: strict } = await run(t);
  const refused = client(t, strict.url, { transports: ["polling"] }, io2);
  refused.on("test_message", () => assert.fail("a 2.x client was let in"));
  await once(refused, "connect_error");
});

binaryTest("python-socketio receives the same", async (t) => {
  const { server } = await run(t);
  const script = fileURLToPath(new URL("python_client.py", import.meta.url));
  const { stdout } = await promisify(execFile)(process.env.PIPECTL_TEST_PYTHON, [script, server.url, "3"]);
  const got = JSON.parse(stdout);
  assert.deepEqual(got.connected, { data: "Connected" });
  got.messages.forEach(isLegacy);
  got.points.forEach((point, i) => assert.equal(point.seq, got.hello.last_seq + 1 + i));
}, { PIPECTL_TEST_PYTHON: process.env.PIPECTL_TEST_PYTHON });

binaryTest("a client that comes back gets what it missed; resync answers; a foreign epoch gets everything", async (t) => {
  const { server } = await run(t);
  const first = client(t, `${server.url}live`);
  const hello = await next(first, "hello");
  await collect(first, "point", 3);
  const again = await next(client(t, `${server.url}live`, { auth: { epoch: hello.epoch, since: hello.last_seq } }), "hello");
  assert.equal(again.epoch, hello.epoch);
  assert.equal(again.points[0].seq, hello.last_seq + 1);
  const foreign = await next(client(t, `${server.url}live`, { auth: { epoch: "foreign", since: 1e6 } }), "hello");
  assert.equal(foreign.points[0].seq, 1);
  first.emit("resync", { since: 2 });
  assert.equal((await next(first, "hello")).points[0].seq, 3);
  for (const nonsense of [{ since: -1 }, { since: "x" }]) {
    first.emit("resync", nonsense);
    assert.equal((await next(first, "hello")).points[0].seq, 1);
  }
});

binaryTest("nothing is lost on the way: totals of a file that ends are its counts", async (t) => {
  const { server } = await run(t, { rate: "2000/s", repeat: false }, rows(1000));
  await eventually(async () => {
    const live = client(t, `${server.url}live`);
    const { series, totals, points } = await next(live, "hello");
    live.close();
    const sums = series.map((_, i) => points.reduce((sum, point) => sum + (point.v[i] ?? 0), 0));
    return Object.fromEntries(series.map(({ key }, i) => [key, [totals[i], sums[i]]]));
  }, { 0: [500, 500], 1: [300, 300], 2: [200, 200] }, 20_000);
});

binaryTest("a token is asked for, by name of the error", async (t) => {
  const { server } = await run(t, { sink: [...WITH_LABELS, "token: s3cret"] });
  for (const auth of [{}, { token: "wrong" }]) {
    const refused = client(t, `${server.url}live`, { auth });
    refused.on("hello", () => assert.fail("a client without the token was let in"));
    assert.equal((await next(refused, "connect_error")).message, "unauthorized");
  }
  await next(client(t, `${server.url}live`, { auth: { token: "s3cret" } }), "hello");
  assert.ok(!server.told().includes("s3cret"));
});

binaryTest("HTTP: types, headers, traversal, foreign origins and hosts", async (t) => {
  const { server } = await run(t);
  const get = (path, headers = {}) => new Promise((resolve, reject) => {
    const { hostname, port } = new URL(server.url);
    request({ hostname, port, path, headers, agent: false }, (response) => {
      response.resume();
      resolve(response);
    }).on("error", reject).end();
  });
  for (const [path, type] of [["/", "text/html"], ["/app.js", "text/javascript"], ["/style.css", "text/css"],
    ["/favicon.svg", "image/svg+xml"], ["/vendor/uPlot.iife.min.js", "text/javascript"], ["/vendor/socket.io.min.js", "text/javascript"]]) {
    const { statusCode, headers } = await get(path);
    assert.equal(statusCode, 200, path);
    assert.ok(headers["content-type"].startsWith(type), `${path}: ${headers["content-type"]}`);
    assert.match(headers["content-security-policy"], /default-src 'self'/);
    assert.equal(headers["x-content-type-options"], "nosniff");
    assert.equal(headers["referrer-policy"], "no-referrer");
  }
  for (const path of ["/../Cargo.toml", "/%2e%2e/Cargo.toml", "/vendor/../../Cargo.toml", "/vendor/..%2f..%2fCargo.toml", "/nothing.js", "//etc/passwd"]) {
    assert.equal((await get(path)).statusCode, 404, path);
  }
  const engine = "/socket.io/?EIO=4&transport=polling";
  assert.equal((await get(engine)).statusCode, 200);
  assert.equal((await get(engine, { origin: "http://evil.example" })).statusCode, 403);
  assert.equal((await get("/", { host: "evil.example" })).statusCode, 403);
  const upgrade = client(t, server.url, { transports: ["websocket"], extraHeaders: { origin: "http://evil.example" } });
  await next(upgrade, "connect_error");
});

const browser = { PIPECTL_TEST_BROWSER: process.env.PIPECTL_TEST_BROWSER };

binaryTest("the page draws the shipped graph and goes on; Ctrl-C drains with the page open; it comes back after a restart", async (t) => {
  const { start, server } = await run(t);
  const page = await open(t, server.url);
  await status(page, /^Live$/);
  assert.equal(await page.textContent("h1"), "Shoppers");
  assert.deepEqual((await figures(page)).map(([name]) => name), ["Women", "Men", "All"]);
  const before = (await table(page)).length;
  await page.waitForFunction((count) => document.querySelectorAll("#table tbody tr").length > count + 3, before);
  const [[, women], [, men]] = await ranking(page);
  assert.ok(Number(women) > Number(men), `${women} to ${men}: five women come to three men`);
  assert.ok(!(await page.textContent("main")).includes("no data"), "no gap");
  const [code, took] = await server.stop();
  assert.equal(code, 0, server.told());
  assert.ok(took < 10_000, `${took} ms`);
  await status(page, /^Disconnected/);
  await start();
  await status(page, /^Live$/);
  assert.ok((await table(page)).length < before + 40, "another run, another epoch");
  assert.deepEqual(page.problems, []);
}, browser);

binaryTest("editing only the file makes it a page of provinces", async (t) => {
  const { server } = await run(t, { field: "province", rate: "400/s", sink: ["title: 各省"] }, rows(3400, PROVINCES));
  const page = await open(t, server.url);
  await status(page, /^Live$/);
  assert.equal(await page.title(), "各省");
  await eventually(async () => (await ranking(page)).map(([name]) => name).sort(), [...PROVINCES].sort(), 15_000);
  assert.deepEqual(page.problems, []);
}, browser);
