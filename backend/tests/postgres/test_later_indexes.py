"""A large database starts at once, and its search gets its indexes while it serves."""

from backend.conversations.listing import list_conversations
from backend.database import VERSION_TABLE, Session
from backend.postgres.later_indexes import keep_later_indexes, look
from backend.tests.support.databases import MakePool, bring_up, execute, pool_for, scalar

__all__ = ["pool_for"]

TERMS_INDEXED = "SELECT pg_get_indexdef('ix_messages_search'::regclass) ~ 'chat_search_terms'"


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
