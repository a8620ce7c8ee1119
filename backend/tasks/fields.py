"""What a person may set of a task, by whatever way it comes in."""

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from backend.models import (
    TAG_MAX,
    TAGS_MAX,
    Priority,
    Recurrence,
)
from backend.schemas.fields import Description, DueDate, Tags, Title, null_means


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
