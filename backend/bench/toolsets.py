"""What the tools of others cost: ten of them, in a list that is kept, and none."""

import json
from statistics import median
from typing import Any

from backend.bench.database import Postgres, token_of
from backend.bench.load import ask_all, connections_to, http_request
from backend.bench.processes import Service, cpu_seconds, provider, service
from backend.bench.report import Figure, bounded
from backend.tests.support.toolset_server import READS, serving_tools, tool

TOOLS = 10
MORE_MS = 1.0
"""Milliseconds of the processor that they may cost a turn."""
AT_ONCE = 8
_PROPERTIES: dict[str, Any] = {
    "particles": {"type": "integer", "minimum": 100, "description": "How many there are."},
    "seed": {"type": "integer", "description": "The same seed, the same result."},
    "label": {"type": "string", "description": "What it is called afterwards, in a few words."},
}
_SCHEMA = {"type": "object", "properties": _PROPERTIES, "required": ["particles"]}


async def toolsets(postgres: Postgres, quick: bool) -> list[Figure]:
    """Processor time of a plain turn with ten tools over one without, in turns: medians."""
    rounds, turns = (4, 60) if quick else (10, 120)
    tools = [tool(f"simulate_{number}", READS, input_schema=_SCHEMA) for number in range(TOOLS)]
    spent: dict[str, list[float]] = {"without": [], "with": []}
    async with serving_tools(*tools) as others, provider() as port:
        toolsets = {"TOOLSETS": json.dumps({"sim": {"url": others.url}})}
        url = postgres.new_database("toolsets")
        async with (
            service(postgres.folder, url, port) as plain,
            service(postgres.folder, url, port, settings=toolsets) as equipped,
        ):
            sides = {"without": plain, "with": equipped}
            for running in sides.values():
                await _milliseconds(running, 2 * AT_ONCE)
            for number in range(rounds):
                for name in sorted(sides, reverse=number % 2 == 1):
                    spent[name].append(await _milliseconds(sides[name], turns))
        lists = others.lists
    pairs = zip(spent["with"], spent["without"], strict=True)
    more = median(one - other for one, other in pairs)
    return [
        Figure("plain turn, no toolset", f"{median(spent['without']):.3g} ms"),
        Figure(f"plain turn, {TOOLS} outside tools", f"{median(spent['with']):.3g} ms"),
        bounded("more", more, MORE_MS, " ms"),
        bounded("lists asked for", lists, 1, ""),
    ]


async def _milliseconds(running: Service, turns: int) -> float:
    """Of the processor, a turn; each is in a conversation of its own."""
    body = {"conversation_id": None, "message": "Hello there, how are you?"}
    request = http_request("POST", "/api/chat", token_of(0), body)
    before = cpu_seconds(running.pid)
    async with connections_to(running.port, AT_ONCE) as connections:
        await ask_all(connections, [request] * turns)
    return 1000 * (cpu_seconds(running.pid) - before) / turns
