// The page's beginning: joins connection, history and the parts of the page. What is shown follows the description
// that the server sends (docs/socketio.md); nothing here knows what is being counted.

import { Chart } from "./chart.js";
import { element, setText } from "./dom.js";
import { Figures } from "./figures.js";
import { History } from "./history.js";
import { connect } from "./live.js";
import { assignPlaces, forgetColours, forgetPlaces } from "./palette.js";
import { Reading } from "./reading.js";
import { Shares } from "./shares.js";
import { SpanPicker } from "./span.js";
import { Status } from "./status.js";
import { DataTable } from "./table.js";
import { takeToken } from "./token.js";

const KINDS = { line: "Line", bars: "Bars", stacked: "Stacked", share: "Share" };
const byId = (id) => document.getElementById(id);

const history = new History();
let page = { title: "", unit: "", chart: "line", window_ms: 300_000, additive: true, totals: true };
/** The kind of chart that the reader chose; null: the one that the server names. */
let chosenKind = null;
/** Series that the reader took out of the chart. */
const off = new Set();
let drawAsked = false;

const reading = new Reading(byId("chart"), byId("readout"), history);
const chart = new Chart(byId("chart"), history, (time, x) => reading.pointer(time, x));
reading.follow(chart);
const figures = new Figures(byId("figures"), history);
const shares = new Shares(byId("donut"), byId("ranking"), history, {
  toggle: (series) => {
    if (!off.delete(series)) off.add(series);
    draw();
  },
  point: (series) => chart.emphasise(series),
});
const table = new DataTable(byId("table-box"), byId("table"), byId("table-note"), history, draw);
const status = new Status(byId("status-text"), byId("retry"), byId("live-region"), history);

const span = new SpanPicker(byId("span"), byId("span-note"), draw);

const kindButtons = Object.entries(KINDS).map(([kind, name]) => {
  const button = element("button", "segment", name);
  button.type = "button";
  button.dataset.kind = kind;
  button.addEventListener("click", () => {
    chosenKind = kind;
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
      off.clear();
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

/** Draws once in the next frame, however many messages came. A hidden tab only receives. */
function askDraw() {
  if (drawAsked || document.hidden) return;
  drawAsked = true;
  requestAnimationFrame(() => {
    drawAsked = false;
    draw();
  });
}

/** Indices of the series that the page may show at all. */
function shownSeries() {
  return history.series.flatMap((series, i) => (series.hidden ? [] : [i]));
}

function draw() {
  const shown = shownSeries();
  const unit = page.unit ?? "";
  const kind = kindNow();
  assignPlaces(shown, history.totals);
  drawStatus();
  drawWords(kind);
  const inChart = shown.filter((i) => !off.has(i));
  figures.draw(inChart, unit, page.additive);
  shares.draw(shown, off, page.additive, page.totals);
  table.draw(shown, unit);
  if (!history.times.length) return;
  chart.draw(kind, inChart, span.window(page.window_ms, history), unit);
  reading.update(inChart, unit, kind === "share");
  span.tell(chart.span);
}

function sideHeading() {
  if (!mayStack()) return page.totals ? "Totals" : "Now";
  return page.totals ? "Totals and shares" : "Shares now";
}

function kindNow() {
  const wanted = chosenKind ?? page.chart;
  const known = Object.hasOwn(KINDS, wanted) ? wanted : "line";
  return mayStack() || known === "line" || known === "bars" ? known : "line";
}

/** Values that are no counts, or below 0, are not parts of a whole. */
function mayStack() {
  return page.additive && !history.hasNegative;
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
    button.hidden = !mayStack() && (own === "stacked" || own === "share");
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
