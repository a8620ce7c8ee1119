"""The AI SDK's UI message stream on the wire: parts as server-sent events.

Spoken is what the clients of `ai` 5, 6 and 7 take alike. Of their rules these are kept here: each
text has an id of its own and is ended; a call's input comes before its output; a message has
steps, of which a new one begins with each text behind a call; and the stream ends with `finish`,
`abort` or `error`, and then `[DONE]`.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from backend.errors import AppError
from backend.schemas.fields import iso_utc

HEADERS = {
    "Content-Type": "text/event-stream",
    "Cache-Control": "no-cache, no-transform",
    "X-Accel-Buffering": "no",
    "X-Vercel-AI-UI-Message-Stream": "v1",
}
KEEP_ALIVE = b": keep-alive\n\n"
"""A comment, which says only that the connection stands."""
DONE = b"data: [DONE]\n\n"


def call_id(message_id: int, number: int) -> str:
    """A call's id on the wire, the same however often it is shown; `number` counts from 0."""
    return f"call-{message_id}-{number}"


def metadata(conversation_id: int, created_at: datetime, **more: object) -> dict[str, object]:
    """What a message on the wire says beside its parts."""
    return {"conversation_id": conversation_id, "created_at": iso_utc(created_at), **more}


def _part(kind: str, **fields: object) -> bytes:
    part = json.dumps({"type": kind, **fields}, ensure_ascii=False, separators=(",", ":"))
    return b"data: %b\n\n" % part.encode()


@dataclass(frozen=True, slots=True)
class Known:
    """How far a client has a message already that goes on: `outputs` of the first calls, and
    the `inputs` of some more, for which it was asked to approve them."""

    outputs: int = 0
    inputs: int = 0


NOTHING = Known()
DECLINED = "DECLINED"
"""The error's code in the result of a call that the person has not approved."""


def known_calls(message: str, decided: Sequence[str]) -> Known:
    """What a client has of a message of which these calls, by their ids, were just decided."""
    found = (re.fullmatch(r"call-(\d{1,19})-(\d{1,4})", each) for each in decided)
    numbers = [int(each[2]) for each in found if each and each[1] == message]
    return Known(min(numbers), max(numbers) + 1) if numbers else NOTHING


class MessageStream:
    """One viewer's stream of one message: each method gives the bytes to send next.

    A message that goes on is continued behind what is `known` of it.
    """

    def __init__(self, message_id: int, known: Known = NOTHING) -> None:
        self._message_id = message_id
        self._known = known
        self._inputs = known.inputs
        """How many calls have had their input shown."""
        self._calls = 0
        self._texts = 0
        self._in_text = False
        self._in_step = False
        self._acted = False
        """Whether the step has a call."""

    def begin(self, told: Mapping[str, object]) -> bytes:
        """The message's id and what it says of itself, before all else."""
        return _part("start", messageId=str(self._message_id), messageMetadata=told)

    def show(self, part: Mapping[str, Any]) -> bytes:
        """A part as `backend.conversations.parts` gives it."""
        if "call" in part:
            return self._call(part["call"])
        if "ask" in part:
            return self._ask(part["ask"])
        if "known" in part:
            id_ = call_id(self._message_id, part["known"]["number"])
            return _part("tool-output-available", toolCallId=id_, output=part["known"]["result"])
        if "progress" in part:
            return _part("data-progress", data=part["progress"], transient=True)
        return self._say(part["say"], new="new" in part)

    def _say(self, text: str, *, new: bool) -> bytes:
        if self._calls < self._known.inputs:
            return b""
        before = b""
        if new or self._acted or not self._in_text:
            before = self._end_text()
            if self._acted:
                before += self._end_step()
            before += self._begin_step() + _part("text-start", id=f"text-{self._texts}")
            self._in_text = True
        return before + _part("text-delta", id=f"text-{self._texts}", delta=text)

    def _call(self, call: Mapping[str, Any]) -> bytes:
        number, id_ = self._calls, call_id(self._message_id, self._calls)
        self._calls += 1
        if number < self._known.outputs:
            return b""
        denied = call["result"].get("error_code") == DECLINED
        before = b""
        if number >= self._inputs:
            before = self._input(number, call)
            if denied:
                before += _part("tool-approval-request", approvalId=f"{id_}-x", toolCallId=id_)
        if denied:
            return before + _part("tool-output-denied", toolCallId=id_)
        return before + _part("tool-output-available", toolCallId=id_, output=call["result"])

    def _ask(self, call: Mapping[str, Any]) -> bytes:
        """A call that waits for the person, unless its input has been shown."""
        number: int = call["number"]
        if number < self._inputs:
            return b""
        id_ = call_id(self._message_id, number)
        shown = self._input(number, call)
        return shown + _part("tool-approval-request", approvalId=call["id"], toolCallId=id_)

    def _input(self, number: int, call: Mapping[str, Any]) -> bytes:
        self._inputs = number + 1
        before = self._end_text() + self._begin_step()
        self._acted = True
        tool = {"toolCallId": call_id(self._message_id, number), "toolName": call["tool"]}
        return before + _part("tool-input-available", **tool, input=call["args"])

    def _begin_step(self) -> bytes:
        if self._in_step:
            return b""
        self._in_step, self._acted = True, False
        return _part("start-step")

    def _end_text(self) -> bytes:
        if not self._in_text:
            return b""
        self._in_text = False
        self._texts += 1
        return _part("text-end", id=f"text-{self._texts - 1}")

    def _end_step(self) -> bytes:
        ended = self._end_text()
        if self._in_step:
            self._in_step = self._acted = False
            ended += _part("finish-step")
        return ended

    def finish(self) -> bytes:
        """The answer is whole."""
        return self._end_step() + _part("finish", finishReason="stop") + DONE

    def wait(self) -> bytes:
        """The person is to approve calls before it goes on."""
        return self._end_step() + _part("finish", finishReason="tool-calls") + DONE

    def stop(self) -> bytes:
        """The person has stopped it; by the metadata a client knows, since `abort` says nothing."""
        told = {"stopped": True}
        return (
            self._end_step()
            + _part("message-metadata", messageMetadata=told)
            + _part("abort", reason="stopped")
            + DONE
        )

    def fail(self, error: Mapping[str, Any]) -> bytes:
        """There is no answer; `error` is that of the envelope. Clients read nothing after it."""
        told = {"failed": True}
        return (
            self._end_step()
            + _part("message-metadata", messageMetadata=told)
            + _part("data-error", data=error)
            + _part("error", errorText=error["message"])
            + DONE
        )


def error_of(error: AppError) -> dict[str, Any]:
    """The envelope's `error`, for a stream that has begun."""
    return {"code": error.code, "message": error.message, "details": error.details}


def ui_parts(message_id: int, parts: Iterable[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    """A whole message as `useChat` has it in the end, with the steps that a stream would show."""
    calls, in_step, acted = 0, False, False
    for part in parts:
        if not in_step or ("say" in part and acted):
            yield {"type": "step-start"}
            in_step, acted = True, False
        if "say" in part:
            yield {"type": "text", "text": part["say"], "state": "done"}
            continue
        call, acted = part.get("call") or part["ask"], True
        yield _ui_call(call_id(message_id, calls), call)
        calls += 1


def _ui_call(id_: str, call: Mapping[str, Any]) -> dict[str, Any]:
    """A call in the state in which it is: asked for, decided, declined, or carried out."""
    shown = {"type": f"tool-{call['tool']}", "toolCallId": id_, "input": call["args"]}
    if "result" not in call:
        approval = {"id": call["id"]}
        if call["approved"] is None:
            return shown | {"state": "approval-requested", "approval": approval}
        approval |= {"approved": call["approved"]}
        if call["reason"]:
            approval |= {"reason": call["reason"]}
        return shown | {"state": "approval-responded", "approval": approval}
    result = call["result"]
    if result.get("error_code") == DECLINED:
        approval = {"id": f"{id_}-x", "approved": False}
        if result.get("reason"):
            approval |= {"reason": result["reason"]}
        return shown | {"state": "output-denied", "approval": approval}
    return shown | {"state": "output-available", "output": result}
