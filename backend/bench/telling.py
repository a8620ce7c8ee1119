"""What telling costs: the CPU of a turn with traces and metrics on, beside one without."""

from collections.abc import Iterator
from contextlib import AsyncExitStack
from itertools import count, islice
from time import perf_counter

from backend.bench.database import Postgres, token_of
from backend.bench.load import ask_all, connections_to, http_request
from backend.bench.processes import Service, cpu_seconds, provider, service
from backend.bench.report import Figure, bounded, undisturbed
from backend.telemetry import figures, spans, sql
from backend.tests.support.collector import collecting

AT_ONCE = 16
COST_MAX = 1.1
"""CPU of a turn that is told of, over that of one that is not."""
CHECKS_MAX = 1.0
"""Percent of a turn's CPU that looking whether anything is to be told may take."""
LOOKS = 60
"""Spans, figures and round trips of a turn with a tool, and some more."""
KINDS = {"plain answer": "Hello there, how are you?", "add_task": "Add buy oat milk"}


async def _cpu_ms(served: Service, message: str, turns: int, people: Iterator[int]) -> float:
    """Of a turn, in milliseconds; each is another person's."""
    requests = [
        http_request("POST", "/api/chat", token_of(person), {"message": message})
        for person in islice(people, turns)
    ]
    async with connections_to(served.port, AT_ONCE) as connections:
        before = cpu_seconds(served.pid)
        await ask_all(connections, requests)
        return 1000 * (cpu_seconds(served.pid) - before) / turns


def _nanoseconds(checks: int = 100_000) -> float:
    """What one look takes whether something is to be told, of a span, a figure and a flight."""
    started = perf_counter()
    for _ in range(checks):
        with spans.span("nothing"):
            figures.TURNS.add()
        with sql.flight(()):
            pass
    return 1e9 * (perf_counter() - started) / checks / 3


async def telling(postgres: Postgres, quick: bool) -> list[Figure]:
    """Services side by side, one that tells nothing, one to a collector, one to one that hangs."""
    rounds, turns = (6, 48) if quick else (18, 64)
    url = postgres.new_database("telling")
    people = count()
    shown: list[Figure] = []
    async with AsyncExitStack() as stack:
        port = await stack.enter_async_context(provider())
        taking, hanging = (stack.enter_context(collecting()) for _ in range(2))
        hanging.hangs.set()
        services = [
            await stack.enter_async_context(service(postgres.folder, url, port, settings=told))
            for told in (
                {},
                {"OTEL_EXPORTER_OTLP_ENDPOINT": taking.url},
                {"OTEL_EXPORTER_OTLP_ENDPOINT": hanging.url},
            )
        ]
        off = 0.0
        for name, message in KINDS.items():
            for each in services:
                await _cpu_ms(each, message, 2 * AT_ONCE, people)
            costs: list[list[float]] = [[] for _ in services]
            for number in range(rounds):
                for turn in range(len(services)):  # each comes first as often as any other
                    place = (number + turn) % len(services)
                    costs[place].append(await _cpu_ms(services[place], message, turns, people))
            silent, *others = map(undisturbed, costs)
            off = off or silent
            for which, cost in zip(("to a collector", "to one that hangs"), others, strict=True):
                said = f"{name}, {which} ({cost:.1f} / {silent:.1f} ms)"
                shown.append(bounded(said, cost / silent, COST_MAX, " of the CPU"))
    looks = 1e-4 * LOOKS * _nanoseconds() / off
    shown.append(bounded(f"off: {LOOKS} looks a turn", looks, CHECKS_MAX, " % of the CPU"))
    return shown
