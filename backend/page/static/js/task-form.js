// A task in a form, to be added or changed.

import { post, put } from "./api.js";
import { dueValue, fieldValues } from "./dates.js";
import { closeDialog, el, openDialog } from "./dom.js";
import { chosenProject, projectField } from "./projects.js";
import { stepsField } from "./steps.js";
import { explain } from "./words.js";

const field = (label, input) => el("label", {}, el("span", {}, label), input);
const option = (value, label, chosen) => el("option", { value, selected: value === chosen }, label);

/** Open the form; `saved` is called with the task as the service keeps it. */
export function editTask(task, saved) {
  const due = fieldValues(task);
  const title = el("input", { name: "title", required: true, maxlength: 200, value: task?.title ?? "", autocomplete: "off" });
  const description = el("textarea", { name: "description", rows: 2, maxlength: 1000 }, task?.description ?? "");
  const date = el("input", { name: "date", type: "date", value: due.date });
  const time = el("input", { name: "time", type: "time", value: due.time });
  const priority = el("select", { name: "priority" }, ...["low", "medium", "high"].map((each) => option(each, capital(each), task?.priority ?? "medium")));
  const repeat = el("select", { name: "recurrence" }, ...[["none", "Never"], ["daily", "Daily"], ["weekly", "Weekly"], ["monthly", "Monthly"]].map(([value, label]) => option(value, label, task?.recurrence_pattern ?? "none")));
  const tags = el("input", { name: "tags", value: (task?.tags ?? []).join(", "), placeholder: "home, errands", autocomplete: "off" });
  const project = projectField(task ? task.project_id : chosenProject()?.id);
  const steps = !task && el("textarea", { name: "steps", rows: 2, placeholder: "One a line" });
  const fault = el("p", { class: "fault", role: "alert" });

  async function save(event) {
    event.preventDefault();
    const sent = {
      title: title.value,
      description: description.value,
      priority: priority.value,
      due_date: dueValue(date.value, time.value),
      tags: tags.value.split(",").map((tag) => tag.trim()).filter(Boolean),
      recurrence_pattern: repeat.value,
      project_id: project.value,
    };
    if (steps) sent.steps = steps.value.split("\n").filter((line) => line.trim()).map((line) => ({ title: line }));
    try {
      saved(await (task ? put(`/api/tasks/${task.id}`, sent) : post("/api/tasks", sent)));
      closeDialog();
    } catch (error) {
      const faults = Array.isArray(error.details) ? error.details.map((each) => `${each.field}: ${each.message}`).join("; ") : "";
      fault.textContent = faults || explain(error).text;
    }
  }

  const label = task ? "Change the task" : "New task";
  openDialog(
    label,
    el(
      "form",
      { class: "sheet", onsubmit: save },
      el("h2", {}, label),
      field("Title", title),
      field("Notes", description),
      task ? stepsField(task, saved) : field("Steps", steps),
      el("div", { class: "pair" }, field("Due", date), field("Time", time)),
      el("div", { class: "pair" }, field("Priority", priority), field("Repeats", repeat)),
      el("div", { class: "pair" }, field("Tags", tags), project.field),
      fault,
      el("div", { class: "actions" }, el("button", { type: "button", class: "quiet", onclick: closeDialog }, "Cancel"), el("button", { type: "submit", class: "primary" }, "Save")),
    ),
  );
  title.focus();
}

const capital = (word) => word.charAt(0).toUpperCase() + word.slice(1);
