// The newest windows as a table: the same data for those who cannot or do not want to read a chart.
// It is filled only while it is open.

import { element, placeAll, setText } from "./dom.js";
import { label, number, windowTime } from "./format.js";

const MOST_ROWS = 60;

export class DataTable {
  #box;
  #body;
  #note;
  #history;
  #rows = element("tbody");
  /** The lines that are there, by the time of their window. */
  #lines = new Map();
  /** What the head and the columns were made of. */
  #signature = "";

  /** `box` is the `<details>`, `body` the scrolling part, `note` the text in its head; `redraw` fills it on opening. */
  constructor(box, body, note, history, redraw) {
    this.#box = box;
    this.#body = body;
    this.#note = note;
    this.#history = history;
    box.addEventListener("toggle", redraw);
  }

  draw(shown, unit) {
    const { times, series, interval } = this.#history;
    const count = Math.min(times.length, MOST_ROWS);
    setText(this.#note, count ? `the newest ${count} windows${unit ? `, ${unit}` : ""}` : "");
    if (!this.#box.open || this.#isSelecting()) return;
    const heads = this.#history.isRanked ? this.#places(count) : shown.map((i) => label(series[i]));
    const signature = JSON.stringify([this.#history.epoch, interval, shown, heads]);
    if (signature !== this.#signature) {
      this.#signature = signature;
      this.#lines.clear();
      this.#rows.replaceChildren();
      const head = element("tr", "", header("Time", "col"), ...heads.map((text) => header(text, "col")));
      this.#body.replaceChildren(element("table", "", element("thead", "", head), this.#rows));
    }
    const nodes = [];
    for (let i = times.length - 1; i >= times.length - count; i -= 1) {
      nodes.push(this.#line(i, shown, heads.length));
      if (i > times.length - count && this.#history.gapBefore(i)) nodes.push(this.#gap(times[i], heads.length + 1));
    }
    placeAll(this.#rows, nodes);
    const kept = new Set(nodes);
    for (const [name, node] of this.#lines) if (!kept.has(node)) this.#lines.delete(name);
  }

  /** The line of a window, as it is now: one that was there is kept, so that only what changed is laid out anew. */
  #line(at, shown, columns) {
    const { times, rows, interval } = this.#history;
    let node = this.#lines.get(times[at]);
    if (!node) {
      node = element("tr", "", header(windowTime(times[at], interval), "row"));
      for (let i = 0; i < columns; i += 1) node.append(element("td"));
      this.#lines.set(times[at], node);
    }
    const texts = this.#history.isRanked ? this.#ranked(at) : shown.map((series) => number(rows[at][series]));
    for (let i = 0; i < columns; i += 1) setText(node.cells[i + 1], texts[i] ?? "–");
    return node;
  }

  /** The heads of a ranking: the places of the longest of the newest windows. */
  #places(count) {
    const most = Math.max(0, ...this.#history.tops.slice(-count).map((top) => top?.length ?? 0));
    return Array.from({ length: most }, (_, i) => String(i + 1));
  }

  #ranked(at) {
    const { series } = this.#history;
    return this.#history.ranking(at, [])
      .map(([key, value, index]) => `${label(series[index] ?? { key })} ${number(value)}`);
  }

  #gap(time, columns) {
    const name = `before ${time}`;
    if (!this.#lines.has(name)) this.#lines.set(name, gapLine(columns));
    return this.#lines.get(name);
  }

  /** Whoever marks cells to copy them must not lose them to the next second. */
  #isSelecting() {
    const selection = getSelection();
    return !selection.isCollapsed && this.#body.contains(selection.anchorNode);
  }
}

function header(text, scope) {
  const cell = element("th", "", text);
  cell.scope = scope;
  cell.dir = "auto";
  return cell;
}

function gapLine(columns) {
  const cell = element("td", "table-gap", "no data");
  cell.colSpan = columns;
  return element("tr", "", cell);
}
