// The page as a whole: who is signed in, which conversation is open, and the keys.

import { events, get } from "./api.js";
import { showChat } from "./chat-view.js";
import { loadModels } from "./conversation-menu.js";
import { findConversation, markOpen, refreshConversations, showConversations } from "./conversations.js";
import { byId, closeDialog, el, openDialog } from "./dom.js";
import { forgetProjects, loadProjects, showProjects } from "./projects.js";
import { hasToken, inAddress, signIn, signOut, takeTokenFromAddress } from "./session.js";
import { forgetTasks, keepFresh, refreshTasks } from "./sync.js";
import { showTasks } from "./tasks.js";
import { moneyText } from "./words.js";

const USAGE_EVERY = 60_000;

let chat = null;
let usageRead = 0;

function openConversation(conversation) {
  const id = conversation ? String(conversation.id) : null;
  toAddress(id);
  markOpen(conversation);
  chat.open(id);
  pane("chat");
  byId("composer").focus();
}

/** Name the conversation in the address, so that a reload finds it again. */
function toAddress(id) {
  history.replaceState(null, "", id ? `#/c/${encodeURIComponent(id)}` : location.pathname);
}

function pane(name) {
  document.body.dataset.pane = name;
}

/** A conversation that began here has its number once it was answered: then it is in the list. */
async function settle() {
  const { number } = chat;
  await refreshConversations();
  showUsage();
  if (number === null) return;
  const conversation = await findConversation(number);
  if (conversation && chat.number === number) {
    markOpen(conversation);
    toAddress(number);
  }
}

/** Once in a while: reading it counts against the same limit as reading conversations. */
async function showUsage() {
  if (Date.now() - usageRead < USAGE_EVERY) return;
  usageRead = Date.now();
  const usage = await get("/api/usage?days=1").catch(() => null);
  const { used_tokens: used, budget_tokens: budget, used_usd: dollars } = usage?.today ?? {};
  const money = dollars ? `, ${moneyText(dollars)}` : "";
  byId("usage").textContent = used ? `Today: ${used.toLocaleString()}${budget ? ` of ${budget.toLocaleString()}` : ""} tokens${money}` : "";
}

function askForToken() {
  if (byId("dialog").open) return;
  const token = el("input", { name: "token", type: "password", required: true, autocomplete: "off", spellcheck: "false" });
  const form = el(
    "form",
    { class: "sheet", onsubmit: (event) => { event.preventDefault(); signIn(token.value); closeDialog(); begin(); } },
    el("h2", {}, "Sign in"),
    el("p", { class: "muted" }, "Sign in where you usually do and come back, or paste a session token here."),
    el("label", {}, el("span", {}, "Session token"), token),
    el("div", { class: "actions" }, el("button", { type: "submit", class: "primary" }, "Sign in")),
  );
  openDialog("Sign in", form);
  token.focus();
}

async function begin() {
  byId("sign-out").hidden = !hasToken();
  forgetTasks();
  forgetProjects();
  const id = inAddress(/^#\/c\/(.+)$/);
  if (id) chat.open(id);
  try {
    await refreshTasks();
  } catch (error) {
    if (error.status === 401) return;
  }
  await Promise.all([refreshConversations(), loadProjects(), loadModels(), showUsage()]);
  if (!id || !/^\d+$/.test(id)) return;
  const conversation = await findConversation(Number(id));
  if (chat.id === id) markOpen(conversation);
}

function onKey(event) {
  const mod = event.ctrlKey || event.metaKey;
  const typing = event.target.closest?.("input, textarea, select");
  if (mod && event.key.toLowerCase() === "k") {
    event.preventDefault();
    pane("conversations");
    byId("search").focus();
  } else if (event.altKey && event.code === "KeyN") {
    event.preventDefault();
    openConversation(null);
  } else if (event.key === "/" && !typing && !byId("dialog").open) {
    event.preventDefault();
    pane("chat");
    byId("composer").focus();
  } else if (event.key === "Escape" && !byId("dialog").open) {
    if (event.target === byId("search")) byId("composer").focus();
    else chat.stop();
    pane("chat");
  }
}

takeTokenFromAddress();
chat = showChat(toAddress, settle);
showConversations(openConversation);
showProjects();
showTasks();
keepFresh();
events.addEventListener("signedout", askForToken);
byId("sign-out").addEventListener("click", () => { signOut(); location.assign(location.pathname); });
for (const button of document.querySelectorAll("[data-show]")) button.addEventListener("click", () => pane(button.dataset.show));
document.addEventListener("keydown", onKey);
begin();
