// The choice of how much time the chart shows: what the server's description says, or what the reader picked.

import { element, setText } from "./dom.js";
import { duration } from "./format.js";
import { FIRST_SPAN_POINTS } from "./plotdata.js";

/** Spans offered, in windows. */
const OFFERED_POINTS = [60, 120, 300, 600, 1800, 3600];

export class SpanPicker {
  #select;
  #note;
  #offered = "";
  #choices;

  #wantedMs = 0;
  #heldMs = 0;

  /** `select` and `note` are filled by this class; `choices` has what the reader picked, and `redraw` is called when that
   * is another span. */
  constructor(select, note, choices, redraw) {
    this.#select = select;
    this.#note = note;
    this.#choices = choices;
    select.addEventListener("change", () => {
      choices.span = Number(select.value);
      redraw();
    });
  }

  /** The span to show, as `spanOf` takes it; brings the list up to date with what is held. */
  window(saidMs, history) {
    const { times, interval } = history;
    // A span that is shorter than a few windows would show none.
    const describedMs = Math.max(saidMs, FIRST_SPAN_POINTS * interval);
    const held = times.length ? times[times.length - 1] - times[0] : 0;
    const enough = (ms, at, all) => at === 0 || all[at - 1] < held;
    const offered = OFFERED_POINTS.map((points) => points * interval).filter(enough);
    const spans = [...new Set([...offered, describedMs])].sort((a, b) => a - b);
    const signature = spans.join();
    if (signature !== this.#offered) {
      this.#offered = signature;
      this.#select.replaceChildren(...spans.map((ms) => {
        const option = element("option", "", duration(ms));
        option.value = String(ms);
        return option;
      }));
    }
    const picked = spans.includes(this.#choices.span) ? this.#choices.span : null;
    const ms = picked ?? describedMs;
    this.#select.value = String(ms);
    this.#wantedMs = ms;
    this.#heldMs = held;
    return { ms, exact: picked !== null };
  }

  /** Says so where the chart, for want of room, shows less than the span (`[from, to]` in ms is what it shows). */
  tell([from, to]) {
    const drawn = to - from;
    const cut = drawn < 0.9 * Math.min(this.#wantedMs, this.#heldMs);
    setText(this.#note, cut ? `showing ${duration(drawn)}` : "");
  }
}
