// Numbers, times and durations as people read them, in the reader's own locale and time zone.

const plain = new Intl.NumberFormat(undefined, { maximumFractionDigits: 2 });
const small = new Intl.NumberFormat(undefined, { maximumSignificantDigits: 3 });
const short = new Intl.NumberFormat(undefined, { notation: "compact", maximumFractionDigits: 1 });
const scientific = new Intl.NumberFormat(undefined, { notation: "scientific", maximumSignificantDigits: 3 });
/** From here on, and below the other, a figure is written as a power of ten: it would not fit, or read as 0. */
const HUGE = 1e15;
const TINY = 1e-6;
const percent = new Intl.NumberFormat(undefined, { style: "percent", minimumFractionDigits: 1, maximumFractionDigits: 1 });
const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" });
const hours = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", hourCycle: "h23" });
const days = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short" });
const dayOfYear = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short", year: "numeric" });
/** A day without a change of the clock. */
export const DAY_MS = 86_400_000;
const dated = new Intl.DateTimeFormat(undefined, {
  day: "numeric", month: "short", year: "numeric", hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23",
});

/** "12,345", "0.00123", "1E300"; a dash for no value. Only nothing is "0". */
export function number(value) {
  if (value === null || value === undefined) return "–";
  const size = Math.abs(value);
  if (size >= HUGE || (size > 0 && size < TINY)) return scientific.format(value);
  return (size < 1 ? small : plain).format(value);
}

/** As `number`, but "1.2M" where the place is small. */
export function shortNumber(value) {
  const size = typeof value === "number" ? Math.abs(value) : 0;
  return size >= 1_000_000 && size < HUGE ? short.format(value) : number(value);
}

/** The labels of an axis: as short as lets neighbours be told apart. */
export function tickNumbers(ticks) {
  const labels = ticks.map(shortNumber);
  if (new Set(labels).size === labels.length) return labels;
  const step = Math.abs(ticks[1] - ticks[0]);
  const digits = Math.min(Math.max(Math.ceil(-Math.log10(step)), 0), 12);
  const exact = new Intl.NumberFormat(undefined, { maximumFractionDigits: digits });
  return ticks.map((tick) => exact.format(tick));
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

/** "3 Nov". */
export function date(ms) {
  return days.format(ms);
}

/** "3 Nov 2026, 12:03:05" for a time that is not of today, else "12:03:05". */
export function fullTime(ms) {
  return new Date(ms).toDateString() === new Date().toDateString() ? clock.format(ms) : dated.format(ms);
}

/** As `fullTime`, for the end of a window; one of whole days that ends at midnight is told by its last day. */
export function windowTime(ms, interval) {
  const end = new Date(ms + 1);
  const isMidnight = end.getHours() === 0 && end.getMinutes() === 0 && end.getSeconds() === 0;
  return interval >= DAY_MS && isMidnight ? dayOfYear.format(ms) : fullTime(ms);
}

/** "8 s", "4 min", "2 h", "60 days": one unit, for an age or a span. */
export function duration(ms) {
  const seconds = Math.round(ms / 1000);
  if (seconds < 120) return `${seconds} s`;
  if (seconds < 7200) return `${Math.round(seconds / 60)} min`;
  if (seconds < 172_800) return `${Math.round(seconds / 3600)} h`;
  return `${Math.round(seconds / 86_400)} days`;
}

/** What people read for a series; a key without any text still needs a name. */
export function label(series) {
  return (series.label ?? series.key).trim() === "" ? "(empty)" : series.label ?? series.key;
}
