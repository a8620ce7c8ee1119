"""How servers of toolsets are reached: programs, who the person is, and where none may be."""

import gzip
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from ipaddress import ip_address
from typing import Any

import httpx
import httpx2
import jwt
import pytest
from agents.testing import ScriptedModel
from pydantic import ValidationError
from starlette.requests import Request
from starlette.responses import Response

from backend.agent import toolset_network, toolsets
from backend.tests.support.fixtures import Run, make_settings
from backend.tests.support.live import served
from backend.tests.support.scripting import calls, says
from backend.tests.support.toolset_server import (
    ALL,
    READS,
    ToolsetServer,
    serving_tools,
    tool,
    using,
)
from backend.tests.test_chat import chat

PERSON_KEY = "k" * 32
PROGRAM = [sys.executable, "-m", "backend.tests.support.toolset_program"]


@pytest.fixture
async def others() -> AsyncIterator[ToolsetServer]:
    async with serving_tools(tool("send")) as server:
        yield server


@pytest.fixture(autouse=True)
def variables(monkeypatch: pytest.MonkeyPatch) -> None:
    """The secrets that the settings below name."""
    for name, secret in [("A_KEY", "a-secret"), ("PERSON_KEY", PERSON_KEY), ("SHORT", "short")]:
        monkeypatch.setenv(name, secret)


async def result(client: httpx.AsyncClient, model: ScriptedModel, name: str) -> dict[str, Any]:
    """What comes of a call of the tool, in a turn of its own."""
    model.extend([calls(name, {}), says("Done.")])
    (call,) = (await chat(client, "go on"))["tool_calls"] or [{"result": {}}]
    done: dict[str, Any] = call["result"]
    return done


# Who asks


async def test_the_person_is_named_by_a_token_of_our_own_and_only_where_that_is_set(
    alice: httpx.AsyncClient, alice_id: str, run: Run, model: ScriptedModel, others: ToolsetServer
) -> None:
    for more in ({}, {"person_key": "PERSON_KEY", "key": "A_KEY"}):
        async with run(alice, **using(others, **ALL, **more)) as client:
            assert (await result(client, model, "others_send"))["success"] is True
    before, named = others.headers
    assert "x-person" not in before
    assert alice.headers["authorization"] not in str(others.headers)
    assert alice_id not in str(before)
    assert named["authorization"] == "Bearer a-secret"
    claims = jwt.decode(named["x-person"], PERSON_KEY, ["HS256"], audience=others.url)
    assert (claims["sub"], claims["iss"]) == (alice_id, "todo-chat")
    assert claims["exp"] - claims["iat"] == 60


async def test_the_project_of_the_conversation_goes_along(
    alice: httpx.AsyncClient, run: Run, model: ScriptedModel, others: ToolsetServer
) -> None:
    async with run(alice, **using(others, **ALL)) as client:
        project = (await client.post("/api/projects", json={"name": "Crystals"})).json()["id"]
        made = await client.post("/api/conversations", json={"project_id": project})
        for conversation in (made.json()["id"], None):
            model.extend([calls("others_send", {}), says("Done.")])
            await chat(client, "go on", conversation_id=conversation)
    assert [meta.get("todo/project-id") for meta in others.metas] == [project, None]


@pytest.mark.parametrize(
    ("entry", "commands", "said"),
    [
        ({"command": PROGRAM}, False, "TOOLSET_COMMANDS"),
        ({}, True, "either url or command"),
        ({"url": "http://a/mcp", "command": PROGRAM}, True, "either url or command"),
        ({"command": PROGRAM, "person_key": "PERSON_KEY"}, True, "url alone"),
        ({"url": "http://a/mcp", "person_key": "SHORT"}, False, "32 characters"),
        ({"url": "http://a/mcp", "person_header": "Authorization"}, False, "the client sets"),
        ({"url": "http://a:secret@b/mcp"}, False, "should match"),
    ],
)
def test_a_toolset_that_cannot_work_stops_the_start(
    entry: dict[str, Any], commands: bool, said: str
) -> None:
    with pytest.raises(ValidationError, match=said):
        make_settings("postgresql://a/b", toolsets={"others": entry}, toolset_commands=commands)


@pytest.mark.parametrize("name", ["add", "list", "complete", "delete", "update", "a_b", "A"])
def test_no_toolset_can_have_a_tool_that_is_called_as_ours(name: str) -> None:
    with pytest.raises(ValidationError):
        make_settings("postgresql://a/b", toolsets={name: {"url": "http://a/mcp"}})


# Programs


async def test_a_program_is_kept_and_started_again_when_it_has_ended(
    alice: httpx.AsyncClient, run: Run, model: ScriptedModel
) -> None:
    entry = {"command": PROGRAM, "approve": [], "key": "A_KEY"}
    async with run(alice, toolsets={"own": entry}, toolset_commands=True) as client:
        assert [(await result(client, model, "own_tally"))["number"] for _ in range(2)] == [1, 2]
        found = await result(client, model, "own_surroundings")
        assert found["key"] == "a-secret"
        assert "PATH" in found["names"]
        assert not {name for name in found["names"] if "PYTEST" in name or "DATABASE" in name}
        ended = await result(client, model, "own_end")
        assert ended["error_code"] == "OUTCOME_UNKNOWN"
        assert (await result(client, model, "own_tally"))["number"] == 1


async def test_a_program_that_is_none_stops_no_turn(
    alice: httpx.AsyncClient, run: Run, model: ScriptedModel
) -> None:
    for command in (["/nowhere/program"], [sys.executable, "-c", "print('no server')"]):
        settings = {"toolsets": {"own": {"command": command}}, "toolset_commands": True}
        async with run(alice, **settings) as client:
            model.extend([says("Hello.")])
            assert (await chat(client, "hi"))["response"] == "Hello."


# Where none may be, and what none may answer


@pytest.mark.parametrize("allowed", [False, True])
async def test_where_clouds_hand_out_secrets_nothing_is_asked_unless_it_is_allowed(
    alice: httpx.AsyncClient,
    run: Run,
    model: ScriptedModel,
    others: ToolsetServer,
    monkeypatch: pytest.MonkeyPatch,
    allowed: bool,
) -> None:
    here = ip_address("127.0.0.1")
    monkeypatch.setattr(toolset_network, "_METADATA", frozenset({here}))
    async with run(alice, **using(others, **ALL, link_local=allowed)) as client:
        done = await result(client, model, "others_send")
    assert done == ({"success": True} if allowed else {})
    assert len(others.asked) == allowed


@pytest.mark.parametrize(
    "host",
    ["169.254.169.254", "[fe80::1]", "[::ffff:169.254.169.254]", "[fd00:ec2::254]", "2852039166"],
)
async def test_every_spelling_of_such_an_address_is_known(host: str) -> None:
    request = httpx2.Request("POST", f"http://{host}/mcp")
    transport = toolset_network.GuardedTransport(False, link_local=False)
    with pytest.raises(httpx2.ConnectError, match="where none may be"):
        await transport.handle_async_request(request)


@asynccontextmanager
async def answering(answer: Callable[[Request], Awaitable[Response]]) -> AsyncIterator[str]:
    """The address of a server that answers every request so."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await (await answer(Request(scope, receive)))(scope, receive, send)

    async with served(app) as address:  # type: ignore[arg-type]
        yield f"{address}/mcp"


async def test_a_redirect_to_elsewhere_is_not_followed(
    alice: httpx.AsyncClient, run: Run, model: ScriptedModel, others: ToolsetServer
) -> None:
    seen: list[str] = []

    async def away(request: Request) -> Response:
        seen.append(request.method)
        return Response(status_code=307, headers={"Location": others.url})

    async with answering(away) as url, run(alice, **using(url, **ALL, key="A_KEY")) as client:
        assert await result(client, model, "others_send") == {}
    assert seen
    assert others.lists == 0


@pytest.mark.parametrize("kind", ["packed", "endless", "no JSON", "deep"])
async def test_what_is_no_answer_of_a_server_stops_no_turn(
    alice: httpx.AsyncClient, run: Run, model: ScriptedModel, kind: str
) -> None:
    bodies = {
        "packed": gzip.compress(b" " * 50_000_000),
        "endless": b" " * 10_000_000,
        "no JSON": b"<html>",
        "deep": b"[" * 100_000,
    }
    packed = {"Content-Encoding": "gzip"} if kind == "packed" else {}

    async def answer(_: Request) -> Response:
        return Response(bodies[kind], media_type="application/json", headers=packed)

    async with answering(answer) as url, run(alice, **using(url)) as client:
        assert await result(client, model, "others_send") == {}
    assert "Not available right now: the tools of others." in str(
        model.calls[-1].system_instructions
    )


async def test_a_server_that_hangs_holds_up_no_turn_for_long_and_none_twice(
    alice: httpx.AsyncClient, run: Run, model: ScriptedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(toolsets, "FIRST_S", 0.2)
    monkeypatch.setattr(toolsets, "LIST_S", 0.4)
    asked = 0

    async def hang(request: Request) -> Response:
        nonlocal asked
        asked += 1
        while not await request.is_disconnected():
            await request.receive()
        return Response()

    async with answering(hang) as url, run(alice, **using(url)) as client:
        for _ in range(3):
            assert await result(client, model, "others_send") == {}
    assert asked <= 2  # the second may find the first look still under way


async def test_a_list_is_asked_for_once_and_refreshed_beside_the_turns(
    alice: httpx.AsyncClient,
    run: Run,
    model: ScriptedModel,
    others: ToolsetServer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with run(alice, **using(others, **ALL)) as client:
        for _ in range(3):
            assert await result(client, model, "others_send") == {"success": True}
        assert others.lists == 1
    monkeypatch.setattr(toolsets, "FRESH_S", 0.0)
    async with run(alice, **using(others, **ALL)) as client:
        assert await result(client, model, "others_send") == {"success": True}
        others.tools = [tool("look", READS)]
        names = {"others_send"}
        while names == {"others_send"}:  # a turn takes what was found beside the one before it
            await result(client, model, "others_send")
            names = {each.name for each in model.calls[-1].tools if "others" in each.name}
    assert names == {"others_look"}
