"""Alembic, for the three tables this service owns; configured here, without an alembic.ini."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection


def alembic_config(connection: Connection, version_table: str) -> Config:
    """What Alembic's commands need to work on `connection`, in the transaction it is in."""
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    config.attributes.update(connection=connection, version_table=version_table)
    return config


def upgrade(connection: Connection, version_table: str) -> None:
    """Run every revision that the database does not have; the caller commits."""
    command.upgrade(alembic_config(connection, version_table), "head")
