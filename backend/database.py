"""The engine, its sessions, and the schema brought up at start.

`create_engine` takes an address as Neon or Prisma give it; no error and no log line of this
module quotes any part of it but a host's parameters by name.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Annotated, Any

from fastapi import Depends, Request
from psycopg import pq
from sqlalchemy import (
    URL,
    CursorResult,
    Executable,
    String,
    column,
    event,
    func,
    make_url,
    select,
    table,
)
from sqlalchemy.exc import ArgumentError, ProgrammingError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine, async_sessionmaker, create_async_engine
from sqlmodel.ext.asyncio.session import AsyncSession

from backend.config import Settings, SettingsError

logger = logging.getLogger(__name__)

SCHEMA_VERSION = "0006"
"""The newest revision in `backend/postgres/migrations/versions`, known without loading Alembic."""
VERSION_TABLE = "chat_alembic_version"
"""Not Alembic's default name: another tool's versions may stand in the same database."""
VERSION_QUERY = select(column("version_num", String)).select_from(table(VERSION_TABLE))
MIGRATION_LOCK = 7_230_061_006
"""The advisory lock under which one replica brings the schema up while others wait."""

CONNECT_DEFAULTS = {
    "application_name": "todo-chat",
    "connect_timeout": "10",
    "keepalives_idle": "30",
    "keepalives_interval": "10",
    "keepalives_count": "3",
}
"""libpq's parameters where the address gives none; times in seconds."""
FROZEN_MS = 5_000
"""Milliseconds a transaction may lie idle, less than a run's lease; ours never wait in one."""
LIBPQ_PARAMETERS = frozenset(option.keyword.decode() for option in pq.Conninfo.get_defaults())

type Sessions = async_sessionmaker[AsyncSession]


def create_engine(settings: Settings, url: str) -> AsyncEngine:
    """An engine with `settings.database_pool_size` connections at the most; none is opened yet.

    Raises:
        SettingsError: `url` is not a Postgres address.
    """
    address = _read_address(url)
    pooled = _is_pooled(address)
    engine = create_async_engine(
        address.set(query={}),
        connect_args=_connect_args(address) | ({"prepare_threshold": None} if pooled else {}),
        pool_size=settings.database_pool_size,
        max_overflow=0,
        pool_timeout=10,
        pool_recycle=1800,
        pool_pre_ping=True,
        hide_parameters=True,
        use_native_hstore=False,
    )
    if not pooled:
        event.listen(engine.sync_engine, "connect", _set_up_session)
    return engine


def _read_address(url: str) -> URL:
    if url.count("@") > 1:  # the rest of the password would be taken for a host, and be named
        raise SettingsError("DATABASE_URL: a @ in the name or password must be written %40")
    try:
        return make_url(url).set(drivername="postgresql+psycopg")
    except (ArgumentError, ValueError):
        raise SettingsError("DATABASE_URL: cannot be read as an address") from None


def _is_pooled(address: URL) -> bool:
    """Whether a pooler hands each transaction to another connection, which prepared nothing."""
    hosts = [address.host or "", *address.normalized_query.get("host", ())]
    asked = address.normalized_query.get("pgbouncer", ()) == ("true",)
    return any("-pooler" in host for host in hosts) or asked or "prepare_threshold" in address.query


def _connect_args(address: URL) -> dict[str, Any]:
    """libpq's parameters of the address; those of other libraries are dropped and named."""
    given = {
        name: ",".join(values) if name in ("host", "hostaddr", "port") else values[-1]
        for name, values in address.normalized_query.items()
    }
    given.pop("prepare_threshold", None)
    if ssl := given.pop("ssl", None):
        given.setdefault("sslmode", "require" if ssl == "true" else ssl)
    for name in sorted(given.keys() - LIBPQ_PARAMETERS):
        logger.warning("DATABASE_URL: parameter %s is not libpq's and was dropped", name)
    return CONNECT_DEFAULTS | {k: v for k, v in given.items() if k in LIBPQ_PARAMETERS}


def _set_up_session(connection: Any, _: Any) -> None:
    """Have times read in UTC, and a transaction ended whose process has frozen in it.

    In a zone ahead of UTC year 9999 ends beyond Python's reach; and the row locks of a process
    that is stopped without dying would hold up whoever takes its turn up. Not behind a pooler,
    where the settings would stay on a connection that others share.
    """
    cursor = connection.cursor()
    cursor.execute(f"SET idle_in_transaction_session_timeout = {FROZEN_MS}")
    cursor.execute("SET TIME ZONE 'UTC'")
    cursor.close()
    connection.commit()


def create_sessions(engine: AsyncEngine) -> Sessions:
    return async_sessionmaker(engine, class_=AsyncSession, expire_on_commit=False)


async def create_db_and_tables(engine: AsyncEngine) -> None:
    """Bring the schema up to `SCHEMA_VERSION`, adopting tables of an earlier backend.

    All of it is one transaction under one lock: replicas that start at once wait for the
    first, and a failure leaves everything as it was. One query where nothing is to be done.
    """
    if await _schema_version(engine) >= SCHEMA_VERSION:
        return
    from backend.postgres.migrations import upgrade  # Alembic takes 0.2 s to import

    async with engine.begin() as connection:
        await connection.execute(select(func.pg_advisory_xact_lock(MIGRATION_LOCK)))
        await connection.run_sync(upgrade, VERSION_TABLE)


async def _schema_version(engine: AsyncEngine) -> str:
    """The revision the database is at; "" before the first. A newer one serves us too."""
    async with engine.connect() as connection:
        try:
            return await connection.scalar(VERSION_QUERY) or ""
        except ProgrammingError:  # there is no such table
            return ""


async def is_ready(engine: AsyncEngine) -> bool:
    """Whether the database answers within two seconds and has our schema."""
    try:
        async with asyncio.timeout(2):
            return await _schema_version(engine) >= SCHEMA_VERSION
    except (SQLAlchemyError, OSError, TimeoutError) as error:
        logger.warning("database not ready: %s", type(error).__name__)
        return False


async def _sessions(request: Request) -> Sessions:
    sessions: Sessions = request.app.state.sessions
    return sessions


SessionsDep = Annotated[Sessions, Depends(_sessions)]
"""The session factory, for what opens several short transactions in one request."""


async def execute(
    session: AsyncSession, statement: Executable, values: Mapping[str, object]
) -> CursorResult[*tuple[Any, ...]]:
    """Run a Core statement in the session's transaction."""
    connection = await session.connection()
    return await connection.execute(statement, values)


@asynccontextmanager
async def open_session(sessions: Sessions) -> AsyncIterator[AsyncSession]:
    """A session whose closing raises nothing: what was not committed is rolled back anyhow.

    Where the connection was lost its closing would say so, after the answer or in place of the
    error that counts.
    """
    session = sessions()
    try:
        yield session
    finally:
        try:
            await session.close()
        except SQLAlchemyError as error:
            logger.warning("session not closed", exc_info=error)


async def _session(sessions: SessionsDep) -> AsyncIterator[AsyncSession]:
    async with open_session(sessions) as session:
        yield session


SessionDep = Annotated[AsyncSession, Depends(_session)]
"""One session for a short request. It does not commit: the route does."""
