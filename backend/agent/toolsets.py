"""Tools of MCP servers that the settings name: what they offer, and how one is called.

A server is asked for its list now and then, aside from the turns, which take what was found. One
that is down is left out of a turn and looked for again. What a server says of itself is bounded
and never trusted further than the operator's settings. A call is made once the server has
answered something else, so that one which could not be made is told from one whose outcome is
not known.
"""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from mcp import Client
from mcp.shared.exceptions import MCPError
from mcp_types import (
    HEADER_MISMATCH,
    INVALID_PARAMS,
    METHOD_NOT_FOUND,
    CallToolRequest,
    CallToolRequestParams,
    CallToolResult,
    TextContent,
)

from backend.agent.toolset_offers import OfferedTool, all_tools, usable_tools, within
from backend.agent.toolset_servers import server_of
from backend.agent.words.events import Progress
from backend.errors import ValidationFailed
from backend.settings.toolsets import Toolset
from backend.telemetry.spans import carrier

logger = logging.getLogger(__name__)

FRESH_S = 300.0
"""Seconds after which a list is asked for again, beside the turn that finds it so old."""
AWAY_S, AWAY_MAX_S = 1.0, 60.0
"""Seconds for which a server that did not answer is left alone: doubled each time, up to these."""
LIST_S = 10.0
"""Seconds for which it may take to answer with its list."""
FIRST_S = 5.0
"""Seconds for which a turn waits for a list where none has been asked for yet."""
AGAIN_S = 1.0
"""The same where the server was down."""
IDEMPOTENCY_KEY = "todo/idempotency-key"
PROJECT_ID = "todo/project-id"
_REFUSED = frozenset({HEADER_MISMATCH, INVALID_PARAMS, METHOD_NOT_FOUND})
"""With one of these a server says that it has not begun the call."""


class ToolsetDown(Exception):
    """The server cannot be reached or does not answer, so the call was not made."""


class OutcomeUnknown(Exception):
    """The call was made, and nobody knows what came of it."""


@dataclass(frozen=True, slots=True)
class Asking:
    """On whose behalf a call is made, and under which name of its own."""

    user_id: str
    key: str
    project_id: int | None = None
    told: Progress | None = None
    """Awaited with what the server says of its progress."""


@dataclass(slots=True)
class Offer:
    """What toolsets offer to a turn."""

    tools: list[OfferedTool] = field(default_factory=list)
    down: list[str] = field(default_factory=list)
    """The toolsets that are not there now."""

    @property
    def size(self) -> int:
        """Bytes of what the tools say of themselves."""
        return sum(tool.size for tool in self.tools)


@dataclass(slots=True)
class _Listed:
    tools: list[OfferedTool] = field(default_factory=list)
    until: float = 0.0
    down: bool = True
    failed: int = 0
    """How often in a row it did not answer; one that was not asked yet is down without that."""


class Toolsets:
    """The servers of the settings, by name."""

    def __init__(self, toolsets: Mapping[str, Toolset]) -> None:
        self._toolsets = toolsets
        self._servers = {name: server_of(toolset) for name, toolset in toolsets.items()}
        self._listed = {name: _Listed() for name in toolsets}
        self._looks: dict[str, asyncio.Task[None]] = {}

    def used(self, chosen: str | None) -> list[str]:
        """The toolsets of a conversation: those it has `chosen`, as it stores them."""
        if chosen is None:
            return [name for name, toolset in self._toolsets.items() if toolset.default]
        names = chosen.split(",")
        return [name for name in self._toolsets if name in names]

    def choose(self, names: Collection[str]) -> str:
        """What a conversation stores that chooses these.

        Raises:
            ValidationFailed: one is not set up; `details` list those that are.
        """
        if set(names) - self._toolsets.keys():
            known = ", ".join(self._toolsets) or "none"
            text = f"must be among the toolsets that are set up: {known}"
            fault = {"field": "toolsets", "message": text, "type": "value_error"}
            raise ValidationFailed(details=[fault])
        return ",".join(name for name in self._toolsets if name in names)

    async def offer(self, names: Collection[str], most: int) -> Offer:
        """What these toolsets offer now; waits a little for one that was not there before.

        They say `most` bytes of themselves at the most; the last tools are left out.
        """
        offer = Offer()
        if missing := [name for name in names if self._is_awaited(name)]:
            looked = all(self._listed[name].failed for name in missing)
            looks = [self._look(name) for name in missing]
            await asyncio.wait(looks, timeout=AGAIN_S if looked else FIRST_S)
        for name in names:
            listed = self._listed[name]
            if listed.down:
                offer.down.append(name)
                continue
            if self._is_old(name):
                self._look(name)
            offer.tools += listed.tools
        offer.tools = within(offer.tools, most)
        return offer

    def _is_old(self, name: str) -> bool:
        return self._listed[name].until <= time.monotonic()

    def _is_awaited(self, name: str) -> bool:
        """Whether a turn waits for the server, which others may be doing where it is new."""
        listed = self._listed[name]
        return self._is_old(name) and listed.down and not (listed.failed and name in self._looks)

    def look_at_all(self) -> None:
        """Ask all servers for their lists, without waiting for them."""
        for name in self._toolsets:
            self._look(name)

    def _look(self, name: str) -> asyncio.Task[None]:
        """The look at a server that is under way."""
        if name not in self._looks:
            look = asyncio.create_task(self._list(name))
            look.add_done_callback(lambda _: self._looks.pop(name))
            self._looks[name] = look
        return self._looks[name]

    async def _list(self, name: str) -> None:
        toolset = self._toolsets[name]
        try:
            async with asyncio.timeout(LIST_S), self._servers[name].client(None) as client:
                tools = usable_tools(name, toolset, await all_tools(client))
        except Exception as error:
            logger.warning("toolset %s is down: %s", name, type(error).__name__)
            failed = self._listed[name].failed
            away = min(AWAY_S * 2**failed, AWAY_MAX_S)
            self._listed[name] = _Listed(until=time.monotonic() + away, failed=failed + 1)
            return
        until = time.monotonic() + FRESH_S
        self._listed[name] = _Listed(tools, until, down=False)

    async def call(
        self, tool: OfferedTool, args: Mapping[str, Any], asking: Asking
    ) -> CallToolResult:
        """What the server answers, within the time that the settings give it.

        Raises:
            ToolsetDown: it is not there, and has not been asked.
            OutcomeUnknown: it was asked, and has not answered.
        """
        toolset, made = self._toolsets[tool.toolset], False
        answers: list[CallToolResult] = []
        meta: dict[str, Any] = {**carrier()}
        if toolset.takes_key:
            meta[IDEMPOTENCY_KEY] = asking.key
        if asking.project_id is not None:
            meta[PROJECT_ID] = asking.project_id
        try:
            async with (
                asyncio.timeout(toolset.seconds),
                self._servers[tool.toolset].client(asking.user_id) as client,
            ):
                made = True
                answers.append(await _ask(client, tool.name, args, meta, asking.told))
        except Exception as error:
            if not answers:
                logger.warning("toolset %s: %s", tool.toolset, type(error).__name__)
                self._listed[tool.toolset].until = 0.0
                raise (OutcomeUnknown if made else ToolsetDown) from error
        return answers[0]

    async def close(self) -> None:
        looks = list(self._looks.values())
        for look in looks:
            look.cancel()
        await asyncio.gather(*looks, return_exceptions=True)
        await asyncio.gather(*(server.close() for server in self._servers.values()))


@asynccontextmanager
async def open_toolsets(toolsets: Mapping[str, Toolset]) -> AsyncIterator[Toolsets]:
    """Look at all servers, without waiting for them; in the end programs are ended."""
    opened = Toolsets(toolsets)
    opened.look_at_all()
    try:
        yield opened
    finally:
        await opened.close()


async def _ask(
    client: Client,
    name: str,
    args: Mapping[str, Any],
    meta: dict[str, Any],
    told: Progress | None,
) -> CallToolResult:
    """Call the tool; where the server says that it has not begun, that is the answer.

    Not by the client's own method, which holds results to the schema that the server has told
    of, and keeps those from us that are otherwise, although the call was made.
    """
    given: Any = meta or None
    request = CallToolRequest(
        params=CallToolRequestParams(name=name, arguments=dict(args), _meta=given)
    )

    async def send() -> CallToolResult:
        return await client.session.send_request(request, CallToolResult, progress_callback=told)

    try:
        try:
            return await send()
        except MCPError as error:
            if error.code != HEADER_MISMATCH:
                raise
            await client.list_tools()  # says which arguments the server wants as headers
            return await send()
    except MCPError as error:
        if error.code not in _REFUSED:
            raise
        text = TextContent(type="text", text=f"The tool refused the call: {error.message}")
        return CallToolResult(content=[text], is_error=True)
