"""Which of a person's tasks are meant, and in which order: as SQL made once for each shape."""

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from enum import StrEnum

from sqlalchemy import (
    BigInteger,
    Boolean,
    ColumnElement,
    DateTime,
    TextClause,
    and_,
    bindparam,
    func,
    not_,
    or_,
    text,
)

from backend.cursors import NEWEST, OLDEST, Position
from backend.models import Priority
from backend.schemas.fields import as_utc
from backend.tasks.stored import FIRST_INSTANT, LAST_INSTANT, OWNED, StoredTask, table
from backend.text_search import fold, holds_all

_INSTANT_TYPE = DateTime(timezone=True)
_FIRST_TIME = datetime.min.replace(tzinfo=UTC)
_LAST_TIME = datetime.max.replace(tzinfo=UTC)


class Sort(StrEnum):
    CREATED = "created"
    """Newest first."""
    DUE = "due"
    """What is due first, and last what is not due."""


class Due(StrEnum):
    OVERDUE = "overdue"
    TODAY = "today"
    WEEK = "week"
    """Today and the six days after it."""
    NONE = "none"


@dataclass(frozen=True, slots=True)
class DueRange:
    """From one time up to another, and from one day up to another for what is due on a day."""

    since: datetime
    until: datetime
    since_day: datetime
    until_day: datetime


def due_range(due: Due, now: datetime, zone: tzinfo) -> DueRange:
    """What `due`, which is not `NONE`, means in `zone`."""
    today = now.astimezone(zone).date()
    if due is Due.OVERDUE:
        return DueRange(_FIRST_TIME, now, _FIRST_TIME, _midnight(today))
    after = today + timedelta(1 if due is Due.TODAY else 7)
    return DueRange(
        _begin_of_day(today, zone), _begin_of_day(after, zone), _midnight(today), _midnight(after)
    )


def due_on(day: date, zone: tzinfo) -> DueRange:
    """What is due on a day in `zone`."""
    until = due_until(day, zone)
    return DueRange(_begin_of_day(day, zone), until.until, _midnight(day), until.until_day)


def due_until(day: date, zone: tzinfo) -> DueRange:
    """What is due up to the end of a day in `zone`."""
    if day == date.max:
        return DueRange(_FIRST_TIME, _LAST_TIME, _FIRST_TIME, _LAST_TIME)
    after = day + timedelta(1)
    return DueRange(_FIRST_TIME, _begin_of_day(after, zone), _FIRST_TIME, _midnight(after))


def _begin_of_day(day: date, zone: tzinfo) -> datetime:
    try:
        return datetime.combine(day, time(), zone).astimezone(UTC)
    except OverflowError:
        return _midnight(day)


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time(), UTC)


@dataclass(frozen=True, slots=True)
class TaskFilter:
    """Which tasks are meant; None and "" leave nothing out.

    `search` is words that stand in title or description, in any order, whatever their case and
    width; no sign has a meaning of its own.
    """

    completed: bool | None = None
    search: str = ""
    project_id: int | None = None
    tag: str = ""
    priority: Priority | None = None
    due: DueRange | None = None
    without_due: bool = False

    @property
    def values(self) -> dict[str, object]:
        """The values of what is filtered by; each is a filter of its name, or part of one."""
        values: dict[str, object] = {}
        if self.completed is not None:
            values["completed"] = self.completed
        if words := fold(self.search).split():
            values["words"] = words
        if self.project_id is not None:
            values["in_project"] = self.project_id
        if tag := self.tag.strip().lower():
            values["tag"] = tag
        if self.priority is not None:
            values["of_priority"] = self.priority.value
        if self.without_due:
            values["without_due"] = True
        if self.due is not None:
            values["due_since"], values["due_until"] = self.due.since, self.due.until
            values["day_since"], values["day_until"] = self.due.since_day, self.due.until_day
        return values


ALL = TaskFilter()
_DUE = table.c.due_date
_IS_DAY = and_(func.date_trunc("day", _DUE, "UTC") == _DUE, table.c.due_is_date.is_not(False))


def _between(first: str, after: str) -> ColumnElement[bool]:
    return and_(
        bindparam(first, type_=_INSTANT_TYPE) <= _DUE, bindparam(after, type_=_INSTANT_TYPE) > _DUE
    )


_FILTERS: dict[str, ColumnElement[bool] | TextClause] = {
    "completed": table.c.completed == bindparam("completed", type_=Boolean),
    "words": text(
        holds_all("concat_ws(' ', tasks.title, tasks.description)", "CAST(:words AS text[])")
    ),
    "in_project": table.c.project_id == bindparam("in_project", type_=BigInteger),
    "tag": text(
        "EXISTS (SELECT FROM json_array_elements_text("
        "CASE json_typeof(tasks.tags) WHEN 'array' THEN tasks.tags ELSE '[]' END"
        ") AS tag WHERE tag = CAST(:tag AS text))"
    ),
    "of_priority": func.lower(table.c.priority) == bindparam("of_priority"),
    "without_due": and_(_DUE.is_(None), bindparam("without_due", type_=Boolean)),
    "due_since": or_(
        and_(_IS_DAY, _between("day_since", "day_until")),
        and_(not_(_IS_DAY), _between("due_since", "due_until")),
    ),
}
PLACES = {
    Sort.CREATED: (table.c.created_at, table.c.id),
    Sort.DUE: (func.least(func.coalesce(_DUE, LAST_INSTANT), LAST_INSTANT), table.c.id),
}
FIRST = {Sort.CREATED: NEWEST, Sort.DUE: OLDEST}


def place_of(task: StoredTask, sort: Sort) -> Position:
    """Where `task` stands in a list of that order."""
    if sort is Sort.CREATED:
        return task.position
    return Position(_LAST_TIME if task.due_date is None else as_utc(task.due_date), task.id)


def matching(names: frozenset[str]) -> ColumnElement[bool]:
    """Whether a task is meant by the values with these names."""
    given = [condition for name, condition in _FILTERS.items() if name in names]
    return and_(OWNED, table.c.created_at >= FIRST_INSTANT, *given)
