// The list: what is open and what is done, by hand as well as by talk.

import { patch, remove } from "./api.js";
import { dueState, dueText } from "./dates.js";
import { byId, el, icon, toast } from "./dom.js";
import { allProjects, chosenProject, loadProjects, projectOf, projectsNews } from "./projects.js";
import { stepList, stepsText } from "./steps.js";
import { refreshTasks, tasksNews } from "./sync.js";
import { editTask } from "./task-form.js";
import { explain } from "./words.js";

const SHOWN = 100;
const BIN = "M5 7h14M10 7V5h4v2M7 7l.8 12h8.4L17 7M10.5 10.5v5M13.5 10.5v5";
const AGAIN = "M5 12a7 7 0 0 1 12-5l2 2M19 5v4h-4M19 12a7 7 0 0 1-12 5l-2-2M5 19v-4h4";
const WEIGHT = { high: 0, medium: 1, low: 2 };

let tasks = [];
let total = 0;
let drawn = "";
const open = { open: SHOWN, done: 0 };
const unfolded = new Set();

/** Show the list, and follow what happens to it. */
export function showTasks() {
  tasksNews.addEventListener("news", ({ detail }) => {
    tasks = detail.tasks;
    total = detail.total;
    if (tasks.some((task) => task.project_id && !projectOf(task.project_id))) loadProjects();
    draw();
  });
  projectsNews.addEventListener("change", draw);
  projectsNews.addEventListener("gone", () => refreshTasks().catch(complain));
  byId("add-task").addEventListener("click", () => edit(null));
  draw();
}

const edit = (task) => editTask(task, () => refreshTasks().catch(complain));
const complain = (error) => toast(explain(error).text);

/** What is due comes first, then what is urgent, then what is new. */
function inOrder(a, b) {
  const due = (task) => (task.due_date ? Date.parse(task.due_date) : Infinity);
  return (due(a) === due(b) ? 0 : due(a) - due(b)) || WEIGHT[a.priority] - WEIGHT[b.priority] || b.id - a.id;
}

/** Drawn anew only where something differs, so that a selection and the focus stay; "overdue" comes by the minute. */
function draw() {
  const project = chosenProject();
  const state = JSON.stringify([tasks, total, allProjects(), project, open, Math.floor(Date.now() / 60_000)]);
  if (state === drawn) return;
  drawn = state;
  const here = project ? tasks.filter((task) => task.project_id === project.id) : tasks;
  const waiting = here.filter((task) => !task.completed).sort(inOrder);
  const done = here.filter((task) => task.completed);
  const shown = [waiting.length || done.length ? section("Open", "open", waiting) : empty()];
  if (done.length) shown.push(section("Done", "done", done));
  if (total > tasks.length) shown.push(el("p", { class: "muted" }, `The newest ${tasks.length} of ${total} tasks are shown.`));
  keepingFocus(() => byId("tasks").replaceChildren(...shown));
}

const controls = (task) => [...byId("tasks").querySelectorAll(`[data-task="${task}"] :is(button, summary)`)];

function keepingFocus(change) {
  const focused = document.activeElement;
  const task = focused?.closest?.("#tasks [data-task]")?.dataset.task;
  const at = task ? controls(task).indexOf(focused) : -1;
  change();
  if (at >= 0) (controls(task)[at] ?? byId("add-task")).focus();
}

const empty = () => el("div", { class: "empty" }, el("p", {}, "Nothing to do yet."), el("p", { class: "muted" }, "Tell the assistant, or add a task with the plus."));

function section(label, key, found) {
  const more = found.length - open[key];
  return el(
    "section",
    { "aria-label": label },
    el("h3", {}, label, el("span", { class: "count" }, String(found.length))),
    el("ul", {}, ...found.slice(0, open[key]).map(row)),
    more > 0 && el("button", { type: "button", class: "quiet", onclick: () => { open[key] += SHOWN; draw(); } }, open[key] ? `Show ${Math.min(more, SHOWN)} more` : "Show"),
  );
}

function row(task) {
  const state = !task.completed && task.due_date ? dueState(task) : "";
  const project = chosenProject() ? null : projectOf(task.project_id);
  const facts = [
    task.due_date && el("span", { class: `due ${state}` }, state === "overdue" ? `${dueText(task)} (overdue)` : dueText(task)),
    task.recurrence_pattern !== "none" && el("span", { class: "repeat" }, icon(AGAIN), task.recurrence_pattern),
    project && el("span", { class: "project" }, project.name),
    ...task.tags.map((tag) => el("span", { class: "chip" }, tag)),
  ].filter(Boolean);
  const tick = el("button", { type: "button", class: "tick", role: "checkbox", "aria-checked": String(task.completed), "aria-label": `Done: ${task.title}`, onclick: () => act(patch(`/api/tasks/${task.id}/complete`)) }, task.completed && icon("M5 12.5l4.5 4.5L19 7.5"));
  return el(
    "li",
    { "data-task": task.id, class: `task ${task.completed ? "completed" : ""} ${task.priority}` },
    tick,
    el("button", { type: "button", class: "what", onclick: () => edit(task) }, el("span", { class: "title", dir: "auto" }, task.title), task.priority === "high" && !task.completed && el("span", { class: "mark" }, "High"), facts.length > 0 && el("span", { class: "facts" }, ...facts)),
    el("button", { type: "button", class: "icon bin", "aria-label": `Delete: ${task.title}`, onclick: () => act(remove(`/api/tasks/${task.id}`), `Deleted “${task.title}”.`) }, icon(BIN)),
    task.steps.length > 0 && steps(task),
  );
}

function steps(task) {
  const toggled = ({ currentTarget }) => (currentTarget.open ? unfolded.add(task.id) : unfolded.delete(task.id));
  return el("details", { open: unfolded.has(task.id), ontoggle: toggled }, el("summary", {}, stepsText(task)), stepList(task, act));
}

async function act(change, said = null) {
  try {
    await change;
    if (said) toast(said);
    await refreshTasks();
  } catch (error) {
    complain(error);
  }
}
