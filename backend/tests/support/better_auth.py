"""Better Auth's side of the database, as its generator makes it, and people signed in there."""

import base64
import hmac
import secrets
from uuid import uuid4

from psycopg import AsyncConnection

TABLES = """
CREATE TABLE "user" ("id" text PRIMARY KEY, "name" text NOT NULL, "email" text UNIQUE NOT NULL);
CREATE TABLE "session" (
    "id" text PRIMARY KEY, "expiresAt" timestamptz NOT NULL, "token" text UNIQUE NOT NULL,
    "userId" text NOT NULL REFERENCES "user" ("id") ON DELETE CASCADE
);
"""


async def execute(url: str, sql: str, *values: object) -> list[tuple[object, ...]]:
    """Run `sql` with `values` in a transaction of its own; the rows, where there are any."""
    async with await AsyncConnection.connect(url) as connection:
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


async def sign_up(url: str, name: str) -> tuple[str, str]:
    """The id of a new user and the token of a session, at the cost of one connection."""
    user_id, token = f"{name}-{uuid4().hex}", secrets.token_hex(16)
    await execute(
        url,
        """WITH made AS (INSERT INTO "user" VALUES (%s, %s, %s) RETURNING "id")
           INSERT INTO "session" ("id", "token", "userId", "expiresAt")
           SELECT %s, %s, "id", now() + interval '7 days' FROM made""",
        user_id,
        name,
        f"{user_id}@example.com",
        uuid4().hex,
        token,
    )
    return user_id, token


def signed(token: str, secret: str) -> str:
    """A token in its signed form, as it stands in the cookie before it is URL-encoded."""
    digest = hmac.digest(secret.encode(), token.encode(), "sha256")
    return f"{token}.{base64.b64encode(digest).decode()}"
