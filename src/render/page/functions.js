// The table of functions: sorted and filtered, and only as many rows as somebody looks at. Invariant: a row's figures
// are those of the data, and the filter sees whole names.
const ROWS = 60;
const functions = { sort: -1, falling: true, filter: "", shown: ROWS, chosen: [], most: null };

/** A cost as a number: 0 where nothing was seen or measured. */
const known = (cost) => (typeof cost === "number" ? cost : Array.isArray(cost) ? cost[0] : 0);

/** A cost as text, and what is known of its precision. Where nothing was seen the text says below what it is. */
function costWords(cost) {
  if (cost === null) return ["not measured", ""];
  if (typeof cost === "string") return [cost, "no sample; the upper end of the 95 % interval"];
  const [value, half] = Array.isArray(cost) ? cost : [cost, null];
  return [significant(value), half === null ? "no interval" : `±${significant(half)}, 95 %`];
}

/** Growth as text, and what it means. */
function growthWords([, , , , growth, half, beyondChance]) {
  if (growth === null) return ["not measured", ""];
  const words = (growth > 0 ? "+" : "") + significant(growth);
  const meaning = beyondChance ? "95 %" : half === null ? "no interval, so it may be chance" : "not beyond chance, 95 %";
  return [half === null ? words : `${words} ±${significant(half)}`, meaning];
}

/** A cell whose tip is also read aloud. */
function figureCell(names, [words, tip]) {
  const cell = element("td", tip ? { class: names, title: tip } : { class: names }, words);
  if (tip) cell.append(element("span", { class: "heard" }, ` (${tip})`));
  return cell;
}

/** Value of a row in a column: -1 is the last level's cost, -2 the growth, -3 the name, others a level's cost. */
function sortValue(row, column) {
  if (column === -3) return row[0].toLowerCase();
  if (column === -2) return row[4] === null ? -Infinity : row[4];
  return known(row[3].at(column));
}

/** The rows that match, in their order. */
function chosenFunctions() {
  const wanted = functions.filter.toLowerCase();
  const matches = (row) => !wanted || row[0].toLowerCase().includes(wanted) || row[1].toLowerCase().includes(wanted);
  const rows = data.functions.rows.filter(matches);
  const sign = functions.falling ? -1 : 1;
  const keyed = rows.map((row) => [sortValue(row, functions.sort), row]);
  keyed.sort(([a], [b]) => (a < b ? -sign : a > b ? sign : 0));
  return keyed.map(([, row]) => row);
}

function headCell(words, column, number) {
  // On a narrow screen the unit stands once, beside the name.
  const unit = [" ", element("span", { class: "unit" }, data.functions.unit)];
  const attributes = { type: "button", "data-sort": column, class: number ? "number" : "" };
  const button = element("button", attributes, words, ...unit);
  const cell = element("th", { scope: "col", class: number ? "number" : "words" }, button);
  const own = functions.sort === column || (functions.sort === -1 && column === data.functions.levels.length - 1);
  if (own) cell.setAttribute("aria-sort", functions.falling ? "descending" : "ascending");
  return cell;
}

function functionRow(row, most) {
  const [shown, full, module, costs, , , beyondChance] = row;
  const name = element("button", { type: "button", class: "name", "data-find": full || shown }, shown);
  const cells = [element("th", { scope: "row", title: `${full || shown}\n${module}` }, name)];
  costs.forEach((cost, at) => {
    const cell = figureCell("number cost", costWords(cost));
    cell.style.setProperty("--heat", String(Math.round(60 * Math.sqrt(known(cost) / most[at]))));
    cells.push(cell);
  });
  if (costs.length > 1) cells.push(figureCell(beyondChance ? "number" : "number muted", growthWords(row)));
  return element("tr", {}, ...cells);
}

function showFunctions() {
  const table = byId("functions-table");
  if (!table) return;
  const { levels } = data.functions;
  functions.chosen = chosenFunctions();
  const head = element("tr", {}, headCell("function", -3, false));
  levels.forEach((level, at) => head.append(headCell(`at ${level}`, at, true)));
  if (levels.length > 1) head.append(headCell("grew", -2, true));
  table.replaceChildren(element("thead", {}, head), element("tbody", {}));
  addRows(0);
}

/** Adds the rows from one number on; those before it stay as they are. */
function addRows(from) {
  const { levels, rows } = data.functions;
  const { chosen, shown } = functions;
  functions.most ||= levels.map((_, at) => Math.max(...rows.map((row) => known(row[3][at])), 1e-9));
  const added = chosen.slice(from, shown).map((row) => functionRow(row, functions.most));
  byId("functions-table").tBodies[0].append(...added);
  byId("functions-count").textContent = `${whole(chosen.length)} of ${counted(rows.length, "function")}`;
  const there = whole(Math.min(shown, chosen.length));
  byId("functions-paper").textContent = `Shown are ${there} of ${counted(rows.length, "function")}.`;
  byId("functions-more").hidden = chosen.length <= shown;
}

/** Shows what has these words in its name. */
function filterFunctions(words) {
  byId("functions-filter").value = words;
  Object.assign(functions, { filter: words, shown: ROWS });
  showFunctions();
}

addEventListener("DOMContentLoaded", () => {
  if (!byId("functions-table")) return;
  showFunctions();
  byId("functions-filter").addEventListener("input", (event) => filterFunctions(event.target.value));
  byId("functions-more").addEventListener("click", () => {
    functions.shown += ROWS;
    addRows(functions.shown - ROWS);
  });
  byId("functions-table").addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (!button) return;
    if (button.dataset.find) {
      searchFlames(button.dataset.find);
      location.hash = "flames";
      return;
    }
    const column = Number(button.dataset.sort);
    const again = functions.sort === column || (functions.sort === -1 && column === data.functions.levels.length - 1);
    functions.falling = again ? !functions.falling : column !== -3;
    functions.sort = column;
    showFunctions();
    byId("functions-table").querySelector(`button[data-sort="${column}"]`).focus();
  });
});
