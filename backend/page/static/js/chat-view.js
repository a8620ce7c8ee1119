// The open conversation on the page: its messages, what went wrong, and the field to write in.

import { Chat } from "./chat.js";
import { announce, byId, el, toast } from "./dom.js";
import { plainText, shownMessage } from "./messages.js";
import { chosenProject } from "./projects.js";
import { refreshTasks } from "./sync.js";
import { explain, inWords } from "./words.js";

const SAYINGS = ["Add buy milk and eggs tomorrow", "What is due this week?", "Mark the first one as done"];

let chat = new Chat();
let begun = () => {};
let settled = () => {};
let drawn = new Map();
let waiting = false;
let wasBusy = false;
let countdown = 0;

/**
 * Show the chat. `onBegun` is called with the conversation's id when a message was taken,
 * `onSettled` when its answer has come to an end.
 */
export function showChat(onBegun, onSettled) {
  begun = onBegun;
  settled = onSettled;
  const field = byId("composer");
  field.addEventListener("input", grow);
  field.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
      event.preventDefault();
      send();
    }
  });
  byId("composer-form").addEventListener("submit", (event) => {
    event.preventDefault();
    send();
  });
  byId("stop").addEventListener("click", () => chat.stop());
  listen();
  draw();
  return {
    /** Open the conversation of this id, or a new one. */
    open(id) {
      chat.leave();
      chat = id === null ? new Chat() : new Chat(id, false);
      drawn = new Map();
      listen();
      if (id !== null) chat.load();
      draw();
    },
    get id() {
      return chat.id;
    },
    stop: () => chat.busy && chat.stop(),
    /** The number of the open conversation, once the service has given it one. */
    get number() {
      if (/^\d+$/.test(chat.id)) return Number(chat.id);
      return chat.messages.findLast((each) => each.metadata?.conversation_id)?.metadata.conversation_id ?? null;
    },
  };
}

function listen() {
  const mine = chat;
  mine.addEventListener("change", () => mine === chat && later());
  mine.addEventListener("begun", () => mine === chat && begun(mine.id));
  mine.addEventListener("changed", () => refreshTasks().catch(() => {}));
}

function grow() {
  const field = byId("composer");
  field.style.height = "auto";
  field.style.height = `${field.scrollHeight}px`;
}

async function send(text = byId("composer").value.trim()) {
  if (!text || chat.busy) return;
  const field = byId("composer");
  field.value = "";
  grow();
  chat.projectId = chosenProject()?.id ?? null;
  const taken = await chat.send(text);
  if (!taken && !field.value) {
    field.value = text;
    grow();
  }
}

/** Draw once a frame at the most, however fast the words come. */
function later() {
  if (waiting) return;
  waiting = true;
  requestAnimationFrame(() => {
    waiting = false;
    draw();
  });
}

const actions = {
  async undo(message) {
    try {
      await chat.undo(message);
      toast("Undone.");
    } catch (error) {
      toast(explain(error).text);
    }
  },
  regenerate: () => chat.regenerate(),
  decide: (part, approved) => chat.decide(part, approved),
};

function draw() {
  const log = byId("log");
  const low = log.scrollHeight - log.scrollTop - log.clientHeight < 80;
  const nodes = chat.messages.map((message, at) => shown(message, at === chat.messages.length - 1));
  if (chat.busy && chat.newest?.role !== "assistant") nodes.push(el("article", { class: "message" }, el("p", { class: "working" }, el("span", { class: "dots" }))));
  if (!nodes.length && chat.state === "ready") nodes.push(welcome());
  place(log, nodes);
  if (low || chat.newest?.role === "user") log.scrollTop = log.scrollHeight;
  log.setAttribute("aria-busy", String(chat.busy));
  byId("send").hidden = chat.busy;
  byId("stop").hidden = !chat.busy;
  drawProblem();
  if (wasBusy && !chat.busy) finished();
  wasBusy = chat.busy;
}

/** Only what differs is drawn again, so that a selection or the focus elsewhere stays. */
function place(log, nodes) {
  nodes.forEach((node, at) => {
    if (log.children[at] !== node) log.insertBefore(node, log.children[at] ?? null);
  });
  while (log.children.length > nodes.length) log.lastChild.remove();
}

function shown(message, newest) {
  const about = { newest, busy: chat.busy, running: newest && chat.busy && message.role === "assistant", failed: newest && chat.problem !== null };
  const key = JSON.stringify([message, about]);
  const known = drawn.get(message);
  if (known?.key === key) return known.node;
  const node = shownMessage(message, about, actions);
  for (const details of known?.node.querySelectorAll("details[open]") ?? []) {
    const at = [...known.node.querySelectorAll("details")].indexOf(details);
    node.querySelectorAll("details")[at]?.setAttribute("open", "");
  }
  known?.node.replaceWith(node);
  drawn.set(message, { key, node });
  return node;
}

function welcome() {
  return el(
    "div",
    { class: "welcome" },
    el("h3", {}, "What is on your mind?"),
    el("p", { class: "muted" }, "Say it in your own words, for example:"),
    el("ul", {}, ...SAYINGS.map((saying) => el("li", {}, el("button", { type: "button", onclick: () => send(saying) }, saying)))),
  );
}

function drawProblem() {
  const box = byId("problem");
  clearInterval(countdown);
  if (chat.state === "lost") return box.replaceChildren(el("p", {}, "The connection was lost. Looking for it…"));
  if (!chat.problem) return box.replaceChildren();
  const { text, retry } = explain(chat.problem);
  const line = el("p", {}, text);
  const again = () => (chat.undelivered ? chat.sendDecisions() : chat.regenerate());
  if (retry && !chat.busy && chat.messages.length) line.append(" ", el("button", { type: "button", onclick: again }, "Try again"));
  box.replaceChildren(line);
  if (chat.problem.code === "RATE_LIMIT_EXCEEDED" && chat.problem.retryAfter) tick(line, chat.problem);
}

/** Count the seconds down to when one may send again. */
function tick(line, problem) {
  problem.until ??= Date.now() + problem.retryAfter * 1000;
  countdown = setInterval(() => {
    const left = Math.ceil((problem.until - Date.now()) / 1000);
    if (left > 0) line.textContent = `${problem.message} You can send again ${inWords(left)}.`;
    else {
      clearInterval(countdown);
      line.textContent = "You can send again now.";
    }
  }, 1000);
}

function finished() {
  const said = chat.newest?.role === "assistant" ? plainText(chat.newest) : "";
  announce(chat.problem ? explain(chat.problem).text : said || "Done.");
  settled();
}
