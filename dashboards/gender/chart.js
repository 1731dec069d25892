// The chart: uPlot on the history, drawn anew only when asked to. Its cursor is moved by the pointer and by `read`.
/* global uPlot, devicePixelRatio */

import { barPaths } from "./bars.js";
import { DAY_MS, date, share, tickNumbers, time, timeOfDay } from "./format.js";
import { colourOf, dashOf, faded, themeColour } from "./palette.js";
import { columnsOf, layoutOf, spanOf } from "./plotdata.js";

/** Up to this many lines each gets full strength; above, the largest do and the others stand back. */
const MOST_STRONG_LINES = 8;
/** Half of a time label, less the room at the right of the plot. */
const EDGE_PIXELS = 18;
/** Values that differ by less than this part of the largest are drawn on an axis that does not begin at 0. */
const LEAST_SPREAD = 0.05;
/** Shades under several lines would mix to grey. */
const MOST_FILLED_LINES = 1;

export class Chart {
  #host;
  #history;
  #onPointer;
  #plot = null;
  #layout = layoutOf("line", [], []);
  #signature = "";
  #window = { ms: 0, exact: false };
  #interval = 1000;
  #span = [0, 1];
  #strong = new Set();
  /** Where the pointer is, in pixels of the plot; null when it is elsewhere. */
  #pointer = null;

  /** Draws into `host`; `onPointer(time or null, x)` is told where the pointer is, x in pixels of `host`. */
  constructor(host, history, onPointer) {
    this.#host = host;
    this.#history = history;
    this.#onPointer = onPointer;
    new ResizeObserver(() => this.#resize()).observe(host);
    document.addEventListener("pointerdown", (event) => {
      if (host.contains(event.target) || this.#pointer === null) return;
      this.#pointer = null;
      this.read(null);
      this.tellPointer();
    });
  }

  /** Draws the newest state. `shown`: indices of the series; `window`: see `spanOf`. */
  draw(kind, shown, window, unit) {
    const layout = layoutOf(kind, shown, this.#history.totals);
    const signature = [kind, unit, this.#history.epoch, this.#history.interval, ...layout.order].join();
    this.#window = window;
    this.#layout = layout;
    this.#interval = this.#history.interval;
    const bySize = [...shown].sort((a, b) => this.#history.totals[b] - this.#history.totals[a]);
    this.#strong = new Set(bySize.slice(0, MOST_STRONG_LINES));
    this.#span = spanOf(this.#history, layout, window, this.#size().width - 60);
    const data = columnsOf(this.#history, layout, this.#span[0]);
    if (this.#plot && signature === this.#signature) {
      this.#plot.setData(data);
      return;
    }
    this.#signature = signature;
    this.#plot?.destroy();
    this.#plot = new uPlot(this.#options(unit), data, this.#host);
    this.#listen();
  }

  /** Draws the same again, after a change of colours. */
  recolour() {
    this.#plot?.redraw(false, true);
  }

  /** Brings one series to the front, or none with null. */
  emphasise(series) {
    const at = this.#layout.order.indexOf(series);
    this.#plot?.setSeries(at < 0 ? null : at + 1, { focus: true });
  }

  /** Puts the cursor on `time`, or away with null. Returns its x in pixels of the host, or null if out of view. */
  read(when) {
    if (!this.#plot) return null;
    const inView = when !== null && when >= this.#span[0] && when <= this.#span[1];
    const left = inView ? this.#plot.valToPos(when, "x") : -10;
    this.#plot.setCursor({ left, top: inView ? 1 : -10 });
    return inView ? left + this.#plot.over.offsetLeft : null;
  }

  /** Tells again where the pointer is: the chart may have moved under it. */
  tellPointer() {
    if (!this.#plot) return;
    if (this.#pointer === null) this.#onPointer(null, 0);
    else this.#onPointer(this.#plot.posToVal(this.#pointer, "x"), this.#pointer + this.#plot.over.offsetLeft);
  }

  get span() {
    return this.#span;
  }

  #size() {
    const width = Math.max(this.#host.clientWidth, 200);
    return { width, height: Math.round(Math.min(Math.max(width * 0.44, 250), 384)) };
  }

  #resize() {
    if (!this.#plot) return;
    const size = this.#size();
    if (size.width === this.#plot.width && size.height === this.#plot.height) return;
    this.#span = spanOf(this.#history, this.#layout, this.#window, size.width - 60);
    this.#plot.setData(columnsOf(this.#history, this.#layout, this.#span[0]), false);
    this.#plot.setSize(size);
  }

  #options(unit) {
    const { kind, stacked, order } = this.#layout;
    const text = () => themeColour("muted");
    const grid = { stroke: () => themeColour("grid"), width: 1 };
    const font = `12px ${getComputedStyle(document.body).fontFamily}`;
    return {
      ...this.#size(),
      ms: 1,
      padding: [unit || kind === "share" ? 24 : 12, 14, 0, 0],
      legend: { show: false },
      focus: { alpha: 0.15 },
      cursor: {
        y: false,
        drag: { x: false, y: false, setScale: false },
        points: { ...((kind !== "line" || order.length > MOST_STRONG_LINES) && { show: false }), size: 9, width: 2,
          stroke: () => themeColour("card"), fill: (u, i) => this.#colour(i) },
      },
      scales: {
        x: { time: true, range: () => this.#span },
        y: { range: (u, least, most) => this.#rangeOf(least, most) },
      },
      axes: [
        { stroke: text, font, grid: { show: false }, ticks: { show: false }, gap: 8, size: 36, space: 84,
          values: (u, ticks, axis, space, step) => this.#timeLabels(ticks, step) },
        { stroke: text, font, grid, ticks: { show: false }, gap: 8, size: yAxisWidth, space: 48,
          values: (u, ticks) => (kind === "share" ? ticks.map((tick) => share(tick).replace(/[.,]0/, "")) : tickNumbers(ticks)) },
      ],
      series: [{}, ...order.map((series, place) => this.#seriesOptions(series, place))],
      bands: stacked && kind !== "bars"
        ? order.slice(1).map((_, i) => ({ series: [i + 1, i + 2] })) : [],
      hooks: {
        // uPlot draws later than it is told to: only then does it know which time is under the pointer.
        draw: [(u) => this.#drawUnit(u, kind === "share" ? "" : unit, font), (u) => this.#drawEnds(u), () => this.tellPointer()],
      },
    };
  }

  /** No label so near to the right edge that it would be cut. */
  #timeLabels(ticks, step) {
    const [from, to] = this.#span;
    const pixels = this.#size().width / (to - from);
    const clock = step < 60_000 ? time : timeOfDay;
    const isMidnight = (tick) => new Date(tick).getHours() === 0 && new Date(tick).getMinutes() === 0;
    // A day that ends at midnight is told by itself, not by the day that begins there.
    const write = (tick) => (this.#interval >= DAY_MS && isMidnight(tick) ? date(tick - 1) : writeTick(tick));
    const writeTick = (tick) => (step >= DAY_MS || (step >= 60_000 && isMidnight(tick)) ? date(tick) : clock(tick));
    return ticks.map((tick) => ((to - tick) * pixels < EDGE_PIXELS ? "" : write(tick)));
  }

  #seriesOptions(series, place) {
    const { kind, stacked, filled, order } = this.#layout;
    const at = place + 1;
    const base = { label: String(series), points: { show: false } };
    const strong = () => this.#strong.has(series);
    if (kind === "bars") {
      return { ...base, width: 0, fill: () => faded(this.#colour(at), strong() ? 1 : 0.35), stroke: "transparent",
        paths: barPaths(stacked ? 0 : place, stacked ? 1 : order.length, this.#interval, stacked) };
    }
    if (stacked) {
      return { ...base, width: strong() ? 1 : 0, stroke: () => this.#colour(at),
        fill: () => faded(this.#colour(at), strong() ? 0.78 : 0.22) };
    }
    return {
      ...base,
      width: order.length <= MOST_STRONG_LINES ? 2 : 1.5,
      dash: dashOf(series),
      cap: "butt",
      stroke: () => (strong() ? this.#colour(at) : faded(this.#colour(at), 0.28)),
      fill: filled || order.length <= MOST_FILLED_LINES ? (u) => this.#shade(u, at) : undefined,
      // A single point between two gaps has no line: without a dot it would not be seen.
      points: { show: true, size: 5, stroke: () => this.#colour(at), fill: () => this.#colour(at), filter: lonely },
    };
  }

  #colour(at) {
    const series = this.#layout.order[at - 1];
    return colourOf(this.#history.series[series], series);
  }

  #shade(u, at) {
    const colour = this.#colour(at);
    const { top, height } = u.bbox;
    const gradient = u.ctx.createLinearGradient(0, top, 0, top + height);
    gradient.addColorStop(0, faded(colour, 0.16));
    gradient.addColorStop(1, faded(colour, 0));
    return gradient;
  }

  #rangeOf(least, most) {
    const { kind } = this.#layout;
    if (kind === "share") return [0, 1];
    const spread = most - least;
    if (kind === "line" && spread > 0 && spread < LEAST_SPREAD * Math.max(Math.abs(least), Math.abs(most))) {
      return [least - spread * 0.12, most + spread * 0.12];
    }
    const [low, high] = [Math.min(least ?? 0, 0) * 1.12, Math.max(most ?? 0, 0) * 1.12];
    return low === 0 && high === 0 ? [0, 1] : [low, high];
  }

  #drawUnit(u, unit, font) {
    if (!unit) return;
    const { ctx } = u;
    ctx.save();
    ctx.font = font.replace("12px", `${12 * devicePixelRatio}px`);
    ctx.fillStyle = themeColour("muted");
    ctx.textAlign = "left";
    ctx.textBaseline = "top";
    ctx.fillText(unit, 8 * devicePixelRatio, 0);
    ctx.restore();
  }

  /** A dot at the newest value of each strong line: the eye finds "now". */
  #drawEnds(u) {
    if (this.#layout.kind !== "line" || this.#layout.order.length > MOST_STRONG_LINES) return;
    const { ctx } = u;
    const last = u.data[0].length - 1;
    ctx.save();
    for (let at = 1; at < u.data.length; at += 1) {
      const value = u.data[at][last];
      if (value === null || value === undefined) continue;
      ctx.beginPath();
      ctx.arc(u.valToPos(u.data[0][last], "x", true), u.valToPos(value, "y", true), 4.5 * devicePixelRatio, 0, 7);
      ctx.fillStyle = this.#colour(at);
      ctx.strokeStyle = themeColour("card");
      ctx.lineWidth = 2 * devicePixelRatio;
      ctx.fill();
      ctx.stroke();
    }
    ctx.restore();
  }

  #listen() {
    const { over } = this.#plot;
    const point = (x) => {
      this.#pointer = x;
      this.tellPointer();
    };
    const at = (event) => event.clientX - over.getBoundingClientRect().left;
    // A finger reads where it taps and moves, and what it read stays when it is taken away.
    const touched = (event) => {
      point(at(event));
      this.#plot.setCursor({ left: at(event), top: 1 });
    };
    over.addEventListener("pointerdown", (event) => event.pointerType === "mouse" || touched(event));
    over.addEventListener("pointermove", (event) => (event.pointerType === "mouse" ? point(at(event)) : touched(event)));
    over.addEventListener("pointerleave", (event) => event.pointerType !== "mouse" || point(null));
  }
}

/** Wide enough for the longest figure on the axis. */
function yAxisWidth(u, values) {
  const longest = Math.max(2, ...(values ?? []).map((value) => value.length));
  return 18 + longest * 7.2;
}

/** Indices (for uPlot's points) of values with a gap on both sides. */
function lonely(u, at) {
  const values = u.data[at];
  const found = [];
  for (let i = 0; i < values.length; i += 1) {
    if (values[i] !== null && (values[i - 1] ?? null) === null && (values[i + 1] ?? null) === null) found.push(i);
  }
  return found;
}
