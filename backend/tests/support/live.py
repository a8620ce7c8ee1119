"""Streams as a client has them: the app on a real socket, and the parts that come over it."""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any

import httpx
import uvicorn
from fastapi import FastAPI

from backend.tests.support.ui_protocol import Parts, assert_orderly
from backend.web.protocol import protocol

LET_GO_LIMIT = 0.1
"""Seconds that a server at its end gives its connections to be let go."""


@asynccontextmanager
async def served(app: FastAPI) -> AsyncIterator[str]:
    """The address of an app that has been started, on a port of its own."""
    async with listening(
        uvicorn.Config(app, http=protocol(15), port=0, lifespan="off", log_config=None)
    ) as address:
        yield address


@asynccontextmanager
async def listening(config: uvicorn.Config) -> AsyncIterator[str]:
    """The address of a uvicorn in this event loop.

    It is begun and ended as `serve` would, which looks ten times a second whether it is over.
    """
    config.load()
    server = uvicorn.Server(config)
    server.lifespan = config.lifespan_class(config)
    await server.startup()
    await server.on_tick(0)
    try:
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        for each in server.servers:
            each.close()
        open_still = server.server_state.connections
        for connection in list(open_still):
            connection.shutdown()
        with suppress(TimeoutError):
            async with asyncio.timeout(LET_GO_LIMIT):
                while open_still:  # noqa: ASYNC110  # there is no event to wait for
                    await asyncio.sleep(0.005)
        await server.lifespan.shutdown()


class Events:
    """The parts of one stream, read as they come; `[DONE]` is its last."""

    def __init__(self, response: httpx.Response, known: Sequence[str] = ()) -> None:
        self.response = response
        self.known = known
        self.seen: Parts = []
        self.comments = 0
        self.done = False
        self._lines = response.aiter_lines()

    async def next(self) -> dict[str, Any]:
        """The next part.

        Raises:
            StopAsyncIteration: the stream is over.
        """
        async for line in self._lines:
            if line.startswith(":"):
                self.comments += 1
            elif line == "data: [DONE]":
                self.done = True
            elif line:
                assert not self.done, "something came after [DONE]"
                part: dict[str, Any] = json.loads(line.removeprefix("data: "))
                self.seen.append(part)
                return part
        raise StopAsyncIteration

    async def until(self, kind: str) -> dict[str, Any]:
        """The next part of a kind; what comes before it is passed over."""
        while (part := await self.next())["type"] != kind:
            pass
        return part

    async def rest(self) -> Parts:
        """All the parts, once the stream is over; they must keep the rules of the protocol."""
        try:
            while True:
                await self.next()
        except StopAsyncIteration:
            if self.response.status_code == 200:
                assert_orderly(self.seen, self.known)
            return self.seen


@asynccontextmanager
async def streaming(
    client: httpx.AsyncClient, method: str, path: str, *, known: Sequence[str] = (), **request: Any
) -> AsyncIterator[Events]:
    async with client.stream(method, path, **request) as response:
        if response.status_code != 200:
            await response.aread()
        yield Events(response, known)


def user(text: str, message_id: str = "m1") -> dict[str, Any]:
    """A message of the person as the AI SDK writes it."""
    return {"id": message_id, "role": "user", "parts": [{"type": "text", "text": text}]}


def said(parts: Parts) -> list[str]:
    """The texts of a stream, each put together."""
    texts: dict[str, str] = {}
    for part in parts:
        if part["type"] == "text-start":
            texts[part["id"]] = ""
        elif part["type"] == "text-delta":
            texts[part["id"]] += part["delta"]
    return list(texts.values())


def kinds(parts: Parts) -> list[str]:
    return [part["type"] for part in parts]
