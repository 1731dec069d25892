// A server that speaks docs/socketio.md and does, on request, everything that a network or a slow client can do to it:
// lose points, repeat them, come back with another epoch, refuse a token.

import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import { extname, join, normalize } from "node:path";
import { fileURLToPath } from "node:url";
import { Server } from "socket.io";

const DASHBOARDS = fileURLToPath(new URL("../../../dashboards/", import.meta.url));
const TYPES = { ".html": "text/html", ".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml" };
const CSP = "default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; object-src 'none'";
const FIRST_TIME = Date.UTC(2026, 10, 3, 12, 0, 0) - 1;

export const GENDERS = [
  { key: "0", label: "Women", colour: "#d9530b" },
  { key: "1", label: "Men", colour: "#0f6fc4" },
  { key: "2", label: "Unknown", hidden: true },
];

export class MockServer {
  /** Every `auth` and every `resync` received, oldest first. */
  auths = [];
  resyncs = [];
  /** `resync` is answered unless this is set. */
  deaf = false;
  /** Called in place of sending the `hello` to a new client, when set. */
  onGreeting = null;

  static async start(options = {}) {
    const server = new MockServer(options);
    await server.listen();
    return server;
  }

  constructor({ series = GENDERS, page = {}, interval = 1000, token, epoch = "first", proto = 1, totals = true } = {}) {
    Object.assign(this, { interval, token, proto, sendsTotals: totals });
    this.page = { title: "Shoppers", unit: "per second", chart: "line", window_ms: 60_000, ...page };
    this.begin(epoch, series);
  }

  /** Starts a history anew. */
  begin(epoch, series = this.series) {
    this.epoch = epoch;
    this.series = series;
    this.points = [];
    this.totals = [];
    this.seq = 0;
    this.time = FIRST_TIME;
  }

  async listen() {
    this.http = createServer((request, response) => serveFile(request, response));
    this.io = new Server(this.http, { pingTimeout: 600_000 }); // some tests let minutes pass in the page at once
    this.live = this.io.of("/live");
    this.live.use((socket, next) => {
      this.auths.push(socket.handshake.auth);
      next(this.token === undefined || socket.handshake.auth.token === this.token ? undefined : new Error("unauthorized"));
    });
    this.live.on("connection", (socket) => this.#greet(socket));
    await new Promise((resolve) => this.http.listen(this.port ?? 0, "127.0.0.1", resolve));
    this.port = this.http.address().port;
    this.url = `http://127.0.0.1:${this.port}/`;
  }

  async close() {
    await this.io.close();
  }

  #greet(socket) {
    const { epoch, since } = socket.handshake.auth;
    const greet = () => socket.emit("hello", this.hello(epoch === this.epoch ? since : 0));
    if (this.onGreeting) this.onGreeting(socket, greet);
    else greet();
    socket.on("resync", (message) => {
      this.resyncs.push(message);
      if (!this.deaf) socket.emit("hello", this.hello(Number.isInteger(message.since) ? message.since : 0));
    });
  }

  hello(since = 0) {
    return {
      proto: this.proto,
      epoch: this.epoch,
      series: this.series,
      interval_ms: this.interval,
      last_seq: this.seq,
      points: this.points.filter((point) => point.seq > since),
      age_ms: 0,
      ...(this.sendsTotals && { totals: this.series.map((_, i) => this.totals[i] ?? 0) }),
      page: this.page,
    };
  }

  /**
   * Stores one window and emits it. `at`: its time, else one interval after the last; `emit: false`: it is lost on the
   * way; `series`: the list grew with this window; `top`: its rows, where they are the first few in an order.
   */
  publish(v, { at, emit = true, series, top } = {}) {
    this.time = at ?? this.time + (this.interval ?? 1000);
    this.seq += 1;
    if (series) this.series = series;
    v.forEach((value, i) => { this.totals[i] = (this.totals[i] ?? 0) + (value ?? 0); });
    const point = { seq: this.seq, t: this.time, v, ...(top && { top }) };
    this.points.push(point);
    if (emit) this.live?.emit("point", { ...point, ...(series && { series }) });
    return point;
  }

  /** Lets `count` intervals pass without a window. */
  skip(count) {
    this.time += count * this.interval;
  }
}

async function serveFile(request, response) {
  const path = normalize(decodeURIComponent(new URL(request.url, "http://localhost").pathname));
  const file = path.startsWith("/vendor/") ? path : join("/gender", path === "/" ? "index.html" : path);
  try {
    const body = await readFile(join(DASHBOARDS, file));
    response.writeHead(200, {
      "content-type": `${TYPES[extname(file)] ?? "text/plain"}; charset=utf-8`,
      "content-security-policy": CSP,
      "x-content-type-options": "nosniff",
    });
    response.end(body);
  } catch {
    response.writeHead(404).end();
  }
}
