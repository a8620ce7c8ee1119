"""What the suite prints."""

import sys
from collections import Counter
from time import perf_counter

from backend.faults.driver import Result

EVERY = 25
"""Scenarios between two lines of progress."""


def say(line: str = "") -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


class Stories:
    """What happened, scenario by scenario, to be told of those that fail, or of all as it comes."""

    def __init__(self, *, aloud: bool = False) -> None:
        self._aloud = aloud
        self._told: list[tuple[float, int, str, bool]] = []

    def tell(self, seed: int, what: str, felt_by_all: bool = False) -> None:
        self._told.append((perf_counter(), seed, what, felt_by_all))
        if self._aloud:
            say(self._line(*self._told[-1]))

    def of(self, result: Result) -> list[str]:
        """What happened in a scenario, and beside it to the servers and the database."""
        return [
            self._line(*told)
            for told in self._told
            if told[1] == result.scenario.seed
            or (told[3] and result.began < told[0] < result.ended)
        ]

    def _line(self, when: float, seed: int, what: str, _: bool) -> str:
        return f"{when - self._told[0][0]:8.3f} {seed:>6}  {what}"


def say_progress(results: list[Result], count: int, began: float) -> None:
    if len(results) % EVERY == 0 or len(results) == count:
        failed = sum(bool(result.wrong) for result in results)
        seconds = perf_counter() - began
        say(f"{len(results):>4} of {count} scenarios, {failed} failed, {seconds:.0f} s")


def say_failure(result: Result, all_results: list[Result], story: list[str]) -> None:
    """What did not hold, and how to have it again: alone, and with what was played beside it."""
    seed = result.scenario.seed
    beside = [
        str(other.scenario.seed)
        for other in all_results
        if other is not result and other.began < result.ended and other.ended > result.began
    ]
    say(f"\nFAILED: seed {seed}")
    for wrong in result.wrong:
        say(f"  {wrong}")
    say("  what happened:")
    for line in story:
        say(f"    {line}")
    say(f"  again: make faults SEED={seed}")
    say(f'  with its neighbours: make faults SEED="{" ".join([str(seed), *beside])}"')


def say_counts(results: list[Result], seconds: float) -> None:
    counts = sum((result.counts for result in results), Counter[str]())
    say(f"\n{len(results)} scenarios in {seconds:.0f} s")
    say(f"  {max(result.slowest for result in results):>6.1f}  seconds of the slowest answer")
    for name, number in sorted(counts.items(), key=lambda each: ("," not in each[0], each)):
        say(f"  {number:>6}  {name}")
