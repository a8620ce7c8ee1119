"""The service in processes of its own, for what only a real process shows: signals and death."""

import asyncio
import os
import re
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import AbstractContextManager, asynccontextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import httpx

START_LIMIT = 60
"""Seconds after which a server that does not say that it serves is given up."""


@dataclass
class Server:
    """A running `python -m backend`."""

    address: str
    process: Process

    def client(self, token: str | None = None) -> httpx.AsyncClient:
        """A client of this server, signed in where a token is given."""
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        return httpx.AsyncClient(base_url=self.address, headers=headers, timeout=60)

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

    Its stderr goes to the file `log`, or where the test's goes. `cwd` is where the code is taken
    from, if not from here.
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
        # so that what these processes run counts as covered
        **{name: value for name, value in os.environ.items() if name.startswith("COVERAGE_")},
    } | settings
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
            address = await _address(process)
        yield Server(address, process)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


def _file(log: str | None) -> AbstractContextManager[IO[bytes] | None]:
    return Path(log).open("wb") if log else nullcontext()


async def _address(process: Process) -> str:
    assert process.stdout
    async for line in process.stdout:
        if found := re.match(rb"Serving at (\S+)", line):
            return found[1].decode()
    raise AssertionError("the server ended before it served")
