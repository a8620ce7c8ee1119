"""What each of the five tools does, and what it answers the model with; no rules of its own."""

import json
import re
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Any, Literal, NamedTuple

from pydantic import BaseModel, Field

from backend.agent.arguments import WholeNumber
from backend.agent.signatures import LIST_MAX
from backend.conversations.tool_calls import Undo
from backend.database import Session
from backend.errors import ProjectNotFound, ValidationFailed
from backend.journal.undo import changed, made
from backend.schemas.fields import iso_utc
from backend.tasks import rules as tasks
from backend.tasks.dates import due_text
from backend.tasks.fields import TaskCreate, TaskUpdate
from backend.tasks.filters import TaskFilter
from backend.tasks.listing import list_tasks as find_tasks
from backend.tasks.projects import StoredProject, get_project, list_projects
from backend.tasks.steps import Step, with_titles
from backend.tasks.stored import StoredTask
from backend.text_search import fold

Result = dict[str, Any]
Done = tuple[Result, Undo | None]
"""What came of a call, and what it takes to undo it; None where it only looked."""


class Caller(NamedTuple):
    """Whose tasks a call is about, and in which transaction it is made."""

    session: Session
    user_id: str
    zone: str | None = None
    """The person's time zone by its name."""
    project_id: int | None = None
    """Where new tasks go: the project of the conversation, if it has one."""


Run = Callable[[Caller, dict[str, Any]], Awaitable[Done]]


async def add_task(caller: Caller, given: dict[str, Any]) -> Done:
    fields = {name: value for name, value in given.items() if name not in ("project", "steps")}
    new = TaskCreate.model_validate(fields | _given_steps(given, ()))
    project = await _project(caller, given)
    new.project_id = project.id if project else await _own_project(caller)
    task = await tasks.add_task(caller.session, caller.user_id, new, caller.zone)
    result = _summary(task) | {
        "status": "pending",
        "message": f'Added "{task.title}" as task {task.id}.',
    }
    return result, made(task)


class _Filter(BaseModel):
    status: Literal["all", "pending", "completed"] = "all"
    search: str | None = None
    limit: WholeNumber = Field(default=LIST_MAX, ge=1, le=LIST_MAX)
    project: str | int | None = None


async def list_tasks(caller: Caller, given: dict[str, Any]) -> Done:
    wanted = _Filter.model_validate(given)
    completed = {"all": None, "pending": False, "completed": True}[wanted.status]
    project = await _project(caller, given)
    asked = TaskFilter(
        completed=completed,
        search=wanted.search or "",
        project_id=project.id if project else None,
    )
    page = await find_tasks(caller.session, caller.user_id, asked, limit=wanted.limit)
    found, total = page.tasks, page.total
    counted = "1 task" if total == 1 else f"{total} tasks"
    rest = "." if total == len(found) else f"; these are the newest {len(found)}."
    result = {
        "success": True,
        "tasks": [
            {
                "task_id": task.id,
                "title": task.title,
                "description": task.description,
                "completed": task.completed,
                "priority": task.priority,
                "due_date": due_text(task.due),
                "created_at": iso_utc(task.created_at),
            }
            | _more(task)
            for task in found
        ],
        "count": len(found),
        "message": f"Found {counted}{rest}",
    }
    return result, None


class _Reference(BaseModel):
    task_id: WholeNumber


async def complete_task(caller: Caller, given: dict[str, Any]) -> Done:
    task_id = _Reference.model_validate(given).task_id
    before = await tasks.lock_task(caller.session, caller.user_id, task_id)
    task, following = await tasks.set_completed(
        caller.session, caller.user_id, task_id, completed=True, zone=caller.zone
    )
    result = {
        "success": True,
        "task_id": task.id,
        "title": task.title,
        "status": "completed",
        "completed_at": iso_utc(task.completed_at),
        "message": f'Completed "{task.title}".',
    }
    return result, changed(before, task) + made(following)


async def delete_task(caller: Caller, given: dict[str, Any]) -> Done:
    task_id = _Reference.model_validate(given).task_id
    before = await tasks.lock_task(caller.session, caller.user_id, task_id)
    task = await tasks.delete_task(caller.session, caller.user_id, task_id)
    result = {
        "success": True,
        "task_id": task.id,
        "title": task.title,
        "message": f'Deleted "{task.title}".',
    }
    return result, changed(before, task)


async def update_task(caller: Caller, given: dict[str, Any]) -> Done:
    task_id = _Reference.model_validate(given).task_id
    apart = ("task_id", "project", "steps")
    fields = {name: value for name, value in given.items() if name not in apart}
    if given.keys() == {"task_id"}:
        raise ValidationFailed("Nothing to change was given.")
    TaskUpdate.model_validate(fields)
    if "project" in given:
        project = await _project(caller, given)
        fields["project_id"] = project and project.id
    before = await tasks.lock_task(caller.session, caller.user_id, task_id)
    changes = TaskUpdate.model_validate(fields | _given_steps(given, before.steps))
    task = await tasks.update_task(caller.session, caller.user_id, task_id, changes, caller.zone)
    result = _summary(task) | {
        "updated_at": iso_utc(task.updated_at),
        "message": f'Updated "{task.title}".',
    }
    return result, changed(before, task)


def _summary(task: StoredTask) -> Result:
    summary: Result = {
        "success": True,
        "task_id": task.id,
        "title": task.title,
        "description": task.description,
        "due_date": due_text(task.due),
        "priority": task.priority,
    }
    return summary | _more(task)


def _more(task: StoredTask) -> Result:
    """What few tasks have; where it is not there, it costs no tokens."""
    more: Result = {}
    if task.project_id is not None:
        more["project_id"] = task.project_id
    if task.steps:
        more["steps"] = [f"{DONE}{s['title']}" if s["done"] else s["title"] for s in task.steps]
    return more


DONE = "[x] "
"""Before the title of a step that is done."""
_DONE = re.compile(r"\[(?P<done>[xX ])\]\s*")
_NO_PROJECT = frozenset({"none", "null", "no project", "-", "0"})


def _given_steps(given: dict[str, Any], before: Sequence[Step]) -> Result:
    """The steps in the arguments as a field; one that was there under its title stays it."""
    if "steps" not in given:
        return {}
    steps = given["steps"]
    if not isinstance(steps, list) or not all(isinstance(step, str) for step in steps):
        raise ValidationFailed("steps: must be a list of titles")
    return {"steps": with_titles(before, [_read_step(step) for step in steps if step.strip()])}


def _read_step(text: str) -> tuple[str, bool]:
    marked = _DONE.match(text.strip())
    done = marked is not None and marked["done"] in "xX"
    return text.strip()[marked.end() if marked else 0 :].strip(), done


async def _project(caller: Caller, given: dict[str, Any]) -> StoredProject | None:
    """The project in the arguments, by its name or id; None where none is meant.

    Raises:
        ValidationFailed: there is none such, or there are several; the model is to ask.
    """
    named = str(given.get("project", "")).strip()
    if not named or fold(named) in _NO_PROJECT:
        return None
    there = await list_projects(caller.session, caller.user_id)
    found = [each for each in there if str(each.id) == named.removeprefix("#")]
    found = found or [each for each in there if fold(each.name) == fold(named)]
    if len(found) == 1:
        return found[0]
    told = json.dumps([[each.id, each.name] for each in found or there[:20]], ensure_ascii=False)
    if found:
        raise ValidationFailed(f"Several projects are called so, as [id, name]: {told}. Ask which.")
    raise ValidationFailed(
        f"There is no such project. Nothing was changed. The person's projects, as [id, name]: "
        f"{told}. Ask which is meant; a new one is made on the page, not here."
    )


async def _own_project(caller: Caller) -> int | None:
    """The conversation's project, unless it was deleted since the turn began."""
    if caller.project_id is None:
        return None
    with suppress(ProjectNotFound):
        return (await get_project(caller.session, caller.user_id, caller.project_id)).id
    return None
