"""What a toolset's server says of its tools, as far as it can be used."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

from mcp import Client
from mcp_types import Tool

from backend.conversations.tool_calls import strip_unstorable, without_unstorable
from backend.settings.toolsets import TOOL_NAME, Toolset

TOOLS_MAX = 50
"""Tools of one server."""
PAGES_MAX = 10
SCHEMA_MAX = 8_000
"""Bytes of a tool's schema as JSON, and characters of its description."""
OFFER_MAX = 48_000
"""Bytes of all that a server's tools say of themselves."""
_NOT_ON_TOP = frozenset({"allOf", "anyOf", "enum", "not", "oneOf"})
"""What providers refuse in a tool's schema, and with it the whole request."""


@dataclass(frozen=True, slots=True)
class OfferedTool:
    """A tool of a server that the assistant may use."""

    toolset: str
    name: str
    """As the server calls it."""
    description: str
    schema: Mapping[str, Any]
    only_reads: bool
    may_repeat: bool
    """Whether a call whose outcome is unknown may be made again."""
    asks: bool
    """Whether a person has to approve each call."""
    size: int
    """Bytes of what it says of itself."""

    @property
    def full_name(self) -> str:
        """The name a model knows it by, which none of ours has."""
        return f"{self.toolset}_{self.name}"


async def all_tools(client: Client) -> list[Tool]:
    """The server's tools, so far as they may count."""
    page = await client.list_tools()
    tools = page.tools[:TOOLS_MAX]
    for _ in range(PAGES_MAX):
        if page.next_cursor is None or len(tools) >= TOOLS_MAX:
            break
        page = await client.list_tools(cursor=page.next_cursor)
        tools += page.tools
    return tools[:TOOLS_MAX]


def usable_tools(name: str, toolset: Toolset, told: Iterable[Tool]) -> list[OfferedTool]:
    """The tools that may be used and that there is room for, each name once."""
    tools: dict[str, OfferedTool] = {}
    for each in told:
        if tool := _offered(name, toolset, each):
            tools.setdefault(tool.name, tool)
    return within([*tools.values()], OFFER_MAX)


def within(tools: Sequence[OfferedTool], most: int) -> list[OfferedTool]:
    """The first of the tools that say no more of themselves than `most` bytes."""
    sizes = accumulate(tool.size for tool in tools)
    return [tool for tool, size in zip(tools, sizes, strict=True) if size <= most]


def _offered(name: str, toolset: Toolset, told: Tool) -> OfferedTool | None:
    """The tool, if the operator has it used and what it says of itself is of use."""
    if toolset.tools and told.name not in toolset.tools:
        return None
    schema = _usable(told.input_schema)
    if schema is None or not TOOL_NAME.fullmatch(told.name):
        return None
    hints = told.annotations
    only_reads = bool(hints and hints.read_only_hint)
    description = strip_unstorable(told.description or told.title or told.name)[:SCHEMA_MAX]
    harmless = only_reads or bool(hints and hints.destructive_hint is False)
    return OfferedTool(
        toolset=name,
        name=told.name,
        description=description,
        schema=schema,
        only_reads=only_reads,
        may_repeat=only_reads or toolset.takes_key or bool(hints and hints.idempotent_hint),
        asks=not harmless if toolset.approve is None else told.name in toolset.approve,
        size=len(json.dumps([name, told.name, description, schema])),
    )


def _usable(schema: dict[str, Any]) -> dict[str, Any] | None:
    """The schema as every provider takes it; one that some refuse would stop each turn."""
    from jsonschema import Draft202012Validator, SchemaError  # takes its time

    if schema.get("type") != "object" or _NOT_ON_TOP & schema.keys():
        return None
    try:
        if len(json.dumps(schema)) > SCHEMA_MAX:
            return None
        plain: dict[str, Any] = {"properties": {}} | without_unstorable(schema)
        Draft202012Validator.check_schema(plain)
        if not plain["properties"].keys() >= {*plain.get("required", ())}:
            return None
    except (SchemaError, RecursionError, ValueError):
        return None
    return plain if _stays_within(plain) else None


def _stays_within(schema: Any) -> bool:
    """Whether what it refers to stands in it."""
    match schema:
        case dict():
            target = schema.get("$ref", "#")
            within = not isinstance(target, str) or target.startswith("#")
            return within and all(map(_stays_within, schema.values()))
        case list():
            return all(map(_stays_within, schema))
    return True
