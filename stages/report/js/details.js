// Class by class, image by image, and live runs: what is known of some λ of a cascade.

// Of more classes only so many are laid out unasked: a table of a thousand rows takes its time.
const FEW = 50;

class Details {
  constructor(cascades) {
    this.cascades = cascades;
    this.most = FEW;
    $("all-classes").addEventListener("click", () => {
      this.most = Infinity;
      this.classes(...this.classed);
    });
    this.byMark = new Map();
    cascades.detail_mark.forEach((mark, d) => this.byMark.set(mark, d));
    this.live();
  }

  /** What is known at this step, else at the nearest λ of the same cascade. */
  nearest(curve) {
    const known = curve.steps.flatMap((step) =>
      step.marks.filter((m) => this.byMark.has(m.mark)).map((m) => ({step, d: this.byMark.get(m.mark)})));
    const far = ({step}) => Math.abs(step.k - curve.step.k) + (step === curve.step ? -0.5 : 0);
    return known.sort((p, q) => far(p) - far(q))[0];
  }

  show(curve) {
    const found = this.nearest(curve), key = `${this.cascades.number(curve.pick)} ${found?.d}`;
    if (key === this.shown) return;
    this.shown = key;
    this.classes(curve.pick, found);
    this.images(found);
  }

  where(found) {
    const flatters = this.cascades.facts.fitted_here ? ", on the images that fitted it" : "";
    return `at λ = ${limitText(found.step, 4)}${flatters}`;
  }

  classes(pick, found) {
    this.classed = [pick, found];
    const {cascades} = this, {classes} = cascades.facts, count = classes.length;
    const no = "Not stored for this cascade: the page has room for those on the frontier only.";
    $("classes-text").textContent = found
      ? `What reaches B, and what comes of it, ${this.where(found)}; the most deferred class first.`
      : no;
    const share = (name, count, of) => number(name, count / of, percent(count / of, 1));
    const row = (c) => {
      const size = cascades.class_size[c], of = (m) => cascades.class_right[m * count + c];
      const cells = [classes[c], number("n", size, whole(size)), share("a", of(pick.a), size), share("b", of(pick.b), size)];
      if (!found) return cells;
      const at = found.d * count + c;
      return [...cells, share("right", cascades.detail_right[at], size), share("deferred", cascades.detail_deferred[at], size)];
    };
    const rate = (c) => (found ? cascades.detail_deferred[found.d * count + c] / (cascades.class_size[c] || 1) : 0);
    const order = classes.map((_, c) => c).filter((c) => cascades.class_size[c]).sort((p, q) => rate(q) - rate(p));
    const head = ["class", "images", "A alone", "B alone", ...(found ? ["cascade", "sent to B"] : [])];
    table("classes", "Accuracy by class", head, order.slice(0, this.most).map(row));
    $("all-classes").hidden = order.length <= this.most;
    $("all-classes").textContent = `All ${whole(order.length)} classes`;
  }

  images(found) {
    for (const id of ["saved", "lost"]) $(id).replaceChildren();
    $("h-saved").textContent = $("h-lost").textContent = "";
    if (!found) {
      $("images-text").textContent = "Not stored for this cascade.";
      return;
    }
    const {cascades} = this, {imported, images} = cascades.facts, any = Object.keys(images.thumbnails).length;
    prose("images-text", `Against A alone, ${this.where(found)}; those of which B is surest first. `
      + (any || imported ? "" : "Give the images with `--data` to see them."));
    ["saved", "lost"].forEach((kind, place) => {
      const all = cascades[`detail_${kind}`][found.d], at = found.d * 2 + place;
      const from = cascades.example_start[at], to = cascades.example_start[at + 1];
      const shown = to - from < all ? `, ${to - from} of them here` : "";
      const what = {saved: "A is wrong, the cascade right", lost: "A is right, the cascade wrong"}[kind];
      $(`h-${kind}`).replaceChildren(number(kind, all, whole(all)), ` ${kind}: ${what}${shown}`);
      const items = [];
      for (let e = from; e < to; e++) items.push(this.image(e));
      $(kind).replaceChildren(...items);
    });
  }

  image(e) {
    const {cascades} = this, {classes, images} = cascades.facts, i = cascades.example[e];
    const id = cascades.image[i], small = images.thumbnails[id], name = images.names[i] ?? `sample ${id}`;
    const label = classes[cascades.image_label[i]];
    const said = `A says ${classes[cascades.example_a[e]]}, B says ${classes[cascades.example_b[e]]}`;
    const picture = small ? [element("img", {src: `data:image/webp;base64,${small}`, alt: `${label}, ${name}`})] : [];
    return element("li", {"data-sample": id}, ...picture, element("b", {}, label), ` ${said} `, element("small", {}, name));
  }

  /** Rows of results/live beside what the costs had predicted. */
  live() {
    const {live, imported} = this.cascades.facts;
    $("live-scroll").hidden = !live.length;
    prose("live-text", live.length
      ? "What `cascade live` measured, and what the costs in the cache had predicted for the same requests."
      : `No live run of these models is in the cache: ${imported
        ? "their logits were imported, and `cascade live` runs only models that it has."
        : "`cascade live` makes one, and this page then shows what it measured."}`);
    const told = (name, v, unit) => (v === null ? "unknown" : number(name, v, costText(unit, v)));
    const gap = (name, v) => number(`${name}_gap`, v, `${v < 0 ? "" : "+"}${percent(v, 1)}`);
    /** What was measured, and below it what had been predicted and how far off that was. */
    const held = (name, got, said, unit) => {
      const off = got === null || said === null ? [] : [", off by ", gap(name, got / said - 1)];
      const below = element("small", {}, "predicted ", told(`predicted_${name}`, said, unit), ...off);
      return element("span", {}, told(name, got, unit), said === null ? "" : below);
    };
    const row = (r) => [
      r.model_2 ? `${r.model_1} → ${r.model_2}` : r.model_1,
      r.threshold === null ? (r.mode ?? "–") : number("threshold", r.threshold, limitText({mode: NUMBER, limit: r.threshold}, 4)),
      `${r.device}, ${r.precision}, batch ${r.batch_size}`,
      number("n", r.n, whole(r.n)), number("accuracy", r.accuracy, percent(r.accuracy)),
      held("latency", r.latency_ms, r.predicted_latency_ms, MS),
      held("energy", r.energy_j, r.predicted_energy_j, MJ),
      r.made,
    ];
    const head = ["cascade", "λ", "ran on", "requests", "accuracy", "latency", "energy", "when"];
    if (live.length) table("live", "Per request, the newest run first", head, live.map(row));
  }
}
