"""The names that clients give: which conversation a chat's id is, and which message a message's."""

from typing import NamedTuple

from sqlalchemy import text

from backend.conversations.messages import read_id
from backend.database import Session, execute
from backend.errors import ConversationNotFound


class Chat(NamedTuple):
    """A conversation, and what the client calls it, if it has a name of its own for it."""

    conversation_id: int
    name: str | None


_FIND = """
    SELECT id, client_id, deleted_at IS NOT NULL AS deleted FROM conversations
    WHERE user_id = :owner AND
"""
_BY_NAME = text(f"{_FIND} client_id = :name")
_BY_NUMBER = text(f"{_FIND} id = :number")


async def find_chat(session: Session, user_id: str, chat: str) -> Chat | None:
    """The conversation that a client calls `chat`, digits alone being its number.

    None where it is a name that nothing has yet.

    Raises:
        ConversationNotFound: there is none of that number, it is someone else's or deleted.
    """
    if chat.isascii() and chat.isdigit():
        number = read_id(chat)
        if number is None:
            raise ConversationNotFound
        statement, values = _BY_NUMBER, {"owner": user_id, "number": number}
    else:
        statement, values = _BY_NAME, {"owner": user_id, "name": chat}
    row = (await execute(session, statement, values)).one_or_none()
    if row is not None and not row.deleted:
        return Chat(row.id, row.client_id)
    if row is None and statement is _BY_NAME:
        return None
    raise ConversationNotFound
