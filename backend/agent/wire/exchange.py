"""What a request to a provider and its answer have to know of each other.

The Agents SDK and its client stand between a run and the wire, and pass neither on. So the
run's exchange lies in a context variable from the call of the client to the arrival of the
answer's head, and whoever reads the answer has it from there.
"""

import json
import re
import string
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

from backend.conversations.tool_calls import strip_unstorable, without_unstorable

type Reasoning = dict[str, Any]
"""What a provider wants back with a call, by the member of the wire it stood in."""

KEPT = "reasoning"
"""Under which it stands in an item's `provider_data`, and beside a call in the record."""
REASONING_MAX = 4_000
"""Characters of it that go on record beside a call; no provider compares a text with its own."""
_ID_KEPT = re.compile(r"[A-Za-z0-9_.:-]{1,40}")
_NINE = re.compile(r"[A-Za-z0-9]{9}")


@dataclass(slots=True)
class Exchanges:
    """What all the requests of a run have in common."""

    by: str = ""
    """Who answers, told apart from all others."""
    reasoning: dict[str, Reasoning] = field(default_factory=dict)
    """By the id of the call that it came with."""
    call_ids: set[str] = field(default_factory=set)
    """All that the run has seen."""

    def keep(self, call_id: str, reasoning: Reasoning) -> None:
        self.reasoning[call_id] = {"by": self.by, **reasoning}

    def wanted(self, call_id: str) -> Reasoning:
        """What goes back with a call; nothing of what somebody else has thought."""
        kept = self.reasoning.get(call_id, {})
        if kept.get("by") != self.by:
            return {}
        return {name: value for name, value in kept.items() if name != "by"}


@dataclass(frozen=True, slots=True)
class Exchange:
    """One request, and what its answer is read by."""

    run: Exchanges
    tools: frozenset[str]
    """The names that were offered."""
    own_ids: bool = False
    """Whether the provider wants its own ids of calls back, whatever they look like."""

    def call_id(self, given: object) -> str:
        """The provider's id where it can stand, else a new one; no id stands twice in a run.

        Mistral takes nine letters or digits and nothing else, and everybody else takes those.
        """
        form = _ID_KEPT if self.own_ids else _NINE
        known = self.run.call_ids
        if not isinstance(given, str) or not form.fullmatch(given) or given in known:
            given = uuid4().hex[:9]
        known.add(given)
        return given


_DIGITS = string.digits + string.ascii_letters


def nine(number: int) -> str:
    """An id of nine letters and digits, another one for each number below 62 to the ninth."""
    made = ""
    for _ in range(9):
        number, digit = divmod(number, len(_DIGITS))
        made = _DIGITS[digit] + made
    return made


def bounded(reasoning: Reasoning) -> Reasoning:
    """It within `REASONING_MAX`: a text is cut; what is not a text is whole or left out."""
    kept: Reasoning = {}
    left = REASONING_MAX
    for name, value in reasoning.items():
        if isinstance(value, str):
            kept[name] = strip_unstorable(value)[:left]
        elif len(json.dumps(value)) <= left:
            kept[name] = without_unstorable(value)
        left -= len(json.dumps(kept.get(name, "")))
    return kept


_NO_EXCHANGE = Exchange(Exchanges(), frozenset())
_current: ContextVar[Exchange] = ContextVar("exchange", default=_NO_EXCHANGE)


@contextmanager
def opened(exchange: Exchange) -> Iterator[None]:
    """Let what is sent in here be answered within `exchange`."""
    token = _current.set(exchange)
    try:
        yield
    finally:
        _current.reset(token)


def current() -> Exchange:
    """The exchange that the caller is in."""
    return _current.get()
