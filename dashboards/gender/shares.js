// Beside the chart: a ring of shares with the running total in its middle, and a row for each series with
// its total and share. A row is a button that takes the series' line out of the chart or puts it back.

import { element, placeAll, setText, svg, swatch } from "./dom.js";
import { label, number, share, shortNumber } from "./format.js";
import { colourOf, dashOf } from "./palette.js";

const MOST_IN_ORDER = 6;
const MOST_SLICES = 8;
/** A longer figure is written short, or it would push the name out. */
const LONGEST_FIGURE = 11;
/** So few series leave room for a larger ring. */
const FEW = 3;
/** Middle and radius of the ring in its own units, and the room between two slices as a share of the whole. */
const MIDDLE = 60;
const RADIUS = 48;
const SLICE_GAP = 0.008;

export class Shares {
  #list;
  #history;
  #on;
  #rows = new Map();
  #size = "";
  #ring = svg("g", { class: "ring" });
  #total = svg("text", { class: "ring-total", x: MIDDLE, y: 62, "text-anchor": "middle" });
  #word = svg("text", { class: "ring-word", x: MIDDLE, y: 77, "text-anchor": "middle" });
  #donut;
  #donutBox;

  /** `on.toggle(series)` when a row is pressed, `on.point(series or null)` when it is pointed at or focused. */
  constructor(donutBox, list, history, on) {
    this.#list = list;
    this.#history = history;
    this.#on = on;
    this.#donutBox = donutBox;
    this.#donut = svg("svg", { class: "donut", viewBox: "0 0 120 120", role: "img" },
      svg("circle", { class: "ring-track", cx: MIDDLE, cy: MIDDLE, r: RADIUS }), this.#ring, this.#total,
      this.#word);
    donutBox.append(this.#donut);
  }

  /**
   * `shown`: indices of all series that the page may show; `off`: a set of those taken out of the chart, which have
   * no share. Where a value is negative there are no shares at all: parts of a whole are not below nothing.
   * `additive`: whether the values of a window add up; `hasTotals`: whether those of all windows do, else the newest
   * window is shown.
   */
  draw(shown, off, additive, hasTotals) {
    const { series, totals, rows } = this.#history;
    const newest = rows[rows.length - 1];
    const value = hasTotals ? (i) => totals[i] : (i) => newest?.[i];
    const sizes = series.map((_, i) => value(i) ?? 0);
    const order = shown.length <= MOST_IN_ORDER ? shown : [...shown].sort((a, b) => sizes[b] - sizes[a]);
    const on = order.filter((i) => !off.has(i));
    const hasShares = additive && on.every((i) => sizes[i] >= 0);
    const sum = on.reduce((all, i) => all + sizes[i], 0);
    this.#donutBox.hidden = !hasShares;
    this.#donutBox.parentElement.toggleAttribute("data-few", shown.length <= FEW);
    if (hasShares) this.#drawDonut(on, sizes, sum, hasTotals ? "in all" : "now");
    const nodes = order.map((i) => {
      const row = this.#rowOf(i);
      const part = hasShares && !off.has(i) ? sizes[i] / (sum || 1) : null;
      row.fill(series[i], i, value(i), part, !off.has(i));
      return row.node;
    });
    placeAll(this.#list, nodes);
    this.#seeWhetherItScrolls(nodes.length);
  }

  /** To look lays the page out, so it is done where the list, or the room for it, has another size. */
  #seeWhetherItScrolls(rows) {
    const size = `${rows} ${innerWidth} ${innerHeight}`;
    if (size === this.#size) return;
    this.#size = size;
    this.#list.toggleAttribute("data-scrolls", this.#list.scrollHeight > this.#list.clientHeight + 1);
  }

  /** Drops what belongs to an earlier epoch. */
  reset() {
    this.#rows.clear();
    this.#list.replaceChildren();
  }

  #rowOf(i) {
    if (!this.#rows.has(i)) this.#rows.set(i, new Row(i, this.#on));
    return this.#rows.get(i);
  }

  #drawDonut(order, totals, sum, word) {
    const { series } = this.#history;
    const bySize = [...order].sort((a, b) => totals[b] - totals[a]);
    const whole = bySize.length <= MOST_SLICES ? bySize : bySize.slice(0, MOST_SLICES - 1);
    const inRing = order.filter((i) => whole.includes(i));
    const slices = inRing.map((i) => [totals[i], colourOf(series[i], i)]);
    const named = slices.reduce((all, [size]) => all + size, 0);
    if (whole.length < order.length) slices.push([sum - named, ""]);
    while (this.#ring.children.length < slices.length) {
      this.#ring.append(svg("path"));
    }
    while (this.#ring.children.length > slices.length) this.#ring.lastChild.remove();
    const alone = slices.filter(([size]) => size > 0).length < 2;
    let from = 0;
    slices.forEach(([size, colour], at) => {
      const part = sum > 0 ? size / sum : 0;
      const slice = this.#ring.children[at];
      slice.setAttribute("d", arc(from, alone ? part : Math.max(part - SLICE_GAP, Math.min(part, 0.003))));
      slice.style.stroke = colour;
      from += part;
    });
    setText(this.#word, word);
    setText(this.#total, shortNumber(sum));
    this.#total.style.fontSize = this.#total.textContent.length > 5 ? "16.5px" : "";
    const told = bySize.slice(0, MOST_SLICES).map((i) => `${label(series[i])} ${share(sum > 0 ? totals[i] / sum : 0)}`);
    this.#donut.setAttribute("aria-label", `${number(sum)} ${word}. ${told.join(", ")}`);
  }
}

/** Path of an arc of the ring: begins at `from`, is `part` long, both as shares of the whole, clockwise from the top. */
function arc(from, part) {
  if (part <= 0) return "";
  const at = (share) => {
    const angle = (share - 0.25) * 2 * Math.PI;
    return `${(MIDDLE + RADIUS * Math.cos(angle)).toFixed(2)} ${(MIDDLE + RADIUS * Math.sin(angle)).toFixed(2)}`;
  };
  // An arc cannot end where it begins, so each is drawn as two halves.
  const half = `A${RADIUS} ${RADIUS} 0 0 1`;
  return `M${at(from)}${half} ${at(from + part / 2)}${half} ${at(from + part)}`;
}

class Row {
  #mark = swatch();
  #name = element("span", "rank-name");
  #value = element("span", "rank-value");
  #share = element("span", "rank-share");
  #bar = element("span", "rank-bar-fill");
  #track = element("span", "rank-bar", this.#bar);
  #button = element("button", "rank", this.#mark.node, this.#name, this.#value, this.#share, this.#track);

  constructor(i, on) {
    this.#button.type = "button";
    this.#name.dir = "auto";
    this.#button.addEventListener("click", () => on.toggle(i));
    for (const name of ["pointerenter", "focus"]) this.#button.addEventListener(name, () => on.point(i));
    for (const name of ["pointerleave", "blur"]) this.#button.addEventListener(name, () => on.point(null));
    this.node = element("li", "", this.#button);
  }

  /** `part` null: shares mean nothing here. */
  fill(series, i, value, part, on) {
    const colour = colourOf(series, i);
    const name = label(series);
    this.#mark.paint(colour, dashOf(i));
    setText(this.#name, name);
    this.#name.title = name;
    const figure = number(value);
    setText(this.#value, figure.length > LONGEST_FIGURE ? shortNumber(value) : figure);
    this.#value.title = figure;
    setText(this.#share, part === null ? "" : share(part));
    this.#track.hidden = part === null;
    this.#bar.style.backgroundColor = colour;
    this.#bar.style.transform = `scaleX(${part ?? 0})`;
    this.#button.setAttribute("aria-pressed", String(on));
    this.#button.title = on ? `Take ${name} out of the chart` : `Put ${name} back into the chart`;
  }
}
