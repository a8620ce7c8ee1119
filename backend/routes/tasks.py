"""The tasks REST API, used by the same UI as the chat."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import batched
from typing import Annotated
from urllib.parse import urlencode

from fastapi import APIRouter, HTTPException, Query, Request, Response, status
from pydantic import TypeAdapter

from backend.auth import CurrentUser, SignedInRoute
from backend.database import SessionDep
from backend.rate_limiter import rate_limit
from backend.routes.cursors import BeforeTask, TaskOrder, tasks_cursor
from backend.routes.headers import TimeZone
from backend.routes.long_lists import listed
from backend.routes.task_filters import Filter
from backend.schemas.fields import SearchText
from backend.schemas.tasks import TaskList, TaskResponse
from backend.tasks import rules as tasks
from backend.tasks.fields import TaskCreate, TaskUpdate
from backend.tasks.filters import Sort
from backend.tasks.listing import LISTED_MAX, TaskPage, list_tasks
from backend.tasks.stored import StoredTask
from backend.web.openapi import ONE_PROJECT_ERRORS, ONE_TASK_ERRORS, TASK_ERRORS, TASK_LINKS

router = APIRouter(prefix="/api/tasks", tags=["tasks"], route_class=SignedInRoute)

Wanted = Annotated[
    SearchText, Query(description="Words, each looked for as it stands; % and _ are letters.")
]
Limit = Annotated[int, Query(ge=1, le=LISTED_MAX, description="Tasks of a page at the most.")]
_WRITTEN_AT_ONCE = 50
"""Tasks that are made into JSON before it is looked whether it is others' turn."""
_TASKS: TypeAdapter[list[TaskResponse]] = TypeAdapter(list[TaskResponse])


def shown_task(task: StoredTask, zone: str | None) -> TaskResponse:
    values = {name: getattr(task, name) for name in TaskResponse.model_fields}
    return TaskResponse.model_validate(values | {"due_date": task.due_instant(zone)})


def _answer_page(request: Request, page: TaskPage, sort: Sort, zone: str | None) -> Response:
    """A `TaskList`, with the next page as `Link`; a long one is written as it is sent."""
    cursor = tasks_cursor(sort, page.next)
    frame = TaskList(tasks=[], total=page.total, next=cursor).model_dump_json()
    head, tail = frame.split("[]", 1)
    long = len(page.tasks) > _WRITTEN_AT_ONCE
    answer = listed(_written(page.tasks, zone), long=long, head=head, tail=tail)
    if cursor:
        query = dict(request.query_params) | {"before": cursor}
        answer.headers["Link"] = f'<{request.url.path}?{urlencode(query)}>; rel="next"'
    return answer


def _written(tasks: Sequence[StoredTask], zone: str | None) -> Iterator[str]:
    """The JSON of some tasks at a time, without the brackets around them."""
    for some in batched(tasks, _WRITTEN_AT_ONCE, strict=False):
        yield _TASKS.dump_json([shown_task(task, zone) for task in some])[1:-1].decode()


@router.get(
    "",
    response_model=TaskList,
    responses=TASK_ERRORS,
    summary="List tasks",
)
@rate_limit("tasks")
async def list_all(
    request: Request,
    user_id: CurrentUser,
    session: SessionDep,
    before: BeforeTask,
    wanted: Filter,
    sort: TaskOrder = Sort.CREATED,
    limit: Limit = LISTED_MAX,
    time_zone: TimeZone = None,
) -> Response:
    """A page of them, or the first 5,000; where there are more `Link` and `next` say so."""
    page = await list_tasks(session, user_id, wanted, limit=limit, before=before, sort=sort)
    return _answer_page(request, page, sort, time_zone)


@router.get(
    "/search",
    response_model=TaskList,
    responses=TASK_ERRORS,
    summary="Search title and description",
)
@rate_limit("tasks")
async def search_tasks(
    request: Request,
    user_id: CurrentUser,
    session: SessionDep,
    before: BeforeTask,
    wanted: Filter,
    q: Wanted = "",
    sort: TaskOrder = Sort.CREATED,
    limit: Limit = LISTED_MAX,
    time_zone: TimeZone = None,
) -> Response:
    """Tasks that hold all words of `q`, in any case and order; all of them without it."""
    wanted = replace(wanted, search=q)
    page = await list_tasks(session, user_id, wanted, limit=limit, before=before, sort=sort)
    return _answer_page(request, page, sort, time_zone)


@router.api_route("/search", methods=["PUT", "DELETE"], include_in_schema=False)
async def only_read_search(request: Request, user_id: CurrentUser) -> None:
    """Or the word would be taken for a task's id."""
    raise HTTPException(status.HTTP_405_METHOD_NOT_ALLOWED)


@router.post(
    "",
    responses=ONE_PROJECT_ERRORS | TASK_LINKS,
    status_code=status.HTTP_201_CREATED,
    summary="Create a task",
)
@rate_limit("tasks")
async def create_task(
    request: Request,
    new: TaskCreate,
    user_id: CurrentUser,
    session: SessionDep,
    time_zone: TimeZone = None,
) -> TaskResponse:
    await tasks.note_zone(session, user_id, time_zone)
    task = await tasks.add_task(session, user_id, new, time_zone)
    await session.commit()
    return shown_task(task, time_zone)


@router.get("/{task_id}", responses=ONE_TASK_ERRORS, summary="Read a task")
@rate_limit("tasks")
async def read_task(
    request: Request,
    task_id: int,
    user_id: CurrentUser,
    session: SessionDep,
    time_zone: TimeZone = None,
) -> TaskResponse:
    return shown_task(await tasks.get_task(session, user_id, task_id), time_zone)


@router.put("/{task_id}", responses=ONE_TASK_ERRORS, summary="Change the fields sent")
@rate_limit("tasks")
async def update_task(
    request: Request,
    task_id: int,
    changes: TaskUpdate,
    user_id: CurrentUser,
    session: SessionDep,
    time_zone: TimeZone = None,
) -> TaskResponse:
    """A field that is not sent stays; null puts one back to its default, a title has none.

    The noon that a task due on a day was shown with leaves it due on that day.
    """
    await tasks.note_zone(session, user_id, time_zone)
    task = await tasks.put_task(session, user_id, task_id, changes, time_zone)
    await session.commit()
    return shown_task(task, time_zone)


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
    request: Request,
    task_id: int,
    user_id: CurrentUser,
    session: SessionDep,
    time_zone: TimeZone = None,
) -> TaskResponse:
    """Completing a recurring task makes its next occurrence, once however often it is done."""
    await tasks.note_zone(session, user_id, time_zone)
    task = await tasks.toggle_task(session, user_id, task_id, time_zone)
    await session.commit()
    return shown_task(task, time_zone)
