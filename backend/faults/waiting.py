"""Waiting for what other processes do, of which no event tells."""

import asyncio
from collections.abc import Awaitable, Callable

LOOK_AGAIN = 0.02
"""Seconds between two looks."""


async def until(holds: Callable[[], Awaitable[bool]], limit: float) -> None:
    """Look again and again until something holds.

    Raises:
        TimeoutError: it did not within `limit` seconds.
    """
    async with asyncio.timeout(limit):
        while not await holds():  # noqa: ASYNC110  # there is no event to wait for
            await asyncio.sleep(LOOK_AGAIN)
