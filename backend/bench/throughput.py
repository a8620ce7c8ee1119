"""Turns a second, paired with the bare loop; and how long the history takes."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import count, islice
from statistics import median
from time import perf_counter
from typing import Any

from backend.bench.database import Postgres, add_conversations, token_of
from backend.bench.load import (
    Connection,
    UnexpectedAnswer,
    ask_all,
    connections_to,
    http_request,
    timed,
)
from backend.bench.processes import (
    BareLoop,
    bare_loop,
    cpu_seconds,
    items_seen,
    provider,
    service,
)
from backend.bench.report import Figure, Verdict, bounded, percentile

AT_ONCE = 16
LONG = 50
"""Messages in a long conversation."""
WITHIN = 46
"""As many as leave the context of the next turn as it is; of ten turns, nine are like that."""
HISTORY_LIMIT_MS = 100.0


@dataclass(frozen=True)
class Speed:
    """Turns a second by the clock, and by what the process had of the processors."""

    wall: float
    cpu: float


type Pair = tuple[Speed, Speed]
"""The service's and the bare loop's, in the same round."""


@dataclass(frozen=True)
class Kind:
    """A kind of turn; `goal` and `floor` are shares of the bare loop's turns a second.

    Those of the processors' time are steadier, since nothing else of the machine is in them.
    """

    name: str
    message: str
    goal: float
    floor: float
    cpu_goal: float
    cpu_floor: float
    calls: list[str] | None = None
    long: bool = False


KINDS = (
    Kind(
        "plain answer",
        "Hello there, how are you?",
        goal=1.2,
        floor=0.95,
        cpu_goal=1.6,
        cpu_floor=1.2,
    ),
    Kind(
        "add_task",
        "Add buy oat milk",
        goal=1.1,
        floor=0.9,
        cpu_goal=1.15,
        cpu_floor=1.0,
        calls=["add_task"],
    ),
    Kind(
        f"plain, {WITHIN} messages",
        "Hello there, how are you?",
        goal=1.0,
        floor=0.85,
        cpu_goal=1.3,
        cpu_floor=1.2,
        long=True,
    ),
)


@dataclass(frozen=True)
class Bench:
    """What one run of the benchmark has open."""

    port: int
    pid: int
    bare: BareLoop
    provider_port: int
    database_url: str
    people: Iterator[int]

    async def turns_a_second(self, kind: Kind, turns: int) -> float:
        """Of the service; every turn is another person's, in a conversation of its own.

        Raises:
            UnexpectedAnswer: a turn did not do what its kind says.
        """
        requests = self._requests(kind, turns)
        async with connections_to(self.port, AT_ONCE) as connections:
            started = perf_counter()
            answers = await ask_all(connections, requests)
            seconds = perf_counter() - started
        for answer in answers:
            _check(kind, answer)
        return turns / seconds

    def _requests(self, kind: Kind, turns: int) -> list[bytes]:
        if kind.long:
            ids = add_conversations(self.database_url, turns, WITHIN)
            owners: Iterator[tuple[int, int | None]] = enumerate(ids)
        else:
            owners = ((person, None) for person in islice(self.people, turns))
        return [
            http_request(
                "POST",
                "/api/chat",
                token_of(person),
                {"conversation_id": conversation, "message": kind.message},
            )
            for person, conversation in owners
        ]


def _check(kind: Kind, answer: Any) -> None:
    calls = answer["tool_calls"]
    done = calls and [call["tool"] for call in calls if call["result"]["success"]]
    if done != kind.calls:
        raise UnexpectedAnswer(f"{kind.name}: {answer}")


@asynccontextmanager
async def _opened(postgres: Postgres) -> AsyncIterator[Bench]:
    url = postgres.new_database("throughput")
    async with (
        provider() as port,
        service(postgres.folder, url, port) as running,
        bare_loop(port) as bare,
    ):
        yield Bench(running.port, running.pid, bare, port, url, count())


async def _items_of(bench: Bench, run: Callable[[], Awaitable[Any]]) -> tuple[int, ...]:
    await items_seen(bench.provider_port)
    await run()
    return tuple(sorted(await items_seen(bench.provider_port)))


async def _items_to_give(bench: Bench, kind: Kind) -> int:
    """Input items for the bare loop: 1, or as many as the service sent, which it checks.

    This also warms both sides up.
    """
    sent = await _items_of(bench, lambda: bench.turns_a_second(kind, 2 * AT_ONCE))
    items = sent[0] if kind.long else 1
    given = await _items_of(bench, lambda: bench.bare.measure(kind.message, items, 2 * AT_ONCE))
    if kind.long and sent != given:
        raise UnexpectedAnswer(f"service sends {sent} items, bare loop {given}")
    return items


async def _pairs(bench: Bench, kind: Kind, items: int, rounds: int, turns: int) -> list[Pair]:
    """One pair a round, the first of the pair changing, to spread what else the machine does."""
    pairs: list[Pair] = []

    async def serve() -> Speed:
        return await _speed(bench.pid, turns, bench.turns_a_second(kind, turns))

    async def loop() -> Speed:
        return await _speed(bench.bare.pid, turns, bench.bare.measure(kind.message, items, turns))

    for number in range(rounds):
        if number % 2:
            bare = await loop()
            pairs.append((await serve(), bare))
        else:
            served = await serve()
            pairs.append((served, await loop()))
    return pairs


async def _speed(pid: int, turns: int, measured: Awaitable[float]) -> Speed:
    before = cpu_seconds(pid)
    wall = await measured
    return Speed(wall, turns / (cpu_seconds(pid) - before))


def _figures(kind: Kind, pairs: list[Pair], items: int) -> list[Figure]:
    name = f"{kind.name} ({items} items)" if kind.long else kind.name
    wall = [(served.wall, bare.wall) for served, bare in pairs]
    cpu = [(served.cpu, bare.cpu) for served, bare in pairs]
    return [
        _compared(name, wall, kind.goal, kind.floor),
        _compared(f"{name}, a CPU second", cpu, kind.cpu_goal, kind.cpu_floor),
    ]


def _compared(name: str, pairs: list[tuple[float, float]], goal: float, floor: float) -> Figure:
    ratio = median(served / bare for served, bare in pairs)
    served, bare = (median(side) for side in zip(*pairs, strict=True))
    verdict: Verdict = "FAILED"
    if ratio >= floor:
        verdict = "ok" if ratio >= goal else "below target"
    said = f"{served:.1f} / {bare:.1f} = {ratio:.2f}"
    return Figure(name, said, f"aim {goal}, floor {floor}", verdict)


async def throughput(postgres: Postgres, quick: bool) -> list[Figure]:
    """The service's turns a second over the bare loop's, 16 at once: medians of the rounds."""
    rounds, turns = (2, 80) if quick else (5, 128)
    figures: list[Figure] = []
    async with _opened(postgres) as bench:
        for kind in KINDS:
            items = await _items_to_give(bench, kind)
            figures += _figures(kind, await _pairs(bench, kind, items, rounds, turns), items)
    return figures


async def history(postgres: Postgres, quick: bool) -> list[Figure]:
    """One caller after the other reads the 50 messages of a conversation."""
    url = postgres.new_database("history")
    async with (
        provider() as port,
        service(postgres.folder, url, port) as running,
        Connection(running.port) as connection,
    ):
        [conversation] = add_conversations(url, 1, LONG)
        path = f"/api/conversations/{conversation}/messages"
        request = http_request("GET", path, token_of(0))
        times = [1000 * await timed(connection, request) for _ in range(60 if quick else 320)]
    warm = times[20:]
    return [
        bounded("GET messages, median", percentile(warm, 50), HISTORY_LIMIT_MS, " ms"),
        Figure("GET messages, p95", f"{percentile(warm, 95):.4g} ms"),
    ]
