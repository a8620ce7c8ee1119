"""The service under clients that mean harm: idle, slow, endless, and too large.

Each attack runs while somebody else lists their tasks; what that takes is the figure.
"""

import asyncio
import resource
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

from backend.bench.database import Postgres, token_of
from backend.bench.load import Connection, http_request, timed
from backend.bench.processes import provider, service
from backend.bench.report import Figure, Verdict, bounded, percentile

IDLE = 1000
SLOW = 200
SENDERS = 4
"""Clients that send what is too large, each again and again."""
REQUEST_SECONDS = 4.0
"""What the service allows for a head, and for a body."""
ATTACK_SECONDS = 6.0
LIMIT_MS = 250.0
POLL_EVERY_S = 0.05

TEN_MEGABYTES = 10 * 1024 * 1024
CHUNK = b"10000\r\n" + b"x" * 0x10000 + b"\r\n"
START = b"POST /api/chat HTTP/1.1\r\nhost: bench\r\ncontent-type: application/json\r\n"
CHUNKED = START + b"authorization: Bearer %s\r\ntransfer-encoding: chunked\r\n\r\n"
SLOW_BODY = START + b"authorization: Bearer %s\r\ncontent-length: 1000\r\n\r\n"
MANY_FIELDS = (
    b"GET /health HTTP/1.1\r\nhost: bench\r\n"
    + b"".join(b"x-%d: y\r\n" % number for number in range(10_000))
    + b"\r\n"
)

type Attack = Callable[[int], Awaitable[list[str]]]
"""Does its harm to a port; the first line of each answer, "" where there was none."""


@asynccontextmanager
async def _connected(port: int) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        yield reader, writer
    finally:
        writer.transport.abort()


async def _first_line(reader: asyncio.StreamReader) -> str:
    with suppress(ConnectionError):
        return (await reader.readline()).decode().strip()
    return "reset"


async def _idle(port: int) -> list[str]:
    async def wait() -> str:
        async with _connected(port) as (reader, _):
            return await _first_line(reader)

    return await asyncio.gather(*(wait() for _ in range(IDLE)))


async def _slow(port: int) -> list[str]:
    async def trickle() -> str:
        async with _connected(port) as (reader, writer):
            writer.write(SLOW_BODY % token_of(0).encode())
            answer = asyncio.create_task(_first_line(reader))
            while not (answer.done() or writer.is_closing()):
                writer.write(b"x")
                await asyncio.sleep(0.2)
            return await answer

    return await asyncio.gather(*(trickle() for _ in range(SLOW)))


async def _send_chunks(port: int) -> str:
    async with _connected(port) as (reader, writer):
        answer = asyncio.create_task(_first_line(reader))
        writer.write(CHUNKED % token_of(0).encode())
        for _ in range(TEN_MEGABYTES // 0x10000):
            if answer.done() or writer.is_closing():
                break
            with suppress(ConnectionError):
                writer.write(CHUNK)
                await writer.drain()
        return await answer


async def _send_fields(port: int) -> str:
    async with _connected(port) as (reader, writer):
        writer.write(MANY_FIELDS)
        return await _first_line(reader)


def _again_and_again(send: Callable[[int], Awaitable[str]]) -> Attack:
    async def attack(port: int) -> list[str]:
        lines: list[str] = []

        async def repeat() -> None:
            while True:
                lines.append(await send(port))

        with suppress(TimeoutError):
            async with asyncio.timeout(ATTACK_SECONDS):
                await asyncio.gather(*(repeat() for _ in range(SENDERS)))
        return lines

    return attack


async def _nothing(_: int) -> list[str]:
    await asyncio.sleep(ATTACK_SECONDS / 2)
    return []


ATTACKS: dict[str, tuple[Attack, str]] = {
    "nobody else": (_nothing, ""),
    f"{IDLE} connections that send nothing": (_idle, ""),
    f"{SLOW} bodies of a byte in 0.2 s": (_slow, "HTTP/1.1 408"),
    f"{SENDERS} clients sending 10 MB": (_again_and_again(_send_chunks), "HTTP/1.1 413"),
    f"{SENDERS} clients sending 10,000 fields": (_again_and_again(_send_fields), "HTTP/1.1 431"),
}


async def _poll(port: int) -> list[float]:
    """Milliseconds of each `GET /api/tasks` of somebody else, until cancelled."""
    times: list[float] = []
    request = http_request("GET", "/api/tasks", token_of(1))
    async with Connection(port) as connection:
        with suppress(asyncio.CancelledError):
            while True:
                times.append(1000 * await timed(connection, request))
                await asyncio.sleep(POLL_EVERY_S)
    return times


async def _suffer(port: int, name: str) -> list[Figure]:
    attack, expected = ATTACKS[name]
    polling = asyncio.create_task(_poll(port))
    lines = await attack(port)
    polling.cancel()
    times = await polling
    figures = [
        bounded(f"{name}: median", percentile(times, 50), LIMIT_MS, " ms"),
        Figure(f"{name}: p95", f"{percentile(times, 95):.4g} ms"),
    ]
    return [*figures, _treatment(name, lines, expected)] if lines else figures


def _treatment(name: str, lines: list[str], expected: str) -> Figure:
    """How many got the answer that is due; who sends on after it may see a reset instead."""
    due = sum(line.startswith(expected) if expected else not line for line in lines)
    others = {line for line in lines if not line.startswith(expected)} - {"", "reset"}
    verdict: Verdict = "ok" if due >= 0.5 * len(lines) and not others else "FAILED"
    told = f"answered {expected.split()[-1]}" if expected else "closed by the service"
    return Figure(f"{name}: {told}", f"{due} of {len(lines)}", "the rest reset", verdict)


async def hostile(postgres: Postgres, quick: bool) -> list[Figure]:
    """All attacks, one after the other, on `python -m backend`; a turn succeeds after them."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    url = postgres.new_database("hostile")
    figures: list[Figure] = []
    async with (
        provider() as provider_port,
        service(
            postgres.folder,
            url,
            provider_port,
            settings={"REQUEST_SECONDS": str(REQUEST_SECONDS)},
            own_server=True,
        ) as running,
    ):
        for name in ATTACKS:
            figures += await _suffer(running.port, name)
        async with Connection(running.port) as connection:
            turn = http_request("POST", "/api/chat", token_of(2), {"message": "Hello"})
            seconds = await timed(connection, turn)
    return [*figures, bounded("a turn after all of it", 1000 * seconds, 1000, " ms")]
