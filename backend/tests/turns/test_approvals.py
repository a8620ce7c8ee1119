"""Calls that wait for a person: asked for, decided once, and carried out once."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from agents.testing import ModelStep, ScriptedModel

from backend.tests.journal.test_retries import run_sql, send
from backend.tests.support.databases import Sessions
from backend.tests.support.fixtures import Run
from backend.tests.support.scripting import calls, given, outputs, says, together
from backend.tests.test_chat import chat, messages_of

LOST = ModelStep.raise_error(RuntimeError())


@pytest.fixture
async def asked(alice: httpx.AsyncClient, run: Run) -> AsyncIterator[httpx.AsyncClient]:
    """Alice where a task is only deleted when she says so."""
    often = {"rate_limit_chat": "1000/minute", "rate_limit_history": "1000/minute"}
    async with run(alice, approval_tools="delete_task", **often) as client:
        yield client


async def task(client: httpx.AsyncClient, title: str = "Milk") -> int:
    return int((await client.post("/api/tasks", json={"title": title})).json()["id"])


async def titles(client: httpx.AsyncClient) -> list[str]:
    return [each["title"] for each in (await client.get("/api/tasks")).json()["tasks"]]


async def waiting(
    client: httpx.AsyncClient, model: ScriptedModel, *ids: int, **body: Any
) -> dict[str, Any]:
    """A turn that waits for the person to approve that these tasks are deleted."""
    model.extend([together(*(calls("delete_task", {"task_id": id_}) for id_ in ids))])
    return await chat(client, "Delete it", approvals=True, **body)


async def decide(
    client: httpx.AsyncClient, turn: dict[str, Any], *words: bool | None, **other: Any
) -> httpx.Response:
    """Decide the turn's approvals in their order; None leaves one out."""
    decisions = [
        {"id": approval["id"], "approved": word, **other}
        for approval, word in zip(turn["approvals"], words, strict=False)
        if word is not None
    ]
    path = f"/api/messages/{turn['message_id']}/approvals"
    return await client.post(path, json={"decisions": decisions})


def code(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["error"]["code"]


async def test_a_call_waits_and_is_done_once_the_person_approves(
    asked: httpx.AsyncClient, model: ScriptedModel
) -> None:
    id_ = await task(asked)
    turn = await waiting(asked, model, id_)
    (approval,) = turn["approvals"]
    assert (approval["tool"], approval["args"], approval["approved"]) == (
        "delete_task",
        {"task_id": id_},
        None,
    )
    assert turn["tool_calls"] is None
    assert turn["response"] == f"Before I go on I need your approval: delete task (task_id {id_})."
    shown = (await messages_of(asked, turn["conversation_id"]))[1]
    assert (shown["approvals"], shown["tool_calls"]) == (turn["approvals"], None)
    assert await titles(asked) == ["Milk"]
    model.extend([says("Deleted.")])
    answer = await decide(asked, turn, True)
    assert answer.status_code == 200, answer.text
    assert (answer.json()["content"], answer.json()["approvals"]) == ("Deleted.", None)
    assert answer.json()["id"] == turn["message_id"]
    assert [call["tool"] for call in answer.json()["tool_calls"]] == ["delete_task"]
    assert await titles(asked) == []
    assert outputs(model)[-1]["success"] is True
    again = await decide(asked, turn, True)
    assert again.json() == answer.json()
    assert code(await decide(asked, turn, False)) == (409, "ALREADY_DECIDED")
    undone = await asked.post(f"/api/messages/{turn['message_id']}/undo")
    assert undone.status_code == 200
    assert await titles(asked) == ["Milk"]


async def test_a_declined_call_is_a_result_that_the_model_reads(
    asked: httpx.AsyncClient, model: ScriptedModel
) -> None:
    turn = await waiting(asked, model, await task(asked))
    model.extend([says("As you wish.")])
    answer = (await decide(asked, turn, False, reason="I need it")).json()
    assert answer["content"] == "As you wish."
    assert outputs(model)[-1]["error_code"] == "DECLINED"
    assert outputs(model)[-1]["reason"] == "I need it"
    assert answer["tool_calls"][0]["result"]["success"] is False
    assert await titles(asked) == ["Milk"]


async def test_calls_that_need_no_word_run_first_and_all_must_be_decided(
    asked: httpx.AsyncClient, model: ScriptedModel
) -> None:
    one, two = await task(asked, "One"), await task(asked, "Two")
    delete = [calls("delete_task", {"task_id": each}) for each in (one, two)]
    model.extend([together(delete[0], calls("add_task", {"title": "Three"}), delete[1])])
    turn = await chat(asked, "Tidy up", approvals=True)
    assert [call["tool"] for call in turn["tool_calls"]] == ["add_task"]
    assert len(turn["approvals"]) == 2
    half = (await decide(asked, turn, True, None)).json()
    assert [each["approved"] for each in half["approvals"]] == [True, None]
    assert sorted(await titles(asked)) == ["One", "Three", "Two"]
    model.extend([says("Tidy.")])
    done = (await decide(asked, turn, True, False)).json()
    assert [call["tool"] for call in done["tool_calls"]] == [
        "add_task",
        "delete_task",
        "delete_task",
    ]
    assert [call["result"]["success"] for call in done["tool_calls"]] == [True, True, False]
    assert sorted(await titles(asked)) == ["Three", "Two"]


@pytest.mark.parametrize("several", [False, True])
async def test_nobody_is_asked_about_tasks_that_are_not_there(
    asked: httpx.AsyncClient, bob: httpx.AsyncClient, model: ScriptedModel, several: bool
) -> None:
    gone, hers = await task(asked), await task(bob, "Hers")
    await asked.delete(f"/api/tasks/{gone}")
    given_id = [gone, hers] if several else hers
    model.extend([calls("delete_task", {"task_id": given_id}), says("There is none.")])
    turn = await chat(asked, "Delete it", approvals=True)
    assert (turn["approvals"], turn["response"]) == (None, "There is none.")
    (call,) = turn["tool_calls"]
    assert call["args"] == {"task_id": given_id}
    assert (call["result"]["success"], call["result"]["error_code"]) == (False, "TASK_NOT_FOUND")
    assert await titles(bob) == ["Hers"]


async def test_only_a_client_that_can_ask_is_asked(
    asked: httpx.AsyncClient, model: ScriptedModel
) -> None:
    id_ = await task(asked)
    model.extend([calls("delete_task", {"task_id": id_}), says("Deleted.")])
    turn = await chat(asked, "Delete it")
    assert set(turn) == {"conversation_id", "response", "tool_calls"}
    assert await titles(asked) == []


async def test_two_who_decide_at_once_have_one_winner(
    asked: httpx.AsyncClient, alice: httpx.AsyncClient, model: ScriptedModel, run: Run
) -> None:
    turn = await waiting(asked, model, await task(asked))
    model.extend([says("Decided.")])
    async with run(alice, rate_limit_chat="1000/minute") as replica:
        words = [(asked, True), (replica, False), (replica, True), (asked, False)]
        answers = await asyncio.gather(*(decide(at, turn, word) for at, word in words))
    won = {word for (_, word), answer in zip(words, answers, strict=True) if not answer.is_error}
    assert len(won) == 1
    assert sorted(answer.status_code for answer in answers) == [200, 200, 409, 409]
    assert await titles(asked) == ([] if won == {True} else ["Milk"])


async def test_a_decision_whose_turn_fails_can_be_sent_again_and_is_carried_out_once(
    asked: httpx.AsyncClient, model: ScriptedModel
) -> None:
    turn = await waiting(asked, model, await task(asked))
    model.extend([LOST])
    failed = await decide(asked, turn, True)
    assert code(failed) == (503, "AI_SERVICE_UNAVAILABLE")
    assert "deleted task" in failed.json()["error"]["message"]
    assert await titles(asked) == []
    model.extend([says("It is deleted.")])
    answer = (await decide(asked, turn, True)).json()
    assert (answer["content"], len(answer["tool_calls"])) == ("It is deleted.", 1)


async def test_a_new_message_declines_what_is_pending_and_the_record_says_so(
    asked: httpx.AsyncClient, model: ScriptedModel
) -> None:
    turn = await waiting(asked, model, await task(asked))
    here = {"conversation_id": turn["conversation_id"]}
    model.extend([says("Hello.")])
    await chat(asked, "Something else", **here)
    declined = (await messages_of(asked, turn["conversation_id"]))[1]
    assert declined["content"].startswith("This was not approved, so I did not do it: delete task")
    assert declined["approvals"] is None
    assert declined["tool_calls"][0]["result"]["error_code"] == "DECLINED"
    assert outputs(model)[0]["error_code"] == "DECLINED"
    assert code(await decide(asked, turn, True)) == (409, "ALREADY_DECIDED")
    assert (await decide(asked, turn, False)).json()["content"] == declined["content"]
    assert await titles(asked) == ["Milk"]


async def test_undo_declines_what_is_pending(
    asked: httpx.AsyncClient, model: ScriptedModel
) -> None:
    id_ = await task(asked)
    model.extend(
        [together(calls("add_task", {"title": "Bread"}), calls("delete_task", {"task_id": id_}))]
    )
    turn = await chat(asked, "Swap them", approvals=True)
    undone = await asked.post(f"/api/messages/{turn['message_id']}/undo")
    assert undone.json()["content"].endswith(f"delete task (task_id {id_}).")
    assert await titles(asked) == ["Milk"]
    assert code(await decide(asked, turn, True)) == (409, "ALREADY_DECIDED")


async def test_after_a_day_it_is_too_late(
    asked: httpx.AsyncClient, alice_id: str, model: ScriptedModel, sessions: Sessions
) -> None:
    turn = await waiting(asked, model, await task(asked))
    day = "UPDATE messages SET ended_at = ended_at - interval '1 day' WHERE user_id = :id"
    await run_sql(sessions, day, id=alice_id)
    assert code(await decide(asked, turn, True)) == (409, "NOT_PENDING")
    said = (await messages_of(asked, turn["conversation_id"]))[1]["content"]
    assert said.startswith("This was not approved")
    assert await titles(asked) == ["Milk"]


async def test_after_a_day_nothing_is_pending_any_more_for_whoever_looks(
    asked: httpx.AsyncClient, alice_id: str, model: ScriptedModel, sessions: Sessions
) -> None:
    """Though nobody has come by in between to write it down."""
    turn = await waiting(asked, model, await task(asked))
    day = "UPDATE messages SET ended_at = ended_at - interval '1 day' WHERE user_id = :id"
    await run_sql(sessions, day, id=alice_id)
    number = turn["conversation_id"]
    shown = (await messages_of(asked, number))[1]
    exported = (await asked.get(f"/api/conversations/{number}/export")).json()["messages"][1]
    page = (await asked.get(f"/api/ui/chat/{number}")).json()[1]
    for message in (shown, exported):
        assert message["content"].startswith("This was not approved")
        assert message["approvals"] is None
        assert message["tool_calls"][0]["result"]["error_code"] == "DECLINED"
    assert page["parts"][1]["state"] == "output-denied"
    assert page["parts"][-1]["text"].startswith("This was not approved")
    assert await titles(asked) == ["Milk"]
    model.extend([says("As you wish.")])
    again = await asked.post(f"/api/messages/{turn['message_id']}/regenerate")
    assert again.json()["content"] == "As you wish."


async def test_the_budget_is_looked_at_before_a_decision_is_taken(
    asked: httpx.AsyncClient, alice: httpx.AsyncClient, model: ScriptedModel, run: Run
) -> None:
    turn = await waiting(asked, model, await task(asked))
    thinking, go_on = asyncio.Event(), asyncio.Event()

    async def think(_: object) -> ModelStep:
        thinking.set()
        await go_on.wait()
        return ModelStep(output=says("Done."))

    model.extend([ModelStep.respond(think)])
    async with run(alice, chat_concurrency=1, rate_limit_chat="1000/minute") as narrow:
        other = asyncio.create_task(chat(narrow, "think"))  # what waits counts for nothing
        await thinking.wait()
        assert code(await decide(narrow, turn, True)) == (429, "RATE_LIMIT_EXCEEDED")
        go_on.set()
        await other
        model.extend([says("Deleted.")])
        assert (await decide(narrow, turn, True)).json()["content"] == "Deleted."


async def test_the_same_key_gets_what_is_pending_again(
    asked: httpx.AsyncClient, model: ScriptedModel
) -> None:
    id_ = await task(asked)
    model.extend([calls("delete_task", {"task_id": id_})])
    first = await send(asked, "Delete it", key="k", approvals=True)
    again = await send(asked, "Delete it", key="k", approvals=True)
    assert again.json() == first.json()
    assert again.headers["idempotency-replayed"] == "true"
    model.extend([says("Deleted.")])
    await decide(asked, first.json(), True)
    done = await send(asked, "Delete it", key="k", approvals=True)
    assert (done.json()["response"], done.json()["approvals"]) == ("Deleted.", None)


async def test_a_turn_may_ask_more_than_once(
    asked: httpx.AsyncClient, model: ScriptedModel
) -> None:
    one, two = await task(asked, "One"), await task(asked, "Two")
    turn = await waiting(asked, model, one)
    model.extend([calls("delete_task", {"task_id": two})])
    more = (await decide(asked, turn, True)).json()
    assert await titles(asked) == ["Two"]
    assert [each["args"] for each in more["approvals"]] == [{"task_id": two}]
    model.extend([says("Both are gone.")])
    more["message_id"] = more["id"]
    assert (await decide(asked, more, True)).json()["content"] == "Both are gone."
    assert await titles(asked) == []
    assert given(model)[-1]["type"] == "function_call_output"


@pytest.mark.parametrize("what", ["unknown", "person's", "none", "empty", "words"])
async def test_a_decision_that_names_nothing_pending_is_refused(
    asked: httpx.AsyncClient, model: ScriptedModel, what: str
) -> None:
    turn = await waiting(asked, model, await task(asked))
    path, decision = turn["message_id"], {"id": turn["approvals"][0]["id"], "approved": True}
    expected = (404, "MESSAGE_NOT_FOUND")
    match what:
        case "unknown":
            decision["id"], expected = "approval_1_1_1x", (409, "NOT_PENDING")
        case "person's":
            path = (await messages_of(asked, turn["conversation_id"]))[0]["id"]
        case "none":
            path = "undefined"
        case "empty":
            decision["id"], expected = "", (422, "VALIDATION_ERROR")
        case _:
            decision["approved"], expected = "yes", (422, "VALIDATION_ERROR")
    body = {"decisions": [decision]}
    assert code(await asked.post(f"/api/messages/{path}/approvals", json=body)) == expected
    assert await titles(asked) == ["Milk"]


async def test_nobody_else_decides(
    asked: httpx.AsyncClient, bob: httpx.AsyncClient, model: ScriptedModel
) -> None:
    turn = await waiting(asked, model, await task(asked))
    assert code(await decide(bob, turn, True)) == (404, "MESSAGE_NOT_FOUND")
    gone = await asked.delete(f"/api/conversations/{turn['conversation_id']}")
    assert gone.status_code == 204
    assert code(await decide(asked, turn, True)) == (404, "MESSAGE_NOT_FOUND")
    assert await titles(asked) == ["Milk"]
