"""Better Auth's session table in the forms its generators give it, absent, late, or unreadable."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
from sqlalchemy import make_url

from backend.tests.support.better_auth import TABLES
from backend.tests.support.databases import execute, statements_sent
from backend.tests.support.fixtures import client_of, make_settings, running

DRIZZLE = """
CREATE TABLE NAME (
    id text PRIMARY KEY, expires_at timestamp NOT NULL, token text NOT NULL UNIQUE,
    created_at timestamp DEFAULT now() NOT NULL, updated_at timestamp DEFAULT now() NOT NULL,
    ip_address text, user_agent text, user_id text NOT NULL
)
"""
PRISMA = """
CREATE TABLE NAME (
    "id" TEXT NOT NULL PRIMARY KEY, "expiresAt" TIMESTAMP(3) NOT NULL, "token" TEXT NOT NULL UNIQUE,
    "createdAt" TIMESTAMP(3) NOT NULL DEFAULT now(), "userId" TEXT NOT NULL
)
"""
ODD = """
CREATE TABLE NAME (
    id text, "a ""token"":x" text, "user" text, "100%% (expiry)" timestamptz
)
"""
CAMEL = ("token", '"userId"', '"expiresAt"')
SNAKE = ("token", "user_id", "expires_at")
ODD_COLUMNS = ('"a ""token"":x"', '"user"', '"100%% (expiry)"')

type StatusOf = Callable[..., Awaitable[int]]
type Problems = Callable[[], list[str]]


def table(form: str, name: str, columns: tuple[str, str, str], user: str = "'alice'") -> list[str]:
    """SQL of a table with two sessions: `t`, which lasts, and `old`, which is over."""
    now = "now()" if "timestamptz" in form else "now() AT TIME ZONE 'UTC'"
    ends = {"t": f"{now} + interval '1 minute'", "old": f"{now} - interval '1 minute'"}
    rows = ", ".join(f"('{token}', '{token}', {user}, {end})" for token, end in ends.items())
    insert = f"INSERT INTO {name} (id, {', '.join(columns)}) VALUES {rows}"
    return [form.replace("NAME", name), insert]


@pytest.fixture
def problems(caplog: pytest.LogCaptureFixture) -> Problems:
    """What was said of the session table so far."""
    return lambda: [r.getMessage() for r in caplog.records if "session table" in r.getMessage()]


@pytest.fixture
def status_of(database_url: str) -> StatusOf:
    """The answer to a token by an app that starts on the test's database with some settings."""

    async def status_of(token: str, url: str = database_url, **values: str) -> int:
        async with running(make_settings(url, **values)) as app, client_of(app, token) as client:
            return (await client.get("/api/tasks")).status_code

    return status_of


@pytest.mark.parametrize(
    ("form", "name", "columns"),
    [
        (DRIZZLE, '"session"', SNAKE),
        (DRIZZLE, "sessions", SNAKE),
        (DRIZZLE.replace("timestamp", "timestamptz"), '"session"', SNAKE),
        (PRISMA, '"session"', CAMEL),
        (PRISMA, '"Session"', CAMEL),
    ],
    ids=["drizzle", "drizzle, plural", "drizzle, with zone", "prisma", "prisma, unmapped"],
)
async def test_a_generators_form_is_found_by_looking(
    database_url: str,
    status_of: StatusOf,
    problems: Problems,
    form: str,
    name: str,
    columns: tuple[str, str, str],
) -> None:
    await execute(database_url, *table(form, name, columns))
    assert await status_of("t") == 200
    assert await status_of("old") == 401
    assert problems() == []


async def test_a_table_of_something_else_is_passed_over(
    database_url: str, status_of: StatusOf, problems: Problems
) -> None:
    await execute(
        database_url,
        "CREATE TABLE session (sid varchar PRIMARY KEY, sess json, expire timestamp(6))",
        *table(DRIZZLE, "sessions", SNAKE),
    )
    assert await status_of("t") == 200
    assert problems() == []


async def test_names_that_are_set_are_taken_to_the_letter(
    database_url: str, status_of: StatusOf, problems: Problems
) -> None:
    name = '"Auth ""x""".":logins; --"'
    await execute(
        database_url,
        'CREATE SCHEMA "Auth ""x"""',
        *table(ODD, name, ODD_COLUMNS),
        *table(DRIZZLE, "session", SNAKE, user="'mallory'"),
    )
    names = {
        "better_auth_session_table": 'Auth "x".:logins; --',
        "better_auth_session_columns": 'a "token":x,user,100%% (expiry)',
    }
    assert await status_of("t", **names) == 200
    assert await status_of("old", **names) == 401
    assert problems() == []


@pytest.mark.parametrize(("kind", "user"), [("integer", "7"), ("uuid", "gen_random_uuid()")])
async def test_a_users_id_that_is_no_text_is_taken_as_one(
    database_url: str, status_of: StatusOf, kind: str, user: str
) -> None:
    form = DRIZZLE.replace("user_id text", f"user_id {kind}")
    await execute(database_url, *table(form, "session", SNAKE, user=user))
    assert await status_of("t") == 200


async def test_better_auth_may_come_up_after_us(database_url: str, problems: Problems) -> None:
    async with running(make_settings(database_url)) as app, client_of(app, "t") as client:
        for _ in range(3):
            assert (await client.get("/api/tasks")).status_code == 401
        assert len(problems()) == 1
        assert "there is none" in problems()[0]
        await execute(database_url, *table(PRISMA, '"session"', CAMEL))
        assert (await client.get("/api/tasks")).status_code == 200
        assert len(problems()) == 1


async def test_a_table_that_is_made_anew_in_another_form_is_found_again(
    database_url: str,
) -> None:
    await execute(database_url, *table(PRISMA, '"session"', CAMEL))
    async with running(make_settings(database_url)) as app, client_of(app, "t") as client:
        assert (await client.get("/api/tasks")).status_code == 200
        await execute(database_url, 'DROP TABLE "session"', *table(DRIZZLE, '"session"', SNAKE))
        assert (await client.get("/api/tasks")).status_code == 200
        await execute(database_url, 'DROP TABLE "session"')
        assert (await client.get("/api/tasks")).status_code == 401


@pytest.mark.parametrize(
    ("form", "values", "said"),
    [
        (DRIZZLE.replace("user_id", "person"), {}, "no column userId or user_id"),
        (
            DRIZZLE.replace("expires_at timestamp", "expires_at bigint"),
            {},
            "expires_at of table session is no timestamp",
        ),
        (
            DRIZZLE,
            {"better_auth_session_columns": "token,person,expires_at"},
            "no column person",
        ),
    ],
    ids=["no user", "an expiry that is a number", "a column that is set and not there"],
)
async def test_a_table_that_cannot_be_read_is_said_in_one_line_and_is_a_503(
    database_url: str, problems: Problems, form: str, values: dict[str, str], said: str
) -> None:
    await execute(database_url, form.replace("NAME", "session"))
    async with (
        running(make_settings(database_url, **values)) as app,
        client_of(app, "t") as client,
    ):
        assert len(problems()) == 1  # at the start already
        assert said in problems()[0]
        answer = await client.get("/api/tasks")
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
        assert answer.json()["error"]["code"] == "SERVICE_UNAVAILABLE"
        assert "session" not in answer.text
        assert len(problems()) == 1


async def test_a_table_that_is_set_and_not_there_is_said_at_the_start(
    database_url: str, status_of: StatusOf, problems: Problems
) -> None:
    await execute(database_url, *table(DRIZZLE, "session", SNAKE))
    assert await status_of("t", better_auth_session_table="logins") == 401
    assert len(problems()) == 1


OUR_TABLES = (
    "tasks, conversations, messages, people, projects, calendar_feeds, spending, stream_log, "
    "chat_alembic_version"
)


@asynccontextmanager
async def role(url: str, *granted: str) -> AsyncIterator[str]:
    """The database's address for someone who may use our tables and has what is `granted`."""
    name = f"role_{make_url(url).database}"
    await execute(
        url,
        f"CREATE ROLE {name} LOGIN",
        f"GRANT ALL ON {OUR_TABLES} TO {name}",
        *(f"GRANT {each} TO {name}" for each in granted),
    )
    try:
        yield make_url(url).set(username=name).render_as_string(hide_password=False)
    finally:
        await execute(url, f"DROP OWNED BY {name}", f"DROP ROLE {name}")


async def test_three_columns_are_all_the_right_it_needs(
    database_url: str, status_of: StatusOf, problems: Problems
) -> None:
    await execute(database_url, *table(PRISMA, '"session"', CAMEL))
    columns = 'SELECT (token, "userId", "expiresAt") ON "session"'
    async with role(database_url, columns) as url:
        assert await status_of("t", url) == 200
    assert problems() == []


@pytest.mark.parametrize(
    "granted", [[], ['SELECT (token, "userId") ON "session"']], ids=["none", "two columns"]
)
async def test_a_table_without_the_right_to_read_it_is_said_in_one_line_and_is_a_503(
    database_url: str, status_of: StatusOf, problems: Problems, granted: list[str]
) -> None:
    await execute(database_url, *table(PRISMA, '"session"', CAMEL))
    async with role(database_url, *granted) as url:
        assert await status_of("t", url) == 503
    assert len(problems()) == 1
    assert "no right to read column" in problems()[0]


async def test_a_schema_without_the_right_to_look_into_it_is_said_in_one_line(
    database_url: str, status_of: StatusOf, problems: Problems
) -> None:
    await execute(database_url, "CREATE SCHEMA auth", *table(DRIZZLE, "auth.session", SNAKE))
    async with role(database_url) as url:
        assert await status_of("t", url, better_auth_session_table="auth.session") == 503
    assert len(problems()) == 1


async def test_rights_that_are_taken_and_given_back_are_seen(database_url: str) -> None:
    await execute(database_url, *table(PRISMA, '"session"', CAMEL))
    async with role(database_url, 'SELECT ON "session"') as url:
        name = make_url(url).username
        async with running(make_settings(url)) as app, client_of(app, "t") as client:
            assert (await client.get("/api/tasks")).status_code == 200
            await execute(database_url, f'REVOKE SELECT ON "session" FROM {name}')
            assert (await client.get("/api/tasks")).status_code == 503
            await execute(database_url, f'GRANT SELECT ON "session" TO {name}')
            assert (await client.get("/api/tasks")).status_code == 200


async def test_requests_that_come_while_the_table_is_looked_for_share_the_look(
    database_url: str,
) -> None:
    async with running(make_settings(database_url)) as app, client_of(app, "t") as client:
        for change, status in [
            (["SELECT 1"], 401),
            (table(PRISMA, '"session"', CAMEL), 200),
            (['ALTER TABLE "session" RENAME "userId" TO user_id'], 200),
            (['ALTER TABLE "session" DROP user_id'], 503),
            (['DROP TABLE "session"'], 401),
        ]:
            await execute(database_url, *change)
            with statements_sent() as statements:
                answers = await asyncio.gather(*(client.get("/api/tasks") for _ in range(20)))
            assert {answer.status_code for answer in answers} == {status}
            assert sum("pg_attribute" in statement for statement in statements) <= 2


async def test_a_sign_in_is_one_query(database_url: str) -> None:
    await execute(database_url, *TABLES.split(";")[:2])
    async with running(make_settings(database_url)) as app, client_of(app, "unknown") as client:
        with statements_sent() as statements:
            for _ in range(2):
                assert (await client.get("/api/tasks")).status_code == 401
        assert len(statements) == 2
