"""The task rules, the same for the REST routes and the tools.

Every function works on the tasks of `user_id` alone: someone else's, a deleted one and one
that never was are the same missing row. None commits; the edge does. Each call is one
statement, made once where it is always the same; only `set_completed` may need a second, and
completing a recurring task one more.
"""

from collections.abc import Mapping
from datetime import UTC, datetime, time
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, and_, bindparam, case, func, not_, null, or_, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.sql.base import Executable
from sqlmodel import SQLModel

from backend.database import Ahead, Result, Session
from backend.errors import TaskNotFound
from backend.models import ID_MAX, Recurrence, Task
from backend.schemas.fields import as_utc
from backend.tasks.fields import TaskCreate, TaskUpdate
from backend.tasks.recurrence import next_due, series_day

_TABLE = SQLModel.metadata.tables[Task.__tablename__]
_ROW = _TABLE.c
_NEW = insert(_TABLE).values(created_at=func.now(), updated_at=func.now())
_NOW = func.clock_timestamp()
_OWN_TASKS = and_(_ROW.user_id == bindparam("owner"), _ROW.deleted_at.is_(None))
_OWN_TASK = and_(_ROW.id == bindparam("task"), _OWN_TASKS)
_CHANGE = update(_TABLE).where(_OWN_TASK).values(updated_at=_NOW).returning(_TABLE)
_TOGGLE = _CHANGE.values(
    completed=not_(_ROW.completed), completed_at=case((_ROW.completed, null()), else_=_NOW)
)


async def _load(session: Session, statement: Executable, values: dict[str, Any]) -> list[Task]:
    """The rows that `statement` returns, which are tasks by their columns."""
    return (await session.execute(statement, values)).all()


_ADD = _NEW.returning(_TABLE)
_NEXT = _NEW.on_conflict_do_nothing().returning(_TABLE)
_GET = select(_TABLE).where(_OWN_TASK)
_LOCK_TASK = select(_TABLE).where(_OWN_TASK).with_for_update()
_TOGGLE_ANY = _TOGGLE
_TOGGLE_OTHER = _TOGGLE.where(_ROW.completed != bindparam("wanted"))
_DELETE = _CHANGE.values(deleted_at=_NOW)
_NEWEST_FIRST = (_ROW.created_at.desc(), _ROW.id.desc())
_DATE_ALONE = _ROW.due_date == func.date_trunc("day", _ROW.due_date, "UTC")
# a date alone is midnight UTC, and not over before the person's day is
_OVERDUE = and_(
    _ROW.due_date < bindparam("now"),
    or_(not_(_DATE_ALONE), _ROW.due_date < bindparam("today")),
)
_OPEN = (
    select(
        _ROW.id,
        _ROW.title,
        _ROW.due_date,
        func.count().over(),
        func.count().filter(_OVERDUE).over(),
    )
    .where(_OWN_TASKS, not_(_ROW.completed))
    .order_by(*_NEWEST_FIRST)
    .limit(bindparam("shown"))
)


class OpenTask(NamedTuple):
    """What the model is told of a task that is not done; `due_date` is in UTC."""

    id: int
    title: str
    due_date: datetime | None


class OpenTasks(NamedTuple):
    """Some of a user's open tasks, and how many there are and are past due in all."""

    newest: list[OpenTask]
    total: int
    overdue: int


class Completion(NamedTuple):
    """A task that is done, and the next occurrence if completing it made one."""

    task: Task
    following: Task | None


async def add_task(session: Session, user_id: str, new: TaskCreate) -> Task:
    """A new open task, with its id."""
    (task,) = await _load(session, _ADD, {"user_id": user_id, **new.model_dump()})
    return task


async def get_task(session: Session, user_id: str, task_id: int) -> Task:
    """One task; `TaskNotFound` where the user has none of that id, here and below."""
    return await _one(session, _GET, user_id, task_id)


async def lock_task(session: Session, user_id: str, task_id: int) -> Mapping[str, Any]:
    """The columns of a task as they stand until this transaction changes them."""
    if not 0 < task_id <= ID_MAX:
        raise TaskNotFound
    found = await session.execute(_LOCK_TASK, {"owner": user_id, "task": task_id})
    row = found.one_or_none()
    if row is None:
        raise TaskNotFound
    columns: Mapping[str, Any] = row._asdict()
    return columns


async def list_tasks(
    session: Session,
    user_id: str,
    *,
    completed: bool | None = None,
    search: str | None = None,
    limit: int | None = None,
) -> list[Task]:
    """The newest `limit` tasks, or all, newest first; None and "" filter nothing.

    `search` is looked for as it stands in title and description, in any case of letters.
    """
    matching = select(_TABLE).where(_OWN_TASKS, *_filters(completed, search))
    newest = matching.order_by(*_NEWEST_FIRST).limit(limit)
    return await _load(session, newest, {"owner": user_id})


async def count_tasks(
    session: Session,
    user_id: str,
    *,
    completed: bool | None = None,
    search: str | None = None,
) -> int:
    """How many tasks `list_tasks` would find without a limit."""
    matching = select(func.count()).where(_OWN_TASKS, *_filters(completed, search))
    count: int = (await session.execute(matching, {"owner": user_id})).scalar_one()
    return count


def ask_open_tasks(session: Session, user_id: str, limit: int, now: datetime) -> Ahead:
    """Ask for the newest `limit` (1 or more) tasks that are not done, and the counts of all.

    With the session's next flight; `as_open_tasks` reads the result. `now` is in the person's
    time zone. What is due on a date, at no time, is overdue when that date is over there; what
    is due at midnight UTC is taken for the date.
    """
    values = {
        "owner": user_id,
        "shown": limit,
        "now": now,
        "today": datetime.combine(now.date(), time.min, UTC),
    }
    return session.ahead(_OPEN, values)


async def open_tasks(session: Session, user_id: str, limit: int, now: datetime) -> OpenTasks:
    return as_open_tasks(await ask_open_tasks(session, user_id, limit, now))


def as_open_tasks(found: Result) -> OpenTasks:
    rows = found.all()
    newest = [OpenTask(row[0], row[1], row[2] and as_utc(row[2])) for row in rows]
    total, overdue = rows[0][3:] if rows else (0, 0)
    return OpenTasks(newest, total, overdue)


async def update_task(session: Session, user_id: str, task_id: int, changes: TaskUpdate) -> Task:
    """Set the fields that were sent, also to null or to what they were; none: as `get_task`.

    Another due date or pattern starts a new series: its day of the month counts from then.
    """
    sent = changes.model_dump(exclude_unset=True)
    if not sent:
        return await get_task(session, user_id, task_id)
    schedule = [_ROW[name] for name in ("due_date", "recurrence_pattern") if name in sent]
    if schedule:
        same = and_(*(column.is_not_distinct_from(sent[column.name]) for column in schedule))
        sent["recurrence_day"] = case((same, _ROW.recurrence_day), else_=null())
    return await _one(session, _CHANGE.values(sent), user_id, task_id)


async def set_completed(
    session: Session, user_id: str, task_id: int, completed: bool
) -> Completion:
    """Complete or reopen a task; one that is so already stays as it is.

    Completing a recurring task makes its next occurrence, once however often it is done.
    """
    try:
        task = await _one(session, _TOGGLE_OTHER, user_id, task_id, wanted=completed)
    except TaskNotFound:
        return Completion(await get_task(session, user_id, task_id), None)
    return Completion(task, await _repeat(session, task))


async def toggle_task(session: Session, user_id: str, task_id: int) -> Task:
    """Complete an open task, as `set_completed` does, or reopen a completed one."""
    task = await _one(session, _TOGGLE_ANY, user_id, task_id)
    await _repeat(session, task)
    return task


async def delete_task(session: Session, user_id: str, task_id: int) -> Task:
    """Delete a task softly: the row stays, nobody finds it; its series ends."""
    return await _one(session, _DELETE, user_id, task_id)


async def _one(
    session: Session, statement: Executable, user_id: str, task_id: int, **more: object
) -> Task:
    """The task that `statement` finds; an id no column can hold is missing without a query."""
    if not 0 < task_id <= ID_MAX:
        raise TaskNotFound
    found = await _load(session, statement, {"owner": user_id, "task": task_id, **more})
    if not found:
        raise TaskNotFound
    return found[0]


def _filters(completed: bool | None, search: str | None) -> list[ColumnElement[bool]]:
    filters: list[ColumnElement[bool]] = []
    if completed is not None:
        filters.append(_ROW.completed == completed)
    if wanted := (search or "").strip():
        fields = (_ROW.title, _ROW.description)
        filters.append(or_(*(field.icontains(wanted, autoescape=True) for field in fields)))
    return filters


async def _repeat(session: Session, task: Task) -> Task | None:
    """Make and return the next occurrence of a task just completed, if it recurs and has none yet.

    The completing UPDATE holds the row's lock, and `previous_id` is unique, also over deleted
    rows: completing it again, here or in another process, makes no second one.
    """
    pattern = Recurrence.__members__.get(task.recurrence_pattern.upper(), Recurrence.NONE)
    if not task.completed or pattern is Recurrence.NONE:
        return None
    try:
        due = task.due_date and next_due(task.due_date, pattern, task.recurrence_day)
    except OverflowError:
        return None
    following = {
        "user_id": task.user_id,
        "title": task.title,
        "description": task.description,
        "priority": task.priority,
        "due_date": due,
        "tags": task.tags,
        "recurrence_pattern": pattern,
        "recurrence_day": series_day(task.due_date, pattern, task.recurrence_day),
        "previous_id": task.id,
    }
    made = await _load(session, _NEXT, following)
    return made[0] if made else None
