"""The types of a provider's answers, made before there is an answer.

`openai` makes them when the first one comes: a third of a second of a processor's time in one go,
in which nobody is served.
"""

import json
from typing import Any, cast

import httpx2
from openai import AsyncOpenAI, AsyncStream
from openai.types.chat import ChatCompletionChunk
from openai.types.responses import ResponseStreamEvent

from backend.settings.providers import Api

_EMPTY_RESPONSE = {
    "id": "r",
    "object": "response",
    "created_at": 0,
    "model": "m",
    "output": [],
    "parallel_tool_calls": True,
    "tool_choice": "auto",
    "tools": [],
}
_PLACE_OF_TEXT = {"item_id": "m", "output_index": 0, "content_index": 0}
_SAMPLE_CHUNK = {"id": "c", "object": "chat.completion.chunk", "created": 0, "model": "m"}
_SAMPLE_EVENTS: dict[Api, tuple[dict[str, Any], ...]] = {
    "responses": (
        {"type": "response.created", "response": _EMPTY_RESPONSE},
        {"type": "response.output_text.delta", "delta": "", "logprobs": [], **_PLACE_OF_TEXT},
        {"type": "response.completed", "response": _EMPTY_RESPONSE},
    ),
    "chat_completions": (
        _SAMPLE_CHUNK
        | {"choices": [{"index": 0, "delta": {"content": ""}, "finish_reason": None}]},
    ),
}
_EVENT_TYPES: dict[Api, object] = {
    "responses": ResponseStreamEvent,
    "chat_completions": ChatCompletionChunk,
}

_made = set[Api]()
"""Of which APIs this process has them."""


async def make_answer_types(client: AsyncOpenAI, api: Api) -> None:
    """Have them made, once in a process, by reading a stream that came from nowhere."""
    if api in _made:
        return
    _made.add(api)
    lines = (
        f"data: {json.dumps({'sequence_number': 0, **each})}\n\n" for each in _SAMPLE_EVENTS[api]
    )
    came = httpx2.Response(
        200, content="".join(lines), request=httpx2.Request("POST", "http://localhost")
    )
    kind = cast(type[Any], _EVENT_TYPES[api])
    async for _ in AsyncStream[Any](cast_to=kind, response=cast(Any, came), client=client):
        pass
