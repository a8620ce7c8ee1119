"""A database in service is brought to our schema in place, whatever form it was left in."""

import asyncio

import pytest

from backend.models import Conversation, Message, Task
from backend.tests.support import earlier_backend as earlier
from backend.tests.support.adopting import (
    MakeEarlier,
    Row,
    adopt,
    adopt_again,
    everything,
    make_earlier,
    query,
    rows_of,
)
from backend.tests.support.databases import catalog, execute

pytestmark = pytest.mark.long

__all__ = ["make_earlier"]


def expected_task(form: earlier.Form, row: Row) -> Row:
    """What our schema has for a row, in the words of the contract."""
    kept = {name: row[name] for name in form.of(earlier.TASK_COLUMNS)}
    task: Row = {
        "description": "",
        "completed": False,
        "priority": "medium",
        "due_date": None,
        "due_is_date": None,
        "time_zone": None,
        "recurrence_time": None,
        "tags": [],
        "recurrence_pattern": "none",
        "recurrence_day": None,
        "previous_id": None,
        "project_id": None,
        "steps": [],
        "updated_at": kept["created_at"],
        "deleted_at": None,
    } | kept
    task["priority"] = task["priority"].lower()
    task["recurrence_pattern"] = task["recurrence_pattern"].lower()
    task["completed_at"] = task["updated_at"] if task["completed"] else None
    return task


IN_SHORT = {"instants", "zoneless, server in Karachi", "hardly a column", "strict identity keys"}
every_form = pytest.mark.parametrize(
    "form",
    [
        pytest.param(form, id=name, marks=() if name in IN_SHORT else pytest.mark.e2e)
        for name, form in earlier.FORMS.items()
    ],
)


@every_form
async def test_every_row_field_and_instant_is_kept_twice_in_a_row(
    form: earlier.Form, make_earlier: MakeEarlier
) -> None:
    url = await make_earlier(form)
    await adopt(url)
    once = await everything(url)
    await adopt_again(url)
    assert await everything(url) == once
    tasks = [task.model_dump(exclude={"id"}) for task in await rows_of(url, Task)]
    assert tasks == [expected_task(form, row) for row in earlier.TASKS]
    conversations, messages = await rows_of(url, Conversation), await rows_of(url, Message)
    kept = set(earlier.CONVERSATIONS[0])
    assert [row.model_dump(include=kept) for row in conversations] == (
        earlier.CONVERSATIONS if form.chat else []
    )
    assert [row.message_count for row in conversations] == ([3, 0] if form.chat else [])
    assert [row.model_dump(include=set(earlier.MESSAGES[0])) for row in messages] == (
        earlier.MESSAGES if form.chat else []
    )
    assert {row.status for row in messages} <= {"complete"}
    add = "INSERT INTO tasks (user_id, title) VALUES ('ann', 'next') RETURNING id"
    assert await query(url, add) == [{"id": 4}]


@pytest.mark.parametrize("name", ["zoneless", "identity keys", "keys without a sequence"])
async def test_ids_may_grow_past_an_integer(name: str, make_earlier: MakeEarlier) -> None:
    url = await make_earlier(earlier.FORMS[name])
    await adopt(url)
    sequences = "SELECT sequencename, data_type::text AS type FROM pg_sequences"
    assert {row["type"] for row in await query(url, sequences)} == {"bigint"}
    keys = """SELECT data_type FROM information_schema.columns WHERE table_schema = 'public'
        AND column_name IN ('id', 'conversation_id') AND table_name <> 'user'"""
    assert {row["data_type"] for row in await query(url, keys)} == {"bigint"}


async def test_an_adopted_schema_is_ours_but_for_the_sequences_of_its_keys(
    make_earlier: MakeEarlier, database_url: str
) -> None:
    form = earlier.Form(earlier.ZONELESS | {"user_id": "varchar(255) NOT NULL", "tags": "jsonb"})
    url = await make_earlier(form)
    await adopt(url)
    ours, theirs = set(await catalog(database_url)), set(await catalog(url))
    assert {text for _, _, text in ours - theirs} == {"id bigint t d"}
    assert {text.split("(")[0] for _, _, text in theirs - ours} == {"id bigint t  nextval"}


async def test_indexes_have_our_columns_and_the_earlier_ones_stay(
    make_earlier: MakeEarlier, database_url: str
) -> None:
    url = await make_earlier(earlier.FORMS["indexes of its own"])
    await adopt(url)
    ours = {part for part in await catalog(database_url) if part[1] == "index"}
    theirs = {part for part in await catalog(url) if part[1] == "index"}
    assert ours <= theirs
    assert {text.split()[2] for _, _, text in theirs - ours} == {
        "ix_tasks_priority",
        "ix_tasks_user_id",
    }


async def test_several_replicas_may_adopt_at_once(make_earlier: MakeEarlier) -> None:
    form = earlier.FORMS["zoneless, server in Karachi"]
    url = await make_earlier(form)
    await asyncio.gather(*(adopt(url) for _ in range(4)))
    tasks = [task.model_dump(exclude={"id"}) for task in await rows_of(url, Task)]
    assert tasks == [expected_task(form, row) for row in earlier.TASKS]


# Rows that the earlier backend goes on to write during a change-over


@pytest.mark.parametrize("high", ["'HIGH'", "'HIGH'::taskpriority"])
async def test_the_earlier_backend_can_still_write_a_task(
    high: str, make_earlier: MakeEarlier
) -> None:
    url = await make_earlier(earlier.Form())
    await adopt(url)
    await execute(
        url,
        "INSERT INTO tasks (user_id, title, description, completed, priority, due_date, tags,"
        " recurrence_pattern, created_at, updated_at, deleted_at) VALUES ('ann', 'late', '',"
        f" false, {high}, NULL, '[\"x\"]', 'NONE'::recurrencepattern, '2026-03-01 10:00:00.000001',"
        " '2026-03-01 10:00:00.000001', NULL)",
        "UPDATE tasks SET priority = 'LOW'::taskpriority WHERE title = 'Buy milk'",
    )
    tasks = {task.title: task for task in await rows_of(url, Task)}
    assert tasks["late"].priority.lower() == "high"
    assert tasks["late"].created_at == earlier.instant("2026-03-01 10:00:00.000001")
    assert tasks["late"].id == 4
    assert tasks["Buy milk"].priority.lower() == "low"


async def test_a_turn_the_earlier_backend_writes_is_two_complete_messages(
    make_earlier: MakeEarlier,
) -> None:
    url = await make_earlier(earlier.Form())
    await adopt(url)
    await execute(
        url,
        "INSERT INTO conversations (user_id, created_at, updated_at) VALUES ('ann', now(), now())",
        "INSERT INTO messages (conversation_id, user_id, role, content, created_at)"
        " VALUES (3, 'ann', 'user', 'hi', now()), (3, 'ann', 'assistant', 'hello', now())",
    )
    messages = [row for row in await rows_of(url, Message) if row.conversation_id == 3]
    assert [(row.role, row.status) for row in messages] == [
        ("user", "complete"),
        ("assistant", "complete"),
    ]
