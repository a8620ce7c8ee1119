"""The model of the suite: it reads what it is given and asks for what is not yet done.

It keeps no state. Which calls are of this run it knows by their ids, which it gives out
itself; those of earlier attempts and turns come under ids of the service.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from typing import Any

from backend.conversations.approvals import DECLINED
from backend.faults.scenario import Command, Message, Verb
from backend.tests.support.provider_wire import Answer, FunctionCall

OWN = "ask"
"""Begins the ids that it gives out, of nine letters and digits, which nobody replaces."""
TOOLS = {
    Verb.ADD: "add_task",
    Verb.COMPLETE: "complete_task",
    Verb.DELETE: "delete_task",
    Verb.RENAME: "update_task",
}
_OPEN_TASK = re.compile(r'^\[(\d+), "(.*?)", ', re.MULTILINE)
"""A line of the context: an open task's id and title."""
_numbers = count(1)

type Item = dict[str, Any]


@dataclass(frozen=True)
class Call:
    """A call and its result, as the input shows them."""

    tool: str
    args: dict[str, Any]
    result: dict[str, Any]
    own: bool
    """Asked for in this run, not in an earlier attempt."""

    def does(self, command: Command, task_id: int | None) -> bool:
        """Whether this is the call that `command` wants, however it ended."""
        if self.tool != TOOLS[command.verb]:
            return False
        match command.verb:
            case Verb.ADD:
                return self.args.get("title") == command.title
            case Verb.RENAME:
                return self.args.get("title") == command.to
        given = self.args.get("task_id")
        ids = given if isinstance(given, list) else [given]
        same = task_id is not None and task_id in ids
        return same or any(each.get("title") == command.title for each in self.results)

    @property
    def results(self) -> list[dict[str, Any]]:
        """One for each task that it was about."""
        results: list[dict[str, Any]] = self.result.get("results", [self.result])
        return results


def answer(
    message: Message, items: list[Item], *, together: bool, stubborn: bool, bulk: bool = False
) -> Answer:
    """What the model says next: calls, or the text that ends the run."""
    behind = list(_calls(items[_last_from_the_person(items) + 1 :]))
    wanted: list[tuple[Command, dict[str, Any]]] = []
    for command in message.commands:
        task_id = _id_of(command.title, items)
        done = [call for call in behind if call.does(command, task_id)]
        if any(call.result.get("error_code") == DECLINED["error_code"] for call in done):
            continue
        own = next((call for call in done if call.own), None)
        if own and not own.result.get("success"):
            return Answer(f"That did not work: {own.result.get('error_code')}.")
        recorded = next((call for call in done if call.result.get("success")), None)
        if own or (recorded and not stubborn):
            continue
        arguments = _again(recorded) if recorded else _arguments(command, task_id)
        if arguments is None:  # to be made by a call before it
            return _calling(wanted, bulk) if wanted else Answer("I cannot find that task.")
        wanted.append((command, arguments))
        if not together:
            break
    return _calling(wanted, bulk) if wanted else Answer("Done.")


def _calling(wanted: list[tuple[Command, dict[str, Any]]], bulk: bool) -> Answer:
    """The calls, where `bulk` with one for all tasks that are completed, and one for the deleted.

    One that is asked for again, whose ids are a list already, stays what it was.
    """
    calls: list[tuple[str, dict[str, Any]]] = []
    for command, arguments in wanted:
        tool, id_ = TOOLS[command.verb], arguments.get("task_id")
        if (tool, arguments) in calls:
            continue
        if bulk and command.verb in (Verb.COMPLETE, Verb.DELETE) and isinstance(id_, int):
            before = next((args for name, args in calls if name == tool and "new" in args), None)
            if before:
                before["task_id"].append(id_)
                continue
            arguments = {"task_id": [id_], "new": True}
        calls.append((tool, arguments))
    for _, arguments in calls:
        arguments.pop("new", None)
    return Answer(calls=tuple(_call(*each) for each in calls))


def _call(tool: str, arguments: dict[str, Any]) -> FunctionCall:
    return FunctionCall(tool, json.dumps(arguments), f"{OWN}{next(_numbers):06}")


def _again(recorded: Call) -> dict[str, Any]:
    """The arguments of a recorded call, which may leave out what was null."""
    return {name: value for name, value in recorded.args.items() if value is not None}


def _arguments(command: Command, task_id: int | None) -> dict[str, Any] | None:
    nothing = dict.fromkeys(("description", "due_date", "priority"))
    if command.verb is Verb.ADD:
        return {"title": command.title, **nothing}
    if task_id is None:
        return None
    if command.verb is Verb.RENAME:
        return {"task_id": task_id, "title": command.to, **nothing}
    return {"task_id": task_id}


def _last_from_the_person(items: list[Item]) -> int:
    return max(place for place, item in enumerate(items) if item.get("role") == "user")


def _calls(items: list[Item]) -> Iterator[Call]:
    results = {
        item["call_id"]: json.loads(item["output"])
        for item in items
        if item.get("type") == "function_call_output"
    }
    for item in items:
        if item.get("type") == "function_call" and item["call_id"] in results:
            own = item["call_id"].startswith(OWN)
            arguments = json.loads(item["arguments"])
            yield Call(item["name"], arguments, results[item["call_id"]], own)


def _id_of(title: str, items: list[Item]) -> int | None:
    """The id under which a task of this title was named, in a result or in the context."""
    for call in _calls(items):
        for result in call.results:
            if result.get("title") == title:
                task_id: int = result["task_id"]
                return task_id
    context = "\n".join(str(item["content"]) for item in items if item.get("role") == "user")
    return next((int(id_) for id_, name in _OPEN_TASK.findall(context) if name == title), None)
