"""What it costs to see whether a message repeats a turn: nothing of a long history is walked."""

import pytest

from backend.database import Session
from backend.journal.begin import Known, begin_or_resume
from backend.journal.quotas import Quota
from backend.journal.requests import TurnRequest
from backend.tests.support.databases import MakePool, execute, pool_for
from backend.tests.support.plans import Node, nodes, plans

__all__ = ["pool_for"]

LARGE = """
    INSERT INTO conversations (user_id, message_count)
    SELECT 'large', 20 FROM generate_series(1, 500);
    INSERT INTO messages (conversation_id, user_id, role, content, created_at)
    SELECT 1 + n / 20, 'large', 'user', 'Add milk', timestamptz '2026-01-01' + n * interval '1 s'
    FROM generate_series(0, 9999) n;
    INSERT INTO messages (conversation_id, user_id, role, content, created_at, reply_to, status)
    SELECT conversation_id, user_id, 'assistant', 'Added.', created_at + interval '1 s', id,
        CASE id % 1000 WHEN 0 THEN 'failed' ELSE 'complete' END
    FROM messages;
    UPDATE messages SET repeats_until = created_at WHERE id % 1000 = 1 AND role = 'assistant';
    ANALYZE conversations; ANALYZE messages
"""


def rows_read(plan: Node) -> float:
    """The most rows that Postgres means to read from messages at a time."""
    read = [node for node in nodes(plan) if node.get("Relation Name") == "messages"]
    assert "Seq Scan" not in {node["Node Type"] for node in read}
    return max((node["Plan Rows"] for node in read), default=0)


@pytest.mark.parametrize("conversation_id", [None, 7])
async def test_the_turn_that_a_text_repeats_is_found_by_what_is_open(
    database_url: str, pool_for: MakePool, conversation_id: int | None
) -> None:
    await execute(database_url, *LARGE.split(";"))
    pool = pool_for(database_url)

    async def look(session: Session) -> None:
        request = TurnRequest(conversation_id, "Add milk")
        quota = Quota(turns_at_once=3)
        await begin_or_resume(
            session, "large", request, history_limit=2, quota=quota, known=Known(), waited=0.1
        )

    finding = [plan for plan in await plans(pool, look) if plan["Node Type"] == "Limit"]
    assert finding
    assert rows_read(finding[0]) < 100
