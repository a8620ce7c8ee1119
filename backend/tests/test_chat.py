"""One message becomes task changes and a saved answer."""

import asyncio
from typing import Any

import httpx
import pytest
from agents.testing import ModelStep, ScriptedModel
from fastapi import FastAPI
from sqlalchemy import text

from backend.agent.words.prompt import INSTRUCTIONS
from backend.tests.support.databases import Sessions
from backend.tests.support.fixtures import Run
from backend.tests.support.scripting import calls, given, outputs, says, together


async def chat(client: httpx.AsyncClient, message: str, **body: Any) -> dict[str, Any]:
    answer = await client.post("/api/chat", json={"message": message, **body})
    assert answer.status_code == 200, answer.text
    turn: dict[str, Any] = answer.json()
    return turn


async def messages_of(client: httpx.AsyncClient, conversation_id: object) -> list[dict[str, Any]]:
    answer = await client.get(f"/api/conversations/{conversation_id}/messages")
    assert answer.status_code == 200, answer.text
    messages: list[dict[str, Any]] = answer.json()
    return messages


async def test_a_message_becomes_a_task_and_a_saved_answer(
    alice: httpx.AsyncClient, model: ScriptedModel
) -> None:
    model.extend([calls("add_task", {"title": "Buy groceries"}), says("Added.")])
    turn = await chat(alice, "Add buy groceries")
    task_id = turn["tool_calls"][0]["result"]["task_id"]
    assert turn["response"] == "Added."
    assert turn["tool_calls"] == [
        {
            "tool": "add_task",
            "args": {"title": "Buy groceries"},
            "result": {
                "success": True,
                "task_id": task_id,
                "title": "Buy groceries",
                "description": "",
                "due_date": None,
                "priority": "medium",
                "status": "pending",
                "message": f'Added "Buy groceries" as task {task_id}.',
            },
        }
    ]
    assert (await alice.get(f"/api/tasks/{task_id}")).json()["title"] == "Buy groceries"
    user, assistant = await messages_of(alice, turn["conversation_id"])
    assert (user["role"], user["content"], user["tool_calls"]) == (
        "user",
        "Add buy groceries",
        None,
    )
    assert (assistant["role"], assistant["content"]) == ("assistant", "Added.")
    assert assistant["tool_calls"] == turn["tool_calls"]
    assert user["created_at"].endswith("Z")
    assert user["id"] < assistant["id"]


async def test_without_tools_tool_calls_is_null(
    alice: httpx.AsyncClient, model: ScriptedModel
) -> None:
    model.extend([says("Hello!")])
    turn = await chat(alice, "hello")
    assert turn["tool_calls"] is None
    assert [m["tool_calls"] for m in await messages_of(alice, turn["conversation_id"])] == [
        None
    ] * 2


@pytest.mark.parametrize("as_kept_by_the_client", [int, str])
async def test_a_conversation_goes_on_with_its_id_as_number_or_text(
    alice: httpx.AsyncClient, model: ScriptedModel, as_kept_by_the_client: type
) -> None:
    model.extend([says("One."), says("Two.")])
    first = await chat(alice, "first")
    second = await chat(
        alice, "second", conversation_id=as_kept_by_the_client(first["conversation_id"])
    )
    assert second["conversation_id"] == first["conversation_id"]
    told = [item.get("content") for item in given(model)]
    assert told[:2] == ["first", "One."]
    assert told[-1] == "second"


async def test_no_id_and_null_open_a_new_conversation(
    alice: httpx.AsyncClient, model: ScriptedModel
) -> None:
    model.extend([says("One."), says("Two.")])
    first = await chat(alice, "first")
    second = await chat(alice, "second", conversation_id=None)
    assert first["conversation_id"] != second["conversation_id"]


async def test_the_model_is_given_calls_and_results_of_earlier_turns_in_pairs(
    alice: httpx.AsyncClient, model: ScriptedModel
) -> None:
    model.extend([calls("add_task", {"title": "Milk"}), says("Added."), says("Yes.")])
    first = await chat(alice, "Add milk")
    await chat(alice, "Did you?", conversation_id=first["conversation_id"])
    kinds = [item.get("type") or item.get("role") for item in given(model)]
    assert kinds == ["user", "function_call", "function_call_output", "assistant", "user", "user"]
    call, output = given(model)[1:3]
    assert call["call_id"] == output["call_id"]
    assert "id" not in call
    assert outputs(model)[0]["task_id"] == first["tool_calls"][0]["result"]["task_id"]


async def test_the_fixed_part_of_the_prompt_comes_first_and_the_day_last(
    alice: httpx.AsyncClient, model: ScriptedModel
) -> None:
    await alice.post("/api/tasks", json={"title": "Pay rent", "due_date": "2031-05-01"})
    model.extend([says("Hello.")])
    await chat(alice, "hello")
    call = model.calls[0]
    assert call.system_instructions == INSTRUCTIONS
    context = str(given(model)[-2].get("content"))
    assert "Today is" in context
    assert '"Pay rent", "2031-05-01"]' in context


async def test_the_prompt_lists_thirty_open_tasks_and_counts_the_rest(
    alice: httpx.AsyncClient, bob: httpx.AsyncClient, model: ScriptedModel, sessions: Sessions
) -> None:
    await bob.post("/api/tasks", json={"title": "Not hers"})
    for number in range(32):
        await alice.post("/api/tasks", json={"title": f"Task {number}"})
    done = (await alice.post("/api/tasks", json={"title": "Done already"})).json()
    await alice.patch(f"/api/tasks/{done['id']}/complete")
    model.extend([says("Hello.")])
    await chat(alice, "hello")
    context = str(given(model)[-2].get("content"))
    assert "Open tasks (32, of them overdue: 0)" in context
    assert context.count('"Task ') == 30
    assert "and 2 more" in context
    assert "Not hers" not in context
    assert "Done already" not in context


async def test_someone_elses_conversation_is_not_found_and_stays_untouched(
    alice: httpx.AsyncClient, bob: httpx.AsyncClient, model: ScriptedModel
) -> None:
    model.extend([says("One.")])
    turn = await chat(alice, "secret plans")
    refused = await bob.post(
        "/api/chat", json={"message": "hi", "conversation_id": turn["conversation_id"]}
    )
    assert refused.status_code == 404
    assert refused.json()["error"]["code"] == "CONVERSATION_NOT_FOUND"
    assert len(await messages_of(alice, turn["conversation_id"])) == 2
    assert len(model.calls) == 1


@pytest.mark.parametrize(
    "conversation_id", [0, -1, 2**63 - 1, 2**63, 10**25, "99999999999999999999"]
)
async def test_an_id_that_is_nobodys_conversation_is_not_found(
    alice: httpx.AsyncClient, conversation_id: object
) -> None:
    answer = await alice.post(
        "/api/chat", json={"message": "hi", "conversation_id": conversation_id}
    )
    assert answer.status_code == 404
    assert answer.json()["error"]["code"] == "CONVERSATION_NOT_FOUND"


@pytest.mark.parametrize("conversation_id", ["abc", "", "1.5", 1.5, True, [], {}, "1e3", "-1"])
async def test_an_id_that_is_no_number_is_invalid(
    alice: httpx.AsyncClient, conversation_id: object
) -> None:
    answer = await alice.post(
        "/api/chat", json={"message": "hi", "conversation_id": conversation_id}
    )
    assert answer.status_code == 422
    assert answer.json()["error"]["code"] == "VALIDATION_ERROR"
    assert answer.json()["error"]["details"][0]["field"] == "conversation_id"


@pytest.mark.parametrize("message", ["", "   ", "x" * 2001, None, 5, ["hi"], "nul\x00"])
async def test_a_message_that_is_blank_too_long_or_no_text_is_invalid(
    alice: httpx.AsyncClient, message: object
) -> None:
    answer = await alice.post("/api/chat", json={"message": message})
    assert answer.status_code == 422
    assert answer.json()["error"]["details"][0]["field"] == "message"


async def test_a_message_of_2000_characters_is_trimmed_and_kept_whole(
    alice: httpx.AsyncClient, model: ScriptedModel
) -> None:
    model.extend([says("Long.")])
    turn = await chat(alice, "  " + "é" * 2000 + "\n")
    user, _ = await messages_of(alice, turn["conversation_id"])
    assert user["content"] == "é" * 2000


async def test_an_identity_in_the_body_changes_nothing(
    alice: httpx.AsyncClient, bob: httpx.AsyncClient, bob_id: str, model: ScriptedModel
) -> None:
    model.extend([calls("add_task", {"title": "Mine", "user_id": bob_id}), says("Added.")])
    turn = await chat(alice, "Add mine", user_id=bob_id, userId=bob_id)
    assert (await bob.get("/api/tasks")).json()["total"] == 0
    assert (await alice.get("/api/tasks")).json()["total"] == 1
    assert turn["tool_calls"][0]["args"] == {"title": "Mine"}


@pytest.mark.parametrize("said", ["", "   ", "\x00", "\u200b", " \u3164\n"])
async def test_an_empty_answer_becomes_a_helpful_one(
    alice: httpx.AsyncClient, model: ScriptedModel, said: str
) -> None:
    model.extend([says(said)])
    turn = await chat(alice, "???")
    assert turn["response"].startswith("I'm not sure how to help with that.")
    assert "add a task" in turn["response"]


async def test_an_empty_answer_after_a_change_says_what_was_done(
    alice: httpx.AsyncClient, model: ScriptedModel
) -> None:
    model.extend([calls("add_task", {"title": "Milk"}), says("")])
    turn = await chat(alice, "Add milk")
    assert turn["response"].startswith("I'm not sure how to help with that.")
    task_id = turn["tool_calls"][0]["result"]["task_id"]
    assert f"Done so far: added task {task_id}, Milk." in turn["response"]


async def test_an_answer_postgres_cannot_hold_is_cleaned(
    alice: httpx.AsyncClient, model: ScriptedModel
) -> None:
    model.extend([calls("add_task", '{"title": "a\\u0000b\\ud800c"}'), says("nul \x00 and \ud800")])
    turn = await chat(alice, "hi")
    assert turn["response"] == "nul  and ?"
    assert turn["tool_calls"][0]["result"]["title"] == "ab?c"
    assert (await messages_of(alice, turn["conversation_id"]))[1]["content"] == "nul  and ?"


async def test_calls_are_answered_in_the_order_they_were_made(
    alice: httpx.AsyncClient, model: ScriptedModel
) -> None:
    model.extend(
        [
            together(
                calls("add_task", {"title": "One"}),
                calls("list_tasks"),
                calls("add_task", {"title": "Two"}),
            ),
            says("Done."),
        ]
    )
    turn = await chat(alice, "do it")
    assert [call["tool"] for call in turn["tool_calls"]] == ["add_task", "list_tasks", "add_task"]
    assert turn["tool_calls"][1]["result"]["count"] == 1


async def test_a_run_that_never_ends_is_stopped_with_what_it_did(
    alice: httpx.AsyncClient, model: ScriptedModel
) -> None:
    model.extend([calls("add_task", {"title": f"Again {n}"}) for n in range(20)])
    turn = await chat(alice, "loop")
    assert len(turn["tool_calls"]) == 10
    assert "too many steps" in turn["response"]
    assert turn["response"].count("added task") == 10


async def test_no_connection_is_held_while_the_model_thinks(
    app: FastAPI, alice: httpx.AsyncClient, model: ScriptedModel
) -> None:
    thinking, go_on = asyncio.Event(), asyncio.Event()

    async def think(_: object) -> ModelStep:
        thinking.set()
        await go_on.wait()
        return ModelStep(output=says("Done."))

    model.extend([calls("add_task", {"title": "Milk"}), ModelStep.respond(think)])
    turn = asyncio.create_task(chat(alice, "Add milk"))
    await thinking.wait()
    assert app.state.pool.in_use == 0
    async with app.state.sessions() as session:
        idle = text(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
            " AND state LIKE 'idle in transaction%' AND pid <> pg_backend_pid()"
        )
        assert (await session.execute(idle)).scalar() == 0
    go_on.set()
    assert (await turn)["response"] == "Done."


async def test_the_message_is_saved_before_the_model_is_asked(
    alice: httpx.AsyncClient, alice_id: str, model: ScriptedModel, sessions: Sessions
) -> None:
    seen: list[tuple[object, ...]] = []

    async def look(_: object) -> ModelStep:
        async with sessions() as session:
            connection = await session.connection()
            rows = await connection.execute(
                text("SELECT role, content, status FROM messages WHERE user_id = :id ORDER BY id"),
                {"id": alice_id},
            )
            seen.extend(tuple(row) for row in rows)
        return ModelStep(output=says("Done."))

    model.extend([ModelStep.respond(look)])
    await chat(alice, "hello")
    assert seen == [("user", "hello", "complete"), ("assistant", "", "running")]


async def test_many_turns_at_once_in_one_conversation_keep_their_pairs_together(
    alice: httpx.AsyncClient, model: ScriptedModel
) -> None:
    async def answer(call: Any) -> ModelStep:
        return ModelStep(output=says(f"answer to {call.input[-1]['content']}"))

    model.extend([says("Start."), *(ModelStep.respond(answer) for _ in range(8))])
    turn = await chat(alice, "start")
    await asyncio.gather(
        *(chat(alice, f"m{n}", conversation_id=turn["conversation_id"]) for n in range(8))
    )
    contents = [m["content"] for m in await messages_of(alice, turn["conversation_id"])][2:]
    assert sorted(contents[::2]) == [f"m{n}" for n in range(8)]
    assert contents[1::2] == [f"answer to {content}" for content in contents[::2]]


async def test_a_long_history_is_cut_at_whole_turns_and_moves_in_steps(
    alice: httpx.AsyncClient, bob: httpx.AsyncClient, run: Run, model: ScriptedModel
) -> None:
    async with run(alice, rate_limit_chat="1000/minute", history_limit=20) as client:
        model.extend([says("Start.")])
        conversation_id = (await chat(client, "m0"))["conversation_id"]
        firsts = []
        for number in range(1, 40):
            model.extend([says(f"a{number}")])
            await chat(client, f"m{number}", conversation_id=conversation_id)
            items = [item for item in given(model) if item.get("role") in ("user", "assistant")]
            assert len(items) - 1 <= 20
            assert items[0]["role"] == "user"
            assert items[-1]["content"] == f"m{number}"
            firsts.append(items[0]["content"])
        assert len(set(firsts)) <= 1 + 80 // 10
