"""What scenarios are played on."""

import asyncio
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Protocol

from backend.faults.fleet import Fleet
from backend.faults.postgres import Postgres
from backend.tests.support.tcp_proxy import TcpProxy


class Say(Protocol):
    def __call__(self, seed: int, what: str, felt_by_all: bool = False) -> None:
        """Take note of what happens in a scenario, and perhaps to those played beside it."""


@dataclass
class Stage:
    postgres: Postgres
    fleet: Fleet
    wires: list[TcpProxy]
    """Between the server of each slot and its database."""
    ordinary: Collection[int]
    """The slots of the servers on which all is played but patient runs."""
    patient: tuple[int, int]
    """The slots for patient runs: where they are sent, and where they are sent again."""
    pooler: int | None
    """The process of PgBouncer, where there is one."""
    say: Say
    """Told what happens."""
    one_patient: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Held by a patient run, whose server nobody else must be in the way of, and by what befalls
    all."""
