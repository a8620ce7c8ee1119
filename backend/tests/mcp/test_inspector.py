"""The protocol's official inspector, from its command line, against the service.

Skipped, in so many words, where Node or npm's registry is out of reach.
"""

import asyncio
import json
import os
import sys
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from backend.tests.support import better_auth
from backend.tests.support.npm import install
from backend.tests.support.servers import serving

pytestmark = [pytest.mark.long, pytest.mark.e2e]

FOLDER = Path(better_auth.__file__).with_name("inspector")
INSPECTOR = FOLDER / "node_modules" / ".bin" / "mcp-inspector"


@pytest.fixture(scope="module")
async def targets(
    shared_database_url: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[dict[str, list[str]]]:
    """How the inspector is told to reach the service: by its address, and by a program."""
    install(FOLDER, "the inspector")
    user_id = await better_auth.add_user(shared_database_url, "alice")
    token = await better_auth.sign_in(shared_database_url, user_id)
    nowhere = "http://127.0.0.1:1/v1"
    async with serving(shared_database_url, nowhere, MCP="true", OPENAI_MODEL="offline") as server:
        url = f"{server.address}/mcp"
        yield {
            "http": [url, "--transport", "http", "--header", f"Authorization: Bearer {token}"],
            "stdio": [
                *(sys.executable, "-m", "backend.mcp", "-e", f"TODO_MCP_URL={url}"),
                *("-e", f"TODO_MCP_TOKEN={token}", "--transport", "stdio"),
            ],
        }


async def inspect(target: list[str], method: str, *args: str) -> Any:
    """What the inspector prints of an answer."""
    patience = ("--connect-timeout", "60000")
    command = ["node", str(INSPECTOR), "--cli", *target, *patience, "--method", method, *args]
    process = await asyncio.create_subprocess_exec(
        *command,
        stdout=PIPE,
        stderr=PIPE,
        env={"PATH": os.environ["PATH"], "HOME": str(FOLDER / "node_modules")},
    )
    printed, complaints = await process.communicate()
    assert process.returncode == 0, complaints.decode()
    return json.loads(printed)


async def add_milk(target: list[str], title: str) -> None:
    given = ("--tool-name", "add_task", "--tool-arg", f"title={title}")
    added = await inspect(target, "tools/call", *given)
    assert added["structuredContent"]["title"] == title


async def test_the_inspector_lists_and_calls_what_is_served(targets: dict[str, list[str]]) -> None:
    target = targets["http"]
    tools = (await inspect(target, "tools/list"))["tools"]
    assert {tool["name"] for tool in tools} >= {"add_task", "list_tasks"}
    assert all(tool["outputSchema"] and tool["annotations"] for tool in tools)
    title = "Milk, by address"
    await add_milk(target, title)
    read = await inspect(target, "resources/read", "--uri", "todo://tasks/open")
    assert title in read["contents"][0]["text"]
    plan = await inspect(target, "prompts/get", "--prompt-name", "plan-my-day")
    assert title in plan["messages"][0]["content"]["text"]


async def test_the_inspector_calls_through_the_program(targets: dict[str, list[str]]) -> None:
    """What else there is to ask of it, test_bridge.py asks."""
    await add_milk(targets["stdio"], "Milk, by a program")
