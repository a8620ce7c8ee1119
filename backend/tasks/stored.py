"""A task as it is stored, read from a row: one of ours, of an earlier release or backend.

What such a row lacks is made good here, once for the routes, the tools and undo.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import date, datetime, time
from enum import StrEnum
from typing import Any

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Executable,
    Text,
    and_,
    bindparam,
    case,
    func,
    text,
)
from sqlmodel import SQLModel

from backend.cursors import Position
from backend.database import Session, execute
from backend.errors import TaskNotFound
from backend.models import ID_MAX, Priority, Recurrence, Task
from backend.tasks.dates import due_of, noon
from backend.tasks.people import LAST_ZONE
from backend.tasks.steps import Step, read_steps
from backend.time_zones import zone_of

UNTITLED = "Untitled"
"""In place of the title that an adopted row does not have."""

table = SQLModel.metadata.tables[Task.__tablename__]
OWNED = and_(table.c.user_id == bindparam("owner", type_=Text), table.c.deleted_at.is_(None))
ONE = and_(table.c.id == bindparam("task", type_=BigInteger), OWNED)


@dataclass(frozen=True, slots=True)
class StoredTask:
    """A row of `tasks`, and its owner's time zone; see `backend.models.Task`."""

    id: int
    user_id: str
    title: str
    description: str
    completed: bool
    completed_at: datetime | None
    priority: Priority
    due_date: datetime | None
    due_is_date: bool | None
    time_zone: str | None
    tags: list[str]
    project_id: int | None
    steps: list[Step]
    recurrence_pattern: Recurrence
    recurrence_day: int | None
    recurrence_time: time | None
    created_at: datetime
    updated_at: datetime
    deleted_at: datetime | None
    zone: str | None
    """The last that the person named, by its name."""

    @property
    def position(self) -> Position:
        """Where it stands in a list of the newest."""
        return Position(self.created_at, self.id)

    @property
    def due(self) -> date | None:
        """A date where it is due on a day, else a time in UTC."""
        return due_of(self.due_date, self.due_is_date)

    def due_instant(self, zone: str | None = None) -> datetime | None:
        """When it is due where a time is needed; of a date its noon, in `zone` or the person's."""
        due = self.due
        if due is None or isinstance(due, datetime):
            return due
        return noon(due, zone_of(zone, self.zone))


FIRST_INSTANT = text("timestamptz '0001-01-01 00:00:00+00'")
LAST_INSTANT = text("timestamptz '9999-12-31 23:59:59.999999+00'")


def _column(name: str) -> ColumnElement[Any]:
    """A column as it is selected: of instants those that Python has a year for.

    Postgres also has infinity, and years of five digits and before the first.
    """
    if name == "zone":
        return LAST_ZONE
    column = table.c[name]
    if name in ("due_date", "completed_at", "deleted_at"):
        return case((column.between(FIRST_INSTANT, LAST_INSTANT), column)).label(name)
    if name in ("created_at", "updated_at"):
        return func.greatest(func.least(column, LAST_INSTANT), FIRST_INSTANT).label(name)
    return column


_NAMES = tuple(field.name for field in fields(StoredTask))
COLUMNS = tuple(map(_column, _NAMES))
"""What a statement selects or returns for `read_task`."""


def read_word[W: StrEnum](stored: object, known: type[W], default: W) -> W:
    """A stored word in any case; another backend's that we do not know is the default."""
    return known.__members__.get(str(stored).upper(), default)


def read_texts(stored: object) -> list[str]:
    """The texts in a stored list; what is none is left out."""
    return [each for each in stored if isinstance(each, str)] if isinstance(stored, list) else []


def read_task(row: Any) -> StoredTask:
    """The task in a row that begins with `COLUMNS`."""
    values: dict[str, Any] = dict(zip(_NAMES, row, strict=False))
    return StoredTask(
        **values
        | {
            "title": UNTITLED if values["title"] is None else values["title"],
            "description": values["description"] or "",
            "completed": bool(values["completed"]),
            "priority": read_word(values["priority"], Priority, Priority.MEDIUM),
            "tags": read_texts(values["tags"]),
            "steps": read_steps(values["steps"]),
            "recurrence_pattern": read_word(
                values["recurrence_pattern"], Recurrence, Recurrence.NONE
            ),
        }
    )


async def read_tasks(
    session: Session, statement: Executable, values: Mapping[str, object]
) -> list[StoredTask]:
    """The tasks of a statement of `COLUMNS`."""
    return [read_task(row) for row in await execute(session, statement, values)]


async def read_one(
    session: Session, statement: Executable, user_id: str, task_id: int, **more: object
) -> StoredTask:
    """The task that a statement of `ONE` finds; an id no column can hold is missing unasked.

    Raises:
        TaskNotFound: there is none.
    """
    if not 0 < task_id <= ID_MAX:
        raise TaskNotFound
    found = await read_tasks(session, statement, {"owner": user_id, "task": task_id, **more})
    if not found:
        raise TaskNotFound
    return found[0]
