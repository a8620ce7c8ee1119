"""What one seed means: messages, a client's habits, a model's manners, and the faults.

A seed always makes the same scenario; how its moments fall between those of the processes
is the machine's affair.
"""

import re
from dataclasses import dataclass
from enum import StrEnum
from random import Random

TAG = re.compile(r"\((\d+)-(\d+)\)$")
"""Ends each message: its scenario's seed and its number there."""

RESTART_EVERY = 25
"""A restart of Postgres hits all who are at it, so only every so many-th scenario has one."""


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


PROVIDER = (Kind.HANG, Kind.DROP, Kind.GARBAGE, Kind.ERROR)
_WEIGHTS = {
    Kind.KILL: 30,
    Kind.STOP: 6,
    Kind.PAUSE: 10,
    Kind.LEAVE: 10,
    Kind.HANG: 7,
    Kind.DROP: 8,
    Kind.GARBAGE: 8,
    Kind.ERROR: 8,
    Kind.TERMINATE: 18,
    Kind.STALL: 6,
}


class Moment(StrEnum):
    """When a fault comes, within a run of the message."""

    SENT = "after it was sent"
    ASKED = "when the model is asked"
    ANSWERED = "after the model answered"
    RECORDING = "between a change and its record"


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


_THINGS = ("tea", "soap", "rice", "salt", "nails", "stamps", "bread", "ink", "figs", "rope")


class _Author:
    """Writes messages that make sense one after another, no task in two of the same round."""

    def __init__(self, seed: int, random: Random, errands: tuple[str, ...]) -> None:
        self._seed, self._random = seed, random
        self._open, self._made = list(errands), 0
        self._written = 0

    def round(self, size: int) -> tuple[Message, ...]:
        usable, self._open = self._open, []
        self._random.shuffle(usable)
        messages = tuple(self._message(usable) for _ in range(size))
        self._open += usable
        return messages

    def _message(self, usable: list[str]) -> Message:
        self._written += 1
        commands: list[Command] = []
        own: list[str] = []
        for _ in range(self._random.choice((1, 1, 2, 3))):
            source = own or usable
            if source and self._random.random() < 0.45:
                commands.append(self._change(source, own))
            else:
                own.append(self._title())
                commands.append(Command(Verb.ADD, own[-1]))
        self._open += own
        text = "; ".join(map(str, commands)) + f" ({self._seed}-{self._written})"
        return Message(self._written, text, tuple(commands))

    def _change(self, source: list[str], own: list[str]) -> Command:
        title = source.pop()
        verb = self._random.choice((Verb.COMPLETE, Verb.DELETE, Verb.RENAME))
        if verb is not Verb.RENAME:
            return Command(verb, title)
        own.append(self._title())
        return Command(verb, title, own[-1])

    def _title(self) -> str:
        self._made += 1
        return f"{self._random.choice(_THINGS)} {self._seed}.{self._written}.{self._made}"


def scenario_of(seed: int) -> Scenario:
    """The scenario of a seed."""
    random = Random(seed)  # noqa: S311  # repeatable, not secret
    errands = tuple(f"errand {seed}.{number}" for number in range(random.choice((0, 1, 2))))
    author = _Author(seed, random, errands)
    crowd = random.random() < 0.25
    sizes = (1, random.randint(2, 4)) if crowd else (1,) * random.randint(1, 3)
    rounds = tuple(author.round(size) for size in sizes)
    together = random.random() < 0.4
    faults = [_fault(random, rounds, together) for _ in range(random.choice((1, 1, 1, 2)))]
    if seed % RESTART_EVERY == 0:
        faults[0] = _fault(random, rounds, together, Kind.RESTART)
    return Scenario(
        seed=seed,
        errands=errands,
        rounds=rounds,
        faults=tuple(faults),
        keyed=crowd or random.random() < 0.35,
        attentive=random.random() < 0.4,
        persistent=random.random() < 0.9,
        together=together,
        stubborn=random.random() < 0.4,
    )


def killed_at_its_record(seed: int) -> Scenario:
    """One message that adds a task; the server dies when that is done and not yet recorded."""
    message = _Author(seed, Random(seed), ()).round(1)[0]  # noqa: S311  # repeatable, not secret
    kill = Fault(Kind.KILL, message.number, Moment.RECORDING)
    habits = {"keyed": seed % 2 == 0, "persistent": seed % 3 > 0, "attentive": False}
    manners = {"together": False, "stubborn": False}
    return Scenario(seed, (), ((message,),), (kill,), **habits, **manners)


def _fault(
    random: Random,
    rounds: tuple[tuple[Message, ...], ...],
    together: bool,
    kind: Kind | None = None,
) -> Fault:
    kind = kind or random.choices(list(_WEIGHTS), list(_WEIGHTS.values()))[0]
    message = random.choice(random.choice(rounds))
    requests = _requests(message, together)
    if kind in PROVIDER:
        lasting = 1 if kind is Kind.HANG else random.choice((1, 3, 4))
        return Fault(kind, message.number, Moment.ASKED, random.randint(1, requests), 0, lasting)
    moment = random.choice(_moments(kind))
    last = requests - (moment is Moment.RECORDING)
    delay = {Moment.SENT: 0.2, Moment.ANSWERED: 0.06}.get(moment, 0.0) * random.random()
    return Fault(kind, message.number, moment, random.randint(1, last), delay)


def _moments(kind: Kind) -> list[Moment]:
    """When a fault of this kind may come; the likelier ones stand there more than once."""
    if kind is Kind.STALL:
        return [Moment.RECORDING]
    moments = [Moment.SENT, Moment.ASKED, Moment.ANSWERED, Moment.ANSWERED]
    if kind in (Kind.KILL, Kind.PAUSE, Kind.TERMINATE):
        moments.append(Moment.RECORDING)
    return moments


def _requests(message: Message, together: bool) -> int:
    """Model requests of a run without faults; a title must be made before it can be used."""
    if not together:
        return len(message.commands) + 1
    batches, made = 1, set[str]()
    for command in message.commands:
        if command.title in made:
            batches, made = batches + 1, set()
        made.add(command.to or command.title)
    return batches + 1
