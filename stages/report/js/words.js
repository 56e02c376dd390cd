// Elements and numbers as text. Names come from outside: they only ever become text nodes.

const $ = (id) => document.getElementById(id);

function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== null && value !== undefined && value !== false) {
      made.setAttribute(name, value === true ? "" : value);
    }
  }
  made.append(...children);
  return made;
}

/** Words into an element; what stands between backticks is code. */
function prose(id, text) {
  const parts = text.split("`").map((part, i) => (i % 2 ? element("code", {}, part) : part));
  $(id).replaceChildren(...parts);
}

/** A number as a page writes it, with a minus sign. */
const minus = (text) => text.replace("-", "−");
const decimal = (value, digits) => minus(value.toFixed(digits));
const percent = (value, digits = 2) => `${decimal(100 * value, digits)}%`;
/** As many digits as it was given with. */
const exact = (value) => String(Number(value.toPrecision(12)));
const signed = (value) => `${value < 0 ? "−" : "+"}${Math.abs(100 * value).toFixed(2)} pt`;
const whole = (value) => minus(value.toLocaleString("en"));
const grouped = (text) => text.replace(/\B(?=(\d{3})+(?!\d))/g, ",");
const DIGITS = 4;
const MS = {steps: [[1, ""]], short: " ms"}, MJ = {steps: [[1e-3, ""]], short: " mJ"};

/** In which step a cost is told: how many of its unit, and the letter for that. */
const stepOf = (steps, value) => steps.find(([size]) => Math.abs(value) >= size) ?? steps[steps.length - 1];

/** A cost and others beside it, in as many decimals as it; as stages/amounts.py tells them. */
function costTexts({steps, short}, value, ...others) {
  const [scale, letter] = stepOf(steps, value), size = Math.abs(value / scale);
  const power = Number(size.toExponential().split("e")[1]);
  const few = steps.length > 1 && !letter;  // counts below a thousand are whole
  const decimals = few ? 0 : Math.max(DIGITS - 1 - (size ? power : DIGITS - 1), 0);
  return [value, ...others].map((each) => {
    const [whole, part] = (each / scale).toFixed(decimals).split(".");
    return minus(`${grouped(whole)}${part ? `.${part}` : ""}${letter}${short}`);
  });
}

const costText = (cost, value) => costTexts(cost, value)[0];

/** A round cost, for an axis. */
function costTick({steps, short}, value) {
  const [scale, letter] = stepOf(steps, value * (1 + 1e-9));
  return `${exact(value / scale)}${letter}${short}`;
}

/** In so many digits, without zeros at the end. */
function limitText({mode, limit}, digits = 6) {
  if (mode !== NUMBER) return mode === ALWAYS ? "always" : "never";
  return minus(String(Number(limit.toPrecision(digits))));
}

/** An exact value and how it is shown. */
function number(name, value, text) {
  return element("data", {value: String(value), "data-name": name}, text);
}

function tile(label, ...shown) {
  return element("div", {}, element("dt", {}, label), element("dd", {}, ...shown));
}

/** A tile with a figure and its interval below; `say` tells a figure and others beside it. */
function figureTile(name, label, {value, low, high}, say) {
  const [told, ...ends] = say(value, low, high);
  const range = element("small", {}, number(`${name}_low`, low, ends[0]), " to ", number(`${name}_high`, high, ends[1]));
  return tile(label, number(name, value, told), range);
}

const eachOf = (say) => (...values) => values.map((value) => say(value));

/** What is saved against a model, or how much more it costs: never a negative saving. */
function savedTile(found, model) {
  const {value, low, high} = found, share = eachOf((v) => percent(v, 1));
  if (value >= 0) return figureTile("saved", `cheaper than ${model}`, found, share);
  const [told, least, most] = share(-value, -high, -low);
  const range = element("small", {}, number("saved_high", high, least), " to ", number("saved_low", low, most));
  return tile(`costs more than ${model}`, number("saved", value, told), range);
}

function table(target, caption, head, rows) {
  const right = (i) => (rows.length && rows[0][i] instanceof Node ? "number" : null);
  const cells = head.map((title, i) => element("th", {scope: "col", class: right(i)}, title));
  const body = rows.map((row) =>
    element("tr", {}, ...row.map((cell) => (
      cell instanceof Node
        ? element("td", {class: "number"}, cell)
        : element("td", {}, cell)
    ))),
  );
  $(target).replaceChildren(
    element("caption", {}, caption),
    element("thead", {}, element("tr", {}, ...cells)),
    element("tbody", {}, ...body),
  );
}

function legend(target, entries) {
  $(target).replaceChildren(
    ...entries.map(([mark, text]) =>
      element("li", {}, element("span", {class: `key ${mark}`, "aria-hidden": "true"}), text)),
  );
}
