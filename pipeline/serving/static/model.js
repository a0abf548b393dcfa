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
const interval = (estimate) => (estimate ? `${number(estimate.value)} (${number(estimate.low)} to ${number(estimate.high)})` : "");

/** A threshold and the criterion that it was fixed by. */
export const threshold = ({ score, criterion }) => `${score.toFixed(3)} (${criterion})`;

/** What a site's profile was fitted on, and what changes by it. */
function profileOf({ version, images, patients, prevalence, recalibration, report }) {
  const estimate = (interval) => (interval?.[0] == null ? "undefined" : interval[0].toFixed(2));
  const told = Object.entries({ log_loss: "log loss", sensitivity_at_lower: "sensitivity, lower threshold", specificity_at_upper: "specificity, upper threshold" })
    .filter(([name]) => report.all?.[name])
    .map(([name, said]) => `${said} ${estimate(report.all[name].before)} before, ${estimate(report.all[name].after)} after`);
  const fitted = `${images} images (${patients.normal} patients without and ${patients.pneumonia} with pneumonia), prevalence ${prevalence.toFixed(2)}`;
  const line = `intercept ${recalibration.intercept.toFixed(2)}, slope ${recalibration.slope.toFixed(2)}`;
  return [`${version}: fitted on ${fitted}; ${line}`, ...told].join("; ");
}

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
    ["Site profile", card.profile ? profileOf(card.profile) : "none: no probability is told"],
    ["Computed by", `${card.served.runtime}, ${card.served.precision}`],
    ["Changes", card.changelog.join(" ")],
    ...(card.refused ? [["Refused in its place", `${card.refused.version} ${card.refused.reason}`]] : []),
  ]);
  const points = card.profile ? ", at the champion's own thresholds" : "";
  $("metrics").caption.textContent = `Metrics with 95 % intervals by patient${points}`;
  const names = Object.keys(card.figures.validation);
  const order = [...Object.keys(FIRST).filter((name) => names.includes(name)), ...names.filter((name) => !(name in FIRST))];
  $("metrics").tBodies[0].replaceChildren(...order.map((name) => {
    const row = document.createElement("tr");
    const head = element("th", FIRST[name] ?? name.replaceAll("_", " "));
    head.scope = "row";
    row.append(head, ...["validation", "test"].map((split) => element("td", interval(card.figures[split]?.[name]))));
    return row;
  }));
}
