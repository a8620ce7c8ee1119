// A stream through the decoder of assistant-ui, which takes none without [DONE].

import { AssistantMessageAccumulator, UIMessageStreamDecoder } from "assistant-stream";

const [url, token] = process.argv.slice(2);
const response = await fetch(url, { headers: { Authorization: `Bearer ${token}` } });
let message;
const decoded = response.body
  .pipeThrough(new UIMessageStreamDecoder())
  .pipeThrough(new AssistantMessageAccumulator());
for await (const so_far of decoded) message = so_far;
process.stdout.write(JSON.stringify(message) + "\n");
