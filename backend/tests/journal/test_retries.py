"""A message sent again is the same turn: by its key, or after a failure by its text."""

import asyncio
from typing import Any

import httpx
import pytest
from agents.testing import ModelStep, ScriptedModel
from fastapi import FastAPI
from sqlalchemy import text

from backend.tests.support.databases import Sessions
from backend.tests.support.fixtures import Run
from backend.tests.support.scripting import calls, given, outputs, says
from backend.tests.test_chat import chat, messages_of
from backend.tests.turns.test_failures import LOST, refused


async def send(
    client: httpx.AsyncClient, message: str, key: str | None = None, **body: Any
) -> httpx.Response:
    headers = [] if key is None else [(b"Idempotency-Key", key.encode())]
    return await client.post("/api/chat", json={"message": message, **body}, headers=headers)


async def run_sql(sessions: Sessions, sql: str, **values: Any) -> None:
    async with sessions.begin() as session:
        connection = await session.connection()
        await connection.execute(text(sql), values)


async def conversations_of(sessions: Sessions, user_id: str) -> int:
    async with sessions() as session:
        connection = await session.connection()
        counted = text("SELECT count(*) FROM conversations WHERE user_id = :id")
        return int((await connection.execute(counted, {"id": user_id})).scalar_one())


async def total(client: httpx.AsyncClient) -> int:
    return int((await client.get("/api/tasks")).json()["total"])


# With a key


async def test_the_same_key_gives_the_same_answer_without_a_second_run(
    alice: httpx.AsyncClient, model: ScriptedModel
) -> None:
    model.extend([calls("add_task", {"title": "Milk"}), says("Added.")])
    first = await send(alice, "Add milk", key="k1")
    again = await send(alice, "Add milk", key="k1")
    assert (first.status_code, again.status_code) == (200, 200)
    assert again.json() == first.json()
    assert "idempotency-replayed" not in first.headers
    assert again.headers["idempotency-replayed"] == "true"
    assert await total(alice) == 1
    assert len(await messages_of(alice, first.json()["conversation_id"])) == 2


async def test_a_key_belongs_to_its_user(
    alice: httpx.AsyncClient, bob: httpx.AsyncClient, model: ScriptedModel
) -> None:
    model.extend([says("For Alice."), says("For Bob.")])
    assert (await send(alice, "hi", key="same")).json()["response"] == "For Alice."
    answer = await send(bob, "hi", key="same")
    assert answer.json()["response"] == "For Bob."
    assert "idempotency-replayed" not in answer.headers


async def test_the_same_key_with_another_body_is_refused(
    alice: httpx.AsyncClient, model: ScriptedModel
) -> None:
    model.extend([says("One."), says("Two.")])
    elsewhere = (await send(alice, "hi")).json()["conversation_id"]
    first = (await send(alice, "hi", key="k")).json()["conversation_id"]
    for other in (
        await send(alice, "ho", key="k"),
        await send(alice, "ho", key="k", conversation_id=first),
        await send(alice, "hi", key="k", conversation_id=elsewhere),
    ):
        assert other.status_code == 422
        assert other.json()["error"]["details"][0]["field"] == "Idempotency-Key"


async def test_the_same_key_with_the_id_that_the_503_named_is_the_same_turn(
    alice: httpx.AsyncClient, model: ScriptedModel
) -> None:
    model.extend([calls("add_task", {"title": "Milk"}), LOST, LOST, says("Added.")])
    details = (await send(alice, "Add milk", key="k")).json()["error"]["details"]
    here = {"conversation_id": str(details["conversation_id"])}
    assert (await send(alice, "Add milk", key="k")).status_code == 503
    done = await send(alice, "Add milk", key="k", **here)
    again = await send(alice, "Add milk", key="k", **here)
    without = await send(alice, "Add milk", key="k")
    assert [each.json()["response"] for each in (done, again, without)] == ["Added."] * 3
    assert again.headers["idempotency-replayed"] == without.headers["idempotency-replayed"]
    assert await total(alice) == 1


@pytest.mark.parametrize("fails", [True, False])
async def test_the_same_key_is_the_same_turn_in_whichever_form_its_id_is_sent(
    alice: httpx.AsyncClient, model: ScriptedModel, fails: bool
) -> None:
    """A number until the page is loaded again, then a text; none at first is as good as null."""
    model.extend([says("Hello.")])
    number = (await chat(alice, "hello"))["conversation_id"]
    for key, forms in {"here": [number, str(number)], "new": [None]}.items():
        model.extend([calls("add_task", {"title": "Milk"}), *([LOST] * fails), says("Added.")])
        named = [{"conversation_id": form} for form in forms]
        first = await send(alice, "Add milk", key=key, **({} if key == "new" else named[0]))
        assert first.status_code == (503 if fails else 200), first.text
        for place in named:
            again = await send(alice, "  Add milk ", key=key, **place)
            assert again.json().get("response") == "Added.", again.text
    assert await total(alice) == 2


async def test_the_same_key_is_the_same_turn_at_each_door_to_its_conversation(
    alice: httpx.AsyncClient, model: ScriptedModel
) -> None:
    model.extend([calls("add_task", {"title": "Milk"}), LOST, says("Added.")])
    details = (await send(alice, "Add milk", key="k")).json()["error"]["details"]
    here = f"/api/conversations/{details['conversation_id']}/chat"
    headers = {"Idempotency-Key": "k"}
    done = await alice.post(here, json={"content": "Add milk"}, headers=headers)
    again = await send(alice, "Add milk", key="k")
    streamed = headers | {"Accept": "text/event-stream"}
    live = await alice.post(here, json={"content": "Add milk"}, headers=streamed)
    assert [each.status_code for each in (done, again, live)] == [200] * 3
    assert all("Added." in each.text for each in (done, again, live))
    assert await total(alice) == 1


@pytest.mark.parametrize("key", ["", "x" * 256, "tab\t", "\x7f", "line\u2028"])
async def test_a_key_that_is_empty_too_long_or_not_printable_is_refused(
    alice: httpx.AsyncClient, key: str
) -> None:
    answer = await send(alice, "hi", key=key)
    assert answer.status_code == 422
    assert answer.json()["error"]["code"] == "VALIDATION_ERROR"


@pytest.mark.parametrize("key", ["x", "x" * 255, "Schlüssel 1", "日本"])
async def test_any_printable_key_is_taken(
    alice: httpx.AsyncClient, model: ScriptedModel, key: str
) -> None:
    model.extend([says("One.")])
    assert (await send(alice, "hi", key=key)).status_code == 200
    assert (await send(alice, "hi", key=key)).headers["idempotency-replayed"] == "true"


async def test_a_second_request_waits_for_the_first_and_gets_its_answer(
    alice: httpx.AsyncClient, model: ScriptedModel, run: Run
) -> None:
    thinking, go_on = asyncio.Event(), asyncio.Event()

    async def think(_: object) -> ModelStep:
        thinking.set()
        await go_on.wait()
        return ModelStep(output=says("Done."))

    model.extend([ModelStep.respond(think)])
    async with run(alice) as other_replica:
        first = asyncio.create_task(send(alice, "hi", key="k"))
        await thinking.wait()
        second = asyncio.create_task(send(other_replica, "hi", key="k"))
        third = asyncio.create_task(send(alice, "hi", key="k"))
        go_on.set()
        answers = await asyncio.gather(first, second, third)
    assert {answer.json()["response"] for answer in answers} == {"Done."}
    assert len({answer.json()["conversation_id"] for answer in answers}) == 1


async def test_one_that_waits_past_the_limit_is_told_to_come_again(
    alice: httpx.AsyncClient, model: ScriptedModel, run: Run
) -> None:
    thinking, go_on = asyncio.Event(), asyncio.Event()

    async def think(_: object) -> ModelStep:
        thinking.set()
        await go_on.wait()
        return ModelStep(output=says("Done."))

    model.extend([ModelStep.respond(think)])
    first = asyncio.create_task(send(alice, "hi", key="k"))
    await thinking.wait()
    async with run(alice, ai_timeout_seconds=0.5) as hasty:
        second = await send(hasty, "hi", key="k")
    assert second.status_code == 409
    assert second.json()["error"]["code"] == "TURN_IN_PROGRESS"
    assert int(second.headers["retry-after"]) > 0
    go_on.set()
    assert (await first).status_code == 200


async def test_many_at_once_under_one_key_run_once(
    alice: httpx.AsyncClient, model: ScriptedModel
) -> None:
    model.extend([calls("add_task", {"title": "Milk"}), says("Added.")])
    answers = await asyncio.gather(*(send(alice, "Add milk", key="k") for _ in range(6)))
    assert [answer.status_code for answer in answers] == [200] * 6
    assert await total(alice) == 1


async def test_a_key_whose_turn_failed_runs_again_as_the_same_turn(
    alice: httpx.AsyncClient, model: ScriptedModel
) -> None:
    model.extend([calls("add_task", {"title": "Milk"}), LOST, says("It is added.")])
    failed = await send(alice, "Add milk", key="k")
    assert failed.status_code == 503
    done = await send(alice, "Add milk", key="k")
    assert done.json()["response"] == "It is added."
    assert "idempotency-replayed" not in done.headers
    assert [call["tool"] for call in done.json()["tool_calls"]] == ["add_task"]
    assert outputs(model)[-1]["title"] == "Milk"
    assert given(model)[-1]["type"] == "function_call_output"
    messages = await messages_of(alice, done.json()["conversation_id"])
    assert [m["content"] for m in messages] == ["Add milk", "It is added."]
    assert messages[1]["id"] == failed.json()["error"]["details"]["message_id"]


async def test_a_key_is_kept_for_a_day(
    alice: httpx.AsyncClient, alice_id: str, model: ScriptedModel, sessions: Sessions
) -> None:
    model.extend([says("One."), says("Two.")])
    await send(alice, "hi", key="k")
    day = "UPDATE messages SET created_at = now() - interval '24 hours 1 second'"
    await run_sql(sessions, f"{day} WHERE user_id = :id", id=alice_id)
    assert (await send(alice, "hi", key="k")).json()["response"] == "Two."


async def test_a_key_of_a_deleted_conversation_is_not_found(
    alice: httpx.AsyncClient, alice_id: str, model: ScriptedModel, sessions: Sessions
) -> None:
    model.extend([says("One.")])
    await send(alice, "hi", key="k")
    gone = "UPDATE conversations SET deleted_at = now() WHERE user_id = :id"
    await run_sql(sessions, gone, id=alice_id)
    assert (await send(alice, "hi", key="k")).status_code == 404


# Without a key, as the client in service retries


async def test_the_same_text_after_a_failure_takes_up_the_turn(
    alice: httpx.AsyncClient, alice_id: str, model: ScriptedModel, sessions: Sessions
) -> None:
    """The first message failed, so the client never learnt the conversation's id."""
    model.extend([calls("add_task", {"title": "Milk"}), LOST, says("It is added.")])
    details = (await refused(alice, "Add milk"))["details"]
    turn = await chat(alice, "Add milk")
    assert turn["conversation_id"] == details["conversation_id"]
    assert await total(alice) == 1
    assert await conversations_of(sessions, alice_id) == 1
    contents = [m["content"] for m in await messages_of(alice, turn["conversation_id"])]
    assert contents == ["Add milk", "It is added."]


async def test_the_same_text_in_the_conversation_takes_up_its_newest_turn(
    alice: httpx.AsyncClient, model: ScriptedModel
) -> None:
    model.extend([says("Hello."), calls("add_task", {"title": "Milk"}), LOST, says("Added.")])
    conversation_id = (await chat(alice, "hi"))["conversation_id"]
    await refused(alice, "Add milk", conversation_id=conversation_id)
    turn = await chat(alice, "Add milk", conversation_id=conversation_id)
    assert await total(alice) == 1
    assert [item.get("content") for item in given(model)][:2] == ["hi", "Hello."]
    contents = [m["content"] for m in await messages_of(alice, conversation_id)]
    assert contents == ["hi", "Hello.", "Add milk", "Added."]
    assert len(turn["tool_calls"]) == 1


async def test_a_model_that_asks_again_for_what_is_done_gets_the_result_and_nothing_happens(
    alice: httpx.AsyncClient, model: ScriptedModel
) -> None:
    add = {"title": "Milk"}
    model.extend([calls("add_task", add), LOST])
    model.extend([calls("add_task", {**add, "description": None}), says("Added.")])
    await refused(alice, "Add milk")
    turn = await chat(alice, "Add milk")
    assert await total(alice) == 1
    assert len(turn["tool_calls"]) == 1
    assert outputs(model)[-1] == outputs(model)[-2]


async def test_what_is_asked_for_once_more_than_before_is_done(
    alice: httpx.AsyncClient, model: ScriptedModel
) -> None:
    model.extend([calls("add_task", {"title": "Milk"}), LOST])
    model.extend([calls("add_task", {"title": "Milk"}), calls("add_task", {"title": "Milk"})])
    model.extend([says("Two.")])
    await refused(alice, "Add milk twice")
    turn = await chat(alice, "Add milk twice")
    assert len(turn["tool_calls"]) == await total(alice) == 2


async def test_a_turn_can_fail_and_be_taken_up_many_times(
    alice: httpx.AsyncClient, model: ScriptedModel
) -> None:
    model.extend([calls("add_task", {"title": "One"}), LOST, LOST])
    model.extend([calls("add_task", {"title": "Two"}), LOST, says("Both.")])
    for _ in range(3):
        details = (await refused(alice, "Add one and two"))["details"]
    assert [call["args"]["title"] for call in details["tool_calls"]] == ["One", "Two"]
    turn = await chat(alice, "Add one and two")
    assert turn["response"] == "Both."
    assert await total(alice) == 2
    assert len(await messages_of(alice, turn["conversation_id"])) == 2


@pytest.mark.parametrize("change", ["other text", "too late", "not the newest", "other person"])
async def test_what_is_no_retry_is_a_message_of_its_own(
    alice: httpx.AsyncClient,
    bob: httpx.AsyncClient,
    alice_id: str,
    model: ScriptedModel,
    sessions: Sessions,
    change: str,
) -> None:
    model.extend([LOST, says("One."), says("Two.")])
    details = (await refused(alice, "Add milk"))["details"]
    here = {"conversation_id": details["conversation_id"]}
    match change:
        case "other text":
            turn = await chat(alice, "Add milk!", **here)
        case "too late":
            late = "UPDATE messages SET ended_at = now() - interval '10 minutes 1 second'"
            await run_sql(
                sessions, f"{late} WHERE user_id = :id AND role = 'assistant'", id=alice_id
            )
            turn = await chat(alice, "Add milk", **here)
        case "not the newest":
            await chat(alice, "something else", **here)
            turn = await chat(alice, "Add milk", **here)
        case _:
            turn = await chat(bob, "Add milk")
            assert turn["conversation_id"] != details["conversation_id"]
            return
    contents = [m["content"] for m in await messages_of(alice, turn["conversation_id"])]
    assert contents[0] == "Add milk"
    assert len(contents) >= 3


async def test_a_completed_turn_is_never_taken_for_a_retry(
    alice: httpx.AsyncClient, model: ScriptedModel
) -> None:
    model.extend([says("One."), says("Two.")])
    first = await chat(alice, "hi")
    second = await chat(alice, "hi")
    assert first["conversation_id"] != second["conversation_id"]


async def test_the_same_text_at_once_is_two_messages_while_both_processes_live(
    alice: httpx.AsyncClient, model: ScriptedModel, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of another process that is so is known once it has renewed its lease."""
    monkeypatch.setattr("backend.turns.leases.RENEW_EVERY", 0.1)
    thinking, go_on = asyncio.Event(), asyncio.Event()

    async def think(_: object) -> ModelStep:
        thinking.set()
        await go_on.wait()
        return ModelStep(output=says("One."))

    model.extend([ModelStep.respond(think), says("Two."), says("Three.")])
    async with run(alice) as one, run(alice) as other:
        first = asyncio.create_task(chat(one, "hi"))
        await thinking.wait()
        second = await chat(one, "hi")
        third = await chat(other, "hi")
        go_on.set()
        turns = [await first, second, third]
    assert len({turn["conversation_id"] for turn in turns}) == 3


async def test_a_turn_whose_process_died_is_taken_up_when_its_lease_lapses(
    alice: httpx.AsyncClient, alice_id: str, model: ScriptedModel, sessions: Sessions
) -> None:
    model.extend([calls("add_task", {"title": "Milk"}), LOST, says("Added.")])
    details = (await refused(alice, "Add milk"))["details"]
    died = "UPDATE messages SET status = 'running', ended_at = NULL, lease_until = now() + :left"
    await run_sql(
        sessions,
        f"{died} WHERE id = :id".replace(":left", "interval '1 second'"),
        id=details["message_id"],
    )
    turn = await chat(alice, "Add milk")
    assert turn["conversation_id"] == details["conversation_id"]
    assert await total(alice) == 1


async def test_a_run_that_comes_back_after_its_turn_was_taken_up_can_write_nothing(
    app: FastAPI,
    alice: httpx.AsyncClient,
    alice_id: str,
    model: ScriptedModel,
    run: Run,
    sessions: Sessions,
) -> None:
    thinking, go_on = asyncio.Event(), asyncio.Event()

    async def think(_: object) -> ModelStep:
        thinking.set()
        await go_on.wait()
        return ModelStep(output=calls("add_task", {"title": "From the dead"}))

    model.extend([ModelStep.respond(think), says("Taken up.")])
    zombie = asyncio.create_task(send(alice, "Add milk", key="k"))
    await thinking.wait()
    lapsed = "UPDATE messages SET lease_until = now() - interval '1 second'"
    await run_sql(sessions, f"{lapsed} WHERE user_id = :id AND role = 'assistant'", id=alice_id)
    async with run(alice) as other_replica:
        turn = await send(other_replica, "Add milk", key="k")
    go_on.set()
    assert (await zombie).json()["error"]["code"] == "TURN_IN_PROGRESS"
    assert turn.json()["response"] == "Taken up."
    assert await total(alice) == 0
    contents = [m["content"] for m in await messages_of(alice, turn.json()["conversation_id"])]
    assert contents == ["Add milk", "Taken up."]


async def test_a_long_run_keeps_its_lease(
    alice: httpx.AsyncClient, alice_id: str, model: ScriptedModel, sessions: Sessions
) -> None:
    async def see_it_renewed(_: object) -> ModelStep:
        newest = text("SELECT max(lease_until) FROM messages WHERE user_id = :id")
        first = None
        while True:
            async with sessions() as session:
                connection = await session.connection()
                lease = (await connection.execute(newest, {"id": alice_id})).scalar_one()
            first = first or lease
            if lease > first:
                return ModelStep(output=says("Renewed."))

    model.extend([ModelStep.respond(see_it_renewed)])
    assert (await chat(alice, "hi"))["response"] == "Renewed."
