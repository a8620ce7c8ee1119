"""One call about several tasks: one transaction, one record, one undo, and who is left out."""

from collections.abc import Iterable
from typing import Any

import httpx
import pytest
from agents.testing import ScriptedModel
from sqlalchemy import text

from backend.conversations.tool_calls import unfinished_answer
from backend.database import Sessions, execute
from backend.tests.support.fixtures import Run
from backend.tests.support.scripting import calls, outputs, says
from backend.tests.support.task_calls import add, listed
from backend.tests.test_chat import chat, messages_of
from backend.tests.test_tools import use

TOOLS = ("complete_task", "delete_task", "update_task")
MORE: dict[str, dict[str, Any]] = {"update_task": {"priority": "high"}}


async def several(client: httpx.AsyncClient, count: int, **fields: Any) -> list[int]:
    return [(await add(client, f"Task {number}", **fields))["id"] for number in range(count)]


async def undo(client: httpx.AsyncClient, conversation_id: int) -> httpx.Response:
    message = (await messages_of(client, conversation_id))[-1]
    return await client.post(f"/api/messages/{message['id']}/undo")


def by_id(tasks: Iterable[Any]) -> dict[int, tuple[Any, ...]]:
    fields = ("title", "completed", "priority", "due_date", "description")
    return {task["id"]: tuple(task[field] for field in fields) for task in tasks}


@pytest.mark.parametrize("tool", TOOLS)
async def test_several_are_changed_at_once_and_taken_back_at_once(
    alice: httpx.AsyncClient, bob: httpx.AsyncClient, model: ScriptedModel, tool: str
) -> None:
    ids = await several(alice, 3)
    stranger = (await add(bob, "Hers"))["id"]
    before = by_id(await listed(alice))
    given = {"task_id": [*ids, stranger, ids[0], 2**70, -1]} | MORE.get(tool, {})
    model.extend([calls(tool, given), says("Done.")])
    turn = await chat(alice, "do it to all")
    (call,) = turn["tool_calls"]
    result = call["result"]
    assert outputs(model)[-1] == result
    assert (result["success"], result["task_id"], result["title"]) == (True, ids[0], "Task 0")
    assert result["count"] == 3
    wanted = [*((id_, True) for id_ in ids), (stranger, False), (2**70, False), (-1, False)]
    assert [(each["task_id"], each["success"]) for each in result["results"]] == wanted
    assert {each.get("error_code") for each in result["results"]} == {None, "TASK_NOT_FOUND"}
    assert "3 tasks" in result["message"]
    assert "3 tasks were not found" in result["message"]
    now = by_id(await listed(alice))
    match tool:
        case "delete_task":
            assert not now
        case "complete_task":
            assert all(completed for _, completed, *_ in now.values())
        case _:
            assert {priority for _, _, priority, *_ in now.values()} == {"high"}
    assert by_id(await listed(bob))[stranger][:3] == ("Hers", False, "medium")
    assert (await undo(alice, turn["conversation_id"])).status_code == 200
    assert by_id(await listed(alice)) == before


@pytest.mark.parametrize("tool", TOOLS)
async def test_a_list_of_one_answers_as_the_id_alone_does(
    alice: httpx.AsyncClient, bob: httpx.AsyncClient, model: ScriptedModel, tool: str
) -> None:
    (id_,) = await several(alice, 1)
    more = MORE.get(tool, {})
    missing = await use(alice, model, tool, {"task_id": [(await add(bob))["id"]], **more})
    assert missing == {
        "success": False,
        "error": "Task not found",
        "error_code": "TASK_NOT_FOUND",
    }
    result = await use(alice, model, tool, {"task_id": [id_, id_], **more})
    assert (result["task_id"], "results" in result, "count" in result) == (id_, False, False)


@pytest.mark.parametrize("tool", TOOLS)
async def test_ids_of_none_are_a_failure_that_names_each(
    alice: httpx.AsyncClient, bob: httpx.AsyncClient, model: ScriptedModel, tool: str
) -> None:
    ids = await several(bob, 2)
    result = await use(alice, model, tool, {"task_id": ids} | MORE.get(tool, {}))
    assert (result["success"], result["error_code"]) == (False, "TASK_NOT_FOUND")
    assert [each["task_id"] for each in result["results"]] == ids
    assert len(await listed(bob, completed="false")) == 2


@pytest.mark.parametrize("tool", TOOLS)
@pytest.mark.parametrize(
    "ids", [[], [*range(1, 102)], ["first"], [True], [1.5], [None], [[1]], {"a": 1}]
)
async def test_no_ids_too_many_and_what_is_none_change_nothing(
    alice: httpx.AsyncClient, model: ScriptedModel, tool: str, ids: Any
) -> None:
    result = await use(alice, model, tool, {"task_id": ids} | MORE.get(tool, {}))
    assert (result["success"], result["error_code"]) == (False, "VALIDATION_ERROR")
    assert len(result["error"]) < 200


async def test_a_hundred_go_and_doubles_count_once(
    alice: httpx.AsyncClient, model: ScriptedModel
) -> None:
    ids = await several(alice, 2)
    asked = [*ids, *ids, *range(10**9, 10**9 + 98)]
    result = await use(alice, model, "complete_task", {"task_id": asked})
    assert (result["success"], result["count"], len(result["results"])) == (True, 2, 100)


async def test_recurring_ones_say_when_they_are_next_and_undo_takes_that_back(
    alice: httpx.AsyncClient, model: ScriptedModel
) -> None:
    ids = await several(alice, 2, due_date="2031-01-31", recurrence_pattern="monthly")
    alone = (await add(alice, "Once"))["id"]
    model.extend([calls("complete_task", {"task_id": [*ids, alone]}), says("Done.")])
    turn = await chat(alice, "all done")
    results = turn["tool_calls"][0]["result"]["results"]
    assert [each.get("next", {}).get("due_date") for each in results] == ["2031-02-28"] * 2 + [None]
    pending = {task["id"] for task in await listed(alice, completed="false")}
    assert pending == {each["next"]["task_id"] for each in results[:2]}
    assert (await undo(alice, turn["conversation_id"])).status_code == 200
    assert {task["id"] for task in await listed(alice)} == {*ids, alone}
    one = await use(alice, model, "complete_task", {"task_id": ids[0]})
    assert one["message"].endswith(
        f"It comes again as task {one['next']['task_id']}, due 2031-02-28."
    )


async def test_steps_and_a_strangers_project_are_refused_for_several_as_a_whole(
    alice: httpx.AsyncClient, bob: httpx.AsyncClient, model: ScriptedModel
) -> None:
    ids = await several(alice, 2)
    theirs = (await bob.post("/api/projects", json={"name": "Theirs"})).json()["id"]
    before = await listed(alice)
    for more in ({"steps": ["a"]}, {"project": str(theirs)}, {"title": " "}, {"due_date": "x"}):
        result = await use(alice, model, "update_task", {"task_id": ids, **more})
        assert result["error_code"] == "VALIDATION_ERROR"
    assert await listed(alice) == before


async def test_more_than_a_record_can_hold_is_refused_as_a_whole(
    alice: httpx.AsyncClient, alice_id: str, model: ScriptedModel, own_sessions: Sessions
) -> None:
    async with own_sessions() as session:
        made = text(
            "INSERT INTO tasks (user_id, title, description) "
            "SELECT :owner, 'T', repeat('ä', 1000) FROM generate_series(1, 100) RETURNING id"
        )
        ids = (await execute(session, made, {"owner": alice_id})).scalars()
        await session.commit()
    result = await use(alice, model, "update_task", {"task_id": ids, "description": "x"})
    assert result["error_code"] == "VALIDATION_ERROR"
    assert {task["description"] for task in await listed(alice)} == {"ä" * 1000}
    result = await use(alice, model, "update_task", {"task_id": ids, "priority": "low"})
    assert result["count"] == 100


def test_the_honest_sentence_names_what_several_calls_did() -> None:
    results = [{"task_id": n, "success": n != 2, "title": f"T{n}"} for n in range(1, 26)]
    call: Any = {
        "tool": "delete_task",
        "args": {},
        "result": {"success": True, "results": results},
    }
    said = unfinished_answer([call])
    assert said.startswith("I could not finish. Done so far: deleted 24 tasks (1, T1; 3, T3; ")
    assert said.endswith("; and 4 more).")
    call["result"]["results"] = results[:2]
    assert unfinished_answer([call]).endswith("deleted task 1, T1.")


async def test_a_deletion_of_several_is_approved_by_what_would_go(
    alice: httpx.AsyncClient, bob: httpx.AsyncClient, model: ScriptedModel, run: Run
) -> None:
    async with run(alice, approval_tools="delete_task") as asked:
        ids = await several(asked, 2)
        stranger = (await add(bob, "Hers"))["id"]
        given = {"task_id": [*ids, stranger]}
        model.extend([calls("delete_task", given)])
        turn = await chat(asked, "Delete them", approvals=True)
        (approval,) = turn["approvals"]
        assert approval["tasks"] == [
            {"task_id": id_, "title": f"Task {n}"} for n, id_ in enumerate(ids)
        ]
        told = f"delete 2 tasks ({ids[0]}, Task 0; {ids[1]}, Task 1)"
        assert turn["response"] == f"Before I go on I need your approval: {told}."
        assert len(await listed(asked)) == 2
        model.extend([says("Gone.")])
        path = f"/api/messages/{turn['message_id']}/approvals"
        decided = {"decisions": [{"id": approval["id"], "approved": True}]}
        answer = (await asked.post(path, json=decided)).json()
        assert answer["tool_calls"][0]["args"] == given
        assert answer["tool_calls"][0]["result"]["count"] == 2
        assert await listed(asked) == []
        assert len(await listed(bob)) == 1
        model.extend([calls("delete_task", {"task_id": [*range(101)]}), says("Too many.")])
        refused = await chat(asked, "Delete all", approvals=True)
        assert refused["tool_calls"][0]["result"]["error_code"] == "VALIDATION_ERROR"
