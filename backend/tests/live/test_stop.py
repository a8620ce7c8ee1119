"""Stop means stop: from any replica, what was said and done is kept, and nothing more is done."""

import asyncio
import time
from typing import Any

import httpx
import pytest
from agents.testing import ModelStep, ScriptedModel, function_call
from psycopg import AsyncConnection

from backend.tests.live.conftest import Replicas
from backend.tests.live.test_streams import body, history, post, resumed, texts
from backend.tests.support.databases import someone_waits_for
from backend.tests.support.live import kinds, said, streaming
from backend.tests.support.scripting import calls, says
from backend.tests.support.speaking import Speech

pytestmark = pytest.mark.waits

END = ["text-end", "finish-step", "message-metadata", "abort"]


async def stop(client: httpx.AsyncClient, chat: str = "c1", **body: object) -> dict[str, Any]:
    answer = await client.post(f"/api/ui/chat/{chat}/stop", json=body)
    assert answer.status_code == 200, answer.text
    told: dict[str, Any] = answer.json()
    return told


@pytest.mark.parametrize("elsewhere", [False, True])
async def test_a_turn_is_stopped_and_what_was_said_and_done_is_its_answer(
    replicas: Replicas, model: ScriptedModel, elsewhere: bool
) -> None:
    more = Speech()
    model.extend([calls("add_task", {"title": "Buy milk"}), more.step])
    async with streaming(replicas.one, "POST", "/api/ui/chat", json=body("add milk")) as events:
        more.say("I have ")
        await events.until("text-delta")
        began = time.monotonic()
        told = await stop(replicas.two if elsewhere else replicas.one)
        await more.closed.wait()
        await events.rest()
        assert time.monotonic() - began < 1.2
    message_id = int(events.seen[0]["messageId"])
    assert told == {"stopped": True, "message_id": message_id, "status": "complete"}
    assert kinds(events.seen)[-4:] == END
    assert events.done
    (kept,) = said(events.seen)
    assert kept.startswith("I have\n\nI could not finish. Done so far: added task")
    answered = (await history(replicas.two))[-1]
    assert texts(answered) == [kept]
    assert answered["metadata"]["stopped"] is True
    again = await resumed(replicas.two)
    assert said(again.seen) == [kept]
    assert kinds(again.seen)[-4:] == END
    assert await stop(replicas.one) == {"stopped": False, "message_id": None, "status": None}
    late = await stop(replicas.one, messageId=events.seen[0]["messageId"])
    assert late == {"stopped": True, "message_id": message_id, "status": "complete"}


async def test_the_same_text_after_a_stop_is_a_message_of_its_own(
    replicas: Replicas, model: ScriptedModel
) -> None:
    asked = asyncio.Event()

    async def never(_: object) -> ModelStep:
        asked.set()
        await asyncio.Event().wait()
        return ModelStep([])

    model.extend([ModelStep.respond(never), says("Second.")])
    sent = asyncio.create_task(replicas.one.post("/api/chat", json={"message": "hello"}))
    await asked.wait()
    conversation = await newest_conversation(replicas.one)
    answer = await replicas.two.post(f"/api/conversations/{conversation}/stop")
    assert answer.status_code == 200, answer.text
    assert answer.json()["stopped"] is True
    answered = (await sent).json()
    assert answered["response"] == "Stopped before anything was said or done."
    assert answered["stopped"] is True
    again = {"message": "hello", "conversation_id": conversation}
    assert (await replicas.one.post("/api/chat", json=again)).json()["response"] == "Second."
    assert len((await replicas.one.get(f"/api/conversations/{conversation}/messages")).json()) == 4


async def test_an_order_to_stop_that_overtakes_its_message_is_carried_out(
    replicas: Replicas, model: ScriptedModel, shared_database_url: str
) -> None:
    """The turn is being begun, which somebody holds up, when its client wants it stopped."""
    model.extend([Speech().step])
    async with await AsyncConnection.connect(shared_database_url) as locking:
        await locking.execute("LOCK TABLE conversations IN EXCLUSIVE MODE")
        sent = asyncio.create_task(post(replicas.one, "hello"))
        await someone_waits_for(shared_database_url, locking.info.backend_pid)
        stopping = asyncio.create_task(stop(replicas.two, messageId="m1"))
        done, _ = await asyncio.wait([sent, stopping], timeout=0.3)
        assert not done
    assert (await stopping)["stopped"]
    events = await sent
    assert kinds(events.seen)[-1] == "abort"
    assert said(events.seen) == ["Stopped before anything was said or done."]


@pytest.mark.parametrize("by", ["page", "plain"])
async def test_a_stopped_turn_that_is_asked_for_again_goes_on(
    replicas: Replicas, model: ScriptedModel, by: str
) -> None:
    more = Speech()
    model.extend([calls("add_task", {"title": "Buy milk"}), more.step])
    async with streaming(replicas.one, "POST", "/api/ui/chat", json=body("add milk")) as events:
        more.say("I have ")
        await events.until("text-delta")
        await stop(replicas.two)
        await events.rest()
    message_id = events.seen[0]["messageId"]
    model.extend([calls("add_task", {"title": "Buy milk"}), says("It is on your list.")])
    if by == "page":
        again = await post(replicas.two, "add milk", trigger="regenerate-message")
        assert again.seen[0]["messageId"] == message_id
        assert kinds(again.seen)[-1] == "finish"
        assert said(again.seen) == ["It is on your list."]
    else:
        path = f"/api/messages/{message_id}/regenerate"
        answer = (await replicas.two.post(path)).json()
        assert (answer["id"], answer["content"]) == (int(message_id), "It is on your list.")
        assert "stopped" not in answer
    assert (await replicas.one.get("/api/tasks")).json()["total"] == 1
    messages = await history(replicas.one)
    assert len(messages) == 2
    assert texts(messages[-1]) == ["It is on your list."]
    assert "stopped" not in messages[-1]["metadata"]


async def test_a_turn_that_goes_on_by_approval_and_is_stopped_says_so_in_one_piece(
    replicas: Replicas, model: ScriptedModel
) -> None:
    task = (await replicas.one.post("/api/tasks", json={"title": "Buy milk"})).json()["id"]
    asked = asyncio.Event()

    async def never(_: object) -> ModelStep:
        asked.set()
        await asyncio.Event().wait()
        return ModelStep([])

    model.extend([calls("delete_task", {"task_id": task}), ModelStep.respond(never)])
    message = {"message": "delete milk", "approvals": True}
    keyed = {"Idempotency-Key": "k"}
    turn = (await replicas.one.post("/api/chat", json=message, headers=keyed)).json()
    decisions = [{"id": turn["approvals"][0]["id"], "approved": True}]
    path = f"/api/messages/{turn['message_id']}/approvals"
    deciding = asyncio.create_task(replicas.one.post(path, json={"decisions": decisions}))
    await asked.wait()
    place = f"/api/conversations/{turn['conversation_id']}"
    stopped = (await replicas.two.post(f"{place}/stop")).json()
    assert stopped == {"stopped": True, "message_id": turn["message_id"], "status": "complete"}
    answer = (await deciding).json()
    assert answer["stopped"] is True
    assert answer["content"].startswith("I could not finish. Done so far: deleted task")
    again = (await replicas.two.post("/api/chat", json=message, headers=keyed)).json()
    assert (again["stopped"], again["response"]) == (True, answer["content"])
    (_, kept) = (await replicas.two.get(f"{place}/messages")).json()
    assert kept["stopped_at"] is not None
    assert [call["tool"] for call in kept["tool_calls"]] == ["delete_task"]
    repeated = await replicas.two.post(path, json={"decisions": decisions})
    assert repeated.json() == answer


async def newest_conversation(client: httpx.AsyncClient) -> int:
    listed = (await client.get("/api/conversations")).json()["conversations"]
    number: int = listed[0]["id"]
    return number


async def test_a_stop_names_its_turn_and_hits_no_later_one(
    replicas: Replicas, model: ScriptedModel
) -> None:
    model.extend([says("First.")])
    first = await post(replicas.one, "first")
    speech = Speech()
    model.extend([speech.step])
    second = body("second", message_id="m2")
    async with streaming(replicas.one, "POST", "/api/ui/chat", json=second) as events:
        speech.say("Second ")
        await events.until("text-delta")
        told = await stop(replicas.two, messageId=first.seen[0]["messageId"])
        assert (told["stopped"], told["status"]) == (False, "complete")
        speech.end()
        await events.rest()
        assert kinds(events.seen)[-1] == "finish"


async def test_a_stop_waits_for_a_tool_in_its_transaction(
    replicas: Replicas, model: ScriptedModel, shared_database_url: str
) -> None:
    task = (await replicas.one.post("/api/tasks", json={"title": "Buy milk"})).json()
    both = [
        function_call(name, arguments, call_id=name)
        for name, arguments in (
            ("complete_task", {"task_id": task["id"]}),
            ("delete_task", {"task_id": task["id"]}),
        )
    ]
    model.extend([both])
    async with await AsyncConnection.connect(shared_database_url) as locking:
        await locking.execute("SELECT 1 FROM tasks WHERE id = %s FOR UPDATE", [task["id"]])
        sent = asyncio.create_task(replicas.one.post("/api/ui/chat", json=body("do both")))
        await someone_waits_for(shared_database_url, locking.info.backend_pid)
        stopping = asyncio.create_task(stop(replicas.two, messageId="m1"))
        await asyncio.wait([sent], timeout=0.5)
        assert not sent.done()
    assert (await stopping)["stopped"]
    answer = await sent
    assert "abort" in answer.text
    stands = (await replicas.one.get(f"/api/tasks/{task['id']}")).json()
    assert stands["completed"] is True


async def test_a_stop_of_what_is_not_there_is_not_found(
    replicas: Replicas, model: ScriptedModel
) -> None:
    model.extend([says("First.")])
    first = await post(replicas.one, "first")
    number = first.seen[0]["messageMetadata"]["conversation_id"]
    for client, chat, named in (
        (replicas.one, "unknown", None),
        (replicas.one, "999999", None),
        (replicas.one, "c1", "999999"),
        (replicas.one, "c1", "m2"),
        (replicas.bob, "c1", None),
        (replicas.bob, str(number), None),
    ):
        answer = await client.post(f"/api/ui/chat/{chat}/stop", json={"messageId": named})
        assert answer.status_code == 404, (chat, named)
    assert (await replicas.bob.post(f"/api/conversations/{number}/stop")).status_code == 404
    assert (await replicas.one.post("/api/ui/chat/a%2Fb/stop")).status_code == 422


async def test_a_stop_at_any_moment_leaves_what_was_seen(
    replicas: Replicas, model: ScriptedModel
) -> None:
    for moment in (0, 1, 3, 4, 5, 7, 8, 10):
        look = Speech(function_call("add_task", {"title": "Buy milk"}, call_id="a"))
        rest = Speech()
        model.extend([look.step, rest.step])
        for speech in (look, rest):
            speech.say("One ", "two ", "three")
        sent = body("add milk", chat=f"c{moment}")
        async with streaming(replicas.one, "POST", "/api/ui/chat", json=sent) as events:
            if moment > 4:
                look.end()
            for _ in range(moment):
                await events.next()
            stopping = asyncio.create_task(stop(replicas.two, chat=f"c{moment}"))
            if moment <= 4:
                look.end()
            rest.end()
            await events.rest()
            told = await stopping
        answered = (await history(replicas.two, f"c{moment}"))[-1]
        assert texts(answered) == said(events.seen)
        assert told["stopped"] is (kinds(events.seen)[-1] == "abort")
        assert answered["metadata"].get("stopped", False) is told["stopped"]
        model._steps.clear()  # what a stopped turn has not asked for
