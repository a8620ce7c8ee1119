"""Tasks as answers show them."""

from pydantic import BaseModel

from backend.models import Priority, Recurrence
from backend.schemas.fields import UtcDatetime


class StepResponse(BaseModel):
    id: int
    title: str
    done: bool


class TaskResponse(BaseModel):
    """A task as the client sees it."""

    id: int
    user_id: str
    title: str
    description: str
    completed: bool
    priority: Priority
    due_date: UtcDatetime | None
    """Of a task that is due on a day, noon of that day."""
    tags: list[str]
    project_id: int | None
    steps: list[StepResponse]
    """In their order."""
    recurrence_pattern: Recurrence
    created_at: UtcDatetime
    updated_at: UtcDatetime


class TaskList(BaseModel):
    tasks: list[TaskResponse]
    total: int
    """All that match, also where fewer are listed."""
    next: str | None
    """The cursor of the following page; null at the end."""
