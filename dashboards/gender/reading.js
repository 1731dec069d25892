// Reading single points: by pointer or by arrow keys, in a box beside the cursor and as the chart's spoken value.

import { element, swatch } from "./dom.js";
import { label, number, share, windowTime } from "./format.js";
import { colourOf, dashOf } from "./palette.js";

const MOST_LINES = 9;
const MOST_SPOKEN = 5;
const KEYS = { ArrowLeft: -1, ArrowDown: -1, ArrowRight: 1, ArrowUp: 1, PageUp: -10, PageDown: 10, Home: -Infinity, End: Infinity };

export class Reading {
  #host;
  #box;
  #history;
  #chart;
  #shown = [];
  #unit = "";
  #asShare = false;
  /** Time of the point being read by keyboard, null when none is. */
  #keyed = null;

  /** `host` is the focusable chart element, `box` the box inside it. */
  constructor(host, box, history) {
    this.#host = host;
    this.#box = box;
    this.#history = history;
    host.addEventListener("keydown", (event) => this.#key(event));
    host.addEventListener("blur", () => this.#leave());
  }

  /** The chart whose cursor is moved; it in turn calls `pointer`. */
  follow(chart) {
    this.#chart = chart;
  }

  /** Called with the pointer's time, or null when it is not on the chart. What was read by keys gives way to it. */
  pointer(time, x) {
    if (time === null) {
      if (this.#keyed === null) this.#box.hidden = true;
      return;
    }
    this.#keyed = null;
    const at = this.#history.nearest(time);
    if (at >= 0) this.#show(at, x, time);
  }

  /** After a draw: what is read stays where it is in time, and moves with the chart. */
  update(shown, unit, asShare) {
    this.#shown = shown;
    this.#unit = unit;
    this.#asShare = asShare;
    const points = this.#history.times.length;
    this.#host.setAttribute("aria-valuemax", String(Math.max(points - 1, 0)));
    if (this.#keyed === null) {
      if (points) this.#speak(points - 1);
      this.#chart.tellPointer();
      return;
    }
    this.#keyed = Math.max(this.#keyed, this.#chart.span[0]);
    const at = this.#history.nearest(this.#keyed);
    const x = at < 0 ? null : this.#chart.read(this.#history.times[at]);
    if (x === null) this.#leave();
    else this.#show(at, x, this.#history.times[at]);
  }

  #key(event) {
    if (event.key === "Escape") {
      this.#leave();
      return;
    }
    const step = KEYS[event.key];
    const { times } = this.#history;
    if (step === undefined || !times.length) return;
    event.preventDefault();
    const last = times.length - 1;
    const first = times.findIndex((time) => time >= this.#chart.span[0]);
    const here = this.#keyed === null ? (step > 0 ? first - 1 : last + 1) : this.#history.nearest(this.#keyed);
    const at = Math.min(Math.max(here + step, first), last);
    this.#keyed = times[at];
    const x = this.#chart.read(times[at]);
    if (x !== null) this.#show(at, x, times[at]);
    this.#speak(at);
  }

  #leave() {
    this.#keyed = null;
    this.#box.hidden = true;
    this.#chart.read(null);
  }

  /** Text for a screen reader; a slider's value is read out by itself when a key changes it. */
  #speak(at) {
    const row = this.#history.rows[at];
    const parts = this.#ranked(row).slice(0, MOST_SPOKEN)
      .map((i) => `${label(this.#history.series[i])} ${number(row[i])}`);
    this.#host.setAttribute("aria-valuenow", String(at));
    this.#host.setAttribute("aria-valuetext", `${windowTime(this.#history.times[at], this.#history.interval)}: ${parts.join(", ") || "no values"}`);
  }

  /** Shown series; the largest first where there are many, else in the order of the figures. */
  #ranked(row) {
    if (this.#shown.length <= 4) return this.#shown;
    return [...this.#shown].sort((a, b) => (row[b] ?? -1) - (row[a] ?? -1));
  }

  #show(at, x, wanted) {
    const { times, rows, series, interval } = this.#history;
    const box = this.#box;
    const lines = [element("p", "readout-time", windowTime(times[at], interval))];
    if (Math.abs(wanted - times[at]) > 1.5 * interval) {
      lines[0].textContent = windowTime(wanted, interval);
      lines.push(element("p", "readout-more", "No data for this time"));
    } else {
      const row = rows[at];
      const ranked = this.#ranked(row);
      const whole = ranked.reduce((sum, i) => sum + (row[i] ?? 0), 0);
      for (const i of ranked.slice(0, MOST_LINES)) {
        const mark = swatch();
        mark.paint(colourOf(series[i], i), dashOf(i));
        const name = element("span", "readout-name", label(series[i]));
        name.dir = "auto";
        const value = this.#asShare && whole > 0 ? `${number(row[i])} · ${share((row[i] ?? 0) / whole)}` : number(row[i]);
        lines.push(element("p", "readout-line", mark.node, name, element("b", "", value)));
      }
      const rest = ranked.length - MOST_LINES;
      if (rest > 0) lines.push(element("p", "readout-more", `and ${rest} more in the table`));
      else if (this.#unit) lines.push(element("p", "readout-more", this.#unit));
    }
    box.replaceChildren(...lines);
    box.hidden = false;
    const width = this.#host.clientWidth;
    const onLeft = x > width / 2;
    const place = onLeft ? x - box.offsetWidth - 14 : x + 14;
    box.style.transform = `translateX(${Math.round(Math.min(Math.max(place, 0), width - box.offsetWidth))}px)`;
  }
}
