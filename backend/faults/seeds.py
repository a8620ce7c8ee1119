"""What one seed means. A seed always makes the same scenario; how its moments fall between
those of the processes is the machine's affair.
"""

from random import Random
from typing import Any

from backend.faults.scenario import (
    PROVIDER,
    WIDE,
    Command,
    Fault,
    Kind,
    Message,
    Moment,
    Scenario,
    Verb,
)

STREAMED_FROM, APPROVED_FROM = 1001, 2001
"""The first seed whose scenario is streamed, and the first with approvals."""
WIDE_EVERY = 11
STARVED_EVERY = 25
"""How many scenarios have one that is felt by all, and one of starved leases, among them."""

SEEN_BY = 0.3
"""Seconds in which a viewer sees what it is shown."""

_THINGS = ("tea", "soap", "rice", "salt", "nails", "stamps", "bread", "ink", "figs", "rope")


class _Author:
    """Writes messages that make sense one after another, no task in two of the same round."""

    def __init__(
        self, seed: int, random: Random, errands: tuple[str, ...], changes: float = 0.45
    ) -> None:
        self._seed, self._random, self._changes = seed, random, changes
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
            if source and self._random.random() < self._changes:
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


_WEIGHTS = {
    Kind.KILL: 24,
    Kind.STOP: 6,
    Kind.PAUSE: 8,
    Kind.LEAVE: 14,
    Kind.HANG: 5,
    Kind.DROP: 5,
    Kind.GARBAGE: 4,
    Kind.ERROR: 5,
    Kind.TERMINATE: 12,
    Kind.STALL: 4,
    Kind.BACKEND: 12,
    Kind.SILENCE: 6,
    Kind.BLACK_HOLE: 8,
    Kind.WORD: 12,
    Kind.ROWS: 8,
}
_STREAMED_WEIGHTS = _WEIGHTS | {Kind.STOPPED: 40, Kind.LOG: 16}
_SECONDS = {
    Kind.BACKEND: (2.0, 8.0),
    Kind.POOLER: (2.0, 7.0),
    Kind.SILENCE: (2.0, 8.0),
    Kind.BLACK_HOLE: (1.0, 6.0),
    Kind.WORD: (0.0, 5.0),
    Kind.COMMITS: (1.0, 5.0),
    Kind.ROWS: (3.0, 9.0),
    Kind.TABLE: (2.0, 6.0),
    Kind.LOG: (2.0, 10.0),
    Kind.READ_ONLY: (1.0, 4.0),
}
"""How long what hangs does so: shorter and longer than the bounds of the service's waits."""


_DECLINED = (
    *(frozenset[Verb](), frozenset({Verb.DELETE}), frozenset({Verb.COMPLETE})),
    frozenset({Verb.COMPLETE, Verb.DELETE}),
)
"""What the person declines; with one of the two a step is approved and declined in parts."""


def scenario_of(seed: int) -> Scenario:
    """The scenario of a seed."""
    random = Random(seed)  # noqa: S311  # repeatable, not secret
    approves = seed >= APPROVED_FROM
    streamed = STREAMED_FROM <= seed < APPROVED_FROM or (approves and seed % 2 == 1)
    if seed % STARVED_EVERY == 0 and seed < STREAMED_FROM:
        return starved(seed)
    count = max(random.choice((0, 1, 2)), 2 * approves)
    errands = tuple(f"errand {seed}.{number}" for number in range(count))
    author = _Author(seed, random, errands, 0.8 if approves else 0.45)
    # where approvals are asked for, a new message declines what is pending
    crowd = random.random() < 0.25 and seed < STREAMED_FROM
    sizes = (1, random.randint(2, 4)) if crowd else (1,) * random.randint(1, 3)
    rounds = tuple(author.round(size) for size in sizes)
    together = random.random() < 0.4 or (approves and seed % 3 > 0)
    weights = _STREAMED_WEIGHTS if streamed else _WEIGHTS
    faults = [
        _fault(random, rounds, together, random.choices(list(weights), list(weights.values()))[0])
        for _ in range(random.choice((1, 1, 1, 2)))
    ]
    if seed % WIDE_EVERY == 0:
        kind = WIDE[seed // WIDE_EVERY % len(WIDE)]
        faults[0] = _fault(random, rounds, together, kind)
    return Scenario(
        seed=seed,
        errands=errands,
        rounds=rounds,
        faults=tuple(faults),
        keyed=crowd or streamed or approves or random.random() < 0.35,
        attentive=random.random() < 0.4,
        persistent=random.random() < 0.9 or approves,
        together=together,
        bulk=together and seed % 2 == 0,
        # what it asks for again behind an approval is another call
        stubborn=random.random() < 0.4 and seed < STREAMED_FROM,
        resends=max(random.choice((1, 1, 1, 2, 3, 4)), 1 + (approves and seed % 5 == 0)),
        streamed=streamed,
        approves=approves,
        declines=random.choice(_DECLINED) if approves else frozenset(),
        disputed=approves and seed % 5 == 0,
        outlives=approves and seed % 7 == 0,
        viewers=random.choice((0, 1, 2)) if streamed else 0,
    )


def killed_at_its_record(seed: int, streamed: bool = False) -> Scenario:
    """One message that adds a task; the server dies when that is done and not yet recorded.

    Where it is streamed, what was shown by then has the time to be seen.
    """
    message = _Author(seed, Random(seed), ()).round(1)[0]  # noqa: S311  # repeatable, not secret
    kill = Fault(Kind.KILL, message.number, Moment.RECORDING, delay=SEEN_BY if streamed else 0.0)
    habits: dict[str, Any] = {
        "keyed": streamed or seed % 2 == 0,
        "persistent": seed % 3 > 0,
        "attentive": False,
    }
    manners: dict[str, Any] = {"together": False, "stubborn": False, "streamed": streamed}
    return Scenario(seed, (), ((message,),), (kill,), **habits, **manners)


def starved(seed: int) -> Scenario:
    """Two long runs on one server, whose leases something else there is in the way of.

    The first's message is sent again elsewhere meanwhile, as by a page that was reloaded.
    """
    messages = _Author(seed, Random(seed), ()).round(2)  # noqa: S311  # repeatable, not secret
    starve = Fault(Kind.STARVE, messages[0].number, Moment.ASKED)
    habits: dict[str, Any] = {"keyed": seed % 2 == 0, "persistent": True, "attentive": False}
    manners: dict[str, Any] = {"together": False, "stubborn": False}
    return Scenario(
        seed, (f"errand {seed}.0",), (messages,), (starve,), **habits, **manners, patient=True
    )


def _fault(
    random: Random,
    rounds: tuple[tuple[Message, ...], ...],
    together: bool,
    kind: Kind,
) -> Fault:
    message = random.choice(random.choice(rounds))
    requests = _requests(message, together)
    if kind in PROVIDER:
        lasting = 1 if kind is Kind.HANG else random.choice((1, 3, 4))
        return Fault(kind, message.number, Moment.ASKED, random.randint(1, requests), 0, lasting)
    moment = random.choice(_moments(kind))
    last = requests - (moment is Moment.RECORDING)
    delay = {Moment.SENT: 0.2, Moment.ANSWERED: 0.06}.get(moment, 0.0) * random.random()
    seconds = random.uniform(*_SECONDS.get(kind, (0.0, 0.0)))
    return Fault(kind, message.number, moment, random.randint(1, last), delay, 1, seconds)


def _moments(kind: Kind) -> list[Moment]:
    """When a fault of this kind may come; the likelier ones stand there more than once."""
    if kind is Kind.STALL:
        return [Moment.RECORDING]
    moments = [Moment.SENT, Moment.ASKED, Moment.ANSWERED, Moment.ANSWERED]
    if kind in _WITHIN_A_TRANSACTION:
        moments += [Moment.RECORDING, Moment.ENDING]
    return moments


_WITHIN_A_TRANSACTION = (
    Kind.KILL,
    Kind.STOP,
    Kind.STOPPED,
    Kind.PAUSE,
    Kind.TERMINATE,
    Kind.BACKEND,
    Kind.SILENCE,
    Kind.BLACK_HOLE,
)
"""What may come while a statement waits for a row that the suite holds."""


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
