"""Alembic, for the three tables this service owns; configured here, without an alembic.ini."""

from collections.abc import Mapping
from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError

from backend.postgres.engine import open_engine

LOCK_S = 30.0
"""Seconds that a migration waits for a lock, of a table or of another replica's migration."""


def alembic_config(connection: Connection, version_table: str) -> Config:
    """What Alembic's commands need to work on `connection`, in the transaction it is in."""
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    config.attributes.update(connection=connection, version_table=version_table)
    return config


def upgrade(connection: Connection, version_table: str) -> None:
    """Run every revision that the database does not have; the caller commits."""
    command.upgrade(alembic_config(connection, version_table), "head")


async def migrate(parameters: Mapping[str, str], version_table: str, lock: int) -> None:
    """Run what is missing in one transaction, while no other replica does.

    Raises:
        psycopg.Error: it was not done, and nothing of it was.
        Unfit: what is there is nothing that can be adopted.
    """
    try:
        async with open_engine(parameters) as engine, engine.begin() as connection:
            await connection.execute(text(f"SET LOCAL lock_timeout = {1000 * LOCK_S:.0f}"))
            await connection.execute(text("SET LOCAL statement_timeout = 0"))
            await connection.execute(text(f"SELECT pg_advisory_xact_lock({lock})"))
            await connection.run_sync(upgrade, version_table)
    except DBAPIError as error:
        raise error.orig or error from error
