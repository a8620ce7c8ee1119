"""Real databases for the tests: one embedded server for the run, one database for each test."""

import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Protocol

import pytest
from psycopg import AsyncConnection
from sqlalchemy import event, make_url, text
from sqlalchemy.ext.asyncio import AsyncEngine

from backend.config import Settings
from backend.database import create_db_and_tables, create_engine
from backend.postgres.embedded import start_embedded

_numbers = count(1)

type MakeEngine = Callable[..., AsyncEngine]


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
    """The name of a database with our tables and no rows; nobody may be connected to it."""
    async with temporary_database(postgres_url) as url:
        engine = create_engine(Settings(_env_file=None), url)
        await create_db_and_tables(engine)
        await engine.dispose()
        yield make_url(url).database or ""


@pytest.fixture
async def database_url(make_database: MakeDatabase, migrated_template: str) -> str:
    """A database of the test's own with our tables and no rows."""
    return await make_database(migrated_template)


@pytest.fixture
async def engine_for() -> AsyncIterator[MakeEngine]:
    """Makes engines that are disposed of when the test is over."""
    engines: list[AsyncEngine] = []

    def make(url: str, **values: Any) -> AsyncEngine:
        engines.append(create_engine(Settings(_env_file=None, **values), url))
        return engines[-1]

    yield make
    for engine in engines:
        await engine.dispose()


@asynccontextmanager
async def temporary_database(server_url: str, template: str = "template0") -> AsyncIterator[str]:
    """A new database of the server, dropped at the end with whoever is still connected."""
    name = f"test_{os.getpid()}_{next(_numbers)}"
    await execute(server_url, f"CREATE DATABASE {name} TEMPLATE {template}")
    try:
        yield make_url(server_url).set(database=name).render_as_string(hide_password=False)
    finally:
        await execute(server_url, f"DROP DATABASE {name} WITH (FORCE)")


async def execute(url: str, *statements: str) -> None:
    """Run SQL beside the app, each statement committed by itself."""
    async with await AsyncConnection.connect(url, autocommit=True) as connection:
        for statement in statements:
            await connection.execute(statement.encode())


@contextmanager
def statements_sent(engine: AsyncEngine) -> Iterator[list[str]]:
    """What is sent through `engine` meanwhile, in order."""
    sent: list[str] = []

    def note(_: Any, __: Any, statement: str, *___: Any) -> None:
        sent.append(statement)

    event.listen(engine.sync_engine, "before_cursor_execute", note)
    try:
        yield sent
    finally:
        event.remove(engine.sync_engine, "before_cursor_execute", note)


async def scalar(engine: AsyncEngine, sql: str) -> Any:
    async with engine.connect() as connection:
        return await connection.scalar(text(sql))


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
