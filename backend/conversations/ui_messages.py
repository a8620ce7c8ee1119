"""A conversation as the AI SDK's clients hold it: with their ids, and what came of each turn."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import text

from backend.conversations.tool_calls import ToolCall, load_calls
from backend.database import Row, Session, execute
from backend.models import MessageStatus, Role


@dataclass(frozen=True, slots=True)
class UiMessage:
    id: int
    role: str
    content: str
    calls: list[ToolCall]
    created_at: datetime
    undone_at: datetime | None
    client_id: str | None
    stopped: bool
    failed: bool


# those that are shown, as in `backend.conversations.messages.SHOWN`
_NEWEST = text("""
    SELECT id, role, content, tool_calls_json, created_at, undone_at, client_id, status,
           stopped_at IS NOT NULL AS stopped
    FROM messages
    WHERE conversation_id = :conversation
      AND (role = 'user' OR role = 'assistant' AND (status = 'complete' OR content <> '' AND (
        status = 'failed' OR status = 'running'
          AND coalesce(lease_until, created_at) < clock_timestamp())))
    ORDER BY created_at DESC, id DESC
    LIMIT :limit
""")


async def newest_messages(session: Session, conversation_id: int, limit: int) -> list[UiMessage]:
    """The newest `limit` that readers are shown, oldest first."""
    values = {"conversation": conversation_id, "limit": limit}
    rows = (await execute(session, _NEWEST, values)).all()
    return [_message(row) for row in reversed(rows)]


def _message(row: Row) -> UiMessage:
    failed = row.role == Role.ASSISTANT and row.status != MessageStatus.COMPLETE
    calls = load_calls(row.tool_calls_json)
    return UiMessage(
        row.id,
        row.role,
        row.content,
        calls,
        row.created_at,
        row.undone_at,
        row.client_id,
        row.stopped,
        failed,
    )
