"""A message and its sendings: what went out, and what was said to it."""

from dataclasses import dataclass, field
from math import inf
from time import time
from typing import Any

from backend.faults.fleet import Standstill
from backend.faults.scenario import Message
from backend.faults.streams import Seen


@dataclass
class Attempt:
    """One sending of a message: the answer, or no status where the connection was lost."""

    replica: str
    round: int = 0
    """Those of one round are sent at once."""
    standstills: list[Standstill] = field(default_factory=list)
    """Of its server, also those to come."""
    began: float = field(default_factory=time)
    """When it was about to be written to a connection, in seconds since 1970."""
    sent: float = inf
    """When all of it was written."""
    heard: float = inf
    """When its answer had come."""
    seconds: float = 0.0
    status: int | None = None
    body: Any = None
    left: float = 0.0
    """When the client had hung up; 0 where it did not."""
    late: bool = False
    """Nothing came within `PATIENCE`."""
    replayed: bool = False
    seen: Seen | None = None
    """What came, where the answer is a stream."""

    @property
    def details(self) -> dict[str, Any]:
        """What a failure says was done; empty where the turn had not begun."""
        if self.status is None or self.status < 400:
            return {}
        found = self.body["error"]["details"]
        return found if isinstance(found, dict) else {}


@dataclass
class Sent:
    """A message and all that became of sending it."""

    message: Message
    key: str | None
    body: dict[str, Any]
    attempts: list[Attempt] = field(default_factory=list)
    views: list[Seen] = field(default_factory=list)
    """What others saw of it who looked at its stream."""
    stops: list[Any] = field(default_factory=list)
    """What was said to those who stopped it."""

    @property
    def answered(self) -> Attempt | None:
        """The first attempt that came to an answer; after one the message is not sent again."""
        return next((each for each in self.attempts if each.status == 200), None)
