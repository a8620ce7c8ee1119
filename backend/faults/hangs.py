"""Faults that do not end anything: what stands still, falls silent or is locked for a while.

Each of these waits until it is over; the service must not.
"""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from random import Random

from psycopg import AsyncConnection, Error

from backend.faults.fleet import Replica, application
from backend.faults.postgres import Row, through_outages
from backend.faults.scenario import Fault, Kind
from backend.faults.stage import Stage
from backend.tests.support.tcp_proxy import TcpProxy, Trouble

WORD_LIMIT = 3.0
"""Seconds within which there must be a commit whose word can be lost."""
LOCK_LIMIT = 3.0
"""Seconds that a stranger waits for its own locks."""

_PROCESSES = """
    SELECT pid FROM pg_stat_activity WHERE application_name = %s
    ORDER BY state = 'idle', state_change DESC
"""
_ROWS = (
    "SELECT FROM messages WHERE user_id = %s AND status = 'running' FOR UPDATE",
    "SELECT FROM messages WHERE user_id = %s FOR UPDATE",
    "SELECT FROM conversations WHERE user_id = %s FOR UPDATE",
    "SELECT FROM tasks WHERE user_id = %s FOR UPDATE",
)
_TABLES = ("messages", "conversations", "tasks", "stream_log", '"session"')
_SETTINGS = {
    Kind.READ_ONLY: ("default_transaction_read_only", "on"),
    # a commit is done and then waits for a standby, which is not there
    Kind.COMMITS: ("synchronous_standby_names", "nobody"),
}


async def hang(fault: Fault, stage: Stage, replica: Replica, owner: str, held_up: int) -> None:
    """Have `fault` for its time; `held_up` is a database process that waits now, or 0."""
    random = Random(f"{owner} {fault}")  # noqa: S311  # not secret
    wire = stage.wires[replica.slot]
    match fault.kind:
        case Kind.BACKEND:
            found = [held_up] if held_up else await processes(stage, replica)
            some = found if random.random() < 0.3 else found[:1]
            await stand_still(some, fault.seconds)
        case Kind.POOLER if stage.pooler:
            await stand_still([stage.pooler], fault.seconds)
        case Kind.SILENCE | Kind.POOLER:
            wire.freeze()
            await asyncio.sleep(fault.seconds)
            wire.thaw()
        case Kind.BLACK_HOLE:
            wire.black_hole()
            await asyncio.sleep(fault.seconds)
            wire.heal()
        case Kind.WORD:
            await _lose_a_word(wire, random, fault.seconds)
        case Kind.ROWS:
            async with locked(stage, random.choice(_ROWS), owner):
                await asyncio.sleep(fault.seconds)
        case Kind.TABLE:
            statement = f"LOCK TABLE {random.choice(_TABLES)} IN ACCESS EXCLUSIVE MODE"
            async with locked(stage, statement):
                await asyncio.sleep(fault.seconds)
        case Kind.LOG:
            async with locked(stage, "LOCK TABLE stream_log IN ACCESS EXCLUSIVE MODE"):
                await asyncio.sleep(fault.seconds)
        case Kind.READ_ONLY | Kind.COMMITS:
            await _set_for(stage, *_SETTINGS[fault.kind], fault.seconds)


async def processes(stage: Stage, replica: Replica) -> list[int]:
    """The database's processes that serve this replica, those at work first."""
    rows = await stage.postgres.ask(_PROCESSES, application(replica.slot))
    return [row["pid"] for row in rows]


async def stand_still(pids: Sequence[int], seconds: float) -> None:
    """Stop these processes' clocks for a while."""
    _signal_all(pids, signal.SIGSTOP)
    try:
        await asyncio.sleep(seconds)
    finally:
        _signal_all(pids, signal.SIGCONT)


def _signal_all(pids: Sequence[int], number: signal.Signals) -> None:
    for pid in pids:
        with suppress(ProcessLookupError):  # ended by another fault
            os.kill(pid, number)


async def _lose_a_word(wire: TcpProxy, random: Random, away: float) -> None:
    """Lose what the database says of the next commit, and then the database for `away` seconds.

    The end of a turn is committed without being told to; its statement holds the answer.
    """
    trouble = random.choice((Trouble.LOSE_ANSWER, Trouble.DROP_ANSWER))
    lost = wire.on(random.choice((b"COMMIT", b"Done.")), trouble)
    try:
        async with asyncio.timeout(WORD_LIMIT):
            await lost.wait()
    except TimeoutError:  # it befalls another's commit, later
        return
    await asyncio.sleep(0.05)
    if away > 1:
        wire.black_hole()
        wire.cut()
        await asyncio.sleep(away)
        wire.heal()


@asynccontextmanager
async def locked(stage: Stage, statement: str, *values: object) -> AsyncIterator[None]:
    """Hold what `statement` locks, for the block; nothing where others hold it, or all is down."""
    async with AsyncExitStack() as stack:
        with suppress(Error):
            mine = await stack.enter_async_context(stage.postgres.connection())
            stack.push_async_callback(_let_go, mine)
            await _lock(mine, statement, *values)
        yield


async def _let_go(mine: AsyncConnection[Row]) -> None:
    with suppress(Error):  # ended by another fault
        await mine.rollback()


async def _lock(mine: AsyncConnection[Row], statement: str, *values: object) -> None:
    await mine.execute("BEGIN")
    await mine.execute(f"SET LOCAL lock_timeout = {LOCK_LIMIT * 1000:.0f}".encode())
    await mine.execute(statement.encode(), values or None)


async def _set_for(stage: Stage, name: str, value: str, seconds: float) -> None:
    """Have a setting of the database's another value for a while."""
    await through_outages(lambda: stage.postgres.alter(f"SET {name} = '{value}'"))
    try:
        await asyncio.sleep(seconds)
    finally:
        await through_outages(lambda: stage.postgres.alter(f"RESET {name}"))
