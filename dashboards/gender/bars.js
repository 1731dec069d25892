// Path builders for bars, in the form that uPlot calls for each series: beside each other or on each other.
/* global devicePixelRatio */

/**
 * `place` is the bar's place among `count` in its window, `interval` the time between windows in ms. For a stack,
 * place is 0 and count 1, and each bar stands on the value of the next series.
 */
export function barPaths(place, count, interval, stacked) {
  return (u, seriesIndex, from, to) => {
    const fill = new Path2D();
    const times = u.data[0];
    const values = u.data[seriesIndex];
    const below = stacked ? u.data[seriesIndex + 1] : undefined;
    const slot = u.valToPos(times[to] + interval, "x", true) - u.valToPos(times[to], "x", true);
    const gap = Math.min(slot * 0.3, 10 * devicePixelRatio);
    const width = Math.max((slot - gap) / count, 1);
    for (let i = from; i <= to; i += 1) {
      if (values[i] === null) continue;
      const left = u.valToPos(times[i], "x", true) - (width * count) / 2 + width * place;
      const top = u.valToPos(values[i], "y", true);
      const floor = u.valToPos(below?.[i] ?? 0, "y", true);
      const inner = count > 1 ? Math.max(width - devicePixelRatio, 1) : width;
      const radius = stacked ? 0 : Math.min(2 * devicePixelRatio, inner / 3, Math.abs(floor - top));
      fill.roundRect(left, Math.min(top, floor), inner, Math.abs(floor - top), [radius, radius, 0, 0]);
    }
    return { fill, stroke: null, clip: null, flags: 1 };
  };
}
