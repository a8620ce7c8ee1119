"""Real databases for the tests: one embedded server for the run, one database for each test."""

import asyncio
import logging
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from contextvars import ContextVar
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Protocol

import pytest
from psycopg import AsyncConnection
from sqlalchemy import make_url
from sqlalchemy.ext.asyncio import AsyncEngine, async_sessionmaker, create_async_engine
from sqlmodel.ext.asyncio.session import AsyncSession

from backend.config import Settings
from backend.database import create_db_and_tables, create_pool
from backend.faults.waiting import until
from backend.postgres.address import read_address
from backend.postgres.embedded import start_embedded
from backend.postgres.engine import open_engine
from backend.postgres.pool import Pool
from backend.postgres.session import statements_logger

_numbers = count(1)

type MakePool = Callable[..., Pool]
type Sessions = async_sessionmaker[AsyncSession]
"""Makes SQLAlchemy's sessions, for looking at rows beside the app."""


class MakeDatabase(Protocol):
    def __call__(self, template: str = ...) -> Awaitable[str]:
        """The address of a new database, a copy of the database named `template`."""


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """The `postgres` database of an embedded server that lives as long as the run.

    Not in pytest's own folder, which it keeps for later and closes to the server's account.
    """
    with (
        TemporaryDirectory(prefix="todo-chat-tests-") as folder,
        start_embedded(Path(folder, "postgres"), durable=False) as server,
    ):
        yield server.url


@pytest.fixture
async def make_database(postgres_url: str) -> AsyncIterator[MakeDatabase]:
    """Makes databases, empty ones or copies, that are dropped when the test is over."""
    async with AsyncExitStack() as stack:

        async def make(template: str = "template0") -> str:
            return await stack.enter_async_context(temporary_database(postgres_url, template))

        yield make


@pytest.fixture(scope="session")
async def migrated_template(postgres_url: str) -> AsyncIterator[str]:
    """The name of a database with our tables and no rows; nobody is connected to it."""
    async with temporary_database(postgres_url) as url:
        await bring_up(url)
        name = make_url(url).database or ""
        inside = f"SELECT count(*) FROM pg_stat_activity WHERE datname = '{name}'"

        async def is_left() -> bool:
            return bool(await scalar(postgres_url, inside) == 0)

        await until(is_left, limit=60)  # a busy machine may take its time to end a session
        yield name


@pytest.fixture
async def database_url(make_database: MakeDatabase, migrated_template: str) -> str:
    """A database of the test's own with our tables and no rows."""
    return await make_database(migrated_template)


@pytest.fixture
async def pool_for() -> AsyncIterator[MakePool]:
    """Makes pools that are closed when the test is over."""
    pools: list[Pool] = []

    def make(url: str, **values: Any) -> Pool:
        pools.append(create_pool(Settings(_env_file=None, **values), url))
        return pools[-1]

    yield make
    for pool in pools:
        await pool.close()


@asynccontextmanager
async def open_sessions(url: str) -> AsyncIterator[Sessions]:
    """SQLAlchemy's sessions on a database."""
    async with engine_on(url) as engine:
        yield async_sessionmaker(engine, class_=AsyncSession, expire_on_commit=False)


@asynccontextmanager
async def keep_sessions(url: str) -> AsyncIterator[Sessions]:
    """The same on connections that are used again, which whoever drops the database must end."""
    engine = create_async_engine("postgresql+psycopg://", connect_args=_parameters(url))
    try:
        yield async_sessionmaker(engine, class_=AsyncSession, expire_on_commit=False)
    finally:
        await engine.dispose()


@asynccontextmanager
async def engine_on(url: str) -> AsyncIterator[AsyncEngine]:
    async with open_engine(_parameters(url)) as engine:
        yield engine


def _parameters(url: str) -> dict[str, str]:
    return {**read_address(url).parameters, "options": "-c TimeZone=UTC"}


async def bring_up(url: str) -> None:
    """Do with a database what a start of the service does."""
    pool = create_pool(Settings(_env_file=None), url)
    try:
        await create_db_and_tables(pool)
    finally:
        await pool.close()


@asynccontextmanager
async def temporary_database(server_url: str, template: str = "template0") -> AsyncIterator[str]:
    """A new database of the server, dropped at the end with whoever is still connected.

    Its files are copied as they are: to log each page of them costs three times the CPU.
    """
    name = f"test_{os.getpid()}_{next(_numbers)}"
    await execute(server_url, f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY file_copy")
    try:
        yield make_url(server_url).set(database=name).render_as_string(hide_password=False)
    finally:
        await execute(server_url, f"DROP DATABASE {name} WITH (FORCE)")


async def execute(url: str, *statements: str) -> None:
    """Run SQL beside the app, each statement committed by itself."""
    async with await AsyncConnection.connect(url, autocommit=True) as connection:
        for statement in statements:
            await connection.execute(statement.encode())


_ASKED_IN: ContextVar[list[str] | None] = ContextVar("the block that asks", default=None)


@contextmanager
def statements_sent(
    look: Callable[[str], object] | None = None, *, by_anyone: bool = False
) -> Iterator[list[str]]:
    """What is sent to the database for those who ask in the block, in order; `look` is told each.

    An app goes its rounds whenever it likes, and so does each other app of this process: what they
    send by themselves counts only `by_anyone`. Who asks through a socket is anyone.
    """
    sent: list[str] = []

    def note(record: logging.LogRecord) -> None:
        if by_anyone or _ASKED_IN.get() is sent:
            sent.append(record.getMessage())
            if look:
                look(sent[-1])

    asking = _ASKED_IN.set(sent)  # and so in each task that is begun in the block
    handler = logging.Handler()
    handler.emit = note  # type: ignore[method-assign]
    level = statements_logger.level
    statements_logger.addHandler(handler)
    statements_logger.setLevel(logging.DEBUG)
    try:
        yield sent
    finally:
        statements_logger.removeHandler(handler)
        statements_logger.setLevel(level)
        _ASKED_IN.reset(asking)


async def scalar(url: str, sql: str) -> Any:
    async with await AsyncConnection.connect(url) as connection:
        row = await (await connection.execute(sql.encode())).fetchone()
    return row[0] if row else None


CATALOG = """
    SELECT relation.relname, kind, said FROM pg_class relation, LATERAL (
        SELECT 'column', concat_ws(' ', attname, format_type(atttypid, atttypmod),
            attnotnull, attidentity, pg_get_expr(adbin, adrelid))
        FROM pg_attribute LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
        WHERE attrelid = relation.oid AND attnum > 0 AND NOT attisdropped
        UNION ALL SELECT 'constraint', conname || ' ' || pg_get_constraintdef(oid)
        FROM pg_constraint WHERE conrelid = relation.oid
        UNION ALL SELECT 'index', pg_get_indexdef(indexrelid)
        FROM pg_index WHERE indrelid = relation.oid
    ) AS part (kind, said)
    WHERE relation.relname IN ('tasks', 'conversations', 'messages') ORDER BY 1, 2, 3
"""


async def catalog(url: str) -> list[tuple[str, str, str]]:
    """Every column, constraint and index of our tables: the table, which of these, its text."""
    async with await AsyncConnection.connect(url) as connection:
        return await (await connection.execute(CATALOG)).fetchall()


async def someone_waits_for(url: str, pid: int) -> None:
    """Wait until someone waits for a lock that this connection has."""
    waiting = "SELECT FROM pg_stat_activity WHERE %s = ANY(pg_blocking_pids(pid))"
    async with await AsyncConnection.connect(url, autocommit=True) as looking:
        for _ in range(2000):
            if (await looking.execute(waiting, (pid,))).rowcount:
                return
            await asyncio.sleep(0.01)
    raise AssertionError("nobody waits")
