"""An answer in OpenAI's two wire formats as the events of a stream, made from the whole body."""

import json
from collections.abc import Iterator
from typing import Any

PIECE = 7
"""Characters of a text or of arguments in one event."""


def _pieces(text: str) -> list[str]:
    return [text[at : at + PIECE] for at in range(0, len(text), PIECE)]


def chat_events(body: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The chunks that add up to the body: text, calls, the reason of the end, usage."""
    head = {"id": body["id"], "object": "chat.completion.chunk", "created": 1, "model": "scripted"}
    [choice] = body["choices"]
    message = choice["message"]

    def chunk(delta: dict[str, Any], reason: str | None = None) -> dict[str, Any]:
        return head | {"choices": [{"index": 0, "delta": delta, "finish_reason": reason}]}

    yield chunk({"role": "assistant", "content": ""})
    for piece in _pieces(message.get("content") or ""):
        yield chunk({"content": piece})
    for index, call in enumerate(message.get("tool_calls") or []):
        name, arguments = call["function"]["name"], call["function"]["arguments"]
        begun = {"index": index, "id": call["id"], "type": "function"}
        yield chunk({"tool_calls": [begun | {"function": {"name": name, "arguments": ""}}]})
        for piece in _pieces(arguments):
            yield chunk({"tool_calls": [{"index": index, "function": {"arguments": piece}}]})
    yield chunk({}, choice["finish_reason"])
    yield head | {"choices": [], "usage": body["usage"]}


def responses_events(body: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """`response.created`, each item with its deltas, `response.completed`."""
    yield {"type": "response.created", "response": body | {"output": [], "status": "in_progress"}}
    for index, item in enumerate(body["output"]):
        at = {"output_index": index, "item_id": item["id"]}
        yield {"type": "response.output_item.added", "output_index": index, "item": item}
        if item["type"] == "function_call":
            for piece in _pieces(item["arguments"]):
                yield at | {"type": "response.function_call_arguments.delta", "delta": piece}
        else:
            for piece in _pieces(item["content"][0]["text"]):
                delta = {"type": "response.output_text.delta", "content_index": 0, "delta": piece}
                yield at | delta | {"logprobs": []}
        yield {"type": "response.output_item.done", "output_index": index, "item": item}
    yield {"type": "response.completed", "response": body}


def as_stream(body: dict[str, Any], path: str) -> bytes:
    """The body of the HTTP answer."""
    if path.endswith("/chat/completions"):
        lines = [f"data: {json.dumps(event)}\n\n" for event in chat_events(body)]
        return "".join([*lines, "data: [DONE]\n\n"]).encode()
    numbered = [
        event | {"sequence_number": number} for number, event in enumerate(responses_events(body))
    ]
    return "".join(
        f"event: {event['type']}\ndata: {json.dumps(event)}\n\n" for event in numbered
    ).encode()
