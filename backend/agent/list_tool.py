"""`list_tasks`: which tasks a model may ask for, in which order, page by page."""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, Field

from backend.agent.arguments import WholeNumber
from backend.agent.due_filter import read_due
from backend.agent.signatures import LIST_MAX
from backend.agent.task_arguments import Caller, project_of
from backend.agent.task_results import Result, counted, listed
from backend.cursors import Position
from backend.errors import ValidationFailed
from backend.models import Priority
from backend.schemas.fields import storable
from backend.tasks.filters import Sort, TaskFilter, place_of
from backend.tasks.listing import TaskPage
from backend.tasks.listing import list_tasks as find_tasks
from backend.tasks.several import find_several

_COMPLETED = {"all": None, "pending": False, "completed": True}
_SORTS = {"newest": Sort.CREATED, "due": Sort.DUE}


_Words = Annotated[str, AfterValidator(storable)]


class _Asked(BaseModel):
    status: Literal["all", "pending", "completed"] | None = None
    search: _Words = ""
    tag: _Words = ""
    priority: Priority | None = None
    due: str = ""
    sort: Literal["newest", "due"] = "newest"
    after: WholeNumber | None = None
    limit: WholeNumber = Field(default=LIST_MAX, ge=1, le=LIST_MAX)
    project: str | int | None = None


async def list_tasks(caller: Caller, given: dict[str, Any]) -> tuple[Result, None]:
    """The tasks that match, and in words how many there are."""
    asked = _Asked.model_validate(given)
    due = await read_due(caller, asked.due)
    completed = _COMPLETED[asked.status or "all"]
    if due.overdue and asked.status is None:
        completed = False
    project = await project_of(caller, given)
    wanted = TaskFilter(
        completed=completed,
        search=asked.search,
        project_id=project.id if project else None,
        tag=asked.tag,
        priority=asked.priority,
        due=due.range,
        without_due=due.without,
    )
    sort = _SORTS[asked.sort]
    place = None if asked.after is None else await _place_behind(caller, asked.after, sort)
    page = await find_tasks(
        caller.session, caller.user_id, wanted, limit=asked.limit, before=place, sort=sort
    )
    result: Result = {
        "success": True,
        "tasks": [listed(task) for task in page.tasks],
        "count": len(page.tasks),
        "message": f"Found {counted(page.total)}{_which(page, asked)}",
    }
    if due.understood:
        result["understood"] = due.understood
    return result | _next_page(page), None


async def _place_behind(caller: Caller, task_id: int, sort: Sort) -> Position:
    """Where the list goes on behind a task that was shown.

    Raises:
        ValidationFailed: it is not there any more, or never was.
    """
    found = await find_several(caller.session, caller.user_id, [task_id])
    if task_id not in found:
        raise ValidationFailed("after: there is no such task. List them again from the first.")
    return place_of(found[task_id], sort)


def _which(page: TaskPage, asked: _Asked) -> str:
    count = len(page.tasks)
    if asked.after is not None:
        return f"; these are the next {count}."
    if page.total == count:
        return "."
    return f"; these are the {'newest' if asked.sort == 'newest' else 'first'} {count}."


def _next_page(page: TaskPage) -> Result:
    """What to give as `after` for the tasks behind these."""
    return {} if page.next is None else {"next_after": page.tasks[-1].id}
