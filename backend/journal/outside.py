"""What a client outside, over MCP, changed: on record like the changes of a turn.

Each change is an assistant's row of its own in the conversation of that client, written in
the transaction of the change, so that the person sees it in the history and can undo it.
Nobody asked a model, so there is no turn around it: no message of the person, no attempt, no
lease, no tokens.

Nothing here commits: the caller's transaction does.
"""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import text

from backend.conversations.tool_calls import ToolCall, dump_calls, load_calls
from backend.database import Session, execute
from backend.errors import ValidationFailed
from backend.journal.begin import FORGET_KEY, KEY_LIFE
from backend.postgres.session import Statement


@dataclass(frozen=True, slots=True)
class OutsideCall:
    """Who calls, for whom, and under which name of his own, if he gave the call one."""

    user_id: str
    origin: str
    """The client's name."""
    key: str | None = None
    hash: str | None = None
    """Tells two calls under one key apart."""


# the newest one, should there be several: a deleted one that was had back is none the worse
_RECORD = text("""
    WITH here AS (
      UPDATE conversations
      SET message_count = message_count + 1, archived_at = NULL, updated_at = clock_timestamp()
      WHERE deleted_at IS NULL AND id = (
        SELECT id FROM conversations
        WHERE user_id = :owner AND origin = :origin AND deleted_at IS NULL
        ORDER BY id DESC LIMIT 1
      )
      RETURNING id
    ),
    opened AS (
      INSERT INTO conversations (user_id, origin, title, message_count)
      SELECT :owner, :origin, :origin, 1 WHERE NOT EXISTS (SELECT FROM here)
      RETURNING id
    )
    INSERT INTO messages (conversation_id, user_id, role, content, tool_calls_json, status,
                          ended_at, origin, idempotency_key, request_hash)
    SELECT id, :owner, 'assistant', :content, :calls, 'complete',
           clock_timestamp(), :origin, :key, :hash
    FROM (SELECT id FROM here UNION ALL SELECT id FROM opened) AS conversation
""")
_FIND_KEYED = text(f"""
    SELECT id, request_hash, tool_calls_json,
           created_at < clock_timestamp() - interval '{KEY_LIFE.total_seconds():g} s' AS expired
    FROM messages WHERE user_id = :owner AND idempotency_key = :key
""")


async def done_before(session: Session, call: OutsideCall) -> dict[str, Any] | None:
    """The result of the call that was made under this key in the last 24 hours.

    The caller has locked the user, so of two such calls at once the second finds the first.

    Raises:
        ValidationFailed: the key came with another call before.
    """
    if call.key is None:
        return None
    values = {"owner": call.user_id, "key": call.key}
    row = (await execute(session, _FIND_KEYED, values)).one_or_none()
    if row is None:
        return None
    if row.expired:
        await execute(session, FORGET_KEY, {"owner": call.user_id, "message": row.id})
        return None
    if row.request_hash != call.hash:
        raise ValidationFailed("This idempotency key came with another call before.")
    (done,) = load_calls(row.tool_calls_json)
    return done["result"]


def record_outside(call: OutsideCall, done: ToolCall) -> Statement:
    """What writes a change into the client's conversation, which is made with the first.

    The caller has locked the user, or two first changes at once would make two of them.
    """
    return _RECORD, {
        "owner": call.user_id,
        "origin": call.origin,
        "content": done["result"]["message"],
        "calls": dump_calls([done]),
        "key": call.key,
        "hash": call.hash,
    }
