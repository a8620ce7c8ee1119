// How messages look: texts, the tools' calls as they happen, and what can be done about an answer.

import { el, icon } from "./dom.js";
import { momentText } from "./dates.js";
import { tasksNews } from "./sync.js";
import { shownText } from "./text.js";

const DOING = {
  add_task: "Adding a task",
  list_tasks: "Looking at your tasks",
  complete_task: "Completing a task",
  delete_task: "Deleting a task",
  update_task: "Changing a task",
};
const WISHES = {
  add_task: "Add a task",
  complete_task: "Complete a task",
  delete_task: "Delete a task",
  update_task: "Change a task",
};
const CHECK = "M5 12.5l4.5 4.5L19 7.5";
const CROSS = "M7 7l10 10M17 7L7 17";
const DOTS = "M6 12h.01M12 12h.01M18 12h.01";
const ASK = "M12 16.5h.01M9.5 9.5a2.5 2.5 0 1 1 3.4 2.3c-.6.3-.9.7-.9 1.7";

const toolName = (part) => part.toolName ?? part.type.slice("tool-".length);
const mine = (message) => message.role === "user";
const isCall = (part) => part.type.startsWith("tool-") || part.type === "dynamic-tool";

/** Whether the message changed tasks that can still be put back. */
export function canUndo(message) {
  if (message.role !== "assistant" || message.metadata?.undone_at) return false;
  return message.parts.some((part) => isCall(part) && toolName(part) !== "list_tasks" && part.output?.success === true);
}

/** What a message says, as plain text. */
export const plainText = (message) => message.parts.filter((part) => part.type === "text").map((part) => part.text).join("\n\n");

/** The element of a message; `act` has undo, regenerate, tryAgain and decide; `about` says what is so. */
export function shownMessage(message, about, act) {
  const own = mine(message);
  const node = el("article", { class: own ? "message mine" : "message", "data-id": message.id, "aria-label": own ? "You" : "Assistant" });
  for (const part of message.parts) {
    if (part.type === "text" && part.text) node.append(el("div", { class: "text" }, ...(own ? [el("p", {}, part.text)] : shownText(part.text))));
    else if (isCall(part)) node.append(shownCall(part, act));
  }
  if (about.running && !own) node.append(el("p", { class: "working" }, el("span", { class: "dots", "aria-hidden": "true" }), el("span", { class: "hidden" }, "Working")));
  if (!own) node.append(footer(message, about, act));
  return node;
}

function footer(message, about, act) {
  const meta = message.metadata ?? {};
  const notes = [];
  if (meta.undone_at) notes.push(el("span", { class: "tag" }, "Undone"));
  if (meta.stopped || message.finishReason === "abort") notes.push(el("span", { class: "tag" }, "Stopped"));
  if (meta.created_at) notes.push(el("time", { datetime: meta.created_at }, momentText(meta.created_at)));
  const buttons = [];
  const button = (label, does) => buttons.push(el("button", { type: "button", class: "quiet", onclick: does }, label));
  if (!about.running && canUndo(message)) button("Undo", () => act.undo(message));
  if (about.newest && !about.busy && !mine(message) && !about.failed) {
    button(meta.failed || meta.stopped ? "Try again" : "Regenerate", act.regenerate);
  }
  return el("footer", {}, ...notes, ...buttons);
}

/** One call: what it is doing, what it changed, or what is asked before it may. */
function shownCall(part, act) {
  const name = toolName(part);
  if (part.state === "approval-requested") return question(part, name, act);
  const [mark, kind, line] = outcome(part, name);
  const facts = Object.entries(part.input ?? {}).filter(([, value]) => value !== null && value !== "");
  const details = facts.length > 0 && el("dl", {}, ...facts.flatMap(([key, value]) => [el("dt", {}, key.replaceAll("_", " ")), el("dd", {}, asText(value))]));
  return el("details", { class: `call ${kind}` }, el("summary", {}, icon(mark), el("span", {}, line)), details);
}

function outcome(part, name) {
  const output = part.output ?? {};
  switch (part.state) {
    case "output-available":
      if (part.preliminary) return [DOTS, "going", asText(output.message ?? output)];
      if (output.success === false) return [CROSS, "failed", output.error ?? "This did not work."];
      return [CHECK, "done", output.message ?? `${words(name)} done`];
    case "output-error":
      return [CROSS, "failed", part.errorText ?? "This did not work."];
    case "output-denied":
      return [CROSS, "denied", `${WISHES[name] ?? words(name)}: declined`];
    case "approval-responded":
      return [DOTS, "going", part.approval?.approved ? "Approved" : "Declined"];
    default:
      return [DOTS, "going", `${DOING[name] ?? words(name)}…`];
  }
}

/** What a call would be about, the tasks by their titles as far as the list here knows them. */
function question(part, name, act) {
  const given = Object.entries(part.input ?? {}).filter(([, value]) => value !== null && value !== "");
  const facts = given.map(([key, value]) => (key === "task_id" ? titlesOf(value) : asText(value))).join(", ");
  const choose = (approved) => () => act.decide(part, approved);
  return el(
    "div",
    { class: "call asked", role: "group", "aria-label": "A question" },
    el("p", {}, icon(ASK), el("span", {}, `${WISHES[name] ?? words(name)}?`, facts && el("small", {}, ` ${facts}`))),
    el("p", { class: "choice" }, el("button", { type: "button", onclick: choose(true) }, "Approve"), el("button", { type: "button", class: "quiet", onclick: choose(false) }, "Decline")),
  );
}

let titles = new Map();
tasksNews.addEventListener("news", ({ detail }) => {
  titles = new Map(detail.tasks.map((task) => [task.id, task.title]));
});
const titlesOf = (ids) => [ids].flat().map((id) => titles.get(Number(id)) ?? `task ${asText(id)}`).join(", ");

const words = (name) => name.replaceAll("_", " ").replace(/^./, (letter) => letter.toUpperCase());
const asText = (value) => (typeof value === "string" ? value : JSON.stringify(value));
