// Charts as SVG. Colours come from the style sheet, so a change of theme needs no drawing.

const SVG = "http://www.w3.org/2000/svg";
const MARGIN = {top: 10, right: 24, bottom: 42, left: 66};

function shape(tag, attributes, text) {
  const made = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  if (text !== undefined) made.textContent = text;
  return made;
}

/** Round values from low to high, about `count` of them. */
function ticks(low, high, count) {
  const rough = (high - low) / count || 1, power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((f) => f * power).find((s) => s >= rough * 0.99);
  const out = [];
  for (let i = Math.ceil(low / step - 1e-9); i * step <= high + step * 1e-9; i++) out.push(i * step || 0);
  return out;
}

function linear(values, pad = 0.05) {
  const low = Math.min(...values), high = Math.max(...values), room = (high - low) * pad || 0.01;
  return {low: low - room, high: high + room, at: (v) => v, ticks: (a, b) => ticks(a, b, 5)};
}

function fixed(low, high) {
  return {low, high, at: (v) => v, ticks: (a, b) => ticks(a, b, 5)};
}

function logarithmic(values) {
  const positive = values.filter((v) => v > 0);
  const low = Math.log10(Math.min(...positive)), high = Math.log10(Math.max(...positive));
  const room = (high - low) * 0.06 || 0.1;
  return {low: low - room, high: high + room, at: Math.log10, ticks: decades};
}

/** Powers of ten, times 1, 2 and 5 or 1 to 9 where few are inside, else round values. */
function decades(low, high) {
  for (const factors of [[1], [1, 2, 5], [1, 2, 3, 4, 5, 6, 7, 8, 9]]) {
    const out = [];
    for (let p = Math.floor(low); p <= high; p++) out.push(...factors.map((f) => p + Math.log10(f)));
    const inside = out.filter((at) => at >= low && at <= high);
    if (inside.length > 3) return inside;
  }
  return ticks(10 ** low, 10 ** high, 6).map(Math.log10).filter((at) => at >= low && at <= high);
}

/** An empty chart that fills `box`: axes, and functions from values to pixels. */
function frame(box, {x, y, height, xTitle, yTitle, xText, yText}) {
  const width = Math.max(box.clientWidth, 260);
  const right = width - MARGIN.right, bottom = height - MARGIN.bottom;
  const across = (v) => MARGIN.left + ((v - x.low) / (x.high - x.low)) * (right - MARGIN.left);
  const up = (v) => bottom - ((v - y.low) / (y.high - y.low)) * (bottom - MARGIN.top);
  const svg = shape("svg", {width, height, viewBox: `0 0 ${width} ${height}`, "aria-hidden": "true"});
  for (const v of y.ticks(y.low, y.high)) {
    svg.append(shape("line", {class: "grid", x1: MARGIN.left, x2: right, y1: up(v), y2: up(v)}));
    const place = {class: "tick", x: MARGIN.left - 6, y: up(v) + 4, "text-anchor": "end"};
    svg.append(shape("text", place, yText(v)));
  }
  box.replaceChildren(svg);  // before texts are measured
  let free = 0;
  for (const v of x.ticks(x.low, x.high)) {
    const at = across(v), text = shape("text", {class: "tick", x: at, y: bottom + 17, "text-anchor": "middle"}, xText(v));
    svg.append(shape("line", {class: "axis", x1: at, x2: at, y1: bottom, y2: bottom + 4}), text);
    const half = text.getComputedTextLength() / 2;
    if (at - half < free || at + half > width) text.remove();
    else free = at + half + 8;
  }
  svg.append(shape("line", {class: "axis", x1: MARGIN.left, x2: right, y1: bottom, y2: bottom}));
  const middle = (MARGIN.left + right) / 2, half = (MARGIN.top + bottom) / 2;
  svg.append(shape("text", {class: "title", x: middle, y: height - 6, "text-anchor": "middle"}, xTitle));
  const turned = `rotate(-90 12 ${half})`;
  svg.append(shape("text", {class: "title", x: 12, y: half, "text-anchor": "middle", transform: turned}, yTitle));
  return {svg, width, height, bottom, right, x: (v) => across(x.at(v)), y: (v) => up(y.at(v))};
}

const polyline = (points) => points.map(([x, y], i) => `${i ? "L" : "M"}${x.toFixed(1)} ${y.toFixed(1)}`).join("");

/** All dots of a kind as one path: thousands cost as much as one. */
function dots(points, radius, square = false) {
  const r = radius, parts = points.map(([x, y]) => (
    square
      ? `M${(x - r).toFixed(1)} ${(y - r).toFixed(1)}h${2 * r}v${2 * r}h${-2 * r}z`
      : `M${(x - r).toFixed(1)} ${y.toFixed(1)}a${r} ${r} 0 1 0 ${2 * r} 0a${r} ${r} 0 1 0 ${-2 * r} 0`
  ));
  return parts.join("");
}

/** Draws now and whenever the box has another width. */
function fitted(box, draw) {
  let width = 0;
  new ResizeObserver(() => {
    if (box.clientWidth !== width) {
      width = box.clientWidth;
      draw();
    }
  }).observe(box);
}

function showTip(text, x, y) {
  const tip = $("tip");
  tip.textContent = text;
  tip.hidden = false;
  const left = Math.min(x + 14, document.documentElement.clientWidth - tip.offsetWidth - 4);
  tip.style.left = `${Math.max(left, 4) + window.scrollX}px`;
  tip.style.top = `${y + 16 + window.scrollY}px`;
}

const hideTip = () => { $("tip").hidden = true; };
