"""Databases of an earlier backend, adopted as a start of the service does it, and looked at."""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from psycopg import AsyncConnection
from psycopg.rows import dict_row
from sqlmodel import SQLModel, select

from backend.database import VERSION_TABLE
from backend.tests.support import earlier_backend as earlier
from backend.tests.support.databases import MakeDatabase, bring_up, catalog, execute, open_sessions

type Row = dict[str, Any]
type MakeEarlier = Callable[[earlier.Form], Awaitable[str]]


@pytest.fixture
async def make_earlier(make_database: MakeDatabase) -> MakeEarlier:
    """Makes databases of an earlier backend, not adopted yet."""

    async def make(form: earlier.Form) -> str:
        url = await make_database()
        # the rows are written first, for the zone must not be taken into account then either
        await execute(url, *earlier.statements(form))
        await execute(url, _set_zone(url, form.zone))
        return url

    return make


def _set_zone(url: str, zone: str) -> str:
    name = url.split("?")[0].rpartition("/")[2]
    return f"ALTER DATABASE {name} SET TimeZone = '{zone}'"


async def adopt(url: str) -> None:
    await bring_up(url)


async def adopt_again(url: str) -> None:
    """As if it had never been adopted: the version is forgotten, so all steps run anew."""
    await execute(url, f"DROP TABLE {VERSION_TABLE}")
    await adopt(url)


async def rows_of[T: SQLModel](url: str, table: type[T]) -> list[T]:
    """All rows as the service reads them, by id."""
    async with open_sessions(url) as sessions, sessions() as session:
        rows = (await session.exec(select(table))).all()
    return sorted(rows, key=lambda row: row.id)  # type: ignore[attr-defined]


async def query(url: str, sql: str) -> list[Row]:
    async with await AsyncConnection.connect(url, row_factory=dict_row) as connection:
        return await (await connection.execute(sql.encode())).fetchall()


async def everything(url: str) -> list[Any]:
    """Each row as text and each part of the schema."""
    dumps = [
        await query(url, f"SELECT t::text FROM {name} t ORDER BY 1")
        for name in ("tasks", "conversations", "messages")
    ]
    return [*dumps, await catalog(url)]
