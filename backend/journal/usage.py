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
_USED = text("""
    WITH since AS (
      SELECT day::date AS day, day AT TIME ZONE 'UTC' AS begins
      FROM CAST(date_trunc('day', now() AT TIME ZONE 'UTC')
                - make_interval(days => :days - 1) AS timestamp) AS day
    ),
    turns AS (
      SELECT id, (created_at AT TIME ZONE 'UTC')::date AS day, provider, model, attempt,
             input_tokens, cached_tokens, output_tokens,
             booked.attempts, booked.input, booked.cached, booked.output
      FROM since, messages, LATERAL (
        SELECT count(*) AS attempts, sum(input_tokens) AS input, sum(cached_tokens) AS cached,
               sum(output_tokens) AS output
        FROM spending WHERE message_id = messages.id
      ) AS booked
      WHERE user_id = :owner AND role = 'assistant' AND origin IS NULL AND created_at >= begins
    ),
    parts AS (
      SELECT message_id AS id, spending.day, provider, model, attempt,
             input_tokens, cached_tokens, output_tokens, cost_usd
      FROM since, spending WHERE user_id = :owner AND spending.day >= since.day
      UNION ALL
      SELECT id, turns.day, spending.provider, spending.model, spending.attempt,
             spending.input_tokens, spending.cached_tokens, spending.output_tokens, cost_usd
      FROM turns JOIN spending ON message_id = id WHERE spending.day IS NULL
      UNION ALL
      SELECT id, day, provider, model, attempt,
             input_tokens - coalesce(input, 0),
             greatest(0, coalesce(cached_tokens, 0) - coalesce(cached, 0)),
             greatest(0, coalesce(output_tokens, 0) - coalesce(output, 0)), NULL
      FROM turns
      WHERE attempts = 0 OR coalesce(input_tokens, 0) > coalesce(input, 0)
    )
    SELECT parts.day, parts.provider, parts.model, count(DISTINCT parts.id),
           count(DISTINCT parts.id) FILTER (WHERE messages.attempt = parts.attempt
             AND (status = 'failed' OR (status = 'running'
               AND coalesce(lease_until, created_at) < clock_timestamp()))),
           count(DISTINCT parts.id)
             - count(DISTINCT parts.id) FILTER (WHERE parts.input_tokens IS NOT NULL),
           sum(parts.input_tokens)::bigint,
           (sum(parts.cached_tokens) FILTER (WHERE parts.input_tokens IS NOT NULL))::bigint,
           (sum(parts.output_tokens) FILTER (WHERE parts.input_tokens IS NOT NULL))::bigint,
           sum(parts.cost_usd)::double precision,
           count(DISTINCT parts.id)
             FILTER (WHERE parts.input_tokens IS NOT NULL AND parts.cost_usd IS NULL)
    FROM parts JOIN messages ON messages.id = parts.id
    GROUP BY parts.day, parts.provider, parts.model
    ORDER BY parts.day DESC, parts.provider, parts.model
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
