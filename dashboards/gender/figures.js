// The large figures above the chart: the newest value of the leading series and of all together, each with the
// last minute as a small line.

import { element, setText, svg, swatch } from "./dom.js";
import { label, number, shortNumber } from "./format.js";
import { colourOf, dashOf, faded } from "./palette.js";

const MOST_TILES = 4;
/** With more, a figure is written short in any case. */
const MOST_DIGITS = 12;
const SPARK_POINTS = 60;
const FEWEST_SPARK_POINTS = 20;
/** Up to so many series, the leading ones keep the order of all. */
const MOST_IN_ORDER = 8;
const SPARK_WIDTH = 120;
const SPARK_HEIGHT = 32;

export class Figures {
  #list;
  #history;
  #tiles = [];

  constructor(list, history) {
    this.#list = list;
    this.#history = history;
  }

  /**
   * `shown`: indices of the series, `unit`: text behind a value, `additive`: whether a sum means something,
   * `byNewest`: whether those lead that are the greatest now, and not in all; `exact`: whether there is nothing else on
   * the page, so that one alone has room for all its digits.
   */
  draw(shown, unit, additive, byNewest, exact) {
    const { series, totals, rows } = this.#history;
    const newest = rows[rows.length - 1];
    const sizes = byNewest ? newest ?? [] : totals;
    const leading = [...shown].sort((a, b) => sizes[b] - sizes[a]).slice(0, MOST_TILES);
    if (shown.length <= MOST_IN_ORDER && !byNewest) leading.sort((a, b) => a - b);
    const withAll = additive && shown.length > 1;
    this.#fit(leading.length + (withAll ? 1 : 0));
    leading.forEach((i, place) => {
      this.#tiles[place].fill(label(series[i]), newest?.[i], unit, colourOf(series[i], i), dashOf(i),
        this.#recent((row) => row[i]), exact && leading.length === 1);
    });
    if (withAll) {
      const name = shown.length > MOST_TILES ? `All ${shown.length}` : "All";
      const sum = (row) => sumOf(row, shown);
      this.#tiles[leading.length].fill(name, newest && sum(newest), unit, null, [], this.#recent(sum));
    }
  }

  #fit(count) {
    while (this.#tiles.length < count) {
      const tile = new Tile();
      this.#tiles.push(tile);
      this.#list.append(tile.node);
    }
    while (this.#tiles.length > count) this.#tiles.pop().node.remove();
    this.#list.dataset.count = String(count);
  }

  /** The newest values, null where time is missing. */
  #recent(valueOf) {
    const { times, rows } = this.#history;
    const from = Math.max(0, times.length - SPARK_POINTS);
    const values = [];
    for (let i = from; i < times.length; i += 1) {
      if (i > from && this.#history.gapBefore(i)) values.push(null);
      values.push(valueOf(rows[i]) ?? null);
    }
    return values;
  }
}

/** Sum of the shown values of a row; null when none of them is known. */
function sumOf(row, shown) {
  let sum = null;
  for (const i of shown) if (row[i] !== null) sum = (sum ?? 0) + row[i];
  return sum;
}

class Tile {
  #mark = swatch();
  #name = element("span", "tile-name");
  #value = element("span", "tile-value");
  #unit = element("span", "tile-unit");
  #area = svg("path", { class: "spark-area" });
  #line = svg("path", { class: "spark-line", fill: "none", "vector-effect": "non-scaling-stroke" });

  constructor() {
    this.#name.dir = "auto";
    const spark = svg("svg", {
      class: "spark", viewBox: `0 0 ${SPARK_WIDTH} ${SPARK_HEIGHT}`, preserveAspectRatio: "none", "aria-hidden": "true",
    }, this.#area, this.#line);
    this.node = element("li", "card tile",
      element("p", "tile-head", this.#mark.node, this.#name),
      element("p", "tile-figure", this.#value, " ", this.#unit),
      spark);
  }

  /** `colour` null: the sum of all, in the colour of text; `exact`: there is room for all digits. */
  fill(name, value, unit, colour, dash, recent, exact = false) {
    setText(this.#name, name);
    this.#name.title = name;
    setText(this.#value, exact && number(value).length <= MOST_DIGITS ? number(value) : shortNumber(value));
    this.#value.title = number(value);
    setText(this.#unit, unit);
    this.#mark.node.toggleAttribute("hidden", colour === null);
    this.node.classList.toggle("tile-all", colour === null);
    if (colour !== null) this.#mark.paint(colour, dash);
    this.#value.style.color = colour ?? "";
    this.#line.style.stroke = colour ?? "";
    this.#area.style.fill = colour === null ? "" : faded(colour, 0.14);
    const { line, area } = sparkPaths(recent);
    this.#line.setAttribute("d", line);
    this.#area.setAttribute("d", area);
  }
}

function sparkPaths(values) {
  const least = Math.min(0, ...values.map((value) => value ?? 0));
  const most = Math.max(0, ...values.map((value) => value ?? 0));
  const places = Math.max(values.length, FEWEST_SPARK_POINTS);
  const step = SPARK_WIDTH / (places - 1);
  const first = places - values.length;
  let line = "";
  let area = "";
  let start = null;
  const place = (i) => ((first + i) * step).toFixed(1);
  values.forEach((value, i) => {
    if (value === null) return;
    const isFirst = (values[i - 1] ?? null) === null;
    // Divided before it is subtracted: the difference of two huge values is no number.
    const part = most === least ? 0 : (value / 2 - least / 2) / (most / 2 - least / 2);
    const y = (SPARK_HEIGHT - 2 - part * (SPARK_HEIGHT - 4)).toFixed(1);
    if (isFirst) start = place(i);
    line += `${isFirst ? "M" : "L"}${place(i)} ${y}`;
    area += isFirst ? `M${start} ${SPARK_HEIGHT}L${start} ${y}` : `L${place(i)} ${y}`;
    if ((values[i + 1] ?? null) === null) area += `L${place(i)} ${SPARK_HEIGHT}Z`;
  });
  return { line, area };
}
