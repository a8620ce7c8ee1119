"""Figures: how often, how long, how many. Each instrument of the service stands here, by name.

Where figures are off an instrument is one look at an attribute. Labels have few values that are
known beforehand: never a person, a conversation, an address or anything that a client makes up.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Protocol

type Labels = Mapping[str, str]
type Add = Callable[[float, Labels], None]

NO_LABELS: Labels = {}
SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
QUICK_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
TOKENS = (1, 4, 16, 64, 256, 1024, 4096, 16384, 65536, 262144, 1048576, 4194304, 16777216, 67108864)


@dataclass(slots=True)
class Counter:
    """What is only ever added to; `known` are the labels that are told from the start, as 0."""

    name: str
    unit: str
    description: str
    known: Sequence[Labels] = (NO_LABELS,)
    told: Add | None = None

    def add(self, amount: float = 1, labels: Labels = NO_LABELS) -> None:
        if self.told is not None:
            self.told(amount, labels)


@dataclass(slots=True)
class Histogram:
    """Amounts that differ, counted by size."""

    name: str
    unit: str
    description: str
    buckets: Sequence[float] = SECONDS
    told: Add | None = None

    @property
    def is_on(self) -> bool:
        """Whether it is worth measuring."""
        return self.told is not None

    def record(self, amount: float, labels: Labels = NO_LABELS) -> None:
        if self.told is not None:
            self.told(amount, labels)


@dataclass(slots=True)
class Gauge:
    """What is so at the moment at which somebody asks, who may be another thread."""

    name: str
    unit: str
    description: str
    watched: list[Callable[[], Iterable[tuple[float, Labels]]]] = field(default_factory=list)

    @contextmanager
    def watching(self, look: Callable[[], float], labels: Labels = NO_LABELS) -> Iterator[None]:
        """Have it tell what `look` gives, inside the block."""

        def looked() -> list[tuple[float, Labels]]:
            return [(look(), labels)]

        self.watched.append(looked)
        try:
            yield
        finally:
            self.watched.remove(looked)

    def read(self) -> list[tuple[float, Labels]]:
        return [each for look in tuple(self.watched) for each in look()]


TURNS = Counter(
    "todo.turns",
    "{turn}",
    "Turns by how they ended, and why where they failed.",
    [{"outcome": each, "reason": ""} for each in ("answered", "waiting", "stopped")]
    + [{"outcome": "failed", "reason": "internal"}],
)
TURN_SECONDS = Histogram("todo.turn.duration", "s", "From the start of a run to its end.")
FIRST_WORD_SECONDS = Histogram(
    "todo.turn.first_word", "s", "From the start of a streamed run to its first word."
)
OUTSIDE_SECONDS = Histogram(
    "todo.turn.outside", "s", "What a run waited for models and for servers of tools."
)
OWN_SECONDS = Histogram(
    "todo.turn.own", "s", "What a run took besides, its waits for the database among it."
)
TURNS_RUNNING = Gauge("todo.turns.running", "{turn}", "Runs under way in this process.")
TAKEN_UP = Counter("todo.turns.taken_up", "{turn}", "Further attempts at a turn.")
LEASES_LAPSED = Counter(
    "todo.leases.lapsed", "{lease}", "Turns found whose process had given no sign of life."
)
LEASES_NOT_RENEWED = Counter(
    "todo.leases.not_renewed", "{try}", "Tries to renew this process's leases that failed."
)
REPLAYED = Counter("todo.turns.replayed", "{turn}", "Answers given again, to the same message.")
STOPS = Counter("todo.stops", "{order}", "Orders of people to stop a turn.")
APPROVALS = Counter(
    "todo.approvals",
    "{call}",
    "Calls that waited for a person, and decisions.",
    [{"decision": each} for each in ("asked", "approved", "declined")],
)

MODEL_SECONDS = Histogram(
    "gen_ai.client.operation.duration", "s", "Calls of models, by provider and model."
)
MODEL_TOKENS = Histogram(
    "gen_ai.client.token.usage", "{token}", "Tokens of calls of models, by kind.", TOKENS
)
MODEL_COST = Counter("todo.model.cost", "USD", "What calls of models cost.", [])

_RATES = ("chat", "history", "tasks", "invalid", "sign-in", "pages")
_QUOTAS = ("viewers", "chat_concurrency", "daily_token_budget", "daily_cost_budget")
REFUSED = Counter(
    "todo.limits.refused",
    "{request}",
    "Requests refused, by the limit.",
    [{"limit": each} for each in (*_RATES, *_QUOTAS)],
)
STREAMS_OPEN = Gauge("todo.streams.open", "{stream}", "Streams that are being followed here.")
STREAM_LAG = Histogram(
    "todo.stream.lag", "s", "From what a run tells to its going to a viewer.", QUICK_SECONDS
)
AFTERWORK = Gauge("todo.afterwork.waiting", "{conversation}", "Work after turns, not done yet.")
AFTERWORK_DROPPED = Counter(
    "todo.afterwork.dropped", "{conversation}", "Work after turns that there was no room for."
)
LOOP_LAG = Histogram(
    "todo.event_loop.lag", "s", "How late the event loop comes to what is due.", QUICK_SECONDS
)
PLACES_USED = Gauge("todo.places.used", "{turn}", "Turns at work, not waiting for a model.")
PLACES = Gauge("todo.places.limit", "{turn}", "Turns that may be at work at once.")
PLACE_WAIT = Histogram("todo.place.wait", "s", "Waits for a place among the turns at work.")

SQL_SECONDS = Histogram(
    "db.client.operation.duration", "s", "Round trips to the database.", QUICK_SECONDS
)
CONNECTIONS = Gauge("db.client.connection.count", "{connection}", "Connections, by state.")
CONNECTIONS_MAX = Gauge("db.client.connection.max", "{connection}", "The most there may be.")
CONNECTION_WAIT = Histogram(
    "db.client.connection.wait_time", "s", "Waits for a connection, where none was free."
)
CONNECTION_TIMEOUTS = Counter(
    "db.client.connection.timeouts", "{timeout}", "Waits for a connection that were in vain."
)

REQUEST_SECONDS = Histogram(
    "http.server.request.duration", "s", "Requests, by route, method and status."
)

INSTRUMENTS = tuple(
    each for each in tuple(globals().values()) if isinstance(each, Counter | Histogram | Gauge)
)


class Meter(Protocol):
    """What figures are told to."""

    def counter(self, counter: Counter) -> Add: ...

    def histogram(self, histogram: Histogram) -> Add: ...

    def gauge(self, gauge: Gauge) -> None: ...


@contextmanager
def told_to(meter: Meter) -> Iterator[None]:
    """Have the figures of this process told to `meter` inside the block."""
    with ExitStack() as stack:
        for each in INSTRUMENTS:
            if isinstance(each, Gauge):
                meter.gauge(each)
                continue
            told = meter.counter(each) if isinstance(each, Counter) else meter.histogram(each)
            stack.callback(setattr, each, "told", each.told)
            each.told = told
        yield
