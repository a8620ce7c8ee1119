"""The engine, its sessions, and whether the database is ready."""

import asyncio
import logging
from datetime import UTC, datetime

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError, OperationalError
from sqlmodel import func, select

from backend.database import SessionDep, create_db_and_tables, create_sessions, is_ready
from backend.models import Task
from backend.tests.support.databases import MakeDatabase, MakeEngine, engine_for, execute, scalar

__all__ = ["engine_for"]


async def test_the_pool_has_a_bound_and_no_overflow(
    database_url: str, engine_for: MakeEngine
) -> None:
    engine = engine_for(database_url, database_pool_size=2)
    async with engine.connect(), engine.connect():
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await engine.connect()


async def test_a_connection_that_died_in_the_pool_is_replaced(
    database_url: str, engine_for: MakeEngine
) -> None:
    engine = engine_for(database_url)
    died = await scalar(engine, "SELECT pg_backend_pid()")
    await execute(database_url, f"SELECT pg_terminate_backend({died}, 5000)")
    assert await scalar(engine, "SELECT pg_backend_pid()") != died


async def test_an_error_does_not_quote_what_was_written(
    database_url: str, engine_for: MakeEngine
) -> None:
    async with engine_for(database_url).connect() as connection:
        with pytest.raises(DBAPIError) as failed:
            await connection.execute(text("SELECT 1 / length(:x)"), {"x": ""})
        await connection.rollback()
        with pytest.raises(DBAPIError) as failed:
            await connection.execute(text("SELECT 1 FROM nowhere WHERE x = :x"), {"x": "a secret"})
    assert "a secret" not in str(failed.value)


@pytest.mark.parametrize("zone", ["Asia/Karachi", "America/New_York"])
async def test_the_last_instant_there_is_comes_back_in_utc_whatever_the_servers_zone(
    zone: str, database_url: str, engine_for: MakeEngine
) -> None:
    engine = engine_for(database_url)
    async with engine.begin() as connection:
        name = await connection.scalar(text("SELECT current_database()"))
        await connection.execute(text(f"ALTER DATABASE {name} SET TimeZone = '{zone}'"))
    await engine.dispose()
    last = datetime(9999, 12, 31, 23, 59, 59, 999999, tzinfo=UTC)
    async with create_sessions(engine)() as session:
        session.add(Task(user_id="u", title="t", due_date=last))
        await session.commit()
        found = (await session.exec(select(Task.due_date))).one()
    assert found == last
    assert found.utcoffset() == UTC.utcoffset(None)


async def test_statements_are_in_fact_not_prepared_behind_a_pooler(
    database_url: str, engine_for: MakeEngine
) -> None:
    prepared = {}
    for address in (database_url, f"{database_url}&pgbouncer=true"):
        async with engine_for(address).connect() as connection:
            for _ in range(10):
                await connection.scalar(text("SELECT 1"))
            count = "SELECT count(*) FROM pg_prepared_statements"
            prepared[address] = await connection.scalar(text(count))
    assert [count > 0 for count in prepared.values()] == [True, False]


@pytest.mark.parametrize(
    "address",
    [
        "postgresql://u:hunter2@127.0.0.1:1/d",
        "postgresql://h/d?password=hunter2&port=1&hostaddr=127.0.0.1",
    ],
)
async def test_no_error_and_no_log_shows_the_password(
    address: str, engine_for: MakeEngine, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    engine = engine_for(address)
    assert not await is_ready(engine)
    with pytest.raises(OperationalError) as refused:
        await create_db_and_tables(engine)
    assert "hunter2" not in str(refused.value) + repr(engine) + caplog.text


async def test_ready_is_said_only_with_our_tables_and_while_the_database_answers(
    make_database: MakeDatabase, engine_for: MakeEngine, caplog: pytest.LogCaptureFixture
) -> None:
    url = await make_database()
    engine = engine_for(url)
    assert not await is_ready(engine)
    await create_db_and_tables(engine)
    assert await is_ready(engine)
    assert not [record for record in caplog.records if record.name == "backend.database"]
    assert not await is_ready(engine_for("postgresql://127.0.0.1:1/none"))
    assert "not ready" in caplog.text


async def test_a_busy_pool_is_not_waited_for_to_say_not_ready(
    database_url: str, engine_for: MakeEngine
) -> None:
    engine = engine_for(database_url, database_pool_size=2)
    async with engine.connect(), engine.connect(), asyncio.timeout(5):
        assert not await is_ready(engine)


async def test_a_requests_session_does_not_commit_by_itself(
    database_url: str, engine_for: MakeEngine
) -> None:
    app = FastAPI()
    app.state.sessions = create_sessions(engine_for(database_url))

    @app.post("/{commit}")
    async def add(session: SessionDep, commit: bool) -> str:
        task = Task(user_id="u", title="a title")
        session.add(task)
        await session.flush()
        if commit:
            await session.commit()
        return task.title  # readable after the commit, without asking again

    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://t") as client:
        for commit, rows in (("false", 0), ("true", 1)):
            assert (await client.post(f"/{commit}")).json() == "a title"
            async with app.state.sessions() as session:
                assert (await session.exec(select(func.count()).select_from(Task))).one() == rows
