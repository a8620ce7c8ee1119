"""How a request is carried out, call by call, and what is said of it at the end.

Each request is a generator: it yields the calls of its next step, is sent their results and
returns its report. Nothing is remembered between steps: the generators are run anew over the
calls that are on record, and where these end, the calls come that are to be made now.
"""

import re
from collections.abc import Generator, Sequence
from typing import Any, NamedTuple

from backend.agent.models.sentences.requests import (
    NO_UNDO,
    Every,
    It,
    Named,
    Nth,
    Numbered,
    Request,
    Understood,
    words_of,
)
from backend.agent.models.sentences.when_due import is_due

SHOWN_MAX = 50
"""Tasks named in one answer; of more the number is said."""
_DONE = {"add_task": "added", "complete_task": "completed", "delete_task": "deleted"}
_AMONG = 5
"""Tasks among which one is asked to choose."""

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


class Memory(NamedTuple):
    """What the conversation has shown: the task named last, and the tasks of the last list."""

    named: int | None
    listed: tuple[Task, ...]


class Ability(NamedTuple):
    """The parameters of the tools that there are, by the tool's name."""

    parameters: dict[str, frozenset[str]]

    def takes(self, tool: str, parameter: str) -> bool:
        return parameter in self.parameters.get(tool, frozenset())


type Steps = Generator[list[Call], list[Call], Report]


def carry_out(request: Understood, memory: Memory, ability: Ability, today: str) -> Steps:
    """The steps of `request`; a text is its own report and takes none."""
    if isinstance(request, str):
        return Report(request)
    if request.tool == "add_task":
        return (yield from _add(request, ability))
    if request.tool == "list_tasks":
        return (yield from _show(request, today))
    return (yield from _change(request, memory, ability))


def _add(request: Request, ability: Ability) -> Steps:
    args, lacking = _possible(request, ability)
    (made,) = yield [Call("add_task", args, {})]
    if made.failed:
        return _failed(made, f'add "{request.args["title"]}"')
    cut = str(request.args.get("description", "")).startswith(str(request.args["title"]))
    whole = " Its title was too long, so all of it stands in the notes." if cut else ""
    return Report(f"I've added {name(made.result)}.{whole}{lacking}")


def _possible(request: Request, ability: Ability) -> tuple[dict[str, Any], str]:
    """The arguments that the tool takes, and a sentence about what it cannot do."""
    args = dict(request.args)
    lacking = []
    if request.repeats and ability.takes(request.tool, "recurrence"):
        args["recurrence"] = request.repeats
    elif request.repeats:
        lacking.append("I cannot make it repeat from here; that is set in the task itself.")
    known = ability.parameters.get(request.tool)
    dropped = [key for key in args if known is not None and key not in known]
    for key in dropped:
        del args[key]
        lacking.append(f"I cannot set its {key.replace('_', ' ')} from here.")
    return args, "".join(f" {sentence}" for sentence in lacking)


def _show(request: Request, today: str) -> Steps:
    (listed,) = yield [Call("list_tasks", request.args, {})]
    if listed.failed:
        return _failed(listed, "look at your tasks")
    status = str(request.args.get("status"))
    found = [task for task in listed.tasks if is_due(task, request.only, today)]
    kind = {"overdue": "overdue", None: {"all": ""}.get(status, status)}.get(request.only)
    about = f" due {_period(request.only)}" if kind is None else ""
    kinds = f"{kind} " if kind else ""
    if not found:
        return Report(f"You have no {kinds}tasks{about}.")
    count = len(found)
    if request.only is None and isinstance(listed.result.get("count"), int):
        count = max(count, listed.result["count"])
    lines = [f"You have {count} {kinds}{'task' if count == 1 else 'tasks'}{about}:"]
    lines += [f"- {name(task)}" for task in found[:SHOWN_MAX]]
    if more := count - len(found[:SHOWN_MAX]):
        lines.append(f"and {more} more.")
    return Report("\n".join(lines))


def _period(only: str | None) -> str:
    return f"this {only}" if only == "week" else str(only)


def _change(request: Request, memory: Memory, ability: Ability) -> Steps:
    match request.target:
        case Every(status):
            return (yield from _change_all(request, status))
        case It() if memory.named is None:
            return Report("Which task do you mean? Please give its name or its id.")
        case It():
            return (yield from _change_one(request, {"task_id": memory.named}, ability))
        case Nth(place):
            return (yield from _change_nth(request, place, memory, ability))
        case Numbered(task_id) if "description" in request.args:
            (listed,) = yield [Call("list_tasks", {"status": "all"}, {})]
            found = [task for task in listed.tasks if task["task_id"] == task_id]
            return (yield from _change_found(request, str(task_id), found, listed, ability))
        case Numbered(task_id):
            return (yield from _change_one(request, {"task_id": task_id}, ability))
        case Named(words):
            # one word is searched for, as the others may stand apart in the title
            longest = max((w for w in re.findall(r"\w+", words) if words_of(w)), key=len)
            (listed,) = yield [Call("list_tasks", {"status": "all", "search": longest}, {})]
            found = _fitting(request, words, listed)
            return (yield from _change_found(request, words, found, listed, ability))
    return Report(NO_UNDO)


def _change_all(request: Request, status: str) -> Steps:
    wanted = "pending" if request.tool == "complete_task" else status
    (listed,) = yield [Call("list_tasks", {"status": wanted}, {})]
    if listed.failed:
        return _failed(listed, "look at your tasks")
    found = tuple(listed.tasks)
    kind = {"all": ""}.get(wanted, f"{wanted} ")
    if not found:
        return Report(f"You have no {kind}tasks.")
    if request.tool == "delete_task" and status != "completed":
        tasks = "task" if len(found) == 1 else f"{len(found)} tasks"
        return Report(f"This would delete all {kind}{tasks}. Shall I? Say yes.", request, found)
    return (yield from change_these(request, found))


def change_these(request: Request, found: Sequence[Task]) -> Steps:
    """Do to each of the tasks what is asked for, all in one step."""
    calls = [Call(request.tool, {"task_id": task["task_id"]}, {}) for task in found]
    made = yield calls
    done = [call for call in made if not call.failed]
    titles = ", ".join(name(call.result) for call in done[:SHOWN_MAX])
    text = f"I've {_DONE[request.tool]} {len(done)} tasks: {titles}."
    if len(done) == 1:
        text = f"I've {_DONE[request.tool]} {titles}."
    if failed := [call for call in made if call.failed]:
        text += f" {len(failed)} could not be: {_reason(failed[0])}."
    return Report(text)


def _change_nth(request: Request, place: int, memory: Memory, ability: Ability) -> Steps:
    listed = memory.listed
    if not listed:
        status = "all" if request.tool == "delete_task" else "pending"
        (call,) = yield [Call("list_tasks", {"status": status}, {})]
        listed = tuple(call.tasks)
    if not listed[place : place + 1 or None]:
        return Report(f"There are only {len(listed)} tasks there." if listed else "There is none.")
    return (yield from _change_one(request, listed[place], ability))


def _fitting(request: Request, said: str, listed: Call) -> list[Task]:
    """The tasks that the words mean: as the whole title, else within; to finish, pending ones."""
    tasks, wanted = listed.tasks, words_of(said)
    found = [task for task in tasks if words_of(task["title"]) == wanted]
    found = found or [task for task in tasks if {*wanted} <= {*words_of(task["title"])}]
    pending = [task for task in found if not task.get("completed")]
    return pending if pending and request.tool == "complete_task" else found


def _change_found(
    request: Request, said: str, found: list[Task], listed: Call, ability: Ability
) -> Steps:
    if listed.failed:
        return _failed(listed, "look at your tasks")
    if not found:
        return Report(f'I can find no task "{said}" in your list.')
    if len(found) > 1:
        names = ", ".join(map(name, found[:_AMONG]))
        return Report(f"These tasks fit: {names}. Which one do you mean?", request, tuple(found))
    if request.tool == "delete_task" and _says_more(found[0], said):
        text = f"Do you mean {name(found[0])}? Say yes, and I delete it."
        return Report(text, request, tuple(found))
    return (yield from _change_one(request, found[0], ability))


def _says_more(task: Task, said: str) -> bool:
    """Whether the title has words besides those said and the verb that it begins with."""
    words = words_of(task["title"])
    more = [word for word in words if word not in words_of(said)]
    return more not in ([], words[:1])


def _change_one(request: Request, task: Task, ability: Ability) -> Steps:
    args, lacking = _possible(request, ability)
    if lacking and not args:
        return Report(lacking.strip())
    if "description" in args and task.get("description"):
        args["description"] = f"{task['description']}\n{args['description']}"
    (made,) = yield [Call(request.tool, {"task_id": task["task_id"], **args}, {})]
    if made.failed and made.result.get("error_code") == "TASK_NOT_FOUND":
        return Report(f"I found no task {task['task_id']}.")
    if made.failed:
        return _failed(made, f"do that to task {task['task_id']}")
    verb = _DONE.get(request.tool, "updated")
    return Report(f"I've {verb} {name(made.result)}.{lacking}")


def _failed(call: Call, what: str) -> Report:
    return Report(f"I could not {what}: {_reason(call)}.")


def _reason(call: Call) -> str:
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
