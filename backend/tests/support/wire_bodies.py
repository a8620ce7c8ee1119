"""Bodies of Chat Completions and of the Responses API as servers really send them."""

import json
from typing import Any

from backend.tests.support.provider_wire import Raw


def raw(body: Any, status: int = 200) -> Raw:
    """Any JSON as the answer's body."""
    return Raw(json.dumps(body).encode(), status)


def completion(message: Any, reason: Any = "stop", **more: Any) -> Raw:
    """A chat completion of one choice; `more` are members of the body."""
    return completion_of([{"index": 0, "finish_reason": reason, "message": message}], **more)


def completion_of(choices: Any, **more: Any) -> Raw:
    return raw({"id": "c", "object": "chat.completion", "choices": choices, **more})


def call(arguments: Any = None, name: Any = "add_task", call_id: Any = "aB3dE6gH9") -> Any:
    """A call of `add_task` for milk, unless told otherwise."""
    given = '{"title": "Buy milk"}' if arguments is None else arguments
    return {"id": call_id, "type": "function", "function": {"name": name, "arguments": given}}


def calling(*calls: Any, content: Any = None, **more: Any) -> Raw:
    """A completion that calls tools."""
    message = {"role": "assistant", "content": content, "tool_calls": list(calls), **more}
    return completion(message, "tool_calls")


def saying(content: Any, reason: Any = "stop", **more: Any) -> Raw:
    """A completion that is a text."""
    return completion({"role": "assistant", "content": content}, reason, **more)


def response(*output: Any, **more: Any) -> Raw:
    """An answer of the Responses API."""
    body = {"id": "r", "object": "response", "status": "completed", "output": list(output)}
    return raw(body | more)
