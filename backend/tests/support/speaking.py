"""A model that streams what a test gives it, when it gives it."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from agents.items import TResponseOutputItem
from agents.testing import ModelStep
from openai.types import responses as wire

_EMPTY = wire.Response.model_validate(
    {
        "id": "resp_1",
        "object": "response",
        "created_at": 1,
        "model": "speaking",
        "output": [],
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "tools": [],
        "status": "in_progress",
    }
)


class Speech:
    """One streamed answer of the model; `step` goes into a `ScriptedModel`."""

    def __init__(self, *calls: TResponseOutputItem) -> None:
        self.begun = asyncio.Event()
        self.closed = asyncio.Event()
        """Set when nobody listens any more, because it is over or was cut off."""
        self.whole = False
        self._calls = calls
        self._pieces: asyncio.Queue[str | BaseException | None] = asyncio.Queue()

    @property
    def step(self) -> ModelStep:
        return ModelStep(stream_events=self._events)

    def say(self, *pieces: str) -> None:
        for piece in pieces:
            self._pieces.put_nowait(piece)

    def end(self) -> None:
        """The answer is whole: what was said, and then the calls."""
        self._pieces.put_nowait(None)

    def fail(self, error: BaseException) -> None:
        self._pieces.put_nowait(error)

    async def _events(self, _: Any) -> AsyncIterator[Any]:
        text = ""
        self.begun.set()
        try:
            yield wire.ResponseCreatedEvent(
                type="response.created", response=_EMPTY, sequence_number=0
            )
            while (piece := await self._pieces.get()) is not None:
                if isinstance(piece, BaseException):
                    raise piece
                text += piece
                yield wire.ResponseTextDeltaEvent(
                    type="response.output_text.delta",
                    delta=piece,
                    item_id="msg_1",
                    output_index=0,
                    content_index=0,
                    logprobs=[],
                    sequence_number=1,
                )
            output: list[Any] = [_message(text)] if text else []
            whole = _EMPTY.model_copy(
                update={"output": [*output, *self._calls], "status": "completed"}
            )
            self.whole = True
            yield wire.ResponseCompletedEvent(
                type="response.completed", response=whole, sequence_number=2
            )
        finally:
            self.closed.set()


def _message(text: str) -> wire.ResponseOutputMessage:
    content = wire.ResponseOutputText(type="output_text", text=text, annotations=[])
    return wire.ResponseOutputMessage(
        type="message", id="msg_1", role="assistant", status="completed", content=[content]
    )
