// The page: images in, outcomes out. No library, no request to any other host; file names stay in this page.

import * as api from "./api.js";
import { $ } from "./dom.js";
import * as list from "./list.js";
import * as model from "./model.js";
import * as reading from "./reading.js";
import * as room from "./room.js";
import { Session } from "./session.js";

let card = null;
let refused = false; // the contract, for want of a token
const locked = ({ problem }) => problem?.status === 401;

const session = new Session(api, () => {
  list.draw(session);
  reading.draw(session.selected, cardOf);
  reading.progress(session.selected);
  $("access").hidden = !session.entries.some(locked) && !refused;
});

/** The contract of the version that answered; another one may have taken over since the page was opened. */
async function cardOf(version) {
  if (card?.version !== version) await load();
  return card?.version === version ? card : null;
}

async function load() {
  try {
    card = await api.model();
    model.draw(card);
    refused = false;
  } catch (problem) {
    refused = problem.status === 401;
    if (!session.selected) $("state").textContent = problem.message;
  }
  $("access").hidden = !refused;
}

function take(files) {
  session.add(files);
  if (session.entries.length) $("list").focus();
}

$("file").addEventListener("change", (event) => {
  take(event.target.files);
  event.target.value = "";
});
for (const name of ["dragover", "dragenter"]) {
  document.addEventListener(name, (event) => {
    event.preventDefault();
    $("drop").classList.add("over");
  });
}
document.addEventListener("dragleave", (event) => { if (!event.relatedTarget) $("drop").classList.remove("over"); });
document.addEventListener("drop", (event) => {
  event.preventDefault();
  $("drop").classList.remove("over");
  take(event.dataTransfer.files);
});
$("again").addEventListener("click", () => session.retry([session.selected]));
$("access").addEventListener("submit", async (event) => {
  event.preventDefault();
  api.useToken($("token").value);
  await load();
  if (!refused) session.retry(session.entries.filter(locked));
});

list.start(session);
reading.start();
room.start();
reading.draw(null, cardOf);
load();
