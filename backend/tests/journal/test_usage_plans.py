"""What somebody has used is read from their own bookings, however many there are of others."""

from backend.database import Session
from backend.journal.quotas import used_today
from backend.journal.usage import list_usage
from backend.tests.support.databases import MakePool, execute, pool_for
from backend.tests.support.plans import plans, scans

__all__ = ["pool_for"]

# so much of one person's that to read all there is looks cheaper
BUSY = """
    INSERT INTO conversations (user_id, message_count)
    SELECT 'busy', 1000 FROM generate_series(1, 9);
    INSERT INTO messages (conversation_id, user_id, role, content, created_at, input_tokens)
    SELECT 1 + n % 9, 'busy', 'assistant', 'Added.', now() - n * interval '1 minute', 10
    FROM generate_series(0, 8999) n;
    INSERT INTO spending (message_id, attempt, user_id, input_tokens)
    SELECT id, 1, user_id, 10 FROM messages;
    ANALYZE messages; ANALYZE spending
"""


async def test_what_was_used_is_looked_up_by_the_persons_own_turns(
    database_url: str, pool_for: MakePool
) -> None:
    await execute(database_url, *BUSY.split(";"))

    async def look(session: Session) -> None:
        await list_usage(session, "busy", 30)
        await used_today(session, "busy")

    for plan in await plans(pool_for(database_url), look):
        assert "Seq Scan" not in scans(plan, "spending") | scans(plan, "messages")
