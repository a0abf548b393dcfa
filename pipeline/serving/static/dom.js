// Small things that every part of the page uses.

export const $ = (id) => document.getElementById(id);

/** A new element with text. */
export function element(tag, text, className = "") {
  const made = document.createElement(tag);
  made.textContent = text;
  made.className = className;
  return made;
}

/** Fill a description list; pairs without a value are left out. */
export function describe(list, pairs) {
  const known = pairs.filter(([, value]) => value !== undefined && value !== "");
  list.replaceChildren(...known.flatMap(([name, value]) => [element("dt", name), element("dd", value)]));
}
