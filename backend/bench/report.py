"""Figures and how they are printed."""

import os
import platform
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from statistics import quantiles
from time import perf_counter
from typing import Literal

type Verdict = Literal["", "ok", "below target", "FAILED"]


@dataclass(frozen=True)
class Figure:
    """One measured line; `FAILED` makes the whole benchmark fail."""

    name: str
    value: str
    goal: str = ""
    verdict: Verdict = ""


def bounded(name: str, value: float, limit: float, unit: str) -> Figure:
    """A figure that has to stay at or under `limit`."""
    verdict: Verdict = "ok" if value <= limit else "FAILED"
    return Figure(name, f"{value:.4g}{unit}", f"<= {limit:g}{unit}", verdict)


def percentile(values: list[float], percent: int) -> float:
    """The value that `percent` of the values (two or more) do not pass."""
    return quantiles(values, n=100, method="inclusive")[percent - 1]


def undisturbed(costs: Sequence[float]) -> float:
    """The lower quartile: what else the machine does makes the same work only dearer."""
    return quantiles(costs, n=4, method="inclusive")[0]


def say(line: str = "") -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def say_machine() -> None:
    """What the figures were measured on, and how busy it was with other things."""
    packages = ("openai-agents", "openai", "fastapi", "sqlalchemy", "psycopg")
    say(
        f"{platform.system()} {platform.machine()}, {os.cpu_count()} CPUs, "
        f"Python {platform.python_version()}, load before {os.getloadavg()[0]:.1f}, "
        f"a million additions in {_additions_ms():.0f} ms"
    )
    say(", ".join(f"{name} {version(name)}" for name in packages))


def _additions_ms() -> float:
    """How fast Python is here and now, without which no figure in seconds says much."""
    started = perf_counter()
    total = 0
    for number in range(1_000_000):
        total += number
    return 1000 * (perf_counter() - started)


def say_figures(title: str, figures: list[Figure]) -> None:
    say(f"\n{title}")
    width = max(len(figure.name) for figure in figures)
    for figure in figures:
        line = f"  {figure.name:<{width}}  {figure.value:>22}  {figure.goal:<24} {figure.verdict}"
        say(line.rstrip())
