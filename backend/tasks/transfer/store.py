"""The tasks of a file written, all of them or none. Nothing here commits."""

import json
from collections.abc import Sequence
from typing import Any

from sqlalchemy import text

from backend.database import Session
from backend.errors import ValidationFailed
from backend.models import Recurrence
from backend.schemas.fields import iso_utc
from backend.tasks.dates import as_stored
from backend.tasks.projects import add_project
from backend.tasks.steps import NewStep, as_steps
from backend.tasks.transfer.drafts import Draft

TASKS_MAX = 20_000
"""Tasks of one person beyond which no file is taken; a few more where several come at once."""

_COUNT = text("SELECT count(*) FROM tasks WHERE user_id = :owner AND deleted_at IS NULL")
# held until the end, as `project_of_owner` does
_PROJECTS = text("""
    SELECT id, name FROM projects
    WHERE user_id = :owner AND deleted_at IS NULL AND name = ANY(CAST(:names AS text[]))
    ORDER BY created_at DESC, id DESC FOR SHARE
""")
_ADD = text("""
    INSERT INTO tasks (user_id, title, description, completed, completed_at, priority, due_date,
                       due_is_date, time_zone, tags, project_id, steps, recurrence_pattern,
                       created_at)
    SELECT :owner, title, description, completed,
           CASE WHEN completed THEN coalesce(completed_at, now()) END, priority, due_date,
           due_is_date, time_zone, tags, project_id, steps, recurrence_pattern,
           coalesce(created_at, now())
    FROM json_to_recordset(CAST(:rows AS json)) AS new (
        title text, description text, completed boolean, completed_at timestamptz, priority text,
        due_date timestamptz, due_is_date boolean, time_zone text, tags json, project_id bigint,
        steps json, recurrence_pattern text, created_at timestamptz
    )
""")


async def missing_projects(session: Session, user_id: str, names: Sequence[str]) -> list[str]:
    """Those of `names` under which the person has no project."""
    known = await _projects_by_name(session, user_id, names)
    return [name for name in names if name not in known]


async def check_room(session: Session, user_id: str, new: int) -> None:
    """Raises `ValidationFailed` where the person would have more than `TASKS_MAX` tasks."""
    there = (await session.execute(_COUNT, {"owner": user_id})).scalar_one()
    if there + new > TASKS_MAX:
        raise ValidationFailed(
            f"With this file there would be {there + new} tasks; there may be {TASKS_MAX}."
        )


async def add_drafts(session: Session, user_id: str, drafts: Sequence[Draft]) -> None:
    """Add all of them, the first one of the file as the newest; projects come to be by name.

    Raises:
        ValidationFailed: the person would have too many projects.
    """
    names = project_names(drafts)
    known = await _projects_by_name(session, user_id, names)
    for name in names:
        if name not in known:
            known[name] = (await add_project(session, user_id, name)).id
    rows = [_row(draft, known) for draft in reversed(drafts)]
    if rows:
        await session.execute(_ADD, {"owner": user_id, "rows": json.dumps(rows)})


def project_names(drafts: Sequence[Draft]) -> list[str]:
    """The names of the projects in a file, each once, in the order of the file."""
    return list(dict.fromkeys(draft.project for draft in drafts if draft.project))


async def _projects_by_name(session: Session, user_id: str, names: Sequence[str]) -> dict[str, int]:
    """Ids of the person's projects by name; of several with one name the oldest."""
    rows = await session.execute(_PROJECTS, {"owner": user_id, "names": list(names)})
    return {row.name: row.id for row in rows}


def _row(draft: Draft, projects: dict[str, int]) -> dict[str, Any]:
    task: Any = draft.task
    due, is_date = as_stored(task.due_date)
    recurs = task.recurrence_pattern is not Recurrence.NONE
    completed_at: Any = draft.completed_at
    created_at: Any = draft.created_at
    return {
        "title": task.title,
        "description": task.description,
        "completed": draft.completed,
        "completed_at": iso_utc(completed_at),
        "priority": task.priority,
        "due_date": iso_utc(due),
        "due_is_date": is_date,
        "time_zone": draft.time_zone if recurs or due is not None else None,
        "tags": task.tags,
        "project_id": projects.get(draft.project or ""),
        "steps": as_steps(
            NewStep(title=step.title, done=step.done, id=None) for step in task.steps
        ),
        "recurrence_pattern": task.recurrence_pattern,
        "created_at": iso_utc(created_at),
    }
