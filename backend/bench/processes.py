"""The processes that are measured, each started here and stopped with its block."""

import asyncio
import json
import os
import sys
import time
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any, cast

from backend.bench.load import Connection, UnexpectedAnswer, http_request
from backend.tests.support.ports import held_port

CHECKOUT = Path(__file__).resolve().parents[2]
PROVIDER = "backend.tests.support.scripted_provider"
TALKER = "backend.bench.talker"
START_LIMIT = 60.0
"""Seconds after which a service that is not healthy is given up."""


class DidNotStart(Exception):
    """A process ended, or never answered."""


@dataclass(frozen=True)
class Service:
    port: int
    start_seconds: float
    """From the start of the process to the first healthy answer."""
    pid: int = 0


@dataclass(frozen=True)
class BareLoop:
    """The plain `Runner.run` loop; it runs only while it is asked to."""

    pid: int
    _orders: asyncio.StreamWriter
    _seconds: asyncio.StreamReader

    async def measure(self, message: str, items: int, turns: int) -> float:
        """Turns a second, for runs of `items` input items that end with `message`."""
        order = {"message": message, "items": items, "turns": turns}
        self._orders.write(json.dumps(order).encode() + b"\n")
        line = await self._seconds.readline()
        if not line:
            raise DidNotStart("the bare loop ended")
        return turns / float(line)


def cpu_seconds(pid: int) -> float:
    """What a process has used of the processors so far, in user and in kernel mode.

    By its clock, as `clock_getcpuclockid` names it; `/proc` counts in hundredths of a second.
    """
    return time.clock_gettime(~pid << 3 | 2)


@asynccontextmanager
async def _running(*arguments: str, **options: Any) -> AsyncIterator[Process]:
    process = await asyncio.create_subprocess_exec(sys.executable, *arguments, **options)
    try:
        yield process
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


@asynccontextmanager
async def listening(module: str, *arguments: str) -> AsyncIterator[Service]:
    """A module of ours that says on which port it listens."""
    started = perf_counter()
    async with _running("-m", module, *arguments, cwd=CHECKOUT, stdout=PIPE) as process:
        port = int(await cast(asyncio.StreamReader, process.stdout).readline())
        yield Service(port, perf_counter() - started, process.pid)


@asynccontextmanager
async def provider(delay: float = 0.0) -> AsyncIterator[int]:
    """The scripted provider, `delay` seconds an answer; gives its port."""
    async with listening(PROVIDER, "--delay", str(delay)) as started:
        yield started.port


@asynccontextmanager
async def talker() -> AsyncIterator[int]:
    """A provider that streams; gives its port."""
    async with listening(TALKER) as started:
        yield started.port


@asynccontextmanager
async def bare_stream(provider_port: int) -> AsyncIterator[Service]:
    """A worker of uvicorn with the smallest route that streams."""
    environment = os.environ | {
        "OPENAI_API_KEY": "bench",
        "OPENAI_BASE_URL": base_url(provider_port),
    }
    with held_port() as port:
        arguments = ("-m", "uvicorn", "backend.bench.bare_stream:app", "--port", str(port))
        started = perf_counter()
        async with _running(
            *arguments, "--log-level", "warning", cwd=CHECKOUT, env=environment
        ) as process:
            await _healthy(process, port, os.devnull)
            yield Service(port, perf_counter() - started, process.pid)


async def items_seen(provider_port: int) -> dict[int, int]:
    """Requests by their number of input items, since the last time this was asked."""
    async with Connection(provider_port) as connection:
        seen: dict[str, int] = await connection.ask(http_request("GET", "/seen"))
    return {int(items): requests for items, requests in seen.items()}


async def import_sdk() -> None:
    """Run a process that imports the SDK and ends."""
    async with _running("-c", "import agents") as process:
        await process.wait()


@asynccontextmanager
async def bare_loop(provider_port: int) -> AsyncIterator[BareLoop]:
    arguments = ("-m", "backend.bench.bare_loop", base_url(provider_port))
    async with _running(*arguments, cwd=CHECKOUT, stdin=PIPE, stdout=PIPE) as process:
        yield BareLoop(
            process.pid,
            cast(asyncio.StreamWriter, process.stdin),
            cast(asyncio.StreamReader, process.stdout),
        )


@asynccontextmanager
async def service(
    folder: Path,
    database_url: str,
    provider_port: int,
    pool_size: int = 20,
    *,
    settings: Mapping[str, str] | None = None,
    own_server: bool = False,
) -> AsyncIterator[Service]:
    """One worker of the service, healthy; its log goes into `folder`.

    Limits are out of the way unless `settings` set them, by the names of the environment.

    It runs in `folder`, so that no `.env` of the checkout changes what is measured: under
    uvicorn's command, or as `python -m backend` where that is asked for.

    Raises:
        DidNotStart: it ended, or was not healthy within `START_LIMIT`.
    """
    environment = {**_environment(database_url, provider_port, pool_size), **(settings or {})}
    with held_port() as port, (folder / "service.log").open("ab") as log:
        under_uvicorn = ("-m", "uvicorn", "backend.main:app", "--workers", "1", "--port", str(port))
        arguments = ("-m", "backend") if own_server else under_uvicorn
        environment["PORT"] = str(port)
        started = perf_counter()
        async with _running(
            *arguments, cwd=folder, env=environment, stdout=log, stderr=log
        ) as process:
            await _healthy(process, port, log.name)
            yield Service(port, perf_counter() - started, process.pid)


def _environment(database_url: str, provider_port: int, pool_size: int) -> Mapping[str, str]:
    limits = ("RATE_LIMIT_CHAT", "RATE_LIMIT_HISTORY", "RATE_LIMIT_TASKS")
    return {
        "PATH": os.environ.get("PATH", ""),
        "PYTHONPATH": str(CHECKOUT),
        "DATABASE_URL": database_url,
        "DATABASE_POOL_SIZE": str(pool_size),
        "OPENAI_API_KEY": "bench",
        "AI_SUMMARIES": "false",
        "OPENAI_BASE_URL": base_url(provider_port),
        "CHAT_CONCURRENCY": "1000",
        **dict.fromkeys(limits, "1000000/minute"),
    }


def base_url(provider_port: int) -> str:
    """What a service is to be told of a provider here."""
    return f"http://127.0.0.1:{provider_port}/v1"


async def _healthy(process: Process, port: int, log: str) -> None:
    async def answered() -> bool:
        try:
            async with Connection(port) as connection:
                await connection.ask(http_request("GET", "/health"))
        except (OSError, UnexpectedAnswer):
            return False
        return True

    async with asyncio.timeout(START_LIMIT):
        while not await answered():
            if process.returncode is not None:
                raise DidNotStart(_end_of(log))
            await asyncio.sleep(0.01)


def _end_of(log: str) -> str:
    return Path(log).read_text(errors="replace")[-2000:]
