// Beside the chart where there is one line alone: it has no share of anything, so what is told is its newest
// value, and the least, the mean and the greatest of the windows in view.

import { element, setText } from "./dom.js";
import { number } from "./format.js";

const NAMES = ["Newest", "Least", "Mean", "Greatest", "In all"];

export class Summary {
  #history;
  #lines;

  /** `list` is a `<dl>`, filled by this class. */
  constructor(list, history) {
    this.#history = history;
    this.#lines = NAMES.map((name) => {
      const value = element("dd");
      const node = element("div", "summary-line", element("dt", "", name), value);
      list.append(node);
      return { node, value };
    });
  }

  /** `series`: the line's index; `[from, to]`: the time in view, in ms; `hasTotal`: whether its values add up. */
  draw(series, [from, to], hasTotal) {
    const { times, rows, totals } = this.#history;
    const values = [];
    for (let i = this.#history.firstFrom(from); i < times.length && times[i] <= to; i += 1) {
      const value = rows[i][series];
      if (value !== null) values.push(value);
    }
    // Each value is divided by itself: the sum of huge ones is no number.
    const mean = values.length ? values.reduce((sum, value) => sum + value / values.length, 0) : null;
    const [least, greatest] = values.length
      ? [values.reduce((a, b) => Math.min(a, b)), values.reduce((a, b) => Math.max(a, b))] : [null, null];
    const told = [rows[rows.length - 1]?.[series], least, mean, greatest, totals[series]];
    this.#lines.forEach(({ node, value }, i) => {
      setText(value, number(told[i]));
      node.hidden = i === NAMES.length - 1 && !hasTotal;
    });
  }
}
