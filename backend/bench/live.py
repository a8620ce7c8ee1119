"""Streams, paired with a bare `Runner.run_streamed` route; resumed and stopped elsewhere."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import count, islice
from statistics import median

import psycopg

from backend.bench.database import Postgres, token_of
from backend.bench.hearing import Hearing, hear_all
from backend.bench.load import Connection, http_request
from backend.bench.processes import bare_stream, cpu_seconds, service, talker
from backend.bench.report import Figure, Verdict, bounded, percentile

STREAMS = 64
WORDS = 200
LAG_LIMIT_S = 0.1
STEP = 1.25
PAUSE_MS = 40
"""Between two words, where the lag of each is measured: as fast as models write."""


@dataclass
class Side:
    """One of the pair: where it answers, and how it is asked to talk."""

    port: int
    pid: int
    request: Callable[[int, int], bytes]
    """For a number of words, and milliseconds between them."""
    firsts: list[float] = field(default_factory=list)
    rates: list[float] = field(default_factory=list)
    shares: list[float] = field(default_factory=list)
    """Words a second of the processors' time."""

    async def first(self) -> None:
        (heard,) = await hear_all(self.port, [self.request(3, 5)])
        self.firsts.append(heard.first or 0.0)

    async def rush(self, streams: int) -> None:
        """As many words as can be, on all streams at once."""
        requests = [self.request(WORDS, 0) for _ in range(streams)]
        began, used = time.monotonic(), cpu_seconds(self.pid)
        heard = await hear_all(self.port, requests)
        words = sum(len(each.lags) for each in heard)
        self.rates.append(words / (time.monotonic() - began))
        self.shares.append(words / (cpu_seconds(self.pid) - used))

    async def lag(self, streams: int, seconds: float) -> float:
        """The 99th percentile of the lag, of words as models write them."""
        words = int(1000 * seconds / PAUSE_MS)
        heard = await hear_all(self.port, [self.request(words, PAUSE_MS) for _ in range(streams)])
        return percentile([lag for each in heard for lag in each.lags], 99)

    async def carries(self, begin: int, seconds: float) -> int:
        """How many streams it carries before a word in a hundred is later than the limit."""
        streams = begin
        while await self._is_carried(streams, seconds):
            streams = int(streams * STEP) + 1
        return int(streams / STEP)

    async def _is_carried(self, streams: int, seconds: float) -> bool:
        """By the median of three tries: what else the machine did in one is not the load's."""
        return median([await self.lag(streams, seconds) for _ in range(3)]) <= LAG_LIMIT_S


def _bare_request(words: int, pause: int) -> bytes:
    return http_request("POST", "/chat", body={"message": f"Talk {words} {pause}"})


def our_request(people: Iterator[int]) -> Callable[[int, int], bytes]:
    """Each message is another person's, in a chat of its own."""

    def request(words: int, pause: int) -> bytes:
        return _message(next(people), words, pause)

    return request


def _message(person: int, words: int, pause: int) -> bytes:
    part = {"type": "text", "text": f"Talk {words} {pause}"}
    message = {"id": f"m{person}", "role": "user", "parts": [part]}
    body = {"id": f"c{person}", "messages": [message]}
    return http_request("POST", "/api/ui/chat", token_of(person), body)


@asynccontextmanager
async def _pair(
    postgres: Postgres, url: str, port: int, people: Iterator[int]
) -> AsyncIterator[tuple[Side, Side, int]]:
    async with (
        bare_stream(port) as bare,
        service(postgres.folder, url, port) as ours,
        service(postgres.folder, url, port) as other,
    ):
        yield (
            Side(ours.port, ours.pid, our_request(people)),
            Side(bare.port, bare.pid, _bare_request),
            other.port,
        )


async def live(postgres: Postgres, quick: bool) -> list[Figure]:
    url = postgres.new_database("live")
    people = count()
    async with talker() as port, _pair(postgres, url, port, people) as (ours, bare, other):
        for side in (ours, bare):
            await side.rush(8)
            side.rates.clear()
            side.shares.clear()
        for _ in range(10 if quick else 40):
            for side in (ours, bare):
                await side.first()
        for _ in range(1 if quick else 3):
            for side in (ours, bare):
                await side.rush(STREAMS)
        writes = await _log_writes(url, ours)
        seconds = 1.5 if quick else 4.0
        loads = [await side.carries(32, seconds) for side in (ours, bare)]
        lags = await _resumed_lags(ours, other, list(islice(people, 16)))
        stopped = islice(people, 5 if quick else 20)
        stops = [await _stop_elsewhere(ours, other, person) for person in stopped]
    first = median(ours.firsts) / median(bare.firsts)
    rush = median(ours.rates) / median(bare.rates)
    share = median(ours.shares) / median(bare.shares)
    return [
        _ratio("time to the first word, ours / bare", first, 1.1, 1.3, more=False),
        Figure("  ours", f"{1000 * median(ours.firsts):.3g} ms"),
        _ratio(f"words a second on {STREAMS} streams, ours / bare", rush, 0.8, 0.6),
        _ratio("  the same, by the processors' time", share, 0.8, 0.6),
        Figure("  ours", f"{median(ours.rates):.0f} a second"),
        _ratio("streams at a lag of 100 ms (p99), ours / bare", loads[0] / loads[1], 0.8, 0.6),
        Figure("  ours", f"{loads[0]}"),
        bounded(f"statements of the log a second, {STREAMS} streams", writes, 12, ""),
        bounded("lag of a viewer elsewhere, p50", 1000 * percentile(lags, 50), 250, " ms"),
        bounded("stop from elsewhere, p95", 1000 * percentile(stops, 95), 600, " ms"),
    ]


def _ratio(name: str, value: float, goal: float, floor: float, *, more: bool = True) -> Figure:
    sign = 1 if more else -1
    verdict: Verdict = "ok" if sign * value >= sign * goal else "below target"
    if sign * value < sign * floor:
        verdict = "FAILED"
    return Figure(name, f"{value:.3g}", f"aim {goal:g}, floor {floor:g}", verdict)


async def _log_writes(url: str, ours: Side) -> float:
    """Transactions a second in which the log was written, while many streams talk."""
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
        await connection.execute("DELETE FROM stream_log")
        requests = [ours.request(75, PAUSE_MS) for _ in range(STREAMS)]
        began = time.monotonic()
        await hear_all(ours.port, requests)
        took = time.monotonic() - began
        found = await connection.execute("SELECT count(DISTINCT xmin::text) FROM stream_log")
        row = await found.fetchone()
    return (row[0] if row else 0) / took


async def _resumed_lags(ours: Side, other: int, people: list[int]) -> list[float]:
    """How late words are for viewers of another process, from when they came to watch."""
    talking = [await Hearing.begin(ours.port, _message(each, 75, PAUSE_MS)) for each in people]
    await asyncio.gather(*(each.talks.wait() for each in talking))
    watching = []
    for person in people:
        path = f"/api/ui/chat/c{person}/stream"
        request = http_request("GET", path, token_of(person))
        watching.append(await Hearing.begin(other, request))
    await asyncio.gather(*(each.ended for each in (*talking, *watching)))
    # what was said before they came is no lag; a third of each is surely after
    return [lag for each in watching for lag in each.lags[50:]]


async def _stop_elsewhere(ours: Side, other: int, person: int) -> float:
    """Seconds from the order at another process to the end of the stream."""
    heard = await Hearing.begin(ours.port, _message(person, 1000, PAUSE_MS))
    await heard.talks.wait()
    request = http_request("POST", f"/api/ui/chat/c{person}/stop", token_of(person), {})
    async with Connection(other) as connection:
        began = time.monotonic()
        asking = asyncio.create_task(connection.ask(request))
        await heard.ended
        took = time.monotonic() - began
        await asking
    return took
