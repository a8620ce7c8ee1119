"""The rounds of a process: erasures taken up that others have left, and, hourly, what is old."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from backend.config import Settings
from backend.database import Sessions
from backend.upkeep.erasing import begin_erasure, begun, carry_on, forget_erasures
from backend.upkeep.retention import remove_old

logger = logging.getLogger(__name__)

ROUND_S = 60.0
"""Between two looks for erasures, while anybody uses the database; else it is left asleep."""
HOURLY_S = 3600.0


class Upkeep:
    """The work of this process that nobody waits for, save who has asked to be erased."""

    def __init__(self, settings: Settings, sessions: Sessions) -> None:
        self._days = settings.retention_days
        self._sessions = sessions
        self._erasing: dict[str, asyncio.Task[None]] = {}
        self.began = asyncio.Event()
        """Set once the first round was gone, with which a process takes up what others left."""

    @property
    def under_way(self) -> list[asyncio.Task[None]]:
        """Erasures that people have asked this process for and that are not done."""
        return list(self._erasing.values())

    async def erase(self, user_id: str, seconds: float) -> bool:
        """Begin to delete all of a person; whether it is done within `seconds`, else it goes on.

        Raises:
            psycopg.Error: it has not begun; or it has, and is taken up with the next round.
        """
        await begin_erasure(self._sessions, user_id)
        task = self._erasing.get(user_id)
        if task is None:
            task = asyncio.create_task(carry_on(self._sessions, user_id))
            self._erasing[user_id] = task
            task.add_done_callback(lambda done: self._erased(user_id, done))
        done, _ = await asyncio.wait([task], timeout=seconds)
        for each in done:
            each.result()
        return bool(done)

    def _erased(self, user_id: str, task: asyncio.Task[None]) -> None:
        self._erasing.pop(user_id, None)
        if not task.cancelled() and (error := task.exception()):
            logger.warning("not erased yet: %s", type(error).__name__)

    async def work_on(self) -> None:
        """Go the rounds, until cancelled."""
        clock = asyncio.get_running_loop().time
        hourly, taken = 0.0, -1
        while True:
            if (due := clock() >= hourly) or self._sessions.pool.taken != taken:
                try:
                    await self.take_up()
                    if due:
                        hourly = clock() + HOURLY_S
                        await self.clear()
                except Exception as error:
                    logger.warning("a round was not gone", exc_info=error)
                taken = self._sessions.pool.taken
                self.began.set()
            await asyncio.sleep(ROUND_S)

    async def take_up(self) -> None:
        """Carry on with each erasure that has begun, whoever began it."""
        for user_id in await begun(self._sessions):
            await carry_on(self._sessions, user_id)

    async def clear(self) -> None:
        """Remove what is old: marks of erasures and, where it is set, what was deleted."""
        await forget_erasures(self._sessions)
        if self._days is not None:
            await remove_old(self._sessions, self._days)

    async def stop(self) -> None:
        """Leave what is under way to others, or to the next start."""
        for task in (tasks := self.under_way):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@asynccontextmanager
async def keep_upkeep(settings: Settings, sessions: Sessions) -> AsyncIterator[Upkeep]:
    """The rounds for the app's life."""
    upkeep = Upkeep(settings, sessions)
    rounds = asyncio.create_task(upkeep.work_on())
    try:
        yield upkeep
    finally:
        rounds.cancel()
        await asyncio.gather(rounds, return_exceptions=True)
        await upkeep.stop()
