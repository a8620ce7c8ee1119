"""An answer of the Responses API as some server sends it, made into what the format describes."""

from collections.abc import Iterator
from typing import Any
from uuid import uuid4

from backend.agent.wire.call_markup import written_calls
from backend.agent.wire.calls import read_call
from backend.agent.wire.exchange import Exchange
from backend.agent.wire.failures import Failed, failed, raise_bad_end, raise_failure
from backend.agent.wire.texts import text_of, without_thinking
from backend.agent.wire.usage import mend_responses_usage
from backend.conversations.tool_calls import strip_unstorable

_UNFINISHED = frozenset({"failed", "queued", "in_progress", "cancelled"})


def mend_response(body: object, exchange: Exchange) -> object:
    """The response with the items that are known, as the format has them; others are left out.

    What is no response at all comes back as it is.

    Raises:
        Failed: it tells of a failure, or is not finished.
    """
    if not isinstance(body, dict):
        return body
    raise_failure(body)
    status = body.get("status")
    if status in _UNFINISHED:
        raise failed(body["error"]) if body.get("error") else Failed(502, {"code": status})
    raise_bad_end(None if status == "incomplete" else status, body.get("error"))
    if "output" not in body:
        return body
    output = body["output"]
    items = output if isinstance(output, list) else [output]
    return {
        **{name: body[name] for name in ("incomplete_details", "metadata") if body.get(name)},
        "id": str(body.get("id") or ""),
        "object": "response",
        "created_at": 0,
        "model": str(body.get("model") or ""),
        "status": "incomplete" if status == "incomplete" else "completed",
        "output": [mended for item in items for mended in mend_item(item, exchange)],
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "tools": [],
        "usage": mend_responses_usage(body.get("usage")),
    }


def mend_item(item: object, exchange: Exchange) -> Iterator[dict[str, Any]]:
    """The item as the format has it, none, or (calls in a text) several."""
    if isinstance(item, str):
        item = {"type": "message", "content": item}
    if not isinstance(item, dict):
        return
    match item.get("type"):
        case "function_call" | "tool_call" | "function":
            yield _function_call(item, exchange)
        case "reasoning" if isinstance(item.get("id"), str):
            yield _reasoning(item)
        case "message" | None if item.get("content") is not None:
            yield from _message_items(item, exchange)


def _function_call(item: dict[str, Any], exchange: Exchange) -> dict[str, Any]:
    name, arguments = read_call(item, exchange.tools)
    return {
        "type": "function_call",
        "id": _id(item, "fc"),
        "call_id": exchange.call_id(item.get("call_id") or item.get("id")),
        "name": name,
        "arguments": arguments,
        "status": "completed",
    }


def _message_items(item: dict[str, Any], exchange: Exchange) -> Iterator[dict[str, Any]]:
    content = item.get("content")
    parts = content if isinstance(content, list) else []
    refusals = [part["refusal"] for part in parts if _is_refusal(part)]
    text = without_thinking(strip_unstorable(text_of(content)))
    text, written = written_calls(text, exchange.tools)
    said: list[dict[str, Any]] = []
    if text:
        said.append({"type": "output_text", "text": text, "annotations": [], "logprobs": []})
    said += [{"type": "refusal", "refusal": refusal} for refusal in refusals]
    if said or not written:
        yield {
            "type": "message",
            "id": _id(item, "msg"),
            "role": "assistant",
            "status": "completed",
            "content": said,
        }
    for name, arguments in written:
        yield _function_call({"name": name, "arguments": arguments}, exchange)


def _is_refusal(part: object) -> bool:
    return isinstance(part, dict) and isinstance(part.get("refusal"), str)


def _reasoning(item: dict[str, Any]) -> dict[str, Any]:
    """As it came, for it has to go back; its summary and its content are lists or not there."""
    lists = {
        name: [part for part in item[name] if isinstance(part, dict)]
        for name in ("summary", "content")
        if isinstance(item.get(name), list)
    }
    rest = {name: value for name, value in item.items() if name not in ("summary", "content")}
    return {**rest, "summary": [], **lists}


def _id(item: dict[str, Any], prefix: str) -> str:
    given = item.get("id")
    return given if isinstance(given, str) and given else f"{prefix}_{uuid4().hex}"
