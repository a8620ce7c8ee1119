"""The errors of a turn: each has its reason, says whether to try again, and stands in the docs."""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from agents import Usage
from agents.testing import ModelStep, ScriptedModel
from sqlalchemy import text

from backend import chat_errors
from backend.chat_errors import ChatError
from backend.tests.house.test_specs import CHAT_API, section_of
from backend.tests.support.databases import Sessions
from backend.tests.support.scripting import Step, calls, says


def family(kind: type[ChatError]) -> list[type[ChatError]]:
    return [kind, *(each for child in kind.__subclasses__() for each in family(child))]


KINDS = family(ChatError)


def test_the_table_of_the_page_is_what_the_classes_say() -> None:
    told = [tuple(row[:5]) for row in section_of(CHAT_API, "Errors of a turn").table]
    said = [
        (kind.__name__, str(kind.status), kind.code, reason, "yes" if retryable else "no")
        for kind in KINDS
        for reason, retryable in kind.REASONS.items()
    ]

    assert told == said


def test_the_tree_in_the_docstring_is_the_tree() -> None:
    drawn = re.findall(r"[├└]── (\w+) +(?:(\d{3})(?:  (\w+))?)?", chat_errors.__doc__ or "")
    lines = {name: (status, code) for name, status, code in drawn}

    for kind in KINDS[1:]:
        assert lines[kind.__name__] == (str(kind.status), kind.code)


def test_a_reason_means_one_error() -> None:
    reasons = [reason for kind in KINDS for reason in kind.REASONS]

    assert len(reasons) == len(set(reasons))


async def failed(
    client: httpx.AsyncClient, status: int, code: str, key: str | None = None
) -> dict[str, Any]:
    headers = {"Idempotency-Key": key} if key else {}
    answer = await client.post("/api/chat", json={"message": "Add milk"}, headers=headers)
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code), answer.text
    details: dict[str, Any] = answer.json()["error"]["details"]
    assert list(details) == [
        "conversation_id",
        "message_id",
        "tool_calls",
        "reason",
        "retryable",
    ]
    return details


@asynccontextmanager
async def refusing(sessions: Sessions, user_id: str, when: str, state: str) -> AsyncIterator[None]:
    """Postgres refuses to write a row of this user's messages `when` it is so, with this state."""
    refuse = f"""
        CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN RAISE EXCEPTION 'secret words' USING ERRCODE = '{state}'; END $$;
        CREATE TRIGGER refuse BEFORE UPDATE ON messages FOR EACH ROW
        WHEN (NEW.user_id = '{user_id}' AND {when}) EXECUTE FUNCTION refuse();
    """
    await run_sql(sessions, refuse)
    yield
    await run_sql(sessions, "DROP FUNCTION refuse CASCADE")


async def run_sql(sessions: Sessions, statements: str) -> None:
    async with sessions.begin() as session:
        connection = await session.connection()
        for statement in statements.split(";\n"):
            if statement.strip():
                await connection.exec_driver_sql(statement)


IN_A_TOOL = "NEW.tool_calls_json IS DISTINCT FROM OLD.tool_calls_json"
AT_THE_END = "NEW.status = 'complete'"
OUR_FAULT = "22000"
OUTAGE = "57P01"


async def test_a_tool_that_cannot_go_on_by_our_own_fault_ends_the_turn_and_did_nothing(
    capsys: pytest.CaptureFixture[str],
    alice: httpx.AsyncClient,
    alice_id: str,
    model: ScriptedModel,
    sessions: Sessions,
) -> None:
    model.extend([calls("add_task", {"title": "Milk"})])
    async with refusing(sessions, alice_id, IN_A_TOOL, OUR_FAULT):
        details = await failed(alice, 500, "INTERNAL_SERVER_ERROR")
    assert (details["reason"], details["retryable"]) == ("tool_failed", False)
    assert details["tool_calls"] is None
    assert (await alice.get("/api/tasks")).json()["total"] == 0
    log = capsys.readouterr().err
    assert '"level": "ERROR"' in log
    assert "secret" not in log


async def test_a_database_that_goes_away_in_a_tool_is_retryable_and_the_retry_the_same_turn(
    alice: httpx.AsyncClient, alice_id: str, model: ScriptedModel, sessions: Sessions
) -> None:
    model.extend([calls("add_task", {"title": "Milk"})])
    async with refusing(sessions, alice_id, IN_A_TOOL, OUTAGE):
        details = await failed(alice, 503, "SERVICE_UNAVAILABLE")
    assert (details["reason"], details["retryable"]) == ("database", True)
    model.extend([calls("add_task", {"title": "Milk"}), says("Added.")])
    again = await alice.post("/api/chat", json={"message": "Add milk"})
    assert again.json()["conversation_id"] == details["conversation_id"]
    assert (await alice.get("/api/tasks")).json()["total"] == 1


async def test_an_answer_that_cannot_be_saved_is_saved_later_and_given_to_who_sends_it_again(
    monkeypatch: pytest.MonkeyPatch,
    alice: httpx.AsyncClient,
    alice_id: str,
    model: ScriptedModel,
    sessions: Sessions,
) -> None:
    monkeypatch.setattr("backend.turns.closing.OUTAGE_PAUSES", ())
    model.extend([calls("add_task", {"title": "Milk"}), says("Added.")])
    async with refusing(sessions, alice_id, AT_THE_END, OUTAGE):
        details = await failed(alice, 503, "SERVICE_UNAVAILABLE")
    assert (details["reason"], details["retryable"]) == ("database", True)
    assert [call["tool"] for call in details["tool_calls"]] == ["add_task"]
    again = await alice.post("/api/chat", json={"message": "Add milk"})
    assert again.json()["response"] == "Added."
    assert again.json()["conversation_id"] == details["conversation_id"]
    assert (await alice.get("/api/tasks")).json()["total"] == 1


async def test_a_turn_whose_costs_cannot_be_written_is_closed_all_the_same(
    alice: httpx.AsyncClient, alice_id: str, model: ScriptedModel, sessions: Sessions
) -> None:
    usage = Usage(requests=1, input_tokens=10, output_tokens=5, total_tokens=15)
    model.extend([ModelStep(output=says("Hello."), usage=usage)])
    counted = "NEW.input_tokens IS NOT NULL"
    async with refusing(sessions, alice_id, counted, OUR_FAULT):
        answer = await alice.post("/api/chat", json={"message": "hello"})
    assert answer.status_code == 500
    status = text("SELECT status FROM messages WHERE user_id = :id AND role = 'assistant'")
    async with sessions() as session:
        connection = await session.connection()
        assert (await connection.execute(status, {"id": alice_id})).scalar_one() == "failed"


@pytest.mark.parametrize("key", [None, "a-key"])
@pytest.mark.parametrize("last", [calls("add_task", {"title": "Too late"}), says("Too late.")])
async def test_a_turn_taken_up_elsewhere_is_retryable_where_it_has_a_key(
    alice: httpx.AsyncClient,
    alice_id: str,
    model: ScriptedModel,
    sessions: Sessions,
    key: str | None,
    last: Step,
) -> None:
    async def take_it_up(_: object) -> ModelStep:
        async with sessions.begin() as session:
            connection = await session.connection()
            taken_up = text("UPDATE messages SET attempt = attempt + 1 WHERE user_id = :id")
            await connection.execute(taken_up, {"id": alice_id})
        return ModelStep(output=last)

    model.extend([ModelStep.respond(take_it_up)])
    details = await failed(alice, 409, "TURN_IN_PROGRESS", key)
    assert (details["reason"], details["retryable"]) == ("taken_up", key is not None)
    assert (await alice.get("/api/tasks")).json()["total"] == 0
