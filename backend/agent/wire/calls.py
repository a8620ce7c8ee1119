"""A tool call as some server has written it, made into one that says what it means.

Mended is what can be read in one way only. All else is left for the tool to refuse, so that
the model is told: a call that is dropped would be a wish that is lost.
"""

import ast
import json
import re
from typing import Any

from backend.conversations.tool_calls import strip_unstorable, without_unstorable

UNNAMED = "unnamed_tool"
"""Stands for a name that is not there; no tool has it."""
_ARGUMENTS = ("arguments", "parameters", "args", "input")
_FENCE = re.compile(r"\A\s*```[a-z_]*\s*(.*?)\s*(?:```)?\s*\Z", re.DOTALL | re.IGNORECASE)
_TOKENS = re.compile(r"(?:\s|<\|?[^<>]{1,40}>|```|;)*\Z")
"""What may stand behind arguments without being a part of them."""
_TRAILING_COMMA = re.compile(r'("(?:[^"\\]|\\.)*")|,(?=\s*[}\]])', re.DOTALL)
_DEEP = 3
"""How often arguments may be JSON inside JSON."""


def read_call(given: object, tools: frozenset[str]) -> tuple[str, str]:
    """The name and the arguments, JSON where it could be read, of a call in any form."""
    call = _as_object(given)
    function = _as_object(call.get("function")) or call
    name = function.get("name") or call.get("name")
    if not name and isinstance(call.get("function"), str):
        name = call["function"]
    found = (
        part[each] for part in (function, call) for each in _ARGUMENTS if part.get(each) is not None
    )
    return mend_name(name, tools), mend_arguments(next(found, None))


def mend_name(given: object, tools: frozenset[str]) -> str:
    """The tool that a name means: `functions.add_task`, `add_task<|channel|>commentary`."""
    if not isinstance(given, str):
        return UNNAMED
    name = strip_unstorable(given).strip()
    if name in tools:
        return name
    for cut in (name.split("<|")[0], *re.split(r"[.:/\s]|__", name.split("<|")[0])):
        plain = cut.strip(" \"'`<>()=").replace("-", "_")
        if plain in tools or plain.lower() in tools:
            return plain if plain in tools else plain.lower()
    # as short as every provider takes it back
    return re.sub(r"[^A-Za-z0-9_-]+", "_", name)[:64].strip("_") or UNNAMED


def mend_arguments(given: object) -> str:
    """The text of one JSON object, where there is one to be read; else what was sent."""
    try:
        value = _arguments_object(given, _DEEP)
        if value is not None:
            return json.dumps(without_unstorable(value), ensure_ascii=False, allow_nan=False)
        return json.dumps(given) if not isinstance(given, str) else strip_unstorable(given)
    except RecursionError:
        return "null"
    except ValueError:
        return strip_unstorable(given) if isinstance(given, str) else "null"


def _arguments_object(given: object, deep: int) -> dict[str, Any] | None:
    match given:
        case None | "" | []:
            return {}
        case dict():
            return given
        case [dict() as only]:
            return only
        case str() if deep:
            return _object_in(given, deep - 1)
    return None


def _object_in(text: str, deep: int) -> dict[str, Any] | None:
    text = _unfenced(strip_unstorable(text).strip())
    if not text:
        return {}
    for read in (_read_json, _read_json_with_commas, _read_python):
        try:
            value = read(text)
        except (ValueError, TypeError, SyntaxError, MemoryError):
            continue
        return _arguments_object(value, deep)
    return None


def _unfenced(text: str) -> str:
    fenced = _FENCE.match(text) if text.startswith("```") else None
    return fenced[1] if fenced else text


def _read_json(text: str) -> Any:
    """JSON with nothing but a template's tokens behind it; an object sent twice is one.

    Raises:
        ValueError: it is not that.
    """
    decoder = json.JSONDecoder(strict=False, parse_constant=_refuse)
    value, end = decoder.raw_decode(text)
    while not _TOKENS.match(text, end):
        # an empty object before the real one, or the real one again, as some servers stream it
        following, end = decoder.raw_decode(text, end + len(text[end:]) - len(text[end:].lstrip()))
        if value not in ({}, following):
            raise ValueError("two values")
        value = following
    return value


def _read_json_with_commas(text: str) -> Any:
    return _read_json(_TRAILING_COMMA.sub(lambda found: found[1] or "", text))


def _read_python(text: str) -> Any:
    """A literal with single quotes, True and None, as JSON."""
    return json.loads(json.dumps(ast.literal_eval(text), allow_nan=False))


def _refuse(constant: str) -> None:
    raise ValueError(constant)


def _as_object(value: object) -> dict[str, Any]:
    """An object, or the text of one; empty for all else."""
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            return {}
    return value if isinstance(value, dict) else {}
