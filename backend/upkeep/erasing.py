"""All of a person deleted, in steps that each commit: by who asked, whoever comes next, or both.

First the mark, from which on a trigger refuses what would begin something new of theirs. Then
what had begun is waited for, turns that run are told to stop and booked, and the mark is closed:
nothing of theirs is written any more. What the day has cost is kept with the mark, and the rows
go, some at a time. Each step can be done again, and nothing is done unless the mark stands.
"""

import asyncio
import logging
from collections.abc import Mapping

from sqlalchemy import TextClause, text

from backend.database import Sessions
from backend.journal.quotas import PERSON_HASH, used_today

logger = logging.getLogger(__name__)

BATCH = 500
"""Rows that go in one transaction, with what hangs on them."""
RANGE = 50_000
"""Ids of messages that are looked through in one."""
WRITES_END_S = 60.0
"""Seconds within which what others have begun of a person is over; a statement of ours takes 5."""
RUNS_END_S = 12.0
"""Seconds that runs are given to stop: two leases. What runs on after them writes nothing."""
SEEN_S = 0.5
"""Seconds within which other processes have looked how a turn has ended."""
LOOK_EVERY_S = 0.05

_LOCKS = 1_163_018_561
"""Of the locks that writes of a person hold, in our trigger."""
_MARK = f"user_hash = {PERSON_HASH} AND erased_at IS NULL"
_GOING = f"EXISTS (SELECT FROM erasures WHERE {_MARK} AND counted_at IS NOT NULL)"
_BEGIN = """
    INSERT INTO erasures (user_hash, user_id)
    SELECT {hash}, CAST(:owner AS text) {unless}
    ON CONFLICT (user_hash) DO UPDATE
    SET user_id = excluded.user_id, begun_at = clock_timestamp(),
        closed_at = NULL, counted_at = NULL, erased_at = NULL
    WHERE erasures.erased_at IS NOT NULL
"""
_BEGIN_ASKED = text(_BEGIN.format(hash=PERSON_HASH, unless=""))
_BEGIN_ORPHAN = text(
    _BEGIN.format(
        hash=PERSON_HASH,
        unless='WHERE NOT EXISTS (SELECT FROM "user" WHERE id::text = CAST(:owner AS text))',
    )
)
_WRITES_OVER = text("SELECT pg_try_advisory_xact_lock(:locks, hashtext(:owner))")
# the lease as in `conversations.messages.DEAD`
_ALIVE = """
    user_id = :owner AND status <> 'complete' AND status = 'running'
    AND coalesce(lease_until, created_at) > clock_timestamp()
"""
_STOP = text(f"""
    WITH stopped AS (
        UPDATE messages SET stop_attempt = attempt WHERE id IN (
            SELECT id FROM messages WHERE {_ALIVE} AND stop_attempt IS DISTINCT FROM attempt
            AND EXISTS (SELECT FROM erasures WHERE {_MARK} AND closed_at IS NULL)
            FOR UPDATE SKIP LOCKED
        )
    )
    SELECT count(*) FROM messages WHERE {_ALIVE}
""")
_CLOSE = text(
    f"UPDATE erasures SET closed_at = clock_timestamp() WHERE {_MARK} AND closed_at IS NULL"
)
_LOCK_MARK = text(f"SELECT FROM erasures WHERE {_MARK} FOR UPDATE")
"""A statement of its own, behind which the next one sees what another has deleted meanwhile."""
_COUNT = text(f"""
    UPDATE erasures SET tokens = :tokens, dollars = :dollars, counted_at = clock_timestamp(),
        day = (now() AT TIME ZONE 'UTC')::date
    WHERE {_MARK} AND closed_at IS NOT NULL AND counted_at IS NULL
""")
_FINISH = text(
    f"UPDATE erasures SET erased_at = clock_timestamp(), user_id = NULL"
    f" WHERE {_MARK} AND counted_at IS NOT NULL"
)
_BEGUN = text("SELECT user_id FROM erasures WHERE erased_at IS NULL ORDER BY begun_at LIMIT 100")
_FORGET = text("""
    DELETE FROM erasures WHERE erased_at IS NOT NULL AND day < (now() AT TIME ZONE 'UTC')::date
""")


def _deletion(some: str, table: str) -> TextClause:
    """Deletes the rows of a table whose ids `some` gives, and tells how many."""
    return text(f"""
        WITH chosen AS MATERIALIZED ({some}),
        logged AS (DELETE FROM stream_log USING chosen
                   WHERE '{table}' = 'messages' AND message_id = chosen.id),
        gone AS (DELETE FROM {table} USING chosen WHERE {table}.id = chosen.id RETURNING 1)
        SELECT count(*) FROM gone
    """)


def _owned(table: str) -> TextClause:
    # the next occurrence of a task, which names it, is the younger one and goes first
    return _deletion(
        f"SELECT id FROM {table} WHERE user_id = :owner AND {_GOING} ORDER BY id DESC LIMIT :batch",
        table,
    )


def _single(table: str) -> TextClause:
    return text(f"""
        WITH gone AS (DELETE FROM {table} WHERE user_id = :owner AND {_GOING} RETURNING 1)
        SELECT count(*) FROM gone
    """)


_ERASURE_STEPS = (
    _deletion(
        f"""
        SELECT m.id FROM conversations c JOIN messages m ON m.conversation_id = c.id
        WHERE c.user_id = :owner AND {_GOING} LIMIT :batch
        """,
        "messages",
    ),
    *map(_owned, ("conversations", "tasks", "projects")),
    *map(_single, ("calendar_feeds", "people")),
)
"""Each to be done until it finds nothing; what refers to others goes before them."""
_STRAY = text("""
    SELECT coalesce((SELECT max(id) FROM messages WHERE EXISTS (
        SELECT FROM pg_constraint
        WHERE conrelid = 'messages'::regclass AND contype = 'f' AND NOT convalidated
    )), 0)
""")
"""Up to where to look for messages that are in no conversation: an earlier backend's, if any."""
_IN_RANGE = _deletion(
    f"""
    SELECT id FROM messages
    WHERE id > CAST(:after AS bigint) AND id <= CAST(:after AS bigint) + CAST(:range AS bigint)
    AND user_id = :owner AND {_GOING}
    """,
    "messages",
)


async def begin_erasure(sessions: Sessions, user_id: str, *, orphan: bool = False) -> None:
    """Mark that all of the person goes; with `orphan` only if Better Auth knows them no more."""
    async with sessions.begin() as session:
        await session.execute(_BEGIN_ORPHAN if orphan else _BEGIN_ASKED, {"owner": user_id})


async def carry_on(sessions: Sessions, user_id: str) -> None:
    """Do what is left of an erasure that has begun, to its end; nothing where none has.

    Raises:
        psycopg.Error: the database is away; whoever carries on later begins where this ended.
        TimeoutError: somebody has been writing something of theirs for a minute.
    """
    owner: dict[str, object] = {"owner": user_id}
    await _writes_end(sessions, user_id)
    await _runs_end(sessions, user_id)
    async with sessions.begin() as session:
        await session.execute(_CLOSE, owner)
    await _writes_end(sessions, user_id)
    async with sessions.begin() as session:
        await session.execute(_LOCK_MARK, owner)
        today = await used_today(session, user_id)
        counted = {"tokens": today.tokens, "dollars": today.dollars}
        await session.execute(_COUNT, owner | counted)
    for step in _ERASURE_STEPS:
        while await _delete(sessions, step, owner | {"batch": BATCH}):
            pass
    await _delete_strays(sessions, owner)
    async with sessions.begin() as session:
        await session.execute(_FINISH, owner)


async def begun(sessions: Sessions) -> list[str]:
    """Whose erasure has begun and is not done."""
    async with sessions() as session:
        return list((await session.execute(_BEGUN)).scalars())


async def forget_erasures(sessions: Sessions) -> None:
    """Let go of the marks of earlier days, whose spending counts no more."""
    async with sessions.begin() as session:
        await session.execute(_FORGET)


async def _writes_end(sessions: Sessions, user_id: str) -> None:
    """Wait until nobody is in a transaction that may not have seen how the mark stands.

    The lock is not queued for: those who wait behind it could wait for each other.
    """
    values = {"owner": user_id, "locks": _LOCKS}
    async with asyncio.timeout(WRITES_END_S):
        while True:
            async with sessions.begin() as session:
                if (await session.execute(_WRITES_OVER, values)).scalar_one():
                    return
            await asyncio.sleep(LOOK_EVERY_S)


async def _runs_end(sessions: Sessions, user_id: str) -> None:
    """Have the turns that run stopped, so that what they have cost is booked.

    Whoever watches one at another process is given the time to see how it has ended.
    """
    clock = asyncio.get_running_loop().time
    until = clock() + RUNS_END_S
    seen_within = 0.0
    while clock() < until:
        async with sessions.begin() as session:
            if not (await session.execute(_STOP, {"owner": user_id})).scalar_one():
                break
        seen_within = SEEN_S
        await asyncio.sleep(LOOK_EVERY_S)
    await asyncio.sleep(seen_within)


async def _delete(sessions: Sessions, step: TextClause, values: Mapping[str, object]) -> int:
    """How many rows are gone; those who do this at once take turns."""
    async with sessions() as session:
        _, gone = await session.flight(
            (_LOCK_MARK, {"owner": values["owner"]}), (step, values), commit=True
        )
    count: int = gone.scalar_one()
    return count


async def _delete_strays(sessions: Sessions, owner: Mapping[str, object]) -> None:
    async with sessions() as session:
        last = (await session.execute(_STRAY)).scalar_one()
    for after in range(0, last, RANGE):
        await _delete(sessions, _IN_RANGE, {**owner, "after": after, "range": RANGE})
