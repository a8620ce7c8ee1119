"""The schema brought up at start: the models' own, by whoever comes first, ours alone."""

import asyncio
import sys
from typing import Any

import pytest
from alembic import command
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, event
from sqlalchemy.exc import DBAPIError
from sqlmodel import SQLModel

from backend.database import SCHEMA_VERSION, VERSION_TABLE, create_db_and_tables, is_ready
from backend.postgres.migrations import alembic_config
from backend.tests.support.databases import (
    MakeDatabase,
    MakeEngine,
    catalog,
    engine_for,
    execute,
    scalar,
)

__all__ = ["engine_for"]


async def test_the_migrated_schema_is_that_of_the_models(
    make_database: MakeDatabase, database_url: str, engine_for: MakeEngine
) -> None:
    url = await make_database()
    async with engine_for(url).begin() as connection:
        await connection.run_sync(SQLModel.metadata.create_all)
    assert await catalog(database_url) == await catalog(url)


async def test_autogenerate_finds_nothing_to_do_and_looks_at_no_table_of_others(
    database_url: str, engine_for: MakeEngine
) -> None:
    await execute(database_url, 'CREATE TABLE "user" (id text PRIMARY KEY)')

    def check(connection: Connection) -> None:
        command.check(alembic_config(connection, VERSION_TABLE))

    async with engine_for(database_url).begin() as connection:
        await connection.run_sync(check)


async def test_the_schema_version_known_to_the_code_is_the_newest_revision(
    database_url: str, engine_for: MakeEngine
) -> None:
    engine = engine_for(database_url)
    async with engine.connect() as connection:
        config = await connection.run_sync(alembic_config, VERSION_TABLE)
    assert ScriptDirectory.from_config(config).get_current_head() == SCHEMA_VERSION
    assert await scalar(engine, f"SELECT version_num FROM {VERSION_TABLE}") == SCHEMA_VERSION


async def test_tables_and_versions_of_others_are_left_alone(
    make_database: MakeDatabase, engine_for: MakeEngine
) -> None:
    url = await make_database()
    await execute(
        url,
        'CREATE TABLE "user" (id text PRIMARY KEY, name text)',
        'CREATE TABLE "session" (id text PRIMARY KEY, token text, "expiresAt" timestamp)',
        "CREATE TABLE alembic_version (version_num varchar(32) PRIMARY KEY)",
        "INSERT INTO alembic_version VALUES ('theirs')",
        "INSERT INTO \"user\" VALUES ('u1', 'Ann')",
    )
    others = """SELECT string_agg(table_name || column_name || data_type, ',' ORDER BY 1)
        FROM information_schema.columns
        WHERE table_name IN ('user', 'session', 'account', 'verification', 'alembic_version')"""
    engine = engine_for(url)
    before = await scalar(engine, others)
    await create_db_and_tables(engine)
    assert await scalar(engine, others) == before
    assert await scalar(engine, "SELECT version_num FROM alembic_version") == "theirs"
    assert await scalar(engine, 'SELECT name FROM "user"') == "Ann"


async def test_replicas_that_start_at_once_on_an_empty_database_all_succeed(
    make_database: MakeDatabase, engine_for: MakeEngine
) -> None:
    url = await make_database()
    engines = [engine_for(url) for _ in range(6)]
    await asyncio.gather(*map(create_db_and_tables, engines))
    assert all([await is_ready(engine) for engine in engines])
    assert await scalar(engines[0], f"SELECT count(*) FROM {VERSION_TABLE}") == 1


REPLICA = """
import asyncio, sys
from backend.config import Settings
from backend.database import create_db_and_tables, create_engine
async def main(url):
    engine = create_engine(Settings(_env_file=None), url)
    await create_db_and_tables(engine)
    await engine.dispose()
sys.stdin.readline()
asyncio.run(main(sys.argv[1]))
"""


async def test_replicas_in_processes_of_their_own_all_succeed(
    make_database: MakeDatabase, engine_for: MakeEngine
) -> None:
    url = await make_database()
    replicas = [
        await asyncio.create_subprocess_exec(
            sys.executable, "-c", REPLICA, url, stdin=asyncio.subprocess.PIPE
        )
        for _ in range(2)
    ]
    await asyncio.gather(*(replica.communicate(b"go\n") for replica in replicas))
    assert [replica.returncode for replica in replicas] == [0, 0]
    assert await is_ready(engine_for(url))


async def test_a_failed_migration_leaves_nothing_behind(
    make_database: MakeDatabase, engine_for: MakeEngine
) -> None:
    url = await make_database()
    await execute(url, "CREATE TABLE tasks (id text PRIMARY KEY)", "INSERT INTO tasks VALUES ('x')")
    engine = engine_for(url)
    with pytest.raises(DBAPIError):
        await create_db_and_tables(engine)
    assert await scalar(engine, "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'") == 1


async def test_at_the_newest_version_a_start_needs_one_query_and_no_alembic(
    database_url: str, engine_for: MakeEngine
) -> None:
    engine = engine_for(database_url)
    statements: list[str] = []

    @event.listens_for(engine.sync_engine, "before_cursor_execute")
    def note(_c: Any, _cursor: Any, statement: str, *_: Any) -> None:
        statements.append(statement)

    await scalar(engine, "SELECT 1")  # the first connection's own questions
    statements.clear()
    await create_db_and_tables(engine)
    assert len(statements) == 1


async def test_a_newer_schema_serves_an_older_replica(
    database_url: str, engine_for: MakeEngine
) -> None:
    await execute(database_url, f"UPDATE {VERSION_TABLE} SET version_num = '9999'")
    engine = engine_for(database_url)
    await create_db_and_tables(engine)
    assert await is_ready(engine)
