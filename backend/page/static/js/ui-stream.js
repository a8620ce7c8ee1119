// The AI SDK's UI message stream (v6 wire), read into a message. Stands alone: copy it where you like.
//
//   const message = emptyMessage();
//   for await (const part of readParts(response.body)) applyPart(message, part);
//
// A message is {id, role, metadata, parts}; a part is {type: "text", text, state}, {type: "step-start"},
// {type: "tool-<name>", toolCallId, state, input, output, errorText, approval} or {type: "data-<name>", id, data}.

/** The connection ended before the stream did: nothing is known of the rest. */
export class StreamCut extends Error {}

export const emptyMessage = (id = "") => ({ id, role: "assistant", metadata: {}, parts: [] });

/**
 * The parts of a stream, one after the other, to its `finish`, `abort` or `error`.
 *
 * A body that ends without one of them was cut, however neatly it ended: `StreamCut` is thrown.
 */
export async function* readParts(body) {
  let ended = false;
  try {
    for await (const data of readEvents(body)) {
      if (data === "[DONE]") break;
      const part = JSON.parse(data);
      ended ||= ["finish", "abort", "error"].includes(part.type);
      yield part;
    }
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new StreamCut("the connection was lost", { cause: error });
  }
  if (!ended) throw new StreamCut("the stream has no end");
}

/** The data of each server-sent event; comments, which keep the connection alive, are passed over. */
async function* readEvents(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  try {
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      const events = (rest + value).split(/\r?\n\r?\n/);
      rest = events.pop();
      for (const event of events) {
        const lines = event.split(/\r?\n/).filter((line) => line.startsWith("data:"));
        if (lines.length) yield lines.map((line) => line.slice(5).replace(/^ /, "")).join("\n");
      }
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}

const find = (message, test) => message.parts.findLast(test);
const call = (message, id) => find(message, (each) => each.toolCallId === id);
const text = (message, part) => find(message, (each) => each.streamId === part.id && each.type === part.type.split("-")[0]);

/** What each type of part does to the message. What is not known does nothing. */
const CHANGES = {
  start(message, part) {
    if (part.messageId) message.id = part.messageId;
    merge(message.metadata, part.messageMetadata);
  },
  "start-step": (message) => message.parts.push({ type: "step-start" }),
  "text-start": (message, part) => message.parts.push({ type: "text", streamId: part.id, text: "", state: "streaming" }),
  "text-delta"(message, part) {
    const open = text(message, part);
    if (open) open.text += part.delta;
  },
  "text-end"(message, part) {
    const open = text(message, part);
    if (open) open.state = "done";
  },
  "tool-input-start"(message, part) {
    begin(message, part, { state: "input-streaming" });
  },
  "tool-input-available"(message, part) {
    begin(message, part, { state: "input-available", input: part.input });
  },
  "tool-input-error"(message, part) {
    begin(message, part, { state: "output-error", input: part.input, errorText: part.errorText });
  },
  "tool-approval-request"(message, part) {
    update(message, part, { state: "approval-requested", approval: { id: part.approvalId } });
  },
  "tool-output-available"(message, part) {
    update(message, part, { state: "output-available", output: part.output, preliminary: part.preliminary });
  },
  "tool-output-error"(message, part) {
    update(message, part, { state: "output-error", errorText: part.errorText });
  },
  "tool-output-denied"(message, part) {
    update(message, part, { state: "output-denied" });
  },
  "message-metadata": (message, part) => merge(message.metadata, part.messageMetadata),
  finish(message, part) {
    merge(message.metadata, part.messageMetadata);
    message.finishReason = part.finishReason ?? "stop";
  },
  abort(message) {
    message.finishReason = "abort";
  },
  error(message, part) {
    message.finishReason = "error";
    message.errorText = part.errorText;
  },
};

/** Change `message` as `part` says. */
export function applyPart(message, part) {
  if (Object.hasOwn(CHANGES, part.type)) CHANGES[part.type](message, part);
  else if (part.type.startsWith("data-")) keepData(message, part);
}

function begin(message, part, values) {
  const type = part.dynamic ? "dynamic-tool" : `tool-${part.toolName}`;
  if (!call(message, part.toolCallId)) message.parts.push({ type, toolName: part.toolName, toolCallId: part.toolCallId });
  update(message, part, values);
}

function update(message, part, values) {
  const known = call(message, part.toolCallId);
  if (known) Object.assign(known, values);
}

/** Data under the same type and id replaces what was there; what is transient is for `onData` alone. */
function keepData(message, part) {
  if (part.transient) return;
  const same = part.id !== undefined && message.parts.find((each) => each.type === part.type && each.id === part.id);
  if (same) same.data = part.data;
  else message.parts.push({ type: part.type, id: part.id, data: part.data });
}

/** Deeply, without touching what every object inherits. */
function merge(into, from) {
  for (const [key, value] of Object.entries(from ?? {})) {
    if (key === "__proto__") continue;
    const both = [into[key], value].every((each) => each && typeof each === "object" && !Array.isArray(each));
    if (both) merge(into[key], value);
    else into[key] = value;
  }
}
