"""No wait without an end: every server is asked again and again, and must answer in time."""

import asyncio
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from time import perf_counter

import httpx

from backend.faults.fleet import Fleet, Replica

EVERY = 1.0
"""Seconds between two questions to a server."""
BOUNDS = {"/ready": 2.0, "/api/tasks": 6.0}
"""Seconds that an answer may take, 200 or 503, whatever the database does."""
SLACK = 1.0
BUSY = 4
"""Seconds more, and how many times more than `/health` takes at the same moment, which asks
nobody: on a machine that plays twelve scenarios at once everything is late.
"""


@dataclass
class Watch:
    fleet: Fleet
    http: httpx.AsyncClient
    token: str
    slowest: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    """Seconds of the slowest answer, by path."""
    _untrue: Counter[str] = field(default_factory=Counter)

    async def keep(self) -> None:
        """Go on until cancelled; what was still asked then is given up."""
        async with asyncio.TaskGroup() as looks:
            while True:
                for replica in self.fleet.usable():
                    looks.create_task(self._look(replica))
                await asyncio.sleep(EVERY)

    async def _look(self, replica: Replica) -> None:
        """A server that is killed, stopped or frozen meanwhile owes no answer."""
        disturbed = replica.disturbed
        paths = ("/health", *BOUNDS)
        answers = await asyncio.gather(*(self._ask(replica, path) for path in paths))
        if replica.disturbed != disturbed or not replica.usable:
            return
        busy = BUSY * answers[0][1]
        for path, (said, seconds) in zip(paths, answers, strict=True):
            if said not in (200, 503):
                self._untrue[f"{replica.name} answered {path} with {said}"] += 1
            if path in BOUNDS:
                self.slowest[path] = max(seconds, self.slowest[path])
                if seconds > BOUNDS[path] + SLACK + busy:
                    taken = ", ".join(f"{each[1]:.1f} s" for each in answers)
                    late = f"{replica.name} took {seconds:.1f} s for {path}; {taken} for {paths}"
                    self._untrue[late] += 1

    async def _ask(self, replica: Replica, path: str) -> tuple[object, float]:
        """What is said, and after how many seconds."""
        began = perf_counter()
        headers = {"Authorization": f"Bearer {self.token}"}
        try:
            answer = await self.http.get(f"{replica.address}{path}", headers=headers)
        except httpx.HTTPError as error:
            return type(error).__name__, perf_counter() - began
        return answer.status_code, perf_counter() - began

    @property
    def wrong(self) -> list[str]:
        """What was answered too late, or with neither a 200 nor a 503."""
        return [f"{what}, {times} times" for what, times in self._untrue.items()]
