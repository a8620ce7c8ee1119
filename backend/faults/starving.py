"""What gets in the way of a lease whose run is well: the pool is taken, a row is locked, or the
database's end of the pooled connections stands still.
"""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from backend.faults.fleet import Replica
from backend.faults.hangs import locked, processes, stand_still
from backend.faults.stage import Stage

SECONDS = 9.0
"""How long; a lease that was not renewed once has lapsed by then."""
WAITERS = 40
"""Requests that wait for one task, several times as many as the server has connections."""
AT_ONCE = 12
"""So many of them come first, or a renewal that is due just then would be served before them."""
STAGGERED = 3.0
"""Seconds in which the others come, about as long as one waits for a connection."""
WAYS = 3
"""The pool is taken, another's row is locked, or connections stand still: 0, 1, 2."""

_OTHER_ROW = """
    SELECT FROM messages answer JOIN messages asked ON asked.id = answer.reply_to
    WHERE answer.user_id = %s AND asked.content <> %s AND answer.status = 'running'
    FOR UPDATE OF answer
"""
_TASKS = "SELECT id FROM tasks WHERE user_id = %s"

type Write = Callable[[Replica, int], Coroutine[Any, Any, None]]
"""Ask a server to write to a task, whatever comes of it."""


async def starve(
    way: int, stage: Stage, replica: Replica, owner: str, text: str, write: Write
) -> None:
    """Be in the way of the lease of `owner`'s message `text`, in one of three ways."""
    match way % WAYS:
        case 0:
            await _take_the_pool(stage, replica, owner, write)
        case 1:
            async with locked(stage, _OTHER_ROW, owner, text):
                await asyncio.sleep(SECONDS)
        case 2:
            await stand_still(await processes(stage, replica), SECONDS)


async def _take_the_pool(stage: Stage, replica: Replica, owner: str, write: Write) -> None:
    task = (await stage.postgres.ask(_TASKS, owner))[0]["id"]
    over = asyncio.Event()

    async def wait_again_and_again(number: int) -> None:
        # so that some have always waited longer
        await asyncio.sleep(STAGGERED * max(0, number - AT_ONCE) / (WAITERS - AT_ONCE))
        while not over.is_set():
            await write(replica, task)

    async with locked(stage, f"{_TASKS} FOR UPDATE", owner):
        waiters = [asyncio.create_task(wait_again_and_again(n)) for n in range(WAITERS)]
        await asyncio.sleep(SECONDS)
        over.set()
    await asyncio.gather(*waiters)
