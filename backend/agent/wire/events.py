"""A streamed answer, chunk by chunk: what can be shown of it now, and at its end the whole.

Texts are passed on as they come, but for what is, or may become, a thought or a call. Calls
wait for their end, since only whole ones can be mended; they are short.
"""

from collections.abc import Iterator
from typing import Any, Protocol

from backend.agent.wire.completions import mend_completion
from backend.agent.wire.exchange import Exchange
from backend.agent.wire.failures import BrokenOff, failed, raise_failure
from backend.agent.wire.responses import mend_response
from backend.agent.wire.texts import sayable, text_of
from backend.conversations.tool_calls import strip_unstorable

type Event = dict[str, Any]


class Events(Protocol):
    """The events of one answer, mended."""

    done: bool
    """Whether nothing more is to come."""

    def add(self, event: Event) -> Iterator[Event]:
        """What goes on for an event that has come.

        Raises:
            Failed: it tells of a failure.
        """

    def end(self, *, marked: bool) -> Iterator[Event]:
        """What goes on when no more comes; `marked` is whether the stream said so itself.

        Raises:
            Failed: the answer was broken off.
        """

    def whole(self, body: Event) -> Iterator[Event]:
        """What goes on for an answer that came in one piece after all."""


class _Said:
    """A text that is being written, and how much of it has been shown."""

    def __init__(self) -> None:
        self.written = ""
        self._shown = ""

    def add(self, piece: str) -> str:
        self.written += piece
        return self._next(sayable(self.written))

    def rest(self, whole: str) -> str:
        """What of the mended text has not been shown."""
        return self._next(whole)

    def _next(self, text: str) -> str:
        if not text.startswith(self._shown):
            return ""
        piece = text[len(self._shown) :]
        self._shown = text
        return piece


class ChatEvents:
    """The chunks of a chat completion."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self._head: Event = {"object": "chat.completion.chunk", "created": 0}
        self._messages: dict[int, Event] = {}
        self._ends: dict[int, Event] = {}
        self._usage: object = None
        self._said = _Said()
        self.done = False

    def add(self, event: Event) -> Iterator[Event]:
        raise_failure(event)
        self._usage = event.get("usage") or self._usage
        for name in ("id", "model"):
            self._head.setdefault(name, str(event.get(name) or ""))
        choices = event.get("choices")
        for position, choice in enumerate(choices if isinstance(choices, list) else []):
            if isinstance(choice, dict):
                yield from self._add_choice(choice, position)

    def _add_choice(self, choice: Event, position: int) -> Iterator[Event]:
        index = choice.get("index")
        number = index if isinstance(index, int) else position
        told = {name: choice[name] for name in ("finish_reason", "error") if choice.get(name)}
        self._ends.setdefault(number, {}).update(told)
        message = self._messages.setdefault(number, {"content": "", "tool_calls": []})
        delta = choice.get("delta") or choice.get("message")
        if not isinstance(delta, dict):
            return
        for name in ("reasoning_content", "refusal"):
            if isinstance(delta.get(name), str):
                message[name] = message.get(name, "") + delta[name]
        if isinstance(delta.get("reasoning_details"), list):
            message.setdefault("reasoning_details", []).extend(delta["reasoning_details"])
        calls = delta.get("tool_calls") or delta.get("function_call") or []
        for call in calls if isinstance(calls, list) else [calls]:
            _add_call(message["tool_calls"], call)
        piece = strip_unstorable(text_of(delta.get("content")))
        message["content"] += piece
        # where calls are coming, or a choice before has spoken, it waits for the end
        if piece and number == 0 and (shown := self._said.add(piece)):
            yield self._chunk({"role": "assistant", "content": shown})

    def end(self, *, marked: bool) -> Iterator[Event]:
        ended = marked or any(end.get("finish_reason") for end in self._ends.values())
        if not (ended and self._ends):
            raise BrokenOff(began=bool(self._ends))
        choices = [
            {"message": message, **self._ends[number]}
            for number, message in sorted(self._messages.items())
        ]
        return self.whole({**self._head, "choices": choices, "usage": self._usage})

    def whole(self, body: Event) -> Iterator[Event]:
        mended = mend_completion(body, self._exchange)
        if not isinstance(mended, dict) or not mended.get("choices"):
            raise failed({"message": "no completion"})
        [choice] = mended["choices"]
        message = choice["message"]
        if rest := self._said.rest(message["content"] or ""):
            yield self._chunk({"role": "assistant", "content": rest})
        if message["refusal"]:
            yield self._chunk({"refusal": message["refusal"]})
        for index, call in enumerate(message["tool_calls"]):
            yield self._chunk({"tool_calls": [{"index": index, **call}]})
        yield self._chunk({}, choice["finish_reason"])
        yield {**self._head, "choices": [], "usage": mended["usage"]}

    def _chunk(self, delta: Event, reason: str | None = None) -> Event:
        return {
            **self._head,
            "choices": [{"index": 0, "delta": delta, "finish_reason": reason}],
        }


def _add_call(calls: list[Event], piece: object) -> None:
    """Add a piece of a call to the call it belongs to: by its index, its id, or as the last."""
    if not isinstance(piece, dict):
        calls.append({})
        return
    given = piece.get("function")
    function: Event = given if isinstance(given, dict) else piece
    call = _call_of(calls, piece, function)
    for name in ("id", "extra_content"):
        if piece.get(name):
            call[name] = piece[name]
    told = function.get("name")
    if isinstance(told, str) and told != call["function"]["name"]:
        call["function"]["name"] += told
    arguments, before = function.get("arguments"), call["function"]["arguments"]
    if isinstance(arguments, str) and isinstance(before, str):
        call["function"]["arguments"] = before + arguments
    elif arguments:
        call["function"]["arguments"] = arguments


def _call_of(calls: list[Event], piece: Event, function: Event) -> Event:
    index, given = piece.get("index"), piece.get("id")
    found = [call for call in calls if call and call["index"] == index]
    if index is None:
        found = [call for call in calls if call and given and call.get("id") == given]
        if not found and not given and not function.get("name"):
            found = [call for call in calls if call]
    # some number all calls of an answer 0
    if found and not (given and function.get("name") and found[-1].get("id") not in (None, given)):
        return found[-1]
    calls.append({"index": index, "function": {"name": "", "arguments": ""}})
    return calls[-1]


class ResponsesEvents:
    """The events of the Responses API."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self._said: dict[object, _Said] = {}
        self._items: list[Event] = []
        self._number = 0
        self.done = False

    def add(self, event: Event) -> Iterator[Event]:
        match event:
            case {"type": "error" | "response.error"}:
                raise failed(event.get("error") or event)
            case {"type": "response.failed", "response": dict() as response}:
                raise failed(response.get("error") or {"code": "failed"})
            case {"type": "response.created", "response": dict()}:
                yield self._numbered(event)
            case {"type": "response.output_text.delta", "delta": str() as piece}:
                said = self._said.setdefault(event.get("item_id"), _Said())
                if shown := said.add(strip_unstorable(piece)):
                    yield self._delta(event.get("item_id"), event.get("output_index"), shown)
            case {"type": "response.output_item.done", "item": dict() as item}:
                self._items.append(item)
            case {"type": "response.completed" | "response.incomplete", "response": dict() as body}:
                yield from self.whole({**body, "output": body.get("output") or self._items})
            case {"error": dict() as error}:
                raise failed(error)

    def end(self, *, marked: bool) -> Iterator[Event]:
        raise BrokenOff(began=self._number > 0)

    def whole(self, body: Event) -> Iterator[Event]:
        mended = mend_response(body, self._exchange)
        if not isinstance(mended, dict) or "output" not in mended:
            raise failed({"message": "no response"})
        for index, item in enumerate(mended["output"]):
            if item["type"] == "message":
                yield from self._rest(item, index)
            for step in ("added", "done"):
                told = {"type": f"response.output_item.{step}", "output_index": index, "item": item}
                yield self._numbered(told)
        self.done = True
        yield self._numbered({"type": f"response.{mended['status']}", "response": mended})

    def _rest(self, item: Event, index: int) -> Iterator[Event]:
        text = "".join(part.get("text", "") for part in item["content"])
        # a server that names no item in its deltas has one
        said = self._said.get(item["id"]) or self._said.get(None) or _Said()
        if rest := said.rest(text):
            yield self._delta(item["id"], index, rest)

    def _delta(self, item_id: object, index: object, piece: str) -> Event:
        return self._numbered(
            {
                "type": "response.output_text.delta",
                "item_id": str(item_id or "msg"),
                "output_index": index if isinstance(index, int) else 0,
                "content_index": 0,
                "delta": piece,
                "logprobs": [],
            }
        )

    def _numbered(self, event: Event) -> Event:
        self._number += 1
        return {**event, "sequence_number": self._number - 1}
