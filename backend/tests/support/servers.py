"""The service in processes of its own, for what only a real process shows: signals and death."""

import asyncio
import os
import re
import signal
import sys
from asyncio.subprocess import PIPE
from asyncio.subprocess import Process as Subprocess
from collections.abc import AsyncIterator, Mapping
from contextlib import (
    AbstractContextManager,
    AsyncExitStack,
    asynccontextmanager,
    nullcontext,
    suppress,
)
from dataclasses import dataclass
from functools import cache
from itertools import count
from pathlib import Path
from ssl import SSLContext
from tempfile import TemporaryDirectory
from typing import IO, Any, Protocol

import httpx

from backend.faults.fleet import Nursery, Replica, nursery

START_LIMIT = 60
"""Seconds after which a server that does not say that it serves is given up."""


class Process(Protocol):
    """A process, whoever is its parent."""

    @property
    def pid(self) -> int: ...

    @property
    def returncode(self) -> int | None: ...

    def send_signal(self, signal: int) -> None: ...

    def kill(self) -> None: ...

    async def wait(self) -> int: ...


@dataclass(frozen=True)
class Fork:
    """A server that a nursery has forked."""

    replica: Replica

    @property
    def pid(self) -> int:
        return self.replica.pid

    @property
    def returncode(self) -> int | None:
        return self.replica.ended.result() if self.replica.ended.done() else None

    def send_signal(self, signal: int) -> None:
        with suppress(ProcessLookupError):
            os.kill(self.replica.pid, signal)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    async def wait(self) -> int:
        return await asyncio.shield(self.replica.ended)


class Forks:
    """Servers forked from one process that has imported the service, begun with the first."""

    def __init__(self) -> None:
        self._stack = AsyncExitStack()
        self._folder = Path(self._stack.enter_context(TemporaryDirectory(prefix="forks-")))
        self._begun: Nursery | None = None
        self._beginning = asyncio.Lock()
        self._numbers = count(1)

    async def nursery(self) -> Nursery:
        async with self._beginning:
            if self._begun is None:
                self._begun = await self._stack.enter_async_context(nursery())
        return self._begun

    async def start(self, environment: Mapping[str, str], errors: Path | None) -> Replica:
        begun, name = await self.nursery(), f"server-{next(self._numbers)}"
        return await begun.start(self._folder, name, 0, environment, errors=errors)

    async def end(self) -> None:
        await self._stack.aclose()


_forks: Forks | None = None


@asynccontextmanager
async def forking() -> AsyncIterator[None]:
    """Save each server of the block its imports, which take longer than all else at a start."""
    global _forks
    _forks = Forks()
    try:
        yield
    finally:
        await _forks.end()
        _forks = None


@asynccontextmanager
async def the_nursery() -> AsyncIterator[Nursery]:
    """The one of the block that is `forking`, else one for this block."""
    if _forks is not None:
        yield await _forks.nursery()
        return
    async with nursery() as made:
        yield made


@cache
def _tls() -> SSLContext:
    """Made once, as it takes a hundredth of a second; nothing here is asked over TLS."""
    return httpx.create_ssl_context()


def client_at(address: str, token: str | None = None, **options: Any) -> httpx.AsyncClient:
    """A client of whatever serves there, signed in where a token is given."""
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    given: dict[str, Any] = {"headers": headers, "timeout": 60} | options
    return httpx.AsyncClient(base_url=address, verify=_tls(), **given)


@dataclass
class Server:
    """A running `python -m backend`."""

    address: str
    process: Process

    def client(self, token: str | None = None) -> httpx.AsyncClient:
        """A client of this server, signed in where a token is given."""
        return client_at(self.address, token)

    async def kill(self) -> None:
        """End it at once, as a crash of the machine would."""
        self.process.kill()
        await self.process.wait()

    async def stop(self) -> int:
        """Ask it to stop, as a deployment does; its exit code."""
        self.process.send_signal(signal.SIGTERM)
        return await self.process.wait()


@asynccontextmanager
async def serving(
    database_url: str,
    provider_url: str,
    *,
    log: str | None = None,
    cwd: str | None = None,
    **settings: str,
) -> AsyncIterator[Server]:
    """A server on a database and a provider; killed at the end if it still runs.

    Its stderr goes to the file `log`, else where the test's goes, and a fork's nowhere. `cwd` is
    where the code is taken from, if not from here.
    """
    environment = {
        "PATH": os.environ["PATH"],
        "PORT": "0",
        "LOG_LEVEL": "ERROR",
        "AI_SUMMARIES": "false",
        "DATABASE_URL": database_url,
        "OPENAI_API_KEY": "a-key",
        "OPENAI_BASE_URL": provider_url,
        "RATE_LIMIT_CHAT": "1000/minute",
        "RATE_LIMIT_HISTORY": "1000/minute",
        "RATE_LIMIT_TASKS": "1000/minute",
        "CHAT_CONCURRENCY": "100",
    } | settings
    if _forks is not None and cwd is None:
        replica = await _forks.start(environment, Path(log) if log else None)
        process: Process = Fork(replica)
        address = replica.address
    else:
        process, address = await _spawn(environment, log, cwd)
    try:
        yield Server(address, process)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def _spawn(
    environment: Mapping[str, str], log: str | None, cwd: str | None
) -> tuple[Subprocess, str]:
    with _file(log) as errors:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "backend"),
            env=environment,
            stdout=PIPE,
            stderr=errors,
            cwd=cwd,
        )
    try:
        async with asyncio.timeout(START_LIMIT):
            return process, await _address(process)
    except BaseException:
        process.kill()
        await process.wait()
        raise


def _file(log: str | None) -> AbstractContextManager[IO[bytes] | None]:
    return Path(log).open("wb") if log else nullcontext()


async def _address(process: Subprocess) -> str:
    assert process.stdout
    async for line in process.stdout:
        if found := re.match(rb"Serving at (\S+)", line):
            return found[1].decode()
    raise AssertionError("the server ended before it served")
