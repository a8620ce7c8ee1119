"""What lists and searches cost: the plans that Postgres makes for them in a large account."""

from backend.conversations import listing
from backend.conversations.pages import read_after, read_page
from backend.cursors import OLDEST
from backend.database import Session
from backend.tests.support.databases import MakePool, execute, pool_for
from backend.tests.support.plans import nodes, plans, scans

__all__ = ["pool_for"]

LARGE = """
    INSERT INTO conversations (user_id, message_count, updated_at, title)
    SELECT CASE WHEN n % 10 = 0 THEN 'large' ELSE 'other-' || n % 700 END, 2,
        timestamptz '2026-01-01' + n * interval '1 minute', 'Trip ' || n
    FROM generate_series(1, 20000) n;
    INSERT INTO messages (conversation_id, user_id, role, content, created_at)
    SELECT 10, 'large', 'user', 'Message number ' || n,
        timestamptz '2026-01-01' + n * interval '1 second'
    FROM generate_series(1, 10000) n;
    INSERT INTO messages (conversation_id, user_id, role, content)
    SELECT id, user_id, 'user', 'Message in ' || id FROM conversations;
    ANALYZE conversations; ANALYZE messages
"""


async def test_lists_are_read_off_their_indexes_and_never_sorted_as_a_whole(
    database_url: str, pool_for: MakePool
) -> None:
    await execute(database_url, *LARGE.split(";"))
    pool = pool_for(database_url)

    async def lists(session: Session) -> None:
        for archived in (False, True):
            await listing.list_conversations(session, "large", limit=50, archived=archived)

    async def messages(session: Session) -> None:
        await read_page(session, 10, limit=50)
        await read_after(session, 10, 200, OLDEST)

    async def search(session: Session) -> None:
        await listing.list_conversations(session, "large", limit=50, search="number 77")

    for plan in await plans(pool, lists):
        assert scans(plan, "conversations") == {"Index Scan"}
        assert scans(plan, "messages") == {"Index Scan"}
        assert "Sort" not in {node["Node Type"] for node in nodes(plan)}
    for plan in await plans(pool, messages):
        assert scans(plan, "messages") == {"Index Scan"}
        [sort] = [node for node in nodes(plan) if "Sort" in node["Node Type"]]
        assert sort["Node Type"] == "Incremental Sort"
        assert [key.rpartition(".")[2] for key in sort["Presorted Key"]] == ["created_at"]
    [plan] = await plans(pool, search)
    assert "ix_messages_search" in {node.get("Index Name") for node in nodes(plan)}
    assert "ix_conversations_search" in {node.get("Index Name") for node in nodes(plan)}
    assert "Seq Scan" not in {node["Node Type"] for node in nodes(plan)}
    async with Session(pool) as session:
        found = await listing.list_conversations(session, "large", limit=50, search="number 77")
        assert [each.id for each in found.conversations] == [10]
