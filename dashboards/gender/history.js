// What the page knows: the points of one epoch, in the order of their time, each at most once.
// The rules are those of docs/socketio.md ("What a client does"). Nothing here touches the document.

/** Points kept at least; more when the chart's window needs them or the server has them, up to MOST_POINTS. */
const LEAST_POINTS = 600;
const MOST_POINTS = 100_000;

export class History {
  epoch = null;
  lastSeq = 0;
  series = [];
  /** Usual distance of two points in ms, as the server says; null: not known. */
  saidInterval = null;
  /** Event times (ms), rising; `rows[i]` holds the values at `times[i]` in the order of `series`. */
  times = [];
  rows = [];
  /** Where the rows of a window are the first few in an order: `tops[i]` holds `[key, value]` of each at
   * `times[i]`, in that order; else null. */
  tops = [];
  /** True once a window has such rows. */
  isRanked = false;
  totals = [];
  /** True once a value below 0 has come. */
  hasNegative = false;
  #limit = LEAST_POINTS;
  /** Median distance of the points held; null: to be found anew. */
  #median = null;

  /** Takes a `hello`. Returns true when what was held before is gone (first one, or a new epoch). */
  hello(message) {
    const isNew = message.epoch !== this.epoch;
    if (isNew) {
      this.epoch = message.epoch;
      this.lastSeq = 0;
      this.series = [];
      this.times = [];
      this.rows = [];
      this.tops = [];
      this.isRanked = false;
      this.totals = [];
      this.hasNegative = false;
      this.#limit = LEAST_POINTS;
      this.#median = null;
    }
    this.saidInterval = message.interval_ms > 0 ? message.interval_ms : null;
    const wanted = Math.ceil((message.page?.window_ms ?? 0) / (this.saidInterval ?? 1000));
    this.#limit = Math.min(Math.max(wanted, message.points.length, this.#limit), MOST_POINTS);
    this.#extend(message.series);
    for (const point of message.points) {
      if (point.seq > this.lastSeq) {
        this.#put(point);
        this.lastSeq = point.seq;
      }
    }
    this.lastSeq = Math.max(this.lastSeq, message.last_seq);
    if (Array.isArray(message.totals)) {
      this.totals = this.series.map((_, i) => message.totals[i] ?? 0);
    }
    return isNew;
  }

  /** Takes a `point`. Returns "added", "duplicate" or "jump" (one before it is missing: ask for it). */
  point(message) {
    if (message.seq <= this.lastSeq) return "duplicate";
    if (message.seq > this.lastSeq + 1) return "jump";
    if (message.series) this.#extend(message.series);
    this.#put(message);
    this.lastSeq = message.seq;
    return "added";
  }

  /** Usual distance of two points in ms: the server's word, else the median of those seen. */
  get interval() {
    if (this.saidInterval) return this.saidInterval;
    this.#median ??= medianDistance(this.times);
    return this.#median;
  }

  /** True when time is missing between point `i - 1` and point `i`. */
  gapBefore(i, interval = this.interval) {
    return i > 0 && this.times[i] - this.times[i - 1] > 1.5 * interval;
  }

  /**
   * What stands in point `i`, the first or the greatest on top: `[key, value, index of the series or -1]` of
   * each. `shown`: the indices of the series to take, where the rows have no order of their own.
   */
  ranking(i, shown) {
    const top = this.tops[i];
    const indexOf = (key) => this.series.findIndex((series) => series.key === key);
    if (top) return top.map(([key, value]) => [key, value, indexOf(key)]);
    const row = this.rows[i] ?? [];
    return shown.filter((index) => (row[index] ?? null) !== null).sort((a, b) => row[b] - row[a])
      .map((index) => [this.series[index].key, row[index], index]);
  }

  /** Index of the point nearest to `time`; -1 when there is none. */
  nearest(time) {
    const after = this.firstFrom(time);
    if (after === 0) return this.times.length ? 0 : -1;
    if (after === this.times.length) return after - 1;
    return time - this.times[after - 1] <= this.times[after] - time ? after - 1 : after;
  }

  #extend(series) {
    this.series = series;
    while (this.totals.length < series.length) this.totals.push(0);
    for (const row of this.rows) while (row.length < series.length) row.push(null);
  }

  /** Puts a point in its place. One of the same time is the same window, in the place of what was there. */
  #put({ t, v, top = null }) {
    // Of a window that has left, nobody here knows what is counted already.
    if (this.times.length >= this.#limit && t < this.times[0]) return;
    let at = this.firstFrom(t);
    if (this.times[at] !== t) {
      this.#median = null;
      this.times.splice(at, 0, t);
      this.rows.splice(at, 0, this.series.map(() => null));
      this.tops.splice(at, 0, null);
    }
    this.tops[at] = top;
    this.isRanked ||= top !== null;
    const row = this.rows[at];
    for (let i = 0; i < row.length; i += 1) {
      const value = Number.isFinite(v[i]) ? v[i] : null;
      this.totals[i] += (value ?? 0) - (row[i] ?? 0);
      this.hasNegative ||= value < 0;
      row[i] = value;
    }
    while (this.times.length > this.#limit) {
      this.times.shift();
      this.rows.shift();
      this.tops.shift();
    }
  }

  /** Index of the first point at or after `time`. */
  firstFrom(time) {
    let low = 0;
    let high = this.times.length;
    if (high && this.times[high - 1] < time) return high;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.times[middle] < time) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}

function medianDistance(all) {
  const times = all.slice(-LEAST_POINTS);
  const distances = times.slice(1).map((time, i) => time - times[i]).sort((a, b) => a - b);
  return distances[distances.length >> 1] ?? 1000;
}
