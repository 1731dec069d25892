// Numbers, times and durations as people read them, in the reader's own locale and time zone.

const plain = new Intl.NumberFormat(undefined, { maximumFractionDigits: 2 });
const short = new Intl.NumberFormat(undefined, { notation: "compact", maximumFractionDigits: 1 });
const percent = new Intl.NumberFormat(undefined, { style: "percent", minimumFractionDigits: 1, maximumFractionDigits: 1 });
const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" });
const hours = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", hourCycle: "h23" });
const dated = new Intl.DateTimeFormat(undefined, {
  day: "numeric", month: "short", year: "numeric", hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23",
});

/** "12,345"; a dash for no value. */
export function number(value) {
  return value === null || value === undefined ? "–" : plain.format(value);
}

/** As `number`, but "1.2M" where the place is small. */
export function shortNumber(value) {
  return typeof value === "number" && Math.abs(value) >= 1_000_000 ? short.format(value) : number(value);
}

/** "51.2%" of a share between 0 and 1. */
export function share(value) {
  return percent.format(value);
}

/** "12:03:05". */
export function time(ms) {
  return clock.format(ms);
}

/** "12:03". */
export function timeOfDay(ms) {
  return hours.format(ms);
}

/** "3 Nov 2026, 12:03:05" for a time that is not of today, else "12:03:05". */
export function fullTime(ms) {
  return new Date(ms).toDateString() === new Date().toDateString() ? clock.format(ms) : dated.format(ms);
}

/** "8 s", "4 min", "2 h": one unit, for an age or a span. */
export function duration(ms) {
  const seconds = Math.round(ms / 1000);
  if (seconds < 120) return `${seconds} s`;
  if (seconds < 7200) return `${Math.round(seconds / 60)} min`;
  return `${Math.round(seconds / 3600)} h`;
}

/** What people read for a series; a key without any text still needs a name. */
export function label(series) {
  return (series.label ?? series.key).trim() === "" ? "(empty)" : series.label ?? series.key;
}
