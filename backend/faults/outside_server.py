"""Somebody else's MCP server as a process, which can be killed in the midst of a call.

It says on stdout where a call is, and goes on when it is told to on stdin. What it has done it
writes into a file before it says so; what it has done under a key it does not do again. A client
that leaves ends no call.
"""

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

import uvicorn
from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel.server import Server
from mcp_types import (
    CallToolRequestParams,
    CallToolResult,
    ListToolsResult,
    PaginatedRequestParams,
    Tool,
    ToolAnnotations,
)

SEND = "send"
SET = "set"
"""May be repeated, by its own word."""
_SCHEMA = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
_HINTS = {
    SEND: ToolAnnotations(idempotent_hint=False),
    SET: ToolAnnotations(idempotent_hint=True),
}


class Deeds:
    """What was done, in a file that outlives the process."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._go: asyncio.Queue[str] = asyncio.Queue()
        self._under_way: set[asyncio.Task[None]] = set()

    def all(self) -> list[dict[str, Any]]:
        if not self._file.exists():
            return []
        return [json.loads(line) for line in self._file.read_text().splitlines()]

    async def do(self, tool: str, n: int, key: str | None) -> None:
        """Do it whoever leaves."""
        doing = asyncio.create_task(self._do(tool, n, key))
        self._under_way.add(doing)
        doing.add_done_callback(self._under_way.discard)
        await asyncio.shield(doing)

    async def _do(self, tool: str, n: int, key: str | None) -> None:
        await self._pause("asked")
        if key is None or key not in {each["key"] for each in self.all()}:
            with self._file.open("a") as file:  # one line, and nobody else waits
                file.write(json.dumps({"tool": tool, "n": n, "key": key}) + "\n")
        await self._pause("done")

    async def _pause(self, moment: str) -> None:
        sys.stdout.write(f"{moment}\n")
        sys.stdout.flush()
        await self._go.get()

    async def hear(self) -> None:
        """Take from stdin that a call may go on."""
        loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader()
        await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
        async for line in reader:
            self._go.put_nowait(line.decode())


async def serve(port: int, file: Path) -> None:
    deeds = Deeds(file)

    async def list_tools(_: Any, __: PaginatedRequestParams | None) -> ListToolsResult:
        tools = [Tool(name=n, input_schema=_SCHEMA, annotations=h) for n, h in _HINTS.items()]
        return ListToolsResult(tools=tools)

    async def call_tool(
        ctx: ServerRequestContext[Any, Any], params: CallToolRequestParams
    ) -> CallToolResult:
        meta: dict[str, Any] = dict(ctx.meta or {})
        number = int((params.arguments or {})["n"])
        await deeds.do(params.name, number, meta.get("todo/idempotency-key"))
        return CallToolResult(content=[], structured_content={"success": True, "n": number})

    server: Server[Any] = Server("faults", on_list_tools=list_tools, on_call_tool=call_tool)
    app = server.streamable_http_app(json_response=True, stateless_http=True)
    config = uvicorn.Config(app, host="127.0.0.1", port=port, log_config=None)
    hearing = asyncio.create_task(deeds.hear())
    try:
        await uvicorn.Server(config).serve()
    finally:
        hearing.cancel()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1]), Path(sys.argv[2])))
