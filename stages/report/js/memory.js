// A memory in front of the cascade: the share of hits above which hashing pays.

class Memory {
  constructor(cascades) {
    this.cascades = cascades;
    this.box = $("memory-chart");
    const {hashes, cost, imported} = cascades.facts;
    this.known = hashes.length > 0;
    this.box.hidden = !this.known;
    if (this.known) legend("memory-legend", [["line", "with a memory"], ["chance", "without"]]);
    prose("memory-text", this.known
      ? "A hit costs a hash, a miss a hash and the cascade. Hashing pays where the share of hits is above this:"
      : `What a hash costs in ${cost.noun} is not in the cache${imported
        ? ", and takes the images to measure."
        : ": `cascade hash` measures its latency, and joules where a sensor answers."}`);
    if (this.known) fitted(this.box, () => this.draw());
  }

  show(curve) {
    this.cost = curve.found.cost.value;
    if (!this.known) return;
    $("memory").replaceChildren(...this.cascades.facts.hashes.map(({algorithm, cost}) => {
      const rate = cost / this.cost;
      return tile(algorithm, number("break_even_rate", rate, rate < 1 ? percent(rate) : "never"));
    }));
    this.draw();
  }

  draw() {
    if (this.cost === undefined || !this.box.clientWidth) return;
    const {hashes, cost} = this.cascades.facts, top = this.cost + Math.max(...hashes.map((h) => h.cost));
    const plot = frame(this.box, {
      x: fixed(0, 1), y: fixed(0, top * 1.05), height: 220, xTitle: "share of hits",
      yTitle: "cost per request", xText: (v) => percent(v, 0), yText: (v) => costTick(cost, v),
    });
    const line = (from, to) => polyline([[plot.x(0), plot.y(from)], [plot.x(1), plot.y(to)]]);
    plot.svg.append(
      shape("path", {class: "chance", d: line(this.cost, this.cost)}),
      ...hashes.flatMap((h) => [
        shape("path", {class: "line", d: line(this.cost + h.cost, h.cost)}),
        shape("text", {class: "label", x: plot.x(0) + 4, y: plot.y(this.cost + h.cost) - 3}, h.algorithm),
      ]),
    );
  }
}
