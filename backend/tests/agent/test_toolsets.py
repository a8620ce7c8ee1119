"""Others' tools: what is offered of them, and what of their effects is on record."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import httpx
import pytest
from agents.testing import ScriptedModel

from backend.tests.mcp.test_simulations import address
from backend.tests.support.fixtures import Run
from backend.tests.support.provider_wire import Answer
from backend.tests.support.scripted_provider import ScriptedProvider
from backend.tests.support.scripting import calls, outputs, says
from backend.tests.support.toolset_server import (
    ALL,
    READS,
    REPEATS,
    ToolsetServer,
    serving_tools,
    tool,
    using,
)
from backend.tests.turns.test_failures import LOST

__all__ = ["address"]


@pytest.fixture
async def others() -> AsyncIterator[ToolsetServer]:
    async with serving_tools(
        tool("send"), tool("set", REPEATS), tool("look", READS), tool("wipe")
    ) as server:
        yield server


async def say(client: httpx.AsyncClient, text: str, **more: Any) -> httpx.Response:
    return await client.post("/api/chat", json={"message": text} | more)


def offered(model: ScriptedModel) -> set[str]:
    return {each.name for each in model.calls[-1].tools} - {
        *("add_task", "list_tasks", "complete_task", "delete_task", "update_task")
    }


async def test_the_conversation_of_the_checklist_runs_a_simulation_and_analyzes_it(
    alice: httpx.AsyncClient, run: Run, model: ScriptedModel, address: str
) -> None:
    toolsets = {"sim": {"url": address, "takes_key": True}}
    async with run(alice, toolsets=toolsets) as client:
        made = (await client.post("/api/conversations")).json()
        assert made["toolsets"] == ["sim"]
        path = f"/api/conversations/{made['id']}/chat"
        model.extend([calls("sim_run_dla_simulation", {"particles": 500}), says("Started.")])
        asked = {"content": "Run a DLA simulation with 500 particles"}
        first = (await client.post(path, json=asked)).json()
        assert first["tools_executed"] == ["sim_run_dla_simulation"]
        begun = first["tool_calls"][0]["result"]
        assert begun["success"] is True
        one = {"simulation_id": begun["simulation_id"]}
        model.extend([calls("sim_analyze_simulation", one), says("About 1.7.")])
        second = (await client.post(path, json={"content": "Now analyze it"})).json()
        assert second["tools_executed"] == ["sim_analyze_simulation"]
        assert outputs(model, -2)[0]["simulation_id"] == begun["simulation_id"]
    analysis = second["tool_calls"][0]["result"]
    assert 1.5 < analysis["fractal_dimension"] < 1.9


@pytest.mark.parametrize(
    ("allowed", "names"),
    [
        ({}, {"others_send", "others_set", "others_look", "others_wipe"}),
        (ALL, {"others_send", "others_set", "others_look"}),
    ],
)
async def test_only_what_the_operator_lists_is_offered_else_all(
    alice: httpx.AsyncClient,
    run: Run,
    model: ScriptedModel,
    others: ToolsetServer,
    allowed: dict[str, Any],
    names: set[str],
) -> None:
    model.extend([calls("others_wipe", {}), says("No.")])
    async with run(alice, **using(others, **allowed)) as client:
        assert (await say(client, "hi")).status_code == 200
    assert offered(model) == names
    assert others.asked == []
    assert "You have tools of other apps" in str(model.calls[-1].system_instructions)


def _object(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties}


async def test_what_a_server_lies_about_itself_is_left_out(
    alice: httpx.AsyncClient, run: Run, model: ScriptedModel
) -> None:
    lies = [
        tool("new\nline", READS),
        tool("x" * 41, READS),
        tool("huge", READS, input_schema={"type": "object", "title": "x" * 10_000}),
        tool("add_task", READS),
        tool("list", READS, input_schema={"type": "object", "properties": ["a"]}),
        tool("either", READS, input_schema={"type": "object", "anyOf": [{}]}),
        tool("afar", READS, input_schema=_object(a={"$ref": "http://127.0.0.1:1/schema"})),
        tool("bad", READS, input_schema=_object(a={"type": "anything"})),
        tool("more", READS, input_schema=_object() | {"required": ["a"]}),
    ]
    model.extend([says("Hello.")])
    async with serving_tools(*lies) as server, run(alice, **using(server)) as client:
        assert (await say(client, "hi")).status_code == 200
    assert offered(model) == {"others_add_task"}  # which shadows none of ours


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:1/mcp", "http://169.254.169.254/mcp", "http://nowhere.invalid/mcp"]
)
async def test_a_server_that_is_down_or_where_none_may_be_stops_no_turn(
    alice: httpx.AsyncClient, run: Run, model: ScriptedModel, url: str
) -> None:
    model.extend([says("Hello.")] * 2)
    async with run(alice, **using(url)) as client:
        assert (await say(client, "hi")).status_code == 200
    assert offered(model) == set()
    assert "Not available right now: the tools of others." in str(
        model.calls[-1].system_instructions
    )


@pytest.mark.parametrize(
    ("answer", "kept"),
    [
        ("plain words", {"text": "plain words", "success": True}),
        ({"success": False, "error": "no"}, {"success": False, "error": "no"}),
        ({"success": "yes", "a": "b\x00"}, {"success": True, "a": "b"}),
        ("x" * 20_000, None),
    ],
)
async def test_what_a_server_answers_is_kept_as_far_as_it_can_be(
    alice: httpx.AsyncClient,
    run: Run,
    model: ScriptedModel,
    others: ToolsetServer,
    answer: Any,
    kept: dict[str, Any] | None,
) -> None:
    others.answer = answer
    model.extend([calls("others_send", {"to": "bob"}), says("Sent.")])
    async with run(alice, **using(others, **ALL)) as client:
        (call,) = (await say(client, "send it")).json()["tool_calls"]
    assert (call["tool"], call["args"]) == ("others_send", {"to": "bob"})
    assert call["result"] == outputs(model)[0]
    if kept is None:
        assert call["result"]["success"] is True
        assert len(str(call["result"])) < 9_000
    else:
        assert call["result"] == kept


async def test_an_answer_of_ten_megabytes_is_not_read_and_its_outcome_is_unknown(
    alice: httpx.AsyncClient, run: Run, model: ScriptedModel, others: ToolsetServer
) -> None:
    others.answer = "x" * 10_000_000
    model.extend([calls("others_send", {}), says("I do not know.")])
    async with run(alice, **using(others, **ALL)) as client:
        (call,) = (await say(client, "send it")).json()["tool_calls"]
    assert call["result"]["error_code"] == "OUTCOME_UNKNOWN"


async def test_a_call_that_outlives_its_time_is_on_record_as_unknown_and_said_so(
    alice: httpx.AsyncClient, run: Run, model: ScriptedModel, others: ToolsetServer
) -> None:
    others.gate.clear()
    model.extend([calls("others_send", {}), LOST])
    async with run(alice, **using(others, **ALL, seconds=1)) as client:
        failed = await say(client, "send it")
        assert failed.status_code == 503
        (call,) = failed.json()["error"]["details"]["tool_calls"]
        assert call["result"]["error_code"] == "OUTCOME_UNKNOWN"
        id_ = failed.json()["error"]["details"]["conversation_id"]
        history = (await client.get(f"/api/conversations/{id_}/messages")).json()
    assert "started others_send, outcome unknown" in history[-1]["content"]


@pytest.mark.parametrize(
    ("name", "takes_key", "again"),
    [("send", False, False), ("send", True, True), ("set", False, True)],
)
async def test_a_retry_makes_a_call_of_unknown_outcome_again_only_where_that_does_no_harm(
    alice: httpx.AsyncClient,
    run: Run,
    model: ScriptedModel,
    others: ToolsetServer,
    name: str,
    takes_key: bool,
    again: bool,
) -> None:
    others.gate.clear()
    step = calls(f"others_{name}", {"to": "bob"})
    model.extend([step, LOST])
    settings = using(others, **ALL, takes_key=takes_key, seconds=1)
    async with run(alice, **settings) as client:
        assert (await say(client, "send it")).status_code == 503
        others.gate.set()
        model.extend([step, says("Done.")])
        answer = await say(client, "send it")
    assert answer.status_code == 200
    (call,) = answer.json()["tool_calls"]
    assert call["result"].get("error_code") == (None if again else "OUTCOME_UNKNOWN")
    assert len(others.asked) == 1 + again
    keys = {key for _, _, key in others.asked}
    assert len(keys) == 1
    assert (keys != {None}) is takes_key


async def test_a_schema_goes_to_every_provider_as_its_server_has_it(
    alice: httpx.AsyncClient, run: Run
) -> None:
    schema = _object(a={"anyOf": [{"type": "string"}, {"type": "null"}]}, b=True) | {
        "required": ["a"]
    }
    async with (
        serving_tools(tool("look", READS, input_schema=schema)) as server,
        ScriptedProvider(Answer("Hello.")) as provider,
    ):
        named = {"base_url": provider.base_url, "models": ["m"], "strict": False}
        settings: dict[str, Any] = {"providers": {"plain": named}, "default_provider": "plain"}
        async with run(alice, model=None, **settings | using(server)) as client:
            assert (await say(client, "hi")).status_code == 200
    (sent,) = [
        each["function"]
        for each in provider.requests[0].body["tools"]
        if each["function"]["name"] == "others_look"
    ]
    assert sent["parameters"] == schema


async def test_a_small_model_is_given_no_more_tools_than_there_is_room_for(
    alice: httpx.AsyncClient, run: Run
) -> None:
    many = [tool(f"t{n}", READS, input_schema=_object(a={"title": "x" * 900})) for n in range(30)]
    async with (
        serving_tools(*many) as server,
        ScriptedProvider(Answer("Hello."), Answer("Hello.")) as provider,
    ):
        for window in (8_000, 200_000):
            named: dict[str, Any] = {"base_url": provider.base_url, "models": ["m"]}
            settings: dict[str, Any] = {
                "providers": {"plain": named | {"context_window": window}},
                "default_provider": "plain",
            }
            async with run(alice, model=None, **settings | using(server)) as client:
                assert (await say(client, "hi")).status_code == 200
    small, large = (len(request.body["tools"]) for request in provider.requests)
    assert 5 < small < 10
    assert large == 35


async def test_what_does_not_fit_the_schema_that_was_told_is_kept_as_it_was_answered(
    alice: httpx.AsyncClient, run: Run, model: ScriptedModel
) -> None:
    told = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
    async with serving_tools(tool("send", output_schema=told)) as server:
        server.answer = {"n": "seven"}
        model.extend([calls("others_send", {}), says("Sent.")])
        async with run(alice, **using(server, approve=[])) as client:
            (call,) = (await say(client, "send it")).json()["tool_calls"]
    assert call["result"] == {"n": "seven", "success": True}


async def test_a_retry_that_finds_the_toolset_gone_knows_no_more_than_before(
    alice: httpx.AsyncClient, run: Run, model: ScriptedModel
) -> None:
    step = calls("others_set", {"to": "bob"})
    async with AsyncExitStack() as stack:
        async with serving_tools(tool("set", REPEATS)) as server:
            server.gate.clear()
            settings = using(server, approve=[], seconds=1)
            client = await stack.enter_async_context(run(alice, **settings))
            model.extend([step, LOST])
            assert (await say(client, "send it")).status_code == 503
        model.extend([step, says("I do not know.")])
        (call,) = (await say(client, "send it")).json()["tool_calls"]
    assert call["result"]["error_code"] == "OUTCOME_UNKNOWN"


async def test_a_call_that_was_never_sent_did_nothing_and_says_so(
    alice: httpx.AsyncClient, run: Run, model: ScriptedModel
) -> None:
    async with AsyncExitStack() as stack:
        async with serving_tools(tool("send")) as server:
            client = await stack.enter_async_context(run(alice, **using(server, approve=[])))
            model.extend([says("Hello.")])
            await say(client, "hi")
        model.extend([calls("others_send", {}), says("It is away.")])
        (call,) = (await say(client, "send it")).json()["tool_calls"]
    assert call["result"]["error_code"] == "TOOLSET_DOWN"


async def test_a_known_result_is_not_asked_for_again_by_a_retry(
    alice: httpx.AsyncClient, run: Run, model: ScriptedModel, others: ToolsetServer
) -> None:
    step = calls("others_set", {"a": 1})
    model.extend([step, LOST, step, says("Done.")])
    async with run(alice, **using(others, **ALL)) as client:
        assert (await say(client, "set it")).status_code == 503
        assert (await say(client, "set it")).status_code == 200
    assert len(others.asked) == 1


async def test_a_call_that_is_cut_off_is_unknown_and_no_retry_makes_it_again(
    alice: httpx.AsyncClient, run: Run, model: ScriptedModel, others: ToolsetServer
) -> None:
    others.gate.clear()
    step = calls("others_send", {})
    model.extend([step])
    async with run(alice, **using(others, **ALL, seconds=30)) as client:
        asking = asyncio.create_task(say(client, "send it"))
        await others.arrived.wait()
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
        others.gate.set()
        model.extend([step, says("I do not know.")])
        again = await say(client, "send it")
    assert again.status_code == 200
    (call,) = again.json()["tool_calls"]
    assert call["result"]["error_code"] == "OUTCOME_UNKNOWN"
    assert len(others.asked) == 1
