"""The database as the rest of the service uses it, and the schema brought up at start.

Each wait is bounded on our side of the wire, since poolers take no settings and a network that
drops packets does not say so: `backend.postgres` has the connections and their limits.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Annotated

from fastapi import Depends, Request
from psycopg import Error
from psycopg.errors import UndefinedTable
from sqlalchemy import Executable, String, column, func, select, table

from backend.config import Settings
from backend.postgres.address import read_address
from backend.postgres.fitness import check_server, unfit
from backend.postgres.pool import Pool
from backend.postgres.results import Result, Row
from backend.postgres.session import NO_VALUES, Ahead, Session, Sessions

__all__ = ["Ahead", "Pool", "Result", "Row", "Session", "Sessions"]

logger = logging.getLogger(__name__)

SCHEMA_VERSION = "0015"
"""The newest revision in `backend/postgres/migrations/versions`, known without loading Alembic."""
VERSION_TABLE = "chat_alembic_version"
"""Not Alembic's default name: another tool's versions may stand in the same database."""
_SCHEMA_STATE = select(
    column("version_num", String), func.current_setting("transaction_read_only").label("read_only")
).select_from(table(VERSION_TABLE))
MIGRATION_LOCK = 7_230_061_006
"""The advisory lock under which one replica brings the schema up while others wait."""
READY_S = 1.8
"""Seconds after which a database that has not answered is not ready."""


def create_pool(settings: Settings, url: str) -> Pool:
    """A pool of `settings.database_pool_size` connections at the most; none is opened yet.

    Raises:
        SettingsError: `url` is not a Postgres address.
    """
    return Pool(read_address(url), settings.database_pool_size)


async def create_db_and_tables(pool: Pool) -> None:
    """Bring the schema up to `SCHEMA_VERSION`, adopting tables of an earlier backend.

    All of it is one transaction under one lock: replicas that start at once wait for the
    first, and a failure leaves everything as it was. One query where nothing is to be done.

    Raises:
        Unfit: the database cannot be reached, cannot serve, or cannot be brought up.
    """
    try:
        await _check_server(pool)
        if (await _state(pool))[0] >= SCHEMA_VERSION:
            return
        from backend.postgres.migrations import migrate  # Alembic takes 0.2 s to import

        await migrate(pool.address, VERSION_TABLE, MIGRATION_LOCK)
    except Error as error:
        raise unfit(error) from error


async def _check_server(pool: Pool) -> None:
    connection = await pool.take()
    try:
        check_server(connection.parameter)
    finally:
        pool.give_back(connection)


async def _state(pool: Pool) -> tuple[str, bool]:
    """The revision the database is at, and whether it can be written to.

    "" is before the first revision; a newer one serves us too.
    """
    async with Session(pool, autocommit=True) as session:
        try:
            row = (await session.execute(_SCHEMA_STATE)).first()
        except UndefinedTable:
            return "", True
    return (row.version_num, row.read_only == "off") if row else ("", True)


async def is_ready(pool: Pool) -> bool:
    """Whether the database answers within two seconds, can be written to and has our schema."""
    try:
        async with asyncio.timeout(READY_S):
            version, writable = await _state(pool)
    except (Error, OSError, TimeoutError) as error:
        logger.warning("database not ready: %s", type(error).__name__)
        return False
    if not writable:
        logger.warning("database not ready: it can only be read")
    return writable and version >= SCHEMA_VERSION


async def _sessions(request: Request) -> Sessions:
    sessions: Sessions = request.app.state.sessions
    return sessions


SessionsDep = Annotated[Sessions, Depends(_sessions)]
"""The session factory, for what opens several short transactions in one request."""


async def execute(
    session: Session, statement: Executable, values: Mapping[str, object] = NO_VALUES
) -> Result:
    """Run a statement in the session's transaction."""
    return await session.execute(statement, values)


@asynccontextmanager
async def open_session(sessions: Sessions) -> AsyncIterator[Session]:
    """A session whose closing raises nothing: what was not committed is rolled back anyhow."""
    async with sessions() as session:
        yield session


async def _session(request: Request, sessions: SessionsDep) -> AsyncIterator[Session]:
    only_reads = request.method in ("GET", "HEAD")
    async with Session(sessions.pool, autocommit=only_reads, seconds=sessions.seconds) as session:
        yield session


SessionDep = Annotated[Session, Depends(_session)]
"""One session for a short request. It does not commit: the route does.

Where the request only reads each of its statements is by itself.
"""
