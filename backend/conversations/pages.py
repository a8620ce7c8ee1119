"""The messages of a conversation, some at a time: for who reads on, and for exports."""

from dataclasses import dataclass

from sqlalchemy import bindparam, tuple_

from backend.conversations.messages import (
    FIND_CONVERSATION,
    LATEST_FIRST,
    SHOWN_MESSAGES,
    StoredMessage,
    as_far_as,
    conversation_number,
    messages,
    stored,
)
from backend.cursors import NEWEST, POSITION, Position, position_values
from backend.database import Row, Session, execute
from backend.errors import ConversationNotFound

PAGE_MAX_BYTES = 2_000_000
"""Of the JSON in the rows of a page, which ends with the message that passes it."""


_PLACE = tuple_(messages.c.created_at, messages.c.id)
_BEFORE = as_far_as(
    SHOWN_MESSAGES.where(_PLACE < POSITION).order_by(*LATEST_FIRST).limit(bindparam("limit")),
    PAGE_MAX_BYTES,
)
_AFTER = as_far_as(
    SHOWN_MESSAGES.where(_PLACE > POSITION).order_by(*_PLACE).limit(bindparam("limit")),
    PAGE_MAX_BYTES,
    latest_first=False,
)


@dataclass(frozen=True, slots=True)
class MessagePage:
    """Some messages of a conversation, oldest first, and where the others go on, if there are."""

    messages: list[StoredMessage]
    next: Position | None

    @property
    def bytes(self) -> int:
        """Of the JSON in its rows."""
        return sum(message.bytes for message in self.messages)


async def read_after(
    session: Session, conversation_id: int, limit: int, after: Position
) -> MessagePage:
    """The oldest `limit` messages behind a position; fewer where they are long."""
    values = position_values(after) | {"conversation": conversation_id, "limit": limit + 1}
    rows = (await execute(session, _AFTER, values)).all()
    shown = [stored(row) for row in rows[:limit]]
    return MessagePage(shown, _position_of(shown[-1]) if _goes_on(rows, shown) else None)


async def read_history(
    session: Session, user_id: str, conversation_id: str, *, limit: int, before: Position
) -> tuple[int, MessagePage]:
    """The number of one of this user's conversations, and the newest messages before a position.

    `conversation_id` is whatever the client kept: an id of any shape that is not one of this
    user's conversations is not found.

    Raises:
        ConversationNotFound: not there, deleted, someone else's, or no id at all.
    """
    number = conversation_number(conversation_id)
    finding = session.ahead(FIND_CONVERSATION, {"conversation": number, "owner": user_id})
    page = await read_page(session, number, limit=limit, before=before)
    if (await finding).one_or_none() is None:
        raise ConversationNotFound
    return number, page


async def read_page(
    session: Session, conversation_id: int, *, limit: int, before: Position = NEWEST
) -> MessagePage:
    """The newest `limit` messages before a position; fewer where they are long."""
    values = position_values(before) | {"conversation": conversation_id, "limit": limit + 1}
    rows = (await execute(session, _BEFORE, values)).all()
    shown = [stored(row) for row in reversed(rows[:limit])]
    return MessagePage(shown, _position_of(shown[0]) if _goes_on(rows, shown) else None)


def _goes_on(rows: list[Row], shown: list[StoredMessage]) -> bool:
    return bool(rows) and rows[0].there > len(shown)


def _position_of(message: StoredMessage) -> Position:
    return Position(message.created_at, message.id)
