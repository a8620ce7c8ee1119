// The projects: the one that is looked at, and the dialog in which they are made, named and deleted.

import { get, patch, post, remove } from "./api.js";
import { calendarSection } from "./calendar.js";
import { byId, el, icon, openDialog } from "./dom.js";
import { explain } from "./words.js";

const BIN = "M5 7h14M10 7V5h4v2M7 7l.8 12h8.4L17 7M10.5 10.5v5M13.5 10.5v5";
const channel = "BroadcastChannel" in window ? new BroadcastChannel("todo.projects") : null;

/** Emits `change` when there are others, or another is looked at, and `gone` when one was deleted. */
export const projectsNews = new EventTarget();

let projects = [];
let chosen = null;

export const allProjects = () => projects;
export const projectOf = (id) => projects.find((each) => each.id === id) ?? null;

/** The project that is looked at; null for everything. */
export const chosenProject = () => projectOf(chosen);

const projectOptions = (id, none) => [
  el("option", { value: "" }, none),
  ...projects.map((each) => el("option", { value: each.id, selected: each.id === id }, each.name)),
];

/** A choice among them, hidden until there are any; `none` is what no project is called. */
export function projectField(id, none = "None") {
  const choice = el("select", { name: "project" });
  const field = el("label", {}, el("span", {}, "Project"), choice);
  const fill = () => {
    field.hidden = projects.length === 0;
    choice.replaceChildren(...projectOptions(id, none));
    if (field.hidden) projectsNews.addEventListener("change", fill, { once: true });
  };
  fill();
  return { field, get value() { return field.hidden ? undefined : Number(choice.value) || null; } };
}

export function showProjects() {
  byId("project").addEventListener("change", ({ currentTarget: { value } }) => {
    chosen = value ? Number(value) : null;
    draw();
  });
  byId("arrange").addEventListener("click", arrange);
  channel?.addEventListener("message", loadProjects);
}

/** Read them anew; where that fails those that are known stay. */
export async function loadProjects() {
  projects = await get("/api/projects").then((found) => found.projects, () => projects);
  draw();
}

/** Forget them, when another person signs in. */
export function forgetProjects() {
  projects = [];
  chosen = null;
  draw();
}

function draw() {
  const choice = byId("project");
  choice.replaceChildren(...projectOptions(chosen, "All tasks"));
  choice.hidden = projects.length === 0;
  choice.previousElementSibling.hidden = !choice.hidden;
  projectsNews.dispatchEvent(new Event("change"));
}

function arrange() {
  const list = el("ul", { class: "rows" });
  let shown = "";
  const fault = el("p", { class: "fault", role: "alert" });
  const name = el("input", { name: "project", maxlength: 200, required: true, placeholder: "New project", "aria-label": "New project", autocomplete: "off" });
  const attempt = async (does) => {
    fault.textContent = "";
    try {
      await does();
      await loadProjects();
      channel?.postMessage("change");
      show();
    } catch (error) {
      fault.textContent = explain(error).text;
    }
  };
  const add = (event) => {
    event.preventDefault();
    attempt(async () => {
      await post("/api/projects", { name: name.value });
      name.value = "";
    });
  };
  const show = () => {
    shown = JSON.stringify(projects);
    list.replaceChildren(...projects.map((each) => row(each, attempt)));
  };
  show();
  // they may be on their way still, or be others by now
  loadProjects().then(() => shown === JSON.stringify(projects) || list.contains(document.activeElement) || show());
  openDialog(
    "Projects and calendar",
    el(
      "div",
      { class: "sheet" },
      el("h2", {}, "Projects"),
      list,
      el("form", { class: "line", onsubmit: add }, name, el("button", { type: "submit" }, "Add")),
      fault,
      el("h2", {}, "Calendar"),
      calendarSection(),
      el("form", { method: "dialog", class: "actions" }, el("button", { class: "primary" }, "Close")),
    ),
  );
}

function row(project, attempt) {
  const name = el("input", { value: project.name, maxlength: 200, "aria-label": `Name of ${project.name}`, autocomplete: "off" });
  const line = el("li", { class: "line" });
  name.addEventListener("change", () => attempt(() => patch(`/api/projects/${project.id}`, { name: name.value })));
  const away = () => attempt(async () => {
    await remove(`/api/projects/${project.id}`);
    projectsNews.dispatchEvent(new Event("gone"));
  });
  const asks = el("button", { type: "button", class: "icon", "aria-label": `Delete: ${project.name}` }, icon(BIN));
  asks.addEventListener("click", () => {
    const keep = el("button", { type: "button", class: "quiet" }, "Keep");
    keep.addEventListener("click", () => { line.replaceChildren(name, asks); asks.focus(); });
    line.replaceChildren(el("p", {}, `Delete “${project.name}”? Its tasks stay.`), keep, el("button", { type: "button", onclick: away }, "Delete"));
    keep.focus();
  });
  line.append(name, asks);
  return line;
}
