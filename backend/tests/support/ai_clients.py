"""The clients of the AI SDK as pages have them, each in a Node process that a test drives."""

import asyncio
import json
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from backend.tests.support import npm

FOLDER = Path(__file__).with_name("ai_sdk")
VERSIONS = ("ai5", "ai6", "ai7")
SHORT = [*(pytest.param(each, marks=pytest.mark.e2e) for each in VERSIONS[:-1]), VERSIONS[-1]]
"""The suite itself tries the newest."""
LIMIT = 20.0
"""Seconds after which a client that says nothing fails the test."""

type Message = dict[str, Any]


def install() -> None:
    """Have the packages; skips the test where that is not possible."""
    npm.install(FOLDER, "the real AI SDK")


class Chat:
    """A chat of a page; `messages` are those it shows now."""

    def __init__(self, process: Process) -> None:
        self.messages: list[Message] = []
        self.data: list[Any] = []
        self.failed: list[str] = []
        self.answered: list[int] = []
        """The status of each response."""
        self._process = process
        self._numbers = count(1)
        self._over: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._changed = asyncio.Condition()
        self._reading = asyncio.create_task(self._read())

    def begin(self, do: str, **more: object) -> "asyncio.Future[dict[str, Any]]":
        """Have it do something; how it stands once that is over."""
        number = next(self._numbers)
        self._over[number] = asyncio.get_running_loop().create_future()
        assert self._process.stdin
        command = json.dumps({"do": do, "number": number, **more})
        self._process.stdin.write(command.encode() + b"\n")
        return self._over[number]

    async def do(self, do: str, **more: object) -> dict[str, Any]:
        async with asyncio.timeout(LIMIT):
            return await self.begin(do, **more)

    async def shows(self, is_so: Callable[[list[Message]], bool]) -> None:
        """Wait until it shows what is wanted."""
        async with asyncio.timeout(LIMIT), self._changed:
            await self._changed.wait_for(lambda: is_so(self.messages))

    async def _read(self) -> None:
        assert self._process.stdout
        async for line in self._process.stdout:
            said = json.loads(line)
            async with self._changed:
                self.messages = said.get("messages", self.messages)
                if "data" in said:
                    self.data.append(said["data"])
                if "failed" in said:
                    self.failed.append(said["failed"])
                if "answered" in said:
                    self.answered.append(said["answered"])
                if "over" in said:
                    self._over[said["over"]].set_result(said)
                self._changed.notify_all()

    @property
    def texts(self) -> list[str]:
        """The texts of the last message."""
        parts = self.messages[-1]["parts"]
        return [part["text"] for part in parts if part["type"] == "text"]

    async def close(self) -> None:
        self._process.kill()
        await self._process.wait()
        self._reading.cancel()


@asynccontextmanager
async def chat(
    version: str, token: str, addresses: list[str], chat_id: str = "c1", **more: object
) -> AsyncIterator[Chat]:
    """A chat of the client `version`, signed in; it speaks to the first address until moved."""
    given = {"id": chat_id, "token": token, "addresses": addresses, **more}
    process = await asyncio.create_subprocess_exec(
        *("node", str(FOLDER / "drive.mjs"), version, json.dumps(given)),
        stdin=PIPE,
        stdout=PIPE,
        limit=2**24,
    )
    page = Chat(process)
    try:
        yield page
    finally:
        await page.close()


async def decoded(url: str, token: str) -> Message:
    """A stream as assistant-ui decodes it."""
    process = await asyncio.create_subprocess_exec(
        *("node", str(FOLDER / "decode.mjs"), url, token), stdout=PIPE
    )
    async with asyncio.timeout(LIMIT):
        said, _ = await process.communicate()
    message: Message = json.loads(said)
    return message
