"""The toolset's process: let on from moment to moment, killed, and started again."""

import asyncio
import json
import sys
from asyncio.subprocess import PIPE, Process
from contextlib import suppress
from pathlib import Path
from typing import Any

from backend.faults.outside_cases import Moment
from backend.faults.waiting import until

START_LIMIT = 60.0
"""Seconds within which it has to listen."""


class Toolset:
    """The toolset's process, at one address through all its lives."""

    def __init__(self, folder: Path, port: int) -> None:
        self._file = folder / "deeds"
        self._port = port
        self.url = f"http://127.0.0.1:{port}/mcp"
        self._moments: asyncio.Queue[str] = asyncio.Queue()
        self._process: Process
        self._said: asyncio.StreamReader
        self._told: asyncio.StreamWriter
        self._hearing: asyncio.Task[None]

    async def start(self) -> None:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "backend.faults.outside_server"),
            *(str(self._port), str(self._file)),
            stdin=PIPE,
            stdout=PIPE,
        )
        if process.stdout is None or process.stdin is None:
            raise OSError("a process without pipes")
        self._process, self._said, self._told = process, process.stdout, process.stdin
        self._hearing = asyncio.create_task(self._hear())

        async def listens() -> bool:
            with suppress(OSError):
                _, writer = await asyncio.open_connection("127.0.0.1", self._port)
                writer.close()
                return True
            return False

        await until(listens, START_LIMIT)

    async def _hear(self) -> None:
        async for line in self._said:
            self._moments.put_nowait(line.decode().strip())

    async def kill(self) -> None:
        self._process.kill()
        await self._process.wait()
        await self._hearing
        while not self._moments.empty():
            self._moments.get_nowait()

    async def until(self, moment: Moment) -> None:
        """Let the call go on to this moment of it."""
        await self._next("asked")
        if moment != Moment.ASKED:
            self.go()
            await self._next("done")
        if moment == Moment.ANSWERED:
            self.go()

    async def _next(self, expected: str) -> None:
        said = await self._moments.get()
        if said != expected:
            raise ValueError(f"the call is at {said} instead of {expected}")

    def go(self) -> None:
        with suppress(ConnectionError):
            self._told.write(b"go\n")

    async def go_on(self) -> None:
        """Hold nobody up any more."""
        while True:
            self.go()
            await self._moments.get()

    def done(self, n: int) -> list[dict[str, Any]]:
        """What was done of the call with this number."""
        lines = self._file.read_text().splitlines() if self._file.exists() else []
        return [deed for deed in map(json.loads, lines) if deed["n"] == n]
