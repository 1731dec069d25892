// Elements, built without any markup in strings: what comes off the wire can only ever become text.

const SVG = "http://www.w3.org/2000/svg";

/** An HTML element with class, text and children. */
export function element(tag, className = "", ...children) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  made.append(...children);
  return made;
}

/** An SVG element with attributes and children. */
export function svg(tag, attributes = {}, ...children) {
  const made = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

/** Sets text only where it changed: an equal write would still cost layout once a second. */
export function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

/** Makes `nodes` the children of `parent`, in this order; those that are there stay where they can. */
export function placeAll(parent, nodes) {
  nodes.forEach((node, place) => {
    if (parent.children[place] !== node) parent.insertBefore(node, parent.children[place] ?? null);
  });
  while (parent.children.length > nodes.length) parent.lastChild.remove();
}

/** A short piece of a series' line in its colour and dash, for labels. `paint(colour, dash)` colours it. */
export function swatch() {
  const line = svg("line", { x1: 2, y1: 5, x2: 26, y2: 5, "stroke-width": 3, "stroke-linecap": "butt" });
  const node = svg("svg", { class: "swatch", viewBox: "0 0 28 10", "aria-hidden": "true" }, line);
  const paint = (colour, dash) => {
    line.setAttribute("stroke", colour);
    line.setAttribute("stroke-dasharray", dash.join(" "));
  };
  return { node, paint };
}
