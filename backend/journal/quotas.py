"""What one user may have of the assistant: turns at once, and tokens in a day.

Both are counted in the rows of the turns, so they hold over all processes and nothing has to
be given back: a turn counts while its lease lives, whatever became of its process.
"""

from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import text

from backend.database import Ahead, Session, execute
from backend.errors import BudgetSpent, TooManyTurns

RETRY_AFTER = 5
"""Seconds after which one who has too many turns may ask again; nobody knows when one ends."""

_NAMESPACE = 1414485833
"""Of our advisory locks on users, among the locks of two keys in this database."""


@dataclass(frozen=True, slots=True)
class Quota:
    """What each user may have; a budget of None is no limit."""

    turns_at_once: int
    tokens_a_day: int | None = None


@dataclass(frozen=True, slots=True)
class TokensToday:
    """What a user's turns have used since midnight UTC, as far as providers have counted it."""

    used: int
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
_TODAY = text("""
    SELECT coalesce(sum(coalesce(input_tokens, 0) + coalesce(output_tokens, 0)), 0)::bigint
             AS used,
           min(ends) AS resets_at,
           ceil(extract(epoch FROM min(ends) - clock_timestamp()))::int AS seconds_left
    FROM (SELECT (date_trunc('day', now() AT TIME ZONE 'UTC')) AT TIME ZONE 'UTC' AS begins,
                 (date_trunc('day', now() AT TIME ZONE 'UTC') + interval '1 day')
                   AT TIME ZONE 'UTC' AS ends) AS today
    LEFT JOIN messages
      ON user_id = :owner AND role = 'assistant' AND created_at >= begins
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
    spent = quota.tokens_a_day is not None
    return Admission(quota, running, session.ahead(_TODAY, {"owner": user_id}) if spent else None)


async def admit_turn(admission: Admission) -> None:
    """Let a turn of the user begin in the transaction that asked, which has locked the user.

    Raises:
        BudgetSpent: the day's tokens are used.
        TooManyTurns: as many of the user's turns are running as may.
    """
    quota = admission.quota
    if quota.tokens_a_day is not None and admission.today is not None:
        _judge_budget(TokensToday(*(await admission.today).one()), quota.tokens_a_day)
    running = (await admission.running).scalar_one()
    if running >= quota.turns_at_once:
        raise TooManyTurns(
            RETRY_AFTER,
            details={
                "limit": "chat_concurrency",
                "running": running,
                "allowed": quota.turns_at_once,
            },
        )


def _judge_budget(today: TokensToday, budget: int) -> None:
    if today.used >= budget:
        raise BudgetSpent(
            today.seconds_left,
            details={
                "limit": "daily_token_budget",
                "used_tokens": today.used,
                "allowed_tokens": budget,
                "resets_at": f"{today.resets_at.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}",
            },
        )


async def tokens_today(session: Session, user_id: str) -> TokensToday:
    """Input and output tokens of the turns that the user began today."""
    return TokensToday(*(await execute(session, _TODAY, {"owner": user_id})).one())
