// The files of the session as a list: status and outcome of each, up and down by keyboard, CSV.

import { csv } from "./csv.js";
import { $, element } from "./dom.js";
import { digits } from "./score.js";
import { STATES } from "./session.js";

const rows = new Map(); // entry -> its line, which stays the same element while a screen reader stands on it

export function start(session) {
  $("list").addEventListener("keydown", (event) => {
    const step = { ArrowUp: -1, ArrowDown: 1, Home: -Infinity, End: Infinity }[event.key];
    if (!step) return;
    event.preventDefault();
    session.move(step);
  });
  $("csv").addEventListener("click", () => save(csv(session.entries)));
  $("clear").addEventListener("click", () => session.clear());
}

export function draw(session) {
  const { entries, selected } = session;
  for (const id of ["list", "list-buttons"]) $(id).hidden = !entries.length;
  $("list-caution").textContent = entries.find(({ answer }) => answer)?.answer.notice ?? "";
  for (const [entry, row] of rows) {
    if (!entries.includes(entry)) {
      row.remove();
      rows.delete(entry);
    }
  }
  for (const entry of entries) {
    const row = rows.get(entry) ?? add(session, entry);
    row.setAttribute("aria-selected", String(entry === selected));
    row.dataset.state = entry.state;
    const told = status(entry);
    if (row.lastChild.textContent !== told) row.lastChild.textContent = told;
  }
  const row = rows.get(selected);
  if (row && $("list").getAttribute("aria-activedescendant") !== row.id) {
    $("list").setAttribute("aria-activedescendant", row.id);
    row.scrollIntoView({ block: "nearest" });
  }
}

/** What became of a file, in a few words. */
export function status({ state, answer, problem, sent }) {
  if (state === "sending" && sent) return `${STATES.sending}, ${Math.round(100 * sent)} % of the file`;
  if (state === "failed") return `${STATES.failed}: ${problem.message}`;
  if (state !== "answered") return STATES[state];
  const warned = answer.warnings.length ? `warnings: ${answer.warnings.length}; ` : "";
  return `${warned}${answer.outcome}, score ${digits(answer.score, answer.thresholds)}`;
}

let count = 0;

function add(session, entry) {
  const row = element("li", "");
  row.id = `image-${count += 1}`;
  row.setAttribute("role", "option");
  row.append(element("span", entry.name, "file"), element("span", ""));
  row.addEventListener("click", () => session.select(entry));
  rows.set(entry, row);
  $("list").append(row);
  return row;
}

function save(text) {
  const link = element("a", "");
  link.href = URL.createObjectURL(new Blob([text], { type: "text/csv" }));
  link.download = `radiographs-${new Date().toISOString().slice(0, 10)}.csv`;
  link.click();
  URL.revokeObjectURL(link.href);
}
