"""The word of this process for its runs: their leases, renewed while they go on.

It is given on a connection of its own, which nothing else can hold up, and each try has a bound:
a connection that hangs is cut and replaced at once. A row that is locked is passed over, and
tried again soon.
"""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from backend.database import Pool, Sessions
from backend.journal.statements import LEASE
from backend.journal.turns import renew_leases
from backend.telemetry.figures import LEASES_NOT_RENEWED
from backend.turns.runs import Runs

logger = logging.getLogger(__name__)

RENEW_EVERY = LEASE.total_seconds() / 3
TRY_AGAIN = 0.5
"""Seconds until the next try where one failed, or passed a row over."""
ANSWER_LIMIT = 1.0
"""Seconds that a renewal may take before its connection is cut."""
CONNECT_LIMIT = 2.0
"""The same where it has to be connected first."""


class Leases:
    """The leases of `runs`."""

    def __init__(self, autocommit: Sessions, runs: Runs) -> None:
        """`autocommit` is on a connection that is for nothing else."""
        self._autocommit = autocommit
        self._runs = runs

    async def keep(self) -> None:
        """Renew them, until cancelled."""
        pause = RENEW_EVERY
        while True:
            await asyncio.sleep(pause)
            pause = RENEW_EVERY if await self._renew() else TRY_AGAIN

    async def _renew(self) -> bool:
        """Whether all of them are renewed, by now or by the second try."""
        for _ in range(2):
            runs = {key: run.untaken for key, run in self._runs.held().items()}
            if not runs:
                return True
            try:
                return await self._renew_once(runs) >= {message_id for message_id, _ in runs}
            except Exception as error:
                LEASES_NOT_RENEWED.add()
                logger.warning("leases not renewed", exc_info=error)
        return False

    async def _renew_once(self, runs: dict[tuple[int, int], bool]) -> set[int]:
        """What hangs is cut off: the session throws its connection away."""
        async with asyncio.timeout(CONNECT_LIMIT), self._autocommit() as session:
            return await renew_leases(session, runs)


@asynccontextmanager
async def keep_leases(pool: Pool, runs: Runs) -> AsyncIterator[None]:
    """Have the leases of `runs` renewed for the app's life, and to the end of its last run."""
    leases = Leases(Sessions(pool, autocommit=True, seconds=ANSWER_LIMIT), runs)
    keeping = asyncio.create_task(leases.keep())
    try:
        yield
    finally:
        keeping.cancel()
