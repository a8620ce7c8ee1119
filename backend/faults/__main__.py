"""Run the fault-injection suite: `python -m backend.faults [--seed N ...] [--broken]`.

Ends with status 1 where anything was lost or done twice, or where the time was not enough.
"""

import argparse
import asyncio
import signal
import sys
from functools import partial
from pathlib import Path
from time import perf_counter

from uvicorn.loops.auto import auto_loop_factory

from backend.faults.pooler import find_pgbouncer
from backend.faults.report import (
    Stories,
    say,
    say_counts,
    say_failure,
    say_progress,
)
from backend.faults.scenario import Scenario
from backend.faults.seeds import APPROVED_FROM, STREAMED_FROM, scenario_of
from backend.faults.suite import play_broken, play_scenarios

BROKEN = {
    "record": ("a build that records a change after its commit", 6),
    "told": ("a build that shows a call before its commit", 6),
    "leases": ("a build that renews its leases through the shared pool", 3),
}
"""The broken builds: what they are, and how many scenarios are played on each."""


def main() -> int:
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # to take the stage down then too
    options = _options()
    if find_pgbouncer() is None:
        say("pgbouncer is not installed: SKIPPED, every server reaches Postgres directly")
    if options.broken:
        return _check_the_checker()
    seeds = options.seed or [
        *range(options.first, options.first + options.count),
        *range(STREAMED_FROM, STREAMED_FROM + options.streamed),
        *range(APPROVED_FROM, APPROVED_FROM + options.approved),
    ]
    return _play([scenario_of(seed) for seed in seeds], options)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="backend.faults", description=__doc__)
    parser.add_argument(
        "--seed", type=int, nargs="+", help="play these alone, and tell of each step"
    )
    parser.add_argument("--count", type=int, default=400, help="scenarios to play")
    parser.add_argument("--streamed", type=int, default=100, help="streamed ones, after these")
    parser.add_argument("--approved", type=int, default=40, help="ones with approvals, after these")
    parser.add_argument("--first", type=int, default=1, help="the first one's seed")
    parser.add_argument("--minutes", type=float, default=15, help="time to play them in")
    parser.add_argument("--at-once", type=int, default=12, help="scenarios at a time")
    parser.add_argument("--replicas", type=int, default=4, help="servers at a time")
    parser.add_argument("--logs", type=Path, help="an empty folder for what the servers log")
    parser.add_argument(
        "--broken",
        action="store_true",
        help="switch one rule off after another, and see it found out",
    )
    return parser.parse_args()


def _play(scenarios: list[Scenario], options: argparse.Namespace) -> int:
    began = perf_counter()
    stories = Stories(aloud=bool(options.seed))
    playing = play_scenarios(
        scenarios,
        at_once=options.at_once,
        replicas=options.replicas,
        minutes=options.minutes,
        logs=options.logs,
        say=stories.tell,
        progress=partial(say_progress, count=len(scenarios), began=began),
    )
    results, wrong = asyncio.run(playing, loop_factory=auto_loop_factory())
    failed = [result for result in results if result.wrong]
    for result in failed:
        say_failure(result, results, stories.of(result))
    if len(results) < len(scenarios):
        wrong.append(f"only {len(results)} scenarios were played in {options.minutes:g} minutes")
    for each in wrong:
        say(f"\nFAILED: {each}")
    say_counts(results, perf_counter() - began)
    return 1 if failed or wrong else 0


def _check_the_checker() -> int:
    """0 where each scenario of each broken build is found out."""
    return max(_check(build, *BROKEN[build]) for build in BROKEN)


def _check(build: str, name: str, count: int) -> int:
    playing = play_broken(build, count, Stories().tell)
    results = asyncio.run(playing, loop_factory=auto_loop_factory())
    found = [result for result in results if result.wrong]
    say(f"{name}: found out in {len(found)} of {len(results)} scenarios")
    for result in found:
        say(f"  {result.wrong[0]}")
    return 0 if results and len(found) == len(results) else 1


if __name__ == "__main__":
    sys.exit(main())
