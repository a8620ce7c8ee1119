"""A message as the parts that a viewer sees: what was said, and what was done, in order."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from backend.conversations.tool_calls import ToolCall, as_shown

type Part = dict[str, Any]
"""`{"say": text}`, `{"call": {"tool", "args", "result"}}`, or `{"ask": Approval}`, which is a call
that waits for the person, with its `number` among the message's calls. A stream has two more:
`{"known": {"number", "result"}}`, the result of a call that was shown before it had one, and
`{"progress": {"tool", "progress", "total", "message"}}` of a call that is being made."""


def parts_of(
    content: str, calls: list[ToolCall], waiting: Sequence[Mapping[str, Any]] = ()
) -> Iterator[Part]:
    """The parts of a message: each call behind what was said before it, and the content last.

    Calls that are `waiting` for the person stand behind those that are on record.
    """
    for call, shown in zip(calls, as_shown(calls), strict=True):
        if said := call.get("said"):
            yield {"say": said}
        yield {"call": shown}
    for number, asked in enumerate(waiting, len(calls)):
        if said := asked.get("said"):
            yield {"say": said}
        yield {"ask": {**asked, "number": number}}
    if content:
        yield {"say": content}


class Seen:
    """What one viewer has been shown of a message, so that it can be brought up to the record."""

    def __init__(self) -> None:
        self._calls = 0
        self._text: list[str] = []

    def note(self, part: Part) -> None:
        if "call" in part:
            self._calls += 1
            self._text = []
        elif "say" in part:
            self._text.append(part["say"])

    def missing(
        self, content: str, calls: list[ToolCall], waiting: Sequence[Mapping[str, Any]] = ()
    ) -> Iterator[Part]:
        """What is to be shown still; a text that does not go on from what was seen is `new`.

        Raises:
            ValueError: more calls were shown than there are.
        """
        if self._calls > len(calls):
            raise ValueError("a call was shown that is not on record")
        text = "".join(self._text)
        known = calls[self._calls :]
        for part in parts_of(content, known, waiting):
            if "ask" in part:
                part["ask"]["number"] += self._calls
            if "say" in part and text:
                if part["say"].startswith(text):
                    part = {"say": part["say"][len(text) :]}
                else:
                    part |= {"new": True}
            text = ""
            if part.get("say") != "":
                yield part
