// The steps of a task: ticked in the list, and added and taken away in its form.

import { patch, post, remove } from "./api.js";
import { el, icon } from "./dom.js";
import { explain } from "./words.js";

const CHECK = "M5 12.5l4.5 4.5L19 7.5";
const CROSS = "M7 7l10 10M17 7L7 17";

const path = (task, step = null) => `/api/tasks/${task.id}/steps${step ? `/${step.id}` : ""}`;

/** "1 of 3 steps". */
export const stepsText = ({ steps }) => `${steps.filter((step) => step.done).length} of ${steps.length} ${steps.length === 1 ? "step" : "steps"}`;

/** The steps with their ticks; `act` is given the promise of a change. */
export function stepList(task, act, more = () => null) {
  return el("ul", { class: "steps", "aria-label": `Steps of ${task.title}` }, ...task.steps.map((step) => stepRow(task, step, act, more)));
}

function stepRow(task, step, act, more) {
  const toggle = () => act(patch(path(task, step), { done: !step.done }));
  const tick = el("button", { type: "button", class: "tick", role: "checkbox", "aria-checked": String(step.done), "aria-label": `Done: ${step.title}`, onclick: toggle }, step.done && icon(CHECK));
  return el("li", { class: step.done ? "completed" : null }, tick, el("span", { class: "title" }, step.title), more(step));
}

/** A part of a form: the steps as the service keeps them, and one more; each change is kept at once. */
export function stepsField(task, changed) {
  const box = el("div", { class: "steps-field" });
  const fault = el("p", { class: "fault", role: "alert" });
  const title = el("input", { maxlength: 200, placeholder: "Add a step", "aria-label": "Add a step", autocomplete: "off" });
  let shown = task;

  async function act(change) {
    fault.textContent = "";
    try {
      show(await change);
      changed();
    } catch (error) {
      fault.textContent = explain(error).text;
    }
  }

  async function add() {
    if (!title.value.trim()) return;
    await act(post(path(shown), { title: title.value }));
    if (!fault.textContent) title.value = "";
    title.focus();
  }

  const without = async (step) => {
    await remove(path(shown, step));
    return { ...shown, steps: shown.steps.filter((each) => each.id !== step.id) };
  };
  const bin = (step) => el("button", { type: "button", class: "icon", "aria-label": `Take away: ${step.title}`, onclick: () => act(without(step)) }, icon(CROSS));

  function show(newest) {
    shown = newest;
    box.replaceChildren(stepList(shown, act, bin));
  }

  title.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || event.isComposing) return;
    event.preventDefault();
    add();
  });
  show(task);
  return el("div", { class: "part" }, el("span", {}, "Steps"), box, el("div", { class: "line" }, title, el("button", { type: "button", onclick: add }, "Add")), fault);
}
