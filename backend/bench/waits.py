"""How often a request waits for the database, which is 20 ms away."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import count, islice, repeat
from statistics import median
from time import perf_counter
from typing import Any

from backend.bench.database import Postgres, add_conversations, token_of
from backend.bench.load import Connection, http_request
from backend.bench.processes import provider, service
from backend.bench.report import Figure, Verdict, bounded, percentile
from backend.bench.throughput import LONG
from backend.tests.support.tcp_proxy import TcpProxy, tcp_proxy

DELAY = 0.02
WARM_UP = 8
"""Requests until every statement is prepared."""
HISTORY_P50_MS = 200.0
"""The plan's own figure."""


@dataclass(frozen=True)
class Kind:
    """A kind of request; `goal` and `limit` are round trips, sign-in among them."""

    name: str
    goal: float
    limit: float
    method: str
    path: str
    message: str | None = None

    def request(self, person: int) -> bytes:
        body: Any = None if self.message is None else {"message": self.message}
        return http_request(self.method, self.path, token_of(person), body)


@asynccontextmanager
async def _opened(postgres: Postgres) -> AsyncIterator[tuple[Connection, TcpProxy, int]]:
    url = postgres.new_database("waits")
    async with (
        tcp_proxy(url) as proxy,
        provider() as port,
        service(postgres.folder, proxy.url, port) as running,
        Connection(running.port) as connection,
    ):
        [conversation] = add_conversations(url, 1, LONG)
        yield connection, proxy, conversation


async def waits(postgres: Postgres, quick: bool) -> list[Figure]:
    """One caller; the round trips up to each answer, and its milliseconds."""
    figures: list[Figure] = []
    async with _opened(postgres) as (connection, proxy, conversation):
        for kind in (
            Kind("plain turn", 5, 7, "POST", "/api/chat", "Hello there, how are you?"),
            Kind("add_task turn", 8, 11, "POST", "/api/chat", "Add buy oat milk"),
            Kind("history", 2, 3, "GET", f"/api/conversations/{conversation}/messages"),
            Kind("GET /api/tasks", 2, 2.5, "GET", "/api/tasks"),
        ):
            people = count(1) if kind.message else repeat(0)
            trips, times = await _measure(connection, proxy, kind, people, 6 if quick else 20)
            figures += _figures(kind, trips, times)
    return figures


async def _measure(
    connection: Connection, proxy: TcpProxy, kind: Kind, people: Iterator[int], number: int
) -> tuple[list[int], list[float]]:
    """Round trips and milliseconds of each request, in turn."""
    for person in islice(people, WARM_UP):
        await connection.ask(kind.request(person))
    trips, times = [], []
    proxy.delay = DELAY
    for person in islice(people, number):
        before, started = proxy.round_trips, perf_counter()
        await connection.ask(kind.request(person))
        trips.append(proxy.round_trips - before)
        times.append(1000 * (perf_counter() - started))
        await asyncio.sleep(5 * DELAY)  # for what is done after an answer
    proxy.delay = 0.0
    return trips, times


def _figures(kind: Kind, trips: list[int], times: list[float]) -> list[Figure]:
    waited = median(trips)
    verdict: Verdict = "FAILED" if waited > kind.limit else "below target"
    verdict = "ok" if waited <= kind.goal else verdict
    goal = f"aim {kind.goal:g}, limit {kind.limit:g}"
    milliseconds = percentile(times, 50)
    if kind.name == "history":
        took = bounded("history, p50", milliseconds, HISTORY_P50_MS, " ms")
    else:
        took = Figure(f"{kind.name}, p50", f"{milliseconds:.4g} ms")
    return [Figure(f"{kind.name}: round trips", f"{waited:g}", goal, verdict), took]
