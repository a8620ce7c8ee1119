// One conversation: what was said, what is being said, and what can be done about it.

import { get, post, request } from "./api.js";
import { StreamCut, applyPart, emptyMessage, readParts } from "./ui-stream.js";

const PAUSES = [400, 800, 1500, 3000, 5000, 8000, 8000, 15_000, 30_000];

const newId = () => crypto.randomUUID?.() ?? Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16)).join("");
const path = (id) => `/api/ui/chat/${encodeURIComponent(id)}`;

/**
 * Every change ends in a `change` event; `changed` says that tasks may be other than they were,
 * `begun` that a message was taken and is being answered.
 */
export class Chat extends EventTarget {
  /** `id` is the number of a conversation, or a text of this page's own for one that begins here. */
  constructor(id = newId(), isNew = true) {
    super();
    this.id = id;
    this.isNew = isNew;
    /** To which project it belongs where it begins here; null for none. */
    this.projectId = null;
    this.messages = [];
    /** "ready", "loading", "waiting" (nothing said yet), "streaming" or "lost" (to be found again). */
    this.state = "ready";
    /** An ApiError or null; what went wrong last. */
    this.problem = null;
    this.left = new AbortController();
  }

  get busy() {
    return this.state !== "ready" && this.state !== "loading";
  }

  get newest() {
    return this.messages.at(-1) ?? null;
  }

  /** The calls that wait for the person's word. */
  get asking() {
    const parts = this.newest?.role === "assistant" ? this.newest.parts : [];
    return parts.filter((part) => part.state === "approval-requested");
  }

  /** Read the conversation, and go on with an answer that is under way. */
  async load() {
    this.#set("loading");
    try {
      this.messages = await get(path(this.id));
      this.isNew = false;
      this.problem = null;
    } catch (error) {
      this.problem = error;
      if (error.retryAfter) setTimeout(() => !this.left.signal.aborted && this.load(), error.retryAfter * 1000);
    }
    this.#set("ready");
    if (!this.problem) await this.resume();
  }

  /** Send `text`; false where it was not taken, so that it can be given back. */
  async send(text) {
    const message = { id: newId(), role: "user", parts: [{ type: "text", text }], metadata: { created_at: new Date().toISOString() } };
    for (const part of this.asking) part.state = "output-denied";
    this.messages.push(message);
    const taken = await this.#run({ trigger: "submit-message", message });
    if (!taken) this.messages = this.messages.filter((each) => each !== message);
    this.isNew &&= !taken;
    this.#changed();
    return taken;
  }

  /** Answer the newest message anew; after a failure that is the same turn, taken up. */
  async regenerate() {
    const before = this.messages;
    const last = this.newest?.role === "assistant" ? this.newest : null;
    if (last) this.messages = this.messages.slice(0, -1);
    const message = this.messages.findLast((each) => each.role === "user");
    const taken = await this.#run({ trigger: "regenerate-message", messageId: last?.id, message });
    if (!taken) this.messages = before;
    this.#changed();
  }

  /** Say yes or no to one call; all of a step's are sent together once each has its answer. */
  async decide(call, approved) {
    call.approval = { ...call.approval, approved };
    call.state = "approval-responded";
    this.#changed();
    if (!this.asking.length) await this.sendDecisions();
  }

  async sendDecisions() {
    const message = this.newest;
    await this.#run({ trigger: "submit-message", messageId: message.id, message }, message);
    this.#changed();
  }

  /** Decisions that were made and not yet taken: the answer to them has not begun. */
  get undelivered() {
    return this.newest?.role === "assistant" && this.newest.parts.some((part) => part.state === "approval-responded");
  }

  async stop() {
    const messageId = this.newest?.role === "assistant" ? this.newest.id : undefined;
    try {
      await post(`${path(this.id)}/stop`, messageId ? { messageId } : {});
    } catch (error) {
      this.problem = error;
      this.#changed();
    }
  }

  async undo(message) {
    await post(`/api/messages/${message.id}/undo`);
    message.metadata.undone_at = new Date().toISOString();
    this.#changed();
    this.dispatchEvent(new Event("changed"));
  }

  /** Follow the answer that is under way, if one is; the whole of it comes from its start. */
  async resume() {
    const response = await request("GET", `${path(this.id)}/stream`, { signal: this.left.signal });
    if (response.status === 204) return false;
    await this.#follow(response);
    return true;
  }

  /** Look at this conversation no longer; the answer goes on without us. */
  leave() {
    this.left.abort();
  }

  async #run(body, continued = null) {
    if (this.busy) return false;
    this.problem = null;
    this.#set("waiting");
    const place = this.isNew && this.projectId !== null ? { project_id: this.projectId } : {};
    try {
      const response = await request("POST", "/api/ui/chat", { body: { id: this.id, ...place, ...body }, accept: "text/event-stream", signal: this.left.signal });
      this.dispatchEvent(new Event("begun"));
      await this.#follow(response, continued);
      return true;
    } catch (error) {
      if (error.name === "AbortError") return true;
      this.problem = error;
      this.#set("ready");
      return false;
    }
  }

  async #follow(response, continued = null) {
    try {
      await this.#read(response, continued);
    } catch (error) {
      if (error.name === "AbortError") return;
      if (!(error instanceof StreamCut)) throw error;
      await this.#find();
    }
    this.#set("ready");
    this.dispatchEvent(new Event("changed"));
  }

  async #read(response, continued) {
    const message = continued ?? emptyMessage();
    for await (const part of readParts(response.body)) {
      if (part.type === "start") this.#place(message, part, continued);
      applyPart(message, part);
      if (part.type === "data-error") this.#fail(part.data);
      if (part.type === "error" && !this.problem) this.#fail({ message: part.errorText });
      if (part.type.startsWith("tool-output")) this.dispatchEvent(new Event("changed"));
      this.#set("streaming");
    }
  }

  /** Put the message where one of its id stands, which it replaces, else at the end. */
  #place(message, part, continued) {
    if (continued) return;
    const at = this.messages.findIndex((each) => each.id === part.messageId);
    if (at < 0) {
      this.messages.push(message);
      return;
    }
    message.metadata = this.messages[at].metadata;
    this.messages[at] = message;
  }

  #fail(told) {
    this.problem = { status: 200, code: told.code ?? null, message: told.message, details: told.details ?? null, retryAfter: told.retry_after ?? null };
  }

  /** The connection was lost in mid-answer: look for the stream again, then for what was saved. */
  async #find() {
    for (const pause of PAUSES) {
      this.#set("lost");
      await new Promise((done) => setTimeout(done, pause));
      try {
        const response = await request("GET", `${path(this.id)}/stream`, { signal: this.left.signal });
        if (response.status === 204) this.messages = await get(path(this.id));
        else await this.#read(response, null);
        return;
      } catch (error) {
        if (error.name === "AbortError") return;
      }
    }
    this.#fail({ code: "OFFLINE", message: "The connection was lost. Reload to see how it ended." });
  }

  #set(state) {
    this.state = state;
    this.#changed();
  }

  #changed() {
    this.dispatchEvent(new Event("change"));
  }
}
