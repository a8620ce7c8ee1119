// A chat of the AI SDK, as a page has it, driven line by line: a command in JSON on standard input, what
// is so on standard output. The first argument names the package, the second holds what the chat begins with.
//
// Each command is answered with its number once it is over; each change of the messages is told as it comes. A cut
// is what a client sees of a connection that breaks: the body of its response fails.

import { createInterface } from "node:readline";

const [name, given] = process.argv.slice(2);
const { AbstractChat, DefaultChatTransport, ...sdk } = await import(name);
const { id, token, addresses, messages = [], automatic = false } = JSON.parse(given);

const tell = (what) => process.stdout.write(JSON.stringify(what) + "\n");
let address = addresses[0];
let cut = () => {};
let failures = 0;

async function watchedFetch(url, options = {}) {
  if (failures > 0) {
    failures -= 1;
    throw new TypeError("fetch failed");
  }
  const response = await fetch(url, options);
  tell({ answered: response.status, method: options.method ?? "GET" });
  if (!response.body) return response;
  const broken = new Promise((_, reject) => {
    cut = () => reject(new TypeError("network error"));
  });
  broken.catch(() => {});
  const reader = response.body.getReader();
  const body = new ReadableStream({
    async pull(controller) {
      try {
        const { done, value } = await Promise.race([reader.read(), broken]);
        if (done) controller.close();
        else controller.enqueue(value);
      } catch (error) {
        controller.error(error);
        reader.cancel().catch(() => {});
      }
    },
    cancel: (reason) => reader.cancel(reason),
  });
  return new Response(body, { status: response.status, headers: response.headers });
}

class State {
  constructor(messages) {
    this.messages = messages;
    this.status = "ready";
    this.error = undefined;
  }
  pushMessage = (message) => {
    this.messages = [...this.messages, message];
    tell({ messages: this.messages });
  };
  popMessage = () => {
    this.messages = this.messages.slice(0, -1);
  };
  replaceMessage = (index, message) => {
    this.messages = this.messages.with(index, message);
    tell({ messages: this.messages });
  };
  snapshot = (value) => structuredClone(value);
}

class Chat extends AbstractChat {
  constructor({ messages, ...init }) {
    super({ ...init, state: new State(messages) });
  }
}

// the address changes as a balancer would change it, under a page that knows of one
const transport = new DefaultChatTransport({
  api: "http://chat/api/ui/chat",
  headers: () => ({ Authorization: `Bearer ${token}` }),
  fetch: (url, options) => watchedFetch(String(url).replace("http://chat", address), options),
});
const chat = new Chat({
  id,
  messages,
  transport,
  onError: (error) => tell({ failed: error.message }),
  onData: (part) => tell({ data: part }),
  ...(automatic && {
    sendAutomaticallyWhen: sdk.lastAssistantMessageIsCompleteWithApprovalResponses,
  }),
});

const commands = {
  send: ({ text, messageId }) => chat.sendMessage(text === undefined ? undefined : { text, messageId }),
  resume: () => chat.resumeStream(),
  regenerate: ({ messageId }) => chat.regenerate({ messageId }),
  approve: ({ approval, approved, reason }) =>
    chat.addToolApprovalResponse({ id: approval, approved, reason }),
  leave: () => chat.stop(),
  cut: () => cut(),
  fail: ({ times }) => void (failures = times),
  move: ({ to }) => void (address = addresses[to]),
};

for await (const line of createInterface({ input: process.stdin })) {
  const command = JSON.parse(line);
  Promise.resolve(commands[command.do](command)).then(
    () => report(command),
    (error) => report(command, error),
  );
}

function report(command, error) {
  tell({
    over: command.number,
    status: chat.status,
    messages: chat.messages,
    error: error?.message ?? chat.error?.message ?? null,
  });
}
