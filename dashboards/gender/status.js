// How the page stands with its server, and how old its data is: the pill in the head, and the polite word to
// screen readers.

import { setText } from "./dom.js";
import { duration, label, number, windowTime } from "./format.js";

/** Points are late after three of their intervals, but never before three seconds. */
const LATE_INTERVALS = 3;
const LATE_LEAST_MS = 3_000;
const SPEAK_EVERY_MS = 15_000;
const MOST_SPOKEN = 3;

export class Status {
  #text;
  #retry;
  #region;
  #history;
  #state = { name: "connecting" };
  #arrived = null;
  #spokenAt = -Infinity;
  #spoken = "";

  constructor(text, retryButton, region, history) {
    this.#text = text;
    this.#retry = retryButton;
    this.#region = region;
    this.#history = history;
  }

  set state(state) {
    this.#state = state;
  }

  get state() {
    return this.#state;
  }

  /** A point came, `ageMs` after it was made. */
  arrived(ageMs = 0) {
    this.#arrived = performance.now() - ageMs;
  }

  /** No point of this epoch has come yet. */
  reset() {
    this.#arrived = null;
  }

  /** Brings pill, document state and live region up to date. `shown`: indices of the series to speak of. */
  draw(shown, unit) {
    const now = performance.now();
    const age = this.#arrived === null ? null : Math.max(0, now - this.#arrived);
    const { name } = this.#state;
    const late = age !== null && age > Math.max(LATE_LEAST_MS, LATE_INTERVALS * this.#history.interval);
    const shownState = name === "connected" ? (late ? "late" : age === null ? "empty" : "live") : name;
    document.body.dataset.state = shownState;
    document.body.toggleAttribute("data-empty", this.#history.times.length === 0);
    setText(this.#text, this.#words(shownState, age, now));
    this.#retry.hidden = name !== "waiting";
    this.#speak(shownState, shown, unit, now);
  }

  #words(state, age, now) {
    const aged = age === null ? "" : ` · data ${duration(age)} old`;
    switch (state) {
      case "live": return "Live";
      case "late": return `No new data for ${duration(age)}`;
      case "empty": return "Connected, waiting for data";
      case "refused": return "Access refused";
      case "outdated": return "Reload this page";
      case "waiting": {
        const left = Math.ceil((this.#state.until - now) / 1000);
        return `Disconnected, retrying${left > 0 ? ` in ${left} s` : ""}${aged}`;
      }
      default: return `Connecting…${aged}`;
    }
  }

  /** At most one message in fifteen seconds, and none that repeats the last one. */
  #speak(state, shown, unit, now) {
    if (now - this.#spokenAt < SPEAK_EVERY_MS) return;
    const words = state === "live" ? this.#newest(shown, unit) : spokenState(state);
    if (words === "" || words === this.#spoken) return;
    this.#spokenAt = now;
    this.#spoken = words;
    this.#region.textContent = words;
  }

  #newest(shown, unit) {
    const { times, rows, series, totals, interval } = this.#history;
    const last = times.length - 1;
    if (last < 0) return "";
    const leading = this.#history.isRanked
      ? this.#history.ranking(last, shown)
      : [...shown].sort((a, b) => totals[b] - totals[a]).map((i) => [series[i].key, rows[last][i], i]);
    const values = leading.slice(0, MOST_SPOKEN)
      .map(([key, value, i]) => `${label(series[i] ?? { key })} ${number(value)}`);
    return `${windowTime(times[last], interval)}: ${values.join(", ")}${unit ? ` ${unit}` : ""}`;
  }
}

/** Without any figure that counts up or down: a message is only spoken again when it changed. */
function spokenState(state) {
  return {
    late: "No new data is coming",
    waiting: "The connection is lost. The page is trying again",
    refused: "Access refused",
    outdated: "Please reload this page",
  }[state] ?? "";
}
