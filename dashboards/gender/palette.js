// Colour and dash of each series. Both differ, so that nobody has to tell two lines apart by colour alone:
// eight colours that stay apart for colour-blind eyes (after Okabe and Ito), five dash patterns, forty pairs.

const DASHES = [[], [7, 4], [2, 3.5], [12, 3, 2, 3], [16, 5]];
const COLOURS = 8;
/** Least contrast of a line against the card behind it (WCAG 1.4.11). */
const LEAST_CONTRAST = 3;

const probe = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
/** What the style sheet says of a name, and what a wanted colour becomes: to ask each time would lay the page out anew. */
let theme = new Map();
let cache = new Map();
/** Index of a series -> its place in the row of colours and dashes. */
let places = new Map();

/**
 * Gives each of the shown series its place, once for an epoch: in their own order, or, where there are more than
 * colours, by size, so that the leading ones do not share a colour. Later ones come after.
 */
export function assignPlaces(shown, totals) {
  const order = places.size === 0 && shown.length > COLOURS
    ? [...shown].sort((a, b) => totals[b] - totals[a]) : shown;
  for (const index of order) if (!places.has(index)) places.set(index, places.size);
}

/** Forgets all places: another epoch may have other series. */
export function forgetPlaces() {
  places = new Map();
}

/** Forgets the colours read from the style sheet; to be called when light turns to dark. */
export function forgetColours() {
  theme = new Map();
  cache = new Map();
}

/** The style sheet's own colour of that name (`--name`). */
export function themeColour(name) {
  if (!theme.has(name)) {
    theme.set(name, getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim());
  }
  return theme.get(name);
}

/** Dash pattern of series number `index`, in CSS pixels; empty is a solid line. */
export function dashOf(index) {
  const place = places.get(index) ?? index;
  return DASHES[(place + Math.floor(place / (COLOURS * DASHES.length))) % DASHES.length];
}

/** Colour of a series as `rgb()`: the configured one, moved until it can be seen, or one of the palette. */
export function colourOf(series, index) {
  const own = () => themeColour(`series-${(places.get(index) ?? index) % COLOURS}`);
  const wanted = isColour(series.colour) ? series.colour : own();
  let found = cache.get(wanted);
  if (!found) {
    found = `rgb(${visible(rgb(wanted), rgb(themeColour("card"))).join(" ")})`;
    cache.set(wanted, found);
  }
  return found;
}

function isColour(text) {
  return Boolean(text) && (cache.has(text) || CSS.supports("color", text));
}

/** The same colour, let through by `alpha` (0 to 1). Takes what `colourOf` gives. */
export function faded(colour, alpha) {
  return colour.replace(")", ` / ${alpha})`);
}

function rgb(colour) {
  probe.clearRect(0, 0, 1, 1);
  probe.fillStyle = colour;
  probe.fillRect(0, 0, 1, 1);
  return [...probe.getImageData(0, 0, 1, 1).data.slice(0, 3)];
}

function visible(colour, background) {
  const target = luminance(background) > 0.4 ? 0 : 255;
  let mixed = colour;
  for (let step = 1; step <= 10 && contrast(mixed, background) < LEAST_CONTRAST; step += 1) {
    mixed = colour.map((channel) => Math.round(channel + (target - channel) * (step / 10)));
  }
  return mixed;
}

function contrast(a, b) {
  const [light, dark] = [luminance(a), luminance(b)].sort((x, y) => y - x);
  return (light + 0.05) / (dark + 0.05);
}

/** Relative luminance as WCAG defines it. */
function luminance(channels) {
  const [r, g, b] = channels.map((channel) => {
    const part = channel / 255;
    return part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
  });
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
}
