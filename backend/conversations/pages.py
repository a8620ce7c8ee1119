"""The messages of a conversation, some at a time: for who reads on, and for exports."""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Select, bindparam, func, select, tuple_

from backend.conversations.messages import (
    FIND_CONVERSATION,
    LATEST_FIRST,
    SHOWN_MESSAGES,
    StoredMessage,
    conversation_number,
    messages,
    stored,
)
from backend.cursors import NEWEST, POSITION, Position, position_values
from backend.database import Row, Session, execute
from backend.errors import ConversationNotFound

PAGE_MAX_BYTES = 2_000_000
"""Of the JSON in the rows of a page, which ends with the message that passes it."""


def _page_of_messages(rows: Select[Any], *, latest_first: bool) -> Select[Any]:
    """As much of `rows` as one page may hold; `there` is how many they are."""
    found = rows.subquery("found")
    place = (found.c.created_at, found.c.id)
    order = tuple(each.desc() for each in place) if latest_first else place
    sizes = (func.octet_length(found.c.tool_calls_json), func.octet_length(found.c.replaced_json))
    size = func.sum(func.coalesce(sizes[0], 0) + func.coalesce(sizes[1], 0))
    page = select(
        found,
        func.count().over().label("there"),
        size.over(order_by=order, rows=(None, -1)).label("ahead"),
    ).subquery("page")
    shown = select(page).where(func.coalesce(page.c.ahead, 0) < PAGE_MAX_BYTES)
    order = (page.c.created_at, page.c.id)
    return shown.order_by(*(each.desc() if latest_first else each for each in order))


_PLACE = tuple_(messages.c.created_at, messages.c.id)
_BEFORE = _page_of_messages(
    SHOWN_MESSAGES.where(_PLACE < POSITION).order_by(*LATEST_FIRST).limit(bindparam("limit")),
    latest_first=True,
)
_AFTER = _page_of_messages(
    SHOWN_MESSAGES.where(_PLACE > POSITION).order_by(*_PLACE).limit(bindparam("limit")),
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
