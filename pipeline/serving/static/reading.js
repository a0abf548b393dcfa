// The file that is shown. It is cleared first and drawn in one go: nothing of two files is ever on the page at once.

import { $, describe, element } from "./dom.js";
import * as map from "./map.js";
import { threshold } from "./model.js";
import * as score from "./score.js";
import * as sheet from "./sheet.js";
import { STATES } from "./session.js";
import { status } from "./list.js";
import { Viewer } from "./viewer.js";

const viewer = new Viewer($("stage"), $("canvas"), ({ width, level }) => {
  $("width").value = width;
  $("level").value = level;
});
let shown = {}; // the file on the page, the state it was drawn in, its image and the champion's contract
let turn = 0;

export function start() {
  $("zoom-in").addEventListener("click", () => viewer.zoom(1.25));
  $("zoom-out").addEventListener("click", () => viewer.zoom(0.8));
  $("reset").addEventListener("click", () => viewer.reset());
  for (const name of ["width", "level"]) $(name).addEventListener("input", () => viewer.set({ [name]: Number($(name).value) }));
  for (const name of ["map-on", "opacity"]) $(name).addEventListener("input", drawMap);
  $("print").addEventListener("click", () => print());
  addEventListener("beforeprint", drawSheet);
}

/** Show an entry of the session, or null; `cardOf(version)` gives that version's contract, or null. */
export async function draw(entry, cardOf) {
  if (entry === shown.entry && entry?.state === shown.state) return;
  const mine = ++turn;
  clear(entry);
  if (!entry?.image) return settle(entry, null, null);
  const [bitmap, card] = await Promise.all([
    createImageBitmap(entry.image).catch(() => null),
    entry.answer ? cardOf(entry.answer.model_version) : null,
  ]);
  return mine === turn ? settle(entry, bitmap, card) : undefined;
}

/** How far the file on the page has been sent. */
export function progress(entry) {
  if (!entry) return;
  $("progress").hidden = !["waiting", "sending", "reading"].includes(entry.state);
  if (entry.state === "sending" && entry.sent) $("progress").value = entry.sent;
  else $("progress").removeAttribute("value");
}

function clear(entry) {
  shown = { entry, state: entry?.state };
  for (const id of ["answer", "radiograph", "problem", "progress"]) $(id).hidden = true;
  viewer.show(null);
  for (const id of ["outcome", "caution", "score", "calibration", "problem-detail"]) $(id).textContent = "";
  for (const id of ["warning-list", "details", "scale"]) $(id).replaceChildren();
  $("name").textContent = entry?.name ?? "No image yet";
  const waits = entry && ["waiting", "sending", "reading"].includes(entry.state);
  $("state").classList.remove("unseen");
  $("state").textContent = entry ? (waits ? STATES[entry.state] : "") : "Choose radiographs, or drop them anywhere on this page.";
}

function settle(entry, bitmap, card) {
  if (!entry) return;
  Object.assign(shown, { bitmap, card });
  if (bitmap) {
    viewer.show(bitmap, entry.name);
    $("radiograph").hidden = false;
    viewer.draw();
  }
  if (entry.answer) drawAnswer(entry, bitmap, card);
  else if (entry.problem) drawProblem(entry);
  drawMapSwitch(entry, card);
}

function drawAnswer(entry, bitmap, card) {
  const { answer } = entry;
  const warnings = [...answer.warnings, ...(bitmap ? [] : [`the image cannot be shown: ${entry.imageProblem ?? "it cannot be decoded"}`])];
  $("state").textContent = status(entry); // for a screen reader; to the eye the warnings come first
  $("state").classList.add("unseen");
  $("warnings").hidden = !warnings.length;
  $("warning-list").replaceChildren(...warnings.map((warning) => element("li", warning)));
  $("outcome").textContent = answer.outcome;
  $("outcome").dataset.outcome = answer.outcome.split(" ")[0].replace(":", "");
  $("caution").textContent = answer.notice;
  score.draw($("scale"), answer);
  $("score").textContent = score.sentence(answer);
  $("calibration").textContent = card?.calibration ?? "";
  describe($("details"), [
    ["Model", answer.model_version],
    ["Lower threshold", card ? threshold(card.thresholds.lower) : ""],
    ["Upper threshold", card ? threshold(card.thresholds.upper) : ""],
    ["Site profile", answer.profile ?? ""],
    ["Probability at this site", answer.profile ? `${answer.probability.toFixed(3)}, where ${answer.prevalence.toFixed(2)} of the images show pneumonia` : ""],
    ["Answered", `${entry.at.toLocaleString("en-GB")}, in ${answer.milliseconds} ms`],
    ["Computed by", card ? `${card.served.runtime}, ${card.served.precision}` : ""],
  ]);
  $("answer").hidden = false;
}

function drawProblem({ problem, state }) {
  $("problem-title").textContent = state === "rejected" ? "Rejected by the input check" : "No answer";
  $("problem-detail").textContent = problem.message;
  $("again").hidden = !problem.passing;
  $("problem").hidden = false;
}

function drawMapSwitch(entry, card) {
  $("mapping").hidden = !entry.answer;
  $("map-on").checked = false;
  $("border").textContent = map.borderCheck(card);
  drawMap();
}

function drawMap() {
  const evidence = shown.entry?.answer?.map;
  viewer.opacity = Number($("opacity").value) / 100;
  viewer.map = $("map-on").checked && evidence ? evidence : null;
  viewer.draw();
  $("map-controls").hidden = !viewer.map;
  $("opacity-value").textContent = `${$("opacity").value} %`;
  if (!viewer.map) return;
  map.bar($("colours"), viewer.opacity);
  [$("low").textContent, $("high").textContent] = map.ends(evidence.scale);
  $("colours").setAttribute("aria-label", `Colour bar: evidence for pneumonia, ${map.ends(evidence.scale).join(" to ")}, in units of the logit`);
}

function drawSheet() {
  sheet.draw(shown.entry, shown.bitmap, viewer, shown.card);
}
