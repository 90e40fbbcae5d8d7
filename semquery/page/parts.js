"use strict";
// The parts and what is said about them. Text from the run is only ever set as text, never as markup.
// A `part` here is a record of the facts, with `inside` (its parts) and `element` (its list item) added.

const facts = JSON.parse(document.getElementById("facts").textContent);
const partOf = new Map(facts.parts.map((part) => [part.part, part]));
const tree = document.getElementById("tree");
const edits = new Map();  // part number → { name, synonyms, function }, as given in this browser
const look = { words: null, unsure: facts.unsure };  // the pattern to highlight, and the slider

const said = (part) => ({ ...part, ...edits.get(part.part) });
const isByHand = (part) => part.source === "user" || edits.has(part.part);
const isFailed = (part) => part.status === "failed" && !isByHand(part);
const isWaiting = (part) => part.status === "waiting" && !isByHand(part);
const isMeasured = (part) => part.source === "rule" && part.status === "named" && !isByHand(part);  // nobody's opinion: neither sure nor unsure
const isUnsure = (part) => !isFailed(part) && !isWaiting(part) && !isByHand(part) && !isMeasured(part) && (part.confidence < look.unsure || part.name === "unknown");
const number = (value) => value.toLocaleString("en");

function make(tag, text = "", className = "") {
  const element = document.createElement(tag);
  element.textContent = text;
  if (className) element.className = className;
  return element;
}

/** Show text, with the words that are looked for marked; isolated, so that its direction stays its own. */
function show(element, text) {
  element.dir = "auto";
  if (!look.words) return void (element.textContent = text);
  const pieces = [];
  let from = 0;
  for (const hit of text.matchAll(look.words)) {
    pieces.push(text.slice(from, hit.index), make("mark", hit[0]));
    from = hit.index + hit[0].length;
  }
  element.replaceChildren(...pieces, text.slice(from));
}

function build() {
  for (const part of facts.parts) part.inside = [];
  for (const part of facts.parts) {
    part.element = document.getElementById("part").content.firstElementChild.cloneNode(true);
    part.element.dataset.part = part.part;
    const above = partOf.get(part.parent);
    if (above) above.inside.push(part);
    (above ? above.element.querySelector(":scope > .parts") : tree.querySelector(".parts")).append(part.element);
    furnish(part);
  }
  for (const part of facts.parts) fold(part, facts.parts.length > 150 && part.depth >= 2);
}

/** What does not change: the thumbnail and the numbers. */
function furnish(part) {
  const at = (selector) => part.element.querySelector(selector);
  part.element.style.setProperty("--part", part.color);
  at(".thumb").title = part.pictures.length ? "Enlarge" : "No view shows this part";
  at(".thumb").disabled = !part.pictures.length;
  if (part.thumb) at(".thumb").append(image(part.thumb));
  at(".raw").hidden = !part.raw;
  at(".raw bdi").textContent = part.raw;
  at(".facts").replaceChildren(...described(part).map(pair));
}

/** A term and its value, in a box of their own. */
function pair([name, value]) {
  const box = make("div");
  box.append(make("dt", name), make("dd", value));
  return box;
}

function image(url) {
  const element = make("img");
  element.alt = "";
  element.decoding = "async";
  element.src = url;
  return element;
}

function pictureButton(part, url, k) {
  const button = make("button");
  button.type = "button";
  button.dataset.picture = k;
  button.setAttribute("aria-label", `Enlarge picture ${k + 1} of part ${part.part}`);
  button.append(image(url));
  return button;
}

function described(part) {
  const source = { vlm: "the model", user: "hand", rule: "measurement" }[part.source] || part.source;
  const rows = [["Part", String(part.part)], ["Points", number(part.points)], ["Level", String(part.depth)]];
  if (part.status === "named") rows.push(["Named by", source]);
  if (part.status === "named" && part.source === "vlm") rows.push(["Confidence", part.confidence.toFixed(2)]);
  if (part.calls) rows.push(["Calls", String(part.calls)]);
  if (part.reason && part.status !== "failed") rows.push(["Note", part.reason]);
  return rows;
}

/** What changes with edits, the slider and the words that are looked for. */
function paint(part) {
  const at = (selector) => part.element.querySelector(selector), now = said(part);
  show(at(".name bdi"), now.name || (isWaiting(part) ? "not named yet" : `part ${part.part}`));
  show(at(".function bdi"), isFailed(part) ? `No name: ${part.reason || "the answers could not be read"}` : now.function);
  at(".synonyms").replaceChildren(...now.synonyms.map((text) => { const word = make("bdi"); show(word, text); return word; }));
  show(at(".thinking bdi"), part.thinking);
  at(".thinking").hidden = !part.thinking;
  paintAlternatives(part, at(".alternatives"));
  at(".badges").replaceChildren(...badges(part));
  at(".sure").replaceChildren(...sureness(part));
  for (const [name, holds] of [["failed", isFailed(part)], ["unsure", isUnsure(part)], ["hand", isByHand(part)], ["waiting", isWaiting(part)]])
    part.element.classList.toggle(name, holds);
}

function paintAlternatives(part, box) {
  box.hidden = !part.alternatives.length;
  box.querySelector("ul").replaceChildren(...part.alternatives.map(([name, score]) => {
    const row = make("li"), text = make("bdi"), bar = make("span", "", "bar");
    show(text, name);
    bar.style.setProperty("--share", `${100 * score}%`);
    row.append(text, bar, make("span", score.toFixed(2), "score"));
    return row;
  }));
}

function badges(part) {
  const found = [];
  if (isFailed(part)) found.push(make("span", "failed", "badge failed"));
  if (isUnsure(part)) found.push(make("span", "unsure", "badge unsure"));
  if (isMeasured(part)) found.push(make("span", "measured", "badge measured"));
  if (part.parent_suspect && part.parent !== null) found.push(make("span", "doubts its parent", "badge unsure"));
  if (edits.has(part.part)) {
    found.push(make("span", "edited", "badge hand"));
    const undo = make("button", "Undo", "undo");
    undo.type = "button";
    found.push(undo);
  } else if (part.source === "user") found.push(make("span", "by hand", "badge hand"));
  return found;
}

function sureness(part) {
  if (isByHand(part) || isMeasured(part) || part.status !== "named") return [];
  const bar = make("span", "", "bar");
  bar.style.setProperty("--share", `${100 * part.confidence}%`);
  const value = make("span", part.confidence.toFixed(2), "value");
  value.title = "confidence";
  return [value, bar];
}

function fold(part, folded) {
  const button = part.element.querySelector(".fold");
  part.element.classList.toggle("folded", folded && part.inside.length > 0);
  button.hidden = !part.inside.length;
  button.setAttribute("aria-expanded", String(!part.element.classList.contains("folded")));
  button.setAttribute("aria-label", `The ${part.inside.length} parts of part ${part.part}`);
}

/** The pictures of a part are decoded when it is first opened: hundreds at once would hold up the page. */
function unpack(part) {
  const box = part.element.querySelector(".pictures");
  if (!box.hasChildNodes()) box.append(...part.pictures.map((url, k) => pictureButton(part, url, k)));
}

function open(part, opened) {
  unpack(part);
  part.element.classList.toggle("open", opened);
  part.element.querySelector(".name").setAttribute("aria-expanded", String(opened));
}
