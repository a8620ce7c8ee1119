"""`python -m backend.erase --orphans`: erase people whom Better Auth has deleted."""
# ruff: noqa: S608  # the tables that are counted are constants

import argparse
import asyncio
import sys
from collections.abc import Sequence

from psycopg import Error
from sqlalchemy import text

from backend.config import Settings, load_settings
from backend.database import Pool, Sessions, create_db_and_tables, create_pool
from backend.errors import StartFailure
from backend.upkeep.erasing import begin_erasure, carry_on

NAMED = 20
"""People who are named at the most."""
LOOKS_S = 600.0
"""Seconds that looking through the whole database may take."""

_TABLES = ("tasks", "conversations", "messages", "projects", "calendar_feeds", "people", "spending")
_KNOWN = text("""
    SELECT count(*) FROM pg_attribute WHERE attrelid = to_regclass('"user"')
    AND attname = 'id' AND NOT attisdropped
""")
_ANYBODY = text('SELECT EXISTS (SELECT FROM "user")')
_ORPHANS = text(
    "SELECT user_id, sum(rows)::bigint AS rows FROM ("
    + " UNION ALL ".join(
        f"SELECT user_id, count(*) AS rows FROM {table} GROUP BY user_id" for table in _TABLES
    )
    + ') AS counted WHERE NOT EXISTS (SELECT FROM "user" WHERE id::text = user_id)'
    " AND user_id IS NOT NULL GROUP BY user_id ORDER BY user_id"
)


class Refused(StartFailure):
    """It cannot be told who is gone."""


async def find_orphans(settings: Settings, sessions: Sessions) -> dict[str, int]:
    """Who has rows of ours and is not known to Better Auth any more, and how many.

    Raises:
        Refused: the ids may be of people whom this database does not list.
    """
    if settings.better_auth_url is not None:
        raise Refused("BETTER_AUTH_URL is set: JWTs may name people whom no table here lists")
    async with sessions() as session:
        if not (await session.execute(_KNOWN)).scalar_one():
            raise Refused("there is no table user with an id: is this Better Auth's database?")
        if not (await session.execute(_ANYBODY)).scalar_one():
            raise Refused("Better Auth's table user is empty: all would be gone")
        return {row.user_id: row.rows for row in await session.execute(_ORPHANS)}


async def erase_orphans(settings: Settings, pool: Pool, *, sure: bool) -> None:
    """Say whom it means; where that is wanted, erase them, one after another."""
    looking = Sessions(pool, autocommit=True, seconds=LOOKS_S)
    orphans = await find_orphans(settings, looking)
    for user_id, rows in list(orphans.items())[:NAMED]:
        _say(f"{user_id!r}: {rows} rows")
    _say(f"{len(orphans)} people, {sum(orphans.values())} rows in all")
    if not sure:
        _say("Nothing was done. With --yes they are erased, for good.")
        return
    sessions = Sessions(pool)
    for user_id in orphans:
        await begin_erasure(sessions, user_id, orphan=True)
        await carry_on(sessions, user_id)
    _say("They are erased.")


async def _erase_by_settings(settings: Settings, sure: bool) -> None:
    if settings.database_url is None:
        raise Refused("DATABASE_URL is not set")
    pool = create_pool(settings, settings.database_url.get_secret_value())
    try:
        await create_db_and_tables(pool)
        await erase_orphans(settings, pool, sure=sure)
    except (Error, TimeoutError) as error:
        raise StartFailure(f"the database: {type(error).__name__}; run it again") from error
    finally:
        await pool.close()


def main(arguments: Sequence[str] | None = None) -> None:
    """Exits with 2 where it is refused."""
    parser = argparse.ArgumentParser(prog="python -m backend.erase", description=__doc__)
    parser.add_argument(
        "--orphans", action="store_true", required=True, help="people whom Better Auth has deleted"
    )
    parser.add_argument("--yes", action="store_true", help="do it; else say what would be done")
    options = parser.parse_args(arguments)
    try:
        asyncio.run(_erase_by_settings(load_settings(), options.yes))
    except StartFailure as error:
        sys.stderr.write(f"backend: {error}\n")
        sys.exit(2)


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")


if __name__ == "__main__":
    main()
