"""What else a database in service may hold is kept, and keeps working, when it is adopted."""

import json
from datetime import UTC, datetime

import pytest
from psycopg import errors

from backend import demo
from backend.models import Message, Task
from backend.tests.support import earlier_backend as earlier
from backend.tests.support.adopting import (
    MakeEarlier,
    adopt,
    adopt_again,
    make_earlier,
    query,
    rows_of,
)
from backend.tests.support.databases import execute
from backend.tests.support.fixtures import client_of, make_settings, running

__all__ = ["make_earlier"]


async def test_a_reference_to_better_auths_users_goes_on_working(
    make_earlier: MakeEarlier,
) -> None:
    url = await make_earlier(earlier.FORMS["owners by reference"])
    await adopt(url)
    with pytest.raises(errors.ForeignKeyViolation):
        await execute(url, "INSERT INTO tasks (user_id, title) VALUES ('nobody', 'x')")
    await execute(url, "DELETE FROM \"user\" WHERE id = 'bob'")
    assert {task.user_id for task in await rows_of(url, Task)} == {"ann"}


async def test_better_auths_tables_are_not_touched(make_earlier: MakeEarlier) -> None:
    url = await make_earlier(earlier.FORMS["owners by reference"])
    seen = """SELECT 'user'::regclass::oid AS table, xmin::text, id, name FROM "user" ORDER BY id"""
    before = await query(url, seen)
    await adopt(url)
    assert await query(url, seen) == before


async def test_no_text_is_ever_cut(make_earlier: MakeEarlier) -> None:
    form = earlier.Form({"title": "varchar", "description": "text", "user_id": "char(300)"})
    url = await make_earlier(form)
    await execute(
        url,
        "ALTER TYPE taskpriority ADD VALUE 'WITHIN_THE_HOUR'",
        f"UPDATE tasks SET title = '{'t' * 900}', description = '{'d' * 9000}',"
        f" user_id = '{'u' * 300}', priority = 'WITHIN_THE_HOUR' WHERE id = 1",
    )
    await adopt(url)
    task = (await rows_of(url, Task))[0]
    assert (len(task.title), len(task.description), len(task.user_id)) == (900, 9000, 300)
    assert task.priority == "within_the_hour"


async def test_a_missing_value_becomes_the_default_or_stays_missing(
    make_earlier: MakeEarlier,
) -> None:
    loose = {name: type_.removesuffix(" NOT NULL") for name, type_ in earlier.TASK_COLUMNS.items()}
    url = await make_earlier(earlier.Form(loose | {"updated_at": "timestamp"}))
    await execute(
        url,
        "INSERT INTO tasks (user_id, title, created_at, tags) VALUES"
        " ('ann', 'bare', '2026-01-01 00:00Z', NULL), ('ann', 'null', now(), 'null'),"
        " (NULL, 'nobody''s', now(), '[]')",
    )
    await adopt(url)
    bare, null, nobodys = (await rows_of(url, Task))[3:]
    assert bare.updated_at == bare.created_at == datetime(2026, 1, 1, tzinfo=UTC)
    assert (bare.description, bare.completed, bare.completed_at) == ("", False, None)
    assert (bare.priority, bare.recurrence_pattern, bare.tags) == ("medium", "none", [])
    assert null.tags == []
    assert nobodys.title == "nobody's"
    await adopt_again(url)


async def test_columns_of_the_earlier_backend_stay_and_need_not_be_filled(
    make_earlier: MakeEarlier,
) -> None:
    extra = (
        "ALTER TABLE {} ADD {} text NOT NULL DEFAULT 'old'",
        "ALTER TABLE {} ALTER {} DROP DEFAULT",
    )
    url = await make_earlier(
        earlier.Form(
            after=tuple(
                step.format(table, column)
                for table, column in (("tasks", "category"), ("conversations", '"isOpen"'))
                for step in extra
            )
        )
    )
    await adopt(url)
    await execute(url, "INSERT INTO tasks (user_id, title) VALUES ('ann', 'new')")
    await execute(url, "INSERT INTO conversations (user_id) VALUES ('ann')")
    found = await query(url, "SELECT category FROM tasks ORDER BY id")
    assert [row["category"] for row in found] == ["old", "old", "old", None]


async def test_a_trigger_of_the_earlier_backend_moves_no_instant(
    make_earlier: MakeEarlier,
) -> None:
    form = earlier.Form(
        after=(
            "CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS"
            " 'BEGIN NEW.updated_at = now(); RETURN NEW; END'",
            "CREATE TRIGGER touch BEFORE UPDATE ON tasks FOR EACH ROW EXECUTE FUNCTION touch()",
        )
    )
    url = await make_earlier(form)
    await adopt(url)
    found = [task.updated_at for task in await rows_of(url, Task)]
    assert found == [row["updated_at"] for row in earlier.TASKS]


async def test_messages_without_their_conversation_are_kept_and_new_ones_refused(
    make_earlier: MakeEarlier,
) -> None:
    url = await make_earlier(earlier.Form({"conversation_id": "integer NOT NULL"}))
    await execute(url, "UPDATE messages SET conversation_id = 77 WHERE id = 3")
    await adopt(url)
    assert [row.conversation_id for row in await rows_of(url, Message)] == [1, 1, 77]
    with pytest.raises(errors.ForeignKeyViolation):
        await execute(
            url,
            "INSERT INTO messages (conversation_id, user_id, role, content)"
            " VALUES (78, 'ann', 'user', 'x')",
        )


async def test_recorded_calls_stay_the_text_they_were(make_earlier: MakeEarlier) -> None:
    url = await make_earlier(earlier.Form({"tool_calls_json": "jsonb"}))
    await execute(url, "UPDATE messages SET tool_calls_json = 'null' WHERE id = 1")
    await adopt(url)
    none, calls, _ = [row.tool_calls_json for row in await rows_of(url, Message)]
    assert none is None
    assert calls
    assert json.loads(calls) == json.loads(earlier.MESSAGES[1]["tool_calls_json"])


async def test_what_no_reader_can_be_shown_is_left_out_and_not_counted(
    make_earlier: MakeEarlier,
) -> None:
    url = await make_earlier(earlier.Form(chat=True))
    await execute(
        url,
        'DROP TABLE IF EXISTS "user" CASCADE',
        "ALTER TABLE conversations ADD COLUMN title varchar(20) NOT NULL DEFAULT 'New chat'",
        "ALTER TABLE messages ALTER content DROP NOT NULL",
        "ALTER TABLE messages ALTER role DROP NOT NULL",
        "UPDATE conversations SET user_id = 'demo'",
        "UPDATE messages SET user_id = 'demo'",
        *(
            "INSERT INTO messages (conversation_id, user_id, role, content, created_at)"
            f" VALUES (1, 'demo', {role}, {content}, now())"
            for role, content in (
                ("'system'", "'You are'"),
                ("'tool'", "'{}'"),
                ("NULL", "'nobody''s'"),
                ("'user'", "NULL"),
                ("'assistant'", "NULL"),
            )
        ),
    )
    await adopt(url)
    await adopt_again(url)
    settings = make_settings(url, openai_model="offline")
    async with running(settings) as app, client_of(app, demo.sign_in(url)) as client:
        detail = (await client.get("/api/conversations/1")).json()
        shown = (await client.get("/api/conversations/1/messages")).json()
        assert detail["message_count"] == len(detail["messages"]) == len(shown) == 3
        turn = await client.post("/api/chat", json={"conversation_id": 1, "message": "hello"})
        assert turn.status_code == 200
        for title in ("Longer than twenty characters", None):
            changed = await client.patch("/api/conversations/1", json={"title": title})
            assert (changed.status_code, changed.json()["title"]) == (200, title)
        assert (await client.post("/api/conversations", json={})).status_code == 201
        assert (await client.get("/api/conversations/1")).json()["message_count"] == 5
        assert (await client.get("/api/conversations/1/export")).status_code == 200


@pytest.mark.parametrize(
    "times",
    [
        "'infinity'",
        *(
            pytest.param(each, marks=pytest.mark.e2e)
            for each in ("'-infinity'", "'0044-03-15 BC'", "'20000-01-01'", "NULL")
        ),
    ],
)
async def test_whatever_time_a_row_has_it_is_shown_and_goes_on_working(
    make_earlier: MakeEarlier, times: str
) -> None:
    columns = dict.fromkeys(("created_at", "updated_at"), "timestamptz")
    url = await make_earlier(earlier.Form(columns))
    await execute(
        url,
        'DROP TABLE IF EXISTS "user" CASCADE',
        f"UPDATE tasks SET user_id = 'demo', created_at = {times}, updated_at = {times}",
        f"UPDATE conversations SET user_id = 'demo', created_at = {times}, updated_at = {times}",
        f"UPDATE messages SET user_id = 'demo', created_at = {times}",
    )
    await adopt(url)
    await adopt_again(url)
    settings = make_settings(url, openai_model="offline")
    async with running(settings) as app, client_of(app, demo.sign_in(url)) as client:
        asked = [
            *("/api/tasks", "/api/tasks/1", "/api/conversations", "/api/conversations?search=milk"),
            *("/api/conversations/1", "/api/conversations/1/messages", "/api/ui/chat/1"),
            *("/api/conversations/1/export", "/api/account/export", "/api/usage"),
        ]
        answers = {path: (await client.get(path)).status_code for path in asked}
        assert answers == dict.fromkeys(asked, 200)
        assert len((await client.get("/api/conversations/1/messages")).json()) == 3
        turn = await client.post("/api/chat", json={"conversation_id": 1, "message": "hello"})
        assert turn.status_code == 200
        assert (await client.post("/api/messages/2/undo")).status_code == 409
        title = await client.patch("/api/conversations/1", json={"title": "Old"})
        assert (title.status_code, title.json()["title"]) == (200, "Old")
