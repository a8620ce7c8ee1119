"""What a person may set of a task, by whatever way it comes in."""

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from backend.models import (
    STEPS_MAX,
    TAG_MAX,
    TAGS_MAX,
    Priority,
    Recurrence,
)
from backend.schemas.fields import Description, DueDate, Tags, Title, null_means
from backend.tasks.steps import STEP_ID_MAX


class StepFields(BaseModel):
    """One step of a task; with the id of one that is there, it is that one."""

    id: Annotated[int, Field(ge=1, le=STEP_ID_MAX)] | None = None
    title: Title
    done: bool = False


class StepUpdate(BaseModel):
    """Only the fields sent change; `position` is the place from 0, past the end the last."""

    title: Title = ""
    done: bool = False
    position: Annotated[int, Field(ge=0, le=STEPS_MAX)] = 0


class StepCreate(BaseModel):
    """A new step, at the end where no place is named."""

    title: Title
    done: bool = False
    position: Annotated[int, Field(ge=0, le=STEPS_MAX)] | None = None


class StepOrder(BaseModel):
    """Ids of steps in the order that is wanted; what is not named stays behind."""

    ids: Annotated[list[Annotated[int, Field(ge=1, le=STEP_ID_MAX)]], Field(max_length=STEPS_MAX)]


class TaskFields(BaseModel):
    """What a person may set besides the title; null puts a field back to its default."""

    description: Description = ""
    priority: Annotated[Priority, null_means(Priority.MEDIUM, Priority)] = Priority.MEDIUM
    due_date: DueDate = None
    tags: Tags = Field(
        default=[],
        description=f"Trimmed and lower-cased, empty ones and doubles dropped; then at most "
        f"{TAGS_MAX} of {TAG_MAX} characters.",
    )
    project_id: int | None = Field(default=None, description="The project it belongs to, if any.")
    steps: Annotated[
        list[StepFields], Field(max_length=STEPS_MAX), null_means([], list[StepFields])
    ] = Field(default=[], description="All of its steps, in their order.")
    recurrence_pattern: Annotated[Recurrence, null_means(Recurrence.NONE, Recurrence)] = (
        Recurrence.NONE
    )


class TaskCreate(TaskFields):
    """A new task; only the title is needed."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"title": "Pay rent", "due_date": "2026-12-01"}]}
    )

    title: Title


def _without_defaults(schema: dict[str, Any]) -> None:
    for field in schema["properties"].values():
        field.pop("default", None)


class TaskUpdate(TaskFields):
    """Only the fields sent change; a title cannot be null."""

    model_config = ConfigDict(json_schema_extra=_without_defaults)

    title: Title = ""
