"""Taking back what one assistant's message changed.

A call that changes tasks records, beside its result, what it takes to undo it: the values
it replaced and the `updated_at` it left. A task whose `updated_at` is another by now has been
changed since, by whomever, and is not touched. Undoing puts the earlier `updated_at` back as
well, so the changes of one message, and of one message before another, are undone backwards
as one chain. A task that a call made, an added one or a next occurrence, is deleted softly.

Nothing here commits: the caller's transaction does.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime, time
from functools import cache
from itertools import chain
from typing import Annotated, Any, Required, TypedDict

from pydantic import Field, TypeAdapter, ValidationError
from sqlalchemy import BigInteger, Update, and_, any_, bindparam, case, func, select, update
from sqlalchemy.dialects.postgresql import ARRAY
from sqlmodel import SQLModel

from backend.conversations.messages import DEAD, StoredMessage, conversations, messages, read_id
from backend.conversations.tool_calls import (
    ToolCall,
    Undo,
    as_shown,
    changes,
    changes_outside,
    load_calls,
)
from backend.database import Row, Session, execute
from backend.errors import (
    AlreadyUndone,
    MessageNotFound,
    NothingToUndo,
    TaskChanged,
    TurnInProgress,
)
from backend.journal import statements
from backend.models import ID_MAX, MessageStatus, Role, Task
from backend.postgres.session import Statement
from backend.tasks.projects import project_of_owner
from backend.tasks.stored import StoredTask


class _Replaced(TypedDict, total=False):
    """The columns that a call set, as they were before."""

    title: str
    description: str | None
    due_date: datetime | None
    due_is_date: bool | None
    time_zone: str | None
    tags: list[str]
    project_id: int | None
    steps: list[Any]
    recurrence_pattern: str
    priority: str
    completed: bool
    completed_at: datetime | None
    recurrence_day: int | None
    recurrence_time: time | None
    deleted_at: datetime | None
    updated_at: Required[datetime]


class _Change(TypedDict):
    task_id: Annotated[int, Field(gt=0, le=ID_MAX, strict=True)]
    before: _Replaced | None
    """None for a task that the call made."""
    after: datetime
    """The task's `updated_at` since."""


type _Values = dict[str, Any]

_CHANGES = TypeAdapter(list[_Change])

_tasks_table = SQLModel.metadata.tables[Task.__tablename__]
_now = func.clock_timestamp()
_FIND_MESSAGE = (
    select(
        messages.c.id,
        messages.c.role,
        messages.c.content,
        messages.c.tool_calls_json,
        messages.c.created_at,
        messages.c.undone_at,
        and_(messages.c.status == MessageStatus.RUNNING.value, ~DEAD).label("running"),
        (messages.c.status == MessageStatus.WAITING.value).label("waiting"),
    )
    .join(conversations, conversations.c.id == messages.c.conversation_id)
    .where(
        messages.c.id == bindparam("message"),
        messages.c.role == Role.ASSISTANT.value,
        conversations.c.user_id == bindparam("owner"),
        conversations.c.deleted_at.is_(None),
    )
    .with_for_update(of=messages)
)
_LOCK_CHANGED = (
    select(_tasks_table.c.id, _tasks_table.c.title, _tasks_table.c.updated_at)
    .where(
        _tasks_table.c.user_id == bindparam("owner"),
        _tasks_table.c.id == any_(bindparam("ids", type_=ARRAY(BigInteger))),
    )
    # in one order, so that two who undo at once do not wait for each other
    .order_by(_tasks_table.c.id)
    .with_for_update()
)
_CHANGE_BACK = update(_tasks_table).where(
    _tasks_table.c.id == bindparam("task"), _tasks_table.c.user_id == bindparam("owner")
)
_MADE = "made"
"""Stands among the columns of a task that is gone when it is undone."""
_MARK = (
    update(messages)
    .where(messages.c.id == bindparam("message"), messages.c.user_id == bindparam("owner"))
    .values(
        undone_at=_now,
        # a run whose process died is over now, also for the process, should it wake
        status=case(
            (messages.c.status == MessageStatus.RUNNING.value, MessageStatus.FAILED.value),
            else_=messages.c.status,
        ),
        ended_at=func.coalesce(messages.c.ended_at, _now),
    )
    .returning(
        messages.c.undone_at,
        messages.c.content,
        messages.c.tool_calls_json,
        messages.c.replaced_json,
        messages.c.stopped_at,
    )
)


def made(*tasks: StoredTask | None) -> Undo:
    """The record of tasks that a call made; None is no task."""
    new: list[_Change] = [
        {"task_id": task.id, "before": None, "after": task.updated_at}
        for task in tasks
        if task is not None
    ]
    return _recorded(new)


def changed(before: StoredTask, task: StoredTask) -> Undo:
    """The record of a change to `task`, which was `before`; empty if there was none."""
    if before.updated_at == task.updated_at:
        return []
    replaced: Any = {
        name: getattr(before, name)
        for name in _Replaced.__annotations__
        if name == "updated_at" or getattr(before, name) != getattr(task, name)
    }
    return _recorded([{"task_id": before.id, "before": replaced, "after": task.updated_at}])


def _recorded(changed: list[_Change]) -> Undo:
    recorded: Undo = _CHANGES.dump_python(changed, mode="json")
    return recorded


async def undo_message(session: Session, user_id: str, message_id: str) -> StoredMessage:
    """Take back all that the message's turn changed here, and mark the message; or do nothing.

    What it had outside tools do stays as it is.

    What waits there for the person's approval is declined.

    `message_id` is of any shape, as the conversations' ids are.

    Raises:
        MessageNotFound: not there, someone else's, a person's, or its conversation is deleted.
        AlreadyUndone: it has been.
        TurnInProgress: it is still being worked on.
        NothingToUndo: it changed nothing here, or what it changed was not recorded.
        TaskChanged: tasks were changed since; `details.tasks` names them.
    """
    message = await _find(session, user_id, message_id)
    calls = load_calls(message.tool_calls_json)
    if not await take_back(session, user_id, calls) and not message.waiting:
        outside = as_shown(changes_outside(calls))
        raise NothingToUndo(details={"not_undone": outside} if outside else None)
    if message.waiting:
        await execute(session, statements.DECLINE, {"owner": user_id, "message": message.id})
    row = (await execute(session, _MARK, {"owner": user_id, "message": message.id})).one()
    return StoredMessage(
        message.id,
        message.role,
        row.content,
        row.tool_calls_json,
        message.created_at,
        row.undone_at,
        replaced_json=row.replaced_json,
        stopped_at=row.stopped_at,
    )


async def take_back(session: Session, user_id: str, calls: list[ToolCall]) -> bool:
    """Take back all that the calls changed; whether they have changed anything.

    Raises:
        NothingToUndo: what they changed was not recorded.
        TaskChanged: tasks were changed since.
    """
    done = _recorded_changes(calls)
    values = _backwards(done, await _lock(session, user_id, done)) if done else {}
    if values:
        await session.flight(*(_restoring(user_id, *each) for each in values.items()))
    return bool(done)


def _restoring(user_id: str, task_id: int, before: _Values) -> Statement:
    """The statement that puts one task back."""
    given = {f"old_{name}": value for name, value in before.items() if name != _MADE}
    return _restore(frozenset(before)), {"task": task_id, "owner": user_id, **given}


@cache
def _restore(names: frozenset[str]) -> Update:
    old: dict[str, Any] = {
        name: bindparam(f"old_{name}", type_=_tasks_table.c[name].type) for name in names - {_MADE}
    }
    if "project_id" in names:  # it may have been deleted since
        old["project_id"] = project_of_owner("old_project_id")
    if _MADE in names:
        # without `previous_id` the task that it followed may have a next occurrence again
        old |= {"deleted_at": _now, "updated_at": _now, "previous_id": None}
    return _CHANGE_BACK.values(old)


async def _find(session: Session, user_id: str, message_id: str) -> Row:
    """The assistant's message, locked, if it can be undone as far as it alone tells."""
    number = read_id(message_id)
    if number is None:
        raise MessageNotFound
    found = await execute(session, _FIND_MESSAGE, {"message": number, "owner": user_id})
    message = found.one_or_none()
    if message is None:
        raise MessageNotFound
    if message.undone_at is not None:
        raise AlreadyUndone
    if message.running:
        raise TurnInProgress
    return message


def _recorded_changes(calls: list[ToolCall]) -> list[_Change]:
    """The changes of the calls as they were made; `NothingToUndo` unless each is on record whole.

    One that an earlier backend recorded does not say what it replaced.
    """
    ours = [call for call in calls if not call.get("outside")]
    if any(changes([call]) and "undo" not in call for call in ours):
        raise NothingToUndo
    recorded = chain.from_iterable(call.get("undo", []) for call in calls)
    try:
        return _CHANGES.validate_python(list(recorded))
    except ValidationError:
        raise NothingToUndo from None


async def _lock(session: Session, user_id: str, done: Sequence[_Change]) -> dict[int, Row]:
    ids = [change["task_id"] for change in done]
    rows = await execute(session, _LOCK_CHANGED, {"owner": user_id, "ids": ids})
    return {row.id: row for row in rows}


def _backwards(done: Sequence[_Change], tasks: Mapping[int, Row]) -> dict[int, _Values]:
    """What to set in each task to undo `done`, last change first.

    Raises:
        TaskChanged: a task's `updated_at` is not the one that a change left.
    """
    stands = {task_id: row.updated_at for task_id, row in tasks.items()}
    values: defaultdict[int, _Values] = defaultdict(dict)
    differing = set()
    for change in reversed(done):
        task_id, before = change["task_id"], change["before"]
        if stands.get(task_id) != change["after"]:
            differing.add(task_id)
            continue
        values[task_id] |= {_MADE: True} if before is None else before
        stands[task_id] = before and before["updated_at"]
    if differing:
        raise TaskChanged([(id_, tasks[id_].title) for id_ in sorted(differing & tasks.keys())])
    return values
