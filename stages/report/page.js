// Vega follows the window's size; a figure's own may change without it (a scroll bar appears).
const follow = new ResizeObserver(() => window.dispatchEvent(new Event("resize")));
for (const box of document.querySelectorAll("[data-spec]")) {
  const spec = JSON.parse(document.getElementById(box.dataset.spec).textContent);
  vegaEmbed(box, spec, {mode: "vega-lite", renderer: "svg", actions: false}).then(
    () => follow.observe(box),
    (error) => {
      box.textContent = `This figure could not be drawn: ${error.message}`;
    },
  );
}
