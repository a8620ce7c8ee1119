"""Which open tasks a run is told of: those that are due, those named last, then the newest."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from agents.testing import ScriptedModel
from sqlalchemy import text

from backend.agent.words.prompt import OPEN_TASKS_SHOWN
from backend.database import Sessions, execute
from backend.models import utc_now
from backend.tasks.open_tasks import DUE_MAX, Place, open_tasks
from backend.tests.support.scripting import calls, given, says
from backend.tests.support.task_calls import add, change
from backend.tests.test_chat import chat

TODAY = datetime.now(UTC).date()


def lines(model: ScriptedModel, call: int = -1) -> list[list[Any]]:
    """The open tasks that a call of the model was shown."""
    context = next(
        str(item["content"])
        for item in reversed(given(model, call))
        if "Context from the app" in str(item.get("content"))
    )
    return [json.loads(line) for line in context.splitlines() if line.startswith("[")]


def titles(model: ScriptedModel, call: int = -1) -> list[str]:
    return [line[1] for line in lines(model, call)]


async def test_what_is_due_goes_first_and_then_what_was_named_last(
    alice: httpx.AsyncClient, bob: httpx.AsyncClient, model: ScriptedModel
) -> None:
    await add(bob, "Hers", due_date=f"{TODAY}")
    old = await add(alice, "old")
    named = await add(alice, "named")
    for title, after in (("soon", 1), ("late", -40), ("far", 300)):
        await add(alice, title, due_date=f"{TODAY + timedelta(after)}")
    for number in range(OPEN_TASKS_SHOWN):
        await add(alice, f"new {number}")
    model.extend([calls("update_task", {"task_id": named["id"], "priority": "low"}), says("Done.")])
    first = await chat(alice, "the named one is not urgent")
    newest = [f"new {number}" for number in reversed(range(OPEN_TASKS_SHOWN))]
    assert titles(model, 0) == ["late", "soon", *newest][:OPEN_TASKS_SHOWN]
    model.extend([says("Yes.")])
    await chat(alice, "is it?", conversation_id=first["conversation_id"])
    assert titles(model) == ["late", "soon", "named", *newest][:OPEN_TASKS_SHOWN]
    model.extend([says("Hello.")])
    await chat(alice, "in another conversation")
    assert titles(model) == ["late", "soon", *newest][:OPEN_TASKS_SHOWN]
    await change(alice, old, due_date=f"{TODAY}")
    model.extend([says("Hello.")])
    await chat(alice, "hello")
    assert titles(model)[:3] == ["late", "old", "soon"]


async def test_many_that_are_late_leave_room_for_others(
    alice: httpx.AsyncClient, model: ScriptedModel
) -> None:
    for number in range(DUE_MAX + 15):
        await add(alice, f"late {number}", due_date=f"{TODAY - timedelta(100 - number)}")
    for number in range(5):
        await add(alice, f"new {number}")
    model.extend([says("Hello.")])
    await chat(alice, "hello")
    shown = titles(model)
    assert shown[:DUE_MAX] == [f"late {number}" for number in range(DUE_MAX)]
    assert shown[DUE_MAX : DUE_MAX + 5] == [f"new {number}" for number in reversed(range(5))]
    assert len(shown) == OPEN_TASKS_SHOWN


async def test_priority_and_tags_are_shown_where_they_are_set(
    alice: httpx.AsyncClient, model: ScriptedModel
) -> None:
    many = [f"t{number}" for number in range(9)]
    tagged = await add(alice, "tagged", tags=many, priority="high")
    plain = await add(alice, "plain")
    model.extend([says("Hello.")])
    await chat(alice, "hello")
    assert lines(model) == [
        [plain["id"], "plain", None],
        [tagged["id"], "tagged", None, {"priority": "high", "tags": many[:5]}],
    ]


@pytest.mark.parametrize("record", ['[{"task_id": 999999999999999999999}]', '"task_id": 1', "null"])
async def test_a_damaged_record_and_a_strangers_conversation_name_nothing(
    alice: httpx.AsyncClient,
    bob: httpx.AsyncClient,
    alice_id: str,
    bob_id: str,
    model: ScriptedModel,
    own_sessions: Sessions,
    record: str,
) -> None:
    mine = await add(alice, "mine")
    await add(alice, "newer")
    model.extend([calls("update_task", {"task_id": mine["id"], "priority": "low"}), says("Done.")])
    place = Place((await chat(alice, "named"))["conversation_id"])
    async with own_sessions() as session:
        shown = (await open_tasks(session, alice_id, 9, utc_now(), None, place)).shown
        assert [task.title for task in shown] == ["mine", "newer"]
        assert (await open_tasks(session, bob_id, 9, utc_now(), None, place)).shown == []
        damage = text("UPDATE messages SET tool_calls_json = :record WHERE conversation_id = :id")
        await execute(session, damage, {"record": record, "id": place.conversation_id})
        shown = (await open_tasks(session, alice_id, 9, utc_now(), None, place)).shown
        assert [task.title for task in shown] == ["newer", "mine"]
