"""What outside tools have done: asked for first, told as it goes on, and never taken back."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from agents.testing import ScriptedModel

from backend.tests.live.test_streams import post
from backend.tests.support.fixtures import Run
from backend.tests.support.live import kinds
from backend.tests.support.scripting import calls, given, outputs, says
from backend.tests.support.toolset_server import (
    ALL,
    HARMLESS,
    READS,
    ToolsetServer,
    serving_tools,
    tool,
    using,
)
from backend.tests.test_chat import chat, messages_of
from backend.tests.turns.test_failures import LOST


@pytest.fixture
async def others() -> AsyncIterator[ToolsetServer]:
    tools = tool("send"), tool("look", READS), tool("note", HARMLESS)
    async with serving_tools(*tools, streams=True) as server:
        yield server


def code(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["error"]["code"]


async def decide(client: httpx.AsyncClient, turn: dict[str, Any], word: bool) -> httpx.Response:
    decisions = [{"id": each["id"], "approved": word} for each in turn["approvals"]]
    path = f"/api/messages/{turn['message_id']}/approvals"
    return await client.post(path, json={"decisions": decisions})


# Approvals


async def test_what_may_destroy_or_says_nothing_is_asked_about_and_the_rest_is_not(
    alice: httpx.AsyncClient, run: Run, model: ScriptedModel, others: ToolsetServer
) -> None:
    model.extend([calls("others_look", {}), calls("others_note", {}), calls("others_send", {})])
    async with run(alice, **using(others, takes_key=True)) as client:
        turn = await chat(client, "go on", approvals=True)
        assert [call["tool"] for call in turn["tool_calls"]] == ["others_look", "others_note"]
        assert [each["tool"] for each in turn["approvals"]] == ["others_send"]
        assert [name for name, _, _ in others.asked] == ["look", "note"]
        model.extend([says("Sent.")])
        answer = (await decide(client, turn, True)).json()
        assert answer["tool_calls"][-1]["result"] == {"success": True}
        again = (await decide(client, turn, True)).json()
    assert again == answer
    assert [name for name, _, _ in others.asked] == ["look", "note", "send"]
    assert len({key for _, _, key in others.asked}) == 3


async def test_what_the_person_declines_is_not_done(
    alice: httpx.AsyncClient, run: Run, model: ScriptedModel, others: ToolsetServer
) -> None:
    model.extend([calls("others_send", {})])
    async with run(alice, **using(others)) as client:
        turn = await chat(client, "send it", approvals=True)
        model.extend([says("As you wish.")])
        answer = (await decide(client, turn, False)).json()
    assert answer["tool_calls"][0]["result"]["error_code"] == "DECLINED"
    assert others.asked == []


async def test_where_the_client_cannot_ask_nothing_is_done_and_the_model_is_told(
    alice: httpx.AsyncClient, run: Run, model: ScriptedModel, others: ToolsetServer
) -> None:
    model.extend([calls("others_send", {}), says("I may not.")])
    async with run(alice, **using(others)) as client:
        turn = await chat(client, "send it")
        assert outputs(model)[-1]["error_code"] == "APPROVAL_NEEDED"
        assert turn["tool_calls"][0]["result"] == outputs(model)[-1]
        assert others.asked == []
        model.extend([calls("others_send", {}), says("Sent.")])
        async with run(alice, **using(others, approve=[])) as trusting:
            assert (await chat(trusting, "send it"))["tool_calls"][0]["result"]["success"] is True


@pytest.mark.parametrize("setting", [{"approval_tools": "others_note"}, {}])
async def test_the_operator_says_what_is_asked_about(
    alice: httpx.AsyncClient,
    run: Run,
    model: ScriptedModel,
    others: ToolsetServer,
    setting: dict[str, str],
) -> None:
    model.extend([calls("others_note", {})])
    settings = using(others, **({} if setting else {"approve": ["note"]})) | setting
    async with run(alice, **settings) as client:
        assert len((await chat(client, "note it", approvals=True))["approvals"]) == 1
    assert others.asked == []


async def test_an_approved_call_of_a_toolset_that_has_gone_did_nothing(
    alice: httpx.AsyncClient, run: Run, model: ScriptedModel, others: ToolsetServer
) -> None:
    model.extend([calls("others_send", {})])
    async with run(alice, **using(others)) as client:
        turn = await chat(client, "send it", approvals=True)
    model.extend([says("It is gone.")])
    async with run(alice) as client:
        answer = (await decide(client, turn, True)).json()
        assert answer["tool_calls"][0]["result"]["success"] is False
        undone = await client.post(f"/api/messages/{turn['message_id']}/undo")
    assert code(undone) == (409, "NOTHING_TO_UNDO")


async def test_an_approved_call_that_outlives_the_run_is_unknown_and_not_made_again(
    alice: httpx.AsyncClient, run: Run, model: ScriptedModel, others: ToolsetServer
) -> None:
    model.extend([calls("others_send", {})])
    others.gate.clear()
    async with run(alice, **using(others, seconds=60), ai_timeout_seconds=1) as client:
        turn = await chat(client, "send it", approvals=True)
        failed = await decide(client, turn, True)
        assert failed.status_code == 503
        assert "started others_send, outcome unknown" in failed.json()["error"]["message"]
        others.gate.set()
        model.extend([calls("others_send", {}), says("I do not know.")])
        answer = (await decide(client, turn, True)).json()
    (call,) = answer["tool_calls"]
    assert call["result"]["error_code"] == "OUTCOME_UNKNOWN"
    assert len(others.asked) == 1


# As it goes on


async def test_a_call_that_outlives_the_limit_of_its_run_is_on_record_as_unknown(
    alice: httpx.AsyncClient, run: Run, model: ScriptedModel, others: ToolsetServer
) -> None:
    others.gate.clear()
    model.extend([calls("others_note", {})])
    async with run(alice, **using(others, seconds=60), ai_timeout_seconds=1) as client:
        failed = await client.post("/api/chat", json={"message": "note it"})
    assert code(failed) == (503, "AI_SERVICE_UNAVAILABLE")
    (call,) = failed.json()["error"]["details"]["tool_calls"]
    assert call["result"]["error_code"] == "OUTCOME_UNKNOWN"
    assert "started others_note, outcome unknown" in failed.json()["error"]["message"]


async def test_the_progress_of_a_call_is_in_the_stream_and_not_in_the_record(
    alice: httpx.AsyncClient, run: Run, model: ScriptedModel, others: ToolsetServer
) -> None:
    others.progress = 3
    model.extend([calls("others_note", {}), says("Noted.")])
    async with run(alice, **using(others)) as client:
        events = await post(client, "note it")
        shown = [part["data"] for part in events.seen if part["type"] == "data-progress"]
        (told,) = (await client.get("/api/ui/chat/c1")).json()[1:]
    (call,) = [part for part in told["parts"] if part["type"] == "tool-others_note"]
    assert call["output"] == {"success": True}
    assert shown[0] == {"tool": "others_note", "progress": 1.0, "total": 3.0, "message": "step 1"}
    assert "data-progress" not in {part["type"] for part in told["parts"]}


async def test_a_stop_does_not_wait_for_a_call_and_leaves_it_as_unknown(
    alice: httpx.AsyncClient, run: Run, model: ScriptedModel, others: ToolsetServer
) -> None:
    others.gate.clear()
    model.extend([calls("others_note", {})])
    async with run(alice, **using(others, seconds=60)) as client:
        following = asyncio.create_task(post(client, "note it"))
        await others.arrived.wait()
        assert (await client.post("/api/ui/chat/c1/stop")).status_code == 200
        events = await following
        assert kinds(events.seen)[-1] == "abort"
        (told,) = (await client.get("/api/ui/chat/c1")).json()[1:]
    assert "started others_note, outcome unknown" in told["parts"][-1]["text"]


async def test_a_result_that_a_retry_comes_to_know_takes_the_place_of_the_unknown_one(
    alice: httpx.AsyncClient, run: Run, model: ScriptedModel, others: ToolsetServer
) -> None:
    others.gate.clear()
    step = calls("others_note", {"a": 1})
    model.extend([step, LOST])
    async with run(alice, **using(others, seconds=1, takes_key=True)) as client:
        assert kinds((await post(client, "note it")).seen)[-1] == "error"
        others.gate.set()
        model.extend([step, says("Noted.")])
        events = await post(client, "note it")
        known = [part for part in events.seen if part["type"] == "tool-output-available"]
        assert [part["output"]["success"] for part in known] == [False, True]
        (told,) = (await client.get("/api/ui/chat/c1")).json()[1:]
    (call,) = [part for part in told["parts"] if part["type"] == "tool-others_note"]
    assert call["output"] == {"success": True}
    assert len({key for _, _, key in others.asked}) == 1


# Afterwards


async def test_undo_takes_back_ours_and_lists_what_was_done_outside(
    alice: httpx.AsyncClient, run: Run, model: ScriptedModel, others: ToolsetServer
) -> None:
    async with run(alice, **using(others)) as client:
        model.extend(
            [calls("add_task", {"title": "Milk"}), calls("others_note", {}), says("Done.")]
        )
        both = await chat(client, "both")
        message = (await messages_of(client, both["conversation_id"]))[-1]
        undone = await client.post(f"/api/messages/{message['id']}/undo")
        assert undone.status_code == 200
        assert undone.json()["not_undone"] == both["tool_calls"][1:]
        assert (await client.get("/api/tasks")).json()["total"] == 0
        model.extend([calls("others_look", {}), calls("others_note", {}), says("Done.")])
        alone = await chat(client, "outside", conversation_id=both["conversation_id"])
        assert "What was done outside of this app stays as it is." in str(given(model))
        message = (await messages_of(client, both["conversation_id"]))[-1]
        refused = await client.post(f"/api/messages/{message['id']}/undo")
    assert code(refused) == (409, "NOTHING_TO_UNDO")
    assert refused.json()["error"]["details"]["not_undone"] == alone["tool_calls"][1:]


@pytest.mark.parametrize(
    ("answer", "status"), [({"success": True}, 409), ({"success": False}, 200)]
)
async def test_what_was_done_outside_is_not_asked_for_again(
    alice: httpx.AsyncClient,
    run: Run,
    model: ScriptedModel,
    others: ToolsetServer,
    answer: dict[str, Any],
    status: int,
) -> None:
    others.answer = answer
    model.extend([calls("others_note", {}), says("Done.")])
    async with run(alice, **using(others)) as client:
        turn = await chat(client, "note it", approvals=True)
        for path, said in [("regenerate", {}), ("edit", {"content": "note that"})]:
            model.extend([says("Once more.")] if status == 200 else [])
            again = await client.post(f"/api/messages/{turn['message_id']}/{path}", json=said)
            assert again.status_code == status, again.text
            if status == 409:
                assert code(again) == (409, "OUTSIDE_CHANGED")
                assert again.json()["error"]["details"]["not_undone"] == turn["tool_calls"]
    assert len(others.asked) == 1


async def test_all_that_is_not_ours_is_asked_under_a_key_of_its_own(
    alice: httpx.AsyncClient, run: Run, model: ScriptedModel, others: ToolsetServer
) -> None:
    others.answer = {"success": False}
    async with run(alice, **using(others, **ALL | {"tools": []}, takes_key=True)) as client:
        model.extend([calls("others_send", {"a": 1}), says("Failed.")])
        turn = await chat(client, "send it", approvals=True)
        model.extend([calls("others_send", {"a": 2}), says("Failed.")])
        path = f"/api/messages/{turn['message_id']}/regenerate"
        assert (await client.post(path, json={})).status_code == 200
    assert len({key for _, _, key in others.asked}) == 2
