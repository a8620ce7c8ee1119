"""What a run tells those who watch it: its text as it comes, and its calls once they stand.

Nothing is told that might have to be taken back. A call is told after its commit. Text that
may turn out to be markup, JSON, a fence or a call written as text is held until that is clear,
at the latest until the model has ended, when its answer has been mended. White space at an end
is held as well, since an answer is kept without it.
"""

import re
from collections.abc import Callable, Sequence
from functools import cache
from itertools import count
from math import isfinite
from time import monotonic
from typing import Protocol

from backend.conversations.parts import Part
from backend.conversations.tool_calls import ToolCall, as_shown, strip_unstorable
from backend.visible import shows_something


class Progress(Protocol):
    async def __call__(self, progress: float, total: float | None, message: str | None) -> None: ...


PROGRESS_S = 0.25
"""Seconds between two words of a call's progress that viewers are shown."""
PROGRESS_MAX = 200
"""Of one call."""
PROGRESS_LENGTH = 200
"""Characters of what a server says of it."""
_CALLED_AS = r"(?:to=)?(?:functions?\.)?"
_MARKUP = r"<(?:[A-Za-z/|!?]|$)"
_LINE = (
    r"`{1,2}$|```"  # a fence
    r"|\{\s*(?:[\"'}]|$)"  # an object
    r"|\[\s*(?:[\[{\"'\d]|$|T(?:O|$))"  # an array, or [TOOL_CALLS]
)


@cache
def _suspects(names: tuple[str, ...]) -> re.Pattern[str]:
    """Where text begins that is to be held: markup anywhere, the rest where a line begins."""
    called = rf"{_CALLED_AS}(?:{'|'.join(map(re.escape, names))})\b" if names else r"(?!)"
    beginnings = {name[:length] for name in names for length in range(1, len(name) + 1)}
    beginnings |= {"functions."[:length] for length in range(1, 11)}
    begun = "|".join(sorted(map(re.escape, beginnings), key=len, reverse=True))
    return re.compile(
        rf"{_MARKUP}|(?:\A|\n)[ \t]*(?:{_LINE}|{called}|{_CALLED_AS}(?:{begun})\Z)", re.ASCII
    )


class Telling:
    """What a run tells, passed to `emit` as it comes; `names` are those of its tools.

    What has been said since the last call on record is one text: of several answers of the
    model it is put together as paragraphs.
    """

    def __init__(self, emit: Callable[[Part], None], names: Sequence[str] = ()) -> None:
        self._emit = emit
        self.names: Sequence[str] = ()
        self.know(names)
        self._said: list[str] = []
        """What was told since the last call on record."""
        self._answer: list[str] = []
        """Of that, what belongs to the model's present answer."""
        self._held = ""
        self._item: str | None = None
        self._last = ""
        """The last text of the model's last answer."""
        self.torn = False
        """Whether something was told that the model's mended answer does not hold."""

    def know(self, names: Sequence[str]) -> None:
        """The run has tools of these names as well."""
        self.names = (*self.names, *names)
        self._suspect = _suspects(self.names)

    @property
    def said(self) -> str:
        """What was told since the last call on record."""
        return "".join(self._said)

    def begin_answer(self) -> None:
        """The model is asked once more."""
        self._answer, self._held, self._item, self._last = [], "", None, ""

    def hear(self, item: str, text: str) -> None:
        """Take the next piece of the answer, of the message in it that is called `item`."""
        if item != self._item:
            between = "\n\n" if self._item is not None and (self._answer or self._held) else ""
            self._held = self._held.rstrip() + between
            self._item = item
        self._held += strip_unstorable(text)
        if not self._answer:
            self._held = self._held.lstrip()
        clear = self._held[: self._clear()].rstrip()
        if clear and (self._answer or shows_something(clear)):
            self._held = self._held[len(clear) :]
            self._tell_more(clear)

    def _clear(self) -> int:
        """How much of what is held is clear."""
        held = self._held
        if self._answer and held[:1] not in ("\n", ""):
            # its first line has begun before
            line_end = held.find("\n")
            first = held if line_end < 0 else held[:line_end]
            if found := re.search(_MARKUP, first):
                return found.start()
            if line_end < 0:
                return len(held)
            found = self._suspect.search(held, line_end)
        else:
            found = self._suspect.search(held)
        return found.start() if found else len(held)

    def settle(self, texts: Sequence[str]) -> None:
        """The model's answer is whole, and these are the texts in it, mended."""
        stripped = (strip_unstorable(each).strip() for each in texts)
        texts = list(filter(shows_something, stripped))
        whole, told = "\n\n".join(texts), "".join(self._answer)
        self._held = ""
        if not whole.startswith(told):
            self.torn = True
            del self._said[len(self._said) - len(self._answer) :]
            self._said.append(whole)
        elif len(whole) > len(told):
            self._tell_more(whole[len(told) :])
        self._last = texts[-1] if texts else ""

    def _tell_more(self, text: str) -> None:
        told = "\n\n" + text if self._said and not self._answer else text
        self._said.append(told)
        self._answer.append(text)
        self._emit({"say": told})

    def called(self, call: ToolCall) -> None:
        """`call` is on record, with what was said before it."""
        self._said, self._answer = [], []
        (shown,) = as_shown([call])
        self._emit({"call": shown})

    def known(self, number: int, call: ToolCall) -> None:
        """The result has become known of the call that is on record as the `number`th, from 0."""
        self._emit({"known": {"number": number, "result": call["result"]}})

    def progress_of(self, tool: str) -> Progress:
        """What is to be awaited with the progress of a call, of which viewers see some."""
        told, seen = count(), -PROGRESS_S

        async def progressed(progress: float, total: float | None, message: str | None) -> None:
            nonlocal seen
            if monotonic() - seen < PROGRESS_S or next(told) >= PROGRESS_MAX:
                return
            seen = monotonic()
            said = strip_unstorable(message or "")[:PROGRESS_LENGTH] or None
            numbers = [
                each if each is None or isfinite(each) else None for each in (progress, total)
            ]
            self._emit(
                {
                    "progress": {
                        "tool": tool,
                        "progress": numbers[0],
                        "total": numbers[1],
                        "message": said,
                    }
                }
            )

        return progressed

    def conclude(self, answer: str) -> str:
        """All that stands after the last call on record, where the run answers with `answer`."""
        if answer != self._last:
            self.begin_answer()
            self._tell_more(answer)
        return self.said
