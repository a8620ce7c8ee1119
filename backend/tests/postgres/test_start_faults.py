"""A database that cannot serve is told of in one line that says what to do."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from psycopg import AsyncConnection
from sqlalchemy import make_url

from backend.postgres import migrations
from backend.postgres.fitness import Unfit, check_server
from backend.tests.support.databases import MakeDatabase, bring_up, execute, scalar

UNFIT = {
    "a view": (["CREATE VIEW tasks AS SELECT 1 AS id"], "tasks is a view"),
    "a materialized view": (
        ["CREATE MATERIALIZED VIEW messages AS SELECT 1 AS id"],
        "messages is a materialized view",
    ),
    "partitioned": (
        ["CREATE TABLE conversations (id bigint) PARTITION BY RANGE (id)"],
        "conversations is a partitioned table",
    ),
    "uuid": (["CREATE TABLE tasks (id uuid PRIMARY KEY)"], "tasks.id is of type uuid"),
    "text": (["CREATE TABLE messages (id text PRIMARY KEY)"], "messages.id is of type text"),
    "a value": (
        [
            "CREATE TABLE tasks (id serial PRIMARY KEY, user_id text, title text, completed text)",
            "INSERT INTO tasks (user_id, title, completed) VALUES ('u', 't', 'perhaps')",
        ],
        "invalid input syntax for type boolean",
    ),
}


@pytest.mark.parametrize("kind", UNFIT)
async def test_what_cannot_be_adopted_is_named_and_left_alone(
    kind: str, make_database: MakeDatabase
) -> None:
    statements, said = UNFIT[kind]
    url = await make_database()
    await execute(url, *statements)
    with pytest.raises(Unfit, match=said) as refused:
        await bring_up(url)
    assert "\n" not in str(refused.value)
    assert str(refused.value).startswith("DATABASE_URL: ")
    tables = "SELECT count(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace"
    assert await scalar(url, f"{tables} AND relname = 'chat_alembic_version'") == 0


@asynccontextmanager
async def powerless(url: str) -> AsyncIterator[str]:
    """The address for a role that may do nothing but connect."""
    name = f"powerless_{make_url(url).database}"
    await execute(url, f"CREATE ROLE {name} LOGIN")
    try:
        yield make_url(url).set(username=name).render_as_string(hide_password=False)
    finally:
        await execute(url, f"DROP OWNED BY {name}", f"DROP ROLE {name}")


@pytest.mark.parametrize("before", [[], ["CREATE TABLE tasks (id serial PRIMARY KEY)"]])
async def test_a_role_without_rights_is_told_which(
    before: list[str], make_database: MakeDatabase
) -> None:
    url = await make_database()
    await execute(url, *before)
    async with powerless(url) as address:
        with pytest.raises(Unfit, match="grant the role CREATE") as refused:
            await bring_up(address)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("encoding", ["LATIN1", "SQL_ASCII"])
async def test_an_encoding_that_cannot_hold_every_text_is_refused(
    encoding: str, postgres_url: str
) -> None:
    name = f"test_encoding_{encoding.lower()}"
    options = "LC_COLLATE 'C' LC_CTYPE 'C' LOCALE_PROVIDER libc TEMPLATE template0"
    await execute(postgres_url, f"CREATE DATABASE {name} ENCODING '{encoding}' {options}")
    try:
        url = make_url(postgres_url).set(database=name).render_as_string(hide_password=False)
        with pytest.raises(Unfit, match=f"encoding {encoding}"):
            await bring_up(url)
    finally:
        await execute(postgres_url, f"DROP DATABASE {name} WITH (FORCE)")


@pytest.mark.parametrize("version", ["14.11", "9.6.24"])
def test_an_old_server_is_refused_in_one_line(version: str) -> None:
    with pytest.raises(Unfit, match=f"Postgres {version}: 15 or newer"):
        check_server({"server_version": version, "server_encoding": "UTF8"}.__getitem__)


@pytest.mark.parametrize("version", ["15.3 (Debian 15.3-1)", "18.1", "19beta1"])
def test_others_are_not(version: str) -> None:
    check_server({"server_version": version, "server_encoding": "UTF8"}.__getitem__)


async def test_a_migration_does_not_wait_for_a_lock_for_ever(
    make_database: MakeDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(migrations, "PATIENCE_S", 0.2)
    url = await make_database()
    await execute(url, "CREATE TABLE tasks (id serial PRIMARY KEY, title text)")
    async with await AsyncConnection.connect(url) as stranger:
        await stranger.execute("SELECT FROM tasks")
        with pytest.raises(Unfit, match="another session holds a lock"):
            await bring_up(url)
    await bring_up(url)
