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
const short = (value) =>
  minus(value.toLocaleString("en", {maximumSignificantDigits: 4, useGrouping: true}));

const costText = (cost, value) => `${short(value * cost.scale)} ${cost.short}`;

function limitText({mode, limit}, digits = 6) {
  return mode === ALWAYS ? "always" : mode === NEVER ? "never" : decimal(limit, digits);
}

/** An exact value and how it is shown. */
function number(name, value, text) {
  return element("data", {value: String(value), "data-name": name}, text);
}

function tile(label, ...shown) {
  return element("div", {}, element("dt", {}, label), element("dd", {}, ...shown));
}

/** A tile with a figure and its interval below. */
function figureTile(name, label, {value, low, high}, say) {
  const ends = [number(`${name}_low`, low, say(low)), " to ", number(`${name}_high`, high, say(high))];
  const range = element("small", {}, ...ends);
  return tile(label, number(name, value, say(value)), range);
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
