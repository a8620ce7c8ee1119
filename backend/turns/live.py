"""Live turns: what runs here is logged and can be stopped, what runs elsewhere is followed.

A process asks the database once for all of its runs, ten times a second while one of them is
streamed, else twice: it writes their logs and learns which are to stop. And once for all the
turns elsewhere that its viewers watch, five times a second. While there is nothing to ask for,
it asks nothing.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from backend.database import Sessions
from backend.journal.stream_log import (
    LOG_LIFE,
    Attempt,
    Batch,
    News,
    expire_logs,
    read_logs,
    write_logs,
)
from backend.turns.channels import Channel, Seats
from backend.turns.runs import Run, Runs

logger = logging.getLogger(__name__)

STREAMED_TICK = 0.1
PLAIN_TICK = 0.5
LOOK_EVERY = 0.2
"""Seconds between two looks at the turns of other processes."""
STATEMENT_SECONDS = 2.0
"""How long one of these statements may take before it is given up."""
UNLOGGED_SECONDS = 2.0
"""For how long nothing is written to a log that could not be: the marks come without it then."""
BLIND_SECONDS = 10.0
"""How long the viewers of other processes' turns wait for a database that is away."""


@dataclass(slots=True)
class Watched:
    """A turn of another process, as the viewers here see it."""

    channel: Channel
    batches: int = 0
    """How many of the log have been read."""
    viewers: int = 0

    def take(self, run: Attempt, news: News | None) -> None:
        """Take in what has come of `run`; without a row, or under another attempt, nothing will."""
        if news is None or news.attempt != run.attempt:
            self.channel.cut_off()
            return
        for number, parts in news.batches:
            if number == self.batches:
                self.batches += 1
                for part in parts:
                    self.channel.tell(part)
        if news.ended is not None:
            self.channel.end(news.ended)


class Live:
    """The live turns that this process runs, and those that it watches for its viewers."""

    def __init__(self, autocommit: Sessions, runs: Runs) -> None:
        self.seats = Seats()
        self._autocommit = autocommit
        self._runs = runs
        self._watched: dict[Attempt, Watched] = {}
        self._watching = asyncio.Event()
        self._log_again = 0.0
        self._wrote = True
        """Whether rows of the log may be left, of this process or of one that died before it."""

    async def tick_on(self) -> None:
        """Look after the runs of this process for as long as it lives."""
        clock = asyncio.get_running_loop().time
        last = clock() - PLAIN_TICK
        while True:
            await self._runs.busy.wait()
            await asyncio.sleep(STREAMED_TICK)
            runs = list(self._runs.held().values())
            streamed = any(run.channel for run in runs)
            if runs and (streamed or clock() - last >= PLAIN_TICK):
                last = clock()
                await self._tick(runs)

    async def _tick(self, runs: list[Run]) -> None:
        now = asyncio.get_running_loop().time()
        batches = [
            Batch(Attempt(*run.key), *batch)
            for run in runs
            if now >= self._log_again and run.channel and (batch := run.channel.to_log())
        ]
        if batches:
            if await self._ask(runs, batches):
                return
            self._log_again = now + UNLOGGED_SECONDS
        if not await self._ask(runs, []):
            await asyncio.sleep(PLAIN_TICK)

    async def _ask(self, runs: list[Run], batches: list[Batch]) -> bool:
        """Write to the log and learn which are to stop; whether the database has answered."""
        self._wrote = self._wrote or bool(batches)
        try:
            async with asyncio.timeout(STATEMENT_SECONDS), self._autocommit() as session:
                to_stop = await write_logs(session, batches, [Attempt(*run.key) for run in runs])
        except Exception as error:
            what = "logs of streams not written" if batches else "orders to stop not seen"
            logger.warning(what, exc_info=error)
            return False
        written = {batch.run for batch in batches}
        for run in runs:
            if run.channel and run.key in written:
                run.channel.logged()
            if run.key in to_stop:
                self._runs.keep(run.stop())
        return True

    @contextmanager
    def watch(self, run: Attempt, conversation_id: int, created_at: datetime) -> Iterator[Channel]:
        """Follow a run of another process inside the block."""
        watched = self._watched.get(run)
        if watched is None:
            channel = Channel(run.message_id, conversation_id, created_at)
            self._watched[run] = watched = Watched(channel)
            self._watching.set()
        watched.viewers += 1
        try:
            yield watched.channel
        finally:
            watched.viewers -= 1
            if not watched.viewers and self._watched.get(run) is watched:
                self._forget(run)

    def _forget(self, run: Attempt) -> None:
        del self._watched[run]
        if not self._watched:
            self._watching.clear()

    async def watch_on(self) -> None:
        """Follow the turns of other processes for as long as this one lives."""
        clock = asyncio.get_running_loop().time
        unread = seen = 0.0
        while True:
            if not self._watching.is_set():
                await self._watching.wait()
                seen = clock()
            watched = dict(self._watched)
            news = await self._look(watched, logged=clock() >= unread)
            if news is None:
                unread = clock() + UNLOGGED_SECONDS
                news = await self._look(watched, logged=False)
            if news is not None:
                seen = clock()
                self._take(watched, news)
            elif clock() - seen > BLIND_SECONDS:
                self._take(watched, {})
            await asyncio.sleep(LOOK_EVERY)

    async def _look(
        self, watched: dict[Attempt, Watched], *, logged: bool
    ) -> dict[int, News] | None:
        """What has come of each; of how it ended alone where the log is not read; None: unknown."""
        after = {run: each.batches for run, each in watched.items()}
        try:
            async with asyncio.timeout(STATEMENT_SECONDS), self._autocommit() as session:
                return await read_logs(session, after, logged=logged)
        except Exception as error:
            logger.warning("turns of other processes not seen", exc_info=error)
            return None

    def _take(self, watched: dict[Attempt, Watched], news: dict[int, News]) -> None:
        for run, each in watched.items():
            each.take(run, news.get(run.message_id))
            over = each.channel.cut or each.channel.ended is not None
            if over and self._watched.get(run) is each:
                self._forget(run)

    async def expire_on(self) -> None:
        """Delete what is old of the log, now and then while there may be something of it."""
        while True:
            await asyncio.sleep(LOG_LIFE.total_seconds() + 60)
            if not self._wrote:
                continue
            self._wrote = False
            try:
                async with asyncio.timeout(STATEMENT_SECONDS), self._autocommit() as session:
                    await expire_logs(session)
            except Exception as error:
                self._wrote = True
                logger.warning("old logs of streams not deleted", exc_info=error)


@asynccontextmanager
async def keep_live(autocommit: Sessions, runs: Runs) -> AsyncIterator[Live]:
    """Live turns for the app's life."""
    live = Live(autocommit, runs)
    work: list[Callable[[], Coroutine[Any, Any, None]]] = [
        live.tick_on,
        live.watch_on,
        live.expire_on,
    ]
    tasks = [asyncio.create_task(each()) for each in work]
    try:
        yield live
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
