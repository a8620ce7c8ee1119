"""The record of a run: its tool calls as they are stored, shown and told.

Stored, it is a JSON array of `{"tool": str, "args": object, "result": object}` in the order
the calls were made. A call that changes tasks has a further key `undo`, which stays between
the column and `backend.journal.undo`: neither a model nor a client is shown it. Nor is a
client what stands under `reasoning`: a provider wants it back with the call. A call before which
a model said something that viewers were shown has it under `said`. Anything else found in the
column (an earlier backend's, or damage) is read as far as it makes sense and never raises.
"""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, NotRequired, TypedDict

DEPTH_MAX = 40
"""Arrays and objects inside each other; a call's record has five at the most."""

CALLS_MAX = 100
"""Calls of one turn at the most, all attempts and model calls together."""

LIST_MAX_BYTES = 64_000
"""Of a result that only tells something, as JSON in UTF-8: a hundred tasks with some notes."""
LISTS_MAX_BYTES = 192_000
"""Of a whole record, above which such a result is cut to `LIST_LEAST_BYTES`."""
LIST_LEAST_BYTES = 2_000
RECORD_MAX_BYTES = 512_000
"""Of a record, above which no more calls are made."""

OUTCOME_UNKNOWN = "OUTCOME_UNKNOWN"
"""The `error_code` of an outside call that was begun and of which no answer is known."""

NAMED_MAX = 20
"""Tasks of one call that a sentence names; of more the number is said."""

type Undo = list[dict[str, Any]]
"""What a call changed, as plain values; empty where all was so already."""


class ToolCall(TypedDict):
    """One call of a tool: what the model asked for and what came of it."""

    tool: str
    args: dict[str, Any]
    result: dict[str, Any]
    undo: NotRequired[Undo]
    outside: NotRequired[bool]
    """Whether it may have changed something outside of our database."""
    key: NotRequired[str]
    """Of an outside call: what it is known by to the server, in each attempt."""
    reasoning: NotRequired[dict[str, Any]]
    said: NotRequired[str]
    """What the model said before it, since the call before, where that was streamed."""


_VERBS = {
    "add_task": "added",
    "complete_task": "completed",
    "delete_task": "deleted",
    "update_task": "updated",
}


_ESCAPED = re.compile(r"\\u(?:0000|d[89a-f])", re.IGNORECASE)
"""How NUL and half a character look in JSON, and a whole character beyond the first plane."""


def strip_unstorable(text: str) -> str:
    """A model's text without what Postgres cannot store: NUL, and lone surrogates."""
    return text.replace("\x00", "").encode(errors="replace").decode()


def without_unstorable(value: Any, depth: int = DEPTH_MAX) -> Any:
    """JSON without what Postgres and UTF-8 cannot hold, keys included.

    Raises:
        RecursionError: it is nested more than `depth` deep.
    """
    if depth < 0:
        raise RecursionError
    match value:
        case str():
            return strip_unstorable(value)
        case list():
            return [without_unstorable(each, depth - 1) for each in value]
        case dict():
            return {
                strip_unstorable(key): without_unstorable(each, depth - 1)
                for key, each in value.items()
            }
    return value


def _check_depth(value: dict[str, Any] | list[Any], depth: int = DEPTH_MAX) -> None:
    """Raise `RecursionError` for JSON that is nested more than `depth` deep."""
    if depth < 0:
        raise RecursionError
    for each in value.values() if isinstance(value, dict) else value:
        if isinstance(each, dict | list):
            _check_depth(each, depth - 1)


def dump_calls(calls: list[ToolCall]) -> str | None:
    """The column's text; None, not `[]`, where no tool was called."""
    return json.dumps(calls, allow_nan=False) if calls else None


def load_calls(stored: str | None) -> list[ToolCall]:
    """The calls in a stored text; what is not a call is left out."""
    try:
        entries = json.loads(stored or "[]")
        if not isinstance(entries, list):
            return []
        _check_depth(entries)
        if stored and _ESCAPED.search(stored):
            entries = without_unstorable(entries)
    except (ValueError, RecursionError):
        return []
    return [
        _call_of_entry(entry)
        for entry in entries
        if isinstance(entry, dict) and isinstance(entry.get("tool"), str)
    ]


def _call_of_entry(entry: dict[str, Any]) -> ToolCall:
    call = ToolCall(
        tool=entry["tool"],
        args=_object_of_entry(entry, "args"),
        result=_object_of_entry(entry, "result"),
    )
    undo = entry.get("undo")
    if isinstance(undo, list) and all(isinstance(change, dict) for change in undo):
        call["undo"] = undo
    if entry.get("outside") is True:
        call["outside"] = True
    if isinstance(entry.get("key"), str):
        call["key"] = entry["key"]
    if isinstance(reasoning := entry.get("reasoning"), dict):
        call["reasoning"] = reasoning
    if isinstance(entry.get("said"), str):
        call["said"] = entry["said"]
    return call


def as_shown(calls: list[ToolCall]) -> list[dict[str, Any]]:
    """The calls as a client may see them."""
    return [{key: call[key] for key in ("tool", "args", "result")} for call in calls]


def _object_of_entry(entry: dict[str, Any], key: str) -> dict[str, Any]:
    value = entry.get(key)
    return value if isinstance(value, dict) else {}


def changes(calls: list[ToolCall]) -> list[str]:
    """What the calls changed, each as a clause: `added task 42, Buy milk`."""
    return [clause for call in calls if (clause := _clause(call))]


def changes_outside(calls: list[ToolCall]) -> list[ToolCall]:
    """Those of the calls that have changed something outside of our database, or may have."""
    return [call for call in calls if call.get("outside") and _clause(call)]


def _clause(call: ToolCall) -> str:
    tool, result = call["tool"], call["result"]
    if call.get("outside") and result.get("error_code") == OUTCOME_UNKNOWN:
        return f"started {tool}, outcome unknown"
    if result.get("success") is not True:
        return ""
    if call.get("outside"):
        return f"ran {tool}"
    if tool not in _VERBS:
        return ""
    done = [each for each in each_result(call) if each.get("success") is True]
    if len(done) < 2:
        (only,) = done or [result]
        return f"{_VERBS[tool]} task {only.get('task_id')}, {only.get('title')}"
    return f"{_VERBS[tool]} {len(done)} tasks ({named(done)})"


def each_result(call: ToolCall) -> list[dict[str, Any]]:
    """The results of a call that was about several tasks, one for each; else its only one."""
    results = call["result"].get("results")
    if not isinstance(results, list):
        return [call["result"]]
    return [each for each in results if isinstance(each, dict)]


def named(tasks: Sequence[Mapping[str, Any]]) -> str:
    """Several tasks in one clause: `12, Buy milk; 13, Call mom`."""
    told = [f"{task.get('task_id')}, {task.get('title')}" for task in tasks[:NAMED_MAX]]
    more = len(tasks) - len(told)
    return "; ".join(told + ([f"and {more} more"] if more else []))


def unfinished_answer(calls: list[ToolCall]) -> str:
    """The honest answer of a run that was cut short; empty where it had changed nothing."""
    done = changes(calls)
    return f"I could not finish. Done so far: {'; '.join(done)}." if done else ""
