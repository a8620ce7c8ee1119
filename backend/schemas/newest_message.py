"""A body of `useChat` without the history that it brings along, of which nothing is taken.

To parse all of it would hold up everybody else for as long. So its brackets are followed, and what
stands between those that count is passed over, a piece at a time.
"""

import asyncio
import re
import time
from dataclasses import dataclass, field

SMALL = 64 * 1024
"""Bytes that are parsed as they are."""
REST_MAX = 512 * 1024
"""Bytes that may be left to be parsed."""
_BRACKETS_MAX = 400_000
_WINDOW = 256 * 1024
"""Bytes that are passed over at once at the most; a longer string is none of ours."""
_TURN_S = 0.005
"""Seconds after which others have their turn."""

_BETWEEN = rb'[^"\[\]{}]*+(?:"[^"\\]*+(?:\\.[^"\\]*+)*+"[^"\[\]{}]*+)*+'
"""Whole strings and what is neither string nor bracket, as much of it as there is."""
_TO_BRACKET = re.compile(_BETWEEN + rb"([\[\]{}])", re.DOTALL)
_PLAIN_JSON = re.compile(_BETWEEN, re.DOTALL)
_IN_STRING = re.compile(rb'(?:[^"\\]++|\\.)*+', re.DOTALL)
_KEY = re.compile(rb'"(messages?)"\s*:\s*\Z')
_QUOTE, _OPENING = ord('"'), b"[{"


async def without_history(body: bytes) -> bytes:
    """`body` with the newest of its messages alone, and without members that are not known.

    What is left out is not looked at any further; whether the rest is JSON is the parser's affair.

    Raises:
        ValueError: more is left than `REST_MAX`.
    """
    if len(body) <= SMALL:
        return body
    reading, turn_ends = _Reading(body), time.perf_counter() + _TURN_S
    while reading.step():
        if time.perf_counter() > turn_ends:
            await asyncio.sleep(0)
            turn_ends = time.perf_counter() + _TURN_S
    rest = reading.rest()
    if len(rest) > REST_MAX:
        raise ValueError("too much is left")
    return rest


@dataclass
class _Reading:
    """How far a body was read, and what of it is left out."""

    body: bytes
    _at: int = 0
    _depth: int = 0
    _brackets: int = 0
    _string_from: int | None = None
    """Where the string began that is read in pieces."""
    _member: tuple[int, bytes] = 0, b""
    """Where the value of the member of the body began that is being read, and its name."""
    _messages: list[int] = field(default_factory=list)
    """Where the first and the last of the messages began."""
    _cuts: list[tuple[int, int, bytes]] = field(default_factory=list)
    """From where to where, and what stands there instead."""

    def step(self) -> bool:
        """Go on by a bracket, or by `_WINDOW` where none is so near; whether there is more."""
        if self._string_from is None:
            found = _TO_BRACKET.match(self.body, self._at, self._at + _WINDOW)
            if found is None:
                return self._pass_over()
            self._at = found.end()
            return self._bracket(found.start(1))
        return self._go_through_string(self._string_from)

    def _pass_over(self) -> bool:
        self._at = self._matched(_PLAIN_JSON)
        if self._at < len(self.body) and self.body[self._at] == _QUOTE:
            self._string_from = self._at
            self._at += 1
        return self._at < len(self.body)

    def _go_through_string(self, began: int) -> bool:
        before, self._at = self._at, self._matched(_IN_STRING)
        if self._at < len(self.body) and self.body[self._at] == _QUOTE:
            self._at += 1
            self._string_from = None
            if self._at - began > _WINDOW:
                self._cuts.append((began, self._at, b'""'))
            return True
        return self._at > before

    def _matched(self, pattern: re.Pattern[bytes]) -> int:
        found = pattern.match(self.body, self._at, self._at + _WINDOW)
        return found.end() if found else self._at

    def _bracket(self, at: int) -> bool:
        """Note what opens or closes; whether to read on behind it."""
        self._brackets += 1
        opens = self.body[at] in _OPENING
        if opens and self._depth == 1:
            key = _KEY.search(self.body, max(0, at - 40), at)
            self._member, self._messages = (at, key[1] if key else b""), []
        elif opens and self._depth == 2 and self._member[1] == b"messages":
            self._messages = [*self._messages[:1], at]
        self._depth += 1 if opens else -1
        if not opens and self._depth == 1:
            self._close_member(at + 1)
        return self._depth > 0 and self._brackets < _BRACKETS_MAX

    def _close_member(self, end: int) -> None:
        began, name = self._member
        if not name:
            self._cuts.append((began, end, b"null"))
        elif len(self._messages) == 2:
            first, last = self._messages
            self._cuts.append((first, last, b""))

    def rest(self) -> bytes:
        """What is not left out."""
        pieces, at = [], 0
        for began, end, instead in sorted(self._cuts):
            if began >= at:
                pieces += [self.body[at:began], instead]
                at = end
        return b"".join([*pieces, self.body[at:]])
