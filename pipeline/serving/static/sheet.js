// The page that is printed: image, map, outcome, warnings, version and date of the file that is shown.

import { $, element } from "./dom.js";
import * as map from "./map.js";
import { draw as drawScale, sentence } from "./score.js";
import { STATES } from "./session.js";

const LINE = 80; // characters, about
const lines = (text) => Math.ceil(text.length / LINE);

/** Millimetres that the words leave to the images on one page, of A4 or of US letter. */
const room = (words) => Math.max(30, Math.min(105, 125 - 5 * words.map(lines).reduce((sum, count) => sum + count, 0)));

/** Write the sheet anew; it is on paper alone. `bitmap` is null where the image cannot be shown. */
export function draw(entry, bitmap, viewer, card) {
  const answer = entry?.answer;
  const at = entry?.at?.toLocaleString("en-GB", { dateStyle: "long", timeStyle: "medium" });
  $("sheet-version").textContent = answer ? `Model ${answer.model_version}, ${at}` : new Date().toLocaleString("en-GB");
  $("sheet-name").textContent = entry?.name ?? "No image";
  $("sheet-warnings").replaceChildren(...(answer?.warnings ?? []).map((warning) => element("li", `Warning: ${warning}`)));
  $("sheet-outcome").textContent = answer?.outcome ?? (entry ? `No outcome: ${STATES[entry.state]}` : "");
  $("sheet-caution").textContent = answer?.notice ?? entry?.problem?.message ?? "";
  $("sheet-score").textContent = answer ? sentence(answer) : "";
  $("sheet-scale").hidden = !answer;
  if (answer) drawScale($("sheet-scale"), answer);
  $("sheet-calibration").textContent = answer ? card?.calibration ?? "" : "";
  $("sheet-border").textContent = answer ? map.borderCheck(card) : "";
  $("sheet-images").hidden = !(answer && bitmap);
  if (!answer || !bitmap) return;
  $("sheet-images").style.setProperty("--height", `${room([entry.name, ...answer.warnings])}mm`);
  viewer.copy($("sheet-image"), null);
  viewer.copy($("sheet-map"), answer.map);
  map.bar($("sheet-colours"), viewer.opacity);
  $("sheet-units").textContent = `Map: evidence for pneumonia from ${map.ends(answer.map.scale).join(" to ")}, in units of the logit`;
}
