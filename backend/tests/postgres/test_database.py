"""The pool and its sessions, and whether the database is ready."""

import asyncio
import logging
from datetime import UTC, datetime

import httpx
import pytest
from fastapi import FastAPI
from psycopg import Error
from sqlalchemy import insert, text

from backend.database import (
    Session,
    SessionDep,
    Sessions,
    create_db_and_tables,
    is_ready,
)
from backend.models import Task
from backend.postgres.fitness import Unfit
from backend.postgres.pool import NoConnection, Pool
from backend.tests.support.databases import MakeDatabase, MakePool, execute, pool_for, scalar

__all__ = ["pool_for"]

TASKS = Task.metadata.tables["tasks"]


async def value(pool: Pool, sql: str) -> object:
    async with Session(pool, autocommit=True) as session:
        return (await session.execute(text(sql))).scalar()


async def test_the_pool_has_a_bound_and_a_wait_for_it_too(
    database_url: str, pool_for: MakePool
) -> None:
    pool = pool_for(database_url, database_pool_size=2)
    pool.checkout_s = 0.1
    held = [await pool.take() for _ in range(2)]
    with pytest.raises(NoConnection):
        await pool.take()
    for connection in held:
        pool.give_back(connection)
    assert await value(pool, "SELECT 1") == 1


async def test_a_connection_that_died_in_the_pool_is_replaced(
    database_url: str, pool_for: MakePool
) -> None:
    pool = pool_for(database_url)
    died = await value(pool, "SELECT pg_backend_pid()")
    await execute(database_url, f"SELECT pg_terminate_backend({died}, 5000)")
    assert await value(pool, "SELECT pg_backend_pid()") != died


async def test_an_error_does_not_quote_what_was_written(
    database_url: str, pool_for: MakePool, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    async with Session(pool_for(database_url)) as session:
        with pytest.raises(Error) as failed:
            await session.execute(text("SELECT 1 FROM nowhere WHERE x = :x"), {"x": "a secret"})
    assert "a secret" not in str(failed.value) + caplog.text


@pytest.mark.parametrize("zone", ["Asia/Karachi", "America/New_York"])
async def test_the_last_instant_there_is_comes_back_in_utc_whatever_the_servers_zone(
    zone: str, database_url: str, pool_for: MakePool
) -> None:
    name = await scalar(database_url, "SELECT current_database()")
    await execute(database_url, f"ALTER DATABASE {name} SET TimeZone = '{zone}'")
    last = datetime(9999, 12, 31, 23, 59, 59, 999999, tzinfo=UTC)
    async with Session(pool_for(database_url)) as session:
        adding = insert(TASKS).returning(TASKS.c.due_date)
        row = {"user_id": "u", "title": "t", "due_date": last}
        found = (await session.execute(adding, row)).scalar_one()
    assert found == last
    assert found.utcoffset() == UTC.utcoffset(None)


async def test_statements_are_in_fact_not_prepared_behind_a_pooler(
    database_url: str, pool_for: MakePool
) -> None:
    prepared = {}
    for address in (database_url, f"{database_url}&pgbouncer=true"):
        async with Session(pool_for(address)) as session:
            asking = text("SELECT 1")
            for _ in range(10):
                await session.execute(asking)
            count = text("SELECT count(*) FROM pg_prepared_statements")
            prepared[address] = (await session.execute(count)).scalar_one()
    assert [count > 0 for count in prepared.values()] == [True, False]


@pytest.mark.parametrize(
    "address",
    [
        "postgresql://u:hunter2@127.0.0.1:1/d",
        "postgresql://h/d?password=hunter2&port=1&hostaddr=127.0.0.1",
    ],
)
async def test_no_error_and_no_log_shows_the_password(
    address: str, pool_for: MakePool, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    pool = pool_for(address)
    assert not await is_ready(pool)
    with pytest.raises(Unfit) as refused:
        await create_db_and_tables(pool)
    assert "hunter2" not in str(refused.value) + repr(pool) + caplog.text


async def test_ready_is_said_only_with_our_tables_and_while_the_database_answers(
    make_database: MakeDatabase, pool_for: MakePool, caplog: pytest.LogCaptureFixture
) -> None:
    url = await make_database()
    pool = pool_for(url)
    assert not await is_ready(pool)
    await create_db_and_tables(pool)
    assert await is_ready(pool)
    assert not [record for record in caplog.records if record.name == "backend.database"]
    assert not await is_ready(pool_for("postgresql://127.0.0.1:1/none"))
    assert "not ready" in caplog.text


async def test_a_busy_pool_is_not_waited_for_to_say_not_ready(
    database_url: str, pool_for: MakePool
) -> None:
    pool = pool_for(database_url, database_pool_size=2)
    held = [await pool.take() for _ in range(2)]
    async with asyncio.timeout(2.5):
        assert not await is_ready(pool)
    for connection in held:
        pool.give_back(connection)


async def test_a_requests_session_does_not_commit_by_itself(
    database_url: str, pool_for: MakePool
) -> None:
    app = FastAPI()
    app.state.sessions = Sessions(pool_for(database_url))

    @app.post("/{commit}")
    async def add(session: SessionDep, commit: bool) -> int:
        adding = insert(TASKS).returning(TASKS.c.id)
        added = await session.execute(adding, {"user_id": "u", "title": "a title"})
        if commit:
            await session.commit()
        return added.rowcount

    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://t") as client:
        for commit, rows in (("false", 0), ("true", 1)):
            assert (await client.post(f"/{commit}")).json() == 1
            assert await scalar(database_url, "SELECT count(*) FROM tasks") == rows
