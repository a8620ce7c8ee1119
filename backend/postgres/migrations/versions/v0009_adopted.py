"""Columns an earlier backend had under our names: as wide as ours, and empty where ours may be.

And the counts of conversations that hold rows which no reader is shown.
"""

from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

_NULLABLE = {
    "conversations": {
        "title": 200,
        "provider": 50,
        "model": 200,
        "client_id": 255,
        "archived_at": None,
        "context_from": None,
        "summary": None,
        "summary_to": None,
    },
    "messages": {
        "reply_to": None,
        "lease_until": None,
        "ended_at": None,
        "undone_at": None,
        "idempotency_key": 255,
        "request_hash": 64,
        "provider": 50,
        "model": 200,
        "client_id": 255,
        "input_tokens": None,
        "cached_tokens": None,
        "output_tokens": None,
    },
}
"""Each with its characters, where it is a text of so many."""
_FOUND = """
    SELECT attname, attnotnull, CASE WHEN atttypid = 'varchar'::regtype THEN atttypmod - 4 END
    FROM pg_attribute WHERE attrelid = '{table}'::regclass AND attnum > 0 AND NOT attisdropped
"""
_RECOUNT = """
    UPDATE conversations SET message_count = told.count FROM (
        SELECT conversation_id, count(*) FILTER (
            WHERE role IN ('user', 'assistant') AND content IS NOT NULL
        ) AS count
        FROM messages WHERE conversation_id IN (
            SELECT conversation_id FROM messages
            WHERE content IS NULL OR role IS NULL OR role NOT IN ('user', 'assistant')
        ) GROUP BY conversation_id
    ) AS told WHERE conversations.id = told.conversation_id
    AND message_count IS DISTINCT FROM told.count
"""


def upgrade() -> None:
    """A second pass finds nothing to do, as in the first revision."""
    run = op.get_bind().exec_driver_sql
    for table, wanted in _NULLABLE.items():
        for name, required, length in run(_FOUND.format(table=table)).all():
            if name not in wanted:
                continue
            if required:
                run(f"ALTER TABLE {table} ALTER {name} DROP NOT NULL")
            if length is not None and 0 <= length < (wanted[name] or 0):
                run(f"ALTER TABLE {table} ALTER {name} TYPE varchar({wanted[name]})")
    run(_RECOUNT)
