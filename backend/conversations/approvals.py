"""Calls that wait for a person: as they are stored, shown and told.

Stored, it is a JSON object in the assistant's row. `calls` are all that the turn has asked for, in
order, with what was decided of each. `declined` is what the row will say if the person goes on
without deciding: its content, its calls, and these again. So that is one statement, whoever comes.
"""

import json
from collections.abc import Sequence
from typing import Any, NotRequired, TypedDict

from backend.conversations.tool_calls import (
    RECORD_MAX_BYTES,
    ToolCall,
    changes,
    dump_calls,
    named,
)


class Approval(TypedDict):
    """One call that waits for a person's word, or has it."""

    id: str
    tool: str
    args: dict[str, Any]
    approved: bool | None
    """None while it is pending."""
    reason: str | None
    done: bool
    """Whether the call is on record: carried out, or declined."""
    tasks: NotRequired[list[dict[str, Any]]]
    """Of a call about tasks: those it would change, by `task_id` and `title` as they were then."""
    reasoning: NotRequired[dict[str, Any]]
    said: NotRequired[str]


APPROVAL_HOURS = 24
"""How long the person's word is waited for."""
_KEYS = Approval.__required_keys__
DECLINED = {
    "success": False,
    "error": "The person did not approve this. Nothing was changed.",
    "error_code": "DECLINED",
}


def request_approval(
    message_id: int, attempt: int, number: int, tool: str, args: dict[str, Any]
) -> Approval:
    """The `number`th call of its turn, whose id no other has."""
    return Approval(
        id=f"approval_{message_id}_{attempt}_{number}",
        tool=tool,
        args=args,
        approved=None,
        reason=None,
        done=False,
    )


def is_pending(approval: Approval) -> bool:
    return approval["approved"] is None


def is_to_do(approval: Approval) -> bool:
    """Whether it is decided, and not on record yet."""
    return approval["approved"] is not None and not approval["done"]


def declined_call(approval: Approval) -> ToolCall:
    """What goes on record of a call that the person did not approve."""
    result = DECLINED | ({"reason": approval["reason"]} if approval["reason"] else {})
    return recorded_call(approval, result)


def recorded_call(approval: Approval, result: dict[str, Any]) -> ToolCall:
    call = ToolCall(tool=approval["tool"], args=approval["args"], result=result)
    if "reasoning" in approval:
        call["reasoning"] = approval["reasoning"]
    if "said" in approval:
        call["said"] = approval["said"]
    return call


def waiting_sentence(calls: list[ToolCall], approvals: Sequence[Approval]) -> str:
    """What is true while the person has not decided."""
    asked = "; ".join(_approval_sentence(each) for each in approvals if not each["done"])
    return f"{_done(calls)}Before I go on I need your approval: {asked}."


def _declined_sentence(calls: list[ToolCall], approvals: Sequence[Approval]) -> str:
    asked = "; ".join(_approval_sentence(each) for each in approvals if not each["done"])
    return f"{_done(calls)}This was not approved, so I did not do it: {asked}."


def _done(calls: list[ToolCall]) -> str:
    done = changes(calls)
    return f"Done so far: {'; '.join(done)}. " if done else ""


def _approval_sentence(approval: Approval) -> str:
    """`delete task (task_id 3)`, or `delete 2 tasks (3, Buy milk; 4, Call mom)`."""
    if isinstance(approval["args"].get("task_id"), list):
        return _several_told(approval)
    given = ", ".join(f"{name} {value}" for name, value in approval["args"].items())
    words = approval["tool"].replace("_", " ")
    return f"{words} ({given})" if given else words


def _several_told(approval: Approval) -> str:
    tasks = approval.get("tasks", [])
    verb = approval["tool"].removesuffix("_task").replace("_", " ")
    apart = {name: value for name, value in approval["args"].items() if name != "task_id"}
    given = "".join(f", {name} {value}" for name, value in apart.items())
    counted = "1 task" if len(tasks) == 1 else f"{len(tasks)} tasks"
    return f"{verb} {counted}{given} ({named(tasks)})" if tasks else f"{verb} {counted}{given}"


def dump_approvals(calls: list[ToolCall], approvals: Sequence[Approval]) -> str | None:
    """The column's text; `calls` are those on record."""
    if not approvals:
        return None
    stored: dict[str, Any] = {"calls": approvals}
    if any(map(is_pending, approvals)):
        closed = [each if each["done"] else _closed(each) for each in approvals]
        refused = [
            declined_call(after)
            for before, after in zip(approvals, closed, strict=True)
            if not before["done"]
        ]
        stored["declined"] = {
            "content": _declined_sentence(calls, approvals),
            "calls": dump_calls([*calls, *refused]),
            "approvals": json.dumps({"calls": closed}, allow_nan=False),
        }
    return json.dumps(stored, allow_nan=False)


def _closed(approval: Approval) -> Approval:
    return Approval({**approval, "approved": False, "done": True})


def load_approvals(stored: str | None) -> list[Approval]:
    """What was written by `dump_approvals`; damage is nothing."""
    try:
        found = json.loads(stored or "{}").get("calls", [])
        approvals: list[Approval] = [each for each in found if each.keys() >= _KEYS]
        return approvals
    except (ValueError, TypeError, AttributeError, RecursionError):
        return []


def approvals_shown(approvals: Sequence[Approval]) -> list[dict[str, Any]]:
    """What a client is shown of those that are not carried out yet."""
    shown = ("id", "tool", "args", "approved", "reason", "tasks")
    return [{key: each.get(key) for key in shown} for each in approvals if not each["done"]]


def dump_replaced(answers: Sequence[dict[str, Any]]) -> str:
    """The column's text: the newest of the answers, oldest of them first, as many as fit.

    One that is too long by itself is kept without its calls.
    """
    kept: list[str] = []
    left = RECORD_MAX_BYTES
    for answer in reversed(answers):
        text = json.dumps(answer, allow_nan=False)
        if len(text) > left and not kept:
            text = json.dumps(answer | {"tool_calls": None}, allow_nan=False)
        left -= len(text)
        if left < 0:
            break
        kept.append(text)
    return f"[{', '.join(reversed(kept))}]"


def load_replaced(stored: str | None) -> list[dict[str, Any]]:
    """The answers that stood here before, oldest first; damage is nothing."""
    try:
        found = json.loads(stored or "[]")
    except (ValueError, RecursionError):
        return []
    return [each for each in found if isinstance(each, dict)] if isinstance(found, list) else []
