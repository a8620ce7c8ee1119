"""What a scenario is: messages, a client's habits, a model's manners, and the faults."""

import re
from dataclasses import dataclass
from enum import StrEnum

TAG = re.compile(r"\((\d+)-(\d+)\)$")
"""Ends each message: its scenario's seed and its number there."""


class Verb(StrEnum):
    ADD = "Add"
    COMPLETE = "Complete"
    DELETE = "Delete"
    RENAME = "Rename"


class Kind(StrEnum):
    """A fault, by what it does."""

    KILL = "server killed"
    STOP = "server told to stop"
    PAUSE = "server frozen"
    LEAVE = "client left"
    HANG = "provider hangs"
    DROP = "provider drops"
    GARBAGE = "provider sends garbage"
    ERROR = "provider fails"
    TERMINATE = "connections terminated"
    STALL = "database stalls"
    RESTART = "Postgres restarted"
    BACKEND = "database process frozen"
    POOLER = "pooler frozen"
    SILENCE = "network silent"
    BLACK_HOLE = "connections black-holed"
    WORD = "word of a commit lost"
    COMMITS = "commits wait"
    ROWS = "rows locked by a stranger"
    TABLE = "table locked by a stranger"
    READ_ONLY = "database read-only"
    STARVE = "leases starved"
    STOPPED = "stopped by the person"
    LOG = "log of streams locked by a stranger"


PROVIDER = (Kind.HANG, Kind.DROP, Kind.GARBAGE, Kind.ERROR)
WIDE = (Kind.RESTART, Kind.POOLER, Kind.COMMITS, Kind.TABLE, Kind.READ_ONLY)
"""Felt by all who are at it, so only every so many-th scenario has one."""


class Moment(StrEnum):
    """When a fault comes, within a run of the message."""

    SENT = "after it was sent"
    ASKED = "when the model is asked"
    ANSWERED = "after the model answered"
    RECORDING = "between a change and its record"
    ENDING = "between an answer and its commit"


@dataclass(frozen=True)
class Command:
    """One thing that a message asks for; `to` is a new title."""

    verb: Verb
    title: str
    to: str = ""

    def __str__(self) -> str:
        return f"{self.verb} {self.title}" + f" to {self.to}" * bool(self.to)


@dataclass(frozen=True)
class Message:
    number: int
    text: str
    commands: tuple[Command, ...]


@dataclass(frozen=True)
class Fault:
    """`request` counts the model requests of its message from 1; `delay` is in seconds."""

    kind: Kind
    message: int
    moment: Moment
    request: int = 1
    delay: float = 0.0
    lasting: int = 1
    """Requests in a row that a provider's fault takes."""
    seconds: float = 0.0
    """How long what hangs does so."""


@dataclass(frozen=True)
class Scenario:
    seed: int
    errands: tuple[str, ...]
    """Titles of tasks that are there before, made over REST."""
    rounds: tuple[tuple[Message, ...], ...]
    """Each sent when the one before is answered; the messages of one at the same time."""
    faults: tuple[Fault, ...]
    keyed: bool
    """The client names each message with an Idempotency-Key."""
    attentive: bool
    """The client learns the conversation's id from a failure too, not from a success alone."""
    persistent: bool
    """The client sends a message again until it is answered."""
    together: bool
    """The model asks for all it can at once, not one call at a time."""
    stubborn: bool
    """The model asks again for what it was shown as done in an earlier attempt."""
    resends: int = 1
    """How many times it is sent at once when it is sent again."""
    streamed: bool = False
    """The answer is streamed, to the AI SDK's client."""
    approves: bool = False
    """The person is asked before a task is completed or deleted, and approves what is not one
    of `declines`."""
    declines: frozenset[Verb] = frozenset()
    disputed: bool = False
    """Every second of those that decide at once decides the other way."""
    outlives: bool = False
    """The person decides when it is too late."""
    viewers: int = 0
    """How many others look at each turn, anywhere."""
    bulk: bool = False
    """The model completes or deletes in one call all that it can at once."""
    patient: bool = False
    """Played on servers that give a run so long that its lease must be renewed."""
