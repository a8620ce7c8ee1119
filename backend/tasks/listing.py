"""A person's tasks, page by page: those that match, how many there are, and those still open."""

from dataclasses import dataclass
from datetime import UTC, date, datetime
from functools import cache
from typing import Any, NamedTuple

from sqlalchemy import (
    ColumnElement,
    Select,
    TextClause,
    and_,
    bindparam,
    func,
    select,
    text,
    tuple_,
)

from backend.conversations.cursors import NEWEST, POSITION, Position, position_values
from backend.database import Ahead, Result, Session, execute
from backend.tasks.dates import due_of
from backend.tasks.people import NOTE_ZONE
from backend.tasks.stored import (
    COLUMNS,
    FIRST_INSTANT,
    LAST_INSTANT,
    OWNED,
    UNTITLED,
    StoredTask,
    read_task,
    table,
)
from backend.text_search import fold, holds_all
from backend.time_zones import zone_of

LISTED_MAX = 5000
"""Tasks of one answer at the most."""
READ_AT_ONCE = 500
"""Rows that one statement reads, so that no list holds up the event loop."""


@dataclass(frozen=True, slots=True)
class TaskFilter:
    """Which tasks are meant; None and "" leave nothing out.

    `search` is words that stand in title or description, in any order, whatever their case and
    width; no sign has a meaning of its own.
    """

    completed: bool | None = None
    search: str = ""

    @property
    def values(self) -> dict[str, object]:
        """By the names of `_matching`; what is not there leaves nothing out."""
        values: dict[str, object] = {}
        if self.completed is not None:
            values["completed"] = self.completed
        if words := fold(self.search).split():
            values["words"] = words
        return values


ALL = TaskFilter()


_FILTERS: dict[str, ColumnElement[bool] | TextClause] = {
    "completed": table.c.completed == bindparam("completed"),
    "words": text(
        holds_all("concat_ws(' ', tasks.title, tasks.description)", "CAST(:words AS text[])")
    ),
}
_PLACE = (table.c.created_at, table.c.id)
_NEWEST_FIRST = tuple(column.desc() for column in _PLACE)


def _matching(names: frozenset[str]) -> ColumnElement[bool]:
    return and_(OWNED, table.c.created_at >= FIRST_INSTANT, *(_FILTERS[name] for name in names))


@cache
def _count_of(names: frozenset[str]) -> Select[*tuple[Any, ...]]:
    return select(func.count()).where(_matching(names))


@cache
def _page_of(names: frozenset[str], *, counted: bool) -> Select[*tuple[Any, ...]]:
    page = (
        select(*COLUMNS)
        .where(_matching(names), tuple_(*_PLACE) < POSITION)
        .order_by(*_NEWEST_FIRST)
        .limit(bindparam("limit"))
    )
    total = _count_of(names).scalar_subquery().label("total")
    return page.add_columns(total) if counted else page


class TaskPage(NamedTuple):
    """Some tasks, newest first."""

    tasks: list[StoredTask]
    total: int
    """All that match, wherever the page begins."""
    next: Position | None
    """Where the following page begins; None at the end."""


async def list_tasks(
    session: Session,
    user_id: str,
    wanted: TaskFilter = ALL,
    *,
    limit: int = LISTED_MAX,
    before: Position = NEWEST,
) -> TaskPage:
    """The newest `limit` tasks, 1 or more, before a position.

    One statement, or one for each `READ_AT_ONCE` where there are more.
    """
    filters = wanted.values
    names = frozenset(filters)
    values = filters | {"owner": user_id}
    found: list[StoredTask] = []
    total, more = None, True
    while more and len(found) < limit:
        size = min(limit - len(found), READ_AT_ONCE)
        statement = _page_of(names, counted=total is None)
        part = values | position_values(before) | {"limit": size + 1}
        rows = (await execute(session, statement, part)).all()
        if rows and total is None:
            total = rows[0].total
        found += map(read_task, rows[:size])
        more = len(rows) > size
        before = found[-1].position if found else before
    if total is None:  # where nothing stands behind the newest place there is nothing at all
        count = before != NEWEST and (await execute(session, _count_of(names), values)).scalar_one()
        total = int(count)
    return TaskPage(found, total, before if more else None)


class OpenTask(NamedTuple):
    """What the model is told of a task that is not done; `due` is a date, or a time in UTC."""

    id: int
    title: str
    due: date | None


class OpenTasks(NamedTuple):
    """Some of a person's open tasks, and how many there are and are past due in all."""

    newest: list[OpenTask]
    total: int
    overdue: int
    zone: str | None
    """The person's time zone: the one that is named, else the last that was."""


_DAYS = (-1, 0, 1)
"""From today in UTC; it is never another day than these, wherever the person is."""
_OVERDUE = ", ".join(
    f"count(*) FILTER (WHERE due_date < :now AND (timed OR due_date < today + {day} * day)) OVER ()"
    for day in _DAYS
)
# no part of it comes from outside
_OPEN = f"""
SELECT person.zone, open.* FROM
(SELECT (SELECT time_zone FROM people WHERE user_id = CAST(:owner AS text)) AS zone) AS person
LEFT JOIN (
    SELECT
        id,
        coalesce(title, :untitled),
        CASE WHEN due_date BETWEEN {FIRST_INSTANT} AND {LAST_INSTANT} THEN due_date END,
        due_is_date,
        count(*) OVER (),
        {_OVERDUE}
    FROM tasks, LATERAL (
        SELECT
            date_trunc('day', CAST(:now AS timestamptz), 'UTC') AS today,
            interval '1 day' AS day,
            due_is_date IS FALSE OR due_date <> date_trunc('day', due_date, 'UTC') AS timed
    ) AS judged
    WHERE user_id = CAST(:owner AS text) AND deleted_at IS NULL AND NOT completed
    ORDER BY created_at DESC, id DESC
    LIMIT :shown
) AS open ON true
"""  # noqa: S608
_OPEN_TASKS = text(_OPEN)
_OPEN_TASKS_NOTING = text(f"WITH noted AS ({NOTE_ZONE}) {_OPEN}")


def ask_open_tasks(
    session: Session, user_id: str, limit: int, now: datetime, zone: str | None = None
) -> Ahead:
    """Ask for the newest `limit` (1 or more) tasks that are not done, and the counts of all.

    With the session's next flight; `read_open_tasks` reads the result. `zone` is the time zone
    that the person names, which is remembered; without one it is the last that they named, else
    UTC. By it the day is told on which a date is over.
    """
    values = {"owner": user_id, "shown": limit, "now": now, "untitled": UNTITLED}
    if zone is None:
        return session.ahead(_OPEN_TASKS, values)
    return session.ahead(_OPEN_TASKS_NOTING, values | {"named_zone": zone})


def read_open_tasks(found: Result, now: datetime, zone: str | None = None) -> OpenTasks:
    """What was asked for with the same `now` and `zone`."""
    rows = found.all()
    zone = zone or rows[0].zone
    if rows[0].id is None:
        return OpenTasks([], 0, 0, zone)
    newest = [OpenTask(id_, title, due_of(due, marked)) for _, id_, title, due, marked, *_ in rows]
    _, _, _, _, _, total, *overdue = rows[0]
    today = now.astimezone(zone_of(zone)).date() - now.astimezone(UTC).date()
    return OpenTasks(newest, total, overdue[_DAYS.index(today.days)], zone)


async def open_tasks(
    session: Session, user_id: str, limit: int, now: datetime, zone: str | None = None
) -> OpenTasks:
    """Both at once."""
    asked = ask_open_tasks(session, user_id, limit, now, zone)
    return read_open_tasks(await asked, now, zone)
