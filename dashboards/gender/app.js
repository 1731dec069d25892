// The page's beginning: joins connection, history and the parts of the page. What is shown follows the description
// that the server sends (docs/socketio.md); nothing here knows what is being counted.

import { Chart } from "./chart.js";
import { Choices } from "./choices.js";
import { element, setText } from "./dom.js";
import { Figures } from "./figures.js";
import { History } from "./history.js";
import { connect } from "./live.js";
import { assignPlaces, forgetColours, forgetPlaces } from "./palette.js";
import { Ranking } from "./rank.js";
import { Reading } from "./reading.js";
import { Shares } from "./shares.js";
import { SpanPicker } from "./span.js";
import { Status } from "./status.js";
import { Summary } from "./summary.js";
import { DataTable } from "./table.js";
import { takeToken } from "./token.js";

/** The kinds of chart that a reader may choose from, and those that there are where the file names one. */
const KINDS = { line: "Line", bars: "Bars", stacked: "Stacked", share: "Share" };
const OWN_KINDS = { rank: "Ranking", area: "Area" };
/** In place of the board with its chart. */
const WITHOUT_CHART = ["table", "number"];
/** Results are drawn no oftener than so many milliseconds apart, however many come: nobody reads faster. */
const DRAW_EVERY = 250;
/** The rest after a draw is at least so many times as long as the draw, so that a slow machine is left time. */
const REST = 8;
const byId = (id) => document.getElementById(id);

const history = new History();
let page = { title: "", unit: "", chart: "line", window_ms: 300_000, additive: true, totals: true };
const choices = new Choices();
/** A draw is under way to be: with the next frame, or once `DRAW_EVERY` has passed since the last. */
let drawAsked = false;
let drawnAt = -Infinity;
/** What the last draw took, in milliseconds, with the painting of its frame. */
let drawTook = 0;
const painted = new MessageChannel();
painted.port1.onmessage = () => {
  drawTook = performance.now() - drawnAt;
};

const reading = new Reading(byId("chart"), byId("readout"), history);
const chart = new Chart(byId("chart"), history, (time, x) => reading.pointer(time, x));
reading.follow(chart);
const figures = new Figures(byId("figures"), history);
const shares = new Shares(byId("donut"), byId("ranking"), history, {
  toggle: (series) => {
    choices.toggle(history.series[series].key);
    draw();
  },
  point: (series) => chart.emphasise(series),
});
const ranks = new Ranking(byId("places"), byId("places-time"), history);
const summary = new Summary(byId("summary"), history);
const table = new DataTable(byId("table-box"), byId("table"), byId("table-note"), history, draw);
const status = new Status(byId("status-text"), byId("retry"), byId("live-region"), history);

const span = new SpanPicker(byId("span"), byId("span-note"), choices, draw);

const kindButtons = Object.entries({ ...OWN_KINDS, ...KINDS }).map(([kind, name]) => {
  const button = element("button", "segment", name);
  button.type = "button";
  button.dataset.kind = kind;
  button.addEventListener("click", () => {
    choices.kind = kind;
    draw();
  });
  byId("kinds").append(button);
  return button;
});

const live = connect(history, takeToken(), {
  hello(message, isNew) {
    page = { additive: true, unit: "", window_ms: 300_000, ...message.page };
    page.totals ??= page.additive;
    if (isNew) {
      forgetPlaces();
      shares.reset();
      status.reset();
    }
    if (message.last_seq > 0) status.arrived(message.age_ms);
    askDraw();
  },
  point() {
    status.arrived();
    askDraw();
  },
  state(state) {
    status.state = state;
    askDraw();
  },
});

byId("retry").addEventListener("click", () => live.retry());
window.addEventListener("online", () => live.retry());
window.addEventListener("hashchange", () => {
  const token = takeToken();
  if (token !== undefined) live.setToken(token);
});
document.addEventListener("visibilitychange", () => {
  if (document.hidden) return;
  live.retry();
  askDraw();
});
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
  forgetColours();
  chart.recolour();
  askDraw();
});
// Ages and countdowns move without any message.
setInterval(drawStatus, 500);

/** Draws once, however many messages came. A hidden tab only receives. */
function askDraw() {
  if (drawAsked || document.hidden) return;
  drawAsked = true;
  setTimeout(() => requestAnimationFrame(() => {
    drawAsked = false;
    draw();
    // The message comes behind the painting.
    painted.port2.postMessage(null);
  }), Math.max(0, drawnAt + Math.max(DRAW_EVERY, REST * drawTook) - performance.now()));
}

/** Indices of the series that the page may show at all. */
function shownSeries() {
  return history.series.flatMap((series, i) => (series.hidden ? [] : [i]));
}

function draw() {
  drawnAt = performance.now();
  const shown = shownSeries();
  const unit = page.unit ?? "";
  const kind = kindNow();
  assignPlaces(shown, history.totals);
  drawStatus();
  drawWords(kind);
  const off = choices.off(history.series);
  const inChart = shown.filter((i) => !off.has(i));
  const present = presentOf(inChart);
  const alone = isAlone();
  showView(kind, alone);
  table.draw(shown, unit);
  figures.draw(present, unit, page.additive, history.isRanked, kind === "number");
  if (!history.times.length || WITHOUT_CHART.includes(kind)) return;
  if (kind === "rank") {
    ranks.draw(inChart, unit);
    return;
  }
  chart.draw(kind, inChart, span.window(page.window_ms, history), unit);
  reading.update(inChart, unit, kind === "share");
  span.tell(chart.span);
  if (alone) summary.draw(shown[0], chart.span, page.totals);
  else shares.draw(history.isRanked ? presentOf(shown) : shown, off, page.additive, page.totals);
}

/** Of a ranking, what is not in the newest window has left it, and has no figure. */
function presentOf(series) {
  if (!history.isRanked) return series;
  const newest = history.rows[history.rows.length - 1];
  return series.filter((i) => newest[i] !== null);
}

/** The parts of the page that this view has: see the style sheet. */
function showView(kind, alone) {
  const view = kind === "rank" || WITHOUT_CHART.includes(kind) ? kind : "chart";
  const { dataset } = document.body;
  if (dataset.view !== view && view === "table") byId("table-box").open = true;
  dataset.view = view;
  byId("summary").hidden = !alone;
  byId("ranking").hidden = alone;
  if (alone) byId("donut").hidden = true;
}

function sideHeading() {
  if (isAlone()) return "In view";
  if (!mayStack()) return page.totals ? "Totals" : "Now";
  return page.totals ? "Totals and shares" : "Shares now";
}

function kindNow() {
  if (WITHOUT_CHART.includes(page.chart)) return page.chart;
  const wanted = choices.kind ?? page.chart;
  const known = Object.hasOwn(KINDS, wanted) || Object.hasOwn(OWN_KINDS, wanted) ? wanted : "line";
  return mayStack() || (known !== "stacked" && known !== "share") ? known : "line";
}

/** Values that are no counts, or below 0, are not parts of a whole, nor is one alone. */
function mayStack() {
  return page.additive && !history.hasNegative && !isAlone();
}

/** One line has no shares. */
function isAlone() {
  return shownSeries().length === 1 && !history.isRanked;
}

function drawStatus() {
  if (!document.hidden) status.draw(shownSeries(), page.unit ?? "");
}

function drawWords(kind) {
  if (page.title) {
    setText(byId("title"), page.title);
    document.title = page.title;
  }
  byId("subtitle").hidden = !page.subtitle;
  setText(byId("subtitle"), page.subtitle ?? "");
  setText(byId("chart-heading"), `Chart: ${page.title}`);
  setText(byId("side-heading"), sideHeading());
  for (const button of kindButtons) {
    const { kind: own } = button.dataset;
    button.setAttribute("aria-pressed", String(own === kind));
    const ofParts = own === "stacked" || own === "share";
    const isOwn = Object.hasOwn(OWN_KINDS, own);
    button.hidden = isOwn ? own !== page.chart && own !== kind : ofParts && !mayStack();
  }
  const [title, text] = emptyWords(status.state.name);
  setText(byId("empty-title"), title);
  setText(byId("empty-text"), text);
}

/** What stands in the place of the chart as long as there is no point. */
function emptyWords(state) {
  switch (state) {
    case "connected": return ["Waiting for the first window", "It is drawn here as soon as the pipeline closes it."];
    case "refused": return ["This dashboard needs a token", "Open it with the link that ends in #token=… as the pipeline's owner gave it to you."];
    case "outdated": return ["The server is newer than this page", "Reload the page to go on."];
    case "waiting": return ["The server does not answer", "Is the pipeline running? The page goes on trying by itself."];
    default: return ["Connecting…", ""];
  }
}
