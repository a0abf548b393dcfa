// The list as a table for a spreadsheet.

import { STATES } from "./session.js";

const COLUMNS = {
  file: ({ name }) => name,
  status: ({ state }) => STATES[state],
  outcome: ({ answer }) => answer?.outcome,
  score: ({ answer }) => answer?.score,
  lower_threshold: ({ answer }) => answer?.thresholds.lower,
  upper_threshold: ({ answer }) => answer?.thresholds.upper,
  site_profile: ({ answer }) => answer?.profile,
  probability: ({ answer }) => (answer?.profile ? answer.probability : undefined),
  warnings: ({ answer }) => answer?.warnings.join(" | "),
  problem: ({ problem }) => problem?.message,
  model_version: ({ answer }) => answer?.model_version,
  time: ({ at }) => at?.toISOString(),
  notice: ({ answer }) => answer?.notice,
};

/** Every file a line, answered or not; with the mark by which spreadsheets know UTF-8. */
export function csv(entries) {
  const lines = [Object.keys(COLUMNS), ...entries.map((entry) => Object.values(COLUMNS).map((value) => value(entry)))];
  return `\ufeff${lines.map((line) => line.map(cell).join(",")).join("\r\n")}\r\n`;
}

// A spreadsheet would run a text that begins with one of these as a formula; a file's name may.
function cell(value) {
  const text = String(value ?? "");
  const tame = typeof value === "string" && /^[=+\-@\t\r]/.test(text) ? `'${text}` : text;
  return `"${tame.replaceAll('"', '""')}"`;
}
