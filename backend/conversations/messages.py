"""Conversations and their messages, as their readers see them.

An assistant's row is shown once its run is complete, or has ended badly after it changed
something: it then holds the sentence that says so. A run that is under way, or that did
nothing, shows nothing.
"""

import re
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any

from sqlalchemy import (
    JSON,
    ColumnElement,
    Select,
    Text,
    and_,
    bindparam,
    case,
    cast,
    func,
    literal_column,
    null,
    or_,
    select,
)
from sqlmodel import SQLModel

from backend.conversations.approvals import (
    APPROVAL_HOURS,
    approvals_shown,
    load_approvals,
    load_replaced,
)
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


FIND_CONVERSATION = select(conversations.c.id).where(OWNED)
SHOWN_MESSAGES = select(
    messages.c.id,
    messages.c.role,
    _unless_expired(messages.c.content, "content"),
    _unless_expired(messages.c.tool_calls_json, "calls"),
    messages.c.created_at,
    messages.c.undone_at,
    case(
        (and_(messages.c.status == MessageStatus.WAITING, ~EXPIRED), messages.c.approvals_json)
    ).label("asked"),
    messages.c.replaced_json,
    messages.c.stopped_at,
).where(messages.c.conversation_id == bindparam("conversation"), SHOWN)
_COLUMNS = len(SHOWN_MESSAGES.selected_columns)
LATEST_FIRST = (messages.c.created_at.desc(), messages.c.id.desc())
CONTEXT_MAX_BYTES = 8_000_000
"""Of the records that are read for a model, which end with the message that passes it.

Much more than any is given: what was told is cut before it is shown again.
"""
_TOLD_TO_NO_MODEL = ("asked", "replaced_json")
"""May be half a megabyte each, and are not read where a context is."""
_NEWEST_MESSAGES = (
    SHOWN_MESSAGES.with_only_columns(
        *(
            cast(null(), Text).label(column.name) if column.name in _TOLD_TO_NO_MODEL else column
            for column in SHOWN_MESSAGES.selected_columns
        )
    )
    .where(messages.c.id < bindparam("before"))
    .order_by(*LATEST_FIRST)
    .limit(bindparam("limit"))
)
_first = messages.alias("first")
_began = select(_first.c.created_at).where(_first.c.id == bindparam("since")).scalar_subquery()
# the instant by itself, so that the index is read no further back than that
_NEWEST_SINCE = _NEWEST_MESSAGES.where(
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
_NEWEST_OF_CONTEXT = _NEWEST_MESSAGES.where(
    messages.c.created_at >= _began_at,
    or_(messages.c.created_at > _began_at, messages.c.id >= _began_with),
)
_ID = re.compile(r"[0-9]{1,19}")


def as_far_as(rows: Select[Any], most: int, *, latest_first: bool = True) -> Select[Any]:
    """As much of `rows` as the JSON in them allows, to the one that passes `most` bytes.

    `there` is how many they are.
    """
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
    shown = select(page).where(func.coalesce(page.c.ahead, 0) < most)
    order = (page.c.created_at, page.c.id)
    return shown.order_by(*(each.desc() if latest_first else each for each in order))


_READ_NEWEST = as_far_as(_NEWEST_MESSAGES, CONTEXT_MAX_BYTES)
_READ_SINCE = as_far_as(_NEWEST_SINCE, CONTEXT_MAX_BYTES)
_READ_CONTEXT = as_far_as(_NEWEST_OF_CONTEXT, CONTEXT_MAX_BYTES)


@dataclass(frozen=True)
class StoredMessage:
    """A message as its reader sees it: a failed one already holds its honest sentence.

    What stands as JSON in its row is read when it is asked for, since that may take long.
    """

    id: int
    role: str
    content: str
    recorded: list[ToolCall] | str | None
    """Its calls, or their JSON."""
    created_at: datetime
    undone_at: datetime | None = None
    asked: str | None = None
    """The JSON of its approvals."""
    replaced_json: str | None = None
    stopped_at: datetime | None = None

    @cached_property
    def tool_calls(self) -> list[ToolCall]:
        return self.recorded if isinstance(self.recorded, list) else load_calls(self.recorded)

    @cached_property
    def approvals(self) -> list[dict[str, Any]]:
        """The calls that wait for the person, as a client is shown them."""
        return approvals_shown(load_approvals(self.asked)) if self.asked else []

    @cached_property
    def replaced(self) -> list[dict[str, Any]]:
        """The answers that stood here before it was asked for again, as a client is shown them."""
        return load_replaced(self.replaced_json) if self.replaced_json else []

    @property
    def bytes(self) -> int:
        """Of the JSON in its row."""
        texts = (self.recorded, self.asked, self.replaced_json)
        return sum(len(text) for text in texts if isinstance(text, str))

    @property
    def said(self) -> list[str | None] | None:
        """What was said before each call; None where nothing was before any."""
        said = [call.get("said") for call in self.tool_calls]
        return said if any(said) else None


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


def stored(row: Row) -> StoredMessage:
    return StoredMessage(*row[:_COLUMNS])


async def read_messages(
    session: Session,
    conversation_id: int,
    limit: int,
    before: int = ID_MAX,
    since: int | None = None,
) -> list[StoredMessage]:
    """The newest `limit` messages with an id below `before`, oldest first, as far as they fit.

    `since` is the id of the first one that is read, if there are not more than `limit` from
    there; without one it is that of the conversation.
    """
    values = {"conversation": conversation_id, "limit": limit, "before": before, "since": since}
    rows = await execute(session, _READ_NEWEST if since is None else _READ_SINCE, values)
    return [stored(row) for row in reversed(rows.all())]


def read_context_ahead(session: Session, conversation_id: int, limit: int) -> Ahead:
    """The newest `limit` messages from where the context of the conversation begins.

    They come newest first; `stored_before` makes of them what `read_messages` gives.
    """
    values = {"conversation": conversation_id, "limit": limit, "before": ID_MAX}
    return session.ahead(_READ_CONTEXT, values)


def stored_before(result: Result, message_id: int) -> list[StoredMessage]:
    """The messages with an id below `message_id`, oldest first."""
    return [stored(row) for row in reversed(result.all()) if row.id < message_id]


async def find_conversation(session: Session, user_id: str, conversation_id: str) -> int:
    """The number of one of this user's conversations.

    Raises:
        ConversationNotFound: not there, deleted, someone else's, or no id at all.
    """
    number = conversation_number(conversation_id)
    found = await execute(session, FIND_CONVERSATION, {"conversation": number, "owner": user_id})
    if found.one_or_none() is None:
        raise ConversationNotFound
    return number
