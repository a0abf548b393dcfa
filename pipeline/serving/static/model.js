// The champion: what it is for, and what was measured of it.

import { $, describe, element } from "./dom.js";

const FIRST = {
  auc: "AUC",
  indeterminate: "Share of indeterminate images",
  sensitivity_at_lower: "Sensitivity, lower threshold",
  specificity_at_lower: "Specificity, lower threshold",
  sensitivity_at_upper: "Sensitivity, upper threshold",
  specificity_at_upper: "Specificity, upper threshold",
  sensitivity_at_sensitive: "Sensitivity, sensitive point",
  specificity_at_sensitive: "Specificity, sensitive point",
  sensitivity_at_specific: "Sensitivity, specific point",
  specificity_at_specific: "Specificity, specific point",
  log_loss_recalibrated: "Log loss",
  brier_recalibrated: "Brier score",
};
const number = (value) => (typeof value === "number" ? value.toFixed(3) : value);
const interval = (found) => (found ? `${number(found.value)} (${number(found.low)} to ${number(found.high)})` : "");

/** A threshold and the criterion that it was fixed by. */
export const threshold = ({ score, criterion }) => `${score.toFixed(3)} (${criterion})`;

export function draw(card) {
  const generated = card.dataset === "phantom" ? ": generated images, not children" : "";
  $("use").textContent = card.intended_use;
  describe($("facts"), [
    ["Version", card.version],
    ["Network", card.network],
    ["Data", `${card.dataset}${generated}, edition ${card.edition}`],
    ["Lower threshold", threshold(card.thresholds.lower)],
    ["Upper threshold", threshold(card.thresholds.upper)],
    ["Calibration", card.calibration],
    ["Computed by", `${card.served.runtime}, ${card.served.precision}`],
    ["Changes", card.changelog.join(" ")],
    ...(card.refused ? [["Refused in its place", `${card.refused.version} ${card.refused.reason}`]] : []),
  ]);
  const names = Object.keys(card.figures.validation);
  const order = [...Object.keys(FIRST).filter((name) => names.includes(name)), ...names.filter((name) => !(name in FIRST))];
  $("figures").tBodies[0].replaceChildren(...order.map((name) => {
    const row = document.createElement("tr");
    const head = element("th", FIRST[name] ?? name.replaceAll("_", " "));
    head.scope = "row";
    row.append(head, ...["validation", "test"].map((split) => element("td", interval(card.figures[split]?.[name]))));
    return row;
  }));
}
