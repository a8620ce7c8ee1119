"""A tool's result as the model is given it: what says something, cut with a note if it is long.

The record, and so the person, keeps more. What is left in depends on the result and the
limit alone, so it is the same text in the run and in every later turn's history.
"""

import json
import re
from collections.abc import Callable
from typing import Any

from backend.agent.context.remembered import Remembered
from backend.agent.context.tokens import at_most

SURELY_LONGER = 16
"""Bytes a token, above which a text is taken for longer without being counted."""


CUTS_KEPT = 1000
"""Cuts that a process remembers, each no longer than a result may be."""
_cuts: Remembered[str] = Remembered(CUTS_KEPT)


_USUAL = {"description": "", "completed": False, "priority": "medium", "due_date": None}
"""What most tasks of a list are, which a model need not read of each."""
_SECONDS = re.compile(r":\d\d(?:\.\d+)?Z\Z")


def compact(tool: str, result: Any) -> Any:
    """The result of a call of `tool`; of tasks in a list only what is not as usual."""
    tasks = result.get("tasks") if tool == "list_tasks" and isinstance(result, dict) else None
    if not isinstance(tasks, list):
        return result
    return result | {
        "tasks": [_task_in_short(task) if isinstance(task, dict) else task for task in tasks]
    }


def _task_in_short(task: dict[str, Any]) -> dict[str, Any]:
    told = {key: value for key, value in task.items() if value != _USUAL.get(key, ...)}
    if isinstance(made := told.get("created_at"), str):
        told["created_at"] = _SECONDS.sub("Z", made)
    return told


def shown(result: Any, limit: int, count: Callable[[str], int]) -> str:
    """`result` as JSON, cut to `limit` tokens by `count` where it is longer.

    Of the longest list in it the first entries stay. Where that is not enough, the beginning
    of the text stands for all of it.
    """
    text = _dump(result)
    if at_most(text) <= limit:
        return text
    return _cuts.of(text, (limit, count), lambda: _cut(result, text, limit, count))


def _cut(result: Any, text: str, limit: int, count: Callable[[str], int]) -> str:
    if at_most(text) <= SURELY_LONGER * limit and count(text) <= limit:
        return text
    lists = {key: value for key, value in _entries(result) if isinstance(value, list) and value}
    if lists:
        key = max(lists, key=lambda name: at_most(_dump(lists[name])))
        if cut := _first_entries(result, key, limit, count):
            return cut
    return _beginning(text, limit)


def _fits(text: str, limit: int, count: Callable[[str], int]) -> bool:
    return at_most(text) <= limit or count(text) <= limit


def _entries(result: Any) -> list[tuple[str, Any]]:
    return list(result.items()) if isinstance(result, dict) else []


def _first_entries(
    result: dict[str, Any], key: str, limit: int, count: Callable[[str], int]
) -> str | None:
    """As many entries of a list as fit; None where none does.

    Each is counted by itself, and what comes of them at the end: counted together they may be
    less, and as good as never more.
    """
    entries = result[key]

    def cut_to(kept: int) -> str:
        note = f"{len(entries) - kept} more {key} are left out here."
        return _dump(result | {key: entries[:kept], "note": note})

    kept, size = 0, count(cut_to(0))
    for entry in entries[:-1]:
        size += count(_dump(entry) + ", ")
        if size > limit:
            break
        kept += 1
    while kept:
        cut = cut_to(kept)
        if _fits(cut, limit, count):
            return cut
        kept -= 1
    return None


def _beginning(text: str, limit: int) -> str:
    """Fits by its bytes: a character takes four at the most, and quotes are escaped."""
    kept = max(0, limit // 4 - 20)
    note = f"{len(text) - kept} more characters are left out here."
    return _dump({"beginning": text[:kept], "note": note})


def _dump(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
