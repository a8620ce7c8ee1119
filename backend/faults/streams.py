"""Streams of turns as a viewer sees them, and what each says of its turn."""

import json
from dataclasses import dataclass, field
from typing import Any

import httpx

from backend.conversations.approvals import DECLINED
from backend.tests.support.ui_protocol import ENDS, Parts, assert_orderly

DONE = "data: [DONE]"
_CONFLICTS = ("TURN_IN_PROGRESS", "MESSAGE_CHANGED")


@dataclass
class Seen:
    """What one viewer has seen, of one request."""

    where: str
    status: int | None = None
    """None where the connection was lost before an answer."""
    body: Any = None
    """Of an answer that is no stream."""
    parts: Parts = field(default_factory=list)
    done: bool = False
    cut: bool = False
    """The connection broke off, or the viewer left."""
    known: Parts = field(default_factory=list)
    """What was there of the message before, where it goes on by the person's word."""

    @property
    def end(self) -> str | None:
        """`finish`, `abort` or `error`; None where none was seen."""
        return next((part["type"] for part in self.parts if part["type"] in ENDS), None)

    @property
    def whole(self) -> Parts:
        """All of the message, as far as it was seen."""
        return [*self.known, *self.parts]

    @property
    def texts(self) -> list[str]:
        texts: dict[str, str] = {}
        for part in self.whole:
            if part["type"] == "text-delta":
                texts[part["id"]] = texts.get(part["id"], "") + part["delta"]
        return list(texts.values())

    @property
    def calls(self) -> list[dict[str, Any]]:
        """The calls whose result was shown, or that they were declined."""
        asked = {p["toolCallId"]: p for p in self.whole if p["type"] == "tool-input-available"}
        return [
            {"tool": asked[p["toolCallId"]]["toolName"], "args": asked[p["toolCallId"]]["input"]}
            | {"result": p.get("output", DECLINED)}
            for p in self.whole
            if p["type"] in ("tool-output-available", "tool-output-denied")
        ]

    @property
    def pending(self) -> list[dict[str, str]]:
        """What waits for the person at its end."""
        done = {p["toolCallId"] for p in self.whole if p["type"].startswith("tool-output")}
        tools = {p["toolCallId"]: p["toolName"] for p in self.whole if "toolName" in p}
        return [
            {"id": part["approvalId"], "call": part["toolCallId"]}
            | {"tool": tools[part["toolCallId"]]}
            for part in self.whole
            if part["type"] == "tool-approval-request" and part["toolCallId"] not in done
        ]

    @property
    def message_id(self) -> int | None:
        return next((int(p["messageId"]) for p in self.parts if p["type"] == "start"), None)

    def as_answer(self) -> tuple[int | None, Any]:
        """Status and body of the same end in one piece; None where no end was seen."""
        if self.status != 200:
            return self.status, self.body
        if self.end in ("finish", "abort"):
            start = self.parts[0]["messageMetadata"]
            body = {"conversation_id": start["conversation_id"], "response": "".join(self.texts)}
            asked = {"approvals": self.pending, "message_id": self.message_id}
            return 200, body | {"tool_calls": self.calls or None} | asked
        if self.end == "error":
            error = next(p["data"] for p in self.parts if p["type"] == "data-error")
            return 409 if error["code"] in _CONFLICTS else 503, {"error": error}
        return None, None

    def faults(self) -> list[str]:
        """What is wrong with it, whatever is on record."""
        if self.status != 200 or self.cut:
            return []
        if not (self.done and self.end):
            return [f"a stream of {self.where} was over without an end"]
        try:
            known = Seen(self.where, parts=self.known).pending
            assert_orderly(self.parts, [each["call"] for each in known])
        except Exception as error:
            return [f"a stream of {self.where} was out of order: {error!r} {self.parts}"[:1500]]
        return []


async def view(http: httpx.AsyncClient, method: str, seen: Seen, url: str, **request: Any) -> None:
    """Read a stream to its end into `seen`, which holds what came where that is cut off."""
    try:
        async with http.stream(method, url, **request) as response:
            seen.status = response.status_code
            if "event-stream" not in response.headers.get("content-type", ""):
                text = await response.aread()
                seen.body = json.loads(text) if text else None
                return
            seen.cut = True  # until it was read to its end
            async for line in response.aiter_lines():
                seen.done |= line == DONE
                if line.startswith("data: {"):
                    seen.parts.append(json.loads(line.removeprefix("data: ")))
            seen.cut = False
    except httpx.RemoteProtocolError:  # cut in the middle, which is honest
        seen.cut = True
