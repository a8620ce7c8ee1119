"""A tool's result as the model is given it: whole, or cut with a note that says what is missing.

The record, and so the person, keeps the whole. What is left in depends on the result and the
limit alone, so it is the same text in the run and in every later turn's history.
"""

import json
from collections.abc import Callable
from typing import Any

from backend.agent.context.tokens import at_most


def shown(result: Any, limit: int, count: Callable[[str], int]) -> str:
    """`result` as JSON, cut to `limit` tokens by `count` where it is longer.

    Of the longest list in it the first entries stay. Where that is not enough, the beginning
    of the text stands for all of it.
    """
    text = _dump(result)
    if _fits(text, limit, count):
        return text
    lists = {key: value for key, value in _entries(result) if isinstance(value, list) and value}
    if lists:
        key = max(lists, key=lambda name: at_most(_dump(lists[name])))
        if cut := _first_entries(result, key, lambda each: _fits(each, limit, count)):
            return cut
    return _beginning(text, limit)


def _fits(text: str, limit: int, count: Callable[[str], int]) -> bool:
    return at_most(text) <= limit or count(text) <= limit


def _entries(result: Any) -> list[tuple[str, Any]]:
    return list(result.items()) if isinstance(result, dict) else []


def _first_entries(result: dict[str, Any], key: str, fits: Callable[[str], bool]) -> str | None:
    """As many entries of a list as fit, found by halves; None where none does."""
    entries, best = result[key], None
    low, high = 1, len(entries) - 1
    while low <= high:
        kept = (low + high) // 2
        note = f"{len(entries) - kept} more {key} are left out here."
        cut = _dump(result | {key: entries[:kept], "note": note})
        if fits(cut):
            low, best = kept + 1, cut
        else:
            high = kept - 1
    return best


def _beginning(text: str, limit: int) -> str:
    """Fits by its bytes: a character takes four at the most, and quotes are escaped."""
    kept = max(0, limit // 4 - 20)
    note = f"{len(text) - kept} more characters are left out here."
    return _dump({"beginning": text[:kept], "note": note})


def _dump(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
