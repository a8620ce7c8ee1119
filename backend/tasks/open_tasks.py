"""What is still to be done, as a run is told of it: the tasks that a message is likely about.

First those that are due, then those that the last turns were about, then the newest. One statement,
which rides with the others that a turn begins with.
"""

from datetime import UTC, date, datetime
from typing import Any, NamedTuple

from sqlalchemy import text

from backend.database import Ahead, Result, Session
from backend.models import ID_MAX, Priority
from backend.tasks.dates import due_of
from backend.tasks.people import NOTE_ZONE
from backend.tasks.stored import (
    FIRST_INSTANT,
    LAST_INSTANT,
    UNTITLED,
    read_texts,
    read_word,
)
from backend.time_zones import zone_of

DUE_MAX = 20
"""Tasks shown for being due at the most, so that some room is left for others."""
SOON_DAYS = 3
"""What is due within so many days is due soon."""
TURNS = 3
"""How many of the last answers name tasks that go before others."""
_READ = 16_000
"""Characters of an answer's record that are looked through for their ids."""


class OpenTask(NamedTuple):
    """What the model is told of a task that is not done; `due` is a date, or a time in UTC."""

    id: int
    title: str
    due: date | None
    priority: Priority = Priority.MEDIUM
    tags: tuple[str, ...] = ()


class NamedProject(NamedTuple):
    id: int
    name: str


class OpenTasks(NamedTuple):
    """Some of a person's open tasks, and how many there are and are past due in all."""

    shown: list[OpenTask]
    total: int
    overdue: int
    zone: str | None
    """The person's time zone: the one that is named, else the last that was."""
    project: NamedProject | None = None
    """Where it is only its tasks."""


_DAYS = (-1, 0, 1)
"""From today in UTC; it is never another day than these, wherever the person is."""
_OVERDUE_COUNTS = ", ".join(
    f"count(*) FILTER (WHERE due_date < :now AND (timed OR due_date < today + {day} * day)) OVER ()"
    for day in _DAYS
)
_OWN_OPEN = """
    user_id = CAST(:owner AS text) AND deleted_at IS NULL AND NOT completed
    AND (project.id IS NULL OR project_id = project.id)
"""
_DUE_SOON = f"""
    SELECT id FROM tasks
    WHERE {_OWN_OPEN} AND due_date < CAST(:now AS timestamptz) + interval '{SOON_DAYS} days'
    ORDER BY due_date, id
    LIMIT {DUE_MAX}
"""  # noqa: S608
_NAMED_LAST = f"""
    SELECT CAST(named[1] AS bigint) FROM (
        SELECT left(tool_calls_json, {_READ}) AS calls FROM messages
        WHERE conversation_id = (
            SELECT id FROM conversations
            WHERE id = CAST(:conversation AS bigint) AND user_id = CAST(:owner AS text)
        )
        ORDER BY created_at DESC, id DESC
        LIMIT {2 * TURNS}
    ) AS last, LATERAL regexp_matches(calls, '"task_id": ?([0-9]{{1,18}})[,}}]', 'g') AS named
"""  # noqa: S608
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
        priority,
        tags,
        count(*) OVER (),
        {_OVERDUE_COUNTS}
    FROM tasks, LATERAL (
        SELECT
            date_trunc('day', CAST(:now AS timestamptz), 'UTC') AS today,
            interval '1 day' AS day,
            due_is_date IS FALSE OR due_date <> date_trunc('day', due_date, 'UTC') AS timed,
            id = ANY (ARRAY({_DUE_SOON})) AS pressing,
            id = ANY (ARRAY({_NAMED_LAST})) AS named
    ) AS judged
    WHERE {_OWN_OPEN}
    ORDER BY
        pressing DESC, CASE WHEN pressing THEN due_date END, named DESC, created_at DESC, id DESC
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
    """Ask for `limit` (1 or more) of the tasks that are not done, and the counts of all.

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
    """The open tasks in the rows of `ask_open_tasks`, called with the same `now` and `zone`."""
    rows = found.all()
    zone = zone or rows[0].zone
    _, project_id, name, *_ = rows[0]
    project = None if project_id is None else NamedProject(project_id, name)
    if rows[0].id is None:
        return OpenTasks([], 0, 0, zone, project)
    total, *overdue = rows[0][9:]
    today = now.astimezone(zone_of(zone)).date() - now.astimezone(UTC).date()
    shown = [_read_open(row) for row in rows]
    return OpenTasks(shown, total, overdue[_DAYS.index(today.days)], zone, project)


def _read_open(row: Any) -> OpenTask:
    _, _, _, id_, title, due, due_is_date, priority, tags, *_ = row
    known = read_word(priority, Priority, Priority.MEDIUM)
    return OpenTask(id_, title, due_of(due, due_is_date), known, tuple(read_texts(tags)))


async def open_tasks(
    session: Session,
    user_id: str,
    limit: int,
    now: datetime,
    zone: str | None = None,
    place: Place = ANYWHERE,
) -> OpenTasks:
    """Ask for a person's open tasks, and read them, in one round trip."""
    asked = ask_open_tasks(session, user_id, limit, now, zone, place)
    return read_open_tasks(await asked, now, zone)
