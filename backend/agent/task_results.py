"""What the model reads of tasks, of one or of several.

A call about one answers with that task's result. One about several answers with the result of the
first that was found, as whoever knows no more reads it, and with the results of all by their ids.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from backend.agent.task_arguments import DONE
from backend.errors import TaskNotFound
from backend.models import Recurrence
from backend.schemas.fields import iso_utc
from backend.tasks.dates import due_text
from backend.tasks.rules import Completion
from backend.tasks.stored import StoredTask

type Result = dict[str, Any]

_NAMED = 5
"""Tasks that a message names; of more the number is said."""
_NOT_FOUND: Result = {
    "success": False,
    "error": TaskNotFound.message,
    "error_code": TaskNotFound.code,
}


def summary(task: StoredTask) -> Result:
    """A task that was added or changed."""
    return {
        "success": True,
        "task_id": task.id,
        "title": task.title,
        "description": task.description,
        "due_date": due_text(task.due),
        "priority": task.priority,
    } | _more(task)


def listed(task: StoredTask) -> Result:
    """A task as a list has it."""
    return {
        "task_id": task.id,
        "title": task.title,
        "description": task.description,
        "completed": task.completed,
        "priority": task.priority,
        "due_date": due_text(task.due),
        "created_at": iso_utc(task.created_at),
    } | _more(task)


def _more(task: StoredTask) -> Result:
    """What few tasks have; where it is not there, it costs no tokens."""
    more: Result = {}
    if task.tags:
        more["tags"] = task.tags
    if task.recurrence_pattern is not Recurrence.NONE:
        more["recurrence"] = task.recurrence_pattern
    if task.project_id is not None:
        more["project_id"] = task.project_id
    if task.steps:
        more["steps"] = [f"{DONE}{s['title']}" if s["done"] else s["title"] for s in task.steps]
    return more


def completed(completion: Completion) -> Result:
    """A task that is done, and when it comes again."""
    task, following = completion
    result: Result = {
        "success": True,
        "task_id": task.id,
        "title": task.title,
        "status": "completed",
        "completed_at": iso_utc(task.completed_at),
        "message": f'Completed "{task.title}".',
    }
    if following is None:
        return result
    due = due_text(following.due)
    again = f" It comes again as task {following.id}{f', due {due}' if due else ''}."
    return result | {
        "next": {"task_id": following.id, "due_date": due},
        "message": result["message"] + again,
    }


def told(verb: str, ids: Sequence[int], results: Mapping[int, Result]) -> Result:
    """The result of a call about `ids`, by those of the tasks that were found.

    Raises:
        TaskNotFound: it was about one, which was not.
    """
    if len(ids) == 1:
        if not results:
            raise TaskNotFound
        return results[ids[0]]
    each = [
        _short(results[id_]) if id_ in results else {"task_id": id_} | _NOT_FOUND for id_ in ids
    ]
    found = [results[id_] for id_ in ids if id_ in results]
    missing = len(ids) - len(found)
    if not found:
        return _NOT_FOUND | {"error": "None of these tasks was found", "count": 0, "results": each}
    message = f"{verb} {counted(len(found))}: {_titles(found)}."
    if missing:
        message += f" {counted(missing)} {'was' if missing == 1 else 'were'} not found."
    return found[0] | {"count": len(found), "results": each, "message": message}


def _short(result: Result) -> Result:
    return {key: result[key] for key in ("task_id", "success", "title", "next") if key in result}


def counted(number: int) -> str:
    return "1 task" if number == 1 else f"{number} tasks"


def _titles(found: Sequence[Result]) -> str:
    named = ", ".join(f'"{result["title"]}"' for result in found[:_NAMED])
    more = len(found) - _NAMED
    return f"{named} and {more} more" if more > 0 else named
