"""How many turns of a process work at once.

A turn works while it asks the database or builds a request, and waits while the model
thinks. Hundreds may wait; a few work. So a burst of turns neither takes every pooled
connection nor holds up the other routes, which need the same loop and the same pool.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Self

from backend.telemetry.figures import PLACE_WAIT


class Place:
    """One turn's place among those at work: held inside `async with`, given up in `free()`."""

    def __init__(self, places: asyncio.Semaphore) -> None:
        self._places = places
        self._held = False

    async def __aenter__(self) -> Self:
        await self.take()
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._held:
            self._give_up()

    def pass_on(self) -> "Place":
        """The same place for another task to hold; this one does not any more."""
        other = Place(self._places)
        self._held, other._held = False, True
        return other

    @asynccontextmanager
    async def free(self) -> AsyncIterator[None]:
        """Wait for something outside without the place, then queue for one again.

        A run whose wait ends badly does not queue here: it may not need one again.
        """
        self._give_up()
        yield
        await self.take()

    async def take(self) -> None:
        """Queue for a place, unless this one is held."""
        if self._held:
            return
        if self._places.locked() and PLACE_WAIT.is_on:
            began = asyncio.get_running_loop().time()
            await self._places.acquire()
            PLACE_WAIT.record(asyncio.get_running_loop().time() - began)
        else:
            await self._places.acquire()
        self._held = True

    def _give_up(self) -> None:
        self._held = False
        self._places.release()
