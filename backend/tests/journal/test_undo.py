"""Undo: all that one message changed is taken back, once, or nothing is."""

import asyncio
import json
from typing import Any

import httpx
import pytest
from agents.testing import ScriptedModel
from sqlalchemy import text

from backend.agent.context.history import UNDONE
from backend.tests.conversations.test_history import conversation_of, lease, message_in
from backend.tests.support.databases import Sessions
from backend.tests.support.fixtures import Run
from backend.tests.support.scripting import Step, calls, given, says, together
from backend.tests.support.task_calls import add, change, listed, toggle
from backend.tests.test_chat import chat, messages_of
from backend.tests.turns.test_failures import LOST, refused


async def told(
    client: httpx.AsyncClient, model: ScriptedModel, *steps: Step, **body: Any
) -> dict[str, Any]:
    """The assistant's message of a turn in which the model makes `steps`, as the history has it."""
    model.extend([*steps, says("Done.")])
    turn = await chat(client, "go", **body)
    message = (await messages_of(client, turn["conversation_id"]))[-1]
    return message | {"conversation_id": turn["conversation_id"]}


async def undo(client: httpx.AsyncClient, message: Any) -> dict[str, Any]:
    answer = await client.post(f"/api/messages/{message['id']}/undo")
    assert answer.status_code == 200, answer.text
    undone: dict[str, Any] = answer.json()
    return undone


async def not_undone(
    client: httpx.AsyncClient, message_id: object, status: int, code: str
) -> dict[str, Any]:
    answer = await client.post(f"/api/messages/{message_id}/undo")
    assert answer.status_code == status, answer.text
    error: dict[str, Any] = answer.json()["error"]
    assert error["code"] == code
    return error


async def row_of(sessions: Sessions, task_id: int) -> dict[str, Any]:
    """Every column of a task, deleted or not."""
    async with sessions() as session:
        connection = await session.connection()
        found = await connection.execute(text("SELECT * FROM tasks WHERE id = :i"), {"i": task_id})
        return found.one()._asdict()


async def execute(sessions: Sessions, sql: str, **values: Any) -> None:
    async with sessions.begin() as session:
        await (await session.connection()).execute(text(sql), values)


def task_ids(message: dict[str, Any]) -> list[int]:
    return [call["result"]["task_id"] for call in message["tool_calls"]]


async def test_an_added_task_is_deleted(
    alice: httpx.AsyncClient, model: ScriptedModel, sessions: Sessions
) -> None:
    message = await told(alice, model, calls("add_task", {"title": "Milk"}))
    await undo(alice, message)
    assert await listed(alice) == []
    assert (await row_of(sessions, *task_ids(message)))["deleted_at"] is not None


CHANGES: list[tuple[str, dict[str, Any]]] = [
    ("complete_task", {}),
    ("delete_task", {}),
    ("update_task", {"title": "Oat milk"}),
    ("update_task", {"description": "3", "priority": "low", "due_date": "2032-02-02"}),
    ("update_task", {"title": "Milk"}),
]


@pytest.mark.parametrize(("name", "arguments"), CHANGES)
@pytest.mark.parametrize("recurrence", ["daily", "monthly"])
async def test_a_changed_task_is_what_it_was_to_the_last_column(
    alice: httpx.AsyncClient,
    model: ScriptedModel,
    sessions: Sessions,
    name: str,
    arguments: dict[str, Any],
    recurrence: str,
) -> None:
    task = await add(
        alice,
        "Milk",
        description="2 gallons",
        priority="high",
        due_date="2031-01-31T09:30:00+02:00",
        tags=["shop"],
        recurrence_pattern=recurrence,
    )
    # the second of its series, so that the day it means is known
    await toggle(alice, task)
    newest = (await listed(alice))[0]["id"]
    before = await row_of(sessions, newest)
    message = await told(alice, model, calls(name, {"task_id": newest, **arguments}))
    assert await row_of(sessions, newest) != before
    await undo(alice, message)
    assert await row_of(sessions, newest) == before


async def test_a_completed_tasks_next_occurrence_is_withdrawn_and_may_come_again(
    alice: httpx.AsyncClient, model: ScriptedModel, sessions: Sessions
) -> None:
    task = await add(alice, "Rent", due_date="2031-01-31", recurrence_pattern="monthly")
    message = await told(alice, model, calls("complete_task", {"task_id": task["id"]}))
    following, _ = await listed(alice)
    await undo(alice, message)
    assert await listed(alice) == [task]
    withdrawn = await row_of(sessions, following["id"])
    assert (withdrawn["deleted_at"] is None, withdrawn["previous_id"]) == (False, None)
    await toggle(alice, task)
    again, _ = await listed(alice)
    assert again["due_date"] == following["due_date"]
    assert again["id"] != following["id"]


async def test_a_next_occurrence_that_was_there_before_stays(
    alice: httpx.AsyncClient, model: ScriptedModel
) -> None:
    task = await add(alice, "Rent", recurrence_pattern="daily")
    await toggle(alice, task)
    await toggle(alice, task)
    there = await listed(alice)
    await undo(alice, await told(alice, model, calls("complete_task", {"task_id": task["id"]})))
    assert await listed(alice) == there


async def test_several_calls_are_all_taken_back(
    alice: httpx.AsyncClient, model: ScriptedModel
) -> None:
    for title in ("One", "Two", "Three"):
        await add(alice, title)
    before = await listed(alice)
    three, two, one = (task["id"] for task in before)
    await undo(
        alice,
        await told(
            alice,
            model,
            together(
                calls("delete_task", {"task_id": two}),
                calls("add_task", {"title": "Four"}),
                calls("complete_task", {"task_id": 2**40}),
                calls("list_tasks"),
            ),
            calls("update_task", {"task_id": three, "priority": "high"}),
            calls("complete_task", {"task_id": one}),
        ),
    )
    assert await listed(alice) == before


async def test_several_calls_on_one_task_are_taken_back_last_first(
    alice: httpx.AsyncClient, model: ScriptedModel, sessions: Sessions
) -> None:
    task = await add(alice, "Milk", recurrence_pattern="daily")
    before = await row_of(sessions, task["id"])
    following = task["id"] + 1
    message = await told(
        alice,
        model,
        calls("update_task", {"task_id": task["id"], "title": "Oat milk"}),
        calls("complete_task", {"task_id": task["id"]}),
        calls("update_task", {"task_id": task["id"], "title": "Soy milk", "priority": "low"}),
        calls("complete_task", {"task_id": following}),
        calls("delete_task", {"task_id": task["id"]}),
    )
    assert all(call["result"]["success"] for call in message["tool_calls"])
    await undo(alice, message)
    assert await listed(alice) == [task]
    assert await row_of(sessions, task["id"]) == before


async def test_a_task_added_completed_and_renamed_in_one_turn_is_gone(
    alice: httpx.AsyncClient, model: ScriptedModel, sessions: Sessions
) -> None:
    other = await add(alice, "Other")
    new = {"task_id": other["id"] + 1}
    message = await told(
        alice,
        model,
        calls("add_task", {"title": "Milk"}),
        calls("complete_task", new),
        calls("update_task", {**new, "title": "Oat milk"}),
    )
    assert task_ids(message) == [new["task_id"]] * 3
    await undo(alice, message)
    assert await listed(alice) == [other]
    row = await row_of(sessions, new["task_id"])
    assert (row["title"], row["completed"], row["deleted_at"] is None) == ("Milk", False, False)


async def test_messages_are_undone_one_behind_the_other_the_newest_first(
    alice: httpx.AsyncClient, model: ScriptedModel
) -> None:
    task = await add(alice, "One")
    first, second = [
        await told(alice, model, calls("update_task", {"task_id": task["id"], "title": title}))
        for title in ("Two", "Three")
    ]
    error = await not_undone(alice, first["id"], 409, "TASK_CHANGED")
    assert error["details"] == {"tasks": [{"task_id": task["id"], "title": "Three"}]}
    await undo(alice, second)
    await undo(alice, first)
    assert await listed(alice) == [task]


@pytest.mark.parametrize("how", ["PUT", "PATCH", "DELETE"])
async def test_where_a_task_was_changed_since_nothing_is_undone_and_it_is_named(
    alice: httpx.AsyncClient, model: ScriptedModel, how: str
) -> None:
    one, two, three = [await add(alice, title) for title in ("One", "Two", "Three")]
    message = await told(
        alice,
        model,
        *(calls("complete_task", {"task_id": task["id"]}) for task in (three, two, one)),
        calls("add_task", {"title": "Four"}),
    )
    match how:
        case "PUT":
            await change(alice, two, title="Two!")
        case "PATCH":
            await toggle(alice, two)
        case _:
            await alice.delete(f"/api/tasks/{two['id']}")
    await change(alice, one, title="One")
    before = await listed(alice)
    error = await not_undone(alice, message["id"], 409, "TASK_CHANGED")
    assert error["details"] == {
        "tasks": [
            {"task_id": one["id"], "title": "One"},
            {"task_id": two["id"], "title": "Two!" if how == "PUT" else "Two"},
        ]
    }
    assert await listed(alice) == before
    assert (await messages_of(alice, message["conversation_id"]))[-1]["undone_at"] is None


async def test_a_next_occurrence_that_was_changed_since_is_named(
    alice: httpx.AsyncClient, model: ScriptedModel
) -> None:
    task = await add(alice, "Rent", recurrence_pattern="daily")
    message = await told(alice, model, calls("complete_task", {"task_id": task["id"]}))
    following, _ = await listed(alice)
    await change(alice, following, title="Rent, the next")
    error = await not_undone(alice, message["id"], 409, "TASK_CHANGED")
    named = {"task_id": following["id"], "title": "Rent, the next"}
    assert error["details"] == {"tasks": [named]}
    assert len(await listed(alice)) == 2


async def test_a_change_between_two_calls_is_not_lost(
    alice: httpx.AsyncClient, model: ScriptedModel
) -> None:
    """What the person did in the middle of the turn is neither of its calls' to take back."""
    task = await add(alice, "One")
    rename = {"task_id": task["id"], "title": "Two"}
    model.extend([calls("update_task", rename), LOST])
    failed = (await refused(alice, "go"))["details"]
    await change(alice, task, description="mine")
    model.extend([calls("complete_task", {"task_id": task["id"]}), says("Done.")])
    turn = await chat(alice, "go")
    assert turn["conversation_id"] == failed["conversation_id"]
    await not_undone(alice, failed["message_id"], 409, "TASK_CHANGED")


async def test_it_is_done_once(alice: httpx.AsyncClient, model: ScriptedModel) -> None:
    task = await add(alice, "Milk")
    message = await told(alice, model, calls("delete_task", {"task_id": task["id"]}))
    await undo(alice, message)
    await alice.delete(f"/api/tasks/{task['id']}")
    await not_undone(alice, message["id"], 409, "ALREADY_UNDONE")
    assert await listed(alice) == []


async def test_of_several_at_once_one_undoes(
    alice: httpx.AsyncClient, model: ScriptedModel
) -> None:
    tasks = [await add(alice, title) for title in ("One", "Two")]
    deletions = (calls("delete_task", {"task_id": task["id"]}) for task in tasks)
    message = await told(alice, model, *deletions)
    path = f"/api/messages/{message['id']}/undo"
    answers = await asyncio.gather(*(alice.post(path) for _ in range(5)))
    assert sorted(answer.status_code for answer in answers) == [200, 409, 409, 409, 409]
    assert {a.json()["error"]["code"] for a in answers if a.is_error} == {"ALREADY_UNDONE"}
    assert await listed(alice) == tasks[::-1]


async def test_messages_with_the_same_tasks_are_undone_at_once_without_a_deadlock(
    alice: httpx.AsyncClient, model: ScriptedModel
) -> None:
    tasks = [await add(alice, str(number)) for number in range(4)]
    messages = []
    for order in (tasks, tasks[::-1], tasks):
        renamed = (calls("update_task", {"task_id": t["id"], "priority": "low"}) for t in order)
        messages.append(await told(alice, model, *renamed))
    paths = [f"/api/messages/{message['id']}/undo" for message in messages]
    answers = await asyncio.gather(*(alice.post(path) for path in paths))
    assert {answer.status_code for answer in answers} <= {200, 409}
    assert answers[-1].status_code == 200


async def test_someone_elses_message_is_not_found_and_stands(
    alice: httpx.AsyncClient, bob: httpx.AsyncClient, model: ScriptedModel
) -> None:
    message = await told(alice, model, calls("add_task", {"title": "Milk"}))
    await not_undone(bob, message["id"], 404, "MESSAGE_NOT_FOUND")
    assert len(await listed(alice)) == 1
    assert (await messages_of(alice, message["conversation_id"]))[-1]["undone_at"] is None


@pytest.mark.parametrize(
    "message_id",
    [
        *("0", "-1", "9223372036854775807", "9223372036854775808", "1" * 500),
        *("abc", "undefined", "null", "1.5", "1e3", "+1", " 1", "1 ", "%31%00", "٣"),
        "550e8400-e29b-41d4-a716-446655440000",
    ],
)
async def test_an_id_of_any_shape_that_is_no_message_is_not_found(
    alice: httpx.AsyncClient, message_id: str
) -> None:
    await not_undone(alice, message_id, 404, "MESSAGE_NOT_FOUND")


async def test_the_persons_own_message_and_one_of_a_deleted_conversation_are_not_found(
    alice: httpx.AsyncClient, model: ScriptedModel, sessions: Sessions
) -> None:
    message = await told(alice, model, calls("add_task", {"title": "Milk"}))
    asked = (await messages_of(alice, message["conversation_id"]))[0]
    await not_undone(alice, asked["id"], 404, "MESSAGE_NOT_FOUND")
    sql = "UPDATE conversations SET deleted_at = now() WHERE id = :id"
    await execute(sessions, sql, id=message["conversation_id"])
    await not_undone(alice, message["id"], 404, "MESSAGE_NOT_FOUND")
    assert len(await listed(alice)) == 1


async def test_without_a_session_nothing_is_undone(client: httpx.AsyncClient) -> None:
    await not_undone(client, 1, 401, "INVALID_SESSION")


async def test_undo_counts_with_the_tasks(alice: httpx.AsyncClient, run: Run) -> None:
    async with run(alice, rate_limit_tasks="2/minute") as client:
        await listed(client)
        await not_undone(client, 1, 404, "MESSAGE_NOT_FOUND")
        error = await not_undone(client, 1, 429, "RATE_LIMIT_EXCEEDED")
        assert error["details"] is None


async def test_where_nothing_was_changed_there_is_nothing_to_undo(
    alice: httpx.AsyncClient, model: ScriptedModel
) -> None:
    done = await toggle(alice, await add(alice, "Done"))
    for steps in (
        [],
        [calls("list_tasks")],
        [calls("delete_task", {"task_id": 2**40})],
        [calls("complete_task", {"task_id": done["id"]})],
    ):
        message = await told(alice, model, *steps)
        await not_undone(alice, message["id"], 409, "NOTHING_TO_UNDO")
        assert (await messages_of(alice, message["conversation_id"]))[-1]["undone_at"] is None
    assert await listed(alice) == [done]


def recorded(undo: Any, **more: Any) -> str:
    call = {"tool": "complete_task", "args": {}, "result": {"success": True, "task_id": 1}}
    return json.dumps([{**call, "undo": undo}, *more.get("calls", [])])


@pytest.mark.parametrize(
    "stored",
    [
        '[{"tool": "complete_task", "args": {}, "result": {"success": true, "task_id": 1}}]',
        recorded(None),
        recorded({"task_id": 1}),
        recorded([1]),
        recorded([{}]),
        recorded([{"task_id": 1, "before": {}, "after": "2031-01-01T00:00:00Z"}]),
        recorded([{"task_id": 1, "before": None, "after": "yesterday"}]),
        recorded([], calls=[{"tool": "add_task", "result": {"success": True}}]),
    ],
)
async def test_what_an_earlier_backend_did_or_damage_left_is_not_guessed_at(
    alice: httpx.AsyncClient, alice_id: str, sessions: Sessions, stored: str
) -> None:
    conversation_id = await conversation_of(sessions, alice_id)
    answer = await message_in(
        sessions, conversation_id, alice_id, "assistant", "Done.", tool_calls_json=stored
    )
    await not_undone(alice, answer, 409, "NOTHING_TO_UNDO")


async def test_a_record_cannot_reach_someone_elses_task(
    alice: httpx.AsyncClient, alice_id: str, bob: httpx.AsyncClient, sessions: Sessions
) -> None:
    task = await add(bob, "His")
    stored = recorded([{"task_id": task["id"], "before": None, "after": task["updated_at"]}])
    conversation_id = await conversation_of(sessions, alice_id)
    answer = await message_in(
        sessions, conversation_id, alice_id, "assistant", "Done.", tool_calls_json=stored
    )
    error = await not_undone(alice, answer, 409, "TASK_CHANGED")
    assert error["details"] == {"tasks": []}
    assert await listed(bob) == [task]


async def test_a_turn_that_is_running_is_not_undone_and_one_whose_process_died_is(
    alice: httpx.AsyncClient, model: ScriptedModel, sessions: Sessions
) -> None:
    message = await told(alice, model, calls("add_task", {"title": "Milk"}))
    running = "UPDATE messages SET status = 'running' WHERE id = :id"
    await execute(sessions, running, id=message["id"])
    await lease(sessions, message["id"], "1 minute")
    await not_undone(alice, message["id"], 409, "TURN_IN_PROGRESS")
    assert len(await listed(alice)) == 1
    await lease(sessions, message["id"], "-1 second")
    await undo(alice, message)
    assert await listed(alice) == []
    # closed, so that the process can record nothing more, should it wake
    async with sessions() as session:
        status = text("SELECT status FROM messages WHERE id = :id")
        found = await (await session.connection()).execute(status, {"id": message["id"]})
        assert found.scalar_one() == "failed"


async def test_a_failed_turn_that_did_something_is_undone(
    alice: httpx.AsyncClient, model: ScriptedModel
) -> None:
    model.extend([calls("add_task", {"title": "Milk"}), LOST])
    details = (await refused(alice, "Add milk"))["details"]
    undone = await undo(alice, {"id": details["message_id"]})
    assert undone["content"].startswith("I could not finish.")
    assert await listed(alice) == []


async def test_a_failed_turn_that_did_nothing_has_nothing_to_undo(
    alice: httpx.AsyncClient, model: ScriptedModel
) -> None:
    model.extend([LOST])
    details = (await refused(alice, "Add milk"))["details"]
    await not_undone(alice, details["message_id"], 409, "NOTHING_TO_UNDO")


async def test_both_attempts_at_a_turn_are_undone(
    alice: httpx.AsyncClient, model: ScriptedModel
) -> None:
    model.extend([calls("add_task", {"title": "Milk"}), LOST])
    failed = (await refused(alice, "Add milk and bread"))["details"]
    model.extend(
        [
            together(calls("add_task", {"title": "Milk"}), calls("add_task", {"title": "Bread"})),
            says("Added."),
        ]
    )
    await chat(alice, "Add milk and bread")
    assert len(await listed(alice)) == 2
    await undo(alice, {"id": failed["message_id"]})
    assert await listed(alice) == []


async def test_the_same_text_after_an_undone_failure_is_a_message_of_its_own(
    alice: httpx.AsyncClient, model: ScriptedModel
) -> None:
    model.extend([calls("add_task", {"title": "Milk"}), LOST])
    failed = (await refused(alice, "Add milk"))["details"]
    await undo(alice, {"id": failed["message_id"]})
    model.extend([calls("add_task", {"title": "Milk"}), says("Added.")])
    turn = await chat(alice, "Add milk", conversation_id=failed["conversation_id"])
    assert [task["id"] for task in await listed(alice)] == task_ids(turn)
    assert len(await messages_of(alice, failed["conversation_id"])) == 4


async def test_a_key_whose_failed_turn_was_undone_is_refused(
    alice: httpx.AsyncClient, model: ScriptedModel
) -> None:
    model.extend([calls("add_task", {"title": "Milk"}), LOST])
    alice.headers["Idempotency-Key"] = "one"
    failed = (await refused(alice, "Add milk"))["details"]
    await undo(alice, {"id": failed["message_id"]})
    again = await alice.post("/api/chat", json={"message": "Add milk"})
    assert (again.status_code, again.json()["error"]["code"]) == (409, "ALREADY_UNDONE")
    assert await listed(alice) == []


async def test_a_key_whose_answered_turn_was_undone_replays_the_answer(
    alice: httpx.AsyncClient, model: ScriptedModel
) -> None:
    alice.headers["Idempotency-Key"] = "one"
    message = await told(alice, model, calls("add_task", {"title": "Milk"}))
    await undo(alice, message)
    again = await alice.post("/api/chat", json={"message": "go"})
    assert (again.status_code, again.headers["Idempotency-Replayed"]) == (200, "true")
    assert await listed(alice) == []


async def test_the_answer_is_the_message_and_the_history_marks_it(
    alice: httpx.AsyncClient, model: ScriptedModel
) -> None:
    message = await told(alice, model, calls("add_task", {"title": "Milk"}))
    conversation_id = message.pop("conversation_id")
    assert message["undone_at"] is None
    undone = await undo(alice, message)
    assert undone["undone_at"].endswith("Z")
    assert undone.pop("not_undone") is None
    assert undone == message | {"undone_at": undone["undone_at"]}
    asked, answer = await messages_of(alice, conversation_id)
    assert (asked["undone_at"], answer) == (None, undone)


async def test_the_next_turns_model_is_told(alice: httpx.AsyncClient, model: ScriptedModel) -> None:
    message = await told(alice, model, calls("add_task", {"title": "Milk"}))
    conversation = {"conversation_id": message["conversation_id"]}
    await told(alice, model, **conversation)
    assert UNDONE not in json.dumps(given(model))
    await undo(alice, message)
    await told(alice, model, **conversation)
    said = [item["content"] for item in given(model) if item.get("role") == "assistant"]
    assert said == [f"Done.\n{UNDONE}", "Done."]


async def test_what_undo_needs_is_told_to_nobody(
    alice: httpx.AsyncClient, alice_id: str, model: ScriptedModel, sessions: Sessions
) -> None:
    task = await add(alice, "Milk", recurrence_pattern="daily")
    complete = calls("complete_task", {"task_id": task["id"]})
    model.extend([complete, LOST])
    failed = await alice.post("/api/chat", json={"message": "Done with milk"})
    model.extend([calls("add_task", {"title": "Bread"}), says("Done.")])
    chatted = await alice.post("/api/chat", json={"message": "Done with milk"})
    turn = chatted.json()
    history = await alice.get(f"/api/conversations/{turn['conversation_id']}/messages")
    undone = await alice.post(f"/api/messages/{history.json()[-1]['id']}/undo")
    await told(alice, model, conversation_id=turn["conversation_id"])
    async with sessions() as session:
        kept = text(
            "SELECT tool_calls_json FROM messages WHERE user_id = :id AND role <> 'user'"
            " ORDER BY id"
        )
        found = await (await session.connection()).execute(kept, {"id": alice_id})
        first = json.loads(found.scalars().all()[0])
    assert [set(call) for call in first] == [{"tool", "args", "result", "undo"}] * 2
    assert failed.json()["error"]["details"]["tool_calls"] == [
        {key: first[0][key] for key in ("tool", "args", "result")}
    ]
    for answer in (failed, chatted, history, undone):
        assert '"undo"' not in answer.text
        assert '"before"' not in answer.text
    for number in range(len(model.calls)):
        assert '"undo"' not in json.dumps(given(model, number)).replace("\\", "")
