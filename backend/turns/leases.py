"""The runs of this process, and its word for them: leases renewed while they go on.

This is not a memory of conversations: it says only which rows this process is at work on.
Another process learns from the lease in the row whether to wait for a run or to take it up.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

from backend.database import Sessions
from backend.journal.statements import LEASE
from backend.journal.turns import Turn, renew_leases

logger = logging.getLogger(__name__)

RENEW_EVERY = LEASE.total_seconds() / 3


class Leases:
    """The turns that run in this process now."""

    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions
        self._held: dict[tuple[int, int], asyncio.Task[object] | None] = {}

    @contextmanager
    def hold(self, turn: Turn) -> Iterator[None]:
        """Keep the turn's lease renewed inside the block."""
        key = (turn.message_id, turn.attempt)
        self._held[key] = asyncio.current_task()
        try:
            yield
        finally:
            del self._held[key]

    def messages(self) -> dict[int, None]:
        """The ids of the rows that are being written here."""
        return {message_id: None for message_id, _ in self._held}

    async def _renew(self) -> None:
        while True:
            await asyncio.sleep(RENEW_EVERY)
            if not self._held:
                continue
            try:
                async with self._sessions.begin() as session:
                    await renew_leases(session, list(self._held))
            except Exception as error:
                logger.warning("leases not renewed", exc_info=error)

    async def _end_runs(self, seconds: float) -> None:
        """Cancel the runs that are left, each of which closes its turn, and wait for them."""
        tasks = [task for task in self._held.values() if task is not None]
        for task in tasks:
            if not task.cancelling():  # or it is closing its turn by now
                task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=seconds)


@asynccontextmanager
async def keep_leases(sessions: Sessions) -> AsyncIterator[Leases]:
    """Leases for the app's life; at its end no run of it is left under way."""
    leases = Leases(sessions)
    renewing = asyncio.create_task(leases._renew())
    try:
        yield leases
    finally:
        await leases._end_runs(seconds=5)
        renewing.cancel()
