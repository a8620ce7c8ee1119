"""Full limits under load: what refusing costs, and what somebody else notices of it."""

import asyncio
from contextlib import AbstractAsyncContextManager
from time import perf_counter

from backend.bench.database import Postgres, token_of
from backend.bench.load import Connection, UnexpectedAnswer, connections_to, http_request, polled
from backend.bench.processes import provider, service
from backend.bench.report import Figure, bounded, percentile
from backend.tests.support.redis_server import PROGRAM, RedisServer, running_redis

AT_ONCE = 16
OTHER_LIMIT_MS = 250.0
HANGING_LIMIT_MS = 50.0
POLL_EVERY_S = 0.01
FLOODER, OTHER = 0, 1

FLOODS = {
    "chat": http_request("POST", "/api/chat", token_of(FLOODER), {"message": "Hello"}),
    "sign-in": http_request("GET", "/api/tasks", "nobody's"),
}
TASKS = http_request("GET", "/api/tasks", token_of(OTHER))
HEALTH = http_request("GET", "/health")


async def _flood(port: int, request: bytes, seconds: float) -> float:
    """Refusals a second, 16 requests at once.

    Raises:
        UnexpectedAnswer: something else than a refusal.
    """
    refused = 0
    async with connections_to(port, AT_ONCE) as connections:
        ends = perf_counter() + seconds

        async def send(connection: Connection) -> None:
            nonlocal refused
            while perf_counter() < ends:
                if (status := await connection.status_of(request)) != 429:
                    raise UnexpectedAnswer(f"{status} where the limit is full")
                refused += 1

        async with asyncio.TaskGroup() as group:
            for connection in connections:
                group.create_task(send(connection))
    return refused / seconds


async def _fill(port: int, request: bytes) -> None:
    async with Connection(port) as connection:
        while await connection.status_of(request) != 429:
            pass


def _polled(port: int, request: bytes) -> AbstractAsyncContextManager[list[float]]:
    return polled(port, request, POLL_EVERY_S)


async def _alone(port: int, seconds: float) -> list[Figure]:
    async with _polled(port, TASKS) as times:
        await asyncio.sleep(seconds)
    return [Figure("somebody's GET /api/tasks, nobody else there, median", _ms(times, 50))]


async def _under(port: int, name: str, where: str, seconds: float) -> list[Figure]:
    """One limit full, and flooded, while somebody else reads tasks."""
    await _fill(port, FLOODS[name])
    async with _polled(port, TASKS) as times:
        refused = await _flood(port, FLOODS[name], seconds)
    what = f"{name}, counted in {where}"
    return [
        Figure(f"{what}: refused a second", f"{refused:.0f}"),
        bounded(f"{what}: another's tasks, median", percentile(times, 50), OTHER_LIMIT_MS, " ms"),
        Figure(f"{what}: another's tasks, p95", _ms(times, 95)),
    ]


async def _hanging(port: int, redis: RedisServer, seconds: float) -> list[Figure]:
    """Redis stands still while several people read: how long others wait for the event loop."""
    redis.freeze()
    try:
        async with _polled(port, HEALTH) as health, _polled(port, TASKS) as tasks:
            await _crowd(port, seconds)
    finally:
        redis.thaw()
    what = "Redis hangs"
    return [
        bounded(f"{what}: GET /health, p95", percentile(health, 95), HANGING_LIMIT_MS, " ms"),
        Figure(f"{what}: GET /health, slowest", f"{max(health):.4g} ms"),
        bounded(f"{what}: another's tasks, median", percentile(tasks, 50), OTHER_LIMIT_MS, " ms"),
        Figure(f"{what}: another's tasks, slowest", f"{max(tasks):.4g} ms"),
    ]


async def _crowd(port: int, seconds: float) -> None:
    """A few people who read their tasks all the time; whatever is answered is fine."""
    ends = perf_counter() + seconds

    async def read(person: int) -> None:
        request = http_request("GET", "/api/tasks", token_of(person))
        async with Connection(port) as connection:
            while perf_counter() < ends:
                await connection.ask(request)
                await asyncio.sleep(POLL_EVERY_S)

    async with asyncio.TaskGroup() as group:
        for person in range(OTHER + 1, OTHER + 5):
            group.create_task(read(person))


def _ms(times: list[float], percent: int) -> str:
    return f"{percentile(times, percent):.4g} ms"


async def _refused_address(port: int, seconds: float) -> list[Figure]:
    """An address that failed too often; others would need another address, so none is asked."""
    await _fill(port, FLOODS["sign-in"])
    async with _polled(port, HEALTH) as health:
        refused = await _flood(port, FLOODS["sign-in"], seconds)
    return [
        Figure("sign-in, counted in memory: refused a second", f"{refused:.0f}"),
        Figure("sign-in, counted in memory: GET /health, p95", _ms(health, 95)),
    ]


async def limits(postgres: Postgres, quick: bool) -> list[Figure]:
    """With the counts in memory and in Redis, and with a Redis that hangs."""
    seconds = 2.0 if quick else 8.0
    full = {"RATE_LIMIT_CHAT": "10/hour", "RATE_LIMIT_SIGN_IN": "30/hour"}
    url = postgres.new_database("limits")
    figures: list[Figure] = []
    async with provider() as port:
        async with service(postgres.folder, url, port, settings=full) as running:
            figures += await _alone(running.port, seconds)
            figures += await _under(running.port, "chat", "memory", seconds)
        async with service(postgres.folder, url, port, settings=full) as running:
            figures += await _refused_address(running.port, seconds)
        if PROGRAM is None:
            return [*figures, Figure("counted in Redis", "no redis-server here")]
        async with running_redis() as redis:
            full["RATE_LIMIT_STORAGE_URI"] = redis.uri
            async with service(postgres.folder, url, port, settings=full) as running:
                figures += await _under(running.port, "chat", "Redis", seconds)
                figures += await _hanging(running.port, redis, seconds)
    return figures
