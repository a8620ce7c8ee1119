"""A person's tasks, page by page: those that match, how many there are, and those still open."""

from datetime import UTC, date, datetime
from functools import cache
from typing import Any, NamedTuple

from sqlalchemy import (
    Select,
    bindparam,
    func,
    select,
    text,
    tuple_,
)

from backend.conversations.cursors import POSITION, Position, position_values
from backend.database import Ahead, Result, Session, execute
from backend.models import ID_MAX
from backend.tasks.dates import due_of
from backend.tasks.filters import ALL, FIRST, PLACES, Sort, TaskFilter, matching, place_of
from backend.tasks.people import NOTE_ZONE
from backend.tasks.stored import (
    COLUMNS,
    FIRST_INSTANT,
    LAST_INSTANT,
    UNTITLED,
    StoredTask,
    read_task,
)
from backend.time_zones import zone_of

LISTED_MAX = 5000
"""Tasks of one answer at the most."""
READ_AT_ONCE = 250
"""Rows that one statement reads, so that no list holds up the event loop."""


@cache
def _count_of(names: frozenset[str]) -> Select[*tuple[Any, ...]]:
    return select(func.count()).where(matching(names))


@cache
def _page_of(names: frozenset[str], sort: Sort, *, counted: bool) -> Select[*tuple[Any, ...]]:
    place = tuple_(*PLACES[sort])
    page = (
        select(*COLUMNS)
        .where(matching(names), place > POSITION if sort is Sort.DUE else place < POSITION)
        .order_by(*(each if sort is Sort.DUE else each.desc() for each in PLACES[sort]))
        .limit(bindparam("limit"))
    )
    total = _count_of(names).scalar_subquery().label("total")
    return page.add_columns(total) if counted else page


class TaskPage(NamedTuple):
    """Some tasks, in the order that was asked for."""

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
    before: Position | None = None,
    sort: Sort = Sort.CREATED,
) -> TaskPage:
    """The first `limit` tasks, 1 or more, behind a position; without one from the beginning.

    One statement, or one for each `READ_AT_ONCE` where there are more.
    """
    filters = wanted.values
    names = frozenset(filters)
    before = before or FIRST[sort]
    values = filters | {"owner": user_id}
    found: list[StoredTask] = []
    total, more = None, True
    while more and len(found) < limit:
        size = min(limit - len(found), READ_AT_ONCE)
        statement = _page_of(names, sort, counted=total is None)
        part = values | position_values(before) | {"limit": size + 1}
        rows = (await execute(session, statement, part)).all()
        if rows and total is None:
            total = rows[0].total
        found += map(read_task, rows[:size])
        more = len(rows) > size
        before = place_of(found[-1], sort) if found else before
    if total is None:  # where nothing stands behind the first place there is nothing at all
        count = before != FIRST[sort] and await _count(session, names, values)
        total = int(count)
    return TaskPage(found, total, before if more else None)


async def _count(session: Session, names: frozenset[str], values: dict[str, object]) -> int:
    count: int = (await execute(session, _count_of(names), values)).scalar_one()
    return count


class OpenTask(NamedTuple):
    """What the model is told of a task that is not done; `due` is a date, or a time in UTC."""

    id: int
    title: str
    due: date | None


class NamedProject(NamedTuple):
    id: int
    name: str


class OpenTasks(NamedTuple):
    """Some of a person's open tasks, and how many there are and are past due in all."""

    newest: list[OpenTask]
    total: int
    overdue: int
    zone: str | None
    """The person's time zone: the one that is named, else the last that was."""
    project: NamedProject | None = None
    """Where it is only its tasks."""


_DAYS = (-1, 0, 1)
"""From today in UTC; it is never another day than these, wherever the person is."""
_OVERDUE = ", ".join(
    f"count(*) FILTER (WHERE due_date < :now AND (timed OR due_date < today + {day} * day)) OVER ()"
    for day in _DAYS
)
# no part of it comes from outside
_OPEN = f"""
SELECT person.zone, project.id AS project_id, project.name AS project_name, open.* FROM
(SELECT (SELECT time_zone FROM people WHERE user_id = CAST(:owner AS text)) AS zone) AS person
LEFT JOIN projects AS project
    ON project.user_id = CAST(:owner AS text) AND project.deleted_at IS NULL
    AND project.id = coalesce(CAST(:project AS bigint), (
        SELECT project_id FROM conversations
        WHERE id = CAST(:conversation AS bigint) AND user_id = CAST(:owner AS text)
    ))
LEFT JOIN LATERAL (
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
    AND (project.id IS NULL OR project_id = project.id)
    ORDER BY created_at DESC, id DESC
    LIMIT :shown
) AS open ON true
"""  # noqa: S608
_OPEN_TASKS = text(_OPEN)
_OPEN_TASKS_NOTING = text(f"WITH noted AS ({NOTE_ZONE}) {_OPEN}")


class Place(NamedTuple):
    """Where a turn is taken: in a conversation, which may have a project, or in a new one."""

    conversation_id: int | None = None
    project_id: int | None = None
    """That of a new conversation."""


ANYWHERE = Place()


def ask_open_tasks(
    session: Session,
    user_id: str,
    limit: int,
    now: datetime,
    zone: str | None = None,
    place: Place = ANYWHERE,
) -> Ahead:
    """Ask for the newest `limit` (1 or more) tasks that are not done, and the counts of all.

    With the session's next flight; `read_open_tasks` reads the result. `zone` is the time zone
    that the person names, which is remembered; without one it is the last that they named, else
    UTC. By it the day is told on which a date is over. In a project it is only its tasks.
    """
    values = {
        "owner": user_id,
        "shown": limit,
        "now": now,
        "untitled": UNTITLED,
        "conversation": _storable_id(place.conversation_id),
        "project": _storable_id(place.project_id),
    }
    if zone is None:
        return session.ahead(_OPEN_TASKS, values)
    return session.ahead(_OPEN_TASKS_NOTING, values | {"named_zone": zone})


def _storable_id(number: int | None) -> int | None:
    return number if number is not None and 0 < number <= ID_MAX else None


def read_open_tasks(found: Result, now: datetime, zone: str | None = None) -> OpenTasks:
    """What was asked for with the same `now` and `zone`."""
    rows = found.all()
    zone = zone or rows[0].zone
    _, project_id, name, *_ = rows[0]
    project = None if project_id is None else NamedProject(project_id, name)
    if rows[0].id is None:
        return OpenTasks([], 0, 0, zone, project)
    newest = [OpenTask(row[3], row[4], due_of(row[5], row[6])) for row in rows]
    total, *overdue = rows[0][7:]
    today = now.astimezone(zone_of(zone)).date() - now.astimezone(UTC).date()
    return OpenTasks(newest, total, overdue[_DAYS.index(today.days)], zone, project)


async def open_tasks(
    session: Session,
    user_id: str,
    limit: int,
    now: datetime,
    zone: str | None = None,
    place: Place = ANYWHERE,
) -> OpenTasks:
    """Both at once."""
    asked = ask_open_tasks(session, user_id, limit, now, zone, place)
    return read_open_tasks(await asked, now, zone)
