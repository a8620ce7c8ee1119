"""What telling costs: the CPU of a turn with traces and metrics on, beside one without.

Processes of the same program differ by some percent for as long as they live, and a machine does
from second to second. So services are started anew several times, blocks of turns go to each of
them in turn, and what is told of is compared with what is silent in the same round. A second
silent service is measured as well: what it is off from 1 is what the measure is worth.
"""

from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from itertools import count, islice
from statistics import mean, median
from time import perf_counter

from backend.bench.database import Postgres, token_of
from backend.bench.load import ask_all, connections_to, http_request
from backend.bench.processes import Service, cpu_seconds, provider, service
from backend.bench.report import Figure, bounded
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
TOLD = ("to a collector", "to one that hangs")
SILENT = 2
"""Services that tell nothing; they stand before the others."""

type Round = list[float]
"""CPU of a turn, in milliseconds, of each service."""


async def _work(served: Service, message: str, turns: int, people: Iterator[int]) -> None:
    """Turns, each another person's."""
    requests = [
        http_request("POST", "/api/chat", token_of(person), {"message": message})
        for person in islice(people, turns)
    ]
    async with connections_to(served.port, AT_ONCE) as connections:
        await ask_all(connections, requests)


@asynccontextmanager
async def _services(
    postgres: Postgres, url: str, port: int, seed: int
) -> AsyncIterator[list[Service]]:
    """Two that tell nothing, one to a collector, one to one that hangs."""
    async with AsyncExitStack() as stack:
        taking, hanging = (stack.enter_context(collecting()) for _ in TOLD)
        hanging.hangs.set()
        told = [{"OTEL_EXPORTER_OTLP_ENDPOINT": each.url} for each in (taking, hanging)]
        silent: list[dict[str, str]] = [{} for _ in range(SILENT)]
        yield [
            await stack.enter_async_context(
                service(postgres.folder, url, port, settings={"PYTHONHASHSEED": str(seed), **each})
            )
            for each in silent + told
        ]


async def _rounds(
    services: Sequence[Service], message: str, turns: int, rounds: int, people: Iterator[int]
) -> list[Round]:
    """Rounds in which each service has a block of turns.

    A block's cost is counted until the same service's next one begins, since what is told is
    sent later, in batches.
    """
    for each in services:
        await _work(each, message, 2 * AT_ONCE, people)
    used: list[list[float]] = [[] for _ in services]
    for _ in range(rounds):
        for each, seconds in zip(services, used, strict=True):
            seconds.append(cpu_seconds(each.pid))
            await _work(each, message, turns, people)
    for each, seconds in zip(services, used, strict=True):
        seconds.append(cpu_seconds(each.pid))
    return [
        [1000 * (seconds[number + 1] - seconds[number]) / turns for seconds in used]
        for number in range(rounds)
    ]


def _silent(costs: Round) -> float:
    return mean(costs[:SILENT])


def _compared(name: str, rounds: Sequence[Round]) -> Iterator[Figure]:
    """What each service's turns cost over the silent ones' of the same round: the median."""
    silent = median(map(_silent, rounds))
    beside = median(costs[1] / costs[0] for costs in rounds)
    yield Figure(f"{name}, silent beside silent ({silent:.2f} ms)", f"{beside:.3f} of the CPU")
    for place, which in enumerate(TOLD, SILENT):
        cost = median(costs[place] / _silent(costs) for costs in rounds)
        yield bounded(f"{name}, {which}", cost, COST_MAX, " of the CPU")


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
    """Services side by side, that tell nothing, that tell it a collector, and one that hangs."""
    starts, rounds, turns = (1, 6, 48) if quick else (4, 6, 48)
    url = postgres.new_database("telling")
    people = count()
    costs: dict[str, list[Round]] = {name: [] for name in KINDS}
    async with provider() as port:
        for start in range(starts):
            async with _services(postgres, url, port, start) as services:
                for name, message in KINDS.items():
                    costs[name] += await _rounds(services, message, turns, rounds, people)
    shown = [figure for name in KINDS for figure in _compared(name, costs[name])]
    looks = 1e-4 * LOOKS * _nanoseconds() / median(map(_silent, costs["plain answer"]))
    shown.append(bounded(f"off: {LOOKS} looks a turn", looks, CHECKS_MAX, " % of the CPU"))
    return shown
