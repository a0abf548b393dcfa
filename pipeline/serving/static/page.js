// The page: one picture in, one answer out. No library, no request to any other host; file names stay in this page.
"use strict";

const $ = (id) => document.getElementById(id);
const percent = (value) => (100 * value).toFixed(1) + " %";
let token = "";
let card = null;
let turn = 0;

async function ask(route, file) {
  const request = { headers: token ? { Authorization: "Bearer " + token } : {} };
  if (file) {
    request.method = "POST";
    request.body = new FormData();
    request.body.append("image", file, "picture");
  }
  const answer = await fetch(route, request);
  if (answer.ok) return answer;
  const told = await answer.json().catch(() => ({}));
  if (answer.status === 401) $("access").hidden = false;
  throw new Error(told.detail || "the service answered with status " + answer.status);
}

function put(list, pairs) {
  list.replaceChildren(...pairs.flatMap(([name, value]) => {
    const term = document.createElement("dt");
    const text = document.createElement("dd");
    term.textContent = name;
    text.textContent = value;
    return [term, text];
  }));
}

// A threshold holds at the prevalence that the network assumes; the bar is drawn at the answer's.
function shifted(probability, assumed, wanted) {
  const pneumonia = probability * wanted / assumed;
  return pneumonia / (pneumonia + (1 - probability) * (1 - wanted) / (1 - assumed));
}

// Each point is fixed by itself: with some networks the specific one lies below the sensitive one.
const meanings = {
  NORMAL: {
    plain: "No sign of pneumonia was found; nothing else was looked for.",
    between: "The two operating points disagree: NORMAL at the sensitive one, signs of pneumonia at the specific one."
      + " Do not take this film for normal.",
  },
  PNEUMONIA: {
    plain: "Signs of pneumonia at the sensitive operating point.",
    between: "The two operating points disagree: signs of pneumonia at the sensitive one, none at the specific one."
      + " Read this film with more care.",
  },
};
const told = (answer) => answer.verdict + (answer.between ? " (operating points disagree)" : "");

function showAnswer(answer) {
  $("answer").hidden = !answer;
  $("overlay").hidden = $("mapping").hidden = !answer;
  if (!answer) return;
  $("verdict").textContent = answer.verdict;
  $("meaning").textContent = meanings[answer.verdict][answer.between ? "between" : "plain"];
  $("fill").style.width = 100 * answer.probability + "%";
  const points = {};
  for (const name of ["sensitive", "specific"]) {
    points[name] = shifted(card.operating_points[name].threshold, card.prevalence, answer.prevalence);
    $(name).style.left = 100 * points[name] + "%";
    $(name).classList.toggle("left", points[name] < 0.15);
    $(name).classList.toggle("right", points[name] > 0.85);
    $(name).dataset.name = name;
  }
  $("bar").setAttribute("aria-label", "Probability " + percent(answer.probability)
    + "; sensitive operating point at " + percent(points.sensitive) + ", specific one at " + percent(points.specific));
  put($("numbers"), [
    ["Probability", percent(answer.probability)],
    ["if pneumonia has", percent(answer.prevalence) + " of the patients"],
    ["Sensitive point", percent(points.sensitive)],
    ["Specific point", percent(points.specific)],
    ["Model", answer.model_version],
    ["Time", answer.milliseconds + " ms"],
  ]);
  $("warnings").replaceChildren(...answer.warnings.map((warning) => {
    const item = document.createElement("li");
    item.textContent = warning;
    return item;
  }));
  $("overlay").src = "data:image/png;base64," + answer.map.overlay;
}

function show(tried) {
  $("result").hidden = !tried.picture;
  if (tried.picture) {
    $("picture").src = tried.picture;
    $("picture").alt = "The radiograph " + tried.name;
  }
  showAnswer(tried.answer);
  $("problem").hidden = !tried.problem;
  $("problem").textContent = tried.problem || "";
  $("state").textContent = tried.answer
    ? tried.name + ": " + told(tried.answer) + ", probability " + percent(tried.answer.probability)
    : tried.name + ": no answer";
}

function list(tried) {
  $("none").hidden = true;
  $("tried").hidden = false;
  const row = $("tried").tBodies[0].insertRow(0);
  const again = document.createElement("button");
  again.type = "button";
  again.textContent = tried.name;
  again.addEventListener("click", () => show(tried));
  row.insertCell().append(again);
  row.insertCell().textContent = tried.answer ? told(tried.answer) : "no answer: " + tried.problem;
  row.insertCell().textContent = tried.answer ? percent(tried.answer.probability) : "";
}

async function examine(file) {
  const mine = ++turn;
  $("problem").hidden = true;
  $("state").textContent = file.name + ": being read";
  const tried = { name: file.name };
  const [answer, picture] = await Promise.allSettled([
    (card ? Promise.resolve() : load()).then(() => ask("/explain", file)).then((found) => found.json()),
    ask("/picture", file).then((found) => found.blob()),
  ]);
  if (answer.status === "fulfilled") tried.answer = answer.value;
  else tried.problem = answer.reason.message;
  if (picture.status === "fulfilled") tried.picture = URL.createObjectURL(picture.value);
  list(tried);
  if (mine === turn) show(tried);
}

const first = {
  auc: "AUC",
  sensitivity_at_sensitive: "Sensitivity, sensitive point",
  specificity_at_sensitive: "Specificity, sensitive point",
  sensitivity_at_specific: "Sensitivity, specific point",
  specificity_at_specific: "Specificity, specific point",
  log_loss_recalibrated: "Log loss",
  brier_recalibrated: "Brier score",
};
const figure = (value) => typeof value === "number" ? value.toFixed(3) : value;
const interval = (found) => found ? figure(found.value) + " (" + figure(found.low) + " to " + figure(found.high) + ")" : "";

function fill(table, names) {
  table.hidden = !names.length;
  table.tBodies[0].replaceChildren(...names.map((name) => {
    const row = document.createElement("tr");
    const head = document.createElement("th");
    head.scope = "row";
    head.textContent = first[name] || name.replaceAll("_", " ");
    row.append(head);
    for (const split of ["validation", "test"]) row.insertCell().textContent = interval((card.figures[split] || {})[name]);
    return row;
  }));
}

async function load() {
  card = await (await ask("/model")).json();
  $("access").hidden = true;
  $("use").textContent = card.intended_use;
  put($("facts"), [
    ["Version", card.version],
    ["Network", card.network],
    ["Data", card.dataset + (card.dataset === "phantom" ? ": generated pictures, not children" : "") + ", edition " + card.edition],
    ["Assumed prevalence", percent(card.prevalence)],
    ["Computed by", card.served.runtime + ", " + card.served.precision],
    ["Changes", card.changelog.join(" ")],
  ]);
  const names = Object.keys(card.figures.validation);
  fill($("figures"), Object.keys(first).filter((name) => names.includes(name)));
  fill($("more"), names.filter((name) => !(name in first)));
  $("rest").hidden = $("more").hidden;
}

const drop = $("drop");
$("file").addEventListener("change", (event) => { if (event.target.files[0]) examine(event.target.files[0]); event.target.value = ""; });
for (const name of ["dragover", "dragenter"]) document.addEventListener(name, (event) => { event.preventDefault(); drop.classList.add("over"); });
document.addEventListener("dragleave", (event) => { if (!event.relatedTarget) drop.classList.remove("over"); });
document.addEventListener("drop", (event) => {
  event.preventDefault();
  drop.classList.remove("over");
  for (const file of event.dataTransfer.files) examine(file);
});
const fade = () => { $("overlay").style.opacity = $("strength").value / 100; };
$("strength").addEventListener("input", fade);
$("access").addEventListener("submit", (event) => { event.preventDefault(); token = $("token").value; load().catch(fail); });
const fail = (error) => { $("problem").hidden = false; $("problem").textContent = error.message; };
fade();
load().catch(fail);
