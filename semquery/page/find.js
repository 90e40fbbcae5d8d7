// Search and filters: parts that fit stay, with their ancestors around them; the rest is hidden.

const wanted = new Set();  // of "failed", "unsure", "hand"; none = all parts
const fits = { failed: isFailed, unsure: isUnsure, hand: isByHand };
const wordsInput = document.getElementById("words"), unsureInput = document.getElementById("unsure");
let foldedBefore = null;  // which parts were folded before a search unfolded them

const escaped = (text) => text.replace(/[.*+?^${}()|[\]\\\/]/g, "\\$&");
const wordsOf = (text) => text.split(/\s+/u).filter(Boolean);
const textsOf = (part) => [part.name, ...part.synonyms, part.function, part.thinking, isFailed(part) ? part.reason : ""];

/** Whether every word occurs in something that is said of the part. */
function isFound(part, patterns) {
  const texts = textsOf(said(part));
  return patterns.every((pattern) => texts.some((text) => pattern.test(text)));
}

function apply() {
  const words = wordsOf(wordsInput.value), patterns = words.map((word) => new RegExp(escaped(word), "iu"));
  look.words = words.length ? new RegExp(words.map(escaped).sort((a, b) => b.length - a.length).join("|"), "giu") : null;
  look.unsure = Number(unsureInput.value);
  const hits = facts.parts.filter((part) => (!wanted.size || [...wanted].some((name) => fits[name](part))) && isFound(part, patterns));
  reveal(hits, words.length > 0 || wanted.size > 0);
  facts.parts.forEach(paint);
  tell(hits.length);
}

/** Show the hits and what leads to them; unfold that while a search lasts, and fold it again afterwards. */
function reveal(hits, narrowed) {
  const found = new Set(hits), around = new Set();
  for (const part of hits)
    for (let above = partOf.get(part.parent); above && !around.has(above); above = partOf.get(above.parent)) around.add(above);
  if (narrowed && !foldedBefore) foldedBefore = new Set(facts.parts.filter((part) => part.element.classList.contains("folded")));
  for (const part of facts.parts) {
    part.element.hidden = !found.has(part) && !around.has(part);
    part.element.classList.toggle("context", !found.has(part));
    if (narrowed && around.has(part)) fold(part, false);
    else if (!narrowed && foldedBefore) fold(part, foldedBefore.has(part));
    revealThinking(part, found.has(part));
  }
  if (!narrowed) foldedBefore = null;
}

/** Where only the thoughts hold a word that is looked for, they have to be seen. */
function revealThinking(part, isHit) {
  const holds = (text) => look.words !== null && text.search(look.words) >= 0;
  const { name, synonyms, function: purpose } = said(part);
  const hidden = isHit && holds(part.thinking) && ![name, purpose, ...synonyms].some(holds);
  if (hidden) unpack(part), part.element.querySelector(".thinking").open = true;
  else if (part.element.classList.contains("found")) part.element.querySelector(".thinking").open = false;
  part.element.classList.toggle("found", hidden);
}

function tell(numHits) {
  const all = facts.parts.length, narrowed = wordsInput.value.trim() || wanted.size;
  document.getElementById("count").textContent = narrowed ? `${number(numHits)} of ${number(all)} parts` : `${number(all)} parts`;
  document.getElementById("nothing").hidden = numHits > 0;
  document.getElementById("below").textContent = look.unsure.toFixed(2);
  for (const button of document.querySelectorAll("[data-filter]")) {
    button.querySelector("b").textContent = number(facts.parts.filter(fits[button.dataset.filter]).length);
    button.setAttribute("aria-pressed", String(wanted.has(button.dataset.filter)));
  }
  for (const bar of document.getElementById("histogram").children) bar.classList.toggle("low", Number(bar.dataset.to) <= look.unsure + 1e-9);
}

/** How many names have which confidence, above the slider. */
function drawHistogram() {
  const counts = Array(20).fill(0), judged = facts.parts.filter((part) => part.status === "named" && part.source === "vlm");
  document.querySelector(".threshold").hidden = !judged.length;
  for (const part of judged) counts[Math.min(19, Math.floor(part.confidence * 20 + 1e-9))] += 1;
  document.getElementById("histogram").replaceChildren(...counts.map((count, k) => {
    const bar = make("span");
    bar.dataset.to = (k + 1) / 20;
    bar.style.setProperty("--share", `${100 * Math.sqrt(count / Math.max(1, ...counts))}%`);  // a root, so that single parts are seen
    return bar;
  }));
}

function showAll() {
  wordsInput.value = "";
  wanted.clear();
  apply();
}
