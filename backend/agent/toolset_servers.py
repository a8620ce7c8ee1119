"""The servers of toolsets: how a client of one is had, for one question at a time.

Over HTTP no connection outlives a question, so a server may be restarted at any time. A program
is started with the first question and kept, since what it has begun ends with it; one that has
ended is started again.
"""

import asyncio
import os
import ssl
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TextIO

import httpx2
import jwt
from mcp import Client
from mcp.client.stdio import StdioServerParameters, stdio_client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.exceptions import MCPError
from mcp_types import CONNECTION_CLOSED

from backend.agent.toolset_network import GuardedTransport
from backend.settings.toolsets import SECONDS_MAX, Toolset
from backend.telemetry.spans import carrier
from backend.tls import believed

START_S = 10.0
"""Seconds within which a program has to answer for the first time."""
END_S = 10.0
"""Seconds for which the end of a program is waited for; by then it has been killed."""
PERSON_LIFE_S = 60
"""Seconds for which the token that names the person is good."""
ISSUER = "todo-chat"


class Remote:
    """A server over streamable HTTP."""

    def __init__(self, toolset: Toolset) -> None:
        self._toolset = toolset
        self._url = toolset.url or ""

    @property
    def _verify(self) -> ssl.SSLContext | bool:
        return believed() if self._url.startswith("https:") else False

    @asynccontextmanager
    async def client(self, user_id: str | None) -> AsyncIterator[Client]:
        """A client to which the server has answered; `user_id` is on whose behalf it asks."""
        transport = GuardedTransport(self._verify, link_local=self._toolset.link_local)
        async with (
            httpx2.AsyncClient(
                transport=transport,
                headers=self._headers(user_id),
                timeout=SECONDS_MAX,
                trust_env=False,
            ) as http,
            Client(streamable_http_client(self._url, http_client=http), cache=None) as client,
        ):
            yield client

    def _headers(self, user_id: str | None) -> dict[str, str]:
        headers = {"Accept-Encoding": "identity", **carrier()}
        if self._toolset.key is not None:
            headers["Authorization"] = f"Bearer {self._toolset.key.get_secret_value()}"
        if self._toolset.person_key is not None and user_id is not None:
            key = self._toolset.person_key.get_secret_value()
            headers[self._toolset.person_header] = _person(user_id, self._url, key)
        return headers

    async def close(self) -> None:
        """Nothing is open."""


def _person(user_id: str, audience: str, key: str) -> str:
    """Who it is, signed: never the person's own token."""
    now = int(time.time())
    claims = {"iss": ISSUER, "aud": audience, "sub": user_id, "iat": now}
    return jwt.encode(claims | {"exp": now + PERSON_LIFE_S}, key, algorithm="HS256")


class Program:
    """A server that is a program, which lives as long as this process."""

    def __init__(self, toolset: Toolset) -> None:
        command, *arguments = toolset.command
        key = toolset.key
        self._parameters = StdioServerParameters(
            command=command,
            args=arguments,
            env={"TOOLSET_KEY": key.get_secret_value()} if key else None,
        )
        self._asking = asyncio.Lock()
        self._client: Client | None = None
        self._kept: asyncio.Task[None] | None = None

    @asynccontextmanager
    async def client(self, _: str | None) -> AsyncIterator[Client]:
        """The client, to which the program has just answered; it is shared."""
        async with self._asking:
            client = await self._that_answers()
        yield client

    async def _that_answers(self) -> Client:
        if self._client is not None:
            try:
                await self._client.list_tools()
                return self._client
            except MCPError as error:
                if error.code != CONNECTION_CLOSED:
                    raise
            await self.close()
        return await self._start()

    async def _start(self) -> Client:
        ready: asyncio.Future[Client] = asyncio.get_running_loop().create_future()
        self._kept = asyncio.create_task(self._keep(ready))
        try:
            async with asyncio.timeout(START_S):
                self._client = await ready
        except BaseException:
            self._kept.cancel()
            raise
        return self._client

    async def _keep(self, ready: asyncio.Future[Client]) -> None:
        """Open and close the client in one task, as it wants it; what it says aside is dropped."""
        try:
            with _nowhere() as nowhere:
                transport = stdio_client(self._parameters, errlog=nowhere)
                async with Client(transport, cache=None) as client:
                    if not ready.done():
                        ready.set_result(client)
                        await asyncio.Event().wait()  # until it is cancelled
        except Exception as error:
            if not ready.done():
                ready.set_exception(error)

    async def close(self) -> None:
        """End the program."""
        self._client, kept = None, self._kept
        if kept is not None:
            kept.cancel()
            await asyncio.wait((kept,), timeout=END_S)


def _nowhere() -> TextIO:
    return Path(os.devnull).open("w")


type Server = Remote | Program


def server_of(toolset: Toolset) -> Server:
    return Program(toolset) if toolset.command else Remote(toolset)
