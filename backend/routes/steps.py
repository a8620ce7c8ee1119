"""The steps of a task, one by one; all at once they are a field of the task."""

from functools import partial

from fastapi import APIRouter, HTTPException, Request, status

from backend.auth import CurrentUser, SignedInRoute
from backend.database import SessionDep
from backend.rate_limiter import rate_limit
from backend.routes.headers import TimeZone
from backend.routes.tasks import shown_task
from backend.schemas.tasks import TaskResponse
from backend.tasks import steps
from backend.tasks.fields import StepCreate, StepOrder, StepUpdate
from backend.tasks.rules import change_steps
from backend.tasks.steps import StepChange
from backend.web.openapi import ONE_TASK_ERRORS, STEP_ERRORS

router = APIRouter(prefix="/api/tasks/{task_id}/steps", tags=["tasks"], route_class=SignedInRoute)


@router.post(
    "", responses=ONE_TASK_ERRORS, status_code=status.HTTP_201_CREATED, summary="Add a step"
)
@rate_limit("tasks")
async def add_step(
    request: Request,
    task_id: int,
    body: StepCreate,
    user_id: CurrentUser,
    session: SessionDep,
    time_zone: TimeZone = None,
) -> TaskResponse:
    """The task with the new step; the 51st is refused."""
    change = partial(steps.with_new, title=body.title, done=body.done, position=body.position)
    task = await change_steps(session, user_id, task_id, change)
    await session.commit()
    return shown_task(task, time_zone)


@router.put("/order", responses=ONE_TASK_ERRORS, summary="Put the steps in another order")
@rate_limit("tasks")
async def order_steps(
    request: Request,
    task_id: int,
    body: StepOrder,
    user_id: CurrentUser,
    session: SessionDep,
    time_zone: TimeZone = None,
) -> TaskResponse:
    """Steps that are not named stay behind, ids of none are passed over: nothing is lost."""
    change = partial(steps.in_order, ids=body.ids)
    task = await change_steps(session, user_id, task_id, change)
    await session.commit()
    return shown_task(task, time_zone)


@router.patch("/order", include_in_schema=False)
@router.delete("/order", include_in_schema=False)
async def no_method_of_the_order() -> None:
    """405, which the routes below would take for a step."""
    raise HTTPException(status.HTTP_405_METHOD_NOT_ALLOWED)


@router.patch("/{step_id}", responses=STEP_ERRORS, summary="Change the fields sent of a step")
@rate_limit("tasks")
async def change_step(
    request: Request,
    task_id: int,
    step_id: int,
    body: StepUpdate,
    user_id: CurrentUser,
    session: SessionDep,
    time_zone: TimeZone = None,
) -> TaskResponse:
    change: StepChange = body.model_dump(exclude_unset=True)  # type: ignore[assignment]
    changed = partial(steps.with_change, step_id=step_id, change=change)
    task = await change_steps(session, user_id, task_id, changed)
    await session.commit()
    return shown_task(task, time_zone)


@router.delete(
    "/{step_id}",
    responses=STEP_ERRORS,
    status_code=status.HTTP_204_NO_CONTENT,
    summary="Take a step away",
)
@rate_limit("tasks")
async def delete_step(
    request: Request, task_id: int, step_id: int, user_id: CurrentUser, session: SessionDep
) -> None:
    await change_steps(session, user_id, task_id, partial(steps.without, step_id=step_id))
    await session.commit()
