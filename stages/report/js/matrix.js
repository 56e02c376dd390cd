// Who covers whose mistakes: a measure of every ordered pair, alike models side by side.

const RAMP = [[68, 1, 84], [59, 82, 139], [33, 145, 140], [94, 201, 98], [253, 231, 37]];
const MEASURES = {
  heterogeneity: "the share of images that exactly one of the two gets right",
  complementarity: "that share less the difference of the two accuracies",
  oracle_accuracy: "the share that at least one gets right",
  double_fault: "the share that both get wrong",
  gain: "the share that B gets right and A does not",
  disagreement: "the share where the two answers differ",
  q_statistic: "Yule's Q of right and wrong",
  error_correlation: "the correlation of right and wrong",
  kappa: "Cohen's κ of the two answers",
};

class Matrix {
  constructor(cascades, choose) {
    this.cascades = cascades;
    this.choose = choose;
    this.table = $("matrix");
    const known = Object.keys(MEASURES).filter((name) => cascades[`metric_${name}`]);
    $("metric").append(...known.map((name) => element("option", {value: name}, name.replaceAll("_", " "))));
    $("metric").addEventListener("change", () => this.draw());
    this.table.addEventListener("click", (event) => this.open(event.target.closest("td[data-a]")));
    this.table.addEventListener("keydown", (event) => this.key(event));
    this.table.addEventListener("focusin", (event) => this.say(event.target.closest("td[data-a]")));
    this.table.addEventListener("mouseover", (event) => this.say(event.target.closest("td[data-a]")));
    this.draw();
  }

  draw() {
    const {cascades} = this, {order, models} = cascades.facts, name = $("metric").value;
    this.values = cascades[`metric_${name}`];
    const apart = [...this.values].filter((v, i) => !Number.isNaN(v) && i % (models.length + 1));
    [this.low, this.high] = [Math.min(...apart), Math.max(...apart)];
    const dense = models.length > 12;
    this.table.className = dense ? "matrix dense" : "matrix";
    this.table.setAttribute("role", "grid");
    const head = order.map((b) => element("th", {scope: "col", role: "columnheader"}, element("span", {}, cascades.name(b))));
    const rows = order.map((a) => element("tr", {role: "row"},
      element("th", {scope: "row", role: "rowheader"}, cascades.name(a)),
      ...order.map((b) => this.cell(a, b, dense))));
    this.table.replaceChildren(
      element("thead", {role: "rowgroup"}, element("tr", {role: "row"}, element("td", {role: "gridcell"}, "A ↓ B →"), ...head)),
      element("tbody", {role: "rowgroup"}, ...rows),
    );
    const text = name.replaceAll("_", " ");
    this.table.setAttribute("aria-label", `${text} of every pair`);
    $("matrix-text").textContent = `${text[0].toUpperCase()}${text.slice(1)} is ${MEASURES[name]}, on `
      + `${cascades.facts.split}. Models that err alike stand together. A click, or Enter, opens the pair above.`;
    this.mark(this.pick);
  }

  cell(a, b, dense) {
    const value = this.values[a * this.cascades.size + b];
    if (a === b || Number.isNaN(value)) return element("td", {role: "gridcell", class: "none"}, dense ? "" : "–");
    const share = this.high > this.low ? (value - this.low) / (this.high - this.low) : 0.5;
    const color = ramp(share), text = decimal(value, 3);
    return element("td", {
      role: "gridcell", tabindex: -1, "data-a": a, "data-b": b, "data-value": value,
      style: `background:rgb(${color});color:${ink(color)}`,
      "aria-label": `${this.cascades.name(a)} to ${this.cascades.name(b)}: ${text}`,
    }, dense ? "" : text);
  }

  /** Outline the pair that is shown; it is also where the keyboard enters. */
  mark(pick) {
    this.pick = pick;
    const found = pick && this.find(pick.a, pick.b);
    for (const old of this.table.querySelectorAll('td[tabindex="0"], td[aria-selected]')) {
      old.tabIndex = -1;
      old.removeAttribute("aria-selected");
    }
    const cell = found ?? this.table.querySelector("td[data-a]");
    if (cell) cell.tabIndex = 0;
    if (found) found.setAttribute("aria-selected", "true");
  }

  find(a, b) {
    return this.table.querySelector(`td[data-a="${a}"][data-b="${b}"]`);
  }

  say(cell) {
    if (cell) $("matrix-status").textContent = cell.getAttribute("aria-label");
  }

  open(cell) {
    if (cell) this.choose(Number(cell.dataset.a), Number(cell.dataset.b));
  }

  key(event) {
    const cell = event.target.closest("td[data-a]"), {order} = this.cascades.facts;
    if (!cell) return;
    const move = {ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1]}[event.key];
    if (event.key === "Enter" || event.key === " ") this.open(cell);
    else if (move) this.step(order.indexOf(Number(cell.dataset.a)), order.indexOf(Number(cell.dataset.b)), move);
    else return;
    event.preventDefault();
  }

  /** To the next cell that way, past the diagonal. */
  step(row, column, [down, right]) {
    const {order} = this.cascades.facts;
    let cell = null;
    do {
      row += down;
      column += right;
      if (!(row in order) || !(column in order)) return;
      cell = this.find(order[row], order[column]);
    } while (!cell);
    for (const old of this.table.querySelectorAll('td[tabindex="0"]')) old.tabIndex = -1;
    cell.tabIndex = 0;
    cell.focus();
  }
}

function ramp(share) {
  const at = Math.min(Math.max(share, 0), 1) * (RAMP.length - 1), i = Math.min(Math.floor(at), RAMP.length - 2);
  return RAMP[i].map((from, c) => Math.round(from + (RAMP[i + 1][c] - from) * (at - i)));
}

/** Black or white, whichever stands out more. */
function ink(color) {
  const [r, g, b] = color.map((c) => (c / 255 <= 0.03928 ? c / 255 / 12.92 : ((c / 255 + 0.055) / 1.055) ** 2.4));
  return 0.2126 * r + 0.7152 * g + 0.0722 * b > 0.179 ? "#000" : "#fff";
}
