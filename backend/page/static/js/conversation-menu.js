// What can be done with the conversation that is open: its name, model and project, and where it goes.

import { get, patch, post, remove, request } from "./api.js";
import { closeDialog, el, openDialog, toast } from "./dom.js";
import { projectField } from "./projects.js";
import { explain, moneyText } from "./words.js";

export const nameOf = (conversation) => conversation.title ?? "Untitled";

let offering = Promise.resolve([]);

/** Ask which models may be chosen; one alone is no choice. */
export function loadModels() {
  offering = get("/api/models").then((found) => found.models ?? [], () => []);
  return offering;
}

/** Open the menu; `on` has `changed`, given the conversation as it is then, and `open`, which null closes. */
export function openMenu(conversation, on) {
  const place = `/api/conversations/${conversation.id}`;
  const title = el("input", { name: "title", maxlength: 200, value: conversation.title ?? "", required: true, autocomplete: "off" });
  const model = modelField(conversation);
  const project = projectField(conversation.project_id);
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
    const sent = { title: title.value, project_id: project.value, ...model.chosen };
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
      model.field,
      project.field,
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

/** A choice among the models, and this conversation's own; hidden until it is known that there is one. */
function modelField(conversation) {
  const value = ({ provider, model }) => JSON.stringify({ provider, model });
  const now = value(conversation);
  const choice = el("select", { name: "model" });
  const field = el("label", { hidden: true }, el("span", {}, "Answered by"), choice);
  offering.then((offered) => {
    const choices = offered.some((each) => value(each) === now) ? offered : [conversation, ...offered];
    choice.replaceChildren(...choices.map((each) => el("option", { value: value(each), selected: value(each) === now }, `${each.model} (${each.provider})`)));
    field.hidden = offered.length < 2;
  });
  return { field, get chosen() { return field.hidden || choice.value === now ? {} : JSON.parse(choice.value); } };
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
