"""When a run ends badly: the answer is honest, what was done is on record, the next turn knows."""

import asyncio
import json
from typing import Any

import httpx
import pytest
from agents.testing import ModelStep, ScriptedModel
from httpx2 import Request
from openai import APIConnectionError
from sqlalchemy import text

from backend.tests.support.databases import Sessions
from backend.tests.support.fixtures import Run
from backend.tests.support.scripting import calls, given, outputs, says
from backend.tests.test_chat import chat, messages_of

LOST = ModelStep.raise_error(APIConnectionError(request=Request("POST", "http://provider")))


async def refused(client: httpx.AsyncClient, message: str, **body: Any) -> dict[str, Any]:
    answer = await client.post("/api/chat", json={"message": message, **body})
    assert answer.status_code == 503, answer.text
    error: dict[str, Any] = answer.json()["error"]
    assert error["code"] == "AI_SERVICE_UNAVAILABLE"
    assert answer.json()["detail"]["code"] == "AI_SERVICE_UNAVAILABLE"
    return error


async def test_a_failure_after_a_change_says_what_was_done(
    alice: httpx.AsyncClient, model: ScriptedModel
) -> None:
    model.extend([calls("add_task", {"title": "Buy milk"}), LOST])
    error = await refused(alice, "Add milk")
    details = error["details"]
    (call,) = details["tool_calls"]
    task_id = call["result"]["task_id"]
    user, assistant = await messages_of(alice, details["conversation_id"])
    assert user["content"] == "Add milk"
    assert assistant["id"] == details["message_id"]
    assert assistant["content"] == (
        f"I could not finish. Done so far: added task {task_id}, Buy milk."
    )
    assert error["message"] == assistant["content"]  # a client that shows messages tells it
    assert assistant["tool_calls"] == [call]
    assert (await alice.get("/api/tasks")).json()["total"] == 1


async def test_the_next_turns_model_is_told_what_a_failed_one_did(
    alice: httpx.AsyncClient, model: ScriptedModel
) -> None:
    model.extend([calls("add_task", {"title": "Buy milk"}), LOST, says("It is there.")])
    details = (await refused(alice, "Add milk"))["details"]
    await chat(alice, "and?", conversation_id=details["conversation_id"])
    assert outputs(model)[0]["title"] == "Buy milk"
    assert str(given(model)[3]["content"]).startswith("I could not finish.")


async def test_a_failure_before_anything_was_done_shows_the_message_alone(
    alice: httpx.AsyncClient, model: ScriptedModel
) -> None:
    model.extend([LOST])
    details = (await refused(alice, "Add milk"))["details"]
    assert details["tool_calls"] is None
    assert details["reason"] == "connection"
    assert [m["content"] for m in await messages_of(alice, details["conversation_id"])] == [
        "Add milk"
    ]


async def test_looking_is_not_doing(alice: httpx.AsyncClient, model: ScriptedModel) -> None:
    model.extend([calls("list_tasks"), LOST])
    details = (await refused(alice, "Show my tasks"))["details"]
    assert len(await messages_of(alice, details["conversation_id"])) == 1


async def test_a_run_past_the_limit_is_stopped_and_what_it_did_stays(
    alice: httpx.AsyncClient, model: ScriptedModel, run: Run
) -> None:
    async def hang(_: object) -> ModelStep:
        await asyncio.Event().wait()
        raise AssertionError

    model.extend([calls("add_task", {"title": "Milk"}), ModelStep.respond(hang)])
    async with run(alice, ai_timeout_seconds=0.5) as client:
        details = (await refused(client, "Add milk"))["details"]
    assert details["reason"] == "timeout"
    assert details["tool_calls"][0]["result"]["title"] == "Milk"


async def test_without_a_key_chat_is_unavailable_and_all_else_works(
    alice: httpx.AsyncClient, run: Run
) -> None:
    async with run(alice, model=None, openai_api_key=None) as client:
        error = await refused(client, "hello")
        assert error["details"]["reason"] == "not_configured"
        assert (await client.get("/api/tasks")).status_code == 200
        assert len(await messages_of(client, error["details"]["conversation_id"])) == 1


async def test_a_closed_turn_lets_no_late_tool_write(
    alice: httpx.AsyncClient, alice_id: str, model: ScriptedModel, sessions: Sessions
) -> None:
    """The row lock and the status decide between a run and whoever closed its turn."""

    async def close_it(_: object) -> ModelStep:
        async with sessions.begin() as session:
            connection = await session.connection()
            closed = text("UPDATE messages SET status = 'failed' WHERE user_id = :id")
            await connection.execute(closed, {"id": alice_id})
        return ModelStep(output=calls("add_task", {"title": "Too late"}))

    model.extend([ModelStep.respond(close_it), says("Done.")])
    answer = await alice.post("/api/chat", json={"message": "Add milk"})
    assert answer.json()["error"]["code"] == "TURN_IN_PROGRESS"
    assert (await alice.get("/api/tasks")).json()["total"] == 0


@pytest.mark.parametrize("fault", [RuntimeError("secret words"), KeyError("secret words")])
async def test_whatever_the_model_raises_is_the_providers_fault_and_its_text_stays_inside(
    capsys: pytest.CaptureFixture[str],
    alice: httpx.AsyncClient,
    model: ScriptedModel,
    fault: Exception,
) -> None:
    model.extend([ModelStep.raise_error(fault)])
    error = await refused(alice, "hello")
    assert error["details"]["reason"] == "bad_answer"
    assert "secret" not in json.dumps(error)
    log = capsys.readouterr().err
    assert type(fault).__name__ in log
    assert "secret" not in log


async def test_a_tool_that_the_limit_strikes_is_waited_for_and_its_session_kept_open(
    alice: httpx.AsyncClient, model: ScriptedModel, run: Run, sessions: Sessions
) -> None:
    """The row it wants is held by another until past the limit."""
    task = (await alice.post("/api/tasks", json={"title": "Milk"})).json()
    model.extend([calls("complete_task", {"task_id": task["id"]})])
    async with run(alice, ai_timeout_seconds=0.5) as client, sessions.begin() as session:
        connection = await session.connection()
        held = text("SELECT 1 FROM tasks WHERE id = :id FOR UPDATE")
        await connection.execute(held, {"id": task["id"]})
        details = (await refused(client, "Complete it"))["details"]
    assert details["reason"] == "timeout"
    assert (await alice.get(f"/api/tasks/{task['id']}")).json()["completed"] is False
