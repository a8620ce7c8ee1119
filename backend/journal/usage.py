"""What a user's turns have cost in tokens, day by day, from what each turn has recorded."""

from dataclasses import dataclass
from datetime import date

from sqlalchemy import text

from backend.database import Session, execute


@dataclass(frozen=True, slots=True)
class DayOfModel:
    """One model's turns of one day in UTC, by when each turn began.

    Tokens are those of the turns that were counted; None where none was.
    """

    date: date
    provider: str | None
    model: str | None
    turns: int
    failed_turns: int
    uncounted_turns: int
    """Turns whose tokens nobody knows, and which the sums therefore do not hold."""
    input_tokens: int | None
    cached_tokens: int | None
    output_tokens: int | None


# a turn of a deleted conversation has cost what it has cost; the lease as in `conversations.DEAD`
_USED = text("""
    SELECT (created_at AT TIME ZONE 'UTC')::date AS day, provider, model,
           count(*),
           count(*) FILTER (WHERE status = 'failed' OR (status = 'running'
             AND coalesce(lease_until, created_at) < clock_timestamp())),
           count(*) FILTER (WHERE input_tokens IS NULL),
           sum(input_tokens)::bigint, sum(cached_tokens)::bigint, sum(output_tokens)::bigint
    FROM messages
    WHERE user_id = :owner AND role = 'assistant' AND origin IS NULL AND created_at >=
          (date_trunc('day', now() AT TIME ZONE 'UTC') - make_interval(days => :days - 1))
            AT TIME ZONE 'UTC'
    GROUP BY day, provider, model
    ORDER BY day DESC, provider, model
""")


async def list_usage(session: Session, user_id: str, days: int) -> list[DayOfModel]:
    """The last `days` days, today among them and first; a day without turns is not listed."""
    rows = await execute(session, _USED, {"owner": user_id, "days": days})
    return [DayOfModel(*row) for row in rows]
