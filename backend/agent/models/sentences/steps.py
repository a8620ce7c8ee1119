"""How a request is carried out, call by call, and what is said of it at the end.

Each request is a generator: it yields the calls of its next step, is sent their results and
returns its report. Nothing is remembered between steps: the generators are run anew over the
calls that are on record, and where these end, the calls come that are to be made now.
"""

import re
from collections.abc import Generator, Sequence
from typing import Any, NamedTuple

from backend.agent.models.sentences.reports import (
    SHOWN_MAX,
    Call,
    Report,
    Task,
    failed,
    filtered,
    listed_tasks,
    name,
    period,
    reason,
)
from backend.agent.models.sentences.requests import NO_UNDO, Understood
from backend.agent.models.sentences.targets import (
    Every,
    It,
    Named,
    Nth,
    Numbered,
    Numbers,
    Request,
    Those,
    words_of,
)
from backend.agent.models.sentences.when_due import is_due

_DONE_BY_TOOL = {"add_task": "added", "complete_task": "completed", "delete_task": "deleted"}
AT_ONCE = 100
"""Tasks of one call."""
_AMONG = 5
"""Tasks among which one is asked to choose."""


class Memory(NamedTuple):
    """What the conversation has shown: the task named last, and the tasks of the last list."""

    named: int | None
    listed: tuple[Task, ...]


class Ability(NamedTuple):
    """The parameters of the tools that there are, by the tool's name."""

    parameters: dict[str, frozenset[str]]
    several: bool = False
    """Whether a call may be about several tasks."""

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
        return (yield from _show(request, today, ability))
    return (yield from _change_steps(request, memory, ability))


def _add(request: Request, ability: Ability) -> Steps:
    args, lacking = _possible(request, ability)
    (made,) = yield [Call("add_task", args, {})]
    if made.failed:
        return failed(made, f'add "{request.args["title"]}"')
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


def _show(request: Request, today: str, ability: Ability) -> Steps:
    (listed,) = yield [Call("list_tasks", request.args, {})]
    if listed.failed:
        return failed(listed, "look at your tasks")
    status = str(request.args.get("status"))
    found = [task for task in listed.tasks if is_due(task, request.only, today)]
    if told := filtered(request.args):
        return listed_tasks(found, len(found), *told)
    kind = {"overdue": "overdue", None: {"all": ""}.get(status, status)}.get(request.only)
    about = f" due {period(request.only)}" if kind is None else ""
    count = len(found)
    if request.only is None and isinstance(listed.result.get("count"), int):
        count = max(count, listed.result["count"])
    return listed_tasks(found, count, f"{kind} " if kind else "", about)


def _change_steps(request: Request, memory: Memory, ability: Ability) -> Steps:
    match request.target:
        case Every(status):
            return (yield from _change_all(request, status, ability))
        case Those(filters, told):
            return (yield from _change_those(request, filters, told, ability))
        case Numbers(ids):
            found = [{"task_id": id_} for id_ in ids]
            return (yield from change_these(request, found, ability))
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


def _change_those(request: Request, filters: dict[str, Any], told: str, ability: Ability) -> Steps:
    lacking = [name for name in filters if not ability.takes("list_tasks", name)]
    if lacking:
        return Report("I cannot look for those from here.")
    (listed,) = yield [Call("list_tasks", {"status": "pending", **filters}, {})]
    if listed.failed:
        return failed(listed, "look at your tasks")
    if not listed.tasks:
        return Report(f"You have no open tasks that are {told}.")
    if request.tool == "delete_task":
        text = f"This would delete all open tasks that are {told}, {len(listed.tasks)} of them."
        return Report(f"{text} Shall I? Say yes.", request, tuple(listed.tasks))
    return (yield from change_these(request, listed.tasks, ability))


def _change_all(request: Request, status: str, ability: Ability) -> Steps:
    wanted = status if request.tool == "delete_task" else "pending"
    (listed,) = yield [Call("list_tasks", {"status": wanted}, {})]
    if listed.failed:
        return failed(listed, "look at your tasks")
    found = tuple(listed.tasks)
    kind = {"all": ""}.get(wanted, f"{wanted} ")
    if not found:
        return Report(f"You have no {kind}tasks.")
    if request.tool == "delete_task" and status != "completed":
        tasks = "task" if len(found) == 1 else f"{len(found)} tasks"
        return Report(f"This would delete all {kind}{tasks}. Shall I? Say yes.", request, found)
    return (yield from change_these(request, found, ability))


def change_these(request: Request, found: Sequence[Task], ability: Ability) -> Steps:
    """Do to each of the tasks what is asked for, in one call where that can be."""
    args, lacking = _possible(request, ability)
    if lacking and not args:
        return Report(lacking.strip())
    ids = [task["task_id"] for task in found]
    made = yield [
        Call(request.tool, {"task_id": each, **args}, {}) for each in _parts(ids, ability)
    ]
    results = [each for call in made for each in call.result.get("results", [call.result])]
    done = [each for each in results if each.get("success") is True]
    titles = ", ".join(name(each) for each in done[:SHOWN_MAX])
    verb = _DONE_BY_TOOL.get(request.tool, "updated")
    text = f"I've {verb} {len(done)} tasks: {titles}."
    if len(done) == 1:
        text = f"I've {verb} {titles}."
    if not done:
        text = f"I could not do that: {reason(made[0])}."
    elif failed := [each for each in results if each.get("success") is not True]:
        text += f" {len(failed)} could not be: {reason(Call('', {}, failed[0]))}."
    return Report(text + lacking)


def _parts(ids: list[Any], ability: Ability) -> list[Any]:
    """What calls take as their ids, for all of `ids`."""
    if not ability.several:
        return ids
    parts = [ids[at : at + AT_ONCE] for at in range(0, len(ids), AT_ONCE)]
    return [part if len(part) > 1 else part[0] for part in parts]


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
        return failed(listed, "look at your tasks")
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
        return failed(made, f"do that to task {task['task_id']}")
    verb = _DONE_BY_TOOL.get(request.tool, "updated")
    return Report(f"I've {verb} {name(made.result)}.{lacking}")
