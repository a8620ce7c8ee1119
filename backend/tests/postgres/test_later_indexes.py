"""A large database starts at once, and its search gets its indexes while it serves."""

import asyncio

import pytest

from backend.conversations.listing import list_conversations
from backend.database import VERSION_TABLE, Session
from backend.postgres import later_indexes
from backend.postgres.later_indexes import keep_later_indexes, look
from backend.tests.support.databases import MakePool, bring_up, execute, pool_for, scalar

__all__ = ["pool_for"]

OF_ERASURE = ("ix_tasks_deleted", "ix_tasks_project", "ix_messages_keyed")
TERMS_INDEXED = "SELECT pg_get_indexdef('ix_messages_search'::regclass) ~ 'chat_search_terms'"


async def test_replicas_that_start_at_once_leave_no_index_out(
    database_url: str, pool_for: MakePool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a large table whichever index it is, one that was dropped by hand among them."""
    await execute(
        database_url,
        "INSERT INTO conversations (user_id) VALUES ('someone')",
        "INSERT INTO messages (conversation_id, user_id, role, content)"
        " SELECT 1, 'someone', 'user', 'm' || n FROM generate_series(1, 10001) n",
        "INSERT INTO tasks (user_id, title) SELECT 'someone', 't' || n"
        " FROM generate_series(1, 10001) n",
        "DROP INDEX ix_messages_search",
        f"UPDATE {VERSION_TABLE} SET version_num = '0013'",
    )
    await execute(database_url, *(f"DROP INDEX IF EXISTS {name}" for name in OF_ERASURE))
    await bring_up(database_url)
    one, other = pool_for(database_url), pool_for(database_url)
    missing = await look(one)
    assert "ix_messages_search" in missing
    assert set(missing) & set(OF_ERASURE)
    monkeypatch.setattr(later_indexes, "RETRY_SECONDS", 0.05)
    async with keep_later_indexes(one) as first, keep_later_indexes(other) as second:
        assert first is not None
        assert second is not None
        await asyncio.gather(first, second)
    assert await look(one) == {}


async def test_an_index_that_would_hold_up_the_start_is_made_after_it(
    database_url: str, pool_for: MakePool
) -> None:
    await execute(
        database_url,
        "INSERT INTO conversations (user_id) VALUES ('someone'), ('another')",
        "INSERT INTO messages (conversation_id, user_id, role, content)"
        " SELECT 1 + n % 2, CASE n % 2 WHEN 0 THEN 'someone' ELSE 'another' END, 'user',"
        " 'Ärger ' || n FROM generate_series(1, 10001) n",
        f"UPDATE {VERSION_TABLE} SET version_num = '0007'",
    )
    await bring_up(database_url)
    pool = pool_for(database_url)

    async def search() -> list[int]:
        async with Session(pool, autocommit=True) as session:
            page = await list_conversations(session, "someone", limit=9, search="ÄRGER 500")
        return [found.id for found in page.conversations]

    # the conversations are few, and theirs is made at once
    assert await look(pool) == {"ix_messages_search": False}
    assert await search() == [1]
    # as an interrupted try leaves one
    await execute(
        database_url,
        "CREATE INDEX ix_messages_search ON messages (content) WHERE id < 0",
        "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'ix_messages_search'::regclass",
    )
    async with keep_later_indexes(pool) as making:
        assert making is not None
        await making
    assert await look(pool) == {}
    assert await scalar(database_url, TERMS_INDEXED) is True
    assert await search() == [1]
    async with keep_later_indexes(pool) as making:
        assert making is None
