"""What a record holds is bounded in bytes, and what was cut once is not cut again."""

import json
from functools import partial
from typing import Any

import httpx
from agents.testing import ScriptedModel
from sqlalchemy import text

from backend.agent.context.remembered import Remembered
from backend.agent.context.tokens import tokenizer_of
from backend.agent.context.truncate import compact, shown
from backend.agent.words.prompt import TOO_MANY_CALLS
from backend.conversations.tool_calls import (
    LIST_LEAST_BYTES,
    LIST_MAX_BYTES,
    LISTS_MAX_BYTES,
    RECORD_MAX_BYTES,
)
from backend.tests.support.databases import Sessions
from backend.tests.support.fixtures import Run
from backend.tests.support.scripting import Step, calls, given, outputs, says, together
from backend.tests.test_chat import chat


async def tasks_with_notes(sessions: Sessions, user_id: str, count: int, note: str) -> None:
    sql = (
        "INSERT INTO tasks (user_id, title, description)"
        " SELECT :owner, 'task ' || n, :note FROM generate_series(1, :count) n"
    )
    async with sessions.begin() as session:
        values = {"owner": user_id, "note": note, "count": count}
        await (await session.connection()).execute(text(sql), values)


def dumped(value: object) -> int:
    return len(json.dumps(value, ensure_ascii=False).encode())


async def test_lists_in_a_record_are_bounded_each_and_together(
    alice: httpx.AsyncClient, alice_id: str, model: ScriptedModel, sessions: Sessions, run: Run
) -> None:
    await tasks_with_notes(sessions, alice_id, 100, "n" * 1000)
    # the same call in a later answer would be the last one with tools
    asked: list[dict[str, Any]] = [{}, {"status": "all"}, {"status": "pending"}]
    thirty: list[Step] = [
        together(*(calls("list_tasks", each) for _ in range(30))) for each in asked
    ]
    model.extend([*thirty, says("These.")])
    turn = await chat(alice, "show them again and again")
    results = [call["result"] for call in turn["tool_calls"]]
    assert len(results) == 90
    assert {result["count"] for result in results} == {100}
    sizes = [dumped(result) for result in results]
    assert max(sizes) <= LIST_MAX_BYTES
    assert sizes[-1] <= LIST_LEAST_BYTES
    assert sum(sizes) < LISTS_MAX_BYTES + 90 * LIST_LEAST_BYTES
    kept = len(results[0]["tasks"])
    assert results[0]["note"] == f"{100 - kept} more tasks are left out here."
    # the model reads what the record holds, as far as that is short enough for it
    assert outputs(model)[-1] == compact("list_tasks", results[-1])


async def test_past_its_bytes_a_record_takes_no_more_calls(
    alice: httpx.AsyncClient, model: ScriptedModel
) -> None:
    """Texts that JSON writes six times as long."""
    notes = "\x01" * 1000
    tens: list[Step] = [
        together(
            *(calls("add_task", {"title": f"{m}-{n}", "description": notes}) for n in range(10))
        )
        for m in range(6)
    ]
    model.extend([*tens, says("Done.")])
    turn = await chat(alice, "add them all")
    done = turn["tool_calls"]
    assert RECORD_MAX_BYTES < dumped(done) < RECORD_MAX_BYTES + 20_000
    assert outputs(model)[-1]["error"] == TOO_MANY_CALLS
    assert (await alice.get("/api/tasks?limit=1")).json()["total"] == len(done)


async def test_a_list_of_short_tasks_is_on_record_whole(
    alice: httpx.AsyncClient, alice_id: str, model: ScriptedModel, sessions: Sessions
) -> None:
    await tasks_with_notes(sessions, alice_id, 100, "one litre")
    model.extend([calls("list_tasks"), says("These.")])
    turn = await chat(alice, "show them")
    assert len(turn["tool_calls"][0]["result"]["tasks"]) == 100


class Counting:
    """A tokenizer that knows how much it was given."""

    def __init__(self) -> None:
        self.given = 0

    def count(self, text: str) -> int:
        self.given += len(text)
        return tokenizer_of("gpt-4o")._count(text)


def long_list(first: int) -> dict[str, Any]:
    tasks = [
        {"task_id": n, "title": f"Task number {n}", "description": "x " * 200}
        for n in range(first, first + 100)
    ]
    return {"success": True, "tasks": tasks, "count": 100}


def test_a_list_is_cut_once_and_not_much_more_of_it_counted_than_stays() -> None:
    counting = Counting()
    first = shown(long_list(1), 1000, counting.count)
    assert counting.given < 4 * len(first)
    before = counting.given
    assert shown(long_list(1), 1000, counting.count) == first
    assert counting.given == before
    assert shown(long_list(2), 1000, counting.count) != first


def test_what_is_remembered_is_bounded_and_the_idlest_goes_first() -> None:
    asked: list[str] = []
    remembered: Remembered[int] = Remembered(2)

    def length(of: str) -> int:
        asked.append(of)
        return len(of)

    for each in ("a", "bb", "a", "ccc", "a", "bb"):
        assert remembered.of(each, None, partial(length, each)) == len(each)
    assert asked == ["a", "bb", "ccc", "bb"]


async def test_a_list_of_an_earlier_release_is_given_as_it_was_given_before(
    alice: httpx.AsyncClient, model: ScriptedModel, sessions: Sessions
) -> None:
    """Whole lists stand in old records."""
    model.extend([says("Hello.")])
    turn = await chat(alice, "hello")
    old = json.dumps([{"tool": "list_tasks", "args": {}, "result": long_list(1)}])
    sql = (
        "UPDATE messages SET tool_calls_json = :old"
        " WHERE conversation_id = :c AND role = 'assistant'"
    )
    async with sessions.begin() as session:
        values = {"old": old, "c": turn["conversation_id"]}
        await (await session.connection()).execute(text(sql), values)
    model.extend([says("One."), says("Two.")])
    seen = []
    for _ in range(2):
        await chat(alice, "and?", conversation_id=turn["conversation_id"])
        seen.append(given(model)[2]["output"])
    assert seen[0] == seen[1]
    assert "more tasks are left out here" in seen[0]
