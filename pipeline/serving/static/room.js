// A dark page for a dark room: what the system asks for, until the switch says otherwise.

import { $ } from "./dom.js";

const KEY = "room";

export function start() {
  const asked = matchMedia("(prefers-color-scheme: dark)");
  const show = () => {
    const chosen = localStorage.getItem(KEY);
    if (chosen) document.documentElement.dataset.room = chosen;
    $("room").setAttribute("aria-pressed", String(chosen ? chosen === "dark" : asked.matches));
  };
  $("room").addEventListener("click", () => {
    localStorage.setItem(KEY, $("room").getAttribute("aria-pressed") === "true" ? "light" : "dark");
    show();
  });
  asked.addEventListener("change", show);
  show();
}
