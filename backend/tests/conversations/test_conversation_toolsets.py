"""Which toolsets a conversation has: chosen by the person, else by the settings."""

from typing import Any

import httpx
import pytest
from agents.testing import ScriptedModel

from backend.tests.support.fixtures import Run
from backend.tests.support.scripting import says
from backend.tests.support.toolset_server import READS, serving_tools, tool
from backend.tests.test_chat import chat
from backend.tests.web.test_errors import assert_envelope


async def offered(
    client: httpx.AsyncClient, model: ScriptedModel, conversation: int | None
) -> set[str]:
    """The outside tools that a turn there is given."""
    model.extend([says("Hello.")])
    await chat(client, "hi", conversation_id=conversation)
    return {each.name for each in model.calls[-1].tools if "_task" not in each.name}


async def test_a_conversation_has_the_toolsets_it_has_chosen_else_those_of_the_settings(
    alice: httpx.AsyncClient, bob: httpx.AsyncClient, run: Run, model: ScriptedModel
) -> None:
    async with serving_tools(tool("look", READS)) as server:
        one = {"url": server.url}
        settings: dict[str, Any] = {"toolsets": {"one": one, "two": one | {"default": False}}}
        async with run(alice, **settings) as client, run(bob, **settings) as other:
            assert await offered(client, model, None) == {"one_look"}
            (listed,) = (await client.get("/api/conversations")).json()["conversations"]
            assert listed["toolsets"] == ["one"]
            path = f"/api/conversations/{listed['id']}"
            for chosen, names in [
                (["two"], ["two"]),
                (["two", "one", "two"], ["one", "two"]),
                ([], []),
                (None, ["one"]),
            ]:
                changed = await client.patch(path, json={"toolsets": chosen})
                assert changed.json()["toolsets"] == names
                assert await offered(client, model, listed["id"]) == {f"{n}_look" for n in names}
            made = await client.post("/api/conversations", json={"toolsets": ["two"]})
            assert made.json()["toolsets"] == ["two"]
            renamed = await client.patch(
                f"/api/conversations/{made.json()['id']}", json={"title": "Lab"}
            )
            assert renamed.json()["toolsets"] == ["two"]
            opened = await client.get(f"/api/conversations/{made.json()['id']}")
            assert opened.json()["toolsets"] == ["two"]
            taken = await other.patch(path, json={"toolsets": []})
            assert_envelope(taken, 404, "CONVERSATION_NOT_FOUND")
    async with run(alice) as client:  # what is not set up any more counts as none
        assert (await client.get(f"/api/conversations/{made.json()['id']}")).json()[
            "toolsets"
        ] == []


@pytest.mark.parametrize("chosen", [["nobody"], ["one", "nobody"], "one", [1], ["one"] * 21, [""]])
async def test_a_toolset_that_is_not_set_up_is_refused_and_what_is_is_told(
    alice: httpx.AsyncClient, run: Run, chosen: object
) -> None:
    async with run(alice, toolsets={"one": {"url": "http://127.0.0.1:1/mcp"}}) as client:
        refused = await client.post("/api/conversations", json={"toolsets": chosen})
        assert_envelope(refused, 422, "VALIDATION_ERROR")
        if "nobody" in str(chosen):
            (fault,) = refused.json()["error"]["details"]
            assert (fault["field"], "one" in fault["message"]) == ("toolsets", True)
