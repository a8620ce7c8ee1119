"""What one user may have of the assistant: turns at once, and tokens and dollars in a day.

They are counted in the rows of the turns, so they hold over all processes and nothing has to
be given back: a turn counts while its lease lives, whatever became of its process.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal

from sqlalchemy import text

from backend.database import Ahead, Session, execute
from backend.errors import BudgetSpent, TooManyTurns
from backend.telemetry.figures import REFUSED

RETRY_AFTER = 5
"""Seconds after which one who has too many turns may ask again; nobody knows when one ends."""

_NAMESPACE = 1414485833
"""Of our advisory locks on users, among the locks of two keys in this database."""


@dataclass(frozen=True, slots=True)
class Quota:
    """What each user may have; a budget of None is no limit."""

    turns_at_once: int
    tokens_a_day: int | None = None
    dollars_a_day: Decimal | None = None


@dataclass(frozen=True, slots=True)
class Today:
    """What a user's turns have used since midnight UTC, as far as providers have counted it."""

    tokens: int
    dollars: Decimal
    """Of what has a known price."""
    resets_at: datetime
    seconds_left: int


_LOCK_USER = text("SELECT pg_advisory_xact_lock(:namespace, hashtext(:owner))")
# the lease as in `conversations.DEAD`; the constants are written out so that the
# partial indexes serve whatever is prepared
_RUNNING = text("""
    SELECT count(*) FROM messages
    WHERE user_id = :owner AND status <> 'complete' AND status = 'running'
      AND coalesce(lease_until, created_at) > clock_timestamp()
""")
PERSON_HASH = "encode(sha256(convert_to(CAST(:owner AS text), 'UTF8')), 'hex')"
"""Under which an erasure stands of the person whose id is `owner`."""
# what was booked today, and what a turn of today says beyond what has been booked of it: a replica
# of the release before writes to the message alone; and what an erasure of today has left.
# OFFSET 0 as in `usage`: never by reading everybody's bookings
_TODAY = text(f"""
    WITH today AS (
      SELECT day AT TIME ZONE 'UTC' AS begins, (day + interval '1 day') AT TIME ZONE 'UTC' AS ends
      FROM date_trunc('day', now() AT TIME ZONE 'UTC') AS day
    ),
    booked AS (
      SELECT sum(coalesce(input_tokens, 0) + coalesce(output_tokens, 0)) AS tokens,
             sum(cost_usd) AS dollars
      FROM (
        SELECT spent.* FROM today, messages CROSS JOIN LATERAL (
          SELECT * FROM spending WHERE message_id = messages.id AND day IS NULL OFFSET 0
        ) AS spent
        WHERE messages.user_id = :owner AND role = 'assistant' AND created_at >= begins
        UNION ALL
        SELECT spending.* FROM today, spending
        WHERE user_id = :owner AND day >= (begins AT TIME ZONE 'UTC')::date
      ) AS spent
    ),
    unbooked AS (
      SELECT sum(greatest(0, coalesce(input_tokens, 0) + coalesce(output_tokens, 0) - coalesce((
               SELECT sum(coalesce(spending.input_tokens, 0) + coalesce(spending.output_tokens, 0))
               FROM spending WHERE message_id = id), 0))) AS tokens
      FROM messages, today
      WHERE user_id = :owner AND role = 'assistant' AND created_at >= begins
    ),
    kept AS (
      SELECT sum(erasures.tokens) AS tokens, sum(erasures.dollars) AS dollars FROM erasures, today
      WHERE user_hash = {PERSON_HASH} AND day = (begins AT TIME ZONE 'UTC')::date
    )
    SELECT (coalesce(booked.tokens, 0) + coalesce(unbooked.tokens, 0)
             + coalesce(kept.tokens, 0))::bigint AS tokens,
           coalesce(booked.dollars, 0) + coalesce(kept.dollars, 0) AS dollars, ends AS resets_at,
           ceil(extract(epoch FROM ends - clock_timestamp()))::int AS seconds_left
    FROM today, booked, unbooked, kept
""")


def lock_user(session: Session, user_id: str) -> None:
    """Have the user's beginnings wait for each other until they are committed.

    From the session's next flight on; what rides behind it sees what the one before has begun.
    A statement of its own: one that looks as well would see what was there before it waited.
    """
    session.ahead(_LOCK_USER, {"namespace": _NAMESPACE, "owner": user_id})


@dataclass(frozen=True, slots=True)
class Admission:
    """What a user's quota is judged by, asked with the session's next flight."""

    quota: Quota
    running: Ahead
    today: Ahead | None


def ask_admission(session: Session, user_id: str, quota: Quota) -> Admission:
    running = session.ahead(_RUNNING, {"owner": user_id})
    spent = quota.tokens_a_day is not None or quota.dollars_a_day is not None
    return Admission(quota, running, session.ahead(_TODAY, {"owner": user_id}) if spent else None)


async def admit_turn(admission: Admission) -> None:
    """Let a turn of the user begin in the transaction that asked, which has locked the user.

    Raises:
        BudgetSpent: the day's tokens, or its dollars, are used.
        TooManyTurns: as many of the user's turns are running as may.
    """
    quota = admission.quota
    if admission.today is not None:
        _judge_budgets(Today(*(await admission.today).one()), quota)
    running = (await admission.running).scalar_one()
    if running >= quota.turns_at_once:
        REFUSED.add(1, {"limit": "chat_concurrency"})
        raise TooManyTurns(
            RETRY_AFTER,
            details={
                "limit": "chat_concurrency",
                "running": running,
                "allowed": quota.turns_at_once,
            },
        )


def _judge_budgets(today: Today, quota: Quota) -> None:
    used: dict[str, object] = {}
    if quota.tokens_a_day is not None and today.tokens >= quota.tokens_a_day:
        used = {
            "limit": "daily_token_budget",
            "used_tokens": today.tokens,
            "allowed_tokens": quota.tokens_a_day,
        }
    elif quota.dollars_a_day is not None and today.dollars >= quota.dollars_a_day:
        used = {
            "limit": "daily_cost_budget",
            "used_usd": float(today.dollars),
            "allowed_usd": float(quota.dollars_a_day),
        }
    if used:
        REFUSED.add(1, {"limit": str(used["limit"])})
        resets_at = f"{today.resets_at.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"
        raise BudgetSpent(today.seconds_left, details=used | {"resets_at": resets_at})


async def used_today(session: Session, user_id: str) -> Today:
    """Tokens and dollars of the user's turns that were booked today."""
    return Today(*(await execute(session, _TODAY, {"owner": user_id})).one())
