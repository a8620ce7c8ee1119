"""Tasks as answers show them."""

from enum import StrEnum
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict

from backend.models import (
    Priority,
    Recurrence,
)
from backend.schemas.fields import UtcDatetime, null_means


def _stored_as(known: type[StrEnum], default: StrEnum) -> BeforeValidator:
    """Read a stored word in any case; the UI crashes on one it does not know."""
    return BeforeValidator(lambda value: known.__members__.get(str(value).upper(), default))


class TaskResponse(BaseModel):
    """A task as the client sees it; rows of the earlier backend are read leniently."""

    model_config = ConfigDict(from_attributes=True)

    id: int
    user_id: str
    title: str
    description: Annotated[str, null_means("")]
    completed: bool
    priority: Annotated[Priority, _stored_as(Priority, Priority.MEDIUM)]
    due_date: UtcDatetime | None
    tags: Annotated[list[str], null_means([])]
    recurrence_pattern: Annotated[Recurrence, _stored_as(Recurrence, Recurrence.NONE)]
    created_at: UtcDatetime
    updated_at: UtcDatetime


class TaskList(BaseModel):
    tasks: list[TaskResponse]
    total: int
