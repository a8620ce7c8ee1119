"""The proxy that the tests put before Postgres does to a connection what a network does."""

import asyncio
from collections.abc import AsyncIterator, Awaitable

import psycopg
import pytest
from psycopg import AsyncConnection, OperationalError

from backend.tests.support.tcp_proxy import TcpProxy, Trouble, tcp_proxy


@pytest.fixture
async def proxy(database_url: str) -> AsyncIterator[TcpProxy]:
    async with tcp_proxy(database_url) as proxy:
        yield proxy


@pytest.fixture
async def connection(proxy: TcpProxy) -> AsyncIterator[AsyncConnection]:
    async with await AsyncConnection.connect(proxy.url) as connection:
        yield connection


async def hangs(waiting: Awaitable[object]) -> bool:
    """Whether it has not ended after a moment; it goes on."""
    task = asyncio.ensure_future(waiting)
    await asyncio.wait([task], timeout=0.2)
    if task.done():
        return False
    task.cancel()
    return True


async def test_a_statement_is_one_round_trip_that_takes_its_delay(
    proxy: TcpProxy, connection: AsyncConnection
) -> None:
    await connection.set_autocommit(True)
    before, proxy.delay = proxy.round_trips, 0.1
    began = asyncio.get_running_loop().time()
    await connection.execute("SELECT 1")
    assert asyncio.get_running_loop().time() - began >= 0.1
    assert proxy.round_trips - before == 1


async def test_a_black_hole_closes_nothing_and_lasts_after_it_is_healed(
    proxy: TcpProxy, connection: AsyncConnection
) -> None:
    proxy.black_hole()
    assert await hangs(AsyncConnection.connect(proxy.url))
    proxy.heal()
    async with await AsyncConnection.connect(proxy.url) as other:
        await other.execute("SELECT 1")
    assert await hangs(connection.execute("SELECT 1"))
    await asyncio.to_thread(connection.pgconn.finish)


async def test_what_is_frozen_arrives_when_it_is_thawed(
    proxy: TcpProxy, connection: AsyncConnection
) -> None:
    proxy.freeze()
    asked = asyncio.create_task(connection.execute("SELECT 1"))
    await asyncio.wait([asked], timeout=0.1)
    assert not asked.done()
    proxy.thaw()
    await asked


@pytest.mark.parametrize("trouble", [Trouble.LOSE_ANSWER, Trouble.CUT])
async def test_a_commit_whose_word_is_lost_is_done_and_one_that_is_cut_off_is_not(
    trouble: Trouble, proxy: TcpProxy, connection: AsyncConnection, database_url: str
) -> None:
    await connection.execute("INSERT INTO tasks (user_id, title) VALUES ('u', 'Milk')")
    happened = proxy.on(b"COMMIT", trouble)
    with pytest.raises(OperationalError):
        await connection.commit()
    assert happened.is_set()
    with psycopg.connect(database_url) as beside:
        [[count]] = beside.execute("SELECT count(*) FROM tasks").fetchall()
    assert bool(count) == (trouble is Trouble.LOSE_ANSWER)
