"use strict";
// One picture at a time: what is pressed goes to the program, what comes back is shown.

const SMALL = 100; // a picture with shorter sides shows its pixels
const GONE = "The program does not answer. Is it still running in the terminal?";
const MOVES = {Backspace: undo, ArrowLeft: undo, Escape: stop};
const at = (id) => document.getElementById(id);

let state = null;
let busy = true; // until the next picture can be seen nothing is taken

async function send(name, body) {
  if (busy) return;
  busy = true;
  try {
    const headers = {"Content-Type": "application/json"};
    await show(await ask(name, {method: "POST", headers, body: JSON.stringify(body)}));
  } catch (error) {
    tell(error.message);
  }
  busy = false;
}

async function ask(name, options) {
  const answer = await fetch(name, options).catch(() => { throw new Error(GONE); });
  const value = await answer.json();
  if (value.error) throw new Error(value.error);
  return value;
}

function answer(place) {
  const {turn, sample_id, choices} = state;
  const index = place === choices.length - 1 ? null : place;
  return send("answer", {turn, sample_id, index});
}

function undo() {
  return send("undo", {turn: state.turn});
}

function stop() {
  return send("stop", {});
}

async function show(next) {
  if (next.over) return finish(next);
  const fresh = !state || state.turn !== next.turn;
  const seen = fresh ? await picture(next) : null;
  if (at("asking").dataset.over) return;
  state = next;
  if (fresh) {
    at("frame").replaceChildren(seen);
    at("key").textContent = next.key;
    at("question").textContent = `Picture ${next.labelled + 1}: which is it?`;
    choose(next.choices);
  }
  at("last").textContent = next.last && `“${next.last}”`;
  at("status").textContent = next.status;
  tell(next.note);
  at("asking").hidden = false;
  document.documentElement.dataset.turn = next.turn;
}

// Decoded before it is shown, so that picture and answers change at once.
async function picture(next) {
  if (!next.has_picture) return words("There is no picture of this one.");
  const image = new Image();
  image.alt = `Picture ${next.labelled + 1}`;
  image.src = `picture/${next.turn}`;
  try {
    await image.decode();
  } catch {
    return words("The picture cannot be shown.");
  }
  image.style.setProperty("--ratio", image.naturalWidth / image.naturalHeight);
  image.className = Math.max(image.naturalWidth, image.naturalHeight) < SMALL ? "small" : "";
  return image;
}

function words(text) {
  const shown = document.createElement("p");
  shown.textContent = text;
  return shown;
}

// Buttons stay where their number does, and with them the focus.
function choose(names) {
  const group = at("choices");
  while (group.children.length > names.length) group.lastChild.remove();
  while (group.children.length < names.length) group.append(button(group.children.length));
  names.forEach((name, place) => {
    const last = place === names.length - 1;
    group.children[place].querySelector("bdi").textContent = last ? "Other: none of these" : name;
  });
}

function button(place) {
  const made = document.createElement("button");
  const key = place < 9 ? String(place + 1) : "";
  const number = document.createElement("kbd");
  number.textContent = key;
  made.type = "button";
  if (key) made.setAttribute("aria-keyshortcuts", key);
  made.append(number, document.createElement("bdi"));
  made.addEventListener("click", () => answer(place));
  return made;
}

function tell(note) {
  for (const id of ["note", "trouble"]) {
    at(id).textContent = note;
    at(id).hidden = !note;
  }
}

function finish(last) {
  alive.close();
  const pictures = last.labelled === 1 ? "1 picture" : `${last.labelled} pictures`;
  tell(last.note);
  at("why").textContent = `${last.over}.`;
  at("done").textContent = `${pictures} labelled; every answer is kept.`;
  at("reached").textContent = last.status;
  at("asking").hidden = true;
  at("asking").dataset.over = "yes";
  at("over").hidden = false;
  at("why").focus();
  document.documentElement.dataset.over = "yes";
}

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || !state) return;
  const place = /^[1-9]$/.test(event.key) ? Number(event.key) - 1 : -1;
  const known = place >= 0 && place < state.choices.length;
  const move = known ? () => answer(place) : MOVES[event.key];
  if (!move || document.documentElement.dataset.over) return;
  event.preventDefault();
  if (!event.repeat) move();
});
at("undo").addEventListener("click", undo);
at("stop").addEventListener("click", stop);

// Open for as long as the page is; says when the program has ended.
const alive = new EventSource("alive");
alive.addEventListener("message", (event) => finish(JSON.parse(event.data)));
alive.addEventListener("error", () => tell(GONE));
alive.addEventListener("open", () => { if (at("note").textContent === GONE) tell(""); });

ask("state").then(show).catch((error) => tell(error.message)).finally(() => { busy = false; });
