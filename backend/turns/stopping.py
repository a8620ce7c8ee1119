"""A turn that the person wants stopped, wherever it runs."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from backend.conversations.messages import read_id
from backend.database import Session
from backend.errors import NotFound
from backend.journal.standing import Standing, find_turn, order_stop, read_turn
from backend.models import MessageStatus
from backend.telemetry.figures import STOPS
from backend.turns.runtime import Runtime

PATIENCE = 2.0
"""Seconds for which the end of a turn is waited for, so that the answer can say how it ended.

And its beginning, where the order to stop has overtaken the message.
"""
LOOK_AGAIN = 0.1


type Find = Callable[[Session], Awaitable[int]]
"""Finds the conversation that the client means, or raises `ConversationNotFound`."""


@dataclass(frozen=True, slots=True)
class Stopped:
    """How the turn stands, once it was ordered to stop."""

    message_id: int | None
    status: str | None
    """`running` where it has not ended yet; None where there is no turn."""
    stopped: bool


async def stop_turn(runtime: Runtime, find: Find, name: str | None) -> Stopped:
    """Stop the turn that `name` means, without one the newest that runs; how it stands then.

    Raises:
        ConversationNotFound: `find` has not found any.
        MessageNotFound: the conversation has no turn of that name.
    """
    turn = await _find_turn(runtime, find, name)
    if turn is None:
        return Stopped(None, None, False)
    if turn.ended is not None:
        return _stopped_as(turn)
    async with runtime.autocommit() as session:
        await order_stop(session, turn.run)
    STOPS.add()
    if (run := runtime.runs.find(turn.run.message_id)) and run.key == turn.run:
        await run.stop()
    return await _end(runtime, turn)


async def _find_turn(runtime: Runtime, find: Find, name: str | None) -> Standing | None:
    """The turn that `name` means; what only its client can know of is waited for to begin."""
    clock = asyncio.get_running_loop().time
    deadline = clock() + PATIENCE
    may_begin = name is not None and read_id(name) is None
    while True:
        try:
            async with runtime.autocommit() as session:
                return await find_turn(session, await find(session), name)
        except NotFound:
            if not may_begin or clock() > deadline:
                raise
        await asyncio.sleep(LOOK_AGAIN)


async def _end(runtime: Runtime, turn: Standing) -> Stopped:
    """How the turn has ended, if that is seen in time; a later attempt at it is not meant."""
    deadline = asyncio.get_running_loop().time() + PATIENCE
    while asyncio.get_running_loop().time() < deadline:
        await asyncio.sleep(LOOK_AGAIN)
        async with runtime.autocommit() as session:
            now = await read_turn(session, turn.run.message_id)
        if now is None or now.run != turn.run:
            break
        if now.ended is not None:
            return _stopped_as(now)
    return Stopped(turn.run.message_id, MessageStatus.RUNNING, False)


def _stopped_as(turn: Standing) -> Stopped:
    ended = turn.ended
    if ended is None:
        return Stopped(turn.run.message_id, MessageStatus.RUNNING, False)
    return Stopped(turn.run.message_id, ended.status, ended.stopped)
