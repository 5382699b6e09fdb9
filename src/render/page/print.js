// The page on paper, which has no switches: what is closed is opened, and every level has its flamegraph of the chosen
// kind. Invariant: afterwards the screen is as it was.
const paper = { opened: [] };

function layOut() {
  if (paper.opened.length) return;
  paper.opened = [...document.querySelectorAll("details:not([open])")];
  for (const closed of paper.opened) closed.open = true;
  if (byId("flame")) byId("flame-paper").replaceChildren(...otherLevels().flatMap(pictureOnPaper));
}

function takeBack() {
  for (const opened of paper.opened) opened.open = false;
  paper.opened = [];
  byId("flame-paper")?.replaceChildren();
}

/** A picture that nobody can choose in: its title, its boxes and its notes. */
function pictureOnPaper(picture) {
  const boxes = boxesOf(picture);
  const frames = [];
  let depth = 0;
  boxes.forEach((box) => {
    const width = box.width / boxes[0].width;
    if (width < NARROWEST) return;
    depth = Math.max(depth, box.depth + 1);
    frames.push(placed(element("div", { class: `frame ${toneOf(box)}` }), box, box.start / boxes[0].width, width));
  });
  const drawn = element("div", { class: "flame", role: "img", "aria-label": picture.title }, ...frames);
  drawn.style.height = `${depth * ROW}px`;
  const notes = element("p", { class: "note" }, picture.notes.join(". "));
  return [element("p", { class: "flame-title" }, picture.title), drawn, notes];
}

addEventListener("beforeprint", layOut);
addEventListener("afterprint", takeBack);
matchMedia("print").addEventListener("change", (media) => (media.matches ? layOut() : takeBack()));
