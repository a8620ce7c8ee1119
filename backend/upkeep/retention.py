"""What was deleted softly, and the keys of requests, removed for good after `RETENTION_DAYS`.

Some rows at a time, each time under a lock that only one replica has. A task that another names
as the one before it, or that is the one next occurrence of a task that stands, stays as a bare
row; its `updated_at` moves, so that nobody brings it back by undoing.
"""

from sqlalchemy import TextClause, text

from backend.database import Sessions

BATCH = 500
"""Rows that go in one transaction, with what hangs on them."""

_RETENTION_LOCK = 7_230_061_008
_MINE = text("SELECT pg_try_advisory_xact_lock(:lock)")
_DELETED_LONG_AGO = "deleted_at < clock_timestamp() - make_interval(days => :days)"
_NEEDED = f"""
    (EXISTS (SELECT FROM tasks following WHERE following.previous_id = task.id)
     OR EXISTS (SELECT FROM tasks earlier
                WHERE earlier.id = task.previous_id AND (earlier.{_DELETED_LONG_AGO}) IS NOT TRUE))
"""


def _deleting(some: str, table: str) -> TextClause:
    return text(f"""
        WITH chosen AS MATERIALIZED ({some} LIMIT :batch),
        logged AS (DELETE FROM stream_log USING chosen
                   WHERE '{table}' = 'messages' AND message_id = chosen.id)
        DELETE FROM {table} USING chosen WHERE {table}.id = chosen.id
    """)


_RETENTION_STEPS = (
    _deleting(
        f"""
        SELECT m.id FROM conversations c JOIN messages m ON m.conversation_id = c.id
        WHERE c.{_DELETED_LONG_AGO}
        """,
        "messages",
    ),
    _deleting(f"SELECT id FROM conversations WHERE {_DELETED_LONG_AGO}", "conversations"),
    _deleting(f"SELECT id FROM tasks task WHERE {_DELETED_LONG_AGO} AND NOT {_NEEDED}", "tasks"),
    text(f"""
        UPDATE tasks SET title = '', description = '', tags = '[]', steps = '[]', due_date = NULL,
            due_is_date = NULL, time_zone = NULL, project_id = NULL, priority = 'medium',
            updated_at = clock_timestamp()
        WHERE id IN (
            SELECT id FROM tasks task WHERE {_DELETED_LONG_AGO} AND title <> '' AND {_NEEDED}
            LIMIT :batch FOR UPDATE SKIP LOCKED
        ) AND NOT EXISTS (SELECT FROM erasures WHERE erased_at IS NULL)
    """),
    _deleting(
        f"""
        SELECT id FROM projects WHERE {_DELETED_LONG_AGO}
        AND NOT EXISTS (SELECT FROM tasks WHERE project_id = projects.id)
        AND NOT EXISTS (SELECT FROM conversations WHERE project_id = projects.id)
        """,
        "projects",
    ),
    text("""
        UPDATE messages SET idempotency_key = NULL, request_hash = NULL
        WHERE id IN (
            SELECT id FROM messages WHERE request_hash IS NOT NULL AND status <> 'running'
            AND created_at < clock_timestamp() - make_interval(days => :days)
            LIMIT :batch FOR UPDATE SKIP LOCKED
        )
    """),
)
"""Each to be done until it finds nothing; what refers to others goes before them."""


async def remove_old(sessions: Sessions, days: int) -> None:
    """Remove what has been deleted, or asked, `days` ago; nothing where another is at it."""
    for step in _RETENTION_STEPS:
        while await _remove(sessions, step, days):
            pass


async def _remove(sessions: Sessions, step: TextClause, days: int) -> int:
    async with sessions() as session:
        if not (await session.execute(_MINE, {"lock": _RETENTION_LOCK})).scalar_one():
            return 0
        (done,) = await session.flight((step, {"days": days, "batch": BATCH}), commit=True)
    return done.rowcount
