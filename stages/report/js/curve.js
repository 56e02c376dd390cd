// One cascade: what its λ does to accuracy, use of B and cost.

class Curve {
  constructor(cascades, changed) {
    this.cascades = cascades;
    this.changed = changed;
    this.box = $("curve");
    const {facts} = cascades;
    for (const id of ["pick-a", "pick-b"]) {
      $(id).append(...facts.models.map((m, i) => element("option", {value: i}, m.name)));
      $(id).addEventListener("change", () => this.asked(id));
    }
    $("pick-score").append(...facts.scores.map((s, i) => element("option", {value: i}, s.name)));
    $("pick-score").addEventListener("change", () => this.asked());
    $("pick-post").addEventListener("change", () => this.asked());
    $("picker").addEventListener("submit", (event) => event.preventDefault());
    $("slider").addEventListener("input", () => this.go(Number($("slider").value)));
    this.box.addEventListener("click", (event) => this.click(event));
    legend("curve-legend", [
      ["line", "accuracy"], ["band", "its 95 % interval"], ["chance", "as many sent on at random"],
      ["a", "A alone"], ["b", "B alone"],
    ]);
    fitted(this.box, () => this.draw());
  }

  /** What the form says; A and B are never the same. */
  asked(changed) {
    const pick = {
      a: Number($("pick-a").value), b: Number($("pick-b").value),
      score: Number($("pick-score").value), post: $("pick-post").checked,
    };
    if (pick.a === pick.b) pick[changed === "pick-a" ? "b" : "a"] = this.pick[changed === "pick-a" ? "a" : "b"];
    this.choose(pick);
  }

  /** Show a cascade at a λ, by default its best. */
  choose({...pick}, where) {
    const tried = this.cascades.checked(pick);
    pick.post &&= tried;
    this.pick = pick;
    this.steps = this.cascades.steps(pick);
    $("pick-a").value = pick.a;
    $("pick-b").value = pick.b;
    $("pick-score").value = pick.score;
    $("pick-post").checked = pick.post;
    $("pick-post").disabled = !tried;
    $("slider").max = this.steps.length - 1;
    let i = where ? this.steps.findIndex((step) => same(step, where)) : this.marked("best");
    if (i < 0 && where) i = this.steps.findIndex((step) => step.k >= where.k);
    this.jumps();
    this.go(Math.max(i, 0), false);
    this.draw();
    this.changed(this);
  }

  marked(kind) {
    return this.steps.findIndex((step) => step.marks.some((mark) => mark.kind === kind));
  }

  jumps() {
    const there = FLAGS.filter((kind) => this.marked(kind) >= 0);
    $("jumps").replaceChildren(...there.map((kind) => {
      const button = element("button", {type: "button", "data-jump": kind}, kind === "certified" ? this.certified() : kind);
      button.addEventListener("click", () => this.go(this.marked(kind)));
      return button;
    }));
  }

  certified() {
    const {epsilon, delta} = this.cascades.facts.certificate;
    return `certified: loses at most ${exact(100 * epsilon)}\u00a0%, risk ${exact(100 * delta)}\u00a0%`;
  }

  go(i, tell = true) {
    this.i = i;
    this.step = this.steps[i];
    const {cascades, step, pick} = this, found = cascades.figures(pick, step);
    this.found = found;
    $("slider").value = i;
    $("lambda").textContent = limitText(step, 6);
    $("lambda").dataset.value = step.mode ? limitText(step) : String(step.limit);
    const say = `λ = ${limitText(step, 4)}, accuracy ${percent(found.accuracy.value)}, B on ${percent(found.usage.value, 1)}`;
    $("slider").setAttribute("aria-valuetext", say);
    this.tiles(found);
    this.note();
    this.point();
    if (tell) this.changed(this);
  }

  tiles(found) {
    const {cost, models, reference, baseline, fit_method: method} = this.cascades.facts;
    const here = method === "cross-fit" ? " on these images" : "";
    $("figures").replaceChildren(
      figureTile("accuracy", `accuracy${here}`, found.accuracy, eachOf((v) => percent(v))),
      figureTile("usage", "use of B", found.usage, eachOf((v) => percent(v, 1))),
      figureTile("cost", `${cost.noun} per request`, found.cost, (...values) => costTexts(cost, ...values)),
      ...(Number.isFinite(found.saved.value) ? [savedTile(found.saved, models[baseline].name)] : []),
      figureTile("accuracy_change", `accuracy against ${models[reference].name}${here}`, found.accuracy_change, eachOf(signed)),
    );
  }

  /** How many images that is, and what is known of a λ that has a name. */
  note() {
    const {facts} = this.cascades, {step} = this;
    for (const chip of $("jumps").children) {
      const here = step.marks.some((mark) => mark.kind === chip.dataset.jump);
      chip.setAttribute("aria-pressed", String(here));
    }
    const said = [`${whole(step.right)} of ${whole(facts.n)} images are right, ${whole(step.k)} go to B.`];
    const known = FLAGS.flatMap((kind) => step.marks.filter((mark) => mark.kind === kind && kind !== "certified"));
    if (known.length) said.push(this.fitted(known));
    if (step.marks.some(({kind}) => kind === "certified")) said.push(this.promise());
    if (this.marked("certified") < 0) said.push(this.refused());
    prose("cascade-note", said.join(" "));
  }

  /** What the images say of a named λ that fitted it: those of the folds, or of another split. */
  fitted(marks) {
    const {fit_method: method, fitted_on: where} = this.cascades.facts;
    if (method === "cross-fit") {
      return `Cross-fitted: ${marks.map(({kind, accuracy}) => `${percent(accuracy)} (${kind})`).join(", ")}.`;
    }
    return `On ${where}, where it was chosen, ${percent(marks[0].fit)} (${marks.map(({kind}) => kind).join(", ")}).`;
  }

  promise() {
    const {certificate} = this.cascades.facts;
    return `The certified λ: with probability ${exact(1 - certificate.delta)} over ${certificate.split} at most `
      + `${exact(100 * certificate.epsilon)}% of all images are mistakes that B alone would not make. That holds of `
      + "one cascade, named before looking; `cascade search --certify` promises for whichever it picks.";
  }

  refused() {
    const {certificate} = this.cascades.facts, {epsilon, split, why} = certificate;
    return `No λ is certified on ${split} to make at most ${exact(100 * epsilon)}% of all images mistakes `
      + `that B alone would not make${why ? `: ${why}` : ""}.`;
  }

  draw() {
    if (!this.steps || !this.box.clientWidth) return;
    const {cascades, pick, steps} = this, n = cascades.n;
    const shares = steps.map((step) => cascades.share(step.right));
    const alone = [cascades.accuracy(pick.a), cascades.accuracy(pick.b)];
    const flags = this.flagged().map(({mark}) => mark.accuracy);
    const y = linear([...shares.flatMap((s) => [s.low, s.high]), ...alone, ...flags]);
    const plot = frame(this.box, {
      x: fixed(0, 1), y, height: 300, xTitle: "use of B", yTitle: "accuracy",
      xText: (v) => percent(v, 0), yText: (v) => percent(v, y.high - y.low < 0.06 ? 1 : 0),
    });
    this.plot = plot;
    const at = (name) => steps.map((step, i) => [plot.x(step.k / n), plot.y(shares[i][name])]);
    plot.svg.append(
      shape("path", {class: "band", d: `${polyline([...at("high"), ...at("low").reverse()])}z`}),
      shape("path", {class: "chance", d: polyline([[plot.x(0), plot.y(alone[0])], [plot.x(1), plot.y(alone[1])]])}),
      ...alone.map((v, i) => shape("path", {class: i ? "b" : "a", d: polyline([[plot.x(0), plot.y(v)], [plot.x(1), plot.y(v)]])})),
      shape("path", {class: "line", d: polyline(at("value"))}),
    );
    this.cursor = shape("path", {class: "cursor", d: ""});
    plot.svg.append(this.cursor);
    this.flags(plot);
    this.dot = shape("circle", {class: "now", r: 5, cx: -9, cy: -9});
    plot.svg.append(this.dot);
    this.point();
    this.caption();
  }

  /** The λ that have names, with their accuracy: of folds where these fitted it. */
  flagged() {
    return FLAGS.filter((kind) => this.marked(kind) >= 0).map((kind) => {
      const step = this.steps[this.marked(kind)], mark = step.marks.find((each) => each.kind === kind);
      const known = Number.isNaN(mark.accuracy) ? step.right / this.cascades.n : mark.accuracy;
      return {kind, step, mark: {...mark, accuracy: known}};
    });
  }

  /** Those that send the same images on share a label. */
  flags(plot) {
    const named = new Map(), drops = [], labels = [], circles = [];
    for (const {kind, step, mark} of this.flagged()) {
      if (!named.has(step.k)) named.set(step.k, {step, kinds: []});
      named.get(step.k).kinds.push(kind);
      const look = `flag ${kind === "1se" ? "onese" : kind}`;
      circles.unshift(shape("circle", {class: look, r: 4, cx: plot.x(step.k / this.cascades.n), cy: plot.y(mark.accuracy)}));
    }
    [...named.values()].sort((p, q) => p.step.k - q.step.k).forEach(({step, kinds}, place) => {
      const x = plot.x(step.k / this.cascades.n), y = plot.bottom - 8 - 15 * place;
      const end = x > plot.right - 160 ? "end" : "start";
      drops.push(shape("path", {class: "drop", d: `M${x} ${plot.bottom}V${y - 4}`}));
      labels.push(shape("text", {class: "label", x: x + (end === "end" ? -6 : 6), y, "text-anchor": end}, kinds.join(", ")));
    });
    plot.svg.append(...drops, ...circles, ...labels);
  }

  point() {
    if (!this.cursor || !this.step) return;
    const {plot, step, cascades} = this, x = plot.x(step.k / cascades.n);
    this.cursor.setAttribute("d", `M${x} ${MARGIN.top}V${plot.bottom}`);
    this.dot.setAttribute("cx", x);
    this.dot.setAttribute("cy", plot.y(step.right / cascades.n));
  }

  caption() {
    const {facts, off} = this.cascades, far = off[this.cascades.number(this.pick)] / facts.n;
    const drawn = far ? `${whole(this.steps.length)} of its steps are kept, each exact; the line `
      + `between them is off by ${(100 * far).toFixed(3)} points at most` : "every step of λ is drawn";
    const name = (m) => this.cascades.name(m);
    $("curve-caption").textContent = `${name(this.pick.a)} → ${name(this.pick.b)}: ${drawn}. ${facts.drawn}`;
  }

  click(event) {
    const x = event.clientX - this.box.getBoundingClientRect().left;
    const far = (step) => Math.abs(this.plot.x(step.k / this.cascades.n) - x);
    let best = 0;
    this.steps.forEach((step, i) => { if (far(step) < far(this.steps[best])) best = i; });
    this.go(best);
  }
}

// The λ that have names.
const FLAGS = ["answer", "best", "1se", "certified"];
