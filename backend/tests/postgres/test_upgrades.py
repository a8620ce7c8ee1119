"""Others serve while the schema is brought up: no big table is rewritten, nobody waits for long."""

import asyncio
import logging
import re
from pathlib import Path
from time import monotonic

import pytest
from alembic import command
from alembic.script import ScriptDirectory
from psycopg import AsyncConnection
from sqlalchemy import Connection

from backend.database import VERSION_TABLE
from backend.postgres import migrations
from backend.postgres.migrations import alembic_config, versions
from backend.tests.support.databases import MakeDatabase, bring_up, engine_on, execute

BIG = ("tasks", "conversations", "messages")
MANY = 10_001
"""More rows than a migration indexes within its transaction."""
ROWS = (
    f"INSERT INTO tasks (user_id, title) SELECT 'someone', n FROM generate_series(1, {MANY}) n",
    f"INSERT INTO conversations (user_id) SELECT 'someone' FROM generate_series(1, {MANY})",
    "INSERT INTO messages (conversation_id, user_id, role, content)"
    " SELECT id, user_id, 'user', 'said' FROM conversations",
)
AT_ONCE = {"0002", "0004", "0005", "0006"}
"""Those that made an index while others waited, before there was a release to serve beside them."""


def revisions(connection: Connection) -> list[str]:
    """All of them, the first one first."""
    scripts = ScriptDirectory.from_config(alembic_config(connection, VERSION_TABLE))
    return [each.revision for each in scripts.walk_revisions()][::-1]


def upgrade_to(connection: Connection, revision: str) -> None:
    command.upgrade(alembic_config(connection, VERSION_TABLE), revision)


STATE = " UNION ALL ".join(
    f"""
    SELECT 'file of {table}', pg_relation_filenode('{table}')::text
    UNION ALL SELECT 'rows of {table}', md5(string_agg(xmin::text, ' ' ORDER BY id)) FROM {table}
    UNION ALL SELECT 'indexes of {table}', string_agg(indexrelid::text, ' ' ORDER BY indexrelid)
    FROM pg_index WHERE indrelid = '{table}'::regclass
    """
    for table in BIG
)
"""The file of each big table, which a rewrite changes; who wrote its rows; its indexes."""


async def state(looking: AsyncConnection) -> dict[str, str]:
    return dict(await (await looking.execute(STATE.encode())).fetchall())


async def test_no_migration_rewrites_a_big_table_or_its_rows_or_indexes_it_while_others_wait(
    make_database: MakeDatabase,
) -> None:
    url = await make_database()
    async with (
        engine_on(url) as engine,
        engine.connect() as connection,
        await AsyncConnection.connect(url, autocommit=True) as looking,
    ):
        first, *later = await connection.run_sync(revisions)
        await connection.run_sync(upgrade_to, first)
        await connection.commit()
        await execute(url, *ROWS)
        before = await state(looking)
        for revision in later:
            await connection.run_sync(upgrade_to, revision)
            await connection.commit()
            after = await state(looking)
            changed = {what for what, was in before.items() if after[what] != was}
            if revision in AT_ONCE:
                changed = {what for what in changed if not what.startswith("indexes")}
            assert not changed, f"migration {revision} changes the {sorted(changed)}"
            before = after


LONG = {
    "a column of another type": r"ALTER \S+ TYPE|ALTER COLUMN",
    "a look at all rows": r"SET NOT NULL|ADD CONSTRAINT(?!.*NOT VALID)|REFERENCES",
    "a change of all rows": r"\bUPDATE \w+ SET|\bDELETE FROM|TRUNCATE",
    "a default that is made for each row": r"ADD COLUMN.*DEFAULT \w+\(",
    "a lock by name": r"LOCK TABLE|CLUSTER|VACUUM|REINDEX",
    "an index": r"CREATE (UNIQUE )?INDEX",
}
"""What rewrites a table, or reads all of it while others wait, by the words for it."""
EXCUSED = {
    **{("0002", what): "before the first release" for what in ("an index", "a look at all rows")},
    **{(number, "an index"): "before the first release" for number in ("0004", "0005", "0006")},
    ("0008", "an index"): "only of tables with few rows",
    ("0009", "a column of another type"): "a text made longer, which rewrites nothing",
    ("0009", "a change of all rows"): "of an earlier backend's conversations that need it",
    ("0012", "an index"): "of a table that it makes",
    ("0012", "a look at all rows"): "of a table that it makes",
    ("0013", "an index"): "of a table that it makes",
    ("0013", "a look at all rows"): "before the first release",
    ("0014", "an index"): "only of tables with few rows",
}


def test_no_migration_says_what_rewrites_or_locks_for_long_unless_it_is_excused() -> None:
    found = set()
    for path in sorted(Path(versions.__path__[0]).glob("v0*.py")):
        number, text = path.name[1:5], path.read_text()
        found |= {(number, what) for what, words in LONG.items() if re.search(words, text)}
    assert found - {("0001", what) for what in LONG} == EXCUSED.keys()


async def behind(url: str) -> str:
    """A database of the release before the migration that puts triggers on our tables."""
    async with engine_on(url) as engine, engine.begin() as connection:
        await connection.run_sync(upgrade_to, "0013")
    return url


async def test_who_uses_a_table_that_a_migration_waits_for_is_held_up_for_a_moment_only(
    make_database: MakeDatabase, caplog: pytest.LogCaptureFixture
) -> None:
    url = await behind(await make_database())
    async with (
        await AsyncConnection.connect(url, application_name="a report") as holder,
        await AsyncConnection.connect(url, autocommit=True) as served,
    ):
        await holder.execute("SELECT FROM messages")
        with caplog.at_level(logging.WARNING):
            migrating = asyncio.create_task(bring_up(url))
            while "waits for" not in caplog.text:
                assert not migrating.done()
                await asyncio.sleep(0)
        worst = 0.0
        for _ in range(2):
            begun = monotonic()
            await served.execute("INSERT INTO tasks (user_id, title) VALUES ('someone', 'x')")
            await served.execute(
                "INSERT INTO messages (conversation_id, user_id, role, content)"
                " SELECT max(id), 'someone', 'user', 'x' FROM conversations HAVING max(id) > 0"
            )
            worst = max(worst, monotonic() - begun)
        assert worst < 4 * migrations.TRY_S
        assert not migrating.done()
        await holder.rollback()
        await migrating
    line = next(each for each in caplog.messages if "waits for" in each)
    assert "\n" not in line
    assert " on messages, held by process " in line
    assert " of a report, idle in transaction for " in line


async def test_one_who_never_lets_go_is_named_and_the_start_fails_in_one_line(
    make_database: MakeDatabase,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(migrations, "PATIENCE_S", 0.5)
    url = await behind(await make_database())
    async with await AsyncConnection.connect(url) as holder:
        await holder.execute("LOCK TABLE tasks IN ROW EXCLUSIVE MODE")
        with (
            caplog.at_level(logging.WARNING),
            pytest.raises(Exception, match="another session holds a lock") as refused,
        ):
            await bring_up(url)
    assert "\n" not in str(refused.value)
    assert " on tasks, held by process " in caplog.text
