"""Work that would hold the event loop for long, done in turns.

What one person has stored may take half a second to be read and written as JSON; everybody else
in the process would wait for it.
"""

import asyncio
from collections.abc import AsyncIterator, Iterable, Iterator
from time import perf_counter
from weakref import WeakKeyDictionary

TURN_SECONDS = 0.005
"""How long a turn goes on; the piece at hand is finished."""
SHORT_SECONDS = 0.001
"""What takes less is no work to wait for."""
LONG_BODY = 16 * 1024
"""Bytes of a request's body whose judging is long work."""
_locks: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Lock] = WeakKeyDictionary()
"""Held for a turn and a round of the loop: of many with long work, one is in others' way."""


async def own_turn() -> None:
    """Wait for a round of the loop in which nobody else does long work.

    For what cannot be done in pieces, and begins when this returns: a body that is parsed, or
    a long answer that is handed over.
    """
    async with _lock():
        await asyncio.sleep(0)


async def in_turns[T](pieces: Iterable[T]) -> AsyncIterator[list[T]]:
    """What is made of `pieces` in each turn, never nothing; others have theirs in between.

    Each piece must be short: a message, some tasks.
    """
    lock = _lock()
    making, done = iter(pieces), False
    while not done:
        async with lock:
            began = perf_counter()
            made, done = _made_until(began + TURN_SECONDS, making)
            if perf_counter() - began > SHORT_SECONDS:
                await asyncio.sleep(0)
        if made:
            yield made


async def all_in_turns[T](pieces: Iterable[T]) -> list[T]:
    """All of `pieces`, in a list."""
    return [piece async for made in in_turns(pieces) for piece in made]


def _lock() -> asyncio.Lock:
    return _locks.setdefault(asyncio.get_running_loop(), asyncio.Lock())


def _made_until[T](ends: float, making: Iterator[T]) -> tuple[list[T], bool]:
    """What is made until then, and whether that was the last of it."""
    made: list[T] = []
    for piece in making:
        made.append(piece)
        if perf_counter() > ends:
            return made, False
    return made, True
