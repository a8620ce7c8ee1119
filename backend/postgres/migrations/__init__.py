"""Alembic, for the tables this service owns; configured here, without an alembic.ini.

Others serve while a migration runs, so it waits for a table only for a moment at a time: who wants
the same table queues behind it.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from alembic import command
from alembic.config import Config
from psycopg.errors import DeadlockDetected, LockNotAvailable
from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from backend.postgres.engine import open_engine

logger = logging.getLogger(__name__)

LOCK_S = 30.0
"""Seconds that a migration waits for another replica's."""
TRY_S = 0.8
"""Seconds that it waits for a table at a time: less than until Postgres looks for deadlocks, so
that it is never another's statement that is ended."""
PAUSE_S = 0.5
PATIENCE_S = 60.0
"""Seconds for which it tries again, all of it anew, where a table was not to be had."""
LOOK_S = 0.2

_SET = "SET LOCAL {} = {:.0f}"
_WAITS = text("""
    SELECT concat(
        waiting.mode, ' on ', coalesce(waiting.relation::regclass::text, waiting.locktype),
        ', held by process ', holder.pid, ' of ', coalesce(nullif(application_name, ''), usename),
        ', ', state, ' for ', extract(epoch FROM clock_timestamp() - xact_start)::int, ' s'
    )
    FROM pg_locks AS waiting, unnest(pg_blocking_pids(waiting.pid)) AS blocking (pid)
    JOIN pg_stat_activity AS holder ON holder.pid = blocking.pid
    WHERE waiting.pid = :process AND NOT waiting.granted
    LIMIT 1
""")


def alembic_config(connection: Connection, version_table: str) -> Config:
    """What Alembic's commands need to work on `connection`, in the transaction it is in."""
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    config.attributes.update(connection=connection, version_table=version_table)
    return config


def upgrade(connection: Connection, version_table: str) -> None:
    """Run every revision that the database does not have; the caller commits."""
    command.upgrade(alembic_config(connection, version_table), "head")


async def migrate(parameters: Mapping[str, str], version_table: str, lock: int) -> None:
    """Run what is missing in one transaction, while no other replica does.

    Raises:
        psycopg.Error: it was not done, and nothing of it was.
        Unfit: what is there is nothing that can be adopted.
    """
    clock = asyncio.get_running_loop().time
    until = clock() + PATIENCE_S
    async with open_engine(parameters) as engine:
        while True:
            try:
                return await _migrate_once(engine, version_table, lock)
            except DBAPIError as error:
                held = isinstance(error.orig, LockNotAvailable | DeadlockDetected)
                if not held or clock() >= until:
                    raise error.orig or error from error
            await asyncio.sleep(PAUSE_S)


async def _migrate_once(engine: AsyncEngine, version_table: str, lock: int) -> None:
    async with engine.begin() as connection, _telling(engine, connection):
        await connection.execute(text(_SET.format("lock_timeout", 1000 * LOCK_S)))
        await connection.execute(text("SET LOCAL statement_timeout = 0"))
        await connection.execute(text(f"SELECT pg_advisory_xact_lock({lock})"))
        await connection.execute(text(_SET.format("lock_timeout", 1000 * TRY_S)))
        await connection.run_sync(upgrade, version_table)


@asynccontextmanager
async def _telling(engine: AsyncEngine, connection: AsyncConnection) -> AsyncIterator[None]:
    """Have the log say, inside the block, on what the connection waits, once for each."""
    process = (await connection.execute(text("SELECT pg_backend_pid()"))).scalar_one()
    telling = asyncio.create_task(_tell(engine, process))
    try:
        yield
    finally:
        telling.cancel()
        with suppress(asyncio.CancelledError):
            await telling


async def _tell(engine: AsyncEngine, process: int) -> None:
    """On a connection of its own; where there is none, the migration goes on untold."""
    said = ""
    with suppress(SQLAlchemyError, OSError):
        async with engine.connect() as connection:
            looking = await connection.execution_options(isolation_level="AUTOCOMMIT")
            while True:
                await asyncio.sleep(LOOK_S)
                waits = (await looking.execute(_WAITS, {"process": process})).scalar()
                if waits and waits.rpartition(" for ")[0] != said:
                    said = waits.rpartition(" for ")[0]
                    logger.warning("the migration waits for %s", waits)
