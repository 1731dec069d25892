// The newest window as bars in a row: the first one on top, or the greatest where the rows have no order of
// their own.

import { element, placeAll, setText } from "./dom.js";
import { label, number, windowTime } from "./format.js";
import { colourOf } from "./palette.js";

export class Ranking {
  #list;
  #time;
  #history;
  #rows = [];

  /** `list` is filled with a row for each place, `time` with the time of the window. */
  constructor(list, time, history) {
    this.#list = list;
    this.#time = time;
    this.#history = history;
  }

  /** `shown`: indices of the series that may be shown, `unit`: text behind a value. */
  draw(shown, unit) {
    const { times, series, interval } = this.#history;
    const last = times.length - 1;
    const entries = this.#history.ranking(last, shown);
    const most = Math.max(...entries.map(([, value]) => value), 0);
    while (this.#rows.length < entries.length) this.#rows.push(new Row(this.#rows.length + 1));
    placeAll(this.#list, this.#rows.slice(0, entries.length).map((row) => row.node));
    entries.forEach(([key, value, index], place) => {
      const of = series[index] ?? { key };
      this.#rows[place].fill(label(of), value, most > 0 ? Math.max(value / most, 0) : 0,
        index < 0 ? "" : colourOf(of, index));
    });
    setText(this.#time, `${windowTime(times[last], interval)}${unit ? `, ${unit}` : ""}`);
  }
}

class Row {
  #name = element("span", "place-name");
  #value = element("span", "place-value");
  #bar = element("span", "rank-bar-fill");

  constructor(place) {
    this.#name.dir = "auto";
    const first = element("span", "place-number", String(place));
    const track = element("span", "rank-bar", this.#bar);
    this.node = element("li", "place", first, this.#name, this.#value, track);
  }

  /** `part`: of the longest bar. `colour` empty: the key has no line of its own, and no colour. */
  fill(name, value, part, colour) {
    setText(this.#name, name);
    this.#name.title = name;
    setText(this.#value, number(value));
    this.#bar.style.backgroundColor = colour;
    this.#bar.style.transform = `scaleX(${part})`;
  }
}
