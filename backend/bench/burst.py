"""Many turns that all wait for a slow provider, on few database connections."""

import asyncio

from backend.bench.database import Postgres, token_of
from backend.bench.load import Connection, connections_to, http_request, timed
from backend.bench.processes import provider, service
from backend.bench.report import Figure, bounded, percentile

TURNS = 400
PROVIDER_SECONDS = 4.0
POOL_SIZE = 5
WALL_LIMIT_S = 10.0
TASKS_LIMIT_MS = 250.0
POLL_EVERY_S = 0.1


async def _poll_tasks(port: int) -> list[float]:
    """Seconds of each `GET /api/tasks` of somebody else, until cancelled."""
    times: list[float] = []
    request = http_request("GET", "/api/tasks", token_of(TURNS))
    async with Connection(port) as connection:
        try:
            while True:
                times.append(await timed(connection, request))
                await asyncio.sleep(POLL_EVERY_S)
        except asyncio.CancelledError:
            return times


async def _turns_at_once(port: int, number: int) -> list[float]:
    """Seconds of each turn since all were sent.

    Every one is another person's, on a connection of its own.
    """
    async with connections_to(port, number) as connections:
        return await asyncio.gather(
            *(
                timed(
                    connection,
                    http_request("POST", "/api/chat", token_of(person), {"message": "Hello"}),
                )
                for person, connection in enumerate(connections)
            )
        )


async def burst(postgres: Postgres, quick: bool) -> list[Figure]:
    """400 turns of 4 s on a pool of 5, with `GET /api/tasks` alongside; all answer 200."""
    turns = TURNS // 4 if quick else TURNS
    url = postgres.new_database("burst")
    async with (
        provider(delay=PROVIDER_SECONDS) as port,
        service(postgres.folder, url, port, POOL_SIZE) as running,
    ):
        await _turns_at_once(running.port, POOL_SIZE)
        polling = asyncio.create_task(_poll_tasks(running.port))
        seconds = await _turns_at_once(running.port, turns)
        polling.cancel()
        polled = [1000 * each for each in await polling]
    return [
        bounded(f"{turns} turns, all answered 200 after", max(seconds), WALL_LIMIT_S, " s"),
        Figure("a turn, median", f"{percentile(seconds, 50):.4g} s"),
        Figure("a turn, p95", f"{percentile(seconds, 95):.4g} s"),
        bounded("GET /api/tasks, median", percentile(polled, 50), TASKS_LIMIT_MS, " ms"),
        Figure("GET /api/tasks, p95", f"{percentile(polled, 95):.4g} ms"),
        Figure("GET /api/tasks, asked", f"{len(polled)} times"),
    ]
