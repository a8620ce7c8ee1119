"""An answer of each kind, read before anybody waits for one.

`openai` makes the types of an answer when it first reads one: a third of a second of a processor's
time in one go, in which nobody is served. Here a thread at the start does.
"""

import asyncio
import json
import logging
from functools import cache
from typing import Any

import httpx2
from openai import AsyncOpenAI

from backend.settings.providers import Api

logger = logging.getLogger(__name__)

_USAGE = {
    "input_tokens": 1,
    "output_tokens": 1,
    "total_tokens": 2,
    "input_tokens_details": {"cached_tokens": 0},
    "output_tokens_details": {"reasoning_tokens": 0},
}
_TEXT = {"type": "output_text", "text": "Yes.", "annotations": []}
_SAID = {"id": "1", "type": "message", "role": "assistant", "status": "completed"}
_RESPONSE = {
    "id": "1",
    "object": "response",
    "created_at": 0,
    "model": "rehearsed",
    "output": [{**_SAID, "content": [_TEXT]}],
    "parallel_tool_calls": False,
    "tool_choice": "auto",
    "tools": [],
    "usage": _USAGE,
}
_COMPLETION: dict[str, Any] = {"id": "1", "created": 0, "model": "rehearsed"}
_MESSAGE = {"role": "assistant", "content": "Yes."}
_ANSWERS = {
    "responses": _RESPONSE,
    "completions": {
        **_COMPLETION,
        "object": "chat.completion",
        "choices": [{"index": 0, "finish_reason": "stop", "message": _MESSAGE}],
    },
}
_PIECE = {"delta": "Yes.", "item_id": "1", "output_index": 0, "content_index": 0, "logprobs": []}
_EVENTS: dict[str, list[dict[str, Any]]] = {
    "responses": [
        {"type": "response.created", "response": _RESPONSE},
        {"type": "response.output_text.delta", **_PIECE},
        {"type": "response.completed", "response": _RESPONSE},
    ],
    "completions": [
        {
            **_COMPLETION,
            "object": "chat.completion.chunk",
            "choices": [{"index": 0, "finish_reason": "stop", "delta": _MESSAGE}],
        }
    ],
}


@cache
def rehearse(api: Api) -> None:
    """Have the types of this API's answers, whole and streamed, made; once in a process.

    For a thread without an event loop. Where it fails, the first answer is slower, no more.
    """
    try:
        asyncio.run(_rehearse(api))
    except Exception as error:
        logger.warning("answers of %s were not rehearsed", api, exc_info=error)


async def _rehearse(api: Api) -> None:
    transport = httpx2.MockTransport(_rehearsed_answer)
    network = httpx2.AsyncClient(transport=transport, trust_env=False)
    async with AsyncOpenAI(api_key="none", base_url="http://nowhere", http_client=network) as asked:
        if api == "responses":
            await asked.responses.create(model="rehearsed", input="Well?")
            events: Any = await asked.responses.create(model="rehearsed", input="?", stream=True)
        else:
            await asked.chat.completions.create(model="rehearsed", messages=[])
            events = await asked.chat.completions.create(
                model="rehearsed", messages=[], stream=True
            )
        async for _ in events:
            pass


def _rehearsed_answer(request: httpx2.Request) -> httpx2.Response:
    kind = request.url.path.rpartition("/")[2]
    if not json.loads(request.content).get("stream"):
        return httpx2.Response(200, json=_ANSWERS[kind])
    events = (json.dumps({"sequence_number": 0, **each}) for each in _EVENTS[kind])
    lines = "".join(f"data: {event}\n\n" for event in events)
    return httpx2.Response(200, text=lines, headers={"Content-Type": "text/event-stream"})
