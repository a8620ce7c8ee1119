"""Somebody else's MCP server, in this process: tools that do what a test has them do."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import uvicorn
from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel.server import Server
from mcp_types import (
    CallToolRequestParams,
    CallToolResult,
    ListToolsResult,
    TextContent,
    Tool,
    ToolAnnotations,
)

from backend.tests.support.live import listening

READS = ToolAnnotations(read_only_hint=True)
REPEATS = ToolAnnotations(idempotent_hint=True)
HARMLESS = ToolAnnotations(destructive_hint=False)


def tool(name: str, hints: ToolAnnotations | None = None, **more: Any) -> Tool:
    schema = more.pop("input_schema", {"type": "object", "properties": {}})
    return Tool(
        name=name, description=f"Does {name}.", input_schema=schema, annotations=hints, **more
    )


class ToolsetServer:
    """Answers calls with `answer`, which a test may change; notes each with its key."""

    def __init__(self, tools: list[Tool]) -> None:
        self.tools = tools
        self.url = ""
        self.asked: list[tuple[str, dict[str, Any], str | None]] = []
        self.metas: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        """Of each call, as it came."""
        self.progress = 0
        """How many words of its progress come before an answer."""
        self.answer: Any = {"success": True}
        self.lists = 0
        """How often it was asked for its tools."""
        self.listed = asyncio.Event()
        self.arrived = asyncio.Event()
        self.gate = asyncio.Event()
        """Answers wait for it; set unless a test clears it."""
        self.gate.set()

    async def list_tools(self, _: Any, __: Any) -> ListToolsResult:
        self.lists += 1
        self.listed.set()
        return ListToolsResult(tools=self.tools)

    async def call_tool(
        self, ctx: ServerRequestContext[Any, Any], params: CallToolRequestParams
    ) -> CallToolResult:
        meta: dict[str, Any] = dict(ctx.meta or {})
        key = meta.get("todo/idempotency-key")
        self.metas.append(meta)
        self.headers.append(dict(getattr(ctx.request, "headers", {})))
        self.asked.append((params.name, params.arguments or {}, key))
        self.arrived.set()
        for number in range(self.progress):
            await ctx.session.report_progress(number + 1, self.progress, f"step {number + 1}")
        await self.gate.wait()
        if isinstance(self.answer, str):
            return CallToolResult(content=[TextContent(type="text", text=self.answer)])
        return CallToolResult(content=[], structured_content=self.answer)


@asynccontextmanager
async def serving_tools(*tools: Tool, streams: bool = False) -> AsyncIterator[ToolsetServer]:
    """A server on the loopback, in this event loop; `streams`: its answers are events."""
    toolset = ToolsetServer([*tools])
    server: Server[Any] = Server(
        "others", on_list_tools=toolset.list_tools, on_call_tool=toolset.call_tool
    )
    app = server.streamable_http_app(json_response=not streams, stateless_http=True)
    config = uvicorn.Config(app, host="127.0.0.1", port=0, log_config=None, log_level="critical")
    async with listening(config) as address:
        toolset.url = f"{address}/mcp"
        try:
            yield toolset
        finally:
            toolset.gate.set()


ALL = {"tools": ["send", "set", "look"], "approve": []}
"""All but one of the tools that `others` has, none of which a person is asked about."""


def using(server: ToolsetServer | str, **more: Any) -> dict[str, Any]:
    """Settings in which the server, or the one at an address, is the toolset `others`."""
    url = server if isinstance(server, str) else server.url
    return {"toolsets": {"others": {"url": url, "seconds": 5} | more}}
