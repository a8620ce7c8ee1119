"""A conversation as the AI SDK's clients hold it: with their ids, and what came of each turn."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import text

from backend.conversations.approvals import APPROVAL_HOURS, Approval, load_approvals
from backend.conversations.pages import PAGE_MAX_BYTES
from backend.conversations.tool_calls import ToolCall, load_calls
from backend.database import Row, Session, execute
from backend.models import MessageStatus


@dataclass(frozen=True, slots=True)
class UiMessage:
    """What stands as JSON in its row is read when it is asked for."""

    id: int
    role: str
    content: str
    recorded: str | None
    """The JSON of its calls."""
    asked: str | None
    """The JSON of its approvals."""
    created_at: datetime
    undone_at: datetime | None
    client_id: str | None
    stopped: bool
    failed: bool

    @property
    def calls(self) -> list[ToolCall]:
        return load_calls(self.recorded)

    @property
    def waiting(self) -> list[Approval]:
        """The calls that are asked for and not on record yet."""
        return [each for each in load_approvals(self.asked) if not each["done"]]


# those that are shown, as in `backend.conversations.messages.SHOWN` and `EXPIRED`
_NEWEST_UI_MESSAGES = text("""
    SELECT * FROM (
      SELECT id, role, coalesce(declined #>> '{content}', content) AS content,
             coalesce(declined #>> '{calls}', tool_calls_json) AS tool_calls_json,
             CASE WHEN declined IS NULL THEN approvals_json END AS approvals_json,
             created_at, undone_at, client_id, stopped_at IS NOT NULL AS stopped,
             CASE WHEN declined IS NULL THEN status ELSE 'complete' END AS status,
             sum(octet_length(coalesce(tool_calls_json, ''))) OVER (
               ORDER BY created_at DESC, id DESC
               ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
             ) AS bytes_ahead
      FROM messages CROSS JOIN LATERAL (
        SELECT CASE
          WHEN status = 'waiting' AND ended_at < clock_timestamp() - make_interval(hours => :hours)
          THEN CAST(approvals_json AS json) -> 'declined'
        END AS declined
      ) AS late
      WHERE conversation_id = :conversation
        AND (role = 'user' OR role = 'assistant' AND (status = 'complete' OR content <> '' AND (
          status IN ('failed', 'waiting') OR status = 'running'
            AND coalesce(lease_until, created_at) < clock_timestamp())))
      ORDER BY created_at DESC, id DESC
      LIMIT :limit
    ) AS page
    WHERE coalesce(bytes_ahead, 0) < :most ORDER BY created_at DESC, id DESC
""")


async def newest_messages(session: Session, conversation_id: int, limit: int) -> list[UiMessage]:
    """The newest `limit` that readers are shown, fewer where they are long, oldest first."""
    values: dict[str, object] = {"conversation": conversation_id, "limit": limit}
    values |= {"hours": APPROVAL_HOURS, "most": PAGE_MAX_BYTES}
    rows = (await execute(session, _NEWEST_UI_MESSAGES, values)).all()
    return [_ui_message(row) for row in reversed(rows)]


def _ui_message(row: Row) -> UiMessage:
    failed = row.status in (MessageStatus.FAILED, MessageStatus.RUNNING)
    return UiMessage(
        row.id,
        row.role,
        "" if row.status == MessageStatus.WAITING else row.content,
        row.tool_calls_json,
        row.approvals_json,
        row.created_at,
        row.undone_at,
        row.client_id,
        row.stopped,
        failed,
    )
