// What can be done with the conversation that is open: its name, model and project, and where it goes.

import { get, patch, post, remove, request } from "./api.js";
import { closeDialog, el, openDialog, toast } from "./dom.js";
import { allProjects, projectOptions } from "./projects.js";
import { explain, moneyText } from "./words.js";

export const nameOf = (conversation) => conversation.title ?? "Untitled";

let offered = [];

/** Which models may be chosen; one alone is no choice. */
export async function loadModels() {
  offered = await get("/api/models").then((found) => found.models ?? [], () => []);
}

/** Open the menu; `on` has `changed`, given the conversation as it is then, and `open`, which null closes. */
export function openMenu(conversation, on) {
  const place = `/api/conversations/${conversation.id}`;
  const title = el("input", { name: "title", maxlength: 200, value: conversation.title ?? "", required: true, autocomplete: "off" });
  const models = offered.length > 1 && modelChoice(conversation);
  const modelBefore = models && models.value;
  const project = allProjects().length > 0 && el("select", { name: "project" }, ...projectOptions(conversation.project_id, "None"));
  const fault = el("p", { class: "fault", role: "alert" });
  const used = el("p", { class: "muted" });
  const attempt = async (does) => {
    try {
      await does();
      closeDialog();
    } catch (error) {
      fault.textContent = explain(error).text;
    }
  };
  const save = (event) => {
    event.preventDefault();
    const sent = { title: title.value };
    if (models && models.value !== modelBefore) Object.assign(sent, JSON.parse(models.value));
    if (project) sent.project_id = project.value ? Number(project.value) : null;
    attempt(async () => on.changed(await patch(place, sent)));
  };
  const quiet = (label, does) => el("button", { type: "button", class: "quiet", onclick: () => attempt(does) }, label);
  const [label, way] = conversation.archived_at ? ["Fetch back", "unarchive"] : ["Archive", "archive"];
  openDialog(
    "This conversation",
    el(
      "form",
      { class: "sheet", onsubmit: save },
      el("h2", {}, "This conversation"),
      el("label", {}, el("span", {}, "Name"), title),
      models && el("label", {}, el("span", {}, "Answered by"), models),
      project && el("label", {}, el("span", {}, "Project"), project),
      used,
      el("div", { class: "row" },
        quiet(label, async () => on.changed(await post(`${place}/${way}`))),
        quiet("Export", () => download(conversation)),
        quiet("Delete", () => discard(conversation, on))),
      fault,
      el("div", { class: "actions" }, el("button", { type: "button", class: "quiet", onclick: closeDialog }, "Cancel"), el("button", { type: "submit", class: "primary" }, "Save")),
    ),
  );
  get(`${place}?limit=1`).then(({ usage }) => { used.textContent = spent(usage); }, () => {});
}

/** What answers here is among the choices also where it is offered no more. */
function modelChoice({ provider, model }) {
  const isThis = (each) => each.provider === provider && each.model === model;
  const choices = offered.some(isThis) ? offered : [{ provider, model }, ...offered];
  return el("select", { name: "model" }, ...choices.map((each) => el("option", { value: JSON.stringify({ provider: each.provider, model: each.model }), selected: isThis(each) }, `${each.model} (${each.provider})`)));
}

function spent({ answers, input_tokens: input, output_tokens: output, cost_usd: cost }) {
  if (input === null) return "";
  const money = cost === null ? "" : `, ${moneyText(cost)}`;
  const those = answers < 1000 ? "so far" : "by the newest 1,000 answers";
  return `Used ${those}: ${(input + (output ?? 0)).toLocaleString()} tokens${money}`;
}

async function discard(conversation, on) {
  const place = `/api/conversations/${conversation.id}`;
  await remove(place);
  on.open(null);
  on.changed(null);
  const back = async () => {
    try {
      on.open(await post(`${place}/restore`));
      on.changed(null);
    } catch (error) {
      toast(explain(error).text);
    }
  };
  toast(`Deleted “${nameOf(conversation)}”.`, ["Put it back", back], 15);
}

async function download(conversation) {
  const response = await request("GET", `/api/conversations/${conversation.id}/export?format=markdown`);
  const address = URL.createObjectURL(await response.blob());
  el("a", { href: address, download: `conversation-${conversation.id}.md` }).click();
  setTimeout(() => URL.revokeObjectURL(address), 10_000);
}
