// The conversations at the side, found and opened, and the head of the one that is open.

import { get } from "./api.js";
import { nameOf, openMenu } from "./conversation-menu.js";
import { momentText } from "./dates.js";
import { byId, el, toast } from "./dom.js";
import { chosenProject, projectOf, projectsNews } from "./projects.js";
import { explain } from "./words.js";

const PAUSE = 250;

let archived = false;
let asked = 0;
let current = null;
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
  byId("chat-menu").addEventListener("click", () => current && openMenu(current, { open, changed }));
  projectsNews.addEventListener("change", () => markOpen(current));
  projectsNews.addEventListener("gone", refreshConversations);
}

function changed(conversation) {
  if (conversation) markOpen(conversation);
  refreshConversations();
}

/** One of the conversations by its number, of those listed if it is there. */
export async function findConversation(number) {
  return listed.find((each) => each.id === number) ?? get(`/api/conversations/${number}?limit=1`).catch(() => null);
}

/** Read the list anew; an answer that comes after a later question is passed over. */
export async function refreshConversations() {
  const words = byId("search").value.trim();
  const mine = ++asked;
  try {
    const page = await read(words, null);
    if (mine !== asked) return;
    listed = page.conversations;
    byId("conversation-list").replaceChildren(...rows(page, words));
    const newer = listed.find((each) => each.id === current?.id);
    if (newer) markOpen(newer);
  } catch (error) {
    if (words && error.status !== 401) toast(explain(error).text);
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

function row(conversation) {
  const isOpen = current?.id === conversation.id;
  return el(
    "li",
    {},
    el("button", { type: "button", class: "conversation", "aria-current": isOpen ? "page" : null, "data-conversation": conversation.id, onclick: () => open(conversation) }, el("span", { dir: "auto" }, nameOf(conversation)), el("time", { datetime: conversation.updated_at }, momentText(conversation.updated_at))),
  );
}

/** Show which conversation is open; null for one that has not begun. */
export function markOpen(conversation) {
  current = conversation;
  byId("chat-title").textContent = conversation ? nameOf(conversation) : "New conversation";
  byId("chat-project").textContent = (conversation ? projectOf(conversation.project_id) : chosenProject())?.name ?? "";
  byId("chat-menu").hidden = !conversation;
  for (const button of document.querySelectorAll("[data-conversation]")) {
    const isOpen = Number(button.dataset.conversation) === conversation?.id;
    if (isOpen) button.setAttribute("aria-current", "page");
    else button.removeAttribute("aria-current");
  }
}
