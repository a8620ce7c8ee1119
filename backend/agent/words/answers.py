"""Answers that are none, and those that the record gives where the model has none. Pure."""

import json
import re
from collections.abc import Collection, Sequence
from typing import Any

from backend.conversations.tool_calls import ToolCall, changes

NOTHING_DONE = "I could not do that, so nothing was changed. Please say it again in other words."
_SHOWN = 20
"""Tasks of a list that an answer out of the record names."""
_NAMELESS = ("tool", "function")
"""How a tool is called by those who do not say which."""
_SHORT = 600
"""Characters of a text that may be nothing but a call in words."""
_CALLED = (
    r"^\W*(?:(?:i(?:'ll| will)|let me|let's|please|now|next|first|then|action|tool|function)\b"
    r"[\s,:]*)*"
    r"(?:(?:to=)?functions?\.|(?:call|calling|use|using|invoke|invoking|run|running|execute"
    r"|executing)\s+(?:the\s+)?(?:tool\s+|function\s+)?)?[`\"'*]*(?:functions?\.)?(?:{names})\b"
)
_ANNOUNCED = re.compile(
    r"\W*(?:(?:i'll|i will|i am going to|i'm going to|let me|let's)\s+(?:now\s+)?"
    r"(?:call|invoke|run|use)|calling|invoking)\s+(?:the|that|this)\s+(?:function|tool)\b",
    re.IGNORECASE,
)
"""A text that says it will call a tool, and does not say which."""
_OPENINGS = (
    *("i'll", "i will", "i'm going to", "i am going to", "let me", "let's", "please", "now"),
    *("next", "first", "then", "action"),
    *("tool", "function", "call", "use", "using", "invok", "run", "execut"),
)
"""How the calls that `_CALLED` knows begin, in small letters."""
_SOON = 100
"""Characters within which they name their tool."""
_NAMES = ("name", "tool", "tool_name", "function", "action")
_GIVEN = ("arguments", "parameters", "args", "input", "action_input")


def is_only_a_call(text: str, names: Collection[str]) -> bool:
    """Whether a text is a tool call that nobody has made, as JSON or in words, and no answer.

    `update_task` in the middle of a sentence is none; a text that begins with calling it is,
    unless it goes on for long.
    """
    bare = re.sub(r"\A```[a-z_]*\s*|\s*```\Z", "", text.strip(), flags=re.IGNORECASE).strip()
    if not bare or not names:
        return False
    if bare[0] in "{[<":
        return _holds_a_call(bare, names)
    if _ANNOUNCED.match(bare) and len(bare) <= _SHORT:
        return True
    called = _CALLED.replace("{names}", "|".join(map(re.escape, names)))
    found = re.match(called, bare, re.IGNORECASE)
    if found is None or len(bare) > _SHORT:
        return False
    rest = bare[found.end() :].lstrip("`\"'* ")
    plain = re.fullmatch("|".join(map(re.escape, names)), found[0].strip(" `\"'*\n"), re.IGNORECASE)
    return not plain or rest[:1] in ("", "(", "{", ":", "[") or rest.startswith("with")


def may_become_a_call(text: str, names: Collection[str]) -> bool:
    """Whether a text that is being written may turn out to be a call in words."""
    begun = text.lstrip().lower()
    if len(begun) > _SHORT or not any(
        begun.startswith(word) or word.startswith(begun) for word in _OPENINGS
    ):
        return False
    return len(begun) < _SOON or any(name in begun[:_SOON] for name in (*names, *_NAMELESS))


def _holds_a_call(text: str, names: Collection[str]) -> bool:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        # broken off, or with words behind it: by the name of a tool in the place of a name
        return any(re.search(rf"[\"'<=./]{re.escape(name)}[\"'>(\s]", text) for name in names)
    values = value if isinstance(value, list) else [value]
    return bool(values) and all(isinstance(each, dict) and _is_call(each, names) for each in values)


def _is_call(value: dict[str, Any], names: Collection[str]) -> bool:
    called = [value[name] for name in _NAMES if name in value]
    if any(isinstance(name, dict) and _is_call(name, names) for name in called):
        return True
    if any(isinstance(name, str) and name.rpartition(".")[2] in names for name in called):
        return True
    if called and any(name in value for name in _GIVEN):
        return True
    return bool(value) and set(value) <= set(names)


def from_the_record(calls: Sequence[ToolCall]) -> str:
    """What a turn says by itself: what was changed, else what was found, else that nothing was."""
    if done := changes(list(calls)):
        return f"Done so far: {'; '.join(done)}."
    return found_by(calls) or NOTHING_DONE


def found_by(calls: Sequence[ToolCall]) -> str:
    """The tasks that the last list on record holds; empty where there is none."""
    for call in reversed(calls):
        tasks = call["result"].get("tasks")
        if isinstance(tasks, list) and call["result"].get("success") is True:
            return _listed([task for task in tasks if isinstance(task, dict)])
    return ""


def _listed(tasks: list[dict[str, Any]]) -> str:
    if not tasks:
        return "I found no such tasks."
    lines = [f"- {task.get('title')} (task {task.get('task_id')})" for task in tasks[:_SHOWN]]
    if len(tasks) > _SHOWN:
        lines.append(f"- and {len(tasks) - _SHOWN} more")
    return "\n".join(["This is what I found:", *lines])
