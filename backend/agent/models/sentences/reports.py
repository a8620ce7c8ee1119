"""What is said of calls: a list, a task by its name, and what went wrong."""

from typing import Any, NamedTuple

from backend.agent.models.sentences.targets import Request

SHOWN_MAX = 50
"""Tasks named in one answer; of more the number is said."""

type Task = dict[str, Any]


class Call(NamedTuple):
    """A call of a tool, to make or made; `result` is {} until it is."""

    tool: str
    args: dict[str, Any]
    result: dict[str, Any]

    @property
    def tasks(self) -> list[Task]:
        """Of a list: its tasks, as far as they look like some."""
        listed = self.result.get("tasks")
        tasks = listed if isinstance(listed, list) else []
        return [t for t in tasks if isinstance(t, dict) and {"task_id", "title"} <= {*t}]

    @property
    def failed(self) -> bool:
        return self.result.get("success") is not True


class Report(NamedTuple):
    """What came of a request; `choice` are the tasks among which it asks to choose."""

    text: str
    request: Request | None = None
    choice: tuple[Task, ...] = ()


def filtered(args: dict[str, Any]) -> tuple[str, str] | None:
    """The words before and behind *tasks* for what a list is filtered by."""
    match args:
        case {"priority": level}:
            return f"{level} priority ", ""
        case {"tag": tag}:
            return "", f" tagged {tag}"
        case {"due": "no date"}:
            return "", " without a date"
        case {"due": due}:
            return "", f" due {due}"
        case {"search": words}:
            return "", f' about "{words}"'
        case {"project": project}:
            return "", f" in the project {project}"
    return None


def listed_tasks(found: list[Task], count: int, kinds: str, about: str) -> Report:
    if not found:
        return Report(f"You have no {kinds}tasks{about}.")
    lines = [f"You have {count} {kinds}{'task' if count == 1 else 'tasks'}{about}:"]
    lines += [f"- {name(task)}" for task in found[:SHOWN_MAX]]
    if more := count - len(found[:SHOWN_MAX]):
        lines.append(f"and {more} more.")
    return Report("\n".join(lines))


def period(only: str | None) -> str:
    return f"this {only}" if only == "week" else str(only)


def failed(call: Call, what: str) -> Report:
    return Report(f"I could not {what}: {reason(call)}.")


def reason(call: Call) -> str:
    return str(call.result.get("error") or "it failed").rstrip(".")


def name(task: Task) -> str:
    """A task as an answer names it."""
    due = f", due {_due(str(task['due_date']))}" if task.get("due_date") else ""
    done = ", completed" if task.get("completed") else ""
    return f'"{task.get("title")}" (task {task.get("task_id")}{due}{done})'


def _due(text: str) -> str:
    """The day, with its hour where it has one that is no mere midnight."""
    day, _, rest = text.partition("T")
    return day if not rest or rest.startswith("00:00") else f"{day} {rest[:5]} UTC"
