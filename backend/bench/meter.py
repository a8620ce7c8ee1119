"""What a load took of the processors, by whom."""

import os
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from backend.bench.processes import cpu_seconds

BUSY = 0.9
"""The share of what there is above which it is what limits."""
FAMILIES = ("Postgres",)
"""What is many processes, all children of one."""


@dataclass
class Spent:
    """What a load took: of time, and of the processors by whom."""

    done: int
    seconds: float
    cpu: Mapping[str, float]
    busiest: float
    """The share of one core that the busiest replica had: it is one thread."""
    others: float
    """CPU seconds that the rest of the machine had."""

    @property
    def rate(self) -> float:
        return self.done / self.seconds

    def limit(self) -> str:
        """What there is no more of."""
        cores = os.cpu_count() or 1
        used = (sum(self.cpu.values()) + self.others) / self.seconds
        if used >= BUSY * cores:
            return f"CPU: {used:.2f} of {cores} cores"
        if self.busiest >= BUSY:
            return "a core of each replica"
        return f"neither: {used:.2f} of {cores} cores"


class Meter:
    """Reads the clocks of processes, from its making on."""

    def __init__(self, pids: Mapping[str, list[int]]) -> None:
        self._pids = pids
        self._began = time.monotonic()
        self._busy = _busy_seconds()
        self._each = self._look()

    def _look(self) -> dict[str, list[float]]:
        return {
            name: list(map(_family_seconds if name in FAMILIES else cpu_seconds, pids))
            for name, pids in self._pids.items()
        }

    def read(self, done: int) -> Spent:
        seconds, busy = time.monotonic() - self._began, _busy_seconds() - self._busy
        used = {
            name: [now - before for now, before in zip(each, self._each[name], strict=True)]
            for name, each in self._look().items()
        }
        cpu = {name: sum(each) for name, each in used.items()}
        busiest = max(used["replicas"]) / seconds
        return Spent(done, seconds, cpu, busiest, max(0.0, busy - sum(cpu.values())))


def _busy_seconds() -> float:
    """Of all cores together since the machine began; neither idle nor waiting for a disk."""
    with Path("/proc/stat").open() as file:
        user, nice, system, _, _, *rest = map(int, file.readline().split()[1:8])
    return (user + nice + system + sum(rest)) / os.sysconf("SC_CLK_TCK")


def _family_seconds(pid: int) -> float:
    """Of a process and of its children, those that have ended too."""
    fields = _fields(pid)
    used = sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")
    for child in Path("/proc", str(pid), "task", str(pid), "children").read_text().split():
        with suppress(OSError):  # it ends just now
            used += cpu_seconds(int(child))
    return used


def _fields(pid: int) -> list[str]:
    """Of `stat`, from the state on."""
    return Path("/proc", str(pid), "stat").read_text().rpartition(")")[2].split()


def parent_of(pid: int) -> int:
    return int(_fields(pid)[1])
