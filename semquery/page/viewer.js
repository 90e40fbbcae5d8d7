// One picture, large; arrow keys go on to the others of the same part.

const viewer = document.getElementById("viewer");
let shown = null;  // { part, k }, or null for a picture that belongs to no part

function enlarge(part, k) {
  shown = { part, k };
  const count = part.pictures.length, which = count > 1 ? `, ${k + 1} of ${count} (← →)` : "";
  present(part.pictures[k], said(part).name || `part ${part.part}`, `what the model saw${which}`);
}

function present(url, name, remark) {
  viewer.querySelector("img").src = url;
  viewer.querySelector("bdi").textContent = name;
  viewer.querySelector("span").textContent = remark;
  viewer.classList.toggle("wide", !shown);
  if (!viewer.open) viewer.showModal();
}

viewer.addEventListener("keydown", (event) => {
  const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
  if (!step || !shown) return;
  const count = shown.part.pictures.length;
  enlarge(shown.part, (shown.k + step + count) % count);
});
viewer.addEventListener("click", (event) => { if (event.target === viewer) viewer.close(); });  // beside the picture
viewer.addEventListener("close", () => { shown = null; });
