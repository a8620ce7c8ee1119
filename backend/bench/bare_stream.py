"""The other half of the pair for streams: `Runner.run_streamed` behind the smallest SSE route.

No person, no database, no record: each delta of text is an event. The provider's address is in
the environment, under the SDK's own name.
"""

import json
from collections.abc import AsyncIterator

from agents import Agent, OpenAIResponsesModel, RunConfig, Runner, set_tracing_disabled
from fastapi import FastAPI, Request
from fastapi.responses import StreamingResponse
from openai import AsyncOpenAI

from backend.bench.bare_loop import INSTRUCTIONS, tools

set_tracing_disabled(True)
app = FastAPI()


@app.get("/health")
async def health() -> dict[str, str]:
    return {"status": "ok"}


@app.post("/chat")
async def chat(request: Request) -> StreamingResponse:
    message = (await request.json())["message"]
    client: AsyncOpenAI | None = getattr(app.state, "client", None)
    if client is None:
        client = app.state.client = AsyncOpenAI()
    model = OpenAIResponsesModel("gpt-4o-mini", client)
    agent = Agent(name="Todo assistant", instructions=INSTRUCTIONS, tools=tools(), model=model)

    async def events() -> AsyncIterator[str]:
        run = Runner.run_streamed(agent, message, run_config=RunConfig(tracing_disabled=True))
        async for event in run.stream_events():
            if (
                event.type == "raw_response_event"
                and event.data.type == "response.output_text.delta"
            ):
                yield f"data: {json.dumps({'delta': event.data.delta})}\n\n"

    return StreamingResponse(events(), media_type="text/event-stream")
