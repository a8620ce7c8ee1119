"""The word of this process for its runs: their leases, renewed while they go on.

It is given on a connection of its own, which nothing else can hold up, and each try has a bound:
a connection that hangs is cut and replaced at once. A row that is locked is passed over, and
tried again soon.
"""

import asyncio
import logging
import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from backend.journal.statements import LEASE
from backend.journal.turns import renew_leases
from backend.turns.runs import Runs

logger = logging.getLogger(__name__)

RENEW_EVERY = LEASE.total_seconds() / 3
TRY_AGAIN = 0.5
"""Seconds until the next try where one failed, or passed a row over."""
ANSWER_LIMIT = 1.0
"""Seconds that a renewal may take before its connection is cut."""
CONNECT_LIMIT = 2.0


class Leases:
    """The leases of `runs`."""

    def __init__(self, engine: AsyncEngine, runs: Runs) -> None:
        """`engine` is for nothing else, and commits each statement by itself."""
        self._engine = engine
        self._runs = runs
        self._connection: AsyncConnection | None = None

    async def keep(self) -> None:
        """Renew them, until cancelled."""
        pause = RENEW_EVERY
        while True:
            await asyncio.sleep(pause)
            pause = RENEW_EVERY if await self._renew() else TRY_AGAIN

    async def _renew(self) -> bool:
        """Whether all of them are renewed, by now or by the second try."""
        for _ in range(2):
            runs = list(self._runs.held())
            if not runs:
                return True
            try:
                return await self._renew_once(runs) >= {message_id for message_id, _ in runs}
            except Exception as error:
                logger.warning("leases not renewed", exc_info=error)
                await self.drop()
        return False

    async def _renew_once(self, runs: list[tuple[int, int]]) -> set[int]:
        if self._connection is None:
            async with asyncio.timeout(CONNECT_LIMIT):
                self._connection = await self._engine.connect()
        driver: Any = (await self._connection.get_raw_connection()).driver_connection
        number = driver.pgconn.socket
        hung = asyncio.get_running_loop().call_later(ANSWER_LIMIT, _cut, number)
        try:
            return await renew_leases(self._connection, runs)
        finally:
            hung.cancel()

    async def drop(self) -> None:
        """Give the connection up, whatever state it is in."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(Exception):
                await connection.invalidate()
                await connection.close()


def _cut(number: int) -> None:
    """Shut a socket down, so that whoever waits for its other end is told at once.

    To cancel the wait would take longer: the driver asks the server first.
    """
    with suppress(OSError), socket.socket(fileno=os.dup(number)) as line:
        line.shutdown(socket.SHUT_RDWR)


@asynccontextmanager
async def keep_leases(engine: AsyncEngine, runs: Runs) -> AsyncIterator[None]:
    """Have the leases of `runs` renewed for the app's life, and to the end of its last run."""
    leases = Leases(engine, runs)
    keeping = asyncio.create_task(leases.keep())
    try:
        yield
    finally:
        keeping.cancel()
        await leases.drop()
