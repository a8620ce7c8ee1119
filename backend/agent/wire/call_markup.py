"""Calls that a server has left in the text, as the model's template writes them.

Taken are only blocks of a template that is known, at the beginning of a line and with nothing
but further blocks behind them: where a model tells of a text that holds such a thing, it is
told of and no call.
"""

import json
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

from backend.agent.wire.calls import read_call


class WrittenCalls(NamedTuple):
    """A text without its calls, and those, each as a name and its arguments."""

    text: str
    calls: list[tuple[str, str]]


_BLOCK = re.compile(
    r"""
    ^[ \t]*(?:
      <(?P<tag>tool_calls?|function_calls?|minimax:tool_call)>(?P<tagged>.*?)
        (?:</(?P=tag)>|\Z)                                       # Hermes, Qwen, GLM, MiniMax
    | <function=(?P<named>[\w.:-]+)>(?P<body>.*?)(?:</function>|\Z)   # Llama, Qwen Coder
    | \[TOOL_CALLS\]\s*(?P<mistral>.*?)(?=\[TOOL_CALLS\]|\Z)
    | <\|python_tag\|>(?P<llama>.*?)(?:<\|eom_id\|>|<\|eot_id\|>|\Z)
    | <\|tool_calls_section_begin\|>(?P<kimi>.*?)(?:<\|tool_calls_section_end\|>|\Z)
    | <｜tool▁calls▁begin｜>(?P<deepseek>.*?)(?:<｜tool▁calls▁end｜>|\Z)
    | (?:<\|start\|>assistant)?<\|channel\|>commentary\s+to=(?P<harmony>[\w.:-]+)[^{]*?<\|message\|>
        (?P<message>.*?)(?:<\|call\|>|\Z)                        # gpt-oss
    | ```tool_(?:call|code)s?[ ]*\n(?P<fenced>.*?)(?:```|\Z)      # Gemma
    )[ \t]*""",
    re.IGNORECASE | re.MULTILINE | re.DOTALL | re.VERBOSE,
)
_KIMI = re.compile(
    r"<\|tool_call_begin\|>\s*(?P<name>.*?)\s*<\|tool_call_argument_begin\|>(?P<given>.*?)"
    r"(?:<\|tool_call_end\|>|\Z)",
    re.DOTALL,
)
_DEEPSEEK = re.compile(
    r"<｜tool▁call▁begin｜>(?:function)?(?:<｜tool▁sep｜>)?\s*(?P<name>[\w.:-]+)\s*"
    r"(?:<｜tool▁sep｜>)?(?P<given>.*?)(?:<｜tool▁call▁end｜>|\Z)",
    re.DOTALL,
)
_INVOKE = re.compile(
    r"<(?:invoke name=\"|function=)(?P<name>[\w.:-]+)\"?>(?P<body>.*?)"
    r"(?:</(?:invoke|function)>|\Z)",
    re.DOTALL,
)
_PARAMETER = re.compile(
    r"<parameter(?: name=\"|=)(?P<name>\w+)\"?>(?P<value>.*?)</parameter>"
    r"|<arg_key>(?P<key>.*?)</arg_key>\s*<arg_value>(?P<text>.*?)</arg_value>",
    re.DOTALL,
)
_WITH_ARGUMENTS = re.compile(
    r"(?P<name>[\w.:-]+)\s*(?:\[CALL_ID\]\w+)?\s*\[ARGS\](?P<given>.*)", re.S
)


def written_calls(text: str, tools: frozenset[str]) -> WrittenCalls:
    """The calls at the end of a text; none where it holds none, or where more text follows."""
    if not tools or not any(sign in text for sign in ("<", "[TOOL_CALLS]", "```tool_")):
        return WrittenCalls(text, [])
    first = end = None
    calls: list[tuple[str, str]] = []
    for block in _BLOCK.finditer(text):
        if end is None or text[end : block.start()].strip():
            first, calls = block.start(), []
        calls += [read_call(call, tools) for call in _calls_of_block(block)]
        end = block.end()
    if first is None or text[end:].strip():
        return WrittenCalls(text, [])
    return WrittenCalls(text[:first].rstrip(), calls)


def _calls_of_block(block: re.Match[str]) -> Iterator[dict[str, Any]]:
    found = block.groupdict()
    if name := found["named"] or found["harmony"]:
        yield _tagged_call(name, found["body"] or found["message"] or "")
    elif found["kimi"] is not None:
        yield from (
            _tagged_call(each["name"], each["given"]) for each in _KIMI.finditer(found["kimi"])
        )
    elif found["deepseek"] is not None:
        for each in _DEEPSEEK.finditer(found["deepseek"]):
            yield _tagged_call(each["name"], each["given"])
    else:
        given = (found[each] for each in ("tagged", "mistral", "llama", "fenced"))
        yield from _calls_in(next(each for each in given if each is not None))


def _calls_in(text: str) -> Iterator[dict[str, Any]]:
    """The calls of a block that is JSON, or tags, or a name and then either."""
    if invoked := list(_INVOKE.finditer(text)):
        yield from (_tagged_call(each["name"], each["body"]) for each in invoked)
    elif named := _WITH_ARGUMENTS.match(text.strip()):
        yield _tagged_call(named["name"], named["given"])
    elif parsed := _parsed(text):
        yield from parsed
    else:
        name, _, rest = text.strip().partition("\n")
        yield _tagged_call(name if re.fullmatch(r"[\w.:-]+", name.strip()) else "", rest or text)


def _parsed(text: str) -> list[dict[str, Any]]:
    """The objects in a text that is one, or a list of them, or some in a row; else none."""
    decoder, at, calls = json.JSONDecoder(strict=False), 0, []
    text = text.strip()
    while at < len(text):
        try:
            value, at = decoder.raw_decode(text, at)
        except (ValueError, RecursionError):
            return []
        calls += value if isinstance(value, list) else [value]
        at += len(text[at:]) - len(text[at:].lstrip(" \t\r\n;,"))
    return calls if all(isinstance(call, dict) for call in calls) else []


def _tagged_call(name: str, body: str) -> dict[str, Any]:
    """A call whose arguments stand in tags of their own, or as JSON."""
    given: dict[str, Any] = {}
    for each in _PARAMETER.finditer(body):
        key, value = (each["name"], each["value"]) if each["name"] else (each["key"], each["text"])
        given[key.strip()] = value.strip("\n")
    return {"name": name, "arguments": given or body}
