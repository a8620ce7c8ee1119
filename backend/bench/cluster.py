"""Replicas behind haproxy, with PgBouncer and Redis, beside one replica without any of them.

All of it shares the cores of this machine, with the load and the provider. Where those are used
up more replicas carry no more, and what a turn costs each process is what is true elsewhere.
"""

import asyncio
import os
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import count, islice
from statistics import median

import psycopg

from backend.bench.database import Postgres, token_of
from backend.bench.hearing import hear_all
from backend.bench.live import WORDS, Side, our_request
from backend.bench.load import ask_all, connections_to, http_request
from backend.bench.meter import Meter, Spent, parent_of
from backend.bench.processes import PROVIDER, TALKER, base_url, listening
from backend.bench.report import Figure
from backend.tests.support.cluster import NotInstalled, running_cluster
from backend.tests.support.servers import serving

REPLICAS = (1, 2, 4)
AT_ONCE = 32
STREAMS = 32
FEWEST = 8
"""Streams with which it is begun to see how many are carried."""
POOL = 10
"""Connections that each replica may hold: the default of `DATABASE_POOL_SIZE`."""
_LIMITS = ("RATE_LIMIT_CHAT", "RATE_LIMIT_HISTORY", "RATE_LIMIT_TASKS")
_SETTINGS = {
    "CHAT_CONCURRENCY": "1000",
    "DATABASE_POOL_SIZE": str(POOL),
    **dict.fromkeys(_LIMITS, "1000000/minute"),
}
_OPEN = """
    SELECT count(*), count(*) FILTER (WHERE state <> 'idle') FROM pg_stat_activity
    WHERE datname = current_database() AND backend_type = 'client backend'
        AND pid <> pg_backend_pid()
"""


@dataclass
class Topology:
    """What is measured: where it answers, and its processes by name."""

    port: int
    pids: Mapping[str, list[int]]
    url: str
    """Of the database itself, whatever stands before it."""
    people: Iterator[int]
    spent: list[Spent] = field(default_factory=list)
    connections: tuple[int, int] = (0, 0)
    """Of Postgres: open, and at work at one time, at the most."""

    async def take_turns(self, number: int) -> Spent:
        """Plain turns, each another person's in a new conversation."""
        requests = [
            http_request("POST", "/api/chat", token_of(person), {"message": "Hello there"})
            for person in islice(self.people, number)
        ]
        async with connections_to(self.port, AT_ONCE) as connections:
            meter = Meter(self.pids)
            await ask_all(connections, requests)
            return meter.read(number)

    async def talk(self, _: int) -> Spent:
        """As many words as can be, on all streams at once."""
        request = our_request(self.people)
        requests = [request(WORDS, 0) for _ in range(STREAMS)]
        meter = Meter(self.pids)
        heard = await hear_all(self.port, requests)
        return meter.read(sum(len(each.lags) for each in heard))

    async def carries(self, seconds: float) -> int:
        """How many streams it carries, by the same measure as one service without a proxy."""
        side = Side(self.port, self.pids["replicas"][0], our_request(self.people))
        return await side.carries(FEWEST, seconds)

    @asynccontextmanager
    async def watched(self) -> AsyncIterator[None]:
        """Look at Postgres's connections ten times a second inside the block."""
        watching = asyncio.create_task(self._watch())
        try:
            yield
        finally:
            watching.cancel()

    async def _watch(self) -> None:
        async with await psycopg.AsyncConnection.connect(self.url, autocommit=True) as connection:
            while True:
                row = await (await connection.execute(_OPEN)).fetchone() or (0, 0)
                self.connections = (
                    max(self.connections[0], row[0]),
                    max(self.connections[1], row[1]),
                )
                await asyncio.sleep(0.1)


@asynccontextmanager
async def _side_by_side(
    postgres: Postgres, module: str, number: int
) -> AsyncIterator[tuple[Topology, Topology]]:
    """One replica alone and so many in a cluster, with one Postgres and one provider.

    Each has a database of its own, so that its connections are told apart.
    """
    name = f"{module.rpartition('.')[2]}_{number}"
    urls = [postgres.new_database(f"{name}_{which}") for which in ("alone", "cluster")]
    people = count()
    async with listening(module) as provider:
        asked = base_url(provider.port)
        beside = {
            "Postgres": [_postmaster(urls[0])],
            "provider": [provider.pid],
            "client": [os.getpid()],
        }
        async with (
            serving(urls[0], asked, **_SETTINGS) as alone,
            running_cluster(urls[1], asked, number, **_SETTINGS) as cluster,
        ):
            pids = {"replicas": [alone.process.pid], **beside}
            yield (
                Topology(_port(alone.address), pids, urls[0], people),
                Topology(_port(cluster.address), {**cluster.pids, **beside}, urls[1], people),
            )


def _postmaster(url: str) -> int:
    with psycopg.connect(url) as connection:
        return parent_of(connection.info.backend_pid)


def _port(address: str) -> int:
    return int(address.rpartition(":")[2])


async def _turns(postgres: Postgres, number: int, quick: bool) -> list[Figure]:
    async with _side_by_side(postgres, PROVIDER, number) as (alone, cluster):
        for _ in range(2):
            await alone.take_turns(AT_ONCE)
            await cluster.take_turns(number * AT_ONCE)
        for first in range(2 if quick else 6):
            for each in (alone, cluster) if first % 2 else (cluster, alone):
                async with each.watched():
                    each.spent.append(await each.take_turns(96 if quick else 192))
    opened, working = cluster.connections
    held = f"alone {alone.connections[0]}, {alone.connections[1]}"
    return [
        *_compared("turns a second", "a turn", alone.spent, cluster.spent),
        Figure("  connections of Postgres, open and at work", f"{opened}, {working}", held),
        Figure("  that the replicas may hold at PgBouncer", f"{number * POOL}"),
    ]


async def _streams(postgres: Postgres, number: int, quick: bool) -> list[Figure]:
    async with _side_by_side(postgres, TALKER, number) as (alone, cluster):
        for each in (alone, cluster):
            await each.talk(0)
        for first in range(2 if quick else 4):
            for each in (alone, cluster) if first % 2 else (cluster, alone):
                each.spent.append(await each.talk(0))
        seconds = 1.5 if quick else 3.0
        carried = await cluster.carries(seconds)
        carried_alone = await alone.carries(seconds)
    return [
        *_compared("words a second", "a thousand words", alone.spent, cluster.spent, 1000),
        Figure(
            "streams at a lag of 100 ms (p99), / alone",
            f"{carried} / {carried_alone} = {carried / carried_alone:.2f}",
            f"under {FEWEST}: fewer than that" if min(carried, carried_alone) < FEWEST else "",
        ),
    ]


def _compared(
    what: str, of_what: str, alone: list[Spent], cluster: list[Spent], many: int = 1
) -> list[Figure]:
    """The rates and their share, what limits, and each process's CPU for so many."""
    rates = [median(each.rate for each in side) for side in (cluster, alone)]
    share = median(ours.rate / one.rate for ours, one in zip(cluster, alone, strict=True))
    said = f"{rates[0]:.4g} / {rates[1]:.4g} = {share:.2f}"
    usual = sorted(cluster, key=lambda each: each.rate)[len(cluster) // 2]
    shown = [Figure(f"{what}, / alone", said), Figure("  what limits", usual.limit())]
    for name in cluster[0].cpu:
        costs = [
            1000 * many * median(each.cpu[name] / each.done for each in side)
            for side in (cluster, alone)
            if name in side[0].cpu
        ]
        beside = f"alone {costs[1]:.2f}" if len(costs) > 1 else ""
        shown.append(Figure(f"  CPU {of_what}, {name}", f"{costs[0]:.2f} ms", beside))
    return shown


async def cluster(postgres: Postgres, quick: bool) -> list[Figure]:
    """1, 2 and 4 replicas, each beside one alone in the same rounds."""
    shown: list[Figure] = []
    for number in REPLICAS:
        try:
            figures = [
                *await _turns(postgres, number, quick),
                *await _streams(postgres, number, quick),
            ]
        except NotInstalled as error:
            return [Figure("left out", str(error))]
        shown += [Figure(f"{number} behind the proxy", ""), *figures]
    return shown
