// Flamegraphs: the chosen picture is drawn from numbers, the others are not in the page. Invariant: a box's width is
// its share of what is zoomed to; a name is text.
const ROW = 18;
const NARROWEST = 0.0008;
const KINDS = ["user", "kernel", "marker", "ender"];
const flame = { level: 0, picture: null, boxes: [], zoom: 0, search: "", at: 0 };

/** The picture of the chosen level and kind; null: this level has none. */
function chosenPicture() {
  const what = byId("flame-kind").value;
  const same = data.flames.pictures.filter((picture) => picture.what === what);
  return same.find((picture) => picture.level === flame.level) || null;
}

/** The pictures of the chosen kind at the other levels. */
function otherLevels() {
  const what = byId("flame-kind").value;
  return data.flames.pictures.filter((picture) => picture.what === what && picture.level !== flame.level);
}

/** The numbers as boxes: depth, start, width, label, samples, and the index of the box that it stands on. */
function boxesOf(picture) {
  const boxes = [];
  const open = [];
  let start = 0;
  for (let at = 0; at < picture.boxes.length; at += 5) {
    const [depth, after, width, label, samples] = picture.boxes.slice(at, at + 5);
    start += after;
    open.length = depth;
    open[depth] = boxes.length;
    boxes.push({ depth, start, width, label, samples, parent: depth ? open[depth - 1] : -1 });
  }
  return boxes;
}

function labelOf(box) {
  if (!box.label) return { shown: "all", full: "all", module: "", kind: 2 };
  const [shown, full, module, kind] = data.flames.labels[box.label - 1];
  return { shown, full: full || shown, module: data.flames.modules[module], kind };
}

function costOf(box) {
  const { factor, unit } = flame.picture;
  const share = significant((100 * box.width) / flame.boxes[0].width);
  const samples = box.samples < 0 ? "" : `, ${counted(box.samples, "sample")}`;
  return `${significant(box.width * factor)} ${unit}, ${share} %${samples}`;
}

function describe(box) {
  const { shown, full, module } = labelOf(box);
  return [shown, costOf(box), full === shown ? "" : full, module].filter(Boolean).join("\n");
}

function isFound(box) {
  const wanted = flame.search.toLowerCase();
  if (!wanted || !box.label) return false;
  const { shown, full } = labelOf(box);
  return shown.toLowerCase().includes(wanted) || full.toLowerCase().includes(wanted);
}

/** Whether a box is the zoomed one, is under it, or carries it. */
function placeOf(box, zoomed) {
  if (box.start >= zoomed.start && box.start + box.width <= zoomed.start + zoomed.width && box.depth >= zoomed.depth) {
    return { left: (box.start - zoomed.start) / zoomed.width, width: box.width / zoomed.width, above: false };
  }
  const carries = box.depth < zoomed.depth && box.start <= zoomed.start
    && box.start + box.width >= zoomed.start + zoomed.width;
  return carries ? { left: 0, width: 1, above: true } : null;
}

const toneOf = (box) => `${KINDS[labelOf(box).kind]} tone-${box.label % 3}`;

/** Puts a box's element where it belongs, with its name where there is room. */
function placed(frame, box, left, width) {
  frame.style.left = `${100 * left}%`;
  frame.style.width = `${100 * width}%`;
  frame.style.top = `${box.depth * ROW}px`;
  if (width > 0.015) frame.textContent = labelOf(box).shown;
  return frame;
}

function frameOf(box, at, place) {
  const names = ["frame", toneOf(box), place.above ? "above" : "", isFound(box) ? "found" : ""];
  const frame = element("button", { type: "button", tabindex: "-1", class: names.join(" ").trim(), "data-at": at });
  frame.setAttribute("aria-label", `${labelOf(box).shown}, ${costOf(box)}`);
  return placed(frame, box, place.left, place.width);
}

function drawFlame() {
  const box = byId("flame");
  if (!box) return;
  hideTip();
  if (!flame.picture) {
    byId("flame-title").textContent = "This level has no such picture: nothing was sampled in it.";
    byId("flame-notes").textContent = "";
    box.replaceChildren();
    box.style.height = "";
    return;
  }
  const zoomed = flame.boxes[flame.zoom];
  const frames = [];
  let depth = 0;
  flame.boxes.forEach((each, at) => {
    const place = placeOf(each, zoomed);
    if (!place || place.width < NARROWEST) return;
    depth = Math.max(depth, each.depth + 1);
    frames.push(frameOf(each, at, place));
  });
  box.style.height = `${depth * ROW}px`;
  box.replaceChildren(...frames);
  byId("flame-title").textContent = flame.picture.title;
  byId("flame-notes").textContent = flame.picture.notes.join(". ");
  pointAt(flame.zoom, false);
  tellFound();
}

/** How much of the picture the search found; a frame under one that was found counts with it. */
function tellFound() {
  let [count, width, until] = [0, 0, -1];
  for (const box of flame.boxes) {
    if (!isFound(box)) continue;
    count += 1;
    if (box.start >= until) {
      width += box.width;
      until = box.start + box.width;
    }
  }
  const share = flame.boxes.length ? significant((100 * width) / flame.boxes[0].width) : "0";
  byId("flame-found").textContent = flame.search ? `${counted(count, "frame")}, ${share} %` : "";
}

function choosePicture() {
  if (!byId("flame-kind")) return;
  flame.picture = chosenPicture();
  flame.boxes = flame.picture ? boxesOf(flame.picture) : [];
  flame.zoom = 0;
  drawFlame();
}

/** Another kind of picture, as if it were chosen by hand. */
function chooseKind(kind) {
  byId("flame-kind").value = kind;
  choosePicture();
}

function zoomTo(at) {
  flame.zoom = at;
  drawFlame();
  frameAt(at)?.focus({ preventScroll: true });
}

/** Marks what has these words in its name. */
function searchFlames(words) {
  if (!byId("flame-search")) return;
  byId("flame-search").value = words;
  flame.search = words;
  for (const frame of byId("flame").children) {
    frame.classList.toggle("found", isFound(flame.boxes[Number(frame.dataset.at)]));
  }
  tellFound();
}

const frameAt = (at) => byId("flame").querySelector(`[data-at="${at}"]`);

/** The one frame that Tab leads to. */
function pointAt(at, focus) {
  frameAt(flame.at)?.setAttribute("tabindex", "-1");
  const frame = frameAt(at);
  if (!frame) return;
  flame.at = at;
  frame.setAttribute("tabindex", "0");
  if (focus) frame.focus();
}

/** The frame that an arrow key leads to. */
function neighbour(key) {
  const own = flame.boxes[flame.at];
  const shown = [...byId("flame").children].map((frame) => Number(frame.dataset.at));
  const box = (at) => flame.boxes[at];
  if (key === "ArrowUp") return own.parent;
  if (key === "ArrowDown") return shown.find((at) => box(at).parent === flame.at);
  const row = shown.filter((at) => box(at).depth === own.depth);
  return row[row.indexOf(flame.at) + (key === "ArrowRight" ? 1 : -1)];
}

function hideTip() {
  document.querySelector(".tip")?.remove();
}

function showTip(frame) {
  hideTip();
  const tip = element("div", { class: "tip", role: "tooltip" }, describe(flame.boxes[Number(frame.dataset.at)]));
  document.body.append(tip);
  const [box, room] = [frame.getBoundingClientRect(), document.documentElement.clientWidth];
  tip.style.left = `${scrollX + Math.max(8, Math.min(box.left, room - tip.offsetWidth - 8))}px`;
  tip.style.top = `${scrollY + box.bottom + 6}px`;
}

function followPointer(box) {
  const frame = (event) => event.target.closest("button[data-at]");
  box.addEventListener("click", (event) => frame(event) && zoomTo(Number(frame(event).dataset.at)));
  box.addEventListener("mouseover", (event) => frame(event) && showTip(frame(event)));
  box.addEventListener("focusin", (event) => frame(event) && showTip(frame(event)));
  box.addEventListener("mouseleave", hideTip);
  box.addEventListener("focusout", hideTip);
  box.addEventListener("keydown", (event) => {
    if (event.key === "Escape") zoomTo(0);
    if (!event.key.startsWith("Arrow")) return;
    event.preventDefault();
    const next = neighbour(event.key);
    if (next >= 0) pointAt(next, true);
  });
}

onLevel.push((level) => {
  flame.level = level;
  choosePicture();
});
addEventListener("DOMContentLoaded", () => {
  if (!byId("flame")) return;
  byId("flame-kind").addEventListener("change", choosePicture);
  byId("flame-search").addEventListener("input", (event) => searchFlames(event.target.value));
  byId("flame-reset").addEventListener("click", () => zoomTo(0));
  followPointer(byId("flame"));
});
