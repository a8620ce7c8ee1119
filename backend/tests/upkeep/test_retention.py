"""What was deleted softly is removed after RETENTION_DAYS, and nothing else is."""

from typing import cast

import httpx
import pytest
from agents.testing import ScriptedModel
from fastapi import FastAPI
from psycopg import AsyncConnection

from backend.database import Sessions as OwnSessions
from backend.tests.journal.test_retries import send
from backend.tests.support import better_auth
from backend.tests.support.fixtures import Run
from backend.tests.support.rows import fingerprint, rows_of, rows_of_nobody, seed
from backend.tests.support.scripting import calls, says
from backend.tests.support.task_calls import add, listed
from backend.tests.test_chat import chat
from backend.upkeep import retention
from backend.upkeep.retention import remove_old

DAYS = 30


async def age(url: str, user_id: str, days: int = DAYS) -> None:
    """Have all that the person has deleted, and asked, lie some days back."""
    for table in ("tasks", "conversations", "projects"):
        await better_auth.execute(
            url,
            f"UPDATE {table} SET deleted_at = deleted_at - make_interval(days => %s)"
            " WHERE user_id = %s AND deleted_at IS NOT NULL",
            days,
            user_id,
        )
    await better_auth.execute(
        url,
        "UPDATE messages SET created_at = created_at - make_interval(days => %s)"
        " WHERE user_id = %s",
        days,
        user_id,
    )


async def test_what_was_deleted_so_long_ago_goes_and_what_was_not_stays(
    alice: httpx.AsyncClient,
    alice_id: str,
    bob_id: str,
    own_sessions: OwnSessions,
    shared_database_url: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(retention, "BATCH", 7)
    for user_id in (alice_id, bob_id):
        await seed(shared_database_url, user_id, 60)
    before = await rows_of(shared_database_url, alice_id)
    young = await fingerprint(shared_database_url, bob_id)
    shown = await listed(alice)
    await age(shared_database_url, alice_id)
    await age(shared_database_url, bob_id, DAYS - 1)
    young = await fingerprint(shared_database_url, bob_id)
    await remove_old(own_sessions, DAYS)
    gone = {"tasks": 20, "conversations": 1, "messages": 40, "spending": 20}
    after = await rows_of(shared_database_url, alice_id)
    assert after == {name: count - gone.get(name, 0) for name, count in before.items()}
    assert await rows_of_nobody(shared_database_url) == 0
    assert await listed(alice) == shown
    assert await fingerprint(shared_database_url, bob_id) == young


async def test_an_occurrence_that_keeps_another_from_being_made_stays_as_a_bare_row(
    alice: httpx.AsyncClient, alice_id: str, own_sessions: OwnSessions, shared_database_url: str
) -> None:
    first = await add(
        alice, "Water the plants", recurrence_pattern="daily", due_date="2026-01-01", tags=["home"]
    )
    await alice.patch(f"/api/tasks/{first['id']}/complete")
    (second,) = [task for task in await listed(alice) if task["id"] != first["id"]]
    await alice.delete(f"/api/tasks/{second['id']}")
    await age(shared_database_url, alice_id)
    await remove_old(own_sessions, DAYS)
    ((title, tags, previous),) = await better_auth.execute(
        shared_database_url,
        "SELECT title, tags::text, previous_id FROM tasks WHERE id = %s",
        second["id"],
    )
    assert (title, tags, previous) == ("", "[]", first["id"])
    for _ in range(2):
        await alice.patch(f"/api/tasks/{first['id']}/complete")
    assert [task["id"] for task in await listed(alice)] == [first["id"]]
    # with the last that needs it, it goes as well
    await alice.delete(f"/api/tasks/{first['id']}")
    await age(shared_database_url, alice_id)
    await remove_old(own_sessions, DAYS)
    assert await rows_of(shared_database_url, alice_id) == {}


async def test_what_is_gone_is_not_undone(
    alice: httpx.AsyncClient,
    alice_id: str,
    model: ScriptedModel,
    own_sessions: OwnSessions,
    shared_database_url: str,
) -> None:
    task = await add(alice, "Buy milk")
    repeated = await add(alice, "Stretch", recurrence_pattern="daily", due_date="2026-01-01")
    await alice.patch(f"/api/tasks/{repeated['id']}/complete")
    (following,) = [
        each for each in await listed(alice) if each["id"] not in (task["id"], repeated["id"])
    ]
    undoable = []
    for each in (task, following):
        model.extend([calls("delete_task", {"task_id": each["id"]}), says("Deleted.")])
        turn = await chat(alice, f"Delete {each['id']}")
        history = await alice.get(f"/api/conversations/{turn['conversation_id']}/messages")
        undoable.append(history.json()[-1]["id"])
    await age(shared_database_url, alice_id)
    await remove_old(own_sessions, DAYS)
    for message_id in undoable:  # of one the row is gone, of the other it is bare
        answer = await alice.post(f"/api/messages/{message_id}/undo")
        assert answer.status_code == 409, answer.text
        assert answer.json()["error"]["code"] == "TASK_CHANGED"


async def test_keys_and_hashes_of_requests_go_with_their_time(
    alice: httpx.AsyncClient,
    alice_id: str,
    model: ScriptedModel,
    own_sessions: OwnSessions,
    shared_database_url: str,
) -> None:
    model.extend([says("Hello."), says("Again.")])
    await send(alice, "hi", key="k")
    await age(shared_database_url, alice_id)
    await send(alice, "hi there", key="l")
    await remove_old(own_sessions, DAYS)
    keyed = await better_auth.execute(
        shared_database_url,
        "SELECT idempotency_key FROM messages WHERE user_id = %s AND request_hash IS NOT NULL",
        alice_id,
    )
    assert keyed == [("l",)]
    assert (await send(alice, "hi there", key="l")).json()["response"] == "Again."


async def test_one_replica_removes_at_a_time(
    alice_id: str, own_sessions: OwnSessions, shared_database_url: str
) -> None:
    await seed(shared_database_url, alice_id, 3)
    await age(shared_database_url, alice_id)
    async with await AsyncConnection.connect(shared_database_url) as other:
        await other.execute("SELECT pg_advisory_xact_lock(%s)", [retention._RETENTION_LOCK])
        await remove_old(own_sessions, DAYS)
        assert (await rows_of(shared_database_url, alice_id))["tasks"] == 3
    await remove_old(own_sessions, DAYS)
    assert (await rows_of(shared_database_url, alice_id))["tasks"] == 2


@pytest.mark.parametrize("days", [None, DAYS])
async def test_only_where_it_is_set_is_anything_removed(
    alice: httpx.AsyncClient, alice_id: str, run: Run, shared_database_url: str, days: int | None
) -> None:
    await seed(shared_database_url, alice_id, 3)
    await age(shared_database_url, alice_id)
    async with run(alice, retention_days=days) as client:
        transport = client._transport
        assert isinstance(transport, httpx.ASGITransport)
        upkeep = cast(FastAPI, transport.app).state.upkeep
        await upkeep.began.wait()  # whose round passes over no row that the next one should find
        await upkeep.clear()
    left = await rows_of(shared_database_url, alice_id)
    assert left["tasks"] == (3 if days is None else 2)
