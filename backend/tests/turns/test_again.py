"""The newest message answered anew, or put otherwise: what it had changed is taken back first."""

import asyncio
from typing import Any

import httpx
import pytest
from agents.testing import ModelStep, ScriptedModel

from backend.tests.journal.test_retries import send
from backend.tests.support.databases import statements_sent
from backend.tests.support.fixtures import Run
from backend.tests.support.scripting import calls, given, outputs, says
from backend.tests.test_chat import chat, messages_of
from backend.tests.turns.test_approvals import code, titles

LOST = ModelStep.raise_error(RuntimeError())


async def added(
    client: httpx.AsyncClient, model: ScriptedModel, title: str = "Milk"
) -> tuple[int, int, int]:
    """A turn that has added a task: its conversation, the person's message and the answer."""
    model.extend([calls("add_task", {"title": title}), says(f"{title} is added.")])
    number = (await chat(client, "Add it"))["conversation_id"]
    asked, said = (await messages_of(client, number))[-2:]
    return number, asked["id"], said["id"]


async def again(client: httpx.AsyncClient, message: object, **body: Any) -> httpx.Response:
    what = "edit" if "content" in body else "regenerate"
    return await client.post(f"/api/messages/{message}/{what}", json=body)


async def test_an_answered_message_runs_anew_and_what_it_had_changed_is_taken_back(
    alice: httpx.AsyncClient, model: ScriptedModel
) -> None:
    number, _, said = await added(alice, model)
    model.extend([calls("add_task", {"title": "Oat milk"}), says("Oat milk it is.")])
    answer = await again(alice, said)
    assert answer.status_code == 200, answer.text
    assert (answer.json()["id"], answer.json()["content"]) == (said, "Oat milk it is.")
    assert await titles(alice) == ["Oat milk"]
    assert [item.get("type") for item in given(model)].count("function_call") == 1
    question, shown = await messages_of(alice, number)
    assert question["content"] == "Add it"
    assert [call["result"]["title"] for call in shown["tool_calls"]] == ["Oat milk"]
    (replaced,) = shown["replaced"]
    assert (replaced["content"], replaced["message"]) == ("Milk is added.", "Add it")
    assert [call["result"]["title"] for call in replaced["tool_calls"]] == ["Milk"]
    undone = await alice.post(f"/api/messages/{said}/undo")
    assert undone.status_code == 200
    assert await titles(alice) == []


async def test_answers_that_were_replaced_are_not_read_for_a_model(
    alice: httpx.AsyncClient, model: ScriptedModel
) -> None:
    """They may be half a megabyte to a message, of a hundred messages, in each turn."""
    number, _, said = await added(alice, model)
    model.extend([says("Nothing to do."), says("Yes.")])
    assert (await again(alice, said)).status_code == 200
    with statements_sent() as statements:
        await chat(alice, "Really?", conversation_id=number)
    assert not [each for each in statements if "messages.replaced_json" in each]


async def test_the_same_call_is_made_again_and_not_taken_for_done(
    alice: httpx.AsyncClient, model: ScriptedModel
) -> None:
    number, _, said = await added(alice, model)
    for times in (1, 2):
        model.extend([calls("add_task", {"title": "Milk"}), says("Again.")])
        assert (await again(alice, said)).json()["content"] == "Again."
        assert await titles(alice) == ["Milk"]
        assert len((await messages_of(alice, number))[1]["replaced"]) == times
    model.extend([says("Yes.")])
    await chat(alice, "Is it there?", conversation_id=number)
    assert len(outputs(model)) == 1


async def test_a_task_changed_since_leaves_everything_as_it_is(
    alice: httpx.AsyncClient, model: ScriptedModel
) -> None:
    number, asked, said = await added(alice, model)
    (task,) = (await alice.get("/api/tasks")).json()["tasks"]
    await alice.put(f"/api/tasks/{task['id']}", json={"title": "Oat milk"})
    before = await messages_of(alice, number)
    for refused in (await again(alice, said), await again(alice, asked, content="Add bread")):
        assert code(refused) == (409, "TASK_CHANGED")
        named = refused.json()["error"]["details"]["tasks"]
        assert named == [{"task_id": task["id"], "title": "Oat milk"}]
    assert await messages_of(alice, number) == before


async def test_what_the_person_had_undone_counts_as_undone(
    alice: httpx.AsyncClient, model: ScriptedModel
) -> None:
    number, _, said = await added(alice, model)
    assert (await alice.post(f"/api/messages/{said}/undo")).status_code == 200
    model.extend([calls("add_task", {"title": "Milk"}), says("Here it is.")])
    assert (await again(alice, said)).json()["content"] == "Here it is."
    assert await titles(alice) == ["Milk"]
    assert (await messages_of(alice, number))[1]["undone_at"] is None


async def test_a_failed_message_is_taken_up(alice: httpx.AsyncClient, model: ScriptedModel) -> None:
    model.extend([calls("add_task", {"title": "Milk"}), LOST])
    failed = await alice.post("/api/chat", json={"message": "Add it"})
    message = failed.json()["error"]["details"]["message_id"]
    model.extend([calls("add_task", {"title": "Milk"}), says("It is added.")])
    answer = (await again(alice, message)).json()
    assert (answer["content"], len(answer["tool_calls"])) == ("It is added.", 1)
    assert await titles(alice) == ["Milk"]
    assert (await messages_of(alice, answer["conversation_id"]))[1]["replaced"] is None


async def test_who_asks_again_at_once_joins_the_one_run(
    alice: httpx.AsyncClient, model: ScriptedModel, run: Run
) -> None:
    _, _, said = await added(alice, model)
    thinking, go_on = asyncio.Event(), asyncio.Event()

    async def think(_: object) -> ModelStep:
        thinking.set()
        await go_on.wait()
        return ModelStep(output=calls("add_task", {"title": "Oat milk"}))

    model.extend([ModelStep.respond(think), says("Oat milk.")])
    async with run(alice) as replica:
        sent = [asyncio.create_task(again(at, said)) for at in (alice, replica, alice)]
        await thinking.wait()
        go_on.set()
        answers = await asyncio.gather(*sent)
    assert {answer.json()["content"] for answer in answers} == {"Oat milk."}
    assert await titles(alice) == ["Oat milk"]


async def test_an_edit_puts_another_message_in_place_of_the_newest(
    alice: httpx.AsyncClient, model: ScriptedModel
) -> None:
    number, asked, said = await added(alice, model)
    model.extend([calls("add_task", {"title": "Bread"}), says("Bread is added.")])
    answer = await again(alice, asked, content="Add bread")
    assert (answer.json()["id"], answer.json()["content"]) == (said, "Bread is added.")
    assert await titles(alice) == ["Bread"]
    question, shown = await messages_of(alice, number)
    assert (question["id"], question["content"]) == (asked, "Add bread")
    assert shown["replaced"][0]["message"] == "Add it"
    assert str(given(model)[1]["content"]) == "Add bread"
    same = await again(alice, said, content="Add bread")
    assert same.json() == answer.json()
    assert await titles(alice) == ["Bread"]


async def test_an_edit_of_a_failed_message_takes_back_what_that_had_done(
    alice: httpx.AsyncClient, model: ScriptedModel
) -> None:
    model.extend([calls("add_task", {"title": "Milk"}), LOST])
    failed = await alice.post("/api/chat", json={"message": "Add it"})
    message = failed.json()["error"]["details"]["message_id"]
    model.extend([calls("add_task", {"title": "Bread"}), says("Bread.")])
    assert (await again(alice, message, content="Add bread")).json()["content"] == "Bread."
    assert await titles(alice) == ["Bread"]


async def test_what_waits_for_approval_is_declined_by_asking_again(
    alice: httpx.AsyncClient, model: ScriptedModel, run: Run
) -> None:
    id_ = (await alice.post("/api/tasks", json={"title": "Milk"})).json()["id"]
    async with run(alice, approval_tools="delete_task") as asked:
        model.extend([calls("delete_task", {"task_id": id_})])
        turn = await chat(asked, "Delete it", approvals=True)
        model.extend([calls("delete_task", {"task_id": id_})])
        answer = (await again(asked, turn["message_id"], approvals=True)).json()
        assert [each["args"] for each in answer["approvals"]] == [{"task_id": id_}]
        assert answer["approvals"][0]["id"] != turn["approvals"][0]["id"]
        word = {"decisions": [{"id": turn["approvals"][0]["id"], "approved": True}]}
        stale = await asked.post(f"/api/messages/{turn['message_id']}/approvals", json=word)
        assert code(stale) == (409, "NOT_PENDING")
    assert await titles(alice) == ["Milk"]


async def test_a_message_that_is_not_the_newest_is_not_asked_again(
    alice: httpx.AsyncClient, model: ScriptedModel
) -> None:
    number, asked, said = await added(alice, model)
    model.extend([says("Hello.")])
    await chat(alice, "hello", conversation_id=number)
    for refused in (await again(alice, said), await again(alice, asked, content="Add bread")):
        assert code(refused) == (409, "MESSAGE_CHANGED")
    assert await titles(alice) == ["Milk"]


async def test_the_key_of_a_message_goes_on_naming_it(
    alice: httpx.AsyncClient, model: ScriptedModel
) -> None:
    model.extend([says("One."), says("Two.")])
    number = (await send(alice, "hello", key="k")).json()["conversation_id"]
    said = (await messages_of(alice, number))[1]["id"]
    await again(alice, said)
    assert (await send(alice, "hello", key="k")).json()["response"] == "Two."


@pytest.mark.parametrize("content", [None, "Add bread"])
async def test_nobody_else_asks_again(
    alice: httpx.AsyncClient, bob: httpx.AsyncClient, model: ScriptedModel, content: str | None
) -> None:
    _, asked, said = await added(alice, model)
    body = {"content": content} if content else {}
    for message in (said, asked, 0, "undefined"):
        assert code(await again(bob, message, **body)) == (404, "MESSAGE_NOT_FOUND")
    assert code(await again(alice, asked)) == (404, "MESSAGE_NOT_FOUND")
    assert await titles(alice) == ["Milk"]
