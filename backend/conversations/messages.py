"""Conversations and their messages, as their readers see them.

An assistant's row is shown once its run is complete, or has ended badly after it changed
something: it then holds the sentence that says so. A run that is under way, or that did
nothing, shows nothing.
"""

import re
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import (
    JSON,
    ColumnElement,
    and_,
    bindparam,
    case,
    cast,
    func,
    literal_column,
    or_,
    select,
    tuple_,
)
from sqlmodel import SQLModel

from backend.conversations.approvals import (
    APPROVAL_HOURS,
    approvals_shown,
    load_approvals,
    load_replaced,
)
from backend.conversations.cursors import NEWEST, POSITION, Position, position_values
from backend.conversations.tool_calls import ToolCall, load_calls
from backend.database import Ahead, Result, Row, Session, execute
from backend.errors import ConversationNotFound
from backend.models import ID_MAX, MessageStatus, Role

messages = SQLModel.metadata.tables["messages"]
conversations = SQLModel.metadata.tables["conversations"]

OWNED = and_(
    conversations.c.id == bindparam("conversation"),
    conversations.c.user_id == bindparam("owner"),
    conversations.c.deleted_at.is_(None),
)
DEAD = and_(
    messages.c.status == MessageStatus.RUNNING,
    func.coalesce(messages.c.lease_until, messages.c.created_at) < func.clock_timestamp(),
)
"""Running by its own word, but its process has let the lease lapse."""

SHOWN = and_(
    # an adopted row may have none
    messages.c.content.is_not(None),
    or_(
        messages.c.role == Role.USER,
        and_(messages.c.role == Role.ASSISTANT, messages.c.status == MessageStatus.COMPLETE),
        and_(
            messages.c.role == Role.ASSISTANT,
            messages.c.content != "",
            or_(
                messages.c.status == MessageStatus.FAILED,
                messages.c.status == MessageStatus.WAITING,
                DEAD,
            ),
        ),
    ),
)
EXPIRED = and_(
    messages.c.status == MessageStatus.WAITING,
    messages.c.ended_at < func.clock_timestamp() - literal_column(f"interval '{APPROVAL_HOURS} h'"),
)
"""Waited for too long: it is shown as declined, which whoever goes on writes down."""


def _unless_expired(column: ColumnElement[str], declined: str) -> ColumnElement[str]:
    path = func.json_extract_path_text(cast(messages.c.approvals_json, JSON), "declined", declined)
    return case((EXPIRED, path), else_=column).label(column.key)


_FIND_CONVERSATION = select(conversations.c.id).where(OWNED)
_SHOWN_MESSAGES = select(
    messages.c.id,
    messages.c.role,
    _unless_expired(messages.c.content, "content"),
    _unless_expired(messages.c.tool_calls_json, "calls"),
    messages.c.created_at,
    messages.c.undone_at,
    case((and_(messages.c.status == MessageStatus.WAITING, ~EXPIRED), messages.c.approvals_json)),
    messages.c.replaced_json,
    messages.c.stopped_at,
).where(messages.c.conversation_id == bindparam("conversation"), SHOWN)
_LATEST_FIRST = (messages.c.created_at.desc(), messages.c.id.desc())
_NEWEST = (
    _SHOWN_MESSAGES.where(messages.c.id < bindparam("before"))
    .order_by(*_LATEST_FIRST)
    .limit(bindparam("limit"))
)
_PLACE = tuple_(messages.c.created_at, messages.c.id)
_BEFORE = (
    _SHOWN_MESSAGES.where(_PLACE < POSITION).order_by(*_LATEST_FIRST).limit(bindparam("limit"))
)
_AFTER = _SHOWN_MESSAGES.where(_PLACE > POSITION).order_by(*_PLACE).limit(bindparam("limit"))
_first = messages.alias("first")
_began = select(_first.c.created_at).where(_first.c.id == bindparam("since")).scalar_subquery()
# the instant by itself, so that the index is read no further back than that
_NEWEST_SINCE = _NEWEST.where(
    messages.c.created_at >= _began,
    or_(messages.c.created_at > _began, messages.c.id >= bindparam("since")),
)
_context_began = (
    select(_first.c.created_at, _first.c.id)
    .join(conversations, conversations.c.context_from == _first.c.id)
    .where(conversations.c.id == bindparam("conversation"))
    .subquery()
)
_LONG_AGO: ColumnElement[datetime] = literal_column("timestamptz '-infinity'")
_began_at = func.coalesce(select(_context_began.c.created_at).scalar_subquery(), _LONG_AGO)
_began_with = func.coalesce(select(_context_began.c.id).scalar_subquery(), 0)
_NEWEST_OF_CONTEXT = _NEWEST.where(
    messages.c.created_at >= _began_at,
    or_(messages.c.created_at > _began_at, messages.c.id >= _began_with),
)
_ID = re.compile(r"[0-9]{1,19}")


@dataclass(frozen=True, slots=True)
class StoredMessage:
    """A message as its reader sees it: a failed one already holds its honest sentence."""

    id: int
    role: str
    content: str
    tool_calls: list[ToolCall]
    created_at: datetime
    undone_at: datetime | None = None
    approvals: list[dict[str, Any]] = field(default_factory=list)
    """The calls that wait for the person, as a client is shown them."""
    replaced: list[dict[str, Any]] = field(default_factory=list)
    """The answers that stood here before it was asked for again, as a client is shown them."""
    stopped_at: datetime | None = None

    @property
    def said(self) -> list[str | None] | None:
        """What was said before each call; None where nothing was before any."""
        said = [call.get("said") for call in self.tool_calls]
        return said if any(said) else None


@dataclass(frozen=True, slots=True)
class MessagePage:
    """Some messages of a conversation, oldest first, and where older ones end, if there are."""

    messages: list[StoredMessage]
    next: Position | None


def read_id(text: str) -> int | None:
    """The id that `text`, whatever a client sent, is; None where no row can have it."""
    number = int(text) if _ID.fullmatch(text) else 0
    return number if 0 < number <= ID_MAX else None


def conversation_number(text: str) -> int:
    """The id that `text` is, whatever a client kept as a conversation's.

    Raises:
        ConversationNotFound: no conversation can have it.
    """
    number = read_id(text)
    if number is None:
        raise ConversationNotFound
    return number


def _stored(row: Row) -> StoredMessage:
    id_, role, content, calls, created_at, undone_at, approvals, replaced, stopped_at = row
    return StoredMessage(
        id_,
        role,
        content,
        load_calls(calls),
        created_at,
        undone_at,
        approvals_shown(load_approvals(approvals)) if approvals else [],
        load_replaced(replaced) if replaced else [],
        stopped_at,
    )


async def read_messages(
    session: Session,
    conversation_id: int,
    limit: int,
    before: int = ID_MAX,
    since: int | None = None,
) -> list[StoredMessage]:
    """The newest `limit` messages with an id below `before`, oldest first.

    `since` is the id of the first one that is read, if there are not more than `limit` from
    there; without one it is that of the conversation.
    """
    values = {"conversation": conversation_id, "limit": limit, "before": before, "since": since}
    rows = await execute(session, _NEWEST if since is None else _NEWEST_SINCE, values)
    return [_stored(row) for row in reversed(rows.all())]


def read_context_ahead(session: Session, conversation_id: int, limit: int) -> Ahead:
    """The newest `limit` messages from where the context of the conversation begins.

    They come newest first; `stored_before` makes of them what `read_messages` gives.
    """
    values = {"conversation": conversation_id, "limit": limit, "before": ID_MAX}
    return session.ahead(_NEWEST_OF_CONTEXT, values)


def stored_before(result: Result, message_id: int) -> list[StoredMessage]:
    """The messages with an id below `message_id`, oldest first."""
    return [_stored(row) for row in reversed(result.all()) if row.id < message_id]


async def read_after(
    session: Session, conversation_id: int, limit: int, after: Position
) -> list[StoredMessage]:
    """The oldest `limit` messages behind a position, oldest first."""
    values = position_values(after) | {"conversation": conversation_id, "limit": limit}
    return [_stored(row) for row in await execute(session, _AFTER, values)]


async def find_conversation(session: Session, user_id: str, conversation_id: str) -> int:
    """The number of one of this user's conversations.

    Raises:
        ConversationNotFound: not there, deleted, someone else's, or no id at all.
    """
    number = conversation_number(conversation_id)
    found = await execute(session, _FIND_CONVERSATION, {"conversation": number, "owner": user_id})
    if found.one_or_none() is None:
        raise ConversationNotFound
    return number


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
    finding = session.ahead(_FIND_CONVERSATION, {"conversation": number, "owner": user_id})
    page = await read_page(session, number, limit=limit, before=before)
    if (await finding).one_or_none() is None:
        raise ConversationNotFound
    return number, page


async def read_page(
    session: Session, conversation_id: int, *, limit: int, before: Position = NEWEST
) -> MessagePage:
    """The newest `limit` messages before a position."""
    values = position_values(before) | {"conversation": conversation_id, "limit": limit + 1}
    rows = (await execute(session, _BEFORE, values)).all()
    shown = [_stored(row) for row in reversed(rows[:limit])]
    older = Position(shown[0].created_at, shown[0].id) if len(rows) > limit else None
    return MessagePage(shown, older)
