// Losses and returns: no point twice, none left out that the server still has, missing time as a gap.

import assert from "node:assert/strict";
import { browserTest, columnsWith, eventually, figures, open, ranking, status, table } from "./support/browser.js";
import { MockServer } from "./support/mock.js";

async function serve(t, options) {
  const server = await MockServer.start(options);
  t.after(() => server.close());
  return server;
}

browserTest("who comes late sees the history at once", async (t) => {
  const server = await serve(t);
  for (let i = 0; i < 50; i += 1) server.publish([i, 1, 0]);
  const page = await open(t, server.url);
  await status(page, /^Live$/);
  const rows = await table(page);
  assert.equal(rows.length, 50);
  assert.deepEqual(rows[0], ["12:00:49", "49", "1"]);
  const columns = await columnsWith(page, "#d9530b");
  assert.ok(columns.filter(Boolean).length > columns.length / 2, "the line is drawn");
});

browserTest("totals count the whole epoch, not only the history that is left", async (t) => {
  const server = await serve(t);
  for (let i = 0; i < 5; i += 1) server.publish([10, 10, 0]);
  server.points.splice(0, 4);
  const page = await open(t, server.url);
  await eventually(() => ranking(page), [["Women", "50", "50.0%"], ["Men", "50", "50.0%"]]);
  server.publish([50, 0, 0]);
  await eventually(() => ranking(page), [["Women", "100", "66.7%"], ["Men", "50", "33.3%"]]);
});

browserTest("points before the hello, and points sent twice, change nothing", async (t) => {
  const server = await serve(t);
  server.publish([1, 1, 0]);
  let greet;
  server.onGreeting = (socket, send) => {
    socket.emit("point", { seq: 1, t: 1, v: [99, 99, 99] });
    greet = send;
  };
  const page = await open(t, server.url);
  await page.waitForFunction(() => window.received.point === 1);
  await page.evaluate(() => new Promise((done) => { requestAnimationFrame(() => requestAnimationFrame(done)); }));
  assert.equal(await page.isVisible("#chart"), false);
  greet();
  await eventually(() => table(page), [["12:00:00", "1", "1"]]);
  const again = server.points[0];
  server.live.emit("point", again);
  server.live.emit("point", { ...again, v: [7, 7, 7] });
  server.publish([2, 2, 0]);
  await eventually(() => table(page), [["12:00:01", "2", "2"], ["12:00:00", "1", "1"]]);
  assert.deepEqual(await ranking(page), [["Women", "3", "50.0%"], ["Men", "3", "50.0%"]]);
  assert.deepEqual(server.resyncs, []);
});

browserTest("a lost point is asked for, and asked for again when there is no answer", async (t) => {
  const server = await serve(t);
  server.publish([1, 1, 0]);
  const page = await open(t, server.url, { clock: true });
  await page.clock.runFor(100);
  await status(page, /^Live$/);
  server.deaf = true;
  server.publish([2, 2, 0], { emit: false });
  server.publish([3, 3, 0]);
  await eventually(() => server.resyncs, [{ since: 1 }]);
  server.publish([4, 4, 0]);
  server.deaf = false;
  await page.clock.runFor(5_100);
  await eventually(() => server.resyncs, [{ since: 1 }, { since: 1 }]);
  await eventually(async () => {
    await page.clock.runFor(50);
    return (await table(page)).map((row) => row[1]);
  }, ["4", "3", "2", "1"]);
});

browserTest("time without points is a gap in the line and a row in the table", async (t) => {
  const server = await serve(t);
  for (let i = 0; i < 30; i += 1) server.publish([5, 5, 0]);
  server.skip(20);
  for (let i = 0; i < 10; i += 1) server.publish([5, 6, 0]);
  const page = await open(t, server.url);
  await status(page, /^Live$/);
  const columns = await columnsWith(page, "#d9530b");
  let longest = 0;
  let run = 0;
  for (const seen of columns.slice(0, columns.length - 12)) {
    run = seen ? 0 : run + 1;
    longest = Math.max(longest, run);
  }
  // 21 of the 60 seconds shown have no line.
  assert.ok(Math.abs(longest / columns.length - 21 / 60) < 0.03, `the gap is ${longest} of ${columns.length} columns`);
  assert.deepEqual((await table(page))[10], ["no data"]);
});

browserTest("after a loss the page comes back by itself and asks only for what it missed", async (t) => {
  const server = await serve(t);
  server.publish([1, 1, 0]);
  server.publish([2, 2, 0]);
  const page = await open(t, server.url);
  await status(page, /^Live$/);
  await server.close();
  await status(page, /^Disconnected, retrying/);
  assert.equal(await page.isVisible("#retry"), true);
  server.publish([3, 3, 0]);
  await server.listen();
  await status(page, /^Live$/);
  assert.deepEqual(server.auths.at(-1), { epoch: "first", since: 2 });
  server.publish([4, 4, 0]);
  await eventually(async () => (await table(page)).map((row) => row[1]), ["4", "3", "2", "1"]);
  assert.equal(await page.isVisible("#retry"), false);
});

browserTest("waits double up to ten seconds, are told, and can be cut short", async (t) => {
  const server = await serve(t);
  server.publish([1, 1, 0]);
  const page = await open(t, server.url, { clock: true, init: () => { Math.random = () => 1; } });
  await page.clock.runFor(100);
  await status(page, /^Live$/);
  await server.close();
  const told = [];
  for (const waited of [0, 500, 1000, 2000, 4000, 8000, 10_000]) {
    await page.clock.runFor(waited);
    await eventually(async () => {
      await page.clock.runFor(20);
      return (await page.getAttribute("body", "data-state"));
    }, "waiting");
    told.push(Number(/in (\d+) s/.exec(await page.textContent("#status-text"))[1]));
  }
  assert.deepEqual(told, [1, 1, 2, 4, 8, 10, 10]);
  await server.listen();
  await page.click("#retry");
  await eventually(async () => {
    await page.clock.runFor(20);
    return page.textContent("#status-text");
  }, "Live");
});

browserTest("a new epoch clears what was there", async (t) => {
  const server = await serve(t);
  for (let i = 0; i < 9; i += 1) server.publish([100, 100, 0]);
  const page = await open(t, server.url);
  await status(page, /^Live$/);
  await server.close();
  server.begin("second");
  server.publish([1, 3, 0]);
  await server.listen();
  await eventually(() => figures(page), [["Women", "1"], ["Men", "3"], ["All", "4"]]);
  assert.deepEqual(await ranking(page), [["Women", "1", "25.0%"], ["Men", "3", "75.0%"]]);
  assert.equal((await table(page)).length, 1);
});

browserTest("when points stop their age is shown", async (t) => {
  const server = await serve(t);
  server.publish([1, 1, 0]);
  const page = await open(t, server.url, { clock: true });
  await page.clock.runFor(100);
  await status(page, /^Live$/);
  await page.clock.runFor(20_000);
  await status(page, /^No new data for (19|20|21) s$/);
  server.publish([2, 2, 0]);
  await eventually(async () => {
    await page.clock.runFor(50);
    return page.textContent("#status-text");
  }, "Live");
});

browserTest("a hidden tab receives and draws nothing; shown again it has all", async (t) => {
  const server = await serve(t);
  server.publish([1, 1, 0]);
  const page = await open(t, server.url, { clock: true, init: () => {
    window.hide = (value) => {
      Object.defineProperty(document, "hidden", { configurable: true, get: () => value });
      document.dispatchEvent(new Event("visibilitychange"));
    };
    window.draws = 0;
    for (const name of ["stroke", "fill", "clearRect", "fillText"]) {
      const real = CanvasRenderingContext2D.prototype[name];
      CanvasRenderingContext2D.prototype[name] = function draw(...all) {
        window.draws += 1;
        return real.apply(this, all);
      };
    }
    window.changes = 0;
    new MutationObserver((all) => { window.changes += all.length; })
      .observe(document, { subtree: true, childList: true, characterData: true, attributes: true });
  } });
  await page.clock.runFor(100);
  await status(page, /^Live$/);
  await page.clock.runFor(100);
  const drawn = () => page.evaluate(() => [window.draws, window.changes]);
  await page.evaluate(() => window.hide(true));
  const before = await drawn();
  assert.ok(before[0] > 0, "drawing is seen by this test");
  for (let i = 2; i <= 20; i += 1) server.publish([i, i, 0]);
  await page.waitForFunction(() => window.received.point === 19);
  await page.clock.runFor(20_000);
  assert.deepEqual(await drawn(), before);
  await page.evaluate(() => window.hide(false));
  await page.clock.runFor(100);
  await eventually(() => figures(page), [["Women", "20"], ["Men", "20"], ["All", "40"]]);
  assert.equal((await table(page)).length, 20);
  assert.deepEqual(server.resyncs, []);
});
