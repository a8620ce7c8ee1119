"""The five tools, as a model calls them in a turn: results, bounds, owners, and the record."""

import json
from datetime import datetime
from typing import Any

import httpx
import pytest
from agents.testing import ScriptedModel
from sqlalchemy import text

from backend.agent.context.truncate import compact
from backend.agent.tools import create_tools_for_user
from backend.tests.support.databases import Sessions
from backend.tests.support.scripting import Step, calls, outputs, says, together, unsaved_turn
from backend.tests.test_chat import chat, messages_of


async def task_of(client: httpx.AsyncClient, title: str, **fields: Any) -> dict[str, Any]:
    answer = await client.post("/api/tasks", json={"title": title, **fields})
    assert answer.status_code == 201, answer.text
    task: dict[str, Any] = answer.json()
    return task


async def use(
    client: httpx.AsyncClient, model: ScriptedModel, name: str, arguments: Any = None
) -> dict[str, Any]:
    """The result of one call, which the answer, the history and the model must agree on."""
    model.extend([calls(name, arguments), says("Done.")])
    turn = await chat(client, "go")
    (call,) = turn["tool_calls"]
    assert call["tool"] == name
    assert outputs(model)[-1] == compact(name, call["result"])
    assert (await messages_of(client, turn["conversation_id"]))[1]["tool_calls"] == [call]
    result: dict[str, Any] = call["result"]
    return result


def is_instant(value: str) -> bool:
    return value.endswith("Z") and datetime.fromisoformat(value).tzinfo is not None


async def test_add_task_returns_the_new_task(
    alice: httpx.AsyncClient, model: ScriptedModel
) -> None:
    result = await use(
        alice,
        model,
        "add_task",
        {"title": " Rent ", "description": "flat", "due_date": "2031-05-01", "priority": "high"},
    )
    assert (result["success"], result["title"], result["description"], result["priority"]) == (
        True,
        "Rent",
        "flat",
        "high",
    )
    assert (result["due_date"], result["status"]) == ("2031-05-01", "pending")
    task = (await alice.get(f"/api/tasks/{result['task_id']}")).json()
    assert task["due_date"] == "2031-05-01T12:00:00Z"


async def test_null_and_empty_arguments_count_as_not_given(
    alice: httpx.AsyncClient, model: ScriptedModel
) -> None:
    nothing = {"description": "", "due_date": None, "priority": ""}
    result = await use(alice, model, "add_task", {"title": "Milk", **nothing})
    assert (result["description"], result["due_date"], result["priority"]) == ("", None, "medium")
    kept = await task_of(alice, "Rent", description="flat", due_date="2031-05-01", priority="high")
    changed = await use(
        alice, model, "update_task", {"task_id": kept["id"], "title": "Pay rent", **nothing}
    )
    assert (changed["title"], changed["description"]) == ("Pay rent", "flat")
    assert (changed["due_date"], changed["priority"]) == ("2031-05-01", "high")


async def test_list_tasks_shows_the_persons_own_newest_first(
    alice: httpx.AsyncClient, bob: httpx.AsyncClient, model: ScriptedModel
) -> None:
    first = await task_of(alice, "Buy milk")
    second = await task_of(alice, "Call mom", description="about milk", priority="low")
    await task_of(bob, "Not hers: milk")
    result = await use(alice, model, "list_tasks", {"status": "all", "search": "MILK"})
    assert result["count"] == 2
    assert [task["task_id"] for task in result["tasks"]] == [second["id"], first["id"]]
    assert set(result["tasks"][0]) == {
        "task_id",
        "title",
        "description",
        "completed",
        "priority",
        "due_date",
        "created_at",
    }
    assert is_instant(result["tasks"][0]["created_at"])


@pytest.mark.parametrize(
    ("status", "titles"),
    [("pending", ["Open"]), ("completed", ["Done"]), ("ALL", ["Open", "Done"])],
)
async def test_list_tasks_filters_by_status(
    alice: httpx.AsyncClient, model: ScriptedModel, status: str, titles: list[str]
) -> None:
    done = await task_of(alice, "Done")
    await alice.patch(f"/api/tasks/{done['id']}/complete")
    await task_of(alice, "Open")
    result = await use(alice, model, "list_tasks", {"status": status})
    assert [task["title"] for task in result["tasks"]] == titles


async def test_list_tasks_says_how_many_it_leaves_out(
    alice: httpx.AsyncClient, model: ScriptedModel
) -> None:
    for number in range(3):
        await task_of(alice, f"Task {number}")
    result = await use(alice, model, "list_tasks", {"limit": "2"})
    assert result["count"] == len(result["tasks"]) == 2
    assert result["message"] == "Found 3 tasks; these are the newest 2."


async def test_of_a_list_a_model_reads_what_is_not_as_usual_and_the_record_has_it_all(
    alice: httpx.AsyncClient, model: ScriptedModel
) -> None:
    plain = await task_of(alice, "Milk")
    full = {"description": "oat", "priority": "low", "due_date": "2031-05-01"}
    other = await task_of(alice, "Rent", **full)
    await alice.patch(f"/api/tasks/{other['id']}/complete")
    model.extend([calls("list_tasks"), says("Two."), says("Still two.")])
    turn = await chat(alice, "list")
    await chat(alice, "again", conversation_id=turn["conversation_id"])
    for call in (1, 2):  # in its turn, and in the next one
        told = outputs(model, call)[-1]["tasks"]
        made = [task.pop("created_at") for task in told]
        assert told == [
            {"task_id": other["id"], "title": "Rent", "completed": True, **full},
            {"task_id": plain["id"], "title": "Milk"},
        ]
        assert made == [f"{task['created_at'][:16]}Z" for task in (other, plain)]
    kept = turn["tool_calls"][0]["result"]["tasks"][1]
    assert kept == {
        "task_id": plain["id"],
        "title": "Milk",
        "description": "",
        "completed": False,
        "priority": "medium",
        "due_date": None,
        "created_at": plain["created_at"],
    }


async def test_complete_task_is_a_success_also_the_second_time(
    alice: httpx.AsyncClient, model: ScriptedModel
) -> None:
    task = await task_of(alice, "Milk")
    first = await use(alice, model, "complete_task", {"task_id": task["id"]})
    second = await use(alice, model, "complete_task", {"task_id": str(task["id"])})
    assert first["status"] == second["status"] == "completed"
    assert first["completed_at"] == second["completed_at"]
    assert is_instant(first["completed_at"])
    assert (await alice.get(f"/api/tasks/{task['id']}")).json()["completed"] is True


async def test_completing_a_recurring_task_makes_one_next_occurrence(
    alice: httpx.AsyncClient, model: ScriptedModel
) -> None:
    task = await task_of(alice, "Rent", due_date="2031-01-31", recurrence_pattern="monthly")
    await use(alice, model, "complete_task", {"task_id": task["id"]})
    await alice.patch(f"/api/tasks/{task['id']}/complete")
    await use(alice, model, "complete_task", {"task_id": task["id"]})
    pending = (await alice.get("/api/tasks?completed=false")).json()["tasks"]
    assert [(task["title"], task["due_date"]) for task in pending] == [
        ("Rent", "2031-02-28T12:00:00Z")
    ]


async def test_delete_task_is_soft(
    alice: httpx.AsyncClient, model: ScriptedModel, sessions: Sessions
) -> None:
    task = await task_of(alice, "Milk")
    result = await use(alice, model, "delete_task", {"task_id": task["id"]})
    assert (result["success"], result["task_id"], result["title"]) == (True, task["id"], "Milk")
    assert (await alice.get(f"/api/tasks/{task['id']}")).status_code == 404
    async with sessions() as session:
        connection = await session.connection()
        row = text("SELECT deleted_at IS NOT NULL FROM tasks WHERE id = :id")
        assert (await connection.execute(row, {"id": task["id"]})).scalar_one() is True
    again = await use(alice, model, "delete_task", {"task_id": task["id"]})
    assert again["error_code"] == "TASK_NOT_FOUND"


async def test_update_task_changes_what_is_given(
    alice: httpx.AsyncClient, model: ScriptedModel
) -> None:
    task = await task_of(alice, "Milk", description="2 gallons")
    result = await use(
        alice,
        model,
        "update_task",
        {"task_id": task["id"], "priority": "High", "due_date": "2031-05-01T09:30:00+02:00"},
    )
    assert (result["title"], result["description"]) == ("Milk", "2 gallons")
    assert (result["priority"], result["due_date"]) == ("high", "2031-05-01T07:30:00Z")
    assert is_instant(result["updated_at"])


@pytest.mark.parametrize("name", ["complete_task", "delete_task", "update_task"])
async def test_someone_elses_task_is_not_found_and_stays_as_it_is(
    alice: httpx.AsyncClient, bob: httpx.AsyncClient, model: ScriptedModel, name: str
) -> None:
    task = await task_of(bob, "His")
    result = await use(alice, model, name, {"task_id": task["id"], "title": "Hers now"})
    assert result == {
        "success": False,
        "error": "Task not found",
        "error_code": "TASK_NOT_FOUND",
    }
    assert (await bob.get(f"/api/tasks/{task['id']}")).json() == task


@pytest.mark.parametrize("task_id", [0, -1, 2**31, 2**63, 10**30])
async def test_an_id_no_column_can_hold_is_not_found(
    alice: httpx.AsyncClient, model: ScriptedModel, task_id: int
) -> None:
    result = await use(alice, model, "complete_task", {"task_id": task_id})
    assert result["error_code"] == "TASK_NOT_FOUND"


DEEP = "[" * 100_000 + "]" * 100_000


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("add_task", "not json"),
        ("add_task", '{"title": "cut of'),
        ("add_task", "[]"),
        ("add_task", '"text"'),
        ("add_task", "null"),
        ("add_task", "NaN"),
        ("add_task", "{}"),
        ("add_task", {"title": None}),
        ("add_task", {"title": "  "}),
        ("add_task", {"title": "x" * 201}),
        ("add_task", {"title": ["Milk"]}),
        ("add_task", {"title": {"a": 1}}),
        ("add_task", '{"title": ' + DEEP + "}"),
        ("add_task", '{"title": 1' + "0" * 10_000 + "}"),
        ("add_task", {"title": "Milk", "description": "x" * 1001}),
        ("add_task", {"title": "Milk", "description": "x" * 1_000_000}),
        ("add_task", {"title": "Milk", "due_date": "on Fridge"}),
        ("add_task", {"title": "Milk", "due_date": 20310501}),
        ("add_task", {"title": "Milk", "due_date": "9999-12-31T23:59:59-05:00"}),
        ("add_task", {"title": "Milk", "priority": "urgent"}),
        ("list_tasks", {"status": "open"}),
        ("list_tasks", {"limit": 0}),
        ("list_tasks", {"limit": 101}),
        ("list_tasks", {"limit": "many"}),
        ("list_tasks", {"search": 5}),
        ("complete_task", {}),
        ("complete_task", {"task_id": "the milk"}),
        ("complete_task", {"task_id": 1.5}),
        ("complete_task", '{"task_id": 1e999}'),
        ("delete_task", {"task_id": ["x"]}),
        ("update_task", {"task_id": 1}),
        ("update_task", {"task_id": 1, "title": "", "description": ""}),
        ("update_task", {"title": "No id"}),
    ],
)
async def test_wrong_arguments_are_a_result_the_model_can_read_and_the_turn_goes_on(
    alice: httpx.AsyncClient, model: ScriptedModel, name: str, arguments: Any
) -> None:
    result = await use(alice, model, name, arguments)
    assert result["success"] is False
    assert result["error_code"] == "VALIDATION_ERROR"
    assert 0 < len(result["error"]) < 500
    assert (await alice.get("/api/tasks")).json()["total"] == 0


async def test_an_unknown_tool_is_a_result_the_model_can_read(
    alice: httpx.AsyncClient, model: ScriptedModel
) -> None:
    model.extend([calls("drop_tables", {"sure": True}), says("Sorry.")])
    turn = await chat(alice, "go")
    assert turn["response"] == "Sorry."
    assert turn["tool_calls"] is None
    assert outputs(model)[0]["success"] is False


async def test_a_failed_call_leaves_the_others_of_its_turn_alone(
    alice: httpx.AsyncClient, model: ScriptedModel
) -> None:
    steps: list[Step] = [
        calls("add_task", {"title": "One"}),
        calls("complete_task", {"task_id": 2**40}),
        calls("add_task", {"title": "Two"}),
    ]
    model.extend([together(*steps), says("Done.")])
    turn = await chat(alice, "go")
    assert [call["result"]["success"] for call in turn["tool_calls"]] == [True, False, True]
    assert (await alice.get("/api/tasks")).json()["total"] == 2


async def test_a_fault_of_our_own_is_an_internal_error_and_changes_nothing(
    alice: httpx.AsyncClient,
    model: ScriptedModel,
    alice_id: str,
    sessions: Sessions,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monthly = {"due_date": "2031-01-31", "recurrence_pattern": "monthly"}
    task = await task_of(alice, "secret words", **monthly)
    # so that making the next occurrence fails
    no_next = f"CHECK (previous_id IS NULL OR user_id <> '{alice_id}')"
    async with sessions.begin() as session:
        connection = await session.connection()
        await connection.execute(text(f"ALTER TABLE tasks ADD CONSTRAINT no_next {no_next}"))
    result = await use(alice, model, "complete_task", {"task_id": task["id"]})
    async with sessions.begin() as session:
        connection = await session.connection()
        await connection.execute(text("ALTER TABLE tasks DROP CONSTRAINT no_next"))
    assert result["error_code"] == "INTERNAL_ERROR"
    assert (await alice.get(f"/api/tasks/{task['id']}")).json()["completed"] is False
    assert [record.message for record in caplog.records if record.exc_info] == ["tool failed"]


async def test_arguments_on_record_are_bounded(
    alice: httpx.AsyncClient, model: ScriptedModel
) -> None:
    model.extend([calls("add_task", {"title": "x" * 100_000, "tag": ["y"]}), says("No.")])
    turn = await chat(alice, "go")
    assert turn["tool_calls"][0]["args"] == {"title": "x" * 2000}


def test_the_schemas_are_strict_shared_and_know_no_user() -> None:
    turn = unsaved_turn()
    unused: Any = None
    one: Any = create_tools_for_user("one", unused, turn)
    two: Any = create_tools_for_user("two", unused, turn)
    assert [tool.name for tool in one] == [
        "add_task",
        "list_tasks",
        "complete_task",
        "delete_task",
        "update_task",
    ]
    for tool, other in zip(one, two, strict=True):
        schema = tool.params_json_schema
        assert schema is other.params_json_schema
        assert schema["required"] == list(schema["properties"])
        assert schema["additionalProperties"] is False
        assert "user" not in json.dumps(schema)
        assert all("description" in parameter for parameter in schema["properties"].values())
        assert tool.description


async def test_a_truth_value_is_no_task_id(alice: httpx.AsyncClient, model: ScriptedModel) -> None:
    result = await use(alice, model, "delete_task", {"task_id": True})
    assert result["error_code"] == "VALIDATION_ERROR"


async def test_calls_under_one_id_or_none_are_calls_of_their_own(
    alice: httpx.AsyncClient, model: ScriptedModel
) -> None:
    steps = [calls("add_task", {"title": title}) for title in ("One", "Two", "Two")]
    for step, call_id in zip(steps, ("same", "same", ""), strict=True):
        step[0].call_id = call_id
    model.extend([together(*steps[:2]), steps[2], says("Done.")])
    turn = await chat(alice, "go")
    assert [call["args"]["title"] for call in turn["tool_calls"]] == ["One", "Two", "Two"]
    assert (await alice.get("/api/tasks")).json()["total"] == 3
