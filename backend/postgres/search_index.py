"""The indexes of the search made after the start, in a database that is too large to wait for them.

Searches work meanwhile, without them: slower, and of one person's messages all the same.
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
_INDEXES = {
    str(index.name): index
    for table in ("conversations", "messages")
    for index in SQLModel.metadata.tables[table].indexes
    if index.name and index.name.endswith("_search")
}
_STATE = text("""
    SELECT index.indisvalid, EXISTS (
        SELECT FROM pg_stat_progress_create_index WHERE index_relid = index.indexrelid
    ) AS being_made FROM pg_index AS index WHERE index.indexrelid = to_regclass(:name)
""")


@asynccontextmanager
async def keep_search_indexes(pool: Pool) -> AsyncIterator[None]:
    """See to it that the indexes come to be while the service runs."""
    building = asyncio.create_task(_until_there(pool))
    try:
        yield
    finally:
        building.cancel()
        with suppress(asyncio.CancelledError):
            await building


async def _until_there(pool: Pool) -> None:
    while True:
        try:
            if all([await make_index(pool, name) for name in _INDEXES]):
                return
        except (Error, SQLAlchemyError, OSError, TimeoutError) as error:
            logger.warning("search index not made yet: %s", type(error).__name__)
        await asyncio.sleep(RETRY_SECONDS)


async def make_index(pool: Pool, name: str) -> bool:
    """Make an index of the search unless it is there; false while another is making it.

    Writers go on meanwhile. What an interrupted try has left is no good, and goes first.
    """
    async with Session(pool, autocommit=True) as session:
        found = (await session.execute(_STATE, {"name": name})).one_or_none()
    if found is not None and (found.indisvalid or found.being_made):
        return bool(found.indisvalid)
    logger.warning("making %s; searches are slower until it is there", name)
    async with open_engine(pool.address) as engine, engine.connect() as connection:
        alone = await connection.execution_options(isolation_level="AUTOCOMMIT")
        create = str(CreateIndex(_INDEXES[name]).compile(dialect=alone.dialect))
        await alone.execute(text("SET statement_timeout = 0"))
        await alone.execute(text(f"DROP INDEX CONCURRENTLY IF EXISTS {name}"))
        await alone.exec_driver_sql(create.replace("INDEX", "INDEX CONCURRENTLY", 1))
    logger.warning("%s is there", name)
    return True
