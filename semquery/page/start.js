// The heading, and what happens on clicks and keys.

const partAt = (element) => partOf.get(Number(element.closest(".part").dataset.part));
const nameButton = (part) => part.element.querySelector(".name");

function figures() {
  const { run, parts } = facts, count = (test) => parts.filter(test).length;
  const rows = [["parts", parts.length], ["named", count((part) => part.status === "named")], ["failed", count((part) => part.status === "failed")],
    ["not named yet", count((part) => part.status === "waiting")], ["by hand", count((part) => part.source === "user")], ["measured", count(isMeasured)], ["calls", run.calls],
    ["seconds a call", Math.round(10 * run.seconds_per_call) / 10], ["prompt tokens", run.prompt_tokens], ["of these cached", run.cached_tokens], ["answer tokens", run.answer_tokens]];
  const always = new Set(["parts", "named", "failed"]);
  return rows.filter(([name, value]) => value || always.has(name)).map(([name, value]) => [name, number(value)]);
}

function furnishHeading() {
  const { run } = facts, made = new Date(run.made.replace(/([+-]\d\d)(\d\d)$/, "$1:$2"));
  const when = isNaN(made) ? "" : made.toLocaleString("en-GB", { dateStyle: "long", timeStyle: "short" });
  const about = [run.model && `named by ${run.model}`, when].filter(Boolean);
  document.getElementById("title").textContent = run.title;
  document.getElementById("about").textContent = about.join(" · ");
  document.getElementById("figures").replaceChildren(...figures().map(pair));
  const levels = document.getElementById("levels");
  levels.hidden = !facts.levels;
  if (facts.levels) levels.querySelector("img").src = facts.levels;
  levels.querySelector("button").addEventListener("click", () => { shown = null; present(facts.levels, "The levels of the tree", ""); });
}

/** How the run is seen in 3D: a command to copy. The link goes to the address that the command opens; nothing is asked of it before. */
function furnishLook() {
  const line = document.getElementById("look"), code = line.querySelector("code"), told = line.querySelector("span");
  line.hidden = !facts.run.view;
  code.textContent = facts.run.view;
  line.querySelector("button").addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(facts.run.view);
      told.textContent = "Copied.";
    } catch {
      getSelection().selectAllChildren(code);
      told.textContent = "Selected: copy it by Ctrl-C.";
    }
  });
}

function onClick(event) {
  const button = event.target.closest("button");
  if (!button || button.disabled) return;
  const part = partAt(button);
  if (button.matches(".fold")) fold(part, !part.element.classList.contains("folded"));
  else if (button.matches(".name")) open(part, !part.element.classList.contains("open"));
  else if (button.matches(".thumb")) enlarge(part, part.pictures.length - 1);
  else if (button.matches("[data-picture]")) enlarge(part, Number(button.dataset.picture));
  else if (button.matches(".edit")) formOf(part) ? endEdit(part) : startEdit(part);
  else if (button.matches(".cancel")) endEdit(part);
  else if (button.matches(".restore")) restore(part);
  else if (button.matches(".undo")) change(part, null), nameButton(part).focus();
}

const seenNames = () => [...tree.querySelectorAll(".name")].filter((button) => button.offsetParent !== null);

function onKey(event) {
  if (event.target.closest(".form")) return void (event.key === "Escape" && endEdit(partAt(event.target)));
  if (event.ctrlKey || event.metaKey || event.altKey || !event.target.closest(".row")) return;
  const part = partAt(event.target), names = seenNames(), at = names.indexOf(nameButton(part));
  const act = {
    ArrowDown: () => names[Math.min(at + 1, names.length - 1)].focus(),
    ArrowUp: () => names[Math.max(at - 1, 0)].focus(),
    ArrowRight: () => part.element.classList.contains("folded") ? fold(part, false) : part.inside.length && names[at + 1]?.focus(),
    ArrowLeft: () => part.inside.length && !part.element.classList.contains("folded") ? fold(part, true)
      : partOf.has(part.parent) && nameButton(partOf.get(part.parent)).focus(),
    Home: () => names[0].focus(),
    End: () => names.at(-1).focus(),
    e: () => startEdit(part),
  }[event.key];
  if (act) event.preventDefault(), act();
}

/** Show a part wherever it is, unfolded and found or not. */
function goTo(part) {
  showAll();
  for (let above = partOf.get(part.parent); above; above = partOf.get(above.parent)) fold(above, false);
  nameButton(part).focus();
  part.element.scrollIntoView({ block: "center" });
}

function listen() {
  tree.addEventListener("click", (event) => { if (event.target.closest(".part")) onClick(event); });
  tree.addEventListener("keydown", (event) => { if (event.target.closest(".part")) onKey(event); });
  tree.addEventListener("input", (event) => { if (event.target.closest(".form")) onInput(partAt(event.target), event.target); });
  tree.addEventListener("submit", (event) => { event.preventDefault(); submitEdit(partAt(event.target)); });
  wordsInput.addEventListener("input", apply);
  unsureInput.addEventListener("input", apply);
  document.querySelector(".filters").addEventListener("click", (event) => {
    const name = event.target.closest("button")?.dataset.filter;
    if (name) wanted.delete(name) || wanted.add(name), apply();
  });
  document.getElementById("clear").addEventListener("click", showAll);
  document.getElementById("unfold").addEventListener("click", () => facts.parts.forEach((part) => fold(part, false)));
  document.getElementById("fold").addEventListener("click", () => facts.parts.forEach((part) => fold(part, part.depth > 0)));
  document.getElementById("download").addEventListener("click", download);
  document.getElementById("copy").addEventListener("click", copy);
  document.getElementById("edits").addEventListener("click", (event) => {
    const button = event.target.closest("button"), part = button && partOf.get(Number(button.closest("li").dataset.part));
    if (part) button.matches(".undo") ? change(part, null) : goTo(part);
  });
  document.addEventListener("keydown", (event) => {
    if (event.key === "/" && !event.target.closest("input, textarea")) event.preventDefault(), wordsInput.focus();
  });
}

build();
load();
unsureInput.value = facts.unsure;
furnishHeading();
furnishLook();
drawHistogram();
listen();
apply();
listEdits();
