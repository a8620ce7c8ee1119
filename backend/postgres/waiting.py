"""Waiting for a connection to say something, for a limited time.

The descriptor is a copy: libpq may close its own at any moment, and the loop must not be left
with the number of a file that is another one by then.
"""

import asyncio
import os
import select
from collections.abc import Iterator
from contextlib import contextmanager

from psycopg import OperationalError


class NoAnswer(OperationalError):
    """The database did not answer in time; what was asked may have been done."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"no answer from the database within {seconds:g} s")


class Ears:
    """What listens to one connection, for one task at a time."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = os.dup(descriptor)
        self._waiter: asyncio.Future[None] | None = None
        self._listening = False
        self._late: NoAnswer | None = None
        self._heard = False
        """Whether something has come since the block of `limit` began."""
        self.spoken_to = False
        """Whether something came that nobody waited for: the end, as a rule."""

    @contextmanager
    def limit(self, seconds: float) -> Iterator[None]:
        """Within the block a wait raises `NoAnswer` when `seconds` have passed since its start."""
        self._late, self._heard = None, False
        timer = asyncio.get_running_loop().call_later(seconds, self._give_up, seconds)
        try:
            yield
        finally:
            timer.cancel()

    async def wait(self) -> None:
        """Wait until something has come."""
        loop = asyncio.get_running_loop()
        if not self._listening:
            loop.add_reader(self._descriptor, self._hear)
            self._listening = True
        if self._heard and _is_readable(self._descriptor):
            # of a connection that was reset uvloop says so once, however much there is to read
            await asyncio.sleep(0)
        elif self._late is None:
            self._waiter = loop.create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        if self._late is not None:
            raise self._late

    async def wait_to_send(self) -> None:
        """Wait until more can be sent, or something has come."""
        loop = asyncio.get_running_loop()
        loop.add_writer(self._descriptor, self._wake)
        try:
            await self.wait()
        finally:
            loop.remove_writer(self._descriptor)

    def close(self) -> None:
        self._stop_listening()
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _give_up(self, seconds: float) -> None:
        self._late = NoAnswer(seconds)
        self._wake()

    def _wake(self) -> None:
        if self._waiter and not self._waiter.done():
            self._waiter.set_result(None)

    def _hear(self) -> None:
        if self._waiter:
            self._heard = True
            self._wake()
        elif _is_readable(self._descriptor):
            self.spoken_to = True
            self._stop_listening()

    def _stop_listening(self) -> None:
        if self._listening:
            asyncio.get_running_loop().remove_reader(self._descriptor)
            self._listening = False


def _is_readable(descriptor: int) -> bool:
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(0))
