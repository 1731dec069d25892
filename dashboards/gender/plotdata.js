// From the history to the columns that the chart draws: which series, in which order, stacked or not, and a
// row of nulls wherever time is missing. Pure functions.

/** Above this many series, bars of one window no longer stand side by side but on each other. */
const MOST_GROUPED_BARS = 3;
/** Above this many series, the largest lie at the bottom of a stack. */
const MOST_IN_ORDER = 8;
/** The narrowest span, in points: a fresh run fills it within seconds, and from then on it grows with the data. */
export const FIRST_SPAN_POINTS = 20;
/** Pixels that a point of a line needs at least to be told from its neighbours. */
const LEAST_PIXELS = 4;

/**
 * What to draw. `kind`: "line", "area", "bars", "stacked", "share". `shown`: indices into `history.series`, `totals` their sizes.
 * Returns `{kind, stacked, filled, order}`; `kind` "area" is a line that is filled; `order` is the drawing order, for a
 * stack from the top down.
 */
export function layoutOf(named, shown, totals) {
  const filled = named === "area";
  const kind = filled ? "line" : named;
  const stacked = kind === "stacked" || kind === "share" || (kind === "bars" && shown.length > MOST_GROUPED_BARS);
  const order = [...shown];
  if (stacked && shown.length > MOST_IN_ORDER) order.sort((a, b) => totals[b] - totals[a]);
  return { kind, stacked, filled, order: stacked ? order.reverse() : order };
}

/**
 * Columns `[times, values of order[0], values of order[1], ...]` of the points from time `from` on and the one before
 * them, with a row of nulls for each gap.
 */
export function columnsOf(history, layout, from) {
  const { kind, stacked, order } = layout;
  const interval = history.interval;
  const times = [];
  const columns = order.map(() => []);
  const first = Math.max(history.firstFrom(from) - 1, 0);
  for (let at = first; at < history.times.length; at += 1) {
    const time = history.times[at];
    if (at > first && history.gapBefore(at, interval)) {
      times.push(history.times[at - 1] + interval);
      for (const column of columns) column.push(null);
    }
    times.push(time);
    const row = history.rows[at];
    if (stacked) pushStack(columns, order, row, kind === "share");
    else order.forEach((series, i) => columns[i].push(row[series]));
  }
  return [times, ...columns];
}

/** `order` runs from the top of the stack down, so sums grow from its end to its beginning. */
function pushStack(columns, order, row, asShare) {
  const known = order.some((series) => row[series] !== null);
  const whole = asShare ? order.reduce((sum, series) => sum + (row[series] ?? 0), 0) : 1;
  let sum = 0;
  for (let i = order.length - 1; i >= 0; i -= 1) {
    sum += row[order[i]] ?? 0;
    columns[i].push(!known || whole === 0 ? null : sum / whole);
  }
}

/**
 * The span of time to show, `[from, to]` in ms: the newest `window.ms`, less while there is little data, and no more
 * points than can be told apart in `width` pixels; lines take all of it when `window.exact` (the reader asked for it).
 */
export function spanOf(history, layout, window, width) {
  const { times, interval } = history;
  if (!times.length) return [0, 1];
  const last = times[times.length - 1];
  const held = last - times[0];
  const bars = layout.kind === "bars";
  const perPoint = !bars ? LEAST_PIXELS : layout.stacked ? 7 : 5 * layout.order.length + 4;
  const room = Math.max(1, Math.floor(width / perPoint)) * interval;
  const least = FIRST_SPAN_POINTS * interval;
  const asked = window.exact ? window.ms : Math.max(window.ms, least);
  const wanted = window.exact && !bars ? asked : Math.min(asked, room);
  const span = Math.min(wanted, Math.max(held, least));
  return bars ? [last - span + interval / 2, last + interval / 2] : [last - span, last];
}
