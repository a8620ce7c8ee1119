"""A real Redis for the tests of the limits, which can be frozen, killed and started again."""

import asyncio
import os
import shutil
import signal
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from tempfile import gettempdir

import pytest

from backend.tests.support.ports import held_port

PROGRAM = shutil.which("redis-server")


class RedisServer:
    """A `redis-server` of its own on a port of this machine; it keeps nothing on disk."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.process: Process | None = None

    @property
    def uri(self) -> str:
        return f"redis://127.0.0.1:{self.port}"

    async def start(self) -> None:
        """Start it, on the same port each time; it answers when this returns."""
        assert PROGRAM
        address = ("--port", str(self.port), "--bind", "127.0.0.1")
        options = (*address, "--save", "", "--dir", gettempdir())
        self.process = await asyncio.create_subprocess_exec(PROGRAM, *options, stdout=PIPE)
        assert self.process.stdout
        async with asyncio.timeout(10):
            async for line in self.process.stdout:
                if b"Ready to accept connections" in line:
                    return
        raise AssertionError("redis-server ended before it served")

    def freeze(self) -> None:
        """Have it hang: it takes connections and answers nothing."""
        assert self.process
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        assert self.process
        self.process.send_signal(signal.SIGCONT)

    async def kill(self) -> None:
        if self.process and self.process.returncode is None:
            self.process.kill()
            await self.process.wait()


@asynccontextmanager
async def redis_server() -> AsyncIterator[RedisServer]:
    """A server that answers, killed at the end; without the program the test is skipped."""
    if PROGRAM is None:
        assert os.environ.get("CI") != "true", "CI must have redis-server"
        pytest.skip("redis-server is not installed")
    async with running_redis() as server:
        yield server


@asynccontextmanager
async def running_redis() -> AsyncIterator[RedisServer]:
    """The same, where the program is known to be there."""
    with held_port() as port:
        server = RedisServer(port)
        await server.start()
        try:
            yield server
        finally:
            await server.kill()
