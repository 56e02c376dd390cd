// The numbers of any cascade at any step of its sweep, from counts; as `cascade simulate` has them.
// A pick is {a, b, score, post}: two models by their row, the score by its place, and a flag.

const NUMBER = 0, ALWAYS = 1, NEVER = 2;

class Cascades {
  constructor({facts, arrays}) {
    Object.assign(this, arrays);
    this.facts = facts;
    this.n = facts.n;
    this.size = facts.models.length;
    this.perGroup = (this.size - 1) * 2;
    this.starts = [0];
    for (let g = 0; g + 1 < arrays.group_start.length; g++) {
      const corners = arrays.group_start[g + 1] - arrays.group_start[g];
      this.starts.push(this.starts[g] + corners * this.perGroup);
    }
  }

  name(model) {
    return this.facts.models[model].name;
  }

  accuracy(model) {
    return this.facts.models[model].right / this.n;
  }

  group({a, score}) {
    return a * this.facts.scores.length + score;
  }

  number(pick) {
    const b = pick.b - (pick.b > pick.a ? 1 : 0);
    return (this.group(pick) * (this.size - 1) + b) * 2 + (pick.post ? 1 : 0);
  }

  /** The pick of a cascade's number. */
  at(number) {
    const pair = number >> 1, group = Math.floor(pair / (this.size - 1));
    const a = Math.floor(group / this.facts.scores.length), b = pair % (this.size - 1);
    const score = group % this.facts.scores.length;
    return {a, b: b + (b >= a ? 1 : 0), score, post: number % 2 === 1};
  }

  marks(number) {
    const out = [];
    for (let m = this.mark_start[number]; m < this.mark_start[number + 1]; m++) {
      out.push({
        mark: m,
        kind: this.facts.kinds[this.mark_kind[m]],
        mode: this.mark_mode[m],
        limit: this.mark_limit[m],
        k: this.mark_k[m],
        right: this.mark_right[m],
        won: this.mark_won[m],
        accuracy: this.mark_accuracy[m],
        fit: this.mark_fit_accuracy[m],
      });
    }
    return out;
  }

  /** Whether post-check was tried: not where the scores of two models do not compare. */
  checked(pick) {
    return this.marks(this.number({...pick, post: true})).some(({kind}) => kind === "best");
  }

  /** The kept corners of a sweep, its marks among them, by how many images go to B. */
  steps(pick) {
    const number = this.number(pick), marked = new Map(), taken = new Set();
    for (const mark of this.marks(number)) {
      const key = `${mark.mode} ${mark.limit}`;
      if (!marked.has(key)) marked.set(key, {...mark, marks: []});
      marked.get(key).marks.push(mark);
      taken.add(mark.k);
    }
    const steps = this.corners(pick, number).filter((step) => !taken.has(step.k));
    const sign = this.facts.scores[pick.score].sign;
    const sure = ({mode, limit}) =>
      mode === ALWAYS ? Infinity : mode === NEVER ? -Infinity : sign * limit;
    return [...steps, ...marked.values()].sort((p, q) => p.k - q.k || sure(p) - sure(q));
  }

  corners(pick, number) {
    const group = this.group(pick), first = this.group_start[group];
    const count = this.group_start[group + 1] - first;
    const start = this.starts[group] + (number % this.perGroup) * count;
    let right = this.facts.models[pick.a].right, won = this.facts.overlap[pick.a];
    const out = [];
    for (let i = 0; i < count; i++) {
      right += this.right[start + i];
      won += this.won[start + i];
      const k = this.k[first + i], limit = this.limit[first + i];
      const mode = Number.isNaN(limit) ? (k === 0 ? NEVER : ALWAYS) : NUMBER;
      out.push({k, right, won, limit, mode, marks: []});
    }
    return out;
  }

  /** Everything about one step, with intervals of 95 %. */
  figures(pick, step) {
    const {right, won, k} = step, {reference, models} = this.facts;
    const bill = this.bill(pick, k);
    return {
      accuracy: this.share(right),
      usage: this.share(k),
      cost: around(bill.value, bill.half),
      saved: this.saved(pick, bill),
      accuracy_change: this.change(won, models[reference].right - (right - won)),
    };
  }

  /** The paired difference of accuracy, from the images that only one of the two gets right. */
  change(won, lost) {
    const {n} = this, {normal, limits} = this.facts, mean = (won - lost) / n;
    if (won + lost >= limits.least.length) {
      return around(mean, normal * Math.sqrt(((won + lost) / n - mean * mean) / n));
    }
    const {least, most} = limits, p = won / n, q = lost / n;
    return {
      value: mean,
      low: mean - Math.hypot(p - least[won], most[lost] - q),
      high: mean + Math.hypot(most[won] - p, q - least[lost]),
    };
  }

  /** Wilson's interval of a share. */
  share(count) {
    const {n} = this, {normal} = this.facts, share = count / n, z = (normal * normal) / n;
    const half = normal * Math.sqrt((share * (1 - share)) / n + z / (4 * n));
    return {
      value: share,
      low: count ? (share + z / 2 - half) / (1 + z) : 0,
      high: count < n ? (share + z / 2 + half) / (1 + z) : 1,
    };
  }

  /** What a request costs where B runs on k of all: its parts, and what comes from the draw. */
  bill(pick, k) {
    if (this.sent_spent) return this.summed(pick, k);
    const {n} = this, counts = this.batches(pick, k);
    const [value, low, high] = ["value", "low", "high"].map((name) => {
      const row = this[`batch_${name}`], at = pick.b * counts.length;
      return counts.reduce((sum, count, size) => sum + count * row[at + size], 0);
    });
    const drawn = (this.facts.cost.normal * (value / Math.max(k, 1)) * Math.sqrt(k * (1 - k / n))) / n;
    const parts = new Map([
      [pick.a, this.alone_half[pick.a]],
      [pick.b, (high - low) / 2 / n],
    ]);
    const half = Math.hypot(...parts.values(), drawn);
    return {value: this.alone_value[pick.a] + value / n, half, parts, drawn};
  }

  /** How many batches of 0, 1, … images B gets. */
  batches(pick, k) {
    const size = this.facts.cost.batch_size;
    if (size === 1) return [0, k];
    const row = this.sentRow(pick, k);
    return Array.from(this.sent_batches.subarray(row * (size + 1), (row + 1) * (size + 1)));
  }

  /** What the very requests that go to B cost, with its half-width and that of what is saved. */
  summed(pick, k) {
    const at = 3 * (this.sentRow(pick, k) * this.facts.models.length + pick.b);
    const [value, half, saved] = this.sent_spent.subarray(at, at + 3);
    return {value, half, saved};
  }

  sentRow(pick, k) {
    const group = this.group(pick), end = this.sent_start[group + 1];
    let row = this.sent_start[group];
    while (row < end && this.sent[row] !== k) row++;
    return row;
  }

  /** The share of the baseline's cost that is saved; errors of parts that both share cancel. */
  saved(pick, bill) {
    const {baseline} = this.facts, other = this.alone_value[baseline];
    if (bill.saved !== undefined) return around(1 - bill.value / other, bill.saved);
    const errors = [pick.a, pick.b].map((m) => bill.parts.get(m) / bill.value);
    const theirs = this.alone_half[baseline] / other;
    const shared = [pick.a, pick.b].indexOf(baseline);
    if (shared < 0) errors.push(-theirs);
    else errors[shared] -= theirs;
    const ratio = bill.value / other;
    return around(1 - ratio, ratio * Math.hypot(...errors, bill.drawn / bill.value));
  }
}

const around = (value, half) => ({value, low: value - half, high: value + half});
