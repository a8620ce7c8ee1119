// The conversations at the side: found, opened, named, put away, deleted and fetched back.

import { get, patch, post, remove, request } from "./api.js";
import { momentText } from "./dates.js";
import { byId, closeDialog, el, openDialog, toast } from "./dom.js";
import { explain } from "./words.js";

const PAUSE = 250;

let archived = false;
let current = null;
let offered = [];
let listed = [];
let open = () => {};

/** Show the list; `opening` is called with a conversation that was chosen, or null for a new one. */
export function showConversations(opening) {
  open = opening;
  let timer = 0;
  byId("search").addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(refreshConversations, PAUSE);
  });
  byId("show-archived").addEventListener("click", (event) => {
    archived = !archived;
    event.currentTarget.setAttribute("aria-pressed", String(archived));
    refreshConversations();
  });
  byId("new-chat").addEventListener("click", () => open(null));
  byId("chat-menu").addEventListener("click", () => current && menu(current));
}

/** Which models may be chosen; one alone is no choice. */
export async function loadModels() {
  offered = await get("/api/models").then((found) => found.models ?? [], () => []);
}

/** One of the conversations by its number, of those listed if it is there. */
export async function findConversation(number) {
  return listed.find((each) => each.id === number) ?? get(`/api/conversations/${number}?limit=1`).catch(() => null);
}

/** Read the list anew. */
export async function refreshConversations() {
  const words = byId("search").value.trim();
  try {
    const page = await read(words, null);
    listed = page.conversations;
    byId("conversation-list").replaceChildren(...rows(page, words));
  } catch (error) {
    if (error.status !== 401) toast(explain(error).text);
  }
}

function read(words, before) {
  const query = new URLSearchParams({ limit: "30", archived: String(archived) });
  if (words) query.set("q", words);
  if (before) query.set("before", before);
  return get(`/api/conversations?${query}`);
}

function rows(page, words) {
  const nodes = page.conversations.map((each) => row(each));
  if (!nodes.length) nodes.push(el("li", { class: "muted none" }, words ? "Nothing found." : archived ? "Nothing is archived." : "No conversations yet."));
  if (page.next) {
    const more = el("li", {}, el("button", { type: "button", class: "quiet", onclick: async () => more.replaceWith(...rows(await read(words, page.next), words)) }, "Older"));
    nodes.push(more);
  }
  return nodes;
}

const name = (conversation) => conversation.title ?? "Untitled";

function row(conversation) {
  const isOpen = current?.id === conversation.id;
  return el(
    "li",
    {},
    el("button", { type: "button", class: "conversation", "aria-current": isOpen ? "page" : null, "data-conversation": conversation.id, onclick: () => open(conversation) }, el("span", {}, name(conversation)), el("time", { datetime: conversation.updated_at }, momentText(conversation.updated_at))),
  );
}

/** Show which conversation is open; null for one that has not begun. */
export function markOpen(conversation) {
  current = conversation;
  byId("chat-title").textContent = conversation ? name(conversation) : "New conversation";
  byId("chat-menu").hidden = !conversation;
  for (const button of document.querySelectorAll("[data-conversation]")) {
    const isOpen = Number(button.dataset.conversation) === conversation?.id;
    if (isOpen) button.setAttribute("aria-current", "page");
    else button.removeAttribute("aria-current");
  }
}

function menu(conversation) {
  const title = el("input", { name: "title", maxlength: 200, value: conversation.title ?? "", required: true, autocomplete: "off" });
  const key = `${conversation.provider}/${conversation.model}`;
  const models = offered.length > 1 && el("select", { name: "model" }, ...offered.map((each) => el("option", { value: `${each.provider}/${each.model}`, selected: `${each.provider}/${each.model}` === key }, `${each.model} (${each.provider})`)));
  const fault = el("p", { class: "fault", role: "alert" });
  const attempt = (does) => async () => {
    try {
      await does();
      closeDialog();
      await refreshConversations();
    } catch (error) {
      fault.textContent = explain(error).text;
    }
  };
  const save = attempt(async () => {
    const sent = { title: title.value };
    const chosen = models && offered[models.selectedIndex];
    if (chosen) Object.assign(sent, { provider: chosen.provider, model: chosen.model });
    markOpen(await patch(`/api/conversations/${conversation.id}`, sent));
  });
  const quiet = (label, does) => el("button", { type: "button", class: "quiet", onclick: attempt(does) }, label);
  openDialog(
    "This conversation",
    el(
      "form",
      { class: "sheet", onsubmit: (event) => { event.preventDefault(); save(); } },
      el("h2", {}, "This conversation"),
      el("label", {}, el("span", {}, "Name"), title),
      models && el("label", {}, el("span", {}, "Answered by"), models),
      conversation.cost_usd !== undefined || conversation.total_tokens !== undefined ? el("p", { class: "muted" }, spent(conversation)) : "",
      el("div", { class: "row" },
        quiet(conversation.archived_at ? "Fetch back" : "Archive", async () => markOpen(await post(`/api/conversations/${conversation.id}/${conversation.archived_at ? "unarchive" : "archive"}`))),
        quiet("Export", () => download(conversation)),
        quiet("Delete", () => discard(conversation))),
      fault,
      el("div", { class: "actions" }, el("button", { type: "button", class: "quiet", onclick: closeDialog }, "Cancel"), el("button", { type: "submit", class: "primary" }, "Save")),
    ),
  );
}

function spent({ total_tokens: tokens, cost_usd: cost }) {
  const parts = [];
  if (tokens) parts.push(`${tokens.toLocaleString()} tokens`);
  if (cost) parts.push(new Intl.NumberFormat(undefined, { style: "currency", currency: "USD", maximumFractionDigits: 4 }).format(Number(cost)));
  return parts.length ? `Used so far: ${parts.join(", ")}` : "";
}

async function discard(conversation) {
  await remove(`/api/conversations/${conversation.id}`);
  open(null);
  const back = async () => {
    try {
      open(await post(`/api/conversations/${conversation.id}/restore`));
      await refreshConversations();
    } catch (error) {
      toast(explain(error).text);
    }
  };
  toast(`Deleted “${name(conversation)}”.`, ["Put it back", back], 15);
}

async function download(conversation) {
  const response = await request("GET", `/api/conversations/${conversation.id}/export?format=markdown`);
  const address = URL.createObjectURL(await response.blob());
  el("a", { href: address, download: `conversation-${conversation.id}.md` }).click();
  setTimeout(() => URL.revokeObjectURL(address), 10_000);
}
