"""Tools of MCP servers that the settings name: what they offer, and how one is called.

A server is asked for its list at most once in `FRESH_S`, and one that is down is left alone for
a while and left out of the turn. What it says of itself is bounded and never trusted further
than the operator's list of its tools. No connection outlives a call, so a server may be
restarted at any time.
"""

import asyncio
import json
import logging
import re
import socket
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

import httpx2
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from mcp_types import CallToolResult, Tool

from backend.settings.toolsets import Toolset

logger = logging.getLogger(__name__)

FRESH_S = 300.0
"""Seconds for which a list counts."""
AWAY_S = 30.0
"""Seconds for which a server that did not answer is left alone."""
LIST_S = 5.0
TOOLS_MAX = 50
"""Tools of one server."""
SCHEMA_MAX = 8_000
"""Bytes of a tool's schema as JSON, and characters of its description."""
ANSWER_MAX = 256 * 1024
"""Bytes of one answer of a server."""
IDEMPOTENCY_KEY = "todo/idempotency-key"
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,39}")


class ToolsetDown(Exception):
    """The server cannot be reached, does not answer in time, or says what no server may."""


@dataclass(frozen=True, slots=True)
class OfferedTool:
    """A tool of a server that the assistant may use."""

    toolset: str
    name: str
    """As the server calls it."""
    description: str
    schema: Mapping[str, Any]
    only_reads: bool
    may_repeat: bool
    """Whether a call whose outcome is unknown may be made again."""

    @property
    def full_name(self) -> str:
        """The name a model knows it by, which none of ours has."""
        return f"{self.toolset}_{self.name}"


@dataclass(slots=True)
class _Listed:
    tools: list[OfferedTool] = field(default_factory=list)
    until: float = 0.0
    down: bool = False


class Toolsets:
    """The servers of the settings, by name."""

    def __init__(self, toolsets: Mapping[str, Toolset]) -> None:
        self._toolsets = toolsets
        self._listed = {name: _Listed() for name in toolsets}
        self._locks = {name: asyncio.Lock() for name in toolsets}

    def __bool__(self) -> bool:
        return bool(self._toolsets)

    async def offered(self) -> tuple[list[OfferedTool], list[str]]:
        """The tools that may be used now, and the names of the toolsets that are down."""
        found = await asyncio.gather(*(self._list(name) for name in self._toolsets))
        tools = [tool for listed in found for tool in listed.tools if not listed.down]
        return tools, [
            name for name, listed in zip(self._toolsets, found, strict=True) if listed.down
        ]

    async def _list(self, name: str) -> _Listed:
        async with self._locks[name]:
            listed = self._listed[name]
            if listed.until > time.monotonic():
                return listed
            toolset = self._toolsets[name]
            try:
                async with _connected(toolset, LIST_S) as client:
                    told = (await client.list_tools()).tools
                tools = [tool for each in told if (tool := _offered(name, toolset, each))]
                listed = _Listed(tools[:TOOLS_MAX], time.monotonic() + FRESH_S)
            except ToolsetDown as error:
                logger.warning("toolset %s is down: %s", name, type(error.__cause__).__name__)
                listed = _Listed(until=time.monotonic() + AWAY_S, down=True)
            self._listed[name] = listed
            return listed

    async def call(self, tool: OfferedTool, args: Mapping[str, Any], key: str) -> CallToolResult:
        """What the server answers.

        Raises:
            ToolsetDown: it did not, so that nobody knows what it has done.
        """
        toolset = self._toolsets[tool.toolset]
        meta: Any = {IDEMPOTENCY_KEY: key} if toolset.takes_key else None
        async with _connected(toolset, toolset.seconds) as client:
            return await client.call_tool(tool.name, dict(args), meta=meta)


def _offered(name: str, toolset: Toolset, told: Tool) -> OfferedTool | None:
    """The tool, if the operator has it used and what it says of itself is of use."""
    hints = told.annotations
    only_reads = bool(hints and hints.read_only_hint)
    if told.name not in toolset.tools and not (only_reads and not toolset.tools):
        return None
    if not _NAME.fullmatch(told.name) or told.input_schema.get("type") != "object":
        return None
    if len(json.dumps(told.input_schema)) > SCHEMA_MAX:
        return None
    repeats = only_reads or toolset.takes_key or bool(hints and hints.idempotent_hint)
    description = (told.description or told.title or told.name)[:SCHEMA_MAX]
    return OfferedTool(name, told.name, description, told.input_schema, only_reads, repeats)


@asynccontextmanager
async def _connected(toolset: Toolset, seconds: float) -> AsyncIterator[Client]:
    """A client for one question, which has to be over in `seconds`.

    Raises:
        ToolsetDown: whatever goes wrong inside; the cause says what.
    """
    headers = {}
    if toolset.key is not None:
        headers["Authorization"] = f"Bearer {toolset.key.get_secret_value()}"
    try:
        async with asyncio.timeout(seconds):
            await _refuse_link_local(toolset.url)
            async with (
                httpx2.AsyncClient(
                    transport=_Bounded(), headers=headers, timeout=seconds, trust_env=False
                ) as http,
                Client(streamable_http_client(toolset.url, http_client=http)) as client,
            ):
                yield client
    except Exception as error:
        raise ToolsetDown from error


async def _refuse_link_local(url: str) -> None:
    """See that the address is none of the network on which clouds hand out secrets.

    Raises:
        ConnectionRefusedError: it is.
    """
    host = urlsplit(url).hostname or ""
    loop = asyncio.get_running_loop()
    for *_, address in await loop.getaddrinfo(host, None, type=socket.SOCK_STREAM):
        if ip_address(str(address[0]).partition("%")[0]).is_link_local:
            raise ConnectionRefusedError


class _Bounded(httpx2.AsyncHTTPTransport):
    """Reads no more of an answer than may be."""

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        response = await super().handle_async_request(request)
        response.stream = _BoundedStream(response.stream)
        return response


class _BoundedStream(httpx2.AsyncByteStream):
    def __init__(self, stream: Any) -> None:
        self._stream = stream

    async def __aiter__(self) -> AsyncIterator[bytes]:
        read = 0
        async for chunk in self._stream:
            read += len(chunk)
            if read > ANSWER_MAX:
                raise httpx2.ReadError("the answer is too large")
            yield chunk

    async def aclose(self) -> None:
        await self._stream.aclose()
