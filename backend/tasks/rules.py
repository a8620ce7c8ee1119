"""The task rules, the same for the REST routes and the tools.

Every function works on the tasks of `user_id` alone: someone else's, a deleted one and one
that never was are the same missing row. None commits; the edge does. Each call is one
statement, made once where it is always the same; only `set_completed` may need a second, and
completing a recurring task one more. `zone` is the time zone that the person names now, by its
name; without it the last counts that they have named.
"""

from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, date, datetime
from functools import cache
from typing import Any, NamedTuple

from sqlalchemy import (
    Boolean,
    ColumnElement,
    Text,
    and_,
    bindparam,
    case,
    cast,
    func,
    not_,
    null,
    select,
    text,
    update,
)
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.sql.dml import ReturningUpdate

from backend.database import Session, execute
from backend.errors import ProjectNotFound, TaskNotFound
from backend.models import Recurrence
from backend.tasks.dates import as_stored, is_noon_of
from backend.tasks.fields import TaskCreate, TaskFields, TaskUpdate
from backend.tasks.people import LAST_ZONE, NOTE_ZONE
from backend.tasks.projects import known_project, project_of_owner
from backend.tasks.recurrence import Occurrence, next_occurrence
from backend.tasks.steps import NewStep, Step, as_steps, not_done
from backend.tasks.stored import COLUMNS, ONE, StoredTask, read_one, read_tasks, table
from backend.time_zones import zone_of

_row = table.c
_NOW = func.clock_timestamp()
_ZONE = func.coalesce(bindparam("zone", type_=Text), LAST_ZONE.element)
_NEW = insert(table).values(
    user_id=bindparam("owner"), created_at=func.now(), updated_at=func.now()
)
_ADD = _NEW.values(time_zone=_ZONE, project_id=project_of_owner()).returning(*COLUMNS)
NEXT = _NEW.on_conflict_do_nothing().returning(*COLUMNS)
"""Makes the next occurrence with the values of `next_values`, unless there is one."""
_GET = select(*COLUMNS).where(ONE)
_LOCK_TASK = _GET.with_for_update(of=table)
_CHANGE = update(table).where(ONE).values(updated_at=_NOW).returning(*COLUMNS)
_TOGGLE = _CHANGE.values(
    completed=not_(_row.completed), completed_at=case((_row.completed, null()), else_=_NOW)
)
_TOGGLE_OTHER = _TOGGLE.where(_row.completed != bindparam("wanted"))
_DELETE = _CHANGE.values(deleted_at=_NOW)
_SET_STEPS = _CHANGE.values(steps=bindparam("new_steps", type_=_row.steps.type))
_NOTE_ZONE = text(NOTE_ZONE)
_DATE_ALONE = and_(
    _row.due_date == func.date_trunc("day", _row.due_date, "UTC"), _row.due_is_date.is_not(False)
)


class Completion(NamedTuple):
    """A task that is done, and the next occurrence if completing it made one."""

    task: StoredTask
    following: StoredTask | None


async def add_task(
    session: Session, user_id: str, new: TaskCreate, zone: str | None = None
) -> StoredTask:
    """A new open task, with its id.

    Raises:
        ProjectNotFound: its project is not one of the user's.
    """
    values = {"owner": user_id, "zone": zone, **columns_of(new, TaskCreate.model_fields)}
    values["project"] = project = known_project(values.pop("project_id"))
    (task,) = await read_tasks(session, _ADD, values)
    if task.project_id != project:
        raise ProjectNotFound
    return task


async def get_task(session: Session, user_id: str, task_id: int) -> StoredTask:
    """One task; `TaskNotFound` where the user has none of that id, here and below."""
    return await read_one(session, _GET, user_id, task_id)


async def lock_task(session: Session, user_id: str, task_id: int) -> StoredTask:
    """A task as it stands until this transaction changes it."""
    return await read_one(session, _LOCK_TASK, user_id, task_id)


async def note_zone(session: Session, user_id: str, zone: str | None) -> None:
    """Remember the time zone that the person has named; None names none."""
    if zone is not None:
        await execute(session, _NOTE_ZONE, {"owner": user_id, "named_zone": zone})


async def update_task(
    session: Session,
    user_id: str,
    task_id: int,
    changes: TaskUpdate,
    zone: str | None = None,
) -> StoredTask:
    """Set the fields that were sent, also to null or to what they were; none: as `get_task`.

    Another due date or pattern starts a new series: its day of the month and its time zone
    count from then.

    Raises:
        TaskNotFound: the user has no such task.
        ProjectNotFound: its new project is not one of the user's.
    """
    sent = columns_of(changes, changes.model_fields_set)
    if not sent:
        return await get_task(session, user_id, task_id)
    project = known_project(sent.get("project_id"))
    values = {f"new_{name}": value for name, value in sent.items()}
    statement = _setting_one(frozenset(sent))
    task = await read_one(session, statement, user_id, task_id, zone=zone, **values)
    if "project_id" in sent and task.project_id != project:
        raise ProjectNotFound
    return task


async def put_task(
    session: Session,
    user_id: str,
    task_id: int,
    changes: TaskUpdate,
    zone: str | None = None,
) -> StoredTask:
    """`update_task` for a client that knows no date alone and sends back the noon it was given.

    That noon changes nothing, in whatever zone it was shown.
    """
    if isinstance(changes.due_date, datetime):
        task = await lock_task(session, user_id, task_id)
        zones = (UTC, *map(zone_of, (zone, task.zone, task.time_zone)))
        if type(task.due) is date and is_noon_of(changes.due_date, task.due, zones):
            kept = changes.model_fields_set - {"due_date"}
            values = {name: getattr(changes, name) for name in kept}
            changes = TaskUpdate.model_construct(kept, **values)
    return await update_task(session, user_id, task_id, changes, zone)


async def change_steps(
    session: Session, user_id: str, task_id: int, change: Callable[[Sequence[Step]], list[Step]]
) -> StoredTask:
    """Put what `change` makes of a task's steps in their place; others who do so wait."""
    steps = change((await lock_task(session, user_id, task_id)).steps)
    return await read_one(session, _SET_STEPS, user_id, task_id, new_steps=steps)


async def set_completed(
    session: Session,
    user_id: str,
    task_id: int,
    completed: bool,
    zone: str | None = None,
) -> Completion:
    """Complete or reopen a task; one that is so already stays as it is.

    Completing a recurring task makes its next occurrence, once however often it is done.
    """
    try:
        task = await read_one(session, _TOGGLE_OTHER, user_id, task_id, wanted=completed)
    except TaskNotFound:
        return Completion(await get_task(session, user_id, task_id), None)
    return Completion(task, await _make_next_occurrence(session, task, zone))


async def toggle_task(
    session: Session, user_id: str, task_id: int, zone: str | None = None
) -> StoredTask:
    """Complete an open task, as `set_completed` does, or reopen a completed one."""
    task = await read_one(session, _TOGGLE, user_id, task_id)
    await _make_next_occurrence(session, task, zone)
    return task


async def delete_task(session: Session, user_id: str, task_id: int) -> StoredTask:
    """Delete a task softly: the row stays, nobody finds it; its series ends."""
    return await read_one(session, _DELETE, user_id, task_id)


def columns_of(fields: TaskFields, names: Iterable[str]) -> dict[str, Any]:
    """What a person has set of the fields with these names, by the names of the columns."""
    values = {name: getattr(fields, name) for name in names}
    if "due_date" in values:
        values["due_date"], values["due_is_date"] = as_stored(fields.due_date)
    if "steps" in values:
        values["steps"] = as_steps(
            NewStep(id=step.id, title=step.title, done=step.done) for step in fields.steps
        )
    return values


@cache
def _setting_one(names: frozenset[str]) -> ReturningUpdate[*tuple[Any, ...]]:
    return setting(_CHANGE, names)


def setting(
    change: ReturningUpdate[*tuple[Any, ...]], names: frozenset[str]
) -> ReturningUpdate[*tuple[Any, ...]]:
    """`change` that sets the columns with these names to `new_` values.

    It begins a series where the due date or the pattern is new.
    """
    new: dict[str, ColumnElement[Any]] = {
        name: bindparam(f"new_{name}", type_=_row[name].type) for name in names
    }
    if "project_id" in names:
        new["project_id"] = project_of_owner("new_project_id")
    schedule = [name for name in ("due_date", "recurrence_pattern") if name in names]
    if not schedule:
        return change.values(new)
    same = [_row[name].is_not_distinct_from(cast(new[name], _row[name].type)) for name in schedule]
    if "due_date" in names:
        same.append(func.coalesce(cast(new["due_is_date"], Boolean) == _DATE_ALONE, True))
    kept = and_(*same)
    series = {
        "recurrence_day": case((kept, _row.recurrence_day)),
        "recurrence_time": case((kept, _row.recurrence_time)),
        "time_zone": case((kept, _row.time_zone), else_=func.coalesce(_ZONE, _row.time_zone)),
    }
    return change.values(new | series)


async def _make_next_occurrence(
    session: Session, task: StoredTask, zone: str | None
) -> StoredTask | None:
    """Make and return the next occurrence of a task just completed, if it recurs and has none yet.

    The completing UPDATE holds the row's lock, and `previous_id` is unique, also over deleted
    rows: completing it again, here or in another process, makes no second one.
    """
    following = next_values(task, zone) if task.completed else None
    if following is None:
        return None
    made = await read_tasks(session, NEXT, following)
    return made[0] if made else None


def next_values(task: StoredTask, zone: str | None) -> dict[str, Any] | None:
    """The values of the next occurrence of `task`; None where it does not recur, or no more."""
    if task.recurrence_pattern is Recurrence.NONE:
        return None
    zone = task.time_zone or zone or task.zone
    following: dict[str, Any] = {
        "owner": task.user_id,
        "title": task.title,
        "description": task.description,
        "priority": task.priority,
        "tags": task.tags,
        "project_id": task.project_id,
        "steps": not_done(task.steps),
        "recurrence_pattern": task.recurrence_pattern,
        "time_zone": zone,
        "previous_id": task.id,
    }
    if task.due_date is not None:
        clock = UTC if type(task.due) is date else zone_of(zone)
        last = Occurrence(task.due_date, task.recurrence_day, task.recurrence_time)
        try:
            after = next_occurrence(last, task.recurrence_pattern, clock)
        except OverflowError:
            return None
        following |= {
            "due_date": after.due,
            "due_is_date": type(task.due) is date,
            "recurrence_day": after.day,
            "recurrence_time": after.at,
        }
    return following
