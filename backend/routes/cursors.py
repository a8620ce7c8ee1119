"""The cursors of the lists as the routes take and give them: each is good for its own list."""

from typing import Annotated

from fastapi import Depends, Query

from backend.conversations.messages import read_id
from backend.cursors import NEWEST, Position, read_cursor, write_cursor
from backend.errors import ValidationFailed
from backend.tasks.filters import Sort

Archived = Annotated[bool, Query(description="Those that are put away, not those in use.")]
TaskOrder = Annotated[Sort, Query(description="Newest first, or what is due first.")]
Cursor = Annotated[str | None, Query(description="What the page before gave as the next one.")]


def conversations_cursor(archived: bool, position: Position | None) -> str | None:
    """Where the list of conversations goes on; None at its end."""
    return write_cursor(_conversations(archived), position) if position else None


def messages_cursor(conversation_id: int, position: Position | None) -> str | None:
    """Where a conversation's older messages go on; None where there are none."""
    return write_cursor(_messages(conversation_id), position) if position else None


def tasks_cursor(sort: Sort, position: Position | None) -> str | None:
    """Where the list of tasks in an order goes on; None at its end."""
    return write_cursor(_tasks_list(sort), position) if position else None


def _tasks_list(sort: Sort) -> str:
    return "tasks" if sort is Sort.CREATED else f"tasks by {sort}"


def _conversations(archived: bool) -> str:
    return "archived" if archived else "conversations"


def _messages(conversation_id: int | str) -> str:
    return f"messages of {conversation_id}"


def _position(listed: str, before: str | None) -> Position:
    if before is None:
        return NEWEST
    try:
        return read_cursor(listed, before)
    except ValueError:
        broken = {"field": "query.before", "message": "must be a cursor of this list"}
        raise ValidationFailed(details=[broken | {"type": "cursor"}]) from None


async def _before_conversation(archived: Archived = False, before: Cursor = None) -> Position:
    return _position(_conversations(archived), before)


async def _before_message(conversation_id: str, before: Cursor = None) -> Position:
    # by the number, which the path may write with zeros before it
    return _position(_messages(read_id(conversation_id) or ""), before)


async def _before_task(sort: TaskOrder = Sort.CREATED, before: Cursor = None) -> Position | None:
    return _position(_tasks_list(sort), before) if before is not None else None


BeforeConversation = Annotated[Position, Depends(_before_conversation)]
BeforeMessage = Annotated[Position, Depends(_before_message)]
BeforeTask = Annotated[Position | None, Depends(_before_task)]
