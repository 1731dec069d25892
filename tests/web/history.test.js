// The page's memory against the rules of docs/socketio.md, on random streams. Needs no browser.

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { test } from "node:test";
import { GENDERS, MockServer } from "./support/mock.js";
import { seeded } from "./support/random.js";

// The page's scripts are modules without a package.json beside them, so Node is given the text itself.
const source = await readFile(new URL("../../dashboards/gender/history.js", import.meta.url), "utf8");
const { History } = await import(`data:text/javascript,${encodeURIComponent(source)}`);

function hello(more = {}) {
  return { proto: 1, epoch: "e", series: GENDERS, interval_ms: 1000, last_seq: 0, points: [], page: { window_ms: 60_000 }, ...more };
}

test("whatever is lost, repeated or cut off on the way, the history ends equal to the server's", () => {
  for (let seed = 1; seed <= 300; seed += 1) {
    const random = seeded(seed);
    const server = new MockServer({ totals: random() < 0.5 });
    const history = new History();
    let connected = false;
    let asks = false;
    const greet = (since) => {
      history.hello(structuredClone(server.hello(since)));
      asks = false;
    };
    const connect = () => {
      connected = true;
      greet(history.epoch === server.epoch ? history.lastSeq : 0);
    };
    const deliver = (point) => {
      if (connected && !asks && history.point(structuredClone(point)) === "jump") asks = true;
    };
    for (let step = 0; step < 120; step += 1) {
      const dice = random();
      if (dice < 0.02) {
        server.begin(`epoch ${step}`);
        connected = false;
      } else if (dice < 0.06) connected = false;
      else if (dice < 0.14) connect();
      else if (dice < 0.3 && asks && connected) greet(history.lastSeq);
      else if (dice < 0.36 && server.points.length) deliver(server.points[Math.floor(random() * server.points.length)]);
      else {
        const again = random() < 0.05 && server.points.length ? server.points.at(-1).t : undefined;
        const point = server.publish([Math.floor(random() * 9), random() < 0.2 ? null : 3, 1], { at: again });
        if (random() < 0.9) deliver(point);
      }
    }
    connect();
    const windows = new Map();
    for (const { t, v } of server.points) {
      windows.set(t, v);
    }
    assert.deepEqual(history.times, [...windows.keys()], `seed ${seed}`);
    assert.deepEqual(history.rows, [...windows.values()], `seed ${seed}`);
    assert.equal(history.lastSeq, server.seq, `seed ${seed}`);
  }
});

test("without the server's totals the page adds up, each window once", () => {
  const history = new History();
  history.hello(hello({ last_seq: 1, points: [{ seq: 1, t: 1000, v: [5, 2, 1] }] }));
  history.point({ seq: 2, t: 2000, v: [1, null, 0] });
  assert.deepEqual(history.totals, [6, 2, 1]);
  history.point({ seq: 3, t: 2000, v: [4, 1, 0] });
  assert.deepEqual(history.totals, [9, 3, 1], "a corrected window takes the place of its first result");
  assert.deepEqual(history.times, [1000, 2000]);
});

test("a window that comes again takes the place of the earlier one, with what has left it", () => {
  const history = new History();
  history.hello(hello());
  history.point({ seq: 1, t: 1000, v: [5, 3, null] });
  history.point({ seq: 2, t: 1000, v: [null, 7] });
  assert.deepEqual(history.rows, [[null, 7, null]]);
  assert.deepEqual(history.totals, [0, 7, 0]);
});

test("a late window is put where it belongs, and closes its gap", () => {
  const history = new History();
  history.hello(hello());
  for (const [seq, t] of [[1, 1000], [2, 3000], [3, 2000]]) history.point({ seq, t, v: [seq, 0, 0] });
  assert.deepEqual(history.times, [1000, 2000, 3000]);
  assert.deepEqual([1, 2].map((i) => history.gapBefore(i)), [false, false]);
});

test("new keys make older windows wider, with no value", () => {
  const history = new History();
  history.hello(hello({ series: [{ key: "a", label: "a" }] }));
  history.point({ seq: 1, t: 1000, v: [1] });
  history.point({ seq: 2, t: 2000, v: [2, 9], series: [{ key: "a", label: "a" }, { key: "b", label: "b" }] });
  history.point({ seq: 3, t: 3000, v: [3] });
  assert.deepEqual(history.rows, [[1, null], [2, 9], [3, null]]);
  assert.deepEqual(history.totals, [6, 9]);
});

test("time without points is a gap from one and a half intervals on; a silent server's interval is the median", () => {
  for (const interval_ms of [2000, null]) {
    const history = new History();
    history.hello(hello({ interval_ms }));
    [2000, 14_000, 4000, 6000, 8800, 10_800, 16_000].forEach((t, i) => {
      history.point({ seq: i + 1, t, v: [1, 1, 1] });
      assert.ok(history.interval >= 1000, "asked for at any time");
    });
    assert.equal(history.interval, 2000);
    assert.deepEqual(history.times.map((_, i) => history.gapBefore(i)), [false, false, false, false, false, true, false]);
  }
});

test("a window that has left the history is not counted again", () => {
  const history = new History();
  history.hello(hello({ series: GENDERS.slice(0, 1) }));
  for (let seq = 1; seq <= 601; seq += 1) history.point({ seq, t: seq * 1000, v: [1] });
  history.point({ seq: 602, t: 1000, v: [1] });
  assert.deepEqual([history.totals[0], history.times.length, history.times[0]], [601, 600, 2000]);
});

test("the history is bounded, and the newest stay", () => {
  const history = new History();
  history.hello(hello());
  for (let seq = 1; seq <= 5000; seq += 1) history.point({ seq, t: seq * 1000, v: [1, 1, 1] });
  assert.equal(history.times.length, 600);
  assert.equal(history.times.at(-1), 5_000_000);
  assert.equal(history.totals[0], 5000, "totals do not forget");
});
