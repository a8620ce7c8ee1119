"""Run the benchmark: `python -m backend.bench [SECTION ...] [--quick]`.

Ends with status 1 where a figure is worse than what the service must reach.
"""

import argparse
import asyncio
import sys
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path

from uvicorn.loops.auto import auto_loop_factory

from backend.bench.big import MESSAGES, big
from backend.bench.burst import burst
from backend.bench.cluster import cluster
from backend.bench.context import context
from backend.bench.database import Postgres, postgres
from backend.bench.greedy import greedy
from backend.bench.hostile import hostile
from backend.bench.limits import limits
from backend.bench.lists import lists
from backend.bench.live import live
from backend.bench.report import Figure, say_figures, say_machine
from backend.bench.startup import startup
from backend.bench.statements import statements
from backend.bench.telling import telling
from backend.bench.throughput import history, throughput
from backend.bench.toolsets import toolsets
from backend.bench.waits import waits

type Section = Callable[[Postgres, bool], Awaitable[list[Figure]]]

SECTIONS: dict[str, tuple[str, Section]] = {
    "throughput": ("Turns a second, 16 at once: service / bare Runner.run", throughput),
    "history": ("History of a conversation", history),
    "lists": ("Lists in a large account and in a small one", lists),
    "waits": ("Round trips of a request, the database 20 ms away", waits),
    "live": ("Streams: service / bare Runner.run_streamed behind a route", live),
    "burst": ("Turns that wait 4 s each, on a pool of 5 connections", burst),
    "limits": ("A full limit under load: one user floods, another works", limits),
    "sql": ("SQL of a turn, beside BEGIN and COMMIT", statements),
    "toolsets": ("A plain turn with ten outside tools and without", toolsets),
    "context": ("What a conversation of 200 turns sends, beside its last 50 messages", context),
    "hostile": ("GET /api/tasks while others do harm", hostile),
    "greedy": ("GET /health while somebody has all done that the limits allow", greedy),
    "telling": ("CPU of a turn that is told of, over that of one that is not", telling),
    "start": ("Start to the first healthy answer", startup),
    "big": ("A large database / one of 10,000 messages", big),
    "cluster": ("Replicas behind haproxy, with PgBouncer and Redis / one alone", cluster),
}
ONLY_BY_NAME = {"cluster", "big"}
"""What takes minutes, or more than Python."""


async def _run(names: list[str], quick: bool, messages: int) -> bool:
    """Whether no figure failed."""
    good = True
    with (
        tempfile.TemporaryDirectory(prefix="bench-") as folder,
        postgres(Path(folder)) as server,
    ):
        for name in names:
            title, section = SECTIONS[name]
            asking = big(server, quick, messages) if name == "big" else section(server, quick)
            figures = await asking
            say_figures(title, figures)
            good = good and all(figure.verdict != "FAILED" for figure in figures)
    return good


def main() -> int:
    parser = argparse.ArgumentParser(prog="backend.bench", description=__doc__)
    parser.add_argument("sections", nargs="*", metavar="SECTION", help=", ".join(SECTIONS))
    parser.add_argument("--quick", action="store_true", help="fewer rounds, rougher figures")
    parser.add_argument("--messages", type=int, default=MESSAGES, help="how large big is")
    options = parser.parse_args()
    unknown = set(options.sections) - set(SECTIONS)
    if unknown:
        parser.error(f"no such section: {', '.join(sorted(unknown))}")
    say_machine()
    names = options.sections or [name for name in SECTIONS if name not in ONLY_BY_NAME]
    running = _run(names, options.quick, options.messages)
    return 0 if asyncio.run(running, loop_factory=auto_loop_factory()) else 1


if __name__ == "__main__":
    sys.exit(main())
