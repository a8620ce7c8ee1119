"""The calendar feed of a person: its secret, and what it shows.

The secret is the whole address and is stored as a hash; who has it may read what is due, and
nothing else. Nothing here commits: the caller's transaction does.
"""

from dataclasses import dataclass
from datetime import UTC, date, datetime
from hashlib import sha256
from secrets import token_urlsafe

from sqlalchemy import text

from backend.database import Session, execute
from backend.errors import FeedNotFound
from backend.tasks.filters import Sort, TaskFilter, due_until
from backend.tasks.listing import LISTED_MAX, list_tasks
from backend.tasks.stored import StoredTask

SECRET_MAX = 100
"""Characters of what may be looked up; ours have 43."""
_SHOWN = TaskFilter(completed=False, due=due_until(date.max, UTC))
_MAKE_FEED = text("""
    INSERT INTO calendar_feeds (user_id, secret_hash) VALUES (:owner, :hash)
    ON CONFLICT (user_id) DO UPDATE
    SET secret_hash = excluded.secret_hash, created_at = clock_timestamp()
    RETURNING created_at
""")
_GET_FEED = text("SELECT created_at FROM calendar_feeds WHERE user_id = :owner")
_DROP_FEED = text("DELETE FROM calendar_feeds WHERE user_id = :owner")
_FIND_FEED = text("""
    SELECT user_id, (
        SELECT md5(concat_ws(',',
            (SELECT time_zone FROM people WHERE people.user_id = feed.user_id),
            string_agg(id || '@' || updated_at, ',' ORDER BY id)
        ))
        FROM tasks WHERE tasks.user_id = feed.user_id
        AND deleted_at IS NULL AND NOT completed AND due_date IS NOT NULL
    ) AS state
    FROM calendar_feeds AS feed WHERE secret_hash = :hash
""")


@dataclass(frozen=True, slots=True)
class Feed:
    """Whose a secret is, and a word for what the feed shows, which changes with that."""

    user_id: str
    state: str


async def make_feed(session: Session, user_id: str) -> tuple[str, datetime]:
    """A new secret, which is not told again; an older one is good no more."""
    secret = token_urlsafe(32)
    values = {"owner": user_id, "hash": _hash(secret)}
    return secret, (await execute(session, _MAKE_FEED, values)).scalar_one()


async def feed_made_at(session: Session, user_id: str) -> datetime | None:
    """When the person's feed was made; None where there is none."""
    made: datetime | None = (await execute(session, _GET_FEED, {"owner": user_id})).scalar()
    return made


async def drop_feed(session: Session, user_id: str) -> None:
    """Revoke the person's feed; there may be none."""
    await execute(session, _DROP_FEED, {"owner": user_id})


async def find_feed(session: Session, secret: str) -> Feed:
    """The feed of a secret.

    Raises:
        FeedNotFound: it was revoked, or never given.
    """
    if len(secret) > SECRET_MAX:
        raise FeedNotFound
    row = (await execute(session, _FIND_FEED, {"hash": _hash(secret)})).one_or_none()
    if row is None:
        raise FeedNotFound
    return Feed(row.user_id, row.state)


async def due_tasks(session: Session, user_id: str) -> list[StoredTask]:
    """The open tasks that are due at some time, soonest first, as many as a list may have."""
    page = await list_tasks(session, user_id, _SHOWN, limit=LISTED_MAX, sort=Sort.DUE)
    return page.tasks


def _hash(secret: str) -> str:
    return sha256(secret.encode(errors="surrogatepass")).hexdigest()
