// Puts the parts together: one cascade is shown everywhere.

function theme() {
  const root = document.documentElement, button = $("theme");
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const isDark = () => (root.dataset.theme ?? (dark.matches ? "dark" : "light")) === "dark";
  const say = () => { button.textContent = isDark() ? "Light" : "Dark"; };
  button.addEventListener("click", () => {
    root.dataset.theme = isDark() ? "light" : "dark";
    say();
  });
  dark.addEventListener("change", say);
  button.hidden = false;
  say();
}

function start(data) {
  $("explorer").hidden = false;
  const cascades = new Cascades(data), {pick, pick_mark: kind} = data.facts;
  let front = null, matrix = null, pending = 0;
  const details = new Details(cascades), memory = new Memory(cascades);
  const changed = (curve) => {
    front?.picked(curve);
    if (matrix && (matrix.pick?.a !== curve.pick.a || matrix.pick?.b !== curve.pick.b)) matrix.mark(curve.pick);
    cancelAnimationFrame(pending);
    pending = requestAnimationFrame(() => {
      details.show(curve);
      memory.show(curve);
    });
  };
  const curve = new Curve(cascades, changed);
  const choose = (to, where) => curve.choose(to, where);
  front = new Front(cascades, choose);
  matrix = new Matrix(cascades, (a, b) => choose({...curve.pick, a, b}));
  const score = cascades.facts.scores.findIndex((each) => each.name === pick.score);
  const first = {a: pick.a, b: pick.b, score, post: pick.postcheck};
  choose(first, cascades.marks(cascades.number(first)).find((mark) => mark.kind === kind));
  document.documentElement.dataset.ready = "true";
}

theme();
unpack($("data").textContent).then(start).catch((error) => {
  $("trouble").hidden = false;
  $("trouble").textContent = `The figures could not be drawn (${error.message}); the tables below are complete.`;
  throw error;
});
