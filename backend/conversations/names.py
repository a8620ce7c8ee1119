"""The names that clients give: which conversation a chat's id is, and which message a message's."""

from typing import NamedTuple

from sqlalchemy import text

from backend.conversations.messages import read_id
from backend.database import Ahead, Result, Session
from backend.errors import ConversationNotFound


class Chat(NamedTuple):
    """A conversation, and what the client calls it, if it has a name of its own for it."""

    conversation_id: int
    name: str | None


_FIND_NAMED = """
    SELECT id, client_id, deleted_at IS NOT NULL AS deleted FROM conversations
    WHERE user_id = :owner AND
"""
_BY_NAME = text(f"{_FIND_NAMED} client_id = :name")
_BY_NUMBER = text(f"{_FIND_NAMED} id = :number")


def is_number(chat: str) -> bool:
    """Whether a chat's id is a conversation's number, which digits alone are."""
    return chat.isascii() and chat.isdigit()


def ask_chat(session: Session, user_id: str, chat: str) -> Ahead:
    """Ask with the next flight which conversation a client calls `chat`."""
    if is_number(chat):
        return session.ahead(_BY_NUMBER, {"owner": user_id, "number": read_id(chat) or 0})
    return session.ahead(_BY_NAME, {"owner": user_id, "name": chat})


def read_chat(chat: str, found: Result) -> Chat | None:
    """What was found of it; None where it is a name that nothing has yet.

    Raises:
        ConversationNotFound: there is none of that number, it is someone else's or deleted.
    """
    row = found.one_or_none()
    if row is not None and not row.deleted:
        return Chat(row.id, row.client_id)
    if row is None and not is_number(chat):
        return None
    raise ConversationNotFound


async def find_chat(session: Session, user_id: str, chat: str) -> Chat | None:
    """Both at once, with what `read_chat` raises."""
    return read_chat(chat, await ask_chat(session, user_id, chat))
