"""The schema brought up at start: the models' own, by whoever comes first, ours alone."""

import asyncio
import sys

import pytest
from alembic import command
from alembic.script import ScriptDirectory
from sqlalchemy import Connection
from sqlmodel import SQLModel

from backend.database import SCHEMA_VERSION, VERSION_TABLE, create_db_and_tables, is_ready
from backend.postgres.fitness import Unfit
from backend.postgres.migrations import alembic_config
from backend.postgres.migrations.versions.v0008_search import make_search_functions
from backend.tests.support.databases import (
    MakeDatabase,
    MakePool,
    bring_up,
    catalog,
    engine_on,
    execute,
    pool_for,
    scalar,
    statements_sent,
)

__all__ = ["pool_for"]


async def test_the_migrated_schema_is_that_of_the_models(
    make_database: MakeDatabase, database_url: str, pool_for: MakePool
) -> None:
    url = await make_database()
    async with engine_on(url) as engine, engine.begin() as connection:
        await connection.run_sync(make_search_functions)  # which the indexes name
        await connection.run_sync(SQLModel.metadata.create_all)
    assert await catalog(database_url) == await catalog(url)


async def test_autogenerate_finds_nothing_to_do_and_looks_at_no_table_of_others(
    database_url: str, pool_for: MakePool
) -> None:
    await execute(database_url, 'CREATE TABLE "user" (id text PRIMARY KEY)')

    def check(connection: Connection) -> None:
        command.check(alembic_config(connection, VERSION_TABLE))

    async with engine_on(database_url) as engine, engine.begin() as connection:
        await connection.run_sync(check)


async def test_the_schema_version_known_to_the_code_is_the_newest_revision(
    database_url: str, pool_for: MakePool
) -> None:
    async with engine_on(database_url) as engine, engine.connect() as connection:
        config = await connection.run_sync(alembic_config, VERSION_TABLE)
    assert ScriptDirectory.from_config(config).get_current_head() == SCHEMA_VERSION
    assert await scalar(database_url, f"SELECT version_num FROM {VERSION_TABLE}") == SCHEMA_VERSION


async def test_tables_and_versions_of_others_are_left_alone(
    make_database: MakeDatabase, pool_for: MakePool
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
    before = await scalar(url, others)
    await bring_up(url)
    assert await scalar(url, others) == before
    assert await scalar(url, "SELECT version_num FROM alembic_version") == "theirs"
    assert await scalar(url, 'SELECT name FROM "user"') == "Ann"


async def test_replicas_that_start_at_once_on_an_empty_database_all_succeed(
    make_database: MakeDatabase, pool_for: MakePool
) -> None:
    url = await make_database()
    pools = [pool_for(url) for _ in range(6)]
    await asyncio.gather(*map(create_db_and_tables, pools))
    assert all([await is_ready(pool) for pool in pools])
    assert await scalar(url, f"SELECT count(*) FROM {VERSION_TABLE}") == 1


REPLICA = """
import asyncio, sys
from backend.config import Settings
from backend.database import create_db_and_tables, create_pool
async def main(url):
    pool = create_pool(Settings(_env_file=None), url)
    await create_db_and_tables(pool)
    await pool.close()
sys.stdin.readline()
asyncio.run(main(sys.argv[1]))
"""


@pytest.mark.e2e
async def test_replicas_in_processes_of_their_own_all_succeed(
    make_database: MakeDatabase, pool_for: MakePool
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
    assert await is_ready(pool_for(url))


async def test_a_failed_migration_leaves_nothing_behind(make_database: MakeDatabase) -> None:
    url = await make_database()
    await execute(url, "CREATE TABLE tasks (id text PRIMARY KEY)", "INSERT INTO tasks VALUES ('x')")
    with pytest.raises(Unfit):
        await bring_up(url)
    assert await scalar(url, "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'") == 1


async def test_at_the_newest_version_a_start_needs_one_query_and_no_alembic(
    database_url: str, pool_for: MakePool
) -> None:
    with statements_sent() as statements:
        await bring_up(database_url)
    assert len(statements) == 1


async def test_a_newer_schema_serves_an_older_replica(
    database_url: str, pool_for: MakePool
) -> None:
    await execute(database_url, f"UPDATE {VERSION_TABLE} SET version_num = '9999'")
    pool = pool_for(database_url)
    await create_db_and_tables(pool)
    assert await is_ready(pool)
