"""What each tool asks a model for: its description and its parameters, as the model reads them."""

from typing import Literal

from pydantic import BaseModel, Field

LIST_MAX = 100
"""Tasks that one call of `list_tasks` returns at the most."""


_IDS = "The id of a task, or a list of them, as a result or the context gives it."


class AddTask(BaseModel):
    """Add a task to the person's list. Returns the new task with its task_id."""

    title: str = Field(description="What to do, in a few words, 200 characters at most.")
    description: str | None = Field(
        description="Particulars such as amounts or places, 1000 characters at most."
    )
    due_date: str | None = Field(
        description="Only if the person said when: in their words, or YYYY-MM-DD, or "
        "YYYY-MM-DDTHH:MM:SSZ in UTC."
    )
    priority: Literal["low", "medium", "high"] | None = Field(
        description="How urgent it is; medium when not given."
    )
    tags: list[str] | None = Field(description="Only if the person named tags.")
    recurrence: Literal["daily", "weekly", "monthly"] | None = Field(
        description="Only if it is to repeat."
    )
    project: str | None = Field(description="Only if the person named a project: its name or id.")
    steps: list[str] | None = Field(description="Only if it is to be done in steps: their titles.")


class ListTasks(BaseModel):
    """Show the person's tasks, newest first. Use it to find the task_id of a task."""

    status: Literal["all", "pending", "completed"] | None = Field(
        description="Which tasks; all when not given."
    )
    search: str | None = Field(description="Words to look for in title and description.")
    tag: str | None = Field(description="Only those with this tag.")
    priority: Literal["low", "medium", "high"] | None = Field(description="Only those.")
    due: str | None = Field(
        description="overdue, today, this week, no date, or a day, also with before or by."
    )
    sort: Literal["newest", "due"] | None = Field(description="due: by due date.")
    limit: int | None = Field(
        description=f"How many tasks at the most, 1 to {LIST_MAX}; {LIST_MAX} when not given."
    )
    after: int | None = Field(description="For the next ones: next_after of the result before.")
    project: str | None = Field(description="Only the tasks of this project: its name or id.")


class CompleteTask(BaseModel):
    """Mark a task as done, or several at once."""

    task_id: int | list[int] = Field(description=_IDS)


class DeleteTask(BaseModel):
    """Delete a task from the list, or several at once."""

    task_id: int | list[int] = Field(description=_IDS)


class UpdateTask(BaseModel):
    """Change a task, or several alike. Only what is given changes, one thing at least."""

    task_id: int | list[int] = Field(description=_IDS)
    title: str | None = Field(description="The new title, 200 characters at most.")
    description: str | None = Field(
        description="The new description, which replaces the old one; 1000 characters at most."
    )
    due_date: str | None = Field(description="The new due date, as in add_task.")
    priority: Literal["low", "medium", "high"] | None = Field(description="The new priority.")
    tags: list[str] | None = Field(
        description="All its tags in place of the old ones; +x adds one, -x takes one away."
    )
    recurrence: Literal["daily", "weekly", "monthly"] | None = Field(description="How it repeats.")
    project: str | None = Field(description="The project it moves to: its name or id.")
    steps: list[str] | None = Field(
        description="All its steps in order, in place of the old ones; [x] before one that is done."
    )
    clear: (
        list[
            Literal["description", "due_date", "priority", "tags", "recurrence", "project", "steps"]
        ]
        | None
    ) = Field(description="What to empty, such as a due date or a repeat that is to go.")
