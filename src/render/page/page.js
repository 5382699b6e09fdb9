// What the page does besides showing itself: levels, links to what is closed, figures as text. Invariant: names and
// other words of a run reach the page as text only, never as markup.
"use strict";
const data = JSON.parse(document.getElementById("data").textContent);
const byId = (id) => document.getElementById(id);

/** By decimals; making one takes as long as a hundred uses of it. */
const formats = Array.from({ length: 7 }, (_, decimals) =>
  new Intl.NumberFormat("en-US", { minimumFractionDigits: decimals, maximumFractionDigits: decimals }));
const whole = (count) => formats[0].format(count);

/** Three significant digits, as the rest of the page has them. */
function significant(value) {
  if (value === 0) return "0";
  const decimals = Math.min(6, Math.max(0, 2 - Math.floor(Math.log10(Math.abs(value) * 1.0005))));
  return formats[decimals].format(value);
}

/** A count with what is counted. */
const counted = (count, one) => `${whole(count)} ${one}${count === 1 ? "" : "s"}`;

/** An element with text and children. */
function element(name, attributes, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes || {})) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

/** Who is told when another level is chosen. */
const onLevel = [];

/** Shows what belongs to a level, and hides what belongs to others. */
function chooseLevel(level) {
  for (const button of document.querySelectorAll("button[data-level]")) {
    button.setAttribute("aria-pressed", String(button.dataset.level === level));
  }
  for (const panel of document.querySelectorAll("[data-level-panel]")) {
    panel.hidden = panel.dataset.levelPanel !== level;
  }
  for (const told of onLevel) told(Number(level));
}

/** Opens what is closed around the place that a link leads to. */
function openAround(id) {
  for (let at = byId(id); at; at = at.parentElement) if (at.tagName === "DETAILS") at.open = true;
}

document.addEventListener("click", (event) => {
  const button = event.target.closest("button[data-level]");
  if (button) chooseLevel(button.dataset.level);
  const link = event.target.closest("a[href^='#']");
  if (!link) return;
  const { goLevel, kind, find, filter } = link.dataset;
  if (goLevel && document.querySelector(`button[data-level="${Number(goLevel)}"]`)) chooseLevel(goLevel);
  if (kind) chooseKind(kind);
  if (find !== undefined) searchFlames(find);
  if (filter) filterFunctions(filter);
  let id = link.hash.slice(1);
  // A run may lack the table that would show it; the part that it belongs to is there.
  if (!byId(id)) {
    event.preventDefault();
    id = id === "table-costs" ? "speed" : id === "table-waits" || id === "hands" ? "where" : "measured";
    location.hash = id;
  }
  openAround(id);
});
addEventListener("hashchange", () => openAround(location.hash.slice(1)));

addEventListener("DOMContentLoaded", () => {
  const levels = [...document.querySelectorAll("button[data-level]")].map((button) => Number(button.dataset.level));
  if (levels.length) chooseLevel(String(Math.max(...levels)));
  openAround(location.hash.slice(1));
});
