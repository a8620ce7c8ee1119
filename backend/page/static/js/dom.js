// Elements without markup: text stays text, whatever is in it.

/** An element with attributes (on* are listeners; true is a bare one, null and false none) and children. */
export function el(name, attributes = {}, ...children) {
  const node = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (key.startsWith("on")) node.addEventListener(key.slice(2), value);
    else node.setAttribute(key, value === true ? "" : value);
  }
  node.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return node;
}

/** A line drawing of 24 by 24. */
export function icon(path) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("viewBox", "0 0 24 24");
  svg.setAttribute("aria-hidden", "true");
  const line = document.createElementNS("http://www.w3.org/2000/svg", "path");
  line.setAttribute("d", path);
  svg.append(line);
  return svg;
}

export const byId = (id) => document.getElementById(id);

/** Say something to those who listen to the page rather than see it. */
export function announce(text) {
  byId("announcer").textContent = text;
}

let hiding = 0;

/** A line at the foot of the page, with a button where `action` is [label, what it does]. */
export function toast(text, action = null, seconds = 6) {
  const box = byId("toast");
  const button = action && el("button", { type: "button", onclick: () => { box.replaceChildren(); action[1](); } }, action[0]);
  box.replaceChildren(el("p", {}, text, button));
  clearTimeout(hiding);
  hiding = setTimeout(() => box.replaceChildren(), seconds * 1000);
}

/** Open the one dialog with `content`; focus goes back to where it was when it closes. */
export function openDialog(label, ...content) {
  const dialog = byId("dialog");
  const before = document.activeElement;
  dialog.setAttribute("aria-label", label);
  dialog.replaceChildren(...content);
  dialog.addEventListener("close", () => before instanceof HTMLElement && before.focus(), { once: true });
  dialog.showModal();
  return dialog;
}

export const closeDialog = () => byId("dialog").open && byId("dialog").close();
