"""SQLAlchemy's engine, for Alembic; what serves requests goes by `backend.postgres.pool`."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import NullPool


@asynccontextmanager
async def open_engine(parameters: Mapping[str, str]) -> AsyncIterator[AsyncEngine]:
    """An engine that keeps no connection; `parameters` are libpq's."""
    engine = create_async_engine(
        "postgresql+psycopg://",
        connect_args={**parameters, "prepare_threshold": None},
        poolclass=NullPool,
        isolation_level="READ COMMITTED",
        hide_parameters=True,
        use_native_hstore=False,
    )
    try:
        yield engine
    finally:
        await engine.dispose()
