// Edits: made in place, kept by this browser for this part tree, handed over as edits.json.

const drawer = `semquery-report ${facts.run.identity}`;  // another tree has other part numbers, and so other edits
const oneLine = (text) => text.replace(/\s+/gu, " ").trim();
const sameAs = (part, edit) => part.name === edit.name && part.function === edit.function && part.synonyms.join("\n") === edit.synonyms.join("\n");

/** What was kept, if it can be read; other pages on this disk may write into the same drawer. */
function load() {
  let kept = {};
  try { kept = JSON.parse(localStorage.getItem(drawer)) || {}; } catch { return; }
  const isText = (value) => typeof value === "string";
  for (const [key, edit] of Object.entries(kept)) {
    const part = partOf.get(Number(key));
    const whole = edit && isText(edit.name) && oneLine(edit.name) && isText(edit.function) && Array.isArray(edit.synonyms) && edit.synonyms.every(isText);
    if (part && whole && !sameAs(part, edit)) edits.set(part.part, { name: edit.name, synonyms: edit.synonyms, function: edit.function });
  }
}

function keep() {
  try {
    if (edits.size) localStorage.setItem(drawer, JSON.stringify(Object.fromEntries(edits)));
    else localStorage.removeItem(drawer);
  } catch {
    announce("This browser keeps nothing for this page: download the edits before you close it.");
  }
}

function announce(text) {
  document.getElementById("told").textContent = text;
}

function change(part, edit) {
  if (!edit || sameAs(part, edit)) edits.delete(part.part);
  else edits.set(part.part, edit);
  announce("");
  keep();
  apply();
  listEdits();
}

const describing = ["synonyms", "function"];  // fields of a form that say what a name means
const fieldsOf = (edit) => ({ name: edit.name, synonyms: edit.synonyms.join("\n"), function: edit.function });

const formOf = (part) => part.element.querySelector(":scope > .form");

/** A form of its own for each part being edited; one for every part from the beginning would hold up a browser for many seconds. */
function startEdit(part) {
  const now = said(part), form = formOf(part) || document.getElementById("form").content.firstElementChild.cloneNode(true);
  part.element.querySelector(".row").after(form);
  for (const [name, value] of Object.entries(fieldsOf(now))) form.elements[name].value = value;
  for (const name of describing) delete form.elements[name].dataset.own;
  form.querySelector(".wrong").textContent = "";
  form.querySelector(".old").hidden = true;
  form.elements.name.focus();
  form.elements.name.select();
}

/** With a new name the old one's synonyms and purpose go, and come back with it; not those that were typed or kept. */
function onInput(part, field) {
  const form = formOf(part), old = fieldsOf(said(part));
  form.querySelector(".wrong").textContent = "";
  if (field.name !== "name") field.dataset.own = "";
  const renamed = oneLine(form.elements.name.value) !== old.name, left = describing.filter((name) => !("own" in form.elements[name].dataset));
  for (const name of left) form.elements[name].value = renamed ? "" : old[name];
  form.querySelector(".old").hidden = !renamed || !left.some((name) => old[name]);
}

function restore(part) {
  const form = formOf(part), old = fieldsOf(said(part));
  for (const name of describing.filter((name) => !("own" in form.elements[name].dataset))) {
    form.elements[name].value = old[name];
    form.elements[name].dataset.own = "";
  }
  form.querySelector(".old").hidden = true;
  form.elements.name.focus();
}

function endEdit(part) {
  formOf(part).remove();
  part.element.querySelector(".edit").focus();
}

function submitEdit(part) {
  const { name, synonyms, function: purpose } = formOf(part).elements;
  if (!oneLine(name.value)) {
    formOf(part).querySelector(".wrong").textContent = "A part needs a name.";
    return void name.focus();
  }
  change(part, { name: oneLine(name.value), synonyms: synonyms.value.split("\n").map(oneLine).filter(Boolean), function: oneLine(purpose.value) });
  endEdit(part);
}

function listEdits() {
  const list = [...edits.keys()].sort((a, b) => a - b).map((key) => {
    const row = make("li"), was = make("del"), now = make("bdi", edits.get(key).name);
    const there = make("button", key, "number"), undo = make("button", "Undo", "undo");
    was.append(make("bdi", partOf.get(key).name || `part ${key}`));
    there.type = undo.type = "button";
    row.dataset.part = key;
    there.setAttribute("aria-label", `Show part ${key}`);
    undo.setAttribute("aria-label", `Undo the edit of part ${key}`);
    row.append(there, was, now, undo);
    return row;
  });
  document.getElementById("edits").replaceChildren(...list);
  document.getElementById("num-edits").textContent = edits.size || "";
  document.getElementById("no-edits").hidden = edits.size > 0;
  for (const element of document.querySelectorAll(".edits .actions, .edits .hint")) element.hidden = !edits.size;
}

const editsJson = () => JSON.stringify({ format: 1, edits: Object.fromEntries(edits) }, null, 1) + "\n";

function download() {
  const link = make("a"), url = URL.createObjectURL(new Blob([editsJson()], { type: "application/json" }));
  link.href = url;
  link.download = "edits.json";
  link.click();
  setTimeout(() => URL.revokeObjectURL(url), 10000);
  announce("Downloaded.");
}

async function copy() {
  try {
    await navigator.clipboard.writeText(editsJson());
    announce("Copied.");
  } catch {
    announce("This browser does not let the page copy; use the download.");
  }
}
