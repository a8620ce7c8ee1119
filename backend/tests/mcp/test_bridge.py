"""`python -m backend.mcp`, started as a program by the SDK's client, against a running service."""

import os
import subprocess
import sys
from collections.abc import AsyncIterator
from typing import Any

import pytest
from mcp import Client, StdioServerParameters
from mcp.shared.exceptions import MCPError
from mcp_types import Implementation

from backend.tests.support import better_auth
from backend.tests.support.mcp_clients import Mode, result_of
from backend.tests.support.servers import Server, serving

NOWHERE = "http://127.0.0.1:1/v1"


@pytest.fixture(scope="module")
async def server(shared_database_url: str) -> AsyncIterator[Server]:
    async with serving(shared_database_url, NOWHERE, MCP="true", OPENAI_MODEL="offline") as server:
        yield server


def program(address: str, token: str) -> StdioServerParameters:
    environment = {"TODO_MCP_URL": f"{address}/mcp", "TODO_MCP_TOKEN": token}
    return StdioServerParameters(
        command=sys.executable, args=["-m", "backend.mcp"], env=environment, cwd=os.getcwd()
    )


@pytest.mark.parametrize("mode", ["auto", pytest.param("legacy", marks=pytest.mark.e2e)])
async def test_a_client_that_starts_a_program_has_the_tools_of_the_service(
    server: Server, shared_database_url: str, mode: Mode
) -> None:
    user_id = await better_auth.add_user(shared_database_url, "alice")
    token = await better_auth.sign_in(shared_database_url, user_id)
    desktop = Implementation(name="claude-ai", title="Claude Desktop", version="1")
    async with Client(program(server.address, token), mode=mode, client_info=desktop) as client:
        assert len((await client.list_tools()).tools) == 5
        key: Any = {"todo/idempotency-key": "once"}
        answers = [
            result_of(await client.call_tool("add_task", {"title": "Milk"}, meta=key))
            for _ in range(2)
        ]
        assert answers[0] == answers[1]
        assert answers[0]["success"] is True
        (resource,) = (await client.list_resources()).resources
        assert "Milk" in str((await client.read_resource(resource.uri)).contents)
        assert (await client.get_prompt("plan-my-day")).messages
        with pytest.raises(MCPError, match="Unknown tool"):
            await client.call_tool("nope", {})
    async with server.client(token) as http:
        (listed,) = (await http.get("/api/conversations")).json()["conversations"]
    assert (listed["origin"], listed["message_count"]) == ("Claude Desktop", 1)


@pytest.mark.e2e
@pytest.mark.parametrize("reachable", [True, False])
async def test_a_service_that_is_away_or_refuses_the_token_is_said_in_a_sentence(
    server: Server, reachable: bool
) -> None:
    address = server.address if reachable else "http://127.0.0.1:1"
    async with Client(program(address, "nobody's"), mode="legacy") as client:
        with pytest.raises(MCPError, match="cannot be reached, or refuses TODO_MCP_TOKEN"):
            await client.call_tool("list_tasks", {})


def test_without_a_token_it_ends_with_a_line_that_says_so() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "backend.mcp"],
        env={"PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr.splitlines() == ["backend.mcp: TODO_MCP_TOKEN: Field required"]
