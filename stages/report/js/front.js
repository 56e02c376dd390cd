// Accuracy against cost: every pair, single models, baselines and the search's frontier.

class Front {
  constructor(cascades, choose) {
    this.cascades = cascades;
    this.choose = choose;
    this.box = $("front");
    this.points = this.gathered().filter((point) => point.cost > 0);
    this.points.sort((p, q) => p.cost - q.cost || p.accuracy - q.accuracy);
    this.focus = -1;
    this.words();
    this.box.addEventListener("mousemove", (event) => this.hover(event));
    this.box.addEventListener("mouseleave", () => this.leave());
    this.box.addEventListener("click", (event) => this.click(event));
    this.box.addEventListener("keydown", (event) => this.key(event));
    fitted(this.box, () => this.draw());
  }

  gathered() {
    const {search} = this.cascades.facts;
    const out = [...this.pairs(), ...search.frontier.map((row) => this.row(row, "frontier"))];
    for (const row of search.baselines) out.push(this.row(row, row.kind));
    out.push(this.row(search.answer, "answer"));
    return out;
  }

  /** Each pair's best cascade, at its two fitted λ. */
  pairs() {
    const out = [], {cascades} = this, {n} = cascades;
    cascades.best_of_pairs.forEach((number, i) => {
      const pick = cascades.at(number), accuracy = {best: cascades.pair_best[i], "1se": cascades.pair_1se[i]};
      for (const mark of cascades.marks(number).filter(({kind}) => kind in accuracy)) {
        const cost = cascades.bill(pick, mark.k).value;
        out.push({kind: mark.kind, cost, accuracy: accuracy[mark.kind], usage: mark.k / n, pick, where: mark});
      }
    });
    return out;
  }

  /** A row of the search. */
  row(row, kind) {
    const {facts} = this.cascades, place = (name) => facts.models.findIndex((m) => m.name === name);
    const point = {kind, cost: row.cost, accuracy: row.accuracy, usage: row.usage, row};
    if (!row.model_2) return {...point, single: place(row.model_1)};
    const score = facts.scores.findIndex((each) => each.name === row.score);
    if (score < 0) return {...point, pair: [place(row.model_1), place(row.model_2)]};
    const text = typeof row.threshold === "string";
    const mode = !text ? NUMBER : row.threshold === "always" ? ALWAYS : NEVER;
    const where = {mode, limit: text ? NaN : row.threshold, k: Math.round(row.usage * facts.n)};
    const pick = {a: place(row.model_1), b: place(row.model_2), score, post: row.postcheck};
    return {...point, pick, where};
  }

  words() {
    const {cost, search, fit_method: method, fitted_on: fitted, shown_on: shown} = this.cascades.facts;
    const drawn = {
      "cross-fit": `Chosen on ${fitted}, drawn at cross-fitted accuracy.`,
      "same-split": `Chosen and drawn on ${fitted}, which flatters.`,
    }[method] ?? `Chosen on ${fitted}, drawn on ${shown}.`;
    const some = search.found > search.frontier.length
      ? ` ${whole(search.frontier.length)} of the frontier's ${whole(search.found)} points are here.` : "";
    prose("front-text", `${drawn} Click a point to open it. ${cost.why}${some}`);
    legend("front-legend", [
      ["single", "one model alone"], ["best", "a pair's best cascade"], ["onese", "its 1se λ"],
      ["frontier", "frontier of the search"], ["answer", "its answer"],
      ["random", "sent on at random"], ["oracle", "oracle"],
    ]);
    this.box.setAttribute("aria-label", `Accuracy over ${cost.axis}, on a logarithmic scale: ${this.points.length} models `
      + "and cascades. Left and right arrow move along the frontier, Enter opens a cascade.");
  }

  draw() {
    const {points} = this, {cost} = this.cascades.facts;
    const x = logarithmic(points.map((p) => p.cost)), y = linear(points.map((p) => p.accuracy), 0.1);
    const digits = y.high - y.low < 0.05 ? 1 : 0;
    const plot = frame(this.box, {
      x, y, height: 380, xTitle: `${cost.axis} (log scale)`, yTitle: "accuracy",
      xText: (v) => costTick(cost, 10 ** v), yText: (v) => percent(v, digits),
    });
    const place = (p) => [plot.x(p.cost), plot.y(p.accuracy)];
    this.places = points.map(place);
    const of = (kind) => points.filter((p) => p.kind === kind).map(place);
    const line = points.filter((p) => this.onFront(p)).map(place);
    plot.svg.append(
      shape("path", {class: "dot onese", d: dots(of("1se"), 3)}),
      shape("path", {class: "dot best", d: dots(of("best"), 3)}),
      shape("path", {class: "front", d: polyline(line)}),
      shape("path", {class: "dot frontier", d: dots(of("frontier"), 2)}),
      shape("path", {class: "dot single", d: dots(of("single"), 4.5, true)}),
      shape("path", {class: "dot random", d: dots(of("random"), 4.5)}),
      shape("path", {class: "dot oracle", d: dots(of("oracle"), 4.5)}),
      shape("path", {class: "ring answer", d: dots(of("answer"), 8)}),
    );
    const singles = points.filter((p) => p.kind === "single");
    if (singles.length <= 12) for (const p of singles) this.label(plot, p);
    this.ring = shape("path", {class: "ring", d: ""});
    this.cursor = shape("path", {class: "ring picked", d: ""});
    plot.svg.append(this.cursor, this.ring);
    this.picked(this.current);
  }

  onFront(point) {
    return point.kind === "frontier";
  }

  label(plot, point) {
    const at = {class: "label", x: plot.x(point.cost), y: plot.y(point.accuracy) + 18};
    const end = at.x > plot.right - 70 ? "end" : at.x < 130 ? "start" : "middle";
    plot.svg.append(shape("text", {...at, "text-anchor": end}, this.cascades.name(point.single)));
  }

  /** Ring the cascade that is shown below, where it stands. */
  picked(shown) {
    this.current = shown;
    if (!this.places || !shown) return;
    const {cascades} = this, number = cascades.number(shown.pick);
    const there = this.points.flatMap((p, i) =>
      (p.pick && cascades.number(p.pick) === number && same(p.where, shown.step) ? [i] : []));
    const i = there.sort((p, q) => this.rank(q) - this.rank(p))[0] ?? -1;
    this.cursor.setAttribute("d", i < 0 ? "" : dots([this.places[i]], 6));
  }

  near(event) {
    const box = this.box.getBoundingClientRect();
    const x = event.clientX - box.left, y = event.clientY - box.top;
    let found = -1, least = 20 * 20;
    this.places.forEach(([px, py], i) => {
      const far = (px - x) ** 2 + (py - y) ** 2;
      // Of points in one place the answer and the frontier count before the rest.
      if (far < least || (far === least && this.rank(i) > this.rank(found))) [found, least] = [i, far];
    });
    return found;
  }

  rank(i) {
    return ["single", "frontier", "answer"].indexOf(this.points[i].kind) + 1;
  }

  hover(event) {
    const i = this.near(event);
    if (i < 0) return this.leave();
    this.show(i);
    showTip(this.named(this.points[i]), event.clientX, event.clientY);
    return undefined;
  }

  leave() {
    hideTip();
    if (this.ring) this.ring.setAttribute("d", "");
  }

  show(i) {
    this.ring.setAttribute("d", dots([this.places[i]], 7));
  }

  click(event) {
    const i = this.near(event);
    if (i >= 0) this.open(i);
  }

  open(i) {
    const {pick, where, single} = this.points[i];
    $("front-status").textContent = this.named(this.points[i]);
    this.focus = i;
    if (pick) this.choose(pick, where);
    else if (single === undefined) this.choose({...this.current.pick, a: this.points[i].pair[0], b: this.points[i].pair[1]});
  }

  key(event) {
    const step = {ArrowRight: 1, ArrowLeft: -1}[event.key];
    if (step) this.move(step);
    else if ((event.key === "Enter" || event.key === " ") && this.focus >= 0) this.open(this.focus);
    else return;
    event.preventDefault();
  }

  move(step) {
    const stops = this.points.flatMap((p, i) => (this.onFront(p) || p.kind === "single" ? [i] : []));
    const here = stops.findIndex((i) => i >= this.focus);
    const next = this.focus < 0 ? (step > 0 ? 0 : stops.length - 1) : here + step;
    this.focus = stops[Math.min(Math.max(next, 0), stops.length - 1)];
    this.show(this.focus);
    $("front-status").textContent = this.named(this.points[this.focus]);
  }

  named(point) {
    const {cascades} = this, cost = costText(cascades.facts.cost, point.cost);
    const figures = `${percent(point.accuracy)} at ${cost}`;
    if (point.single !== undefined) {
      const what = point.kind === "single" ? "" : ` (${LABELS[point.kind]})`;
      return `${cascades.name(point.single)} alone${what}: ${figures}`;
    }
    const [a, b] = point.pair ?? [point.pick.a, point.pick.b];
    const pair = `${cascades.name(a)} → ${cascades.name(b)}`;
    const use = `, B on ${percent(point.usage, 1)}`;
    if (!point.pick) {
      return `${pair}, ${point.kind === "oracle" ? "by an oracle" : "sent on at random"}: ${figures}${use}`;
    }
    const rule = `${cascades.facts.scores[point.pick.score].name}${point.pick.post ? " with post-check" : ""}`;
    return `${pair}, ${rule}, λ = ${limitText(point.where, 4)} (${LABELS[point.kind]}): ${figures}${use}`;
  }
}

const same = (p, q) => p.mode === q.mode && (p.mode !== NUMBER || p.limit === q.limit);
const LABELS = {best: "best λ", "1se": "1se λ", frontier: "frontier", answer: "the answer"};
