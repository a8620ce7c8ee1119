"""Every wait for the database ends: with an answer, or with 503 and the connection thrown away."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import NamedTuple

import httpx
import pytest
from fastapi import FastAPI
from psycopg import AsyncConnection, Error, OperationalError
from psycopg.errors import IdleInTransactionSessionTimeout, TransactionTimeout
from sqlalchemy import text

from backend.database import Sessions, is_ready
from backend.errors import is_outage
from backend.postgres.connection import Asked
from backend.postgres.queries import Query
from backend.tests.support import better_auth
from backend.tests.support.databases import execute, temporary_database
from backend.tests.support.fixtures import client_of, make_settings, running
from backend.tests.support.side_by_side import Ends, SideBySide
from backend.tests.support.tcp_proxy import TcpProxy, Trouble, tcp_proxy

pytestmark = [pytest.mark.long, pytest.mark.waits]

READ_LIMIT = 6.0
READY_LIMIT = 2.0


class Service(NamedTuple):
    """An app whose database is behind a proxy, warm, and a client of it."""

    app: FastAPI
    client: httpx.AsyncClient
    proxy: TcpProxy
    url: str
    """The database, past the proxy."""


@asynccontextmanager
async def service(postgres_url: str, template: str) -> AsyncIterator[Service]:
    async with AsyncExitStack() as stack:
        url = await stack.enter_async_context(temporary_database(postgres_url, template))
        await better_auth.execute(url, better_auth.TABLES)
        token = await better_auth.sign_in(url, await better_auth.add_user(url, "alice"))
        proxy = await stack.enter_async_context(tcp_proxy(url))
        settings = make_settings(proxy.url, database_pool_size=3)
        app = await stack.enter_async_context(running(settings))
        client = await stack.enter_async_context(client_of(app, token))
        assert (await client.get("/api/tasks")).status_code == 200
        await app.state.upkeep.began.wait()
        yield Service(app, client, proxy, url)


cases = SideBySide[Service]()


@pytest.fixture(scope="module")
async def ends(
    request: pytest.FixtureRequest, postgres_url: str, migrated_template: str
) -> AsyncIterator[Ends]:
    async with cases.played(request, partial(service, postgres_url, migrated_template)) as ends:
        yield ends


@asynccontextmanager
async def within(seconds: float) -> AsyncIterator[None]:
    loop = asyncio.get_running_loop()
    began = loop.time()
    yield
    assert loop.time() - began < seconds


async def recovers(on: Service, hang: Callable[[], object], *, once: bool = False) -> None:
    """Nobody is kept while the database hangs, and all is well once it does not."""
    app, client, proxy, _ = on
    hang()
    async with within(READY_LIMIT):
        assert (await client.get("/ready")).status_code == 503
    if once:
        hang()
    async with within(READ_LIMIT):
        answers = await asyncio.gather(*(client.get("/api/tasks") for _ in range(5)))
    assert {answer.status_code for answer in answers} <= {200, 503}
    proxy.thaw()
    proxy.heal()
    async with within(READ_LIMIT):
        assert (await client.get("/api/tasks")).status_code == 200
    assert app.state.pool.in_use == 0


@cases.case
async def test_a_read_and_readiness_are_answered_in_time_and_all_recovers(on: Service) -> None:
    await recovers(on, on.proxy.freeze)


@cases.case
async def test_so_they_are_where_nothing_comes_back_any_more(on: Service) -> None:
    await recovers(on, on.proxy.black_hole)


@cases.case
async def test_so_they_are_where_a_word_is_lost_in_the_middle(on: Service) -> None:
    await recovers(on, on.proxy.drop_answers, once=True)


@cases.case
async def test_a_write_that_waits_for_a_strangers_lock_is_given_up_and_lets_go(on: Service) -> None:
    client = on.client
    task = (await client.post("/api/tasks", json={"title": "Milk"})).json()
    path = f"/api/tasks/{task['id']}/complete"
    async with await AsyncConnection.connect(on.url) as stranger:
        await stranger.execute("SELECT FROM tasks FOR UPDATE")
        async with within(READ_LIMIT):
            assert (await client.patch(path)).status_code == 503
        await stranger.rollback()
    assert (await client.patch(path)).json()["completed"] is True


@cases.case
async def test_what_must_not_wait_takes_no_connection_that_may_hang_as_another_did(
    on: Service,
) -> None:
    app, client, proxy, _ = on
    marks = Sessions(app.state.mark_pool, autocommit=True)
    question = text("SELECT pg_backend_pid() AS served_by")
    async with marks() as session:
        before = (await session.execute(question)).one().served_by
    proxy.black_hole()
    assert (await client.get("/api/tasks")).status_code == 503
    proxy.heal()
    async with marks() as session:
        assert (await session.execute(question)).one().served_by != before


@cases.case
async def test_a_commit_that_hangs_is_given_up(on: Service) -> None:
    client = on.client
    hung = on.proxy.on(b"COMMIT", Trouble.BLACK_HOLE, after=b"Milk")
    async with within(READ_LIMIT):
        assert (await client.post("/api/tasks", json={"title": "Milk"})).status_code == 503
    assert hung.is_set()
    assert (await client.get("/api/tasks")).json()["total"] == 0


@cases.case
async def test_a_table_locked_by_a_stranger_keeps_nobody_for_long(on: Service) -> None:
    client = on.client
    async with await AsyncConnection.connect(on.url) as stranger:
        await stranger.execute("LOCK TABLE tasks IN ACCESS EXCLUSIVE MODE")
        async with within(READ_LIMIT):
            answers = await asyncio.gather(*(client.get("/api/tasks") for _ in range(6)))
        assert {answer.status_code for answer in answers} == {503}
        assert (await client.get("/ready")).status_code == 200
        await stranger.rollback()
    assert (await client.get("/api/tasks")).status_code == 200
    assert on.app.state.pool.in_use == 0


@cases.case
async def test_a_service_whose_database_hangs_stops_in_time(on: Service) -> None:
    async with tcp_proxy(on.url) as proxy, AsyncExitStack() as stack:
        app = await stack.enter_async_context(running(make_settings(proxy.url)))
        connection = await app.state.pool.take()
        proxy.freeze()
        asking = asyncio.create_task(connection.ask([Asked(Query(b"SELECT 1"))]))
        async with within(READ_LIMIT):
            await stack.aclose()
            with pytest.raises(OperationalError):
                await asking


@cases.case
async def test_a_primary_that_can_only_be_read_is_an_outage(on: Service) -> None:
    app, client, proxy, url = on
    name = url.split("?")[0].rpartition("/")[2]
    await execute(url, f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    proxy.cut()
    assert (await client.post("/api/tasks", json={"title": "Milk"})).status_code == 503
    assert not await is_ready(app.state.pool)
    assert (await client.get("/api/tasks")).status_code == 200
    server = url.replace(f"/{name}", "/postgres")
    await execute(server, f"ALTER DATABASE {name} RESET default_transaction_read_only")
    answers = [await client.post("/api/tasks", json={"title": "Milk"}) for _ in range(2)]
    assert answers[-1].status_code == 201, "the connection that could only read is thrown away"
    assert await is_ready(app.state.pool)


@pytest.mark.parametrize("error", [IdleInTransactionSessionTimeout, TransactionTimeout])
def test_a_transaction_that_the_server_has_ended_for_its_time_is_an_outage(
    error: type[Error],
) -> None:
    """Whether its word or the end of the connection comes first is up to the network."""
    assert is_outage(error())
