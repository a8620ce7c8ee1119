"""What narrows a list of tasks, as its query says it."""

from datetime import date
from typing import Annotated

from fastapi import Depends, Query
from pydantic import AfterValidator, BeforeValidator

from backend.auth import CurrentUser
from backend.database import SessionDep
from backend.models import TAG_MAX, Priority, utc_now
from backend.routes.headers import TimeZone
from backend.schemas.fields import CompletedFilter, storable
from backend.tasks.filters import Due, DueRange, TaskFilter, due_range, due_until
from backend.tasks.people import last_zone
from backend.time_zones import zone_of


def _or_none(value: object) -> object:
    return None if value == "" else value


_Completed = Annotated[CompletedFilter, Query(description="Only those that are done, or are not.")]
_Project = Annotated[int | None, BeforeValidator(_or_none), Query(description="Only its tasks.")]
_Tag = Annotated[
    str, AfterValidator(storable), Query(max_length=TAG_MAX, description="Only with this tag.")
]
_Priority = Annotated[Priority | None, BeforeValidator(_or_none), Query()]
_Due = Annotated[
    Due | date | None,
    BeforeValidator(_or_none),
    Query(
        description="Overdue and not done, due today or within seven days, without a due date, "
        "or due up to the end of a day such as 2026-01-31."
    ),
]


async def _filter(
    user_id: CurrentUser,
    session: SessionDep,
    completed: _Completed = None,
    project_id: _Project = None,
    tag: _Tag = "",
    priority: _Priority = None,
    due: _Due = None,
    time_zone: TimeZone = None,
) -> TaskFilter:
    range_: DueRange | None = None
    if due is not None and due is not Due.NONE:
        zone = zone_of(time_zone or await last_zone(session, user_id))
        range_ = due_range(due, utc_now(), zone) if isinstance(due, Due) else due_until(due, zone)
    if due is Due.OVERDUE and completed is None:
        completed = False
    return TaskFilter(
        completed=completed,
        project_id=project_id,
        tag=tag,
        priority=priority,
        due=range_,
        without_due=due is Due.NONE,
    )


Filter = Annotated[TaskFilter, Depends(_filter)]
