"""Indexes made after the start, while others write, in a database too large to wait for them.

All works meanwhile without them, and slower: a search reads the person's own messages, what is to
be removed for good is looked for in whole tables.
"""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from psycopg import Error
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.schema import CreateIndex
from sqlmodel import SQLModel

import backend.models  # noqa: F401  # fills SQLModel.metadata
from backend.postgres.engine import open_engine
from backend.postgres.pool import Pool
from backend.postgres.session import Session

logger = logging.getLogger(__name__)

RETRY_SECONDS = 60.0
"""Between two tries, where another replica is at it or the database was away."""
_LATER = ("_search", "_deleted", "_project", "_keyed")
"""How the names end of those that a migration makes only where there is little to index."""
_INDEXES = {
    str(index.name): index
    for table in ("conversations", "messages", "tasks")
    for index in SQLModel.metadata.tables[table].indexes
    if index.name and index.name.endswith(_LATER)
}
_INDEX_STATE = text("""
    SELECT name, index.indisvalid IS TRUE AS there, EXISTS (
        SELECT FROM pg_stat_progress_create_index WHERE index_relid = index.indexrelid
    ) AS being_made
    FROM unnest(CAST(:names AS text[])) AS name
    LEFT JOIN pg_index AS index ON index.indexrelid = to_regclass(name)
""")


_IS_LEFT_OVER = text("""
    SELECT EXISTS (
        SELECT FROM pg_index WHERE indexrelid = to_regclass(:name) AND NOT indisvalid
        AND NOT EXISTS (SELECT FROM pg_stat_progress_create_index WHERE index_relid = indexrelid)
    )
""")


@asynccontextmanager
async def keep_later_indexes(pool: Pool) -> AsyncIterator[asyncio.Task[None] | None]:
    """See to it that the indexes come to be while the service runs; one query where they are.

    Gives what makes them; None where there is nothing to be made.
    """
    making = asyncio.create_task(_until_there(pool)) if await look(pool) else None
    try:
        yield making
    finally:
        if making is not None:
            making.cancel()
            with suppress(asyncio.CancelledError):
                await making


async def look(pool: Pool) -> dict[str, bool]:
    """The indexes that are not there, and whether another replica is making them."""
    async with Session(pool, autocommit=True) as session:
        rows = await session.execute(_INDEX_STATE, {"names": list(_INDEXES)})
    return {row.name: row.being_made for row in rows if not row.there}


async def _until_there(pool: Pool) -> None:
    while True:
        try:
            missing = await look(pool)
            for name in (name for name, being_made in missing.items() if not being_made):
                await _make(pool, name)
            if not any(missing.values()):
                return
        except (Error, SQLAlchemyError, OSError, TimeoutError) as error:
            logger.warning("index not made yet: %s", type(error).__name__)
        await asyncio.sleep(RETRY_SECONDS)


async def _make(pool: Pool, name: str) -> None:
    """Make an index while others write; what an interrupted try has left is no good.

    Another replica may have begun since it was looked for: then what it makes is waited for.
    """
    logger.warning("making %s; what needs it is slower until it is there", name)
    async with open_engine(pool.address) as engine, engine.connect() as connection:
        alone = await connection.execution_options(isolation_level="AUTOCOMMIT")
        create = str(CreateIndex(_INDEXES[name]).compile(dialect=alone.dialect))
        await alone.execute(text("SET statement_timeout = 0"))
        if (await alone.execute(_IS_LEFT_OVER, {"name": name})).scalar():
            await alone.execute(text(f"DROP INDEX CONCURRENTLY IF EXISTS {name}"))
        making = create.replace("INDEX", "INDEX CONCURRENTLY IF NOT EXISTS", 1)
        await alone.exec_driver_sql(making)
    logger.warning("%s is there", name)
