"""The tasks REST API, used by the same UI as the chat."""

from typing import Annotated

from fastapi import APIRouter, HTTPException, Query, Request, status

from backend.auth import CurrentUser, SignedInRoute
from backend.database import SessionDep
from backend.models import Task
from backend.rate_limiter import rate_limit
from backend.schemas.fields import CompletedFilter, SearchText
from backend.schemas.tasks import TaskList, TaskResponse
from backend.tasks import rules as tasks
from backend.tasks.fields import TaskCreate, TaskUpdate
from backend.web.openapi import ONE_TASK_ERRORS, TASK_ERRORS, TASK_LINKS

router = APIRouter(prefix="/api/tasks", tags=["tasks"], route_class=SignedInRoute)

Completed = Annotated[CompletedFilter, Query(description="Only those that are done, or are not.")]
Wanted = Annotated[SearchText, Query(description="Looked for as it stands; % and _ are letters.")]


def _listed(found: list[Task]) -> TaskList:
    return TaskList.model_validate({"tasks": found, "total": len(found)})


@router.get("", responses=TASK_ERRORS, summary="List tasks, newest first")
@rate_limit("tasks")
async def list_tasks(
    request: Request, user_id: CurrentUser, session: SessionDep, completed: Completed = None
) -> TaskList:
    return _listed(await tasks.list_tasks(session, user_id, completed=completed))


@router.get("/search", responses=TASK_ERRORS, summary="Search title and description")
@rate_limit("tasks")
async def search_tasks(
    request: Request,
    user_id: CurrentUser,
    session: SessionDep,
    q: Wanted = "",
    completed: Completed = None,
) -> TaskList:
    """Tasks that hold `q` in any case of letters, newest first; all of them without it."""
    return _listed(await tasks.list_tasks(session, user_id, completed=completed, search=q))


@router.api_route("/search", methods=["PUT", "DELETE"], include_in_schema=False)
async def only_read_search(request: Request, user_id: CurrentUser) -> None:
    """Or the word would be taken for a task's id."""
    raise HTTPException(status.HTTP_405_METHOD_NOT_ALLOWED)


@router.post(
    "",
    responses=TASK_ERRORS | TASK_LINKS,
    status_code=status.HTTP_201_CREATED,
    summary="Create a task",
)
@rate_limit("tasks")
async def create_task(
    request: Request, new: TaskCreate, user_id: CurrentUser, session: SessionDep
) -> TaskResponse:
    task = await tasks.add_task(session, user_id, new)
    await session.commit()
    return TaskResponse.model_validate(task)


@router.get("/{task_id}", responses=ONE_TASK_ERRORS, summary="Read a task")
@rate_limit("tasks")
async def read_task(
    request: Request, task_id: int, user_id: CurrentUser, session: SessionDep
) -> TaskResponse:
    return TaskResponse.model_validate(await tasks.get_task(session, user_id, task_id))


@router.put("/{task_id}", responses=ONE_TASK_ERRORS, summary="Change the fields sent")
@rate_limit("tasks")
async def update_task(
    request: Request, task_id: int, changes: TaskUpdate, user_id: CurrentUser, session: SessionDep
) -> TaskResponse:
    """A field that is not sent stays; null puts one back to its default, a title has none."""
    task = await tasks.update_task(session, user_id, task_id, changes)
    await session.commit()
    return TaskResponse.model_validate(task)


@router.delete(
    "/{task_id}",
    responses=ONE_TASK_ERRORS,
    status_code=status.HTTP_204_NO_CONTENT,
    summary="Delete a task",
)
@rate_limit("tasks")
async def delete_task(
    request: Request, task_id: int, user_id: CurrentUser, session: SessionDep
) -> None:
    await tasks.delete_task(session, user_id, task_id)
    await session.commit()


@router.patch(
    "/{task_id}/complete", responses=ONE_TASK_ERRORS, summary="Complete a task, or reopen it"
)
@rate_limit("tasks")
async def toggle_task(
    request: Request, task_id: int, user_id: CurrentUser, session: SessionDep
) -> TaskResponse:
    """Completing a recurring task makes its next occurrence, once however often it is done."""
    task = await tasks.toggle_task(session, user_id, task_id)
    await session.commit()
    return TaskResponse.model_validate(task)
