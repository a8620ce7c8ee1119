"""A chat completion as some server sends it, made into the one that the format describes."""

from collections.abc import Iterator
from typing import Any

from backend.agent.wire.call_markup import written_calls
from backend.agent.wire.calls import read_call
from backend.agent.wire.exchange import Exchange, Reasoning
from backend.agent.wire.failures import raise_bad_end, raise_failure
from backend.agent.wire.texts import text_of, without_thinking
from backend.agent.wire.usage import mend_chat_usage
from backend.conversations.tool_calls import strip_unstorable

_OF_A_MESSAGE: dict[str, type] = {"reasoning_content": str, "reasoning_details": list}
"""What a provider may want back with the calls of a message: Kimi, DeepSeek; OpenRouter."""
_OF_A_CALL: dict[str, type] = {"extra_content": dict}
"""The same of one call: Gemini's signature of a thought."""
_FINISHED = frozenset({"stop", "length", "tool_calls", "content_filter", "function_call"})


def mend_completion(body: object, exchange: Exchange) -> object:
    """The completion with one choice, its text and its calls as the format has them.

    What is no completion at all comes back as it is. What a provider wants back with its
    calls is put into the run of `exchange`, and left out of what goes on.

    Raises:
        Failed: it tells of a failure, or was broken off by one.
    """
    if not isinstance(body, dict):
        return body
    raise_failure(body)
    choices = _choices(body)
    if not choices:
        return body
    reason = _finish_reason(choices)
    message = _merged(choices, exchange)
    ended = "tool_calls" if message["tool_calls"] else reason if reason in _FINISHED else "stop"
    return {
        "id": str(body.get("id") or ""),
        "object": "chat.completion",
        "created": 0,
        "model": str(body.get("model") or ""),
        "choices": [{"index": 0, "finish_reason": ended, "message": message}],
        "usage": mend_chat_usage(body.get("usage")),
    }


def _choices(body: dict[str, Any]) -> list[dict[str, Any]]:
    given = body.get("choices")
    if isinstance(given, dict):
        given = [given]
    if not given and isinstance(body.get("message"), dict):
        given = [body]
    return [each for each in given if isinstance(each, dict)] if isinstance(given, list) else []


def _finish_reason(choices: list[dict[str, Any]]) -> str | None:
    """Why it ended, by the first that says so; one that was broken off decides for all."""
    for choice in choices:
        raise_bad_end(choice.get("finish_reason"), choice.get("error"))
    given = (choice.get("finish_reason") for choice in choices)
    return next((reason for reason in given if isinstance(reason, str) and reason), None)


def _message_of_choice(choice: dict[str, Any]) -> dict[str, Any]:
    for name in ("message", "delta"):
        if isinstance(choice.get(name), dict):
            given: dict[str, Any] = choice[name]
            return given
    return {"content": choice.get("message") or choice.get("text")}


def _merged(choices: list[dict[str, Any]], exchange: Exchange) -> dict[str, Any]:
    """One message of all choices: some gateways put the text into one, the calls into others."""
    messages = [_message_of_choice(choice) for choice in choices]
    texts = (without_thinking(strip_unstorable(text_of(each.get("content")))) for each in messages)
    text = next(filter(str.strip, texts), "")
    refusals = (each["refusal"] for each in messages if isinstance(each.get("refusal"), str))
    given = [pair for each in messages for pair in _given_calls(each)]
    read = [(*read_call(call, exchange.tools), call) for call, _ in given]
    wanted: list[Reasoning] = [beside for _, beside in given]
    if not read:
        text, written = written_calls(text, exchange.tools)
        read = [(*call, {}) for call in written]
        wanted = [_kept(messages[0], _OF_A_MESSAGE)] * bool(written)
    return {
        "role": "assistant",
        "content": text or None,
        "refusal": next(refusals, None) or None,
        "tool_calls": list(_calls_on_the_wire(read, wanted, exchange)),
    }


def _given_calls(message: dict[str, Any]) -> Iterator[tuple[dict[str, Any], Reasoning]]:
    """The calls of a message, each with what is wanted back with it, none of them twice."""
    given = message.get("tool_calls") or message.get("function_call") or []
    calls = given if isinstance(given, list) else [given]
    real = [call for call in calls if isinstance(call, dict) and call]
    wanted = _kept(message, _OF_A_MESSAGE)
    # what cannot be read is a call all the same, so that the model is told
    for number, call in enumerate(real or [{} for _ in calls]):
        if call in real[:number]:
            continue
        yield call, {**(wanted if number == 0 else {}), **_kept(call, _OF_A_CALL)}


def _calls_on_the_wire(
    read: list[tuple[str, str, dict[str, Any]]], wanted: list[Reasoning], exchange: Exchange
) -> Iterator[dict[str, Any]]:
    for number, (name, arguments, call) in enumerate(read):
        call_id = exchange.call_id(call.get("id"))
        if number < len(wanted) and wanted[number]:
            exchange.run.keep(call_id, wanted[number])
        function = {"name": name, "arguments": arguments}
        yield {"id": call_id, "type": "function", "function": function}


def _kept(part: dict[str, Any], names: dict[str, type]) -> Reasoning:
    return {
        name: part[name]
        for name, kind in names.items()
        if part.get(name) and isinstance(part[name], kind)
    }
