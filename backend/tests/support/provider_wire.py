"""What a scripted provider can answer, and how OpenAI's two wire formats write it."""

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

from backend.tests.support.provider_stream import as_stream

PROVIDER_TEXT = "detail that only the provider's customer should read"
"""Stands in every error this provider sends; a client of ours must never see it."""


@dataclass(frozen=True)
class Request:
    """One request as it came; header names are in lower case."""

    path: str
    headers: dict[str, str]
    body: dict[str, Any]

    @property
    def items(self) -> list[dict[str, Any]]:
        """The conversation in it, oldest first, without the instructions."""
        given = self.body.get("input", self.body.get("messages", []))
        if isinstance(given, str):
            return [{"role": "user", "content": given}]
        return [item for item in given if item.get("role") != "system"]


@dataclass(frozen=True)
class FunctionCall:
    """`arguments` is text as a model writes it: JSON, or not. No `call_id`: one is made."""

    name: str
    arguments: str = "{}"
    call_id: str | None = None


@dataclass(frozen=True)
class Answer:
    """A 200 with a text, with calls, with both, or (neither given) with nothing at all."""

    text: str | None = None
    calls: tuple[FunctionCall, ...] = ()


@dataclass(frozen=True)
class Failure:
    """An error in the provider's envelope, with `PROVIDER_TEXT` in it."""

    status: int
    code: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)


CONTEXT_TOO_LONG = Failure(400, code="context_length_exceeded")


@dataclass(frozen=True)
class Raw:
    """A body sent as it is, for answers that are not what the format says."""

    body: bytes
    status: int = 200
    content_type: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)


GARBAGE = Raw(f"<html>{PROVIDER_TEXT}</html>".encode(), content_type="text/html")


@dataclass(frozen=True)
class Drop:
    """The connection is closed after `sent`, which may be the start of an answer."""

    sent: bytes = b""


HALF_ANSWER = Drop(
    b'HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 99\r\n\r\n{"i'
)


@dataclass(frozen=True)
class Hang:
    """No answer until `release` is set; then `then`."""

    then: "Step" = field(default_factory=lambda: Answer("Late."))
    release: asyncio.Event = field(default_factory=asyncio.Event)


Step = Answer | Failure | Raw | Drop | Hang


def _responses_body(answer: Answer, calls: list[FunctionCall]) -> dict[str, Any]:
    output: list[dict[str, Any]] = [
        {"type": "function_call", "id": f"fc_{call.call_id}", "status": "completed"}
        | {"call_id": call.call_id, "name": call.name, "arguments": call.arguments}
        for call in calls
    ]
    if answer.text is not None:
        content = {"type": "output_text", "text": answer.text, "annotations": []}
        message = {"type": "message", "id": "msg_1", "role": "assistant", "status": "completed"}
        output.append(message | {"content": [content]})
    return {
        "id": "resp_1",
        "object": "response",
        "created_at": 1,
        "status": "completed",
        "model": "scripted",
        "output": output,
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "tools": [],
        "usage": {
            "input_tokens": 10,
            "input_tokens_details": {"cached_tokens": 0},
            "output_tokens": 5,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": 15,
        },
    }


def _chat_body(answer: Answer, calls: list[FunctionCall]) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": answer.text}
    if calls:
        message["tool_calls"] = [
            {"id": call.call_id, "type": "function"}
            | {"function": {"name": call.name, "arguments": call.arguments}}
            for call in calls
        ]
    reason = "tool_calls" if calls else "stop"
    return {
        "id": "chatcmpl_1",
        "object": "chat.completion",
        "created": 1,
        "model": "scripted",
        "choices": [{"index": 0, "finish_reason": reason, "message": message}],
        "usage": {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15},
    }


def _http(status: int, body: bytes, headers: Mapping[str, str]) -> bytes:
    known = status in HTTPStatus._value2member_map_
    phrase = HTTPStatus(status).phrase if known else "Of Its Own"
    lines = [f"HTTP/1.1 {status} {phrase}", f"content-length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode() + body


def json_answer(status: int, body: Any, headers: Mapping[str, str] | None = None) -> bytes:
    encoded = json.dumps(body).encode()
    return _http(status, encoded, {"content-type": "application/json", **(headers or {})})


def render(
    step: Answer | Failure | Raw, path: str, number: int, *, streamed: bool = False
) -> bytes:
    """The whole HTTP answer; `number`, the request's, keeps the ids of calls apart in a run."""
    match step:
        case Raw():
            headers = {"content-type": step.content_type, **step.headers}
            return _http(step.status, step.body, headers)
        case Failure():
            error = {"message": PROVIDER_TEXT, "type": "error", "param": None, "code": step.code}
            return json_answer(step.status, {"error": error}, step.headers)
    calls = [
        FunctionCall(call.name, call.arguments, call.call_id or f"call_{number}_{index}")
        for index, call in enumerate(step.calls)
    ]
    build = _chat_body if path.endswith("/chat/completions") else _responses_body
    body = build(step, calls)
    if streamed:
        return _http(200, as_stream(body, path), {"content-type": "text/event-stream"})
    return json_answer(200, body)
