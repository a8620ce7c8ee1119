"""Somebody else's MCP server as a program, which speaks over stdin and stdout."""

import os
import sys
from itertools import count
from typing import Any

from mcp.server import MCPServer

_numbers = count(1)


def create_server() -> MCPServer[Any]:
    server: MCPServer[Any] = MCPServer("program")

    @server.tool()
    async def tally() -> dict[str, Any]:
        """How many calls of this there were since the program was started."""
        return {"number": next(_numbers)}

    @server.tool()
    async def surroundings() -> dict[str, Any]:
        """What the program finds in its environment."""
        return {"names": sorted(os.environ), "key": os.environ.get("TOOLSET_KEY")}

    @server.tool()
    async def end() -> None:
        """End the program in the midst of a call."""
        sys.stdout.flush()
        os._exit(1)

    return server


if __name__ == "__main__":
    sys.stderr.write("what a program says aside\n")
    create_server().run("stdio")
