"""What turns have cost, as each attempt at them has recorded it: day by day, and in one place."""

from dataclasses import dataclass
from datetime import date

from sqlalchemy import text

from backend.database import Ahead, Session, execute


@dataclass(frozen=True, slots=True)
class DayOfModel:
    """One model's turns of one day in UTC, and what it has cost on that day.

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
    cost_usd: float | None
    """Of what had a known price when it was booked; None where nothing had."""
    unpriced_turns: int
    """Turns with tokens that had none."""


# An attempt is booked on its own day (null is its turn's), with who made it; what nobody booked
# (nothing was counted, or a replica of the release before has) is its message's.
# A turn of a deleted conversation has cost what it has cost; the lease as in `messages.DEAD`.
# OFFSET 0: row by row through the key, however many turns there are. Left to choose, Postgres
# takes the bookings of a busy month by reading everybody's.
_FAILED = """(status = 'failed' OR (status = 'running'
                 AND coalesce(lease_until, created_at) < clock_timestamp())) AS failed"""
_USED = text(f"""
    WITH since AS (
      SELECT day::date AS day, day AT TIME ZONE 'UTC' AS begins
      FROM CAST(date_trunc('day', now() AT TIME ZONE 'UTC')
                - make_interval(days => :days - 1) AS timestamp) AS day
    ),
    turns AS MATERIALIZED (
      SELECT id, (created_at AT TIME ZONE 'UTC')::date AS day, provider, model, attempt,
             input_tokens, cached_tokens, output_tokens, {_FAILED}
      FROM since, messages
      WHERE user_id = :owner AND role = 'assistant' AND origin IS NULL AND created_at >= begins
    ),
    booked AS MATERIALIZED (
      SELECT turns.id, turns.day AS began, turns.attempt AS last, failed, spent.*
      FROM turns CROSS JOIN LATERAL (
        SELECT day, provider, model, attempt, input_tokens, cached_tokens, output_tokens, cost_usd
        FROM spending WHERE message_id = turns.id OFFSET 0
      ) AS spent
    ),
    sums AS (
      SELECT id, sum(input_tokens) AS input, sum(cached_tokens) AS cached,
             sum(output_tokens) AS output
      FROM booked GROUP BY id
    ),
    parts AS (
      SELECT message_id AS id, spending.day, provider, model, attempt = last AND failed AS failed,
             input_tokens, cached_tokens, output_tokens, cost_usd
      FROM since, spending CROSS JOIN LATERAL (
        SELECT attempt AS last, {_FAILED} FROM messages WHERE id = message_id OFFSET 0
      ) AS turn
      WHERE user_id = :owner AND spending.day >= since.day
      UNION ALL
      SELECT id, began, provider, model, attempt = last AND failed,
             input_tokens, cached_tokens, output_tokens, cost_usd
      FROM booked WHERE day IS NULL
      UNION ALL
      SELECT turns.id, day, provider, model, failed,
             input_tokens - coalesce(input, 0),
             greatest(0, coalesce(cached_tokens, 0) - coalesce(cached, 0)),
             greatest(0, coalesce(output_tokens, 0) - coalesce(output, 0)), NULL
      FROM turns LEFT JOIN sums ON sums.id = turns.id
      WHERE sums.id IS NULL OR coalesce(input_tokens, 0) > coalesce(input, 0)
    )
    SELECT day, provider, model, count(DISTINCT id),
           count(DISTINCT id) FILTER (WHERE failed),
           count(DISTINCT id) - count(DISTINCT id) FILTER (WHERE input_tokens IS NOT NULL),
           sum(input_tokens)::bigint,
           (sum(cached_tokens) FILTER (WHERE input_tokens IS NOT NULL))::bigint,
           (sum(output_tokens) FILTER (WHERE input_tokens IS NOT NULL))::bigint,
           sum(cost_usd)::double precision,
           count(DISTINCT id) FILTER (WHERE input_tokens IS NOT NULL AND cost_usd IS NULL)
    FROM parts
    GROUP BY day, provider, model
    ORDER BY day DESC, provider, model
""")


async def list_usage(session: Session, user_id: str, days: int) -> list[DayOfModel]:
    """The last `days` days, today among them and first; a day without turns is not listed."""
    rows = await execute(session, _USED, {"owner": user_id, "days": days})
    return [DayOfModel(*row) for row in rows]


COUNTED_MAX = 1000
"""Answers of a conversation, the newest, that are counted when it is opened."""
_USED_IN = text("""
    SELECT count(*) AS answers,
           sum(input_tokens)::bigint AS input_tokens, sum(cached_tokens)::bigint AS cached_tokens,
           sum(output_tokens)::bigint AS output_tokens,
           sum((SELECT sum(cost_usd) FROM spending WHERE message_id = counted.id)) AS cost_usd
    FROM (
        SELECT id, input_tokens, cached_tokens, output_tokens
        FROM messages WHERE conversation_id = :conversation AND role = 'assistant'
        ORDER BY created_at DESC LIMIT :most
    ) AS counted
""")


def ask_usage_of(session: Session, conversation_id: int) -> Ahead:
    """What a conversation has cost, which the caller knows to be its owner's; one row.

    Of its newest `COUNTED_MAX` answers, so that a long one costs no more. Tokens are as its
    messages keep them; null where none were counted, or nothing had a price.
    """
    values = {"conversation": conversation_id, "most": COUNTED_MAX}
    return session.ahead(_USED_IN, values)
