"""Better Auth's side of the database, as its generator makes it, and people signed in there."""

import base64
import hmac
import secrets
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from uuid import uuid4

from psycopg import AsyncConnection

TABLES = """
CREATE TABLE "user" ("id" text PRIMARY KEY, "name" text NOT NULL, "email" text UNIQUE NOT NULL);
CREATE TABLE "session" (
    "id" text PRIMARY KEY, "expiresAt" timestamptz NOT NULL, "token" text UNIQUE NOT NULL,
    "userId" text NOT NULL REFERENCES "user" ("id") ON DELETE CASCADE
);
"""


_idle: dict[str, list[AsyncConnection]] = {}


@asynccontextmanager
async def connections_kept(url: str) -> AsyncIterator[None]:
    """Use connections to this database again until the end: a new one costs more than it asks."""
    idle = _idle[url] = []
    try:
        yield
    finally:
        del _idle[url]
        for connection in idle:
            await connection.close()


@asynccontextmanager
async def _connected(url: str) -> AsyncIterator[AsyncConnection]:
    idle = _idle.get(url)
    connection = idle.pop() if idle else await AsyncConnection.connect(url, autocommit=True)
    async with AsyncExitStack() as stack:
        stack.push_async_exit(connection)
        yield connection
        if idle is not None:
            idle.append(connection)
            stack.pop_all()


async def execute(url: str, sql: str, *values: object) -> list[tuple[object, ...]]:
    """Run `sql` with `values` in a transaction of its own; the rows, where there are any."""
    async with _connected(url) as connection:
        cursor = await connection.execute(sql.encode(), values or None)
        return await cursor.fetchall() if cursor.description else []


async def add_user(url: str, name: str) -> str:
    """A new user's id, which no other test has."""
    user_id = f"{name}-{uuid4().hex}"
    await execute(
        url, 'INSERT INTO "user" VALUES (%s, %s, %s)', user_id, name, f"{user_id}@example.com"
    )
    return user_id


async def sign_in(url: str, user_id: str, valid_for: str = "7 days", *, prefix: str = "") -> str:
    """The token of a new session, `valid_for` an interval of Postgres (negative: expired)."""
    token = prefix + secrets.token_hex(16)
    await execute(
        url,
        """INSERT INTO "session" ("id", "token", "userId", "expiresAt")
           VALUES (%s, %s, %s, now() + %s::interval)""",
        uuid4().hex,
        token,
        user_id,
        valid_for,
    )
    return token


class SignedUp:
    """New people who are signed in, made by the hundred: a connection for each costs more."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._waiting: dict[str, list[tuple[str, str]]] = {}

    async def take(self, name: str) -> tuple[str, str]:
        """The id of a user whom no other test has, and the token of a session."""
        waiting = self._waiting.setdefault(name, [])
        if not waiting:
            waiting += await sign_up_all(self._url, name, 100)
        return waiting.pop()


async def sign_up(url: str, name: str) -> tuple[str, str]:
    """The id of a new user and the token of a session."""
    (made,) = await sign_up_all(url, name, 1)
    return made


async def sign_up_all(url: str, name: str, count: int) -> list[tuple[str, str]]:
    """The ids of new users and the tokens of their sessions, at the cost of one connection."""
    made = [(f"{name}-{uuid4().hex}", secrets.token_hex(16)) for _ in range(count)]
    users, tokens = zip(*made, strict=True)
    await execute(
        url,
        """WITH made AS (
               INSERT INTO "user" SELECT id, %s, id || '@example.com' FROM unnest(%s::text[]) AS id)
           INSERT INTO "session" ("id", "token", "userId", "expiresAt")
           SELECT md5(token), token, id, now() + interval '7 days'
           FROM unnest(%s::text[], %s::text[]) AS made (id, token)""",
        name,
        list(users),
        list(users),
        list(tokens),
    )
    return made


def signed(token: str, secret: str) -> str:
    """A token in its signed form, as it stands in the cookie before it is URL-encoded."""
    digest = hmac.digest(secret.encode(), token.encode(), "sha256")
    return f"{token}.{base64.b64encode(digest).decode()}"
