"""What each tool asks a model for: its description and its parameters, as the model reads them."""

from typing import Literal

from pydantic import BaseModel, Field

LIST_MAX = 100
"""Tasks that one call of `list_tasks` returns at the most."""


class AddTask(BaseModel):
    """Add a task to the person's list. Returns the new task with its task_id."""

    title: str = Field(description="What to do, in a few words, 200 characters at most.")
    description: str | None = Field(
        description="Particulars such as amounts or places, 1000 characters at most."
    )
    due_date: str | None = Field(
        description="When it is due: YYYY-MM-DD, or YYYY-MM-DDTHH:MM:SSZ in UTC."
    )
    priority: Literal["low", "medium", "high"] | None = Field(
        description="How urgent it is; medium when not given."
    )
    project: str | None = Field(description="Only if the person named a project: its name or id.")
    steps: list[str] | None = Field(description="Only if it is to be done in steps: their titles.")


class ListTasks(BaseModel):
    """Show the person's tasks, newest first. Use it to find the task_id of a task."""

    status: Literal["all", "pending", "completed"] | None = Field(
        description="Which tasks; all when not given."
    )
    search: str | None = Field(description="Words to look for in title and description.")
    limit: int | None = Field(
        description=f"How many tasks at the most, 1 to {LIST_MAX}; {LIST_MAX} when not given."
    )
    project: str | None = Field(description="Only the tasks of this project: its name or id.")


class CompleteTask(BaseModel):
    """Mark a task as done."""

    task_id: int = Field(description="The task's id, as a result or the context gives it.")


class DeleteTask(BaseModel):
    """Delete a task from the list."""

    task_id: int = Field(description="The task's id, as a result or the context gives it.")


class UpdateTask(BaseModel):
    """Change a task. Only what is given changes; give at least one thing besides the id."""

    task_id: int = Field(description="The task's id, as a result or the context gives it.")
    title: str | None = Field(description="The new title, 200 characters at most.")
    description: str | None = Field(
        description="The new description, which replaces the old one; 1000 characters at most."
    )
    due_date: str | None = Field(
        description="The new due date: YYYY-MM-DD, or YYYY-MM-DDTHH:MM:SSZ in UTC."
    )
    priority: Literal["low", "medium", "high"] | None = Field(description="The new priority.")
    project: str | None = Field(
        description="The project it moves to: its name or id, or none to take it out of its own."
    )
    steps: list[str] | None = Field(
        description="All its steps in order, in place of the old ones; [x] before one that is done."
    )
