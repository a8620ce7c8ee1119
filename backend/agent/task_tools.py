"""What each of the five tools does, and what it answers the model with; no rules of its own."""

from collections.abc import Awaitable, Callable
from typing import Any, Literal, NamedTuple

from pydantic import BaseModel, Field

from backend.agent.arguments import WholeNumber
from backend.agent.signatures import LIST_MAX
from backend.conversations.tool_calls import Undo
from backend.database import Session
from backend.errors import ValidationFailed
from backend.journal.undo import changed, made
from backend.schemas.fields import iso_utc
from backend.tasks import rules as tasks
from backend.tasks.dates import due_text
from backend.tasks.fields import TaskCreate, TaskUpdate
from backend.tasks.listing import TaskFilter
from backend.tasks.listing import list_tasks as find_tasks
from backend.tasks.stored import StoredTask

Result = dict[str, Any]
Done = tuple[Result, Undo | None]
"""What came of a call, and what it takes to undo it; None where it only looked."""


class Caller(NamedTuple):
    """Whose tasks a call is about, and in which transaction it is made."""

    session: Session
    user_id: str
    zone: str | None = None
    """The person's time zone by its name."""


Run = Callable[[Caller, dict[str, Any]], Awaitable[Done]]


async def add_task(caller: Caller, given: dict[str, Any]) -> Done:
    task = await tasks.add_task(
        caller.session, caller.user_id, TaskCreate.model_validate(given), caller.zone
    )
    result = _summary(task) | {
        "status": "pending",
        "message": f'Added "{task.title}" as task {task.id}.',
    }
    return result, made(task)


class _Filter(BaseModel):
    status: Literal["all", "pending", "completed"] = "all"
    search: str | None = None
    limit: WholeNumber = Field(default=LIST_MAX, ge=1, le=LIST_MAX)


async def list_tasks(caller: Caller, given: dict[str, Any]) -> Done:
    wanted = _Filter.model_validate(given)
    completed = {"all": None, "pending": False, "completed": True}[wanted.status]
    asked = TaskFilter(completed=completed, search=wanted.search or "")
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
    changes = TaskUpdate.model_validate({k: v for k, v in given.items() if k != "task_id"})
    if not changes.model_fields_set:
        raise ValidationFailed("Nothing to change was given.")
    before = await tasks.lock_task(caller.session, caller.user_id, task_id)
    task = await tasks.update_task(caller.session, caller.user_id, task_id, changes, caller.zone)
    result = _summary(task) | {
        "updated_at": iso_utc(task.updated_at),
        "message": f'Updated "{task.title}".',
    }
    return result, changed(before, task)


def _summary(task: StoredTask) -> Result:
    return {
        "success": True,
        "task_id": task.id,
        "title": task.title,
        "description": task.description,
        "due_date": due_text(task.due),
        "priority": task.priority,
    }
