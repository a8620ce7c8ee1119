"""Simulations in the background of this process: begun, looked at, and kept for a while."""

import asyncio
import secrets
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Literal

from backend.examples.simulations.aggregate import Points, grow

AT_ONCE = 2
"""Simulations that grow at the same time; the others are queued."""
WAITING_MAX = 20
"""Simulations that have not ended, at the most."""
KEPT = 100
"""Simulations that are remembered; past it the oldest that has ended is forgotten."""

Status = Literal["queued", "running", "completed", "failed"]


class TooMany(Exception):
    """As many simulations have not ended as may."""


class Unknown(Exception):
    """There is no such simulation, or none any more."""


@dataclass(slots=True)
class Simulation:
    """A cluster that grows, or has grown."""

    id: str
    particles: int
    seed: int
    status: Status = "queued"
    grown: int = 1
    """Discs so far."""
    points: Points | None = None
    """Where it is completed."""
    ended: asyncio.Event = field(default_factory=asyncio.Event)


class Simulations:
    """The simulations of this process. One that is repeated under its key is begun once."""

    def __init__(self) -> None:
        self._known: OrderedDict[str, Simulation] = OrderedDict()
        self._keys: OrderedDict[str, str] = OrderedDict()
        self._places = asyncio.Semaphore(AT_ONCE)
        self._growing: set[asyncio.Task[None]] = set()

    def begin(self, particles: int, seed: int | None, key: str | None) -> Simulation:
        """Begin one; without a seed it gets one.

        Raises:
            TooMany: too many have not ended.
        """
        if key is not None and (known := self._known.get(self._keys.get(key, ""))):
            return known
        if sum(not each.ended.is_set() for each in self._known.values()) >= WAITING_MAX:
            raise TooMany
        seed = secrets.randbelow(2**31) if seed is None else seed
        simulation = Simulation(secrets.token_hex(4), particles, seed)
        self._keep(simulation, key)
        task = asyncio.create_task(self._grow(simulation))
        self._growing.add(task)
        task.add_done_callback(self._growing.discard)
        return simulation

    def _keep(self, simulation: Simulation, key: str | None) -> None:
        self._known[simulation.id] = simulation
        if key is not None:
            self._keys[key] = simulation.id
        while len(self._keys) > KEPT:
            self._keys.popitem(last=False)
        ended = [id_ for id_, each in self._known.items() if each.ended.is_set()]
        for id_ in ended[: max(0, len(self._known) - KEPT)]:
            del self._known[id_]

    async def _grow(self, simulation: Simulation) -> None:
        def told(count: int) -> None:
            simulation.grown = count

        try:
            async with self._places:
                simulation.status = "running"
                simulation.points = await asyncio.to_thread(
                    grow, simulation.particles, simulation.seed, told
                )
            simulation.status = "completed"
        except Exception:
            simulation.status = "failed"
            raise
        finally:
            simulation.ended.set()

    def find(self, simulation_id: str) -> Simulation:
        """One that was begun here.

        Raises:
            Unknown: there is none.
        """
        try:
            return self._known[simulation_id]
        except KeyError:
            raise Unknown from None
