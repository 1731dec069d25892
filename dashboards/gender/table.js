// The newest windows as a table: the same data for those who cannot or do not want to read a chart.
// It is filled only while it is open.

import { element } from "./dom.js";
import { label, number, windowTime } from "./format.js";

const MOST_ROWS = 60;

export class DataTable {
  #box;
  #body;
  #note;
  #history;

  /** `box` is the `<details>`, `body` the scrolling part, `note` the text in its head; `redraw` fills it on opening. */
  constructor(box, body, note, history, redraw) {
    this.#box = box;
    this.#body = body;
    this.#note = note;
    this.#history = history;
    box.addEventListener("toggle", redraw);
  }

  draw(shown, unit) {
    const { times, rows, series, interval } = this.#history;
    const count = Math.min(times.length, MOST_ROWS);
    this.#note.textContent = count ? `the newest ${count} windows${unit ? `, ${unit}` : ""}` : "";
    if (!this.#box.open || this.#isSelecting()) return;
    const head = element("tr", "", header("Time", "col"), ...shown.map((i) => header(label(series[i]), "col")));
    const lines = [];
    for (let i = times.length - 1; i >= times.length - count; i -= 1) {
      lines.push(element("tr", "", header(windowTime(times[i], interval), "row"),
        ...shown.map((at) => element("td", "", number(rows[i][at])))));
      if (i > times.length - count && this.#history.gapBefore(i)) lines.push(gapLine(shown.length + 1));
    }
    const table = element("table", "", element("thead", "", head), element("tbody", "", ...lines));
    this.#body.replaceChildren(table);
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
